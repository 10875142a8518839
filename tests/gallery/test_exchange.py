"""Galleries as plain files: out, and in again."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from fixture_types import Run, SmallDisk
from galleries import DIM, MODEL, PARTS, facts, filled, people
from halfseen.gallery import tables
from halfseen.gallery.sightings import ModelFacts
from halfseen.gallery.store import Gallery
from halfseen.types import InputError

pytest.importorskip("lance", reason="the extra `search` is not installed")

NEEDED = [0, 1, 2, 3, 4, 6, 8, 9]  # columns that have something in every row


def test_out_and_in_again(tmp_path: Path) -> None:
    gallery = filled(tmp_path / "g")
    gallery.remove([3])
    gallery.finish(["one", "two"])
    gallery.keep_note("calibration", {"a": 1})
    gallery.export(tmp_path / "out")
    again = Gallery.create(tmp_path / "again", MODEL)
    assert again.import_(tmp_path / "out") == 199
    assert list(again.rows().values()) == list(gallery.rows().values())
    for one, two in zip(vars(gallery.embedding()[1]).values(), vars(again.embedding()[1]).values(), strict=True):
        assert torch.equal(one, two)
    assert again.known(["one", "two", "three"]) == {"one", "two"}
    assert again.notes() == {"calibration": {"a": 1}}
    assert again.verify() == []
    again.keep_note("calibration", {"a": 2})
    assert again.import_(tmp_path / "out") == 199  # added, not merged
    assert len(again) == 398
    assert again.notes() == {"calibration": {"a": 2}}


def test_content_comes_in_once(tmp_path: Path) -> None:
    """So an import that was broken off, or done twice, doubles nothing, and two galleries may share files."""
    gallery = Gallery.create(tmp_path / "g", MODEL)
    gallery.add(people([0, 1, 2, 3]), facts(4), ["a", "a", "b", "c"])
    gallery.finish(["a", "b", "c"])
    gallery.export(tmp_path / "out")
    again = Gallery.create(tmp_path / "again", MODEL)
    (mine,) = again.add(people([9]), facts(1, 9), ["b"])  # not noted as done, and yet there
    again.finish(["c"])  # was there, and was removed
    assert again.import_(tmp_path / "out") == 2
    assert again.import_(tmp_path / "out") == 0
    assert [fact.image for fact in again.rows().values()] == ["images/9.png", "images/0.png", "images/1.png"]
    assert mine in again.rows()
    assert again.known(["a", "b", "c"]) == {"a", "b", "c"}
    assert gallery.import_(tmp_path / "out") == 0


def test_an_export_holds_the_images_of_all_files_that_it_calls_done(tmp_path: Path) -> None:
    gallery, other = Gallery.create(tmp_path / "g", MODEL), Gallery.open(tmp_path / "g")
    other.add(people([0]), facts(1), ["a"])  # while the first shows nothing of it
    other.finish(["a"])
    gallery.export(tmp_path / "out")
    again = Gallery.create(tmp_path / "again", MODEL)
    assert (again.import_(tmp_path / "out"), again.known(["a"])) == (1, {"a"})


def test_an_export_calls_nothing_done_whose_images_came_too_late_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever imports it would never index such a file."""
    gallery, other = Gallery.create(tmp_path / "g", MODEL), Gallery.open(tmp_path / "g")
    sources = gallery.sources

    def meanwhile() -> pa.Table:
        other.add(people([0]), facts(1), ["a"])
        other.finish(["a"])
        return sources()

    monkeypatch.setattr(gallery, "sources", meanwhile)
    gallery.export(tmp_path / "out")
    again = Gallery.create(tmp_path / "again", MODEL)
    assert again.import_(tmp_path / "out") == len(again.known(["a"]))


def test_an_import_knows_what_others_have_added(tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "g", MODEL)
    gallery.add(people([0, 1]), facts(2), ["a", "b"])
    gallery.export(tmp_path / "out")
    again, other = Gallery.create(tmp_path / "again", MODEL), Gallery.open(tmp_path / "again")
    other.add(people([0]), facts(1), ["a"])
    assert again.import_(tmp_path / "out") == 1
    assert len(again) == 2


