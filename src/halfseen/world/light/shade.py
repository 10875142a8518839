"""Light on surfaces: sun, sky and the floor's bounce, folds of cloth, sheen, and what a camera makes of brightness.

Screen values are square roots of light here, which is close to what screens do and exact everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from halfseen.world.light.noise import hashed, noise
from halfseen.world.shapes import SLOTS

# How deep the folds of each slot are (a slope, in the mean) and where most of them are: metres along to an elbow, a
# knee or the waist.
FOLDS = {
    "top": (0.28, 0.12), "sleeve": (0.34, -0.28), "outer": (0.30, 0.12), "outer_sleeve": (0.36, -0.28),
    "bottom": (0.27, -0.43), "bag": (0.08, 0.0), "umbrella": (0.05, 0.0), "hat": (0.08, 0.0), "shoe": (0.06, 0.0),
}  # fmt: skip

_TEXEL, _HIGH, _WIDE = 0.005, 256, 512  # folds repeat after so many texels of so many metres
_BEHIND = 0.3  # metres, about: such that a quarter turn from the middle of a back to its side is 0.21
_PIECE = 1 << 17  # points that are lit together: more at once fall out of the processor's memory
_WRAP = 0.5  # how far soft light reaches around a body
_BLACKEST = 0.015  # of the light that falls on it, black cloth throws back: its folds can be seen
_SHOULDER = 0.65  # light above it is compressed, so that white cloth keeps its folds in the sun


@dataclass(frozen=True)
class Light:
    """What falls on N scenes: `direction` [N,3], of length 1, towards the sun or lamp; `sun`, `sky` and `ground` [N,3],
    the light from there, from above and from below, as a share of what makes white look white; `hardness` [N] 0..1."""

    direction: Tensor
    sun: Tensor
    sky: Tensor
    ground: Tensor
    hardness: Tensor


def folds(surface: Tensor, normal: Tensor, image: Tensor, slot: Tensor, chance: Tensor) -> Tensor:
    """Unit normals [M,3] of cloth with wrinkles.

    `surface` and `normal` [M,3]; `image` and `slot` int64 [M]; `chance` [N] 0..1 decides where the wrinkles are.
    """
    place = surface.t().contiguous()
    depths = torch.tensor([FOLDS.get(name, (0.0, 0.0)) for name in SLOTS], device=place.device)
    deep, most = depths.t().contiguous().index_select(1, slot)
    deep = deep * (1.5 - 4 * (place[1] - most).abs()).clamp(min=0.85)
    names = torch.arange(len(SLOTS), dtype=torch.int32, device=place.device)
    starts = hashed((chance[:, None] * 65536).to(torch.int32), names).flatten()
    texel = _texel(place, starts.index_select(0, image * len(SLOTS) + slot))
    to_left, to_top = _slopes(str(place.device)).index_select(1, texel) * deep
    x, y, z = normal.t().contiguous().unbind(0)
    # left along the surface is (z, 0, -x), up along it (-x y, 1 - y y, -z y)
    bent = (x - to_left * z + to_top * x * y, y - to_top * (1 - y * y), z + to_left * x + to_top * z * y)
    return torch.stack(_unit(*bent)).t()


def _texel(place: Tensor, start: Tensor) -> Tensor:
    """Where in the table of `_slopes` the points [M] at `place` [3,M] lie, whose own origin is at `start` [M]."""
    around, along, front = place.unbind(0)
    # behind it counts from the middle of the back, or thereabouts, so that seams are at the sides
    behind = around.sign() * _BEHIND * (0.5 + 0.5 * front).clamp(min=0).sqrt()
    metres = (torch.where(front > 0, around, behind), along)
    left, up = ((values * (1 / _TEXEL)).floor().to(torch.int32) for values in metres)
    return ((up + (start >> 9)) & (_HIGH - 1)) * _WIDE + ((left + start) & (_WIDE - 1))


def shade(  # noqa: PLR0913  (keyword-only: what a point is besides its colour)
    colour: Tensor,
    normal: Tensor,
    to_eye: Tensor,
    *,
    open: Tensor,
    lit: Tensor,
    gloss: Tensor,
    light: Light,
    image: Tensor,
) -> Tensor:
    """What M points look like on a screen: [M,3] in 0..1.

    `colour` [M,3] as on a screen; `normal` and `to_eye` [M,3] of length 1; `open` [M]: the share of the sky that a
    point sees; `lit` [M]: the share of the sun that reaches it; `gloss` [M] 0..1; `image` int64 [M].
    """
    points = _Points(colour.t(), normal.t(), to_eye.t(), open, lit, gloss, image)
    pieces = zip(*(torch.split(values, _PIECE, dim=-1) for values in points), strict=True)
    return torch.cat([_screen(_Points(*piece), light) for piece in pieces], dim=1).t()


class _Points(NamedTuple):
    """As the arguments of `shade`, but `colour`, `normal` and `to_eye` [3,M]."""

    colour: Tensor
    normal: Tensor
    to_eye: Tensor
    open: Tensor
    lit: Tensor
    gloss: Tensor
    image: Tensor


def _screen(at: _Points, light: Light) -> Tensor:
    """Screen values [3,M]."""
    falls = (getattr(light, name).t().index_select(1, at.image) for name in ("direction", "sun", "sky", "ground"))
    direction, sun, sky, ground = falls
    screen, eye = at.colour.clamp(0, 1), at.to_eye.contiguous()
    own = screen * ((1 + _BLACKEST) * screen - 2 * _BLACKEST) + _BLACKEST  # the square, but for dark cloth
    normal, seen = _towards(at.normal.contiguous(), eye)
    facing = _dot(normal, direction)
    wrap = _WRAP * (1 - light.hardness.index_select(0, at.image))
    direct = ((facing + wrap) / (1 + wrap)).clamp(min=0) * at.lit
    around = ground + (sky - ground) * (0.5 + 0.5 * normal[1])
    reach = at.open / (1 - 0.9 * own * (1 - at.open))  # bright creases light themselves
    away = 1 - seen
    rim = (0.02 + 0.2 * at.gloss) * away * away * away * at.open
    shine = _shine(facing, seen, _dot(eye, direction), at.gloss) * at.lit
    return _exposed(own * (sun * direct + around * reach) + sun * shine + sky * rim)


def _shine(facing: Tensor, seen: Tensor, between: Tensor, gloss: Tensor) -> Tensor:
    """The mirrored share of the sun [M]: wide and faint on cloth, small and bright on lacquer.

    `facing`, `seen`, `between`: cosines of the angles from the normal to the sun, to the eye, and from sun to eye.
    """
    rough = 1 - 0.75 * gloss
    spread = rough * rough * rough * rough
    half = (facing + seen) * (facing + seen) / (2 + 2 * between).clamp(min=1e-3)
    falloff = half.clamp(max=1) * (spread - 1) + 1
    return 0.01 * spread / (falloff * falloff) * facing.clamp(min=0)


def _towards(normal: Tensor, eye: Tensor) -> tuple[Tensor, Tensor]:
    """Normals [3,M] that look towards the eye (the inside of a skirt's do not, nor some at an outline), and the cosine
    of their angle to it: those that look away are mirrored."""
    seen = _dot(normal, eye)
    return normal - 2 * seen.clamp(max=0) * eye, seen.abs()


def _exposed(light: Tensor) -> Tensor:
    """Screen values of `light`: the brightest parts are compressed rather than cut off."""
    over = (light - _SHOULDER).clamp(min=0)
    return (light.clamp(max=_SHOULDER) + over / (1 + over * (1 / (1 - _SHOULDER)))).sqrt()


@cache
def _slopes(device: str) -> Tensor:
    """Slopes of wrinkled cloth to the left and upwards, [2, _HIGH * _WIDE], with a mean square of 1/2 each or so.

    Creases run around a limb more than along it, most of them aslant, and are deep here and hardly there at all.
    """
    texel = torch.arange(_HIGH * _WIDE)
    up, left = (texel // _WIDE) / _HIGH, (texel % _WIDE) / _WIDE
    height = torch.zeros(_HIGH * _WIDE)
    layers = (
        (7, 5, 1, 1.0),
        (7, 5, -1, 1.0),
        (13, 10, -1, 0.4),
        (17, 8, 0, 0.25),
        (25, 18, 1, 0.12),
        (27, 18, -1, 0.12),
    )
    for number, (pace, broad, slant, deep) in enumerate(layers):
        waves = noise([(up + slant * left) * pace, left * broad], number, repeat=(pace, broad)) - 0.5
        here = noise([up * 4, left * 8], 100 + number, repeat=(4, 8))
        height = height - deep * (waves * waves + 0.003).sqrt() * here
    field = height.reshape(_HIGH, _WIDE)
    slopes = torch.stack([field.roll(-1, axis) - field.roll(1, axis) for axis in (1, 0)])
    return (slopes / slopes.square().sum(0).mean().sqrt()).flatten(1).to(device)


def _unit(x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    scale = 1 / (x * x + y * y + z * z).sqrt().clamp(min=1e-6)
    return x * scale, y * scale, z * scale


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """[3,M] · [3,M] → [M], written out: a sum's order may depend on the size of the batch."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
