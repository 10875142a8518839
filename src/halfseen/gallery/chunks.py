"""Rows of a gallery in memory, and what a search asks of them, however they lie there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import cached_property
from itertools import pairwise
from typing import ClassVar, NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor

from halfseen.gallery.compiled import Loops
from halfseen.gallery.probes import Mean, Probes
from halfseen.gallery.tables import GRID, LENGTH
from halfseen.gallery.threads import crew
from halfseen.types import InputError

AHEAD = 8  # pieces that wait to be written
NAMED = 24  # bytes that a row takes to be found by its id


class Stored(NamedTuple):
    """Rows as the gallery keeps them: `ids` [n], `vectors` float16 [n,P,D] on the grid, `visibility` [n,P]."""

    ids: Tensor
    vectors: Tensor
    visibility: Tensor


class Chunk(ABC):
    """n rows of the gallery: `ids` [n]. Of those that may be the nearest, `more` times as many as are wanted are
    looked at first. `loops` are what is compiled for them, if anything."""

    ids: Tensor
    more: ClassVar[int] = 1
    loops: Loops | None = None

    @staticmethod
    @abstractmethod
    def row_bytes(parts: int, dim: int) -> int:
        """How much memory a row takes."""

    @abstractmethod
    def write(self, start: int, stored: Stored) -> None:
        """Make `stored` the rows from `start` on."""

    @abstractmethod
    def rows(self: Some, rows: slice | Tensor) -> Some:
        """Those of the rows that are named."""

    @abstractmethod
    def stored(self, rows: Tensor) -> Stored:
        """Those of the `rows` [m] as the gallery keeps them, to the last bit."""

    @property
    @abstractmethod
    def visibility(self) -> Tensor:
        """[n,P]."""

    @abstractmethod
    def lower_bounds(self, probes: Probes) -> Callable[[slice, Tensor], None]:
        """Writes, of some rows, what no distance is below into those columns of [q,N]: infinity where no part is
        shared."""

    def second_bounds(self, probes: Probes) -> Second | None:  # noqa: ARG002
        """The same for pairs of rows and people, and next to the distance; None where that costs as much."""
        return None

    @abstractmethod
    def dots(self, mean: Mean, pairs: Pairs, parts: Sequence[int]) -> Tensor:
        """`mean.sums`, which are whole numbers, of the people times the numbers of the rows: of those `parts`, float64
        [m,P]. All sums are below 2⁵³, and so exact in whatever order."""

    @abstractmethod
    def lengths(self, rows: Tensor) -> Tensor:
        """Of the vectors of `rows`, in steps of the grid [m,P]."""

    def __len__(self) -> int:
        return len(self.ids)

    def named(self, ids: Tensor) -> Tensor:
        """The rows of those of `ids` [m] that are here."""
        known, rows = self._by_id
        place, there = places(known, ids)
        return rows[place[there]]

    @cached_property
    def _by_id(self) -> tuple[Tensor, Tensor]:
        """All ids in order, and the rows that have them."""
        known, rows = self.ids.sort()
        return known, rows

    def among(self, ids: Tensor) -> Chunk:
        """The rows of `ids` [N], which are in order: others may have come or gone while this was read."""
        _, there = places(ids, self.ids)
        return self if bool(there.all()) else self.rows(there.nonzero()[:, 0])


Pairs: TypeAlias = tuple[Tensor, Tensor]  # rows and people [M], people in order
Second: TypeAlias = Callable[[Pairs], Tensor]  # bounds, of pairs
Some = TypeVar("Some", bound=Chunk)
Maker: TypeAlias = Callable[[Stored, int], Chunk]  # of room for so many rows of such shape


def places(known: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Where each of `ids` [m] lies among the `known` [N], which are in order, [m], and whether it does, bool [m]: the
    places of those that do not are some."""
    place = torch.searchsorted(known, ids).clamp_(max=max(0, len(known) - 1))
    return place, known[place] == ids if len(known) else torch.zeros(len(ids), dtype=torch.bool)


def products_of(sums: Tensor, k: Tensor, people: Tensor) -> Tensor:
    """What `dots` are: `sums` float64 [q,p,D] of m `people`, in order, times as many `k` [m,p,D]: [m,p]."""
    products = torch.zeros(k.shape[:2], dtype=torch.float64)
    ends = people.bincount().cumsum(0).tolist()
    for person, (start, end) in enumerate(pairwise([0, *ends])):
        if start < end:
            own = k[start:end].double().transpose(0, 1) @ sums[person, :, :, None]  # [p,·,1]
            products[start:end] = own[:, :, 0].T
    return products


def largest(k: Tensor, length: Tensor, visibility: Tensor) -> Tensor:
    """Of `k` [n,P,D], in steps of the grid, the largest number of each part. What only damage makes would spoil the
    bounds and is told: NaN, numbers off the grid's end, vectors of a `length` above 2¹⁶, a visibility beyond 0 to 1."""
    most = torch.maximum(k.amax(2), -k.amin(2))
    if not bool(((most <= LENGTH) & (length <= 2 * GRID) & (visibility >= 0) & (visibility <= 1)).all()):  # NaN: no
        raise InputError(
            "the gallery holds a vector or a visibility that is none; `halfseen gallery verify` says which, restore it "
            "from an export"
        )
    return most


def in_chunks(pieces: Iterable[Stored], total: int, size: int, make: Maker) -> Iterator[Chunk]:
    """The rows of `pieces`, about `total`, put together `size` at a time, by as many threads as torch has."""
    pool, chunk, filled, writing = crew(torch.get_num_threads()), None, 0, deque[Future[None]]()
    for piece in pieces:
        start = 0
        while start < len(piece.ids):
            if chunk is None:
                chunk = make(piece, min(size, max(total, len(piece.ids) - start)))
                pool.submit(getattr, chunk, "loops")  # what must be compiled is, while others read
            some = Stored(*(column[start : start + len(chunk) - filled] for column in piece))
            writing.append(pool.submit(chunk.write, filled, some))
            start, filled = start + len(some.ids), filled + len(some.ids)
            while writing and (len(writing) > AHEAD or filled == len(chunk)):
                writing.popleft().result()
            if filled == len(chunk):
                yield chunk
                total, chunk, filled = total - filled, None, 0
    while writing:
        writing.popleft().result()
    if chunk:
        yield chunk.rows(slice(0, filled))
