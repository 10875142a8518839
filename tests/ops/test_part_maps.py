"""What is made of maps: groups, backgrounds, labels, visibility, hidden pixels and fixed cuts."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from halfseen.ops import parts
from halfseen.ops.groupings import GROUPINGS, KEYPOINT_GROUPS, Grouping
from halfseen.ops.pooling import pool

TABLES = GROUPINGS | KEYPOINT_GROUPS


def random_maps(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def merged_by_loop(maps: Tensor, grouping: Grouping, merge: Literal["sum", "max"]) -> Tensor:
    result = torch.zeros(len(maps), len(grouping), *maps.shape[2:], dtype=maps.dtype)
    for image in range(len(maps)):
        for part, (_, members) in enumerate(grouping):
            for cell in [(r, c) for r in range(maps.shape[2]) for c in range(maps.shape[3])]:
                values = [maps[image, member][cell].item() for member in members]
                result[image, part][cell] = sum(values) if merge == "sum" else max(values)
    return result


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(0, 2), st.sampled_from(sorted(TABLES)), st.sampled_from(["sum", "max"]))
def test_groups_equal_the_loop(seed: int, images: int, name: str, merge: Literal["sum", "max"]) -> None:
    maps = random_maps(seed, images, 36, 2, 2) * 1.4 - 0.3
    torch.testing.assert_close(
        parts.heatmap_groups(maps, TABLES[name], merge), merged_by_loop(maps, TABLES[name], merge)
    )
    torch.testing.assert_close(parts.group(maps, TABLES[name]), merged_by_loop(maps, TABLES[name], "max").clamp(0, 1))


def test_P5_a_left_shoulder_feeds_two_groups() -> None:
    maps = torch.zeros(1, 17, 4, 2)
    maps[0, 5, 1, 1] = 0.7
    grouped = parts.heatmap_groups(maps, KEYPOINT_GROUPS["pirt"], "max")
    assert grouped[0, :, 1, 1].tolist() == pytest.approx([0.7, 0, 0.7])


def test_background_is_where_no_part_reaches_the_threshold() -> None:
    maps = torch.tensor([[[0.49, 0.5, 0.2]], [[0.1, 0.3, 0.9]]])[None]  # [1,2,1,3]
    probabilities = parts.with_background(maps)
    for cell, logits in enumerate([(1, 0.49, 0.1), (0, 0.5, 0.3), (0, 0.2, 0.9)]):
        powers = [math.exp(15 * logit) for logit in logits]
        expected = [power / sum(powers) for power in powers]
        assert probabilities[0, :, 0, cell].tolist() == pytest.approx(expected, rel=1e-4)
    assert parts.part_labels(probabilities)[0, 0].tolist() == [0, 1, 2]
    assert parts.part_labels(parts.with_background(maps, threshold=0.3))[0, 0].tolist() == [1, 1, 2]
    flat = parts.with_background(maps, sharpness=0.0)
    torch.testing.assert_close(flat, torch.full_like(flat, 1 / 3))


def test_resizing_keeps_the_corners_and_may_go_by_nearest_first() -> None:
    maps = torch.arange(12.0).view(1, 1, 3, 4)
    resized = parts.resize_maps(maps, (5, 7))
    assert resized[0, 0, [0, 0, -1, -1], [0, -1, 0, -1]].tolist() == [0, 3, 8, 11]
    assert resized[0, 0, 0].tolist() == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5, 3])
    blocks = parts.resize_maps(maps, (6, 8), first=(6, 8))
    torch.testing.assert_close(blocks[0, 0], torch.kron(maps[0, 0], torch.ones(2, 2)))
    assert parts.resize_maps(maps[:0], (5, 7), first=(6, 8)).shape == (0, 1, 5, 7)


def test_P3_max_pooling_is_the_greatest_of_each_window_and_no_less_than_the_mean() -> None:
    maps = random_maps(1, 2, 17, 12, 8)
    pooled = parts.max_to_grid(maps, (3, 2))
    for image, joint, row, column in [
        (i, j, r, c) for i in range(2) for j in range(17) for r in range(3) for c in (0, 1)
    ]:
        window = maps[image, joint, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        assert pooled[image, joint, row, column] == max(window.flatten().tolist())
    assert (pooled >= F.avg_pool2d(maps, 4)).all()
    mask = parts.human_mask(pooled)
    assert mask.shape == (2, 1, 3, 2)
    assert mask[1, 0, 2, 1] == max(pooled[1, joint, 2, 1].item() for joint in range(17))


def test_P4_a_group_of_heatmaps_of_zeros_has_none() -> None:
    maps = random_maps(2, 1, 17, 4, 2)
    maps[:, list(dict(KEYPOINT_GROUPS["pirt"])["lower"])] = 0
    peaks = parts.heatmap_groups(maps, KEYPOINT_GROUPS["pirt"], "max").amax((2, 3))
    assert peaks[0, 1] == 0
    assert (peaks[0, [0, 2]] > 0).all()


def test_K5_softmax_maps_sum_to_1_and_pool_a_constant_to_a_cell_s_share() -> None:
    maps = parts.spatial_softmax(parts.heatmap_groups(random_maps(3, 2, 17, 24, 8), KEYPOINT_GROUPS["pgfl_kd"]))
    torch.testing.assert_close(maps.sum((2, 3)), torch.ones(2, 8, dtype=torch.float64))
    constant = torch.full((2, 3, 24, 8), 5.0, dtype=torch.float64)
    torch.testing.assert_close(pool(constant, maps, "grid"), torch.full((2, 8, 3), 5 / 192, dtype=torch.float64))


def test_softmax_scale_is_inside_the_exponent() -> None:
    drawn = parts.spatial_softmax(torch.tensor([[[[0.0, 0.1]]]]), scale=20.0)
    assert (drawn[0, 0, 0, 1] / drawn[0, 0, 0, 0]).item() == pytest.approx(math.exp(2))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(0, 3), st.integers(1, 6))
def test_a_part_is_visible_where_a_cell_has_its_label(seed: int, images: int, count: int) -> None:
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, count + 1, (images, 2, 2), generator=random, dtype=torch.uint8)
    expected = [[part in labels[i].flatten().tolist() for part in range(1, count + 1)] for i in range(images)]
    assert parts.visible_parts(labels, count).tolist() == expected


def test_B3_visibility_by_threshold_is_strict_and_differs_from_the_greatest_label() -> None:
    maps = torch.tensor([[[0.4, 0.1]], [[0.41, 0.3]], [[0.0, 0.0]]])[None]
    assert parts.visible_by_threshold(maps, 0.4).tolist() == [[False, True, False]]
    behind_another = torch.tensor([[[0.45, 0.0]], [[0.9, 0.0]], [[0.0, 0.35]]])[None]
    labels = parts.part_labels(parts.with_background(behind_another, threshold=0.3))
    assert parts.visible_by_threshold(behind_another, 0.4).tolist() == [[True, True, False]]
    assert parts.visible_parts(labels, 3).tolist() == [[False, True, True]]


def test_D2_hidden_pixels_take_their_share_of_each_cell() -> None:
    maps = torch.full((1, 2, 2, 2), 0.8)
    hidden = torch.zeros(1, 8, 4, dtype=torch.bool)
    hidden[0, :4, :2] = True  # the whole first cell
    hidden[0, 4:6, 2:] = True  # half of the last
    expected = torch.tensor([[0.0, 0.8], [0.8, 0.4]]).expand(1, 2, 2, 2)
    torch.testing.assert_close(parts.hide(maps, hidden), expected)
    assert torch.equal(parts.hide(maps.half(), ~hidden[:, :2] & False), maps.half())


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 3), st.sampled_from([(8, 4), (5, 7), (1, 1), (1, 6)]))
def test_seen_joints_equal_the_loop(seed: int, images: int, size: tuple[int, int]) -> None:
    H, W = size
    places = random_maps(seed, images, 17, 2) * torch.tensor([W + 4, H + 4]) - 2.5  # in the picture and around it
    keypoints = torch.cat([places, random_maps(seed + 1, images, 17, 1) + 0.1], 2)
    hidden = random_maps(seed + 2, images, H, W) < 0.4
    before = keypoints.clone()
    seen = parts.seen_joints(keypoints, hidden)
    assert seen.dtype == keypoints.dtype
    assert torch.equal(keypoints, before)
    for image in range(images):
        for joint in range(17):
            x, y, score = keypoints[image, joint].tolist()
            shown = [
                not hidden[image, row, column]
                for row in range(H)
                for column in range(W)
                if abs(x - column) < 0.5 and abs(y - row) < 0.5
            ]
            assert seen[image, joint].tolist() == [x, y, score if shown == [True] else 0]


@pytest.mark.parametrize("place", [1e6, -1e6, -0.51, 8.51])
def test_joints_outside_the_picture_are_not_seen_and_stay_where_they_are(place: float) -> None:
    for axis in (0, 1):
        keypoints = torch.tensor([4.0, 4, 0.5]).repeat(1, 17, 1)
        keypoints[0, 3, axis] = place
        expected = keypoints.clone()
        expected[0, 3, 2] = 0
        assert torch.equal(parts.seen_joints(keypoints, torch.zeros(1, 9, 9, dtype=torch.bool)), expected)


@pytest.mark.parametrize(("count", "height"), [(1, 5), (3, 6), (6, 16), (4, 3), (24, 24)])
def test_stripes_are_what_adaptive_pooling_pools(count: int, height: int) -> None:
    features = random_maps(4, 2, 3, height, 2)
    pooled = pool(features, parts.stripes(count, (height, 2))[None].double())
    torch.testing.assert_close(pooled, F.adaptive_avg_pool2d(features, (count, 1)).squeeze(3).transpose(1, 2))


def test_patches_run_row_by_row_and_cover_the_picture_once() -> None:
    cut = parts.patches(6, 4, (24, 8))
    assert cut.shape == (24, 24, 8)
    assert torch.equal(cut.sum(0), torch.ones(24, 8))
    assert cut[5].nonzero().tolist() == [[row, column] for row in range(4, 8) for column in (2, 3)]
    torch.testing.assert_close(pool(random_maps(5, 1, 2, 24, 8), cut[None].double(), "max").shape, (1, 24, 2))
