"""Patches that a network had better not see: a policy erases them, and learns from reward alone.

One throw of a coin for each patch is a whole episode; REINFORCE (Williams 1992) makes good throws likelier. A reward
compares pictures whose patches were swapped for a learned token with the same pictures as they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halfseen.nets.heads import Necks, settled
from halfseen.ops.kernel import check_choice
from halfseen.ops.losses import pairwise_euclid
from halfseen.recipe import Exhibit
from halfseen.types import InputError

Kind: TypeAlias = Literal["trained", "random", "none"]
State: TypeAlias = Literal["patch", "context", "position"]
Baseline: TypeAlias = Literal["greedy", "others", "none"]
Credit: TypeAlias = Literal["joint", "patch"]
Greedy: TypeAlias = Literal["likely", "budget"]
Judges: TypeAlias = Literal["global", "parts"]

STATES: tuple[State, ...] = ("patch", "context", "position")  # each knows what the one before it knows, and more
FIRST_LOGIT = -2.0  # an eighth of the patches are erased in the beginning
COLLAPSED = 0.01  # a policy that expects to erase less than this share of all patches, or to keep less, has given up


@dataclass(frozen=True)
class Agent:
    """Who erases patches, and what it learns from.

    `kind` "random" is the control: it draws each patch with probability `drawn` (None: `rate`), as often as a
    policy of its rate came to, and teaches what any patches leave, as many as that policy's likeliest. `state`: a
    policy sees the patch alone, also the class token ("context"), or also where the patch lies. `judged` are the
    vectors whose gain counts: those of the parts, which are means of patches, or that of the whole, the class
    token's, which has made up its mind further below and hardly looks at patches any more. `reward` weighs the gain
    in log-likelihood of the right person, the gain in the gap of a triplet (β), and how far the erased share is
    from `rate` (η, ρ). `baseline` is the reward of the likeliest action, or the mean of the batch's other rewards.
    `credit` "patch" asks of each erased patch what keeping it would have changed, instead of giving all of them the
    same reward. `greedy` is the action that is taught and compared with: the likeliest patches, as many as `rate`
    says ("budget"), or those likelier erased than kept: a policy that is nowhere sure erases none of that kind.
    `entropy` pays for doubt, but little: one patch too many costs η/N, and at 0.01 a third of 128 patches would be
    erased for doubt's sake. For the first `warmup` steps nothing is erased: a network that knows nobody yet cannot
    tell what harms it.
    """

    kind: Kind = "trained"  # who erases; random: the control
    state: State = "context"  # what the policy sees of a patch
    rate: float = 0.15  # share of patches to erase
    drawn: float | None = None  # share that the control draws; None: rate
    reward: tuple[float, float, float] = (1.0, 0.1, 1.0)  # weights of likelihood, triplet gap (β) and budget (η)
    baseline: Baseline = "greedy"  # what a reward is compared with
    credit: Credit = "joint"  # one reward for all patches, or one each
    greedy: Greedy = "budget"  # what the student is taught with
    judged: Judges = "parts"  # vectors whose gain counts
    entropy: float = 0.001  # what doubt is paid
    warmup: int = 2400  # steps without erasing

    def __post_init__(self) -> None:
        check_choice("agent.kind", self.kind, Kind)
        check_choice("agent.state", self.state, State)
        check_choice("agent.baseline", self.baseline, Baseline)
        check_choice("agent.credit", self.credit, Credit)
        check_choice("agent.greedy", self.greedy, Greedy)
        check_choice("agent.judged", self.judged, Judges)
        object.__setattr__(self, "reward", tuple(self.reward))
        shares = (self.rate, self.rate if self.drawn is None else self.drawn)
        if not 0 <= min(shares) <= max(shares) <= 1 or min(self.warmup, self.entropy, *self.reward) < 0:
            raise InputError(
                f"an agent of rate {self.rate}, drawn {self.drawn}, warmup {self.warmup}, entropy {self.entropy} and "
                f"reward {self.reward} cannot be; give shares from 0 to 1, and the others 0 or more"
            )
        if self.drawn is not None and self.kind != "random":
            raise InputError(
                f"agent.drawn is {self.drawn}, and agent.kind {self.kind}: only random draws so; leave it out"
            )

    @staticmethod
    def of(saved: Agent | Mapping[str, Any]) -> Agent:
        """Itself, or from the mapping that JSON makes of it."""
        return saved if isinstance(saved, Agent) else Agent(**saved)


class Choice(NamedTuple):
    """What is to become of N patches; `logits` of erasing each are None where no policy decides."""

    logits: Tensor | None  # [B,N]
    action: Tensor  # bool [B,N]: drawn
    greedy: Tensor  # bool [B,N]: the likeliest; the control's any
    active: Tensor  # bool []: the warm-up is over


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


class Policy(nn.Module):
    """One small network for all patches: how much each ought to be erased, as a logit."""

    def __init__(self, dim: int, state: State) -> None:
        super().__init__()
        self.seen = STATES.index(state) + 1
        last = nn.Linear(dim // 4, 1)
        nn.init.constant_(last.bias, FIRST_LOGIT)
        self.layers = nn.Sequential(nn.Linear(self.seen * dim, dim // 4), nn.ReLU(), last)

    def forward(self, patches: Tensor, cls: Tensor, positions: Tensor) -> Tensor:
        """`patches` [B,N,D], `cls` [B,D], `positions` [1,N,D] → [B,N]; none of them is taught."""
        known = (patches, cls[:, None].expand_as(patches), positions.expand_as(patches))[: self.seen]
        state = torch.cat([F.layer_norm(part.detach(), part.shape[-1:]) for part in known], 2)
        logits: Tensor = self.layers(state).squeeze(2).float()
        return logits


class Purifier(nn.Module):
    """The agent, the token that stands for what it erased, and how many steps it has seen."""

    steps: Tensor

    def __init__(self, dim: int, agent: Agent) -> None:
        super().__init__()
        self.agent = agent
        self.token = nn.Parameter(nn.init.trunc_normal_(torch.empty(dim), std=0.02))
        self.policy = Policy(dim, agent.state) if agent.kind == "trained" else None
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, patches: Tensor, cls: Tensor, positions: Tensor) -> Choice:
        """Choose for `patches` [B,N,D] of pictures with `cls` [B,D], at `positions` [1,N,D]."""
        active = self.steps >= self.agent.warmup
        if self.training:
            self.steps += 1
        luck = torch.rand(patches.shape[:2], device=patches.device)
        if self.policy is None:
            action = luck < (self.agent.rate if self.agent.drawn is None else self.agent.drawn)
            taught = action if self.agent.greedy == "likely" else likeliest(torch.rand_like(luck), self.agent.rate)
            return Choice(None, action & active, taught & active, active)
        logits = self.policy(patches, cls, positions)
        return Choice(logits, (luck < logits.sigmoid()) & active, self._likeliest(logits) & active, active)

    def _likeliest(self, logits: Tensor) -> Tensor:
        """The greedy action for `logits` [B,N], bool."""
        return logits > 0 if self.agent.greedy == "likely" else likeliest(logits, self.agent.rate)

    def swap(self, patches: Tensor, action: Tensor, positions: Tensor) -> Tensor:
        """`patches` [B,N,D], those where `action` [B,N] says so replaced by the token at their `positions` [1,N,D]."""
        return torch.where(action[:, :, None], self.token + positions, patches)


def likeliest(logits: Tensor, share: float) -> Tensor:
    """The greatest of `logits` [B,N] of each row, so large a `share` of all: bool [B,N]."""
    chosen = logits.topk(round(share * logits.shape[1])).indices
    return torch.zeros_like(logits, dtype=torch.bool).scatter_(1, chosen, True)


def judge(vectors: Tensor, necks: Necks, name: Judges = "global") -> Judged:
    """`vectors` [B,D] behind the neck `name` with its running statistics, so that no reward hangs on other pictures.

    Never in bfloat16: rewards are small differences.
    """
    norm, classifier = cast(nn.BatchNorm1d, necks.norms[name]), cast(nn.Linear, necks.classifiers[name])
    with torch.autocast(vectors.device.type, enabled=False):
        vectors = vectors.float()
        return Judged(vectors, settled(norm, vectors) @ classifier.weight.T)


def gain(now: Judged, before: Judged, pids: Tensor, agent: Agent) -> Tensor:
    """By how much pictures of `pids` [B] are told better `now` than `before` → [B].

    Triplets are mined among the vectors before, and their other corners stay there: what becomes of one picture is no
    matter of what was erased from another.
    """
    known = _right(now.logits, pids) - _right(before.logits, pids)
    gap = triplet_gap(now.vectors, before.vectors, pids) - triplet_gap(before.vectors, before.vectors, pids)
    return agent.reward[0] * known + agent.reward[1] * gap


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
        expected = choice.logits.detach().sigmoid().mean()
        likely = torch.where(choice.active, choice.greedy.float().mean(), expected)  # in the warm-up it erases nothing
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
