"""What erasing is worth to the teacher itself: `python runs/purified.py ROOT TRAINING [TRAINING ...]`.

Each TRAINING is the folder of one of OGFR with an agent, whose last checkpoint still has the teacher; ROOT is a world
with part labels. The teacher looks at all queries and the whole gallery, and patches are erased before its last block:
none, those that its agent likes least, as many by chance, as many by chance among those that show nobody, and all of
these, which only the labels know: the background, and in hidden pictures what hides people. Parts are pooled from all
patches, then without those that were erased. mAP in per cent of hidden queries with all answers, with hidden ones and
with those behind people; and of whole queries with whole answers, where nothing hides anybody.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

import torch
from agent import learned
from torch import Tensor

from halfseen.data.embeddings import Encoded
from halfseen.data.finding import find_cues, read_named
from halfseen.data.loading import Pictures
from halfseen.encode import normalised
from halfseen.evaluate import evaluate
from halfseen.methods.ogfr import METHOD, OGFR, Output, embed
from halfseen.nets.branches import Look, Teacher
from halfseen.nets.purification import Purifier, likeliest
from halfseen.ops.parts import grid_labels
from halfseen.printing import print_line
from halfseen.recipe import Recipe
from halfseen.training.settings import augment_of
from halfseen.types import Batch, Embedding, Facts, Splits

BATCH = 64


def chosen(network: OGFR, batch: Batch, patches: Tensor, cls: Tensor) -> dict[str, Tensor]:
    """Which patches go, bool [B,N], by name."""
    purifier = cast(Purifier, cast(Teacher, network.teacher).purifier)
    size = (batch.images.shape[2], batch.images.shape[3])
    nobody = grid_labels(batch.cues, network.config.grouping, network.backbone.grid, size).flatten(1) == 0
    rate, luck = purifier.agent.rate, torch.rand(patches.shape[:2])
    actions = {"none": torch.zeros_like(nobody), "by chance": likeliest(luck, rate)}
    if purifier.policy is not None:
        actions["the agent's"] = likeliest(purifier.policy(patches, cls, network.backbone.positions), rate)
    return actions | {"by chance, of nobody": likeliest(luck + nobody, rate), "all of nobody": nobody}


def tested(look: Look, gone: Tensor | None) -> Embedding:
    """As the student's are: a part is seen that wins a cell, of those that are left."""
    assert look.maps is not None
    maps = look.maps
    if gone is not None:
        cells = gone.view(-1, 1, *maps.shape[2:])
        maps = torch.where(cells, (torch.arange(maps.shape[1]) == 0).view(1, -1, 1, 1).to(maps), maps)
    return embed(Output(look._replace(maps=maps)))


@torch.inference_mode()
def looked(network: OGFR, recipe: Recipe, splits: Splits, split: str) -> dict[tuple[str, str], Encoded]:
    """All pictures of a split as the teacher sees them, by what was erased and what was pooled."""
    samples, teacher = splits.by_name[split], cast(Teacher, network.teacher)
    cues = find_cues(splits, samples, ["parts"], network.config.grouping)
    pictures = Pictures(samples, augment_of(recipe).at_test(), cues)
    found: dict[tuple[str, str], list[Embedding]] = {}
    for start in range(0, len(samples), BATCH):
        batch = pictures.batch(range(start, min(start + BATCH, len(samples))))
        tokens, _ = network._below(normalised(network, batch.images))
        positions = network.backbone.positions
        patches = tokens[:, teacher.prefix :][:, : positions.shape[1]]
        for name, action in chosen(network, batch, patches, tokens[:, 0]).items():
            seen = teacher.seen(tokens, cast(Purifier, teacher.purifier).swap(patches, action, positions))
            for pools, gone in (("all", None), ("kept", action)):
                look = teacher.branch(seen, None, gone)
                found.setdefault((name, pools), []).append(tested(look, gone))
    facts = Facts.of(samples)
    return {how: Encoded(Embedding.joined(some), facts, has_cameras=True) for how, some in found.items()}


def main(root: Path, folders: list[Path]) -> None:
    hidden, whole = (read_named(name, root) for name in ("world", "world:holistic"))
    print_line("| training | erased | parts pooled from | all answers | hidden | behind people | whole |")
    print_line(f"|{'---|' * 7}")
    for folder in folders:
        network, recipe = learned(folder, hidden)
        torch.manual_seed(0)
        sides = [looked(network, recipe, splits, split) for splits in (hidden, whole) for split in ("query", "gallery")]
        for how in sides[0]:
            scores = evaluate(sides[0][how], sides[1][how], distance=METHOD.distance)
            told = [scores[name].mAP for name in ("market", "occ", "ntp")]
            told.append(evaluate(sides[2][how], sides[3][how], distance=METHOD.distance)["market"].mAP)
            print_line(f"| {folder.name} | {' | '.join(how)} | {' | '.join(f'{100 * mAP:.1f}' for mAP in told)} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(folder) for folder in sys.argv[2:]])
