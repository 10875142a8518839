"""Eight places to walk about in: what their floors, walls, skies and lights are, and what stands there.

On a floor or a ceiling u is metres to the right and v metres beyond where people pass (below 0: where they pass), on a
wall u is metres along and v metres up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from halfseen.world.scenery import clutter, overhead, surfaces, walls
from halfseen.world.scenery.canvas import Canvas, Spots, box, clouds, soft, strip, stripes

Painter: TypeAlias = Callable[[Canvas, int], None]


@dataclass(frozen=True)
class Row:
    """Things of one kind in a row `behind` metres beyond where people pass: about every `step` metres one, each with
    the probability `often`. They reach `half` metres to either side and are at most `tall` metres high."""

    draw: Painter
    behind: float
    step: float
    half: float
    tall: float
    often: float = 0.8


@dataclass(frozen=True)
class Place:
    """What paints it, and its measures in metres.

    `wall` stands `behind` where people pass, the `side` walls `beside` that; all are `tall`. `above` is the ceiling if
    `indoors`, else the sky. `shade`: how much of the sun [n] arrives at points of the floor. `turn`: degrees by which
    the wall is turned from straight across the picture; if that is positive, it is farther away on the right. `gloss`
    0..1: how much the floor mirrors.
    """

    floor: Painter
    wall: Painter
    side: Painter
    above: Painter
    shade: Callable[[Spots, int], Tensor]
    behind: float
    tall: float
    beside: float
    turn: float
    clutter: tuple[Row, ...]
    gloss: float = 0.0
    indoors: bool = False


# Floors


def _road(on: Canvas, seed: int) -> None:
    """It runs across the picture, up to a kerb; behind that is a pavement."""
    at = on.at
    surfaces.asphalt(on, seed)
    surfaces.drains(on, seed + 4, 4.1)
    surfaces.lane_marks(on, -3.4)
    surfaces.lane_marks(on, 0.2, gap=0.0, width=0.1)
    surfaces.zebra(on, -13.0, -9.4, -20.0, 2.6)
    surfaces.litter(on, seed + 5, 1.3)
    kerb = Canvas(at.moved(0, 3.3))
    surfaces.slabs(kerb, seed + 1, size=(0.4, 0.4), colour=(0.64, 0.62, 0.59), bond=0.5)
    kerb.lay((0.72, 0.71, 0.68), strip(at.v, 3.2, 3.45, at.dv))
    kerb.lay((0.24, 0.24, 0.24), strip(at.v, 3.05, 3.2, at.dv))
    on.lay(kerb.colour, strip(at.v, 3.05, 99, at.dv))


def _pavement(on: Canvas, seed: int) -> None:
    surfaces.slabs(on, seed, size=(0.6, 0.4), colour=(0.55, 0.55, 0.54), bond=0.5, uneven=0.14, grime=0.24)
    surfaces.litter(on, seed + 5, 0.3, (0.25, 0.25, 0.25), 0.035)  # chewing gum
    surfaces.drains(on, seed + 6, 4.4)


def _flags(on: Canvas, seed: int) -> None:
    """Light flagstones, a darker gutter before the shops."""
    surfaces.slabs(on, seed, size=(0.9, 0.6), colour=(0.68, 0.64, 0.58), joint=0.015, bond=0.5, uneven=0.12, grime=0.2)
    dark = Canvas(on.at)
    surfaces.slabs(dark, seed + 1, size=(0.11, 0.11), colour=(0.42, 0.40, 0.38), joint=0.014, uneven=0.3)
    bands = strip(on.at.v % 3.6, 0, 0.45, on.at.dv)
    on.lay(dark.colour, bands)
    surfaces.drains(on, seed + 4, 5.0)
    surfaces.litter(on, seed + 5, 0.9)


def _meadow(on: Canvas, seed: int) -> None:
    at = on.at
    surfaces.grass(on, seed)
    middle = 1.5 * torch.sin(0.22 * at.v + 1) + 0.35 * (clouds(at, 0.8, seed + 5, 4) - 0.5)
    surfaces.gravel(on, seed + 6, soft(1.75, 1.45, (at.u + 6.5 - middle).abs()))
    surfaces.litter(on, seed + 7, 0.5)


def _tiles(on: Canvas, seed: int) -> None:
    surfaces.slabs(on, seed, size=(0.6, 0.6), colour=(0.70, 0.67, 0.61), joint=0.006, uneven=0.06, grime=0.05)
    dark = box(Spots(on.at.u % 2.4, on.at.v % 2.4, on.at.du, on.at.dv), (0, 0.6), (0, 0.6))
    on.lay((0.38, 0.33, 0.29), dark * 0.85)
    on.shade(0.95 + 0.1 * clouds(on.at, 0.12, seed + 4, 3))


def _granite(on: Canvas, seed: int) -> None:
    """Large slabs, bands of dark small ones, steps at the far end."""
    at = on.at
    surfaces.slabs(on, seed, size=(1.2, 0.8), colour=(0.62, 0.60, 0.57), joint=0.014, bond=0.5, uneven=0.12)
    on.shade(0.82 + 0.36 * clouds(at, 0.03, seed + 5, 2))
    grid = torch.maximum(strip(at.u % 6.0, 0, 0.6, at.du), strip(at.v % 4.8, 0, 0.6, at.dv))
    small = Canvas(at)
    surfaces.slabs(small, seed + 6, size=(0.2, 0.2), colour=(0.40, 0.37, 0.36), uneven=0.25)
    on.lay(small.colour, grid)
    steps = strip(at.v, 5.0, 7.1, at.dv)
    on.shade(1 - steps * (0.45 * stripes(at.v - 5.0, 0.7, 0.3, at.dv) - 0.12))


def _platform(on: Canvas, seed: int) -> None:
    """Terrazzo with a strip for blind people's canes."""
    at = on.at
    surfaces.slabs(on, seed, size=(0.4, 0.4), colour=(0.52, 0.53, 0.52), joint=0.008, uneven=0.1, grime=0.2)
    on.shade(0.85 + 0.3 * clouds(at, 0.025, seed + 4, 1))
    yellow = Canvas(at)
    surfaces.slabs(yellow, seed + 5, size=(0.4, 0.4), colour=(0.72, 0.60, 0.16), uneven=0.12, grime=0.3)
    yellow.shade(0.85 + 0.3 * stripes(at.u, 0.08, 0.04, at.du))
    on.lay(yellow.colour, torch.maximum(strip(at.u, 1.0, 1.4, at.du), strip(at.v, 0.4, 0.8, at.dv)))


