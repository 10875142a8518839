"""Pictures on their way into a gallery: read in batches, with what is shown of them later."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from halfseen.data.images import decode_image, read_image, save_image
from halfseen.gallery.indexing.patterns import Named
from halfseen.gallery.indexing.pictures import Picture, batches, digests, read_pictures, thumbnail
from halfseen.gallery.indexing.sources import DamagedError, Source, digest_of
from halfseen.types import InputError


def noise(height: int, width: int, seed: int = 0) -> Tensor:
    coarse = torch.randint(0, 256, (1, 3, 8, 4), generator=torch.Generator().manual_seed(seed)).float()
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0].byte()


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    paths = [tmp_path / f"{number}.png" for number in range(7)]
    for number, path in enumerate(paths):
        save_image(path, noise(20, 10, number))
    paths[3].write_bytes(b"no picture")
    return [Source(path, str(tmp_path), Named()) for path in paths]


def half(image: Tensor) -> Tensor:
    return image[:, ::2, ::2]


@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_pictures_come_in_order_and_damaged_ones_as_errors(sources: list[Source], ahead: int) -> None:
    pairs = [(source, digest_of(source.path)) for source in sources]
    found = list(read_pictures(pairs, half, 3, ahead=ahead))
    assert [len(batch) for batch in found] == [3, 3, 1]
    flat = [one for batch in found for one in batch]
    for number, (one, pair) in enumerate(zip(flat, pairs, strict=True)):
        if number == 3:
            assert isinstance(one, InputError)
            assert "3.png is not a picture in a known format" in str(one)
            continue
        assert isinstance(one, Picture)
        assert (one.source, one.digest) == pair
        assert torch.equal(one.image, half(noise(20, 10, number)))
        assert decode_image(one.thumbnail, "").shape == (3, 20, 10)


def test_what_changes_between_two_reads_is_left_for_the_next_time(sources: list[Source]) -> None:
    """Otherwise it would be noted under the digest of what it no longer is, and come twice."""
    pairs = [(source, digest_of(source.path)) for source in sources[:2]]
    save_image(sources[0].path, noise(20, 10, 9))
    (changed, same), *_ = read_pictures(pairs, half, 2)
    assert isinstance(changed, DamagedError)
    assert "0.png was changed while it was read" in str(changed)
    assert isinstance(same, Picture)


@pytest.mark.parametrize(("size", "told"), [((1, 1), "1x1"), ((7, 40), "40x7"), ((40, 7), "7x40"), ((8, 8), None)])
def test_too_few_pixels_show_nobody(tmp_path: Path, size: tuple[int, int], told: str | None) -> None:
    path = tmp_path / "small.png"
    save_image(path, noise(*size))
    ((one,),) = read_pictures([(Source(path, str(tmp_path), Named()), digest_of(path))], lambda image: image, 1)
    if told is None:
        assert isinstance(one, Picture)
    else:
        assert str(one) == (
            f"{path} is only {told} pixels; give a larger picture, with 8 or more on each side, or take it away"
        )


def test_the_number_of_threads_stays_as_it_was(sources: list[Source]) -> None:
    before = torch.get_num_threads()
    list(read_pictures([(sources[0], digest_of(sources[0].path))], half, 3))
    assert torch.get_num_threads() == before


def test_digests_of_files_that_are_gone_are_errors(sources: list[Source]) -> None:
    sources[1].path.unlink()
    found = digests(sources)
    assert [digest for digest in found if isinstance(digest, str)] == [
        digest_of(source.path) for source in sources if source is not sources[1]
    ]
    assert isinstance(found[1], DamagedError)


@pytest.mark.parametrize(
    ("size", "small"),
    [
        ((256, 256), (256, 256)),
        ((512, 128), (256, 64)),
        ((100, 512), (50, 256)),
        ((1, 1), (1, 1)),
        ((2000, 400), (256, 51)),
    ],
)
def test_a_thumbnail_is_small_and_looks_alike(size: tuple[int, int], small: tuple[int, int]) -> None:
    image = noise(*size)
    found = decode_image(thumbnail(image), "")
    assert found.shape == (3, *small)
    wanted = torch.nn.functional.interpolate(image[None].float(), small, mode="bilinear", antialias=True)[0]
    assert (found.float() - wanted).abs().mean() < 6


def test_a_small_jpeg_is_its_own_thumbnail_unless_it_tells_more(tmp_path: Path) -> None:
    save_image(tmp_path / "a.jpg", noise(64, 32))
    data, image = (tmp_path / "a.jpg").read_bytes(), read_image(tmp_path / "a.jpg")
    assert thumbnail(image, data) is data
    told = data[:2] + b"\xff\xe1\x00\x0aExif\x00\x00XX" + data[2:]  # where it was taken, by which camera
    assert b"Exif" not in thumbnail(image, told)
    comment, place = b"\xff\xfe\x00\x0asecrets!", b"\xff\xe1\x00\x0bhttp:xmp/"
    for more in (data[:2] + comment + data[2:], data[:2] + place + data[2:], data + b"behind", data[:-2]):
        assert thumbnail(image, more) == thumbnail(image), more
    save_image(tmp_path / "a.png", image)
    assert thumbnail(image, (tmp_path / "a.png").read_bytes())[:2] == b"\xff\xd8"
    large = torch.randint(0, 256, (3, 250, 250), generator=torch.Generator().manual_seed(0)).byte()
    save_image(tmp_path / "b.jpg", large, quality=100)
    assert len(thumbnail(large, (tmp_path / "b.jpg").read_bytes())) < (tmp_path / "b.jpg").stat().st_size / 2


def test_batches_leave_nothing_out() -> None:
    assert list(batches(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(batches([], 3)) == []
