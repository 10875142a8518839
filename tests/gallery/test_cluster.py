"""Indexing by a cluster: what one machine makes, once, also when processes and a machine are lost on the way."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("lance", reason="galleries need pylance: pip install 'halfseen[search]'")

from halfseen.data.images import decode_image, save_image
from halfseen.gallery.indexing import cluster, films, pictures
from halfseen.gallery.indexing import index as indexing
from halfseen.gallery.indexing.cluster import Given, Work, encoding, index_on
from halfseen.gallery.indexing.index import Report, Settings, index
from halfseen.gallery.indexing.model import Model, open_model
from halfseen.gallery.indexing.patterns import Named
from halfseen.gallery.indexing.sources import Source
from halfseen.gallery.store import Gallery
from halfseen.types import InputError, Progress
from passers import BLUE, RED, Walker, find, save_film
from raylets import QUIET, Raylets, raylets
from served import person, save_tiny

pytestmark = [
    pytest.mark.ray,
    QUIET,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),  # of its own defaults
]
MARKS = "HALFSEEN_TEST_MARKS"  # where processes of the cluster note what they begin
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Raylets]:
    pytest.importorskip("ray", reason="needs the extra scale: pip install 'halfseen[scale]'")
    os.environ[MARKS] = str(tmp_path_factory.mktemp("marks"))
    with raylets() as both:
        yield both


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("model") / "tiny.safetensors")


@pytest.fixture
def model(weights: Path) -> Model:
    return open_model(weights, "cpu")


def folder_of(path: Path, count: int) -> Path:
    path.mkdir()
    for number in range(count):
        save_image(path / f"{number}.png", person(number, 0))
    return path


def contents(gallery: Gallery) -> list[tuple[Any, ...]]:
    """All that is stored, but for ids and vectors, which are compared with a tolerance."""
    facts = gallery.rows()
    return sorted((repr(fact), fact.thumbnail) for fact in facts.values())


def alike(one: Gallery, two: Gallery) -> bool:
    """Whether the vectors are the same, but for what sums in another order may change."""
    return torch.allclose(vectors(one), vectors(two), atol=2e-3)


def vectors(gallery: Gallery) -> torch.Tensor:
    ids, embedding = gallery.embedding()
    facts = gallery.rows(ids)
    order = sorted(range(len(ids)), key=lambda row: repr(facts[ids[row]]))
    return embedding.vectors[order]


def of_report(report: Report) -> tuple[Any, ...]:
    return report.added, report.pictures, report.films, report.passages, report.known, report.faults


def coloured(given: Given) -> Work:
    """As `watching`, with a detector that knows the people of the film by their colours."""
    patch = pytest.MonkeyPatch()  # for good: the process is begun for this
    patch.setattr(cluster, "load_detector", lambda *_: find)
    patch.setattr(films, "STRETCH", 4)
    return cluster.watching(given)


@pytest.mark.usefixtures("two")
def test_a_cluster_makes_what_one_machine_makes(tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path / "set", 21)
    (folder / "copy.png").write_bytes((folder / "3.png").read_bytes())
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 broken\n")
    save_film(folder / "street.avi", [Walker(RED, 0.5, 4, 10, 25), Walker(BLUE, 5, 9, 120, -25)], 10)
    (folder / "copy.avi").write_bytes((folder / "street.avi").read_bytes())
    (folder / "none.avi").write_bytes(b"no film")
    monkeypatch.setattr(indexing, "load_detector", lambda *_: find)
    monkeypatch.setattr(films, "STRETCH", 4)
    monkeypatch.setattr(cluster, "watching", coloured)
    here, there = (Gallery.create(tmp_path / name, model.facts) for name in ("here", "there"))
    told: list[str] = []
    report = index_on("auto", [folder], there, model, Settings(batch=4, say=told.append))
    assert of_report(report) == of_report(index([folder], here, model, Settings(batch=4)))
    assert (report.pictures, report.films, report.known, len(report.faults)) == (21, 1, 2, 2)
    assert told == report.faults
    assert all(sentence.startswith(str(folder)) and "\n" not in sentence for sentence in told)
    assert contents(here) == contents(there)
    assert alike(here, there)
    assert there.verify() == []
    save_image(folder / "new.png", person(40, 0))
    paths = [folder / name for name in ("4.png", "copy.png", "new.png", "broken.jpg")]
    again = index_on("auto", paths, there, model, Settings(batch=4))
    assert (again.added, again.known, again.faults) == (1, 2, told[:1])


def dying(given: Given) -> Work:
    """As `encoding`, slowly; each process notes what it begins, and who meets the picture `5.png` first is killed."""
    work, marks = cluster.encoding(given), Path(os.environ[MARKS])

    def slow(lot: Any) -> Iterator[Any]:
        names = [source.path.name for source in lot]
        (marks / f"{names[0]} {time.monotonic_ns()}").touch()
        if "5.png" in names and not (marks / "killed").exists():
            (marks / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.3)
        yield from work(lot)

    return slow


def test_processes_and_machines_that_are_lost_lose_and_double_nothing(
    two: Raylets, tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, gallery = folder_of(tmp_path / "set", 60), Gallery.create(tmp_path / "g", model.facts)
    monkeypatch.setattr(cluster, "encoding", dying)
    monkeypatch.setattr(indexing, "ROWS", 8)
    lost = False

    @contextmanager
    def bars(_: str) -> Iterator[Progress]:
        def heard(done: int, _: int) -> None:
            nonlocal lost
            if done >= 12 and not lost:
                lost = True
                two.lose()

        yield heard

    report = index_on("auto", [folder], gallery, model, Settings(batch=3, bars=bars))
    two.come_back()
    marks = [path.name.partition(" ")[0] for path in Path(os.environ[MARKS]).iterdir()]
    assert "killed" in marks
    assert lost
    assert len(marks) - 1 > len(set(marks) - {"killed"}) == 20  # some lots were begun twice
    assert (report.added, report.pictures, report.faults) == (60, 60, [])
    images = [Path(fact.image).name for fact in gallery.rows().values()]
    assert sorted(images) == sorted(f"{number}.png" for number in range(60))
    assert gallery.verify() == []
    assert index([folder], gallery, model).known == 60


def deadly(given: Given) -> Work:
    """As `encoding`, by a decoder that ends its process on some pictures, as a fault in C would."""
    patch, read = pytest.MonkeyPatch(), decode_image

    def decode(data: bytes, where: str) -> torch.Tensor:
        if b"deadly" in data:
            os._exit(1)
        return read(data, where)

    patch.setattr(pictures, "decode_image", decode)  # for good: the process is begun for this
    return cluster.encoding(given)


def folder_with_deadly(root: Path) -> Path:
    """Nine pictures, of which `4.png` is one of those."""
    folder = folder_of(root, 9)
    with (folder / "4.png").open("ab") as file:
        file.write(b"deadly")
    return folder


@pytest.mark.usefixtures("two")
def test_a_picture_that_ends_its_process_is_told_and_the_others_are_stored(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, gallery = folder_with_deadly(tmp_path / "set"), Gallery.create(tmp_path / "g", model.facts)
    monkeypatch.setattr(cluster, "encoding", deadly)
    report = index_on("auto", [folder], gallery, model, Settings(batch=2))
    (fault,) = report.faults
    assert fault.startswith(f"{folder / '4.png'} has ended the process that read it 3 times")
    assert report.added == len(gallery) == 8
    assert gallery.verify() == []
    monkeypatch.undo()
    assert index_on("auto", [folder], gallery, model, Settings(batch=2)).added == 1  # by a decoder that can


@pytest.mark.usefixtures("two")
def test_a_lot_done_file_by_file_stores_each_content_once_and_as_its_own(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, gallery = folder_with_deadly(tmp_path / "set"), Gallery.create(tmp_path / "g", model.facts)
    for copied, name in (("0", "5"), ("6", "7")):  # of a lot before, and of the same
        (folder / f"{name}.png").write_bytes((folder / f"{copied}.png").read_bytes())
    monkeypatch.setattr(cluster, "encoding", deadly)
    report = index_on("auto", [folder], gallery, model, Settings(batch=4))
    monkeypatch.undo()
    (folder / "4.png").unlink()
    other = Gallery.create(tmp_path / "other", model.facts)
    assert report.added == index([folder], other, model).added == len(gallery) == 6
    assert contents(gallery) == contents(other)
    assert alike(gallery, other)


def deadly_film(given: Given) -> Work:
    """As `watching`, but a film ends its process in its second stretch."""
    patch, found = pytest.MonkeyPatch(), films.passages

    def passages(path: Path, *words: Any, **more: Any) -> Iterator[Any]:
        for number, some in found(path, *words, **more):
            if number and "deadly" in path.name:
                os._exit(1)
            yield number, some

    patch.setattr(cluster, "passages", passages)
    return coloured(given)


@pytest.mark.usefixtures("two")
def test_a_film_that_ends_its_process_is_told_and_keeps_what_was_seen_before(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder := tmp_path / "set").mkdir()
    for name, colour in (("a deadly one.avi", RED), ("sound.avi", BLUE)):
        save_film(folder / name, [Walker(colour, 0.5, 4, 10, 25), Walker(colour, 5, 9, 120, -25)], 10)
    gallery = Gallery.create(tmp_path / "g", model.facts)
    monkeypatch.setattr(indexing, "load_detector", lambda *_: find)
    monkeypatch.setattr(cluster, "watching", deadly_film)
    report = index_on("auto", [folder], gallery, model, Settings())
    (fault,) = report.faults
    assert "a deadly one.avi has ended the process" in fault
    assert (report.films, report.added) == (1, len(gallery))
    assert set(gallery.count("camera")) == {"a deadly one", "sound"}
    assert gallery.verify() == []


@pytest.mark.usefixtures("two")
def test_the_command(run: Run, tmp_path: Path, weights: Path) -> None:
    folder = folder_of(tmp_path / "set", 3)
    words = ("index", folder, "--gallery", tmp_path / "g", "--model", weights, "--cluster", "auto")
    code, out, _ = run(*words, "--json")
    assert code == 0
    assert json.loads(out)["added"] == 3
    assert run(*words, "--watch")[0] == 2


@pytest.mark.usefixtures("two")
def test_what_is_wrong_with_a_detector_is_one_sentence(tmp_path: Path, model: Model) -> None:
    film = save_film(tmp_path / "street.avi", [], 1)
    with pytest.raises(InputError, match="--weights belong to --detector mobilenet"):
        index_on("auto", [film], Gallery.create(tmp_path / "g", model.facts), model, Settings(weights=film))


def test_of_two_files_that_hold_the_same_the_first_counts(tmp_path: Path, model: Model) -> None:
    folder = folder_of(tmp_path / "set", 1)
    (first,) = folder.iterdir()
    second = folder / f"z{first.suffix}"
    second.write_bytes(first.read_bytes())
    lot = [Source(path, str(folder), Named(camera=path.stem)) for path in (first, second)]
    (made,) = encoding(Given(model, Settings(), "cpu", np.array([], dtype=np.bytes_)))(lot)
    assert [fact.image for fact in made.rows.facts] == [str(first)]
