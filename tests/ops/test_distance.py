"""Single and VisibleParts against loops over pairs and parts."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import oracles
from halfseen.ops.distance import Single, VisibleParts, distances
from halfseen.types import Embedding

Metric = Literal["cosine", "unit-euclid", "euclid"]
Weight = Literal["product", "sqrt"]
METRICS: list[Metric] = ["cosine", "unit-euclid", "euclid"]
WEIGHTS: list[Weight] = ["product", "sqrt"]
FLOAT32, BFLOAT16 = 4e-6, 0.0125  # by how much a square may be wrong, per |q|² + |g|²
NAN = math.nan


def draw_visibility(kind: str, shape: tuple[int, int], dice: torch.Generator) -> Tensor:
    scores = torch.rand(shape, generator=dice)
    kinds = {
        "all": torch.ones(shape),
        "none": torch.zeros(shape),
        "binary": scores.round(),
        "scores": scores.where(scores > 0.3, 0.0),
        "faint": scores * 1e-4,
    }
    return kinds[kind]


@st.composite
def embeddings(draw: st.DrawFn, parts: int | None = None) -> tuple[Embedding, Embedding]:
    """A query and a gallery of 1 to 5 rows and 1 to 4 parts, twins among them; hidden parts hold NaN."""
    dice = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    rows, split = draw(st.sampled_from([(2, 1), (6, 1), (6, 5), (8, 4)]))
    p, d = parts or draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, 5, 16]))
    vectors = torch.randn(rows, p, d, generator=dice) * draw(st.sampled_from([1.0, 1e-3, 1e3]))
    if draw(st.booleans()):
        vectors[-1] = vectors[0]
    if draw(st.booleans()):
        vectors[rows // 2 :] = vectors[:1]
    visibility = draw_visibility(draw(st.sampled_from(["all", "none", "binary", "scores", "faint"])), (rows, p), dice)
    vectors[visibility == 0] = draw(st.sampled_from([0.0, NAN, math.inf, -1e10]))
    return Embedding(vectors[:split], visibility[:split]), Embedding(vectors[split:], visibility[split:])


def slack(query: Embedding, gallery: Embedding, metric: Metric, error: float = FLOAT32) -> Tensor:
    """[Q,G,P]: how far a part distance may be off when its square is off by `error` per |q|² + |g|²."""
    want = oracles.part_distances(query, gallery, metric)
    if metric == "cosine":
        return torch.full_like(want, error)
    squares = (x.vectors.double().square().sum(2) for x in (query, gallery))
    q, g = squares if metric == "euclid" else (torch.ones(len(query), 1), torch.ones(len(gallery), 1))
    wrong = error * (q[:, None] + g)
    return wrong / want.clamp(min=wrong.sqrt()) + 1e-6 * want


def assert_within(got: Tensor, want: Tensor, allowed: Tensor) -> None:
    assert got.dtype == torch.float32
    assert got.shape == want.shape
    assert torch.equal(got.isinf(), want.isinf())
    excess = (got - want).abs() - (allowed + 1e-6)
    assert not (excess > 0).any(), f"{got}\n{want}"
    assert not got.isnan().any()


@given(embeddings(parts=1), st.sampled_from(METRICS))
@settings(deadline=None, max_examples=60)
def test_C1_single_equals_a_double_loop(pair: tuple[Embedding, Embedding], metric: Metric) -> None:
    query, gallery = (Embedding.of(x.vectors) for x in pair)
    want = oracles.part_distances(query, gallery, metric)[:, :, 0]
    assert_within(distances(Single(metric), query, gallery), want, slack(query, gallery, metric)[:, :, 0])


@given(embeddings(), st.sampled_from(METRICS), st.sampled_from(WEIGHTS))
@settings(deadline=None, max_examples=120)
def test_C4_visible_parts_equals_a_triple_loop(
    pair: tuple[Embedding, Embedding], metric: Metric, weight: Weight
) -> None:
    values = oracles.part_distances(*pair, metric)
    want = oracles.weighted_mean(values, *pair, weight, math.inf)
    allowed = oracles.weighted_mean(slack(*pair, metric), *pair, weight, 0.0)
    assert_within(distances(VisibleParts(metric, weight), *pair), want, allowed)
    if metric != "euclid":
        want = oracles.weighted_mean(values, *pair, weight, 3.0)
        assert_within(distances(VisibleParts(metric, weight, "max+1"), *pair), want, allowed)


@given(embeddings(), st.sampled_from(METRICS), st.sampled_from(WEIGHTS))
@settings(deadline=None, max_examples=30)
def test_C4_symmetric(pair: tuple[Embedding, Embedding], metric: Metric, weight: Weight) -> None:
    query, gallery = pair
    there = distances(VisibleParts(metric, weight), query, gallery)
    back = distances(VisibleParts(metric, weight), gallery, query)
    allowed = oracles.weighted_mean(2 * slack(*pair, metric), *pair, weight, 0.0)
    assert_within(there, back.T.double(), allowed)


@given(embeddings(), st.sampled_from(METRICS), st.sampled_from(WEIGHTS))
@settings(deadline=None, max_examples=30)
def test_C4_all_visible_equals_the_plain_mean(
    pair: tuple[Embedding, Embedding], metric: Metric, weight: Weight
) -> None:
    query, gallery = (Embedding.of(x.vectors) for x in pair)
    want = oracles.part_distances(query, gallery, metric).mean(2)
    allowed = slack(query, gallery, metric).mean(2)
    assert_within(distances(VisibleParts(metric, weight), query, gallery), want, allowed)


@pytest.mark.parametrize("junk", [0.0, -7e3, 1e14, math.inf, NAN])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("weight", WEIGHTS)
def test_C4_content_of_an_invisible_part_never_matters(metric: Metric, weight: Weight, junk: float) -> None:
    dice = torch.Generator().manual_seed(1)
    vectors = [torch.randn(3, 4, 8, generator=dice) for _ in range(2)]
    seen = [torch.ones(3, 4), torch.ones(3, 4)]
    seen[0][:, 2] = 0
    seen[0][1, 0] = 0
    seen[1][:, 3] = 0
    want = distances(VisibleParts(metric, weight), *(Embedding(x, v) for x, v in zip(vectors, seen, strict=True)))
    for x, v in zip(vectors, seen, strict=True):
        x[v == 0] = junk
    got = distances(VisibleParts(metric, weight), *(Embedding(x, v) for x, v in zip(vectors, seen, strict=True)))
    assert torch.equal(got, want)
    vectors[0][:, 3] = 5.0  # visible, but in no gallery row
    vectors[1][:, 2] = -5.0  # visible, but in no query
    got = distances(VisibleParts(metric, weight), *(Embedding(x, v) for x, v in zip(vectors, seen, strict=True)))
    torch.testing.assert_close(got, want, rtol=0, atol=2e-6 if metric != "euclid" else 2e-5)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("weight", WEIGHTS)
def test_C4_no_shared_part_is_infinite_never_nan(metric: Metric, weight: Weight) -> None:
    query = Embedding.of(torch.ones(3, 2, 4), torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.5, 0.5]]))
    gallery = Embedding.of(torch.ones(2, 2, 4), torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    got = distances(VisibleParts(metric, weight), query, gallery)
    assert got.isinf().tolist() == [[True, True], [True, True], [False, True]]
    if metric != "euclid":
        got = distances(VisibleParts(metric, weight, "max+1"), query, gallery)
        assert (got == 3).tolist() == [[True, True], [True, True], [False, True]]


@given(embeddings(parts=3), st.sampled_from(METRICS), st.sampled_from(WEIGHTS))
@settings(deadline=None, max_examples=30)
def test_C4_a_part_that_is_always_visible_keeps_it_finite(
    pair: tuple[Embedding, Embedding], metric: Metric, weight: Weight
) -> None:
    one = [torch.cat([torch.ones(len(x), 1, x.vectors.shape[2]), x.vectors], 1) for x in pair]
    seen = [torch.cat([torch.ones(len(x), 1), x.visibility], 1) for x in pair]
    got = distances(VisibleParts(metric, weight), Embedding(one[0], seen[0]), Embedding(one[1], seen[1]))
    assert got.isfinite().all()


@given(embeddings(), st.sampled_from(METRICS), st.sampled_from(WEIGHTS), st.floats(0.05, 1))
@settings(deadline=None, max_examples=40)
def test_C4_scaling_all_visibilities_changes_nothing(
    pair: tuple[Embedding, Embedding], metric: Metric, weight: Weight, scale: float
) -> None:
    pair = (pair[0], Embedding(pair[1].vectors, pair[1].visibility.where(pair[1].visibility > 1e-4, 0.0)))
    pair = (Embedding(pair[0].vectors, pair[0].visibility.where(pair[0].visibility > 1e-4, 0.0)), pair[1])
    scaled = [Embedding(x.vectors, x.visibility * scale) for x in pair]
    want = distances(VisibleParts(metric, weight), *pair).double()
    allowed = oracles.weighted_mean(2 * slack(*pair, metric), *pair, weight, 0.0)
    assert_within(distances(VisibleParts(metric, weight), *scaled), want, allowed)
    assert_within(distances(VisibleParts(metric, weight), scaled[0], pair[1]), want, allowed)


@pytest.mark.parametrize("metric", METRICS)
def test_zero_vectors_are_at_right_angles_to_everything(metric: Metric) -> None:
    rows = Embedding.of(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    got = distances(Single(metric), rows, rows)
    want = oracles.part_distances(rows, rows, metric)[:, :, 0]
    torch.testing.assert_close(got.double(), want, rtol=1e-6, atol=3e-3)
    torch.testing.assert_close(distances(VisibleParts(metric), rows, rows).double(), want, rtol=1e-6, atol=3e-3)


@given(embeddings())
@settings(deadline=None, max_examples=60)
def test_bfloat16_stays_within_its_bound(pair: tuple[Embedding, Embedding]) -> None:
    for metric in METRICS[:2]:
        want = oracles.weighted_mean(oracles.part_distances(*pair, metric), *pair, "product", math.inf)
        allowed = oracles.weighted_mean(slack(*pair, metric, BFLOAT16), *pair, "product", 0.0)
        assert_within(distances(VisibleParts(metric, precision="bfloat16"), *pair), want, allowed)


def test_bfloat16_is_another_precision() -> None:
    rows = Embedding.of(torch.randn(20, 64, generator=torch.Generator().manual_seed(3)))
    got, want = (distances(Single("cosine", precision=p), rows, rows) for p in ("bfloat16", "float32"))
    assert 1e-5 < (got - want).abs().max() <= BFLOAT16
    assert got.dtype == torch.float32
