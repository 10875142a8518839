"""Rows of a gallery in two bytes a number.

A direction on the grid (`tables.on_grid`) is k = step·high + low, whole numbers of one byte each, with a step of its
own for each part of each row. The bytes `high` give the product with a query, rounded to bytes too, by one product of
bytes a part; what `low` and the query's rest can add is at most the product of lengths (Cauchy and Schwarz). So, with
k/‖k‖ the unit vector and v the visibility,

    S ≤ Σ v·step/‖k‖·⟨high, query's high⟩ + Σ v·(‖low‖/‖k‖·‖query's high‖ + ‖query's rest‖)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from halfseen.gallery.chunks import NAMED, Chunk, Pairs, Stored, largest, products_of
from halfseen.gallery.probes import MOST, Mean, Probes, in_bytes
from halfseen.gallery.tables import GRID
from halfseen.gallery.threads import by_one
from halfseen.ops.bytes import HIGHEST, byte_products

BESIDE = 18  # bytes that a part of a row takes beside its numbers
ROWS_FIRST = ("ids", "sides")  # of the tensors; the others have parts first


@dataclass(frozen=True)
class Planes(Chunk):
    """`high` and `low` int8 [P,n,D], `step` int16 and `length` ‖k‖ [P,n]; `pull` [P,n] is v·step/‖k‖; `sides` [n,2P]
    are v and v·‖low‖/‖k‖."""

    ids: Tensor
    high: Tensor
    low: Tensor
    step: Tensor
    length: Tensor
    pull: Tensor
    sides: Tensor

    @staticmethod
    def row_bytes(parts: int, dim: int) -> int:
        """How much memory a row takes."""
        return parts * (2 * dim + BESIDE) + NAMED

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
        high, low = torch.empty(2, parts, rows, dim, dtype=torch.int8).unbind()
        ids, step = torch.empty(rows).long(), torch.empty(parts, rows, dtype=torch.int16)
        length, pull = torch.empty(2, parts, rows).unbind()
        return Planes(ids, high, low, step, length, pull, torch.empty(rows, 2 * parts))

    def write(self, start: int, stored: Stored) -> None:
        k = stored.vectors.float().mul_(GRID)
        length = torch.linalg.vector_norm(k, dim=2).clamp_(min=1)
        step = torch.ceil(largest(k, length, stored.visibility) / HIGHEST).clamp_(min=1)
        high = (k * step.reciprocal()[:, :, None]).round_()
        low = k.addcmul_(high, step[:, :, None], value=-1)
        share, lost = stored.visibility / length, torch.linalg.vector_norm(low, dim=2)
        place = slice(start, start + len(stored.ids))
        self.ids[place], self.sides[place] = stored.ids, torch.cat([stored.visibility, lost * share], 1)
        values = {"high": high, "low": low, "step": step, "length": length, "pull": share * step}
        for name, value in values.items():
            vars(self)[name][:, place] = value.transpose(0, 1)

    def rows(self, rows: slice | Tensor) -> Planes:
        tensors = ((field.name, getattr(self, field.name)) for field in fields(self))
        return Planes(**{name: value[rows] if name in ROWS_FIRST else value[:, rows] for name, value in tensors})

    def stored(self, rows: Tensor) -> Stored:
        whole = torch.stack([self._whole(part, rows) for part in range(len(self.low))], 1)
        return Stored(self.ids[rows], whole.div_(GRID).half(), self.visibility[rows])

    @property
    def visibility(self) -> Tensor:
        return self.sides[:, : len(self.low)]

    def lower_bounds(self, probes: Probes) -> Callable[[slice, Tensor], None]:
        return partial(self._lower_bounds, by_one(partial(_Asked.of, probes)))

    def _lower_bounds(self, asked: _Asked, rows: slice, out: Tensor) -> None:
        weights, slack = (asked.factors @ self.sides[rows].T).chunk(2)
        total = torch.zeros_like(slack)
        for part in asked.parts:
            products = byte_products(asked.high[part], self.high[part, rows])
            total.addcmul_(products.float(), self.pull[part, rows])
        total.add_(slack).div_(weights).nan_to_num_(nan=-torch.inf)  # where no part is shared
        torch.sub(MOST, total, out=out[:, rows])

    def dots(self, mean: Mean, pairs: Pairs, parts: Sequence[int]) -> Tensor:
        products = torch.zeros(len(pairs[0]), len(self.low), dtype=torch.float64)
        for part in parts:
            products[:, part] = products_of(mean.sums[:, [part]], self._whole(part, pairs[0])[:, None], pairs[1])[:, 0]
        return products

    def lengths(self, rows: Tensor) -> Tensor:
        return self.length.index_select(1, rows).T

    def _whole(self, part: int, rows: Tensor) -> Tensor:
        """k, from both bytes: of some `rows` [m] one part, float32 [m,D]."""
        high, low = (plane[part].index_select(0, rows).float() for plane in (self.high, self.low))
        return low.addcmul_(high, self.step[part].index_select(0, rows).float()[:, None])


class _Asked(NamedTuple):
    """The `parts` that someone shows; `high` int8 [P,q,D]; `factors` [2q,2P], by which `sides` give W, and what the
    bound adds to the products: both over the step of `high`."""

    parts: Sequence[int]
    high: Tensor
    factors: Tensor

    @staticmethod
    def of(probes: Probes) -> _Asked:
        step, high, lost = in_bytes(probes.mean.sums)
        step, length = step[:, None], torch.linalg.vector_norm(high, dim=2)
        weighed = torch.cat([probes.mean.weights / step, torch.zeros_like(length)], 1)
        factors = torch.cat([weighed, torch.cat([lost / step, length], 1)])
        return _Asked(probes.shown, high.to(torch.int8).transpose(0, 1).contiguous(), factors)
