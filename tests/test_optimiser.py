"""Two steps of each optimiser, number by number: decay that joins the gradient, and rates that move between steps."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from torch import nn

from halfseen.recipe import Recipe
from halfseen.training.learning import learn, make_optimiser

RECIPE = Recipe(lr=0.1, weight_decay=0.5, bias_lr=2.0)  # a decay so strong that it cannot be overlooked
RATES = (0.1, 0.02)  # as the schedule says, step by step


class Scalar(NamedTuple):
    """A parameter of one number: where it begins, its slopes in both steps, and how many times as fast it learns."""

    begin: float
    slopes: tuple[float, float]
    speed: float


NUMBERS = {"weight": Scalar(2.0, (3.0, -0.25), 1.0), "bias": Scalar(-1.0, (0.5, 4.0), 2.0)}


def stepped(recipe: Recipe) -> dict[str, list[float]]:
    """Where weight and bias are after each step."""
    layer = nn.Linear(1, 1)
    named = dict(layer.named_parameters())
    for name, value in named.items():
        nn.init.constant_(value, NUMBERS[name].begin)
    optimiser = make_optimiser(layer, recipe)
    seen: dict[str, list[float]] = {name: [] for name in named}
    for step, rate in enumerate(RATES):
        for group in optimiser.param_groups:
            group["lr"] = rate * group["speed"]
        for name, value in named.items():
            value.grad = torch.full_like(value, NUMBERS[name].slopes[step])
        learn(optimiser, layer, [torch.zeros(())], None)
        for name, value in named.items():
            seen[name].append(value.item())
    return seen


def test_adam_by_hand() -> None:
    """First and second moments of 0.9 and 0.999, both unbiased; what weight decay adds goes through them."""
    seen = stepped(RECIPE)
    for name, (begin, slopes, speed) in NUMBERS.items():
        value, mean, square = begin, 0.0, 0.0
        for step, (rate, slope) in enumerate(zip(RATES, slopes, strict=True), 1):
            gradient = slope + 0.5 * value
            mean = 0.9 * mean + 0.1 * gradient
            square = 0.999 * square + 0.001 * gradient**2
            value -= speed * rate * (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)) ** 0.5 + 1e-8)
            assert seen[name][step - 1] == pytest.approx(value, rel=1e-5)


def test_adam_in_numbers() -> None:
    """The same without formulas: the first step goes one rate towards less, whatever the slope."""
    seen = stepped(RECIPE)
    assert seen["weight"][0] == pytest.approx(2.0 - 0.1)
    assert seen["bias"][0] == -1.0  # a slope of 0.5 and a decay of −0.5 cancel each other


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_by_hand(nesterov: bool) -> None:
    """A momentum of 0.9 that is not damped, of gradients with their decay; the rate is that of the moment."""
    seen = stepped(replace(RECIPE, optimiser="sgd", nesterov=nesterov))
    for name, (begin, slopes, speed) in NUMBERS.items():
        value, velocity = begin, 0.0
        for step, (rate, slope) in enumerate(zip(RATES, slopes, strict=True)):
            gradient = slope + 0.5 * value
            velocity = 0.9 * velocity + gradient
            value -= speed * rate * (gradient + 0.9 * velocity if nesterov else velocity)
            assert seen[name][step] == pytest.approx(value, rel=1e-5)
