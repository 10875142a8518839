"""Synthetic occluders, pasted into a picture: things that stand at a side or lie across, and passers-by.

Things follow FED's rule: a strip of background becomes a tall one (full height, 1/4..1/2 of the width) or, with its
colours shaken, a wide one (full width, 1/4..1/2 of the height). Strips are cut along the side borders of a picture of
somebody else, where a person's box shows what is beside the person. A pedestrian is somebody else's picture seen from
nearer: 1.05 to 1.4 times as high, entering from a side so far that it takes 20..40 % of the width, cut out along a
soft-edged figure of three rounded boxes, because nobody knows where the body of that picture is.

One departure: FED takes |original - occluded| > 0 as the mask, which misses every pixel that happens to keep its
colour. Here it is the shape of the occluder, the soft edge included.

The pixels are the same on every machine: chance comes from `Random(seed).random()`, the one sequence that Python
promises to keep, and what follows is whole-number arithmetic (Pillow's resize of bytes is) or single IEEE operations.
"""

from __future__ import annotations

from math import ceil, floor
from random import Random
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from halfseen.types import InputError, Occluder

Bytes: TypeAlias = NDArray[np.uint8]  # colours [h,w,3], or opacity [h,w]: 0 hides nothing, 255 all
Numbers: TypeAlias = NDArray[np.floating[Any]]
Size: TypeAlias = tuple[int, int]  # height, width

TALL = (Occluder.TALL_LEFT, Occluder.TALL_RIGHT)
KINDS = tuple(kind for kind in Occluder if kind is not Occluder.NONE)

# head, trunk with arms, legs: centre and half height in heights of the person's box, half width in widths of it
FIGURE = ((0.13, 0.11, 0.16), (0.38, 0.24, 0.31), (0.74, 0.31, 0.25))
REACH = max(half_width for _, _, half_width in FIGURE)
TO_HEAD = REACH - FIGURE[0][2]  # from where the figure begins
SOFT_EDGE = 3  # pixels from nothing to all


def paste(image: Tensor, source: Tensor, kind: Occluder, seed: int) -> tuple[Tensor, Tensor]:
    """Hide a part of `image` uint8 [3,H,W] behind an occluder cut from `source` uint8 [3,h,w], both on the CPU.

    Returns the new image and `hidden` bool [H,W]. Pixels outside `hidden` are those of `image`, bit for bit.
    """
    dice = Random(seed)
    height, width = image.shape[1:]
    colours, opacity = _cut_out(source, kind, (height, width), dice)
    right = dice.random() < 0.5 if kind is Occluder.PEDESTRIAN else kind is Occluder.TALL_RIGHT
    if right:
        colours, opacity = colours[:, ::-1], opacity[:, ::-1]
    h, w = opacity.shape
    top = 0 if kind is Occluder.WIDE_TOP else height - h
    left = width - w if right else 0
    pasted, hidden = image.clone(), torch.zeros(height, width, dtype=torch.bool)
    place = slice(top, top + h), slice(left, left + w)
    under: Bytes = pasted.permute(1, 2, 0).numpy()[place]
    under[:] = colours if kind is not Occluder.PEDESTRIAN else _blended(colours, under, opacity)
    hidden.numpy()[place] = opacity > 0
    return pasted, hidden


def _blended(over: Bytes, under: Bytes, opacity: Bytes) -> NDArray[np.uint16]:
    """Colours [h,w,3] as they are seen; 255 · 255 + 127 still fits two bytes."""
    share = opacity[:, :, None].astype(np.uint16)
    return (share * over + (255 - share) * under + 127) // 255


def _cut_out(source: Tensor, kind: Occluder, size: Size, dice: Random) -> tuple[Bytes, Bytes]:
    """Colours and opacity of an occluder for an image of `size`, as it looks when it comes from the left."""
    picture: Bytes = source.permute(1, 2, 0).numpy()
    if dice.random() < 0.5:
        picture = picture[:, ::-1]
    if kind is Occluder.PEDESTRIAN:
        return _pedestrian(picture, size, dice)
    if kind not in KINDS:
        raise InputError(f"there is no occluder of kind {kind!r}; take one of {', '.join(k.name for k in KINDS)}")
    colours = (_tall if kind in TALL else _wide)(picture, size, dice)
    return colours, np.full(colours.shape[:2], 255, np.uint8)


