"""Pixels say where keypoints, fields, labels and masks must be: everything is checked against drawn dots and loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from halfseen.data.augment import BOT, BPBREID, OGFR, TEST, TRANSREID, Augment, Draw, draw
from halfseen.data.transforms import IMAGENET_MEAN, IMAGENET_STD, MEAN_COLOUR, NOISE, View, apply, normalise
from halfseen.ops.groupings import FLIPPED_JOINTS

H, W = 32, 16
SMALL = Augment(H, W)
LEFT_WRIST, RIGHT_WRIST = 9, 10


def random_image(height: int = H, width: int = W, seed: int = 0) -> Tensor:
    """As decoders leave it: [3,H,W] over memory of height, width, colour."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, 256, (height, width, 3), dtype=torch.uint8, generator=generator).permute(2, 0, 1)


def keypoints_at(x: float, y: float) -> Tensor:
    points = torch.zeros(17, 3)
    points[:, 0], points[:, 1], points[:, 2] = x, y, 0.5
    return points


def dot(height: int, width: int, y: int, x: int) -> Tensor:
    image = torch.zeros(height, width, 3, dtype=torch.uint8)
    image[y, x] = 255
    return image.permute(2, 0, 1)


def shifts(most: int = 6) -> st.SearchStrategy[Draw]:
    shift = st.integers(-most, most)
    return st.builds(Draw, st.booleans(), shift, shift, st.none(), st.just(0))


# --- The image ---


@pytest.mark.parametrize("augment", [TEST, BOT, TRANSREID, BPBREID])
def test_without_luck_a_fitting_image_stays_as_it_is(augment: Augment) -> None:
    image = random_image(256, 128)
    seen = apply(View(image), Draw(), augment).image
    assert torch.equal(seen, image)
    assert seen.data_ptr() != image.data_ptr()
    assert seen.dtype == torch.uint8


@settings(deadline=None, max_examples=60)
@given(shifts())
def test_flip_and_crop_against_a_loop(luck: Draw) -> None:
    image = random_image()
    before = image.clone()
    seen = apply(View(image), luck, SMALL).image
    for y in range(H):
        for x in range(W):
            from_y, from_x = y + luck.dy, x + luck.dx
            inside = 0 <= from_y < H and 0 <= from_x < W
            expected = image[:, from_y, W - 1 - from_x if luck.flip else from_x] if inside else torch.zeros(3)
            assert seen[:, y, x].tolist() == expected.tolist()
    assert torch.equal(image, before)


@pytest.mark.parametrize("augment", [SMALL, replace(SMALL, interpolation="bicubic")])
@pytest.mark.parametrize("size", [(64, 32), (16, 8), (23, 41), (1, 1)])
def test_resizing_is_pillows(augment: Augment, size: tuple[int, int]) -> None:
    image = random_image(*size)
    pillow = Image.fromarray(image.permute(1, 2, 0).numpy())
    expected = np.asarray(pillow.resize((W, H), Image.Resampling[augment.interpolation.upper()])).astype(int)
    for layout in (image, image.contiguous()):
        seen = apply(View(layout), Draw(), augment).image
        assert np.abs(seen.permute(1, 2, 0).numpy() - expected).max() <= 1


def test_erased_pixels_show_the_mean_colour_and_nothing_else_changes() -> None:
    image = random_image()
    seen = apply(View(image), Draw(erase=(3, 2, 10, 7)), replace(SMALL, erase=1.0)).image
    box = torch.zeros(H, W, dtype=torch.bool)
    box[3:13, 2:9] = True
    assert (seen[:, box] == torch.tensor(list(MEAN_COLOUR))[:, None]).all()
    assert torch.equal(seen[:, ~box], image[:, ~box])
    assert list(MEAN_COLOUR) == [124, 116, 104]


def test_erased_pixels_show_noise_that_the_draw_decides() -> None:
    image = random_image(256, 128)
    seen = [
        apply(View(image), Draw(erase=(0, 0, 200, 128), noise=seed), TRANSREID).image[:, :200].float()
        for seed in (1, 1, 2)
    ]
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    inputs = (seen[0] / 255 - 0.5) / 0.5  # normal, cut at -1 and 1
    assert abs(inputs.mean()) < 0.01
    assert abs((inputs < -0.99).float().mean() - 0.162) < 0.01
    assert abs((inputs.abs() < 0.5).float().mean() - 0.383) < 0.01


def test_the_noise_table_holds_quantiles() -> None:
    assert NOISE[0] == 0
    assert NOISE[255] == 255
    assert list(NOISE) == sorted(NOISE)
    assert [NOISE[i] + NOISE[255 - i] for i in range(256)] == [255] * 256


