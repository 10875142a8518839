"""Patches that a network had better not see: a policy throws a coin for each, and what it erases a learned token takes
the place of. What it learns from is in `reinforcement`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halfseen.ops.kernel import check_choice, check_used
from halfseen.types import InputError

Kind: TypeAlias = Literal["trained", "random", "known", "none"]
State: TypeAlias = Literal["patch", "context", "position"]
Baseline: TypeAlias = Literal["greedy", "others", "none"]
Credit: TypeAlias = Literal["joint", "patch"]
Greedy: TypeAlias = Literal["likely", "budget"]
Judges: TypeAlias = Literal["global", "parts"]
Pools: TypeAlias = Literal["all", "kept"]
Gap: TypeAlias = Literal["raw", "unit"]

STATES: tuple[State, ...] = ("patch", "context", "position")  # each knows what the one before it knows, and more
FIRST_LOGIT = -2.0  # an eighth of the patches are erased in the beginning


@dataclass(frozen=True)
class Agent:
    """Who erases patches, and what it learns from.

    `kind` "random" is the control: it draws each patch with probability `drawn` (none: `rate`), as often as a
    policy of its rate came to, and teaches what any patches leave, as many as that policy's likeliest; if `greedy`
    is "likely", what it drew. "known" is a control too: it erases all that shows nobody, as part labels say, which no
    policy could know better. `state`: a policy sees the patch alone, also the class token ("context"), or also
    where the patch lies. `judged` are the vectors whose gain counts: those of the parts, which are means of
    patches, or that of the whole, the class token's, which has made up its mind further below and hardly looks at
    patches any more. `pools`: parts are pooled from all patches, the tokens that stand for erased ones among them
    and taught to be body parts, or from those that were "kept". `gap`: of the vectors as they are, of all parts end
    to end, where a long one counts most, or of "unit" ones behind the neck, as they are compared in the end.
    `reward` weighs the gain in log-likelihood of the right person, the gain in the gap of a
    triplet (β), and how far the erased share is from `rate` (η, ρ). `baseline` is the reward of the likeliest
    action, or the mean of the batch's other rewards. `credit` "patch" asks of each erased patch what keeping it
    would have changed, instead of giving all of them the same reward; it has no other baseline. `greedy` is the
    action that is taught and compared with: the likeliest patches, as many as `rate` says ("budget"), or those
    likelier erased than kept: a policy that is nowhere sure erases none of that kind. `entropy` pays for doubt, but
    little: one patch too many costs η/N, and at 0.01 a third of 128 patches would be erased for doubt's sake. For
    the first `warmup` steps nothing is erased: a network that knows nobody yet cannot tell what harms it.
    """

    kind: Kind = "trained"  # who erases; random and known: controls
    state: State = "context"  # what the policy sees of a patch
    rate: float = 0.15  # share of patches to erase
    drawn: float | None = None  # share that the control draws; none: rate
    reward: tuple[float, float, float] = (1.0, 0.1, 1.0)  # weights of likelihood, triplet gap (β) and budget (η)
    baseline: Baseline = "greedy"  # what a reward is compared with
    credit: Credit = "joint"  # one reward for all patches, or one each
    greedy: Greedy = "budget"  # what the student is taught with
    judged: Judges = "parts"  # vectors whose gain counts
    pools: Pools = "all"  # patches that parts are pooled from
    gap: Gap = "raw"  # vectors whose triplet gap counts
    entropy: float = 0.001  # what doubt is paid
    warmup: int = 2400  # steps without erasing

    def __post_init__(self) -> None:
        check_choice("agent.kind", self.kind, Kind)
        check_choice("agent.state", self.state, State)
        check_choice("agent.baseline", self.baseline, Baseline)
        check_choice("agent.credit", self.credit, Credit)
        check_choice("agent.greedy", self.greedy, Greedy)
        check_choice("agent.judged", self.judged, Judges)
        check_choice("agent.pools", self.pools, Pools)
        check_choice("agent.gap", self.gap, Gap)
        object.__setattr__(self, "reward", tuple(self.reward))
        shares = (self.rate, self.chance)
        numbers = (*self.reward, self.entropy, self.warmup)
        if not 0 <= min(shares) <= max(shares) <= 1 or len(self.reward) != 3 or not all(0 <= n < inf for n in numbers):
            raise InputError(
                f"an agent of rate {self.rate}, drawn {self.drawn}, warmup {self.warmup}, entropy {self.entropy} and "
                f"reward {self.reward} cannot be; give shares from 0 to 1, and the others 0 or more"
            )
        if self.kind != "random" and self.drawn is not None:
            raise InputError(
                f"agent.drawn is {self.drawn}, and agent.kind {self.kind}: only random draws so; leave it out"
            )
        if self.credit == "patch" and self.baseline != "greedy":
            raise InputError(
                f"agent.baseline is {self.baseline}, and agent.credit patch, which compares with each patch kept; "
                f"leave agent.baseline out, or set agent.credit to joint"
            )

    def check_in(self, config: Any) -> None:
        """An InputError where `config`, whose `agent` this is, has no place for it or asks for none of what it says."""
        if self.kind != "none" and config.teacher == "none":
            raise InputError("teacher is none, and an agent erases what a teacher sees; set agent.kind to none too")
        if self.kind != "none" and (self.judged, config.attention) == ("parts", "none"):
            raise InputError("agent.judged is parts, and there are none; set attention, or agent.judged to global")
        check_used(
            config,
            self.kind == "trained",
            "agent.kind is trained",
            "agent.state agent.baseline agent.credit agent.entropy",
        )
        check_used(config, self.kind != "known", "agent.kind is trained or random", "agent.greedy")

    @property
    def chance(self) -> float:
        """Of the control, to draw a patch."""
        return self.rate if self.drawn is None else self.drawn

    @staticmethod
    def of(saved: Agent | Mapping[str, Any]) -> Agent:
        """Itself, or from the mapping that JSON makes of it."""
        return saved if isinstance(saved, Agent) else Agent(**saved)


def _alternatives() -> dict[str, Agent]:
    """Other agents than the default, by what they do otherwise."""
    others = {"state": ("patch", "position"), "baseline": ("others", "none"), "credit": ("patch",)}
    others |= {"greedy": ("likely",), "judged": ("global",), "pools": ("kept",), "gap": ("unit",)}
    return {f"{of}-{kind}": Agent.of({of: kind}) for of, kinds in others.items() for kind in kinds} | {
        "as-planned": Agent(greedy="likely", judged="global"),
        "reward-identity": Agent(reward=(1.0, 0.0, 1.0)),
        "reward-triplet": Agent(reward=(0.0, 1.0, 1.0)),
        "reward-without-budget": Agent(reward=(1.0, 0.1, 0.0)),
        "known-erasure": Agent(kind="known", pools="kept"),
    }


ALTERNATIVES = _alternatives()


class Choice(NamedTuple):
    """What is to become of N patches; `logits` of erasing each are None where no policy decides."""

    logits: Tensor | None  # [B,N]
    action: Tensor  # bool [B,N]: drawn
    greedy: Tensor  # bool [B,N]: the likeliest; where chance draws, any
    active: Tensor  # bool []: the warm-up is over


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
        with torch.autocast(state.device.type, enabled=False):  # bfloat16 would make many patches equally likely
            logits: Tensor = self.layers(state.float()).squeeze(2)
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

    def forward(self, patches: Tensor, cls: Tensor, positions: Tensor, nobody: Tensor | None = None) -> Choice:
        """Choose for `patches` [B,N,D] of pictures with `cls` [B,D], at `positions` [1,N,D]; `nobody`, bool [B,N], are
        those that show no part of the person, where that is known."""
        active = self.steps >= self.agent.warmup
        if self.training:
            self.steps += 1
        luck = torch.rand(patches.shape[:2], device=patches.device)  # always: what is thrown later falls alike
        if self.agent.kind == "known":
            gone = cast(Tensor, nobody) & active
            return Choice(None, gone, gone, active)
        if self.policy is None:
            action = luck < self.agent.chance
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
