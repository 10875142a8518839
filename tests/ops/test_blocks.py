"""Blocks, rankings and refusals of every distance."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import oracles
from halfseen.ops.distance import CoarseToFine, Single, VisibleParts, blocks, distances, top_k
from halfseen.types import Embedding, InputError

EXACT = [
    Single("euclid"),
    VisibleParts("cosine"),
    VisibleParts("unit-euclid", "sqrt", "max+1"),
    CoarseToFine(3, metric="unit-euclid"),
]
Distance = Single | VisibleParts | CoarseToFine


@st.composite
def exact_embeddings(draw: st.DrawFn) -> tuple[Embedding, Embedding]:
    """Vectors of 16 signs: their cosines are eighths, which no way of adding can round, and ties abound."""
    dice = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    q, g, p = draw(st.integers(1, 5)), draw(st.integers(1, 12)), draw(st.integers(1, 3))
    vectors = torch.randint(0, 2, (q + g, p, 16), generator=dice).float() * 2 - 1
    visibility = (
        torch.randint(0, 2, (q + g, p), generator=dice).float() if draw(st.booleans()) else torch.ones(q + g, p)
    )
    return Embedding(vectors[:q], visibility[:q]), Embedding(vectors[q:], visibility[q:])


def suited(pair: tuple[Embedding, Embedding], distance: Distance) -> tuple[Embedding, Embedding]:
    """The pair with as many parts as `distance` needs: one, or at least two."""
    if isinstance(distance, VisibleParts):
        return pair
    first, second = pair
    if isinstance(distance, Single):
        return Embedding.of(first.vectors[:, 0]), Embedding.of(second.vectors[:, 0])
    doubled = (Embedding(x.vectors.repeat(1, 2, 1), x.visibility.repeat(1, 2)) for x in pair)
    return next(doubled), next(doubled)


@pytest.mark.parametrize("distance", EXACT)
@given(pair=exact_embeddings(), rows=st.integers(1, 7))
@settings(deadline=None, max_examples=25)
def test_blocks_of_any_height_hold_the_same_rows(
    distance: Distance, pair: tuple[Embedding, Embedding], rows: int
) -> None:
    query, gallery = suited(pair, distance)
    whole = distances(distance, query, gallery)
    found = list(blocks(distance, query, gallery, rows=rows))
    assert [first for first, _ in found] == list(range(0, len(query), rows))
    assert torch.equal(torch.cat([block for _, block in found]), whole)
    assert torch.equal(torch.cat([block for _, block in blocks(distance, query, gallery)]), whole)


@pytest.mark.parametrize("distance", EXACT)
@given(pair=exact_embeddings(), k=st.integers(1, 15), rows=st.sampled_from([None, 1, 2, 9]))
@settings(deadline=None, max_examples=25)
def test_top_k_equals_a_stable_sort(
    distance: Distance, pair: tuple[Embedding, Embedding], k: int, rows: int | None
) -> None:
    query, gallery = suited(pair, distance)
    whole = distances(distance, query, gallery)
    want = torch.tensor([order[:k] for order in oracles.stable_order(whole)])
    got = top_k(distance, query, gallery, k, rows=rows)
    assert torch.equal(got.indices, want)
    assert torch.equal(got.distances, whole.gather(1, want))


@pytest.mark.parametrize("distance", EXACT)
def test_an_empty_side_is_refused(distance: Distance) -> None:
    some, none = suited((Embedding.of(torch.ones(3, 2, 4)), Embedding.of(torch.ones(0, 2, 4))), distance)
    with pytest.raises(InputError, match="query"):
        distances(distance, none, some)
    with pytest.raises(InputError, match="gallery"):
        top_k(distance, some, none, 2)


def test_inputs_are_left_as_they_were() -> None:
    x, v = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(5)), torch.rand(4, 3)
    rows = Embedding(x.clone(), v.clone())
    for distance in (VisibleParts(), VisibleParts("cosine"), CoarseToFine(2)):
        top_k(distance, rows, rows, 2)
    assert torch.equal(rows.vectors, x)
    assert torch.equal(rows.visibility, v)


SHAPES = [((2, 3, 4), (2, 2, 4), "3.*2"), ((2, 3, 4), (2, 3, 6), "4.*6")]


@pytest.mark.parametrize(("left", "right", "found"), SHAPES)
@pytest.mark.parametrize("distance", [VisibleParts(), CoarseToFine(2)])
def test_embeddings_of_different_shapes_are_refused(
    distance: Distance, left: tuple[int, ...], right: tuple[int, ...], found: str
) -> None:
    with pytest.raises(InputError, match=found):
        distances(distance, Embedding.of(torch.ones(left)), Embedding.of(torch.ones(right)))


def test_what_makes_no_sense_is_refused_in_a_sentence() -> None:
    one, three = Embedding.of(torch.ones(2, 4)), Embedding.of(torch.ones(2, 3, 4))
    with pytest.raises(InputError, match="3 parts"):
        distances(Single("cosine"), three, three)
    with pytest.raises(InputError, match=r"max\+1"):
        VisibleParts("euclid", "product", "max+1")
    with pytest.raises(InputError, match=r"\b1\b"):
        distances(CoarseToFine(2), one, one)


@pytest.mark.parametrize(
    ("n", "coarse", "found"), [(-1, 1, "-1"), (2, 0, "0"), (2, -1, "-1"), (2, 3, "3"), (2, 4, "4")]
)
def test_a_cut_without_coarse_or_fine_part_is_refused(n: int, coarse: int, found: str) -> None:
    three = Embedding.of(torch.ones(2, 3, 4))
    with pytest.raises(InputError, match=found):
        distances(CoarseToFine(n, coarse), three, three)


def test_negative_counts_are_refused() -> None:
    one = Embedding.of(torch.ones(2, 4))
    with pytest.raises(InputError, match="-1"):
        top_k(Single("cosine"), one, one, -1)
    with pytest.raises(InputError, match="-1"):
        list(blocks(Single("cosine"), one, one, rows=-1))
