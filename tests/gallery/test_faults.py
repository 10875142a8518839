"""What goes wrong around a gallery: full disks, damaged files, writers and readers at the same time."""

from __future__ import annotations

import random
import shutil
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from fixture_types import Run, SmallDisk
from galleries import MODEL, facts, filled, people
from halfseen.gallery import tables
from halfseen.gallery.search import Search
from halfseen.gallery.sightings import Ask
from halfseen.gallery.store import Gallery
from halfseen.gallery.troubles import guarded
from halfseen.types import InputError

pytest.importorskip("lance", reason="the extra `search` is not installed")


def test_a_full_disk_keeps_nothing_of_an_addition(tmp_path: Path, small_disk: SmallDisk) -> None:
    gallery = filled(tmp_path, 20)
    before = gallery.rows()
    for size in (0, 100, 3_000, 30_000):
        with small_disk(size), pytest.raises(InputError, match=r"nothing of it was kept; make room") as told:
            gallery.add(people([1] * 2_000), facts(2_000))
        assert len(str(told.value)) < 400
        assert Gallery.open(tmp_path).rows() == before
    assert gallery.verify() == []
    assert len(gallery.add(people([1] * 2_000), facts(2_000))) == 2_000
    gallery.compact(grace=timedelta(0))
    assert len(list((tmp_path / "images.lance/data").iterdir())) == 1  # what was begun is gone too


def test_a_disk_that_is_full_at_the_last_byte(tmp_path: Path, small_disk: SmallDisk) -> None:
    """Lance does not hear of what it wrote last: without a look at the files, what it confirms is cut short."""
    calls: dict[str, Callable[[Gallery], object]] = {
        "add": lambda gallery: gallery.add(people([*range(40)]), facts(40)),
        "compact": lambda gallery: gallery.compact(grace=timedelta(0)),
        "forget": lambda gallery: gallery.forget(before=10.0),
    }
    for name, call in calls.items():
        for missing in (1, 100, 1_500):
            gallery, twin = (filled(tmp_path / f"{name} {missing} {kind}", 19) for kind in "ab")
            for each in (gallery, twin):
                each.add(people([1]), facts(1))
            before = {path.name for path in Path(twin.folder).rglob("*.lance")}
            call(twin)
            largest = max(p.stat().st_size for p in Path(twin.folder).rglob("*.lance") if p.name not in before)
            with small_disk(largest - missing), pytest.raises(InputError, match="make room"):
                call(gallery)
            again = Gallery.open(gallery.folder)
            assert again.verify() == []
            assert len(again) == (20 if name != "forget" else 10)
            call(gallery)
            assert gallery.verify() == []
            assert len(gallery) == len(twin)


