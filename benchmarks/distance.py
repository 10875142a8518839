"""Visible-part distances and scores of Occluded-Duke's size, against nothing but the matrix products they need."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from halfseen.ops.distance import VisibleParts, blocks, distances
from halfseen.ops.metrics import PROTOCOLS, score
from halfseen.types import Embedding
from measure import clusters, extra_memory, facts, in_turns, introduce, row

QUERIES, GALLERY, PARTS, DIMS, SEED = 2_210, 17_661, 9, 512, 0
MARKET = [PROTOCOLS["market"]]


def bare_products(query: Embedding, gallery: Embedding, dtype: torch.dtype) -> Callable[[], None]:
    """One product a part, of contiguous operands into a matrix that is there already."""
    q, g = ([part.contiguous() for part in e.vectors.to(dtype).unbind(1)] for e in (query, gallery))
    out = torch.empty(QUERIES, GALLERY, dtype=dtype)

    def products() -> None:
        for a, b in zip(q, g, strict=True):
            torch.mm(a, b.T, out=out)

    return products


def main() -> None:
    introduce(f"visible-part Euclidean distances {QUERIES:,} × {GALLERY:,} × {PARTS} × {DIMS}", SEED)
    dice = torch.Generator().manual_seed(SEED)
    q_facts, g_facts = facts(QUERIES, 519, dice), facts(GALLERY, 1_110, dice)
    query = clusters(q_facts.pids, (PARTS, DIMS), 4.0, SEED, dice)
    gallery = clusters(g_facts.pids, (PARTS, DIMS), 4.0, SEED, dice)
    exact, fast = VisibleParts(), VisibleParts(precision="bfloat16")

    def scored(distance: VisibleParts) -> float:
        return score(blocks(distance, query, gallery), q_facts, g_facts, MARKET)["market"].mAP

    def stored(distance: VisibleParts) -> Tensor:
        return distances(distance, query, gallery)

    matrix = 4 * QUERIES * GALLERY
    memory = [extra_memory(lambda: stored(exact)) - matrix, extra_memory(lambda: scored(exact))]
    single = bare_products(query, gallery, torch.float32)
    times = in_turns(lambda: stored(exact), lambda: scored(exact), single)
    row("float32, matrix stored", times[0], times[2], memory[0])
    row("float32, fused into scores", times[1], times[2], memory[1])
    row("reference: nine float32 products", times[2])
    row("fused, relative to stored", times[1], times[0])
    half = bare_products(query, gallery, torch.bfloat16)
    times = in_turns(lambda: stored(fast), lambda: scored(fast), half)
    row("bfloat16, matrix stored", times[0], times[2])
    row("bfloat16, fused into scores", times[1], times[2])
    row("reference: nine bfloat16 products", times[2])
    print_changes()


def print_changes() -> None:
    """By how much bfloat16 changes the scores, from easy to hard embeddings."""
    changes = []
    for noise in (3.0, 4.0, 5.0, 6.0, 8.0):
        dice = torch.Generator().manual_seed(SEED + 1)
        q_facts, g_facts = facts(600, 200, dice), facts(6_000, 400, dice)
        query = clusters(q_facts.pids, (PARTS, DIMS), noise, SEED, dice)
        gallery = clusters(g_facts.pids, (PARTS, DIMS), noise, SEED, dice)
        a, b = (
            score(blocks(VisibleParts(precision=p), query, gallery), q_facts, g_facts, MARKET)["market"].mAP
            for p in ("float32", "bfloat16")
        )
        changes.append(abs(a - b))
        print(f"noise {noise}: mAP {100 * a:.3f} in float32, {100 * b:.3f} in bfloat16")
    print(f"largest change of mAP by bfloat16: {100 * max(changes):.3f} points")


if __name__ == "__main__":
    main()
