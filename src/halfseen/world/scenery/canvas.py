"""A surface being painted: points in metres, what colour they have so far, and shapes and noise as shares of pixels.

Everything is averaged over what a pixel spans, so that patterns fade to their mean in the distance instead of
flickering.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from halfseen.world.light.noise import hash01, noise
from halfseen.world.people import Colour


@dataclass(frozen=True)
class Spots:
    """n points of a surface, `u` and `v` [n] in metres on it; a pixel spans `du` and `dv` [n] metres there."""

    u: Tensor
    v: Tensor
    du: Tensor
    dv: Tensor

    def moved(self, u: float | Tensor = 0.0, v: float | Tensor = 0.0) -> Spots:
        """Seen from (u, v)."""
        return replace(self, u=self.u - u, v=self.v - v)


class Canvas:
    """What has been painted so far on n points `at`.

    `colour` [3,n] as seen on a screen in plain white light; `cover` [n]: the share of each pixel that is painted;
    `glow` [n]: how much the colour is its own light (a lamp, a lit room); `side` [n]: the part of the surface's normal
    that points right, −1..1.
    """

    def __init__(self, at: Spots) -> None:
        self.at = at
        self.colour = torch.zeros(3, len(at.u), device=at.u.device)
        self.cover = torch.zeros_like(at.u)
        self.glow = torch.zeros_like(at.u)
        self.side = torch.zeros_like(at.u)

    def lay(self, colour: Colour | Tensor, share: Tensor | None = None, *, glow: float = 0.0) -> None:
        """Paint `colour` (or [3,n]) over the `share` [n] of each pixel (all of it by default)."""
        share = torch.ones_like(self.cover) if share is None else share
        fresh = colour if isinstance(colour, Tensor) else tint(colour, share)
        # where nothing was painted yet there is nothing to mix with
        weight = share / (self.cover + share - self.cover * share).clamp(min=1e-4)
        self.colour = torch.lerp(self.colour, fresh, weight)
        self.glow = torch.lerp(self.glow, torch.full_like(share, glow), weight)
        self.cover = self.cover + share - self.cover * share

    def shade(self, factor: Tensor) -> None:
        """Make what is painted `factor` [n] as bright."""
        self.colour = self.colour * factor

    def bend(self, side: Tensor, share: Tensor) -> None:
        """Turn the `share` [n] of the surface so that its normal points `side` [n] to the right."""
        self.side = torch.lerp(self.side, side.clamp(-1, 1), share)


def tint(colour: Colour, like: Tensor) -> Tensor:
    """[3,1] on the device of `like`."""
    return torch.tensor(colour, device=like.device)[:, None]


def scaled(colour: Colour, factor: float) -> Colour:
    red, green, blue = colour
    return (red * factor, green * factor, blue * factor)


def between(low: Colour, high: Colour, share: Tensor) -> Tensor:
    """[3,n]: from `low` to `high` by `share` [n]."""
    return torch.lerp(tint(low, share), tint(high, share), share)


# Noise


def chance(x: Tensor, y: Tensor | float, seed: int) -> Tensor:
    """A number 0..1 for each pair of whole numbers `x`, `y` [n]."""
    return hash01(x.int(), torch.as_tensor(y, device=x.device).int(), seed)


def clouds(at: Spots, size: float | tuple[float, float], seed: int, octaves: int = 4) -> Tensor:
    """[n], mostly 0..1 with mean ½: noise of lumps `size` metres wide (and high), on it ones of half the size, ..."""
    wide, high = size if isinstance(size, tuple) else (size, size)
    total = torch.full_like(at.u, 0.5)
    span = (at.du * at.dv).sqrt() / (wide * high) ** 0.5
    for octave in range(octaves):
        scale = 2**octave
        faded = (1.6 - 1.3 * span * scale).clamp(0, 1)  # lumps smaller than a pixel are not seen
        lumps = noise((at.u * (scale / wide) + 17.3 * octave, at.v * (scale / high)), seed * 8 + octave)
        total = total + (lumps - 0.5) * faded * 0.62**octave
    return total


# Shapes, each as the share [n] of a pixel that lies inside


def soft(low: float, high: float, value: Tensor) -> Tensor:
    """From 0 at `low` to 1 at `high`, smoothly."""
    share = ((value - low) / (high - low)).clamp(0, 1)
    return share * share * (3 - 2 * share)


def strip(x: Tensor, low: float | Tensor, high: float | Tensor, span: Tensor) -> Tensor:
    """Within `low`..`high`, for a pixel that reaches half its `span` [n] to either side of `x` [n]."""
    half = span / 2
    return (((x + half).clamp(max=high) - (x - half).clamp(min=low)) / span).clamp(0, 1)


def box(at: Spots, across: tuple[float, float], up: tuple[float, float]) -> Tensor:
    """A rectangle: from .. to, in u and in v."""
    return strip(at.u, *across, at.du) * strip(at.v, *up, at.dv)


def stripes(x: Tensor, period: float, width: float, span: Tensor) -> Tensor:
    """The first `width` metres of every `period`."""
    half = span / 2
    return (_striped(x + half, period, width) - _striped(x - half, period, width)) / span


def _striped(x: Tensor, period: float, width: float) -> Tensor:
    turns = (x / period).floor()
    return turns * width + (x - turns * period).clamp(max=width)


def disc(at: Spots, u: float, v: float, radius: float) -> Tensor:
    return ((radius - torch.hypot(at.u - u, at.v - v)) / at.du + 0.5).clamp(0, 1)


def stroke(at: Spots, points: Sequence[tuple[float, float]], width: float) -> Tensor:
    """Lines `width` metres wide from point to point."""
    nearest = torch.full_like(at.u, float("inf"))
    for (u, v), (to_u, to_v) in pairwise(points):
        du, dv = to_u - u, to_v - v
        share = (((at.u - u) * du + (at.v - v) * dv) / (du * du + dv * dv)).clamp(0, 1)
        nearest = torch.minimum(nearest, (at.u - u - share * du).square() + (at.v - v - share * dv).square())
    # never thinner than what a pixel can show, but fainter
    return ((width / 2 - nearest.sqrt()) / at.du + 0.5).clamp(0, 1) * (width / at.du).clamp(max=1)


def polygon(at: Spots, points: Sequence[tuple[float, float]]) -> Tensor:
    """The inside of a convex outline, given anticlockwise as seen (u right, v up)."""
    inside = torch.full_like(at.u, float("inf"))
    for (u, v), (to_u, to_v) in zip(points, [*points[1:], points[0]], strict=True):
        du, dv = to_u - u, to_v - v
        depth = (du * (at.v - v) - dv * (at.u - u)) / (du * du + dv * dv) ** 0.5
        inside = torch.minimum(inside, depth)
    return (inside / at.du + 0.5).clamp(0, 1)
