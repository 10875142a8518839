"""Equal gallery rows are at equal distances wherever they stand, so that ties go against us and not to BLAS."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from halfseen.data.embeddings import Encoded
from halfseen.evaluate import DISTANCES, evaluate
from halfseen.ops.distance import distances
from halfseen.ops.kernel import TILE
from halfseen.types import Embedding, Facts

QUERIES = (1, 2, 5, TILE[0] + 1)
SIZES = ((7, 8), (7, 512), (33, 100), (301, 257), (1003, 64), (1003, 512), (301, 2048))  # gallery rows, dimensions


def facts(pids: Tensor, camid: int) -> Facts:
    return Facts(pids, torch.full_like(pids, camid), torch.zeros_like(pids))


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize("queries", QUERIES)
def test_a_collapsed_gallery_is_equally_far(name: str, queries: int) -> None:
    parts = 1 if name in ("cosine", "euclid", "unit-euclid") else 3
    torch.manual_seed(0)
    for columns, dims in SIZES:
        one, seen = torch.randn(1, parts, dims), torch.rand(1, parts)
        gallery = Embedding(one.repeat(columns, 1, 1), seen.repeat(columns, 1))
        others = Embedding(torch.randn(queries, parts, dims), torch.rand(queries, parts))
        for query in (others, gallery[torch.zeros(queries, dtype=torch.int64)]):
            found = distances(DISTANCES[name], query, gallery)
            for some in torch.split(found, 100, 1) if name == "coarse-to-fine" else [found]:  # it looks again at 100
                assert bool((some == some[:, :1]).all()), (columns, dims)


@pytest.mark.parametrize("queries", QUERIES)
def test_a_collapsed_embedding_scores_as_the_worst(queries: int) -> None:
    for columns, dims in SIZES:
        one, pids = torch.randn(1, dims), torch.arange(columns) % 5
        query = Encoded(Embedding.of(one.repeat(queries, 1)), facts(torch.full((queries,), 2), 0))
        gallery = Encoded(Embedding.of(one.repeat(columns, 1)), facts(pids, 1))
        right = int((pids == 2).sum())
        worst = sum(nth / (columns - right + nth) for nth in range(1, right + 1)) / right
        scores = evaluate(query, gallery)["market"]
        assert scores.mAP == pytest.approx(worst)
        assert scores.cmc[0] == 0


@pytest.mark.parametrize("name", ["cosine", "euclid", "parts", "parts-cosine"])
@pytest.mark.parametrize("queries", QUERIES)
def test_the_order_of_the_gallery_does_not_count(name: str, queries: int) -> None:
    """Many pictures are there several times, and under several identities."""
    torch.manual_seed(1)
    for columns, dims in SIZES:
        different = torch.randn(20, 1, dims)
        of, pids = torch.randint(20, (columns,)), torch.randint(5, (columns,))
        near = different[torch.randint(20, (queries,))] + 0.3 * torch.randn(queries, 1, dims)
        query = Encoded(Embedding.of(near), facts(torch.arange(queries) % 5, 0))
        scores = set()
        for _ in range(4):
            order = torch.randperm(columns)
            gallery = Encoded(Embedding.of(different[of[order]]), facts(pids[order], 1))
            scores.add(evaluate(query, gallery, distance=DISTANCES[name])["market"])
        assert len(scores) == 1, (columns, dims)
