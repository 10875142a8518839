"""Pictures of what a method sees and answers: tensors in, tensors out, no files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

Colour: TypeAlias = tuple[int, int, int]

# One for each part label; the background, 0, has none. Neighbours on the body differ in hue and in lightness; all
# can be told from light paper and from a dark page.
PARTS: tuple[Colour, ...] = (
    (219, 165, 20),
    (74, 163, 223),
    (31, 111, 208),
    (217, 84, 30),
    (23, 165, 124),
    (10, 107, 80),
    (217, 118, 192),
    (154, 63, 147),
    (138, 111, 214),
)
WHOLE: Colour = (125, 136, 148)  # of what is all of somebody

# From little to much: each colour is lighter than the one before, so that a grey print says the same.
HEAT: tuple[Colour, ...] = ((60, 20, 120), (140, 30, 130), (222, 60, 84), (252, 142, 40), (255, 240, 150))


GONE, RIM = 128.0, 88.0  # greys of what is erased


def heat(values: Tensor) -> Tensor:
    """`values` [...], 0..1, as colours of `HEAT`: float [3,...] in 0..255."""
    ramp = torch.tensor(HEAT, dtype=torch.float32, device=values.device)
    place = values.clamp(0, 1).float() * (len(ramp) - 1)
    below = place.long().clamp(max=len(ramp) - 2)
    share = (place - below)[..., None]
    return torch.lerp(ramp[below], ramp[below + 1], share).movedim(-1, 0)


def stretched(values: Tensor) -> Tensor:
    """`values` [...] of any scale brought to 0..1: the least becomes 0, the greatest 1; all alike become 0."""
    low, high = values.aminmax()
    return (values - low) / (high - low).clamp(min=1e-12)


def overlay(image: Tensor, attention: Tensor) -> Tensor:
    """Where one looks: `attention` [h,w], 0..1, over `image` uint8 [3,H,W], which pales where it is low."""
    size = (image.shape[1], image.shape[2])
    values = F.interpolate(attention[None, None].float(), size, mode="bicubic")[0, 0].clamp(0, 1)
    grey = image.float().mean(0, keepdim=True).expand(3, *size)
    return torch.lerp(0.75 * grey + 30, heat(values), 0.95 * values).round().to(torch.uint8)


def erased(image: Tensor, cells: Tensor) -> Tensor:
    """`image` uint8 [3,H,W], grey where `cells` [h,w] are 1, each with a rim, so that they can be counted."""
    size = (image.shape[1], image.shape[2])
    gone = F.interpolate(cells[None, None].float(), size, mode="nearest-exact")[0, 0] > 0.5
    rows, columns = (_rims(cells.shape[axis], size[axis]) for axis in (0, 1))
    rim = rows[:, None] | columns
    painted = torch.where(gone, torch.where(rim, RIM, GONE), image.float())
    return painted.round().to(torch.uint8)


def labelled(image: Tensor, labels: Tensor, colours: Sequence[Colour] = PARTS, share: float = 0.65) -> Tensor:
    """Which part is where: `labels` [h,w], 0 = background, coloured over `image` uint8 [3,H,W]."""
    size = (image.shape[1], image.shape[2])
    fine = F.interpolate(labels[None, None].float(), size, mode="nearest-exact")[0, 0].long()
    table = torch.tensor([(0, 0, 0), *colours], dtype=torch.float32)[fine].movedim(-1, 0)
    grey = image.float().mean(0, keepdim=True)
    painted = torch.lerp(grey.expand_as(table), table, share)
    return torch.where(fine > 0, painted, 0.6 * grey).round().to(torch.uint8)


def _rims(cells: int, pixels: int) -> Tensor:
    """Which of so many `pixels` in a line, bool [pixels], are the first of one of so many `cells`."""
    cell = (torch.arange(pixels) + 0.5).mul(cells / pixels).long()
    return torch.cat([torch.ones(1, dtype=torch.bool), cell[1:] != cell[:-1]])
