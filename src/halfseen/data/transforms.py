"""Resize, flip, pad and crop, erase: a picture and everything known of it move together, as a `Draw` says.

Bytes go in, bytes come out; `normalise` belongs to the device side.

Positions follow pixel centres: (0, 0) is the middle of the upper left pixel. Keypoints move and keep their scores, also
behind an occluder and beyond the border, because a limb between a seen and an unseen joint is half seen. What cannot
be seen says `hidden`: maps are drawn first and lose what it covers (`ops.parts.hide`); `seen_joints` gives scores.
"""

from __future__ import annotations

from functools import lru_cache
from random import Random
from statistics import NormalDist
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from halfseen.data.augment import Augment, Box, Draw
from halfseen.ops.groupings import FLIPPED_FIELDS, FLIPPED_JOINTS
from halfseen.types import InputError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MEAN_COLOUR = bytes(round(255 * m) for m in IMAGENET_MEAN)

# Normal noise of the network's input (mean and deviation a half), as bytes: the quantiles of 256 equal chances. Bytes
# end at ±1 of the input's scale, where a third of TransReID's float noise lies beyond.
NOISE = bytes(round(min(max(127.5 + 127.5 * NormalDist().inv_cdf((i + 0.5) / 256), 0), 255)) for i in range(256))

FIELD_STEP = 4  # fields come out on a grid of one cell per 4 x 4 pixels, whatever grid they came in on

Bytes: TypeAlias = NDArray[np.uint8]
Mask: TypeAlias = NDArray[np.bool_]
Size: TypeAlias = tuple[int, int]  # height, width


class View(NamedTuple):
    """One picture and what is known of it, before `apply` or after.

    `image` uint8 [3,H,W]; `keypoints` float32 [17,3] in its pixels; `fields` float32 [36,h,w] and `parts` integer
    [h,w], grids of any size spread over the whole picture; `hidden` bool [H,W], pixels that show nothing of the person.
    """

    image: Tensor
    keypoints: Tensor | None = None
    fields: Tensor | None = None
    parts: Tensor | None = None
    hidden: Tensor | None = None


def apply(view: View, draw: Draw, augment: Augment, *, stored: Size | None = None) -> View:
    """`view` as `draw` says: everything moved alike, parts and fields emptied where the image is hidden.

    `image` and `hidden` come out [3,H,W] and [H,W] of `augment`'s size, parts too, fields on H/4 x W/4 cells.
    `hidden` is always there. `stored`: the size of the picture that the keypoints lie in, if the image is `resized`.
    """
    image = _move_image(view.image, draw, augment)
    hidden = _move_hidden(view.hidden, draw, augment)
    if draw.erase is not None:
        image[_inside(draw.erase)] = _filling(draw.erase, draw.noise, augment.fill)
    size = stored or _size(view.image)
    return View(
        torch.from_numpy(image).permute(2, 0, 1),
        None if view.keypoints is None else _move_keypoints(view.keypoints, size, draw, augment),
        None if view.fields is None else _move_fields(view.fields, hidden, draw, augment),
        None if view.parts is None else _move_parts(view.parts, hidden, draw, augment),
        torch.from_numpy(hidden),
    )


def normalise(images: Tensor, mean: tuple[float, ...] = IMAGENET_MEAN, std: tuple[float, ...] = IMAGENET_STD) -> Tensor:
    """uint8 `images` [B,3,H,W] as float32 [B,3,H,W], (value / 255 - mean) / std, on their own device."""
    shift, scale = (torch.tensor(v, device=images.device)[:, None, None] for v in (mean, std))
    return images.float().div_(255).sub_(shift).div_(scale)


def resized(image: Tensor, augment: Augment) -> Tensor:
    """`image` uint8 [3,h,w] in `augment`'s size, [3,H,W]: the part of `apply` that leaves nothing to chance."""
    size = (augment.height, augment.width)
    if _size(image) == size:
        return image
    batch = image.permute(1, 2, 0)[None].permute(0, 3, 1, 2)  # so torch sees that colours lie innermost
    return F.interpolate(batch, size, mode=augment.interpolation, antialias=True)[0]


def resized_parts(parts: Tensor, augment: Augment) -> Tensor:
    """The labels `parts` [h,w] as uint8 in `augment`'s size, [H,W]: what `apply` finds there is the same."""
    return torch.from_numpy(_nearest(parts.numpy(), Draw(), augment).astype(np.uint8))


def _size(image: Tensor) -> Size:
    return image.shape[1], image.shape[2]


def _move_image(image: Tensor, draw: Draw, augment: Augment) -> Bytes:
    """`image` [3,h,w] as new bytes [H,W,3]."""
    size = (augment.height, augment.width)
    image = resized(image, augment)
    if draw.flip:
        image = image.flip(2)
    (to_y, from_y), (to_x, from_x) = _overlap(size[0], draw.dy), _overlap(size[1], draw.dx)
    moved = np.zeros((*size, 3), np.uint8)
    moved[to_y, to_x] = image.permute(1, 2, 0).numpy()[from_y, from_x]
    return moved


def _overlap(size: int, shift: int) -> tuple[slice, slice]:
    """Where along one axis the picture lies in the result, and which part of it that is."""
    low, high = max(0, -shift), min(size, size - shift)
    return slice(low, high), slice(low + shift, high + shift)


