"""Exact search in two steps: a bound on every distance from half the bytes, then the distances that the bound leaves.

A direction on the grid (`tables.on_grid`) is k = step·high + low, whole numbers of one byte each, with a step of its
own for each part of each row. `high` gives the product with a query, rounded to bytes too, by one product of bytes a
part; what `low` and the query's rest can add is at most the product of lengths (Cauchy and Schwarz). So, with k/‖k‖
the unit vector and v the visibility,

    S ≤ Σ v·step/‖k‖·⟨high, query's high⟩ + Σ v·(‖low‖/‖k‖·‖query's high‖ + ‖query's rest‖)

and no distance 1 − S/W is below the bound that this gives. Rows whose bound is above the k-th best distance known
cannot be among the k nearest. The others are measured in float32, from all their bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from halfseen.gallery.probes import EMPTY, HIGHEST, Found, Probes, pushed
from halfseen.gallery.tables import GRID
from halfseen.gallery.threads import all_done, by_one, crew
from halfseen.types import InputError

BLOCK = 64  # rows of which only the least bound is looked at first
TILE = 2**19  # bounds worked on at a time, by each thread
PAIRS = 2048  # of a row and a person, measured at a time
MEASURED = 2**20  # pairs looked at together, which may all have to be measured
AHEAD = 8  # pieces that wait to be written
EVEN = 8  # numbers of queries that are multiples of it are multiplied fastest
ROUNDING = 2e-5  # what float32 may lose on the way to a bound, and more
NOTHING = 1e-25  # taken from every product: where no part is shared, −NOTHING/0 makes the distance infinite
ROWS_FIRST = ("ids", "sides")  # of the tensors of planes; the others have parts first


class Stored(NamedTuple):
    """Rows as the gallery keeps them: `ids` [n], `vectors` float16 [n,P,D] on the grid, `visibility` [n,P]."""

    ids: Tensor
    vectors: Tensor
    visibility: Tensor


@dataclass(frozen=True)
class Planes:
    """n rows of the gallery: `high` and `low` int8 [P,n,D], `step` int16 and `length` ‖k‖ [P,n], `ids` [n].

    `pull` [P,n] is v·step/‖k‖; `sides` [n,2P] are v and v·‖low‖/‖k‖.
    """

    ids: Tensor
    high: Tensor
    low: Tensor
    step: Tensor
    length: Tensor
    pull: Tensor
    sides: Tensor

    @staticmethod
    def of(stored: Stored) -> Planes:
        """All of `stored`."""
        planes = Planes.room(stored, len(stored.ids))
        planes.write(0, stored)
        return planes

    @staticmethod
    def room(like: Stored, rows: int) -> Planes:
        """For so many rows of such shape."""
        _, parts, dim = like.vectors.shape
        high, low = (torch.empty(parts, rows, dim, dtype=torch.int8) for _ in range(2))
        length, pull = torch.empty(2, parts, rows).unbind()
        ids, step = torch.empty(rows).long(), torch.empty(parts, rows, dtype=torch.int16)
        return Planes(ids, high, low, step, length, pull, torch.empty(rows, 2 * parts))

    def write(self, start: int, stored: Stored) -> None:
        """Make `stored` the rows from `start` on."""
        k = stored.vectors.float().mul_(GRID)
        length = torch.linalg.vector_norm(k, dim=2).clamp_(min=1)
        step = torch.ceil(torch.maximum(k.amax(2), -k.amin(2)) / HIGHEST).clamp_(min=1)
        _check(step, stored.visibility)
        high = (k * step.reciprocal()[:, :, None]).round_()
        low = k.addcmul_(high, step[:, :, None], value=-1)
        share = stored.visibility / length
        sides = torch.cat([stored.visibility, torch.linalg.vector_norm(low, dim=2) * share], 1)
        place = slice(start, start + len(stored.ids))
        self.ids[place], self.sides[place] = stored.ids, sides
        for name, value in {"high": high, "low": low, "step": step, "length": length, "pull": share * step}.items():
            vars(self)[name][:, place] = value.transpose(0, 1)

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, rows: slice | Tensor) -> Planes:
        """Those of the rows that are named."""
        return Planes(**{n: value[rows] if n in ROWS_FIRST else value[:, rows] for n, value in vars(self).items()})

    def stored(self, rows: Tensor) -> Stored:
        """Those of the `rows` [m] as the gallery keeps them, to the last bit."""
        whole = torch.stack([self._whole(part, rows) for part in range(len(self.high))], 1)
        return Stored(self.ids[rows], whole.div_(GRID).half(), self.sides[rows, : len(self.high)])

    def search(self, probes: Probes, k: int, found: Found, allowed: Tensor | None, doubt: float = 1.0) -> Found:
        """`found`, joined by those of the rows `allowed` bool [n,q] (None: all) that are nearer.

        `doubt` is the share of the bound's slack that is believed in: 1 makes the answer certain.
        """
        bounds, least = self._bounds(probes, allowed, doubt)
        first = by_one(lambda: _first(bounds, least, k, found.limits(k)))
        found = self._joined(found, probes, first, k)
        bounds[first] = EMPTY
        for blocks in _slices(len(least), max(1, MEASURED // (BLOCK * len(probes)))):
            rows = slice(blocks.start * BLOCK, blocks.stop * BLOCK)
            near, people = by_one(partial(_within, bounds[rows], least[blocks], found.limits(k)))
            if len(near):
                found = self._joined(found, probes, (near + rows.start, people), k)
        return found

    def _bounds(self, probes: Probes, allowed: Tensor | None, doubt: float) -> tuple[Tensor, Tensor]:
        """What no distance is below: [n,q], padded to whole blocks, and the least of each block [m,q]."""
        n, q, factors = len(self), len(probes), probes.factors(doubt)
        bounds = torch.empty(-(-n // BLOCK), BLOCK, q)
        bounds[-1], flat, least = EMPTY, bounds.view(-1, q), torch.empty(len(bounds), q)

        def bound(blocks: slice) -> None:
            rows = slice(blocks.start * BLOCK, min(blocks.stop * BLOCK, n))
            both = self.sides[rows] @ factors  # W and the slack, side by side
            similar = self._products(probes, rows).add_(both[:, q:]).sub_(NOTHING).div_(both[:, :q])
            torch.sub(1 - ROUNDING, similar, out=flat[rows])
            if allowed is not None:
                flat[rows].masked_fill_(~allowed[rows], EMPTY)
            least[blocks] = _least(bounds[blocks])

        share = -(-len(bounds) // (2 * torch.get_num_threads()))  # two for each thread: one may be kept waiting
        all_done(bound, _slices(len(bounds), max(1, min(share, TILE // (BLOCK * q)))))
        return flat, least

    def _products(self, probes: Probes, rows: slice) -> Tensor:
        """Σ over parts of v·step/‖k‖·⟨high, query's high⟩ [rows,q]."""
        total = torch.zeros(rows.stop - rows.start, len(probes))
        for part in probes.shown:
            total.addcmul_(byte_products(self.high[part, rows], probes.high[part]), self.pull[part, rows, None])
        return total

    def _measured(self, probes: Probes, rows: Tensor, people: Tensor) -> Found:
        """The distances of so many pairs of a row and one of the people, who come in order."""
        counts = people.bincount(minlength=len(probes))
        found = Found.room(len(probes), int(counts.max()), len(self.high))
        place = torch.arange(len(rows)) + (people * int(counts.max()) - (counts.cumsum(0) - counts)[people])

        def measure(some: slice) -> None:
            for column, values in zip(found, self._pairs(probes, rows[some], people[some]), strict=True):
                column.flatten(0, 1).index_copy_(0, place[some], values)

        all_done(measure, _slices(len(rows), PAIRS))
        return found

    def _joined(self, found: Found, probes: Probes, pairs: tuple[Tensor, Tensor], k: int) -> Found:
        """`found`, joined by what the `pairs` of rows and people are apart."""
        measured = self._measured(probes, *pairs)
        return by_one(lambda: found.joined(measured, k))

    def _pairs(self, probes: Probes, rows: Tensor, people: Tensor) -> Found:
        """Of m pairs: distances and ids [m], parts and seen [m,P]."""
        means = (probes.mean, *probes.unlike)
        own = self.sides.index_select(0, rows)[:, : len(self.high)]
        products = torch.zeros(len(means), *own.shape)
        for part in probes.shown:
            k, length = self._whole(part, rows), self.length[part].index_select(0, rows)
            for mean, out in zip(means, products, strict=True):
                out[:, part] = (mean.sums[:, part].index_select(0, people) * k).sum(1).div_(length)
        weights = torch.stack([mean.weights.index_select(0, people) for mean in means])
        distances = 1 - (products * own).sum(2).sub_(NOTHING).div_((weights * own).sum(2))
        return Found(pushed(distances), self.ids[rows], 1 - products[0] / weights[0], weights[0] * own)

    def _whole(self, part: int, rows: Tensor) -> Tensor:
        """k, from all its bytes: of some `rows` [m] one part, float32 [m,D]."""
        high, low = (plane[part].index_select(0, rows).float() for plane in (self.high, self.low))
        return low.addcmul_(high, self.step[part].index_select(0, rows).float()[:, None])


