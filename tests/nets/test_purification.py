"""The agent that erases patches: what it sees, draws, learns and reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from halfseen.nets.heads import Necks
from halfseen.nets.purification import Agent, Greedy, Policy, Purifier
from halfseen.nets.reinforcement import Trial, judge, policy_loss, watched
from halfseen.types import InputError
from trials import dice, linear_trial, trial


def views(batch: int = 2, count: int = 5, dim: int = 8, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Patches, class tokens, positions."""
    random = dice(seed)
    return (
        torch.randn(batch, count, dim, generator=random),
        torch.randn(batch, dim, generator=random),
        torch.randn(1, count, dim, generator=random),
    )


@pytest.mark.parametrize(
    ("state", "sees"),
    [("patch", (True, False, False)), ("context", (True, True, False)), ("position", (True, True, True))],
)
def test_a_policy_sees_what_its_state_says_and_teaches_none_of_it(state: str, sees: Sequence[bool]) -> None:
    torch.manual_seed(0)
    policy = Policy(8, state)  # type: ignore[arg-type]
    known = views()
    logits = policy(*known)
    assert logits.shape == (2, 5)
    for number, seen in enumerate(sees):
        other = list(known)
        other[number] = other[number].flip(-1)
        assert torch.equal(policy(*other), logits) is not seen
    for tensor in known:
        tensor.requires_grad_()
    slopes = torch.autograd.grad(policy(*known).sum(), known, allow_unused=True)
    assert not any(isinstance(each, Tensor) for each in slopes)


def test_a_policy_treats_patches_alike() -> None:
    policy = Policy(8, "context")
    patches, cls, positions = views()
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(policy(patches[:, order], cls, positions), policy(patches, cls, positions)[:, order])


@pytest.mark.parametrize(("rate", "count"), [(0.0, 0), (0.15, 1), (0.4, 2), (1.0, 5)])
def test_the_likeliest_patches_are_as_many_as_the_budget_says_however_unlikely(rate: float, count: int) -> None:
    torch.manual_seed(0)
    purifier = Purifier(8, Agent(rate=rate, greedy="budget", warmup=1))
    assert not purifier(*views()).greedy.any(), "nothing is erased before the warm-up is over"
    choice = purifier(*views())
    assert choice.logits is not None
    assert (choice.logits < 0).all(), "the other kind of greedy would keep all"
    assert choice.greedy.sum(1).tolist() == [count, count]
    for logits, erased in zip(choice.logits, choice.greedy, strict=True):
        assert not count or count == 5 or logits[erased].min() > logits[~erased].max()


def test_a_new_policy_erases_an_eighth() -> None:
    torch.manual_seed(0)
    chance = Policy(64, "context")(*views(8, 50, 64)).sigmoid().mean().item()
    assert chance == pytest.approx(0.12, abs=0.02)


def test_O4_swapping_nothing_changes_nothing_and_swapping_all_forgets_the_picture() -> None:
    purifier = Purifier(8, Agent())
    (patches, _, positions), (other, _, _) = views(), views(seed=1)
    nothing = torch.zeros(2, 5, dtype=torch.bool)
    assert torch.equal(purifier.swap(patches, nothing, positions), patches)
    swapped = purifier.swap(patches, ~nothing, positions)
    assert torch.equal(swapped, purifier.swap(other, ~nothing, positions))
    torch.testing.assert_close(swapped[1, 3], purifier.token + positions[0, 3])


def test_O5_the_token_learns_only_where_a_patch_was_erased() -> None:
    purifier = Purifier(8, Agent())
    patches, _, positions = views()
    weight = torch.randn(2, 5, 8, generator=dice(3))
    action = torch.rand(2, 5, generator=dice(4)) < 0.5
    (got,) = torch.autograd.grad((purifier.swap(patches, action, positions) * weight).sum(), purifier.token)
    torch.testing.assert_close(got, weight[action].sum(0))
    nothing = torch.zeros_like(action)
    (got,) = torch.autograd.grad((purifier.swap(patches, nothing, positions) * weight).sum(), purifier.token)
    assert got.eq(0).all()


def test_draws_follow_the_policy_and_the_likeliest_is_beyond_a_half() -> None:
    torch.manual_seed(0)
    purifier = Purifier(8, Agent(warmup=0, greedy="likely"))
    torch.nn.init.constant_(purifier.get_parameter("policy.layers.2.bias"), 0.1)
    known = views()
    choices = [purifier(*known) for _ in range(400)]
    p = choices[0].logits.sigmoid()
    assert (p > 0.5).any()
    assert torch.equal(choices[0].greedy, p > 0.5)
    share = torch.stack([choice.action.float() for choice in choices]).mean(0)
    assert (share - p).abs().max() < 0.1


