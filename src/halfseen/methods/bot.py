"""BoT, the bag of tricks: one vector for the whole picture (Luo et al., CVPR workshops 2019).

The baseline that the papers on hidden people start from. Kept: ResNet-50 with last stride 1, average pooling, the
BNNeck (triplets see the vector before it, identities the one after), label smoothing, batch-hard triplets of margin
0.3, warm-up, random erasing. Left out: the centre loss, which the papers that build on it leave out too. Ours: GeM
pooling as an option, with an exponent that is learned.

At test time the vector after the neck is compared by its direction alone. The classifier that trained it has no bias
and stands behind a normalisation without shift, so that it tells people apart by angles around the origin; the
paper measures the same (its Table 6, as we remember it).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from halfseen.nets.backbones import make_backbone
from halfseen.nets.heads import Necks
from halfseen.ops.distance import Single
from halfseen.ops.kernel import check_choice
from halfseen.ops.losses import identity_and_triplet
from halfseen.recipe import Method, Recipe
from halfseen.types import Batch, Cues, Embedding

Pooling = Literal["mean", "gem"]


@dataclass(frozen=True)
class Config:
    """What may differ."""

    backbone: str = "resnet50"  # any of timm's, or resnet50_ibn_a
    last_stride: int = 1  # of its last stage; 2 is as it was pretrained
    pooling: Pooling = "mean"  # how cells become one vector
    smoothing: float = 0.1  # ε of the identity losses
    margin: float | None = 0.3  # of the triplets; none: soft

    def __post_init__(self) -> None:
        check_choice("pooling", self.pooling, Pooling)


class Output(NamedTuple):
    """One vector per picture, before the neck and after it, and what the neck makes of it."""

    raw: Tensor  # [B,D]
    normed: Tensor  # [B,D]
    logits: dict[str, Tensor]  # "global": [B,people]; empty without people


class BoT(nn.Module):
    """Backbone, pooling, neck."""

    def __init__(
        self,
        config: Config,
        people: int,
        *,
        image: tuple[int, int] = (256, 128),
        weights: Path | Literal["hub", "none"] = "none",
    ) -> None:
        super().__init__()
        self.backbone = make_backbone(config.backbone, image=image, last_stride=config.last_stride, weights=weights)
        self.pooling = GeM() if config.pooling == "gem" else nn.AdaptiveAvgPool2d(1)
        self.necks = Necks({"global": self.backbone.dim}, people)

    def forward(self, images: Tensor, cues: Cues | None = None) -> Output:  # noqa: ARG002 (every method is called so)
        """`images` [B,3,H,W], normalised; cues are not looked at."""
        raw = self.pooling(self.backbone(images).cells).flatten(1)
        normed, logits = self.necks({"global": raw})
        return Output(raw, normed["global"], logits)


class GeM(nn.Module):
    """The generalised mean of each channel: [B,D,h,w] → [B,D,1,1]. Exponent 1 is the mean, a large one the maximum."""

    def __init__(self, exponent: float = 3.0) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(exponent))

    def forward(self, cells: Tensor) -> Tensor:
        powers = cells.clamp_min(1e-6) ** self.exponent
        return powers.mean((2, 3), keepdim=True) ** (1 / self.exponent)


def embed(out: Output) -> Embedding:
    """The vector after the neck."""
    return Embedding.of(out.normed)


def losses(out: Output, batch: Batch, config: Config) -> dict[str, Tensor]:
    """Identities after the neck, triplets before it."""
    return identity_and_triplet(
        out.raw, out.logits["global"], batch.pids, smoothing=config.smoothing, margin=config.margin
    )


RECIPE = Recipe(warmup_from=0.1)  # 3.5e-5 to 3.5e-4 in the text; the released code starts at 0.01 of it

METHOD = Method(
    name="bot",
    title="BoT: bag of tricks, a global baseline",
    config=Config,
    network=BoT,
    embed=embed,
    losses=losses,
    recipe=RECIPE,
    distance=Single("cosine"),
    needs={"train": frozenset(), "test": frozenset()},
)
