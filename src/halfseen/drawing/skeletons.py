"""Skeletons over pictures, and many pictures on one sheet: tensors in, tensors out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from halfseen.ops.groupings import JOINTS, LIMBS

HEIGHT = 256  # of a drawn picture
LEFT, RIGHT, MIDDLE = (255, 140, 0), (0, 170, 255), (255, 255, 255)  # the person's own sides
SHADE = 0.8  # of the picture, so that what is drawn stands out
FAINT = 0.15  # how strongly a joint is drawn whose score is next to nothing
LINE, DOT = 1.4, 3.0  # half a line's width and a joint's radius, in pixels of the drawn picture
GAP, PAPER = 4, 32  # between pictures, and its shade


def skeleton(image: Tensor, keypoints: Tensor, height: int = HEIGHT) -> Tensor:
    """`image` uint8 [3,H,W] at `height` with the joints and limbs of `keypoints` [17,3], the fainter the less sure.

    What has the score 0 is not drawn, as it may be anywhere.
    """
    size = (height, max(1, round(image.shape[2] * height / image.shape[1])))
    canvas = SHADE * F.interpolate(image[None].float(), size, mode="bilinear", antialias=True)[0]
    scale = torch.tensor([size[1] / image.shape[2], size[0] / image.shape[1]])
    points, scores = (keypoints[:, :2] + 0.5) * scale, keypoints[:, 2].tolist()
    joints = [(joint, joint, DOT) for joint in range(len(JOINTS))]
    for a, b, radius in [*((a, b, LINE) for a, b in LIMBS), *joints]:
        if strength := min(scores[a], scores[b]):
            _paint(canvas, points[[a, b]], radius, _side(a, b), strength)
    return canvas.round().clamp(0, 255).byte()


def contact_sheet(pictures: Sequence[Tensor], columns: int) -> Tensor:
    """`pictures` uint8 [3,h,w] of one height, row by row from the left: uint8 [3,·,·]."""
    width = max(picture.shape[2] for picture in pictures)
    tiles = [F.pad(picture, (0, width - picture.shape[2], 0, 0), value=PAPER) for picture in pictures]
    tiles += [torch.full_like(tiles[0], PAPER)] * (-len(tiles) % columns)
    framed = F.pad(torch.stack(tiles), (GAP,) * 4, value=PAPER)
    rows = [torch.cat(list(framed[start : start + columns]), dim=2) for start in range(0, len(framed), columns)]
    return torch.cat(rows, dim=1)


def _paint(canvas: Tensor, ends: Tensor, radius: float, colour: tuple[int, int, int], strength: float) -> None:
    """On `canvas` [3,h,w] draw a line between `ends` [2,2] (x, y), or a dot if they are one, of some `radius`."""
    low = (ends.amin(0) - radius - 1).clamp(min=0).long().tolist()
    high = (ends.amax(0) + radius + 2).clamp(min=0).long().tolist()
    window = canvas[:, low[1] : high[1], low[0] : high[0]]
    if not window.numel():
        return
    column, row = (torch.arange(window.shape[2 - axis]) + low[axis] + 0.5 for axis in (0, 1))
    place = torch.stack(torch.meshgrid(column, row, indexing="xy"), dim=-1) - ends[0]
    line = ends[1] - ends[0]
    along = ((place @ line) / line.square().sum().clamp(min=1e-6)).clamp(0, 1)
    beyond = (place - along[..., None] * line).norm(dim=-1) - radius
    cover = (0.5 - beyond).clamp(0, 1) * (FAINT + (1 - FAINT) * strength)
    window.lerp_(torch.tensor(colour, dtype=torch.float32)[:, None, None].expand_as(window), cover.expand_as(window))


def _side(a: int, b: int) -> tuple[int, int, int]:
    sides = {JOINTS[a].partition("_")[0], JOINTS[b].partition("_")[0]}
    return LEFT if sides == {"left"} else RIGHT if sides == {"right"} else MIDDLE
