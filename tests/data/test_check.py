"""The checker: one test per kind of fault, its counts and notes, and how it stops."""

from __future__ import annotations

import io
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import halfseen.data.check as check_module
from halfseen.data.check import Fault, Tally, check
from halfseen.data.images import MAX_BYTES
from halfseen.data.sets import SETS, left_out, read_set
from halfseen.types import InputError, KeepTop, Sample, Splits

Plant = Callable[[Iterable[str]], Path]

NAMES = (
    "bounding_box_train/0001_c1s1_1.png",
    "bounding_box_train/0001_c2s1_1.jpg",
    "query/0002_c1s1_1.png",
    "bounding_box_test/0000_c3s1_1.png",
    "bounding_box_test/0002_c2s1_1.png",
)


@pytest.fixture
def market(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small Market-1501 without any fault or note."""
    torch.set_num_threads(1)
    counts = {"": {"train": (1, 2), "query": (1, 1), "gallery": (1, 2)}}
    monkeypatch.setitem(SETS, "market1501", replace(SETS["market1501"], expected=counts))
    return plant(NAMES)


def faults(root: Path, name: str = "market1501") -> list[tuple[str, str, str]]:
    report = check(read_set(name, root), workers=2)
    assert report.ok == (not report.faults)
    return [(fault.kind, fault.split, fault.name) for fault in report.faults]


def png_header(width: int, height: int) -> bytes:
    """The start of a PNG that claims to be of that size, and no pixels."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n\0\0\0\r" + chunk + struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\x10IDAT"


def encoded(kind: str, mode: str = "RGB") -> bytes:
    noise = torch.randint(0, 256, (64, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    file = io.BytesIO()
    Image.fromarray(noise.numpy()).convert(mode).save(file, kind)
    return file.getvalue()


def test_a_sound_set(market: Path) -> None:
    report = check(read_set("market1501", market))
    assert report.ok
    assert report.name == "market1501"
    assert (report.faults, report.notes) == ((), ())
    assert report.counts == {"train": Tally(1, 2, 2), "query": Tally(1, 1, 1), "gallery": Tally(1, 2, 2)}


def test_cameras_are_not_counted_where_a_set_has_none(plant: Plant) -> None:
    root = plant(["occluded_body_images/001/001_1.png", "whole_body_images/001/001_2.png"])
    report = check(read_set("occluded-reid", root))
    assert report.ok
    assert report.counts == {"train": Tally(0, 0, 0), "query": Tally(1, 1, 0), "gallery": Tally(1, 1, 0)}
    assert [note.partition(":")[0] for note in report.notes] == ["query", "gallery"]  # counts that differ


def damage(market: Path, how: str) -> None:
    path = market / NAMES[2]
    if how == "gone":
        path.unlink()
    elif how == "broken link":
        path.unlink()
        path.symlink_to(market / "nothing")
    elif how == "parent is a file":
        path.unlink()
        path.parent.rmdir()
        path.parent.touch()
    elif how == "pipe":
        path.unlink()
        os.mkfifo(path)
    elif how == "endless link":
        path.unlink()
        path.symlink_to(path)
    elif how == "sparse":
        os.truncate(path, MAX_BYTES + 1)
    else:
        path.write_bytes(BYTES[how])


BYTES = {
    "nothing": b"",
    "half a JPEG": encoded("JPEG")[:-1500],
    "half a PNG": encoded("PNG")[:-3000],
    "half a BMP": encoded("BMP")[:-3000],
    "text": b"these are no pixels",
    "a script": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "a poster": png_header(8193, 8193),
    "a wall": png_header(12_000, 12_000),  # Pillow warns
    "a town": png_header(60_000, 60_000),  # Pillow refuses
    "flipped bits": encoded("PNG")[:100] + bytes(4000) + encoded("PNG")[4100:],
    "a PNG without its end": encoded("PNG")[:-12],
    "floats": encoded("TIFF", "F"),
}


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ("gone", "missing"),
        ("broken link", "missing"),
        ("parent is a file", "missing"),
        ("nothing", "empty"),
        ("half a JPEG", "truncated"),
        ("half a PNG", "truncated"),
        ("half a BMP", "truncated"),
        ("text", "unreadable"),
        ("a script", "unreadable"),
        ("flipped bits", "unreadable"),
        ("a PNG without its end", "unreadable"),
        ("floats", "unreadable"),
        ("pipe", "unreadable"),
        ("endless link", "unreadable"),
        ("a poster", "gigantic"),
        ("a wall", "gigantic"),
        ("a town", "gigantic"),
        ("sparse", "gigantic"),
    ],
)
def test_faults_of_files(how: str, kind: str, market: Path) -> None:
    splits = read_set("market1501", market)
    damage(market, how)
    report = check(splits)
    (fault,) = report.faults
    assert (fault.kind, fault.split, fault.name) == (kind, "query", NAMES[2])
    assert str(fault).startswith(f"query '{NAMES[2]}': {kind}: ")
    assert str(market / NAMES[2]) in fault.detail
    assert not report.ok
    assert report.counts["query"] == Tally(1, 1, 1)


def test_all_faults_are_found_in_the_order_of_the_splits(market: Path) -> None:
    splits = read_set("market1501", market)
    (market / NAMES[4]).unlink()
    (market / NAMES[0]).write_bytes(b"")
    (market / NAMES[2]).write_text("x")
    found = [(f.kind, f.name) for f in check(splits, workers=1).faults]
    assert found == [("empty", NAMES[0]), ("unreadable", NAMES[2]), ("missing", NAMES[4])]
    assert found == [(f.kind, f.name) for f in check(splits, workers=4).faults]


def copy(market: Path, name: str, other: str) -> None:
    (market / other).write_bytes((market / name).read_bytes())


def test_duplicates_within_a_split(market: Path) -> None:
    for i in (5, 6):
        copy(market, NAMES[1], f"bounding_box_train/0001_c{i}s1_1.jpg")
    report = check(read_set("market1501", market))
    assert [str(fault) for fault in report.faults] == [
        f"train 'bounding_box_train/0001_c{i}s1_1.jpg': duplicate: same picture as train '{NAMES[1]}'" for i in (5, 6)
    ]


def test_duplicates_in_training_and_test(market: Path) -> None:
    copy(market, NAMES[0], "bounding_box_test/0002_c5s1_1.png")
    assert faults(market) == [("duplicate", "gallery", "bounding_box_test/0002_c5s1_1.png")]


def test_duplicates_in_query_and_gallery_are_a_note(market: Path) -> None:
    copy(market, NAMES[2], "bounding_box_test/0002_c1s1_1.png")
    report = check(read_set("market1501", market))
    assert report.ok
    assert report.notes[-1] == "1 of the query pictures are in the gallery too"


def test_empty_files_and_differently_edited_pictures_are_no_duplicates(market: Path) -> None:
    splits = read_set("market1501", market)
    whole = splits.train[0]
    cut = replace(whole, edits=(KeepTop(2),))
    assert check(replace(splits, train=(whole, cut))).ok
    assert [f.kind for f in check(replace(splits, train=(cut, cut))).faults] == ["duplicate"]
    for sample in splits.train:
        sample.path.write_bytes(b"")
    assert [f.kind for f in check(splits).faults] == ["empty", "empty"]


def test_wrong_names(market: Path) -> None:
    for i in range(4):
        copy(market, NAMES[0], f"query/odd{i}.png")
    report = check(read_set("market1501", market))
    assert [str(fault) for fault in report.faults] == [
        f"query 'query/odd{i}.png': wrong name: not understood, so left out" for i in range(4)
    ]
    assert report.notes == ()  # said once
    (note,) = left_out(read_set("market1501", market))
    assert note == (
        "query: 4 image names were not understood and left out: 'query/odd0.png', 'query/odd1.png', 'query/odd2.png', …"
    )


def test_wrong_lines_say_what_is_wrong_with_them(market: Path) -> None:
    (market / "new_query.txt").write_text("query/0002_c1s1_1.png\n")
    (market / "new_gallery.txt").write_text(f"{NAMES[4]},3\n{NAMES[3]},7\n")
    splits = read_set("re-occluded-duke", market)
    report = check(splits)
    assert [str(fault) for fault in report.faults] == [
        f"gallery 'new_gallery.txt: {NAMES[3]},7': wrong line: left out: its label is '7'; write a comma and one of "
        f"0 (unknown), 1 (ntp), 2 (npo), 3 (holistic) behind the path"
    ]
    assert report.notes == splits.notes
    assert not any("left out" in note for note in report.notes)


def test_people_in_training_and_test(market: Path) -> None:
    for name in ("bounding_box_train/0002_c1s1_2.png", "bounding_box_test/0001_c1s1_2.png"):
        Image.new("RGB", (3, len(name))).save(market / name)
    Image.new("RGB", (5, 9)).save(market / "bounding_box_test/-1_c1s1_2.png")
    splits = read_set("market1501", market)
    (fault,) = check(splits).faults
    assert str(fault) == "train: overlap: 2 people are in training and in test: 1, 2"
    assert not check(replace(splits, name="msmt17+partial@3")).faults  # it counts twice from 0
    assert check(replace(splits, name="my own")).faults == (fault,)


def test_queries_without_an_answer(market: Path) -> None:
    (market / NAMES[4]).rename(market / "bounding_box_test/0002_c1s1_9.png")  # the query's own camera
    for i, name in enumerate(("0002_c3s1_1", "0004_c1s1_1", "0004_c2s1_1")):
        Image.new("RGB", (9, i + 1)).save(market / f"query/{name}.png")
    report = check(read_set("market1501", market))
    assert [(f.kind, f.split, f.name) for f in report.faults] == [
        ("no positive", "query", NAMES[2]),
        ("no positive", "query", "query/0004_c1s1_1.png"),
    ]
    assert "person 2 in no other camera; 1 of 2 queries" in report.faults[0].detail
    assert "person 4 in no other camera; 2 of 2 queries" in report.faults[1].detail


def test_without_cameras_the_gallery_counts_as_another(plant: Plant) -> None:
    root = plant(["Probe/1.png", "Probe/2.png", "Gallery/1.png"])
    assert faults(root, "partial-ilids") == [("no positive", "query", "Probe/2.png")]


def test_a_fault_is_one_printable_line() -> None:
    text = str(Fault("unreadable", "train", os.fsdecode(b"a\xff\n.jpg"), "two\nlines"))
    assert text == "train 'a\\udcff\\n.jpg': unreadable: two lines"
    text.encode()


def test_progress_counts_each_file_once(market: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_module, "AT_ONCE", 2)
    splits = read_set("market1501", market)
    told: list[tuple[int, int]] = []
    check(replace(splits, query=splits.gallery), progress=lambda done, total: told.append((done, total)))
    assert told == [(i, 4) for i in range(1, 5)]


@pytest.mark.parametrize("workers", [0, -3])
def test_nobody_to_work(workers: int, market: Path) -> None:
    with pytest.raises(InputError, match=f"{workers} workers cannot read anything"):
        check(read_set("market1501", market), workers=workers)


def test_an_interruption_leaves_the_rest_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = tuple(Sample(tmp_path / f"{i}.png", f"{i}.png", i, 0) for i in range(900))
    begun, gate = [], threading.Event()

    def slowly(path: Path) -> bytes:
        begun.append(path)
        if len(begun) > 1:
            gate.wait(0.05)
        raise InputError("no")

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(check_module, "read_bytes", slowly)
    with pytest.raises(KeyboardInterrupt):
        check(Splits("mine", tmp_path, samples, (), ()), workers=2, progress=interrupt)
    assert len(begun) < 20  # of 900
    assert threading.active_count() == 1 or not any("ThreadPool" in t.name for t in threading.enumerate())
