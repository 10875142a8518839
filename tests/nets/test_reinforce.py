"""REINFORCE on coins that erase patches: its gradient against all actions one by one, its rewards against loops."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from halfseen.nets.purification import Agent
from halfseen.nets.reinforcement import Judged, advantage, credits, doubt, gain, reinforce, reward, triplet_gap
from trials import actions, coins, dice, linear_trial, table, trial

GAIN_ALONE = (1.0, 0.0, 0.0)


def chances(logits: Tensor) -> Tensor:
    """π of each action on as many patches as there are `logits` [N], multiplied out → [2^N]."""
    p = logits.sigmoid()
    return torch.stack(
        [torch.stack([p[i] if a else 1 - p[i] for i, a in enumerate(row)]).prod() for row in actions(len(p))]
    )


def slope(loss: Tensor, logits: Tensor) -> Tensor:
    return torch.autograd.grad(loss, logits)[0]


def expected_slope(logits: Tensor, advantages: Tensor) -> Tensor:
    """Of `reinforce` over all actions, each with its probability; `advantages` [2^N,1] or [2^N,N]."""
    total = torch.zeros_like(logits)
    for chance, action, each in zip(chances(logits).detach(), actions(len(logits)), advantages, strict=True):
        total += chance * slope(reinforce(logits[None], action[None], each[None]), logits)
    return total


def true_slope(logits: Tensor, rewards: Tensor) -> Tensor:
    """Of −Σ π(a) r(a) / N, through all actions by autograd."""
    return slope(-(chances(logits) * rewards).sum() / len(logits), logits)


# --- The gradient ---


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_O1_over_all_actions_reinforce_is_the_gradient_of_the_expected_reward(count: int) -> None:
    logits, rewards = coins(count), table(count)
    torch.testing.assert_close(expected_slope(logits, rewards[:, None]), true_slope(logits, rewards))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_O1_so_it_is_with_what_each_patch_changed(count: int) -> None:
    """What `credits` estimate: r(a) less the reward of the same action with patch i kept."""
    logits, rewards = coins(count), table(count)
    of = {tuple(row): value for row, value in zip(actions(count).tolist(), rewards, strict=True)}
    changed = torch.zeros(2**count, count, dtype=torch.float64)
    for row, action in enumerate(actions(count).tolist()):
        for patch in range(count):
            kept = [each and other != patch for other, each in enumerate(action)]
            changed[row, patch] = of[tuple(action)] - of[tuple(kept)]
    torch.testing.assert_close(expected_slope(logits, changed), true_slope(logits, rewards))


@pytest.mark.parametrize("baseline", ["greedy", "others", "none"])
def test_O2_no_baseline_changes_the_expected_gradient(baseline: str) -> None:
    """Over all joint actions on two pictures of two patches: each picture's reward hangs on its own action."""
    agent = Agent(reward=GAIN_ALONE, baseline=baseline)  # type: ignore[arg-type]
    rewards = (table(2) - 8).to(torch.float64)
    logits, pids = coins(2), torch.zeros(2, dtype=torch.int64)
    greedy = rewards[:1].expand(2)
    total = torch.zeros_like(logits)
    for (a, pa), (b, pb) in product(enumerate(chances(logits).detach()), repeat=2):
        action = actions(2)[[a, b]]
        got = advantage(trial(rewards[[a, b]], greedy, action), pids, agent)
        assert got.shape == (2, 1)
        total += pa * pb * slope(reinforce(logits.expand(2, 2), action, got), logits)
    torch.testing.assert_close(total, true_slope(logits, rewards))


def test_O2_a_mean_with_its_own_reward_would_shrink_the_gradient_by_a_half() -> None:
    """What `others` avoids: (B−1)/B for two pictures."""
    logits, rewards = coins(2), table(2)
    total = torch.zeros_like(logits)
    for (a, pa), (b, pb) in product(enumerate(chances(logits).detach()), repeat=2):
        drawn = rewards[[a, b]]
        advantages = (drawn - drawn.mean())[:, None]
        total += pa * pb * slope(reinforce(logits.expand(2, 2), actions(2)[[a, b]], advantages), logits)
    torch.testing.assert_close(total, 0.5 * true_slope(logits, rewards))


@pytest.mark.parametrize("baseline", ["greedy", "others"])
def test_O2_a_baseline_makes_the_gradient_steadier(baseline: str) -> None:
    agents = (Agent(reward=GAIN_ALONE, baseline=baseline), Agent(reward=GAIN_ALONE, baseline="none"))  # type: ignore[arg-type]
    rewards, logits = table(3) - 8, coins(3)
    spread = []
    for agent in agents:
        torch.manual_seed(0)
        slopes = []
        for _ in range(200):
            action = torch.rand(4, 3) < logits.sigmoid()
            drawn = rewards[(action * torch.tensor([4, 2, 1])).sum(1)]
            it = trial(drawn, rewards[:1].expand(4), action)
            estimate = advantage(it, torch.zeros(4, dtype=torch.int64), agent)
            slopes.append(slope(reinforce(logits.expand(4, 3), action, estimate), logits))
        spread.append(torch.stack(slopes).var(0).sum())
    assert spread[0] < 0.5 * spread[1]


