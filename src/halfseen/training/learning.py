"""How weights change: the optimiser, one step of it, and what the step says of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from math import inf
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from halfseen.encode import handed, normalised, with_twins
from halfseen.recipe import Method, Recipe
from halfseen.training.tiers import SPEEDS
from halfseen.types import Batch, InputError

MOMENTUM = 0.9  # of SGD
FALLS = {"milestones": "step", "gamma": "step", "flat": "cosine", "final": "cosine"}  # schedules that know these
ALWAYS = ("hidden", "occluder")  # what every method may know in training: it was done to the pictures here


class Said(NamedTuple):
    """What a step says: its losses by name, and `lr`, `gradient` (its length) and what the method watches."""

    losses: dict[str, float]
    others: dict[str, float]


class Step(NamedTuple):
    """One step on one batch, when `number` steps were done. Its numbers [] may still be on their way."""

    number: int
    batch: Batch
    rate: float
    losses: dict[str, Tensor]
    length: Tensor  # of the gradient
    watched: dict[str, Tensor]

    def read(self) -> Said:
        """Wait for the numbers."""
        names = (*self.losses, "gradient", *self.watched)
        numbers = [*self.losses.values(), self.length, *self.watched.values()]
        others = dict(zip(names, torch.stack([number.float() for number in numbers]).tolist(), strict=True))
        return Said({name: others.pop(name) for name in self.losses}, {"lr": self.rate, **others})


def make_optimiser(network: nn.Module, recipe: Recipe) -> Optimizer:
    """Adam or SGD, fused as `learn` needs it; `speed` of a group is how many times as fast as the recipe it learns."""
    trained = {name: value for name, value in network.named_parameters() if value.requires_grad}
    groups: dict[float, list[nn.Parameter]] = {}
    for name, value in trained.items():
        groups.setdefault(_speed(name, recipe), []).append(value)
    options = [{"params": values, "speed": speed} for speed, values in groups.items()]
    if recipe.optimiser == "adam":
        return Adam(options, recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    return SGD(options, recipe.lr, MOMENTUM, weight_decay=recipe.weight_decay, nesterov=recipe.nesterov, fused=True)


def freeze(network: nn.Module, recipe: Recipe) -> None:
    """What learns 0 times as fast gets no gradient, and so costs no backward pass where nothing before it learns."""
    for name, value in network.named_parameters():
        value.requires_grad_(value.requires_grad and _speed(name, recipe) > 0)
    if not any(value.requires_grad for value in network.parameters()):
        raise InputError("recipe.speeds lets nothing learn; leave something above 0")


def _speed(name: str, recipe: Recipe) -> float:
    fitting = [(len(beginning), factor) for beginning, factor in recipe.speeds if name.startswith(beginning)]
    return max(fitting, default=(0, 1.0))[1] * (recipe.bias_lr if name.endswith("bias") else 1)


def check_recipe(method: Method, recipe: Recipe, network: nn.Module, processes: int, steps: int) -> None:
    """Refuse what cannot be, in epochs of so many `steps`; speeds of a method's own recipe or of a tier may be for
    parts that some networks lack."""
    _check_rates(recipe)
    for name, resting in method.rests.items():
        if resting >= recipe.epochs * steps:
            raise InputError(
                f"{name} is {resting:,} steps, and there are {recipe.epochs * steps:,} in all; set it to fewer, or "
                f"recipe.epochs to more"
            )
    if recipe.twins != method.recipe.twins:
        raise InputError(
            f"{method.name} learns from {'pairs of pictures' if method.recipe.twins else 'single pictures'}; "
            f"leave recipe.twins as it is"
        )
    if processes > 1 and recipe.people < 2 * processes:
        raise InputError(
            f"of {recipe.people} people a batch {processes} processes get {recipe.people // processes} each, and one "
            f"person alone has no negatives; begin fewer processes, or set recipe.people to {2 * processes} or more"
        )
    if recipe.people * recipe.images < 2:
        raise InputError(
            f"recipe.people is {recipe.people} and recipe.images {recipe.images}, and the norms of a network compare "
            f"the pictures of a batch with each other; give 2 or more of either"
        )
    if recipe.nesterov and recipe.optimiser != "sgd":
        raise InputError(
            f"recipe.nesterov is a momentum of SGD's, and the optimiser is {recipe.optimiser}; "
            f"set recipe.optimiser to sgd, or leave nesterov out"
        )
    names = [name for name, _ in network.named_parameters()]
    for beginning, factor in (speed for speed in recipe.speeds if speed not in (*method.recipe.speeds, *SPEEDS)):
        if not any(name.startswith(beginning) for name in names):
            known = ", ".join(dict.fromkeys(name.partition(".")[0] for name in names))
            raise InputError(
                f"recipe.speeds has {beginning!r}, with which the name of no parameter begins; they begin with {known}"
            )
        if not 0 <= factor < inf:
            raise InputError(
                f"recipe.speeds has {beginning!r} learn {factor} times as fast; give a number of 0 or more"
            )


def _check_rates(recipe: Recipe) -> None:
    if not recipe.epochs:
        raise InputError("recipe.epochs is 0, and nothing would be learned; give 1 or more")
    if not recipe.lr:
        raise InputError("recipe.lr is 0, and nothing would be learned; give more")
    if early := [milestone for milestone in recipe.milestones if milestone < 0]:
        raise InputError(f"recipe.milestones has {early[0]}; give epochs of 0 or more")


def check_given(recipe: Recipe, usual: Recipe) -> None:
    """Refuse what was changed from the `usual` recipe, and would change nothing."""
    given = [name for name, value in vars(recipe).items() if value != getattr(usual, name)]
    for name in given:
        if (schedule := FALLS.get(name, recipe.schedule)) != recipe.schedule:
            raise InputError(
                f"recipe.{name} is of the schedule {schedule}, and the schedule is {recipe.schedule}; "
                f"set recipe.schedule to {schedule}, or leave {name} out"
            )
    if "warmup_from" in given and not recipe.warmup:
        raise InputError(
            "recipe.warmup_from is where a warm-up begins, and recipe.warmup is 0; set that to 1 or more, or leave "
            "warmup_from out"
        )


def check_triplets(method: Method, config: Any, recipe: Recipe, network: nn.Module, first: Callable[[], Batch]) -> None:
    """Refuse batches in which a loss finds no triplet: it would be 0, and nobody would hear of it. Which losses there
    are, only the `first` batch tells, shown to a copy of the network."""
    if min(recipe.people, recipe.images) > 1:
        return
    batch, trial = handed(first(), {*method.needs["train"], *ALWAYS}, torch.device("cpu")), deepcopy(network)
    images, cues = with_twins(batch)
    terms = method.losses(trial(normalised(trial, images), cues), batch, config)
    if names := [name for name in terms if "triplet" in name]:
        raise InputError(
            f"recipe.people is {recipe.people} and recipe.images {recipe.images}, and the loss {names[0]!r} compares "
            f"pictures of one person with those of another; give 2 or more of either"
        )


def learn(optimiser: Optimizer, network: nn.Module, losses: Iterable[Tensor], clip: float | None) -> Tensor:
    """Take a step, unless one of the `losses` or the gradient is no finite number; returns the gradient's length.

    A gradient longer than `clip` is shortened. Fused optimisers hear of both on their device, as they do where losses
    are scaled, so nobody waits for a GPU.
    """
    slopes = [value.grad.norm() for value in network.parameters() if value.grad is not None]
    length = torch.stack(slopes).square().sum().sqrt()
    told = vars(optimiser)
    told["found_inf"] = (~torch.stack([*losses, length]).isfinite().all()).float()
    told["grad_scale"] = None if clip is None else (length / clip).clamp(min=1)
    optimiser.step()
    return length
