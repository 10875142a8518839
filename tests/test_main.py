"""Where the command begins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from halfseen import __main__, __version__, cli


def test_python_m_halfseen_runs_the_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "halfseen", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"halfseen {__version__}\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize(("words", "full"), [("--version", "stdout"), ("--version", "both"), ("evaluate", "both")])
def test_where_nothing_can_be_printed_the_exit_code_says_so(words: str, full: str) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as nowhere:
        error = nowhere if full == "both" else subprocess.PIPE
        command = [sys.executable, "-m", "halfseen", words]
        done = subprocess.run(command, stdout=nowhere, stderr=error, text=True, check=False)
    assert done.returncode == 2
    if full == "stdout":
        assert done.stderr.startswith("halfseen: the system refused to go on ([Errno 28] No space left on device)")
        assert done.stderr.count("\n") == 1


def test_the_exit_code_is_that_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "main", lambda: 7)
    assert __main__.main() == 7


def test_ctrl_c_while_importing_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted:
        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "halfseen.cli", Interrupted())
    assert __main__.main() == 2
    assert capsys.readouterr().err == "halfseen: stopped by Ctrl-C before anything was done\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("DataLoader worker (pid 9) is killed by signal: Killed. "), "take fewer workers"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: you tried to allocate 9 bytes"), "too little memory"),
        (MemoryError(), "too little memory"),
    ],
)
def test_errors_of_the_machine_are_a_sentence(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: list[str]) -> NoReturn:
        raise error

    monkeypatch.setattr(cli, "_parse", fail)
    assert cli.main(["demo"]) == 2
    assert said in capsys.readouterr().err


def test_other_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: list[str]) -> NoReturn:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(cli, "_parse", fail)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        cli.main(["demo"])
