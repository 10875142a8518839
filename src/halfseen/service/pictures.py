"""Pictures that come in and pictures that go out.

In: decoded only after their header has been looked at. Out: as JPEG made anew, so that nothing of a file but its pixels
leaves, and from registered folders only: each step of the way is opened without following links.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from halfseen.data.images import MAX_BYTES, decode_image, is_bare_jpeg
from halfseen.gallery.indexing.pictures import LEAST
from halfseen.gallery.sightings import Fact
from halfseen.types import InputError

TALLEST = 1024  # pixels, of the longer side of what goes out
JPEG = b"\xff\xd8\xff"
WHOLE = (0.0, 0.0, 1.0, 1.0)

Share = tuple[float, float, float, float]  # left, top, right, bottom of a crop, as shares of the picture


def read_upload(data: bytes, where: str, box: Share, pixels: int) -> Tensor:
    """The `box` of the picture in `data` as uint8 [3,H,W]; `where` names it to the person who sent it."""
    image = decode_image(data, where, most=pixels)
    left, top, right, bottom = box
    height, width = image.shape[1:]
    rows = slice(round(top * height), round(bottom * height))
    columns = slice(round(left * width), round(right * width))
    image = image[:, rows, columns]
    if min(image.shape[1:]) < LEAST:
        raise InputError(
            f"{where} leaves {image.shape[2]} x {image.shape[1]} pixels to look at; choose at least {LEAST} x {LEAST}"
        )
    return image


def as_jpeg(image: Tensor, quality: int = 90) -> bytes:
    """`image` uint8 [3,H,W], made smaller if a side is longer than TALLEST."""
    longest = max(image.shape[1:])
    if longest > TALLEST:
        size = [max(1, round(side * TALLEST / longest)) for side in image.shape[1:]]
        image = F.interpolate(image[None], size, mode="bilinear", antialias=True)[0]
    kept = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(kept, "JPEG", quality=quality)
    return kept.getvalue()


class Folders:
    """The registered folders, as they are when the service begins."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self.roots = []
        for folder in folders:
            if not folder.is_dir():
                raise InputError(f"{folder} is no folder; register folders that hold the gallery's pictures")
            self.roots.append(folder.resolve())

    def read(self, path: str) -> bytes | None:
        """What the file at `path` holds; None if it does not lie in a registered folder, wherever links lead."""
        with suppress(OSError, ValueError):  # ValueError: a zero byte
            real = Path(path).resolve(strict=True)
            for root in self.roots:
                if real.is_relative_to(root):
                    return _read_inside(root, real.relative_to(root).parts)
        return None


def _read_inside(root: Path, steps: tuple[str, ...]) -> bytes | None:
    """The file `steps` below `root`. A link that was put there since they were resolved is an OSError."""
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for number, step in enumerate(steps):
            kind = os.O_NONBLOCK if number == len(steps) - 1 else os.O_DIRECTORY
            inner = os.open(step, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | kind, dir_fd=at)
            os.close(at)
            at = inner
        about = os.fstat(at)
        if not stat.S_ISREG(about.st_mode) or about.st_size > MAX_BYTES:
            return None
        with open(at, "rb", closefd=False) as file:
            return file.read(MAX_BYTES)
    finally:
        os.close(at)


def picture_of(fact: Fact, folders: Folders, pixels: int) -> bytes | None:
    """The picture of a sighting as JPEG: from its file if that may be read, else its thumbnail; None: there is none."""
    data = folders.read(fact.image) if fact.image else None
    if data is not None:
        with suppress(InputError):  # damaged since: the thumbnail is left
            image = decode_image(data, "the picture", most=pixels)
            return as_jpeg(_boxed(image, fact))
    return thumbnail_of(fact)


def _boxed(image: Tensor, fact: Fact) -> Tensor:
    """The person alone, where the file shows more."""
    if fact.box is None:
        return image
    left, top, right, bottom = (max(0, round(side)) for side in fact.box)
    inside = image[:, top:bottom, left:right]
    return inside if inside.numel() else image


def thumbnail_of(fact: Fact) -> bytes | None:
    """The gallery's own, if it is a JPEG, of which only the pixels leave: a gallery may come from elsewhere."""
    if is_bare_jpeg(fact.thumbnail):
        return fact.thumbnail
    if fact.thumbnail.startswith(JPEG):
        with suppress(InputError):
            return as_jpeg(decode_image(fact.thumbnail, "the thumbnail", most=TALLEST**2))
    return None
