"""The gallery on disk: what goes in comes out, all or none, and what is removed stays away."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from galleries import DIM, MODEL, PARTS, facts, filled, people
from halfseen.gallery import finished
from halfseen.gallery.conditions import quoted
from halfseen.gallery.search import Search
from halfseen.gallery.sightings import Ask, Fact, ModelFacts, Where
from halfseen.gallery.store import Gallery
from halfseen.gallery.tables import GRID, LENGTH, numbers, on_grid
from halfseen.types import Embedding, InputError

pytest.importorskip("lance", reason="the extra `search` is not installed")


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    gallery, embedding, known = Gallery.create(tmp_path / "g", MODEL), people([3, 1, 2]), facts(3)
    ids = gallery.add(embedding, known)
    again = Gallery.open(tmp_path / "g", MODEL)
    assert len(again) == len(gallery) == 3
    assert list(again.rows(ids).values()) == known
    assert again.rows([ids[2], ids[0]]) == {ids[2]: known[2], ids[0]: known[0]}
    found, stored = again.embedding([ids[2], ids[0]])
    assert found == [ids[2], ids[0]]
    assert torch.equal(stored.visibility, embedding.visibility[[2, 0]])
    cosine = F.cosine_similarity(stored.vectors, embedding.vectors[[2, 0]], dim=2)
    assert torch.allclose(cosine[stored.visibility > 0], torch.ones(()), atol=1e-6)


def test_facts_without_anything_come_back_so(tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path, MODEL)
    (id,) = gallery.add(people([0]), [Fact()])
    assert gallery.rows([id]) == {id: Fact()}
    assert gallery.rows([id], thumbnails=False) == {id: Fact()}


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 5), st.integers(1, 40), st.integers(0, 2**31), st.floats(-30, 30))
def test_the_grid_keeps_directions(parts: int, dim: int, seed: int, power: float) -> None:
    dice = torch.Generator().manual_seed(seed)
    vectors = torch.randn(6, parts, dim, generator=dice) * 10.0 ** (power / 3)
    vectors[0] = 0
    vectors[1, :, 0] *= 1e4  # nearly one number alone
    visibility = (torch.rand(6, parts, generator=dice) > 0.3).float()
    stored = on_grid(Embedding(vectors, visibility))
    assert stored.dtype == torch.float16
    k = stored.double() * GRID
    assert torch.equal(k, k.round())
    assert k.abs().max() <= LENGTH
    assert not k[visibility == 0].any()
    for row, part in (visibility > 0).nonzero().tolist():
        direction = vectors[row, part].double()
        length = float(direction.norm())
        if length > 1e-9:
            off = (k[row, part] / k[row, part].norm() - direction / length).norm()
            assert off < 2e-5 * math.sqrt(dim) + 5e-4


def test_ids_are_new_for_ever(tmp_path: Path) -> None:
    gallery = filled(tmp_path, 20)
    gallery.remove(range(10, 20))
    gallery.compact(grace=timedelta(0))
    assert gallery.add(people([1, 2]), facts(2)) == [20, 21]
    gallery.remove([0, 20, 21])
    gallery.compact(grace=timedelta(0))
    assert Gallery.open(tmp_path).add(people([1]), facts(1)) == [22]
    assert sorted(gallery.rows()) == [*range(1, 10)]
    assert gallery.refresh()
    assert sorted(gallery.rows()) == [*range(1, 10), 22]
    assert not gallery.refresh()


def test_removing_by_all_that_can_be_said(tmp_path: Path) -> None:
    gallery, known = filled(tmp_path), facts(200)
    span = Where(cameras=frozenset({"gate '1'", "gate '2'"}), since=21.0, until=89.0)
    expected = [
        row
        for row, fact in enumerate(known)
        if fact.camera in ("gate '1'", "gate '2'") and fact.time is not None and 21 <= fact.time <= 89
    ]
    assert {21, 89} <= {*expected}, "both ends are meant"
    assert sorted(gallery.rows(where=span)) == expected
    assert gallery.remove(where=span) == len(expected)
    assert not gallery.rows(where=span)
    assert len(gallery) == 200 - len(expected)
    assert (
        gallery.remove([0, 1, 2, 10**6], Where(sources=frozenset({"film 0.mp4"}), tracks=frozenset({"track 0"}))) == 3
    )
    assert gallery.remove([]) == gallery.remove(where=Where(cameras=frozenset())) == 0


def test_names_cannot_break_out_of_a_condition(tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path, MODEL)
    names = ["' OR true --", "\\' OR 1=1", 'a"b', "x'; DROP", "ü\n\t\u2028", "%_", "''"]
    gallery.add(people([0] * len(names)), [Fact(camera=name, source=name, track=name) for name in names])
    for row, name in enumerate(names):
        assert list(gallery.rows(where=Where(cameras=frozenset({name})))) == [row]
    assert gallery.forget(source="' OR true --") == 1
    assert len(gallery) == len(names) - 1


@settings(deadline=None, max_examples=200)
@given(st.text())
def test_quoted_text_has_only_double_quotes_inside(text: str) -> None:
    inside = quoted(text)[1:-1]
    assert inside.replace("''", "").count("'") == 0
    assert inside.replace("''", "'") == text


def test_a_person_is_forgotten_with_the_passage(tmp_path: Path) -> None:
    gallery = filled(tmp_path)
    assert gallery.forget(person=[7, 151]) == 10
    assert {5, 9, 150, 154} & gallery.rows().keys() == set()
    assert _on_disk(tmp_path, b"thumbnail <8>") == []
    assert _on_disk(tmp_path, b"thumbnail <18>") != []
    assert Counter(gallery.count("camera").values()).total() == 4
    assert gallery.verify() == []


def test_with_a_person_goes_their_passage_and_no_other_of_that_name(tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path, MODEL)
    names = [("a", "first"), ("a", "first"), ("a", "second"), ("b", "first"), ("pictures", ""), ("pictures", "")]
    gallery.add(people([0] * 6), [Fact(source=source, track=track) for source, track in names])
    assert gallery.forget(person=[0]) == 2
    assert gallery.forget(person=[4]) == 1, "a picture is in no passage"
    assert sorted(gallery.rows()) == [2, 3, 5]


def test_what_is_forgotten_is_all_that_is_said(tmp_path: Path) -> None:
    """A passage, or something of unknown age, of another source is not meant."""
    gallery = filled(tmp_path, 60)
    gallery.add(people([0, 0]), [Fact("undated.png", "one set"), Fact("undated.png", "another set")])
    assert gallery.forget(person=[7], source="film 1.mp4") == 0
    assert gallery.forget(person=[7], before=7.5) == 2  # 5 and 7 of its passage; when 6 was is unknown, and 8 is later
    assert gallery.forget(source="one set", before=4e9) == 1
    assert len(gallery) == 59


def test_forgetting_by_source_and_time(tmp_path: Path) -> None:
    gallery = filled(tmp_path)
    assert gallery.forget(source="film 1.mp4", before=60) == len([row for row in range(50, 60) if row % 7 != 6])
    assert gallery.forget(before=50.0) == len([row for row in range(50) if row % 7 != 6])
    assert _on_disk(tmp_path, b"thumbnail <49>") == []
    assert gallery.forget(source="film 3.mp4") == 50
    assert gallery.count("source").keys() == {"film 0.mp4", "film 1.mp4", "film 2.mp4"}


def test_what_has_no_date_is_as_old_as_it_has_been_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = Gallery.create(tmp_path, MODEL)
    taken = {"old.png": 5e8, "": 100_000.0, "undated.png": None, "first day.png": 5.0, "new.png": 2e9}
    monkeypatch.setattr("halfseen.gallery.tables.time.time", lambda: 1e9)
    gallery.add(people([0] * 5), [Fact(image, "a set", time=time) for image, time in taken.items()])

    def left() -> set[str]:
        return {fact.image for fact in gallery.rows().values()}

    assert (gallery.forget(before=9e8), left()) == (2, {"", "undated.png", "new.png"})
    assert (gallery.forget(before=1.5e9), left()) == (2, {"new.png"})


def test_files_that_another_takes_away_while_it_is_asked_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery, tries, really = Gallery.create(tmp_path, MODEL), [], finished._open
    gallery.finish(["one"])

    def compacted(folder: str) -> Any:
        tries.append(folder)
        if len(tries) < 3:
            raise OSError("Not found: sources.lance/data/x.lance")
        return really(folder)

    monkeypatch.setattr(finished, "_open", compacted)
    assert gallery.known(["one", "two"]) == {"one"}
    assert len(tries) == 3


def test_addresses_that_lost_a_slash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for made in (lambda place: Gallery.create(place, MODEL), Gallery.open):
        with pytest.raises(InputError, match=r"s3:/bucket/g.* is an object store's address that has lost a slash"):
            made(Path("s3://bucket/g"))
    assert [*tmp_path.iterdir()] == []


def test_what_is_done_is_known_even_when_forgotten(tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path, MODEL)
    gallery.add(people([0, 1]), facts(2), ["one", "two"])
    assert gallery.known(["one", "two"]) == set()
    gallery.finish(["one", "nobody there"])
    gallery.finish([])
    assert gallery.known([]) == set()
    assert gallery.known(["one", "two", "nobody there"]) == {"one", "nobody there"}
    assert [*gallery.of_content(["two", ""]).values()] == ["two"]
    assert gallery.remove(gallery.of_content(["two"])) == 1
    gallery.forget(source=facts(1)[0].source)
    assert len(gallery) == 0
    assert Gallery.open(tmp_path).known(["one"]) == {"one"}


def test_counting_and_notes(tmp_path: Path) -> None:
    gallery = filled(tmp_path, 10)
    assert gallery.count("camera") == {"gate '0'": 3, "gate '1'": 3, "gate '2'": 2, "gate '3'": 2}
    assert gallery.count("track") == {"track 0": 5, "track 1": 5}
    gallery.keep_note("calibration", {"a": [1, 2.5]})
    assert Gallery.open(tmp_path).notes() == {"calibration": {"a": [1, 2.5]}}


def test_compaction_keeps_everything(tmp_path: Path) -> None:
    gallery = filled(tmp_path, 5)
    for row in range(5, 25):
        gallery.add(people([row]), facts(1, row))
        gallery.finish([f"digest {row}"])
    before = gallery.rows(), gallery.embedding()[1].vectors
    gallery.remove([3])
    gallery.compact(grace=timedelta(0))
    assert gallery.rows() == {id: fact for id, fact in before[0].items() if id != 3}
    assert torch.equal(gallery.embedding()[1].vectors, before[1][[row for row in range(25) if row != 3]])
    assert gallery.known(f"digest {row}" for row in range(30)) == {f"digest {row}" for row in range(5, 25)}
    assert [len([*(tmp_path / f"{name}.lance/data").iterdir()]) for name in ("images", "sources")] == [1, 1]


def test_verify_finds_what_is_wrong(tmp_path: Path) -> None:
    gallery = filled(tmp_path, 12)
    assert gallery.verify() == []
    table = gallery.table(gallery.schema.names).select(gallery.schema.names)
    vectors = torch.zeros(12, len(PARTS) * DIM).half()
    vectors[4, 0] = 0.5  # a direction half as long
    gallery.append(table.set_column(0, table.schema.field(0), _lists(vectors)))
    seen = torch.ones(12, len(PARTS))
    seen[3, 1] = 1.5
    gallery.append(table.set_column(1, table.schema.field(1), _lists(seen)))
    faults = gallery.verify()
    assert any("image 16 has a vector that is no direction" in fault for fault in faults)
    assert any("image 27 has a visibility outside 0 to 1" in fault for fault in faults)


def test_verify_finds_numbers_off_the_grid_and_what_is_not_seen(tmp_path: Path) -> None:
    gallery = filled(tmp_path, 12)
    table = gallery.table(gallery.schema.names).select(gallery.schema.names)
    off = numbers(table["vectors"]).clone()
    off[4, int(off[4, :DIM].abs().argmin())] += 2.0**-16
    gallery.append(table.set_column(0, table.schema.field(0), _lists(off)))
    hidden = numbers(table["visibility"]).clone()
    hidden[3, 0] = 0.0  # and its vector is still there
    gallery.append(table.set_column(1, table.schema.field(1), _lists(hidden)))
    assert [fault.partition(": ")[2].partition(";")[0] for fault in gallery.verify()] == [
        "image 16 has numbers off the grid",
        "image 27 has a vector of an invisible part",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        ModelFacts("tiny", "other weights", PARTS, DIM),
        ModelFacts("tiny", MODEL.digest, PARTS[1:], DIM),
        ModelFacts("tiny", MODEL.digest, PARTS, DIM + 1),
    ],
)
def test_another_models_gallery_is_refused(tmp_path: Path, wrong: ModelFacts) -> None:
    filled(tmp_path, 2)
    with pytest.raises(InputError, match=r"holds embeddings of tiny .*, not of tiny .*; give that model"):
        Gallery.open(tmp_path, wrong)


def test_bad_input_adds_nothing(tmp_path: Path) -> None:
    gallery = filled(tmp_path, 2)
    for embedding, known, digests, words in (
        (Embedding.of(torch.ones(1, 2, DIM)), facts(1), [], "2 parts of 16 numbers"),
        (people([0, 1]), facts(1), [], "2 embeddings come with 1 facts"),
        (people([0, 1]), facts(2), ["a"], "and 1 digests"),
        (people([0]), [Fact(image="bad \udcff name")], [], "image is not what a gallery keeps"),
    ):
        with pytest.raises(InputError, match=words):
            gallery.add(embedding, known, digests)
    assert gallery.add(people([0])[:0], []) == []
    for call in (gallery.remove, gallery.forget):
        with pytest.raises(InputError, match="told what"):
            call()
    assert len(Gallery.open(tmp_path)) == 2


def test_ids_that_cannot_be_are_nobodys(tmp_path: Path) -> None:
    gallery = filled(tmp_path, 3)
    nobody = [-1, 7, 2**63, 10**30]
    assert gallery.rows([*nobody, 1]).keys() == {1}
    assert gallery.embedding(nobody)[0] == []
    assert gallery.remove(nobody) == gallery.forget(person=nobody) == 0
    assert len(gallery) == 3


def test_the_table_is_as_the_documentation_says(tmp_path: Path) -> None:
    schema = filled(tmp_path, 3).schema
    page = (Path(__file__).parents[2] / "docs/gallery.md").read_text()
    (row,) = (line for line in page.splitlines() if line.startswith("| `images.lance`"))
    assert [f"`{name}`" for name in schema.names] == re.findall(r"`\w+`", row.partition("table: ")[2])
    assert json.loads(schema.metadata[b"halfseen"])["digest"] == MODEL.digest
    assert {path.name for path in tmp_path.iterdir()} == {"images.lance", "sources.lance", "writing.lock"}
    assert all(f"| `{path.name}`" in page for path in tmp_path.iterdir())


def test_a_person_is_forgotten_by_who_opened_the_gallery_before_they_came(tmp_path: Path) -> None:
    gallery, other = filled(tmp_path, 3), Gallery.open(tmp_path)
    gallery.add(people([1, 1]), [Fact(source="a", track="b")] * 2)
    assert other.forget(person=[3]) == 2


def test_places_without_a_gallery(tmp_path: Path) -> None:
    filled(tmp_path / "g", 2)
    with pytest.raises(InputError, match=r"there is a gallery at .* already"):
        Gallery.create(tmp_path / "g", MODEL)
    with pytest.raises(InputError, match="there is no gallery at"):
        Gallery.open(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="making the gallery"):
        Gallery.create(tmp_path / "file", MODEL)


def test_a_gallery_in_an_object_store(tmp_path: Path) -> None:
    """Any address that Lance knows; here one of files, as nothing else is at hand."""
    place = f"file://{tmp_path}/g"
    gallery = Gallery.create(place, MODEL)
    gallery.add(people([1, 2, 3]), facts(3))
    gallery.finish(["one"])
    gallery.remove([1])
    gallery.compact()
    again = Gallery.open(place, MODEL)
    assert (sorted(again.rows()), again.known(["one"]), again.verify()) == ([0, 2], {"one"}, [])
    with pytest.raises(InputError, match="there is no gallery"):
        Gallery.open(f"file://{tmp_path}/h")


@pytest.mark.parametrize("time", [math.nan, math.inf])
def test_times_are_numbers(time: float) -> None:
    with pytest.raises(InputError, match="no finite number"):
        Fact(time=time)
    with pytest.raises(InputError, match="no span of time"):
        Where(until=time)


def test_forgetting_before_no_time(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no span of time"):
        filled(tmp_path, 2).forget(before=math.nan)


def _on_disk(folder: Path, words: bytes) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and words in path.read_bytes()]


def _lists(rows: torch.Tensor) -> object:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.numpy().ravel()), rows.shape[1])


def test_who_asks_for_a_date_gets_no_film_without_one(tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path, MODEL)
    embedding = people([0, 0, 0])
    told = [Fact(source="/f/old.mp4", time=12.0), Fact("/p/a.png", time=12.0), Fact(source="/f/b.mp4", time=1.5e9)]
    gallery.add(embedding, told)
    search = Search(gallery)
    for where, wanted in (
        (Where(until=1.6e9), {1, 2}),
        (Where(since=0.0, until=1.6e9), {1, 2}),
        (Where(since=1.4e9), {2}),
        (Where(until=60.0), {0, 1}),
        (Where(since=10.0), {0, 1, 2}),
    ):
        assert gallery.rows(where=where).keys() == wanted, where
        ask = Ask(embedding[torch.tensor([0])], since=where.since, until=where.until)
        assert {sighting.id for sighting in search.search(ask)} == wanted, where
