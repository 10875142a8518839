"""What OGFR's agent would have learned otherwise: `python runs/agent_choices.py ROOT TRAINING [CHOICE ...]`.

TRAINING is the folder of one, whose last checkpoint still has the teacher; ROOT is the world that it learned from. For
each choice that the ladder offers about the agent (what it sees, what is rewarded, what a reward is compared with,
whose it is) a policy begins anew and alone, before a teacher that stays as it is: PASSES over the same batches of
training pictures, Adam at RATE, the highest of the mini tier's. A line for each, from other batches: the share that it
draws at last; how many of the 15 % that it likes least show no part of anybody, and of all patches; what the teacher's
parts gain if those are erased, and if as many are by chance. One seed: small differences are none.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

import torch
from agent import Trials, batches, learned
from torch import Tensor

from halfseen.data.finding import read_named
from halfseen.methods.ogfr import METHOD, OGFR, Config
from halfseen.nets.branches import Teacher
from halfseen.nets.purification import Agent, Purifier, likeliest
from halfseen.nets.reinforcement import Trial, gain, policy_loss
from halfseen.ops.parts import grid_labels
from halfseen.printing import print_line
from halfseen.types import Batch

PASSES, TESTED, RATE, SHARE = 8, 6, 3e-4, 0.15
BEGINNINGS = ("6-ogfr", "state-", "reward-", "baseline-", "credit-", "greedy-", "judged-", "as-planned")


class Bench:
    """A teacher that stays as it is, and batches before its last block; the first are tested, the others trained by."""

    def __init__(self, network: OGFR, known: list[Batch]) -> None:
        self.teacher, self.network = cast(Teacher, network.teacher), network
        with torch.no_grad():
            self.seen = [Trials(network, batch, "parts") for batch in known]
        sizes = [(batch.images.shape[2], batch.images.shape[3]) for batch in known]
        grouping, grid = network.config.grouping, network.backbone.grid
        labels = [grid_labels(batch.cues, grouping, grid, size) for batch, size in zip(known, sizes, strict=True)]
        self.empty = [each.flatten(1) == 0 for each in labels]

    def taught(self, agent: Agent) -> Purifier:
        """A policy of its own, after PASSES."""
        torch.manual_seed(0)
        purifier = Purifier(self.seen[0].patches.shape[2], agent)
        purifier.token.data.copy_(cast(Purifier, self.teacher.purifier).token.data)
        assert purifier.policy is not None
        optimiser = torch.optim.Adam(purifier.policy.parameters(), lr=RATE)
        for _ in range(PASSES):
            for known in self.seen[TESTED:]:
                optimiser.zero_grad()
                torch.autograd.backward(policy_loss(self._trial(known, purifier), known.pids, agent))
                optimiser.step()
        return purifier

    def _trial(self, known: Trials, purifier: Purifier) -> Trial:
        """As `Teacher.forward` has it, with this `purifier`."""
        choice = purifier(known.patches, known.tokens[:, 0], known.positions)
        swapped = purifier.swap(known.patches, choice.action, known.positions).detach().requires_grad_()
        greedy = purifier.swap(known.patches, choice.greedy, known.positions).detach()
        judges, branch = purifier.agent.judged, self.teacher.branch
        views = [self.teacher.seen(known.tokens, patches) for patches in (known.patches, swapped, greedy)]
        judged = (branch.judged(view, None, judges) for view in views)
        return Trial(choice, branch.grid, known.patches, swapped, *judged)

    @torch.no_grad()
    def line(self, name: str, purifier: Purifier) -> str:
        torch.manual_seed(0)
        drawn: list[Tensor] = []
        empty: list[Tensor] = []
        costs: list[Tensor] = []
        chances: list[Tensor] = []
        for known, background in zip(self.seen[:TESTED], self.empty, strict=False):
            assert purifier.policy is not None
            logits = purifier.policy(known.patches, known.tokens[:, 0], known.positions)
            disliked = likeliest(logits, SHARE)
            drawn.append(logits.sigmoid().flatten())
            empty.append(background[disliked].float())
            for gains, erased in ((costs, disliked), (chances, likeliest(torch.rand_like(logits), SHARE))):
                now = known.judged(purifier.swap(known.patches, erased, known.positions))
                gains.append(gain(now, known.kept, known.pids, Agent()))
        means = [float(torch.cat(each).mean()) for each in (drawn, empty, costs, chances)]
        everywhere = float(torch.cat([each.flatten() for each in self.empty[:TESTED]]).float().mean())
        told = [f"{100 * share:.0f} %" for share in (means[0], means[1], everywhere)]
        return " | ".join([f"| {name}", *told, *(f"{value:+.3f}" for value in means[2:])]) + " |"


def choices(names: list[str]) -> dict[str, Agent]:
    rows = {name: cast(Config, row).agent for name, row in METHOD.rows.items() if name.startswith(BEGINNINGS)}
    if unknown := set(names) - set(rows):
        sys.exit(f"{min(unknown)} is no choice about the agent; there are {', '.join(rows)}")
    return {name: Agent.of({**vars(rows[name]), "warmup": 0}) for name in names or rows}


if __name__ == "__main__":
    splits = read_named("world", Path(sys.argv[1]))
    network, recipe = learned(Path(sys.argv[2]), splits)
    bench = Bench(network, batches(recipe, network.config.grouping, splits, None))
    print_line("| choice | drawn | disliked, nobody there | of all | erasing those gains | as many by chance |")
    print_line(f"|{'---|' * 6}")
    for name, agent in choices(sys.argv[3:]).items():
        print_line(bench.line(name, bench.taught(agent)))
