"""What processes of a cluster have begun: a process of its own, which imports nothing that takes time or memory."""

from __future__ import annotations

from collections import Counter
from typing import Any


class Ledger:
    """What was begun and has not ended: Ray begins a process that died anew as often as it dies, and what it was at."""

    def __init__(self) -> None:
        self._begun: Counter[Any] = Counter()
        self._told: Counter[Any] = Counter()

    def begin(self, key: Any) -> tuple[int, int]:
        """The how manieth time this is, and how many things were told of it before."""
        self._begun[key] += 1
        return self._begun[key], self._told[key]

    def tell(self, key: Any, count: int) -> None:
        self._told[key] = max(count, self._told[key])

    def end(self, key: Any) -> None:
        del self._begun[key]
