"""Branches of a transformer: from tokens to vectors of the whole and of parts, each behind its neck."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple, cast

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn

from halfseen.nets.heads import Necks, PixelParts
from halfseen.nets.purification import Agent, Choice, Gap, Judges, Purifier
from halfseen.nets.reinforcement import Judged, Trial, judge
from halfseen.nets.trunk import Trunk
from halfseen.ops.pooling import pool


class Look(NamedTuple):
    """What a branch makes of pictures."""

    vectors: dict[str, Tensor]  # before any neck: "global" [B,D] and, if there are maps, "parts" [B,K,D]
    normed: dict[str, Tensor]  # behind it: the same shapes
    logits: dict[str, Tensor]  # [B,people]; those of parts from all of them end to end; empty without people
    maps: Tensor | None  # [B,K+1,h,w], the background first
    pixels: Tensor | None  # [B,K+1,h,w]: their logits, where they are learned


class Branch(nn.Module):
    """The class token, and patches pooled under maps of parts, which a pixel classifier draws if they are `learned`."""

    def __init__(self, trunk: Trunk, parts: int, people: int, *, learned: bool) -> None:
        super().__init__()
        self.prefix, self.grid = trunk.prefix, trunk.grid
        self.pixels = PixelParts(trunk.dim, parts) if learned and parts else None
        lengths = {"global": trunk.dim, "parts": parts * trunk.dim}
        self.necks = Necks({name: length for name, length in lengths.items() if length}, people)

    def forward(self, tokens: Tensor, maps: Tensor | None = None, gone: Tensor | None = None) -> Look:
        """`tokens` [B,n,D], normed, the class token first and the patches behind the prefix; `maps` [B,K+1,h,w]; parts
        are pooled without the patches that are `gone`, bool [B,N]."""
        cells, pixels = self._cells(tokens), None
        if self.pixels is not None:
            pixels = self.pixels(cells)
            maps = pixels.softmax(1)
        vectors = {"global": tokens[:, 0]} | ({} if maps is None else {"parts": _pooled(cells, maps, gone)})
        normed, logits = self.necks({name: rows.flatten(1) for name, rows in vectors.items()})
        normed = {name: rows.view_as(vectors[name]) for name, rows in normed.items()}
        return Look(vectors, normed, logits, maps, pixels)

    def judged(
        self, tokens: Tensor, maps: Tensor | None, name: Judges, gone: Tensor | None = None, gap: Gap = "raw"
    ) -> Judged:
        """What the vector `name`, of parts end to end, says of whose `tokens` these are; as at test time."""
        if name == "global":
            return judge(tokens[:, 0], self.necks, unit=gap == "unit")
        cells = self._cells(tokens)
        if self.pixels is not None:
            with torch.autocast(cells.device.type, enabled=False):
                maps = self.pixels.settled(cells.float()).softmax(1)
        parts = _pooled(cells, cast(Tensor, maps), gone)
        return judge(parts.flatten(1), self.necks, name, parts=parts.shape[1], unit=gap == "unit")

    def _cells(self, tokens: Tensor) -> Tensor:
        """[B,D,h,w]"""
        h, w = self.grid
        return tokens[:, self.prefix : self.prefix + h * w].mT.reshape(len(tokens), -1, h, w)


def _pooled(cells: Tensor, maps: Tensor, gone: Tensor | None = None) -> Tensor:
    """[B,K,D], of `maps` [B,K+1,h,w] the background left out, and of cells [B,N] those that are `gone`. Sums over all
    patches, which bfloat16 would round."""
    if gone is not None:
        maps = maps * ~gone.view(-1, 1, *maps.shape[2:])
    with torch.autocast(cells.device.type, enabled=False):
        return pool(cells.float(), maps[:, 1:].float())


class Teacher(nn.Module):
    """A last block and a `branch` of its own, and an agent that erases patches before them.

    If it is `separate`, all blocks are its own. The last one drops no paths, or luck would be rewarded.
    """

    def __init__(self, trunk: Trunk, branch: Branch, agent: Agent, *, separate: bool = False) -> None:
        super().__init__()
        self.prefix, self.top, self.branch = trunk.prefix, trunk.top(), branch
        for module in self.top.modules():
            if isinstance(module, DropPath):
                module.drop_prob = 0.0
        self.trunk = copy.deepcopy(trunk) if separate else None
        if self.trunk is not None:
            network: Any = self.trunk.network
            network.blocks, network.norm = network.blocks[:-1], nn.Identity()  # they are the top
        self.purifier = Purifier(trunk.dim, agent) if agent.kind != "none" else None

    def forward(
        self, tokens: Tensor, positions: Tensor, maps: Tensor | None, nobody: Tensor | None = None
    ) -> tuple[Look, Look, Trial | None]:
        """What it learns from, with the patches that were drawn erased; what it teaches, with the likeliest erased; and
        how the agent did.

        `tokens` [B,n,D] go into the last block, the patches lie at `positions` [1,N,D]; `maps` as in a branch,
        `nobody` as in a purifier.
        """
        if self.purifier is None:
            look: Look = self.branch(self.top(tokens), maps)
            return look, look, None
        patches = tokens[:, self.prefix : self.prefix + positions.shape[1]]
        choice: Choice = self.purifier(patches, tokens[:, 0], positions, nobody)
        swapped = self.purifier.swap(patches, choice.action, positions)
        agent = self.purifier.agent
        gone = (choice.action, choice.greedy) if agent.pools == "kept" else (None, None)
        drawn = self.seen(tokens, swapped)
        look = self.branch(drawn, maps, gone[0])
        with torch.no_grad():
            kept = self.top(tokens)
            greedy = self.seen(tokens, self.purifier.swap(patches, choice.greedy, positions))
            target = self.branch(greedy, maps, gone[1])
        looks = zip((kept, drawn, greedy), (None, *gone), strict=True)
        judged = (self.branch.judged(seen, maps, agent.judged, without, agent.gap) for seen, without in looks)
        return look, target, Trial(choice, self.branch.grid, patches, swapped, *judged)

    def seen(self, tokens: Tensor, patches: Tensor) -> Tensor:
        """What the last block makes of `tokens` [B,n,D] with `patches` [B,N,D] in the place of theirs."""
        last = self.prefix + patches.shape[1]
        out: Tensor = self.top(torch.cat([tokens[:, : self.prefix], patches, tokens[:, last:]], 1))
        return out
