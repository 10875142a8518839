"""Chance that is the same on every machine and in every Python: only `random()`'s sequence is promised to stay."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """Draws decided by `seeds` alone (anything with a text that tells it apart); no two topics should share theirs."""

    def __init__(self, *seeds: object) -> None:
        self._random = random.Random(" ".join(map(str, seeds))).random

    def chance(self, share: float) -> bool:
        return self._random() < share

    def below(self, count: int) -> int:
        return int(self._random() * count)

    def between(self, low: float, high: float) -> float:
        # four decimals: nobody sees more, and plans stay readable
        return round(low + (high - low) * self._random(), 4)

    def bell(self, low: float, high: float) -> float:
        """Between `low` and `high`, most often in the middle."""
        middling = (self._random() + self._random() + self._random()) / 3
        return round(low + (high - low) * middling, 4)

    def pick(self, weights: Mapping[T, int]) -> T:
        """One of the keys, as often as its weight says; whole numbers, because sums of floats differ among Pythons."""
        left = self.below(sum(weights.values()))
        for item, weight in weights.items():
            left -= weight
            if left < 0:
                return item
        raise ValueError("nothing to pick from: the weights add up to 0")

    def shuffled(self, items: Iterable[T]) -> list[T]:
        cards = list(items)
        for last in range(len(cards) - 1, 0, -1):
            other = self.below(last + 1)
            cards[last], cards[other] = cards[other], cards[last]
        return cards

    def deck(self, cards: Iterable[T]) -> Iterator[T]:
        """The cards without end: all of them shuffled, then all again in another order."""
        cards = list(cards)
        while True:
            yield from self.shuffled(cards)
