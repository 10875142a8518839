"""Every kind of picture is read like Pillow reads it, and every bad one ends in one clear sentence."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from halfseen.data import images
from halfseen.data.files import shown
from halfseen.data.images import decode_image, is_bare_jpeg, read_image, save_image
from halfseen.types import InputError


def colours(height: int = 23, width: int = 17, seed: int = 0) -> Image.Image:
    """A smooth picture without symmetry."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 3, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    into = io.BytesIO()
    picture.save(into, kind, **options)  # the stubs know no TIFF
    return into.getvalue()


def by_pillow(data: bytes) -> torch.Tensor:
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def complaint(data: bytes) -> str:
    with pytest.raises(InputError) as error:
        decode_image(data, "shot.jpg")
    text = str(error.value)
    assert text.startswith("shot.jpg ")
    assert "\n" not in text
    return text


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30, "subsampling": 2}])
def test_jpeg_is_what_pillow_decodes(mode: str, options: dict[str, object]) -> None:
    data = encoded(colours().convert(mode), "JPEG", **options)
    image = decode_image(data, "x")
    assert image.dtype == torch.uint8
    assert image.shape == (3, 23, 17)
    assert torch.equal(image, by_pillow(data))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
def test_lossless_formats(kind: str, mode: str) -> None:
    picture = colours().convert(mode)
    expected = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
    assert torch.equal(decode_image(encoded(picture, kind), "x"), expected)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(colours(), kind, exif=exif)
    image = decode_image(data, "x")
    assert image.shape == ((3, 23, 17) if orientation < 5 else (3, 17, 23))
    assert torch.equal(image, by_pillow(data))


def test_a_broken_exif_block_does_not_spoil_the_picture() -> None:
    data = encoded(colours(), "JPEG", exif=b"Exif\0\0 this is no TIFF header")
    assert decode_image(data, "x").shape == (3, 23, 17)


def test_a_bare_jpeg_holds_nothing_but_its_picture() -> None:
    data = encoded(colours(), "JPEG")
    assert is_bare_jpeg(data)
    assert is_bare_jpeg(encoded(colours().convert("L"), "JPEG", quality=30, restart_marker_blocks=1))
    small = b"\xff\xe0" + (16 + 3).to_bytes(2, "big") + b"JFIF\0\1\1\0\0\1\0\1\1\1abc"  # a picture in the header
    others = [
        b"",
        data[:2],
        data[:-2],  # without an end
        data[:-1],
        data + b"\0",
        data[:2] + small + data[20:],
        encoded(colours(), "JPEG", comment="secrets"),
        encoded(colours(), "JPEG", exif=b"Exif\0\0 this"),
        encoded(colours(), "JPEG", icc_profile=b"whose"),
        encoded(colours(), "JPEG", xmp=b"where"),
        encoded(colours(), "JPEG", progressive=True),
        encoded(colours(), "PNG"),
    ]
    assert [is_bare_jpeg(other) for other in others] == [False] * len(others)


def test_palette_and_transparency() -> None:
    palette = colours().quantize(7)
    assert torch.equal(decode_image(encoded(palette, "PNG"), "x"), by_pillow(encoded(palette, "PNG")))
    clear = Image.new("RGBA", (2, 1), (10, 20, 30, 255))
    clear.putpixel((1, 0), (10, 20, 30, 0))
    assert decode_image(encoded(clear, "PNG"), "x")[:, 0].tolist() == [[10, 255], [20, 255], [30, 255]]
    grey = clear.convert("LA")
    assert decode_image(encoded(grey, "PNG"), "x")[:, 0, 1].tolist() == [255, 255, 255]
    chosen = encoded(palette, "PNG", transparency=bytes([0] * 7))  # Pillow would warn about this one
    assert (decode_image(chosen, "x") == 255).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_keep_the_upper_eight(kind: str) -> None:
    values = np.array([[0, 255, 256], [511, 32768, 65535]], np.uint16)
    image = decode_image(encoded(Image.fromarray(values), kind), "x")
    assert image[0].tolist() == [[0, 0, 1], [1, 128, 255]]
    assert torch.equal(image[0], image[2])


@pytest.mark.parametrize("values", [np.ones((2, 2), np.float32), np.full((2, 2), -1, np.int32)])
def test_numbers_that_are_no_colours(values: np.ndarray) -> None:
    assert "8 or 16 bits" in complaint(encoded(Image.fromarray(values), "TIFF"))


def test_without_the_fast_decoder_pillow_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(colours(), "JPEG")
    fast = decode_image(data, "x")
    monkeypatch.setattr(images, "_fast_jpeg_decoder", lambda: None)
    assert torch.equal(decode_image(data, "x"), fast)


def test_the_fast_decoder_is_there_and_takes_plain_jpegs_only() -> None:
    assert images._fast_jpeg_decoder() is not None
    assert images._plain_jpeg_size(encoded(colours(), "JPEG")) == (23, 17)
    for other in (encoded(colours(), "PNG"), encoded(colours().convert("CMYK"), "JPEG"), b"\xff\xd8\xff\xff\xff"):
        assert images._plain_jpeg_size(other) is None


def test_filling_bytes_between_jpeg_markers() -> None:
    data = encoded(colours(), "JPEG")
    filled = data[:2] + b"\xff\xff\xff" + data[2:]
    assert images._plain_jpeg_size(filled) == (23, 17)
    assert torch.equal(decode_image(filled, "x"), decode_image(data, "x"))


