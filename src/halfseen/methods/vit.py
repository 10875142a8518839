"""The plain vision transformer of TransReID: one vector, that of the class token (He et al., ICCV 2021).

The baseline under TSD and under OGFR as we reconstruct it. Kept: ViT-B/16 pretrained on ImageNet-21k and then 1k,
drop-path 0.1, the class token, the BNNeck, identities without label smoothing, soft triplets, SGD with a cosine.
Overlapping patches are an option (`patch_stride`), as are the values that other papers choose. Left out: TransReID's
own additions (side information, jigsaw patches).

At test time the class token before the neck is compared by its direction alone, as the released code does: it
normalises the vector and takes the Euclidean distance, which ranks alike.

Ours: the rate moves from step to step, the code's from epoch to epoch; and the cosine begins where the warm-up ends,
the code's at epoch 0, so that its rate is 0.4 per cent lower by then.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from torch import Tensor, nn

from halfseen.nets.backbones import make_backbone
from halfseen.nets.heads import Necks
from halfseen.ops.distance import Single
from halfseen.ops.kernel import check_choice
from halfseen.ops.losses import identity_and_triplet
from halfseen.recipe import Method, Recipe
from halfseen.types import Batch, Cues, Embedding, InputError

Test = Literal["before", "after"]


@dataclass(frozen=True)
class Config:
    """What may differ."""

    backbone: str = "vit_base_patch16_224.orig_in21k_ft_in1k"  # any plain ViT of timm's
    patch_stride: int | None = None  # pixels between patches; none: side by side
    drop_path: float = 0.1  # rate of stochastic depth
    smoothing: float = 0.0  # ε of the identity losses
    margin: float | None = None  # of the triplets; none: soft
    test: Test = "before"  # the class token before or behind its neck

    def __post_init__(self) -> None:
        check_choice("test", self.test, Test)


class Output(NamedTuple):
    """The class token, before the neck and after it, what the neck makes of it, and the one of both that is tested."""

    raw: Tensor  # [B,D]
    normed: Tensor  # [B,D]
    logits: dict[str, Tensor]  # "global": [B,people]; empty without people
    test: Tensor  # [B,D]


class ViT(nn.Module):
    """Backbone, neck."""

    def __init__(
        self,
        config: Config,
        people: int,
        *,
        image: tuple[int, int] = (256, 128),
        weights: Path | Literal["hub", "none"] = "none",
    ) -> None:
        super().__init__()
        self.test = config.test
        self.backbone = make_backbone(
            config.backbone,
            image=image,
            patch_stride=config.patch_stride,
            drop_path=config.drop_path,
            weights=weights,
        )
        self.necks = Necks({"global": self.backbone.dim}, people)

    def forward(self, images: Tensor, cues: Cues | None = None) -> Output:  # noqa: ARG002 (every method is called so)
        """`images` [B,3,H,W], normalised; cues are not looked at."""
        raw = self.backbone(images).cls
        if raw is None:
            raise InputError("this backbone has no class token; choose a ViT as backbone, or the method bot")
        normed, logits = self.necks({"global": raw})
        return Output(raw, normed["global"], logits, normed["global"] if self.test == "after" else raw)


def embed(out: Output) -> Embedding:
    """The class token."""
    return Embedding.of(out.test)


def losses(out: Output, batch: Batch, config: Config) -> dict[str, Tensor]:
    """Identities after the neck, triplets before it."""
    return identity_and_triplet(
        out.raw, out.logits["global"], batch.pids, smoothing=config.smoothing, margin=config.margin
    )


RECIPE = Recipe(
    augment="transreid",
    optimiser="sgd",
    lr=0.008,
    weight_decay=1e-4,
    bias_lr=2.0,
    warmup=5,
    warmup_from=0.01,
    schedule="cosine",
    final=0.002,
)

METHOD = Method(
    name="vit",
    title="ViT: TransReID's plain transformer, a global baseline",
    config=Config,
    network=ViT,
    embed=embed,
    losses=losses,
    recipe=RECIPE,
    distance=Single("cosine"),
    needs={"train": frozenset(), "test": frozenset()},
)
