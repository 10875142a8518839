"""Pirt's Table 5 from one training: `python runs/pirt_matching.py WEIGHTS ROOT [SET]`.

Its rows differ in matching alone, so pictures are encoded once. Beside them: the coarse ranking as it is, the released
code's distance, ours; and how often the first 100 hold what is to be found.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from halfseen.data.finding import read_named
from halfseen.encode import Look, encode_split
from halfseen.evaluate import evaluate, recall_of
from halfseen.methods import pirt
from halfseen.ops.distance import CoarseToFine
from halfseen.ops.metrics import PROTOCOLS
from halfseen.printing import print_recall, print_scores
from halfseen.training.settings import augment_of
from halfseen.weights import load_weights

weights, root, name = Path(sys.argv[1]), Path(sys.argv[2]), (*sys.argv[3:], "world")[0]
loaded, splits = load_weights(weights, pirt.METHOD), read_named(name, root)
look = Look(augment_of(loaded.recipe))
sides = [encode_split(loaded, weights, splits, split, look) for split in ("query", "gallery")]
ways = {row: pirt.distance(config) for row, config in pirt.ROWS.items() if row.startswith(("5-", "code", "ours"))}
ways["coarse alone"] = pirt.distance(replace(loaded.config, nearest=0))
for row, distance in ways.items():
    scores = evaluate(*sides, distance=distance)
    print_scores(f"{row}: {distance}", scores)
distance = pirt.distance(loaded.config)
assert isinstance(distance, CoarseToFine)
print_recall(recall_of(*sides, distance, [PROTOCOLS[name] for name in scores]))
