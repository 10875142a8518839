"""What a method is to the rest of the house: a network, what it gives at test time, its losses, how it is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, TypeAlias

from torch import Tensor, nn

from halfseen.ops.distance import Distance
from halfseen.ops.kernel import check_choice
from halfseen.types import Batch, Embedding, InputError

Stage = Literal["train", "test"]
Cue = Literal["keypoints", "fields", "parts"]
Optimiser: TypeAlias = Literal["adam", "sgd"]
Schedule: TypeAlias = Literal["step", "cosine"]
WHERE: frozenset[Cue] = frozenset(("parts", "fields", "keypoints"))  # each says where the parts are


@dataclass(frozen=True)
class Recipe:
    """How a method is trained: the numbers of its paper.

    Pictures are `height` × `width`, seen through the `augment` of that name (`training.settings.AUGMENTS`) and
    normalised as the backbone wants; a batch has `people` × `images`. The learning rate starts at `warmup_from`·`lr`,
    rises linearly over `warmup` epochs, then falls to `gamma` of itself at each of the `milestones` (step), or stays
    until `flat` and falls along half a cosine to `final`·`lr` at the last epoch (cosine). Biases learn `bias_lr` times
    as fast. Each of the `speeds` is the beginning of parameters' names and how many times as fast these learn, 0 for
    not at all; where several fit, the longest counts. SGD has a momentum of 0.9, that of `nesterov` if so. Gradients
    longer than `clip` are shortened. With `twins` each picture comes with its occluded twin, which shares its luck: see
    `Method`.
    """

    height: int = 256  # of pictures, as the network sees them
    width: int = 128
    augment: str = "bot"  # done to pictures in training: none, flip, bot, bpbreid, transreid, tsd, tsd-paper, ogfr
    people: int = 16  # of a batch
    images: int = 4  # of each of these
    epochs: int = 120
    optimiser: Optimiser = "adam"
    lr: float = 3.5e-4  # the greatest learning rate
    weight_decay: float = 5e-4
    bias_lr: float = 1.0  # how many times as fast biases learn
    warmup: int = 10  # epochs until the greatest rate
    warmup_from: float = 0.01  # share of the rate to begin with
    schedule: Schedule = "step"  # how the rate falls
    milestones: tuple[int, ...] = (40, 70)  # step: epochs at which it does
    gamma: float = 0.1  # step: to which share of itself
    flat: int = 0  # cosine: epoch from which it does
    final: float = 0.002  # cosine: share of the rate at the end
    clip: float | None = None  # longest gradient; none: any
    nesterov: bool = False  # of sgd
    speeds: tuple[tuple[str, float], ...] = ()  # beginnings of parameters' names, how many times as fast they learn
    twins: bool = False  # each picture with its occluded twin

    def __post_init__(self) -> None:
        check_choice("recipe.optimiser", self.optimiser, Optimiser)
        check_choice("recipe.schedule", self.schedule, Schedule)
        for name, value in vars(self).items():
            if isinstance(value, int | float) and not 0 <= value < math.inf:  # NaN is neither
                raise InputError(f"recipe.{name} is {value}; give a number of 0 or more")
        if self.clip == 0:
            raise InputError("recipe.clip is 0, and nothing would be learned; give more, or none for no limit")


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """The learning rate at `epoch` (0 is the start; parts of epochs count)."""
    if epoch < recipe.warmup:
        return recipe.lr * (recipe.warmup_from + (1 - recipe.warmup_from) * epoch / recipe.warmup)
    if recipe.schedule == "step":
        return recipe.lr * recipe.gamma ** sum(epoch >= milestone for milestone in recipe.milestones)
    start = max(recipe.warmup, recipe.flat)
    share = max(0, epoch - start) / max(1, recipe.epochs - start)
    fall = 0.5 * (1 + math.cos(math.pi * min(share, 1)))
    return recipe.lr * (recipe.final + (1 - recipe.final) * fall)


class Exhibit(NamedTuple):
    """What a network has to show of B pictures beside its vectors; `title` says in a phrase what that is.

    `kind` says what `values` are, one for each of the K `names`: "parts" [B,K+1,h,w] share each place among them and,
    first, the background; "strengths" [B,K,h,w] are maps of any scale, "erased" maps of 1 where the network saw nothing
    of the picture; "bars" [B,K] are probabilities. `seen` [B,K] is not 0 where the method takes what is named for seen.
    Of B pictures and as many twins there are rows for all 2B, or for one half: for the twins' if `twins`.
    """

    title: str
    kind: Literal["parts", "strengths", "erased", "bars"]
    names: tuple[str, ...]
    values: Tensor
    seen: Tensor | None = None
    twins: bool = False


@dataclass(frozen=True)
class Method:
    """A paper as the house sees it.

    `config` is its dataclass of named deviations; `network(config, people, *, image, weights)` makes the module for
    pictures of that size, with weights to begin with; for 0 people it has only what testing needs. Its `forward(images,
    cues=None)` takes normalised float images [B,3,H,W] and returns the method's Output; `embed(output)` is all that
    test time uses; `losses(output, batch, config)` has one entry per equation, weights included, and the loop minimises
    their sum. `needs` names the cues it may see: at training one of those listed suffices (all say where the parts
    are), at test time it is handed nothing but these, and what edits hide of them. `distance` compares embeddings.
    `rests`: for how many steps a part of it does nothing, by the field that says so. These three are those of the
    config's defaults; `varies(config)` says what another config makes of them. `rows` are the configs of the paper's
    tables, by name. `watch`, called as `losses` is, has numbers to be logged, not minimised. `shows(output, config)`
    picks out of an Output what people may want to look at.

    Where the recipe wants `twins`, `forward` is given 2B pictures in training, the occluded twins behind the others,
    and their cues likewise; `batch` has B rows, and `batch.partner` those of the twins.
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
    rests: Mapping[str, int] = field(default_factory=dict)
    rows: Mapping[str, Any] = field(default_factory=dict)
    watch: Callable[[Any, Batch, Any], dict[str, Tensor]] | None = None
    shows: Callable[[Any, Any], Sequence[Exhibit]] | None = None

    def of(self, config: Any) -> Method:
        """This method as `config` has it."""
        return replace(self, **self.varies(config)) if self.varies else self
