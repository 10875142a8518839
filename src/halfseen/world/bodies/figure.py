"""The numbers of people that their meshes depend on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from halfseen.world.people import Person


@dataclass(frozen=True)
class Figure:
    """N people, all [N] floats. Most are as in `Person`; what is an enumeration there is its number.

    `trunk` and `limb`: how much thicker than average. `reach` and `width`: the length and width of the lower wear.
    `volume`: of the hair, 0..1.
    """

    height: Tensor
    trunk: Tensor
    limb: Tensor
    shoulders: Tensor
    hips: Tensor
    belly: Tensor
    bust: Tensor
    hair: Tensor
    headwear: Tensor
    jaw: Tensor
    volume: Tensor
    top: Tensor
    sleeve: Tensor
    fit: Tensor
    length: Tensor
    outer: Tensor
    bottom: Tensor
    reach: Tensor
    width: Tensor
    shaft: Tensor
    slow_cos: Tensor
    slow_sin: Tensor
    quick_cos: Tensor
    quick_sin: Tensor

    @property
    def waves(self) -> Tensor:
        """[N,4]: cosine and sine of two angles in which folds of people's clothes differ."""
        return torch.stack([self.slow_cos, self.slow_sin, self.quick_cos, self.quick_sin], 1)


def figure(people: Sequence[Person], device: torch.device) -> Figure:
    return Figure(*torch.tensor([_numbers(person) for person in people], device=device).unbind(1))


def _numbers(person: Person) -> tuple[float, ...]:
    """In the order of `Figure`."""
    build, head, upper, lower = person.build, person.head, person.upper, person.lower
    one = 2 * math.pi * _chance(build.height, upper.fit, lower.width)
    two = 2 * math.pi * _chance(build.girth, upper.length, lower.length)
    volume = _chance(head.eyes, head.brows, head.hair_cloth.chance)
    return (
        *(build.height, build.girth, 0.35 + 0.65 * build.girth),
        *(build.shoulders, build.hips, build.belly, build.bust),
        *(float(head.hair), float(head.headwear), head.jaw, volume),
        *(float(upper.top), upper.sleeve, upper.fit, upper.length, float(upper.outer)),
        *(float(lower.bottom), lower.length, lower.width, person.shoes.shaft),
        *(math.cos(one), math.sin(one), math.cos(two), math.sin(two)),
    )


def _chance(*numbers: float) -> float:
    """A number 0..1 that depends wildly on those given."""
    return (997.0 * sum((2 * n + 1) * number for n, number in enumerate(numbers))) % 1.0
