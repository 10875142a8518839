"""Patterns in metres on a surface: how much of a cloth's second and third colour shows, and how bright, at each point.

Every pattern blurs as a camera does: a point stands for a square of `footprint` metres, and shows what that holds on
average.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from halfseen.world.light.noise import hash01, noise


@dataclass(frozen=True)
class Spot:
    """P points of one pattern, each field [P]: where they lie (`shapes.Mesh.surface`), the metres that a pixel spans
    there, the cloth's `period` and `chance`, and the garment's `half_round` (see `fabrics.Materials`)."""

    around: Tensor
    along: Tensor
    front: Tensor
    footprint: Tensor
    period: Tensor
    chance: Tensor
    half_round: Tensor


Show: TypeAlias = tuple[Tensor | float, Tensor | float, Tensor | float]  # second colour, third colour, brightness


def bands(at: Tensor, share: Tensor | float, blur: Tensor) -> Tensor:
    """How much of [at - blur/2, at + blur/2] lies in a band; bands start at whole numbers and are `share` wide."""
    blur = blur.clamp(min=0.01)
    return (_banded(at + 0.5 * blur, share) - _banded(at - 0.5 * blur, share)) / blur


def inside(distance: Tensor, blur: Tensor) -> Tensor:
    """1 well inside of an edge (`distance` > 0), 0 well outside, a ramp as wide as `blur` between."""
    return (distance / blur.clamp(min=1e-4) + 0.5).clamp(0, 1)


def ellipse(x: Tensor, y: Tensor, radii: tuple[Tensor | float, Tensor | float], blur: Tensor) -> Tensor:
    """1 within an ellipse around the origin, 0 without; `radii` across and up."""
    across, up = radii
    reach = (x / across) * (x / across) + (y / up) * (y / up)
    smaller = torch.minimum(torch.zeros_like(x) + across, torch.zeros_like(x) + up)
    return inside((1 - reach.sqrt()) * smaller, blur)


def part_of(chance: Tensor, number: int) -> Tensor:
    """Further numbers 0..1 made of a cloth's one."""
    return hash01((chance * 4096).to(torch.int32), number)


def stripes_across(spot: Spot) -> Show:
    return _striped(spot, spot.along)


def stripes_down(spot: Spot) -> Show:
    return _striped(spot, spot.around + 0.25 * spot.period)


def checks(spot: Spot) -> Show:
    """Two sets of translucent bands, and thin lines of the third colour between them."""
    width = 0.35 + 0.25 * part_of(spot.chance, 1)
    blur = spot.footprint / spot.period
    across, down = spot.around / spot.period + 0.5 * width, spot.along / spot.period
    second = 0.5 * (bands(across, width, blur) + bands(down, width, blur))
    line = 0.44 + 0.5 * width  # where it starts, so that it lies in the middle between two bands
    lines = torch.maximum(bands(across - line, 0.12, blur), bands(down - line, 0.12, blur))
    return second, lines * 0.8 * (part_of(spot.chance, 2) > 0.4), 1.0


def dots(spot: Spot) -> Show:
    """Rows of dots, every other row moved by half a period."""
    period = spot.period
    down = spot.along / period * 1.1547
    row = down.floor()
    across = spot.around / period + 0.5 * (row - 2 * (row * 0.5).floor())
    x, y = across - across.floor() - 0.5, (down - row - 0.5) * 0.8660254
    radius = 0.18 + 0.12 * part_of(spot.chance, 1)
    blur = spot.footprint / period
    sharp = inside(radius - (x * x + y * y).sqrt(), blur)
    return sharp + _fade(blur) * (3.6276 * radius * radius - sharp), 0.0, 1.0  # area of a dot by that of its cell


def camouflage(spot: Spot) -> Show:
    """Two layers of flecks over the first colour, wider than high."""
    x, y = spot.around / (0.7 * spot.period), spot.along / (0.45 * spot.period)
    seed = (spot.chance * 4096).to(torch.int32)
    blur = 0.05 + 0.5 * spot.footprint / spot.period
    fade = _fade(spot.footprint / spot.period)
    layers = []
    for number, level in enumerate((0.5, 0.56)):
        sharp = inside(noise([x, y], seed * 2 + number, octaves=2) - level, blur)
        layers.append(sharp + fade * (0.5 - 0.25 * number - sharp))
    return layers[0], layers[1], 1.0


def gradient(spot: Spot) -> Show:
    return ((spot.along - 0.02) * 2).clamp(0, 1), 0.0, 1.0


def denim(spot: Spot) -> Show:
    """Cotton in two blues: faded in the middle of the leg's front, streaked downwards, sewn at its sides."""
    cloudy = noise([spot.around * 14, spot.along * 7], (spot.chance * 4096).to(torch.int32), octaves=2)
    middle = (1 - spot.around * spot.around / 0.006).clamp(min=0) * (spot.front > 0)
    faded = (0.25 + 0.3 * cloudy + 0.45 * middle * part_of(spot.chance, 1)).clamp(0, 1)
    fine = (1 - spot.footprint / 0.012).clamp(0, 1)
    streaks = noise([spot.around * 450, spot.along * 60], 3) - 0.5
    seam = inside(0.05 - spot.front.abs(), spot.footprint * 12)
    return faded, 0.0, (1 + 0.3 * fine * streaks) * (1 - 0.25 * seam)


def strands(spot: Spot) -> Show:
    """Hair: locks that run along, darker and lighter, and a few of the second colour."""
    wave = spot.around + 0.012 * noise([spot.around * 20, spot.along * 12], 5)
    locks = noise([wave * 140, spot.along * 7], (spot.chance * 4096).to(torch.int32))
    fine = noise([wave * 420, spot.along * 10], 7) - 0.5
    clear = (1.4 - spot.footprint / 0.009).clamp(0, 1)
    return (1.5 * locks - 0.6).clamp(0, 0.6), 0.0, 0.74 + 0.36 * locks + 0.45 * clear * fine


def _striped(spot: Spot, metres: Tensor) -> Show:
    """Bands of the second colour; in some cloths a line of the third in the middle of each gap."""
    width = 0.3 + 0.3 * part_of(spot.chance, 1)
    at, blur = metres / spot.period, spot.footprint / spot.period
    line = bands(at - 0.44 - 0.5 * width, 0.12 * (part_of(spot.chance, 2) > 0.65), blur)
    return bands(at, width, blur), line, 1.0


def _banded(at: Tensor, share: Tensor | float) -> Tensor:
    """How much of 0..`at` lies in bands."""
    whole = at.floor()
    return whole * share + torch.minimum(at - whole, torch.zeros_like(at) + share)


def _fade(blur: Tensor) -> Tensor:
    """0 while a period is several pixels wide, 1 from where it is less than one."""
    return (2 * blur - 1).clamp(0, 1)
