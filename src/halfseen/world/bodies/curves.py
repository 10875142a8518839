"""Smooth curves through a few given points, the measures of bodies and clothes."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

Knots = tuple[tuple[float, ...], ...]  # rows: a place, and the values there; places ascend

STEPS = 96  # between the first and the last knot


def curve(knots: Knots, at: Tensor) -> tuple[Tensor, ...]:
    """The values of `knots` at `at` [N,R], each [N,R]; before the first and after the last knot they stay."""
    first, last = knots[0][0], knots[-1][0]
    table = _table(knots, at.device)
    place = ((at - first) * (STEPS / (last - first))).clamp(0, STEPS)
    cell = place.floor().clamp(max=STEPS - 1)
    low = table[cell.long()]
    high = table[cell.long() + 1]
    return (low + (high - low) * (place - cell)[..., None]).unbind(-1)


@cache
def _table(knots: Knots, device: torch.device) -> Tensor:
    first, last = knots[0][0], knots[-1][0]
    return torch.tensor(
        [between(knots, first + (last - first) * step / STEPS) for step in range(STEPS + 1)], device=device
    )


def between(knots: Knots, at: float) -> list[float]:
    """Cubic pieces whose slope at a knot is that between its neighbours, and 0 where a value has its extreme."""
    right = next((n for n, knot in enumerate(knots) if knot[0] >= at), len(knots) - 1)
    right = max(1, right)
    (x0, *low), (x1, *high) = knots[right - 1], knots[right]
    width = x1 - x0
    share = min(1.0, max(0.0, (at - x0) / width))
    slopes = _slopes(knots, right - 1), _slopes(knots, right)
    a, b = share * share * (3 - 2 * share), share * (1 - share)
    return [
        v0 + (v1 - v0) * a + width * b * (s0 * (1 - share) - s1 * share)
        for v0, v1, s0, s1 in zip(low, high, *slopes, strict=True)
    ]


def _slopes(knots: Knots, number: int) -> list[float]:
    before, here, after = (knots[min(max(n, 0), len(knots) - 1)] for n in (number - 1, number, number + 1))
    slopes = []
    for x0, x1, x2 in zip(before[1:], here[1:], after[1:], strict=True):
        turns = (x1 - x0) * (x2 - x1) <= 0
        slopes.append(0.0 if turns else (x2 - x0) / (after[0] - before[0]))
    return slopes
