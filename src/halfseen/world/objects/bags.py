"""Bags, umbrellas and suitcases of one size, in frames of their own whose front is what others see of them."""

from __future__ import annotations

import math
from functools import cache

import torch

from halfseen.world.objects.solids import Pairs, bars, blocks, drum, rounded, spots
from halfseen.world.shapes import Mesh, join, loft, tube


@cache
def pack(device: torch.device) -> Mesh:
    """From the middle of what lies on the back."""
    one = torch.zeros(1, device=device)
    marks: Pairs = [((0, 0.03, 0.193), (0.09, 0.005, 0.004)), ((0, 0.205, 0.075), (0.07, 0.007, 0.02))]
    sides: Pairs = [((s * 0.125, -0.05, 0.075), (0.022, 0.012, 0.04)) for s in (-1, 1)]
    loop: Pairs = [((s * 0.03, 0.2, 0.02), (s * 0.02, 0.235, 0.02)) for s in (-1, 1)]
    return join(
        [
            rounded(spots(one, (0, 0, 0.075), (0.145, 0.21, 0.075)), slot="bag", bevel=0.3, square=3.5, segments=12),
            rounded(spots(one, (0, -0.07, 0.16), (0.11, 0.1, 0.035)), slot="bag", bevel=0.25, square=4.0, segments=8),
            blocks(one, [*marks, *sides], slot="bag_trim"),
            bars(one, 0.006, [*loop, ((-0.02, 0.235, 0.02), (0.02, 0.235, 0.02))], slot="bag_trim"),
        ]
    )


@cache
def bag(device: torch.device) -> Mesh:
    """From the middle of its upper edge at the hip."""
    one = torch.zeros(1, device=device)
    trim: Pairs = [((0, -0.118, 0.1), (0.125, 0.005, 0.004)), ((0, -0.12, 0.103), (0.02, 0.025, 0.003))]
    return join(
        [
            rounded(spots(one, (0, -0.1, 0.05), (0.15, 0.11, 0.045)), slot="bag", bevel=0.25),
            rounded(spots(one, (0, -0.06, 0.092), (0.148, 0.065, 0.01)), slot="bag", bevel=0.3, segments=8),
            blocks(one, trim, slot="bag_trim"),
        ]
    )


@cache
def handbag(device: torch.device) -> Mesh:
    """From the hand, with two handles."""
    one = torch.zeros(1, device=device)
    rise = [(-0.09, -0.16, 1.0), (-0.085, -0.08, 0.7), (-0.05, -0.015, 0.2), (0.0, 0.0, 0.0)]
    arc = [*rise, *((-x, y, z) for x, y, z in reversed(rise[:-1]))]
    trim: Pairs = [((0, -0.15, 0.0), (0.145, 0.008, 0.05)), ((0, -0.2, 0.053), (0.022, 0.02, 0.006))]
    thick = torch.full((1, len(arc)), 0.008, device=device)
    ahead = thick.new_tensor([[[0.0, 0.0, 1.0]]])
    handles = [
        tube(line, thick, thick, ahead, slot="bag_trim", part="carried", segments=4)
        for line in (spots(one, *((x, y, s * 0.04 * z) for x, y, z in arc)) for s in (-1, 1))
    ]
    body = rounded(spots(one, (0, -0.26, 0), (0.16, 0.115, 0.055)), slot="bag", bevel=0.25)
    return join([body, blocks(one, trim, slot="bag_trim"), *handles])


@cache
def canopy(device: torch.device) -> Mesh:
    """From the top of its shaft: eight panels and their ribs."""
    one = torch.zeros(1, device=device)
    rows = ((0.0, 0.0), (0.13, -0.012), (0.28, -0.06), (0.42, -0.14), (0.52, -0.235))
    line = spots(one, *((0, y, 0) for _, y in rows))
    left, ahead = spots(one, *((r, 0, 0) for r, _ in rows)), spots(one, *((0, 0, r) for r, _ in rows))
    panels = []
    for number in range(8):
        start = torch.full_like(line[..., 0], number * math.pi / 4)
        stop = start + math.pi / 4
        panels.append(
            loft(line, left, ahead, slot="umbrella", part="carried", segments=1, start=start, stop=stop, two_sided=True)
        )
    turns = [number * math.pi / 4 for number in range(8)]
    ribs: Pairs = [((0, -0.25, 0), (0.3 * math.sin(turn), -0.085, 0.3 * math.cos(turn))) for turn in turns]
    return join([*panels, bars(one, 0.003, ribs, slot="metal")])


@cache
def case(device: torch.device) -> Mesh:
    """From the middle of its axle; it leans towards the person."""
    one = torch.zeros(1, device=device)
    ribs: Pairs = [((x, 0.33, 0.2), (0.018, 0.23, 0.02)) for x in (-0.12, -0.04, 0.04, 0.12)]
    trim: Pairs = [((0, 0.62, 0.1), (0.06, 0.012, 0.015)), ((0, 0.045, 0.09), (0.17, 0.012, 0.1))]
    wheels = [spots(one, (x - 0.015, 0, 0), (x + 0.015, 0, 0)) for x in (-0.14, 0.14)]
    return join(
        [
            rounded(spots(one, (0, 0.33, 0.1), (0.19, 0.28, 0.11)), slot="bag", bevel=0.15),
            blocks(one, ribs, slot="bag"),
            blocks(one, trim, slot="bag_trim"),
            *(drum(ends, 0.04, slot="bag_trim", segments=8) for ends in wheels),
        ]
    )
