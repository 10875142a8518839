"""Writing wholly or not at all, and printable names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from halfseen.data.files import shown, whole
from halfseen.types import InputError


def test_the_new_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with whole(target) as beside:
        beside.write_text("new")
        assert target.read_text() == "old"
        assert beside.parent == target.parent
    assert target.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_whatever_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, failure: type[BaseException]) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write_half() -> None:
        with whole(target) as beside:
            beside.write_text("half")
            raise failure

    with pytest.raises(failure):
        write_half()
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("place", ["nowhere/a.txt", "file/a.txt", "folder"])
def test_an_impossible_place_is_a_sentence(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(InputError, match=rf"{place} cannot be written \(.+\); choose"),
        whole(tmp_path / place) as beside,
    ):
        beside.write_text("x")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "folder"]


def test_any_name_is_shown_on_one_printable_line() -> None:
    assert shown("Zoë/ä b.jpg") == "Zoë/ä b.jpg"
    assert shown("a\nb\x1b[31m") == "a\\nb\\x1b[31m"
    assert shown(os.fsdecode(b"\xff\xfe.jpg")) == "\\xff\\xfe.jpg"