def test_random_erasure_draws_its_share_teaches_any_patches_and_has_no_policy() -> None:
    torch.manual_seed(0)
    purifier = Purifier(8, Agent(kind="random", rate=0.3, drawn=0.1, warmup=0))
    assert [name for name, _ in purifier.named_parameters()] == ["token"]
    choice = purifier(*views(200, 50))
    assert choice.logits is None
    assert choice.action.float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert (choice.greedy.sum(1) == 15).all()  # to the last patch, as a policy's budget
    assert choice.greedy.float().mean(0).std() == pytest.approx((0.3 * 0.7 / 200) ** 0.5, rel=0.4)  # anywhere
    assert choice.action[choice.greedy].float().mean().item() == pytest.approx(0.1, abs=0.03)  # another throw
    same = Purifier(8, Agent(kind="random", rate=0.3, greedy="likely", warmup=0))(*views(200, 50))
    assert torch.equal(same.action, same.greedy)
    assert same.action.float().mean().item() == pytest.approx(0.3, abs=0.02)


def test_known_erasure_draws_and_teaches_all_that_shows_nobody_and_has_no_policy() -> None:
    purifier = Purifier(8, Agent(kind="known", warmup=1))
    assert [name for name, _ in purifier.named_parameters()] == ["token"]
    nobody = torch.tensor([[True, False, True, False, False], [False] * 5])
    assert not purifier(*views(), nobody).action.any(), "nothing is erased before the warm-up is over"
    choice = purifier(*views(), nobody)
    assert choice.logits is None
    assert torch.equal(choice.action, nobody)
    assert torch.equal(choice.greedy, nobody)


@pytest.mark.parametrize("kind", ["trained", "random"])
def test_nothing_is_erased_during_the_warm_up_which_is_counted_in_training(kind: str) -> None:
    purifier = Purifier(8, Agent(kind=kind, warmup=3))  # type: ignore[arg-type]
    torch.nn.init.constant_(purifier.token, 0)
    if purifier.policy is not None:
        torch.nn.init.constant_(purifier.get_parameter("policy.layers.2.bias"), 50)
    known = views(20, 50)
    purifier.eval()
    assert not purifier(*known).action.any()
    assert purifier.steps == 0
    purifier.train()
    erased = [purifier(*known).action.any().item() for _ in range(5)]
    assert erased == [False, False, False, True, True]
    resumed = Purifier(8, Agent(kind=kind, warmup=3))  # type: ignore[arg-type]
    resumed.load_state_dict(purifier.state_dict())
    assert resumed.steps == 5
    assert resumed(*known).action.any()


def drawn_by(purifier: Purifier, known: tuple[Tensor, Tensor, Tensor], gains: Callable[[Tensor], Tensor]) -> Trial:
    """A trial whose gains are a function of the action."""
    choice = purifier(*known)
    it = trial(gains(choice.action), gains(choice.greedy), choice.action)
    return it._replace(choice=choice)


@pytest.mark.parametrize("greedy", ["likely", "budget"])
def test_the_control_teaches_whole_pictures_during_the_warm_up(greedy: Greedy) -> None:
    purifier = Purifier(8, Agent(kind="random", rate=0.5, greedy=greedy, warmup=2))
    known = views(20, 50)
    assert [bool(purifier(*known).greedy.any()) for _ in range(4)] == [False, False, True, True]


def test_during_the_warm_up_a_policy_gets_gradients_of_zero() -> None:
    purifier = Purifier(8, Agent(warmup=3))
    it = drawn_by(purifier, views(), lambda action: action.float().mean(1) - 1)
    loss = policy_loss(it, torch.zeros(2, dtype=torch.int64), purifier.agent)
    assert loss == 0
    slopes = torch.autograd.grad(loss, list(purifier.get_submodule("policy").parameters()))
    assert all(each.eq(0).all() for each in slopes)


@pytest.mark.parametrize(
    ("baseline", "credit"), [("greedy", "joint"), ("others", "joint"), ("none", "joint"), ("greedy", "patch")]
)
def test_O3_the_reward_is_a_constant_and_the_loss_teaches_the_policy_alone(baseline: str, credit: str) -> None:
    agent = Agent(warmup=0, baseline=baseline, credit=credit)  # type: ignore[arg-type]
    torch.manual_seed(0)
    purifier = Purifier(4, agent)
    it, _ = linear_trial(0.5, torch.rand(4, 5, generator=dice(0)) < 0.5)
    patches = it.patches.float().requires_grad_()
    choice = purifier(patches, patches.mean(1), torch.zeros(1, 5, 4))
    it = it._replace(choice=choice)
    loss = policy_loss(it, torch.tensor([0, 0, 1, 2]), agent)
    others = [patches, purifier.token, it.swapped, it.drawn.vectors, it.drawn.logits]
    reached = torch.autograd.grad(loss, others, allow_unused=True, retain_graph=True)
    assert not any(isinstance(each, Tensor) for each in reached)
    slopes = torch.autograd.grad(loss, list(purifier.get_submodule("policy").parameters()))
    assert any(each.abs().max() > 0 for each in slopes)


