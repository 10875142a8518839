"""Which pictures make up a batch: P identities with K images each, planned for a whole epoch ahead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle, islice
from math import ceil
from random import Random
from typing import TypeVar

from torch.utils.data import Sampler

from halfseen.types import InputError

T = TypeVar("T")


class IdentityBatches(Sampler[list[int]]):
    """Batches of `identities` x `images` (P x K) item numbers, identity after identity.

    `pids[i]` is the identity of picture i of n. Each epoch shows every identity, and of an identity with m pictures
    m // K groups of K different ones (at most one group a batch); one with fewer than K repeats them. A picture drawn
    again in the same epoch gets the item number i + n, i + 2n, ..., which `Pictures` takes as another look at it.

    The plan depends on `seed` and epoch alone. Of each batch rank `rank` of `world` processes yields its P / world
    identities, so that all ranks together see what one process would.
    """

    def __init__(
        self, pids: Sequence[int], identities: int, images: int, *, seed: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        self.pids, self.identities, self.images = pids, identities, images
        self.seed, self.rank, self.world, self.epoch = seed, rank, world, 0
        rows: dict[int, list[int]] = {}
        for row, pid in enumerate(pids):
            rows.setdefault(pid, []).append(row)
        self._rows = [rows[pid] for pid in sorted(rows)]
        self._check()
        self._groups = [max(1, len(own) // images) for own in self._rows]
        self._length = ceil(sum(self._groups) / identities)

    def _check(self) -> None:
        if self.identities < 1 or self.images < 1:
            raise InputError(
                f"a batch of {self.identities} identities x {self.images} images holds nothing; give at least 1 of each"
            )
        if self.identities > len(self._rows):
            raise InputError(
                f"a batch of {self.identities} identities cannot be filled: the training pictures show only "
                f"{len(self._rows)}; lower their number (--recipe.people) to that or give more people"
            )
        if not 0 <= self.rank < self.world or self.identities % self.world:
            raise InputError(
                f"{self.identities} identities a batch cannot be shared out to process {self.rank} of {self.world}; "
                f"the number of identities must be a multiple of the number of processes, which count from 0"
            )

    def set_epoch(self, epoch: int) -> None:
        """Each epoch has a plan of its own."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[list[int]]:
        share = self.identities * self.images // self.world
        for batch in self._plan(Random(f"{self.seed} {self.epoch}")):
            yield batch[self.rank * share : (self.rank + 1) * share]

    def _plan(self, dice: Random) -> Iterator[list[int]]:
        counts = self._counts(dice)
        queue = [who for who in _shuffled(range(len(counts)), dice) for _ in range(counts[who])]
        hands = [_groups_of(own, self.images, dice) for own in self._rows]
        looks = Counter[int]()
        # Every length-th place of the queue: who stands there at most `length` times is in no batch twice.
        for start in _shuffled(range(self._length), dice):
            rows = [row for who in queue[start :: self._length] for row in next(hands[who])]
            yield [_numbered(row, looks, len(self.pids)) for row in rows]

    def _counts(self, dice: Random) -> list[int]:
        """How many batches each identity is in: its groups, topped up at random until the last batch is full."""
        counts = [min(groups, self._length) for groups in self._groups]
        missing = self._length * self.identities - sum(counts)
        while missing:
            room = [who for who, count in enumerate(counts) if count < self._length]
            for who in _shuffled(room, dice)[:missing]:
                counts[who] += 1
                missing -= 1
        return counts


def _groups_of(rows: list[int], size: int, dice: Random) -> Iterator[list[int]]:
    """Endless groups of `size` rows; none returns before all others were dealt, those left over aside."""
    while True:
        order = _shuffled(rows, dice)
        for start in range(0, max(1, len(order) - size + 1), size):
            yield list(islice(cycle(order[start : start + size]), size))


def _numbered(row: int, looks: Counter[int], pictures: int) -> int:
    looks[row] += 1
    return row + pictures * (looks[row] - 1)


def _shuffled(things: Iterable[T], dice: Random) -> list[T]:
    """In an order drawn from `random`, the one sequence that Python promises to keep."""
    return sorted(things, key=lambda _: dice.random())