def _clinker(on: Canvas, seed: int) -> None:
    """Small red-brown stones, a lawn on the left behind a kerb."""
    at = on.at
    surfaces.slabs(
        on, seed, size=(0.24, 0.12), colour=(0.63, 0.51, 0.46), joint=0.012, bond=0.5, uneven=0.28, grime=0.2
    )
    lawn = Canvas(at)
    surfaces.grass(lawn, seed + 5)
    on.lay(lawn.colour, torch.maximum(strip(at.u, -99, 2.8, at.du), strip(at.v, 1.4, 3.6, at.dv)))
    kerb = torch.maximum(strip(at.u, 2.8, 2.95, at.du) * (at.v < 1.4), strip(at.v, 1.28, 1.4, at.dv) * (at.u > 2.8))
    on.lay((0.66, 0.65, 0.62), kerb)
    surfaces.litter(on, seed + 6, 0.45)


# Walls


def _house(on: Canvas, seed: int) -> None:
    walls.bricks(on, seed, (0.52, 0.36, 0.30))
    on.lay((0.55, 0.53, 0.50), strip(on.at.v, 0, 0.55, on.at.dv))
    on.shade(1 - 0.25 * strip(on.at.v, 0, 0.55, on.at.dv) * clouds(on.at, 0.5, seed + 5, 4))
    walls.windows(on, seed + 1, period=(2.3, 3.0), size=(1.15, 1.55), above=0.95)
    walls.doors(on, seed + 2, 6.9)


