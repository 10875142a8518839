"""What an agent that erases patches learns from: reward alone.

One throw of a coin for each patch is a whole episode; REINFORCE (Williams 1992) makes good throws likelier. A reward
compares pictures whose patches were swapped for a learned token with the same pictures as they were.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halfseen.nets.heads import Necks, settled
from halfseen.nets.purification import Agent, Choice, Judges
from halfseen.ops.losses import pairwise_euclid
from halfseen.recipe import Exhibit

COLLAPSED = 0.01  # a policy that expects to erase less than this share of all patches, or to keep less, has given up


class Judged(NamedTuple):
    """What a network makes of pictures: a vector each, and logits of who it shows."""

    vectors: Tensor  # [B,D]
    logits: Tensor  # [B,people]


class Trial(NamedTuple):
    """Pictures with all their patches, with those that were drawn erased, and with the likeliest erased."""

    choice: Choice
    grid: tuple[int, int]  # h, w, of N = h·w patches
    patches: Tensor  # [B,N,D]
    swapped: Tensor  # [B,N,D]: drawn ones replaced
    kept: Judged
    drawn: Judged
    greedy: Judged


def judge(vectors: Tensor, necks: Necks, name: Judges = "global", *, parts: int = 1, unit: bool = False) -> Judged:
    """`vectors` [B,D] behind the neck `name` with its running statistics, so that no reward hangs on other pictures.

    Never in bfloat16: rewards are small differences. If `unit`, what is told of the vectors is what stands behind the
    neck, of each of so many `parts` its direction, all together of length 1.
    """
    norm, classifier = cast(nn.BatchNorm1d, necks.norms[name]), cast(nn.Linear, necks.classifiers[name])
    with torch.autocast(vectors.device.type, enabled=False):
        vectors = vectors.float()
        normed = settled(norm, vectors)
        if unit:
            vectors = F.normalize(normed.view(len(normed), parts, -1), dim=2).flatten(1) / parts**0.5
        return Judged(vectors, normed @ classifier.weight.T)


def gain(now: Judged, before: Judged, pids: Tensor, agent: Agent) -> Tensor:
    """By how much pictures of `pids` [B] are told better `now` than `before` → [B].

    Triplets are mined among the vectors before, and their other corners stay there: what becomes of one picture is no
    matter of what was erased from another.
    """
    known = _right(now.logits, pids) - _right(before.logits, pids)
    gap = triplet_gap(now.vectors, before.vectors, pids) - triplet_gap(before.vectors, before.vectors, pids)
    return agent.reward[0] * known + agent.reward[1] * gap


def left(labels: Tensor | None, trial: Trial | None, agent: Agent) -> Tensor | None:
    """The part `labels` [B,h,w] of patches that were drawn in a `trial`: what was erased shows nobody, unless it is
    pooled all the same."""
    if labels is None or trial is None or agent.pools == "all":
        return labels
    return labels.masked_fill(trial.choice.action.view_as(labels), 0)


def triplet_gap(vectors: Tensor, others: Tensor, pids: Tensor) -> Tensor:
    """How much nearer `vectors` [B,D] are to their friend than to their stranger among `others` [B,D] → [B].

    Friend and stranger are the furthest and the nearest of `others` to each other; a picture without either has gap 0.
    """
    distances = pairwise_euclid(others.detach(), others.detach())
    same = pids[:, None] == pids
    friends = same & ~torch.eye(len(pids), dtype=torch.bool, device=pids.device)
    friend = others[distances.masked_fill(~friends, -torch.inf).argmax(1)]
    stranger = others[distances.masked_fill(same, torch.inf).argmin(1)]
    gap: Tensor = torch.linalg.vector_norm(vectors - stranger, dim=1) - torch.linalg.vector_norm(
        vectors - friend, dim=1
    )
    return gap.where(friends.any(1) & ~same.all(1), 0.0)


def reward(gains: Tensor, action: Tensor, agent: Agent) -> Tensor:
    """`gains` [B] of erasing where `action` [B,N] says so, less what a share other than `rate` costs → [B]."""
    return gains - agent.reward[2] * (action.float().mean(1) - agent.rate).abs()


def reinforce(logits: Tensor, action: Tensor, advantage: Tensor) -> Tensor:
    """−A·log π(a), the mean over patches and pictures; its gradient is REINFORCE's, over N.

    `logits` [B,N] of erasing, `action` [B,N], `advantage` [B,1], or [B,N] if each patch has its own.
    """
    unlikely = F.binary_cross_entropy_with_logits(logits, action.to(logits), reduction="none")
    return (advantage.detach() * unlikely).mean()


def doubt(logits: Tensor) -> Tensor:
    """The mean entropy of coins with these `logits`."""
    return (F.softplus(logits) - logits * logits.sigmoid()).mean()


def advantage(trial: Trial, pids: Tensor, agent: Agent) -> Tensor:
    """How much better what was drawn did than was to be expected: [B,1], or [B,N] with credit by patch."""
    if agent.credit == "patch":
        return credits(trial, pids, agent)
    drawn, greedy = rewards(trial, pids, agent)
    match agent.baseline:
        case "greedy":
            return (drawn - greedy)[:, None]
        case "others":  # its own reward must not be among them, or the gradient shrinks by (B-1)/B
            return (drawn - (drawn.sum() - drawn) / max(len(drawn) - 1, 1))[:, None]
        case _:
            return drawn[:, None]


def rewards(trial: Trial, pids: Tensor, agent: Agent) -> tuple[Tensor, Tensor]:
    """Of what was drawn and of the likeliest, [B] each."""
    drawn = reward(gain(trial.drawn, trial.kept, pids, agent), trial.choice.action, agent)
    greedy = reward(gain(trial.greedy, trial.kept, pids, agent), trial.choice.greedy, agent)
    return drawn.detach(), greedy.detach()


def credits(trial: Trial, pids: Tensor, agent: Agent) -> Tensor:
    """What the reward would lose if this one patch were kept, [B,N]: 0 where it was kept.

    Of the gain to first order, of the cost of the share exactly. What a patch is compared with does not hang on its own
    throw, so this is another unbiased estimate of the same gradient, as far as the first order reaches.
    """
    action, count = trial.choice.action.float(), trial.patches.shape[1]
    (slope,) = torch.autograd.grad(gain(trial.drawn, trial.kept, pids, agent).sum(), trial.swapped, retain_graph=True)
    lost = (slope * (trial.swapped - trial.patches).detach()).sum(2)
    share = action.mean(1, keepdim=True)
    cost = (share - agent.rate).abs() - (share - 1 / count - agent.rate).abs()
    return lost - agent.reward[2] * cost * action


def policy_loss(trial: Trial, pids: Tensor, agent: Agent) -> Tensor:
    """What teaches a policy, and nothing but it; 0, with gradients of 0, during the warm-up."""
    logits = cast(Tensor, trial.choice.logits)  # who has none is not taught
    loss = reinforce(logits, trial.choice.action, advantage(trial, pids, agent)) - agent.entropy * doubt(logits)
    return loss * trial.choice.active


def watched(trial: Trial, pids: Tensor, agent: Agent) -> dict[str, Tensor]:
    """What the agent does, for the log: the share that it `erased` and would erase at its likeliest, its `reward`.

    `keeps_all` and `erases_all` are 1 where a policy has collapsed, or what it is likeliest to do has.
    """
    choice = trial.choice
    drawn, _ = rewards(trial, pids, agent)
    seen = {
        "erased": choice.action.float().mean(),
        "erased_greedy": choice.greedy.float().mean(),
        "reward": drawn.mean(),
    }
    if choice.logits is not None:
        expected = likely = choice.logits.detach().sigmoid().mean()
        if agent.greedy == "likely":  # a budget is always spent; and in the warm-up nothing is erased
            likely = torch.where(choice.active, choice.greedy.float().mean(), expected)
        least, most = torch.stack([expected, likely]).aminmax()
        seen |= {"keeps_all": (least < COLLAPSED).float(), "erases_all": (most > 1 - COLLAPSED).float()}
    return seen


def erasures(trial: Trial) -> list[Exhibit]:
    """Which patches were drawn, which are likeliest to be erased if somebody chooses, and how likely each is."""
    choice = trial.choice
    drawn = {"as drawn": choice.action} | ({} if choice.logits is None else {"likeliest": choice.greedy})
    cells = torch.stack([*drawn.values()], 1).float().view(len(choice.action), -1, *trial.grid)
    shown = [Exhibit("patches that the agent erases, as drawn by lot and at its likeliest", "erased", (*drawn,), cells)]
    if choice.logits is not None:
        likely = choice.logits.sigmoid().view(-1, 1, *trial.grid)
        shown.append(Exhibit("how likely each patch is to be erased", "strengths", ("how likely",), likely))
    return shown


def _right(logits: Tensor, pids: Tensor) -> Tensor:
    """The log-likelihood [B] of `pids` [B]."""
    return logits.log_softmax(1).gather(1, pids[:, None]).squeeze(1)