def _inside(box: Box) -> tuple[slice, slice]:
    top, left, height, width = box
    return slice(top, top + height), slice(left, left + width)


def _filling(box: Box, noise: int, fill: str) -> Bytes:
    """Pixels for `box`, [height or 1, width, 3]."""
    height, width = box[2:]
    colours = MEAN_COLOUR * width if fill == "mean" else Random(noise).randbytes(3 * height * width).translate(NOISE)
    return np.frombuffer(colours, np.uint8).reshape(-1, width, 3)


def _move_hidden(hidden: Tensor | None, draw: Draw, augment: Augment) -> Mask:
    moved = np.ones((augment.height, augment.width), np.bool_)  # the padding
    (rows, _), (columns, _) = _overlap(augment.height, draw.dy), _overlap(augment.width, draw.dx)
    moved[rows, columns] = False if hidden is None else _nearest(hidden.numpy(), draw, augment)[rows, columns]
    if draw.erase is not None:
        moved[_inside(draw.erase)] = True
    return moved


def _move_keypoints(keypoints: Tensor, size: Size, draw: Draw, augment: Augment) -> Tensor:
    """`keypoints` [17,3] of a picture of `size` (height, width), as they lie in the result."""
    moved: NDArray[np.float32] = keypoints.numpy().copy()
    if draw.flip and augment.swap_sides:
        moved = moved[list(FLIPPED_JOINTS)]
    x = (moved[:, 0] + 0.5) * (augment.width / size[1])  # pixels from the edge, where scaling and mirroring are plain
    y = (moved[:, 1] + 0.5) * (augment.height / size[0]) - draw.dy
    x = (augment.width - x if draw.flip else x) - draw.dx
    moved[:, 0], moved[:, 1] = x - 0.5, y - 0.5
    return torch.from_numpy(moved)


def _move_parts(parts: Tensor, hidden: Mask, draw: Draw, augment: Augment) -> Tensor:
    moved = _nearest(parts.numpy(), draw, augment)
    names = augment.flipped_labels
    if draw.flip and augment.swap_sides and names is None:
        raise InputError(
            "a flip of part labels needs flipped_labels: what each label becomes in a mirror, () if none has a side"
        )
    if draw.flip and augment.swap_sides and names:
        if moved.max() >= len(names):
            raise InputError(
                f"part label {moved.max()} has no mirror image: flipped_labels ends at label {len(names) - 1}; "
                f"give it one entry per label, background included"
            )
        moved = np.array(names, moved.dtype)[moved]
    moved[hidden] = 0
    return torch.from_numpy(moved)


def _move_fields(fields: Tensor, hidden: Mask, draw: Draw, augment: Augment) -> Tensor:
    """A cell shows what its first pixel does, and a pixel the stored cell that it lies in: nothing is blended.

    So BPBreID's code has it, and what is done to each value by itself, such as the background's softmax, may be done
    before or after.
    """
    first_rows, first_columns = _firsts(augment.height), _firsts(augment.width)
    rows, columns = first_rows + draw.dy, first_columns + draw.dx
    if draw.flip:
        columns = augment.width - 1 - columns
    down, across = _lying_in(rows, augment.height, fields.shape[1]), _lying_in(columns, augment.width, fields.shape[2])
    moved = fields.float().numpy()[:, down[:, None], across]
    if draw.flip and augment.swap_sides:
        moved = moved[list(FLIPPED_FIELDS)]
    moved[:, hidden[np.ix_(first_rows, first_columns)]] = 0  # the padding too
    return torch.from_numpy(moved)


def _firsts(size: int) -> NDArray[np.int64]:
    """The first pixel of each cell along a side of `size` pixels."""
    cells = max(1, size // FIELD_STEP)
    return np.arange(cells) * size // cells


def _lying_in(pixels: NDArray[np.int64], size: int, cells: int) -> NDArray[np.int64]:
    """Which of the `cells` along a side of `size` pixels each of the `pixels` lies in; the border cells have no end."""
    return (pixels * cells // size).clip(0, cells - 1)


@lru_cache(1 << 12)  # shifts are few, and so are mostly sizes
def _taken(cells: int, shift: int, flip: bool, grid: int) -> tuple[slice, NDArray[np.intp]]:
    """Which of the result's `cells` along a side show the picture, and which cell of its `grid` each of them shows."""
    middles = (np.arange(cells) + 0.5) / cells + shift / cells
    middles = 1 - middles if flip else middles
    (shown,) = np.nonzero((middles >= 0) & (middles < 1))
    span = slice(shown[0], shown[-1] + 1) if len(shown) else slice(0)
    return span, (middles[span] * grid).astype(np.intp)


def _nearest(grid: NDArray[Any], draw: Draw, augment: Augment) -> NDArray[Any]:
    """`grid` [h,w] seen at the result's pixels [H,W]; zero outside the picture."""
    rows, down = _taken(augment.height, draw.dy, False, grid.shape[0])
    columns, across = _taken(augment.width, draw.dx, draw.flip, grid.shape[1])
    seen = np.zeros((augment.height, augment.width), grid.dtype)
    seen[rows, columns] = grid.take(down, 0).take(across, 1)
    return seen
