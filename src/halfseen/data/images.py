"""Read and write one picture: uint8 RGB [3,H,W], or one clear sentence about why not.

The header is looked at before any pixel is decoded, so that a small file cannot ask for much memory. Tensors are
[3,H,W] by shape and height-width-colour in memory, as decoders write them and as resizing and networks like them.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from halfseen.data.files import shown, whole
from halfseen.types import InputError

MAX_PIXELS = 64 * 2**20
MAX_BYTES = 8 * MAX_PIXELS  # what an uncompressed picture of that size takes with 16 bits and transparency
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM")  # no EPS: reading it starts a program
PASSED = frozenset({0xC4, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE})  # JPEG: tables, intervals, APPn, comments
BARE = frozenset({0xC0, 0xC1, 0xC2, 0xC4, 0xDB, 0xDD})  # JPEG: frames, tables, intervals
JFIF, SCAN, END = 0xE0, 0xDA, re.compile(rb"\xff[^\x00\xd0-\xd7]")
SUFFIXES = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}

_PILLOW_SPEAKS = threading.Lock()  # silencing warnings is global to the process: one thread at a time


def read_image(path: str | os.PathLike[str]) -> Tensor:
    """The picture at `path` as uint8 RGB [3,H,W], turned upright if its EXIF orientation says so."""
    return decode_image(read_bytes(path), shown(path))


def decode_image(data: bytes, where: str, most: int = MAX_PIXELS) -> Tensor:
    """The picture encoded in `data` as uint8 RGB [3,H,W], of `most` pixels; `where` names it in error messages."""
    if not data:
        raise InputError(f"{where} is empty (0 bytes); replace it by the original picture or take it off the list")
    size = _plain_jpeg_size(data)
    decode = _fast_jpeg_decoder() if size else None
    if size is None or decode is None:
        return _decode_with_pillow(data, where, most)
    _check_pixels(*size, where, most)
    try:
        return decode(torch.frombuffer(bytearray(data), dtype=torch.uint8))
    except RuntimeError as error:
        raise _damaged(where) from error


def save_image(path: str | os.PathLike[str], image: Tensor, quality: int = 95) -> None:
    """Write `image`, uint8 [3,H,W], as JPEG of some `quality` or PNG by the ending of `path`; wholly or not at all."""
    target = Path(path)
    kind = SUFFIXES.get(target.suffix.lower())
    if kind is None:
        raise InputError(f"{shown(path)} does not end in one of {', '.join(SUFFIXES)}; choose one of these endings")
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape:
        raise InputError(
            f"the picture for {shown(path)} is {image.dtype} {tuple(image.shape)}; expected torch.uint8 [3, H, W]"
        )
    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().cpu().numpy())
    with whole(target) as beside:
        picture.save(beside, kind, quality=quality)  # PNG is exact and ignores it


def is_bare_jpeg(data: bytes) -> bool:
    """Whether `data` is a picture and nothing else: no words, no place, no smaller picture, nothing behind its end.

    Of a JPEG that comes in several scans nobody looks in between: it is taken for more.
    """
    at = 2 if data[:2] == b"\xff\xd8" else len(data)
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == SCAN:
            end = END.search(data, at + length)
            return end is not None and data[end.start() :] == b"\xff\xd9"
        if marker not in BARE and not (marker == JFIF and length == 18):  # a longer one has a picture in it
            return False
        at += length
    return False


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """What the file holds; anything but a regular file of sensible size is an error, before it is opened."""
    try:
        about = Path(path).stat()
        if stat.S_ISREG(about.st_mode) and about.st_size <= MAX_BYTES:
            return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{shown(path)} does not exist; check the path or the list that names it") from error
    except PermissionError as error:
        raise InputError(f"{shown(path)} may not be read (permission denied); change the file's permissions") from error
    except (OSError, ValueError) as error:  # ValueError: a name that holds a zero byte
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{shown(path)} cannot be read: {reason}; give the path of an image file") from error
    if stat.S_ISREG(about.st_mode):
        raise InputError(f"{shown(path)} is {about.st_size:,} bytes large; a picture may have at most {MAX_BYTES:,}")
    kind = "a directory" if stat.S_ISDIR(about.st_mode) else "not a regular file"
    raise InputError(f"{shown(path)} is {kind}; give the path of an image file")


def _plain_jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Height and width if `data` starts like an 8-bit grey or three-colour JPEG without EXIF, else None.

    Only segments that decoders pass over in the same way are passed over: whoever could have one skipped that a decoder
    reads, or the other way round, could show a small frame here and a large one there.
    """
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in (0xC0, 0xC1, 0xC2):  # the frame: baseline, extended or progressive
            bits, colours = data[at + 4], data[at + 9]
            height, width = (int.from_bytes(data[at + i : at + i + 2], "big") for i in (5, 7))
            return (height, width) if bits == 8 and colours in (1, 3) and height and width else None
        if (marker != 0xFF and marker not in PASSED) or (marker == 0xE1 and data[at + 4 : at + 8] == b"Exif"):
            return None
        at += 1 if marker == 0xFF else 2 + length  # 0xFF 0xFF is filling
    return None


@cache
def _fast_jpeg_decoder() -> Callable[[Tensor], Tensor] | None:
    """Torchvision's decoder to RGB, twice as fast as Pillow; None where this torchvision was built without it.

    The operator is called directly, because the Python function over it warns on every call since 0.29.
    """
    from torchvision.io import ImageReadMode  # noqa: PLC0415  (takes a second, and most commands read no JPEG)

    decoder = getattr(torch.ops.image, "decode_jpeg", None)
    return None if decoder is None else lambda data: decoder(data, ImageReadMode.RGB.value, False)


def _decode_with_pillow(data: bytes, where: str, most: int) -> Tensor:
    with _silence():
        try:
            picture: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        except Image.DecompressionBombError as error:  # Pillow's own limit is looser than ours
            raise _too_large("more pixels than Pillow opens", where, most) from error
        except Exception as error:  # Pillow's readers raise whatever they stumble over
            known = ", ".join(FORMATS)
            raise InputError(
                f"{where} is not a picture in a known format; allowed are {known}: convert it, or take it off the list"
            ) from error
        _check_pixels(picture.height, picture.width, where, most)
        try:
            with contextlib.suppress(Exception):  # a broken EXIF block leaves a good picture as it lies
                picture = ImageOps.exif_transpose(picture)
            pixels = _to_rgb(picture)
        except Exception as error:
            raise _damaged(where) from error
    if pixels is None:
        raise InputError(f"{where} holds {picture.mode} pixels; allowed are 8 or 16 bits per colour: convert it to PNG")
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _to_rgb(picture: Image.Image) -> np.ndarray | None:
    """uint8 [H,W,3]: 16-bit grey keeps its upper byte, transparency shows white; None for other number types."""
    if picture.mode.startswith(("I", "F")):
        grey = np.asarray(picture)
        if picture.mode == "F" or grey.min() < 0 or grey.max() > 0xFFFF:
            return None
        return np.repeat((grey >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        picture = Image.new("RGB", layer.size, "white")
        picture.paste(layer, mask=layer)
    return np.array(picture.convert("RGB"))


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with _PILLOW_SPEAKS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _check_pixels(height: int, width: int, where: str, most: int) -> None:
    if height * width > most:
        raise _too_large(f"{width} x {height} pixels", where, most)


def _too_large(size: str, where: str, most: int) -> InputError:
    return InputError(f"{where} claims {size}; at most {most:,} are allowed: shrink it first")


def _damaged(where: str) -> InputError:
    return InputError(f"{where} is damaged or cut short; replace it by the original picture or take it off the list")
