"""The losses of parts, against loops and hand values: pixels, a triplet for each part, and the GiLt table."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from halfseen.ops.losses import gilt, identity, part_triplet, pixel_parts, triplet_by_part

SEEDS = st.integers(0, 2**32 - 1)
MARGINS = st.sampled_from([None, 0.0, 0.3, 2.0])


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def classes(seed: int, count: int, *shape: int) -> Tensor:
    return torch.randint(0, count, shape, generator=torch.Generator().manual_seed(seed))


def cross_entropy(logits: list[float], label: int, smoothing: float) -> float:
    """−Σ q log p, with q spelled out."""
    count = len(logits)
    q = [smoothing / count] * count
    q[label] += 1 - smoothing
    total = math.fsum(math.exp(x) for x in logits)
    return -math.fsum(share * math.log(math.exp(x) / total) for share, x in zip(q, logits, strict=True))


def hardest(parts: list[list[float]], pids: list[int], margin: float | None) -> float:
    """One part's batch-hard triplet loss, written out."""
    terms = []
    for a, anchor in enumerate(parts):
        distance = [math.dist(anchor, other) for other in parts]
        friends = [d for i, d in enumerate(distance) if pids[i] == pids[a] and i != a]
        strangers = [d for i, d in enumerate(distance) if pids[i] != pids[a]]
        if friends and strangers:
            gap = max(friends) - min(strangers)
            terms.append(math.log1p(math.exp(gap)) if margin is None else max(gap + margin, 0.0))
    return math.fsum(terms) / max(len(terms), 1)


def pixel_loop(logits: Tensor, labels: Tensor, smoothing: float) -> float:
    n, _, h, w = logits.shape
    cells = [(i, y, x) for i in range(n) for y in range(h) for x in range(w)]
    terms = [cross_entropy(logits[i, :, y, x].tolist(), int(labels[i, y, x]), smoothing) for i, y, x in cells]
    return math.fsum(terms) / len(terms)


@given(SEEDS, st.integers(1, 3), st.integers(1, 4), st.sampled_from([0.0, 0.1, 0.5]))
@settings(deadline=None, max_examples=25)
def test_C7_pixels_equal_the_loop(seed: int, n: int, parts: int, smoothing: float) -> None:
    logits, labels = draw(seed, n, parts + 1, 2, 3), classes(seed, parts + 1, n, 2, 3)
    assert pixel_parts(logits, labels, smoothing).item() == pytest.approx(pixel_loop(logits, labels, smoothing))


def test_B2_the_smoothing_target_sums_to_1_over_the_classes_whatever_the_batch() -> None:
    parts, smoothing = 8, 0.1
    n = parts + 1  # METHODS §4.2: N is the number of classes
    for images in (1, 5):
        logits = draw(images, images, n, 2, 2).requires_grad_()
        labels = classes(1, n, images, 2, 2)
        (slope,) = torch.autograd.grad(pixel_parts(logits, labels, smoothing), logits)
        target = logits.detach().softmax(1) - slope * images * 4  # the gradient of −Σ q log p is p − q
        torch.testing.assert_close(target.sum(1), torch.ones(images, 2, 2, dtype=torch.float64))
        true = target.gather(1, labels[:, None])
        torch.testing.assert_close(true, torch.full_like(true, 1 - (n - 1) * smoothing / n))
        others = target.scatter(1, labels[:, None], smoothing / n)
        torch.testing.assert_close(others, torch.full_like(others, smoothing / n))


def test_B2_repeating_the_batch_changes_nothing() -> None:
    logits, labels = draw(2, 2, 5, 3, 2), classes(2, 5, 2, 3, 2)
    twice = pixel_parts(logits.repeat(3, 1, 1, 1), labels.repeat(3, 1, 1), 0.1)
    torch.testing.assert_close(twice, pixel_parts(logits, labels, 0.1))


@given(SEEDS, st.integers(1, 4), st.integers(1, 4), st.sampled_from([0.0, 0.1]))
@settings(deadline=None, max_examples=20)
def test_C7_opinions_of_an_image_weigh_alike(seed: int, n: int, k: int, smoothing: float) -> None:
    logits, pids = draw(seed, n, k, 5), classes(seed, 5, n)
    terms = [cross_entropy(logits[i, j].tolist(), int(pids[i]), smoothing) for i in range(n) for j in range(k)]
    assert identity(logits, pids, smoothing).item() == pytest.approx(math.fsum(terms) / len(terms))
    torch.testing.assert_close(identity(logits[:, :1], pids, smoothing), identity(logits[:, 0], pids, smoothing))


@given(SEEDS, st.integers(1, 7), st.integers(1, 4), MARGINS)
@settings(deadline=None, max_examples=40)
def test_C2_a_triplet_for_each_part_equals_the_loop(seed: int, n: int, k: int, margin: float | None) -> None:
    parts, pids = draw(seed, n, k, 3), classes(seed, 3, n)
    each = [hardest(parts[:, part].tolist(), pids.tolist(), margin) for part in range(k)]
    assert triplet_by_part(parts, pids, margin).item() == pytest.approx(math.fsum(each) / k, abs=1e-9)


