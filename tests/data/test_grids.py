"""Confidence fields and part labels come on grids of their own; loops say where their cells must go."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from halfseen.data.augment import Augment, Draw
from halfseen.data.transforms import View, apply
from halfseen.ops.groupings import FLIPPED_FIELDS, GROUPINGS, flipped_parts
from halfseen.ops.parts import grid_labels
from halfseen.types import Cues, InputError

H, W = 32, 16
SMALL = Augment(H, W)
BLACK = torch.zeros(3, H, W, dtype=torch.uint8)


def shifts(most: int = 6) -> st.SearchStrategy[Draw]:
    shift = st.integers(-most, most)
    return st.builds(Draw, st.booleans(), shift, shift, st.none(), st.just(0))


def test_D3_a_flip_swaps_fields_and_labels() -> None:
    fields = torch.rand(36, H // 4, W // 4, generator=torch.Generator().manual_seed(0))
    parts = torch.randint(0, 9, (H, W), generator=torch.Generator().manual_seed(0))
    mirror = (0, *(1 + part for part in flipped_parts(GROUPINGS["eight"])))
    assert mirror == (0, 1, 3, 2, 4, 6, 5, 8, 7)
    view = View(BLACK, None, fields, parts)
    seen = apply(view, Draw(flip=True), replace(SMALL, flipped_labels=mirror))
    assert seen.fields is not None
    assert seen.parts is not None
    assert torch.equal(seen.fields, fields[list(FLIPPED_FIELDS)].flip(2))
    assert torch.equal(seen.parts, torch.tensor(mirror)[parts.flip(1)])
    kept = apply(view, Draw(flip=True), replace(SMALL, flipped_labels=mirror, swap_sides=False))
    assert kept.fields is not None
    assert kept.parts is not None
    assert torch.equal(kept.fields, fields.flip(2))
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


@settings(deadline=None, max_examples=30)
@given(shifts(), st.integers(1, 12), st.integers(1, 12))
def test_fields_of_any_grid_against_a_loop(luck: Draw, h: int, w: int) -> None:
    fields = torch.rand(36, h, w, generator=torch.Generator().manual_seed(h))
    seen = apply(View(BLACK, None, fields), luck, replace(SMALL, swap_sides=False)).fields
    assert seen is not None
    assert seen.shape == (36, H // 4, W // 4)
    assert seen.dtype == torch.float32
    for row in range(H // 4):
        for column in range(W // 4):
            y, x = 4 * row + luck.dy, 4 * column + luck.dx  # the first pixel of the cell, in the resized picture
            x = W - 1 - x if luck.flip else x
            inside = 0 <= y < H and 0 <= x < W  # a cell that begins in the padding shows nothing
            expected = float(fields[20, math.floor(y * h / H), math.floor(x * w / W)]) if inside else 0.0
            assert float(seen[20, row, column]) == expected


def published_labels(fields: Tensor, image: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """BPBreID's way from stored `fields` [36,h,w] to the part of each cell: the background's softmax on the stored
    grid, the nearest of its cells for a quarter of the picture's sides, bilinear between corners, the greatest."""
    h, w = fields.shape[1:]
    maps = torch.zeros(9, h, w, dtype=torch.float64)
    for y in range(h):
        for x in range(w):
            parts = [max(float(fields[member, y, x]) for member in members) for _, members in GROUPINGS["eight"]]
            powers = [math.exp(15 * value) for value in (float(max(parts) < 0.5), *parts)]
            maps[:, y, x] = torch.tensor(powers, dtype=torch.float64) / math.fsum(powers)
    rows, columns = image[0] // 4, image[1] // 4
    near = maps[:, [i * h // rows for i in range(rows)]][:, :, [j * w // columns for j in range(columns)]]
    blended = _between_corners(_between_corners(near, grid[0]).mT, grid[1]).mT
    return blended.argmax(0)


def _between_corners(maps: Tensor, count: int) -> Tensor:
    """`count` rows of `maps` [K,h,w], the first and the last among them and the others evenly between."""
    last, rows = maps.shape[1] - 1, []
    for i in range(count):
        at = i * last / (count - 1)
        low, share = math.floor(at), at % 1
        rows.append(maps[:, low] * (1 - share) + maps[:, min(low + 1, last)] * share)
    return torch.stack(rows, 1)


@pytest.mark.parametrize("stored", [(30, 15), (31, 13), (9, 5), (64, 32)])
def test_untouched_fields_give_the_labels_that_were_published(stored: tuple[int, int]) -> None:
    coarse = torch.rand(1, 36, 7, 4, generator=torch.Generator().manual_seed(stored[0])) * 0.7
    fields = torch.nn.functional.interpolate(coarse, stored, mode="bilinear")[0]
    image, grid = (128, 64), (16, 8)
    seen = apply(View(torch.zeros(3, *image, dtype=torch.uint8), None, fields), Draw(), Augment(*image))
    assert seen.fields is not None
    assert seen.hidden is not None
    labels = grid_labels(Cues(fields=seen.fields[None], hidden=seen.hidden[None]), "eight", grid, image)
    assert torch.equal(labels[0], published_labels(fields, image, grid))
    assert len({*labels.flatten().tolist()}) > 4


def test_fields_of_a_tiny_image_have_one_cell() -> None:
    image = torch.zeros(3, 3, 3, dtype=torch.uint8)
    seen = apply(View(image, None, torch.ones(36, 5, 3)), Draw(), Augment(3, 3)).fields
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
