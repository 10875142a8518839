"""What the trunk wears, layer by layer: tops and dresses, jackets and coats, and the seat of trousers or a skirt."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from halfseen.world.bodies.figure import Figure
from halfseen.world.bodies.limbs import Limb, Widths
from halfseen.world.bodies.poses import Skeleton
from halfseen.world.bodies.sheets import Cut, Sheet
from halfseen.world.bodies.skeleton import THIGH, dot
from halfseen.world.bodies.sleeves import lower_hem, trouser_widths
from halfseen.world.bodies.trunk import (
    HIP,
    Places,
    Rings,
    angle,
    armpits,
    at_neck,
    lobes,
    outlines,
    places,
    waves,
    widths,
)
from halfseen.world.people import Bottom, Outer, Top

LOW = (0.0, 0.0, 0.28, 0.52, 0.76, 1.0)  # shares of the way from the turned-in hem up to the hips
HIGH = (0.25, 0.5, 0.75, 1.0)  # shares of the way from there to the armpits or the belt
SHOULDER = (2.66, 2.80, 2.90, 2.985, 3.07, 3.072)  # the last is turned in
ARMPIT, BELT = 2.42, 0.84
CROTCH = 0.22  # below the hips


@dataclass(frozen=True)
class Layer:
    """One garment around the trunk, for N people; [N] but for the last four.

    `hem`: above the hips (0..3, as on the trunk), or below them if negative (−1: at the knee). `ease`: metres off the
    body; `loose` 0..1: how little it follows the waist and `drape` 0..1 the legs; `flare`: metres out for each metre
    down. `low`: how much lower its neckline is in front, in heights; `snug`: how much of the ease the neck lacks;
    `gap`: it can be open in front.
    """

    hem: Tensor
    ease: Tensor
    loose: Tensor
    drape: Tensor
    flare: Tensor
    shown: Tensor
    slot: str
    low: float = 0.0
    snug: float = 0.0
    gap: bool = False


def top(who: Figure) -> Layer:
    dress = who.bottom == Bottom.DRESS
    fit = torch.where(dress, who.fit.clamp(max=0.35), who.fit)
    covered = (who.outer > Outer.NONE) & (who.outer != Outer.JACKET_OPEN)
    return Layer(
        hem=torch.where(dress, -lower_hem(who), 0.62 - 1.15 * who.length),
        ease=0.008 + 0.016 * fit + 0.006 * (who.top == Top.HOODIE),
        loose=torch.where(dress, 0.3 * fit, 0.15 + 0.85 * fit),
        drape=torch.where(dress, 0.2 + 0.7 * who.width, 1.0),
        flare=torch.where(dress, 0.03 + 0.20 * who.width, 0.10 * fit),
        shown=~covered | dress,
        slot="top",
        low=0.016,
        snug=0.75,
    )


def coat(who: Figure) -> Layer:
    """What is worn over the top."""
    long, vest = who.outer == Outer.COAT, who.outer == Outer.VEST
    skirt = who.bottom >= Bottom.SKIRT
    hem = torch.where(long, -0.78, torch.where(vest, 0.15, -0.02)) - 0.22 * who.length
    return Layer(
        hem=hem,
        ease=0.020 + 0.016 * who.fit,
        loose=0.45 + 0.45 * who.fit,
        drape=torch.ones_like(hem),
        flare=torch.where(long | skirt, 0.05 + torch.where(skirt, 0.22, 0.05) * who.width, 0.04),
        shown=who.outer > Outer.NONE,
        slot="outer",
        low=0.012,
        snug=0.3,
        gap=True,
    )


def seat(who: Figure) -> Layer:
    """Trousers down to the crotch, or a skirt."""
    skirt = who.bottom == Bottom.SKIRT
    return Layer(
        hem=torch.where(skirt, -lower_hem(who), -CROTCH),
        ease=torch.where(skirt, 0.006, 0.004 + 0.004 * who.width),
        loose=torch.zeros_like(who.width),
        drape=0.15 + 0.7 * who.width,
        flare=torch.where(skirt, 0.02 + 0.22 * who.width, 0.0),
        shown=who.bottom != Bottom.DRESS,
        slot="bottom",
    )


def around_trunk(who: Figure, skeleton: Skeleton, legs: Limb, layer: Layer) -> Sheet:
    """The garment `layer` as a piece."""
    device = who.height.device
    rings = _rings(layer)
    place = places(skeleton, legs, rings)
    own, bust = widths(who, layer.loose, rings.above)
    side, ahead, behind = _over_legs(who, layer, rings, place, _eased(layer, rings, own))
    sin, cos = _outline(who, layer, rings.above.shape[1])
    puff = _folds(who, layer, rings)
    x = sin * (side[..., None] + puff)
    z = cos * (torch.where(cos > 0, ahead[..., None], behind[..., None]) + puff) + bust[..., None] * lobes(
        layer.gap, device
    )
    y = _dip(who, layer, rings, cos)
    directions = zip((x, y, z, sin), (place.left, place.up, place.front, place.apart), strict=True)
    points = place.middle[:, :, None] + sum(much[..., None] * way[:, :, None] for much, way in directions)
    shape = Cut(layer.slot, "torso", gap=layer.gap, legs=len(LOW) - 1, two_sided=layer.slot != "top")
    turn = angle(layer.gap, device)
    return Sheet(
        points=points,
        around=turn * side[:, len(LOW) + len(HIGH) - 1, None, None],
        along=rings.metres(who)[..., None],
        front=turn.cos(),
        open=_open(layer, rings),
        shown=layer.shown,
        cut=shape,
    )


def _rings(layer: Layer) -> Rings:
    """From the hem up; a skirt or trousers end at the belt."""
    hem = layer.hem[:, None]
    upper = () if layer.slot == "bottom" else SHOULDER
    low, high, shoulder = (torch.tensor(values, device=hem.device) for values in (LOW, HIGH, upper))
    start = hem.clamp(min=0)
    rise = start + ((ARMPIT if upper else BELT) - start) * high
    above = torch.cat([start.expand(-1, len(LOW)), rise, shoulder.expand(len(hem), -1)], 1)
    below = torch.cat([(-hem).clamp(min=0) * (1 - low), torch.zeros_like(above[:, len(LOW) :])], 1)
    lip = torch.zeros_like(above[0])
    lip[0] = 1
    if upper:
        lip[-1] = 1
    return Rings(above, below, lip, legs=len(LOW))


def _eased(layer: Layer, rings: Rings, own: Widths) -> Widths:
    ease = layer.ease[:, None] * (1 - layer.snug * at_neck(rings.above))
    return own[0] + ease, own[1] + ease, own[2] + ease


def _over_legs(who: Figure, layer: Layer, rings: Rings, place: Places, own: Widths) -> Widths:
    """`own`, but where it goes on below the hips: around both legs, or closing between them (trousers)."""
    between = HIP * (who.hips * who.height)[:, None]
    split = dot(place.apart, place.front)[..., 0].abs() * (1 - 0.35 * rings.below.clamp(max=1))
    side, ahead, behind = trouser_widths(who, rings.below)
    over = (
        between + _hung(who, layer, rings, own[0] - between, side),
        split + _hung(who, layer, rings, own[1], ahead),
        split + _hung(who, layer, rings, own[2], behind),
    )
    size = 1 - 0.18 * rings.lip
    if layer.slot != "bottom":
        return over[0] * size, over[1] * size, over[2] * size
    skirt = (who.bottom == Bottom.SKIRT)[:, None]
    close = 1 - 0.62 * (rings.below / CROTCH).clamp(0, 1) * (1 + 0.3 * rings.lip)
    side, ahead, behind = (torch.where(skirt, cloth * size, hip * close) for cloth, hip in zip(over, own, strict=True))
    return side, ahead, behind


def _hung(who: Figure, layer: Layer, rings: Rings, hip: Tensor, leg: Tensor) -> Tensor:
    """[N,R]: how far cloth reaches from the middle of a leg that is `leg` [N,R] thick, below hips that reach `hip`."""
    t = rings.below
    soon = (t / 0.3).clamp(0, 1)
    soon = soon * soon * (3 - 2 * soon)
    goal = leg + layer.ease[:, None] + 0.004
    hung = hip + soon * (goal + layer.drape[:, None] * (hip - goal).clamp(min=0) - hip)
    hung = hung + layer.flare[:, None] * t * (THIGH * who.height)[:, None]
    straight = hung.flip(1).cummax(1).values.flip(1)  # it falls from where it is widest
    hung = torch.where(t > 0, straight, hung)
    near = (1 - rings.above / 0.5).clamp(min=0).sqrt()  # of the hips: thighs go up to there
    return hung if layer.slot == "bottom" else torch.maximum(hung, goal * near)


def _outline(who: Figure, layer: Layer, rings: int) -> tuple[Tensor, Tensor]:
    """[N|1,R,C]: how far to the left and to the front."""
    device = who.height.device
    closed = outlines(layer.gap, False, device)[:, None, :rings]
    if not layer.gap:
        return closed[0], closed[1]
    open = (who.outer == Outer.JACKET_OPEN)[:, None, None]
    shape = torch.where(open, outlines(True, True, device)[:, None, :rings], closed)
    return shape[0], shape[1]


def _dip(who: Figure, layer: Layer, rings: Rings, cos: Tensor) -> Tensor:
    """[N,R,C]: metres up; a neckline is lower in front, and its edge is turned in."""
    dip = layer.low * ((rings.above - 2.6) / 0.4).clamp(0, 1)
    inside = 0.022 * rings.lip * (rings.above > 1)
    return -who.height[:, None, None] * (dip[..., None] * cos + inside[..., None])


def _folds(who: Figure, layer: Layer, rings: Rings) -> Tensor:
    """[N,R,C]: metres that the cloth stands out."""
    cosine, sine = waves(layer.gap, rings.above.shape[1], who.height.device).unbind(0)
    one, two, three, four = who.waves[:, :, None, None].unbind(1)
    hanging, across = one * cosine[0] + two * sine[0], three * cosine[1] + four * sine[1]
    between = two * cosine[2] + three * sine[2]
    loose = layer.loose[:, None, None]
    soft = (1 - (rings.above - 1).abs() / 1.5).clamp(min=0) * (rings.below <= 0)
    deep = 0.10 * (layer.flare * layer.drape)[:, None] * rings.below
    waist = (0.0015 + 0.005 * loose) * across + (0.001 + 0.003 * loose) * between
    return deep[..., None] * hanging + soft[..., None] * waist


def _open(layer: Layer, rings: Rings) -> Tensor:
    """[N,R,C]: dark inside the edges and under the arms."""
    under = ((rings.above - 1.2) / 1.2).clamp(0, 1) * (rings.above < 2.7)
    arms = under[..., None] * armpits(layer.gap, under.device)
    return (1 - 0.5 * arms) * (1 - 0.65 * rings.lip)[:, None]
