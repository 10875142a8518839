"""CMC, mAP and mINP from given distances, against two loops over the queries.

The first is what the field's toolboxes do in Python: sort the matrix, and for each query walk along its ranking to take
the precision at every rank. The second is the same loop written as well as numpy allows: only positives are looked at.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from halfseen.ops.metrics import PROTOCOLS, score
from halfseen.types import Facts
from measure import extra_memory, facts, in_turns, introduce, row

QUERIES, GALLERY, SEED = 2_210, 17_661, 0


def usual_loop(distances: Tensor, query: Facts, gallery: Facts) -> tuple[float, float]:
    """mAP and mINP with the precision at every rank of every query."""
    ranking = np.argsort(distances.numpy(), axis=1)
    hits = gallery.pids.numpy()[ranking] == query.pids.numpy()[:, None]
    same_camera = gallery.camids.numpy()[ranking] == query.camids.numpy()[:, None]
    precisions, penalties = [], []
    for ranked, junk in zip(hits, hits & same_camera, strict=True):
        right = ranked[~junk].astype(np.int32)
        found = right.cumsum()
        if not found[-1]:
            continue
        precision = np.array([count / (rank + 1.0) for rank, count in enumerate(found)])
        precisions.append((precision * right).sum() / found[-1])
        penalties.append(found[-1] / (right.nonzero()[0][-1] + 1.0))
    return float(np.mean(precisions)), float(np.mean(penalties))


def loop(distances: Tensor, query: Facts, gallery: Facts) -> tuple[float, float, NDArray[np.float64]]:
    """mAP, mINP and CMC the usual way: for each query sort, drop the junk, look where the positives stand."""
    matrix = distances.numpy()
    q_pids, q_camids, g_pids, g_camids = (t.numpy() for t in (query.pids, query.camids, gallery.pids, gallery.camids))
    precisions, penalties, hits = [], [], np.zeros(50)
    for i in range(len(matrix)):
        order = np.argsort(matrix[i], kind="stable")
        same = g_pids[order] == q_pids[i]
        right = same[~(same & (g_camids[order] == q_camids[i]))]
        ranks = right.nonzero()[0] + 1
        if not len(ranks):
            continue
        precisions.append((np.arange(1, len(ranks) + 1) / ranks).mean())
        penalties.append(len(ranks) / ranks[-1])
        hits[ranks[0] - 1 :] += 1
    return float(np.mean(precisions)), float(np.mean(penalties)), hits / len(precisions)


def main() -> None:
    introduce(f"CMC, mAP and mINP from distances {QUERIES:,} × {GALLERY:,}", SEED)
    dice = torch.Generator().manual_seed(SEED)
    query, gallery = facts(QUERIES, 519, dice), facts(GALLERY, 1_110, dice)
    distances = torch.rand(QUERIES, GALLERY, generator=dice)
    distances[query.pids[:, None] == gallery.pids] *= 0.2

    def ours() -> float:
        return score(distances, query, gallery, [PROTOCOLS["market"]])["market"].mAP

    def ours_all() -> object:
        return score(distances, query, gallery, [PROTOCOLS["market"], PROTOCOLS["all"]])

    extra = extra_memory(ours)
    times = in_turns(
        ours, ours_all, lambda: usual_loop(distances, query, gallery), lambda: loop(distances, query, gallery), runs=3
    )
    row("halfseen", times[0], times[2], extra)
    row("halfseen, two protocols at once", times[1], times[2])
    row("reference: the usual loop", times[2])
    row("the loop as numpy likes it", times[3], times[2])
    for name, other in (("usual", times[2]), ("numpy", times[3])):
        ratios = sorted(b / a for a, b in zip(times[0], other, strict=True))
        print(f"the {name} loop takes {ratios[1]:.0f} times as long ({ratios[0]:.0f}–{ratios[2]:.0f})")
    print(f"mAP {ours():.6f}; of the usual loop {usual_loop(distances, query, gallery)[0]:.6f}")


if __name__ == "__main__":
    main()
