"""How often a search errs, by how much of the person is hidden: `python runs/errors_by_visibility.py WORLD [WEIGHTS]`.

WORLD is a rendered world, which knows the share of each body that is covered; WEIGHTS are those that come with halfseen
if none are named. Each query looks among the whole gallery, half of which is hidden too, other cameras alone.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import torch

from halfseen.data.finding import read_named
from halfseen.encode import Look, encode_split
from halfseen.evaluate import DISTANCES, score_each
from halfseen.gallery.indexing.model import DEFAULT
from halfseen.ops.metrics import PROTOCOLS
from halfseen.printing import print_line
from halfseen.training.settings import augment_of
from halfseen.weights import load_weights

BANDS = ((0.0, 0.0), (0.0, 0.35), (0.35, 0.5), (0.5, 1.0))  # above the first number, up to the second
WHOLE = "world:holistic"

root, weights = Path(sys.argv[1]), Path((*sys.argv[2:], DEFAULT)[0])
with (root / "world.csv").open(newline="") as table:
    covered = {row["path"]: float(row["covered"]) for row in csv.DictReader(table)}
loaded = load_weights(weights)
everyone = read_named("world", root)
look = Look(augment_of(loaded.recipe))
gallery = encode_split(loaded, weights, everyone, "gallery", look)
shares, parts, first, any_of_ten = [], [], [], []
for name in (WHOLE, "world"):
    splits = read_named(name, root)
    query = encode_split(loaded, weights, splits, "query", look)
    scores = score_each(query, gallery, distance=DISTANCES["parts-cosine"], protocols=[PROTOCOLS["market"]])
    (own,) = scores.values()
    shares += [covered[sample.name] for sample in splits.query]
    parts.append((query.embedding.visibility > 0).float().mean(1))
    first.append(own.first != 1)
    any_of_ten.append(own.first > 10)
share, seen = torch.tensor(shares), torch.cat(parts)
wrong, lost = torch.cat(first).float(), torch.cat(any_of_ten).float()
print_line("| of the body is hidden | queries | parts taken for seen % | first answer wrong % | none of ten right % |")
print_line("|---|---|---|---|---|")
for low, high in BANDS:
    rows = (share == 0) if high == 0 else (share > low) & (share <= high)
    told = "nothing" if high == 0 else f"{100 * low:.0f} to {100 * high:.0f} %"
    means = (f"{100 * float(column[rows].mean()):.1f}" for column in (seen, wrong, lost))
    print_line(f"| {told} | {int(rows.sum())} | " + " | ".join(means) + " |")
