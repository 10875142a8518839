"""Slow, plain answers to what `halfseen.ops` computes fast: loops over numbers, in double precision."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from halfseen.types import Embedding, Facts, Protocol

Numbers = Sequence[float]


def table(rows: object) -> Tensor:
    """Nested lists of numbers as a float64 tensor."""
    return torch.tensor(rows, dtype=torch.float64)


# --- distances ---


def cosine(a: Numbers, b: Numbers) -> float:
    """The zero vector has no direction: it counts as at right angles to every vector, itself included."""
    lengths = math.hypot(*a) * math.hypot(*b)
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / lengths if lengths else 0.0


def vector_distance(a: Numbers, b: Numbers, metric: str) -> float:
    if metric == "euclid":
        return math.dist(a, b)
    away = 1 - cosine(a, b)
    return away if metric == "cosine" else math.sqrt(max(2 * away, 0.0))


def part_distances(query: Embedding, gallery: Embedding, metric: str) -> Tensor:
    """[Q,G,P]."""
    left, right = query.vectors.double().tolist(), gallery.vectors.double().tolist()
    return table(
        [[[vector_distance(a, b, metric) for a, b in zip(q, g, strict=True)] for g in right] for q in left],
    )


def weighted_mean(values: Tensor, query: Embedding, gallery: Embedding, weight: str, empty: float) -> Tensor:
    """[Q,G]: METHODS 0.4 on `values` [Q,G,P]; `empty` where no part is visible in both."""
    left, right = query.visibility.double().tolist(), gallery.visibility.double().tolist()
    mean = values.new_full(values.shape[:2], empty)
    for i, j in pairs(values):
        above = below = 0.0
        for value, a, b in zip(values[i, j].tolist(), left[i], right[j], strict=True):
            w = math.sqrt(a * b) if weight == "sqrt" else a * b
            if w > 0:
                above += w * value
                below += w
        if below > 0:
            mean[i, j] = above / below
    return mean


def coarse_distance(query: Embedding, gallery: Embedding, parts: int) -> Tensor:
    """[Q,G]: the cosine distances of the first `parts` parts, added."""
    return part_distances(query, gallery, "cosine")[:, :, :parts].sum(2)


def fine_weights(query: Embedding, gallery: Embedding, first: int, confidence: str) -> Tensor:
    """[Q,G,P]: what each part from `first` on weighs in the fine distance; 0 for the coarse parts."""
    left, right = query.visibility.double().tolist(), gallery.visibility.double().tolist()
    weights = torch.zeros(len(query), len(gallery), query.visibility.shape[1], dtype=torch.float64)
    for i, j in pairs(weights):
        for p in range(first, weights.shape[2]):
            a, b = left[i][p], right[j][p]
            choice = {"both": math.sqrt(a * b), "query": a, "gallery": b, "none": 1 / (weights.shape[2] - first)}
            weights[i, j, p] = choice[confidence]
    return weights


def nearest(distances: Tensor, n: int) -> Tensor:
    """bool [Q,G]: the n smallest of each row of `distances` [Q,G], the leftmost first among equals."""
    inside = torch.zeros(distances.shape, dtype=torch.bool)
    for i, order in enumerate(stable_order(distances)):
        inside[i, order[:n]] = True
    return inside


def stable_order(distances: Tensor) -> list[list[int]]:
    """Per row of `distances` [Q,G] its columns, smallest value first, leftmost first among equals."""
    return [sorted(range(len(row)), key=lambda j: (row[j], j)) for row in distances.tolist()]


def pairs(matrix: Tensor) -> Iterator[tuple[int, int]]:
    return ((i, j) for i in range(matrix.shape[0]) for j in range(matrix.shape[1]))


# --- metrics ---


def positive_ranks(distances: Numbers, pid: int, camid: int, gallery: Facts, protocol: Protocol) -> list[int]:
    """The ranks, from 1, of the rows that count; `distances` [G] of one query of `pid` seen by `camid`."""
    ranking = []
    columns = zip(distances, gallery.pids.tolist(), gallery.camids.tolist(), gallery.occlusion.tolist(), strict=True)
    for distance, other, camera, occlusion in columns:
        if other < 0:
            continue
        own = other == pid
        if own and camera == camid and not protocol.same_camera:
            continue
        if own and protocol.keep is not None and occlusion not in {int(kind) for kind in protocol.keep}:
            continue
        ranking.append((distance, own))  # False sorts before True: a stranger goes first among equals
    ranking.sort()
    return [rank for rank, (_, own) in enumerate(ranking, start=1) if own]


def average_precision(ranks: Sequence[int]) -> float:
    return math.fsum(i / rank for i, rank in enumerate(ranks, start=1)) / len(ranks) if ranks else 0.0


def inverse_negative_penalty(ranks: Sequence[int]) -> float:
    return len(ranks) / ranks[-1] if ranks else 0.0


def expected_precision(rows: int, positives: int) -> float:
    """The mean average precision over all orders of `rows` rows, of which `positives` count.

    A positive stands at rank k in positives/rows of the orders, and each of the k-1 rows before it is one of the
    other positives with probability (positives-1)/(rows-1).
    """
    share = (positives - 1) / (rows - 1)
    return math.fsum((1 + (k - 1) * share) / k for k in range(1, rows + 1)) / rows


# --- k-reciprocal re-ranking ---


def k_reciprocal(base: Tensor, queries: int, *, k1: int, k2: int, weight: float) -> Tensor:
    """[Q,G]: Zhong et al. 2017 on `base` [N,N], the distances within queries and gallery together, queries first."""
    original = scaled_squares(base)
    order = stable_order(original)
    codes = [neighbour_code(i, original, order, k1) for i in range(len(order))]
    if k2 != 1:
        codes = [mean_code([codes[j] for j in row[:k2]]) for row in order]
    final = original[:queries, queries:].clone()
    for i, j in pairs(final):
        overlap = math.fsum(min(x, y) for x, y in zip(codes[i], codes[queries + j], strict=True))
        jaccard = 1 - overlap / (2 - overlap)
        final[i, j] = (1 - weight) * jaccard + weight * final[i, j]
    return final


def scaled_squares(base: Tensor) -> Tensor:
    """Row i holds the squares of column i of `base`, the largest of which becomes 1 (unless all are 0)."""
    columns = base.double().square().T.tolist()
    return table([[value / (max(column) or 1.0) for value in column] for column in columns])


def mutual(i: int, order: list[list[int]], k: int) -> list[int]:
    """Those of the first k+1 of i's ranking that have i among the first k+1 of theirs."""
    return [j for j in order[i][: k + 1] if i in order[j][: k + 1]]


