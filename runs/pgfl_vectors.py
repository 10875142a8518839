"""PGFL-KD's Table 8 from one training: `python runs/pgfl_vectors.py TRAINING ROOT [SET]`.

TRAINING is the folder of a training of the whole method, whose last checkpoint still has the branches that released
weights leave out. Its rows differ in what is compared: all but the global vector look at the poses of SET's pictures.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from halfseen.data.finding import read_named
from halfseen.encode import Look, encode_split
from halfseen.evaluate import evaluate
from halfseen.methods.pgfl_kd import METHOD, ROWS
from halfseen.printing import print_scores
from halfseen.training.settings import augment_of
from halfseen.weights import load_weights, make_network, plain, save_weights

folder, root, name = Path(sys.argv[1]), Path(sys.argv[2]), (*sys.argv[3:], "world")[0]
last, splits = load_weights(folder / "last.safetensors", METHOD), read_named(name, root)
state = torch.load(folder / "last.ckpt", weights_only=True, map_location="cpu")["network"]
for row in ("8-global", "8-aligned", "8-foreground", "8-fused", "8-enhanced"):
    config = replace(last.config, test=ROWS[row].test)
    network = make_network(METHOD.of(config), config, last.recipe)
    network.load_state_dict({key: state[key] for key in network.state_dict()})
    with TemporaryDirectory() as scratch:
        weights = Path(scratch, "weights.safetensors")
        save_weights(weights, METHOD.of(config), network, replace(last.card, config=plain(config)))
        look = Look(augment_of(last.recipe))
        sides = [encode_split(load_weights(weights), weights, splits, split, look) for split in ("query", "gallery")]
    print_scores(f"{row}: {config.test}", evaluate(*sides, distance=METHOD.distance))
