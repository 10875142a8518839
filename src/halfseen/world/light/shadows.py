"""What light does not reach: maps of what stands nearest to the light, and how much of it arrives at a point.

A map looks along the light, so it is a parallel picture whose depth is a height: metres towards the light.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from halfseen.world.light.raster import depths
from halfseen.world.shapes import used

BIAS = 0.025  # metres that something must stand above a point to shade it, else surfaces shade themselves
STEEPEST = 0.2  # cosine of light and normal below which a surface's slope is no longer followed: it is dark anyway
# Nine places of a square ±4/5, of which no two share a column or a row: as many shades on an edge of any direction.
# For each point they are shifted by up to 1/5 to each side, so that a wide edge does not fall into nine steps.
TAPS = tuple((number / 5 - 0.8, number * 2 % 9 / 5 - 0.8) for number in range(9))


@dataclass(frozen=True)
class ShadowMap:
    """`height` [N,S,S]: metres towards the light of the nearest surface, −inf where there is none (as on all borders).

    `place` [N,3,4] takes a point (x, y, z, 1) to its column, row and height; `fine` [N,2]: texels a metre.
    """

    height: Tensor
    place: Tensor
    fine: Tensor


def cast(vertices: Tensor, faces: Tensor, shown: Tensor, light: Tensor, *, size: int = 128) -> ShadowMap:
    """The map, `size` texels wide and high, of the `shown` (bool [N,F]) `faces` int64 [F,3] of `vertices` [N,V,3].

    `light` [N,3]: of length 1, towards the light.
    """
    axes = _axes(light)
    seen = _along(axes, vertices.unbind(2))  # [N,V,3]: across, up the map, towards the light
    matters = used(faces, shown, vertices.shape[1])[..., None]  # the others may lie anywhere
    low = torch.where(matters, seen, torch.inf).amin(1)
    low = torch.where(low.isfinite(), low, 0)  # an image that shows nothing
    extent = (torch.where(matters, seen, -torch.inf).amax(1) - low).clamp(min=1e-3)
    fine = (size - 2) / extent[:, :2]  # a texel at each border stays empty
    texels = (seen[..., :2] - low[:, None, :2]) * fine[:, None] + 0.5
    height = (seen[..., 2] - low[:, None, 2]) / extent[:, None, 2] + 1
    depth = depths(torch.cat([texels, 1 / height[..., None]], 2), faces, shown, (size, size))
    top = (1 / depth - 1) * extent[:, 2, None, None] + low[:, 2, None, None]
    scale = torch.cat([fine, torch.ones_like(fine[:, :1])], 1)
    shift = torch.cat([0.5 - low[:, :2] * fine, torch.zeros_like(fine[:, :1])], 1)
    place = torch.cat([axes * scale[..., None], shift[..., None]], 2)
    return ShadowMap(torch.where(depth.isinf(), -torch.inf, top), place, fine)


def lit(
    shadows: ShadowMap, image: Tensor, points: Tensor, softness: Tensor | float = 0.0, *, normals: Tensor | None = None
) -> Tensor:
    """The share of light, 0..1 [M], that arrives at `points` [M,3] of images `image` int64 [M].

    `softness`: metres (or [N] of them) to each side over which an edge fades. With `normals` [M,3] a surface may be
    steep, or the softness large, and it still does not shade itself. What lies outside of the map is lit.
    """
    size = shadows.height.shape[-1]
    places = shadows.place.flatten(1).t().index_select(1, image).view(3, 4, -1)
    column, row, height = (p[0] * points[:, 0] + p[1] * points[:, 1] + p[2] * points[:, 2] + p[3] for p in places)
    soft = torch.as_tensor(softness, dtype=points.dtype, device=points.device)
    wide, high = (shadows.fine * soft.reshape(-1, 1) + 0.75).t().index_select(1, image)  # at least about a texel
    flat, start = shadows.height.flatten(), image * size**2
    rise, lift = _slopes(places, normals)
    level = height + BIAS - column * rise - row * lift  # of the surface, were it to go on to column 0 and row 0
    aside, ahead = (((column * a + row * b).frac() - 0.5) / 2.5 for a, b in ((12.9898, 78.233), (39.346, 11.135)))
    column, row = column + aside * wide, row + ahead * high
    light = torch.zeros_like(height)
    for right, down in TAPS:
        x, y = ((at + tap).round().clamp(0, size - 1) for at, tap in ((column, right * wide), (row, down * high)))
        light += flat.index_select(0, start + (y * size + x).long()) <= level + x * rise + y * lift
    return light / len(TAPS)


def _slopes(places: Tensor, normals: Tensor | None) -> tuple[Tensor | float, Tensor | float]:
    """How much a surface rises towards the light with a column and with a row; `places` [3,4,M], `normals` [M,3]."""
    if normals is None:
        return 0.0, 0.0
    across, up, facing = (p[0] * normals[:, 0] + p[1] * normals[:, 1] + p[2] * normals[:, 2] for p in places)
    wide, high = (p[0] * p[0] + p[1] * p[1] + p[2] * p[2] for p in places[:2])  # texels a metre, squared
    facing = facing.clamp(min=STEEPEST)
    return -across / wide / facing, -up / high / facing


def _axes(light: Tensor) -> Tensor:
    """[N,3,3]: rows that point across, up the map, and towards the light; people stand upright in it."""
    x, z = light[:, 0], light[:, 2]
    level = (x * x + z * z).sqrt()
    overhead = level < 1e-3
    length = torch.where(overhead, 1.0, level)
    across = torch.stack([torch.where(overhead, 1.0, z / length), torch.zeros_like(x), -x / length * ~overhead], 1)
    return torch.stack([across, torch.linalg.cross(light, across), light], 1)


def _along(axes: Tensor, point: tuple[Tensor, ...]) -> Tensor:
    """x, y, z, each [N,V], along `axes` [N,3,3]: [N,V,3]."""
    x, y, z = point
    return torch.stack([row[:, 0, None] * x + row[:, 1, None] * y + row[:, 2, None] * z for row in axes.unbind(1)], 2)
