"""What people and things do to the floor: the shadow of the sun, and the darkness under what touches it."""

from __future__ import annotations

import torch
from torch import Tensor

from halfseen.world.light.shade import Light
from halfseen.world.light.shadows import ShadowMap, lit
from halfseen.world.views import View

FOOT = 0.12  # metres around an ankle within which little of the sky reaches the floor
DARKEST = 0.65  # what the floor loses there


def floor_light(view: View, size: tuple[int, int], shadow: ShadowMap, light: Light, feet: Tensor) -> Tensor:
    """[N,H,W]: by what the floor's brightness is to be multiplied; 1 where a pixel shows no floor.

    `feet` [N,K,3] are points of the body near the floor.
    """
    point, on_floor = floor_points(view, size)
    count = len(point)
    image = torch.arange(count, device=point.device).repeat_interleave(size[0] * size[1])
    arriving = lit(shadow, image, point.flatten(0, 2), 0.02 + 0.25 * (1 - light.hardness)).reshape(count, *size)
    sun, sky = (tone.mean(1)[:, None, None] for tone in (light.sun * light.direction[:, 1:2].clamp(min=0), light.sky))
    share = (sky + arriving * sun) / (sky + sun)
    away = (point[:, :, :, None] - feet[:, None, None]).square()
    near = torch.exp(-(away[..., 0] + away[..., 2]) / (2 * FOOT**2)).sum(-1).clamp(max=1)
    return torch.where(on_floor, share * (1 - DARKEST * near), 1.0)


def floor_points(view: View, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Where the pixels' rays meet the floor [N,H,W,3], and whether they do [N,H,W]."""
    rays = pixel_rays(view, size)
    down = rays[..., 1] < -1e-3
    far = torch.where(down, -view.eye[:, None, None, 1] / rays[..., 1].clamp(max=-1e-3), 0.0)
    return view.eye[:, None, None] + far[..., None] * rays, down


def pixel_rays(view: View, size: tuple[int, int]) -> Tensor:
    """[N,H,W,3]: from the eye through the middle of each pixel, one metre ahead."""
    device = view.eye.device
    row, column = (torch.arange(n, device=device, dtype=torch.float32) for n in size)
    x = (column - view.centre[:, :1]) / view.focal[:, :1]
    y = (row - view.centre[:, 1:]) / view.focal[:, 1:]
    right, down, ahead = (view.axes[:, i, None, None] for i in range(3))
    return x[:, None, :, None] * right + y[:, :, None, None] * down + ahead