@pytest.mark.parametrize("baseline", ["greedy", "others"])
def test_O9_the_one_harmful_patch_of_eight_is_found(baseline: str) -> None:
    """As the recipe has it: SGD with momentum, ten times its rate. The harmful patch lies anywhere, and looks so."""
    torch.manual_seed(0)
    agent = Agent(rate=1 / 8, warmup=0, baseline=baseline)  # type: ignore[arg-type]
    purifier = Purifier(16, agent)
    optimiser = torch.optim.SGD(purifier.get_submodule("policy").parameters(), lr=0.08, momentum=0.9)
    pids, looks = torch.zeros(32, dtype=torch.int64), torch.randn(16)

    def draw() -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        harmful = torch.nn.functional.one_hot(torch.randint(8, (32,)), 8).bool()
        patches = torch.randn(32, 8, 16) + 2 * harmful[:, :, None] * looks
        return (patches, torch.randn(32, 16), torch.zeros(1, 8, 16)), harmful

    for _ in range(300):
        known, harmful = draw()
        it = drawn_by(purifier, known, lambda action, harmful=harmful: (action & harmful).sum(1) * 0.6)  # type: ignore[misc]
        optimiser.zero_grad()
        torch.autograd.backward(policy_loss(it, pids, agent))
        optimiser.step()
    known, harmful = draw()
    p = purifier(*known).logits.sigmoid()
    assert p[harmful].mean() > 0.9
    assert p[~harmful].mean() < 0.2


