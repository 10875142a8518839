"""Exact search in two steps: a bound on every distance from half the bytes, then the distances that the bound leaves.

The bytes `high` of `Planes` give the product with a query, rounded to bytes too, by one product of bytes a part; what
`low` and the query's rest can add is at most the product of lengths (Cauchy and Schwarz). So, with k/‖k‖ the unit
vector and v the visibility,

    S ≤ Σ v·step/‖k‖·⟨high, query's high⟩ + Σ v·(‖low‖/‖k‖·‖query's high‖ + ‖query's rest‖)

and no distance 1 − S/W is below the bound that this gives. Rows whose bound is above the k-th best distance known
cannot be among the k nearest. The others are measured in float32, from all their bytes.

A coarse search for a FEW takes half of the numbers for all, as if the other half were alike. How far such distances lie
from the true ones is measured among some rows, and DEVIATIONS of that are granted to all, instead of a bound. That is
right in most cases if numbers are alike in kind, as those of networks are; it is wrong if one half holds everything.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from halfseen.gallery.planes import Planes
from halfseen.gallery.probes import EMPTY, Found, Probes, pushed
from halfseen.gallery.threads import all_done, by_one
from halfseen.ops.bytes import byte_products
from halfseen.ops.distance import row_slices

BLOCK = 64  # rows of which only the least bound is looked at first
TILE = 2**19  # bounds worked on at a time, by each thread
PAIRS = 2048  # of a row and a person, measured at a time
MEASURED = 2**20  # pairs looked at together, which may all have to be measured
ROUNDING = 2e-5  # what float32 may lose on the way to a bound, and more
FEW = 4  # people at a time, for more of whom measuring takes longer than half of the products
MORE = 4  # times as many as are wanted are measured first, where nothing is certain, for a better limit
DEVIATIONS = 2  # of its error that a coarse search believes in
FAINT = 0.1  # parts in common, less of which is no reason to grant more
NOTHING = 1e-25  # taken from every product: where no part is shared, −NOTHING/0 makes the distance infinite


class Bound(NamedTuple):
    """How `similar` some rows are taken to be at the most, [rows,q]; how much nearer than that they may be, [q]; how
    many times as many as are wanted are measured first, for a limit."""

    similar: Callable[[slice], Tensor]
    granted: Tensor
    more: int


def search(
    planes: Planes, probes: Probes, k: int, found: Found, allowed: Tensor | None, *, coarse: bool = False
) -> Found:
    """`found`, joined by those rows of `planes` that are nearer and `allowed`, bool [n,q] (None: all).

    A `coarse` search, for which the planes are halved, may miss some, most likely at the end.
    """
    bound = (_guessed if coarse and len(probes) <= FEW else _certain)(planes, probes)
    lowest, least = _bounds(planes, probes, allowed, bound.similar)
    wanted = bound.more * k if found.distances.shape[1] < k else k
    first = by_one(lambda: _first(lowest, least, wanted, found.limits(k) + bound.granted))
    found = _joined(planes, found, probes, first, k)
    lowest[first] = EMPTY
    for blocks in row_slices(len(least), max(1, MEASURED // (BLOCK * len(probes)))):
        rows = slice(blocks.start * BLOCK, blocks.stop * BLOCK)
        near, people = by_one(partial(_within, lowest[rows], least[blocks], found.limits(k) + bound.granted))
        if len(near):
            found = _joined(planes, found, probes, (near + rows.start, people), k)
    return found


def _bounds(
    planes: Planes, probes: Probes, allowed: Tensor | None, similar: Callable[[slice], Tensor]
) -> tuple[Tensor, Tensor]:
    """What distances are taken not to be below, as rows are so `similar`: [n,q], padded to whole blocks, and the least
    of each block [m,q]."""
    n, q = len(planes), len(probes)
    bounds = torch.empty(-(-n // BLOCK), BLOCK, q)
    bounds[-1], flat, least = EMPTY, bounds.view(-1, q), torch.empty(len(bounds), q)

    def bound(blocks: slice) -> None:
        rows = slice(blocks.start * BLOCK, min(blocks.stop * BLOCK, n))
        torch.sub(1 - ROUNDING, similar(rows), out=flat[rows])
        if allowed is not None:
            flat[rows].masked_fill_(~allowed[rows], EMPTY)
        least[blocks] = _least(bounds[blocks])

    share = -(-len(bounds) // (2 * torch.get_num_threads()))  # two for each thread: one may be kept waiting
    all_done(bound, row_slices(len(bounds), max(1, min(share, TILE // (BLOCK * q)))))
    return flat, least


def _certain(planes: Planes, probes: Probes) -> Bound:
    """Whatever the low bytes of a row are: (products + slack) / W."""
    factors, (front, back) = probes.factors(), probes.high.tensor_split([planes.front.shape[2]], dim=2)

    def similar(rows: slice) -> Tensor:
        both = planes.sides[rows] @ factors  # W and the slack, side by side
        total = torch.zeros(len(both), len(probes))
        for part in probes.shown:
            products = byte_products(planes.front[part, rows], front[part])
            if back.shape[2]:
                products += byte_products(planes.back[part, rows], back[part])
            total.addcmul_(products.float(), planes.pull[part, rows, None])
        return total.add_(both[:, len(probes) :]).sub_(NOTHING).div_(both[:, : len(probes)])

    return Bound(similar, torch.zeros(len(probes)), 1)


def _guessed(planes: Planes, probes: Probes) -> Bound:
    """As if the rest of a row's numbers were like the front: cosines of the fronts, weighted."""
    front, lengths = probes.first(planes.front.shape[2])

    def similar(rows: slice) -> Tensor:
        total = torch.zeros(rows.stop - rows.start, len(probes))
        for part in probes.shown:
            products = byte_products(planes.front[part, rows], front[part])
            total.addcmul_(products * lengths[part], planes.reach[part, rows])
        return total.sub_(NOTHING).div_(_shared(planes, probes, rows))

    return Bound(similar, by_one(lambda: _granted(planes, probes)), MORE)


