"""Films: looked at in even steps, and one sentence for each that is damaged."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from halfseen.gallery.indexing import films
from halfseen.gallery.indexing.detectors import People
from halfseen.gallery.indexing.films import passages
from halfseen.gallery.indexing.sources import DamagedError
from halfseen.gallery.indexing.tracks import Crop
from halfseen.gallery.indexing.video import duration, looks
from halfseen.types import InputError
from passers import BLUE, GREEN, RED, SIZE, Walker, find, frame, save_film

WALKERS = [Walker(RED, 1, 5, 10, 20), Walker(BLUE, 7, 11, 120, -20), Walker(GREEN, 13, 17, 10, 20)]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_film(tmp_path_factory.mktemp("films") / "street.avi", WALKERS, 18)


@pytest.mark.parametrize(("every", "count"), [(0.1, 180), (0.3, 60), (0.25, 72), (1.0, 18), (0.04, 180), (7.0, 3)])
def test_a_film_is_looked_at_as_often_as_asked(film: Path, every: float, count: int) -> None:
    moments = [look.moment for look in looks(film, every)]
    assert len(moments) == count
    for number, moment in enumerate(moments):
        assert abs(moment - number * max(every, 0.1)) <= 0.051


def test_a_look_shows_the_frame_of_its_moment(film: Path) -> None:
    for look in looks(film, 2.5):
        image = look.fetch()
        assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, *SIZE))
        wanted = frame(WALKERS, look.moment)
        assert (image.float() - wanted.float()).abs().mean() < 2  # RGB, not BGR; the right second
        assert image.permute(1, 2, 0).is_contiguous()


def test_the_duration_is_what_the_film_says(film: Path) -> None:
    assert duration(film) == pytest.approx(18)


@pytest.mark.parametrize("content", [b"", b"no film at all" * 100])
def test_what_is_no_film_is_one_sentence(tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("cv2")
    (tmp_path / "x.avi").write_bytes(content)
    for read in (duration, lambda path: list(looks(path, 1))):
        with pytest.raises(DamagedError, match=r"x.avi cannot be opened as a film; check it with a player"):
            read(tmp_path / "x.avi")
    with pytest.raises(DamagedError, match=r"gone\.avi does not exist"):
        duration(tmp_path / "gone.avi")
    assert capfd.readouterr() == ("", "")


def test_a_film_that_is_cut_short_is_looked_at_until_there(film: Path, tmp_path: Path) -> None:
    data = film.read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) // 2])
    found: list[float] = []
    with pytest.raises(DamagedError, match=r"cut.avi ends at 00:00:0\d(\.\d)? of 00:00:18: it is cut short"):
        found.extend(look.moment for look in looks(tmp_path / "cut.avi", 1.0))
    assert 6 <= len(found) <= 11


def test_without_opencv_one_sentence_says_what_to_install(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "cv2")
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **options: Any) -> object:
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file")
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InputError, match=r"films need OpenCV \(libGL.*pip install 'halfseen\[search\]'"):
        duration(film)


def all_of(path: Path, **options: Any) -> list[tuple[int, list[list[Crop]]]]:
    return list(passages(path, find, **options))


def test_each_who_passes_is_a_passage(film: Path) -> None:
    seen: list[tuple[int, int]] = []
    ((stretch, found),) = all_of(film, count=3, progress=lambda *now: seen.append(now))
    assert stretch == 0
    assert len(found) == 3
    for crops, walker in zip(found, WALKERS, strict=True):
        assert 1 <= len(crops) <= 3
        for crop in crops:
            assert walker.begin <= crop.moment < walker.end
            assert crop.box == pytest.approx(walker.box(crop.moment), abs=2)
            assert (crop.image.float().mean((1, 2)) - torch.tensor(walker.colour)).abs().max() < 25
    assert seen[-1] == (18, 18)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_film_is_cut_into_stretches_that_do_not_depend_on_each_other(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(films, "STRETCH", 6)
    every = all_of(film)
    assert [(stretch, len(found)) for stretch, found in every] == [(0, 1), (1, 1), (2, 1)]
    asked: list[int] = []

    def known(stretch: int) -> bool:
        asked.append(stretch)
        return stretch == 1

    some = all_of(film, known=known)
    assert asked == [0, 1, 2]
    assert [stretch for stretch, _ in some] == [0, 2]
    for (_, found), (_, wanted) in zip(some, [every[0], every[2]], strict=True):
        assert [[crop.box for crop in crops] for crops in found] == [[crop.box for crop in crops] for crops in wanted]


def test_of_a_known_stretch_nothing_is_decoded(film: Path) -> None:
    def refuse(_: torch.Tensor) -> Any:
        raise AssertionError("looked at")

    assert list(passages(film, refuse, known=lambda _: True)) == []


def test_what_passes_before_the_cut_is_found_and_then_comes_the_fault(film: Path, tmp_path: Path) -> None:
    data = film.read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) * 2 // 5])
    found: list[tuple[int, list[list[Crop]]]] = []
    with pytest.raises(DamagedError, match="cut short"):
        found.extend(passages(tmp_path / "cut.avi", find))
    assert [(stretch, len(crops)) for stretch, crops in found] == [(0, 1)]


def test_a_film_without_anybody_has_a_stretch_without_passages(tmp_path: Path) -> None:
    assert all_of(save_film(tmp_path / "empty.avi", [], 2)) == [(0, [])]


def test_a_film_without_a_frame_has_none(film: Path, tmp_path: Path) -> None:
    (tmp_path / "header.avi").write_bytes(film.read_bytes()[:3000])
    found: Callable[[], object] = lambda: all_of(tmp_path / "header.avi")  # noqa: E731
    with pytest.raises(DamagedError):
        found()


def looked(moments: list[float], length: float, monkeypatch: pytest.MonkeyPatch) -> tuple[list[int], list[Any]]:
    """The stretches of a film with frames at these moments that says to be so long, and the progress that was told."""
    frame, nobody = torch.zeros(3, 8, 4, dtype=torch.uint8), People(torch.zeros(0, 4), torch.zeros(0))
    frames = [SimpleNamespace(moment=moment, fetch=lambda: frame) for moment in moments]
    monkeypatch.setattr(films, "looks", lambda *_: (look for look in frames))
    monkeypatch.setattr(films, "duration", lambda _: length)
    told: list[Any] = []
    found = passages(Path("f.mp4"), lambda _: nobody, progress=lambda *now: told.append(now))
    return [number for number, _ in found], told


def test_a_gap_between_frames_leaves_out_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looked([0.0, 10.0, 1000.0, 1001.0], 1001.0, monkeypatch)[0] == [0, 3]
    assert looked([0.0, 299.9, 300.0], 300.0, monkeypatch)[0] == [0, 1]


def test_a_film_longer_than_it_says_does_not_go_beyond_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looked([0.0, 4.0, 9.0], 5.0, monkeypatch)[1] == [(0, 5), (4, 5), (9, 9)]
