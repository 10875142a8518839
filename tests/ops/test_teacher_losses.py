"""Focal visibility, distillation by direction and diversity of parts, against loops and hand values."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

import oracles
from halfseen.ops.losses import cosine_distillation, diversity, focal

SEEDS = st.integers(0, 2**32 - 1)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def coins(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.5


def focal_loop(logits: Tensor, labels: Tensor, alpha: float, gamma: float) -> float:
    terms = []
    for logit, label in zip(logits.flatten().tolist(), labels.flatten().tolist(), strict=True):
        p = 1 / (1 + math.exp(-logit))
        right, weight = (p, alpha) if label else (1 - p, 1 - alpha)
        terms.append(-weight * (1 - right) ** gamma * math.log(right))
    return math.fsum(terms) / len(terms)


@given(SEEDS, st.sampled_from([0.0, 0.25, 1.0]), st.sampled_from([0.0, 1.0, 2.0, 3.5]))
@settings(deadline=None, max_examples=30)
def test_T10_focal_equals_the_loop(seed: int, alpha: float, gamma: float) -> None:
    logits, labels = 3 * draw(seed, 4, 3), coins(seed, 4, 3)
    assert focal(logits, labels, alpha, gamma).item() == pytest.approx(focal_loop(logits, labels, alpha, gamma))


def test_T10_without_gamma_focal_is_half_the_cross_entropy() -> None:
    logits, labels = draw(0, 5, 8), coins(1, 5, 8)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels.double())
    assert focal(logits, labels, 0.5, 0.0).item() == pytest.approx(entropy.item() / 2)


def test_T10_what_is_known_well_counts_little_and_what_is_very_wrong_stays_finite() -> None:
    sure, wrong = torch.tensor([20.0, -20.0]), torch.tensor([-2000.0, 2000.0])
    labels = torch.tensor([1, 0])
    assert focal(sure, labels) == pytest.approx(0, abs=1e-12)
    assert focal(wrong, labels).item() == pytest.approx((0.25 * 2000 + 0.75 * 2000) / 2)
    (slope,) = torch.autograd.grad(focal(wrong.requires_grad_(), labels), wrong)
    assert slope.isfinite().all()
    assert focal(torch.tensor([0.0]), torch.tensor([True])).item() == pytest.approx(0.25 * 0.25 * math.log(2))


@given(SEEDS, st.integers(1, 3), st.integers(1, 4))
@settings(deadline=None, max_examples=25)
def test_eq7_distillation_is_the_mean_angle_of_parts(seed: int, n: int, k: int) -> None:
    student, teacher, weights = draw(seed, n, k, 5), draw(seed + 1, n, k, 5), coins(seed, n, k).double()
    gaps = {
        (i, p): 1 - oracles.cosine(student[i, p].tolist(), teacher[i, p].tolist()) for i in range(n) for p in range(k)
    }
    assert cosine_distillation(student, teacher).item() == pytest.approx(math.fsum(gaps.values()) / (n * k))
    some = [gap for place, gap in gaps.items() if weights[place]]
    want = math.fsum(some) / len(some) if some else 0.0
    assert cosine_distillation(student, teacher, weights).item() == pytest.approx(want, abs=1e-9)


def test_T2_the_same_direction_costs_nothing_whatever_the_length() -> None:
    parts = draw(2, 3, 4, 6)
    assert cosine_distillation(parts, 3 * parts).item() == pytest.approx(0, abs=1e-12)
    assert cosine_distillation(parts, -parts).item() == pytest.approx(2)


def test_parts_of_equal_length_distil_alike_one_by_one_and_end_to_end() -> None:
    student, teacher = (torch.nn.functional.normalize(draw(seed, 3, 4, 6), dim=-1) for seed in (3, 4))
    one_by_one = cosine_distillation(student, teacher)
    torch.testing.assert_close(cosine_distillation(student.flatten(1), teacher.flatten(1)), one_by_one)
    student = student * torch.tensor([1.0, 1, 1, 9])[:, None]
    assert abs(cosine_distillation(student.flatten(1), teacher.flatten(1)) - one_by_one) > 1e-3


def diversity_loop(parts: Tensor, pairs: list[tuple[int, int]], *, rectified: bool) -> float:
    terms = []
    for image in parts.tolist():
        for i, j in pairs:
            cosine = oracles.cosine(image[i], image[j])
            terms.append(max(cosine, 0.0) if rectified else cosine)
    return math.fsum(terms) / max(len(terms), 1)


@given(SEEDS, st.integers(1, 3), st.integers(1, 4), st.booleans())
@settings(deadline=None, max_examples=30)
def test_T9_diversity_equals_the_loop(seed: int, n: int, k: int, rectified: bool) -> None:
    parts, table = draw(seed, n, k, 5), coins(seed, k, k)
    every = [(i, j) for i in range(k) for j in range(k) if i != j]
    some = [pair for pair in every if table[pair]]
    want = diversity_loop(parts, every, rectified=rectified)
    assert diversity(parts, rectified=rectified).item() == pytest.approx(want, abs=1e-9)
    want = diversity_loop(parts, some, rectified=rectified)
    assert diversity(parts, table, rectified=rectified).item() == pytest.approx(want, abs=1e-9)


def test_T9_identical_parts_orthogonal_parts_and_opposite_parts() -> None:
    same = draw(5, 2, 1, 4).expand(2, 3, 4)
    assert diversity(same).item() == pytest.approx(1)
    assert diversity(same, rectified=True).item() == pytest.approx(1)
    across = torch.eye(4, dtype=torch.float64)[None] * torch.tensor([1.0, 5, 2, 3])
    assert diversity(across).item() == diversity(across, rectified=True).item() == pytest.approx(0)
    apart = torch.stack([same[:, 0], -same[:, 0]], 1)
    assert diversity(apart).item() == pytest.approx(-1)
    assert diversity(apart, rectified=True).item() == 0


def test_T9_a_part_that_is_zero_or_alone_has_nobody_alike() -> None:
    parts = torch.ones(2, 3, 4)
    parts[:, 1] = 0
    assert diversity(parts).item() == pytest.approx(2 / 6)
    (slope,) = torch.autograd.grad(diversity(parts.requires_grad_()), parts)
    assert slope.isfinite().all()
    assert diversity(draw(6, 2, 1, 4)) == 0


def test_gradients_are_right() -> None:
    labels, logits = coins(7, 3, 2), draw(8, 3, 2).requires_grad_()
    assert gradcheck(lambda x: focal(x, labels), (logits,))
    student, teacher = (draw(seed, 2, 3, 4).requires_grad_() for seed in (9, 10))
    assert gradcheck(cosine_distillation, (student, teacher))
    for rectified in (False, True):
        assert gradcheck(lambda x, r=rectified: diversity(x, rectified=r), (student,))


def test_halves_are_measured_in_float32() -> None:
    parts = draw(11, 2, 3, 4).bfloat16()
    assert diversity(parts).dtype == cosine_distillation(parts, parts).dtype == torch.float32
    assert focal(parts, parts > 0).dtype == torch.float32
