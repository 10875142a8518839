"""Options by name: what is misspelt is told, and the order in which they are named is no matter."""

from __future__ import annotations

from typing import Literal

import pytest

from halfseen.ops.kernel import check_choices
from halfseen.types import InputError

Fruit = Literal["apple", "pear", "plum"]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [(("plum", "apple"), ("apple", "plum")), (["pear", "pear"], ("pear",)), ((), ())],
)
def test_choices_come_once_and_in_their_order(values: list[str], wanted: tuple[str, ...]) -> None:
    assert check_choices("fruit", values, Fruit) == wanted


def test_a_choice_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="fruit is 'peer'; allowed are apple, pear, plum"):
        check_choices("fruit", ("apple", "peer"), Fruit)
