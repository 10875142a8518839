"""Where a picture is taken from: pinhole cameras, one for each image of a batch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class View:
    """`eye` [N,3] in metres; `axes` [N,3,3]: its rows point right, down and ahead; `focal` and `centre` [N,2] (x, y)
    in pixels of the picture, whose pixels have their middles at whole numbers."""

    eye: Tensor
    axes: Tensor
    focal: Tensor
    centre: Tensor


def look(eye: Tensor, pitch: Tensor, focal: Tensor, size: tuple[int, int]) -> View:
    """From `eye` [N,3] towards −z, tilted down by `pitch` [N] radians; a frame of `size` (height, width)."""
    exact = pitch.double()  # as in `shapes.about_y`
    sin, cos = exact.sin().to(pitch), exact.cos().to(pitch)
    zero, one = torch.zeros_like(pitch), torch.ones_like(pitch)
    rows = [one, zero, zero, zero, -cos, sin, zero, -sin, -cos]
    axes = torch.stack(rows, dim=-1).reshape(-1, 3, 3)
    middle = torch.tensor([(size[1] - 1) / 2, (size[0] - 1) / 2], device=eye.device).expand(len(eye), 2)
    return View(eye, axes, focal[:, None].expand(-1, 2), middle)


def project(view: View, points: Tensor) -> Tensor:
    """`points` [N,V,3] → [N,V,3]: x and y in pixels, and metres ahead (at least 1 cm, so that nothing divides by 0)."""
    away = points - view.eye[:, None]
    # written out, not multiplied as matrices: the same bits whatever the size of the batch
    seen = [sum(away[..., i] * view.axes[:, row, i, None] for i in range(3)) for row in range(3)]
    right, down, ahead = (torch.as_tensor(s) for s in seen)
    ahead = ahead.clamp(min=0.01)
    x = right / ahead * view.focal[:, 0, None] + view.centre[:, 0, None]
    y = down / ahead * view.focal[:, 1, None] + view.centre[:, 1, None]
    return torch.stack([x, y, ahead], dim=-1)


def cropped(view: View, box: Tensor, size: tuple[int, int]) -> View:
    """The view of a cut-out: `box` [N,4] (left, top, right, bottom edges in pixels) brought to `size` (h, w)."""
    scale = torch.tensor([size[1], size[0]], device=box.device) / (box[:, 2:] - box[:, :2])
    return replace(view, focal=view.focal * scale, centre=(view.centre + 0.5 - box[:, :2]) * scale - 0.5)
