"""What each vector of a network that sees parts is worth: `python runs/vectors.py WEIGHTS SET [--root ROOT]`.

SET is the name of a data set; ROOT is where it lies, left out: HALFSEEN_DATA. Compared are all vectors with the
visibility that the network gives them, all with every part taken for seen, those behind the first alone (where the
first is the whole picture: the parts), and each by itself. `--threshold X` moves TSD's line between seen and hidden.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from halfseen.data.embeddings import Encoded
from halfseen.data.finding import read_named
from halfseen.encode import Look, encode_split
from halfseen.evaluate import evaluate
from halfseen.printing import print_line
from halfseen.training.settings import augment_of
from halfseen.types import Embedding, Splits
from halfseen.weights import Loaded, load_weights, make_network, part_names


def loaded_at(weights: Path, threshold: float | None) -> Loaded:
    """With another `threshold`, if there is one."""
    loaded = load_weights(weights)
    if threshold is not None and loaded.method.name != "tsd":
        sys.exit(f"--threshold is TSD's, and {weights} holds weights of {loaded.method.name}; leave it out")
    if threshold is not None:
        network: Any = loaded.network
        network.config = replace(loaded.config, seen=replace(loaded.config.seen, threshold=threshold))
    return loaded


def as_trained(folder: Path, loaded: Loaded, splits: Splits) -> nn.Module:
    """The network of a training in `folder` as it was at its end, with all that is there to teach alone."""
    people = len({sample.pid for sample in splits.train})
    network = make_network(loaded.method, loaded.config, loaded.recipe, people)
    network.load_state_dict(torch.load(folder / "last.ckpt", weights_only=True, map_location="cpu")["network"])
    return network.eval().requires_grad_(False)


def only(side: Encoded, rows: Sequence[int], *, all_seen: bool) -> Encoded:
    """`side` with these of its vectors."""
    vectors, seen = side.embedding.vectors[:, rows], side.embedding.visibility[:, rows]
    return replace(side, embedding=Embedding(vectors, torch.ones_like(seen) if all_seen else seen))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("set")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--threshold", type=float)
    asked = parser.parse_args()
    loaded, splits = loaded_at(asked.weights, asked.threshold), read_named(asked.set, asked.root)
    look = Look(augment_of(loaded.recipe))
    query, gallery = (encode_split(loaded, asked.weights, splits, split, look) for split in ("query", "gallery"))
    names = part_names(loaded.config, query.embedding.vectors.shape[1])
    every = range(len(names))
    choices = {"all": (every, False), "all, taken for seen": (every, True)}
    if len(names) > 1:
        choices[f"all but {names[0]}"] = (every[1:], False)
        choices |= {f"{name} alone": (every[row : row + 1], True) for row, name in enumerate(names)}
    print_line("| compared | mAP | R1 | seen of queries | of the gallery |")
    print_line("|---|---|---|---|---|")
    for what, (rows, all_seen) in choices.items():
        sides = [only(side, rows, all_seen=all_seen) for side in (query, gallery)]
        (_, score), *_ = evaluate(*sides, distance=loaded.method.distance).items()
        shares = [float(side.embedding.visibility[:, rows].mean()) for side in (query, gallery)]
        numbers = (score.mAP, float(score.cmc[0]), *shares)
        print_line(f"| {what} | " + " | ".join(f"{100 * number:.1f}" for number in numbers) + " |")
