"""What arms do: swing, hang, hold and reach."""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

from halfseen.world.bodies.skeleton import FOREARM, HAND, UPPER_ARM, Bones, bent, moved, rotation, sides, unit


class Arm(IntEnum):
    """What one arm does; the first three hang, the others reach."""

    SWING = 0
    LOAD = 1  # straight down with something heavy
    PULL = 2  # the same, a little behind
    POCKET = 3
    AKIMBO = 4
    BEHIND = 5  # in the small of the back
    BELLY = 6  # clasped before the belly
    STRAP = 7  # holding a strap at the shoulder
    OVER = 8  # crossed over the other
    UNDER = 9
    SCREEN = 10  # a phone before the chest
    EAR = 11
    SHAFT = 12  # an umbrella, upright


# Where the wrist is (aside, up, ahead, in heights), where the elbow points, where the fingers point; seen from the
# pelvis, from the middle of the shoulders, or from the head.
PELVIS, COLLAR, HEAD = 0, 1, 2
REACHES = {
    Arm.POCKET: (PELVIS, (0.122, 0.012, 0.018), (0.7, 0.1, -1.0), (-0.2, -1.0, 0.35)),
    Arm.AKIMBO: (PELVIS, (0.120, 0.075, 0.015), (1.0, 0.0, -0.45), (-0.5, -0.3, 0.8)),
    Arm.BEHIND: (PELVIS, (0.030, 0.045, -0.095), (0.9, 0.0, -0.5), (-0.9, -0.4, 0.0)),
    Arm.BELLY: (PELVIS, (0.042, 0.070, 0.110), (0.8, -0.2, -0.8), (-0.8, -0.45, 0.2)),
    Arm.STRAP: (COLLAR, (0.082, -0.100, 0.073), (0.5, -1.0, -0.3), (-0.15, 0.9, -0.25)),
    Arm.OVER: (COLLAR, (-0.005, -0.140, 0.130), (0.7, -0.8, -0.3), (-0.85, 0.25, -0.35)),
    Arm.UNDER: (COLLAR, (0.000, -0.160, 0.105), (0.7, -0.8, -0.3), (-0.85, 0.0, -0.1)),
    Arm.SCREEN: (COLLAR, (0.035, -0.095, 0.155), (0.4, -1.0, -0.2), (-0.45, 0.6, 0.55)),
    Arm.EAR: (HEAD, (0.085, -0.090, 0.075), (0.5, -1.0, 0.1), (-0.35, 0.85, -0.7)),
    Arm.SHAFT: (COLLAR, (0.075, -0.090, 0.130), (0.35, -1.0, -0.2), (-0.4, 0.3, 0.85)),
}
HANGING = len(Arm) - len(REACHES)


def arms(bone: Bones, frames: Tensor, trunk: Tensor, does: Tensor, swing: Tensor, style: Tensor) -> Tensor:
    """From shoulder to hand [N,2,4,3].

    `frames` [N,5,3,3] and `trunk` [N,6,3] from pelvis to crown, `does` int64 [N,2] (Arm), `swing` [N,2]: how far the
    swinging arm is ahead, in degrees, `style` [N,8].
    """
    shoulder = trunk[:, 2, None] + moved(frames[:, 2, None], bone.shoulders)
    upper, lower = _hanging(bone, frames, does, swing, style)
    middle = shoulder + UPPER_ARM * upper
    wrist = middle + FOREARM * lower
    hand = wrist + HAND * unit(lower + 0.15 * (lower - upper))
    goal, pole, fingers = _reaching(bone, frames, trunk, does, style)
    lengths = (torch.full_like(shoulder[..., :1], UPPER_ARM), torch.full_like(shoulder[..., :1], FOREARM))
    bend, end = bent(shoulder, goal, lengths, pole)
    hangs = torch.stack([shoulder, middle, wrist, hand], 2)
    reaches = torch.stack([shoulder, bend, end, end + HAND * fingers], 2)
    return torch.where((does < HANGING)[..., None, None], hangs, reaches)


def _hanging(bone: Bones, frames: Tensor, does: Tensor, swing: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
    """The directions [N,2,3] of upper arms and forearms that hang: plumb, however the chest leans."""
    side, loaded, pulls = sides(style), does != Arm.SWING, does == Arm.PULL
    ahead = torch.where(loaded, 0.25 * swing, swing) - 14.0 * pulls
    bend = 10 + 14 * style[:, 1, None] + 0.6 * swing
    bend = torch.where(loaded, 6.0, bend.clamp(min=6))
    hips = 2.55 * bone.hips[:, 0, 0] + 0.1 * (bone.girth - 1)  # their half-width, and an arm's: wrists stay outside
    hips = hips + bone.wide
    apart = torch.rad2deg((hips - bone.shoulders[:, 0, 0]) / (UPPER_ARM + FOREARM))[:, None] + 2 + 4 * style[:, 1, None]
    chest = torch.rad2deg(torch.atan2(frames[:, 2, 0, 2], frames[:, 2, 2, 2]))[:, None]
    turn = chest - side * (8 + 0.5 * ahead.clamp(min=0))
    upper = -rotation(turn, side * apart, -ahead)[..., 1]
    lower = -rotation(turn, side * (apart - 5), -ahead - bend)[..., 1]
    return upper, lower


def _reaching(bone: Bones, frames: Tensor, trunk: Tensor, does: Tensor, style: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where wrists go, where elbows and where fingers point, each [N,2,3]."""
    index = (does - HANGING).clamp(min=0)
    origin = torch.tensor([place for place, *_ in REACHES.values()], device=does.device)[index]
    table = torch.tensor([rest for _, *rest in REACHES.values()], device=does.device)[index]  # [N,2,3,3]
    own = torch.stack([sides(table), torch.ones(2, device=does.device), torch.ones(2, device=does.device)], -1)
    wrist, pole, fingers = (table * own[:, None]).unbind(2)
    # a stout body is reached around; and nobody's hands are exactly there
    one = torch.ones_like(style[:, :2])
    broad = torch.where(origin == PELVIS, (bone.hips[:, 0, 0] / 0.052 * bone.girth)[:, None], one)
    deep = torch.where(origin == HEAD, one, (1 + 10 * bone.bulk + 0.2 * (style[:, 2] - 0.5))[:, None])
    wrist = wrist * torch.stack([broad, one, deep], -1)
    wrist = wrist + 0.03 * (style[:, 1, None, None] - 0.5) * torch.tensor([0.0, 1.0, 0.0], device=does.device)
    collar = trunk[:, 2] + moved(frames[:, 2], (bone.shoulders[:, 0] + bone.shoulders[:, 1]) / 2)
    places = torch.stack([trunk[:, 0], collar, trunk[:, 4]], 1)
    rows = torch.arange(len(does), device=does.device)[:, None]
    frame = frames[:, [0, 2, 4]][rows, origin]
    return places[rows, origin] + moved(frame, wrist), moved(frame, pole), unit(moved(frame, fingers))
