"""Contact sheets: people by the row, seen by one camera after the other, then behind things and passers-by."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from halfseen.types import Occlusion
from halfseen.world.bodies.poses import Activity
from halfseen.world.dice import Dice
from halfseen.world.people import Person
from halfseen.world.photograph import World
from halfseen.world.plan import Shot, Stance, Thing
from halfseen.world.render import render

FRAME = 2  # white pixels around each picture
THINGS, PASSERS = 4, 2  # pictures of each person behind a thing, and behind somebody
COVERED = (0.3, 0.6)
# background, head, arms, torso, legs, feet, carried: the palette of part maps, left and right alike but not the same
PALETTE = (
    (26, 28, 33), (255, 203, 71), (52, 168, 235), (24, 110, 196), (226, 74, 66),
    (126, 87, 194), (179, 136, 235), (56, 158, 96), (128, 203, 120), (240, 240, 240),
)  # fmt: skip


def sheet(world: World, people: Sequence[Person], size: tuple[int, int], seed: int = 0) -> Tensor:
    """uint8 [3,·,·]: a row for each of `people`; it ends with the parts of its last picture."""
    lines = []
    for number, person in enumerate(people):
        others = [other for other in people if other is not person] or [person]
        pictures = render(world, _row(world, person, others, Dice("sheet", seed, number)), size)
        parts = torch.tensor(PALETTE, dtype=torch.uint8)[pictures.parts[-1].long().cpu()].permute(2, 0, 1)
        line = torch.cat([pictures.images.cpu(), parts[None]])
        framed = torch.nn.functional.pad(line, (FRAME,) * 4, value=255)
        lines.append(torch.cat(list(framed), dim=2))
    return torch.cat(lines, dim=1)


def _row(world: World, person: Person, others: Sequence[Person], dice: Dice) -> list[Shot]:
    cameras = len(world.cameras)
    turn = dice.between(0, math.tau)
    holistic = [_shot(world, person, dice, camera=camera, yaw=turn + camera * 2.1) for camera in range(cameras)]
    kinds = dice.shuffled([thing for thing in Thing if thing])[:THINGS]
    behind = [_shot(world, person, dice, camera=dice.below(cameras), yaw=turn, thing=kind) for kind in kinds]
    passed = [
        _shot(world, person, dice, camera=dice.below(cameras), yaw=turn, passer=others[dice.below(len(others))])
        for _ in range(PASSERS)
    ]
    return holistic + behind + passed


def _shot(  # noqa: PLR0913  (keyword-only: what differs)
    world: World,
    person: Person,
    dice: Dice,
    *,
    camera: int,
    yaw: float,
    thing: Thing = Thing.NONE,
    passer: Person | None = None,
) -> Shot:
    here = world.cameras[camera]
    occlusion = Occlusion.NPO if thing else Occlusion.NTP if passer else Occlusion.HOLISTIC
    other = None if passer is None else _stance(passer, dice, dice.between(0, math.tau))
    return Shot(
        pid=0,
        camera=camera,
        stance=_stance(person, dice, yaw + dice.between(-0.4, 0.4)),
        ahead=dice.between(here.near, here.far),
        aside=dice.between(-0.7, 0.7),
        occlusion=occlusion,
        thing=thing,
        passer=other,
        covered=dice.between(*COVERED),
        jitter=(0.03, 0.03, 0.03, 0.03),
        keep=1.0,
        light=(0.0, 0.0, 0.0, 0.0),
        seed=dice.below(2**31),
    )


def _stance(person: Person, dice: Dice, yaw: float) -> Stance:
    activity = dice.pick({Activity.WALK: 6, Activity.STAND: 2, Activity.PHONE: 1, Activity.CARRY: 1})
    style = tuple(dice.between(0, 1) for _ in range(8))
    return Stance(person, activity, dice.between(0, 1), yaw, style)