def test_a_full_disk_keeps_what_was_to_be_removed(tmp_path: Path, small_disk: SmallDisk) -> None:
    gallery = filled(tmp_path, 19)
    gallery.add(people([1]), facts(1))
    for call in (lambda: gallery.remove([1]), gallery.compact, lambda: gallery.keep_note("a", "b" * 9_000)):
        with small_disk(0), pytest.raises(InputError, match="make room"):
            call()
    assert len(Gallery.open(tmp_path)) == 20
    with small_disk(2_500), pytest.raises(InputError, match="make room"):
        gallery.forget(before=10.0)  # a note of what is gone finds room, and the files without it do not
    assert gallery.forget(before=10.0) == 0
    assert not any(b"thumbnail <8>" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    with small_disk(0), pytest.raises(InputError, match="make room"):
        Gallery.create(tmp_path / "another", MODEL)


@pytest.mark.parametrize("harms", [16, pytest.param(400, marks=pytest.mark.slow)])
def test_damaged_files_are_told_in_one_sentence(tmp_path: Path, harms: int) -> None:
    gallery = filled(tmp_path / "g", 60)
    gallery.remove([3, 30])
    gallery.add(people([1]), facts(1))
    gallery.keep_note("calibration", None)
    names = sorted(path.relative_to(tmp_path / "g") for path in (tmp_path / "g").rglob("*") if path.is_file())
    dice, told = random.Random(0), []
    for number in range(harms):
        shutil.rmtree(tmp_path / "h", ignore_errors=True)
        shutil.copytree(tmp_path / "g", tmp_path / "h")
        harm = (_cut(dice), _emptied, _spoilt(dice), Path.unlink)[number % 4]
        name = dice.choice(names)
        harm(tmp_path / "h" / name)
        troubles = _troubles(tmp_path / "h")
        assert troubles or number % 4 == 2 or not {"data", "_deletions"} & {*name.parts}, f"nothing told of {name}"
        told += troubles
    assert len(told) > harms // 4
    for sentence in told:
        assert len(sentence) < 400
        assert "\n" not in sentence
        assert "restore it from an export" in sentence or "make one by" in sentence or "remove it" in sentence


def _troubles(folder: Path) -> list[str]:
    """What everything that reads a gallery says."""
    told: list[str] = []
    calls: list[Callable[[], object]] = [
        lambda: told.extend(Gallery.open(folder).verify()),
        lambda: Search(Gallery.open(folder)).search(Ask(people([1]))),
        lambda: Search(Gallery.open(folder), memory=0).search(Ask(people([1]))),
        lambda: Gallery.open(folder).known(["a"]),
        lambda: Gallery.open(folder).add(people([1]), facts(1)),
    ]
    for call in calls:
        try:
            call()
        except InputError as error:
            told.append(str(error))
    return told


def _cut(dice: random.Random) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        path.write_bytes(path.read_bytes()[: dice.randrange(path.stat().st_size or 1)])

    return harm


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _spoilt(dice: random.Random) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        content = bytearray(path.read_bytes())
        for _ in range(min(4, len(content))):
            content[dice.randrange(len(content))] ^= dice.randrange(1, 256)
        path.write_bytes(content)

    return harm


def test_a_writer_waits_and_then_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fcntl", reason="Unix only")
    gallery = filled(tmp_path, 2)
    monkeypatch.setattr(tables, "PATIENCE", 0.1)
    with (
        tables.locked(str(tmp_path)),
        pytest.raises(InputError, match=r"another process has been writing to the gallery .*; wait until it is done"),
    ):
        gallery.add(people([1]), facts(1))
    assert len(gallery.add(people([1]), facts(1))) == 1


def test_readers_go_on_while_the_gallery_is_compacted(tmp_path: Path) -> None:
    gallery = filled(tmp_path, 100)
    errors: list[BaseException] = []
    stop = threading.Event()
    readers = [Gallery.open(tmp_path), Search(Gallery.open(tmp_path), memory=0), Search(Gallery.open(tmp_path))]

    def read(reader: Gallery | Search) -> None:
        ask = Ask(people([50]), count=100, rerank=True)
        while not stop.is_set():
            try:
                if isinstance(reader, Search):
                    assert {sighting.id for sighting in reader.search(ask)} <= {*range(200)}
                    reader.refresh()
                else:
                    assert reader.rows([50]).keys() == {50}
                    reader.embedding([50, 51])
            except BaseException as error:
                errors.append(error)
                return

    threads = [threading.Thread(target=read, args=(reader,)) for reader in readers]
    for thread in threads:
        thread.start()
    for number in range(100, 112):
        gallery.add(people([1]), facts(1, number))
        gallery.remove([number - 100])
        gallery.compact(grace=timedelta(0))
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []


def test_what_is_compacted_stays_readable_for_a_while(tmp_path: Path) -> None:
    gallery = filled(tmp_path, 20)
    gallery.remove([1])
    old = Gallery.open(tmp_path)
    gallery.compact()
    assert sum(len(batch) for batch in old.scan(["image"], 10)) == 19
    assert old.verify() == []


def test_an_old_view_of_what_was_compacted(tmp_path: Path) -> None:
    gallery = filled(tmp_path, 20)
    gallery.remove([1])
    old = Gallery.open(tmp_path)
    gallery.compact(grace=timedelta(0))
    with pytest.raises(InputError, match=r"files of it are gone, by a compaction or by hand; open it again"):
        list(old.scan(["image"], 10))
    assert len(old.rows()) == 19  # this looks again by itself


def test_to_verify_while_another_forgets_is_no_fault(tmp_path: Path) -> None:
    gallery = filled(tmp_path, 20)
    old = Gallery.open(tmp_path)
    gallery.forget(person=[1])
    assert old.verify() == []


@pytest.mark.parametrize(
    ("said", "do"),
    [
        (PermissionError(13, "Permission denied"), "make it yours"),
        (OSError("LanceError(IO): Read-only file system (os error 30), /src/x.rs"), "make it yours"),
        (OSError(24, "Too many open files"), "ulimit -n"),
        (OSError("LanceError(IO): what is this"), "restore it from an export"),
    ],
)
def test_what_is_no_damage_is_not_called_so(said: OSError, do: str) -> None:
    with pytest.raises(InputError, match=do) as told, guarded("g", "writing to"):
        raise said
    assert ("damaged, or" in str(told.value)) == ("export" in do)


def test_an_image_with_a_moment_that_is_none_can_be_forgotten(tmp_path: Path, run: Run) -> None:
    gallery = filled(tmp_path / "g", 4)
    with gallery._writing() as images:
        images.update({"time": "CAST('NaN' AS DOUBLE)"}, where="_rowid = 2")
    code, out, _ = run("gallery", "verify", tmp_path / "g")
    assert code == 1
    assert "--person 2" in out
    assert run("gallery", "info", tmp_path / "g")[0] == 0
    assert run("gallery", "forget", tmp_path / "g", "--person", 2)[0] == 0
    assert run("gallery", "verify", tmp_path / "g")[0] == 0


def test_a_name_that_the_system_cannot_read_is_one_sentence(tmp_path: Path) -> None:
    gallery = filled(tmp_path, 4)
    with pytest.raises(InputError, match="is not UTF-8"):
        gallery.forget(source="/films/\udcff.avi")
    assert len(gallery) == 4


@pytest.mark.parametrize("name", ["cam:1", "~", "file:x", "s3:x"])
def test_a_name_that_looks_like_an_address_is_one_of_a_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    filled(Path(name), 4)
    assert len(Gallery.open(name)) == 4
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_without_the_extra_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lance", None)
    with pytest.raises(InputError, match=r"pip install 'halfseen\[search\]'"):
        Gallery.create(tmp_path, MODEL)
