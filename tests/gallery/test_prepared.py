"""Rows kept as they lie in memory: the same answers, of the gallery that is there, and of nothing forgotten."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fixture_types import Run, SmallDisk
from galleries import MODEL, PARTS, facts, filled, people
from halfseen.gallery import loading, mapping, prepared, tables
from halfseen.gallery.chunks import Stored
from halfseen.gallery.leading import Basis, Leading
from halfseen.gallery.loading import prepare, prepared_rows, unprepare
from halfseen.gallery.planes import Planes
from halfseen.gallery.search import Search
from halfseen.gallery.sharded import Part, Share
from halfseen.gallery.sightings import Ask, Sighting
from halfseen.gallery.store import Gallery
from halfseen.types import InputError, Progress

pytest.importorskip("lance", reason="the extra `search` is not installed")

ROWS, LONG = 300, 100


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of 100 rows, written for 40; all numbers lead where nothing else is said."""
    monkeypatch.setattr(loading, "CHUNK", LONG)
    monkeypatch.setattr(loading, "WORTH", 40)
    monkeypatch.setattr(loading, "FITTED", 10)
    monkeypatch.setattr(Basis, "pays", lambda *_: True)


def answers(search: Search) -> list[list[Sighting]]:
    return search.searches([Ask(people([row], seed=9), count=400) for row in range(6)])


