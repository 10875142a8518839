"""What folders, tables and single files lead to."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from halfseen.gallery.indexing.patterns import Named, Pattern
from halfseen.gallery.indexing.sources import DamagedError, digest_of, find
from halfseen.types import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b/2.jpg", "a/1.JPG", "a/film.mp4", "a/notes.txt", ".hidden/3.jpg", "a/.4.jpg", "c/deep/5.png"):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "set"


def names(folder: Path, paths: list[Path]) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_a_folder_gives_its_pictures_and_films_in_order(folder: Path) -> None:
    found = find([folder])
    assert names(folder, [source.path for source in found.sources]) == [
        "a/1.JPG",
        "a/film.mp4",
        "b/2.jpg",
        "c/deep/5.png",
    ]
    assert [source.is_film for source in found.sources] == [False, True, False, False]
    assert {source.origin for source in found.pictures} == {str(folder)}
    assert [source.origin for source in found.films] == [str(folder / "a/film.mp4")]
    assert found.faults == []


def test_each_file_comes_once_and_as_it_was_named_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "a")
    found = find([Path("1.JPG"), folder, Path("../a")])
    assert found.sources[0].path == folder / "a/1.JPG"
    assert len(found.sources) == 4
    assert found.sources[0].origin == str(folder / "a")


def test_names_tell_and_those_that_do_not_are_left_out_in_one_line(folder: Path) -> None:
    found = find([folder], [Pattern("{camera}/?.jpg"), Pattern("{camera}/film.*")])
    assert [(source.path.name, source.named) for source in found.sources] == [
        ("film.mp4", Named("a")),
        ("2.jpg", Named("b")),
    ]
    assert found.faults == [f"no --pattern fits 2 files, such as {folder / 'a/1.JPG'}; correct it, or add one"]


def test_an_impossible_time_leaves_out_that_file_alone(tmp_path: Path) -> None:
    for name in ("20240230.jpg", "20240229.jpg"):
        (tmp_path / name).touch()
    found = find([tmp_path], [Pattern("{time:%Y%m%d}.jpg")])
    assert [source.path.name for source in found.sources] == ["20240229.jpg"]
    assert len(found.faults) == 1
    assert "20240230.jpg names no possible time" in found.faults[0]


def test_a_table_tells_camera_time_and_track(folder: Path) -> None:
    table = folder / "list.csv"
    table.write_text("path,camera,time,track\na/1.JPG,gate,2024-05-31 12:00,p1\nb/2.jpg,,12.5,\na/film.mp4,yard,,\n")
    found = find([table])
    assert [(source.origin, source.named) for source in found.sources] == [
        (str(table), Named("gate", 1_717_156_800.0, "p1")),
        (str(table), Named("", 12.5)),
        (str(folder / "a/film.mp4"), Named("yard")),
    ]


def test_numbers_in_parquet_are_seconds_and_compact_dates_are_dates(folder: Path) -> None:
    """Of 2024.0 nothing but 2024 is left when a row is read, so nobody could write seconds there."""
    table = folder / "list.parquet"
    pq.write_table(pa.table({"path": ["a/1.JPG", "b/2.jpg"], "time": [2024.0, 20240531.0]}), table)
    assert [source.named.time for source in find([table]).sources] == [2024.0, 1_717_113_600.0]


def test_faults_before_it_hide_no_empty_table(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("path,time\na.jpg,noon\n")
    (tmp_path / "empty.csv").write_text("path\n")
    with pytest.raises(InputError, match=r"empty\.csv' holds no rows"):
        find([tmp_path / "bad.csv", tmp_path / "empty.csv"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file\na.jpg\n", "there is no column path"),
        ("path\n", "holds no rows"),
        ('path\n"a.jpg\n', "line 2: broken table"),
    ],
)
def test_a_table_with_a_fault_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        find([tmp_path / "t.csv"])


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (
            "path,cam,Zeit",
            "columns that are not read: 'cam', 'zeit'; read are path, camera, time, track: rename it",
        ),
        ("path,camera,time,track,height", None),  # nothing is missing
        ("path,Camera ", None),
        ("path,camera,", None),
    ],
)
def test_columns_that_may_be_meant_to_be_others_are_told(folder: Path, header: str, said: str | None) -> None:
    table = folder / "list.csv"
    row = "a/1.JPG" + "," * header.count(",")
    table.write_text(f"{header}\n{row}\n{row}\n")
    found = find([table])
    assert (len(found.sources), found.faults) == (1, [])
    assert [said in note for note in found.notes if said] == [True] * bool(said)
    assert len(found.notes) == bool(said)


def test_films_that_would_become_one_camera_are_told_once(tmp_path: Path) -> None:
    def noted(*names: str, patterns: tuple[str, ...] = ()) -> list[str]:
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        return find([root], [Pattern(text) for text in patterns]).notes

    alike = ("gate/video.mp4", "yard/video.mp4", "zoo/video.mp4")
    (note,) = noted(*alike)
    assert "gate/video.mp4 and " in note
    assert "yard/video.mp4 become one camera, 'video'" in note
    assert "--pattern '{camera}/*'" in note
    assert noted(*alike, patterns=("{camera}/*",)) == []
    (note,) = noted("gate/20240531.mp4", "yard/20240531.mp4", patterns=("{time:%Y%m%d}.mp4",))
    assert "say so: with {camera} in your patterns" in note, "another pattern would come too late"
    assert noted("gate/a.mp4", "yard/b.mp4", "yard/b.jpg", "gate/b.jpg") == []
    assert noted("gate/video.mp4", "gate/video.avi") == []  # one camera's film in two forms
    assert len(noted("a.mp4", "gate/b.mp4", "yard/b.mov")) == 1
    table = tmp_path / "films.csv"
    for header, cells, count in (("path", ("", ""), 1), ("path,camera", (",a", ",b"), 0)):
        rows = [f"0/{name}{cell}" for name, cell in zip(alike[:2], cells, strict=True)]
        table.write_text("\n".join([header, *rows]))
        assert len(find([table]).notes) == count


def test_a_bad_row_of_a_table_leaves_out_that_row_alone(folder: Path) -> None:
    table = folder / "list.csv"
    rows = (
        "a/1.JPG,31.5.2024",
        "b/2.jpg,2024-05-31",
        "a/notes.txt,",
        ",12",
        "c/deep/5.png,2024",
        "a/film.mp4",
        "x.jpg,",
    )
    table.write_text("\n".join(("path,time", *rows)))
    found = find([table])
    assert names(folder, [source.path for source in found.sources]) == ["b/2.jpg", "x.jpg"]
    assert sorted(fault.removeprefix(f"'{table}', line ").partition(";")[0] for fault in found.faults) == [
        "2, column time: '31.5.2024' is no time",
        f"4, column path: {folder / 'a/notes.txt'} ends neither as a picture nor as a film",
        "5, column path: '' is no path",
        "6, column time: '2024' may be a year or seconds",
        "7: 1 cells under a header of 2 ('path', 'time')",
    ]
    pq.write_table(pa.table({"path": ["a/1.JPG", "b/2.jpg"], "time": ["noon", "12"]}), folder / "list.parquet")
    found = find([folder / "list.parquet"])
    assert [source.path.name for source in found.sources] == ["2.jpg"]
    assert found.faults[0].startswith(f"'{folder / 'list.parquet'}', row 1, column time: 'noon' is no time; write")


def test_what_is_nothing_of_that_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"notes.txt is no folder and ends in none of \.jpg, "):
        find([tmp_path / "notes.txt"])
    with pytest.raises(InputError, match="gone does not exist; give folders, pictures, films or tables"):
        find([tmp_path / "gone"])


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on Unix only")
def test_a_name_that_is_no_text_is_left_out(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg")).touch()
    found = find([tmp_path])
    assert found.sources == []
    assert found.faults == [f"{tmp_path}/\\xff.jpg has a name that is not UTF-8: rename it"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_is_forbidden_is_a_fault(folder: Path) -> None:
    (folder / "a").chmod(0)
    found = find([folder])
    (folder / "a").chmod(0o755)
    assert len(found.sources) == 2
    assert "cannot be listed" in found.faults[0]


def test_a_loop_of_links_is_not_followed(folder: Path) -> None:
    (folder / "b/loop").symlink_to(folder)
    assert len(find([folder]).sources) == 4


def test_a_digest_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"halfseen" * 100_000)
    assert digest_of(tmp_path / "x") == hashlib.sha256(b"halfseen" * 100_000).hexdigest()
    with pytest.raises(DamagedError, match="gone cannot be read"):
        digest_of(tmp_path / "gone")


def test_a_table_beside_a_folder_names_its_files_as_the_folder_does(tmp_path: Path) -> None:
    for name in ("films", "lists"):
        (tmp_path / name).mkdir()
    (tmp_path / "films" / "a.avi").write_bytes(b"x")
    (tmp_path / "lists" / "all.csv").write_text("path,camera\n../films/a.avi,gate\n")
    found = find([tmp_path / "lists" / "all.csv", tmp_path / "films"])
    assert [(source.origin, source.named.camera) for source in found.sources] == [
        (str(tmp_path / "films" / "a.avi"), "gate")
    ]


def test_a_film_in_capitals_is_its_own_source(tmp_path: Path) -> None:
    (film := tmp_path / "GATE.MP4").touch()
    (source,) = find([tmp_path]).sources
    assert (source.is_film, source.origin) == (True, str(film))
