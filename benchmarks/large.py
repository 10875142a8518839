"""Scores of MSMT17's size, streamed: 11,659 × 82,161 × 9 × 256. A stored matrix alone would take 3.6 GiB."""

from __future__ import annotations

import torch

from halfseen.ops.distance import VisibleParts, blocks
from halfseen.ops.kernel import Precision
from halfseen.ops.metrics import PROTOCOLS, score
from halfseen.types import Embedding, Facts
from measure import clusters, extra_memory, facts, introduce, once

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
QUERIES, GALLERY, PARTS, DIMS, SEED = 11_659, 82_161, 9, 256, 0


def main() -> None:
    introduce(f"scores of {QUERIES:,} × {GALLERY:,} × {PARTS} × {DIMS}, never stored", SEED)
    dice = torch.Generator().manual_seed(SEED)
    q_facts, g_facts = facts(QUERIES, 3_060, dice, cameras=15), facts(GALLERY, 3_060, dice, cameras=15)
    query = clusters(q_facts.pids, (PARTS, DIMS), 4.0, SEED, dice)
    gallery = clusters(g_facts.pids, (PARTS, DIMS), 4.0, SEED, dice)
    inputs = 4 * PARTS * DIMS * (QUERIES + GALLERY)
    for precision in PRECISIONS:
        print(f"{precision}: {measured(VisibleParts(precision=precision), query, gallery, q_facts, g_facts)}")
    print(f"(inputs: {inputs / 2**20:,.0f} MiB)")


def measured(distance: VisibleParts, query: Embedding, gallery: Embedding, q_facts: Facts, g_facts: Facts) -> str:
    """Time, extra memory and mAP of one pass."""
    seconds: list[float] = []
    scores: list[float] = []

    def job() -> None:
        scored = score(blocks(distance, query, gallery), q_facts, g_facts, [PROTOCOLS["market"]])
        scores.append(scored["market"].mAP)

    extra = extra_memory(lambda: seconds.append(once(job)))
    return f"{seconds[0]:.1f} s, +{extra / 2**20:,.0f} MiB beyond inputs, mAP {100 * scores[0]:.2f}"


if __name__ == "__main__":
    main()
