"""Whoever looks at invisible parts is told of those that hold NaN; whoever does not takes them as before."""

from __future__ import annotations

import math

import pytest
import torch

from halfseen.ops.distance import CoarseToFine, Distance, Single, VisibleParts, distances, pairs
from halfseen.ops.rerank import KReciprocal, rerank
from halfseen.types import Embedding, InputError


def sides(part: int, parts: int, row: int = 4) -> tuple[Embedding, Embedding]:
    """A query and a gallery of the same six rows, the gallery with invisible NaN in `row`, `part`."""
    vectors, visibility = torch.rand(6, parts, 4, generator=torch.Generator().manual_seed(0)), torch.ones(6, parts)
    query = Embedding(vectors, visibility.clone())
    visibility[row, part] = 0
    vectors = vectors.clone()
    vectors[row, part] = math.nan
    return query, Embedding(vectors, visibility)


LOOKING: list[tuple[Distance, int, int]] = [
    (Single("cosine"), 0, 1),
    (Single("euclid"), 0, 1),
    (CoarseToFine(), 0, 3),
    (CoarseToFine(coarse=2), 1, 3),
    (CoarseToFine(cut="first", coarse=2), 1, 3),
    (CoarseToFine(confidence="none"), 2, 3),
    (CoarseToFine(confidence="query"), 2, 3),
]


@pytest.mark.parametrize(("distance", "part", "parts"), LOOKING)
def test_who_looks_at_invisible_parts_is_told(distance: Distance, part: int, parts: int) -> None:
    query, gallery = sides(part, parts)
    said = rf"^the gallery's row 4, part {part} holds NaN.* and is invisible, but .* looks at every .*; encode those"
    with pytest.raises(InputError, match=said):
        distances(distance, query, gallery)
    assert distances(distance, query, gallery[:4]).isfinite().all()


@pytest.mark.parametrize(("distance", "part", "parts"), LOOKING[:-1])
def test_the_side_is_told(distance: Distance, part: int, parts: int) -> None:
    query, gallery = sides(part, parts)
    with pytest.raises(InputError, match=rf"^the query's row 1, part {part} holds NaN"):
        distances(distance, gallery[3:], query)


@pytest.mark.parametrize("confidence", ["both", "gallery"])
def test_fine_parts_without_weight_are_not_looked_at(confidence: str) -> None:
    query, gallery = sides(2, 3)
    distance = CoarseToFine(confidence=confidence)  # type: ignore[arg-type]  # one of them
    other = Embedding(gallery.vectors.where(~gallery.replaced[:, :, None], 7.0), gallery.visibility)
    assert torch.equal(distances(distance, query, gallery), distances(distance, query, other))


def test_visible_parts_never_look() -> None:
    query, gallery = sides(0, 3)
    assert distances(VisibleParts(), query, gallery).isfinite().all()


def test_pairs_and_rerankings_are_told_too() -> None:
    query, gallery = sides(0, 1)
    with pytest.raises(InputError, match="row 4, part 0 holds NaN"):
        pairs(Single(), query, gallery)
    with pytest.raises(InputError, match=r"^the gallery's row 4, part 0 holds NaN"):
        list(rerank(KReciprocal(Single()), query, gallery))
