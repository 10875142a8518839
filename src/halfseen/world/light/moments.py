"""The light of a moment and what a camera makes of it, for the shots of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from halfseen.world.cameras import Camera
from halfseen.world.light.finish import Sensor
from halfseen.world.light.shade import Light
from halfseen.world.plan import Shot
from halfseen.world.shapes import about_y

WARM, COOL = (1.06, 1.0, 0.90), (0.94, 1.0, 1.08)  # of the sun, and of the sky
FLOOR = (0.42, 0.40, 0.37)  # what the floor throws back of it
SWAY = 0.5  # radians by which the light's direction changes at most


def lights(cameras: Sequence[Camera], shots: Sequence[Shot], device: torch.device | str) -> Light:
    """Each camera's light as it is at the moment of each shot."""
    here = [cameras[shot.camera] for shot in shots]
    moment = torch.tensor([shot.light for shot in shots], device=device)
    towards = torch.tensor([camera.light for camera in here], device=device)
    direction = (about_y(SWAY * moment[:, 0]) * towards[:, None]).sum(-1)
    sun = _numbers([camera.sun for camera in here], device) * (1 + 0.2 * moment[:, 1])
    sky = _numbers([camera.sky for camera in here], device) * (1 + 0.12 * moment[:, 2])
    warm, cool, floor = (torch.tensor(tone, device=device) for tone in (WARM, COOL, FLOOR))
    return Light(
        direction=direction / direction.square().sum(1, keepdim=True).sqrt(),
        sun=sun[:, None] * warm,
        sky=sky[:, None] * cool,
        ground=(0.5 * sun + sky)[:, None] * floor,
        hardness=_numbers([camera.hardness for camera in here], device),
    )


def sensors(
    cameras: Sequence[Camera], shots: Sequence[Shot], enlarged: Tensor, height: int, device: torch.device | str
) -> Sensor:
    """What each camera does to a picture `height` pixels high whose pixels are `enlarged` [N] times the frame's."""
    here = [cameras[shot.camera] for shot in shots]
    moment = torch.tensor([shot.light for shot in shots], device=device)
    own_blur = _numbers([camera.blur for camera in here], device) * height / 256
    return Sensor(
        cast=torch.tensor([camera.cast for camera in here], device=device),
        contrast=_numbers([camera.contrast for camera in here], device),
        saturation=_numbers([camera.saturation for camera in here], device),
        exposure=_numbers([camera.exposure for camera in here], device) * (1 + 0.1 * moment[:, 3]),
        blur=(own_blur.square() + (0.35 * enlarged).square()).sqrt(),
        noise=_numbers([camera.noise for camera in here], device),
        seeds=torch.tensor([shot.seed % 2**31 for shot in shots], device=device),
    )


def _numbers(values: Sequence[float], device: torch.device | str) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device)
