"""k-reciprocal re-ranking against the published procedure, told as loops."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import oracles
from halfseen.ops.distance import Single, VisibleParts, distances
from halfseen.ops.rerank import KReciprocal, rerank
from halfseen.types import Embedding, InputError

EUCLID = Single("euclid")


def whole(settings_: KReciprocal, query: Embedding, gallery: Embedding, rows: int | None = None) -> Tensor:
    found = list(rerank(settings_, query, gallery, rows=rows))
    heights = [len(block) for _, block in found]
    assert [first for first, _ in found] == [sum(heights[:i]) for i in range(len(heights))]
    return torch.cat([block for _, block in found])


def exact(seed: int, q: int, g: int, *, d: int = 16, sizes: int = 3) -> tuple[Embedding, Embedding]:
    """Signs times powers of 2: no way of computing rounds a square, so ties are ties. Small `d`, few `sizes`: twins."""
    dice = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (q + g, d), generator=dice) * 2 - 1
    vectors = signs * 2.0 ** torch.randint(0, sizes, (q + g, 1), generator=dice)
    return Embedding.of(vectors[:q]), Embedding.of(vectors[q:])


def together(query: Embedding, gallery: Embedding) -> Embedding:
    return Embedding(torch.cat([query.vectors, gallery.vectors]), torch.cat([query.visibility, gallery.visibility]))


def expected(settings_: KReciprocal, query: Embedding, gallery: Embedding) -> Tensor:
    rows = together(query, gallery)
    base = distances(settings_.base, rows, rows)
    if settings_.base == EUCLID:
        squares = oracles.part_distances(rows, rows, "euclid")[:, :, 0].square()
        base = squares.round(decimals=9).sqrt()  # whole numbers again, so that ties are ties here too
    k1, k2, weight = settings_.k1, settings_.k2, settings_.weight
    return oracles.k_reciprocal(base, len(query), k1=k1, k2=k2, weight=weight).float()


SIZES = [(1, 1), (1, 2), (2, 1), (1, 12), (5, 7), (10, 25), (20, 40)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("k1", "k2"), [(20, 6), (1, 1), (3, 2), (5, 1), (6, 3), (7, 4), (2, 9), (200, 100)])
def test_equals_the_published_loops(size: tuple[int, int], k1: int, k2: int) -> None:
    query, gallery = exact(k1 + size[1], *size)
    settings_ = KReciprocal(EUCLID, k1, k2)
    got = whole(settings_, query, gallery)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, expected(settings_, query, gallery), rtol=0, atol=1e-5)


@pytest.mark.parametrize("base", [EUCLID, Single("cosine"), VisibleParts()])
def test_equals_the_published_loops_on_any_numbers(base: Single | VisibleParts) -> None:
    dice = torch.Generator().manual_seed(7)
    vectors = torch.randn(60, 1 if isinstance(base, Single) else 3, 8, generator=dice)
    query, gallery = Embedding.of(vectors[:15]), Embedding.of(vectors[15:])
    settings_ = KReciprocal(base, 8, 3)
    want = expected(settings_, query, gallery)
    torch.testing.assert_close(whole(settings_, query, gallery), want, rtol=0, atol=1e-4)


@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 6), st.integers(1, 14)),
    st.sampled_from([(1, 2), (4, 1), (4, 3), (16, 1)]),
    st.integers(1, 12),
    st.integers(1, 5),
    st.floats(0, 1),
)
@settings(deadline=None, max_examples=120)
def test_equals_the_published_loops_with_twins_and_ties(
    seed: int, size: tuple[int, int], kind: tuple[int, int], k1: int, k2: int, weight: float
) -> None:
    query, gallery = exact(seed, *size, d=kind[0], sizes=kind[1])
    settings_ = KReciprocal(EUCLID, k1, k2, weight)
    want = expected(settings_, query, gallery)
    torch.testing.assert_close(whole(settings_, query, gallery), want, rtol=0, atol=1e-5)


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 4), st.sampled_from([1, 3]))
@settings(deadline=None, max_examples=40)
def test_equals_the_published_loops_on_visible_parts(seed: int, k1: int, k2: int, parts: int) -> None:
    dice = torch.Generator().manual_seed(seed)
    vectors = torch.randint(0, 2, (14, parts, 16), generator=dice).float() * 2 - 1
    seen = torch.randint(0, 2, (14, parts), generator=dice).float()
    query, gallery = Embedding(vectors[:4], seen[:4]), Embedding(vectors[4:], seen[4:])
    settings_ = KReciprocal(VisibleParts("cosine", on_empty="max+1"), k1, k2)
    want = expected(settings_, query, gallery)
    torch.testing.assert_close(whole(settings_, query, gallery), want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 100])
def test_blocks_of_any_height_hold_the_same_rows(rows: int) -> None:
    query, gallery = exact(3, 7, 20)
    settings_ = KReciprocal(EUCLID, 5, 3)
    assert torch.equal(whole(settings_, query, gallery, rows), whole(settings_, query, gallery))


def test_weight_1_keeps_the_scaled_squares_of_the_base() -> None:
    query, gallery = exact(4, 3, 9)
    rows = together(query, gallery)
    squares = distances(EUCLID, rows, rows).square()
    want = (squares / squares.amax(1, keepdim=True))[:3, 3:]
    torch.testing.assert_close(whole(KReciprocal(EUCLID, 4, 2, 1.0), query, gallery), want, rtol=0, atol=1e-6)


def test_hand_values_of_two_pairs() -> None:
    # Queries 0 and 10 on a line, gallery 1 and 9: with k1 = 1 each sees only its own partner.
    query, gallery = Embedding.of(torch.tensor([[0.0], [10.0]])), Embedding.of(torch.tensor([[1.0], [9.0]]))
    got = whole(KReciprocal(EUCLID, 1, 1, 0.0), query, gallery)
    # Squares over the largest of the row: from 0 they are 0 and 1/100, from 1 they are 1/81 and 0.
    left, right = [1, math.exp(-1 / 100)], [math.exp(-1 / 81), 1]
    overlap = sum(min(x / sum(left), y / sum(right)) for x, y in zip(left, right, strict=True))
    same = 1 - overlap / (2 - overlap)
    torch.testing.assert_close(got, torch.tensor([[same, 1.0], [1.0, same]]), rtol=0, atol=1e-6)


def test_a_friend_of_friends_moves_up() -> None:
    # On a line: query at 0, its crowd at 1, 2, 3, 4; a lonely stranger just as near as the crowd's far end.
    line = [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [4.0, 0.0], [0.0, -3.9]]
    points = torch.tensor(line + [[x, -30.0] for x in range(-3, 4)])
    query, gallery = Embedding.of(points[:1]), Embedding.of(points[1:])
    before = distances(EUCLID, query, gallery)[0]
    after = whole(KReciprocal(EUCLID, 4, 2), query, gallery)[0]
    assert before[4] < before[3]
    assert after[4] > after[3]


@pytest.mark.parametrize(("q", "g"), [(1, 1), (2, 3)])
def test_a_gallery_of_nothing_but_twins_stays_finite(q: int, g: int) -> None:
    query, gallery = Embedding.of(torch.ones(q, 4)), Embedding.of(torch.ones(g, 4))
    assert whole(KReciprocal(EUCLID, 3, 2), query, gallery).isfinite().all()


def test_inputs_are_left_as_they_were() -> None:
    query, gallery = exact(5, 4, 9)
    copies = query.vectors.clone(), gallery.vectors.clone()
    whole(KReciprocal(EUCLID), query, gallery)
    assert torch.equal(query.vectors, copies[0])
    assert torch.equal(gallery.vectors, copies[1])


@pytest.mark.parametrize(("k1", "k2", "weight", "found"), [(0, 6, 0.3, "0"), (20, 0, 0.3, "0"), (20, 6, 1.5, "1.5")])
def test_settings_that_make_no_sense_are_refused(k1: int, k2: int, weight: float, found: str) -> None:
    query, gallery = exact(6, 2, 5)
    with pytest.raises(InputError, match=found):
        whole(KReciprocal(EUCLID, k1, k2, weight), query, gallery)


def test_embeddings_of_different_shapes_are_refused() -> None:
    with pytest.raises(InputError, match=r"4.*6"):
        whole(KReciprocal(EUCLID), Embedding.of(torch.ones(2, 4)), Embedding.of(torch.ones(3, 6)))