def read(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> list[list[Sighting]]:
    """The answers without any file."""
    with monkeypatch.context() as patch:
        patch.setattr(prepared, "files_of", lambda _: iter(()))
        return answers(Search(Gallery.open(gallery.folder)))


def files(gallery: Gallery) -> list[Path]:
    return sorted(Path(gallery.folder, prepared.FOLDER).glob("*"))


def not_read(*_: Any, **__: Any) -> NoReturn:
    raise AssertionError("the gallery was read")


@pytest.mark.parametrize(("leads", "compiled_from"), [(True, 2**15), (True, 0), (False, 2**15)])
def test_what_is_prepared_is_not_read_and_answers_the_same(
    tmp_path: Path, leads: bool, compiled_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Basis, "pays", lambda *_: leads)
    monkeypatch.setattr(Leading, "compiled_from", compiled_from)
    gallery = filled(tmp_path, ROWS)
    wanted = answers(Search(gallery))
    heard: list[tuple[int, int]] = []
    assert prepare(gallery, lambda *how: heard.append(how)) == ROWS == prepared_rows(gallery)
    assert heard == [(100, ROWS), (200, ROWS), (ROWS, ROWS)]
    assert len(files(gallery)) == 3
    assert prepare(gallery) == 0, "all of it is there"
    assert gallery.verify() == []
    with monkeypatch.context() as patch:
        patch.setattr(Gallery, "scan", not_read)
        for memory in (None, 0):
            search = Search(Gallery.open(tmp_path), memory=memory)
            assert [type(each.chunk) for each in search._loaded.held] == [Leading if leads else Planes] * 3
            assert answers(search) == wanted
            assert search.embedding([5, 250])[0] == [5, 250]
        patch.setattr(prepared, "files_of", lambda _: iter(()))
        with pytest.raises(AssertionError, match="the gallery was read"):
            Search(Gallery.open(tmp_path))
    unprepare(gallery)
    assert files(gallery) == []
    assert answers(Search(gallery)) == wanted


def test_what_comes_later_is_read_until_it_is_prepared_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = filled(tmp_path, ROWS)
    prepare(gallery)
    first = [path.stat().st_mtime_ns for path in files(gallery)]
    running = Search(Gallery.open(tmp_path))
    basis = running._loaded.basis
    assert basis is not None
    gallery.add(people([7] * 30), facts(30, ROWS))
    assert prepare(gallery) == 0, "a few are not worth a file"
    for memory in (None, 0):
        assert answers(Search(gallery, memory=memory)) == read(gallery, monkeypatch)
    fresh = Search(gallery)._loaded
    assert fresh.basis is not None
    assert torch.equal(fresh.basis.axes, basis.axes), "those of the files, until there are twice as many"
    gallery.add(people([8] * 90), facts(90, ROWS + 30))
    assert prepare(gallery) == 120
    assert [path.stat().st_mtime_ns for path in files(gallery)[:3]] == first
    assert len(files(gallery)) == 5
    assert all(torch.equal(load_file(path)["axes"], basis.axes) for path in files(gallery))
    assert answers(Search(gallery)) == read(gallery, monkeypatch)
    assert running.refresh()
    assert answers(running) == read(gallery, monkeypatch)


def test_what_is_removed_is_no_answer_and_what_is_forgotten_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = filled(tmp_path, ROWS)
    prepare(gallery)
    running = Search(Gallery.open(tmp_path))
    gallery.remove([3, 4, 120])
    assert len(files(gallery)) == 3
    assert prepared_rows(gallery) == ROWS - 3
    search = Search(gallery)
    assert {3, 4, 120}.isdisjoint(each.id for each in answers(search)[0])
    assert answers(search) == read(gallery, monkeypatch)
    gallery.compact()
    assert [path.name[:16] for path in files(gallery)] == [f"{200:016d}"]
    assert answers(Search(gallery)) == read(gallery, monkeypatch)
    Path(gallery.folder, prepared.FOLDER, ".1234.part").write_bytes(b"broken off")
    gallery.forget(person=[250])
    assert files(gallery) == []
    assert prepare(gallery) == len(gallery)
    assert answers(Search(gallery)) == read(gallery, monkeypatch)
    assert running.refresh()
    assert answers(running) == read(gallery, monkeypatch)
    held = torch.cat([load_file(path)["ids"] for path in files(gallery)])
    assert {3, 4, 120, 250}.isdisjoint(held.tolist())


def test_what_comes_behind_a_removed_end_of_a_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = filled(tmp_path, ROWS)
    prepare(gallery)
    gallery.add(people([7] * 30), facts(30, ROWS))
    gallery.remove([ROWS - 1])
    assert prepared_rows(gallery) == ROWS - 1
    for memory in (None, 0):
        search = Search(gallery, memory=memory)
        assert ROWS in {each.id for each in answers(search)[0]}
        assert answers(search) == read(gallery, monkeypatch)


def test_who_has_not_seen_a_removal_keeps_nothing_of_it(tmp_path: Path) -> None:
    gallery, other = filled(tmp_path, ROWS), Gallery.open(tmp_path)
    prepare(gallery)
    gallery.remove([3])
    other.compact(grace=timedelta(0))
    assert 3 not in torch.cat([load_file(path)["ids"] for path in files(gallery)]).tolist()


def test_what_is_written_is_on_the_disk_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that loses its power must not leave a file of the right name and length that holds something else."""
    gallery, synced, sync = filled(tmp_path, ROWS), list[int](), os.fsync

    def noted(file: int) -> None:
        synced.append(os.fstat(file).st_ino)
        assert os.fstat(file).st_ino not in {path.stat().st_ino for path in files(gallery) if path.suffix != ".part"}
        sync(file)

    monkeypatch.setattr(os, "fsync", noted)
    prepare(gallery)
    assert synced == [path.stat().st_ino for path in files(gallery)]


def test_of_a_file_most_of_which_is_gone_nothing_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gap between two files, too, is read and filled."""
    gallery = filled(tmp_path, ROWS)
    prepare(gallery)
    gallery.remove(range(110, 140))
    assert prepared_rows(gallery) == 200
    assert answers(Search(gallery)) == read(gallery, monkeypatch)
    gallery.compact()
    assert prepare(gallery) == 70
    assert [path.name[:16] for path in files(gallery)] == [f"{first:016d}" for first in (0, 100, 200)]
    assert answers(Search(gallery)) == read(gallery, monkeypatch)


def test_what_goes_while_it_is_prepared_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery, other = filled(tmp_path, ROWS), Gallery.open(tmp_path)
    told = iter([lambda: other.forget(before=150.0)])

    def hears(*_: int) -> None:
        next(told, lambda: None)()

    prepare(gallery, hears)
    held = torch.cat([load_file(path)["ids"] for path in files(gallery)])
    assert {*held.tolist()} <= {*gallery.rows()} == {*other.rows()}
    assert answers(Search(gallery)) == read(gallery, monkeypatch)
    everything = filled(tmp_path / "all", ROWS)
    every = Gallery.open(tmp_path / "all")

    def empties(*_: int) -> None:
        every.remove(range(ROWS))

    assert prepare(everything, empties) == LONG
    assert len(files(everything)) == 1


def test_the_few_that_are_left_of_what_is_being_prepared_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer than are looked at in a whole file."""
    gallery, other = filled(tmp_path, ROWS), Gallery.open(tmp_path)
    assert prepare(gallery, once(lambda: other.remove(range(LONG, 2 * LONG - 3)))) == 2 * LONG + 3
    assert prepared_rows(gallery) == 2 * LONG + 3
    assert answers(Search(gallery)) == read(gallery, monkeypatch)


def test_what_goes_before_it_is_read_leaves_room_that_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the parts of rows that lie part by part: files hold numbers without gaps."""
    monkeypatch.setattr(Basis, "pays", lambda *_: False)
    gallery, other = filled(tmp_path, 5 * LONG), Gallery.open(tmp_path)
    prepare(gallery)
    for path in files(gallery)[::2]:
        path.unlink()
    assert prepare(gallery, once(lambda: other.remove(range(5 * LONG - 10, 5 * LONG)))) == 3 * LONG - 10
    assert prepared_rows(gallery) == len(gallery) == 5 * LONG - 10
    assert answers(Search(gallery)) == read(gallery, monkeypatch)


def test_files_of_another_history_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of an earlier day is put back without the folder of these files, and grows again by other rows."""
    place = tmp_path / "g"
    gallery = filled(place, 150)
    shutil.copytree(place / "images.lance", tmp_path / "copy")
    gallery.add(people([3] * 150, seed=1), facts(150, 150))
    prepare(gallery)
    shutil.rmtree(place / "images.lance")
    (tmp_path / "copy").rename(place / "images.lance")
    gallery = Gallery.open(place)
    gallery.add(people([row % 40 for row in range(150)], seed=2), facts(150, 150))
    assert prepared_rows(gallery) == 100, "the rows that both histories have in whole files"
    assert answers(Search(gallery)) == read(gallery, monkeypatch)
    gallery.compact()
    assert len(files(gallery)) == 1
    prepare(gallery)
    assert answers(Search(gallery)) == read(gallery, monkeypatch)
    shutil.rmtree(place / "images.lance")
    shutil.rmtree(place / "sources.lance")
    gallery = filled(place, ROWS, persons=7)  # another gallery, in the same place
    assert prepared_rows(gallery) == 0
    assert answers(Search(gallery)) == read(gallery, monkeypatch)
    assert prepare(gallery) == ROWS
    assert answers(Search(gallery)) == read(gallery, monkeypatch)


def test_galleries_that_do_not_know_when_rows_were_stored_are_read(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those made by early versions."""
    schema = tables.image_schema(len(PARTS), 16, b"0")
    field = schema.get_field_index("stored")
    monkeypatch.setattr(tables, "image_schema", lambda *words: _noted(schema.remove(field), *words))
    gallery = filled(tmp_path, ROWS)
    assert prepare(gallery) == 0
    assert files(gallery) == []
    code, _, said = run("gallery", "prepare", tmp_path)
    assert code == 2
    assert "cannot be prepared: it is of an early version" in said
    assert len(answers(Search(gallery))[0]) == ROWS


def test_galleries_in_an_object_store_are_not_prepared(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    gallery = Gallery.create(f"file://{tmp_path}/g", MODEL)
    gallery.add(people([1] * 60), facts(60))
    assert prepare(gallery) == 0
    code, _, said = run("gallery", "prepare", gallery.folder)
    assert code == 2
    assert "cannot be prepared: it lies in an object store" in said
    assert [path.name for path in tmp_path.iterdir()] == ["g"]


def _noted(schema: Any, _: int, __: int, note: bytes) -> Any:
    return schema.with_metadata({**schema.metadata, tables.MODEL: note})


def test_shards_take_their_rows_only(tmp_path: Path) -> None:
    gallery = filled(tmp_path, 2500)
    wanted = {row["_rowid"] for row in Part(str(tmp_path), MODEL, Share(1, 2), 2).table([]).to_pylist()}
    prepare(gallery)
    for number, of in ((0, 1), (1, 2)):
        part = Part(str(tmp_path), MODEL, Share(number, of), gallery.state.version)
        found = [int(id) for each in Search(part)._loaded.held for id in each.chunk.ids]
        assert sorted(found) == (sorted(gallery.rows()) if of == 1 else sorted(wanted))


def once(act: Callable[[], object]) -> Progress:
    """To be told of progress: the first time it does that."""
    acts = iter([act])

    def hear(*_: int) -> None:
        next(acts, lambda: None)()

    return hear


def test_two_who_prepare_at_once_double_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = filled(tmp_path, 150)

    def meanwhile() -> None:
        other = Gallery.open(tmp_path)
        other.add(people([3] * 10, seed=4), facts(10, 150))
        prepare(other)

    prepare(gallery, once(meanwhile))
    assert prepared_rows(gallery) == 160
    assert answers(Search(gallery)) == read(gallery, monkeypatch)
    assert len(answers(Search(gallery))[0]) == 160


def test_files_that_overlap_double_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an object that was opened earlier sees them, or a copy that is put back."""
    place = tmp_path / "g"
    gallery = filled(place, ROWS)
    prepare(gallery)
    shutil.copytree(place / "images.lance", tmp_path / "copy")
    old, running = Gallery.open(place), Search(Gallery.open(place))
    gallery.remove(range(100, 130))
    shutil.copytree(place / "prepared", tmp_path / "files")
    prepare(gallery)
    for path in (tmp_path / "files").iterdir():
        shutil.copy(path, place / "prepared")
    for search in (Search(old), running):
        assert len(answers(search)[0]) == ROWS
        assert search.refresh()
        assert answers(search) == read(gallery, monkeypatch)
        assert len(answers(search)[0]) == ROWS - 30
    shutil.rmtree(place / "images.lance")
    (tmp_path / "copy").rename(place / "images.lance")
    assert answers(Search(Gallery.open(place))) == read(Gallery.open(place), monkeypatch)


def test_a_gallery_that_takes_the_place_of_another_is_not_given_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = filled(tmp_path / "g", ROWS)
    other = Gallery.create(tmp_path / "h", MODEL)
    other.add(people([row % 7 for row in range(ROWS)], seed=5), facts(ROWS))

    def meanwhile() -> None:
        shutil.rmtree(tmp_path / "g/images.lance")
        (tmp_path / "h/images.lance").rename(tmp_path / "g/images.lance")

    assert prepare(gallery, once(meanwhile)) == LONG
    there = Gallery.open(tmp_path / "g")
    assert prepared_rows(there) == 0
    assert answers(Search(there)) == read(there, monkeypatch)


def of_two_exports(root: Path) -> Gallery:
    """`g`, which holds the `first` of two exports of one source; `copy` is what it was before."""
    source = filled(root / "s", ROWS + 5)
    source.export(root / "first")
    source.forget(person=[0])
    source.export(root / "second")
    gallery = Gallery.create(root / "g", MODEL)
    shutil.copytree(root / "g", root / "copy")
    gallery.import_(root / "first")
    return gallery


def test_an_import_of_another_export_is_another_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports keep when rows were stored, so ids and times of both are the same."""
    gallery, place = of_two_exports(tmp_path), tmp_path / "g"
    prepare(gallery)
    kept = files(gallery)
    shutil.copytree(place / "prepared", tmp_path / "copy/prepared")
    shutil.rmtree(place)
    (tmp_path / "copy").rename(place)
    gallery = Gallery.open(place)
    gallery.import_(tmp_path / "second")
    assert prepared_rows(gallery) == 0
    assert answers(Search(gallery)) == read(gallery, monkeypatch)
    assert files(gallery) == kept
    gallery.compact()
    assert files(gallery) == [], "one of them holds somebody who was forgotten"
    prepare(gallery)
    assert answers(Search(gallery)) == read(gallery, monkeypatch)


def test_a_file_of_which_nothing_can_be_compared_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The very rows that are looked at were removed: what else is said of the others is not enough."""
    monkeypatch.setattr(mapping, "LOOKED_AT", 5)
    gallery = filled(tmp_path, ROWS)
    prepare(gallery)
    looked_at = load_file(files(gallery)[1])
    gallery.remove(looked_at["ids"][looked_at["look_at"]].tolist())
    assert len(gallery) == ROWS - 5
    assert prepared_rows(gallery) == ROWS - LONG
    assert answers(Search(gallery)) == read(gallery, monkeypatch)


def test_a_running_search_compares_files_anew_where_the_history_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though they are the very files that it has mapped, and ids and times of rows are the same."""
    gallery, place = of_two_exports(tmp_path), tmp_path / "g"
    prepare(gallery)
    running = Search(Gallery.open(place))
    (place / "prepared").rename(tmp_path / "copy/prepared")
    shutil.rmtree(place)
    (tmp_path / "copy").rename(place)
    gallery = Gallery.open(place)
    gallery.import_(tmp_path / "second")
    assert running.refresh()
    assert answers(running) == read(gallery, monkeypatch)


def test_what_was_read_of_another_history_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though ids and times are those of rows that are there."""
    gallery, place = of_two_exports(tmp_path), tmp_path / "g"

    def meanwhile() -> None:
        shutil.rmtree(place / "images.lance")
        (tmp_path / "copy/images.lance").rename(place / "images.lance")
        Gallery.open(place).import_(tmp_path / "second")

    assert prepare(gallery, once(meanwhile)) < LONG, "the first quarter"
    assert len(files(gallery)) == 1
    assert answers(Search(Gallery.open(place))) == read(gallery, monkeypatch)


def test_removed_rows_are_passed_over_where_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is copied for them: there may be no memory for that."""
    gallery = filled(tmp_path, ROWS)
    prepare(gallery)
    running = Search(Gallery.open(tmp_path), memory=0)
    before = [each.chunk for each in running._loaded.held]
    gallery.remove([5, 105, 205])
    assert running.refresh()
    assert all(each.chunk is chunk for each, chunk in zip(running._loaded.held, before, strict=True))
    for search in (running, Search(gallery, memory=0)):
        assert [len(each.chunk) for each in search._loaded.held] == [LONG] * 3
        assert all(each.file for each in search._loaded.held)
        assert answers(search) == read(gallery, monkeypatch)
        assert search.embedding([4, 5, 6])[0] == [4, 6]
        some = Ask(people([1], seed=9), count=400, cameras=frozenset({"gate '1'"}))
        assert {each.id for each in search.search(some)} == set(range(1, ROWS, 4)) - {5, 105, 205}


def test_a_running_search_takes_up_what_is_prepared_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = filled(tmp_path, ROWS)
    for memory in (0, None):
        unprepare(gallery)
        search = Search(Gallery.open(tmp_path), memory=memory)
        assert not any(each.file for each in search._loaded.held)
        prepare(gallery)
        gallery.add(people([4]), facts(1, 400))
        assert search.refresh()
        assert sum(len(each.chunk) for each in search._loaded.held if each.file) >= ROWS
        assert answers(search) == read(gallery, monkeypatch)


def test_whoever_may_read_the_gallery_may_read_its_files(tmp_path: Path) -> None:
    gallery = filled(tmp_path, ROWS)
    (tmp_path / "prepared").mkdir(mode=0o750)
    prepare(gallery)
    assert {path.stat().st_mode & 0o777 for path in files(gallery)} == {0o640}


def test_what_is_not_ours_is_left_and_what_cannot_be_removed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = filled(tmp_path, ROWS)
    prepare(gallery)
    (tmp_path / "prepared/.snapshot").mkdir()
    (tmp_path / "prepared/x.safetensors").mkdir()
    gallery.forget(person=[3])
    assert [path.name for path in files(gallery) if path.is_file()] == [path.name for path in files(gallery)[1:3]]
    stuck, unlink = files(gallery)[1], Path.unlink

    def refused(path: Path, *, missing_ok: bool = False) -> None:
        if path == stuck:
            raise PermissionError(1, "Operation not permitted")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(InputError, match=r"could not be removed .*, and may hold what was forgotten; remove it"):
        gallery.forget(before=1000.0)
    assert len(gallery) < ROWS / 2
    assert [path for path in files(gallery) if path.is_file()] == [stuck]
    images = tables.lance().dataset(str(tmp_path / "images.lance"))
    assert len(images.versions()) == 1, "of all else nothing is left"
    assert all(not fragment.deletion_file() for fragment in images.get_fragments())


def test_what_was_broken_off_is_cleared_by_the_next(tmp_path: Path) -> None:
    gallery = filled(tmp_path, ROWS)
    prepare(gallery)
    kept = files(gallery)
    for name in (".1234.part", ".tmp99", f"{7:016d}-{9:016d}.safetensors"):
        (tmp_path / "prepared" / name).write_bytes(b"people")
    assert prepare(gallery) == 0
    assert files(gallery) == kept


def test_forgetting_makes_room_first(tmp_path: Path, small_disk: SmallDisk) -> None:
    """Compaction wants room on the disk, and what was prepared is as large as the gallery."""
    gallery = filled(tmp_path, ROWS)
    prepare(gallery)
    with small_disk(3_000), pytest.raises(InputError, match="make room"):
        gallery.forget(before=50.0)
    held = [row for path in files(gallery) for row in load_file(path)["ids"].tolist()]
    assert {*held} <= {*Gallery.open(tmp_path).rows()}


def test_compaction_by_another_is_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = Gallery.create(tmp_path, MODEL)
    for first in range(0, 800, 10):
        gallery.add(people([row % 40 for row in range(first, first + 10)], seed=first), facts(10, first))
    prepare(gallery, once(lambda: Gallery.open(tmp_path).forget(person=[705])))
    assert prepared_rows(gallery) == len(gallery) == 795
    assert answers(Search(gallery)) == read(gallery, monkeypatch)


def test_columns_of_other_lengths_are_passed_over(harmed: tuple[Gallery, Path]) -> None:
    gallery, path = harmed
    with safe_open(path, "pt") as file:
        about, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name in ("stored", "ids", "step", "axes"):
        path.unlink()
        save_file(
            {each: value[: len(value) // 2] if each == name else value for each, value in tensors.items()}, path, about
        )
        assert prepared_rows(gallery) == ROWS - LONG, name
        assert len(answers(Search(gallery))[0]) == ROWS
        if name in ("stored", "ids"):
            gallery.compact()
            assert not path.exists()
            path.touch()


@pytest.mark.parametrize("name", ["ids", "stored", "look_at", "whole"])
def test_files_without_a_column_are_passed_over(harmed: tuple[Gallery, Path], name: str) -> None:
    """And are no hindrance to who forgets somebody."""
    gallery, path = harmed
    with safe_open(path, "pt") as file:
        about, tensors = file.metadata(), {each: file.get_tensor(each) for each in file.keys()}  # noqa: SIM118
    path.unlink()
    save_file({each: value for each, value in tensors.items() if each != name}, path, about)
    assert prepared_rows(gallery) == ROWS - LONG
    assert len(answers(Search(gallery))[0]) == ROWS
    assert gallery.forget(person=[3]) == 5
    assert (path in files(gallery)) == (name == "whole"), "what holds nobody who was forgotten may stay"


@pytest.mark.parametrize("name", ["whole", "step"])
def test_columns_of_another_type_are_passed_over(harmed: tuple[Gallery, Path], name: str) -> None:
    gallery, path = harmed
    with safe_open(path, "pt") as file:
        about, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    path.unlink()
    save_file({**tensors, name: tensors[name].double()}, path, about)
    assert prepared_rows(gallery) == ROWS - LONG
    assert len(answers(Search(gallery))[0]) == ROWS


def test_a_file_in_the_folders_place_is_told(tmp_path: Path) -> None:
    gallery = filled(tmp_path, ROWS)
    (tmp_path / "prepared").write_text("mine")
    with pytest.raises(InputError, match=r"prepared cannot be written .*; make room there, or leave it: searches read"):
        prepare(gallery)
    assert len(answers(Search(gallery))[0]) == ROWS


@pytest.fixture
def harmed(tmp_path: Path) -> tuple[Gallery, Path]:
    gallery = filled(tmp_path, ROWS)
    prepare(gallery)
    return gallery, files(gallery)[1]


def test_a_file_that_was_cut_is_passed_over(harmed: tuple[Gallery, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    gallery, path = harmed
    wanted = read(gallery, monkeypatch)
    for length in (path.stat().st_size - 1, 1000, 3, 0):
        path.write_bytes(path.read_bytes()[:length])
        assert answers(Search(gallery)) == wanted
        (told,) = gallery.verify()
        assert "cannot be read" in told
        assert told.endswith("delete it, and `halfseen gallery prepare` makes it anew")
        assert "\n" not in told
    assert prepare(gallery) == LONG
    assert gallery.verify() == []


def test_verify_tells_of_a_byte_that_has_changed(harmed: tuple[Gallery, Path]) -> None:
    gallery, path = harmed
    content = bytearray(path.read_bytes())
    content[-5] ^= 4
    path.write_bytes(content)
    assert gallery.verify() == [f"{path} has changed; delete it, and `halfseen gallery prepare` makes it anew"]
    path.unlink()
    assert gallery.verify() == []


def test_a_header_of_another_kind_is_passed_over(harmed: tuple[Gallery, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    gallery, path = harmed
    for word, other in ((b'"layout":"1"', b'"layout":"0"'), (b'"leading"', b'"leaping"')):
        content = path.read_bytes()
        assert content.count(word) == 1
        path.write_bytes(content.replace(word, other))
        assert prepared_rows(gallery) == ROWS - LONG
        assert answers(Search(gallery)) == read(gallery, monkeypatch)
        path.write_bytes(content)


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, small_disk: SmallDisk) -> None:
    gallery = filled(tmp_path, ROWS)
    prepare(gallery)
    size = files(gallery)[0].stat().st_size
    unprepare(gallery)
    for room in (0, 2_000, size - 1):
        with small_disk(room), pytest.raises(InputError, match="make room"):
            prepare(gallery)
        assert files(gallery) == []
    assert prepare(gallery) == ROWS


def test_what_has_no_room_is_not_begun(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, ROWS)
    wanted = ROWS * Leading.row_bytes(len(PARTS), 16)
    for free, code in ((9, 2), (wanted - 1, 2), (wanted, 0)):
        usage = shutil._ntuple_diskusage(10**9, 10**9 - free, free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _, usage=usage: usage)
        found, _, said = run("gallery", "prepare", tmp_path)
        assert (found, "make room, or leave it" in said) == (code, bool(code))


def test_the_verbs(tmp_path: Path, run: Run) -> None:
    filled(tmp_path, ROWS + 30)
    code, said, _ = run("gallery", "prepare", tmp_path)
    assert code == 0
    assert f"{ROWS + 30} sightings are prepared for search" in said
    filled_later = Gallery.open(tmp_path)
    filled_later.add(people([1] * 20), facts(20, 400))
    code, said, _ = run("gallery", "prepare", tmp_path)
    assert "330 sightings are prepared for search; 20 are read, as fewer than 40 in a row are not worth it" in said
    assert "330 prepared for search" in run("gallery", "info", tmp_path)[1]
    assert json.loads(run("gallery", "info", tmp_path, "--json")[1])["prepared"] == 330
    assert "nothing is prepared any more" in run("gallery", "prepare", tmp_path, "--undo")[1]
    assert files(filled_later) == []
    assert "prepared" not in run("gallery", "info", tmp_path)[1]
    assert run("gallery", "prepare", tmp_path / "none")[0] == 2


def test_the_meaning_of_what_is_kept() -> None:
    """Who changes what a chunk holds, or what it means, raises `LAYOUT`, and this with it."""
    found = {kind.__name__: [field.name for field in fields(kind)] for kind in (Leading, Planes, Basis)}
    assert (prepared.LAYOUT, found) == (
        "1",
        {
            "Leading": ["ids", "whole", "lead", "step", "sides", "length", "basis"],
            "Planes": ["ids", "high", "low", "step", "length", "pull", "sides"],
            "Basis": ["axes", "centre"],
        },
    )


def test_the_numbers_that_are_kept() -> None:
    """A chunk of today's is one of tomorrow's, or `LAYOUT` is raised, and these numbers with it."""
    made = people([row % 5 for row in range(60)])
    rows = Stored(torch.arange(60), tables.on_grid(made), made.visibility)
    led, split = Leading.of(rows, Basis.of(made)), Planes.of(rows)
    found = {
        name: float((getattr(chunk, name).double().abs() + 1).log().sum())
        for chunk, names in ((led, ("whole", "lead", "step", "sides", "length")), (split, ("high", "low", "pull")))
        for name in names
    }
    wanted = {"whole": 23458, "lead": 8410, "step": 0.2324, "sides": 133.4, "length": 1862}
    wanted |= {"high": 10035, "low": 9075, "pull": 0.4709}
    assert found == pytest.approx(wanted, rel=1e-2)


def test_who_may_not_look_into_the_folder_reads_the_gallery(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = filled(tmp_path, ROWS)
    wanted = answers(Search(gallery))
    prepare(gallery)

    look = os.scandir

    def refused(folder: Any = ".") -> Any:
        if Path(folder).name == prepared.FOLDER:
            raise PermissionError(13, "Permission denied")
        return look(folder)

    monkeypatch.setattr(os, "scandir", refused)
    assert answers(Search(gallery)) == wanted
    for verb in ("compact", "verify"):
        code, said, err = run("gallery", verb, tmp_path)
        assert code in (1, 2)
        assert "prepared cannot be read (Permission denied)" in said + err


def test_where_nothing_can_be_mapped_the_gallery_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = filled(tmp_path, ROWS)
    wanted = answers(Search(gallery))
    prepare(gallery)

    def full(*_: object) -> NoReturn:
        raise RuntimeError("unable to mmap 150 bytes: Cannot allocate memory (12)")

    monkeypatch.setattr(prepared, "safe_open", full)
    assert answers(Search(gallery)) == wanted
    assert len(gallery.verify()) == 3
    assert gallery.forget(person=[3]) == 5
    assert files(gallery) == []


def test_trouble_with_the_gallery_is_none_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = filled(tmp_path, ROWS)
    prepare(gallery)
    kept = files(gallery)

    def damaged(*_: object) -> NoReturn:
        raise InputError("its files are damaged")

    with monkeypatch.context() as patch:
        patch.setattr(Gallery, "embedding", damaged)
        with pytest.raises(InputError, match="its files are damaged"):
            prepare(gallery)
    assert files(gallery) == kept


def test_a_copied_folder_takes_it_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = filled(tmp_path / "g", ROWS)
    prepare(gallery)
    shutil.copytree(tmp_path / "g", tmp_path / "h")
    os.rename(tmp_path / "g", tmp_path / "i")  # noqa: PTH104
    for place in ("h", "i"):
        with monkeypatch.context() as patch:
            patch.setattr(Gallery, "scan", not_read)
            assert len(answers(Search(Gallery.open(tmp_path / place)))[0]) == ROWS
    other = Gallery.open(tmp_path / "h")
    other.compact(grace=timedelta(0))
    assert prepared_rows(other) == ROWS
