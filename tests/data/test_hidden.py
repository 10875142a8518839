"""What cannot be seen of a picture: the padding, what was erased, what an occluder hides. Cues lose exactly that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from halfseen.data.augment import OGFR, Augment, Box, Draw, draw
from halfseen.data.transforms import View, apply
from halfseen.ops.parts import hide, seen_joints
from halfseen.types import InputError

H, W = 32, 16
SMALL = Augment(H, W)
PADDED = Augment(H, W, pad=6)


def random_image(seed: int = 0) -> Tensor:
    """uint8 [3,H,W] without any black, which is left to the padding."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, 256, (3, H, W), dtype=torch.uint8, generator=generator)


def keypoints_at(x: float, y: float) -> Tensor:
    return torch.tensor([x, y, 0.5]).repeat(17, 1)


def seen_in(view: View) -> Tensor:
    """The keypoints [17,3] of `view` as far as they are seen; nothing but the border hides them where no mask is."""
    hidden = torch.zeros(view.image.shape[1:], dtype=torch.bool) if view.hidden is None else view.hidden
    assert view.keypoints is not None
    return seen_joints(view.keypoints[None], hidden[None])[0]


def shifts(most: int = 6) -> st.SearchStrategy[Draw]:
    shift = st.integers(-most, most)
    return st.builds(Draw, st.booleans(), shift, shift, st.none(), st.just(0))


# --- The mask ---


def test_hidden_is_always_there() -> None:
    image = random_image()
    for view in (View(image), View(image, hidden=torch.zeros(H, W, dtype=torch.bool))):
        for augment in (SMALL, replace(SMALL, erase=0.1), replace(SMALL, pad=1)):
            nothing = apply(view, Draw(), augment).hidden
            assert nothing is not None
            assert nothing.dtype == torch.bool
            assert not nothing.any()


@settings(deadline=None, max_examples=60)
@given(shifts())
def test_hidden_is_exactly_the_padding_of_a_shifted_crop(luck: Draw) -> None:
    seen = apply(View(random_image()), luck, PADDED)
    assert seen.hidden is not None
    assert torch.equal(seen.hidden, (seen.image == 0).all(0))
    assert int(seen.hidden.sum()) == H * W - (H - abs(luck.dy)) * (W - abs(luck.dx))


@settings(deadline=None, max_examples=50)
@given(shifts(), st.integers(0, H - 1), st.integers(0, W - 1), st.booleans())
def test_D2_hidden_pixels_move_with_the_image(luck: Draw, y: int, x: int, erase: bool) -> None:
    hidden = random_image(seed=3)[0] > 128
    covered = torch.where(hidden, 255, 1).to(torch.uint8).expand(3, H, W)
    luck = luck._replace(erase=(4, 4, 5, 6) if erase else None)
    seen = apply(View(covered, keypoints_at(x, y), hidden=hidden), luck, replace(SMALL, erase=0.5))
    assert seen.hidden is not None
    assert seen.keypoints is not None
    expected = seen.image[0] != 1  # covered, erased or padding
    assert not erase or expected[4:9, 4:10].all()
    assert torch.equal(seen.hidden, expected)
    column, row = (int(v) for v in seen.keypoints[0, :2])
    inside = 0 <= row < H and 0 <= column < W and not expected[row, column]
    assert seen_in(seen)[0].tolist() == [column, row, 0.5 if inside else 0]
    assert seen.keypoints[0, 2] == 0.5


# --- Keypoints ---


def test_points_outside_keep_their_place_and_score_but_are_not_seen() -> None:
    view = View(random_image(), keypoints_at(W - 1, 5))
    for luck, place in ((Draw(dx=-3), [W + 2, 5]), (Draw(dy=6), [W - 1, -1]), (Draw(flip=True, dx=1), [-1, 5])):
        for augment in (SMALL, PADDED):
            seen = apply(view, luck, augment)
            assert seen.keypoints is not None
            assert seen.keypoints[3].tolist() == [*place, 0.5]
            assert seen_in(seen)[3].tolist() == [*place, 0.0]


def test_points_outside_the_stored_picture_are_not_seen_even_in_the_padding() -> None:
    for x in (-1.0, -0.6, W - 0.4, 1e6, -1e6):
        seen = apply(View(random_image(), keypoints_at(x, 5)), Draw(dx=-3 if x < 0 else 3), PADDED)
        assert seen.keypoints is not None
        assert (seen.keypoints[:, 2] == 0.5).all()
        assert (seen_in(seen)[:, 2] == 0).all()


@pytest.mark.parametrize(("axis", "size"), [(0, W), (1, H)])
def test_the_edge_of_the_picture_belongs_to_it_on_one_side(axis: int, size: int) -> None:
    last = float(np.nextafter(np.float32(size - 0.5), np.float32(0)))
    for place, score in ((-0.5, 0.5), (-0.51, 0), (last, 0.5), (size - 0.5, 0), (size - 0.4, 0)):
        points = keypoints_at(5, 5)
        points[:, axis] = place
        seen = apply(View(random_image(), points), Draw(erase=(20, 1, 1, 1)), replace(SMALL, erase=1))
        assert seen_in(seen)[0, 2] == score


