"""k-reciprocal re-ranking, against the published algorithm on dense matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from halfseen.ops.distance import Single, distances
from halfseen.ops.rerank import KReciprocal, rerank
from halfseen.types import Embedding
from measure import clusters, extra_memory, facts, in_turns, introduce, once, row

DIMS, SEED, SETTINGS = 256, 0, KReciprocal(Single("unit-euclid"))


def dense(query: Embedding, gallery: Embedding) -> NDArray[Any]:
    """The algorithm as it was published: N×N matrices of distances, of ranks and of weights."""
    k1, k2, weight = SETTINGS.k1, SETTINGS.k2, SETTINGS.weight
    union = Embedding(torch.cat([query.vectors, gallery.vectors]), torch.cat([query.visibility, gallery.visibility]))
    squares = distances(SETTINGS.base, union, union).numpy() ** 2
    squares /= squares.max(axis=1, keepdims=True)
    ranks = np.argsort(squares, axis=1, kind="stable").astype(np.int32)
    weights = np.zeros_like(squares)

    def mutual(i: int, k: int) -> NDArray[Any]:
        near: NDArray[Any] = ranks[i, : k + 1]
        mutually: NDArray[Any] = near[(ranks[near, : k + 1] == i).any(axis=1)]
        return mutually

    for i in range(len(squares)):
        core = mutual(i, k1)
        members = [core]
        for candidate in core:
            more = mutual(candidate, round(k1 / 2))
            if len(np.intersect1d(more, core)) > 2 / 3 * len(more):
                members.append(more)
        every = np.unique(np.concatenate(members))
        alike = np.exp(-squares[i, every])
        weights[i, every] = alike / alike.sum()
    weights = np.stack([weights[ranks[i, :k2]].mean(axis=0) for i in range(len(weights))])
    holders = [weights[:, j].nonzero()[0] for j in range(len(weights))]
    out = np.empty((len(query), len(gallery)), dtype=np.float32)
    for i in range(len(query)):
        shared = np.zeros(len(weights), dtype=np.float32)
        for j in weights[i].nonzero()[0]:
            shared[holders[j]] += np.minimum(weights[i, j], weights[holders[j], j])
        out[i] = (1 - shared / (2 - shared))[len(query) :]
    return out * np.float32(1 - weight) + squares[: len(query), len(query) :] * np.float32(weight)


def sparse(query: Embedding, gallery: Embedding) -> Tensor:
    return torch.cat([block for _, block in rerank(SETTINGS, query, gallery)])


def draw(queries: int, gallery: int) -> tuple[Embedding, Embedding]:
    """About 20 images a person."""
    dice, people = torch.Generator().manual_seed(SEED), (queries + gallery) // 20
    sides = [clusters(facts(n, people, dice).pids, (1, DIMS), 1.5, SEED, dice) for n in (queries, gallery)]
    return sides[0], sides[1]


def main() -> None:
    introduce(f"k-reciprocal re-ranking, {DIMS} dimensions, k1 = 20, k2 = 6", SEED)
    query, gallery = draw(1_000, 7_000)
    extra = extra_memory(lambda: sparse(query, gallery))
    times = in_turns(lambda: sparse(query, gallery), lambda: dense(query, gallery), runs=3)
    row("halfseen, N = 8,000", times[0], times[1], extra)
    row("reference: dense, N = 8,000", times[1])
    print(f"the dense one takes {sorted(b / a for a, b in zip(*times, strict=True))[1]:.1f} times as long")
    gap = float((sparse(query, gallery) - torch.from_numpy(dense(query, gallery))).abs().max())
    print(f"largest difference of any distance: {gap:.1e}")
    query, gallery = draw(2_500, 17_500)
    seconds: list[float] = []

    def streamed() -> None:
        for _ in rerank(SETTINGS, query, gallery):
            pass

    extra = extra_memory(lambda: seconds.append(once(streamed)))
    row("halfseen, N = 20,000, blocks not kept", seconds, extra=extra)


if __name__ == "__main__":
    main()
