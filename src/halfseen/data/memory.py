"""Pictures once read stay in memory: decoded, edited and resized, as bytes, as far as they fit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from halfseen.data.augment import Augment
from halfseen.data.transforms import Size, resized
from halfseen.data.variants import read_sample
from halfseen.types import Occluder, Sample

GIGABYTE = 2**30
SHARED = Path("/dev/shm")  # where Linux keeps what processes share; small in many containers


class Seen(NamedTuple):
    """A picture ready for the dice: `image` uint8 [3,H,W] resized, `hidden` bool [h,w] and `stored`, as it was read."""

    image: Tensor
    hidden: Tensor | None
    occluder: Occluder
    stored: Size


class Memory:
    """Room for the first of `pictures` pictures of `augment`'s size that `limit` bytes hold; the rest is read anew.

    Pictures with a pasted occluder are not kept, as each has a mask of its own. With `shared`, worker processes fill
    and use the same room.
    """

    def __init__(self, pictures: int, augment: Augment, limit: int = 4 * GIGABYTE, *, shared: bool = False) -> None:
        size = (augment.height, augment.width, 3)
        if shared and SHARED.is_dir():
            limit = min(limit, shutil.disk_usage(SHARED).free // 2)
        rooms = max(0, min(pictures, limit // (size[0] * size[1] * 3)))
        self.pixels = torch.empty(rooms, *size, dtype=torch.uint8)
        self.stored = torch.zeros(rooms, 2, dtype=torch.int32)  # zeros: not read yet
        if shared:
            self.pixels.share_memory_()  # type: ignore[no-untyped-call]
            self.stored.share_memory_()  # type: ignore[no-untyped-call]

    @property
    def nbytes(self) -> int:
        """How much memory is taken when all of it is filled."""
        return self.pixels.nbytes

    def see(self, row: int, sample: Sample, augment: Augment) -> Seen:
        """`sample`, which is picture number `row`: from memory, or read and remembered."""
        if row >= len(self.pixels):
            return see(sample, augment)
        height, width = self.stored[row].tolist()
        if height:
            return Seen(self.pixels[row].permute(2, 0, 1), None, Occluder.NONE, (height, width))
        seen = see(sample, augment)
        if seen.hidden is None:
            self.pixels[row] = seen.image.permute(1, 2, 0)
            self.stored[row] = torch.tensor(seen.stored)  # last: another process may look
        return seen


def see(sample: Sample, augment: Augment) -> Seen:
    """Read `sample`, carry out its edits and resize it."""
    picture = read_sample(sample)
    height, width = picture.image.shape[1:]
    return Seen(resized(picture.image, augment), picture.hidden, picture.occluder, (height, width))
