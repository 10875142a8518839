"""The same numbers on a CUDA device; skipped where there is none."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from halfseen.ops.distance import CoarseToFine, Distance, Single, VisibleParts, blocks, distances, top_k
from halfseen.ops.metrics import PROTOCOLS, score
from halfseen.ops.parts import fields
from halfseen.ops.rerank import KReciprocal, rerank
from halfseen.types import Embedding, Facts

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def drawn(rows: int, parts: int, seed: int) -> tuple[Embedding, Facts]:
    dice = torch.Generator().manual_seed(seed)
    pids, camids, occlusion = (torch.randint(0, n, (rows,), generator=dice) for n in (20, 4, 4))
    visibility = (torch.rand(rows, parts, generator=dice) < 0.7).float()
    return Embedding(torch.randn(rows, parts, 32, generator=dice), visibility), Facts(pids, camids, occlusion)


def moved(embedding: Embedding, facts: Facts) -> tuple[Embedding, Facts]:
    return Embedding(embedding.vectors.cuda(), embedding.visibility.cuda()), Facts(
        facts.pids.cuda(), facts.camids.cuda(), facts.occlusion.cuda()
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_distances_and_scores(precision: Literal["float32", "bfloat16"]) -> None:
    ways: list[tuple[Distance, int]] = [
        (Single("cosine", precision), 1),
        (VisibleParts(precision=precision), 5),
        (CoarseToFine(10, precision=precision), 5),
    ]
    for distance, parts in ways:
        (q, qf), (g, gf) = drawn(70, parts, 0), drawn(1_500, parts, 1)
        (cq, cqf), (cg, cgf) = moved(q, qf), moved(g, gf)
        loose = 1e-3 if precision == "float32" else 0.2
        torch.testing.assert_close(distances(distance, cq, cg).cpu(), distances(distance, q, g), rtol=0, atol=loose)
        assert top_k(distance, cq, cg, 7).indices.is_cuda
        here, there = (
            score(blocks(distance, a, b), fa, fb, PROTOCOLS.values())
            for a, b, fa, fb in ((q, g, qf, gf), (cq, cg, cqf, cgf))
        )
        assert {k: v.queries for k, v in here.items()} == {k: v.queries for k, v in there.items()}
        assert max(abs(here[k].mAP - there[k].mAP) for k in here) < 0.01


def test_reranking_and_maps() -> None:
    (q, qf), (g, gf) = drawn(30, 1, 2), drawn(400, 1, 3)
    (cq, _), (cg, _) = moved(q, qf), moved(g, gf)
    settings = KReciprocal(Single("unit-euclid"))
    here, there = (torch.cat([b.cpu() for _, b in rerank(settings, a, b_)]) for a, b_ in ((q, g), (cq, cg)))
    torch.testing.assert_close(here, there, rtol=0, atol=1e-3)
    keypoints = torch.rand(4, 17, 3) * torch.tensor([64.0, 128.0, 1.0])
    torch.testing.assert_close(
        fields(keypoints.cuda(), (128, 64), (16, 8)).cpu(), fields(keypoints, (128, 64), (16, 8))
    )
