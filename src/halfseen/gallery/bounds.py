"""Exact search in two steps: a bound on every distance from few bytes, then the distances that the bound leaves.

A chunk knows how similar its rows are at the most, S ≤ …, from half of its bytes (`planes`) or far fewer (`leading`),
so no distance 1 − S/W is below the bound that this gives. Rows whose bound is above the k-th best distance known cannot
be among the k nearest. The others are measured in float32, from all their bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from halfseen.gallery.chunks import Chunk
from halfseen.gallery.probes import EMPTY, NOTHING, Found, Probes, pushed
from halfseen.gallery.threads import all_made, by_one
from halfseen.ops.distance import row_slices

BLOCK = 32  # rows of which only the least bound is looked at first
TILE = 2**19  # bounds worked on at a time, by each thread
PAIRS = 512  # of a row and a person, measured at a time
LOOKED_AT = 2**21  # pairs looked at together, which may all have to be measured
ENOUGH = 2**14  # pairs that are worth being measured together
ROUNDING = 2e-5  # what float32 may lose on the way to a bound, and more


def search(chunk: Chunk, probes: Probes, k: int, found: Found, allowed: Tensor | None) -> Found:
    """`found`, joined by those rows of `chunk` that are nearer and `allowed`, bool [n,q] (None: all)."""
    lowest, least = _bounds(chunk, probes, allowed)
    wanted = chunk.more * k if found.distances.shape[1] < k else k
    first = by_one(lambda: _first(lowest, least, wanted, found.limits(k)))
    found = _joined(chunk, found, probes, first, k)
    lowest[first] = EMPTY
    waiting: list[tuple[Tensor, Tensor]] = []
    threads = torch.get_num_threads()
    step = max(1, LOOKED_AT // (BLOCK * len(probes) * threads))
    for start in range(0, len(least), step * threads):
        end = min(start + step * threads, len(least))
        some = [slice(at, min(at + step, end)) for at in range(start, end, step)]
        waiting += all_made(partial(_within, lowest, least, found.limits(k)), some)
        if end == len(least) or sum(len(people) for _, people in waiting) >= ENOUGH:
            found = _joined(chunk, found, probes, _in_order(waiting), k)
            waiting.clear()
    return found


def _bounds(chunk: Chunk, probes: Probes, allowed: Tensor | None) -> tuple[Tensor, Tensor]:
    """What no distance is below: [n,q], padded to whole blocks, and the least of each block [m,q]."""
    n, q, similar = len(chunk), len(probes), chunk.similar(probes)
    bounds = torch.empty(-(-n // BLOCK), BLOCK, q)
    bounds[-1], flat, least = EMPTY, bounds.view(-1, q), torch.empty(len(bounds), q)

    def bound(blocks: slice) -> None:
        rows = slice(blocks.start * BLOCK, min(blocks.stop * BLOCK, n))
        torch.sub(1 - ROUNDING, similar(rows), out=flat[rows])
        if allowed is not None:
            flat[rows].masked_fill_(~allowed[rows], EMPTY)
        least[blocks] = _least(bounds[blocks])

    share = -(-len(bounds) // (2 * torch.get_num_threads()))  # two for each thread: one may be kept waiting
    all_made(bound, row_slices(len(bounds), max(1, min(share, TILE // (BLOCK * q)))))
    return flat, least


def _joined(chunk: Chunk, found: Found, probes: Probes, pairs: tuple[Tensor, Tensor], k: int) -> Found:
    """`found`, joined by what the `pairs` of rows and people, who come in order, are apart."""
    if not len(pairs[0]):
        return found
    limits = found.limits(k)

    def measured(some: slice) -> tuple[Tensor, Found]:
        rows, people = (column[some] for column in pairs)
        return _pairs(chunk, probes, rows, people, limits.index_select(0, people))

    pieces = all_made(measured, row_slices(len(pairs[0]), PAIRS))
    return by_one(lambda: found.joined(_by_people(pieces, found), k))


def _pairs(chunk: Chunk, probes: Probes, rows: Tensor, people: Tensor, limits: Tensor) -> tuple[Tensor, Found]:
    """Of m pairs those that are within their `limits` [m]: the people; distances and ids [·], parts and seen [·,P]."""
    means = (probes.mean, *probes.unlike)
    own = chunk.visibility.index_select(0, rows)
    products = chunk.products([mean.sums for mean in means], rows, people, probes.shown)
    weights = torch.stack([mean.weights.index_select(0, people) for mean in means])
    distances = pushed(1 - (products * own).sum(2).sub_(NOTHING).div_((weights * own).sum(2)))
    near = (distances <= limits).nonzero()[:, 0]
    first, weight = products[0].index_select(0, near), weights[0].index_select(0, near)
    seen = weight * own.index_select(0, near)
    return people[near], Found(distances[near], chunk.ids[rows[near]], 1 - first / weight, seen)


def _by_people(pieces: Sequence[tuple[Tensor, Found]], like: Found) -> Found:
    """What was measured piece by piece, of each person in one row."""
    people = torch.cat([people for people, _ in pieces])
    counts = people.bincount(minlength=len(like.ids))
    found = Found.room(len(like.ids), int(counts.max()), like.parts.shape[2])
    place = torch.arange(len(people)) + (people * int(counts.max()) - (counts.cumsum(0) - counts)[people])
    for whole, *columns in zip(found, *(piece for _, piece in pieces), strict=True):
        whole.flatten(0, 1).index_copy_(0, place, torch.cat(columns))
    return found


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


def _within(bounds: Tensor, least: Tensor, limits: Tensor, blocks: slice) -> tuple[Tensor, Tensor]:
    """All rows of the `blocks` whose bound does not exclude them: rows and people [M], people in order."""
    own = bounds.view(-1, BLOCK, bounds.shape[1])[blocks]
    people, block = ((least[blocks] <= limits) & (least[blocks] < EMPTY)).T.nonzero(as_tuple=True)
    values = own[block, :, people]
    hit, row = ((values <= limits[people, None]) & (values < EMPTY)).nonzero(as_tuple=True)
    return (blocks.start + block[hit]) * BLOCK + row, people[hit]


def _in_order(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """All of them together, people in order."""
    rows, people = (torch.cat(column) for column in zip(*pairs, strict=True))
    people, order = people.sort(stable=True)
    return rows[order], people
