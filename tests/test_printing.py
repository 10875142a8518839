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


def test_the_last_columns_may_be_words_between_which_and_the_first_numbers_stand(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table("", ("a", "n", "where"), [["x", "10", "b"], ["y", "1", "longest"]], ends=1)
    assert capsys.readouterr().out == "a   n  where\nx  10  b\ny   1  longest\n"


def test_a_column_is_as_wide_as_the_terminal_draws_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("", ("camera", "n"), [["东门入口", "1"], ["e\u0301", "12"]])  # eight cells, and one of two characters
    assert capsys.readouterr().out == "camera     n\n东门入口   1\ne\u0301         12\n"


def test_words_may_take_several_columns_and_come_last(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("", ("a", "bcd"), [["first", "x"], ["", "y"]], words=2)
    assert capsys.readouterr().out == "a      bcd\nfirst  x\n       y\n"
