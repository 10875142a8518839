"""A plain ViT of timm, run in pieces, for methods that step in between its blocks."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Literal

import torch
from timm.layers.hybrid_embed import HybridEmbed
from timm.layers.patch_embed import PatchEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from halfseen.nets.backbones import Grid, make_backbone
from halfseen.nets.surgery import own_positions
from halfseen.types import InputError

EXAMPLES = "vit_small_patch16_224 or deit_tiny_patch16_224"


class Trunk(nn.Module):
    """The network that `make_backbone` makes, in pieces: `norm(run(embed(images)))` are the tokens that it gives.

    `dim` is D, `grid` (h, w) and N = h·w the number of patches, `depth` the number of blocks, `prefix` that of the
    tokens before the patches, the first of which is the class token. `mean` and `std` normalise the pictures. The last
    block and the final norm belong to one branch of a method as they are; `top` copies both for each other branch.
    """

    def __init__(
        self,
        name: str,
        *,
        image: tuple[int, int],
        patch_stride: int | None = None,
        drop_path: float = 0.0,
        weights: Path | Literal["hub", "none"] = "none",
    ) -> None:
        super().__init__()
        backbone = make_backbone(
            name, image=image, last_stride=2, patch_stride=patch_stride, drop_path=drop_path, weights=weights
        )
        network: Any = backbone.network
        cut = (PatchEmbed, HybridEmbed)
        if not isinstance(network, VisionTransformer) or type(network.patch_embed) not in cut:
            raise InputError(f"{name} is no plain ViT, which this method runs in pieces; choose one such as {EXAMPLES}")
        if not network.has_class_token:
            raise InputError(f"{name} has no class token, which this method reads; choose a ViT such as {EXAMPLES}")
        self.network = network
        self.dim, self.grid, self.mean, self.std = backbone.dim, backbone.grid, backbone.mean, backbone.std
        self.depth, self.prefix = len(network.blocks), int(network.num_prefix_tokens)

    def forward(self, images: Tensor) -> Grid:
        """All pieces in order: what a backbone gives of `images` [B,3,H,W], normalised."""
        tokens = self.norm(self.run(self.embed(images)))
        return Grid(self.cells(tokens), tokens[:, 0])

    def embed(self, images: Tensor) -> Tensor:
        """`images` [B,3,H,W], normalised → [B,prefix+N,D]: what goes into the first block, positions included."""
        network: Any = self.network
        tokens: Tensor = network.norm_pre(network.patch_drop(network._pos_embed(network.patch_embed(images))))
        return tokens

    def run(self, tokens: Tensor, first: int = 0, last: int | None = None) -> Tensor:
        """`tokens` [B,prefix+N,D] through the blocks from `first` to before `last` (None: to the end), not normed."""
        blocks: Any = self.network.blocks
        for block in blocks[first:last]:
            tokens = block(tokens)
        return tokens

    def norm(self, tokens: Tensor) -> Tensor:
        """The final layer normalisation of `tokens` [B,n,D]."""
        normed: Tensor = self.network.norm(tokens)
        return normed

    def cells(self, tokens: Tensor) -> Tensor:
        """The patches among `tokens` [B,prefix+N,D] as a grid [B,D,h,w]."""
        patches = tokens[:, self.prefix :].mT
        return patches.reshape(*patches.shape[:2], *self.grid)

    def top(self) -> nn.Module:
        """A copy of the last block and the final norm, with parameters of its own: [B,n,D] → [B,n,D]."""
        blocks: Any = self.network.blocks
        return nn.Sequential(copy.deepcopy(blocks[-1]), copy.deepcopy(self.network.norm))

    def end_early(self) -> None:
        """The last block and the final norm learn nothing, for a method that reads nothing of what they make."""
        network: Any = self.network
        for module in (network.blocks[-1], network.norm):
            module.requires_grad_(False)

    @property
    def positions(self) -> Tensor:
        """[1,N,D]: what tells each patch its place; zeros where the network has no such thing."""
        network: Any = self.network
        if network.pos_embed is None:
            return torch.zeros(1, self.grid[0] * self.grid[1], self.dim, device=next(self.parameters()).device)
        positions: Tensor = network.pos_embed[:, own_positions(network) :]
        return positions
