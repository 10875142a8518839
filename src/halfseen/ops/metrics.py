"""CMC, mAP and mINP by counting, for several protocols in one pass over distances that need not be stored.

The rank of a positive is one more than the rows that count and stand before it. So nothing is sorted but the few
gallery rows of the query's own identity, its *kin*; for each of them the rows of other identities that are not
farther are counted.

Ties go against us: a positive stands behind every other identity at the same distance. So the scores do not depend
on the gallery's order, and an embedding that collapsed to one point scores as the worst one, not as luck would have it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from halfseen.types import Block, Facts, InputError, Occlusion, Protocol, Scores

ProtocolName: TypeAlias = Literal["market", "all", "occ", "npo", "ntp"]  # of `PROTOCOLS`, for the command line
OCCLUDED = frozenset({Occlusion.NTP, Occlusion.NPO})
PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("market"),
        Protocol("all", same_camera=True),
        Protocol("occ", keep=OCCLUDED),
        Protocol("npo", keep=frozenset({Occlusion.NPO})),
        Protocol("ntp", keep=frozenset({Occlusion.NTP})),
    )
}

COMPARISONS = 8 * 2**20  # made at a time, one byte each: they stay in cache
WORDS = 255  # this many words of eight 0/1 bytes add up without a carry between the bytes


class QueryScores(NamedTuple):
    """Per query [Q]: average precision, inverse negative penalty, rank of the first positive, number of positives.

    A query without positives has 0 everywhere.
    """

    ap: Tensor
    inp: Tensor
    first: Tensor
    positives: Tensor


class Recall(NamedTuple):
    """Of the queries that have right answers, the shares of which all, and any, are among their `n` candidates."""

    n: int
    all: float
    any: float


def score(
    distances: Tensor | Iterable[Block],
    query: Facts,
    gallery: Facts,
    protocols: Iterable[Protocol],
    *,
    max_rank: int = 50,
) -> dict[str, Scores]:
    """Scores by protocol name, from distances [Q,G] or blocks of their rows."""
    protocols = tuple(protocols)
    per_query = score_queries(distances, query, gallery, protocols)
    return {p.name: mean_scores(per_query[p.name], p, max_rank) for p in protocols}


def score_queries(
    distances: Tensor | Iterable[Block], query: Facts, gallery: Facts, protocols: Iterable[Protocol]
) -> dict[str, QueryScores]:
    """The same before the mean: a `QueryScores` by protocol name."""
    protocols, kin = tuple(protocols), _Kin.of(gallery)
    if not len(query) or len({p.name for p in protocols}) < len(protocols):
        names = ", ".join(p.name for p in protocols)
        raise InputError(f"{len(query)} queries under protocols {names}: give at least one query, each protocol once")
    found: dict[str, list[QueryScores]] = {p.name: [] for p in protocols}
    row = 0
    for start, block in _blocks(distances):
        _check_block(block, start, row, query, gallery)
        row = start + len(block)
        facts = query[start:row]
        distance = block if kin.counted is None else block[:, kin.counted]
        for name, scores in _score_block(distance, facts, kin, protocols).items():
            found[name].append(scores)
    if row != len(query):
        raise InputError(f"the distances have {row} query rows and the facts {len(query)}; give one row for each query")
    return {name: QueryScores(*map(torch.cat, zip(*parts, strict=True))) for name, parts in found.items()}


class _Kin(NamedTuple):
    """The gallery's rows grouped by identity: `rows[first:last]` is one group."""

    facts: Facts  # of the rows that count
    counted: Tensor | None  # their numbers, or None where all do: junk (pid < 0) does not
    rows: Tensor
    pids: Tensor  # pids[i] = facts.pids[rows[i]], ascending

    @staticmethod
    def of(gallery: Facts) -> _Kin:
        counted = None
        if (gallery.pids < 0).any():
            counted = (gallery.pids >= 0).nonzero()[:, 0]
            gallery = gallery[counted]
        pids, rows = gallery.pids.sort(stable=True)
        return _Kin(gallery, counted, rows, pids)

    def bounds(self, pids: Tensor) -> tuple[Tensor, Tensor]:
        """First and one past the last place in `rows` of each of `pids` [q]."""
        pids = pids.contiguous()
        return torch.searchsorted(self.pids, pids), torch.searchsorted(self.pids, pids, right=True)


def _blocks(distances: Tensor | Iterable[Block]) -> Iterable[Block]:
    return [(0, distances)] if isinstance(distances, Tensor) else distances


