"""Heads: face, ears and neck.

Heads are grids in metres of a head of average size, seen from its middle (left, up, front), that are only set in place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from halfseen.world.bodies.casts import Axes, ellipses, mirrored, placed
from halfseen.world.bodies.curves import Knots, between
from halfseen.world.bodies.figure import Figure
from halfseen.world.bodies.poses import Skeleton
from halfseen.world.bodies.sheets import Cut, Sheet
from halfseen.world.people import Headwear

AVERAGE = 1.67  # metres: whose head these measures are
FACE_UP = 0.0105  # the middle of a painted face lies so much lower than that of the head
ROUND = {"face": 0.085}  # metres of a surface to a radian around; of others 0.1
COLUMNS = 17

# Height; half-width, depth ahead and behind.
SKULL: Knots = (
    (-0.107, 0.016, 0.058, -0.02), (-0.103, 0.03, 0.075, -0.005), (-0.092, 0.044, 0.085, 0.02),
    (-0.07, 0.056, 0.09, 0.056), (-0.045, 0.0645, 0.0915, 0.071), (-0.02, 0.0705, 0.0945, 0.084),
    (0.01, 0.0745, 0.096, 0.0925), (0.04, 0.0765, 0.0965, 0.0985), (0.065, 0.0735, 0.088, 0.096),
    (0.085, 0.064, 0.072, 0.083), (0.1, 0.0475, 0.05, 0.061), (0.11, 0.026, 0.027, 0.034), (0.114, 0.0, 0.0, 0.0),
)  # fmt: skip
# The rings of a face: height, and how far the middle juts out (the nose).
FACE: Knots = (
    (-0.107, 0.0), (-0.102, 0.0), (-0.088, 0.003), (-0.068, 0.0), (-0.048, 0.003), (-0.033, 0.009), (-0.021, 0.021),
    (-0.004, 0.015), (0.016, 0.006), (0.04, 0.003), (0.066, 0.0), (0.088, 0.0), (0.104, 0.0),
)  # fmt: skip
_SOCKETS = 8  # the ring of the eyes
_CHIN, _CROWN = (0.0, -0.100, 0.030), (0.0, 0.114, -0.004)
_EAR: Knots = (
    (-0.036, 0.0, 0.0, 0.072, 0.0), (-0.026, 0.006, 0.01, 0.074, -0.003), (-0.004, 0.008, 0.015, 0.078, -0.009),
    (0.02, 0.008, 0.016, 0.08, -0.012), (0.031, 0.0, 0.0, 0.077, -0.012),
)  # fmt: skip


@dataclass(frozen=True)
class Mount:
    """Where N heads are: their middles `at` [N,3], along `axes`, `size` [N] times the average; `upright` [N,3] is where
    a middle would be if the head were held straight over the chest, whose axes are `chest`."""

    at: Tensor
    axes: Axes
    size: Tensor
    upright: Tensor
    chest: Axes


def mount(who: Figure, skeleton: Skeleton) -> Mount:
    chest = skeleton.chest.unbind(2)
    upright = skeleton.point("neck") + who.height[:, None] * (0.09 * chest[1] + 0.012 * chest[2])
    return Mount(skeleton.point("head"), skeleton.head.unbind(2), who.height / AVERAGE, upright, chest)


def on_head(  # noqa: PLR0913  (keyword-only: what a piece is)
    where: Mount,
    grid: Tensor,
    still: Tensor,
    *,
    cut: Cut,
    shown: Tensor,
    open: Tensor | float = 1.0,
    hangs: bool = False,
) -> Sheet:
    """`grid` [R,C,3] or [N,R,C,3] as a piece, whose surface is measured on `still` [R,C,3]; what `hangs` follows the
    chest further down."""
    points = placed(grid, where.at, where.axes, where.size)
    if hangs:
        straight = placed(grid, where.upright, where.chest, where.size)
        points = points + ((-0.06 - grid[..., 1:2]) / 0.11).clamp(0, 1) * (straight - points)
    x, y, z = still.unbind(-1)
    angle = torch.atan2(x, z)
    sky = open if isinstance(open, Tensor) else torch.full_like(y, open)
    return Sheet(points, angle * ROUND.get(cut.slot, 0.1), y + FACE_UP, angle.cos(), sky, shown, cut)


def warped(columns: int) -> Tensor:
    """[columns]: angles from the back around the right to the back, closer in front."""
    angle = torch.linspace(-math.pi, math.pi, columns)
    return angle - 0.4 * angle.sin()


def on_skull(angle: Tensor, height: Tensor, off: Tensor | float = 0.0) -> Tensor:
    """[R,C,3]: points at `angle` [C] and `height` [R,C], `off` [R,C] the skin."""
    rows = [between(SKULL, float(y)) for y in height.flatten()]
    wide, ahead, behind = torch.tensor(rows).reshape(*height.shape, 3).unbind(-1)
    deep = torch.where(angle.cos() > 0, ahead, behind)
    rise = off * (height / _CROWN[1]).clamp(0, 1) ** 3
    return torch.stack([angle.sin() * (wide + off), height + rise, angle.cos() * (deep + off)], -1)


def ring_at(point: tuple[float, float, float], columns: int = COLUMNS) -> Tensor:
    """[1,columns,3]: a ring of no size, which closes a grid."""
    return torch.tensor(point).expand(1, columns, 3)


@cache
def _skull(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The head, from under the chin to the crown, how the jaw changes it, [R,C,3] each, and how open it lies [R,C]."""
    height, nose = torch.tensor(FACE).unbind(1)
    grid = on_skull(warped(COLUMNS), height[:, None].expand(-1, COLUMNS))
    middle = COLUMNS // 2
    grid[:, middle, 2] += nose
    grid[:, [middle - 1, middle + 1], 2] += 0.15 * nose[:, None]
    grid[_SOCKETS, [middle - 2, middle + 2], 2] -= 0.004
    whole = torch.cat([ring_at(_CHIN), grid, ring_at(_CROWN)])
    low = ((-0.02 - whole[..., 1]) / 0.05).clamp(0, 1)
    jaw = torch.stack([0.16 * low * whole[..., 0], -0.005 * low, torch.zeros_like(low)], -1)
    open = 0.45 + 0.55 * ((whole[..., 1] + 0.106) / 0.035).clamp(0, 1)
    return whole.to(device), jaw.to(device), open.to(device)


