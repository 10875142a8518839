"""What is above a place: what its sun must pass, its sky or its ceiling.

Shade is said for points of the floor, skies are painted on a wall 100 m away (u along, v up), ceilings from above.
"""

from __future__ import annotations

import torch
from torch import Tensor

from halfseen.world.scenery.canvas import Canvas, Spots, between, box, chance, clouds, soft, strip, stripes
from halfseen.world.scenery.surfaces import slabs
from halfseen.world.scenery.walls import concrete

# What falls between the sun and a place


def clear(at: Spots, seed: int) -> Tensor:
    """Only thin clouds."""
    return 0.85 + 0.15 * soft(0.4, 0.6, clouds(at, 9.0, seed, 2))


def under_trees(at: Spots, seed: int) -> Tensor:
    """Flecks of light in the shade, and clearings."""
    return soft(0.40, 0.56, clouds(at, 0.8, seed, 4) + 0.5 * (clouds(at, 4.5, seed + 1, 2) - 0.4))


def by_trees(at: Spots, seed: int) -> Tensor:
    """In the sun, with the shade of a branch here and there."""
    return 1 - 0.85 * soft(0.62, 0.74, clouds(at, 1.1, seed, 4) + 0.7 * (clouds(at, 6.0, seed + 1, 2) - 0.5))


def by_houses(at: Spots, seed: int) -> Tensor:
    """Roofs throw their shade over a part of it, with a jagged edge."""
    edge = 0.8 * chance((at.u / 4.3).floor(), 0, seed) - 4.6 - 0.3 * at.u
    return 0.1 + 0.9 * ((edge - at.v) / (0.15 + at.dv) + 0.5).clamp(0, 1)


def by_posts(at: Spots, seed: int) -> Tensor:
    """Shadows of poles, wires and a sign that the picture does not show."""
    along, across = at.u * 0.8 + at.v * 0.6, at.v * 0.8 - at.u * 0.6
    span = at.du + at.dv + 0.03
    posts = stripes(across + 0.7 * (seed % 8), 5.3, 0.16, span) + 0.6 * stripes(along + 2.0, 7.1, 0.05, span)
    sign = strip(across % 21.2, 4.6, 6.2, span) * strip(along % 21.3, 4.0, 5.0, span)
    return 1 - 0.85 * (posts + sign).clamp(max=1)


def lamps(at: Spots, seed: int) -> Tensor:
    """Pools of light under rows of lamps."""
    del seed
    return 0.75 + 0.25 * torch.cos(at.u * 2.1) * torch.cos(at.v * 1.6)


# Skies and ceilings


def _sky(on: Canvas, seed: int, low: tuple[float, float, float], high: tuple[float, float, float]) -> None:
    at = on.at
    on.lay(between(low, high, (at.v / 60).clamp(0, 1)))
    on.lay((1.02, 1.02, 1.02), soft(0.4, 0.9, clouds(at, (120.0, 40.0), seed, 3)) * 0.5)


def blue(on: Canvas, seed: int) -> None:
    _sky(on, seed, (0.86, 0.91, 0.96), (0.50, 0.68, 0.92))
    _skyline(on, seed)


def grey(on: Canvas, seed: int) -> None:
    _sky(on, seed, (0.92, 0.93, 0.95), (0.84, 0.86, 0.89))
    _skyline(on, seed)


def evening(on: Canvas, seed: int) -> None:
    _sky(on, seed, (0.98, 0.82, 0.62), (0.62, 0.66, 0.78))
    _skyline(on, seed)


def _skyline(on: Canvas, seed: int) -> None:
    """Houses and trees in the haze."""
    at = on.at
    houses = 9 + 14 * chance((at.u / 11).floor(), 0, seed + 5)
    on.lay(0.54 + 0.12 * clouds(at, 3.0, seed + 8, 3).expand(3, -1), ((houses - at.v) / at.dv + 0.5).clamp(0, 1))
    panes = stripes(at.u, 2.2, 1.1, at.du) * stripes(at.v, 3.0, 1.5, at.dv)
    on.lay((0.42, 0.46, 0.52), panes * (at.v < houses - 1) * 0.7)
    trees = 7 + 9 * clouds(at, (9.0, 400.0), seed + 6, 5)
    on.lay((0.30, 0.36, 0.24), soft(0.0, 1.2, trees - at.v + 2 * (clouds(at, 1.5, seed + 7, 3) - 0.5)))


def ceiling(on: Canvas, seed: int) -> None:
    """Panels with square lamps among them."""
    slabs(on, seed, size=(0.6, 0.6), colour=(0.78, 0.77, 0.74), joint=0.02, uneven=0.03)
    cell = Spots(on.at.u % 3.0 - 1.5, on.at.v % 2.4 - 1.2, on.at.du, on.at.dv)
    on.lay((1.5, 1.45, 1.3), box(cell, (-0.6, 0.6), (-0.3, 0.3)), glow=1.0)


def tubes(on: Canvas, seed: int) -> None:
    """Concrete with rows of fluorescent tubes."""
    concrete(on, seed, (0.40, 0.41, 0.41))
    cell = Spots(on.at.u % 2.6 - 1.3, on.at.v % 1.8 - 0.9, on.at.du, on.at.dv)
    on.lay((1.55, 1.65, 1.55), box(cell, (-0.08, 0.08), (-0.75, 0.75)), glow=1.0)