def _granted(planes: Planes, probes: Probes) -> Tensor:
    """How much nearer than guessed something may be: [q]."""
    shared = _shared(planes, probes, planes.some)
    there = shared > 0
    return DEVIATIONS * planes.error * (shared.clamp(min=FAINT).rsqrt() * there).sum(0) / there.sum(0).clamp(min=1)


def _shared(planes: Planes, probes: Probes, rows: slice | Tensor) -> Tensor:
    """W: [rows,q]."""
    return planes.sides[rows, : len(planes.low)] @ probes.mean.weights.T


def _measured(planes: Planes, probes: Probes, rows: Tensor, people: Tensor) -> Found:
    """The distances of so many pairs of a row and one of the people, who come in order."""
    counts = people.bincount(minlength=len(probes))
    found = Found.room(len(probes), int(counts.max()), len(planes.low))
    place = torch.arange(len(rows)) + (people * int(counts.max()) - (counts.cumsum(0) - counts)[people])

    def measure(some: slice) -> None:
        for column, values in zip(found, _pairs(planes, probes, rows[some], people[some]), strict=True):
            column.flatten(0, 1).index_copy_(0, place[some], values)

    all_done(measure, row_slices(len(rows), PAIRS))
    return found


def _joined(planes: Planes, found: Found, probes: Probes, pairs: tuple[Tensor, Tensor], k: int) -> Found:
    """`found`, joined by what the `pairs` of rows and people are apart."""
    measured = _measured(planes, probes, *pairs)
    return by_one(lambda: found.joined(measured, k))


def _pairs(planes: Planes, probes: Probes, rows: Tensor, people: Tensor) -> Found:
    """Of m pairs: distances and ids [m], parts and seen [m,P]."""
    means = (probes.mean, *probes.unlike)
    own = planes.sides.index_select(0, rows)[:, : len(planes.low)]
    products = torch.zeros(len(means), *own.shape)
    for part in probes.shown:
        k, length = planes.whole(part, rows), planes.length[part].index_select(0, rows)
        for mean, out in zip(means, products, strict=True):
            out[:, part] = (mean.sums[:, part].index_select(0, people) * k).sum(1).div_(length)
    weights = torch.stack([mean.weights.index_select(0, people) for mean in means])
    distances = 1 - (products * own).sum(2).sub_(NOTHING).div_((weights * own).sum(2))
    return Found(pushed(distances), planes.ids[rows], 1 - products[0] / weights[0], weights[0] * own)


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
