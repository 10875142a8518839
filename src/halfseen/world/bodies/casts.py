"""What keeps its shape: grids of points that are only set in place, such as hands and shoes."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from halfseen.world.bodies.curves import Knots, curve
from halfseen.world.bodies.figure import Figure
from halfseen.world.bodies.limbs import SIDES, Limb, Tube, feet_of, pair
from halfseen.world.bodies.poses import Skeleton
from halfseen.world.bodies.sheets import Cut, Sheet
from halfseen.world.bodies.skeleton import SHANK, dot, unit
from halfseen.world.bodies.sleeves import LEG, trouser_widths
from halfseen.world.people import Bottom

Axes = tuple[Tensor, ...]  # left, up and front, each [N,3]


def placed(grid: Tensor, at: Tensor, axes: Axes, size: Tensor) -> Tensor:
    """`grid` [R,C,3] or [N,R,C,3] along `axes` around `at` [N,3], times `size` [N]: points [N,R,C,3]."""
    x, y, z = grid.unbind(-1)
    left, up, front = ((axis * size[:, None])[:, None, None] for axis in axes)
    return at[:, None, None] + x[..., None] * left + y[..., None] * up + z[..., None] * front


def ellipses(rows: Knots, columns: int) -> Tensor:
    """[R,C,3]: rings of (height, half-width, half-depth, aside, ahead), from the back around the right to the left."""
    angle = torch.linspace(-math.pi, math.pi, columns)
    y, wide, deep, aside, ahead = (column[:, None] for column in torch.tensor(rows).unbind(1))
    return torch.stack([wide * angle.sin() + aside, y.expand(-1, columns), deep * angle.cos() + ahead], -1)


def mirrored(grid: Tensor) -> Tensor:
    """The right one of a left thing [R,C,3], its columns in the same sense."""
    return (grid * torch.tensor([-1.0, 1.0, 1.0])).flip(1)


def still(points: Tensor, grid: Tensor, cut: Cut, shown: Tensor, *, open: Tensor | float = 1.0) -> Sheet:
    """A piece whose surface is measured on `grid` [R,C,3], in metres; `open` as in `Sheet`."""
    x, y, z = grid.unbind(-1)
    radius = (x * x + z * z).sqrt().clamp(min=1e-6)
    sky = open if isinstance(open, Tensor) else torch.full_like(y, open)
    return Sheet(points, x, y, z / radius, sky, shown, cut)


# In lengths of a hand; its fingers point up here, its thumb ahead, its palm faces the body (to the right).
_PALM: Knots = (
    (-0.08, 0.15, 0.17, 0.0, 0.0), (0.1, 0.145, 0.215, 0.0, 0.01), (0.38, 0.13, 0.275, -0.01, 0.01),
    (0.62, 0.12, 0.265, -0.06, 0.0), (0.86, 0.1, 0.21, -0.17, -0.02), (0.97, 0.05, 0.11, -0.24, -0.03),
    (1.0, 0.0, 0.0, -0.27, -0.03),
)  # fmt: skip
_THUMB: Knots = (
    (0.1, 0.095, 0.09, -0.02, 0.16), (0.32, 0.085, 0.085, -0.06, 0.29), (0.52, 0.065, 0.07, -0.11, 0.335),
    (0.62, 0.0, 0.0, -0.14, 0.33),
)  # fmt: skip
_HAND = 0.088  # of a person's height


@cache
def _hand(side: str, device: torch.device) -> tuple[Tensor, ...]:
    left = (ellipses(_PALM, 9), ellipses(_THUMB, 7))
    return tuple((grid if side == "left" else mirrored(grid)).to(device) for grid in left)


def hands(who: Figure, skeleton: Skeleton, arms: Limb) -> list[Sheet]:
    size = _HAND * who.height * (0.6 + 0.4 * who.limb)
    pieces = []
    for side, hinge in zip(SIDES, arms.hinge.unbind(1), strict=True):
        wrist = skeleton.point(f"{side}_wrist")
        way = unit(skeleton.point(f"{side}_hand") - wrist)
        left = unit(hinge - dot(hinge, way) * way)
        axes = (left, way, torch.linalg.cross(way, left))
        for grid in _hand(side, wrist.device):
            cut = Cut("skin", f"{side}_arm", flip=True, poles=(False, True))
            pieces.append(still(placed(grid, wrist, axes, size), grid * 0.15, cut, who.height > 0))
    return pieces


# In heights of a person, seen from the ankle: how far ahead; half-width and top.
_SHOE: Knots = (
    (-0.048, 0.0085, -0.022), (-0.043, 0.0165, -0.006), (-0.024, 0.0205, 0.003), (0.01, 0.0205, 0.002),
    (0.032, 0.023, -0.009), (0.058, 0.0265, -0.019), (0.084, 0.027, -0.0235), (0.104, 0.022, -0.0268),
    (0.117, 0.0085, -0.034),
)  # fmt: skip
_GROUND, _WELT = -0.045, -0.0345  # of the sole


@cache
def _shoe(device: torch.device) -> tuple[tuple[str, Tensor], tuple[str, Tensor]]:
    """The upper [R,C,3], from heel to toe, and the sole from its middle underneath to its upper edge."""
    z, wide, high = (column[:, None] for column in torch.tensor(_SHOE).unbind(1))
    angle = torch.linspace(-math.pi, math.pi, 9)  # from the sole around the right and the top
    sin, cos = angle.sin(), angle.cos()
    x = wide * sin.sign() * sin.abs() ** 0.8
    y = _WELT + cos * torch.where(cos > 0, high - _WELT, 0.004)
    rings = torch.stack([x, y, z.expand_as(x)], -1)
    heel, toe = (rings[[end]].mean(1, keepdim=True).expand(1, 9, 3) for end in (0, -1))
    outline = torch.cat([-wide, wide.flip(0), -wide[:1]])[:, 0]  # from the heel along the right to the toe and back
    length = torch.cat([z, z.flip(0), z[:1]])[:, 0]
    edges = [(0.0, 0.0, 0.035, _GROUND), (1.04, 1.01, 0.0, _GROUND), (1.08, 1.01, 0.0, _WELT + 0.001)]
    sole = [torch.stack([a * outline, torch.full_like(length, y), b * length + c], -1) for a, b, c, y in edges]
    return ("shoe", torch.cat([heel, rings, toe]).to(device)), ("sole", torch.stack(sole).to(device))


def shoes(who: Figure, skeleton: Skeleton) -> list[Sheet]:
    ankle, *axes = (vectors.unbind(1) for vectors in feet_of(skeleton))
    pieces = []
    for number, side in enumerate(SIDES):
        own = tuple(axis[number] for axis in axes)
        for slot, grid in _shoe(who.height.device):
            upper = slot == "shoe"
            cut = Cut(slot, f"{side}_foot", flip=upper, poles=(True, upper))
            pieces.append(still(placed(grid, ankle[number], own, who.height), grid * 1.75, cut, who.height > 0))
    return pieces


def shafts(who: Figure, legs: Limb) -> list[Sheet]:
    """What of shoes lies above the ankle: over slim trousers, but under wide ones."""
    share, rim = torch.tensor(((0.99, 1.0, 0.3, 0.0), (0.8, 1.0, 1.0, 1.0)), device=who.height.device)
    t = 2.12 - (0.12 + 0.55 * who.shaft)[:, None] * share
    height, limb, covered = who.height[:, None], who.limb[:, None], (who.bottom <= Bottom.JEANS)[:, None]
    thick = 0.0045 + 0.003 * who.shaft[:, None]
    both = zip(curve(LEG, t), trouser_widths(who, t), strict=True)
    side, ahead, behind = (
        torch.where(covered, cloth + 0.009, (leg * limb + thick) * height) * rim for leg, cloth in both
    )
    tube = Tube(t, (side, ahead, behind), columns=9)
    hidden = covered[:, 0] & ((who.width > 0.3) | (who.shaft < 0.4))
    shown = (who.shaft > 0.04) & ~hidden
    open = torch.ones(1, 2, 4, 9, device=t.device)
    return pair(tube.points(legs), tube, length=who.height * SHANK, slot="shoe", part="leg", shown=shown, open=open)
