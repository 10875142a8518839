"""Folders and films → a gallery, once, also after a stop."""

from __future__ import annotations

import math
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lance", reason="galleries need pylance: pip install 'halfseen[search]'")

from fixture_types import SmallDisk
from halfseen.data.images import decode_image, read_image, save_image
from halfseen.gallery import opening
from halfseen.gallery.indexing import films, pictures
from halfseen.gallery.indexing import index as indexing
from halfseen.gallery.indexing.detectors import Detect
from halfseen.gallery.indexing.index import Report, Settings, index
from halfseen.gallery.indexing.model import Model, open_model
from halfseen.gallery.indexing.patterns import Pattern
from halfseen.gallery.indexing.rows import outgrown
from halfseen.gallery.opening import open_or_make
from halfseen.gallery.sightings import Fact
from halfseen.gallery.store import Gallery
from halfseen.types import Embedding, InputError, Progress
from passers import BLUE, GREEN, RED, Walker, find, save_film
from served import person, save_tiny

WALKERS = [Walker(RED, 0.5, 4, 10, 25), Walker(BLUE, 5, 9, 120, -25), Walker(GREEN, 10.5, 14, 10, 25)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return open_model(save_tiny(tmp_path_factory.mktemp("model") / "tiny.safetensors"), "cpu")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_film(tmp_path_factory.mktemp("films") / "street.avi", WALKERS, 15)


@pytest.fixture(autouse=True)
def detector(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any) -> Detect:
        return find

    monkeypatch.setattr(indexing, "load_detector", load)


@pytest.fixture
def gallery(tmp_path: Path, model: Model) -> Gallery:
    return Gallery.create(tmp_path / "g", model.facts)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_people(tmp_path / "set")


def save_people(folder: Path) -> Path:
    for number in range(10):
        path = folder / f"{'gate' if number < 6 else 'hall'}/20240531_12000{number}_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_image(path, person(number, 0))
    return folder


def contents(gallery: Gallery) -> list[tuple[Any, ...]]:
    """All that is stored, but for ids."""
    ids, embedding = gallery.embedding()
    facts = gallery.rows(ids)
    rows = zip(ids, embedding.vectors.tolist(), embedding.visibility.tolist(), strict=True)
    return sorted((repr(facts[id]), facts[id].thumbnail, vectors, seen) for id, vectors, seen in rows)


def test_pictures_of_a_folder_are_stored_with_what_their_names_tell(
    folder: Path, gallery: Gallery, model: Model
) -> None:
    how = Settings(patterns=(Pattern("{camera}/{time:%Y%m%d_%H%M%S}_{track}.png"),), batch=4)
    report = index([folder], gallery, model, how)
    assert (report.added, report.pictures, report.known, report.faults) == (10, 10, 0, [])
    ids, stored = gallery.embedding()
    facts = gallery.rows(ids)
    for row, id in enumerate(ids):
        fact = facts[id]
        number = int(fact.track)
        assert fact.image == str(folder / fact.camera / f"20240531_12000{number}_{number}.png")
        assert (fact.source, fact.camera) == (str(folder), "gate" if number < 6 else "hall")
        assert (fact.time, fact.box) == (1_717_156_800.0 + number, None)
        image = read_image(fact.image)
        assert (decode_image(fact.thumbnail, "").float() - image.float()).abs().mean() < 12
        wanted = model.encode([image])
        torch.testing.assert_close(stored.visibility[row], wanted.visibility[0])
        alike = torch.cosine_similarity(stored.vectors[row], wanted.vectors[0], dim=1)
        assert (alike[wanted.visibility[0] > 0] > 0.999).all()


def test_the_same_files_add_nothing_wherever_they_lie(folder: Path, gallery: Gallery, model: Model) -> None:
    index([folder], gallery, model)
    shutil.move(folder, folder.with_name("moved"))
    save_image(folder.with_name("moved") / "new.png", person(11, 0))
    shutil.copy(folder.with_name("moved") / "new.png", folder.with_name("moved") / "copy.png")
    report = index([folder.with_name("moved")], gallery, model)
    assert (report.added, report.known) == (1, 11)
    assert len(gallery) == 11


def test_damaged_files_are_told_in_one_line_each_and_the_others_are_taken(
    folder: Path, gallery: Gallery, model: Model
) -> None:
    (folder / "gate/broken.jpg").write_bytes(b"\xff\xd8 broken\n")
    (folder / "empty.png").touch()
    (folder / "film.avi").write_bytes(b"no film")
    told: list[str] = []
    report = index([folder], gallery, model, Settings(say=told.append))
    assert report.added == len(gallery) == 10
    assert report.faults == told
    assert sorted(sentence.partition(" ")[0] for sentence in told) == sorted(
        str(folder / name) for name in ("gate/broken.jpg", "empty.png", "film.avi")
    )
    assert all("\n" not in sentence for sentence in told)
    assert index([folder], gallery, model).faults == told  # they may have been mended; nobody forgets them


def test_a_film_becomes_a_few_crops_of_each_passage(film: Path, gallery: Gallery, model: Model) -> None:
    report = index([film], gallery, model, Settings(crops=3))
    assert (report.films, report.passages, report.pictures, report.faults) == (1, 3, 0, [])
    facts = list(gallery.rows().values())
    assert report.added == len(facts) <= 9
    by_track: dict[str, list[Any]] = {}
    for fact in facts:
        by_track.setdefault(fact.track, []).append(fact)
    assert len(by_track) == 3
    for (track, own), walker in zip(sorted(by_track.items(), key=lambda each: each[1][0].time), WALKERS, strict=True):
        assert track.startswith("street-")
        for fact in own:
            assert (fact.image, fact.source, fact.camera) == ("", str(film), "street")
            assert walker.begin <= fact.time < walker.end
            assert fact.box == pytest.approx(walker.box(fact.time), abs=2)
            colour = decode_image(fact.thumbnail, "").float().mean((1, 2))
            assert (colour - torch.tensor(walker.colour)).abs().max() < 30
    again = index([film], gallery, model)
    assert (again.added, again.known, again.films) == (0, 1, 0)


def test_a_film_that_has_grown_is_told_anew_and_another_in_its_place_is_not(
    film: Path, tmp_path: Path, gallery: Gallery, model: Model, small_disk: SmallDisk
) -> None:
    whole, film = film.read_bytes(), tmp_path / "street.avi"
    film.write_bytes(whole[: len(whole) * 2 // 3])
    first = index([film], gallery, model)
    assert first.added > 0
    assert "cut short" in first.faults[0]
    before = {fact.track for fact in gallery.rows().values()}
    film.write_bytes(whole)
    with small_disk(2_000), pytest.raises(InputError, match="make room"):
        index([film], gallery, model)
    assert {fact.track for fact in gallery.rows().values()} == before
    index([film], gallery, model)
    there = [(fact.time, fact.box) for fact in gallery.rows().values()]
    assert len(set(there)) == len(there)
    after = {fact.track for fact in gallery.rows().values()}
    assert (len(after), after & before) == (3, set())
    save_film(film, WALKERS[:1], 6, rate=11)  # somebody in the same places, a little later each time
    index([film], gallery, model)
    assert after < {fact.track for fact in gallery.rows().values()}


def test_a_table_tells_when_a_film_begins_and_which_camera_it_is(film: Path, tmp_path: Path, model: Model) -> None:
    (tmp_path / "films.csv").write_text(f"path,camera,time\n{film},yard,2024-05-31 12:00\n")
    gallery = Gallery.create(tmp_path / "g", model.facts)
    index([tmp_path / "films.csv"], gallery, model)
    facts = gallery.rows().values()
    assert {fact.camera for fact in facts} == {"yard"}
    assert all(1_717_156_800 <= fact.time < 1_717_156_815 for fact in facts if fact.time is not None)


class Stop(Exception):  # noqa: N818  (it stands for a kill)
    """A kill."""


@pytest.fixture(scope="module")
def unbroken() -> dict[str, Any]:
    """What indexing gives that nothing stops: made once."""
    return {}


@pytest.mark.parametrize("after", range(1, 12))
def test_a_kill_between_any_two_writes_changes_nothing_in_the_end(
    after: int, film: Path, gallery: Gallery, model: Model, monkeypatch: pytest.MonkeyPatch, unbroken: dict[str, Any]
) -> None:
    monkeypatch.setattr(films, "STRETCH", 5)
    monkeypatch.setattr(indexing, "ROWS", 4)
    how, folder = Settings(batch=4), film.parent / "set"
    if not unbroken:
        whole = Gallery.create(film.parent / "whole", model.facts)
        index([save_people(folder), film], whole, model, how)
        unbroken["contents"] = contents(whole)
    writes = 0

    def dying(name: str) -> Callable[..., Any]:
        real = getattr(Gallery, name)

        def write(self: Gallery, *words: Any) -> Any:
            nonlocal writes
            writes += 1
            if writes > after:
                raise Stop
            return real(self, *words)

        return write

    with monkeypatch.context() as patch:
        for name in ("remove", "add", "finish"):
            patch.setattr(Gallery, name, dying(name))
        with pytest.raises(Stop):
            index([folder, film], gallery, model, how)
    again = Gallery.open(gallery.folder)
    index([folder, film], again, model, how)
    assert contents(again) == unbroken["contents"]


def test_a_pattern_that_was_forgotten_is_told_and_made_good(folder: Path, gallery: Gallery, model: Model) -> None:
    how = Settings((Pattern("{camera}/*_{track}.png"),))
    (folder / "hall/z_twin.png").write_bytes((folder / "gate/20240531_120000_0.png").read_bytes())
    assert index([folder], gallery, model).otherwise == 0
    assert index([folder], gallery, model).otherwise == 0
    report = index([folder], gallery, model, how)
    assert (report.added, report.known, report.otherwise) == (0, 11, 10)
    report = index([folder], gallery, model, replace(how, again=True))
    assert (report.added, report.known, len(gallery)) == (10, 1, 10)
    assert gallery.count("camera") == {"gate": 6, "hall": 4}
    report = index([folder], gallery, model, how)
    assert (report.added, report.known, report.otherwise) == (0, 11, 0)
    gallery.forget(source=str(folder))
    assert index([folder], gallery, model, Settings()).otherwise == 0  # it was forgotten on purpose
    assert index([folder], gallery, model, replace(how, again=True)).added == len(gallery) == 10
    assert gallery.verify() == []


def test_a_film_again_takes_the_place_of_what_was_stored(
    film: Path, gallery: Gallery, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(films, "STRETCH", 5)
    index([film], gallery, model, Settings(crops=1))
    few = len(gallery)
    index([film], gallery, model, Settings(crops=3))
    assert len(gallery) == few > 0
    report = index([film], gallery, model, Settings(crops=3, again=True))
    assert report.added == len(gallery) > few
    other = Gallery.create(film.parent / "other", model.facts)
    index([film], other, model, Settings(crops=3))
    assert contents(gallery) == contents(other)


def test_a_full_disk_takes_nothing_away_that_is_to_be_stored_anew(
    folder: Path, gallery: Gallery, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise InputError("the disk is full")

    index([folder], gallery, model)
    before = contents(gallery)
    with monkeypatch.context() as patch:
        patch.setattr(Gallery, "add", full)
        with pytest.raises(InputError, match="full"):
            index([folder], gallery, model, Settings(again=True))
    assert contents(gallery) == before


def test_ctrl_c_keeps_what_is_encoded(
    folder: Path, gallery: Gallery, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    real = Model.encode

    def encode(self: Model, images: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return real(self, images)

    with monkeypatch.context() as patch:
        patch.setattr(Model, "encode", encode)
        with pytest.raises(KeyboardInterrupt):
            index([folder], gallery, model, Settings(batch=4))
    assert len(gallery) == 8
    assert index([folder], gallery, model).added == 2


def test_what_is_encoded_is_stored_every_now_and_then(
    folder: Path, gallery: Gallery, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, add = list[int](), Gallery.add

    def noted(self: Gallery, *words: Any) -> list[int]:
        stored.append(len(words[0]))
        return add(self, *words)

    monkeypatch.setattr(Gallery, "add", noted)
    monkeypatch.setattr(indexing, "SECONDS", -1.0)
    index([folder], gallery, model, Settings(batch=4))
    assert stored == [4, 4, 2]


def test_the_person_who_waits_sees_how_far_it_is(folder: Path, film: Path, gallery: Gallery, model: Model) -> None:
    seen: dict[str, list[tuple[int, int]]] = {}

    @contextmanager
    def bars(what: str) -> Iterator[Progress]:
        yield lambda done, total: seen.setdefault(what, []).append((done, total))

    index([folder, film], gallery, model, Settings(batch=4, bars=bars))
    assert seen["pictures"] == [(4, 10), (8, 10), (10, 10)]
    assert seen["street.avi"][-1] == (15, 15)


def test_another_model_is_refused(folder: Path, gallery: Gallery, model: Model) -> None:
    other = replace(model, facts=replace(model.facts, digest="0" * 64))
    with pytest.raises(InputError, match="holds embeddings of bpbreid"):
        index([folder], gallery, other)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"every": 0.0}, "--every 0: films are looked at each 0.02 to 1 seconds"),
        ({"every": 1.5}, "--every 1.5: "),
        ({"crops": 0}, "--crops 0: give 1 or more"),
        ({"batch": 0}, "--batch 0: give 1 or more"),
    ],
)
def test_settings_without_sense_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        Settings(**options)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"smallest": 2.0}, "--smallest is 2;"),
        ({"smallest": 0.015}, "--smallest is 0.015;"),
        ({"smallest": math.nan}, "--smallest is nan;"),
        ({"weights": Path(__file__)}, "--weights belong to"),
        ({"weights": Path("none.pth"), "detector": "mobilenet"}, "none.pth: there is no such file"),
    ],
)
def test_a_detector_without_sense_is_refused_before_there_is_a_film(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        Settings(**options)
    assert said in str(caught.value)


def test_a_detector_that_fails_throws_no_pictures_away(
    folder: Path, film: Path, gallery: Gallery, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any) -> Detect:
        raise InputError("no weights to be had")

    monkeypatch.setattr(indexing, "load_detector", none)
    with pytest.raises(InputError, match="no weights"):
        index([folder, film], gallery, model)
    assert len(gallery) == 10
    assert index([folder], gallery, model).known == 10


def test_of_two_files_that_hold_the_same_the_second_is_read_where_the_first_is_gone(
    tmp_path: Path, gallery: Gallery, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "dup"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        save_image(folder / name, person(0, 0))
    save_image(folder / "d.png", person(1, 0))

    def passing(path: Path) -> bytes:
        if path.name in ("a.png", "d.png"):
            raise InputError(f"{path.name} does not exist")
        return path.read_bytes()

    with monkeypatch.context() as patch:
        patch.setattr(pictures, "read_bytes", passing)
        report = index([folder], gallery, model)
    assert (report.added, report.known, report.faults) == (1, 1, ["a.png does not exist", "d.png does not exist"])
    assert report.unread == [folder / "a.png", folder / "d.png"]
    assert [Path(fact.image).name for fact in gallery.rows().values()] == ["b.png"]
    again = index([folder], gallery, model)
    assert (again.added, again.known, again.unread) == (1, 3, [])


def test_a_film_takes_the_place_of_its_own_moments_whatever_else_is_stored_with_it(
    gallery: Gallery, model: Model
) -> None:
    def crop(moment: float, digest: str) -> Fact:
        return Fact("", "/f/street.avi", "street", moment, f"street-{digest}@{moment:.0f}s-0", b"", (1, 2, 3, 4))

    embedding = model.encode([person(number, 0) for number in range(4)])
    ids = gallery.add(embedding, [crop(moment, "aaaaaa") for moment in (10.0, 50.0, 310.0, 650.0)])
    dated = Fact("/p/a.png", "/p", "gate", 1.7e9)
    both = Embedding(embedding.vectors[[0, 0, 1]], embedding.visibility[[0, 0, 1]])
    assert outgrown(gallery, both, [dated, crop(10.0, "bbbbbb"), crop(50.0, "bbbbbb")]) == ids[:2]


def test_a_pipe_is_not_waited_for(folder: Path, gallery: Gallery, model: Model) -> None:
    os.mkfifo(folder / "pipe.jpg")
    report = index([folder], gallery, model)
    assert [fault.partition(" is no file but a pipe")[0] for fault in report.faults] == [str(folder / "pipe.jpg")]
    assert report.added > 0


def test_of_damaged_files_that_hold_the_same_each_is_told(tmp_path: Path, gallery: Gallery, model: Model) -> None:
    (tmp_path / "dup").mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / "dup" / name).write_bytes(b"nothing to see")
    report = index([tmp_path / "dup"], gallery, model)
    assert (report.added, report.known, len(report.faults)) == (0, 0, 3)
    assert all(any(name in fault for fault in report.faults) for name in ("a.jpg", "b.jpg is", "c.jpg is"))


def test_a_gallery_is_made_where_nothing_is_and_opened_where_one_is(tmp_path: Path, model: Model) -> None:
    made = open_or_make(tmp_path / "new/g", model.facts)
    assert len(made) == 0
    assert open_or_make(tmp_path / "new/g", model.facts).model == model.facts
    (tmp_path / "empty").mkdir()
    open_or_make(tmp_path / "empty", model.facts)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter.txt").touch()
    for taken in (tmp_path / "full", tmp_path / "full/letter.txt"):
        with pytest.raises(InputError, match="holds other things, and no gallery"):
            open_or_make(taken, model.facts)


def test_a_full_disk_is_a_sentence_and_nothing_is_half_there(
    folder: Path, gallery: Gallery, model: Model, small_disk: SmallDisk
) -> None:
    with small_disk(2_000), pytest.raises(InputError, match=r"make room|nothing of it was kept"):
        index([folder], gallery, model)
    assert len(Gallery.open(gallery.folder)) == 0
    assert index([folder], gallery, model).added == 10


def test_two_at_once_take_each_content_once(
    folder: Path, film: Path, gallery: Gallery, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both look what is known before either has stored anything, and then store in turns."""
    reports: list[Report] = []
    alone = Gallery.create(Path(gallery.folder).with_name("alone"), model.facts)
    index([folder, film], alone, model)
    both_encoded, encode, add = threading.Barrier(2), Model.encode, Gallery.add

    def together(self: Model, images: Any) -> Any:
        both_encoded.wait(30)
        return encode(self, images)

    def slowly(self: Gallery, *words: Any) -> Any:
        time.sleep(0.1)  # for the other to take out what it thinks is a broken run's
        return add(self, *words)

    monkeypatch.setattr(Model, "encode", together)
    monkeypatch.setattr(Gallery, "add", slowly)

    def work() -> None:
        reports.append(index([folder, film], Gallery.open(gallery.folder), model))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    both = Gallery.open(gallery.folder)
    assert contents(both) == contents(alone)
    assert sum(report.added for report in reports) == len(both)
    assert len(reports) == 2
    assert both.verify() == []


@pytest.mark.slow
def test_kill_9_at_any_moment_loses_nothing_and_doubles_nothing(folder: Path, tmp_path: Path, model: Model) -> None:
    for number in range(10, 150):
        save_image(folder / f"{number}.png", person(number, 1))
    weights = save_tiny(tmp_path / "tiny.safetensors")
    often = "import sys; from halfseen import cli; from halfseen.gallery.indexing import index; index.ROWS = 4; "
    words = ("index", folder, "--gallery", tmp_path / "g", "--model", weights, "--batch", 2)
    command = [sys.executable, "-c", often + "sys.exit(cli.main(sys.argv[1:]))", *map(str, words)]
    dice, held = random.Random(0), []

    def versions() -> int:
        return len(list((tmp_path / "g/images.lance/_versions").glob("*.manifest")))

    for _ in range(8):
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = versions()
        while versions() == before and run.poll() is None:  # until it gets to work
            time.sleep(0.01)
        time.sleep(0.5 * dice.random())
        run.kill()
        run.wait()
        held.append(len(Gallery.open(tmp_path / "g")))
    assert all(after >= before - 4 for before, after in pairwise(held))  # what was not finished may be made anew
    assert any(0 < count < 150 for count in held)
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    gallery = Gallery.open(tmp_path / "g")
    assert len(gallery) == 150
    assert len({fact.image for fact in gallery.rows().values()}) == 150
    assert gallery.verify() == []
    assert gallery.model == open_model(weights, "cpu").facts
    assert index([folder], Gallery.create(tmp_path / "whole", model.facts), model).added == 150


def test_a_gallery_that_another_makes_first_is_taken(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "exists", lambda _: False)  # when it was looked
    Gallery.create(tmp_path / "g", model.facts).finish(["one"])
    assert open_or_make(tmp_path / "g", model.facts).known(["one"]) == {"one"}
    with pytest.raises(InputError, match="holds embeddings of"):
        open_or_make(tmp_path / "g", replace(model.facts, digest="f" * 64))
