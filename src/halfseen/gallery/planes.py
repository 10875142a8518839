"""Rows of a gallery as they lie in memory, in two bytes a number.

A direction on the grid (`tables.on_grid`) is k = step·high + low, whole numbers of one byte each, with a step of its
own for each part of each row. `bounds` searches by `high` first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, fields
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from halfseen.gallery.tables import GRID
from halfseen.gallery.threads import crew
from halfseen.ops.bytes import HIGHEST
from halfseen.types import InputError

AHEAD = 8  # pieces that wait to be written
BESIDE = 18  # bytes that a part of a row takes beside its numbers
NAMED = 24  # bytes that a row takes to be found by its id
REACH = 4  # and these in a halved layout
JUDGED = 64  # rows among which the error of a coarse search is measured
ROWS_FIRST = ("ids", "sides")  # of the tensors of planes; the others have parts first


class Stored(NamedTuple):
    """Rows as the gallery keeps them: `ids` [n], `vectors` float16 [n,P,D] on the grid, `visibility` [n,P]."""

    ids: Tensor
    vectors: Tensor
    visibility: Tensor


@dataclass(frozen=True)
class Planes:
    """n rows of the gallery: `low` int8 [P,n,D], `step` int16 and `length` ‖k‖ [P,n], `ids` [n]; `high` is `front`,
    int8 [P,n,F], which a coarse search takes for all, and what comes `back` of it, [P,n,D−F].

    `pull` [P,n] is v·step/‖k‖; `reach` [P,n,1] is v/‖front‖, or [P,n,0] where the front is all. `sides` [n,2P]
    are v and v·‖low‖/‖k‖.
    """

    ids: Tensor
    front: Tensor
    back: Tensor
    low: Tensor
    step: Tensor
    length: Tensor
    pull: Tensor
    reach: Tensor
    sides: Tensor

    @staticmethod
    def of(stored: Stored, *, halved: bool = False) -> Planes:
        """All of `stored`."""
        planes = Planes.room(stored, len(stored.ids), halved=halved)
        planes.write(0, stored)
        return planes

    @staticmethod
    def room(like: Stored, rows: int, *, halved: bool) -> Planes:
        """For so many rows of such shape; `halved`: the front is half of all numbers, else it is all."""
        _, parts, dim = like.vectors.shape
        numbers = -(-dim // 2) if halved else dim
        front, back, low = (torch.empty(parts, rows, n, dtype=torch.int8) for n in (numbers, dim - numbers, dim))
        ids, step = torch.empty(rows).long(), torch.empty(parts, rows, dtype=torch.int16)
        length, pull = torch.empty(2, parts, rows).unbind()
        reach = torch.empty(parts, rows, int(halved))
        return Planes(ids, front, back, low, step, length, pull, reach, torch.empty(rows, 2 * parts))

    def write(self, start: int, stored: Stored) -> None:
        """Make `stored` the rows from `start` on."""
        k = stored.vectors.float().mul_(GRID)
        length = torch.linalg.vector_norm(k, dim=2).clamp_(min=1)
        step = torch.ceil(torch.maximum(k.amax(2), -k.amin(2)) / HIGHEST).clamp_(min=1)
        _check(step, stored.visibility)
        high = (k * step.reciprocal()[:, :, None]).round_()
        low = k.addcmul_(high, step[:, :, None], value=-1)
        front, back = high.tensor_split([self.front.shape[2]], dim=2)
        share, lost = stored.visibility / length, torch.linalg.vector_norm(low, dim=2)
        place = slice(start, start + len(stored.ids))
        self.ids[place], self.sides[place] = stored.ids, torch.cat([stored.visibility, lost * share], 1)
        values = {"front": front, "back": back, "low": low, "step": step, "length": length, "pull": share * step}
        if self.reach.shape[2]:
            values["reach"] = stored.visibility[:, :, None] / torch.linalg.vector_norm(
                front, dim=2, keepdim=True
            ).clamp_(min=1)
        for name, value in values.items():
            vars(self)[name][:, place] = value.transpose(0, 1)

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, rows: slice | Tensor) -> Planes:
        """Those of the rows that are named."""
        tensors = ((field.name, getattr(self, field.name)) for field in fields(self))
        return Planes(**{name: value[rows] if name in ROWS_FIRST else value[:, rows] for name, value in tensors})

    def stored(self, rows: Tensor) -> Stored:
        """Those of the `rows` [m] as the gallery keeps them, to the last bit."""
        whole = torch.stack([self.whole(part, rows) for part in range(len(self.low))], 1)
        return Stored(self.ids[rows], whole.div_(GRID).half(), self.sides[rows, : len(self.low)])

    def whole(self, part: int, rows: Tensor) -> Tensor:
        """k, from all its bytes: of some `rows` [m] one part, float32 [m,D]."""
        front, back, low = (plane[part].index_select(0, rows).float() for plane in (self.front, self.back, self.low))
        return low.addcmul_(torch.cat([front, back], 1), self.step[part].index_select(0, rows).float()[:, None])

    def named(self, ids: Tensor) -> Tensor:
        """The rows of those of `ids` [m] that are here."""
        known, rows = self._by_id
        place = torch.searchsorted(known, ids).clamp_(max=len(known) - 1)
        return rows[place[known[place] == ids]]

    @cached_property
    def _by_id(self) -> tuple[Tensor, Tensor]:
        """All ids in order, and the rows that have them."""
        known, rows = self.ids.sort()
        return known, rows

    @property
    def some(self) -> Tensor:
        """Rows from all over."""
        return torch.linspace(0, len(self) - 1, min(len(self), JUDGED)).long()

    @cached_property
    def error(self) -> float:
        """The root mean square of how far distances by the front lie from the true ones, where one part is shared; of W
        parts it is 1/√W of that."""
        whole = torch.stack([F.normalize(self.whole(part, self.some), dim=1) for part in range(len(self.low))])
        first = F.normalize(whole[:, :, : self.front.shape[2]], dim=2)
        seen = self.sides[self.some, : len(self.low)].T
        shared = seen[:, :, None] * seen[:, None]
        apart = ((first @ first.mT - whole @ whole.mT) * shared).sum(0).square() / shared.sum(0)
        among = apart[(shared.sum(0) > 0).triu(1)]
        return float(among.mean().sqrt()) if len(among) else 1.0


def row_bytes(parts: int, dim: int, *, halved: bool = False) -> int:
    """How much memory a row takes."""
    return parts * (2 * dim + BESIDE + REACH * halved) + NAMED


def _check(step: Tensor, visibility: Tensor) -> None:
    """What only damage makes would spoil the bounds: NaN, numbers off the grid's end, a visibility beyond 0 to 1."""
    if not bool((step <= 2 * HIGHEST).all() & (visibility >= 0).all() & (visibility <= 1).all()):  # NaN: no
        raise InputError(
            "the gallery holds a vector or a visibility that is none; `halfseen gallery verify` says which, restore it "
            "from an export"
        )


def in_chunks(pieces: Iterable[Stored], total: int, size: int, *, halved: bool = False) -> Iterator[Planes]:
    """The rows of `pieces`, about `total`, put together `size` at a time, by as many threads as torch has."""
    pool, room, filled, writing = crew(torch.get_num_threads()), None, 0, deque[Future[None]]()
    for piece in pieces:
        start = 0
        while start < len(piece.ids):
            rows = min(size, max(total, len(piece.ids) - start))
            room = room or Planes.room(piece, rows, halved=halved)
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
