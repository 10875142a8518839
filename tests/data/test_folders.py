"""Where a set is looked for, which files count as pictures, and names of any kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halfseen.data.sets import find_set, left_out, read_set, set_names
from halfseen.data.sets.folders import find_root, leading_pid, pid_and_camera
from halfseen.types import InputError

Plant = Callable[[Iterable[str]], Path]

MARKET = (
    "bounding_box_train/0002_c1s1_000451_03.jpg",
    "query/0003_c1s6_015996_00.jpg",
    "bounding_box_test/0003_c4s6_015996_00.jpg",
)
RAW = os.fsdecode(b"0003_c2s1_\xff\xfe.jpg")  # Latin-1 or worse


@pytest.mark.parametrize("below", [".", "a", "a/b", "a/b/c"])
def test_finds_nested_roots(below: str, plant: Plant) -> None:
    root = plant(f"{below}/{name}" for name in MARKET)
    splits = read_set("market1501", str(root))
    assert splits.root == root / below
    assert splits.train[0].name == MARKET[0]
    assert not any("twice" in note for note in splits.notes)


def test_does_not_look_four_levels_down(plant: Plant) -> None:
    root = plant(f"a/b/c/d/{name}" for name in MARKET)
    with pytest.raises(InputError, match="no folder with bounding_box_train \\+ query \\+ bounding_box_test lies at"):
        read_set("market1501", root)


def test_relative_roots(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    root = plant(f"market/{name}" for name in MARKET)
    monkeypatch.chdir(root)
    assert read_set("market1501", "market").root == root / "market"
    assert read_set("market1501", ".").root == root / "market"


def test_of_several_folders_none_is_guessed(plant: Plant) -> None:
    root = plant(f"{below}/{name}" for below in ("z", "m", "a/deeper", "b/deeper", "c/deeper") for name in MARKET)
    with pytest.raises(InputError) as caught:
        read_set("market1501", root)
    places = ", ".join(repr(str(root / below)) for below in ("m", "z", "a/deeper", "b/deeper", "c/deeper"))
    assert str(caught.value) == f"5 folders could be meant: {places}; name the one that holds the set"
    for below in ("z", "a"):  # as soon as one is left
        assert read_set("market1501", root / below).root == root / {"z": "z", "a": "a/deeper"}[below]


def test_of_very_many_folders_some_are_named(plant: Plant) -> None:
    root = plant(f"{number:02}/{name}" for number in range(12) for name in MARKET)
    with pytest.raises(InputError, match=r"^12 folders could be meant: .*/00', .*/08', …; name the one "):
        read_set("market1501", root)


def test_the_root_itself_goes_before_all_below_it(plant: Plant) -> None:
    root = plant(f"{below}{name}" for below in ("", "a/", "b/") for name in MARKET)
    splits = read_set("market1501", root)
    assert splits.root == root
    assert not any("could be meant" in note or "twice" in note for note in splits.notes)


def test_nothing_inside_a_set_is_looked_at(plant: Plant) -> None:
    root = plant(f"{below}{name}" for below in ("a/", "a/old/") for name in MARKET)
    for start in (root, root / "a"):
        splits = read_set("market1501", start)
        assert splits.root == root / "a"
        assert not any("twice" in note for note in splits.notes)


def test_a_variant_is_found_by_the_name_of_its_folder(plant: Plant) -> None:
    root = plant(f"cuhk/{box}/{name}" for box in ("detected", "labeled") for name in MARKET)
    assert read_set("cuhk03-np:labeled", root / "cuhk/labeled").root == root / "cuhk/labeled"
    assert read_set("cuhk03-np:detected", root).name == "cuhk03-np"
    with pytest.raises(InputError, match="no folder named labeled with bounding_box_train"):
        read_set("cuhk03-np:labeled", root / "cuhk/detected")


def test_says_what_is_lacking(plant: Plant) -> None:
    root = plant([f"a/{MARKET[0]}", f"b/{MARKET[0]}", f"b/{MARKET[1]}"])
    with pytest.raises(InputError) as caught:
        read_set("market1501", root)
    assert f"(nearest: {str(root / 'b')!r} lacks bounding_box_test)" in str(caught.value)


def test_nothing_is_near_where_nothing_of_a_layout_lies(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="no folder with train") as refusal:
        find_root(tmp_path, ("train", "query"))
    assert "nearest" not in str(refusal.value)
    (tmp_path / "other/train").mkdir()
    with pytest.raises(InputError, match=r"nearest: '.*other' lacks query"):
        find_root(tmp_path, ("train", "query"))


def test_a_root_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in (tmp_path / "nowhere", tmp_path / "file", tmp_path / "a\0b", tmp_path / ("x" * 300)):
        for name in set_names():
            if (root.name, name) != ("file", "manifest"):
                with pytest.raises(InputError, match=r"cannot be read as a folder .*; looked there for a folder "):
                    read_set(name, root)


def test_folders_that_may_not_be_opened(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    root = plant([*(f"b/{name}" for name in MARKET), "a/picture.jpg"])
    forbidden, real = {root / "a"}, os.scandir

    def scandir(path: Path) -> object:
        if path in forbidden:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert read_set("market1501", root).root == root / "b"
    for folder in (root, root / "b/query"):
        forbidden.add(folder)
        with pytest.raises(InputError, match="Permission denied"):
            read_set("market1501", root)
        forbidden.remove(folder)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("market", "did you mean market1501?"),
        ("Occluded-Duke", "did you mean occluded-duke?"),
        ("cuhk03-np:labelled", "did you mean cuhk03-np:labeled?"),
        ("market1501:small", "did you mean market1501?"),
        ("", "; known are market1501, dukemtmc, "),
        ("\udcff", "; known are market1501, dukemtmc, "),
    ],
)
def test_unknown_names(name: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_set(name, tmp_path)
    message = str(caught.value)
    message.encode()  # printable anywhere
    assert message.startswith(f"there is no data set {name!r}; ")
    assert hint in message
    assert all(known in message for known in set_names())


def test_names_with_and_without_variant() -> None:
    assert find_set("cuhk03-np") == find_set("cuhk03-np:detected")
    assert find_set("partial-reid:occluded")[1] == "occluded"


def test_only_pictures_count_and_odd_names_are_noted(plant: Plant) -> None:
    odd = (
        "._0003_c1s1_1.jpg",
        "IMG_0001.jpg",
        "0003c1.jpg",
        "0003_c.PNG",
        "12345678901_c1_1.jpg",
        "1_c1234567890_1.jpg",
        "x_0003_c1.jpg",
    )
    root = plant(
        [*MARKET, "query/Thumbs.db", "query/0003_c1s1.txt", "query/.jpg/0003_c9.jpg", *(f"query/{n}" for n in odd)]
    )
    (root / "query/0009_c9.jpg").mkdir()
    splits = read_set("market1501", root)
    assert [s.name for s in splits.query] == [MARKET[1]]
    first = ", ".join(repr(f"query/{name}") for name in sorted(odd)[:3])
    assert f"query: 7 image names were not understood and left out: {first}, …" in left_out(splits)


def test_every_extension_in_any_case(plant: Plant) -> None:
    endings = (".jpg", ".JPEG", ".Png", ".bmp", ".TIF", ".tiff")
    root = plant([*MARKET, *(f"query/0004_c1s{i}_0{ending}" for i, ending in enumerate(endings))])
    assert len(read_set("market1501", root).query) == 1 + len(endings)


def test_names_that_are_not_utf8(plant: Plant) -> None:
    try:
        root = plant([*MARKET, f"query/{RAW}", "query/" + RAW.replace("_c", "-c")])
    except OSError:
        pytest.skip("this file system only takes names in UTF-8")
    splits = read_set("market1501", root)
    assert [s.name for s in splits.query] == [MARKET[1], f"query/{RAW}"]
    assert splits.query[1].path.is_file()
    (note,) = left_out(splits)
    assert "\\udcff\\udcfe" in note
    note.encode()


def test_lists_may_name_files_that_are_not_utf8(plant: Plant) -> None:
    root = plant([*MARKET, "new_gallery.txt"])
    (root / "new_query.txt").write_bytes(b"query/0005_c1_\xff.jpg\n")
    (sample,) = read_set("re-occluded-duke", root).query
    assert (sample.pid, os.fsencode(sample.name)) == (5, b"query/0005_c1_\xff.jpg")


def test_a_list_that_may_not_be_opened(plant: Plant) -> None:
    root = plant(MARKET)
    (root / "new_gallery.txt").mkdir()
    (root / "new_query.txt").touch()
    with pytest.raises(InputError, match=r"new_gallery.txt' cannot be read \(Is a directory\)"):
        read_set("re-occluded-duke", root)


def test_links_are_followed_and_broken_ones_stay_listed(plant: Plant, tmp_path: Path) -> None:
    real = plant(f"real/{name}" for name in MARKET) / "real"
    (tmp_path / "a").mkdir()
    (tmp_path / "a/linked").symlink_to(real)
    (tmp_path / "a/self").symlink_to(tmp_path / "a/self")
    (real / "query/0003_c2s1_1.jpg").symlink_to(real / "gone.jpg")
    (real / "query/0003_c3s1_1.jpg").symlink_to(real / "query/0003_c3s1_1.jpg")
    splits = read_set("market1501", tmp_path / "a")
    assert splits.root == tmp_path / "a/linked"
    assert [s.camid for s in splits.query] == [1, 2, 3]


@settings(deadline=None, max_examples=100)
@given(
    pid=st.integers(-1, 10**9 - 1),
    camid=st.integers(0, 99),
    rest=st.text(st.characters(exclude_characters="/"), max_size=8),
)
def test_names_say_pid_and_camera(pid: int, camid: int, rest: str) -> None:
    rest = rest if rest[:1] not in set("0123456789") else f"s{rest}"
    assert pid_and_camera(f"some/0001_c7/{pid:04d}_c{camid}{rest}.jpg") == (pid, camid)


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=20))
def test_any_name_at_all_is_understood_or_not(name: str) -> None:
    fact, pid = pid_and_camera(name), leading_pid(name)
    assert fact is None or -(10**9) < fact[0] < 10**9
    assert pid is None or 0 <= pid < 10**9
