"""Chance that everybody's machine throws alike."""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice

import pytest

from halfseen.world.dice import Dice


def test_throws_are_the_promised_sequence() -> None:
    sequence = random.Random("people 3")
    dice = Dice("people", 3)
    assert [dice.below(1000) for _ in range(5)] == [int(sequence.random() * 1000) for _ in range(5)]
    assert dice.between(-1, 1) == round(-1 + 2 * sequence.random(), 4)
    assert dice.bell(0, 3) == round(sequence.random() + sequence.random() + sequence.random(), 4)


def test_seeds_of_either_sign_and_topics_are_apart() -> None:
    throws = {tuple(dice.below(1000) for _ in range(4)) for dice in (Dice("a", 1), Dice("a", -1), Dice("b", 1))}
    assert len(throws) == 3


def test_picks_follow_the_weights() -> None:
    dice = Dice("weights")
    drawn = Counter(dice.pick({"often": 6, "never": 0, "seldom": 2}) for _ in range(4000))
    assert drawn["never"] == 0
    assert drawn["often"] / 4000 == pytest.approx(0.75, abs=0.03)
    with pytest.raises(ValueError, match="nothing to pick from"):
        dice.pick({"never": 0})


def test_a_shuffle_gives_every_order_equally_often() -> None:
    dice = Dice("shuffle")
    orders = Counter("".join(dice.shuffled("abc")) for _ in range(6000))
    assert len(orders) == 6
    assert min(orders.values()) > 850
    assert max(orders.values()) < 1150


def test_a_deck_gives_each_card_once_a_round() -> None:
    cards = list(islice(Dice("deck").deck("abcd"), 40))
    rounds = [cards[start : start + 4] for start in range(0, 40, 4)]
    assert all(sorted(four) == list("abcd") for four in rounds)
    assert len({"".join(four) for four in rounds}) > 3