def neighbour_code(i: int, original: Tensor, order: list[list[int]], k1: int) -> list[float]:
    """How much each row belongs to i's neighbourhood: [N], adding up to 1, or zeros if nothing does."""
    core = mutual(i, order, k1)
    members = set(core)
    for candidate in core:
        around = mutual(candidate, order, round(k1 / 2))  # halves go to the even number, as published
        if 3 * len(set(around) & set(core)) > 2 * len(around):
            members |= set(around)
    code = [math.exp(-original[i, j].item()) if j in members else 0.0 for j in range(len(order))]
    return [value / (math.fsum(code) or 1.0) for value in code]


def mean_code(codes: list[list[float]]) -> list[float]:
    return [math.fsum(column) / len(codes) for column in zip(*codes, strict=True)]


# --- losses ---


def hardest_gaps(distances: Tensor, pids: Tensor) -> list[float]:
    """Per anchor the largest d_ap - d_an over all (positive, negative), for anchors that have both."""
    gaps = []
    for a, row in enumerate(distances.tolist()):
        friends = [d for p, d in enumerate(row) if p != a and pids[p] == pids[a] and d < math.inf]
        strangers = [d for n, d in enumerate(row) if pids[n] != pids[a] and d < math.inf]
        triplets = [ap - an for ap in friends for an in strangers]
        gaps += [max(triplets)] if triplets else []
    return gaps
