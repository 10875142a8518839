"""Stopped in the middle: by Ctrl-C, by too little memory, a full disk, a reader that leaves."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch
from PIL import Image

from halfseen import cli, printing
from halfseen.types import InputError

Refused = Callable[..., str]


def crowd(path: Path, rows: int) -> Path:
    """Pictures of one person: the more there are, the longer it takes to score them."""
    np.savez(path, vectors=np.random.default_rng(0).random((rows, 2)), pid=np.zeros(rows, int))
    return path


def plant(root: Path, copies: int, size: tuple[int, int]) -> tuple[Path, bytes]:
    """A Market-1501 with `copies` of one black picture as queries, and that picture."""
    picture = io.BytesIO()
    Image.new("RGB", size).save(picture, "PNG")
    names = ["bounding_box_train/0009_c1_0.png", "bounding_box_test/0001_c2_0.png"]
    for name in (*names, *(f"query/0001_c1_{number}.png" for number in range(copies))):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture.getvalue())
    return root, picture.getvalue()


@contextmanager
def stopped(_: str) -> Iterator[Callable[[int, int], NoReturn]]:
    def stop(_done: int, _all: int) -> NoReturn:
        raise KeyboardInterrupt

    yield stop


def files_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_ctrl_c_leaves_whole_files_only(tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printing, "progress_bar", stopped)
    people, (root, picture) = crowd(tmp_path / "crowd.npz", 8), plant(tmp_path / "set", 4, (4, 8))
    before = files_of(tmp_path)
    out = tmp_path / "out"
    assert "stopped by Ctrl-C" in refused("evaluate", "--query", people, "--gallery", people)
    assert "stopped by Ctrl-C" in refused("data", "check", "market1501", "--root", root)
    assert files_of(tmp_path) == before
    assert "stopped by Ctrl-C" in refused("data", "export", "market1501", out, "--root", root, "--workers", 1)
    card, *pictures = sorted(files_of(out), key=lambda name: "/" in name)
    assert card == "export.json"
    assert {(out / name).read_bytes() for name in pictures} <= {picture}


def start(*words: object) -> subprocess.Popen[str]:
    """`halfseen words` as a process of its own, in which Ctrl-C means what it means at a keyboard."""
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); import halfseen.cli"
    command = [sys.executable, "-c", f"{code}; sys.exit(halfseen.cli.main())", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C reaches a whole console there")
def test_a_real_ctrl_c_stops_real_processes(tmp_path: Path) -> None:
    people, (root, picture) = crowd(tmp_path / "crowd.npz", 5000), plant(tmp_path / "set", 1000, (1000, 2000))
    out = tmp_path / "out"
    scoring = start("evaluate", "--query", people, "--gallery", people)
    writing = start("data", "export", "market1501", out, "--root", root)
    assert scoring.stderr is not None
    assert "no cameras are named" in scoring.stderr.readline()
    while not list(out.glob("query/*.png")):
        assert writing.poll() is None
        time.sleep(0.01)
    for process in (scoring, writing):
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        answer, err = process.communicate(timeout=300)
        assert (process.returncode, answer) == (2, "")
        assert err.splitlines()[-1].startswith("halfseen: stopped by Ctrl-C; nothing half-written is left")
        assert sum(not line.startswith("note: ") for line in err.splitlines()) == 1
    card, *pictures = sorted(files_of(out), key=lambda name: "/" in name)
    assert card == "export.json"
    assert 0 < len(pictures) < 1000
    assert {(out / name).read_bytes() for name in pictures} == {picture}


def test_too_little_memory_is_said(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    for ask in (lambda *_: torch.empty(2**60), lambda *_: np.empty(2**59)):
        monkeypatch.setattr("halfseen.demo.run_demo", ask)
        assert "too little memory" in refused("demo")


def test_a_sentence_stays_on_its_line(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    def tell(*_: object) -> NoReturn:
        raise InputError("an error of another library\n  over several lines; do something else")

    monkeypatch.setattr("halfseen.demo.run_demo", tell)
    assert refused("demo") == "halfseen: an error of another library over several lines; do something else"


def test_faults_of_our_own_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halfseen.demo.run_demo", lambda *_: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):
        cli.main(["demo"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is always full")
@pytest.mark.parametrize("option", [[], ["--json"]])
def test_output_that_cannot_be_written_is_said(
    option: list[str], refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert "No space left on device" in refused("data", "list", *option)


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_a_reader_that_leaves_is_no_fault(
    option: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        assert cli.main(["data", "list", *option]) == 2
    assert capsys.readouterr().err == ""


def test_a_terminal_that_lacks_a_letter_gets_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    paper = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(paper, encoding="latin-1"))
    assert cli.main(["data", "list"]) == 0
    assert rb"\u2013" in paper.getvalue()