def test_nobody_adds_between_an_imports_look_and_its_addition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two imports at once would double everything."""
    filled(tmp_path / "g", 5).export(tmp_path / "out")
    gallery, other = Gallery.create(tmp_path / "again", MODEL), Gallery.open(tmp_path / "again")
    table, refused = gallery.table, list[str]()

    def looks(columns: list[str]) -> pa.Table:
        with pytest.raises(InputError, match="another process has been writing") as said:
            other.import_(tmp_path / "out")
        refused.append(str(said.value))
        return table(columns)

    monkeypatch.setattr(tables, "PATIENCE", 0.0)
    monkeypatch.setattr(gallery, "table", looks)
    assert gallery.import_(tmp_path / "out") == 5
    assert len(refused) == 1


def test_an_import_that_has_no_room_calls_nothing_done(tmp_path: Path, small_disk: SmallDisk) -> None:
    gallery = filled(tmp_path / "g")
    gallery.finish(["a"])
    gallery.export(tmp_path / "out")
    again = Gallery.create(tmp_path / "again", MODEL)
    with small_disk(10_000), pytest.raises(InputError, match="make room"):
        again.import_(tmp_path / "out")
    assert (len(again), again.known(["a"])) == (0, set())
    assert again.import_(tmp_path / "out") == 200
    assert again.known(["a"]) == {"a"}


def test_any_program_reads_it(tmp_path: Path) -> None:
    filled(tmp_path / "g", 5).export(tmp_path / "out")
    table = pq.read_table(tmp_path / "out/images.parquet")
    assert table["camera"].to_pylist()[:2] == ["gate '0'", "gate '1'"]
    assert len(table["vectors"][0].as_py()) == len(PARTS) * DIM
    assert json.loads((tmp_path / "out/gallery.json").read_text())["model"]["digest"] == MODEL.digest


def test_an_export_is_whole_or_not_at_all(tmp_path: Path, small_disk: SmallDisk) -> None:
    gallery = filled(tmp_path / "g")
    with small_disk(2_000), pytest.raises(InputError, match=r"cannot be written .*; make room there"):
        gallery.export(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["g"]
    (tmp_path / "empty").mkdir()
    for place, words in (("g", "exists already"), ("empty", "exists already"), ("no/where", "cannot be written")):
        with pytest.raises(InputError, match=words):
            gallery.export(tmp_path / place)


def test_another_models_export_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "g", 5).export(tmp_path / "out")
    other = Gallery.create(tmp_path / "other", ModelFacts("tiny", "others", PARTS, DIM))
    with pytest.raises(InputError, match="give that model"):
        other.import_(tmp_path / "out")
    assert len(other) == 0


def test_damaged_exports_add_nothing(tmp_path: Path) -> None:
    filled(tmp_path / "g", 50).export(tmp_path / "out")
    gallery = Gallery.create(tmp_path / "other", MODEL)
    whole = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    table = pq.read_table(tmp_path / "out/images.parquet")
    size = len(PARTS) * DIM
    spoilt = torch.full((50, size), torch.nan).half().numpy().ravel()
    long = torch.zeros(50, len(PARTS), DIM)
    long[:, :, 0] = 1.0  # a length that rounding may give, and a number that two bytes do not hold
    unseen = pa.FixedSizeListArray.from_arrays(pa.array([2.0] * 200, pa.float32()), 4)
    nowhere = pa.array([[0.0, 0.0, None, 1.0]] * 50, pa.list_(pa.float64(), 4))
    harms = {
        "images.parquet": [
            whole[tmp_path / "out/images.parquet"][:5_000],
            b"",
            _parquet(table.drop_columns("camera")),
            _parquet(table.set_column(5, "time", pa.array(["noon"] * 50))),
            _parquet(table.set_column(0, table.schema.field(0), pa.FixedSizeListArray.from_arrays(spoilt, size))),
            _parquet(
                table.set_column(
                    0, table.schema.field(0), pa.FixedSizeListArray.from_arrays(long.half().numpy().ravel(), size)
                )
            ),
            _parquet(table.set_column(1, table.schema.field(1), unseen)),
            _parquet(table.set_column(5, table.schema.field(5), pa.array([math.nan] * 50))),
            _parquet(table.set_column(7, table.schema.field(7), nowhere)),
            *(
                _parquet(table.set_column(n, table.schema.field(n), pa.nulls(50, table.schema.types[n])))
                for n in NEEDED
            ),
        ],
        "sources.parquet": [b"PAR1", _parquet(table)],
        "gallery.json": [
            *(b"{", b"[]", b"{}", b'{"model": {}, "notes": {}}', b'{"model": 1, "notes": 2}', b"\xff"),
            json.dumps({"model": asdict(MODEL), "notes": []}).encode(),
            b'{"model": {"name": "tiny", "digest": "a", "parts": 5, "dim": 16}, "notes": {}}',
            b'{"model": {"name": "tiny", "digest": "a", "parts": ["a"], "dim": "16"}, "notes": {}}',
        ],
    }
    for name, contents in harms.items():
        for content in contents:
            (tmp_path / "out" / name).write_bytes(content)
            with pytest.raises(InputError, match=r"export the gallery again|choose another folder"):
                gallery.import_(tmp_path / "out")
        (tmp_path / "out" / name).write_bytes(whole[tmp_path / "out" / name])
    assert len(gallery) == 0
    assert gallery.import_(tmp_path / "out") == 50


@pytest.mark.parametrize("name", ["images.parquet", "sources.parquet"])
def test_of_half_an_export_no_gallery_is_made(name: str, tmp_path: Path, run: Run) -> None:
    filled(tmp_path / "g", 5).export(tmp_path / "out")
    (tmp_path / "out" / name).unlink()
    code, _, err = run("gallery", "import", tmp_path / "new", tmp_path / "out")
    assert (code, name in err) == (2, True)
    assert not (tmp_path / "new").exists()


def test_what_is_no_export(tmp_path: Path) -> None:
    gallery = filled(tmp_path / "g", 5)
    for place in (tmp_path / "nothing", tmp_path / "g"):
        with pytest.raises(InputError, match="holds no exported gallery"):
            gallery.import_(place)


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())
