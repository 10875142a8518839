"""Manifests: what they may look like, what each bad one is told."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from halfseen.data import export
from halfseen.data.sets import read_set
from halfseen.types import InputError, Occlusion, Sample, Splits

GOOD = (
    "\n \npath,pid,camid,split,time,occlusion\n"
    "a/1.jpg,0012,3,train,0.25,\n"
    "b 2.png,-1,1,Gallery,, HOLISTIC \n"
    "\n"
    '"c,3.png",7,2,query,nan,2\n'
    ",,,,,\n"
    "/elsewhere/4.png,7,1,gallery,-1e3,ntp\n"
)


def written(tmp_path: Path, content: str | bytes, name: str = "manifest.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def expected(root: Path) -> Splits:
    return Splits(
        "manifest",
        root,
        train=(Sample(root / "a/1.jpg", "a/1.jpg", 12, 3, time=0.25),),
        query=(Sample(root / "c,3.png", "c,3.png", 7, 2, Occlusion.NPO),),
        gallery=(
            Sample(root / "b 2.png", "b 2.png", -1, 1, Occlusion.HOLISTIC),
            Sample(Path("/elsewhere/4.png"), "/elsewhere/4.png", 7, 1, Occlusion.NTP, time=-1000.0),
        ),
    )


@pytest.mark.parametrize("encode", [str.encode, lambda text: b"\xef\xbb\xbf" + text.encode()], ids=["plain", "BOM"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_reads_csv_of_any_kind(delimiter: str, line_end: str, encode: object, tmp_path: Path) -> None:
    assert callable(encode)
    text = GOOD.replace("c,3", "c@3").replace(",", delimiter).replace("c@3", "c,3").replace("\n", line_end)
    written(tmp_path, encode(text))
    assert read_set("manifest", tmp_path) == expected(tmp_path)


def test_reads_parquet(tmp_path: Path) -> None:
    table = {
        "path": pa.array(["a/1.jpg", b"b 2.png", "c,3.png", "/elsewhere/4.png"], pa.binary()),
        "split": pa.array(["train", "gallery", "query", "gallery"]).dictionary_encode(),
        "pid": pa.array([12, -1, 7, 7], pa.int16()),
        "camid": [3, 1, 2, 1],
        "occlusion": [None, 3, 2, 1],
        "time": [0.25, None, float("nan"), -1000.0],
    }
    pq.write_table(pa.table(table), tmp_path / "manifest.parquet")
    assert read_set("manifest", tmp_path) == expected(tmp_path)
    assert read_set("manifest", tmp_path / "manifest.parquet") == expected(tmp_path)


def test_a_manifest_may_have_any_name_and_lie_deeper(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD, "mine.txt")
    assert read_set("manifest", path) == expected(tmp_path)
    (tmp_path / "deep/er").mkdir(parents=True)
    path.rename(tmp_path / "deep/er/manifest.csv")
    assert read_set("manifest", tmp_path).root == tmp_path / "deep/er"
    pq.write_table(pa.table({"path": ["x"], "pid": [1], "split": ["train"]}), tmp_path / "deep/er/manifest.parquet")
    splits = read_set("manifest", tmp_path)
    assert len(splits.gallery) == 2
    read = "read manifest.csv, passed by manifest.parquet"
    assert splits.notes[0] == f"{str(tmp_path / 'deep/er')!r} holds the set twice: {read}"


def test_without_camid_query_and_gallery_are_two_cameras(tmp_path: Path) -> None:
    splits = read_set("manifest", written(tmp_path, "pid;split;path\n1;query;a\n1;gallery;a\n1;train;a\n"))
    assert not splits.has_cameras
    assert [s.camid for s in (*splits.train, *splits.query, *splits.gallery)] == [0, 0, 1]


def test_text_pids_are_numbered_in_sorted_order(tmp_path: Path) -> None:
    rows = "path,pid,split\na,zoe,gallery\nb,10,gallery\nc,9,query\nd, zoe ,query\n"
    splits = read_set("manifest", written(tmp_path, rows))
    assert [s.pid for s in splits.gallery + splits.query] == [2, 0, 1, 2]  # '10' < '9' < 'zoe'
    assert splits.notes == (
        "not all pids are whole numbers: people were numbered from 0 in sorted order: '10', '9', 'zoe'",
    )
    huge = read_set("manifest", written(tmp_path, f"path,pid,split\na,{10**30},gallery\nb,5,query\n"))
    assert [s.pid for s in huge.gallery + huge.query] == [0, 1]


def test_whole_numbers_may_be_stored_as_floats(tmp_path: Path) -> None:
    """As pandas does as soon as one of a column is missing."""
    floats = [1.0, -1.0, 2.0]
    columns = {"pid": floats, "camid": floats, "occlusion": [3.0, float("nan"), 2.0]}
    table = {"path": ["a", "b", "c"], "split": ["query", "gallery", "gallery"], **columns}
    pq.write_table(pa.table(table), tmp_path / "manifest.parquet")
    rows = "path,pid,split,camid,occlusion\na,1.0,query,1.0,3.0\nb,-1.0,gallery,-1.0,\nc,2.0,gallery,2.0,2.0\n"
    for path in (tmp_path / "manifest.parquet", written(tmp_path, rows)):
        splits = read_set("manifest", path)
        found = [(s.pid, s.camid, s.occlusion.value) for s in splits.query + splits.gallery]
        assert found == [(1, 1, 3), (-1, -1, 0), (2, 2, 2)]
        assert splits.notes == ()


def test_somebody_may_be_called_nan(tmp_path: Path) -> None:
    splits = read_set("manifest", written(tmp_path, "path,pid,split\na,Nan,gallery\nb,grandpa,query\n"))
    assert [s.pid for s in splits.gallery + splits.query] == [0, 1]


def test_unknown_columns_and_empty_splits_are_noted(tmp_path: Path) -> None:
    splits = read_set("manifest", written(tmp_path, ",path,pid,split,Ocllusion\n0,a,1,train,2\n"))
    assert splits.notes == (
        "columns '', 'ocllusion' are not known and were passed by",
        "query: found no images",
        "gallery: found no images",
    )


def test_columns_of_our_own_exports_need_no_note(tmp_path: Path) -> None:
    row = {"path": "a", "pid": "1", "camid": "1", "split": "query"}
    cells = [row.get(column, "") for column in export.COLUMNS]
    splits = read_set("manifest", written(tmp_path, f"{','.join(export.COLUMNS)}\n{','.join(cells)}\n"))
    assert splits.notes == ("gallery: found no images",)


BAD = {
    "camid missing in a row": ("path,pid,camid,split\na,1,,train\n", "line 2, column camid: '' is not a whole number"),
    "camid no number": ("path,pid,camid,split\na,1,c2,train\n", "line 2, column camid: 'c2' is not a whole number"),
    "split": (
        "path,pid,split\na,1,train\n\nb,1,test\n",
        "line 4, column split: 'test' is not one of train, query, gal",
    ),
    "time": ("path,pid,split,time\na,1,train,noon\n", "line 2, column time: 'noon' is not a number of seconds"),
    "endless time": ("path,pid,split,time\na,1,train,-inf\n", "line 2, column time: '-inf' is not a number of seconds"),
    "occlusion": (
        "path,pid,split,occlusion\na,1,train,4\n",
        "line 2, column occlusion: '4' is not one of 0, 1, 2, 3, unk",
    ),
    "duplicate": ("path,pid,split\na,1,train\n./a,2,train\n", "line 3, column path: 'a' is in train already, at "),
    "no path": ("path,pid,split\n ,1,train\n", "line 2, column path: ' ' is no path"),
    "zero byte": ("path,pid,split\na\0b,1,train\n", "line 2, column path: 'a\\x00b' is no path"),
    "no pid": ("path,pid,split\na,,train\n", "line 2, column pid: is empty"),
    "NaN among numbers": ("path,pid,split\na,1.0,train\nb,NaN,train\n", "line 3, column pid: is NaN; say who this is"),
    "NaN after junk": ("path,pid,split\na,-1.0,gallery\nb,nan,train\n", "line 3, column pid: is nan; say who this is"),
    "names and junk": (
        "path,pid,split\na,ann,train\nb,-1.0,gallery\n",
        "line 3, column pid: -1.0 is below 0, which marks junk, but people here have names ('ann') and junk has none; ",
    ),
    "no number and junk": ("path,pid,split\na,1.5,train\nb,-1,gallery\n", "line 3, column pid: -1 is below 0, which"),
    "junk to find": ("path,pid,split\na,-1,query\n", "line 2, column pid: -1 is below 0, which marks junk"),
    "not UTF-8": (b"path,pid,split\na,1,train\nb\xe4,1,train\n", "line 3, column path: 'b\\udce4' is not UTF-8"),
    "UTF-16": (GOOD.strip().encode("utf-16"), r"line 1: the header has '\udcff\udcfep\x00a\x00t\x00h\x00', which"),
    "no header": (
        "a,1,train\n",
        "line 1: there is no column path and no column pid and no column split; "
        "found 'a', '1', 'train', needed are path",
    ),
    "no split": (
        "path,pid,camid\na,1,1\n",
        "line 1: there is no column split; found 'path', 'pid', 'camid', needed are pa",
    ),
    "column twice": (
        "path,pid,split,PID\na,1,train,1\n",
        "line 1: two columns have the same name; found 'path', 'pid'",
    ),
    "short row": ("path,pid,split\na,1\n", "line 2: 2 cells under a header of 3 ('path', 'pid', 'split'); fill"),
    "long row": ("path,pid,split\na,b,1,train\n", "line 2: 4 cells under a header of 3"),
    "header not UTF-8": (b"path,pid,split,\xe4\na,1,x,\xe4\n", "line 2, column split: 'x' is not one of"),
    "header not UTF-8, row too short": (b"path,pid,split,\xe4\na,1,train\n", "line 2: 3 cells under a header of 4 ("),
    "open quote": ('path,pid,split\n"a,1,train\nb,1,train\n', "line 2: broken table (unexpected end of data)"),
    "odd quote": ('path,pid,split\na,1,train\n"a"b,1,train\n', "line 3: broken table ("),
    "rows over lines": ('path,pid,split\n"a\nb",1,train\nb,1,x\n', "line 4, column split: 'x'"),
    "empty": ("", " holds no rows; give it one for each picture"),
    "only a header": ("\ufeffpath,pid,split\n", " holds no rows; give it one for each picture"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD.keys())
def test_bad_csv(content: str | bytes, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, content)
    with pytest.raises(InputError) as caught:
        read_set("manifest", tmp_path)
    said = str(caught.value)
    said.encode()  # printable anywhere
    assert said.startswith(repr(str(path)))
    assert message in said


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"path": ["a", "b"], "pid": [1, 2], "split": ["train", "no"]}, "row 2, column split: 'no' is not one of"),
        ({"path": ["a"], "pid": [1], "split": [None]}, "row 1, column split: '' is not one of"),
        ({"path": ["a"], "pid": [1], "split": ["train"], "camid": [1.5]}, "row 1, column camid: '1.5' is not a whole"),
        (
            {"path": ["a", "b"], "pid": [1.0, float("nan")], "split": ["query", "gallery"]},
            "row 2, column pid: is empty; say who this is",
        ),
        ({"path": ["a"], "pid": [1]}, "there is no column split; found 'path', 'pid'"),
        ({"path": pa.array([], pa.string()), "pid": [], "split": []}, " holds no rows"),
        (
            {"path": pa.array([b"a", b"b\xff"], pa.binary()), "pid": [1, 1], "split": ["train"] * 2},
            "row 2, column path: 'b\\udcff' is not UTF-8",
        ),
        (
            {"path": pa.array([b"b\xff"], pa.binary()).cast(pa.string(), safe=False), "pid": [1], "split": ["train"]},
            "row 1, column path: 'b\\udcff' is not UTF-8",
        ),
    ],
)
def test_bad_parquet(table: dict[str, object], message: str, tmp_path: Path) -> None:
    pq.write_table(pa.table(table), tmp_path / "manifest.parquet")
    with pytest.raises(InputError) as caught:
        read_set("manifest", tmp_path)
    assert message in str(caught.value)


def test_what_cannot_be_read_as_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"looked there for a folder with manifest\.csv, or manifest\.parquet"):
        read_set("manifest", tmp_path / "nowhere.csv")
    with pytest.raises(InputError, match=r"cannot be read as a Parquet table .*; write it again"):
        read_set("manifest", written(tmp_path, GOOD, "manifest.parquet"))
    path = written(tmp_path, GOOD)

    def forbidden(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    with pytest.raises(InputError, match=r"cannot be read \(Permission denied\); check"):
        read_set("manifest", path)


def test_where_there_is_no_manifest_it_says_how_to_write_one(tmp_path: Path) -> None:
    (tmp_path / "own/ann").mkdir(parents=True)
    with pytest.raises(InputError, match=r"write one with the columns path, pid and split: docs/data\.md shows how"):
        read_set("manifest", tmp_path / "own")
