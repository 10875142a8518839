"""What lies around the neck: collars, lapels and hoods that are not worn up; metres on an average person."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from halfseen.world.bodies.casts import placed
from halfseen.world.bodies.curves import Knots
from halfseen.world.bodies.figure import Figure
from halfseen.world.bodies.poses import Skeleton
from halfseen.world.bodies.sheets import Cut, Sheet
from halfseen.world.people import Headwear, Outer, Top

AVERAGE = 1.75  # metres: who these measures fit
PARTED = 0.30  # half of the angle that a collar leaves free in front

# From within over the fold to the outer edge: half-width, depth ahead and behind, height of the side, and half of how
# much higher the nape is than the throat; then how far down, aside and ahead it reaches in front.
_SHIRT: Knots = (
    (0.066, 0.058, 0.058, 0.008, 0.026, 0.0, 0.0, 0.0), (0.066, 0.062, 0.062, 0.036, 0.022, 0.0, 0.0, 0.0),
    (0.092, 0.086, 0.086, -0.01, 0.022, 0.02, 0.004, 0.006),
)  # fmt: skip
_COAT: Knots = (
    (0.07, 0.064, 0.062, 0.006, 0.026, 0.0, 0.0, 0.0), (0.074, 0.07, 0.07, 0.044, 0.024, 0.01, 0.0, 0.01),
    (0.106, 0.092, 0.104, -0.012, 0.024, 0.085, 0.02, 0.03),
)  # fmt: skip
# The hood's bag, from the left of the throat around to the nape: angle; metres out, up, thick and high.
_BAG: Knots = (
    (0.55, 0.078, -0.012, 0.01, 0.012), (1.1, 0.088, 0.006, 0.016, 0.022), (1.7, 0.1, 0.012, 0.022, 0.036),
    (2.4, 0.108, 0.0, 0.03, 0.06), (3.1416, 0.11, -0.016, 0.036, 0.085),
)  # fmt: skip


@cache
def _collar(rows: Knots, device: torch.device) -> Tensor:
    """[R,C,3]"""
    angle = torch.linspace(PARTED, 2 * math.pi - PARTED, 11)
    wide, ahead, behind, high, tilt, down, aside, out = (column[:, None] for column in torch.tensor(rows).unbind(1))
    sin, cos = angle.sin(), angle.cos()
    front = cos.clamp(min=0) ** 3
    x, z = wide * sin + aside * front * sin.sign(), torch.where(cos > 0, ahead, behind) * cos + out * front
    return torch.stack([x, high - tilt * cos - down * front, z], -1).to(device)


@cache
def _bag(device: torch.device) -> Tensor:
    """[R,C,3]"""
    rows = [*_BAG, *((2 * math.pi - angle, *others) for angle, *others in reversed(_BAG[:-1]))]
    angle, out, up, thick, high = (column[:, None] for column in torch.tensor(rows).unbind(1))
    turn = torch.linspace(-math.pi, math.pi, 8)
    radius = out + thick * turn.cos()
    y = up + high * turn.sin() - 0.02 * angle.cos()
    return torch.stack([radius * angle.sin(), y, radius * angle.cos()], -1).to(device)


def collars(who: Figure, skeleton: Skeleton) -> list[Sheet]:
    """Of shirts, of jackets and coats, and the hood of a hoodie that is not worn up."""
    device = who.height.device
    bare, jacket = who.outer == Outer.NONE, who.outer == Outer.JACKET_OPEN
    free = bare | jacket | (who.outer == Outer.VEST)
    lapels, hoodie = jacket | (who.outer == Outer.COAT), who.top == Top.HOODIE
    size = who.height * (0.5 + 0.5 * who.trunk) / AVERAGE
    larger = size * torch.where(bare, 1.0, 1.15)
    shirt, coat, bag = _collar(_SHIRT, device), _collar(_COAT, device), _bag(device)
    pieces = (
        (shirt, size, Cut("top", "torso", closed=False, two_sided=True), free & (who.top == Top.SHIRT)),
        (coat, size, Cut("outer", "torso", closed=False, two_sided=True), lapels & ~hoodie),
        (bag, larger, Cut("top", "torso", flip=True), free & hoodie & (who.headwear != Headwear.HOOD)),
    )
    axes, neck = skeleton.chest.unbind(2), skeleton.point("neck")
    return [_piece(placed(grid, neck, axes, much), grid, cut, shown) for grid, much, cut, shown in pieces]


def _piece(points: Tensor, grid: Tensor, cut: Cut, shown: Tensor) -> Sheet:
    x, y, z = grid.unbind(-1)
    angle = torch.atan2(x, z)
    return Sheet(points, 0.17 * angle, y + 0.55, angle.cos(), 0.75 + 0.25 * (y > 0.02), shown, cut)
