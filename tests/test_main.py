"""Where the command begins."""

from __future__ import annotations

import subprocess
import sys

import pytest

from halfseen import __main__, __version__, cli


def test_python_m_halfseen_runs_the_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "halfseen", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"halfseen {__version__}\n", "")


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
