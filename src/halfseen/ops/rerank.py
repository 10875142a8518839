"""k-reciprocal re-ranking (Zhong et al., CVPR 2017): images are alike if their neighbours are.

The published algorithm over the N = Q + G images, in sparse form: each image's neighbourhood is a short list of
images with weights, so memory beyond one block of distances grows as N·k. Where it differs from the published code:
never by definition, only in rounding, and ties are resolved (lower row first).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from halfseen.ops.distance import Single, VisibleParts, nearest, pairs, row_slices
from halfseen.ops.kernel import check_pair
from halfseen.types import Block, Embedding, InputError, Progress

COMPARISONS = 16 * 2**20  # of neighbours with neighbours, made at a time


@dataclass(frozen=True)
class KReciprocal:
    """`k1`: neighbours asked for reciprocity, `k2`: neighbours averaged, `weight`: of the distance in `base`."""

    base: Single | VisibleParts
    k1: int = 20
    k2: int = 6
    weight: float = 0.3

    def __post_init__(self) -> None:
        if not isinstance(self.base, Single | VisibleParts):
            raise InputError(
                f"{self.base} orders only each query's candidates; re-rank Single or VisibleParts distances"
            )
        if self.k1 < 1 or self.k2 < 1 or not 0 <= self.weight <= 1:
            raise InputError(
                f"k1={self.k1}, k2={self.k2}, weight={self.weight}: k1 and k2 must be at least 1 "
                f"and the weight between 0 and 1"
            )


class Sparse(NamedTuple):
    """Rows of a sparse matrix [N,N]: `columns` int64 [N,m], padded with N, and `values` [N,m], padded with 0."""

    columns: Tensor
    values: Tensor


def rerank(
    settings: KReciprocal,
    query: Embedding,
    gallery: Embedding,
    *,
    rows: int | None = None,
    watch: Progress | None = None,
) -> Iterator[Block]:
    """(first query row, re-ranked distances [rows, G]), for all queries in turn.

    Most of the work comes before the first block: `watch` hears how many of the N images know their neighbours.
    """
    check_pair(query, gallery)
    fill = settings.base.between(query, gallery)  # first of all, as it knows whose rows cannot be compared
    union = Embedding.joined([query, gallery])
    near, farthest = _neighbours(settings, union, watch or (lambda *_: None))
    weights = _neighbourhoods(settings, union, near[:, : settings.k1 + 1], farthest)
    if settings.k2 > 1:
        weights = _averaged(weights, near[:, : settings.k2])
    members = _by_column(Sparse(*(t[len(query) :] for t in weights)), len(union))
    for some in row_slices(len(query), rows, 4 * len(gallery)):
        block = query.vectors.new_empty(some.stop - some.start, len(gallery))
        fill(some, block)
        block.div_(farthest[some, None]).square_().mul_(settings.weight)
        shared = _shared(Sparse(*(t[some] for t in weights)), members, len(gallery))
        yield some.start, block.add_(1 - shared / (2 - shared), alpha=1 - settings.weight)


def _neighbours(settings: KReciprocal, union: Embedding, watch: Progress) -> tuple[Tensor, Tensor]:
    """The nearest images of each [N,k], as many as k1 and k2 ask for, and its distance to the farthest [N]."""
    fill, count = settings.base.between(union, union), len(union)
    near = torch.empty(
        count, min(max(settings.k1 + 1, settings.k2), count), dtype=torch.int64, device=union.vectors.device
    )
    farthest = union.vectors.new_empty(count)
    steps = row_slices(count, None, count)
    block = union.vectors.new_empty(steps[0].stop, count)
    for rows in steps:
        some = block[: rows.stop - rows.start]
        fill(rows, some)
        farthest[rows] = some.amax(1)
        near[rows] = nearest(some, near.shape[1]).indices
        watch(rows.stop, count)
    if bool(farthest.isinf().any()):
        raise InputError(
            "re-ranking needs finite distances, and some images share no visible part; use on_empty='max+1'"
        )
    return near, farthest.clamp_(min=torch.finfo(farthest.dtype).tiny)


def _neighbourhoods(settings: KReciprocal, union: Embedding, near: Tensor, farthest: Tensor) -> Sparse:
    """Each image's expanded set of reciprocal neighbours, weighted by exp(−d²/farthest²), summing to 1."""
    half = near[:, : round(settings.k1 / 2) + 1]
    mutual, mutual_half = _reciprocal(near), _reciprocal(half)
    step = max(1, COMPARISONS // (near.shape[1] ** 2 * half.shape[1]))
    return _stack(
        [
            _weighted(settings, union, _expanded(near, mutual, half, mutual_half, rows), rows, farthest)
            for rows in row_slices(len(near), step)
        ],
        len(near),
    )


def _reciprocal(near: Tensor) -> Tensor:
    """Whether each neighbour in `near` [N,k] also has the image among its own → bool [N,k]."""
    own = torch.arange(len(near), device=near.device)[:, None, None]
    step = max(1, COMPARISONS // near.shape[1] ** 2)
    return torch.cat([(near[near[rows]] == own[rows]).any(2) for rows in row_slices(len(near), step)])


def _expanded(near: Tensor, mutual: Tensor, half: Tensor, mutual_half: Tensor, rows: slice) -> Tensor:
    """The reciprocal set of each of `rows`, joined by that of each member which mostly lies within → [n,m], padded."""
    count = len(near)
    own = near[rows].masked_fill(~mutual[rows], count)  # [n,k]
    theirs, inside = half[near[rows]], mutual_half[near[rows]]  # [n,k,h]
    common = ((theirs[..., None] == own[:, None, None, :]).any(3) & inside).sum(2)
    joins = mutual[rows] & (3 * common > 2 * inside.sum(2))
    theirs = theirs.masked_fill(~(inside & joins[:, :, None]), count)
    every = torch.cat([own, theirs.flatten(1)], dim=1).sort(dim=1).values
    every[:, 1:].masked_fill_(every[:, 1:] == every[:, :-1], count)
    return _trimmed(every.sort(dim=1).values, count)


def _trimmed(columns: Tensor, count: int) -> Tensor:
    """Without the columns that hold nothing but padding."""
    return columns[:, : max(1, int((columns < count).sum(1).max()))]


def _weighted(settings: KReciprocal, union: Embedding, columns: Tensor, rows: slice, farthest: Tensor) -> Sparse:
    """Weights for the members `columns` [n,m] of each of `rows`."""
    row, place = (columns < len(union)).nonzero(as_tuple=True)
    members, row_of = columns[row, place], row + rows.start
    values = farthest.new_zeros(columns.shape)
    for some in row_slices(len(row), None, union.vectors[0].numel()):
        distance = pairs(settings.base, union[row_of[some]], union[members[some]])
        values[row[some], place[some]] = (distance / farthest[row_of[some]]).square_().neg_().exp_()
    total = values.sum(1, keepdim=True)
    return Sparse(columns, values.div_(torch.where(total > 0, total, 1.0)))


def _stack(parts: list[Sparse], count: int) -> Sparse:
    """Rows of different widths as one matrix."""
    width = max(p.columns.shape[1] for p in parts)
    pads = [(0, width - p.columns.shape[1]) for p in parts]
    pad = torch.nn.functional.pad
    columns = torch.cat([pad(p.columns, by, value=count) for p, by in zip(parts, pads, strict=True)])
    return Sparse(columns, torch.cat([pad(p.values, by) for p, by in zip(parts, pads, strict=True)]))


def _averaged(weights: Sparse, near: Tensor) -> Sparse:
    """Each row becomes the mean of the rows of its first neighbours `near` [N,k2]."""
    count, width = len(near), near.shape[1] * weights.columns.shape[1]
    step = max(1, COMPARISONS // (8 * width))
    return _stack([_mean_of_rows(weights, near[rows]) for rows in row_slices(count, step)], count)


def _mean_of_rows(weights: Sparse, near: Tensor) -> Sparse:
    count = len(weights.columns)
    columns, order = weights.columns[near].flatten(1).sort(dim=1)
    values = (weights.values[near].flatten(1) / near.shape[1]).gather(1, order)
    fresh = torch.ones_like(columns, dtype=torch.bool)
    fresh[:, 1:] = columns[:, 1:] != columns[:, :-1]
    place = fresh.cumsum(1) - 1  # equal columns fall into one place
    merged = torch.full_like(columns, count).scatter_(1, place, columns)
    sums = torch.zeros_like(values).scatter_add_(1, place, values)
    merged = _trimmed(merged, count)
    return Sparse(merged, sums[:, : merged.shape[1]])


class _Members(NamedTuple):
    """A sparse matrix by columns: those of column j are `rows[first[j]:first[j+1]]`, with their `values`."""

    first: Tensor
    rows: Tensor
    values: Tensor


def _by_column(weights: Sparse, count: int) -> _Members:
    row, place = (weights.columns < count).nonzero(as_tuple=True)
    columns, order = weights.columns[row, place].sort(stable=True)
    first = torch.searchsorted(columns, torch.arange(count + 1, device=columns.device))
    return _Members(first, row[order], weights.values[row, place][order])


def _shared(weights: Sparse, members: _Members, width: int) -> Tensor:
    """Σ_j min(w_qj, w_gj) for the queries' `weights` [q,m] and all gallery rows → [q,width]."""
    out = weights.values.new_zeros(len(weights.columns), width)
    sizes = torch.nn.functional.pad(members.first.diff(), (0, 1))[weights.columns]  # padding has none
    first = members.first[weights.columns.clamp(max=len(members.first) - 1)]
    ends = sizes.sum(1).cumsum(0)
    step = int(torch.searchsorted(ends, COMPARISONS // 8)) if len(ends) else 0
    for rows in row_slices(len(out), max(1, step)):
        row, place = (sizes[rows] > 0).nonzero(as_tuple=True)
        size = sizes[rows][row, place]
        start = first[rows][row, place] - (size.cumsum(0) - size)
        entry = torch.arange(int(size.sum()), device=size.device) + start.repeat_interleave(size)
        value = weights.values[rows][row, place].repeat_interleave(size)
        target = row.repeat_interleave(size) * width + members.rows[entry]
        out[rows].view(-1).scatter_add_(0, target, torch.minimum(value, members.values[entry]))
    return out