def test_B5_averaged_triplets_mine_globally_and_those_of_parts_do_not() -> None:
    parts = torch.tensor([[[0.0], [0.0]], [[4.0], [0.0]], [[1.0], [9.0]], [[9.0], [1.0]]], requires_grad=True)
    pids = torch.tensor([0, 0, 1, 1])
    # averaged distances: friends 2 and 8, strangers 5 5 6 3; part 0 alone: 4, 8 and 1 9 3 5; part 1: 0, 8 and 9 1 9 1
    averaged, each = part_triplet(parts, pids, 0.0), triplet_by_part(parts, pids, 0.0)
    assert averaged.item() == pytest.approx((0 + 0 + 3 + 5) / 4)
    assert each.item() == pytest.approx(((3 + 1 + 7 + 3) / 4 + (0 + 0 + 0 + 7) / 4) / 2)
    (of_averaged,) = torch.autograd.grad(averaged, parts)
    changed = parts.detach().clone()
    changed[0, 0] = 8.0  # one part of one image: averaged over parts, it now lies nearer image 3 than its friend
    (after,) = torch.autograd.grad(part_triplet(changed.requires_grad_(), pids, 0.0), changed)
    assert not torch.equal(of_averaged[:, 1], after[:, 1])  # the other part's gradient moved with the mining
    by_part = [torch.autograd.grad(triplet_by_part(x, pids, 0.0), x)[0] for x in (parts, changed)]
    assert torch.equal(by_part[0][:, 1], by_part[1][:, 1])


TABLES = [
    {"global": (1.0, 0.0), "parts": (0.0, 1.0)},
    {"global": (0.5, 2.0), "parts": (0.25, 3.0)},
    {"parts": (1.0, 0.0)},
    {"global": (0.0, 0.0)},
]


@pytest.mark.parametrize("table", TABLES)
def test_C7_the_table_weighs_what_it_names_and_leaves_out_the_rest(table: dict[str, tuple[float, float]]) -> None:
    vectors = {"global": draw(3, 6, 4), "parts": draw(4, 6, 3, 2)}
    logits = {"global": draw(5, 6, 2), "parts": draw(6, 6, 3, 2)}
    pids = torch.tensor([0, 0, 0, 1, 1, 1])
    want = {}
    for name, (of_identity, of_triplet) in table.items():
        if of_identity:
            opinions = logits[name].view(6, -1, 2)
            terms = [cross_entropy(row.tolist(), int(pids[i]), 0.1) for i in range(6) for row in opinions[i]]
            want[f"identity_{name}"] = of_identity * math.fsum(terms) / len(terms)
        if of_triplet:
            columns = vectors[name].view(6, -1, vectors[name].shape[-1]).unbind(1)
            each = [hardest(column.tolist(), pids.tolist(), 0.3) for column in columns]
            want[f"triplet_{name}"] = of_triplet * math.fsum(each) / len(each)
    triplet = partial(triplet_by_part, margin=0.3)
    got = gilt(table, vectors, logits, pids, smoothing=0.1, triplet=triplet)
    assert {name: loss.item() for name, loss in got.items()} == pytest.approx(want)


def test_C7_an_embedding_without_weights_need_not_be_there() -> None:
    logits, pids = {"global": draw(7, 4, 2)}, torch.tensor([0, 0, 1, 1])
    table = {"global": (1.0, 0.0), "parts": (0.0, 0.0)}
    assert list(gilt(table, {}, logits, pids, smoothing=0, triplet=partial(part_triplet, margin=0.3))) == [
        "identity_global"
    ]


def test_gradients_are_right() -> None:
    pids = torch.tensor([0, 0, 0, 1, 1, 1])
    labels = classes(8, 4, 2, 2, 2)
    assert gradcheck(lambda x: pixel_parts(x, labels, 0.1), (draw(8, 2, 4, 2, 2).requires_grad_(),))
    assert gradcheck(lambda x: identity(x, pids, 0.1), (draw(9, 6, 3, 2).requires_grad_(),))
    for margin in (None, 3.0):
        assert gradcheck(lambda x, m=margin: triplet_by_part(x, pids, m), (draw(10, 6, 2, 3).requires_grad_(),))


@pytest.mark.parametrize("loss", [part_triplet, triplet_by_part])
def test_C1_coincident_parts_leave_finite_gradients(loss: object) -> None:
    assert callable(loss)
    parts = torch.ones(4, 2, 3, requires_grad=True)
    value = loss(parts, torch.tensor([0, 0, 1, 1]), 0.3)
    (slope,) = torch.autograd.grad(value, parts)
    assert value.item() == pytest.approx(0.3)
    assert slope.isfinite().all()


def test_C1_vectors_that_left_mixed_precision_unconverted_have_distances_in_float32() -> None:
    parts = draw(11, 6, 3, 4).to(torch.bfloat16)
    loss = part_triplet(parts, torch.tensor([0, 0, 0, 1, 1, 1]), 0.3)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, part_triplet(parts.float(), torch.tensor([0, 0, 0, 1, 1, 1]), 0.3))
