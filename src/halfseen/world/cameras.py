"""The cameras of the world: where they hang, what light falls, and what they do to a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from halfseen.world.views import View, look


@dataclass(frozen=True)
class Camera:
    """One camera and its place.

    It hangs `height` metres up, tilted down by `pitch` radians, with a `focal` length in heights of its frame.
    `near` and `far`: metres ahead of it (on the floor) where people pass; `spread`: how far to either side, as a share
    of half the frame's width there. `scene`: what is painted behind (`scenery`). `light`: direction towards the sun or
    the main lamp (x right, y up, z towards the camera; any length), `sun` and `sky` its and the ambient brightness,
    `hardness` 0 (overcast) .. 1 (sharp shadows), `cast` the colour of the picture (1, 1, 1 is neutral), `contrast`,
    `saturation` and `exposure` (1 is neutral); `blur` in pixels of a 256-high picture, `noise` as a standard deviation
    of 0..1, `quality` of its JPEGs.
    """

    name: str
    height: float
    pitch: float
    focal: float
    near: float
    far: float
    spread: float
    scene: str
    light: tuple[float, float, float]
    sun: float
    sky: float
    hardness: float
    cast: tuple[float, float, float]
    contrast: float
    saturation: float
    exposure: float
    blur: float
    noise: float
    quality: int


FRAME = (1080, 1920)  # height, width of a camera's frame in pixels


def _camera(  # noqa: PLR0913  (keyword-only: three groups of a camera's numbers)
    name: str,
    *,
    place: tuple[float, float, float],
    people: tuple[float, float, float],
    light: tuple[float, float, float],
    strength: tuple[float, float, float],
    cast: tuple[float, float, float],
    tone: tuple[float, float, float],
    sensor: tuple[float, float, int],
) -> Camera:
    """`place`: height, pitch in degrees, focal; `people`: near, far, spread; `strength`: sun, sky, hardness; `tone`:
    contrast, saturation, exposure; `sensor`: blur, noise, quality. Each camera watches the scene of its own name."""
    height, pitch, focal = place
    return Camera(name, height, math.radians(pitch), focal, *people, name, light, *strength, cast, *tone, *sensor)


CAMERAS: tuple[Camera, ...] = (
    _camera(  # on a lamp post; a hard sun from the right
        "street",
        place=(4.2, 17.0, 1.6), people=(7.5, 15.0, 0.8),
        light=(1.0, 0.8, 0.35), strength=(1.15, 0.42, 0.9),
        cast=(1.0, 1.0, 1.0), tone=(1.1, 0.95, 1.0), sensor=(0.5, 0.007, 82),
    ),
    _camera(  # held in a hand under a grey sky
        "wall",
        place=(1.55, 2.0, 1.0), people=(3.6, 7.0, 0.72),
        light=(-0.3, 1.0, 0.5), strength=(0.3, 0.75, 0.1),
        cast=(0.94, 1.0, 1.09), tone=(0.95, 0.85, 1.0), sensor=(0.2, 0.005, 92),
    ),
    _camera(  # over a shop's door across the street; evening, the sun low on the left
        "shop",
        place=(2.5, 9.0, 1.2), people=(5.0, 10.0, 0.75),
        light=(-1.0, 0.42, 0.55), strength=(1.0, 0.4, 0.6),
        cast=(1.1, 1.0, 0.86), tone=(1.0, 1.0, 0.98), sensor=(0.6, 0.010, 75),
    ),
    _camera(  # against the light, under trees
        "park",
        place=(2.6, 9.0, 1.5), people=(6.6, 12.0, 0.75),
        light=(0.45, 0.8, -0.9), strength=(1.2, 0.45, 0.8),
        cast=(0.98, 1.03, 0.95), tone=(1.0, 0.95, 1.05), sensor=(0.5, 0.008, 80),
    ),
    _camera(  # indoors, warm lamps above on the right
        "hall",
        place=(2.9, 15.0, 1.05), people=(4.4, 9.5, 0.65),
        light=(0.5, 1.0, 0.1), strength=(0.6, 0.5, 0.3),
        cast=(1.10, 1.0, 0.87), tone=(0.95, 0.85, 1.0), sensor=(0.8, 0.009, 70),
    ),
    _camera(  # high up, a noon sun from behind on the left: contrasty, no horizon
        "plaza",
        place=(5.0, 22.0, 1.9), people=(8.8, 16.0, 0.8),
        light=(-0.7, 1.0, -0.45), strength=(1.3, 0.34, 1.0),
        cast=(1.02, 1.0, 0.96), tone=(1.2, 0.9, 1.05), sensor=(0.4, 0.006, 85),
    ),
    _camera(  # fluorescent tubes, a cheap and noisy camera
        "station",
        place=(3.4, 18.0, 1.2), people=(5.2, 10.0, 0.65),
        light=(-0.25, 1.0, -0.35), strength=(0.5, 0.5, 0.25),
        cast=(0.93, 1.05, 0.95), tone=(1.05, 0.75, 1.05), sensor=(0.7, 0.018, 60),
    ),
    _camera(  # a soft old lens; the sun over the left shoulder
        "campus",
        place=(2.2, 8.0, 1.3), people=(5.0, 11.0, 0.74),
        light=(-0.8, 0.75, 0.9), strength=(0.95, 0.45, 0.7),
        cast=(0.97, 0.99, 1.05), tone=(0.79, 0.9, 1.05), sensor=(1.2, 0.005, 55),
    ),
)  # fmt: skip


def views(cameras: Sequence[Camera], device: torch.device | str = "cpu") -> View:
    """What N cameras see, in pixels of FRAME; each has its eye at (0, height, 0) and looks towards −z."""
    numbers = [(camera.height, camera.pitch, camera.focal * FRAME[0]) for camera in cameras]
    height, pitch, focal = torch.tensor(numbers, device=device).reshape(-1, 3).unbind(1)
    nothing = torch.zeros_like(height)
    return look(torch.stack([nothing, height, nothing], dim=1), pitch, focal, FRAME)


def place(camera: Camera, ahead: float, aside: float) -> tuple[float, float]:
    """The spot on the floor (x, z) `ahead` metres before `camera`, `aside` (−1..1) of the way that people keep to."""
    depth = ahead * math.cos(camera.pitch) + camera.height * math.sin(camera.pitch)
    half_width = depth * FRAME[1] / (2 * camera.focal * FRAME[0])
    return aside * camera.spread * half_width, -ahead
