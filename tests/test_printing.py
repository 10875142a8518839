"""Tables: columns two blanks apart, words to the left, numbers to the right, and no blank before or behind."""

from __future__ import annotations

import pytest

from halfseen.printing import print_table


def test_columns_stand_two_blanks_apart(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("A title", ("name", "n", "share"), [["a", "1,234", "0.1"], ["longer", "5", "[bold]"]])
    assert capsys.readouterr().out.splitlines() == [
        "A title",
        "name        n   share",
        "a       1,234     0.1",
        "longer      5  [bold]",
    ]


def test_words_may_take_several_columns_and_come_last(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("", ("a", "bcd"), [["first", "x"], ["", "y"]], words=2)
    assert capsys.readouterr().out == "a      bcd\nfirst  x\n       y\n"