def _old_wall(on: Canvas, seed: int) -> None:
    """Bricks with plaster below, doors, shutters, torn posters."""
    walls.bricks(on, seed, (0.50, 0.37, 0.31))
    coat = Canvas(on.at)
    walls.plaster(coat, seed + 1, (0.64, 0.62, 0.57))
    ragged = on.at.v + 0.5 * (clouds(on.at, 0.7, seed + 2, 5) - 0.5)
    on.lay(coat.colour, soft(1.30, 1.26, ragged))
    walls.shutters(on, seed + 3, 5.2)
    walls.posters(on, seed + 4, 0.8)
    walls.doors(on, seed + 5, 5.2)
    walls.scribbles(on, seed + 6)


def _panelled(on: Canvas, seed: int) -> None:
    """Indoors: painted, darker below, with doors and notices."""
    at = on.at
    walls.plaster(on, seed, (0.80, 0.77, 0.70), wear=0.0)
    on.lay((0.55, 0.44, 0.33), strip(at.v, 0, 1.1, at.dv))
    on.shade(1 - strip(at.v, 0, 1.1, at.dv) * (0.1 + 0.25 * (clouds(at, (0.06, 1.2), seed + 1, 3) - 0.5)))
    on.shade(1 - 0.35 * stripes(at.u, 1.2, 0.025, at.du) * strip(at.v, 0, 1.1, at.dv))
    on.lay((0.30, 0.22, 0.16), strip(at.v, 1.08, 1.15, at.dv) + strip(at.v, 0, 0.12, at.dv))
    walls.posters(on, seed + 2, 1.6)
    walls.doors(on, seed + 3, 3.6)


def _glazed(on: Canvas, seed: int) -> None:
    """Small glazed tiles with a coloured band and posters."""
    at = on.at
    surfaces.slabs(on, seed, size=(0.3, 0.15), colour=(0.76, 0.77, 0.74), joint=0.008, uneven=0.08, grime=0.06)
    on.lay((0.16, 0.34, 0.42), strip(at.v, 1.05, 1.35, at.dv))
    on.lay((0.28, 0.28, 0.28), strip(at.v, 0, 0.15, at.dv))
    walls.posters(on, seed + 1, 1.9)
    walls.doors(on, seed + 2, 5.7)


def _block(on: Canvas, seed: int) -> None:
    walls.plaster(on, seed, (0.76, 0.70, 0.58), wear=0.25)
    walls.windows(on, seed + 1, period=(2.1, 3.2), size=(1.5, 1.7), above=0.9, frame=(0.85, 0.85, 0.84))
    walls.doors(on, seed + 2, 8.4)