# --- Keypoints ---


@settings(deadline=None, max_examples=200)
@given(shifts(), st.integers(0, H - 1), st.integers(0, W - 1))
def test_a_dot_moves_where_its_keypoint_says(luck: Draw, y: int, x: int) -> None:
    seen = apply(View(dot(H, W, y, x), keypoints_at(x, y)), luck, SMALL)
    assert seen.keypoints is not None
    bright = seen.image[0].nonzero().tolist()
    if bright:
        assert seen.keypoints.tolist() == [[bright[0][1], bright[0][0], 0.5]] * 17
    else:
        assert (seen.keypoints[:, 2] == 0).all()


@settings(deadline=None, max_examples=100)
@given(st.integers(8, 70), st.integers(8, 70), st.integers(8, 70), st.integers(8, 70), st.booleans(), st.data())
def test_a_blob_moves_where_its_keypoint_says_when_resized(
    height: int, width: int, new_height: int, new_width: int, flip: bool, data: st.DataObject
) -> None:
    y, x = data.draw(st.integers(2, height - 3)), data.draw(st.integers(2, width - 3))
    image = torch.zeros(height, width, 3, dtype=torch.uint8)
    image[y - 1 : y + 2, x - 1 : x + 2] = 200
    seen = apply(View(image.permute(2, 0, 1), keypoints_at(x, y)), Draw(flip), Augment(new_height, new_width))
    weights = seen.image[0].double()
    assert seen.keypoints is not None
    middle = [
        float((weights.sum(axis) * torch.arange(n)).sum() / weights.sum())
        for axis, n in ((0, new_width), (1, new_height))
    ]
    # linear interpolation cannot place a small blob better than its own grid, nor spread it beyond the border
    assert seen.keypoints[0, :2].tolist() == pytest.approx(middle, abs=0.75)


