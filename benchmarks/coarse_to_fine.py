"""Pirt's fine stage, 2,210 queries × their 100 nearest, three groups of 2,048: asked ≤ 1 s on two cores."""

from __future__ import annotations

import argparse
import statistics

import torch
from torch import Tensor

from halfseen.methods import METHODS, pirt
from halfseen.ops.distance import CoarseToFine, blocks
from halfseen.types import Embedding
from measure import clusters, extra_memory, facts, in_turns, introduce, row

QUERIES, GALLERY, DIMS, SEED = 2_210, 17_661, 2_048, 0
PARTS = len(pirt.COARSE) + len(pirt.GROUPS)


def drawn(rows: int, people: int, dice: torch.Generator) -> Embedding:
    """Clusters, the confidences of whose groups add up to 1."""
    embedding = clusters(facts(rows, people, dice).pids, (PARTS, DIMS), 4.0, SEED, dice)
    confidence = torch.rand(rows, len(pirt.GROUPS), generator=dice)
    seen = torch.cat([torch.ones(rows, len(pirt.COARSE)), confidence / confidence.sum(1, keepdim=True)], 1)
    return Embedding(embedding.vectors, seen.clamp(max=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="sizes that show only that it works")
    share = 20 if parser.parse_args().small else 1
    queries, gallery_rows = QUERIES // share, GALLERY // share
    introduce(f"coarse to fine {queries:,} × {gallery_rows:,} × {PARTS} × {DIMS:,}", SEED)
    dice = torch.Generator().manual_seed(SEED)
    query, gallery = drawn(queries, 519, dice), drawn(gallery_rows, 1_110, dice)
    distance = pirt.distance(METHODS["pirt"].config())
    assert isinstance(distance, CoarseToFine)
    candidates = [*distance.candidates(query, gallery)]

    def fine() -> list[Tensor]:
        measure = distance.fine(query, gallery)
        return [measure(slice(start, start + len(near)), near) for start, near in candidates]

    def read() -> None:
        for _, near in candidates:
            for rows in near:
                gallery.vectors[:, len(pirt.COARSE) :].index_select(0, rows)

    def whole() -> None:
        for _ in blocks(distance, query, gallery):
            pass

    memory = extra_memory(fine)
    times = in_turns(fine, read, whole)
    row("the fine stage", times[0], times[1], memory)
    row("reference: the vectors it needs, copied", times[1])
    row("coarse and fine, scored block by block", times[2])
    print(f"the fine stage takes {statistics.median(times[0]):.2f} s, asked ≤ 1 s")


if __name__ == "__main__":
    main()
