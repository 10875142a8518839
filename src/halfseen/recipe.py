"""What a method is to the rest of the house: a network, what it gives at test time, its losses, how it is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor, nn

from halfseen.ops.distance import Distance
from halfseen.types import Batch, Embedding

Stage = Literal["train", "test"]
Cue = Literal["keypoints", "fields", "parts"]


@dataclass(frozen=True)
class Recipe:
    """How a method is trained: the numbers of its paper.

    Pictures are `height` × `width`, seen through the `augment` of that name (`training.settings.AUGMENTS`) and
    normalised as the backbone wants; a batch has `people` × `images`. The learning rate starts at `warmup_from`·`lr`,
    rises linearly over `warmup` epochs, then falls to `gamma` of itself at each of the `milestones` (step), or along
    half a cosine to `final`·`lr` at the last epoch. Biases learn `bias_lr` times as fast. Gradients longer than `clip`
    are shortened.
    """

    height: int = 256
    width: int = 128
    augment: str = "bot"
    people: int = 16
    images: int = 4
    epochs: int = 120
    optimiser: Literal["adam", "sgd"] = "adam"
    lr: float = 3.5e-4
    weight_decay: float = 5e-4
    bias_lr: float = 1.0
    warmup: int = 10
    warmup_from: float = 0.01
    schedule: Literal["step", "cosine"] = "step"
    milestones: tuple[int, ...] = (40, 70)
    gamma: float = 0.1
    final: float = 0.002
    clip: float | None = None


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """The learning rate at `epoch` (0 is the start; parts of epochs count)."""
    if epoch < recipe.warmup:
        return recipe.lr * (recipe.warmup_from + (1 - recipe.warmup_from) * epoch / recipe.warmup)
    if recipe.schedule == "step":
        return recipe.lr * recipe.gamma ** sum(epoch >= milestone for milestone in recipe.milestones)
    share = (epoch - recipe.warmup) / max(1, recipe.epochs - recipe.warmup)
    fall = 0.5 * (1 + math.cos(math.pi * min(share, 1)))
    return recipe.lr * (recipe.final + (1 - recipe.final) * fall)


@dataclass(frozen=True)
class Method:
    """A paper as the house sees it.

    `config` is its dataclass of named deviations; `network(config, people, *, image, weights)` makes the module for
    pictures of that size, with weights to begin with; for 0 people it has only what testing needs. Its
    `forward(images, cues=None)` takes normalised float images [B,3,H,W] and returns the method's Output;
    `embed(output)` is all that test time uses; `losses(output, batch, config)` has one entry per equation, weights
    included, and the loop minimises their sum. `needs` names the cues it may see: at training one of those listed
    suffices (all say where the parts are), at test time it is handed nothing but these. `distance` compares embeddings.
    Both are those of the config's defaults; `varies(config)` says what another config makes of them.
    """

    name: str
    title: str
    config: type
    network: Callable[..., nn.Module]
    embed: Callable[[Any], Embedding]
    losses: Callable[[Any, Batch, Any], dict[str, Tensor]]
    recipe: Recipe
    distance: Distance
    needs: Mapping[Stage, frozenset[Cue]]
    varies: Callable[[Any], Mapping[str, Any]] | None = None

    def of(self, config: Any) -> Method:
        """This method as `config` has it."""
        return replace(self, **self.varies(config)) if self.varies else self
