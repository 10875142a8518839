"""What TSD teaches itself with: `python runs/masks.py ROOT TRAINING [TRAINING ...]`.

Each TRAINING is the folder of one, whose last checkpoint still has the teacher; ROOT is the world that it learned from,
whose training pictures are looked at as they are. A line for each part: in how many pictures its mask is empty, so that
its query sees the mean of all patches; how many of the patches in its mask are really of that part, and how many of it
or its mirror image; and how many of its patches, and of all that show somebody, have the right mask.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from vectors import as_trained

from halfseen.data.finding import find_cues, read_named
from halfseen.data.loading import Pictures
from halfseen.encode import Look, normalised
from halfseen.methods.tsd import METHOD, TSD
from halfseen.ops.groupings import GROUPINGS, flipped_parts
from halfseen.ops.parts import grid_labels
from halfseen.printing import print_line
from halfseen.recipe import Recipe
from halfseen.training.settings import augment_of
from halfseen.types import Cues, Splits
from halfseen.weights import load_weights


def learned(folder: Path, splits: Splits) -> tuple[TSD, Recipe]:
    """The network of a training as it was at its end, teacher and all."""
    last = load_weights(folder / "last.safetensors", METHOD)
    if "teacher" not in last.config.terms:
        sys.exit(f"{folder} has no teacher; give trainings of rows such as 3-m3 and 3-m4")
    return cast(TSD, as_trained(folder, last, splits)), last.recipe


def masked_and_true(network: TSD, recipe: Recipe, splits: Splits) -> tuple[Tensor, Tensor]:
    """Bool [n,P,N], the teacher's masks, and int64 [n,N], the parts that own the patches."""
    samples, grouping, look = splits.train, network.config.grouping, Look(augment_of(recipe))
    pictures = Pictures(samples, look.augment.at_test(), find_cues(splits, samples, ["parts"], grouping))
    masks, true = [], []
    for start in range(0, len(samples), look.batch):
        batch = pictures.batch(range(start, min(start + look.batch, len(samples))))
        size = (batch.images.shape[2], batch.images.shape[3])
        true.append(
            grid_labels(batch.cues, grouping, network.backbone.grid, size, network.config.seen.person).flatten(1)
        )
        pixels = None
        if network.config.learns_maps:
            pixels = network.pixels(network(normalised(network, batch.images)).cells)
        masks.append(network._masks(pixels, Cues(parts=batch.cues.parts), size)[:, -len(network.config.names) :])
    return torch.cat(masks), torch.cat(true)


def shares(masks: Tensor, true: Tensor, part: int, mirror: int) -> list[float]:
    """Of one part: empty masks, patches that are right, or the mirror image's, and found."""
    mask, own = masks[:, part], true == part + 1
    inside, there = max(1, int(mask.sum())), max(1, int(own.sum()))
    right, either = float((mask & own).sum()), float((mask & (own | (true == mirror + 1))).sum())
    return [float((~mask.any(1)).float().mean()), right / inside, either / inside, right / there]


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    splits = read_named("world", Path(sys.argv[1]))
    print_line("| training, part | masks that are empty | patches that are right | or the mirror image's | found |")
    print_line("|---|---|---|---|---|")
    for folder in map(Path, sys.argv[2:]):
        network, recipe = learned(folder, splits)
        masks, true = masked_and_true(network, recipe, splits)
        mirrors = flipped_parts(GROUPINGS[network.config.grouping])
        for part, name in enumerate(network.config.names):
            numbers = shares(masks, true, part, mirrors[part])
            print_line(f"| {folder.name}, {name} | " + " | ".join(f"{100 * number:.0f}" for number in numbers) + " |")
        found = masks.transpose(1, 2).gather(2, (true - 1).clamp(min=0)[:, :, None])[:, :, 0][true > 0].float().mean()
        print_line(f"| {folder.name}, all | | | | {100 * float(found):.0f} |")
