"""Which kind of thing hides a person, told by a transformer on its way, and what its tokens are told of that."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halfseen.types import Occluder

KINDS = tuple(kind.name.lower().replace("_", " ") for kind in Occluder)  # "none" comes first
PATTERNS = len(KINDS) - 1  # M: without it
STRENGTH = 3.0  # λ_o, as TransReID has it for cameras


class Patterns(nn.Module):
    """Which occlusion pattern pictures show, told from their class token, and its embedding for all tokens."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.classifier = nn.Linear(dim, PATTERNS + 1)
        self.embeddings = nn.Parameter(torch.zeros(PATTERNS, dim))  # that of no pattern is 0 and stays so

    def forward(self, tokens: Tensor, known: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`tokens` [B,n,D] with the embedding, and logits [B,M+1]; patterns that are `known` [B] need no telling."""
        logits = self.classifier(self.norm(tokens[:, 0]))
        shares = logits.softmax(1) if known is None else F.one_hot(known, PATTERNS + 1).to(logits)
        return tokens + STRENGTH * (shares[:, 1:] @ self.embeddings)[:, None], logits
