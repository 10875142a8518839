"""Trials of an agent that erases patches, with gains that are known beforehand."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

from halfseen.nets.purification import Choice
from halfseen.nets.reinforcement import Judged, Trial


def dice(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def actions(count: int) -> Tensor:
    """All actions on `count` patches, bool [2^count,count]."""
    return torch.tensor(list(product([False, True], repeat=count)))


def table(count: int, seed: int = 0) -> Tensor:
    """A reward for each of `actions`, [2^count], far from 0 on the whole."""
    return 5 + torch.randn(2**count, generator=dice(seed), dtype=torch.float64)


def coins(count: int, seed: int = 1) -> Tensor:
    return torch.randn(count, generator=dice(seed), dtype=torch.float64).requires_grad_()


def judged(rewards: Tensor) -> Judged:
    """Of two people, so that the log-likelihood of the first exceeds that of a coin by `rewards` [B] below log 2."""
    likelihood = 0.5 * rewards.exp()
    return Judged(torch.zeros(len(rewards), 2), torch.stack([likelihood.log(), (1 - likelihood).log()], 1))


def trial(drawn: Tensor, greedy: Tensor, action: Tensor, logits: Tensor | None = None, *, active: bool = True) -> Trial:
    """One whose gains are `drawn` and `greedy` [B], with `action` [B,N]; the likeliest erases nothing."""
    choice = Choice(logits, action, torch.zeros_like(action), torch.tensor(active))
    patches = torch.zeros(*action.shape, 2)
    return Trial(
        choice, (1, action.shape[1]), patches, patches, judged(torch.zeros_like(drawn)), judged(drawn), judged(greedy)
    )


def linear_trial(scale: float, action: Tensor) -> tuple[Trial, Callable[[Tensor], Judged]]:
    """Pictures whose vectors are the means of their patches; erased ones move by about `scale`."""
    patches = torch.randn(*action.shape, 4, generator=dice(6), dtype=torch.float64)
    token = (patches + scale * torch.randn(patches.shape, generator=dice(7), dtype=torch.float64)).requires_grad_()
    weight = 3 * torch.randn(4, 3, generator=dice(8), dtype=torch.float64)

    def look(erased: Tensor) -> Judged:
        vectors = torch.where(erased[:, :, None], token, patches).mean(1)
        return Judged(vectors, vectors @ weight)

    swapped = torch.where(action[:, :, None], token, patches)
    vectors = swapped.mean(1)
    kept = look(torch.zeros_like(action))
    choice = Choice(None, action, torch.zeros_like(action), torch.tensor(True))
    return Trial(choice, (1, action.shape[1]), patches, swapped, kept, Judged(vectors, vectors @ weight), kept), look
