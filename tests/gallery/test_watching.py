"""Folders that grow."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lance", reason="galleries need pylance: pip install 'halfseen[search]'")

from halfseen.data.images import save_image
from halfseen.gallery.indexing import index as indexing
from halfseen.gallery.indexing import pictures, watching
from halfseen.gallery.indexing.index import Report, Settings
from halfseen.gallery.indexing.model import Model, open_model
from halfseen.gallery.indexing.patterns import Named, Pattern
from halfseen.gallery.indexing.sources import Source
from halfseen.gallery.indexing.watching import PAUSE, Files, watch
from halfseen.gallery.store import Gallery
from halfseen.types import InputError
from passers import RED, Days, Ended, Walker, find, save_film
from served import person, save_tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return open_model(save_tiny(tmp_path_factory.mktemp("model") / "tiny.safetensors"), "cpu")


def watched(
    folder: Path,
    model: Model,
    events: Sequence[Callable[[], object] | None],
    monkeypatch: pytest.MonkeyPatch,
    **how: Any,
) -> tuple[list[Report], Gallery]:
    gallery = Gallery.create(folder.with_name("g"), model.facts)
    reports: list[Report] = []
    with monkeypatch.context() as patch:
        patch.setattr(watching, "time", Days(events))
        patch.setattr(indexing, "load_detector", lambda *_: find)
        with pytest.raises(Ended):
            watch([folder], gallery, model, Settings(**how), reports.append)
    return reports, gallery


def test_what_comes_is_indexed_once_it_is_quiet(tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    save_image(folder / "a.png", person(0, 0))

    def new() -> None:
        save_image(folder / "b.png", person(1, 0))

    def growing(size: int) -> Callable[[], object]:
        return lambda: (folder / "c.png").write_bytes(b"x" * size)  # somebody is still writing

    def whole() -> None:
        save_image(folder / "c.png", person(2, 0))

    events = [None, new, growing(10), growing(20), growing(30), whole, None, None, None]
    reports, gallery = watched(folder, model, events, monkeypatch)
    assert [report.added for report in reports] == [1, 1, 1]
    assert [report.faults for report in reports] == [[], [], []]
    assert len(gallery) == 3


def test_a_file_that_changes_without_growing_is_taken_again(tmp_path: Path) -> None:
    path, files = tmp_path / "a.png", Files()
    path.write_bytes(b"one")
    source = Source(path, str(tmp_path), Named())
    for moment in (0.0, 10.0):
        os.utime(path, (moment, moment))
        assert [files.ready([source], moment + wait) for wait in (0.0, 2.0, 4.0)] == [[], [source], []]


def test_a_film_must_be_quiet_for_longer(tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    save_film(folder / "street.avi", [Walker(RED, 0, 3, 10, 20)], 4)
    rounds = round(watching.QUIET[True] / PAUSE)
    reports, _ = watched(folder, model, [None] * (rounds - 1), monkeypatch)
    assert reports == []
    (tmp_path / "g").rename(tmp_path / "before")
    reports, gallery = watched(folder, model, [None] * (rounds + 3), monkeypatch)
    assert [(report.films, report.passages) for report in reports] == [(1, 1)]
    assert len(gallery) >= 1


def test_a_folder_may_be_away_for_a_moment(tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, away = tmp_path / "set", tmp_path / "away"
    with pytest.raises(InputError, match="set"):  # not so in the beginning
        watch([folder], Gallery.create(tmp_path / "none", model.facts), model, Settings(), print)
    folder.mkdir()
    save_image(folder / "a.png", person(0, 0))
    told: list[str] = []

    def back() -> None:
        away.rename(folder)
        save_image(folder / "b.png", person(1, 0))

    events = [None, None, lambda: folder.rename(away), None, None, back, None, None, None]
    reports, gallery = watched(folder, model, events, monkeypatch, say=told.append)
    assert [report.added for report in reports] == [1, 1]
    assert len(told) == 1
    assert str(folder) in told[0]
    assert len(gallery) == 2


def test_columns_that_are_not_read_are_told_once(tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, notes = tmp_path / "set", list[str]()
    folder.mkdir()
    save_image(folder / "a.png", person(0, 0))
    table = folder / "list.csv"
    table.write_text("path,cam\na.png,gate\n")

    def more() -> None:
        save_image(folder / "b.png", person(1, 0))
        table.write_text("path,cam\na.png,gate\nb.png,gate\n")

    reports, _ = watched(table, model, [None, None, more, None, None], monkeypatch, note=notes.append)
    assert [report.added for report in reports] == [1, 1]
    assert [note.partition(";")[0] for note in notes] == [f"{table}: columns that are not read: 'cam'"]


def test_a_fault_is_told_once_and_a_mended_file_is_taken(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "gate_1.png").write_bytes(b"broken")
    save_image(folder / "hall.png", person(0, 0))
    told: list[str] = []

    def mend() -> None:
        save_image(folder / "gate_1.png", person(1, 0))

    def go() -> None:
        (folder / "gate_1.png").unlink()

    events = [None, None, None, mend, None, None, go, None]
    reports, gallery = watched(
        folder, model, events, monkeypatch, say=told.append, patterns=(Pattern("{camera}_*.png"),)
    )
    assert [sentence.partition(";")[0] for sentence in told] == [
        f"no --pattern fits 1 file, such as {folder / 'hall.png'}",
        f"{folder / 'gate_1.png'} is not a picture in a known format",
    ]
    assert [(report.added, len(report.faults)) for report in reports] == [(0, 1), (0, 1), (1, 0)]
    assert [fact.camera for fact in gallery.rows().values()] == ["gate"]


def test_what_could_not_be_read_or_stored_is_tried_again(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, told = tmp_path / "set", list[str]()
    folder.mkdir()
    for number, name in enumerate(("read.png", "stored.png")):
        save_image(folder / name, person(number, 0))
    troubles, store = {"reading", "storing"}, Gallery.add

    def reading(path: Path) -> bytes:
        if path.name == "read.png" and "reading" in troubles:
            raise InputError("read.png cannot be read")
        return path.read_bytes()

    def storing(self: Gallery, *of: Any) -> list[int]:
        if "storing" in troubles:
            raise InputError("another process has been writing")
        return store(self, *of)

    monkeypatch.setattr(pictures, "read_bytes", reading)
    monkeypatch.setattr(Gallery, "add", storing)
    rounds = round(watching.AGAIN / PAUSE) + 2
    events: list[Callable[[], object] | None] = [None] * (5 * rounds)
    events[2 * rounds], events[4 * rounds] = lambda: troubles.remove("storing"), troubles.clear
    reports, gallery = watched(folder, model, events, monkeypatch, say=told.append)
    assert told == ["read.png cannot be read", "another process has been writing"]
    assert [report.added for report in reports if report.added] == [1, 1]
    assert len(reports) < 5
    assert [Path(fact.image).name for fact in gallery.rows().values()] == ["stored.png", "read.png"]
