"""Bones: the proportions of a body, and the turns that chain them. Lengths here are shares of a person's height."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from halfseen.world.people import Bottom, Outer, Person

# Points of a skeleton; `hand` and `toe` are the ends of the fingers and of the foot.
POINTS = (
    "pelvis", "waist", "chest", "neck", "head", "crown",
    "left_shoulder", "left_elbow", "left_wrist", "left_hand",
    "right_shoulder", "right_elbow", "right_wrist", "right_hand",
    "left_hip", "left_knee", "left_ankle", "left_toe",
    "right_hip", "right_knee", "right_ankle", "right_toe",
)  # fmt: skip
POINT = {name: number for number, name in enumerate(POINTS)}

UPPER_ARM, FOREARM, HAND = 0.172, 0.145, 0.085
HIP, NECK = 0.525, 0.845  # heights of the hip joints (of average legs) and of the neck's base
ANKLE = 0.045  # the ankle's height over the sole
LEG = HIP - ANKLE
THIGH, SHANK = 0.51 * LEG, 0.49 * LEG
# In a foot's own frame, seen from the ankle: the toe point, which has TOE below it, and the sole's ends.
TOE = 0.02
TOE_POINT = (0.0, TOE - ANKLE, 0.115)
SOLE = ((0.0, -ANKLE, -0.035), (0.0, -ANKLE, 0.075))  # under the heel and under the ball

# Where joints lie on the head, seen from its middle: nose, eyes, ears.
FACE = ((0, -0.012, 0.069), (0.0185, 0.008, 0.053), (-0.0185, 0.008, 0.053), (0.047, -0.002, -0.004),
        (-0.047, -0.002, -0.004))  # fmt: skip

# On pictures people mark a hip further out, higher and nearer to the front than the joint lies.
HIP_MARK = (0.012, 0.018, 0.004)


@dataclass(frozen=True)
class Skeleton:
    """N people in their own frame (y up, z ahead, x to their left; the lowest point of a shoe at y = 0).

    `points` [N,22,3] in the order of POINTS; `pelvis`, `chest` and `head` [N,3,3]: rotations whose columns are that
    part's left, up and front; `joints` [N,17,3]: the COCO joints (shoulders to ankles inside the limbs, eyes, ears and
    nose on the head's surface).
    """

    points: Tensor
    pelvis: Tensor
    chest: Tensor
    head: Tensor
    joints: Tensor

    def point(self, name: str) -> Tensor:
        """[N,3]"""
        return self.points[:, POINT[name]]


@dataclass(frozen=True)
class Bones:
    """N people's measures: `height` [N] in metres; `girth`, `age` [N] as in `Build`; and in heights: `spine` [N,5,3]
    from pelvis to waist, chest, neck, head and crown, `hips` [N,2,3] from the pelvis and `shoulders` [N,2,3] from the
    chest to the left and the right joint, `leg` [N] from hip to ankle, `bulk` [N]: how much further ahead the front of
    body and clothes lies than the average, `wide` [N]: how much further aside coats and wide skirts do at the hands."""

    height: Tensor
    girth: Tensor
    age: Tensor
    spine: Tensor
    hips: Tensor
    shoulders: Tensor
    leg: Tensor
    bulk: Tensor
    wide: Tensor


def bones(people: Sequence[Person], device: torch.device) -> Bones:
    builds = [p.build for p in people]
    rows = [(b.height, b.girth, b.age, b.shoulders, b.hips, b.legs, b.belly, b.bust) for b in builds]
    height, girth, age, shoulders, hips, legs, belly, bust = torch.tensor(rows, device=device).reshape(-1, 8).unbind(1)
    dressed = torch.tensor([float(p.upper.outer != Outer.NONE) for p in people], device=device)
    wide = torch.tensor([_wide(p) for p in people], device=device)
    torso = (NECK - HIP * legs) / (NECK - HIP)  # what the legs gain, the trunk loses
    zero, one = torch.zeros_like(legs), torch.ones_like(legs)
    # up and ahead: hollow at the waist, round at the back, the head before the neck
    rises = (0.105 * torso, 0.1 * torso, 0.115 * torso, 0.09 * one, 0.065 * one)
    aheads = (0.004, -0.010, -0.004, 0.018, -0.004)
    spine = torch.stack([torch.stack([zero, up, z * one], -1) for up, z in zip(rises, aheads, strict=True)], 1)
    return Bones(
        height=height,
        girth=girth,
        age=age,
        spine=spine,
        hips=_pair(0.052 * hips, zero, zero),
        shoulders=_pair(0.106 * shoulders, 0.087 * torso, -0.002 * one),
        leg=HIP * legs - ANKLE,
        bulk=0.08 * (girth - 1) + 0.025 * belly + 0.012 * bust + 0.012 * dressed,
        wide=wide,
    )


def _wide(person: Person) -> float:
    lower, coat = person.lower, person.upper.outer is Outer.COAT
    return 0.014 * coat + 0.012 * lower.width * (lower.bottom in (Bottom.SKIRT, Bottom.DRESS))


def _pair(out: Tensor, up: Tensor, ahead: Tensor) -> Tensor:
    return torch.stack([torch.stack([side * out, up, ahead], -1) for side in (1, -1)], 1)


def sides(like: Tensor) -> Tensor:
    """[2]: 1 for the left, -1 for the right."""
    return torch.tensor([1.0, -1.0], device=like.device)


# All written out, not multiplied as matrices: the same bits whatever the size of the batch.


def rotation(turn: Tensor, roll: Tensor, pitch: Tensor) -> Tensor:
    """[...,3,3] by angles [...] in degrees: first `pitch` (up goes ahead), then `roll` (left goes up), at last `turn`
    (ahead goes left)."""
    angles = [torch.deg2rad(a) for a in (turn, roll, pitch)]
    (c1, c2, c3), (s1, s2, s3) = ([f(a) for a in angles] for f in (torch.cos, torch.sin))
    rows = [
        c1 * c2, s1 * s3 - c1 * s2 * c3, s1 * c3 + c1 * s2 * s3,
        s2, c2 * c3, -c2 * s3,
        -s1 * c2, s1 * s2 * c3 + c1 * s3, c1 * c3 - s1 * s2 * s3,
    ]  # fmt: skip
    return torch.stack(rows, -1).reshape(*c1.shape, 3, 3)


def moved(turned: Tensor, vector: Tensor) -> Tensor:
    """`vector` [...,3] by rotations `turned` [...,3,3]."""
    x, y, z = (turned[..., i] * vector[..., i, None] for i in range(3))
    return x + y + z


def dot(first: Tensor, second: Tensor) -> Tensor:
    """[...,3] with [...,3] → [...,1]"""
    x, y, z = (first * second).unbind(-1)
    return (x + y + z)[..., None]


def unit(vector: Tensor) -> Tensor:
    return vector / dot(vector, vector).sqrt().clamp(min=1e-6)


def bent(start: Tensor, goal: Tensor, lengths: tuple[Tensor, Tensor], pole: Tensor) -> tuple[Tensor, Tensor]:
    """The middle and the end [...,3] of a limb of two bones with `lengths` [...,1] that reaches from `start` as near to
    `goal` as it can, bending towards `pole`."""
    first, second = lengths
    way = goal - start
    far = dot(way, way).sqrt().clamp(min=1e-6)
    ahead = way / far
    far = torch.minimum(torch.maximum(far, 0.58 * torch.maximum(first, second)), 0.9995 * (first + second))
    share = (far * far + first * first - second * second) / (2 * far)
    aside = (first * first - share * share).clamp(min=0).sqrt()
    across = unit(pole - dot(pole, ahead) * ahead)
    return start + share * ahead + aside * across, start + far * ahead


def assembled(bone: Bones, frames: Tensor, trunk: Tensor, limbs: tuple[Tensor, Tensor], floor: Tensor) -> Skeleton:
    """The skeleton in metres, standing on the floor.

    In heights, seen from the pelvis: `frames` [N,5,3,3] and `trunk` [N,6,3] from pelvis to crown, `limbs` the arms
    [N,2,4,3] (shoulder to hand) and the legs [N,2,4,3] (hip to toe), `floor` [N] where the lowest sole is.
    """
    scale = bone.height[:, None, None]
    up = torch.stack([torch.zeros_like(floor), -floor, torch.zeros_like(floor)], -1)[:, None]
    points = (torch.cat([trunk, *(limb.flatten(1, 2) for limb in limbs)], 1) + up) * scale
    pelvis, chest, head = frames[:, 0], frames[:, 2], frames[:, 4]
    middle = points[:, POINT["head"], None]
    face = middle + scale * moved(head[:, None], torch.tensor(FACE, device=points.device))
    hips = points[:, _places("hip")] + moved(pelvis[:, None], _pair(*(share * bone.height for share in HIP_MARK)))
    arms, legs = points[:, _places("shoulder", "elbow", "wrist")], points[:, _places("knee", "ankle")]
    return Skeleton(points, pelvis, chest, head, torch.cat([face, arms, hips, legs], 1))


def _places(*names: str) -> list[int]:
    return [POINT[f"{side}_{name}"] for name in names for side in ("left", "right")]
