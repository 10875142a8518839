"""What floors are made of and what lies on them. Each function paints a canvas: u is metres to the right, v ahead."""

from __future__ import annotations

import torch
from torch import Tensor

from halfseen.world.people import Colour
from halfseen.world.scenery.canvas import (
    Canvas,
    Spots,
    between,
    box,
    chance,
    clouds,
    disc,
    scaled,
    soft,
    strip,
    stripes,
    tint,
)


def cell_colours(x: Tensor, y: Tensor | float, seed: int, lively: float = 0.5) -> Tensor:
    """[3,n]: a colour for each pair of whole numbers, from greys (`lively` 0) to gaudy ones (1)."""
    grey = 0.12 + 0.75 * chance(x, y, seed)
    hues = torch.stack([chance(x, y, seed + channel) for channel in (1, 2, 3)])
    return torch.lerp(grey.expand(3, -1), hues, lively * chance(x, y, seed + 4))


def dirt(on: Canvas, seed: int, size: float, strength: float) -> None:
    """Stains and worn places of all sizes up to `size` metres."""
    on.shade(1 + strength * (2 * clouds(on.at, size, seed, 5) - 1).clamp(-0.8, 0.8))


def asphalt(on: Canvas, seed: int, colour: Colour = (0.53, 0.53, 0.53)) -> None:
    """Mended, stained, cracked, with light stones in it."""
    at = on.at
    on.lay(colour)
    column, row = (at.u / 3.1).floor(), (at.v / 4.7).floor()
    mended = box(at.moved(column * 3.1, row * 4.7), (0.35, 2.7), (0.4, 3.6)) * (chance(column, row, seed) > 0.8)
    on.lay((0.43, 0.43, 0.44), mended)
    dirt(on, seed + 2, 2.5, 0.25)
    on.lay((0.30, 0.30, 0.30), 0.5 * soft(0.72, 0.9, clouds(at, 0.7, seed + 5, 4)))  # oil
    on.shade(0.75 + 0.5 * clouds(at, 0.03, seed + 3, 2))
    crack = (clouds(at, 1.3, seed + 4, 4) - 0.5).abs()
    on.shade(1 - 0.45 * (1 - soft(0.0, 0.01, crack)) * (0.02 / at.du).clamp(max=1))


def drains(on: Canvas, seed: int, period: float) -> None:
    """Iron covers, round or square, here and there."""
    at = on.at
    column, row = (at.u / period).floor(), (at.v / period).floor()
    cell = at.moved((column + 0.2 + 0.6 * chance(column, row, seed)) * period, (row + 0.5) * period)
    kind = chance(column, row, seed + 1)
    cover = torch.where(kind > 0.7, disc(cell, 0, 0, 0.33), box(cell, (-0.3, 0.3), (-0.22, 0.22))) * (kind > 0.4)
    on.lay((0.33, 0.32, 0.31), cover)
    on.shade(1 - 0.5 * cover * stripes(at.u, 0.08, 0.035, at.du))


def litter(
    on: Canvas, seed: int, period: float = 0.7, colour: Colour = (0.46, 0.36, 0.20), largest: float = 0.07
) -> None:
    """Leaves and scraps: in every square of `period` metres one or none."""
    at = on.at
    column, row = (at.u / period).floor(), (at.v / period).floor()
    across, along, kind, slim = (chance(column, row, seed + number) for number in range(4))
    cell = at.moved((column + 0.15 + 0.7 * across) * period, (row + 0.15 + 0.7 * along) * period)
    size = (0.3 + 0.7 * kind) * largest
    there = ((size - torch.hypot(cell.u, cell.v * (0.7 + slim))) / at.du + 0.5).clamp(0, 1) * (kind > 0.4)
    own = torch.lerp(tint(colour, at.u), cell_colours(column, row, seed + 5, 0.2), 0.5)
    on.lay(own, there * (size / at.du).clamp(max=1))


def lane_marks(on: Canvas, v: float, *, width: float = 0.14, dash: float = 3.0, gap: float = 2.0) -> None:
    """A worn white line along u, broken unless `gap` is 0."""
    line = strip(on.at.v, v, v + width, on.at.dv) * stripes(on.at.u, dash + gap, dash, on.at.du)
    on.lay((0.86, 0.86, 0.82), line * _worn(on.at, 7))


def zebra(on: Canvas, left: float, right: float, near: float, far: float) -> None:
    bars = stripes(on.at.v - far, 1.0, 0.5, on.at.dv) * box(on.at, (left, right), (near, far))
    on.lay((0.88, 0.88, 0.85), bars * _worn(on.at, 11))


def _worn(at: Spots, seed: int) -> Tensor:
    return 0.95 - 0.85 * soft(0.55, 0.85, clouds(at, 0.2, seed, 4))


def slabs(  # noqa: PLR0913  (keyword-only: what paving differs in)
    on: Canvas,
    seed: int,
    *,
    size: tuple[float, float] = (0.5, 0.5),
    colour: Colour = (0.60, 0.58, 0.55),
    joint: float = 0.012,
    mortar: Colour | None = None,
    bond: float = 0.0,
    uneven: float = 0.16,
    grime: float = 0.14,
) -> None:
    """Stones of `size` metres; every other row is moved by `bond` of a stone. They differ by `uneven` in brightness."""
    at = on.at
    row = (at.v / size[1]).floor()
    u = at.u + row % 2 * (bond * size[0])
    column = (u / size[0]).floor()
    on.lay(colour)
    far = (1.5 * min(size) / at.dv - 0.5).clamp(0, 1)  # stones that cannot be told apart look alike
    on.shade(1 + uneven * far * (2 * chance(column, row, seed) - 1))
    dirt(on, seed + 1, 3.0, grime)
    on.shade(0.9 + 0.2 * clouds(at, 0.05, seed + 2, 2))
    joints = 1 - (1 - stripes(u, size[0], joint, at.du)) * (1 - stripes(at.v, size[1], joint, at.dv))
    on.lay(mortar or scaled(colour, 0.42), joints * 0.85)


def grass(on: Canvas, seed: int) -> None:
    at = on.at
    lush = clouds(at, 1.7, seed, 3)
    on.lay(between((0.42, 0.43, 0.24), (0.28, 0.36, 0.17), lush))
    on.lay((0.52, 0.47, 0.33), soft(0.68, 0.85, clouds(at, 2.3, seed + 1, 5)) * 0.8)
    blades = clouds(at, (0.04, 0.11), seed + 2, 3)
    on.shade(0.55 + 0.9 * blades)
    on.lay((0.58, 0.60, 0.34), soft(0.78, 0.9, clouds(at, (0.05, 0.1), seed + 3, 1)) * 0.5)


def gravel(on: Canvas, seed: int, share: Tensor, colour: Colour = (0.66, 0.60, 0.50)) -> None:
    """A path over the `share` [n] of what is there."""
    at = on.at
    stones = (0.72 + 0.28 * clouds(at, 0.05, seed, 3)) * (0.75 + 0.5 * clouds(at, 1.8, seed + 1, 4))
    on.lay(tint(colour, at.u) * stones * 1.15, share)
