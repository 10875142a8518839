"""Exact search in two steps: a bound on every distance from few bytes, then the distances that the bound leaves.

A chunk knows how similar its rows are at the most, S ≤ …, from half of its bytes (`planes`) or far fewer (`leading`),
so no distance 1 − S/W is below the bound that this gives. Rows whose bound is above the k-th best distance known cannot
be among the k nearest. The others are measured from all their bytes, in sums that are exact; where a chunk can do so
much faster in float32, that is a second bound before.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from threading import local

import torch
from torch import Tensor

from halfseen.gallery.chunks import Chunk, Pairs, Second
from halfseen.gallery.probes import EMPTY, FINE, Found, Probes, pushed
from halfseen.gallery.threads import all_made, by_one
from halfseen.ops.distance import row_slices

BLOCK = 32  # rows of which only the least bound is looked at first
TILE = 2**19  # bounds worked on at a time, by each thread
PEOPLE = 16  # looked for at a time, by each thread
PAIRS = 1024  # of a row and a person, measured at a time
FEW = 256  # pairs that one thread measures sooner than two
LOOKED_AT = 2**21  # pairs looked at together, which may all have to be measured
ENOUGH = 2**14  # pairs that are worth being measured together
MOST_KEPT = 2**23  # bounds for which room is kept


class _Kept(local):
    """Room for bounds, which each thread keeps from search to search: to get it takes as long as to fill it."""

    room = torch.empty(0)


KEPT = _Kept()


@torch.inference_mode(False)
def search(chunk: Chunk, probes: Probes, k: int, found: Found, allowed: Tensor | None) -> Found:
    """`found`, joined by those rows of `chunk` that are nearer and `allowed`, bool [q,n] (None: all)."""
    lowest, least = _bounds(chunk, probes, allowed)

    def nearest(people: slice) -> Found:
        return _nearest(chunk, probes.some(people), k, found.some(people), lowest[people], least[people])

    if len(probes) < max(2, torch.get_num_threads()):
        found = _nearest(chunk, probes, k, found, lowest, least)  # several threads for each person
    else:
        probes.exact  # noqa: B018  (before all threads want it)
        found = Found.stacked(all_made(nearest, _shares(len(probes), PEOPLE)))
    _give_back(lowest)
    return found


def _nearest(chunk: Chunk, probes: Probes, k: int, found: Found, lowest: Tensor, least: Tensor) -> Found:
    """The same from bounds, which it spoils."""
    second = chunk.second_bounds(probes)
    if bool((found.limits(k) == EMPTY).any()):  # somebody has no limit yet
        first = _first_pairs(chunk, len(probes), k, lowest, least, second)
        found = _joined(chunk, found, probes, first, k)
        lowest.flatten(1)[first[1], first[0]] = EMPTY
    waiting: list[Pairs] = []
    step = max(1, LOOKED_AT // (BLOCK * len(probes)))
    for start in range(0, least.shape[1], step):
        blocks = slice(start, min(start + step, least.shape[1]))
        waiting.append(_within(chunk, lowest, least, found.limits(k), blocks))
        if blocks.stop == least.shape[1] or sum(len(people) for _, people in waiting) >= ENOUGH:
            pairs = _in_order(waiting)
            if second:
                near = _second_look(second, pairs) <= found.limits(k)[pairs[1]]
                pairs = pairs[0][near], pairs[1][near]
            found = _joined(chunk, found, probes, pairs, k)
            waiting.clear()
    return found


def _first_pairs(chunk: Chunk, people: int, k: int, lowest: Tensor, least: Tensor, second: Second | None) -> Pairs:
    """Those of about the k least bounds of each person, by second bounds if there are such, which are noted."""
    wanted = max(k, min(chunk.more * k, least.shape[1] // 2))  # with all blocks, the worst of them would be a limit
    pairs = _first(chunk, lowest, least, wanted)
    flat, place = lowest.flatten(1), (pairs[1], pairs[0])
    if second:
        flat[place] = _second_look(second, pairs)
    return _best(flat[place], pairs, k if second else wanted, people)


def _bounds(chunk: Chunk, probes: Probes, allowed: Tensor | None) -> tuple[Tensor, Tensor]:
    """What no distance is below: [q,m,BLOCK], the rows padded to whole blocks, and the least of each block [q,m]."""
    n, q, below = len(chunk), len(probes), chunk.lower_bounds(probes)
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
    """Room for so many numbers. Nobody else has it: it is taken, until it is given back."""
    size = math.prod(shape)
    room, KEPT.room = KEPT.room, torch.empty(0)
    return (room if len(room) >= size else torch.empty(size))[:size].view(shape)


def _give_back(room: Tensor) -> None:
    """For the next search, if it is not much. After an error it is not given back, as threads may still be at it."""
    whole = room if room._base is None else room._base
    if whole.numel() <= MOST_KEPT:
        KEPT.room = whole


def _shares(count: int, most: int, few: int = 0) -> Iterable[slice]:
    """`count` things in pieces of about as many each, at the most `most`, for all threads alike; `few` in one."""
    threads = 1 if count <= few else torch.get_num_threads()
    pieces = threads * max(1, -(-count // (threads * max(1, most))))
    return row_slices(count, max(1, -(-count // pieces)))


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
    shared = (weights * own).sum(2)
    distances = pushed(torch.where(shared > 0, 1 - (products * own).sum(2) / shared, EMPTY))
    near = (distances <= limits).nonzero()[:, 0]
    first, weight = products[0].index_select(0, near), weights[0].index_select(0, near)
    seen = weight * own.index_select(0, near)
    return people[near], Found(distances[near], chunk.ids[rows[near]], 1 - first / weight, seen)


def _by_people(pieces: Sequence[tuple[Tensor, Found]], like: Found) -> Found:
    """What was measured piece by piece, of each person in one row."""
    people = torch.cat([people for people, _ in pieces])
    counts = people.bincount(minlength=len(like.ids))
    found = Found.room(len(like.ids), int(counts.max()), like.parts.shape[2])
    place = people * int(counts.max()) + _places(people, counts)
    for whole, *columns in zip(found, *(piece for _, piece in pieces), strict=True):
        whole.flatten(0, 1).index_copy_(0, place, torch.cat(columns))
    return found


def _first(chunk: Chunk, bounds: Tensor, least: Tensor, k: int) -> Pairs:
    """At least k rows of the least bounds: those in the k blocks of the least whose bound is no more than each has."""
    values, blocks = least.topk(min(k, least.shape[1]), largest=False, sorted=False)
    whose = torch.arange(len(blocks)).repeat_interleave(blocks.shape[1])
    return _rows_within(chunk, bounds, values.amax(1), (blocks.flatten(), whose))


def _within(chunk: Chunk, bounds: Tensor, least: Tensor, limits: Tensor, blocks: slice) -> Pairs:
    """All rows of the `blocks` whose bound does not exclude them."""
    whose, block = (least[:, blocks] <= limits[:, None]).nonzero(as_tuple=True)
    return _rows_within(chunk, bounds, limits, (block + blocks.start, whose))


def _rows_within(chunk: Chunk, bounds: Tensor, limits: Tensor, hits: Pairs) -> Pairs:
    """The rows of those blocks of those people whose bound is within the `limits` [q]."""
    blocks, whose = hits
    if chunk.loops:
        known = bounds.numpy(), limits.contiguous().numpy(), (blocks.contiguous().numpy(), whose.contiguous().numpy())
        rows, people = map(torch.from_numpy, chunk.loops.rows_within(*known))
        return rows, people
    values = bounds[whose, blocks]
    hit, row = ((values <= limits[whose, None]) & (values < EMPTY)).nonzero(as_tuple=True)
    return blocks[hit] * BLOCK + row, whose[hit]


def _second_look(second: Second, pairs: Pairs) -> Tensor:
    """The `second` bound of each of the `pairs`, if there are any."""
    some = _shares(len(pairs[0]), len(pairs[0]), FEW)
    return torch.cat([torch.empty(0), *all_made(lambda piece: second((pairs[0][piece], pairs[1][piece])), some)])


def _best(bounds: Tensor, pairs: Pairs, k: int, people: int) -> Pairs:
    """Of the `pairs`, those of the k least `bounds` of each person; of many that are equal, no more."""
    rows, whose = pairs
    counts = whose.bincount(minlength=people)
    if int(counts.max()) <= k:
        return pairs
    values, place = torch.full((people, int(counts.max())), EMPTY), _places(whose, counts)
    values[whose, place] = bounds
    kept = torch.zeros_like(values, dtype=torch.bool)
    kept.scatter_(1, values.topk(k, largest=False, sorted=False).indices, True)
    near = kept[whose, place]
    return rows[near], whose[near]


def _places(people: Tensor, counts: Tensor) -> Tensor:
    """Which of their own pairs each is, of `people` in order [m]: from 0 on."""
    return torch.arange(len(people)) - (counts.cumsum(0) - counts)[people]


def _in_order(pairs: Sequence[Pairs]) -> Pairs:
    """All of them together, people in order."""
    if len(pairs) == 1:
        return pairs[0]
    rows, people = (torch.cat(column) for column in zip(*pairs, strict=True))
    people, order = people.sort(stable=True)
    return rows[order], people
