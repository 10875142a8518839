"""Who may search: files of tokens, and sessions."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from halfseen.service import tokens
from halfseen.service.settings import Settings, is_loopback
from halfseen.service.tokens import Sessions, digest_of, read_tokens
from halfseen.types import InputError

ADA, BOB = "a" * 24, "b" * 32


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_file_names_who_may_search(tmp_path: Path) -> None:
    known = read_tokens(private(tmp_path / "t", f"# ours\nada {ADA}\n\n  bob\t{BOB}\n"))
    assert known == {digest_of(ADA): "ada", digest_of(BOB): "bob"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names nobody"),
        ("# nobody\n", "names nobody"),
        ("ada short\n", "line 1"),
        (f"ada {ADA} more\n", "line 1"),
        (f"ada {ADA}\n{BOB}\n", "line 2"),
        (f"ada {ADA}\nada {BOB}\n", "line 2"),
        (f"ada {ADA}\nada {ADA}\n", "line 2"),
        (f"ada {ADA}\n# and\nbob {ADA}\n", "line 3, gives bob the token of ada, .* make another for one of them"),
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_tokens(private(tmp_path / "t", text))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_file_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = private(tmp_path / "t", f"ada {ADA}\n")
    path.chmod(mode)
    with pytest.raises(InputError, match="chmod 600"):
        read_tokens(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_tokens(tmp_path / "none")


def test_sessions_end(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions({digest_of(ADA): "ada"})
    assert (sessions.name_of_token(ADA), sessions.name_of_token(BOB), sessions.name_of_token("\ud800")) == (
        "ada",
        None,
        None,
    )
    first, second = sessions.open("ada"), sessions.open("ada")
    assert first != second
    assert (sessions.name_of(first), sessions.name_of(second), sessions.name_of("")) == ("ada", "ada", None)
    sessions.close(first)
    sessions.close("never opened")
    assert (sessions.name_of(first), sessions.name_of(second)) == (None, "ada")
    now = time.monotonic() + 3600 * tokens.HOURS
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert sessions.name_of(second) is None


def test_the_oldest_session_goes_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MOST", 2)
    sessions = Sessions({})
    keys = [sessions.open(str(number)) for number in range(3)]
    assert [sessions.name_of(key) for key in keys] == [None, "1", "2"]


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.2", False),
        ("localhost.example.org", False),
        ("", False),
    ],
)
def test_whoever_is_not_alone_needs_tokens(host: str, own: bool) -> None:
    assert is_loopback(host) is own
    if not own:
        with pytest.raises(InputError, match="needs a token"):
            Settings(Path("log"), host=host)
    assert Settings(Path("log"), host=host, tokens={digest_of(ADA): "ada"}).host == host


@pytest.mark.parametrize("name", ["upload", "pixels", "pictures", "patience", "rate"])
def test_limits_that_serve_nobody_are_refused(name: str) -> None:
    limits: dict[str, Any] = {name: -1}
    with pytest.raises(InputError, match=name):
        Settings(Path("log"), **limits)
