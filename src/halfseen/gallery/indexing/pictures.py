"""Pictures of one person each: read, made ready for the network, and as small JPEGs to be shown later."""

from __future__ import annotations

import hashlib
import io
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from halfseen.data.files import shown
from halfseen.data.images import decode_image, is_bare_jpeg, read_bytes
from halfseen.gallery.indexing.sources import DamagedError, Source, UnreadError, digest_of
from halfseen.types import InputError

TALL, WIDE = 256, 256  # pixels of a thumbnail, at most
QUALITY = 85
LEAST = 8  # pixels of a side: a smaller picture, or crop of a film, shows nobody
LIGHT = 32_768  # bytes: a JPEG that is small in every way is its own thumbnail

Given = TypeVar("Given")
Got = TypeVar("Got")


class Picture(NamedTuple):
    """What was read of a `source`, whose content has that `digest`: `image` uint8 [3,H,W], as `fit` made it."""

    source: Source
    digest: str
    image: Tensor
    thumbnail: bytes


def digests(sources: Sequence[Source]) -> list[str | DamagedError]:
    """Of what each of `sources` holds, or why it cannot be read."""

    def digest(source: Source) -> str | DamagedError:
        try:
            return digest_of(source.path)
        except DamagedError as error:
            return error

    with threads() as pool:
        return list(pool.map(digest, sources))


def read_pictures(
    found: Iterable[tuple[Source, str]], fit: Callable[[Tensor], Tensor], batch: int, *, ahead: int = 0
) -> Generator[list[Picture | InputError], None, None]:
    """Batches of pictures, or why one cannot be read, of sources and their digests; `ahead` batches are begun early."""

    def read(pair: tuple[Source, str]) -> Picture | InputError:
        source, digest = pair
        try:
            data = read_bytes(source.path)
        except InputError as error:
            return UnreadError(str(error))
        if hashlib.sha256(data).hexdigest() != digest:
            return UnreadError(f"{shown(source.path)} was changed while it was read; index it once it is complete")
        try:
            image = decode_image(data, shown(source.path))
            check_size(image, source.path)
            return Picture(source, digest, fit(image), thumbnail(image, data))
        except InputError as error:
            return error

    coming: deque[list[Future[Picture | InputError]]] = deque()
    with threads() as pool:
        for some in batches(found, batch):
            coming.append([pool.submit(read, pair) for pair in some])
            if len(coming) > ahead:
                yield [future.result() for future in coming.popleft()]
        for futures in coming:
            yield [future.result() for future in futures]


def check_size(image: Tensor, path: Path) -> None:
    """`image` uint8 [3,H,W], read from `path`, can show somebody."""
    height, width = image.shape[1:]
    if min(height, width) < LEAST:
        raise DamagedError(
            f"{shown(path)} is only {width}x{height} pixels; give a larger picture, with {LEAST} or more on "
            f"each side, or take it away"
        )


def thumbnail(image: Tensor, data: bytes = b"") -> bytes:
    """A small JPEG of `image`, uint8 [3,h,w]; its own `data` if that is one and holds nothing but the picture."""
    height, width = image.shape[1:]
    scale = min(1.0, TALL / height, WIDE / width)
    if scale == 1 and len(data) <= LIGHT and is_bare_jpeg(data):
        return data
    if scale < 1:
        size = max(1, round(scale * height)), max(1, round(scale * width))
        image = F.interpolate(image[None], size, mode="bilinear", antialias=True)[0]
    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def batches(things: Iterable[Given], size: int) -> Iterator[list[Given]]:
    """`things` in lists of `size`; the last may be shorter."""
    some: list[Given] = []
    for thing in things:
        some.append(thing)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some


@contextmanager
def threads() -> Iterator[ThreadPoolExecutor]:
    """As many threads as torch has, each alone at what it does."""
    count = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(count)  # the pool's threads have changed it for all that are yet to come