def test_keypoints_scale_about_pixel_centres() -> None:
    seen = apply(View(random_image(2 * H, 4 * W), keypoints_at(0, 0)), Draw(), SMALL).keypoints
    assert seen is not None
    assert seen[0].tolist() == [-0.375, -0.25, 0.5]  # still within the pixel (0, 0), which reaches to -0.5
    seen = apply(View(random_image(H // 2, W // 2), keypoints_at(W // 2 - 1, 1)), Draw(), SMALL).keypoints
    assert seen is not None
    assert seen[0].tolist() == [W - 1.5, 2.5, 0.5]


def test_points_outside_keep_their_place_and_lose_their_score() -> None:
    view = View(random_image(), keypoints_at(W - 1, 5))
    for luck, place in ((Draw(dx=-3), [W + 2, 5]), (Draw(dy=6), [W - 1, -1]), (Draw(flip=True, dx=1), [-1, 5])):
        seen = apply(view, luck, SMALL).keypoints
        assert seen is not None
        assert seen[3].tolist() == [*place, 0.0]


def test_points_outside_the_stored_picture_lose_their_score_even_in_the_padding() -> None:
    for x in (-1.0, -0.6, W - 0.4, 1e6, -1e6):
        seen = apply(View(random_image(), keypoints_at(x, 5)), Draw(dx=-3 if x < 0 else 3), SMALL).keypoints
        assert seen is not None
        assert (seen[:, 2] == 0).all()


@pytest.mark.parametrize(("axis", "size"), [(0, W), (1, H)])
def test_the_edge_of_the_picture_belongs_to_it_on_one_side(axis: int, size: int) -> None:
    last = float(np.nextafter(np.float32(size - 0.5), np.float32(0)))
    for place, score in ((-0.5, 0.5), (-0.51, 0), (last, 0.5), (size - 0.5, 0), (size - 0.4, 0)):
        points = keypoints_at(5, 5)
        points[:, axis] = place
        seen = apply(View(random_image(), points), Draw(erase=(20, 1, 1, 1)), replace(SMALL, erase=1)).keypoints
        assert seen is not None
        assert seen[0, 2] == score


# --- Invariants ---


def test_D2_erasing_takes_keypoints_fields_labels_and_hides() -> None:
    points = torch.rand(17, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([W - 1, H - 1, 0.0])
    points[:, 2] = 0.5
    view = View(random_image(), points, torch.ones(36, 4, 2), torch.ones(H, W, dtype=torch.int64))
    seen = apply(view, Draw(erase=(8, 0, 16, 8)), replace(SMALL, erase=0.5))
    assert seen.keypoints is not None
    assert seen.fields is not None
    assert seen.parts is not None
    assert seen.hidden is not None
    for y in range(H):
        for x in range(W):
            inside = 8 <= y < 24 and x < 8
            assert bool(seen.hidden[y, x]) == inside
            assert int(seen.parts[y, x]) == (0 if inside else 1)
    assert seen.fields[5].tolist() == [[1, 1], [0, 1], [0, 1], [1, 1]]
    for (x, y, _), (_, _, score) in zip(points.tolist(), seen.keypoints.tolist(), strict=True):
        assert score == (0 if 8 <= round(y) < 24 and round(x) < 8 else 0.5)
    assert seen.keypoints[:, :2].numpy() == pytest.approx(points[:, :2].numpy(), abs=1e-5)


@settings(deadline=None, max_examples=50)
@given(shifts(), st.integers(0, H - 1), st.integers(0, W - 1), st.booleans())
def test_D2_hidden_pixels_move_with_the_image(luck: Draw, y: int, x: int, erase: bool) -> None:
    hidden = random_image(seed=3)[0] > 128
    covered = torch.where(hidden, 255, 1).to(torch.uint8).expand(3, H, W)
    luck = luck._replace(erase=(4, 4, 5, 6) if erase else None)
    seen = apply(View(covered, keypoints_at(x, y), hidden=hidden), luck, replace(SMALL, erase=0.5))
    assert seen.hidden is not None
    assert seen.keypoints is not None
    expected = seen.image[0] == 255
    if erase:
        expected[4:9, 4:10] = True
    assert torch.equal(seen.hidden, expected)
    column, row = (int(v) for v in seen.keypoints[0, :2])
    inside = 0 <= row < H and 0 <= column < W and seen.image[0, row, column] > 0
    assert bool(seen.keypoints[0, 2] > 0) == (inside and not expected[row, column])


def test_hidden_is_there_when_it_may_be_needed() -> None:
    image = random_image()
    assert apply(View(image), Draw(), SMALL).hidden is None
    assert apply(View(image, hidden=torch.zeros(H, W, dtype=torch.bool)), Draw(), SMALL).hidden is not None
    nothing = apply(View(image), Draw(), replace(SMALL, erase=0.1)).hidden
    assert nothing is not None
    assert not nothing.any()


def test_D3_a_flip_swaps_left_and_right() -> None:
    points = keypoints_at(0, 0)
    points[LEFT_WRIST] = torch.tensor([3, 7, 0.9])
    points[RIGHT_WRIST] = torch.tensor([12, 8, 0.2])
    seen = apply(View(random_image(), points), Draw(flip=True), SMALL).keypoints
    assert seen is not None
    assert seen[RIGHT_WRIST].tolist() == pytest.approx([W - 1 - 3, 7, 0.9])
    assert seen[LEFT_WRIST].tolist() == pytest.approx([W - 1 - 12, 8, 0.2])
    kept = apply(View(random_image(), points), Draw(flip=True), replace(SMALL, swap_sides=False)).keypoints
    assert kept is not None
    assert kept[LEFT_WRIST].tolist() == pytest.approx([W - 1 - 3, 7, 0.9])
    assert torch.equal(kept[list(FLIPPED_JOINTS)], seen)


def test_O8_a_pair_shares_one_draw() -> None:
    holistic, occluded, hidden = random_image(), random_image().clone(), torch.zeros(H, W, dtype=torch.bool)
    hidden[10:20] = True
    occluded[:, hidden] = 255 - occluded[:, hidden] // 2  # differs from the holistic pixel everywhere
    hidden &= (holistic != occluded).any(0)
    for number in range(20):
        augment = replace(OGFR, height=H, width=W, pad=5)
        luck = draw(augment, 7, 3, number)
        a, b = apply(View(holistic), luck, augment), apply(View(occluded, hidden=hidden), luck, augment)
        assert b.hidden is not None
        assert a.hidden is None
        assert torch.equal((a.image != b.image).any(0), b.hidden)


# --- For the device ---


def test_normalise_against_a_loop() -> None:
    images = torch.stack([random_image(), random_image(seed=1)])
    before = images.clone()
    seen = normalise(images)
    assert seen.dtype == torch.float32
    for channel in range(3):
        expected = (images[:, channel].double() / 255 - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel]
        assert seen[:, channel].double().numpy() == pytest.approx(expected.numpy(), abs=1e-6)
    assert torch.equal(images, before)
    assert (
        normalise(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8), (0.5,) * 3, (0.5,) * 3).flatten().tolist()
        == [1] * 3
    )