def _check(step: Tensor, visibility: Tensor) -> None:
    """What only damage makes would spoil the bounds: NaN, numbers off the grid's end, a visibility beyond 0 to 1."""
    if not bool((step <= 2 * HIGHEST).all() & (visibility >= 0).all() & (visibility <= 1).all()):  # NaN: no
        raise InputError(
            "the gallery holds a vector or a visibility that is none; `halfseen gallery verify` says which, restore it "
            "from an export"
        )


def in_chunks(pieces: Iterable[Stored], total: int, size: int) -> Iterator[Planes]:
    """The rows of `pieces`, about `total`, put together `size` at a time, by as many threads as torch has."""
    pool, room, filled, writing = crew(torch.get_num_threads()), None, 0, deque[Future[None]]()
    for piece in pieces:
        start = 0
        while start < len(piece.ids):
            room = room or Planes.room(piece, min(size, max(total, len(piece.ids) - start)))
            some = Stored(*(column[start : start + len(room) - filled] for column in piece))
            writing.append(pool.submit(room.write, filled, some))
            start, filled = start + len(some.ids), filled + len(some.ids)
            while writing and (len(writing) > AHEAD or filled == len(room)):
                writing.popleft().result()
            if filled == len(room):
                yield room
                total, room, filled = total - filled, None, 0
    while writing:
        writing.popleft().result()
    if room:
        yield room.rows(slice(0, filled))


