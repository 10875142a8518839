"""The log of searches only grows, is nobody else's, and shows where it was changed."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from threading import Thread

import pytest

from halfseen.service.log import BEGIN, Log, LogError, check_log, digest_of
from halfseen.types import InputError


def written(path: Path, count: int = 3) -> list[bytes]:
    log = Log(path)
    for number in range(count):
        log.write("search", "ada", number=number)
    log.close()
    return path.read_bytes().splitlines()


def test_a_line_says_who_did_what_when_and_knows_the_line_before(tmp_path: Path) -> None:
    lines = written(tmp_path / "log")
    entries = [json.loads(line) for line in lines]
    assert [(entry["event"], entry["who"], entry["number"]) for entry in entries] == [
        ("search", "ada", n) for n in range(3)
    ]
    assert [entry["before"] for entry in entries] == [BEGIN, *(digest_of(line) for line in lines[:-1])]
    assert entries == sorted(entries, key=lambda entry: str(entry["time"]))
    assert check_log(tmp_path / "log") == []


def test_it_goes_on_where_it_ended(tmp_path: Path) -> None:
    written(tmp_path / "log")
    assert len(written(tmp_path / "log")) == 6
    assert check_log(tmp_path / "log") == []


def test_a_changed_line_and_a_missing_one_are_told(tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines = written(path, 5)
    path.write_bytes(b"\n".join([lines[0], lines[1].replace(b'"ada"', b'"bob"'), *lines[2:]]) + b"\n")
    assert [fault for fault in check_log(path) if "line 3" in fault] == check_log(path) != []
    path.write_bytes(b"\n".join([lines[0], *lines[2:]]) + b"\n")
    assert len(check_log(path)) == 1


def test_a_line_cut_short_is_told_and_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written(path)
    path.write_bytes(path.read_bytes()[:-20])
    assert len(written(path, 2)) == 5
    assert len(check_log(path)) == 1
    assert "line 3" in check_log(path)[0]


def test_only_its_owner_reads_it_and_links_are_not_followed(tmp_path: Path) -> None:
    written(tmp_path / "log")
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "log")
    for path in (tmp_path / "link", tmp_path / "missing" / "log", tmp_path):
        with pytest.raises(InputError, match="nobody searches without"):
            Log(path)


def test_what_the_disk_does_not_take_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(tmp_path / "log")
    whole = os.write
    monkeypatch.setattr(os, "write", lambda file, data: whole(file, data[:10]))
    with pytest.raises(LogError):
        log.write("search", "ada")
    monkeypatch.undo()
    log.write("search", "ada")
    assert len(check_log(tmp_path / "log")) == 1


def test_a_file_that_was_removed_takes_nothing_more(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    log.write("search", "ada")
    (tmp_path / "log").rename(tmp_path / "old")  # put away: it goes on there
    log.write("search", "ada")
    (tmp_path / "old").unlink()
    with pytest.raises(LogError, match="removed"):
        log.write("search", "ada")


def add(path: Path, who: str) -> None:
    log = Log(path)
    for _ in range(40):
        log.write("search", who)


def test_several_services_share_one_log(tmp_path: Path) -> None:
    """Each has a file of its own open, as processes have."""
    writers = [Thread(target=add, args=(tmp_path / "log", f"w{number}")) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len((tmp_path / "log").read_bytes().splitlines()) == 120
    assert check_log(tmp_path / "log") == []
