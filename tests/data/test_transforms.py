"""Pixels say where keypoints must be: everything is checked against drawn dots and loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from halfseen.data.augment import BOT, BPBREID, TEST, TRANSREID, Augment, Draw
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
    else:  # beyond the border, where it would be if the picture were larger
        place = [(W - 1 - x if luck.flip else x) - luck.dx, y - luck.dy]
        assert not (0 <= place[0] < W and 0 <= place[1] < H)
        assert seen.keypoints.tolist() == [[*place, 0.5]] * 17


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
