"""Pictures and part labels once read stay in memory: decoded, edited and resized, as bytes, as far as they fit."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from halfseen.data.augment import Augment
from halfseen.data.transforms import Size, resized, resized_parts
from halfseen.data.variants import read_sample
from halfseen.types import KeepTop, Occluder, Sample

GIGABYTE = 2**30
SHARED = Path("/dev/shm")  # where Linux keeps what processes share; small in many containers


ReadParts: TypeAlias = Callable[[Sample], Tensor]  # the part labels [h,w] of a sample, spread over the stored picture


class Seen(NamedTuple):
    """A picture ready for the dice.

    `image` uint8 [3,H,W] and `parts` uint8 [H,W] resized; `hidden` bool [h,w] and `stored`, its size, as it was read.
    """

    image: Tensor
    hidden: Tensor | None
    occluder: Occluder
    stored: Size
    parts: Tensor | None


class Memory:
    """Room for the first of `pictures` pictures of `augment`'s size that `limit` bytes hold; the rest is read anew.

    With `parts` there is room for their part labels too. Pictures with a pasted occluder are not kept, as each has a
    mask of its own. With `shared`, worker processes fill and use the same room.
    """

    def __init__(
        self,
        pictures: int,
        augment: Augment,
        limit: int = 4 * GIGABYTE,
        *,
        parts: bool = False,
        shared: bool = False,
    ) -> None:
        size = (augment.height, augment.width)
        if shared and SHARED.is_dir():
            limit = min(limit, shutil.disk_usage(SHARED).free // 2)
        rooms = max(0, min(pictures, limit // (size[0] * size[1] * (4 if parts else 3))))
        self.pixels = torch.empty(rooms, *size, 3, dtype=torch.uint8)
        self.parts = torch.empty(rooms if parts else 0, *size, dtype=torch.uint8)
        self.stored = torch.zeros(rooms, 2, dtype=torch.int32)  # zeros: not read yet
        if shared:
            for tensor in (self.pixels, self.parts, self.stored):
                tensor.share_memory_()  # type: ignore[no-untyped-call]

    @property
    def nbytes(self) -> int:
        """How much memory is taken when all of it is filled."""
        return self.pixels.nbytes + self.parts.nbytes

    def see(self, row: int, sample: Sample, augment: Augment, parts: ReadParts | None = None) -> Seen:
        """`sample`, which is picture number `row`: from memory, or read and remembered."""
        if row >= len(self.pixels):
            return see(sample, augment, parts)
        height, width = self.stored[row].tolist()
        if height:
            labels = self.parts[row] if len(self.parts) else parts and see_parts(sample, augment, parts)
            return Seen(self.pixels[row].permute(2, 0, 1), None, Occluder.NONE, (height, width), labels)
        seen = see(sample, augment, parts)
        if seen.hidden is None:
            self.pixels[row] = seen.image.permute(1, 2, 0)
            if seen.parts is not None and len(self.parts):
                self.parts[row] = seen.parts
            self.stored[row] = torch.tensor(seen.stored)  # last: another process may look
        return seen


def see(sample: Sample, augment: Augment, parts: ReadParts | None = None) -> Seen:
    """Read `sample`, carry out its edits and resize it."""
    image, hidden, occluder = read_sample(sample)
    labels = parts and see_parts(sample, augment, parts)
    return Seen(resized(image, augment), hidden, occluder, (image.shape[1], image.shape[2]), labels)


def see_parts(sample: Sample, augment: Augment, parts: ReadParts) -> Tensor:
    """The part labels of `sample` as it is once its edits are carried out, resized: uint8 [H,W]."""
    return resized_parts(cut(parts(sample), sample), augment)


def cut(grid: Tensor, sample: Sample) -> Tensor:
    """What the edits of `sample` leave of a `grid` [...,h,w] spread over the stored picture."""
    for edit in sample.edits:
        if isinstance(edit, KeepTop):
            grid = grid[..., : max(1, grid.shape[-2] // edit.parts), :]
    return grid
