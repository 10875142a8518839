"""Hair and headwear, set on heads as the heads themselves are."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from halfseen.world.bodies.casts import ellipses
from halfseen.world.bodies.curves import Knots, between
from halfseen.world.bodies.figure import Figure
from halfseen.world.bodies.head import COLUMNS, Mount, on_head, on_skull, ring_at, warped
from halfseen.world.bodies.sheets import Cut, Sheet
from halfseen.world.people import HairStyle, Headwear, Outer, Top

# Angle from the front; height of the hairline, and how much lower a fringe hangs.
_HAIRLINE: Knots = (
    (0.0, 0.076, -0.034), (0.45, 0.078, -0.032), (0.8, 0.062, -0.018), (1.15, 0.036, 0.0), (1.38, -0.008, 0.0),
    (1.55, 0.004, 0.0), (1.9, -0.022, 0.0), (2.3, -0.058, 0.0), (3.1416, -0.076, 0.0),
)  # fmt: skip
# Shares of the way from there to the crown; the first is turned in.
_HAIR_RINGS = (0.0, 0.0, 0.10, 0.28, 0.50, 0.70, 0.86, 0.95)
# Long hair: height; half-width, depth behind and ahead; how much lower the longest hangs, how far back clothes push it.
_CURTAIN: Knots = (
    (-0.19, 0.09, 0.156, 0.06, -0.15, 0.028), (-0.15, 0.096, 0.14, 0.062, -0.1, 0.022),
    (-0.105, 0.1, 0.125, 0.064, -0.05, 0.014), (-0.06, 0.099, 0.113, 0.066, -0.02, 0.0),
    (-0.01, 0.094, 0.114, 0.07, 0.0, 0.0), (0.045, 0.086, 0.108, 0.074, 0.0, 0.0),
)  # fmt: skip
_BUN: Knots = (
    (-0.04, 0.0, 0.0, 0.0, 0.0), (-0.03, 0.026, 0.024, 0.0, 0.0), (-0.004, 0.038, 0.034, 0.0, 0.0),
    (0.022, 0.03, 0.028, 0.0, 0.0), (0.036, 0.0, 0.0, 0.0, 0.0),
)  # fmt: skip
_LOW_BUN, _HIGH_BUN = (0.0, -0.005, -0.122), (0.0, 0.105, -0.075)
# The rings of a cap from its edge: shares of the way to the crown, and metres off the head.
_CAP: Knots = ((0.0, 0.002), (0.0, 0.010), (0.30, 0.013), (0.62, 0.015), (0.86, 0.016))
# A hood's arches, from the edge around the face backwards: how far ahead above and below; half-width, top and bottom.
_HOOD: Knots = (
    (0.08, 0.05, 0.074, 0.112, -0.122), (0.092, 0.056, 0.085, 0.126, -0.138), (0.062, 0.03, 0.098, 0.14, -0.165),
    (0.005, -0.01, 0.104, 0.146, -0.19), (-0.06, -0.065, 0.1, 0.136, -0.21), (-0.108, -0.115, 0.076, 0.104, -0.218),
    (-0.13, -0.148, 0.042, 0.06, -0.222), (-0.134, -0.156, 0.0, 0.03, -0.222),
)  # fmt: skip


@cache
def _short(device: torch.device) -> tuple[Tensor, ...]:
    """[R,C,3], from the hairline up: hair of no thickness, and what a fringe, thickness and a parting change."""
    angle = warped(COLUMNS)
    line, fringe = torch.tensor([between(_HAIRLINE, abs(float(a))) for a in angle]).unbind(1)
    share = torch.tensor(_HAIR_RINGS)[:, None]
    thick = (0.15 + 0.6 * (share / 0.7).clamp(0, 1)) * (1 + 0.5 * share)
    thick[0] = -0.25
    parting = 0.02 * (2 * angle).sin() * (angle.abs() < math.pi / 2)

    def grid(fringed: float = 0.0, volume: float = 0.0, parted: float = 0.0) -> Tensor:
        low = line + fringed * fringe + parted * parting
        hair = on_skull(angle, low + (0.110 - low) * share, (0.003 + 0.014 * volume) * thick.expand(-1, COLUMNS))
        return torch.cat([hair, ring_at((0.0, 0.115 + 0.020 * volume, -0.004))])

    flat = grid()
    changes = (change - flat for change in (grid(fringed=1), grid(volume=1), grid(parted=1)))
    return flat.to(device), *(change.to(device) for change in changes)


@cache
def _long(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """[R,C,3], from the ends up: what falls behind and beside the face, and what its length and clothes change."""
    angle = torch.linspace(1.1, 2 * math.pi - 1.1, 11)
    sin, cos = angle.sin(), angle.cos()
    y, wide, behind, ahead, lower, pushed = (column[:, None] for column in torch.tensor(_CURTAIN).unbind(1))
    ragged = 0.012 * torch.cos(5 * angle) * (y < -0.1)
    hair = torch.stack([wide * sin, y + ragged, torch.where(cos > 0, ahead, behind) * cos], -1)
    back = cos.clamp(max=0)
    none = torch.zeros(len(y), len(angle))
    longer = torch.stack([none, lower + none, -0.25 * lower * back], -1)
    return hair.to(device), longer.to(device), torch.stack([none, none, pushed * back], -1).to(device)


@cache
def _bun(device: torch.device) -> tuple[Tensor, Tensor]:
    ball, low, high = ellipses(_BUN, 9), torch.tensor(_LOW_BUN), torch.tensor(_HIGH_BUN)
    return (ball + low).to(device), (high - low).expand_as(ball).to(device)


def hair(who: Figure, where: Mount) -> list[Sheet]:
    """What grows on heads; little of it under a hat, none in front of one."""
    device, bare, hooded = who.height.device, who.headwear == Headwear.NONE, who.headwear == Headwear.HOOD
    volume, none = who.volume, torch.zeros_like(who.volume)
    fringe = torch.where(
        (who.hair == HairStyle.BUN) | (who.headwear == Headwear.CAP), none, (2.2 * volume - 1.2).clamp(0, 1)
    )
    short, fringed, thicker, parted = _short(device)
    thick = torch.where(bare, 0.35 + 0.9 * volume, 0.15)
    cap = _changed(short, (fringe, fringed), (thick, thicker), (who.waves[:, 3], parted))
    open = torch.ones(*short.shape[:2], device=device)
    open[0] = 0.4
    curtain, longer, pushed = _long(device)
    length = torch.where(who.top == Top.HOODIE, none, volume)  # its ends lie in the hood
    push = (who.outer > Outer.NONE) + 3.0 * (who.trunk - 1) + 0.6 * who.fit
    fall = _changed(curtain, (length, longer), (push, pushed))
    bun, higher = _bun(device)
    knot = _changed(bun, (torch.where(bare, volume, none), higher))
    above = Cut("hair", "head", poles=(False, True))
    hanging = Cut("hair", "head", closed=False, two_sided=True)
    ball = Cut("hair", "head", poles=(True, True))
    return [
        on_head(where, cap, short, cut=above, shown=who.hair != HairStyle.BALD, open=open),
        on_head(where, fall, curtain, cut=hanging, shown=(who.hair == HairStyle.LONG) & ~hooded, hangs=True),
        on_head(where, knot, bun, cut=ball, shown=(who.hair == HairStyle.BUN) & ~hooded),
    ]


def _changed(grid: Tensor, *changes: tuple[Tensor, Tensor]) -> Tensor:
    """`grid` [R,C,3] and so much [N] of each change [R,C,3]: [N,R,C,3]."""
    out = grid[None]
    for much, change in changes:
        out = out + much[:, None, None, None] * change
    return out


@cache
def _hat(device: torch.device) -> tuple[Tensor, Tensor]:
    """A cap, from its edge up, and its visor, from its tip inwards."""
    angle = warped(COLUMNS)
    line = 0.036 + 0.020 * angle.cos()
    share, off = (column[:, None] for column in torch.tensor(_CAP).unbind(1))
    dome = torch.cat(
        [on_skull(angle, line + (0.110 - line) * share, off.expand(-1, COLUMNS)), ring_at((0, 0.131, -0.004))]
    )
    angle = torch.linspace(-1.1, 1.1, 9)
    inner = on_skull(angle, (0.036 + 0.020 * angle.cos())[None], 0.010)[0]
    aside, reach = inner[:, 0], 0.078 * angle.cos() ** 0.6
    outer = inner + torch.stack([0.10 * aside, -0.010 - 2.2 * aside * aside, reach], -1)
    middle = (inner + outer) / 2 + torch.tensor([0.0, 0.006, 0.0])
    return dome.to(device), torch.stack([outer, middle, inner]).to(device)


@cache
def _hood(device: torch.device) -> Tensor:
    """[R,C,3]: arches from the right over the top to the left."""
    above, below, wide, high, low = (column[:, None] for column in torch.tensor(_HOOD).unbind(1))
    angle = torch.linspace(-2.55, 2.55, 13)
    sin, cos = angle.sin(), angle.cos()
    middle = 0.25 * high + 0.1 * low
    y = middle + cos * torch.where(cos > 0, high - middle, middle - low)
    z = below + (above - below) * ((y - low) / (high - low)).clamp(0, 1)
    aside = torch.where(cos > 0, sin.abs() ** 0.85, 0.78 + 0.22 * sin.abs())  # below it lies on the shoulders
    return torch.stack([wide * sin.sign() * aside, y, z], -1).to(device)


def headwear(who: Figure, where: Mount) -> list[Sheet]:
    """Caps, and hoods worn up."""
    device = who.height.device
    dome, visor = _hat(device)
    hood = _hood(device)
    capped, hooded = who.headwear == Headwear.CAP, who.headwear == Headwear.HOOD
    inside = torch.ones(*hood.shape[:2], device=device)
    inside[0] = 0.3
    crown = Cut("hat", "head", poles=(False, True))
    shield = Cut("hat", "head", closed=False, two_sided=True)
    shell = Cut("hat", "head", closed=False, two_sided=True)
    return [
        on_head(where, dome, dome, cut=crown, shown=capped),
        on_head(where, visor, visor, cut=shield, shown=capped),
        on_head(where, hood, hood, cut=shell, shown=hooded, open=inside, hangs=True),
    ]
