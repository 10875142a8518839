"""P x K batches, counted."""

from __future__ import annotations

from collections import Counter
from itertools import chain, combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halfseen.data.sampling import IdentityBatches
from halfseen.types import InputError

many = st.lists(st.integers(1, 9), min_size=1, max_size=12)  # how many pictures each identity has


def people(counts: list[int]) -> list[int]:
    """A pid for each picture, identities mixed and not numbered from 0."""
    pids = [10 * who + 3 for who, count in enumerate(counts) for _ in range(count)]
    return pids[::2] + pids[1::2]


@settings(deadline=None, max_examples=150)
@given(many, st.integers(1, 12), st.integers(1, 6), st.integers(0, 3))
def test_C9_each_batch_has_P_identities_with_K_images(counts: list[int], P: int, K: int, epoch: int) -> None:
    pids = people(counts)
    P = min(P, len(counts))
    batches = IdentityBatches(pids, P, K, seed=4)
    batches.set_epoch(epoch)
    plan = list(batches)
    assert len(plan) == len(batches)
    own = Counter(pids)
    for batch in plan:
        assert len(batch) == P * K
        hands = [batch[i : i + K] for i in range(0, P * K, K)]
        assert len({pids[hand[0] % len(pids)] for hand in hands}) == P
        for hand in hands:
            pictures = [item % len(pids) for item in hand]
            (pid,) = {pids[picture] for picture in pictures}
            times = Counter(pictures).values()
            if own[pid] >= K:
                assert len(times) == K  # all different
            else:
                assert len(times) == own[pid]  # every one of them, as evenly as can be
                assert max(times) - min(times) <= 1


@settings(deadline=None, max_examples=100)
@given(many, st.integers(1, 12), st.integers(1, 6))
def test_C9_every_epoch_shows_every_identity(counts: list[int], P: int, K: int) -> None:
    pids = people(counts)
    batches = IdentityBatches(pids, min(P, len(counts)), K)
    items = [item for batch in batches for item in batch]
    assert {pids[item % len(pids)] for item in items} == set(pids)
    assert len(set(items)) == len(items)  # a picture drawn again is another look at it
    times = Counter(item % len(pids) for item in items)
    assert all({picture + look * len(pids) for look in range(n)} <= set(items) for picture, n in times.items())


def test_C9_no_picture_returns_while_the_epoch_needs_no_filling() -> None:
    pids = people([8] * 6)
    items = [item for batch in IdentityBatches(pids, 3, 4) for item in batch]
    assert sorted(items) == list(range(48))  # 6 identities x 2 groups = 4 batches of 3


def test_someone_with_most_pictures_is_in_no_batch_twice() -> None:
    pids = [0] * 100 + [1, 2, 3]
    plan = list(IdentityBatches(pids, 2, 2))
    assert len(plan) == 27  # (50 groups + 3) / 2
    assert all(len({pids[item % 103] for item in batch}) == 2 for batch in plan)


def test_one_identity_is_enough() -> None:
    plan = list(IdentityBatches([5] * 7, 1, 3))
    assert [len(batch) for batch in plan] == [3, 3]
    assert len({item for batch in plan for item in batch}) == 6


def test_pictures_left_over_take_turns() -> None:
    batches = IdentityBatches([5] * 7, 1, 3)
    seen = set()
    for epoch in range(12):
        batches.set_epoch(epoch)
        seen |= {frozenset(batch) for batch in batches}
    assert len(set().union(*seen)) == 7
    assert len(seen) > 12


def shown(pids: list[int], P: int, K: int, epochs: int) -> list[list[list[int]]]:
    """Of some epochs, of each batch, the pids of its pictures."""
    batches, plans = IdentityBatches(pids, P, K), []
    for epoch in range(epochs):
        batches.set_epoch(epoch)
        plans.append([[pids[item % len(pids)] for item in batch] for batch in batches])
    return plans


def test_anyone_may_meet_anyone_in_a_batch() -> None:
    """Triplets are made within batches: who never meet are never told apart."""
    met = {
        pair
        for plan in shown(people([2] * 12), 3, 2, epochs=40)
        for batch in plan
        for pair in combinations({*batch}, 2)
    }
    assert len({frozenset(pair) for pair in met}) == 12 * 11 / 2


def test_someone_with_many_pictures_is_not_in_one_batch_after_the_other() -> None:
    for plan in shown(people([20] + [2] * 50), 2, 2, epochs=10):  # 10 of 30 batches show the first
        own = [number for number, batch in enumerate(plan) if 3 in batch]
        assert len(own) == 10
        assert len([number for number in own if number - 1 in own]) < 9


def test_everyone_has_a_turn_at_filling_the_last_batch() -> None:
    twice = set()
    for plan in shown(people([2] * 5), 4, 2, epochs=20):  # 8 places for 5 people
        twice |= {pid for pid, count in Counter(pid for batch in plan for pid in batch).items() if count > 2}
    assert len(twice) == 5


def test_the_plan_depends_on_seed_and_epoch_alone() -> None:
    pids = people([5, 6, 7, 2])
    plans = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0), (10, 1), (1, 1)):
        batches = IdentityBatches(pids, 2, 2, seed=seed)
        batches.set_epoch(epoch)
        plans.append(list(batches))
        assert list(batches) == plans[-1]
    assert all(a != b for i, a in enumerate(plans) for b in plans[:i])


@pytest.mark.parametrize("world", [1, 2, 4])
def test_ranks_share_out_each_batch(world: int) -> None:
    pids = people([5, 6, 7, 2, 4, 4, 3])
    whole = IdentityBatches(pids, 4, 3, seed=2)
    ranks = [IdentityBatches(pids, 4, 3, seed=2, rank=rank, world=world) for rank in range(world)]
    for batches in (whole, *ranks):
        batches.set_epoch(1)
        assert len(batches) == len(whole)
    assert [list(chain(*parts)) for parts in zip(*ranks, strict=True)] == list(whole)


@pytest.mark.parametrize(
    ("wishes", "says"),
    [
        ({"identities": 4, "images": 2}, "cannot be filled: the training pictures show only 3; lower"),
        ({"identities": 0, "images": 2}, "0 identities x 2 images holds nothing"),
        ({"identities": 2, "images": 0}, "2 identities x 0 images holds nothing"),
        ({"identities": 3, "images": 2, "world": 2}, "must be a multiple of the number of processes"),
        ({"identities": 2, "images": 2, "rank": 2, "world": 2}, "process 2 of 2"),
        ({"identities": 2, "images": 2, "rank": -1}, "process -1 of 1"),
        ({"identities": 2, "images": 2, "world": 0}, "process 0 of 0"),
    ],
)
def test_impossible_batches(wishes: dict[str, int], says: str) -> None:
    with pytest.raises(InputError, match=says):
        IdentityBatches([1, 1, 2, 2, 3], **wishes)
    with pytest.raises(InputError, match="show only 0"):
        IdentityBatches([], 1, 1)