# --- Bad pictures ---


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_cut_short(kind: str, share: float) -> None:
    data = encoded(colours(200, 100), kind)
    complaint(data[: int(len(data) * share)])


def test_a_jpeg_without_its_last_bytes() -> None:
    for options in ({}, {"progressive": True}):
        data = encoded(colours(), "JPEG", **options)
        for missing in (1, 2, 3, 40):
            assert "cut short" in complaint(data[:-missing])


def test_no_picture_at_all() -> None:
    assert "0 bytes" in complaint(b"")
    assert "known format" in complaint(b"<html>404</html>")
    assert "known format" in complaint(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    )  # never reaches ghostscript


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8193, 9999, 13000, 60000])  # ours, Pillow's warning, Pillow's error
def test_bombs_are_refused_by_their_header(side: int) -> None:
    assert "at most 67,108,864" in complaint(png_that_claims(side, side))


def test_a_jpeg_bomb() -> None:
    data = bytearray(encoded(colours(), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 60000, 60000)
    assert "60000 x 60000" in complaint(bytes(data))


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(["JPEG", "PNG", "BMP", "TIFF", "GIF", "WEBP"]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8),
    st.floats(0, 1),
)
def test_damage_gives_a_picture_or_one_sentence(kind: str, blows: list[tuple[float, int]], end: float) -> None:
    data = bytearray(encoded(colours(), kind))
    for place, value in blows:
        data[int(place * (len(data) - 1))] = value
    cut = bytes(data[: max(1, int(len(data) * (0.5 + end)))])
    with contextlib.suppress(InputError):  # anything else fails the test
        assert decode_image(cut, "shot").shape[0] == 3


# --- Bad files ---


def refused(path: str | Path) -> str:
    with pytest.raises(InputError) as error:
        read_image(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    assert refused(tmp_path / "gone.jpg") == (
        f"{tmp_path}/gone.jpg does not exist; check the path or the list that names it"
    )
    assert "is a directory" in refused(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "not a regular file" in refused(tmp_path / "pipe.jpg")
    assert "cannot be read: " in refused(tmp_path / ("n" * 300 + ".jpg"))
    assert "null byte" in refused("a\0b.jpg")
    assert "a\\x00b.jpg" in refused("a\0b.jpg")


def test_a_file_nobody_may_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", denied)
    assert "permission denied" in refused(tmp_path / "secret.jpg")


def test_a_file_too_large_to_be_a_picture(tmp_path: Path) -> None:
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(images.MAX_BYTES + 1)  # sparse: takes no room
    assert "536,870,913 bytes" in refused(tmp_path / "huge.png")


def test_names_that_are_not_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9\n\x1b[1m.jpg")
    assert shown(name) == "caf\\xe9\\n\\x1b[1m.jpg"
    assert shown("grün/家.jpg") == "grün/家.jpg"
    refused(tmp_path / name).encode()  # what cannot be encoded cannot be printed
    (tmp_path / name).write_bytes(encoded(colours(), "JPEG"))
    assert read_image(tmp_path / name).shape == (3, 23, 17)


def test_threads_leave_the_warning_filters_alone() -> None:
    data = encoded(colours().quantize(7), "PNG", transparency=bytes([0] * 7))
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(lambda _: decode_image(data, "x"), range(40)))) == 40
    assert list(warnings.filters) == before


# --- Writing ---


def random_image(height: int = 9, width: int = 5) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_png_comes_back_exactly(tmp_path: Path) -> None:
    image = random_image()
    for layout in (image, image.permute(0, 2, 1).contiguous().permute(0, 2, 1)):
        save_image(tmp_path / "a.PNG", layout)
        assert torch.equal(read_image(tmp_path / "a.PNG"), image)
    assert [p.name for p in tmp_path.iterdir()] == ["a.PNG"]


def test_jpeg_comes_back_nearly(tmp_path: Path) -> None:
    image = torch.from_numpy(np.array(colours())).permute(2, 0, 1)
    for name in ("a.jpg", "a.jpeg"):
        save_image(str(tmp_path / name), image)
        assert (read_image(tmp_path / name).int() - image.int()).abs().float().mean() < 4


@pytest.mark.parametrize(
    "image", [torch.zeros(3, 4, 4), torch.zeros(4, 4, dtype=torch.uint8), torch.zeros(3, 0, 4, dtype=torch.uint8)]
)
def test_what_is_no_image_is_not_written(tmp_path: Path, image: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"expected torch.uint8 \[3, H, W\]"):
        save_image(tmp_path / "a.png", image)
    assert not list(tmp_path.iterdir())


def test_unknown_ending_and_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not end in one of \.jpg, \.jpeg, \.png"):
        save_image(tmp_path / "a.gif", random_image())
    with pytest.raises(InputError, match="No such file"):
        save_image(tmp_path / "none" / "a.png", random_image())


@pytest.mark.parametrize("step", ["save", "replace"])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    target = tmp_path / "a.png"
    save_image(target, random_image())
    before = target.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    owner: Callable[..., object] | type = Image.Image if step == "save" else Path
    monkeypatch.setattr(owner, step, full)
    with pytest.raises(InputError, match="No space left"):
        save_image(target, random_image(4, 4))
    assert target.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
