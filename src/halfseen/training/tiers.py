"""The two sizes that results are given in: `mini` for two CPU cores in minutes, `full` as in the papers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from halfseen.recipe import Method, Recipe

TierName: TypeAlias = Literal["mini", "full"]


@dataclass(frozen=True)
class Tier:
    """What a tier changes in every recipe and configuration, and the world that it is meant for.

    `ids` and `images` go to `halfseen world render`, half of the people are for training. `warmup` and `milestones`
    are shares of the epochs. `transformer` is the backbone of methods that need a class token.
    """

    height: int
    width: int
    epochs: int
    warmup: float
    milestones: tuple[float, ...]
    backbone: str
    transformer: str
    ids: int
    images: int


# 2,000 training pictures, 25,000 seen in all: about three minutes on two cores, evaluation included.
TIERS: dict[str, Tier] = {
    "mini": Tier(
        height=128,
        width=64,
        epochs=12,
        warmup=0.1,
        milestones=(0.6, 0.85),
        backbone="tf_efficientnet_lite0",
        transformer="vit_tiny_patch16_224",
        ids=200,
        images=20,
    )
}


def in_tier(method: Method, name: TierName) -> tuple[Any, Recipe]:
    """The method's own configuration and recipe, or what becomes of them in a smaller tier."""
    config, recipe = method.config(), method.recipe
    if name == "full":
        return config, recipe
    tier = TIERS[name]
    backbone = tier.transformer if config.backbone.startswith("vit_") else tier.backbone
    smaller = replace(
        recipe,
        height=tier.height,
        width=tier.width,
        epochs=tier.epochs,
        warmup=round(tier.warmup * tier.epochs),
        milestones=tuple(round(share * tier.epochs) for share in tier.milestones),
    )
    return replace(config, backbone=backbone), smaller