@cache
def _ears(device: torch.device) -> tuple[Tensor, Tensor]:
    ear = ellipses(_EAR, 5)
    return ear.to(device), mirrored(ear).to(device)


def bare_head(who: Figure, where: Mount) -> list[Sheet]:
    """Face and ears, shaded by a hood."""
    face, jaw, open = _skull(who.height.device)
    grid = face + (who.jaw - 0.5)[:, None, None, None] * jaw
    hooded = who.headwear == Headwear.HOOD
    sky = torch.where(hooded[:, None, None], 0.75, 1.0) * open
    skin = Cut("face", "head", poles=(True, True))
    pieces = [on_head(where, grid, face, cut=skin, shown=who.height > 0, open=sky)]
    for ear in _ears(who.height.device):
        lobe = Cut("skin", "head", poles=(True, True))
        pieces.append(on_head(where, ear, ear, cut=lobe, shown=~hooded, open=0.85))
    return pieces


# From inside the collar up into the head: half-width and half-depth in heights of a person, metres along, how open.
_NECK: Knots = (
    (0.05, 0.036, 0.0, 0.7), (0.0365, 0.0345, 0.05, 0.75), (0.033, 0.0345, 0.08, 0.65), (0.031, 0.033, 0.12, 0.4),
)  # fmt: skip


def neck(who: Figure, skeleton: Skeleton) -> Sheet:
    base, top = skeleton.point("neck"), skeleton.point("head")
    left, up, front = skeleton.chest.unbind(2)
    height = who.height[:, None]
    thick = height * ((0.45 + 0.55 * who.limb) * (0.4 + 0.6 * who.shoulders))[:, None]
    under = top - height * (0.024 * skeleton.head[:, :, 1] + 0.010 * skeleton.head[:, :, 2])
    low, high = base - 0.024 * height * up, base + 0.006 * height * up
    middle = torch.stack([low, high, base + 0.45 * (under - base), under], 1)[:, :, None]
    angle = torch.linspace(-math.pi, math.pi, 11, device=up.device)
    wide, deep, along, open = (column[:, None] for column in torch.tensor(_NECK, device=up.device).unbind(1))
    x, z = wide * angle.sin(), deep * angle.cos()
    across = x[..., None] * (thick * left)[:, None, None] + z[..., None] * (thick * front)[:, None, None]
    return Sheet(middle + across, angle * 0.06, along, angle.cos(), open, who.height > 0, Cut("skin", "head"))
