"""What a camera does to a picture: exposure, blur, a cast, contrast, saturation, and grain."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from halfseen.world.light.noise import grain

_SPECK, _SMOOTHED = 0.6, 0.4415  # how far specks of grain are blurred, in pixels, and what is left of their spread
_REACH = 3  # a blur reaches this many times its spread


@dataclass(frozen=True)
class Sensor:
    """How N pictures are taken.

    `exposure` [N]: times as much light; `blur` [N]: the spread in pixels of a point; `cast` [N,3]: each channel times
    that; `contrast` and `saturation` [N]; `noise` [N]: the spread of the grain in middle grey, of 0..1; `seeds` int64
    [N] decide the grain. One (zero for `blur` and `noise`) is neutral.
    """

    exposure: Tensor
    blur: Tensor
    cast: Tensor
    contrast: Tensor
    saturation: Tensor
    noise: Tensor
    seeds: Tensor


def finish(images: Tensor, sensor: Sensor) -> Tensor:
    """`images` [N,3,H,W] of screen values (0..1) of what is before the lens → uint8 [N,3,H,W], as the camera gives."""
    seen = blurred(images * _wide(sensor.exposure.sqrt()), sensor.blur)  # screen values are roots of light
    seen = seen * sensor.cast[:, :, None, None]
    seen = seen + (seen - 0.5) * _wide(sensor.contrast - 1)
    grey = _grey(seen)
    seen = seen + (seen - grey) * _wide(sensor.saturation - 1)
    dark = 1.5 - grey.clamp(0, 1)  # grain shows most in the dark
    height, width = images.shape[2:]
    seen = seen + _film(sensor.seeds, (height, width)) * (_wide(sensor.noise) * dark)
    return (seen.clamp(0, 1) * 255).round().to(torch.uint8)


def _film(seeds: Tensor, size: tuple[int, int]) -> Tensor:
    """Grain [N,3,H,W] with a spread of 1: specks somewhat larger than a pixel, mostly alike in all channels."""
    specks = blurred(grain(seeds, size, channels=4), torch.full_like(seeds, _SPECK, dtype=torch.float32))
    return (0.8 * specks[:, :1] + 0.6 * specks[:, 1:]) * (1 / _SMOOTHED)


def blurred(images: Tensor, spread: Tensor) -> Tensor:
    """`images` [N,C,H,W], each blurred by its own `spread` [N] in pixels (nearly a Gaussian); edges are continued."""
    width = _REACH * spread.clamp(min=1e-3)
    reach = int(width.max().ceil()) - 1  # beyond, all weights are 0, so that this changes no bit of any image
    if reach < 1:
        return images
    steps = torch.arange(reach + 1, device=images.device) / width[:, None]
    bell = (1 - steps * steps).clamp(min=0)
    bell = bell * bell * bell
    total = bell[:, 0]
    for step in range(1, reach + 1):
        total = total + 2 * bell[:, step]
    weights = bell / total[:, None]
    return _spread_out(_spread_out(images, weights, axis=3), weights, axis=2)


def _spread_out(images: Tensor, weights: Tensor, axis: int) -> Tensor:
    """Each pixel and its neighbours along `axis`, by `weights` [N,R]: that of the pixel, of the next ones, ..."""
    reach, length = weights.shape[1] - 1, images.shape[axis]
    place = torch.arange(-reach, length + reach, device=images.device).clamp(0, length - 1)
    padded = images.index_select(axis, place)
    out = images * _wide(weights[:, 0])
    for step in range(1, reach + 1):
        before, after = (padded.narrow(axis, reach + side, length) for side in (-step, step))
        out = out + (before + after) * _wide(weights[:, step])
    return out


def _grey(images: Tensor) -> Tensor:
    """[N,3,H,W] → [N,1,H,W]: how bright each pixel looks."""
    red, green, blue = (images[:, channel, None] for channel in range(3))
    return 0.3 * red + 0.59 * green + 0.11 * blue


def _wide(values: Tensor) -> Tensor:
    """[N] → [N,1,1,1]"""
    return values[:, None, None, None]