PLACES: dict[str, Place] = {
    "street": Place(
        _road, _house, walls.shops, overhead.blue, overhead.by_houses,
        behind=7.0, tall=9.0, beside=5.0, turn=-16.0,
        clutter=(
            Row(clutter.figure, 5.5, 2.6, 0.4, 1.8, 0.5), Row(clutter.pole, 4.0, 7.0, 0.4, 5.1),
            Row(clutter.railing, 3.6, 80.0, 40.0, 1.2, 1.0), Row(clutter.dustbin, 4.4, 6.0, 0.35, 1.0, 0.6),
            Row(clutter.car, 1.5, 5.2, 2.2, 1.9, 0.7),
        ),
    ),
    "wall": Place(
        _pavement, _old_wall, _old_wall, overhead.grey, overhead.clear,
        behind=1.8, tall=4.4, beside=6.0, turn=9.0,
        clutter=(
            Row(clutter.bicycle, 1.5, 3.0, 0.9, 1.2, 0.5), Row(clutter.dustbin, 1.4, 4.0, 0.35, 1.0, 0.5),
            Row(clutter.pole, 1.2, 6.0, 0.4, 5.1, 0.7),
        ),
    ),
    "shop": Place(
        _flags, walls.shops, walls.shops, overhead.evening, overhead.by_posts,
        behind=2.6, tall=10.0, beside=5.0, turn=14.0,
        clutter=(
            Row(clutter.figure, 2.2, 2.2, 0.4, 1.8, 0.45), Row(clutter.board, 1.9, 5.0, 0.65, 2.0, 0.5),
            Row(clutter.bollard, 1.2, 1.6, 0.12, 1.1, 0.8), Row(clutter.bicycle, 1.5, 6.0, 0.9, 1.2, 0.6),
        ),
    ),
    "park": Place(
        _meadow, _old_wall, _old_wall, overhead.blue, overhead.under_trees,
        behind=90.0, tall=0.0, beside=200.0, turn=-20.0,
        clutter=(
            Row(clutter.tree, 30.0, 4.0, 2.8, 7.4, 0.9), Row(clutter.hedge, 9.0, 120.0, 60.0, 2.0, 1.0),
            Row(clutter.tree, 7.0, 5.0, 2.8, 7.4, 0.7), Row(clutter.figure, 5.0, 4.0, 0.4, 1.8, 0.5),
            Row(clutter.bench, 3.6, 4.0, 1.0, 1.0, 0.6), Row(clutter.tree, 2.0, 6.5, 2.8, 7.4, 0.6),
        ),
    ),
    "hall": Place(
        _tiles, _panelled, _panelled, overhead.ceiling, overhead.lamps,
        behind=4.0, tall=4.2, beside=1.6, turn=24.0, gloss=0.6, indoors=True,
        clutter=(
            Row(clutter.bench, 3.5, 3.4, 1.0, 1.0, 0.5), Row(clutter.figure, 2.8, 3.0, 0.4, 1.8, 0.4),
            Row(clutter.dustbin, 3.4, 5.0, 0.35, 1.0, 0.5), Row(clutter.pillar, 1.3, 4.0, 0.45, 4.3, 0.9),
        ),
    ),
    "plaza": Place(
        _granite, walls.glazing, walls.glazing, overhead.blue, overhead.by_posts,
        behind=12.0, tall=16.0, beside=12.0, turn=-33.0,
        clutter=(
            Row(clutter.figure, 10.0, 2.4, 0.4, 1.8, 0.5), Row(clutter.planter, 7.4, 3.6, 0.95, 1.6, 0.7),
            Row(clutter.figure, 4.0, 3.0, 0.4, 1.8, 0.5), Row(clutter.bench, 3.0, 4.0, 1.0, 1.0, 0.5),
            Row(clutter.pole, 2.4, 8.0, 0.4, 5.1), Row(clutter.railing, 1.2, 80.0, 40.0, 1.2, 1.0),
        ),
    ),
    "station": Place(
        _platform, _glazed, _glazed, overhead.tubes, overhead.lamps,
        behind=4.0, tall=4.6, beside=2.0, turn=-22.0, gloss=0.35, indoors=True,
        clutter=(
            Row(clutter.machine, 3.6, 2.4, 0.55, 1.9, 0.5), Row(clutter.figure, 2.8, 2.2, 0.4, 1.8, 0.5),
            Row(clutter.board, 1.8, 6.0, 0.65, 2.0, 0.6), Row(clutter.gate, 1.2, 0.9, 0.25, 1.1, 0.8),
        ),
    ),
    "campus": Place(
        _clinker, _block, _block, overhead.blue, overhead.by_trees,
        behind=8.0, tall=9.5, beside=8.0, turn=11.0,
        clutter=(
            Row(clutter.hedge, 7.0, 120.0, 60.0, 1.4, 1.0), Row(clutter.figure, 5.5, 3.0, 0.4, 1.8, 0.5),
            Row(clutter.tree, 4.5, 6.0, 2.8, 7.4, 0.7), Row(clutter.bicycle, 2.8, 1.3, 0.9, 1.2, 0.6),
            Row(clutter.bench, 2.2, 6.0, 1.0, 1.0, 0.5), Row(clutter.pole, 1.6, 9.0, 0.4, 5.1),
        ),
    ),
}  # fmt: skip
