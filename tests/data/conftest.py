"""Tiny fake data sets: real picture files of a few pixels, each with its own bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from zlib import crc32

import pytest
from PIL import Image

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF"}


@pytest.fixture
def plant(tmp_path: Path) -> Callable[[Iterable[str]], Path]:
    """`plant(names)` makes a picture of each name (empty, unless it is called like one) and returns the root."""

    def make(names: Iterable[str]) -> Path:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            kind = FORMATS.get(path.suffix.lower())
            if kind is None:
                path.touch()
                continue
            shades = crc32(name.encode(errors="surrogateescape")).to_bytes(4) * 24
            Image.frombytes("RGB", (4, 8), shades).save(path, kind)
        return tmp_path

    return make
