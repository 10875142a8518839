"""Pictures in terminals: who understands what, and what is written."""

from __future__ import annotations

import base64
import re

import pytest

from halfseen.terminal import PIECE, inline, spoken


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, None),
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM_PROGRAM": "ghostty"}, "kitty"),
        ({"TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM_PROGRAM": "WezTerm"}, "iterm"),
        ({"LC_TERMINAL": "iTerm2"}, "iterm"),
        ({"TERM": "screen-256color", "KITTY_WINDOW_ID": "1"}, None),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/x,1,0"}, None),
        ({"TERM": "dumb", "LC_TERMINAL": "iTerm2"}, None),
    ],
)
def test_the_environment_tells_what_a_terminal_understands(environment: dict[str, str], language: str | None) -> None:
    assert spoken(environment) == language


@pytest.mark.parametrize("size", [1, 3 * PIECE // 4, 3 * PIECE // 4 + 1, 10_000])
def test_kitty_gets_the_picture_in_pieces(size: int) -> None:
    png = bytes(number % 251 for number in range(size))
    told = inline(png, "kitty")
    pieces = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", told)
    assert "".join(f"\x1b_G{head};{text}\x1b\\" for head, text in pieces) + "\n" == told
    assert [head for head, _ in pieces] == [
        ("a=T,f=100," if number == 0 else "") + f"m={int(number < len(pieces) - 1)}" for number in range(len(pieces))
    ]
    assert all(len(text) <= PIECE for _, text in pieces)
    assert base64.b64decode("".join(text for _, text in pieces)) == png


def test_iterm_gets_it_whole() -> None:
    head, text = inline(b"a picture", "iterm").rstrip("\a\n").split(":")
    assert head == "\x1b]1337;File=inline=1;size=9;preserveAspectRatio=1"
    assert base64.b64decode(text) == b"a picture"