def _tall(picture: Bytes, size: Size, dice: Random) -> Bytes:
    height, width = size
    tall, broad = picture.shape[0], min(picture.shape[:2])
    strip = _border_strip(picture, (_between(dice, 0.6 * tall, tall), _between(dice, 0.15 * broad, 0.25 * broad)), dice)
    return _resized(strip, (height, _between(dice, width / 4, width / 2)))


def _wide(picture: Bytes, size: Size, dice: Random) -> Bytes:
    height, width = size
    broad = min(picture.shape[:2])
    strip = _border_strip(
        picture, (_between(dice, 0.2 * broad, 0.3 * broad), _between(dice, 0.2 * broad, 0.3 * broad)), dice
    )
    return _resized(_shaken(strip, dice), (_between(dice, height / 4, height / 2), width))


def _border_strip(picture: Bytes, size: Size, dice: Random) -> Bytes:
    """A piece of that size at the picture's left or right border, anywhere from top to bottom."""
    tall, broad = picture.shape[:2]
    h, w = size
    top, left = int(dice.random() * (tall - h + 1)), (broad - w) * int(dice.random() * 2)
    return picture[top : top + h, left : left + w]


def _shaken(colours: Bytes, dice: Random) -> Bytes:
    """Brightness, contrast and saturation times 0.5..1.5 each."""
    brightness, contrast, saturation = (0.5 + dice.random() for _ in range(3))
    values = np.clip(colours * brightness, 0, 255)
    mean = int(np.rint(values).astype(np.int64).sum()) / values.size  # a sum of floats depends on its order
    values = np.clip(mean + (values - mean) * contrast, 0, 255)
    grey = (values[..., :1] + values[..., 1:2] + values[..., 2:]) / 3
    return _to_bytes(grey + (values - grey) * saturation)


def _pedestrian(picture: Bytes, size: Size, dice: Random) -> tuple[Bytes, Bytes]:
    """Somebody nearer, coming from the left: cut off by the left and the lower border of the image."""
    height, width = size
    top = int(dice.random() * 0.15 * height)
    scale = 1.05 + 0.35 * dice.random()
    shown = _between(dice, width / 5, 2 * width / 5)
    tall, broad = scale * height, scale * width  # of the whole person's box; the image holds some of it
    shown = max(shown, ceil(TO_HEAD * broad))  # of the largest the shoulder alone could be seen
    right = 0.5 + REACH
    box = (max(0, right - shown / broad), 0, right, (height - top) / tall)
    down = (np.arange(height - top) + 0.5) / tall
    across = REACH - (np.arange(shown)[::-1] + 0.5) / broad
    return _resized(picture, (height - top, shown), box), _opacity(down[:, None], across, SOFT_EDGE / broad)


def _opacity(down: Numbers, across: Numbers, soft: float) -> Bytes:
    """How much the figure hides at places `down` [h,1] its height and `across` [w] its width, the middle being 0."""
    inside = []
    for centre, half_height, half_width in FIGURE:
        y, x = ((down - centre) / half_height) ** 2, (across / half_width) ** 2
        inside.append(half_width * (1 - np.sqrt(np.sqrt(y * y + x * x))))  # (|y|^4 + |x|^4)^(1/4), 1 on the outline
    return _to_bytes(255 * (np.max(inside, axis=0) / soft + 0.5))


def _to_bytes(values: Numbers) -> Bytes:
    rounded: Bytes = np.rint(np.clip(values, 0, 255)).astype(np.uint8)
    return rounded


def _resized(colours: Bytes, size: Size, box: tuple[float, float, float, float] = (0, 0, 1, 1)) -> Bytes:
    """The part of `colours` in `box` (left, top, right, bottom as fractions) brought to `size`."""
    tall, broad = colours.shape[:2]
    pixels = (box[0] * broad, box[1] * tall, box[2] * broad, box[3] * tall)
    picture = Image.fromarray(np.ascontiguousarray(colours))
    return np.asarray(picture.resize(size[::-1], Image.Resampling.BICUBIC, pixels))


def _between(dice: Random, low: float, high: float) -> int:
    """A whole number, each from `low` to `high` equally likely; at least 1, and the one below `high` if none fits."""
    last = max(1, floor(high))
    first = min(max(1, ceil(low)), last)
    return first + int(dice.random() * (last - first + 1))
