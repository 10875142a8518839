"""Arms and legs: lines through three joints, and tubes around them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from halfseen.world.bodies.figure import Figure
from halfseen.world.bodies.poses import Skeleton
from halfseen.world.bodies.sheets import Cut, Sheet
from halfseen.world.bodies.skeleton import TOE_POINT, dot, unit

SIDES = ("left", "right")
Widths = tuple[Tensor, Tensor, Tensor]  # half of them, in metres: to the side, ahead and behind


@dataclass(frozen=True)
class Limb:
    """Both arms or both legs of N people.

    `joints` [N,2,3,3]: left and right; shoulder or hip, elbow or knee, wrist or ankle. `hinge` [N,2,3]: across the
    limb, to the body's left where it hangs down. `soft`: the share of a bone that bends at the middle joint.
    """

    joints: Tensor
    hinge: Tensor
    soft: float

    def rings(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Middle, left and front [N,2,R,3] at `t` [N,R]: 0 is the first joint, 1 the second, 2 the third."""
        first, second, third = (joint[:, :, None] for joint in self.joints.unbind(2))
        bent = (t[:, None, :, None] - 1 + self.soft).clamp(0, 2 * self.soft) / (2 * self.soft)
        beyond = torch.where(t < 1 + self.soft, self.soft * bent[:, 0, :, 0] * bent[:, 0, :, 0], t - 1)
        before, beyond = (t - beyond)[:, None, :, None], beyond[:, None, :, None]
        upper, lower = second - first, third - second
        way = unit(upper * (1 - bent) + lower * bent)
        hinge = self.hinge[:, :, None]
        left = unit(hinge - dot(hinge, way) * way)
        return first + upper * before + lower * beyond, left, torch.linalg.cross(way, left)

    def bend(self) -> Tensor:
        """[N,2]: 0 where straight, 1 at a right angle."""
        first, second, third = self.joints.unbind(2)
        return 1 - dot(unit(second - first), unit(third - second))[..., 0]


def arms_of(skeleton: Skeleton) -> Limb:
    joints = _joints(skeleton, ("shoulder", "elbow", "wrist"))
    upper, lower = joints[:, :, 1] - joints[:, :, 0], joints[:, :, 2] - joints[:, :, 1]
    across = torch.linalg.cross(unit(lower), unit(upper))
    return Limb(joints, unit(across + 0.25 * skeleton.chest[:, None, :, 0]), soft=0.2)


def legs_of(skeleton: Skeleton) -> Limb:
    joints = _joints(skeleton, ("hip", "knee", "ankle"))
    upper, lower = joints[:, :, 1] - joints[:, :, 0], joints[:, :, 2] - joints[:, :, 1]
    across = torch.linalg.cross(unit(upper), unit(lower))
    left = unit(skeleton.pelvis[:, None, :, 0] + feet_of(skeleton)[1])
    return Limb(joints, unit(across + 0.5 * left), soft=0.14)


def feet_of(skeleton: Skeleton) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ankle and the directions left, up and front of both feet, each [N,2,3]."""
    ankle, toe = _joints(skeleton, ("ankle", "toe")).unbind(2)
    way = unit(toe - ankle)
    above = torch.zeros_like(way)
    above[..., 1] = 1
    left = unit(torch.linalg.cross(above, way))
    rise = torch.linalg.cross(way, left)
    long = math.hypot(*TOE_POINT)  # a level foot's toe point lies lower than its ankle
    down, ahead = -TOE_POINT[1] / long, TOE_POINT[2] / long
    return ankle, left, rise * ahead - way * down, way * ahead + rise * down


def _joints(skeleton: Skeleton, names: tuple[str, ...]) -> Tensor:
    """[N,2,names,3]"""
    sides = [torch.stack([skeleton.point(f"{side}_{name}") for name in names], 1) for side in SIDES]
    return torch.stack(sides, 1)


@dataclass(frozen=True)
class Tube:
    """Rings around both limbs alike: at `t` [N,R], with `widths` [N,R]; `columns` points each."""

    t: Tensor
    widths: Widths
    columns: int

    def points(self, limb: Limb, puff: Tensor | float = 0.0) -> Tensor:
        """[N,2,R,C,3]; `puff` [N,2,R,C]: metres further out."""
        middle, left, front = (vectors[:, :, :, None] for vectors in limb.rings(self.t))
        sin, cos = turn(self.columns, self.t.device).unbind(0)
        side, ahead, behind = (width[:, None, :, None] for width in self.widths)
        x, z = sin * (side + puff), cos * (torch.where(cos > 0, ahead, behind) + puff)
        return middle + x[..., None] * left + z[..., None] * front


@cache
def turn(columns: int, device: torch.device) -> Tensor:
    """[2,C]: sines and cosines of angles from the back around the right, the front and the left to the back."""
    angle = angles(columns, device)
    return torch.stack([angle.sin(), angle.cos()])


@cache
def angles(columns: int, device: torch.device) -> Tensor:
    return torch.linspace(-math.pi, math.pi, columns, device=device)


@cache
def _waves(rings: int, columns: int, device: torch.device) -> Tensor:
    """[4,R,C]: a slow and a quick wave, each as cosine and sine, that wind around."""
    angle, ring = angles(columns, device), torch.arange(rings, device=device)[:, None]
    slow, quick = 2 * angle + 1.9 * ring, 3 * angle - 2.6 * ring
    return torch.stack([slow.cos(), slow.sin(), quick.cos(), quick.sin()])


def folds(who: Figure, rings: int, columns: int) -> Tensor:
    """[N,1,R,C] from −1 to 1 or so: how far folds of cloth stand out, another way for each person."""
    waves = _waves(rings, columns, who.height.device)
    slow, quick = who.waves[:, :2, None, None] * waves[:2], who.waves[:, 2:, None, None] * waves[2:]
    return (slow[:, :1] + slow[:, 1:]) + 0.6 * (quick[:, :1] + quick[:, 1:])


def pair(  # noqa: PLR0913  (keyword-only: what a piece is)
    points: Tensor, tube: Tube, *, length: Tensor, slot: str, part: str, shown: Tensor, open: Tensor
) -> list[Sheet]:
    """The left and the right piece of `points` [N,2,R,C,3]; `length` [N] of a bone, `part` "arm" or "leg", `open`
    [1|N,2,R,C]."""
    rings, columns = points.shape[2:4]
    typical = tube.widths[0][:, rings // 2, None, None]
    around = angles(columns, points.device) * typical
    along, front = -(tube.t * length[:, None])[..., None], turn(columns, points.device)[1]
    return [
        Sheet(
            points[:, n],
            around,
            along,
            front,
            open[:, n],
            shown,
            Cut(slot, f"{side}_{part}", flip=True),
        )
        for n, side in enumerate(SIDES)
    ]
