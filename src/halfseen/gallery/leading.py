"""Rows of a gallery by their leading numbers: where most of every direction lies in a few of all dimensions.

The directions of a trained network do: 48 of its 256 dimensions, well chosen, hold 95 % of their squares. `Basis` finds
them in a sample, for each part its own, and turns them at random, so that each holds about as much as the next, for
bytes are spent on the largest. With y = Aᵀx what the leading axes A hold of a unit vector x = A·y + x′, c the sample's
mean of that, and s = A·t + s′ the query's sum,

    S = Σ v·⟨s, x⟩ = Σ v·⟨t, c⟩ + ⟨t, v·(y − c)⟩ + Σ v·⟨s′, x′⟩

where the second is one product of bytes over all parts, with a step for each row. What rounding loses of it, and the
last, are at most products of lengths. The whole vectors lie beside, row by row, as measuring wants them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from halfseen.gallery.chunks import NAMED, Chunk, Pairs, Second, Stored, largest, products_of
from halfseen.gallery.compiled import FEW, Loops, loops_for
from halfseen.gallery.probes import LEAST, MOST, Mean, Probes, in_bytes
from halfseen.gallery.tables import GRID, on_grid
from halfseen.gallery.threads import by_one
from halfseen.ops.bytes import HIGHEST, byte_products
from halfseen.ops.distance import VisibleParts, distances
from halfseen.types import Embedding

LEADING = 3 / 16  # of all dimensions
EVEN = 16  # numbers of axes are multiples of it
WIDE = 64  # and rows of bytes long as multiples of this
LONG = 1024  # numbers of a part; of more, float32 might lose too much
TURNS = 4  # of the power method that finds the axes
ASKED, NEAR, WORTH = 64, 0.01, 0.08  # of a sample so many ask for that share; more than WORTH may not be left
SLACK = 1e-5  # added to squares of lengths, of which float32 loses less


@dataclass(frozen=True)
class Basis:
    """`axes` [P,D,F], at right angles to each other, and the `centre` [P,F] of what they hold."""

    axes: Tensor
    centre: Tensor

    @staticmethod
    def of(sample: Embedding) -> Basis:
        """The leading axes of the directions that `sample` shows."""
        shown = (F.normalize(sample.vectors.float(), dim=2) * (sample.visibility > 0)[:, :, None]).transpose(0, 1)
        parts, _, dim = shown.shape
        count, dice = leaders(dim), torch.Generator().manual_seed(0)
        axes = torch.randn(parts, dim, count, generator=dice)
        for _ in range(TURNS):
            axes = torch.linalg.qr(shown.mT @ (shown @ axes)).Q
        axes = axes @ torch.linalg.qr(torch.randn(parts, count, count, generator=dice)).Q
        often = (sample.visibility > 0).sum(0).clamp(min=1)
        return Basis(axes.contiguous(), (shown @ axes).sum(1) / often[:, None])

    def pays(self, sample: Embedding) -> bool:
        """Whether most of `sample` provably is not among the nearest of what is in it, by the leading numbers alone."""
        rows = Leading.of(Stored(torch.arange(len(sample)), on_grid(sample), sample.visibility), self)
        asked = torch.linspace(0, len(sample) - 1, min(len(sample), ASKED)).long()
        least = torch.empty(len(asked), len(sample))
        rows.lower_bounds(Probes.of(Mean.each(sample[asked])))(slice(0, len(sample)), least)
        near = math.ceil(NEAR * len(sample))
        limit = distances(VisibleParts("cosine"), sample[asked], sample).kthvalue(near, dim=1, keepdim=True).values
        return float((least <= limit).float().mean()) <= WORTH


@dataclass(frozen=True)
class Leading(Chunk):
    """`whole` int16 [n,P·D], in steps of the grid; `lead` int8 [n,P·F], filled up with zeros (`filled`), times `step`
    [n] is v·(y − c), but for rounding.

    `sides` [n,2P+2] are v, v·‖x′‖, the length of what rounding loses, and the length of step·`lead`; `length` [n,P] is
    that of the vectors.
    """

    ids: Tensor
    whole: Tensor
    lead: Tensor
    step: Tensor
    sides: Tensor
    length: Tensor
    basis: Basis

    more = 3  # a limit that leaves fewer to be measured
    compiled_from: ClassVar[int] = 2**15  # rows on which it pays to load what is compiled

    @staticmethod
    def row_bytes(parts: int, dim: int) -> int:
        """How much memory a row takes."""
        return parts * (2 * dim + 12) + filled(parts * leaders(dim)) + 12 + NAMED

    @staticmethod
    def of(stored: Stored, basis: Basis) -> Leading:
        """All of `stored`."""
        rows = Leading.room(stored, len(stored.ids), basis=basis)
        rows.write(0, stored)
        return rows

    @staticmethod
    def room(like: Stored, rows: int, *, basis: Basis) -> Leading:
        """For so many rows of such shape."""
        _, parts, dim = like.vectors.shape
        whole = torch.empty(rows, parts * dim, dtype=torch.int16)
        lead = torch.zeros(rows, filled(basis.centre.numel()), dtype=torch.int8)
        sides, length = torch.empty(rows, 2 * parts + 2), torch.empty(rows, parts)
        return Leading(torch.empty(rows).long(), whole, lead, torch.empty(rows), sides, length, basis)

    def write(self, start: int, stored: Stored) -> None:
        k, v = stored.vectors.float().mul_(GRID), stored.visibility
        length = torch.linalg.vector_norm(k, dim=2).clamp_(min=1)
        largest(k, length, v)
        held = torch.stack([k[:, part] @ axes for part, axes in enumerate(self.basis.axes)], 1) / length[:, :, None]
        beyond = (1 + SLACK - held.square().sum(2)).clamp_(min=0).sqrt_().mul_(v)
        exact = held.sub_(self.basis.centre).mul_(v[:, :, None]).flatten(1)
        step = (exact.abs().amax(1, keepdim=True) / HIGHEST).clamp_(min=LEAST)
        lead = (exact / step).round_()
        lost = torch.linalg.vector_norm(exact.addcmul_(lead, step, value=-1), dim=1, keepdim=True, dtype=torch.float64)
        reach = torch.linalg.vector_norm(lead, dim=1, keepdim=True) * step
        place = slice(start, start + len(stored.ids))
        self.ids[place], self.whole[place] = stored.ids, k.flatten(1)
        self.lead[place, : lead.shape[1]] = lead
        self.step[place], self.length[place] = step[:, 0], length
        self.sides[place] = torch.cat([v, beyond, lost.float(), reach], 1)

    def rows(self, rows: slice | Tensor) -> Leading:
        tensors = ((field.name, getattr(self, field.name)) for field in fields(self) if field.name != "basis")
        return Leading(**{name: value[rows] for name, value in tensors}, basis=self.basis)

    def stored(self, rows: Tensor) -> Stored:
        whole = self.whole[rows].view(len(rows), *self.basis.axes.shape[:2]).float()
        return Stored(self.ids[rows], whole.div_(GRID).half(), self.visibility[rows])

    @cached_property
    def loops(self) -> Loops | None:  # type: ignore[override]
        return loops_for(len(self.basis.axes)) if len(self) >= self.compiled_from else None

    @property
    def visibility(self) -> Tensor:
        return self.sides[:, : len(self.basis.axes)]

    def lower_bounds(self, probes: Probes) -> Callable[[slice, Tensor], None]:
        asked = by_one(partial(_Asked.of, self.basis, probes))
        if self.loops is None:
            return partial(self._lower_bounds, asked)
        return partial(self._compiled_bounds, self.loops, asked)

    def _lower_bounds(self, asked: _Asked, rows: slice, out: Tensor) -> None:
        total = self._products(asked, rows).float().mul_(self.step[rows])
        total.addmm_(asked.factors, self.sides[rows].T).div_(asked.weights @ self.visibility[rows].T)
        total.nan_to_num_(nan=-torch.inf, posinf=-torch.inf, neginf=-torch.inf)  # where no part is shared
        torch.sub(MOST, total, out=out[:, rows])

    def _compiled_bounds(self, loops: Loops, asked: _Asked, rows: slice, out: Tensor) -> None:
        """The same in machine code."""
        known = _arrays((self.step[rows], self.sides[rows])), _arrays((asked.weights, asked.factors))
        loops.lower_bounds(
            self._products(asked, rows).contiguous().numpy(), *known, np.float32(MOST), rows.start, out.numpy()
        )

    def _products(self, asked: _Asked, rows: slice) -> Tensor:
        if self.loops is None or len(asked.high) > FEW:
            return byte_products(asked.high, self.lead[rows, asked.columns])
        out = torch.empty(len(asked.high), rows.stop - rows.start, dtype=torch.int32)
        self.loops.products(asked.high.numpy(), self.lead[rows].numpy(), asked.columns.start, out.numpy())
        return out

    def second_bounds(self, probes: Probes) -> Second | None:
        if self.loops is None or self.basis.axes.shape[1] > LONG:
            return None
        return partial(self._second_bounds, self.loops, _arrays(probes.mean))

    def _second_bounds(self, loops: Loops, mean: tuple[Any, ...], pairs: Pairs) -> Tensor:
        out = torch.empty(len(pairs[0]))
        loops.second_bounds(mean, self._arrays, _arrays(pairs), np.float32(MOST), out.numpy())
        return out

    def dots(self, mean: Mean, pairs: Pairs, parts: Sequence[int]) -> Tensor:
        out = torch.zeros(len(pairs[0]), len(self.basis.axes), dtype=torch.float64)
        if self.loops is None:
            whole = self.whole.index_select(0, pairs[0]).view(len(out), *mean.sums.shape[1:])
            out[:, parts] = products_of(mean.sums[:, parts], whole[:, parts], pairs[1])
        else:
            self.loops.dots(_arrays(mean), self._arrays, _arrays(pairs), out.numpy())
        return out

    @property
    def _arrays(self) -> tuple[Any, ...]:
        """What machine code wants to know of the rows."""
        return _arrays((self.whole, self.length, self.sides))

    def lengths(self, rows: Tensor) -> Tensor:
        return self.length.index_select(0, rows)


class _Asked(NamedTuple):
    """What is multiplied with the rows: `high` int8 [q,F of some parts], those `columns` of `lead`, and if all are
    shown what fills a row up; all else is over the step of `high`. `weights` [q,P] give W; `factors` [q,2P+2] what is
    added to the products."""

    columns: slice
    high: Tensor
    weights: Tensor
    factors: Tensor

    @staticmethod
    def of(basis: Basis, probes: Probes) -> _Asked:
        sums = probes.mean.sums.transpose(0, 1)
        t = sums @ basis.axes  # [P,q,F]
        beyond = (sums.square().sum(2) * (1 + SLACK) - t.square().sum(2)).clamp_(min=0).sqrt_()
        base = (t @ basis.centre[:, :, None])[:, :, 0]
        step, high, lost = in_bytes(t.transpose(0, 1))
        lengths = torch.stack([torch.linalg.vector_norm(t, dim=(0, 2)), torch.linalg.vector_norm(lost, dim=1)])
        shown, count, wide = probes.shown or [0], t.shape[2], filled(basis.centre.numel())
        columns = slice(shown[0] * count, (shown[-1] + 1) * count if len(shown) < len(t) else wide)
        whole = F.pad(high.flatten(1), (0, wide - basis.centre.numel())).to(torch.int8)
        factors = torch.cat([base, beyond, lengths]) / step
        weights = probes.mean.weights / step[:, None]
        return _Asked(columns, whole[:, columns].contiguous(), weights.contiguous(), factors.T.contiguous())


def filled(count: int) -> int:
    """How long rows of so many bytes are, if they are not short: torch multiplies 448 faster than 432."""
    return -(-count // WIDE) * WIDE if count > WIDE else count


def _arrays(columns: Iterable[Tensor]) -> tuple[Any, ...]:
    """For machine code, which wants rows without gaps."""
    flat = (column.flatten(1) if column.dim() > 1 else column for column in columns)
    return tuple(column.contiguous().numpy() for column in flat)


def leaders(dim: int) -> int:
    """How many of so many dimensions lead."""
    return min(dim, math.ceil(LEADING * dim / EVEN) * EVEN)
