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
from agent import Trials, batches, learned, mean
from torch import Tensor

from halfseen.data.finding import read_named
from halfseen.methods.ogfr import METHOD, OGFR, Config
from halfseen.nets.branches import Teacher
from halfseen.nets.purification import Agent, Purifier, likeliest
from halfseen.nets.reinforcement import policy_loss
from halfseen.printing import print_line
from halfseen.types import Batch

PASSES, TESTED, RATE, SHARE = 8, 6, 3e-4, 0.15
BEGINNINGS = ("6-ogfr", "state-", "reward-", "baseline-", "credit-", "greedy-", "judged-", "as-planned")


class Bench:
    """A teacher that stays as it is, and batches before its last block; the first are tested, the others trained by."""

    def __init__(self, network: OGFR, known: list[Batch]) -> None:
        self.teacher = cast(Teacher, network.teacher)
        self.token = cast(Purifier, self.teacher.purifier).token.data
        with torch.no_grad():
            self.seen = [Trials(network, batch, "parts") for batch in known]

    def teach(self, agent: Agent) -> None:
        """Give the teacher a policy of its own, after PASSES."""
        torch.manual_seed(0)
        self.teacher.purifier = purifier = Purifier(len(self.token), agent)
        purifier.token.data.copy_(self.token)
        assert purifier.policy is not None
        optimiser = torch.optim.Adam(purifier.policy.parameters(), lr=RATE)
        for _ in range(PASSES):
            for known in self.seen[TESTED:]:
                optimiser.zero_grad()
                *_, trial = self.teacher(known.tokens, known.positions, None)
                torch.autograd.backward(policy_loss(trial, known.pids, agent))
                optimiser.step()

    @torch.no_grad()
    def line(self, name: str) -> str:
        torch.manual_seed(0)
        drawn: list[Tensor] = []
        empty: list[Tensor] = []
        everywhere: list[Tensor] = []
        gains: list[Tensor] = []
        chances: list[Tensor] = []
        for known in self.seen[:TESTED]:
            logits, disliked = known.logits(), known.disliked(SHARE)
            drawn.append(logits.sigmoid().flatten())
            empty.append(known.background[disliked])
            everywhere.append(known.background.flatten())
            for gained, erased in ((gains, disliked), (chances, likeliest(torch.rand_like(logits), SHARE))):
                gained.append(known.gain(erased, Agent()))  # the same measure for all
        told = [f"{100 * mean(share):.0f} %" for share in (drawn, empty, everywhere)]
        told += [f"{mean(gained):+.3f}" for gained in (gains, chances)]
        return " | ".join([f"| {name}", *told]) + " |"


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
        bench.teach(agent)
        print_line(bench.line(name))
