"""Cutting pictures out of frames and photos: enlarged smoothly, shrunk without flicker, the same whatever the batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from halfseen.world.cameras import FRAME

PHOTO_SHARE = (0.35, 0.9)  # of a photo's height is cut out


def crops(frames: Tensor, camera_index: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut-outs [N,3,`size`] of `frames` [C,3,h,w], each of the frame `camera_index` int64 [N].

    `boxes` [N,4] are left, top, right, bottom edges in pixels of FRAME, whatever the frames' height; what lies outside
    a frame repeats its border.
    """
    height, width = frames.shape[2:]
    scale = boxes.new_tensor([width / FRAME[1], height / FRAME[0]]).repeat(2)
    return _cut(frames, camera_index, boxes * scale, size)


def photo_crops(photos: Sequence[Tensor], chance: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut-outs [N,3,`size`], 0..1, of `photos` (uint8 [3,h,w], each of its own size), as upright as `size` and as large
    as a person may be there: `chance` [N,4], 0 <= c < 1, decides which photo, what share of its height, and where."""
    which = (chance[:, 0] * len(photos)).long().clamp(max=len(photos) - 1)
    out = chance.new_empty(len(chance), 3, *size)
    for number in sorted(set(which.tolist())):
        rows = (which == number).nonzero()[:, 0]
        photo = photos[number].to(chance.device).float() / 255
        height, width = photo.shape[1:]
        low, high = PHOTO_SHARE
        tall = (low + (high - low) * chance[rows, 1]) * height
        tall = tall.clamp(max=width * size[0] / size[1])  # a narrow photo
        wide = tall * size[1] / size[0]
        left, top = chance[rows, 2] * (width - wide), chance[rows, 3] * (height - tall)
        boxes = torch.stack([left, top, left + wide, top + tall], dim=1)
        out[rows] = _cut(photo[None], torch.zeros_like(rows), boxes, size)
    return out


def _cut(frames: Tensor, index: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """As `crops`, with `boxes` in pixels of `frames`.

    Each is taken from the frames or, where that would skip pixels, from ones of half their size, or half of that ...
    """
    shrink = torch.maximum((boxes[:, 2] - boxes[:, 0]) / size[1], (boxes[:, 3] - boxes[:, 1]) / size[0])
    level = torch.stack([shrink > 1.5 * 2**step for step in range(8)]).sum(0)
    out = frames.new_empty(len(boxes), frames.shape[1], *size)
    for step in sorted(set(level.tolist())):
        rows = (level == step).nonzero()[:, 0]
        out[rows] = _sampled(_halved(frames, step), index[rows], boxes[rows] / 2**step, size)
    return out


def _halved(frames: Tensor, times: int) -> Tensor:
    return F.avg_pool2d(frames, 2**times, ceil_mode=True) if times else frames


def _sampled(frames: Tensor, index: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, all in one go from the frames put below each other."""
    count, channels, height, width = frames.shape
    stack = frames.transpose(0, 1).reshape(1, channels, count * height, width)
    left, top, right, bottom = boxes.unbind(1)
    x, y = (
        low[:, None] + (torch.arange(n, device=boxes.device) + 0.5) / n * (high - low)[:, None] - 0.5
        for low, high, n in ((left, right, size[1]), (top, bottom, size[0]))
    )
    x, y = x.clamp(0, width - 1), y.clamp(0, height - 1) + (index * height)[:, None]
    x = (2 * x + 1) / width - 1
    y = (2 * y + 1) / (count * height) - 1
    grid = torch.stack([x[:, None].expand(-1, size[0], -1), y[:, :, None].expand(-1, -1, size[1])], dim=3)
    cut = F.grid_sample(stack, grid.reshape(1, -1, size[1], 2), padding_mode="border", align_corners=False)
    return cut.reshape(channels, len(boxes), *size).transpose(0, 1)