# --- Invariants ---


@pytest.mark.parametrize("box", [(8, 0, 16, 8), (5, 3, 18, 10)])
def test_D2_erasing_takes_keypoints_fields_labels_maps_and_hides(box: Box) -> None:
    points = torch.rand(17, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([W - 1, H - 1, 0.0])
    points[:, 2] = 0.5
    view = View(random_image(), points, torch.ones(36, 4, 2), torch.ones(H, W, dtype=torch.int64))
    seen = apply(view, Draw(erase=box), replace(SMALL, erase=0.5))
    assert seen.keypoints is not None
    assert seen.fields is not None
    assert seen.parts is not None
    assert seen.hidden is not None
    top, left, bottom, right = box[0], box[1], box[0] + box[2], box[1] + box[3]
    inside = [[top <= y < bottom and left <= x < right for x in range(W)] for y in range(H)]
    assert seen.hidden.tolist() == inside
    assert seen.parts.tolist() == [[int(not erased) for erased in row] for row in inside]
    fields = [[0.0 if inside[y][x] else 1.0 for x in range(0, W, 4)] for y in range(0, H, 4)]
    assert seen.fields.tolist() == [fields] * 36
    assert fields == [[1] * 4] * 2 + [[0, 0, 1, 1]] * 4 + [[1] * 4] * 2 or box != (8, 0, 16, 8)
    maps = hide(torch.full((1, 3, 8, 4), 0.8), seen.hidden[None])[0]
    for row in range(8):
        for column in range(4):
            erased = sum(inside[4 * row + y][4 * column + x] for y in range(4) for x in range(4))
            assert maps[:, row, column].tolist() == pytest.approx([0.8 * (1 - erased / 16)] * 3)
    scores = [0.0 if inside[round(y)][round(x)] else 0.5 for x, y, _ in points.tolist()]
    assert 0 < scores.count(0) < 17
    assert seen_in(seen)[:, 2].tolist() == scores
    assert seen.keypoints[:, 2].tolist() == [0.5] * 17
    assert seen.keypoints[:, :2].numpy() == pytest.approx(points[:, :2].numpy(), abs=1e-5)


@settings(deadline=None, max_examples=30)
@given(shifts())
def test_D2_the_padding_has_no_labels_and_no_fields(luck: Draw) -> None:
    view = View(random_image(), None, torch.ones(36, 4, 2), torch.ones(H, W, dtype=torch.int64))
    seen = apply(view, luck, replace(PADDED, flipped_labels=()))
    assert seen.fields is not None
    assert seen.parts is not None
    padding = (seen.image == 0).all(0)
    assert torch.equal(seen.parts == 0, padding)
    assert torch.equal(seen.fields[7] == 0, padding[::4, ::4])


def test_a_limb_behind_an_occluder_is_half_seen_after_it_moved() -> None:
    hidden = torch.zeros(H, W, dtype=torch.bool)
    hidden[20:] = True
    seen = apply(View(random_image(), keypoints_at(5, 25), hidden=hidden), Draw(dy=-4), PADDED)
    assert seen.hidden is not None
    assert seen.keypoints is not None
    assert seen.keypoints[0].tolist() == [5, 29, 0.5]  # where the limb leads to, though nothing is seen of it
    assert seen_in(seen)[0].tolist() == [5, 29, 0]
    shown = hide(torch.ones(1, 1, 8, 4), seen.hidden[None])[0, 0]
    assert shown.tolist() == [[0] * 4, *[[1] * 4] * 5, *[[0] * 4] * 2]


def test_O8_a_pair_shares_one_draw() -> None:
    holistic, occluded, hidden = random_image(), random_image().clone(), torch.zeros(H, W, dtype=torch.bool)
    hidden[10:20] = True
    occluded[:, hidden] = 255 - occluded[:, hidden] // 2  # differs from the holistic pixel everywhere
    hidden &= (holistic != occluded).any(0)
    for number in range(20):
        augment = replace(OGFR, height=H, width=W, pad=5)
        luck = draw(augment, 7, 3, number)
        a, b = apply(View(holistic), luck, augment), apply(View(occluded, hidden=hidden), luck, augment)
        assert a.hidden is not None
        assert b.hidden is not None
        assert torch.equal(a.hidden, (a.image == 0).all(0))
        assert torch.equal(a.hidden, (b.image == 0).all(0))
        assert not (a.hidden & ~b.hidden).any()
        assert torch.equal((a.image != b.image).any(0), b.hidden & ~a.hidden)


def test_a_flip_of_labels_is_refused_whatever_is_hidden() -> None:
    view = View(random_image(), parts=torch.zeros(H, W, dtype=torch.int64))
    with pytest.raises(InputError, match="flipped_labels"):
        apply(view, Draw(flip=True), PADDED)