def _check_block(block: Tensor, start: int, expected: int, query: Facts, gallery: Facts) -> None:
    queries, columns, device = len(query), len(gallery), query.pids.device
    if block.ndim != 2 or block.shape[1] != columns or start != expected or start + len(block) > queries:
        raise InputError(
            f"distances of shape {tuple(block.shape)} from query row {start} do not fit "
            f"{queries} queries (next row: {expected}) and {columns} gallery rows; give all rows once, in order"
        )
    if not block.is_floating_point():
        raise InputError(f"distances are {block.dtype}; convert them to float32")
    if block.device != device:
        raise InputError(f"the distances are on {block.device} and the facts on {device}; move them to one device")
    if block.numel() and bool(block.amin().isnan()):
        row, column = block.isnan().nonzero()[0].tolist()
        raise InputError(
            f"the distance of query row {start + row} to gallery row {column} is NaN; "
            f"use infinity where two images share nothing"
        )


def _score_block(distance: Tensor, query: Facts, kin: _Kin, protocols: tuple[Protocol, ...]) -> dict[str, QueryScores]:
    """Scores of the rows of `distance` [q,G], a few of about as many kin at a time."""
    first, last = kin.bounds(query.pids)
    out = {p.name: _nothing(len(query), distance.device) for p in protocols}
    order = (last - first).argsort()
    sizes = (last - first)[order].tolist()
    for rows in _batches(order, sizes, distance.shape[1]):
        if (width := int((last - first)[rows].max())) == 0:
            continue
        place = first[rows, None] + torch.arange(width, device=distance.device)
        valid = place < last[rows, None]
        group = kin.rows[place.clamp(max=len(kin.rows) - 1)]
        some = distance[rows]
        near, by_distance = some.gather(1, group).masked_fill_(~valid, torch.inf).sort(dim=1)
        valid, group = valid.gather(1, by_distance), group.gather(1, by_distance)
        before = _others_not_farther(some, near, valid)
        for p in protocols:
            positive = valid & _is_positive(p, query[rows], kin.facts, group)
            for whole, part in zip(out[p.name], _from_ranks(before, positive), strict=True):
                whole[rows] = part
    return out


def _nothing(queries: int, device: torch.device) -> QueryScores:
    zeros = torch.zeros(queries, dtype=torch.float64, device=device)
    counts = torch.zeros(queries, dtype=torch.int64, device=device)
    return QueryScores(zeros, zeros.clone(), counts, counts.clone())


def _batches(order: Tensor, sizes: list[int], columns: int) -> Iterator[Tensor]:
    """`order` [q] cut where the comparisons of a batch would outgrow COMPARISONS; `sizes` ascend along it."""
    start = 0
    while start < len(sizes):
        stop = start + 1
        while stop < len(sizes) and (stop + 1 - start) * sizes[stop] * columns <= COMPARISONS:
            stop += 1
        yield order[start:stop]
        start = stop


def _is_positive(protocol: Protocol, query: Facts, gallery: Facts, group: Tensor) -> Tensor:
    """Which of the kin `group` [q,m] count as right answers."""
    positive = torch.ones_like(group, dtype=torch.bool)
    if not protocol.same_camera:
        positive = gallery.camids[group] != query.camids[:, None]
    if protocol.keep is not None:
        keep = torch.tensor(sorted(protocol.keep), device=group.device)
        positive = positive & torch.isin(gallery.occlusion[group], keep)
    return positive


