"""How people stand and walk: joint angles from an activity and its phase, and the skeleton they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from halfseen.world.bodies.arms import Arm, arms
from halfseen.world.bodies.legs import either, standing, walking
from halfseen.world.bodies.skeleton import POINT, POINTS, Skeleton, assembled, bones, moved, rotation
from halfseen.world.people import Carry, Person

__all__ = ["POINT", "POINTS", "Activity", "Skeleton", "skeleton"]


class Activity(IntEnum):
    WALK = 0
    STAND = 1
    TURN = 2  # looking and twisting aside
    PHONE = 3  # held before the face or at an ear
    ARMS_CROSSED = 4
    CARRY = 5  # one or both hands before the body, or holding a strap


# What the two arms do, the one that the style favours first; each pair is as likely as the others of its activity.
ARMS: dict[Activity, tuple[tuple[Arm, Arm], ...]] = {
    Activity.WALK: ((Arm.SWING, Arm.SWING),) * 8 + ((Arm.POCKET, Arm.SWING), (Arm.POCKET, Arm.POCKET)),
    Activity.STAND: (
        *((Arm.SWING, Arm.SWING),) * 4,
        *((Arm.POCKET, Arm.SWING),) * 2,
        (Arm.POCKET, Arm.POCKET), (Arm.AKIMBO, Arm.SWING), (Arm.BELLY, Arm.BELLY), (Arm.BEHIND, Arm.BEHIND),
    ),
    Activity.TURN: ((Arm.SWING, Arm.SWING),) * 7 + ((Arm.POCKET, Arm.SWING),) * 3,
    Activity.PHONE: (
        *((Arm.SCREEN, Arm.SWING),) * 3, *((Arm.EAR, Arm.SWING),) * 3,
        (Arm.SCREEN, Arm.POCKET), (Arm.EAR, Arm.POCKET), *((Arm.SCREEN, Arm.SCREEN),) * 2,
    ),
    Activity.ARMS_CROSSED: ((Arm.OVER, Arm.UNDER),) * 10,
    Activity.CARRY: (*((Arm.STRAP, Arm.SWING),) * 4, *((Arm.BELLY, Arm.BELLY),) * 3, *((Arm.LOAD, Arm.SWING),) * 3),
}  # fmt: skip
HELD = {Carry.HANDBAG: Arm.LOAD, Carry.SUITCASE: Arm.PULL, Carry.UMBRELLA: Arm.SHAFT}


@dataclass(frozen=True)
class Moment:
    """What N people are about.

    `activity` int64 [N], `phase` [N] and `style` [N,8] as in `skeleton`; `walks` bool [N]: on legs that walk or stand;
    `weight` [N] from -1 (all on the right leg) to 1 (all on the left); `does` int64 [N,2]: what either arm does (Arm).
    """

    activity: Tensor
    phase: Tensor
    style: Tensor
    walks: Tensor
    weight: Tensor
    does: Tensor


def skeleton(people: Sequence[Person], activity: Tensor, phase: Tensor, style: Tensor) -> Skeleton:
    """`people` in `activity` int64 [N] (Activity), at its `phase` [N] 0..1, in the `style` [N,8] of the moment, 0..1.

    The style's numbers: the length of steps, how lively the arms are, the lean of the back, where the weight lies (0
    right, 1 left), how far feet are apart and turned out, where the head turns (0 right, 1 left), how low it looks, and
    which of an activity's variants it is.
    """
    bone = bones(people, style.device)
    now = _moment(people, activity, phase, style)
    frames = rotation(_turns(now), _rolls(now), _pitches(now, bone.age))
    trunk = [torch.zeros_like(bone.spine[:, 0])]
    for number in range(5):
        trunk.append(trunk[-1] + moved(frames[:, number], bone.spine[:, number]))
    points = torch.stack(trunk, 1)
    pelvis = frames[:, 0]
    legs = either(now.walks, walking(bone, pelvis, phase, style), standing(bone, pelvis, now.weight, style))
    hold = arms(bone, frames, points, now.does, _swing(now, bone.age), style)
    return assembled(bone, frames, points, (hold, legs.points), legs.floor)


def _moment(people: Sequence[Person], activity: Tensor, phase: Tensor, style: Tensor) -> Moment:
    rest = style[:, 7].clamp(0, 0.999999) * 2  # one number, three choices: side, walking or not, arms
    side = rest.floor()
    rest = (rest - side) * 2
    moves = rest.floor()
    pair = ((rest - moves) * 10).long()
    stays = (activity == Activity.STAND) | (activity == Activity.ARMS_CROSSED)
    return Moment(
        activity,
        phase,
        style,
        walks=(activity == Activity.WALK) | ((moves > 0) & ~stays),
        weight=(2 * style[:, 3] - 1 + 0.15 * torch.sin(2 * torch.pi * phase)).clamp(-1, 1),
        does=_does(people, activity, side.long(), pair),
    )


def _does(people: Sequence[Person], activity: Tensor, favoured: Tensor, pair: Tensor) -> Tensor:
    """int64 [N,2] (Arm) for the `favoured` side [N] (0 left, 1 right) and the number of the `pair` [N] in ARMS.

    What is carried has an arm of its own; the other arm then is the favoured one.
    """
    holds = torch.tensor([_holds(p) for p in people], dtype=torch.long, device=activity.device).reshape(-1, 2)
    side = torch.where(holds[:, 0] >= 0, 1, torch.where(holds[:, 1] >= 0, 0, favoured))
    does = torch.tensor([ARMS[a] for a in Activity], device=activity.device)[activity, pair]
    does = torch.where(side[:, None] == 1, does.flip(1), does)
    return torch.where(holds >= 0, holds, does)


def _holds(person: Person) -> tuple[int, int]:
    """What the left and the right arm must do for what is carried, -1: nothing."""
    arm = HELD.get(person.carried.kind, -1)
    return (arm, -1) if person.carried.on_left else (-1, arm)


def _swing(now: Moment, age: Tensor) -> Tensor:
    """How far ahead [N,2], in degrees, arms are that swing."""
    back = torch.cos(2 * torch.pi * now.phase)  # the left arm is furthest behind as the left heel touches the ground
    swing = torch.stack([-back, back], 1) * ((8 + 13 * now.style[:, 1]) * (1 - 0.4 * age))[:, None]
    return torch.where(now.walks[:, None], swing - 2, 0.15 * swing - 1)


# How pelvis, waist, chest, neck and head are turned, in degrees [N,5], all as seen from the ground.


def _turns(now: Moment) -> Tensor:
    sin, cos = torch.sin(2 * torch.pi * now.phase), torch.cos(2 * torch.pi * now.phase)
    aside = 2 * now.style[:, 5] - 1
    twists = now.activity == Activity.TURN
    twist = torch.where(twists, torch.where(aside < 0, -0.4, 0.4) + 0.6 * aside, 0)
    pelvis = torch.where(now.walks, -5 * cos, 4 * now.weight) + 6 * twist
    chest = torch.where(now.walks, (3 + 4 * now.style[:, 1]) * cos, -3 * now.weight) + 35 * twist
    head = torch.where(twists, 60 * twist, 25 * aside * aside * aside + 3 * sin)
    return _chain(pelvis, chest, head)


def _rolls(now: Moment) -> Tensor:
    sin = torch.sin(2 * torch.pi * now.phase)
    sway = (2 * now.style[:, 3] - 1).abs()
    pelvis = torch.where(now.walks, (2.5 + 2.5 * sway) * sin, 5 * now.weight)
    chest = torch.where(now.walks, -1.5 * sin, -2.5 * now.weight)
    return _chain(pelvis, chest, 3 * (2 * now.style[:, 5] - 1) - now.weight)


def _pitches(now: Moment, age: Tensor) -> Tensor:
    screen = (now.does == Arm.SCREEN).any(1)
    lean = 7 * now.style[:, 2] + torch.where(now.walks, 1, -4)
    stoop = age * (6 + 14 * age)
    pelvis = 0.2 * lean + torch.where(now.walks, 2, 0)
    chest = lean + stoop + 3 * screen
    head = -3 + 12 * now.style[:, 6] + 0.15 * stoop + 16 * screen
    return _chain(pelvis, chest, head) + stoop[:, None] * torch.tensor([0, 0, 0, 0.9, 0], device=age.device)


def _chain(pelvis: Tensor, chest: Tensor, head: Tensor) -> Tensor:
    """[N] of three → [N,5]: waist and neck go half the way between their neighbours."""
    return torch.stack([pelvis, (pelvis + chest) / 2, chest, (chest + head) / 2, head], 1)
