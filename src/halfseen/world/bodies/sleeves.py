"""What arms and legs wear, and what is bare of them. Measures here are shares of a person's height."""

from __future__ import annotations

import torch
from torch import Tensor

from halfseen.world.bodies.curves import Knots, curve
from halfseen.world.bodies.figure import Figure
from halfseen.world.bodies.limbs import Limb, Tube, Widths, angles, folds, pair
from halfseen.world.bodies.sheets import Sheet
from halfseen.world.bodies.skeleton import FOREARM, SHANK, THIGH, UPPER_ARM
from halfseen.world.people import Bottom, Outer, Top

# Place (0 hip or shoulder, 1 knee or elbow, 2 ankle or wrist): half-widths to the side, ahead and behind.
ARM: Knots = (
    (0.0, 0.027, 0.031, 0.032), (0.25, 0.0265, 0.029, 0.03), (0.55, 0.0235, 0.027, 0.026),
    (0.85, 0.0215, 0.022, 0.023), (1.0, 0.0225, 0.022, 0.023), (1.22, 0.0235, 0.024, 0.022),
    (1.55, 0.0185, 0.02, 0.0185), (1.9, 0.0135, 0.0165, 0.0155), (2.1, 0.0135, 0.0165, 0.016),
)  # fmt: skip
LEG: Knots = (
    (-0.25, 0.044, 0.046, 0.054), (0.0, 0.0485, 0.053, 0.061), (0.2, 0.0495, 0.054, 0.058),
    (0.5, 0.0435, 0.049, 0.048), (0.8, 0.035, 0.039, 0.038), (1.0, 0.0315, 0.036, 0.033), (1.15, 0.03, 0.031, 0.036),
    (1.4, 0.032, 0.0285, 0.045), (1.6, 0.0285, 0.0255, 0.039), (1.8, 0.0215, 0.0215, 0.028),
    (1.95, 0.019, 0.02, 0.024), (2.1, 0.02, 0.022, 0.026),
)  # fmt: skip
WIDE_LEG: Knots = (
    (-0.25, 0.048, 0.052, 0.06), (0.0, 0.054, 0.06, 0.067), (0.3, 0.056, 0.06, 0.064), (0.6, 0.053, 0.056, 0.057),
    (1.0, 0.048, 0.05, 0.05), (1.4, 0.046, 0.046, 0.05), (1.75, 0.046, 0.045, 0.049), (2.1, 0.047, 0.047, 0.05),
)  # fmt: skip

# The rings over the shoulder: where, how large, and how far they lean towards the neck.
CAP, CAP_SIZES, CAP_INWARD = (-0.05, -0.042, -0.012, 0.05), (0.0, 0.50, 0.81, 0.97), (0.016, 0.014, 0.009, 0.004)
SLEEVE = (0.15, 0.30, 0.42, 0.485, 0.55, 0.66, 0.85, 1.0, 0.99)  # shares of the way from there to the hem and in again
TROUSERS = (0.0, 0.12, 0.26, 0.40, 0.47, 0.54, 0.68, 0.84, 0.93, 0.97, 1.0, 0.995)
BARE_ARM = (0.0, 0.2, 0.38, 0.55, 0.75, 0.9, 1.0)
BARE_LEG = (0.0, 0.2, 0.38, 0.5, 0.62, 0.75, 0.88, 1.0)
ROUND_ARM, ROUND_LEG = 9, 11  # columns


