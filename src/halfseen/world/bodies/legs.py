"""How legs walk and stand."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from halfseen.world.bodies.skeleton import SHANK, SOLE, THIGH, TOE, TOE_POINT, Bones, bent, moved, rotation, sides

# One cycle of a leg in twentieths from the moment its heel touches the ground, in degrees: the thigh ahead of the
# vertical, the knee's bend, and the foot's toes over its heel (a foot is stiff here, so that the heel rises late).
THIGH_AHEAD = (23.5, 23, 21.5, 18, 14, 9, 4, -2, -8, -13.5, -18.5, -18, -13.5, -4.5, 5.5, 14.5, 21.5, 26, 27.5, 26.5)
KNEE_BENT = (6, 10.5, 14.5, 16.5, 15.5, 13, 10, 8, 7, 9.5, 17, 27, 41, 54.5, 63.5, 64, 57, 41, 22, 9)
TOES_UP = (16, 9, 2.5, 0, 0, 0, 0, -1, -5, -12, -19, -33, -49, -59, -56, -43, -25, -8, 6, 15)


@dataclass(frozen=True)
class Legs:
    """`points` [N,2,4,3] from hip to toe in heights, seen from the pelvis; `floor` [N]: how high the lowest sole is."""

    points: Tensor
    floor: Tensor


def walking(bone: Bones, pelvis: Tensor, phase: Tensor, style: Tensor) -> Legs:
    """`pelvis` [N,3,3], `phase` [N] (0: the left heel touches the ground), `style` [N,8]."""
    cycle = torch.stack([phase, phase + 0.5], 1)
    age = bone.age[:, None]
    stride = (0.74 + 0.36 * style[:, 0, None]) * (1 - 0.35 * age)
    thigh = stride * curve(THIGH_AHEAD, cycle) + 5 * age
    knee = (0.4 + 0.6 * stride) * curve(KNEE_BENT, cycle) + 8 * age
    toes = stride * curve(TOES_UP, cycle)
    sway = (1.4 + 1.2 * (2 * style[:, 3, None] - 1).abs()) * torch.sin(2 * torch.pi * phase)[:, None]
    apart = -3 + 4 * (bone.girth[:, None] - 1) + 1.5 * style[:, 4, None]
    out = 2 + 9 * style[:, 4, None] + 4 * age
    side = sides(phase)
    turn, roll = 0.4 * side * out, side * apart - sway
    upper = -rotation(turn, roll, -thigh)[..., 1]
    lower = -rotation(turn, roll, knee - thigh)[..., 1]
    hip = moved(pelvis[:, None], bone.hips)
    middle = hip + upper * _lengths(bone)[0]
    ankle = middle + lower * _lengths(bone)[1]
    return _shod(hip, middle, ankle, rotation(side * out, torch.zeros_like(cycle), -toes))


def standing(bone: Bones, pelvis: Tensor, weight: Tensor, style: Tensor) -> Legs:
    """`pelvis` [N,3,3], `weight` [N] from -1 (all on the right leg) to 1 (all on the left)."""
    side = sides(weight)
    relaxed = (-side * weight[:, None]).clamp(min=0)
    apart = 0.04 + 0.045 * style[:, 4, None] + 0.05 * (bone.girth[:, None] - 1) + 0.02 * relaxed
    x = side * apart - 0.03 * weight[:, None]
    z = -0.012 + (0.09 * style[:, 0, None] - 0.02) * relaxed
    hip = moved(pelvis[:, None], bone.hips)
    # the pelvis is as high as the straighter leg lets it be
    straight = bone.leg[:, None] * (0.9975 - 0.012 * bone.age[:, None])
    away_x, away_z = x - hip[..., 0], z - hip[..., 2]
    drop = (straight * straight - away_x * away_x - away_z * away_z).sqrt() - hip[..., 1]
    y = -drop.amin(1, keepdim=True).expand_as(x)
    out = side * (4 + 16 * style[:, 4, None] + 8 * relaxed)
    zero = torch.zeros_like(x)
    foot = rotation(out, zero, zero)
    middle, ankle = bent(hip, torch.stack([x, y, z], -1), _lengths(bone), rotation(0.7 * out, zero, zero)[..., 2])
    return _shod(hip, middle, ankle, foot)


def either(choice: Tensor, first: Legs, second: Legs) -> Legs:
    """`choice` bool [N]: whose legs are the first."""
    points = torch.where(choice[:, None, None, None], first.points, second.points)
    return Legs(points, torch.where(choice, first.floor, second.floor))


def curve(table: tuple[float, ...], phase: Tensor) -> Tensor:
    """A smooth closed curve through the equally spaced values of `table`, at `phase` [...] of its cycle."""
    at = phase.remainder(1.0) * len(table)
    cell = at.floor()
    t = at - cell
    values = torch.tensor(table, dtype=phase.dtype, device=phase.device)
    a, b, c, d = (values[(cell.long() + k) % len(table)] for k in (-1, 0, 1, 2))
    return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))


def _lengths(bone: Bones) -> tuple[Tensor, Tensor]:
    leg = bone.leg[:, None, None]
    return leg * (THIGH / (THIGH + SHANK)), leg * (SHANK / (THIGH + SHANK))


def _shod(hip: Tensor, knee: Tensor, ankle: Tensor, foot: Tensor) -> Legs:
    toe, heel, ball = (ankle + moved(foot, torch.tensor(place, device=foot.device)) for place in (TOE_POINT, *SOLE))
    soles = torch.stack([heel[..., 1], ball[..., 1], toe[..., 1] - TOE], -1)
    return Legs(torch.stack([hip, knee, ankle, toe], 2), soles.amin((1, 2)))
