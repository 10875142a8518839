"""Queries that look at patches: attention that may be masked, and a decoder layer of learned queries."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halfseen.types import InputError


class Memory(NamedTuple):
    """Tokens as attention reads them, made once for all who ask: each [B,heads,N,D/heads]."""

    keys: Tensor
    values: Tensor


def heads_for(dim: int, most: int) -> int:
    """The most heads, up to so many, that divide `dim`."""
    return max(heads for heads in range(1, most + 1) if dim % heads == 0)


class Attention(nn.Module):
    """Several heads of scaled dot products. What is asked and what is looked at come apart, so that two can ask of one
    memory."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise InputError(
                f"{dim} features cannot be split among {heads} heads; choose a backbone with a multiple of {heads}"
            )
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim, bias=False)  # a bias would shift all scores of a query alike: softmax is blind
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)  # scores that spread, where smaller weights make all queries alike
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def read(self, tokens: Tensor) -> Memory:
        """`tokens` [B,N,D], to be looked at."""
        return Memory(self._split(self.key(tokens)), self._split(self.value(tokens)))

    def forward(self, queries: Tensor, memory: Memory, masks: Tensor | None = None) -> Tensor:
        """What `queries` [B,P,D] see, [B,P,D], each only where its row of `masks` bool [B,P,N] is true.

        A query that may look nowhere sees the mean of everything.
        """
        asked, masks = self._asked(queries, masks)
        seen = F.scaled_dot_product_attention(asked, *memory, attn_mask=masks)
        answer: Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return answer

    def shares(self, queries: Tensor, memory: Memory, masks: Tensor | None = None) -> Tensor:
        """How much of its look each query gives to each token, [B,heads,P,N]; the arguments are those of `forward`."""
        asked, masks = self._asked(queries, masks)
        scores = asked @ memory.keys.mT / asked.shape[-1] ** 0.5
        if masks is not None:
            scores = scores.masked_fill(~masks, -torch.inf)
        return torch.softmax(scores, -1)

    def _asked(self, queries: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The queries [B,heads,P,D/heads] and where they look [B,1,P,N], which is somewhere for each."""
        asked = self._split(self.query(queries))
        if masks is None:
            return asked, None
        masks = masks[:, None]
        somewhere = masks.any(-1, keepdim=True)
        return asked * somewhere, masks | ~somewhere  # a query of zeros finds all tokens alike

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.view(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


class Decoder(nn.Module):
    """One layer with `count` queries of its own: they hear a class token and each other, then each looks at patches.

    `ask`, `read` and `answer` are its three steps, so that the last can be repeated with other masks. With `residual`
    the last two layers add to what was seen; without, they replace it. Nothing tells the places of patches but their
    own features.
    """

    def __init__(self, dim: int, count: int, *, heads: int = 8, residual: bool = False) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.empty(count, dim))
        nn.init.trunc_normal_(self.queries, std=dim**-0.5)
        self.talk, self.norm = Attention(dim, heads), nn.LayerNorm(dim)
        self.look = Attention(dim, heads)
        self.think = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.ReLU(), nn.Linear(4 * dim, dim))
        self.residual = residual

    def ask(self, cls: Tensor) -> Tensor:
        """The queries [B,count,D] after they heard `cls` [B,D] and each other."""
        queries = self.queries.to(cls).expand(len(cls), -1, -1)
        everyone = torch.cat([cls[:, None], queries], 1)
        heard: Tensor = self.norm(everyone + self.talk(everyone, self.talk.read(everyone)))
        return heard[:, 1:]

    def read(self, patches: Tensor) -> Memory:
        """`patches` [B,N,D], to be looked at."""
        return self.look.read(patches)

    def answer(self, asked: Tensor, memory: Memory, masks: Tensor | None = None) -> Tensor:
        """What `asked` [B,count,D] makes of `memory`, [B,count,D], each query within its row of `masks` [B,count,N]."""
        seen = self.look(asked, memory, masks)
        thought: Tensor = self.think(seen)
        return seen + thought if self.residual else thought
