"""Losses against loops, hand values and numerical derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

import oracles
from halfseen.ops.losses import batch_hard, identity, pairwise_euclid, part_triplet
from halfseen.types import InputError

SEEDS = st.integers(0, 2**32 - 1)
MARGINS = st.sampled_from([None, 0.0, 0.3, 2.0])


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def people(seed: int, n: int) -> Tensor:
    return torch.randint(0, 3, (n,), generator=torch.Generator().manual_seed(seed))


def gradient(loss: Tensor, x: Tensor) -> Tensor:
    return torch.autograd.grad(loss, x)[0]


def triplet_mean(distances: Tensor, pids: Tensor, margin: float | None) -> float:
    gaps = oracles.hardest_gaps(distances, pids)
    terms = [math.log1p(math.exp(gap)) if margin is None else max(gap + margin, 0.0) for gap in gaps]
    return math.fsum(terms) / max(len(terms), 1)


def weighted_distances(parts: Tensor, visibility: Tensor) -> Tensor:
    """[N,N] from `parts` [N,K,D] and `visibility` [N,K]: a loop over images and parts, infinite without shared part."""
    n, count, _ = parts.shape
    mean = torch.full((n, n), math.inf, dtype=torch.float64)
    for i, j in oracles.pairs(mean):
        weights = [float(visibility[i, k] * visibility[j, k]) for k in range(count)]
        terms = [w * math.dist(parts[i, k], parts[j, k]) for k, w in enumerate(weights) if w > 0]
        if terms:
            mean[i, j] = math.fsum(terms) / math.fsum(weights)
    return mean


@given(SEEDS, st.integers(1, 6), st.integers(1, 6), st.integers(1, 9))
@settings(deadline=None, max_examples=40)
def test_C1_pairwise_euclid_equals_a_double_loop(seed: int, n: int, m: int, d: int) -> None:
    a, b = draw(seed, n, d), draw(seed + 1, m, d)
    want = oracles.table([[math.dist(x, y) for y in b.tolist()] for x in a.tolist()])
    torch.testing.assert_close(pairwise_euclid(a, b), want, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(pairwise_euclid(a.float(), b.float()), want.float(), rtol=1e-5, atol=1e-5)


def test_C1_near_twins_far_from_the_origin_keep_their_distance() -> None:
    a = torch.full((1, 64), 100.0)
    b = a.clone()
    b[0, 0] += 0.25
    assert pairwise_euclid(a, b).item() == 0.25


def test_C1_mixed_precision_does_not_round_distances() -> None:
    a, b = draw(0, 5, 32).float(), draw(1, 5, 32).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(pairwise_euclid(a, b), torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist"))


def test_C1_gradient_is_right() -> None:
    a, b = draw(2, 3, 4).requires_grad_(), draw(3, 5, 4).requires_grad_()
    assert gradcheck(pairwise_euclid, (a, b))


@pytest.mark.parametrize("apart", [0.0, 1e-30, 1e-8])
def test_C1_gradient_is_finite_at_coincident_points(apart: float) -> None:
    a = draw(4, 3, 5).requires_grad_()
    distances = pairwise_euclid(a, a.detach() + apart)
    assert distances.diag().le(1e-6).all()
    assert gradient(distances.sum(), a).isfinite().all()


@given(SEEDS, st.integers(1, 9), MARGINS)
@settings(deadline=None, max_examples=80)
def test_C2_batch_hard_equals_every_triplet_enumerated(seed: int, n: int, margin: float | None) -> None:
    x, pids = draw(seed, n, 3), people(seed, n)
    distances = pairwise_euclid(x, x)
    got = batch_hard(distances, pids, margin)
    assert got.item() == pytest.approx(triplet_mean(distances, pids, margin), abs=1e-12)


def test_C2_hand_values() -> None:
    distances = torch.tensor([[0.0, 2.0, 5.0, 1.5], [2.0, 0.0, 4.0, 6.0], [5.0, 4.0, 0.0, 1.0], [1.5, 6.0, 1.0, 0.0]])
    pids = torch.tensor([7, 7, 3, 3])  # gaps: 2-1.5, 2-4, 1-4, 1-1.5
    assert batch_hard(distances, pids, 1.0).item() == pytest.approx((1.5 + 0 + 0 + 0.5) / 4)
    soft = sum(math.log1p(math.exp(gap)) for gap in (0.5, -2.0, -3.0, -0.5)) / 4
    assert batch_hard(distances, pids, None).item() == pytest.approx(soft)


@pytest.mark.parametrize("margin", [None, 0.3])
@pytest.mark.parametrize("pids", [[0], [0, 0, 0], [0, 1, 2]])
def test_C2_without_any_triplet_the_loss_is_0_and_trains_nothing(pids: list[int], margin: float | None) -> None:
    x = draw(5, len(pids), 3).requires_grad_()
    loss = batch_hard(pairwise_euclid(x, x), torch.tensor(pids), margin)
    assert loss.item() == 0
    assert gradient(loss, x).abs().max() == 0


def test_C2_an_image_without_friends_drops_out_of_the_mean() -> None:
    x, pids = draw(6, 5, 3), torch.tensor([0, 0, 1, 1, 2])
    distances = pairwise_euclid(x, x)
    gaps = oracles.hardest_gaps(distances, pids)
    assert len(gaps) == 4
    assert batch_hard(distances, pids, 9.0).item() == pytest.approx(sum(gaps) / 4 + 9)


@given(SEEDS, st.integers(2, 8), MARGINS)
@settings(deadline=None, max_examples=40)
def test_C2_infinite_pairs_are_not_looked_at(seed: int, n: int, margin: float | None) -> None:
    x, pids = draw(seed, n, 3).requires_grad_(), people(seed, n)
    unseen = draw(seed + 1, n, n) > 0.3
    distances = pairwise_euclid(x, x).masked_fill(unseen | unseen.T, math.inf)
    loss = batch_hard(distances, pids, margin)
    assert loss.item() == pytest.approx(triplet_mean(distances, pids, margin), abs=1e-12)
    assert gradient(loss, x).isfinite().all()


def test_C2_a_nan_distance_surfaces_in_the_loss() -> None:
    distances = torch.ones(4, 4)
    distances[0, 1] = math.nan
    assert batch_hard(distances, torch.tensor([0, 0, 1, 1]), 0.3).isnan()


@pytest.mark.parametrize("margin", [None, 3.0])
def test_C2_gradient_is_right(margin: float | None) -> None:
    x, pids = draw(7, 6, 4).requires_grad_(), torch.tensor([0, 0, 0, 1, 1, 1])
    assert gradcheck(lambda x: batch_hard(pairwise_euclid(x, x), pids, margin), (x,))


@given(SEEDS, st.integers(1, 7), st.integers(1, 4), MARGINS)
@settings(deadline=None, max_examples=40)
def test_C3_averages_over_parts_before_mining(seed: int, n: int, k: int, margin: float | None) -> None:
    parts, pids = draw(seed, n, k, 3), people(seed, n)
    want = triplet_mean(weighted_distances(parts, torch.ones(n, k)), pids, margin)
    assert part_triplet(parts, pids, margin).item() == pytest.approx(want, abs=1e-6)


def test_C3_one_part_equals_the_plain_triplet() -> None:
    x, pids = draw(8, 8, 5), people(8, 8)
    assert torch.equal(part_triplet(x[:, None], pids, 0.3), batch_hard(pairwise_euclid(x, x), pids, 0.3))


def test_C3_identical_copies_of_a_part_equal_one_part() -> None:
    parts, pids = draw(9, 8, 1, 5), people(9, 8)
    torch.testing.assert_close(part_triplet(parts.expand(8, 6, 5), pids, None), part_triplet(parts, pids, None))


def test_C3_order_of_parts_does_not_matter() -> None:
    parts, pids, order = draw(10, 8, 4, 5), people(10, 8), [2, 0, 3, 1]
    seen = draw(11, 8, 4).sigmoid()
    shuffled = part_triplet(parts[:, order], pids, 0.3, visibility=seen[:, order])
    torch.testing.assert_close(part_triplet(parts[:, order], pids, 0.3), part_triplet(parts, pids, 0.3))
    torch.testing.assert_close(shuffled, part_triplet(parts, pids, 0.3, visibility=seen))


def test_C3_is_not_the_mean_of_a_triplet_per_part() -> None:
    parts = torch.tensor([[[0.0], [0.0]], [[4.0], [0.0]], [[1.0], [9.0]], [[9.0], [1.0]]])
    pids = torch.tensor([0, 0, 1, 1])
    # averaged distances: friends 2 and 8; strangers 5 5 6 3 from images 0-2, 0-3, 1-2, 1-3
    assert part_triplet(parts, pids, 0.0).item() == pytest.approx((0 + 0 + 3 + 5) / 4)
    assert part_triplet(parts[:, [0]], pids, 0.0).item() == pytest.approx((3 + 1 + 7 + 3) / 4)
    assert part_triplet(parts[:, [1]], pids, 0.0).item() == pytest.approx((0 + 0 + 0 + 7) / 4)


@given(SEEDS, st.integers(1, 7), st.integers(1, 4), MARGINS, st.booleans())
@settings(deadline=None, max_examples=60)
def test_C3_visibility_weighs_parts(seed: int, n: int, k: int, margin: float | None, binary: bool) -> None:
    parts, pids = draw(seed, n, k, 3), people(seed, n)
    seen = draw(seed + 1, n, k).clamp(0, 1)
    seen = seen.ceil() if binary else seen
    want = triplet_mean(weighted_distances(parts, seen), pids, margin)
    assert part_triplet(parts, pids, margin, visibility=seen).item() == pytest.approx(want, abs=1e-6)


def test_C3_all_visible_equals_no_visibility() -> None:
    parts, pids = draw(12, 8, 4, 5), people(12, 8)
    seen = part_triplet(parts, pids, None, visibility=torch.ones(8, 4, dtype=torch.float64))
    torch.testing.assert_close(seen, part_triplet(parts, pids, None))


@pytest.mark.parametrize("junk", [0.0, 1e30, math.inf, math.nan])
def test_C3_what_a_hidden_part_holds_never_matters(junk: float) -> None:
    parts, pids = draw(13, 6, 3, 4), torch.tensor([0, 0, 0, 1, 1, 1])
    seen = torch.ones(6, 3)
    seen[1, 2] = seen[4, 0] = 0
    seen[5] = 0  # this image shows nothing at all
    want = part_triplet(parts, pids, 0.3, visibility=seen)
    parts[seen == 0] = junk
    loss = part_triplet(parts.requires_grad_(), pids, 0.3, visibility=seen)
    slope = gradient(loss, parts)
    assert torch.equal(loss, want)
    assert slope.isfinite().all()
    assert slope[seen == 0].abs().max() == 0


def test_C3_nothing_visible_gives_0() -> None:
    parts = draw(14, 4, 2, 3).requires_grad_()
    loss = part_triplet(parts, torch.tensor([0, 0, 1, 1]), None, visibility=torch.zeros(4, 2))
    assert loss.item() == 0
    assert gradient(loss, parts).abs().max() == 0


def test_C3_gradient_is_right_with_visibility() -> None:
    parts, seen = draw(15, 6, 3, 4).requires_grad_(), draw(16, 6, 3).sigmoid().requires_grad_()
    pids = torch.tensor([0, 0, 0, 1, 1, 1])
    assert gradcheck(lambda x, v: part_triplet(x, pids, 3.0, visibility=v), (parts, seen))


@given(SEEDS, st.integers(1, 5), st.integers(1, 6), st.floats(0, 1))
@settings(deadline=None, max_examples=40)
def test_C7_equals_the_sum_over_explicit_targets(seed: int, n: int, classes: int, smoothing: float) -> None:
    logits, pids = draw(seed, n, classes), people(seed, n) % classes
    terms = []
    for row, pid in zip(logits.tolist(), pids.tolist(), strict=True):
        log_total = math.log(math.fsum(map(math.exp, row)))
        q = [smoothing / classes + (1 - smoothing) * (c == pid) for c in range(classes)]
        terms.append(-math.fsum(share * (value - log_total) for share, value in zip(q, row, strict=True)))
    assert identity(logits, pids, smoothing).item() == pytest.approx(math.fsum(terms) / n, abs=1e-12)


def test_C7_its_minimum_is_the_entropy_of_the_targets() -> None:
    q = torch.full((1, 5), 0.1 / 5, dtype=torch.float64)
    q[0, 2] += 0.9
    logits = q.log().requires_grad_()
    loss = identity(logits, torch.tensor([2]), 0.1)
    assert loss.item() == pytest.approx(-(q * q.log()).sum().item())
    assert gradient(loss, logits).abs().max() < 1e-12


LOSSES: list[Callable[[Tensor], Tensor]] = [
    lambda logits: identity(logits, torch.tensor([0, 2, 1])),
    lambda logits: identity(logits, torch.tensor([0, 2, 1]), 0.1),
]


@pytest.mark.parametrize("loss", LOSSES)
def test_C7_gradient_is_right(loss: Callable[[Tensor], Tensor]) -> None:
    assert gradcheck(loss, (draw(17, 3, 4).requires_grad_(),))


@pytest.mark.parametrize("smoothing", [-0.1, 1.5, math.nan])
def test_smoothing_is_a_share(smoothing: float) -> None:
    with pytest.raises(InputError, match=r"smoothing is .*; give a share from 0 to 1"):
        identity(torch.zeros(2, 3), torch.tensor([0, 1]), smoothing)


@pytest.mark.parametrize("margin", [-3.0, math.nan, math.inf])
def test_margins_are_not_negative(margin: float) -> None:
    with pytest.raises(InputError, match=r"a triplet's margin is .*; give a number of 0 or more"):
        batch_hard(torch.zeros(2, 2), torch.tensor([0, 1]), margin)
