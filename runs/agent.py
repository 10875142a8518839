"""What OGFR's agent has to learn from, and what it has learned: `python runs/agent.py ROOT TRAINING [TRAINING ...]`.

Each TRAINING is the folder of one, whose last checkpoint still has the teacher; ROOT is the world that it learned from.
Among training pictures as they are, and beside each other as in training, patches are erased before the teacher's last
block. A line for each of the two that may judge, the vector of the whole and those of parts: what erasing gains by
chance, and if the patches go that the agent likes least; the standard deviation of what a single patch more changes of
that, which is all that an agent can learn from; and how many of the patches that it likes least show no part of
anybody, and of all.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from vectors import as_trained

from halfseen.data.finding import find_cues, read_named
from halfseen.data.loading import Pictures, labels_of
from halfseen.data.sampling import IdentityBatches
from halfseen.encode import normalised
from halfseen.methods.ogfr import METHOD, OGFR
from halfseen.nets.branches import Teacher
from halfseen.nets.purification import Agent, Judges, Purifier, likeliest
from halfseen.nets.reinforcement import Judged, gain
from halfseen.ops.parts import grid_labels
from halfseen.printing import print_line
from halfseen.recipe import Recipe
from halfseen.training.settings import augment_of
from halfseen.types import Batch, Splits
from halfseen.weights import load_weights

BATCHES, SINGLE = 6, 2  # of training pictures; so many for single patches, which are many
CHANCES = 0.05, 0.15, 0.3
JUDGES: tuple[Judges, ...] = ("global", "parts")


def learned(folder: Path, splits: Splits) -> tuple[OGFR, Recipe]:
    """The network of a training as it was at its end, teacher and all."""
    last = load_weights(folder / "last.safetensors", METHOD)
    if last.config.agent.kind == "none" or last.config.attention != "learned":
        sys.exit(f"{folder} has nobody who erases, or parts from cues; give trainings of rows such as 6-ogfr")
    return cast(OGFR, as_trained(folder, last, splits)), last.recipe


def batches(recipe: Recipe, grouping: str, splits: Splits, count: int | None = BATCHES) -> list[Batch]:
    cues = find_cues(splits, splits.train, ["parts"], grouping)
    pictures = Pictures(splits.train, augment_of(recipe).at_test(), cues, labels=labels_of(splits.train))
    pids = [sample.pid for sample in splits.train]
    drawn = IdentityBatches(pids, recipe.people, recipe.images, seed=0)
    return [pictures.batch(rows) for rows in list(drawn)[:count]]


class Trials:
    """A batch before the teacher's last block, judged by the vector `judges`."""

    def __init__(self, network: OGFR, batch: Batch, judges: Judges) -> None:
        self.teacher = cast(Teacher, network.teacher)
        self.positions, self.pids, self.judges = network.backbone.positions, batch.pids, judges
        self.tokens, _ = network._below(normalised(network, batch.images))
        self.patches = self.tokens[:, self.teacher.prefix :][:, : self.positions.shape[1]]
        self.kept = self.judged(self.patches)
        size = (batch.images.shape[2], batch.images.shape[3])
        labels = grid_labels(batch.cues, network.config.grouping, network.backbone.grid, size)
        self.background = labels.flatten(1) == 0

    @property
    def purifier(self) -> Purifier:
        """The teacher's at present."""
        return cast(Purifier, self.teacher.purifier)

    def judged(self, patches: Tensor, erased: Tensor | None = None) -> Judged:
        agent = self.purifier.agent
        gone = erased if agent.pools == "kept" else None
        tokens = self.teacher.seen(self.tokens, patches)
        return self.teacher.branch.judged(tokens, None, self.judges, gone, agent.gap)

    def gain(self, action: Tensor, agent: Agent | None = None) -> Tensor:
        """[B], of erasing where `action` [B,N] says so, as the agent or another weighs it."""
        now = self.judged(self.purifier.swap(self.patches, action, self.positions), action)
        return gain(now, self.kept, self.pids, agent or self.purifier.agent)

    def single(self, action: Tensor) -> Tensor:
        """[B,N]: by how much each patch changes the gain, the others being erased or not as in `action`."""
        columns = []
        for patch in range(action.shape[1]):
            both = (action.index_fill(1, torch.tensor([patch]), erased) for erased in (True, False))
            more, less = map(self.gain, both)
            columns.append(more - less)
        return torch.stack(columns, 1)

    def logits(self) -> Tensor:
        """How much the agent wants each patch erased, [B,N]."""
        assert self.purifier.policy is not None
        logits: Tensor = self.purifier.policy(self.patches, self.tokens[:, 0], self.positions)
        return logits

    def disliked(self, share: float) -> Tensor:
        """The agent's least liked patches, so large a `share` of all."""
        return likeliest(self.logits(), share)


def line(name: str, network: OGFR, known: list[Batch], judges: Judges) -> str:
    torch.manual_seed(0)
    chances: dict[float, list[Tensor]] = {chance: [] for chance in CHANCES}
    single: list[Tensor] = []
    disliked: list[Tensor] = []
    empty: list[Tensor] = []
    everywhere: list[Tensor] = []
    for batch in known:
        trials = Trials(network, batch, judges)
        rate, count = trials.purifier.agent.rate, trials.positions.shape[1]
        luck = torch.rand(len(batch.pids), count)
        for chance, gains in chances.items():
            gains.append(trials.gain(luck < chance))
        if len(single) < SINGLE:
            single.append(trials.single(luck < rate))
        if trials.purifier.policy is not None:
            erased = trials.disliked(rate)
            disliked.append(trials.gain(erased))
            empty.append(trials.background[erased])
        everywhere.append(trials.background.flatten())
    told = [f"{mean(gains):+.3f}" for gains in chances.values()]
    told += [f"{mean(disliked):+.3f}" if empty else "–", f"{torch.cat(single).std():.4f}"]
    told += [f"{100 * mean(empty):.0f} %" if empty else "–", f"{100 * mean(everywhere):.0f} %"]
    return " | ".join([f"| {name}", judges, *told]) + " |"


def mean(pieces: list[Tensor]) -> float:
    return float(torch.cat(pieces).float().mean())


if __name__ == "__main__":
    splits = read_named("world", Path(sys.argv[1]))
    chances = " | ".join(f"{100 * chance:.0f} % by chance" for chance in CHANCES)
    print_line(
        f"| training | judge | {chances} | what the agent dislikes | one patch more, ± | nobody there | of all |"
    )
    print_line(f"|{'---|' * (6 + len(CHANCES))}")
    for folder in map(Path, sys.argv[2:]):
        network, recipe = learned(folder, splits)
        known = batches(recipe, network.config.grouping, splits)
        for judges in JUDGES:
            print_line(line(folder.name, network, known, judges))
