"""Skeletons over pictures: lines are where joints are, in the colours of their sides."""

from __future__ import annotations

import pytest
import torch

from halfseen.drawing.skeletons import GAP, LEFT, MIDDLE, PAPER, RIGHT, contact_sheet, skeleton

GREY = torch.full((3, 64, 32), 100, dtype=torch.uint8)


def test_joints_and_limbs_are_where_they_are_said_to_be() -> None:
    keypoints = torch.zeros(17, 3)
    keypoints[5] = torch.tensor([24.0, 16.0, 1.0])  # the left shoulder and elbow, the right knee and ankle
    keypoints[7] = torch.tensor([24.0, 40.0, 1.0])
    keypoints[14] = torch.tensor([6.0, 40.0, 1.0])
    keypoints[16] = torch.tensor([6.0, 60.0, 1.0])
    drawn = skeleton(GREY, keypoints, 256)
    assert drawn.shape == (3, 256, 128)
    assert drawn.dtype == torch.uint8
    assert tuple(drawn[:, 66, 98].tolist()) == LEFT  # (24.5, 16.5) · 4
    assert tuple(drawn[:, 112, 98].tolist()) == LEFT
    assert tuple(drawn[:, 202, 26].tolist()) == RIGHT
    assert tuple(drawn[:, 202, 98].tolist()) == (80, 80, 80)  # the picture, a little darker
    changed = (drawn != 80).any(0)
    assert changed[:, 40:84].any().item() is False
    assert changed[:55].any().item() is False


def test_shoulders_are_joined_in_the_middle_colour() -> None:
    keypoints = torch.zeros(17, 3)
    keypoints[5], keypoints[6] = torch.tensor([24.0, 16.0, 1.0]), torch.tensor([6.0, 16.0, 1.0])
    assert tuple(skeleton(GREY, keypoints, 64)[:, 16, 15].tolist()) == MIDDLE


def test_what_is_unsure_is_faint_and_what_scores_nothing_is_not_drawn() -> None:
    shades = []
    for score in (0.0, 0.1, 0.5, 1.0):
        keypoints = torch.zeros(17, 3)
        keypoints[9] = torch.tensor([16.0, 32.0, score])
        shades.append(skeleton(GREY, keypoints, 64)[2, 32, 16].item())
    assert shades == sorted(shades, reverse=True)  # the left side's colour has no blue
    assert len({*shades}) == 4
    assert torch.equal(skeleton(GREY, torch.zeros(17, 3), 64), torch.full_like(GREY, 80))


def test_joints_far_outside_harm_nothing() -> None:
    keypoints = torch.full((17, 3), -1e5)
    keypoints[:, 2] = 1.0
    assert torch.equal(skeleton(GREY, keypoints, 64), torch.full_like(GREY, 80))


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (5, 3), (6, 3)])
def test_a_sheet_has_all_pictures_in_order(count: int, columns: int) -> None:
    pictures = [torch.full((3, 10, 4 + number % 2), number, dtype=torch.uint8) for number in range(count)]
    sheet = contact_sheet(pictures, columns)
    rows, width = -(-count // columns), 5 if count > 1 else 4
    assert sheet.shape == (3, rows * (10 + 2 * GAP), columns * (width + 2 * GAP))
    for number in range(rows * columns):
        row, column = number // columns, number % columns
        shade = sheet[0, row * (10 + 2 * GAP) + GAP, column * (width + 2 * GAP) + GAP].item()
        assert shade == (number if number < count else PAPER)