def _least(blocks: Tensor) -> Tensor:
    """The least of each block: `blocks` [m,BLOCK,q] → [m,q]. By halves, as torch's own way is slow where q is small."""
    while (half := blocks.shape[1] // 2) > 0:
        blocks = torch.minimum(blocks[:, :half], blocks[:, half:])
    return blocks[:, 0]


def _first(bounds: Tensor, least: Tensor, k: int, limits: Tensor) -> tuple[Tensor, Tensor]:
    """The k rows of the least bounds, which lie in the k blocks of the least: rows and people [M], people in order."""
    blocks = least.topk(min(k, len(least)), dim=0, largest=False).indices.T  # [q,k]
    people = torch.arange(len(blocks))[:, None]
    values = bounds.view(-1, BLOCK, bounds.shape[1])[blocks, :, people].flatten(1)
    values, place = values.topk(min(k, values.shape[1]), largest=False)
    rows = blocks.gather(1, place // BLOCK) * BLOCK + place % BLOCK
    hit, place = ((values <= limits[:, None]) & (values < EMPTY)).nonzero(as_tuple=True)
    return rows[hit, place], hit


def _within(bounds: Tensor, least: Tensor, limits: Tensor) -> tuple[Tensor, Tensor]:
    """All whose bound does not exclude them: rows and people [M], people in order."""
    people, block = ((least <= limits) & (least < EMPTY)).T.nonzero(as_tuple=True)
    values = bounds.view(-1, BLOCK, bounds.shape[1])[block, :, people]
    hit, row = ((values <= limits[people, None]) & (values < EMPTY)).nonzero(as_tuple=True)
    return block[hit] * BLOCK + row, people[hit]


def byte_products(rows: Tensor, queries: Tensor) -> Tensor:
    """`rows` int8 [n,D] times `queries` int8 [q,D]: float32 [n,q], exact up to 2^24."""
    if _bytes_are_fast():
        q = len(queries)
        even = F.pad(queries, (0, 0, 0, -q % EVEN)) if q > EVEN // 2 else queries  # 7 or 12 take twice the time of 16
        return torch._int_mm(rows, even.T)[:, :q].float()
    return rows.float() @ queries.float().T


@cache
def _bytes_are_fast() -> bool:
    """Whether torch multiplies bytes on this machine, and does not cut the sum of two products to 16 bits."""
    high = torch.full((32, 64), HIGHEST, dtype=torch.int8)
    try:
        return bool((torch._int_mm(high, high.T) == 64 * HIGHEST**2).all())
    except (AttributeError, RuntimeError):
        return False


def _slices(total: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, total)) for start in range(0, total, step))
