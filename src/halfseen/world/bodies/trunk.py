"""The trunk: where its rings lie, how wide it is there, and what outlines clothes have around it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor

from halfseen.world.bodies.curves import Knots, curve
from halfseen.world.bodies.figure import Figure
from halfseen.world.bodies.limbs import Limb, Widths
from halfseen.world.bodies.poses import Skeleton
from halfseen.world.bodies.skeleton import SHANK, THIGH, unit

# Height on the trunk (0 hip joints, 1 waist, 2 chest, 3 base of the neck): half-widths to the side, ahead and behind in
# heights of a person, of the body and of what hangs from its widest places.
BODY: Knots = (
    (0.0, 0.1, 0.06, 0.072), (0.3, 0.0985, 0.062, 0.071), (0.65, 0.09, 0.062, 0.06), (1.0, 0.083, 0.061, 0.052),
    (1.4, 0.086, 0.063, 0.053), (1.8, 0.0935, 0.067, 0.058), (2.15, 0.0985, 0.067, 0.063),
    (2.45, 0.102, 0.061, 0.066), (2.7, 0.1035, 0.049, 0.061), (2.83, 0.0975, 0.039, 0.053),
    (2.92, 0.08, 0.034, 0.046), (2.99, 0.059, 0.033, 0.041), (3.07, 0.042, 0.036, 0.037), (3.2, 0.039, 0.036, 0.036),
)  # fmt: skip
HANGING: Knots = (
    (0.0, 0.102, 0.064, 0.073), (0.5, 0.1, 0.066, 0.07), (1.0, 0.0965, 0.067, 0.066), (1.5, 0.0965, 0.068, 0.065),
    (2.0, 0.099, 0.068, 0.066), (2.45, 0.103, 0.062, 0.067), (2.7, 0.1045, 0.05, 0.062), (2.83, 0.0985, 0.04, 0.054),
    (2.92, 0.081, 0.035, 0.047), (2.99, 0.06, 0.034, 0.042), (3.07, 0.043, 0.037, 0.038), (3.2, 0.04, 0.037, 0.037),
)  # fmt: skip
# How much of the belly and the bust there is, of cloth that falls from the bust, and of a waist.
SHAPE: Knots = (
    (0.0, 0.25, 0.0, 0.3, 0.0), (0.6, 0.95, 0.0, 0.45, 0.6), (0.95, 1.0, 0.0, 0.55, 1.0),
    (1.35, 0.65, 0.25, 0.7, 0.7), (1.7, 0.2, 0.85, 0.85, 0.2), (1.95, 0.0, 1.0, 1.0, 0.0), (2.25, 0.0, 0.6, 0.6, 0.0),
    (2.55, 0.0, 0.1, 0.1, 0.0), (2.8, 0.0, 0.0, 0.0, 0.0),
)  # fmt: skip
# From the hem up: exponents of the outlines, between an ellipse (2) and a box, and half of the angle that an open
# jacket leaves free in front.
SQUARE = (2.4,) * 10 + (2.25, 2.1) + (2.0,) * 4
GAP = (0.62, 0.62, 0.60, 0.57, 0.54, 0.52, 0.48, 0.42, 0.40, 0.42, 0.48, 0.55, 0.65, 0.75, 0.85, 0.85)
HIP = 0.052  # from the middle of the pelvis to a hip joint


@dataclass(frozen=True)
class Rings:
    """`above` and `below` [N,R]: how high on the trunk (0..3), and how far down the legs (0..2); `lip` [R]: 1 at edges
    that are turned in; `legs`: how many of the lowest may lie below the hips."""

    above: Tensor
    below: Tensor
    lip: Tensor
    legs: int

    def metres(self, who: Figure) -> Tensor:
        """[N,R] above the hips."""
        return (self.above * 0.105 - self.below * (THIGH + SHANK) / 2) * who.height[:, None]


@dataclass(frozen=True)
class Places:
    """Of each ring [N,R,3]: its middle, its directions, and half of what is between the two legs."""

    middle: Tensor
    left: Tensor
    up: Tensor
    front: Tensor
    apart: Tensor


def places(skeleton: Skeleton, legs: Limb, rings: Rings) -> Places:
    v = rings.above[..., None]
    joints = [skeleton.point(name)[:, None] for name in ("pelvis", "waist", "chest", "neck")]
    to_waist, to_chest, to_neck = (after - before for before, after in pairwise(joints))
    waist, chest = _ramp(v - 1), _ramp(v - 2)
    middle = joints[0] + to_waist * (v - waist) + to_chest * (waist - chest) + to_neck * chest
    turned = (v / 2).clamp(0, 1)
    ends = zip(skeleton.pelvis.unbind(2), skeleton.chest.unbind(2), strict=True)
    left, up, front = (unit(low[:, None] + (high - low)[:, None] * turned) for low, high in ends)
    feet, _, _ = legs.rings(rings.below[:, : rings.legs])
    away = feet - legs.joints[:, :, :1]
    rest = middle.new_zeros(len(middle), middle.shape[1] - rings.legs, 3)
    down, apart = (torch.cat([half / 2, rest], 1) for half in (away[:, 0] + away[:, 1], away[:, 0] - away[:, 1]))
    return Places(middle + down, left, up, front, apart)


def _ramp(x: Tensor, soft: float = 0.4) -> Tensor:
    """0 below 0 and x above, but smooth."""
    near = (x + soft).clamp(0, 2 * soft)
    return torch.where(x > soft, x, near * near / (4 * soft))


def widths(who: Figure, loose: Tensor, above: Tensor) -> tuple[Widths, Tensor]:
    """Of cloth that lies on the body, `loose` [N], and what the bust adds ahead, each [N,R] at `above` [N,R]."""
    loose, height, trunk = (values[:, None] for values in (loose, who.height, who.trunk))
    both = zip(curve(BODY, above), curve(HANGING, above), strict=True)
    side, ahead, behind = (body + loose * (hanging - body) for body, hanging in both)
    belly, bust, falling, waist = curve(SHAPE, above)
    below_neck = 1 - at_neck(above)  # the neck is hardly broader than others'
    broad = who.hips[:, None] + (who.shoulders - who.hips)[:, None] * ((above - 0.8) / 1.4).clamp(0, 1)
    below_shoulders = ((2.97 - above) / 0.12).clamp(0, 1)  # which lie as far apart however thick somebody is
    stout = 0.2 + 0.8 * ((2.7 - above) / 0.6).clamp(0, 1)
    side = side * (1 + (broad - 1) * below_shoulders + broad * (trunk - 1) * stout)
    side = side * (1 - 0.17 * (who.bust[:, None] - 0.15).clamp(min=0) * waist * (1 - loose))
    ahead = ahead * (1 + (trunk - 1) * below_neck) + 0.034 * who.belly[:, None] * belly
    behind = behind * (1 + 0.8 * (trunk - 1) * below_neck)
    chest = 0.030 * who.bust[:, None] * (bust + loose * (falling - bust).clamp(min=0))
    return (side * height, ahead * height, behind * height), chest * height


def at_neck(above: Tensor) -> Tensor:
    """0 below the shoulders, 1 at the neck."""
    return ((above - 2.75) / 0.25).clamp(0, 1)


@cache
def angle(gap: bool, device: torch.device) -> Tensor:
    """[C]: from the back around the right, the front and the left; with a gap the front is there twice."""
    if not gap:
        return torch.linspace(-math.pi, math.pi, 17, device=device)
    half = torch.linspace(0, math.pi, 9, device=device)
    return torch.cat([-half.flip(0), half])


@cache
def outlines(gap: bool, open: bool, device: torch.device) -> Tensor:
    """[2,R,C]: how far to the left and to the front."""
    around = angle(gap, device)
    if open:
        first = torch.tensor(GAP, device=device)[:, None]
        half = first + around[len(around) // 2 :] * (1 - first / math.pi)
        around = torch.cat([-half.flip(1), half], 1)
    power = 2 / torch.tensor(SQUARE, device=device)[:, None]
    return torch.stack([share.sign() * share.abs() ** power for share in (around.sin(), around.cos())])


@cache
def lobes(gap: bool, device: torch.device) -> Tensor:
    """[C]: how much of the bust is where."""
    around = angle(gap, device)
    left, right = ((around - place).cos().clamp(min=0) ** 5 for place in (-0.6, 0.6))
    return (left + right) * (around.cos() > 0)


@cache
def armpits(gap: bool, device: torch.device) -> Tensor:
    """[C]: how near to the arms."""
    return angle(gap, device).sin().abs() ** 3


@cache
def waves(gap: bool, rings: int, device: torch.device) -> Tensor:
    """[2,3,R,C]: folds that hang, those across the waist, and those between, each as cosine and sine."""
    around, ring = angle(gap, device), torch.arange(rings, device=device)[:, None]
    phases = torch.stack([5 * around + 0.25 * ring, 2 * around + 2.2 * ring, 3 * around - 1.4 * ring])
    return torch.stack([phases.cos(), phases.sin()])
