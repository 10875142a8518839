"""Writers that are killed: what was confirmed is there, and what was not is there wholly or not at all."""

from __future__ import annotations

import multiprocessing
import os
import random
import re
import signal
import time
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from galleries import MODEL, people
from halfseen.gallery.sightings import Fact, Where
from halfseen.gallery.store import Gallery
from halfseen.gallery.tables import exists, lance

pytest.importorskip("lance", reason="the extra `search` is not installed")
pytest.importorskip("fcntl", reason="Unix only")

ROWS = 5  # of each addition
KINDS = ("add", "add", "remove", "forget", "compact")
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["galleries"])  # torch is imported once; lance is not, it does not survive a fork


@pytest.mark.parametrize("kills", [4, pytest.param(200, marks=pytest.mark.slow)])
def test_killing_a_writer_loses_nothing_and_leaves_nothing_half_there(tmp_path: Path, kills: int) -> None:
    folder, log, dice = tmp_path / "g", tmp_path / "log", random.Random(kills)
    Gallery.create(folder, MODEL)
    there: set[str] = set()  # additions, by track
    for kill in range(kills):
        log.write_text("")
        writer = PROCESSES.Process(target=_write_for_ever, args=(folder, log, kill, sorted(there)))
        writer.start()
        while not log.read_text():
            time.sleep(0.002)
        time.sleep(dice.random() * dice.choice([0.02, 0.2]))
        assert writer.pid
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        there = _checked(folder, log.read_text(), there)
    Gallery.open(folder).forget(source="nobody's")  # what was broken off is ended by the next
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    on_disk = {track for content in files for track in re.findall(rb"<(\d+-\d+)>", content)}
    assert on_disk == {track.encode() for track in there}


def _write_for_ever(folder: Path, log: Path, seed: int, there: list[str]) -> None:
    """Add, remove and compact, and tell before and after: a line that the kernel has is not lost with the process."""
    gallery, dice, file = Gallery.open(folder), random.Random(seed), os.open(log, os.O_WRONLY | os.O_APPEND)
    for number in range(10**6):
        kind = dice.choice(KINDS) if there else "add"
        track = f"{seed}-{number}" if kind == "add" else dice.choice(there)
        os.write(file, f"{kind} {track}\n".encode())
        if kind == "add":
            fact = Fact(source=track, track=track, thumbnail=f"<{track}>".encode())
            gallery.add(people([*range(ROWS)]), [fact] * ROWS, [track] * ROWS)
            gallery.finish([track])
            there.append(track)
        elif kind == "remove":
            gallery.remove(where=Where(tracks=frozenset({track})))
            there.remove(track)
        elif kind == "forget":
            gallery.forget(source=track)
            there.remove(track)
        else:
            gallery.compact(grace=timedelta(0))
        os.write(file, b"done\n")


def _checked(folder: Path, log: str, there: set[str]) -> set[str]:
    """The additions that are there now: all that `log` tells of was done, or all but its last line."""
    lines = log.splitlines()
    done = [line.split() for line, after in pairwise(lines) if after == "done"]
    unsure = set() if lines[-1] == "done" else {lines[-1].split()[1]}
    for kind, track in done:
        there = there | {track} if kind == "add" else there - {track} if kind != "compact" else there
    gallery = Gallery.open(folder, MODEL)
    found = gallery.count("track")
    assert set(found.values()) <= {ROWS}
    assert found.keys() - unsure == there - unsure
    assert gallery.verify() == []
    assert len(gallery) == ROWS * len(found)
    added = {track for kind, track in done if kind == "add"}
    assert gallery.known(added) == added
    return set(found)


def test_killing_the_maker_of_a_gallery(tmp_path: Path) -> None:
    dice = random.Random(0)
    made = 0
    for kill in range(4):
        folder, log = tmp_path / str(kill), tmp_path / f"log {kill}"
        log.write_text("")
        maker = PROCESSES.Process(target=_make, args=(folder, log))
        maker.start()
        while not log.read_text():
            time.sleep(0.002)
        time.sleep(dice.random() * 0.02)
        assert maker.pid
        os.kill(maker.pid, signal.SIGKILL)
        maker.join()
        if exists(str(folder / "images.lance")):
            made += 1
            gallery = Gallery.open(folder, MODEL)
        else:
            gallery = Gallery.create(folder, MODEL)
        gallery.add(people([1]), [Fact()])
        gallery.finish(["a"])
        assert gallery.known(["a", "b"]) == {"a"}
    assert made <= 4


def _make(folder: Path, log: Path) -> None:
    lance()  # imported by now, so that what follows takes no time

    log.write_text("begun")
    Gallery.create(folder, MODEL)
    time.sleep(60)


def test_two_writers_take_turns(tmp_path: Path) -> None:
    Gallery.create(tmp_path / "g", MODEL)
    writers = [PROCESSES.Process(target=_add_ten, args=(tmp_path / "g", name)) for name in ("a", "b")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    gallery = Gallery.open(tmp_path / "g")
    assert gallery.count("camera") == {"a": 10 * ROWS, "b": 10 * ROWS}
    assert sorted(gallery.rows()) == [*range(20 * ROWS)]


def _add_ten(folder: Path, name: str) -> None:
    gallery = Gallery.open(folder)
    for _ in range(10):
        before = set(gallery.rows())
        ids = gallery.add(people([*range(ROWS)]), [Fact(camera=name)] * ROWS)
        assert len(ids) == ROWS
        assert not before & set(ids)
        assert {fact.camera for fact in gallery.rows(ids).values()} == {name}
