"""Exact search in two steps: a bound on every distance from few bytes, then the distances that the bound leaves.

A chunk knows how similar its rows are at the most, S ≤ …, from half of its bytes (`planes`) or far fewer (`leading`),
so no distance 1 − S/W is below the bound that this gives. Rows whose bound is above the k-th best distance known cannot
be among the k nearest. The others are measured from all their bytes, in sums that are exact; where a chunk can do so
much faster in float32, that is a second bound before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from threading import local

import torch
from torch import Tensor

from halfseen.gallery.chunks import Chunk, Pairs
from halfseen.gallery.probes import EMPTY, FINE, NOTHING, Found, Probes, pushed
from halfseen.gallery.threads import all_made, by_one
from halfseen.ops.distance import row_slices

BLOCK = 32  # rows of which only the least bound is looked at first
TILE = 2**19  # bounds worked on at a time, by each thread
PAIRS = 1024  # of a row and a person, measured at a time
FEW = 256  # the same, not worth a second thread
LOOKED_AT = 2**21  # pairs looked at together, which may all have to be measured
ENOUGH = 2**14  # pairs that are worth being measured together


class _Room(local):
    """What each thread keeps."""

    kept = torch.empty(0)


ROOM = _Room()


def search(chunk: Chunk, probes: Probes, k: int, found: Found, allowed: Tensor | None) -> Found:
    """`found`, joined by those rows of `chunk` that are nearer and `allowed`, bool [q,n] (None: all)."""
    lowest, least = _bounds(chunk, probes, allowed)
    closer = chunk.closer(probes)
    if found.distances.shape[1] < k:  # there is no limit yet
        found = _begun(chunk, probes, k, found, lowest, least)
    waiting: list[Pairs] = []
    step = max(1, LOOKED_AT // (BLOCK * len(probes)))
    for start in range(0, least.shape[1], step):
        blocks = slice(start, min(start + step, least.shape[1]))
        waiting.append(_of_people(partial(_within, chunk, lowest, least, found.limits(k), blocks), len(probes)))
        if blocks.stop == least.shape[1] or sum(len(people) for _, people in waiting) >= ENOUGH:
            pairs = _in_order(waiting)
            if closer:
                near = _looked(closer, pairs) <= found.limits(k)[pairs[1]]
                pairs = pairs[0][near], pairs[1][near]
            found = _joined(chunk, found, probes, pairs, k)
            waiting.clear()
    return found


def _begun(chunk: Chunk, probes: Probes, k: int, found: Found, lowest: Tensor, least: Tensor) -> Found:
    """`found`, joined by some of the least bounds, which then are taken out of `lowest`."""
    flat, closer, wanted = lowest.flatten(1), chunk.closer(probes), chunk.more * k
    first = _of_people(partial(_first, chunk, lowest, least, wanted), len(probes))
    if closer:
        flat[first[1], first[0]] = _looked(closer, first)
        wanted = k
    first = _best(flat[first[1], first[0]], first, wanted, len(probes))
    found = _joined(chunk, found, probes, first, k)
    flat[first[1], first[0]] = EMPTY
    return found


def _bounds(chunk: Chunk, probes: Probes, allowed: Tensor | None) -> tuple[Tensor, Tensor]:
    """What no distance is below: [q,m,BLOCK], the rows padded to whole blocks, and the least of each block [q,m]."""
    n, q, below = len(chunk), len(probes), chunk.below(probes)
    bounds = _room(q, -(-n // BLOCK), BLOCK)
    bounds[:, -1], flat, least = EMPTY, bounds.flatten(1), torch.empty(bounds.shape[:2])

    def bound(blocks: slice) -> None:
        rows = slice(blocks.start * BLOCK, min(blocks.stop * BLOCK, n))
        below(rows, flat)
        if allowed is not None:
            flat[:, rows].masked_fill_(~allowed[:, rows], EMPTY)
        torch.amin(bounds[:, blocks], 2, out=least[:, blocks])

    all_made(bound, _shares(bounds.shape[1], TILE // (BLOCK * q)))
    return bounds, least


def _room(*shape: int) -> Tensor:
    """Room for so many numbers, the same in each search of a thread: to get it takes as long as to fill it."""
    size = math.prod(shape)
    if len(ROOM.kept) < size:
        ROOM.kept = torch.empty(size)
    return ROOM.kept[:size].view(shape)


def _shares(count: int, most: int, few: int = 0) -> Iterable[slice]:
    """`count` things in pieces of about as many each, at the most `most`, for all threads alike; `few` in one."""
    threads = 1 if count <= few else torch.get_num_threads()
    pieces = threads * max(1, -(-count // (threads * max(1, most))))
    return row_slices(count, max(1, -(-count // pieces)))


def _of_people(work: Callable[[slice], Pairs], people: int) -> Pairs:
    """What `work` finds for some of them, of all."""
    rows, whose = (torch.cat(column) for column in zip(*all_made(work, _shares(people, people)), strict=True))
    return rows, whose


def _joined(chunk: Chunk, found: Found, probes: Probes, pairs: Pairs, k: int) -> Found:
    """`found`, joined by what the `pairs` of rows and people, who come in order, are apart."""
    if not len(pairs[0]):
        return found
    limits = found.limits(k)

    def measured(some: slice) -> tuple[Tensor, Found]:
        rows, people = (column[some] for column in pairs)
        return _pairs(chunk, probes, (rows, people), limits.index_select(0, people))

    pieces = all_made(measured, _shares(len(pairs[0]), PAIRS, FEW))
    return by_one(lambda: found.joined(_by_people(pieces, found), k))


def _pairs(chunk: Chunk, probes: Probes, pairs: Pairs, limits: Tensor) -> tuple[Tensor, Found]:
    """Of m `pairs` those within their `limits` [m]: the people; distances and ids [·], parts and seen [·,P]."""
    rows, people = pairs
    own = chunk.visibility.index_select(0, rows)
    weights = torch.stack([mean.weights.index_select(0, people) for mean in probes.exact])
    dots = torch.stack([chunk.dots(mean, pairs, probes.shown) for mean in probes.exact])
    products = dots.div_(FINE * chunk.lengths(rows).double()).mul_(weights).float()
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


def _first(chunk: Chunk, bounds: Tensor, least: Tensor, k: int, people: slice) -> Pairs:
    """At least k rows of the least bounds: those in the k blocks of the least whose bound is no more than each has."""
    values, blocks = least[people].topk(min(k, least.shape[1]), largest=False, sorted=False)
    whose = torch.arange(len(blocks)).repeat_interleave(blocks.shape[1])
    return _near(chunk, bounds[people], values.amax(1), (blocks.flatten(), whose), people.start)


def _within(chunk: Chunk, bounds: Tensor, least: Tensor, limits: Tensor, blocks: slice, people: slice) -> Pairs:
    """All rows of the `blocks` whose bound does not exclude them."""
    whose, block = (least[people, blocks] <= limits[people, None]).nonzero(as_tuple=True)
    return _near(chunk, bounds[people], limits[people], (block + blocks.start, whose), people.start)


def _near(chunk: Chunk, bounds: Tensor, limits: Tensor, hits: Pairs, start: int) -> Pairs:
    """The rows of those blocks of those people whose bound is within the `limits` [q]."""
    blocks, whose = hits
    if chunk.made:
        known = bounds.numpy(), limits.contiguous().numpy(), (blocks.contiguous().numpy(), whose.contiguous().numpy())
        rows, people = map(torch.from_numpy, chunk.made.near(*known))
        return rows, people.add_(start)
    values = bounds[whose, blocks]
    hit, row = ((values <= limits[whose, None]) & (values < EMPTY)).nonzero(as_tuple=True)
    return blocks[hit] * BLOCK + row, whose[hit] + start


def _looked(closer: Callable[[Pairs], Tensor], pairs: Pairs) -> Tensor:
    """A second, closer bound for each of the `pairs`."""
    some = _shares(len(pairs[0]), len(pairs[0]), FEW)
    return torch.cat([torch.empty(0), *all_made(lambda piece: closer((pairs[0][piece], pairs[1][piece])), some)])


def _best(bounds: Tensor, pairs: Pairs, k: int, people: int) -> Pairs:
    """Of the `pairs`, those of the k least `bounds` of each person."""
    rows, whose = pairs
    counts = whose.bincount(minlength=people)
    if int(counts.max()) <= k:
        return pairs
    values = torch.full((people, int(counts.max())), EMPTY)
    values[whose, torch.arange(len(whose)) - (counts.cumsum(0) - counts)[whose]] = bounds
    near = bounds <= values.kthvalue(k, dim=1).values[whose]
    return rows[near], whose[near]


def _in_order(pairs: Sequence[Pairs]) -> Pairs:
    """All of them together, people in order."""
    if len(pairs) == 1:
        return pairs[0]
    rows, people = (torch.cat(column) for column in zip(*pairs, strict=True))
    people, order = people.sort(stable=True)
    return rows[order], people