def _others_not_farther(distance: Tensor, near: Tensor, valid: Tensor) -> Tensor:
    """How many rows of other identities are not farther than each kin: `near` [q,m] ascending, in `distance` [q,G]."""
    step = max(1, COMPARISONS // distance.numel())
    counts = [_count(distance, near[:, start : start + step]) for start in range(0, near.shape[1], step)]
    kin = torch.searchsorted(near, near.contiguous(), right=True)
    return torch.cat(counts, dim=1) - kin.minimum(valid.sum(1, keepdim=True))


def _count(distance: Tensor, limit: Tensor) -> Tensor:
    """[q,m] numbers of the `distance` [q,G] that are ≤ each `limit` [q,m].

    Adding bytes one by one is what takes the time; so eight of them are added at once, as one 64-bit word.
    """
    columns = distance.shape[1]
    groups = -(-columns // (8 * WORDS)) or 1
    words = -(-columns // (8 * groups)) or 1  # of each group, so that hardly more than the columns is made
    padded = 8 * words * groups
    closer = torch.empty(*limit.shape, padded, dtype=torch.bool, device=distance.device)
    closer[:, :, columns:] = False
    torch.le(distance[:, None], limit[:, :, None], out=closer[:, :, :columns])
    eights = closer.view(torch.int64).view(*limit.shape, groups, words).sum(3)
    return eights.view(torch.uint8).sum(2, dtype=torch.int64)


def _from_ranks(before: Tensor, positive: Tensor) -> QueryScores:
    """`before` [q,m]: other identities not farther than each kin; `positive` [q,m]: which kin count."""
    nth, count = positive.cumsum(1), positive.sum(1)
    rank = before + nth
    ap = (positive * nth / rank.clamp(min=1)).sum(1, dtype=torch.float64) / count.clamp(min=1)
    first = (rank * (positive & (nth == 1))).sum(1)
    last = (rank * (positive & (nth == count[:, None]))).sum(1)
    return QueryScores(ap, count / last.clamp(min=1).double(), first, count)


def recall(
    candidates: Iterable[Block], query: Facts, gallery: Facts, protocols: Iterable[Protocol]
) -> dict[str, Recall]:
    """By protocol name, how often the `candidates` hold the right answers: blocks (first query row, gallery rows
    [rows, n], all different)."""
    protocols = tuple(protocols)
    found: dict[str, list[Tensor]] = {p.name: [] for p in protocols}
    n = 0
    for start, near in candidates:
        n = near.shape[1]
        asked = query[start : start + len(near)]
        own = gallery.pids[near] == asked.pids[:, None]
        for p in protocols:
            found[p.name].append((own & _is_positive(p, asked, gallery, near)).sum(1))
    recalls = {}
    for p in protocols:
        here, total = torch.cat(found[p.name]), _positives(p, query, gallery)
        if not (total > 0).any():
            raise InputError(_why_none(p, len(query)))
        here, total = here[total > 0], total[total > 0]
        recalls[p.name] = Recall(n, float((here == total).double().mean()), float((here > 0).double().mean()))
    return recalls


def _positives(protocol: Protocol, query: Facts, gallery: Facts) -> Tensor:
    """How many right answers each query has in the whole gallery: [Q]."""
    counted = gallery.pids >= 0
    if protocol.keep is not None:
        counted &= torch.isin(gallery.occlusion, torch.tensor(sorted(protocol.keep), device=counted.device))
    gallery = gallery[counted.nonzero()[:, 0]]
    own = _alike(query.pids[:, None], gallery.pids[:, None])
    if protocol.same_camera:
        return own
    return own - _alike(*(torch.stack([side.pids, side.camids], 1) for side in (query, gallery)))


def _alike(query: Tensor, gallery: Tensor) -> Tensor:
    """How many rows of `gallery` [G,k] are the same as each of `query` [Q,k]: [Q]."""
    number: Tensor
    _, number = torch.unique(torch.cat([query, gallery]), dim=0, return_inverse=True)
    return number[len(query) :].bincount(minlength=len(number))[number[: len(query)]]


def mean_scores(scores: QueryScores, protocol: Protocol, max_rank: int = 50) -> Scores:
    """Means over the queries that have a positive; an InputError says why none has, if none has."""
    if max_rank < 1:
        raise InputError(f"max_rank is {max_rank}; the CMC needs at least rank 1")
    had = scores.positives > 0
    queries = int(had.sum())
    if not queries:
        raise InputError(_why_none(protocol, len(had)))
    hits = scores.first[had].clamp(max=max_rank + 1)
    cmc = torch.bincount(hits - 1, minlength=max_rank + 1)[:max_rank].cumsum(0).double() / queries
    return Scores(
        mAP=float(scores.ap[had].mean()),
        mINP=float(scores.inp[had].mean()),
        cmc=tuple(cmc.tolist()),
        queries=queries,
        skipped=len(had) - queries,
        positives=int(scores.positives.sum()),
    )


def _why_none(protocol: Protocol, queries: int) -> str:
    kept = "" if protocol.keep is None else " and of occlusion " + "/".join(o.name for o in sorted(protocol.keep))
    cameras = "" if protocol.same_camera else " seen by another camera than the query's"
    return (
        f"none of the {queries} queries has a right answer under protocol '{protocol.name}': it needs gallery images "
        f"of the query's identity{cameras}{kept}; check the pids, or choose protocol 'all' if there is only one camera"
    )
