"""Pictures in: crops, sizes, pixels. Pictures out: from registered folders only, and nothing but pixels."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from halfseen.data.images import decode_image, is_bare_jpeg, save_image
from halfseen.gallery.sightings import Fact
from halfseen.service import pictures
from halfseen.service.pictures import TALLEST, WHOLE, Folders, as_jpeg, picture_of, read_upload, thumbnail_of
from halfseen.types import InputError

MANY = 10**7


def coloured(height: int = 40, width: int = 20) -> Tensor:
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    image[0, : height // 2] = 200
    image[1, height // 2 :] = 200
    return image


def encoded(image: Tensor, kind: str = "PNG", **more: object) -> bytes:
    kept = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(kept, kind, **more)
    return kept.getvalue()


def test_a_crop_is_that_of_the_picture() -> None:
    image = torch.randint(0, 256, (3, 40, 20), dtype=torch.uint8)
    assert torch.equal(read_upload(encoded(image), "it", WHOLE, MANY), image)
    assert torch.equal(read_upload(encoded(image), "it", (0.25, 0.5, 1, 1), MANY), image[:, 20:, 5:])


@pytest.mark.parametrize("box", [(0, 0, 0.05, 1), (0, 0.4, 1, 0.41)])
def test_a_crop_of_next_to_nothing_is_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(InputError, match="it leaves"):
        read_upload(encoded(coloured()), "it", box, MANY)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_more_pixels_than_allowed_are_never_decoded(kind: str) -> None:
    data = encoded(coloured(300, 200), kind)
    assert read_upload(data, "it", WHOLE, 60_000).shape == (3, 300, 200)
    with pytest.raises(InputError, match="at most 59,999"):
        read_upload(data, "it", WHOLE, 59_999)


@pytest.mark.parametrize("trick", [b"\xff\x01", b"\xff\xd0", b"\xff\xd8"])
def test_a_jpeg_that_shows_one_size_and_has_another_is_never_decoded(trick: bytes) -> None:
    """A marker without a length: who reads the next marker as its length steps over the true frame to a false one."""
    small, large = encoded(coloured(16, 16), "JPEG"), encoded(coloured(800, 600), "JPEG")
    frame = large.index(b"\xff\xc0")
    tables, rest = large[2:frame], large[frame + 19 :]
    begin = b"\xff\xd8" + trick + large[frame : frame + 19] + tables
    target = 4 + 0xFFC0  # where `FF C0`, taken as a length, leads
    first = b"\xff\xfe" + (1000).to_bytes(2) + bytes(998)
    inside = bytes(target - len(begin) - len(first) - 4) + small[small.index(b"\xff\xc0") :][:19] + bytes(20)
    data = begin + first + b"\xff\xfe" + (len(inside) + 2).to_bytes(2) + inside + rest
    with pytest.raises(InputError, match=r"it (is not a picture|claims)"):
        read_upload(data, "it", WHOLE, 10_000)


def test_a_frame_of_another_kind_hides_none_that_comes_later() -> None:
    small, large = encoded(coloured(16, 16), "JPEG"), encoded(coloured(800, 600), "JPEG")
    frame, scan = large.index(b"\xff\xc0"), large.index(b"\xff\xda")
    arithmetic = large[:frame] + b"\xff\xc9" + large[frame + 2 : scan + 14] + small[small.index(b"\xff\xc0") :][:19]
    with pytest.raises(InputError, match="at most 10,000"):
        read_upload(arithmetic + bytes(200), "it", WHOLE, 10_000)


def test_what_goes_out_is_small_and_tells_nothing_but_pixels(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "secret"
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(coloured(2400, 1200), "JPEG", exif=exif, comment=b"secret"))
    assert b"secret" in path.read_bytes()
    data = picture_of(Fact(image=str(path)), Folders([tmp_path]), MANY)
    assert data is not None
    assert b"secret" not in data
    assert decode_image(data, "it").shape == (3, TALLEST, TALLEST // 2)


def test_the_box_of_a_sighting_is_cut_out(tmp_path: Path) -> None:
    save_image(tmp_path / "frame.png", coloured())
    fact = Fact(image=str(tmp_path / "frame.png"), box=(-3.0, 20.0, 10.0, 90.0))
    data = picture_of(fact, Folders([tmp_path]), MANY)
    assert data is not None
    image = decode_image(data, "it")
    assert image.shape == (3, 20, 10)
    assert int(image[1].float().mean()) in range(190, 210)


def test_a_box_that_the_file_no_longer_has_shows_all_of_it(tmp_path: Path) -> None:
    save_image(tmp_path / "frame.png", coloured())
    fact = Fact(image=str(tmp_path / "frame.png"), box=(500.0, 20.0, 510.0, 90.0))
    data = picture_of(fact, Folders([tmp_path]), MANY)
    assert data is not None
    assert decode_image(data, "it").shape == (3, 40, 20)


def test_only_registered_folders_are_read(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside / "deep", outside, tmp_path / "inner"):
        folder.mkdir(parents=True)
    for place in (inside / "deep" / "a.png", outside / "b.png", tmp_path / "inner" / "c.png"):
        place.write_bytes(b"read me")
    (inside / "link.png").symlink_to(outside / "b.png")
    (inside / "folder").symlink_to(outside)
    (inside / "own").symlink_to(inside / "deep")
    os.mkfifo(inside / "pipe")
    folders = Folders([inside])
    allowed = [inside / "deep" / "a.png", inside / "own" / "a.png", inside / "own" / ".." / "deep" / "a.png"]
    assert [folders.read(str(path)) for path in allowed] == [b"read me"] * 3
    refused = [outside / "b.png", inside / "link.png", inside / "folder" / "b.png", inside / ".." / "out" / "b.png"]
    refused += [tmp_path / "inner" / "c.png", inside, inside / "deep", inside / "pipe", inside / "none", Path("a\0b")]
    assert [folders.read(str(path)) for path in refused] == [None] * len(refused)
    assert folders.read("/etc/passwd") is None
    assert Folders([]).read(str(inside / "deep" / "a.png")) is None


def test_a_link_that_comes_between_looking_and_opening_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "in"
    (inside / "deep").mkdir(parents=True)
    (inside / "deep" / "a.png").write_bytes(b"mine")
    (tmp_path / "a.png").write_bytes(b"secret")
    folders, real = Folders([inside]), pictures._read_inside

    def swapped(root: Path, steps: tuple[str, ...]) -> bytes | None:
        (inside / "deep").rename(inside / "old")
        (inside / "deep").symlink_to(tmp_path)
        return real(root, steps)

    monkeypatch.setattr(pictures, "_read_inside", swapped)
    assert folders.read(str(inside / "deep" / "a.png")) is None


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c.png").write_bytes(b"x")
    folders, before = Folders([tmp_path]), len(list(Path("/proc/self/fd").iterdir()))
    for name in ("a/b/c.png", "a/b", "a/none", "a/b/c.png/d"):
        folders.read(str(tmp_path / name))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_without_its_file_a_sighting_has_its_thumbnail(tmp_path: Path) -> None:
    small = encoded(coloured(), "JPEG")
    folders = Folders([tmp_path])
    (tmp_path / "broken.jpg").write_bytes(small[:100])
    for image in ("", str(tmp_path / "none.jpg"), str(tmp_path / "broken.jpg"), "/etc/passwd"):
        assert picture_of(Fact(image=image, thumbnail=small), folders, MANY) == small
    assert thumbnail_of(Fact(thumbnail=b"<script>")) is None
    assert thumbnail_of(Fact(thumbnail=small[:100])) is None
    told = thumbnail_of(Fact(thumbnail=small[:2] + b"\xff\xfe\x00\x0asecrets!" + small[2:] + b"behind"))
    assert told is not None
    assert is_bare_jpeg(told)
    assert b"secrets" not in told
    assert picture_of(Fact(), folders, MANY) is None


def test_a_folder_that_is_none_cannot_be_registered(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        Folders([tmp_path / "none"])


def test_small_pictures_keep_their_size() -> None:
    assert decode_image(as_jpeg(coloured()), "it").shape == (3, 40, 20)
