"""Confidence fields and part labels come on grids of their own; loops say where their cells must go."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from halfseen.data.augment import Augment, Draw
from halfseen.data.transforms import View, apply
from halfseen.ops.groupings import FLIPPED_FIELDS, GROUPINGS, flipped_parts
from halfseen.types import InputError

H, W = 32, 16
SMALL = Augment(H, W)
BLACK = torch.zeros(3, H, W, dtype=torch.uint8)


def shifts(most: int = 6) -> st.SearchStrategy[Draw]:
    shift = st.integers(-most, most)
    return st.builds(Draw, st.booleans(), shift, shift, st.none(), st.just(0))


def test_D3_a_flip_swaps_fields_and_labels() -> None:
    fields = torch.rand(36, H // 8, W // 8, generator=torch.Generator().manual_seed(0))
    parts = torch.randint(0, 9, (H, W), generator=torch.Generator().manual_seed(0))
    mirror = (0, *(1 + part for part in flipped_parts(GROUPINGS["eight"])))
    assert mirror == (0, 1, 3, 2, 4, 6, 5, 8, 7)
    view = View(BLACK, None, fields, parts)
    seen = apply(view, Draw(flip=True), replace(SMALL, flipped_labels=mirror))
    assert seen.fields is not None
    assert seen.parts is not None
    assert seen.fields.numpy() == pytest.approx(fields[list(FLIPPED_FIELDS)].flip(2).numpy())
    assert torch.equal(seen.parts, torch.tensor(mirror)[parts.flip(1)])
    kept = apply(view, Draw(flip=True), replace(SMALL, flipped_labels=mirror, swap_sides=False))
    assert kept.fields is not None
    assert kept.parts is not None
    assert kept.fields.numpy() == pytest.approx(fields.flip(2).numpy())
    assert torch.equal(kept.parts, parts.flip(1))


def test_labels_without_a_mirror_image() -> None:
    view = View(BLACK, parts=torch.full((H, W), 3))
    with pytest.raises(InputError, match="part label 3 has no mirror image: flipped_labels ends at label 2"):
        apply(view, Draw(flip=True), replace(SMALL, flipped_labels=(0, 2, 1)))
    seen = apply(view, Draw(flip=True), replace(SMALL, flipped_labels=())).parts  # labels without sides
    assert seen is not None
    assert (seen == 3).all()


def test_a_flip_of_labels_wants_to_know_their_mirror_image() -> None:
    assert SMALL.flipped_labels is None
    parts = torch.arange(H * W).view(H, W) % 7
    with pytest.raises(InputError, match="a flip of part labels needs flipped_labels"):
        apply(View(BLACK, parts=parts), Draw(flip=True), SMALL)
    for luck, augment, expected in (
        (Draw(), SMALL, parts),
        (Draw(flip=True), replace(SMALL, swap_sides=False), parts.flip(1)),
        (Draw(flip=True), replace(SMALL, flipped_labels=()), parts.flip(1)),
    ):
        seen = apply(View(BLACK, parts=parts), luck, augment).parts
        assert seen is not None
        assert torch.equal(seen, expected)
    apply(View(BLACK), Draw(flip=True), SMALL)  # without labels nothing is missing


def bilinear(field: Tensor, v: float, u: float) -> float:
    """The value at fractions (v down, u right) of the picture; the border cells reach to its edge."""
    if not (0 <= v <= 1 and 0 <= u <= 1):
        return 0.0
    h, w = field.shape
    y, x = min(max(v * h - 0.5, 0), h - 1), min(max(u * w - 0.5, 0), w - 1)
    y0, x0 = int(y), int(x)
    y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
    top = field[y0, x0] * (1 - x + x0) + field[y0, x1] * (x - x0)
    bottom = field[y1, x0] * (1 - x + x0) + field[y1, x1] * (x - x0)
    return float(top * (1 - y + y0) + bottom * (y - y0))


@settings(deadline=None, max_examples=30)
@given(shifts(), st.integers(1, 12), st.integers(1, 12))
def test_fields_of_any_grid_against_a_loop(luck: Draw, h: int, w: int) -> None:
    fields = torch.rand(36, h, w, generator=torch.Generator().manual_seed(h))
    seen = apply(View(BLACK, None, fields), luck, replace(SMALL, swap_sides=False)).fields
    assert seen is not None
    assert seen.shape == (36, 4, 2)
    assert seen.dtype == torch.float32
    for row in range(4):
        for column in range(2):
            v, u = (row + 0.5) / 4 + luck.dy / H, (column + 0.5) / 2 + luck.dx / W
            seen_there = 0 <= v < 1 and 0 <= u < 1  # a cell whose middle lies in the padding shows nothing
            expected = bilinear(fields[20], v, 1 - u if luck.flip else u) if seen_there else 0.0
            assert float(seen[20, row, column]) == pytest.approx(expected, abs=1e-5)


def test_fields_of_a_tiny_image_have_one_cell() -> None:
    seen = apply(
        View(torch.zeros(3, 4, 4, dtype=torch.uint8), None, torch.ones(36, 5, 3)), Draw(), Augment(4, 4)
    ).fields
    assert seen is not None
    assert seen.tolist() == [[[1.0]]] * 36


@settings(deadline=None, max_examples=30)
@given(shifts(), st.sampled_from([(H, W), (2 * H, 3 * W), (5, 7), (1, 1)]), st.sampled_from([torch.int64, torch.uint8]))
def test_labels_against_a_loop(luck: Draw, size: tuple[int, int], kind: torch.dtype) -> None:
    labels = torch.randint(0, 9, size, generator=torch.Generator().manual_seed(1)).to(kind)
    seen = apply(View(BLACK, parts=labels), luck, replace(SMALL, flipped_labels=())).parts
    assert seen is not None
    assert seen.dtype == kind
    for y in range(0, H, 3):
        for x in range(W):
            v, u = (y + luck.dy + 0.5) / H, (x + luck.dx + 0.5) / W
            u = 1 - u if luck.flip else u
            inside = 0 <= v < 1 and 0 <= u < 1
            expected = int(labels[int(v * size[0] + 1e-9), int(u * size[1] + 1e-9)]) if inside else 0
            assert int(seen[y, x]) == expected
