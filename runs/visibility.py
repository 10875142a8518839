"""How well networks tell which parts are seen: `python runs/visibility.py ROOT WEIGHTS ... [--threshold X]`.

ROOT is a rendered world, whose part labels say what is seen: a part that owns a cell of the network's grid. All queries
and the whole gallery are looked at. Beside F1 stand precision, recall, how many of the hidden parts are told to be so,
and the F1 of taking every part for seen, which a network has to beat; then, part by part, how often it is seen, and how
often it is told to be. `--threshold` moves TSD's line between seen and hidden. `--person` is the share of a cell that
parts must fill for it to be somebody's (0.5): what is true, whatever a network was taught.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from vectors import loaded_at

from halfseen.data.finding import find_cues, read_named
from halfseen.data.loading import Pictures
from halfseen.encode import Look, encode_split
from halfseen.nets.backbones import Backbone
from halfseen.nets.heads import Seen
from halfseen.ops.groupings import GROUPINGS
from halfseen.ops.parts import grid_labels, visible_parts
from halfseen.printing import print_line
from halfseen.training.settings import augment_of
from halfseen.types import Splits
from halfseen.weights import Loaded


def told_and_true(loaded: Loaded, weights: Path, splits: Splits, split: str, person: float) -> tuple[Tensor, Tensor]:
    """Bool [N,K] twice: which parts are told to be seen, and which are."""
    look = Look(augment_of(loaded.recipe))
    told = encode_split(loaded, weights, splits, split, look).embedding.visibility > 0
    true = torch.cat(seen(loaded, splits, split, look, person))
    return told[:, -true.shape[1] :], true  # before the parts stands the whole


def seen(loaded: Loaded, splits: Splits, split: str, look: Look, person: float) -> list[Tensor]:
    """Batch by batch, which parts own a cell."""
    samples, grouping = splits.by_name[split], loaded.config.grouping
    cues = find_cues(splits, samples, ["parts"], grouping)
    pictures, found = Pictures(samples, look.augment.at_test(), cues), []
    grid = cast(Backbone, loaded.network.get_submodule("backbone")).grid
    for start in range(0, len(samples), look.batch):
        batch = pictures.batch(range(start, min(start + look.batch, len(samples))))
        size = (batch.images.shape[2], batch.images.shape[3])
        labels = grid_labels(batch.cues, grouping, grid, size, person)
        found.append(visible_parts(labels, len(GROUPINGS[grouping])))
    return found


def f1(told: Tensor, true: Tensor) -> tuple[float, float, float]:
    """F1, precision and recall of bool tensors."""
    both = float((told & true).sum())
    precision, recall = both / max(1.0, float(told.sum())), both / max(1.0, float(true.sum()))
    return 2 * precision * recall / max(1e-9, precision + recall), precision, recall


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("--threshold", type=float)
    parser.add_argument("--person", type=float, default=0.5)
    asked = parser.parse_args()
    Seen(person=asked.person)  # or an error
    splits, parts = read_named("world", asked.root), []
    print_line("| training | F1 | precision | recall | hidden ones told | F1 of taking all for seen |")
    print_line("|---|---|---|---|---|---|")
    for weights in asked.weights:
        loaded = loaded_at(weights, asked.threshold)
        sides = [told_and_true(loaded, weights, splits, split, asked.person) for split in ("query", "gallery")]
        told, true = (torch.cat(column) for column in zip(*sides, strict=True))
        hidden = float((~told & ~true).sum()) / max(1, int((~true).sum()))
        numbers = (*f1(told, true), hidden, f1(torch.ones_like(true), true)[0])
        print_line(f"| {weights.parent.name} | " + " | ".join(f"{100 * number:.1f}" for number in numbers) + " |")
        shares = zip(loaded.config.names, true.float().mean(0), told.float().mean(0), strict=True)
        parts.append(", ".join(f"{name} {100 * seen:.0f} / {100 * said:.0f}" for name, seen, said in shares))
    for weights, line in zip(asked.weights, parts, strict=True):
        print_line(f"{weights.parent.name}, per cent seen / told: {line}")
