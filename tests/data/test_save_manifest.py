"""A saved manifest reads back the same, and what cannot be saved leaves no trace."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halfseen.data.sets import read_set
from halfseen.data.sets.manifest import save_manifest
from halfseen.types import InputError, KeepTop, Occlusion, Sample, Splits

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda name: name.strip() and name not in (".", "..")
)
FACTS = st.tuples(
    st.integers(0, 10**18 - 1),
    st.integers(-9, 99),
    st.sampled_from(Occlusion),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
)


@settings(deadline=None, max_examples=60)
@given(
    parts=st.tuples(*[st.dictionaries(NAMES, FACTS, max_size=3)] * 3).filter(any),
    ending=st.sampled_from([".csv", ".parquet"]),
    data=st.data(),
)
def test_what_is_saved_reads_back_the_same(
    parts: tuple[dict[str, tuple[int, int, Occlusion, float | None]], ...],
    ending: str,
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    root = tmp_path_factory.getbasetemp() / "round"
    root.mkdir(exist_ok=True)
    has_cameras = data.draw(st.booleans())
    train, query, gallery = (
        tuple(
            Sample(root / name, name, pid, camid if has_cameras else int(part is parts[2]), occlusion, time)
            for name, (pid, camid, occlusion, time) in part.items()
        )
        for part in parts
    )
    splits = Splits("mine", root, train, query, gallery, has_cameras)
    save_manifest(splits, root / f"manifest{ending}")
    back = read_set("manifest", root / f"manifest{ending}")
    assert back == replace(splits, name="manifest", notes=back.notes)
    assert all("found no images" in note for note in back.notes)
    assert [path.name for path in root.glob(".*")] == []


def some_splits(root: Path, *names: str) -> Splits:
    return Splits("mine", root, tuple(Sample(root / name, name, 1, 1) for name in names), (), ())


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_names_that_tables_find_hard(ending: str, tmp_path: Path) -> None:
    names = ("a\rb", "c\nd", " e ", '"f"', "g,h;i\tj", "path", "\ufeffk", "#l", "Grün.jpg")
    save_manifest(some_splits(tmp_path, *names), tmp_path / f"manifest{ending}")
    assert tuple(s.name for s in read_set("manifest", tmp_path).train) == names


def test_saved_elsewhere_the_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    save_manifest(some_splits(tmp_path / "data", "a/b.jpg"), "out/list.CSV")
    assert (tmp_path / "out/list.CSV").read_text() == (
        f"path,pid,split,camid,time,occlusion\n{tmp_path}/data/a/b.jpg,1,train,1,,unknown\n"
    )
    assert read_set("manifest", "out/list.CSV").train[0].path == tmp_path / "data/a/b.jpg"
    save_manifest(some_splits(tmp_path / "data", "a/b.jpg"), "list.csv")
    assert read_set("manifest", "list.csv").train[0].name == "data/a/b.jpg"


def test_saved_parquet_has_numbers(tmp_path: Path) -> None:
    save_manifest(some_splits(tmp_path, "a", "b"), tmp_path / "manifest.parquet")
    types = {field.name: str(field.type) for field in pq.read_schema(tmp_path / "manifest.parquet")}
    text = dict.fromkeys(("path", "split", "occlusion"), "string")
    assert types == {**text, "pid": "int64", "camid": "int64", "time": "double"}


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_what_cannot_be_saved_leaves_the_old_file_alone(ending: str, tmp_path: Path) -> None:
    target = tmp_path / f"manifest{ending}"
    target.write_text("old")
    good = some_splits(tmp_path, "a")
    edited = replace(good, train=(replace(good.train[0], edits=(KeepTop(2),)),))
    junk = replace(good, train=(replace(good.train[0], pid=-1),))
    for splits, message in (
        (edited, "train 'a' is edited while it is read"),
        (junk, "train 'a', column pid: -1 is below 0"),
        (replace(good, train=()), "mine holds no pictures"),
        (some_splits(tmp_path, "a", "a"), "train 'a', column path: 'a' is in train already, at train 'a'"),
        (some_splits(tmp_path, os.fsdecode(b"\xff")), "train '\\udcff', column path: '\\udcff' is not UTF-8"),
    ):
        with pytest.raises(InputError) as caught:
            save_manifest(splits, target)
        assert message in str(caught.value)
        str(caught.value).encode()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_places_where_nothing_can_be_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits, target = some_splits(tmp_path, "a"), tmp_path / "manifest.csv"
    target.write_text("old")
    with pytest.raises(InputError, match=r"ends neither in \.csv nor in \.parquet"):
        save_manifest(splits, tmp_path / "manifest.txt")
    for place in (tmp_path / "nowhere/manifest.csv", target / "manifest.csv"):
        with pytest.raises(InputError, match=r"manifest\.csv cannot be written"):
            save_manifest(splits, place)

    def full(self: Path, other: Path) -> Path:
        raise OSError(28, "No space left on device", str(self), str(other))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\)"):
        save_manifest(splits, target)
    assert (target.read_text(), list(tmp_path.iterdir())) == ("old", [target])


def test_a_saved_manifest_is_as_open_as_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    save_manifest(some_splits(tmp_path, "a"), tmp_path / "manifest.csv")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1
