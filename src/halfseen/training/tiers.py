"""The two sizes that results are given in: `mini` for two CPU cores in minutes, `full` as in the papers."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from halfseen.nets.hybrids import HYBRID
from halfseen.recipe import Method, Recipe
from halfseen.types import InputError

TierName: TypeAlias = Literal["mini", "full"]


@dataclass(frozen=True)
class Tier:
    """What a tier changes in every configuration and recipe, and the world that it is meant for. Of some methods it
    also changes what their `configs` say.

    All methods get `recipe`, so that ideas are compared and not optimisers, and one of two backbones: `convolutional`,
    or `transformer` where a class token is needed, with what `transformer_recipe` says beside. `ids`, `images` and
    `occluded` go to `halfseen world render`; half of the people are for training.
    """

    recipe: Mapping[str, Any]
    convolutional: str
    transformer: str
    transformer_recipe: Mapping[str, Any]
    configs: Mapping[str, Mapping[str, Mapping[str, Any]]]
    ids: int
    images: int
    occluded: float


# Of a transformer: attention that begins at random learns half as fast as the rest, an agent's policy a tenth.
SPEEDS = (
    ("backbone.network.blocks", 0.5),
    ("decoder", 0.5),
    ("teacher.top", 0.5),
    ("teacher.trunk.network.blocks", 0.5),
    ("teacher.purifier.policy", 0.1),
)

PATCHES = "vit_tiny_patch16_224"  # what to take instead of the hybrid where patches are to overlap

# 2,000 training pictures, each seen five times: some three minutes on two cores, evaluation included. The papers' rates
# are meant for a hundred times as many steps.
_ADAM = {"optimiser": "adam", "lr": 3e-3, "bias_lr": 1.0, "speeds": (), "nesterov": False}
_COSINE = {"warmup": 1, "schedule": "cosine", "flat": 0, "final": 0.002}
TIERS: dict[str, Tier] = {
    "mini": Tier(
        recipe={"height": 192, "width": 96, "people": 16, "images": 4, "epochs": 5} | _ADAM | _COSINE,
        convolutional="tf_efficientnet_lite0",
        transformer=HYBRID,
        transformer_recipe={"epochs": 8, "speeds": SPEEDS},
        configs={"ogfr": {"agent": {"warmup": 30}}},  # one of the eight epochs, as ten of the paper's 120
        ids=200,
        images=20,
        occluded=0.1,
    )
}


def in_tier(method: Method, name: TierName, row: str | None = None) -> tuple[Any, Recipe]:
    """The method's own configuration, or that of a `row`, and its recipe, or what becomes of them in a smaller tier.

    A row that is about another backbone keeps it.
    """
    own = method.config()
    config = own if row is None else row_of(method, row)
    if name == "full":
        return config, method.recipe
    tier, transforms = TIERS[name], own.backbone.startswith("vit_")
    if config.backbone == own.backbone:
        config = replace(config, backbone=tier.transformer if transforms else tier.convolutional)
    for part, changes in tier.configs.get(method.name, {}).items():
        config = replace(config, **{part: replace(getattr(config, part), **changes)})
    beside = tier.transformer_recipe if transforms else {}
    return config, replace(method.recipe, **{**tier.recipe, **beside})


def check_row(row: str | None, config: Any) -> None:
    """Refuse overlapping patches that a `row` wants of a tier's transformer, whose stem is a convolutional network."""
    stride = getattr(config, "patch_stride", None)
    if row and stride is not None and config.backbone == HYBRID:
        raise InputError(
            f"--row {row} is about overlapping patches ({stride} pixels apart), and {HYBRID}, the transformer of the "
            f"mini tier, has none of its own; give --config.backbone {PATCHES} for one that has, or --tier full"
        )


def row_of(method: Method, name: str) -> Any:
    """The configuration of the row `name`."""
    if not method.rows:
        raise InputError(f"{method.name} has no rows; leave --row out")
    if name not in method.rows:
        nearest = difflib.get_close_matches(name, method.rows, cutoff=0)
        raise InputError(
            f"{method.name} has no row {name!r}; the nearest are {', '.join(nearest)}, and --row list shows all"
        )
    return method.rows[name]
