"""CoarseToFine against loops. Coarse parts are vectors of signs, so that the cut is exact and full of ties."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import oracles
from halfseen.ops.distance import CoarseToFine, Single, distances, top_k
from halfseen.types import Embedding, InputError

Metric = Literal["cosine", "unit-euclid"]
Confidence = Literal["both", "query", "gallery", "none"]
Pair = tuple[Embedding, Embedding]
METRICS: list[Metric] = ["cosine", "unit-euclid"]
CONFIDENCES: list[Confidence] = ["both", "query", "gallery", "none"]


def signs(shape: tuple[int, ...], dice: torch.Generator) -> Tensor:
    return torch.randint(0, 2, shape, generator=dice).float() * 2 - 1


def sample(seed: int, q: int, g: int, *, coarse: int, fine: int) -> Pair:
    """Coarse parts of signs, fine parts of any numbers with confidences that add up to 1."""
    dice = torch.Generator().manual_seed(seed)
    first = signs((q + g, coarse, 16), dice)
    vectors = torch.cat([first, torch.randn(q + g, fine, 16, generator=dice)], 1)
    confidence = torch.rand(q + g, fine, generator=dice).square()
    confidence = (confidence / confidence.sum(1, keepdim=True)).clamp(max=1)
    visibility = torch.cat([torch.ones(q + g, coarse), confidence], 1)
    return Embedding(vectors[:q], visibility[:q]), Embedding(vectors[q:], visibility[q:])


@st.composite
def samples(draw: st.DrawFn) -> tuple[Pair, int]:
    """A pair, and how many of its parts are coarse."""
    coarse = draw(st.integers(1, 2))
    seed, q, g = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 4)), draw(st.integers(1, 9))
    return sample(seed, q, g, coarse=coarse, fine=draw(st.integers(1, 3))), coarse


def fine_distance(pair: Pair, coarse: int, metric: Metric, confidence: Confidence) -> Tensor:
    weights = oracles.fine_weights(*pair, coarse, confidence)
    return (weights * oracles.part_distances(*pair, metric)).sum(2)


def assert_cut(got: Tensor, coarse: Tensor, fine: Tensor, inside: Tensor, atol: float) -> None:
    """Inside rows hold coarse + fine; outside rows coarse + one number that puts them behind any inside row."""
    got = got.double()
    torch.testing.assert_close(got[inside], (coarse + fine)[inside], rtol=0, atol=atol)
    if not inside.all():
        bound = (got - coarse)[~inside]
        torch.testing.assert_close(bound, bound[:1].expand_as(bound), rtol=0, atol=4e-6)
    for row, within in zip(got, inside, strict=True):
        assert within.all() or not within.any() or row[within].max() <= row[~within].min()


@given(
    samples(),
    st.integers(0, 10),
    st.sampled_from(METRICS),
    st.sampled_from(CONFIDENCES),
    st.sampled_from(["sum", "first"]),
)
@settings(deadline=None, max_examples=120)
def test_P6_equals_loops(
    drawn: tuple[Pair, int], n: int, metric: Metric, confidence: Confidence, cut: Literal["sum", "first"]
) -> None:
    pair, count = drawn
    coarse = oracles.coarse_distance(*pair, count)
    inside = oracles.nearest(coarse if cut == "sum" else oracles.coarse_distance(*pair, 1), n)
    got = distances(CoarseToFine(n, count, metric, confidence, cut), *pair)
    assert_cut(got, coarse, fine_distance(pair, count, metric, confidence), inside, 1e-5)


@given(samples(), st.integers(0, 10), st.sampled_from(CONFIDENCES))
@settings(deadline=None, max_examples=30)
def test_P6_bfloat16_stays_within_its_bound(drawn: tuple[Pair, int], n: int, confidence: Confidence) -> None:
    pair, count = drawn
    coarse = oracles.coarse_distance(*pair, count)
    got = distances(CoarseToFine(n, count, confidence=confidence, precision="bfloat16"), *pair)
    fine = fine_distance(pair, count, "cosine", confidence)
    assert_cut(got, coarse, fine, oracles.nearest(coarse, n), 0.0125)  # the weights add up to at most 1


@given(samples(), st.sampled_from(METRICS), st.sampled_from(CONFIDENCES), st.integers(0, 3))
@settings(deadline=None, max_examples=30)
def test_P6_the_whole_gallery_inside_equals_full_reranking(
    drawn: tuple[Pair, int], metric: Metric, confidence: Confidence, more: int
) -> None:
    pair, count = drawn
    want = oracles.coarse_distance(*pair, count) + fine_distance(pair, count, metric, confidence)
    got = distances(CoarseToFine(len(pair[1]) + more, count, metric, confidence), *pair)
    torch.testing.assert_close(got.double(), want, rtol=0, atol=1e-5)


@given(samples(), st.integers(0, 1))
@settings(deadline=None, max_examples=30)
def test_P6_none_or_one_inside_equals_coarse_order(drawn: tuple[Pair, int], n: int) -> None:
    pair, count = drawn
    order = oracles.stable_order(oracles.coarse_distance(*pair, count))
    assert top_k(CoarseToFine(n, count), *pair, len(pair[1])).indices.tolist() == order


@given(samples(), st.integers(1, 8))
@settings(deadline=None, max_examples=30)
def test_P6_outside_rows_rank_behind_in_coarse_order(drawn: tuple[Pair, int], n: int) -> None:
    pair, count = drawn
    order = oracles.stable_order(oracles.coarse_distance(*pair, count))
    found = top_k(CoarseToFine(n, count, "unit-euclid", "none"), *pair, len(pair[1])).indices.tolist()
    assert [row[n:] for row in found] == [row[n:] for row in order]
    assert [sorted(row[:n]) for row in found] == [sorted(row[:n]) for row in order]


@given(st.integers(0, 2**32 - 1), st.integers(0, 10))
@settings(deadline=None, max_examples=30)
def test_P6_gallery_order_does_not_matter(seed: int, n: int) -> None:
    dice = torch.Generator().manual_seed(seed)
    query, gallery = sample(seed, 1, 9, coarse=1, fine=2)
    gallery.vectors[:, 0] = query.vectors[:, 0]  # no ties: row r differs from the query in r signs
    for row, vector in enumerate(gallery.vectors[:, 0]):
        vector[:row] *= -1
    order = torch.randperm(9, generator=dice)
    want = distances(CoarseToFine(n), query, gallery)
    torch.testing.assert_close(distances(CoarseToFine(n), query, gallery[order]), want[:, order], rtol=0, atol=2e-6)


def test_P6_the_cut_may_follow_the_first_coarse_part_alone() -> None:
    axes = torch.eye(4)
    query = Embedding.of(axes[[0, 0, 0]][None])
    gallery = Embedding.of(torch.stack([torch.stack([axes[0], -axes[0], axes[0]]), axes[[1, 0, 1]]]))
    # coarse 0 + 2 against 1 + 0: the first part prefers row 0, the sum row 1
    by_sum = distances(CoarseToFine(1, 2, confidence="none"), query, gallery)[0].tolist()
    by_first = distances(CoarseToFine(1, 2, confidence="none", cut="first"), query, gallery)[0].tolist()
    assert by_sum[1] == pytest.approx(2)  # coarse 1, fine 1
    assert by_sum[0] > by_sum[1]
    assert by_first[0] == pytest.approx(2)  # coarse 2, fine 0
    assert by_first[1] > by_first[0]


def test_P6_ties_at_the_cut_go_to_the_lower_row() -> None:
    query, gallery = Embedding.of(torch.ones(1, 2, 4)), Embedding.of(torch.ones(5, 2, 4))
    assert top_k(CoarseToFine(2), query, gallery, 5).indices.tolist() == [[0, 1, 2, 3, 4]]
    got = distances(CoarseToFine(2), query, gallery)[0]
    assert got[:2].abs().max() < 1e-5
    assert got[2:].min() > 1


def test_P7_fine_distance_uses_the_confidence_of_that_gallery_item() -> None:
    coarse, east, north = torch.ones(2), torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    query = Embedding.of(torch.stack([coarse, east, east])[None], torch.tensor([[1.0, 1.0, 1.0]]))
    item = torch.stack([coarse, east, north])  # the first fine part agrees, the second is 1 away
    gallery = Embedding.of(torch.stack([item, item]), torch.tensor([[1.0, 0.19, 0.81], [1.0, 0.84, 0.16]]))
    got = distances(CoarseToFine(2), query, gallery)[0]
    torch.testing.assert_close(got, torch.tensor([0.9, 0.4]))  # read at the query's index both would be 0.9
    got = distances(CoarseToFine(2, confidence="gallery"), query, gallery)[0]
    torch.testing.assert_close(got, torch.tensor([0.81, 0.16]))
    got = distances(CoarseToFine(2, confidence="query"), query, gallery)[0]
    torch.testing.assert_close(got, torch.tensor([1.0, 1.0]))


def test_P7_and_of_that_query() -> None:
    coarse, east, north = torch.ones(2), torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    item = torch.stack([coarse, north])
    query = Embedding.of(torch.stack([item, item]), torch.tensor([[1.0, 0.25], [1.0, 1.0]]))
    gallery = Embedding.of(torch.stack([coarse, east])[None], torch.tensor([[1.0, 0.36]]))
    torch.testing.assert_close(distances(CoarseToFine(1), query, gallery), torch.tensor([[0.3], [0.6]]))


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_P9_cosine_and_unit_euclid_rank_alike_with_equal_confidences(seed: int) -> None:
    dice = torch.Generator().manual_seed(seed)
    vectors = signs((11, 2, 16), dice)
    vectors[:, 0] = 1  # one coarse distance for all: the one fine part decides
    query, gallery = Embedding.of(vectors[:2]), Embedding.of(vectors[2:])
    cosine, euclid = (top_k(CoarseToFine(9, metric=metric), query, gallery, 9).indices for metric in METRICS)
    assert torch.equal(cosine, euclid)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_P9_single_cosine_and_unit_euclid_rank_alike(seed: int) -> None:
    vectors = signs((12, 16), torch.Generator().manual_seed(seed))
    vectors[3] = 0
    query, gallery = Embedding.of(vectors[:4]), Embedding.of(vectors[2:])
    cosine, euclid = (top_k(Single(metric), query, gallery, 10) for metric in METRICS)
    assert torch.equal(cosine.indices, euclid.indices)
    torch.testing.assert_close(euclid.distances.square() / 2, cosine.distances, rtol=0, atol=1e-5)


@given(samples(), st.sampled_from(METRICS), st.sampled_from(CONFIDENCES), st.sampled_from([0.5, 1.0, 2.0]))
@settings(deadline=None, max_examples=40)
def test_unshared_confidence_counts_as_that_far(
    drawn: tuple[Pair, int], metric: Metric, confidence: Confidence, unshared: float
) -> None:
    pair, count = drawn
    fine = fine_distance(pair, count, metric, confidence)
    missing = 1 - oracles.fine_weights(*pair, count, confidence).sum(2)
    want = oracles.coarse_distance(*pair, count) + fine + unshared * missing.clamp(min=0)
    got = distances(CoarseToFine(20, count, metric, confidence, unshared=unshared), *pair)
    torch.testing.assert_close(got.double(), want, rtol=0, atol=1e-5)


def test_confidence_that_adds_up_to_more_than_1_lacks_none() -> None:
    query, gallery = (Embedding.of(side.vectors) for side in sample(6, 3, 6, coarse=1, fine=3))
    want = distances(CoarseToFine(6), query, gallery)
    torch.testing.assert_close(distances(CoarseToFine(6, unshared=2.0), query, gallery), want)


def test_unshared_1_makes_it_one_minus_the_weighed_cosines() -> None:
    query, gallery = sample(4, 3, 6, coarse=1, fine=3)
    cosines = 1 - oracles.part_distances(query, gallery, "cosine")[:, :, 1:]
    weights = oracles.fine_weights(query, gallery, 1, "both")[:, :, 1:]
    want = oracles.coarse_distance(query, gallery, 1) + 1 - (weights * cosines).sum(2)
    got = distances(CoarseToFine(6, unshared=1.0), query, gallery)
    torch.testing.assert_close(got.double(), want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("unshared", [-0.1, 2.1, float("nan")])
def test_unshared_is_a_distance_of_parts(unshared: float) -> None:
    with pytest.raises(InputError, match="it is a distance of parts; give 0 to 2"):
        CoarseToFine(unshared=unshared)


@given(samples(), st.integers(0, 10), st.sampled_from(["sum", "first"]), st.sampled_from([1, 2, 100]))
@settings(deadline=None, max_examples=40)
def test_candidates_are_the_nearest_by_the_cut(
    drawn: tuple[Pair, int], n: int, cut: Literal["sum", "first"], rows: int
) -> None:
    pair, count = drawn
    order = oracles.stable_order(oracles.coarse_distance(*pair, count if cut == "sum" else 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("halfseen.ops.distance.BLOCK_BYTES", 4 * rows * len(pair[1]))
        found = [*CoarseToFine(n, count, cut=cut).candidates(*pair)]
    starts = [start for start, _ in found]
    assert starts == list(range(0, len(pair[0]), rows))
    assert torch.cat([near for _, near in found]).tolist() == [row[:n] for row in order]


def test_candidates_want_the_same_embeddings_as_distances() -> None:
    query, gallery = sample(5, 2, 3, coarse=1, fine=1)
    with pytest.raises(
        InputError, match=r"by 2 coarse parts needs embeddings of at least 3 .* have 2; take 1 coarse or fewer"
    ):
        next(CoarseToFine(coarse=2).candidates(query, gallery))


def test_visibility_of_coarse_parts_is_ignored() -> None:
    query, gallery = sample(1, 3, 6, coarse=2, fine=2)
    want = distances(CoarseToFine(4, 2), query, gallery)
    query.visibility[:, :2] = 0.5
    gallery.visibility[:, 0] = 0.0
    assert torch.equal(distances(CoarseToFine(4, 2), query, gallery), want)


@pytest.mark.parametrize("junk", [-7e3, 1e14, float("nan")])
def test_content_of_an_invisible_fine_part_never_matters(junk: float) -> None:
    query, gallery = sample(2, 3, 6, coarse=1, fine=3)
    query.visibility[1, 2] = gallery.visibility[4, 3] = 0
    want = distances(CoarseToFine(4), query, gallery)
    changed = [x.vectors.masked_fill((x.visibility == 0)[:, :, None], junk) for x in (query, gallery)]
    got = distances(CoarseToFine(4), Embedding(changed[0], query.visibility), Embedding(changed[1], gallery.visibility))
    assert torch.equal(got, want)


def test_only_coarse_parts_equal_single() -> None:
    query, gallery = sample(3, 3, 6, coarse=1, fine=1)
    alone = [Embedding.of(x.vectors[:, 0]) for x in (query, gallery)]
    silent = [Embedding(x.vectors, torch.tensor([1.0, 0.0]).expand(len(x), 2)) for x in (query, gallery)]
    torch.testing.assert_close(distances(CoarseToFine(6), *silent), distances(Single("cosine"), *alone))