def sleeve(who: Figure, arms: Limb, *, outer: bool) -> list[Sheet]:
    """Both sleeves of the top, or those of what is worn over it."""
    covered = (who.outer > Outer.NONE) & (who.outer != Outer.VEST)
    end = torch.ones_like(who.sleeve) if outer else who.sleeve
    hem = (2.0 * end.clamp(min=0.1) + 0.04 * (end > 0.9))[:, None]
    lower = CAP[-1] + (hem - CAP[-1]) * _row(SLEEVE, hem)
    t = torch.cat([_row(CAP, hem).expand(len(hem), -1), lower], 1)
    ease = (0.003 + 0.008 * who.fit + (0.006 if outer else 0.0))[:, None] * (0.35 + 0.65 * (t / 0.6).clamp(0, 1))
    size = _row((*CAP_SIZES, *(1.0,) * (len(SLEEVE) - 1), 0.8), t) * who.height[:, None]
    thick = 1 + (who.limb[:, None] - 1) * ((t + 0.1) / 0.5).clamp(0, 1)  # shoulders stay within the trunk
    bare = (width * thick for width in curve(ARM, t))
    side, ahead, behind = ((width + ease * _looseness(who, t, outer=outer)) * size for width in bare)
    tube = Tube(t, (side, ahead, behind), ROUND_ARM)
    soft = _row((*(0.0,) * len(CAP), *(1.0,) * (len(SLEEVE) - 2), 0.4, 0.4), t)
    deep = ((0.0021 + 0.0018 * who.fit) * who.height)[:, None] * soft * hem.clamp(max=1.0)
    puff = deep[:, None, :, None] * (1 + 1.3 * arms.bend())[..., None, None] * folds(who, t.shape[1], ROUND_ARM)
    return pair(
        tube.points(arms, puff) + _inward(arms, who),
        tube,
        length=who.height * (UPPER_ARM + FOREARM) / 2,
        slot="outer_sleeve" if outer else "sleeve",
        part="arm",
        shown=covered if outer else ~covered & (who.sleeve > 0.02),
        open=_in_armpit(t.shape[1], t.device),
    )


def _looseness(who: Figure, t: Tensor, *, outer: bool) -> Tensor:
    """[N,R]: of a sleeve along the arm; long ones end in a cuff, short ones hang open."""
    knitted = (who.top == Top.HOODIE)[:, None] & (not outer)
    tight = torch.where(knitted, 0.1, 0.55)
    long = 1.0 + 0.25 * ((t - 1.3) / 0.4).clamp(0, 1) - (1.25 - tight) * ((t - 1.75) / 0.2).clamp(0, 1)
    short = 1.0 + 0.55 * (t / 0.7).clamp(0, 1)
    return torch.where((who.sleeve < 0.7)[:, None] & (not outer), short, long)


def bare_arms(who: Figure, arms: Limb) -> list[Sheet]:
    """What a sleeve leaves free."""
    covered = (who.outer > Outer.NONE) & (who.outer != Outer.VEST)
    start = (2.0 * torch.where(covered, 1.0, who.sleeve) - 0.16)[:, None].clamp(min=0.0)
    t = start + (2.06 - start) * _row(BARE_ARM, start)
    side, ahead, behind = (width * (who.limb * who.height)[:, None] for width in curve(ARM, t))
    tube = Tube(t, (side, ahead, behind), ROUND_ARM)
    open = _below(start + 0.1, t, ROUND_ARM)
    points = tube.points(arms)
    return pair(points, tube, length=who.height * UPPER_ARM, slot="skin", part="arm", shown=who.height > 0, open=open)


def lower_hem(who: Figure) -> Tensor:
    """[N]: where trousers, shorts or skirts end: 1 at the knee, 2 at the ankle."""
    return torch.where(who.bottom <= Bottom.JEANS, 1.0 + 1.07 * who.reach, 0.70 + 1.4 * who.reach)


def trouser_widths(who: Figure, t: Tensor) -> Widths:
    """[N,R] at `t` [N,R] of the legs."""
    limb, height, wide = who.limb[:, None], who.height[:, None], who.width[:, None]
    both = zip(curve(LEG, t), curve(WIDE_LEG, t), strict=True)
    side, ahead, behind = ((leg * limb + 0.0035 + wide * (loose - leg) * limb) * height for leg, loose in both)
    return side, ahead, behind