def test_reinforce_is_the_mean_over_pictures_and_patches() -> None:
    logits, action = torch.tensor([[0.3, -1.0], [2.0, 0.0]]), torch.tensor([[True, False], [True, True]])
    total = 0.0
    for b, given in enumerate((0.5, -2.0)):
        for i in range(2):
            p = 1 / (1 + math.exp(-logits[b, i].item()))
            total -= given * math.log(p if action[b, i] else 1 - p)
    assert reinforce(logits, action, torch.tensor([[0.5], [-2.0]])).item() == pytest.approx(total / 4, rel=1e-6)


def test_doubt_is_the_entropy_and_greatest_for_even_coins() -> None:
    logits = torch.tensor([[0.0, 3.0, -40.0]])
    p = 1 / (1 + math.exp(-3))
    want = (math.log(2) - p * math.log(p) - (1 - p) * math.log(1 - p)) / 3
    assert doubt(logits).item() == pytest.approx(want, rel=1e-5)
    even = coins(4)
    assert (slope(doubt(even[None]), even).sign() == -even.sign()).all()


# --- The reward ---


def test_reward_is_the_gain_less_what_a_wrong_share_costs() -> None:
    action = torch.tensor([[True, False, False, False], [True, True, True, True]])
    got = reward(torch.tensor([0.5, -1.0]), action, Agent(rate=0.15, reward=(1.0, 0.1, 2.0)))
    torch.testing.assert_close(got, torch.tensor([0.5 - 2 * 0.1, -1 - 2 * 0.85]))


def test_O4_erasing_nothing_earns_minus_eta_rho_and_not_a_bit_else() -> None:
    agent = Agent(rate=0.15, reward=(1.0, 0.1, 1.0))
    same = Judged(torch.randn(4, 6, generator=dice(0)), torch.randn(4, 3, generator=dice(1)))
    pids = torch.tensor([0, 0, 1, 1])
    got = reward(gain(same, same, pids, agent), torch.zeros(4, 5, dtype=torch.bool), agent)
    assert torch.equal(got, torch.full((4,), -0.15))


def test_gain_is_of_likelihood_and_of_the_gap_of_triplets_mined_before() -> None:
    before = Judged(torch.randn(5, 3, generator=dice(2)), torch.randn(5, 4, generator=dice(3)))
    now = Judged(torch.randn(5, 3, generator=dice(4)), torch.randn(5, 4, generator=dice(5)))
    pids = torch.tensor([0, 0, 1, 1, 0])
    got = gain(now, before, pids, Agent(reward=(2.0, 0.5, 1.0)))
    old, new = before.vectors.tolist(), now.vectors.tolist()
    for b, pid in enumerate(pids.tolist()):
        told = [x.logits[b, pid].item() - math.log(sum(map(math.exp, x.logits[b].tolist()))) for x in (now, before)]
        friends = [j for j in range(5) if pids[j] == pid and j != b]
        friend = max(friends, key=lambda j: math.dist(old[b], old[j]))
        stranger = min((j for j in range(5) if pids[j] != pid), key=lambda j: math.dist(old[b], old[j]))
        gaps = [math.dist(x[b], old[stranger]) - math.dist(x[b], old[friend]) for x in (new, old)]
        want = 2 * (told[0] - told[1]) + 0.5 * (gaps[0] - gaps[1])
        assert got[b].item() == pytest.approx(want, rel=1e-4, abs=1e-5)


def test_what_was_erased_from_one_picture_is_no_matter_of_anothers_reward() -> None:
    before = Judged(torch.randn(4, 3, generator=dice(2)), torch.randn(4, 2, generator=dice(3)))
    now = Judged(before.vectors.clone(), before.logits.clone())
    now.vectors[0] += 1
    now.logits[0] += torch.tensor([1.0, -1.0])
    got = gain(now, before, torch.tensor([0, 0, 1, 1]), Agent())
    assert got[0] != 0
    assert torch.equal(got[1:], torch.zeros(3))


def test_pictures_without_friend_or_stranger_have_no_gap() -> None:
    vectors, others = torch.randn(3, 2, generator=dice(0)), torch.randn(3, 2, generator=dice(1))
    assert torch.equal(triplet_gap(vectors, others, torch.tensor([7, 7, 7])), torch.zeros(3))
    gaps = triplet_gap(vectors, others, torch.tensor([7, 7, 8]))
    assert gaps[2] == 0
    assert gaps[:2].ne(0).all()


# --- Credit for each patch ---


def without(action: Tensor, patch: int) -> Tensor:
    kept = action.clone()
    kept[:, patch] = False
    return kept


def test_credits_are_what_keeping_each_patch_would_have_changed() -> None:
    action = torch.rand(4, 5, generator=dice(0)) < 0.5
    it, look = linear_trial(1e-3, action)
    pids, agent = torch.tensor([0, 0, 1, 2]), Agent(reward=(1.0, 0.5, 0.3))
    got = credits(it, pids, agent)
    for patch in range(5):
        kept = without(action, patch)
        with torch.no_grad():
            now = reward(gain(it.drawn, it.kept, pids, agent), action, agent)
            then = reward(gain(look(kept), it.kept, pids, agent), kept, agent)
        torch.testing.assert_close(got[:, patch].detach(), (now - then).to(got), rtol=1e-3, atol=1e-6)
    assert got[~action].eq(0).all()


def test_advantages_by_patch_are_the_credits() -> None:
    it, _ = linear_trial(0.5, torch.rand(4, 5, generator=dice(0)) < 0.5)
    pids, agent = torch.tensor([0, 0, 1, 2]), Agent(credit="patch")
    assert torch.equal(advantage(it, pids, agent), credits(it, pids, agent))
