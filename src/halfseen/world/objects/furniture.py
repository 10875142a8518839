"""What stands in streets and halls: poles, tables and stalls, luggage and bins."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from halfseen.world.objects.solids import (
    Number,
    Pairs,
    Profile,
    bars,
    between,
    blocks,
    boxes,
    drum,
    lathe,
    rounded,
    spots,
)
from halfseen.world.shapes import Mesh, loft


def pole(style: Tensor) -> list[Mesh]:
    """Lamp posts, bollards and square columns by `style` [N,8]; some posts carry a sign or a bin."""
    one = style[:, 0]
    return [*_post(style, one < 0.45), *_bollard(style, (one >= 0.45) & (one < 0.65)), *_column(style, one >= 0.65)]


def _post(style: Tensor, shown: Tensor) -> list[Mesh]:
    thin, big = between(style[:, 1], 0.045, 0.1), style[:, 4]
    stem: Profile = [
        (0, 1.9 * thin), (0.03, 1.9 * thin), (0.045, 1.4 * thin), (0.22, 1.3 * thin), (0.24, thin), (1, 0.7 * thin),
    ]  # fmt: skip
    sign: Pairs = [((0.1 * big, between(style[:, 5], 1.9, 2.4), thin + 0.02), (0.22 + 0.1 * big, 0.24, 0.012))]
    bucket: Profile = [(0, 0), (0, 0.15), (0.85, 0.19), (0.9, 0.2), (1, 0.17), (1, 0)]
    place = spots(thin, (0, 0.55, thin + 0.17), (0, 1.05, thin + 0.17))
    return [
        lathe(spots(thin, (0, 0, 0), (0, 3.6, 0)), stem, slot="thing", shown=shown),
        blocks(thin, sign, slot="thing_trim", shown=shown & (style[:, 3] > 0.4)),
        lathe(place, bucket, slot="thing_dark", shown=shown & (style[:, 6] > 0.65)),
    ]


def _bollard(style: Tensor, shown: Tensor) -> list[Mesh]:
    thick, high = between(style[:, 1], 0.07, 0.14), between(style[:, 2], 0.85, 1.15)
    top = 1.15 * thick
    stub: Profile = [(0, thick), (0.78, thick), (0.8, top), (0.86, top), (0.88, thick), (0.96, 0.7 * thick), (1, 0)]
    ends = spots(high, (0, 0, 0), (0, high, 0))
    ring: Profile = [(0.62, 1.04 * thick), (0.7, 1.04 * thick)]
    return [lathe(ends, stub, slot="thing", shown=shown), lathe(ends, ring, slot="thing_trim", shown=shown)]


def _column(style: Tensor, shown: Tensor) -> list[Mesh]:
    wide, deep = between(style[:, 1], 0.1, 0.27), between(style[:, 2], 0.1, 0.22)
    return [
        blocks(wide, [((0, 1.7, 0), (wide, 1.7, deep))], slot="thing", shown=shown),
        blocks(wide, [((0, 0.08, 0), (wide + 0.03, 0.08, deep + 0.03))], slot="thing_dark", shown=shown),
    ]


def table(style: Tensor) -> list[Mesh]:
    """Tables with chairs, round ones with stools, and stalls by `style` [N,8], and what lies on them."""
    one = style[:, 0]
    return [
        *_long_table(style, one < 0.35),
        *_round_table(style, (one >= 0.35) & (one < 0.6)),
        *_stall(style, one >= 0.6),
    ]


_ON_A_CORNER = ((0.71, -0.41, 0.57), (0.0, 0.81, 0.59), (-0.71, -0.41, 0.57))  # how the lumps of a stall are turned
_CUP: Profile = [(0, 0.03), (1, 0.042), (1, 0)]
_BOTTLE: Profile = [(0, 0.038), (0.6, 0.038), (0.78, 0.014), (1, 0.014), (1, 0)]


def _standing(x: Number, y: Tensor, z: Number, high: float) -> Tensor:
    """The ends [N,2,3] of what stands `high` metres tall at (`x`, `y`, `z`)."""
    return spots(y, (x, y, z), (x, y + high, z))


def _long_table(style: Tensor, shown: Tensor) -> list[Mesh]:
    wide, high, deep = (
        between(style[:, 1], 0.55, 0.95),
        between(style[:, 2], 0.7, 0.78),
        between(style[:, 3], 0.3, 0.42),
    )
    legs: Pairs = [
        ((s * (wide - 0.07), high / 2, t * (deep - 0.07)), (0.03, high / 2, 0.03)) for s in (-1, 1) for t in (-1, 1)
    ]
    rails: Pairs = [((0, high - 0.07, t * (deep - 0.07)), (wide - 0.08, 0.04, 0.012)) for t in (-1, 1)]
    box: Pairs = [((0.4 * wide, high + 0.12, -0.05), (0.15, 0.1, 0.1))]
    paper: Pairs = [((-0.3 * wide, high + 0.035, 0.05), (0.15, 0.015, 0.11))]
    return [
        blocks(wide, [((0, high, 0), (wide, 0.02, deep))], slot="thing", shown=shown),
        blocks(wide, [*legs, *rails], slot="thing_trim", shown=shown),
        blocks(wide, box, slot="thing_trim", shown=shown & (style[:, 4] > 0.3)),
        blocks(wide, paper, slot="thing_dark", shown=shown & (style[:, 5] > 0.3)),
        lathe(_standing(-0.02, high, 0.1, 0.13), _CUP, slot="thing_trim", segments=8, shown=shown),
        lathe(_standing(0.12, high, -0.02, 0.26), _BOTTLE, slot="thing_dark", segments=8, shown=shown),
        *_chair(wide * (style[:, 6] - 0.5), deep, shown & (style[:, 7] > 0.35)),
    ]


def _chair(x: Tensor, deep: Tensor, shown: Tensor) -> list[Mesh]:
    """A chair at the near side of a table, its back to the camera."""
    z, half = deep + 0.12, 0.2
    legs: Pairs = [((x + s * 0.18, 0, z - 0.18), (x + s * 0.18, 0.45, z - 0.18)) for s in (-1, 1)]
    posts: Pairs = [((x + s * 0.18, 0, z + half + 0.03), (x + s * 0.18, 0.88, z + half)) for s in (-1, 1)]
    slats: Pairs = [((x, y, z + half), (0.18, 0.035, 0.01)) for y in (0.62, 0.73, 0.84)]
    seat: Pairs = [((x, 0.45, z), (half, 0.02, half))]
    return [
        bars(x, 0.016, [*legs, *posts], slot="thing_dark", shown=shown),
        blocks(x, [*slats, *seat], slot="thing_dark", shown=shown),
    ]


def _round_table(style: Tensor, shown: Tensor) -> list[Mesh]:
    """A round top on one leg, with a stool or two."""
    high, radius = between(style[:, 2], 0.72, 1.08), between(style[:, 1], 0.3, 0.5)
    leg: Profile = [(0, 0.24), (0.03, 0.22), (0.05, 0.04), (0.93, 0.035), (1, 0.15)]
    seat: Profile = [(0, 0.18), (0.02, 0.18), (0.04, 0.025), (0.92, 0.025), (0.93, 0.17), (1, 0.17), (1, 0)]
    stools = [
        lathe(
            spots(high, (side * (radius + 0.32), 0, 0.1), (side * (radius + 0.32), 0.62 * high, 0.1)),
            seat,
            slot="thing_dark",
            segments=10,
            shown=shown & (side * (style[:, 4] - 0.5) > -0.2),
        )
        for side in (-1, 1)
    ]
    edge: Profile = [(0, radius), (1, radius), (1, radius), (1, 0)]
    top = lathe(spots(high, (0, high - 0.03, 0), (0, high, 0)), edge, slot="thing", segments=20, shown=shown)
    return [
        replace(top, surface=top.vertices[..., [0, 2, 1]]),  # cloth is not woven in rings
        lathe(spots(high, (0, 0, 0), (0, high - 0.03, 0)), leg, slot="thing_trim", segments=10, shown=shown),
        lathe(_standing(0.1, high, 0.12, 0.11), _CUP, slot="thing_trim", segments=8, shown=shown),
        lathe(_standing(-0.14, high, 0.05, 0.24), _BOTTLE, slot="thing_dark", segments=8, shown=shown),
        *stools,
    ]


def _stall(style: Tensor, shown: Tensor) -> list[Mesh]:
    """A counter with crates of fruit on it, most with a cloth before it."""
    wide, high, deep = between(style[:, 1], 0.7, 1.1), between(style[:, 2], 0.7, 0.95), 0.35
    posts: Pairs = [
        ((s * (wide - 0.05), high / 2, t * (deep - 0.05)), (0.03, high / 2, 0.03)) for s in (-1, 1) for t in (-1, 1)
    ]
    apron: Pairs = [((0, 0.55 * high, deep - 0.02), (wide - 0.02, 0.45 * high, 0.01))]
    places = (-0.66, 0.0, 0.66)
    crates: Pairs = [((wide * x, high + 0.07, 0.1), (0.3 * wide, 0.07, 0.2)) for x in places]
    fruit = [(wide * (x + 0.1 * (i - 2)), high + 0.14, 0.2 - 0.12 * (i % 2)) for x in places for i in range(5)]
    lumps = spots(wide, *fruit)
    return [
        blocks(wide, [((0, high, 0), (wide, 0.02, deep)), *crates], slot="thing_trim", shown=shown),
        blocks(wide, posts, slot="thing_dark", shown=shown),
        blocks(wide, apron, slot="thing", shown=shown & (style[:, 3] > 0.3)),
        boxes(
            lumps, torch.full_like(lumps, 0.055), lumps.new_tensor(_ON_A_CORNER)[None, None], slot="thing", shown=shown
        ),
    ]


def luggage(style: Tensor) -> list[Mesh]:
    """Trolleys with suitcases, piles of boxes, and bins on wheels by `style` [N,8]."""
    cart, bins = style[:, 0] < 0.4, style[:, 0] >= 0.65
    return [*_pile(style, torch.where(cart, 0.2, 0.0), ~bins), *_trolley(style, cart), *_bins(style, bins)]


def _pile(style: Tensor, low: Tensor, shown: Tensor) -> list[Mesh]:
    """Two or three cases on top of each other, `low` [N] metres up."""
    wide, lean = between(style[:, 4], 0.3, 0.42), 0.06 * (style[:, 5] - 0.5)
    rows = (
        (0.0, wide, between(style[:, 1], 0.17, 0.24), 0.23, "thing", shown),
        (lean, 0.92 * wide, between(style[:, 2], 0.14, 0.2), 0.2, "thing_trim", shown),
        (-lean, 0.75 * wide, between(style[:, 3], 0.12, 0.17), 0.17, "thing", shown & (style[:, 6] > 0.3)),
    )
    pieces = []
    for x, half, high, deep, slot, seen in rows:
        y, low = low + high, low + 2 * high
        straps: Pairs = [((x + s * 0.5 * half, y, 0), (0.02, high + 0.004, deep + 0.006)) for s in (-1, 1)]
        handle: Pairs = [((x, y + 0.4 * high, deep + 0.012), (0.07, 0.014, 0.012))]
        pieces += [
            rounded(spots(half, (x, y, 0), (half, high, deep)), bevel=0.1, slot=slot, square=8.0, shown=seen),
            blocks(half, [*straps, *handle], slot="thing_dark", shown=seen),
        ]
    return pieces


def _trolley(style: Tensor, shown: Tensor) -> list[Mesh]:
    """What is below a pile and behind it: a plate on wheels, and a bow to push it by."""
    wide, high = between(style[:, 4], 0.3, 0.42) + 0.04, between(style[:, 7], 0.95, 1.1)
    bow: Pairs = [((s * wide, 0.17, -0.26), (s * wide, high, -0.32)) for s in (-1, 1)]
    across: Pairs = [((-wide, y, z), (wide, y, z)) for y, z in ((high, -0.32), (0.6, -0.29))]
    corners = [(s * (wide - 0.05), z) for s in (-1, 1) for z in (-0.22, 0.22)]
    forks: Pairs = [((x, 0.12, z), (0.03, 0.05, 0.02)) for x, z in corners]
    wheels = [spots(wide, (x - 0.02, 0.075, z), (x + 0.02, 0.075, z)) for x, z in corners]
    return [
        bars(wide, 0.016, [*bow, *across], slot="thing_trim", shown=shown),
        blocks(wide, [((0, 0.18, 0), (wide, 0.02, 0.3)), *forks], slot="thing_trim", shown=shown),
        *(drum(ends, 0.075, slot="thing_dark", segments=8, shown=shown) for ends in wheels),
    ]


def _bins(style: Tensor, shown: Tensor) -> list[Mesh]:
    """One bin or two side by side."""
    two = style[:, 2] > 0.5
    aside = torch.where(two, 0.32, 0.0)
    return [*_bin(style, -aside, shown), *_bin(style, aside, shown & two)]


def _bin(style: Tensor, x: Tensor, shown: Tensor) -> list[Mesh]:
    """A bin on wheels at `x` [N], wider above than below, with a lid and a handle."""
    high = between(style[:, 1], 0.82, 1.0)
    line = spots(high, *((x, share * high, 0) for share in (0.05, 0.05, 0.95, 0.96, 1.0)))
    wide = high.new_tensor([0.0, 0.21, 0.27, 0.29, 0.29])[:, None] * high.new_tensor([1, 0, 0])
    deep = high.new_tensor([0.0, 0.24, 0.31, 0.33, 0.33])[:, None] * high.new_tensor([0, 0, 1])
    sides = wide.expand_as(line), deep.expand_as(line)
    lid = spots(high, (x, 1.02 * high, 0), (0.3, 0.035, 0.35))
    wheels = [spots(high, (x + s * 0.17, 0.1, 0.2), (x + s * 0.23, 0.1, 0.2)) for s in (-1, 1)]
    marks: Pairs = [((x, 0.66 * high, 0.296), (0.1, 0.07, 0.006)), ((x, 0.97 * high, 0.38), (0.22, 0.016, 0.016))]
    return [
        loft(line, *sides, slot="thing", part="background", square=8.0, segments=12, shown=shown),
        rounded(lid, bevel=0.5, slot="thing_trim", square=8.0, shown=shown),
        *(drum(ends, 0.1, slot="thing_dark", segments=8, shown=shown) for ends in wheels),
        blocks(high, marks, slot="thing_dark", shown=shown),
    ]