def trousers(who: Figure, legs: Limb) -> list[Sheet]:
    """The legs of trousers and shorts."""
    hem = lower_hem(who)[:, None]
    t = -0.2 + (hem + 0.2) * _row(TROUSERS, hem)
    shorts = (who.bottom == Bottom.SHORTS)[:, None]
    flare = torch.where(shorts, 0.010 * who.width[:, None] * (t / 0.9).clamp(0, 1), 0.0) * who.height[:, None]
    size = _row((0.7, *(1.0,) * (len(TROUSERS) - 2), 0.78), t)
    side, ahead, behind = ((width + flare) * size for width in trouser_widths(who, t))
    tube = Tube(t, (side, ahead, behind), ROUND_LEG)
    # cloth bunches above the shoe and at the knee
    bunch = ((t - 1.75) / 0.25).clamp(0, 1) + 0.6 * (1 - (t - 1).abs() / 0.3).clamp(min=0)
    soft = _row((0.0, *(1.0,) * (len(TROUSERS) - 3), 0.5, 0.5), t) * who.height[:, None]
    deep = (0.0018 + 0.0025 * who.width[:, None] + 0.0032 * bunch) * soft
    puff = deep[:, None, :, None] * (1 + 0.8 * legs.bend())[..., None, None] * folds(who, t.shape[1], ROUND_LEG)
    return pair(
        tube.points(legs, puff),
        tube,
        length=who.height * (THIGH + SHANK) / 2,
        slot="bottom",
        part="leg",
        shown=who.bottom <= Bottom.SHORTS,
        open=_between_thighs(t),
    )


def bare_legs(who: Figure, legs: Limb) -> list[Sheet]:
    """What trousers leave free, or all below the middle of the thigh under a skirt."""
    skirt = who.bottom >= Bottom.SKIRT
    hem = lower_hem(who)
    start = torch.where(skirt, hem.clamp(max=1.0) - 0.5, hem - 0.2)[:, None].clamp(max=1.9)
    t = start + (2.08 - start) * _row(BARE_LEG, start)
    side, ahead, behind = (width * (who.limb * who.height)[:, None] for width in curve(LEG, t))
    tube = Tube(t, (side, ahead, behind), ROUND_LEG)
    open = _below(hem[:, None], t, ROUND_LEG)
    points = tube.points(legs)
    return pair(points, tube, length=who.height * THIGH, slot="skin", part="leg", shown=who.height > 0, open=open)


def _row(values: tuple[float, ...], like: Tensor) -> Tensor:
    """[1,values]"""
    return torch.tensor(values, device=like.device)[None]


def _inward(arms: Limb, who: Figure) -> Tensor:
    """[N,2,R,1,3]: the cap of a shoulder leans towards the neck."""
    share = _row((*CAP_INWARD, *(0.0,) * len(SLEEVE)), who.height)
    shoulders = arms.joints[:, :, 0]
    across = shoulders.flip(1) - shoulders
    length = (across * across).sum(-1, keepdim=True).sqrt()
    return (across / length)[:, :, None, None] * (who.height[:, None] * share)[:, None, :, None, None]


def _below(hem: Tensor, t: Tensor, columns: int) -> Tensor:
    """[N,2,R,C]: how much light skin gets just below a hem [N,1]."""
    return (0.4 + 0.6 * ((t - hem) / 0.3).clamp(0, 1))[:, None, :, None].expand(-1, 2, -1, columns)


def _in_armpit(rings: int, device: torch.device) -> Tensor:
    """[1,2,R,C]: dark there and inside the hem."""
    sin = angles(ROUND_ARM, device).sin()
    high = torch.linspace(1, 0, rings, device=device)[:, None]
    inner = torch.stack([-sin, sin])[:, None].clamp(min=0)
    open = 1 - inner * (0.25 + 0.45 * high)
    return torch.cat([open[:, :-1], open[:, -1:] * 0.3], 1)[None]


def _between_thighs(t: Tensor) -> Tensor:
    """[N,2,R,C]: dark there and inside the hem."""
    sin = angles(ROUND_LEG, t.device).sin()
    inner = torch.stack([-sin, sin])[:, None].clamp(min=0)
    open = 1 - inner * (0.7 - 0.35 * t.clamp(0, 2))[:, None, :, None]
    return torch.cat([open[:, :, :-1], open[:, :, -1:] * 0.35], 2)