def test_judge_is_the_neck_at_test_time() -> None:
    necks = Necks({"global": 6}, people=4)
    for seed in range(3):
        necks({"global": 2 * torch.randn(8, 6, generator=dice(seed)) + 1})
    torch.nn.init.normal_(necks.get_parameter("norms.global.weight"))
    vectors = torch.randn(5, 6, generator=dice(9))
    got, alone = judge(vectors, necks), judge(vectors[2:3], necks)
    before = {name: value.clone() for name, value in necks.state_dict().items()}
    want = necks.eval()({"global": vectors})[1]["global"]
    torch.testing.assert_close(got.logits, want, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(got.logits[2:3], alone.logits)
    assert all(torch.equal(value, before[name]) for name, value in necks.state_dict().items())


def test_unit_vectors_are_those_behind_the_neck_a_part_as_long_as_the_next() -> None:
    necks = Necks({"parts": 6}, people=4)
    necks({"parts": 2 * torch.randn(8, 6, generator=dice(0)) + 1})
    vectors = torch.randn(5, 6, generator=dice(9))
    got, raw = judge(vectors, necks, "parts", parts=2, unit=True), judge(vectors, necks, "parts", parts=2)
    behind = necks.eval()({"parts": vectors})[0]["parts"]
    for row, one in enumerate(behind):
        want = [half / half.norm() / 2**0.5 for half in (one[:3], one[3:])]
        torch.testing.assert_close(got.vectors[row], torch.cat(want))
    assert torch.equal(raw.vectors, vectors)
    assert torch.equal(raw.logits, got.logits)


def test_a_policy_does_not_round_to_bfloat16() -> None:
    torch.manual_seed(0)
    policy, known = Policy(64, "context"), views(1, 128, 64)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = policy(*known)
    assert torch.equal(rounded, policy(*known))
    assert len(rounded.unique()) > 120


def test_judge_never_rounds_to_bfloat16() -> None:
    necks = Necks({"global": 6}, people=4)
    vectors = torch.randn(5, 6, generator=dice(9))
    want = judge(vectors, necks)
    with torch.autocast("cpu", torch.bfloat16):
        got = judge(vectors, necks)
    assert got.logits.dtype == torch.float32
    assert torch.equal(got.logits, want.logits)


@pytest.mark.parametrize(("entropy", "low", "high"), [(Agent().entropy, 0.12, 0.18), (0.01, 0.25, 0.4)])
def test_doubt_outbids_the_budget_only_where_it_is_paid_too_well(entropy: float, low: float, high: float) -> None:
    """Of 128 patches that are all alike 15 % are to be erased."""
    torch.manual_seed(0)
    agent = Agent(warmup=0, entropy=entropy)
    purifier = Purifier(16, agent)
    optimiser = torch.optim.SGD(purifier.get_submodule("policy").parameters(), lr=0.8, momentum=0.9)
    for _ in range(200):
        known = (torch.randn(8, 128, 16), torch.randn(8, 16), torch.zeros(1, 128, 16))
        optimiser.zero_grad()
        it = drawn_by(purifier, known, lambda action: torch.zeros(len(action)))
        torch.autograd.backward(policy_loss(it, torch.zeros(8, dtype=torch.int64), agent))
        optimiser.step()
    assert low < it.choice.action.float().mean() < high


@pytest.mark.parametrize(
    ("greedy", "bias", "likely", "keeps", "erases"),
    [
        ("budget", -9.0, 0.25, 1, 0),
        ("budget", -2.0, 0.25, 0, 0),
        ("budget", -2.0, 0.0, 0, 0),  # of few patches a budget may be none
        ("budget", 9.0, 0.25, 0, 1),
        ("likely", -2.0, 0.0, 1, 0),
        ("likely", -0.1, 0.25, 0, 0),
        ("likely", 2.0, 1.0, 0, 1),
    ],
)
def test_a_policy_that_collapsed_is_reported_by_name(
    greedy: Greedy, bias: float, likely: float, keeps: int, erases: int
) -> None:
    agent = Agent(warmup=0, rate=0.25, greedy=greedy)
    logits, action = torch.full((2, 4), bias), torch.tensor([[True, False, False, False], [False] * 4])
    it = trial(torch.tensor([0.5, 0.1]), torch.zeros(2), action, logits)
    it = it._replace(choice=it.choice._replace(greedy=torch.arange(8).view(2, 4) < 8 * likely))
    seen = watched(it, torch.zeros(2, dtype=torch.int64), agent)
    want = {
        "erased": 0.125,
        "erased_greedy": likely,
        "reward": (0.5 + 0.1 - 0.25) / 2,
        "keeps_all": keeps,
        "erases_all": erases,
    }
    assert {name: value.item() for name, value in seen.items()} == pytest.approx(want)
    bare = watched(it._replace(choice=it.choice._replace(logits=None)), torch.zeros(2, dtype=torch.int64), agent)
    assert bare.keys() == {"erased", "erased_greedy", "reward"}


def test_a_policy_that_is_not_asked_yet_has_not_collapsed() -> None:
    purifier = Purifier(8, Agent(warmup=3, greedy="likely"))
    it = drawn_by(purifier, views(), lambda action: action.float().mean(1))
    seen = watched(it, torch.zeros(2, dtype=torch.int64), purifier.agent)
    assert [seen[name].item() for name in ("erased_greedy", "keeps_all", "erases_all")] == [0, 0, 0]


def test_agents_come_back_from_json() -> None:
    agent = Agent(kind="random", rate=0.2, reward=(1.0, 0.0, 2.0))
    saved = {"kind": "random", "rate": 0.2, "reward": [1.0, 0.0, 2.0]}
    assert Agent.of(saved) == agent
    assert Agent.of(agent) is agent


def test_the_control_draws_its_rate_unless_it_is_told_another() -> None:
    row = Agent(kind="random")
    assert (row.drawn, row.chance) == (None, 0.15)
    assert replace(row, rate=0.5).chance == 0.5
    assert replace(row, rate=0.5, drawn=0.1).chance == 0.1
    assert replace(row, kind="trained") == Agent()  # of whom nobody said what it draws
    purifier = Purifier(8, replace(row, rate=0.5, warmup=0))
    assert purifier(*views(200, 50)).action.float().mean().item() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "lazy"}, "agent.kind is 'lazy'; allowed are trained, random, known, none"),
        ({"state": "all"}, "agent.state is 'all'"),
        ({"baseline": "mean"}, "agent.baseline is 'mean'"),
        ({"credit": "all"}, "agent.credit is 'all'"),
        ({"greedy": "all"}, "agent.greedy is 'all'; allowed are likely, budget"),
        ({"rate": 1.5}, "rate 1.5"),
        ({"warmup": -1}, "warmup -1"),
        ({"entropy": -0.1}, "entropy -0.1"),
        ({"kind": "random", "drawn": 1.5}, "drawn 1.5"),
        ({"drawn": 0.1}, "agent.drawn is 0.1, and agent.kind trained"),
        ({"credit": "patch", "baseline": "others"}, "agent.baseline is others, and agent.credit patch"),
        ({"credit": "patch", "baseline": "none"}, "agent.baseline is none, and agent.credit patch"),
        ({"reward": (1.0, -1.0, 1.0)}, "give shares from 0 to 1, and the others 0 or more"),
        ({"reward": (float("nan"), 0.0, 0.0)}, "reward .nan, 0.0, 0.0. cannot be"),
        ({"reward": (1.0, 0.1)}, "reward .1.0, 0.1. cannot be"),
        ({"entropy": float("nan")}, "entropy nan"),
        ({"rate": float("nan")}, "rate nan"),
    ],
)
def test_agents_that_cannot_be_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        replace(Agent(), **changes)  # type: ignore[arg-type]
