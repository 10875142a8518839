"""Cut-outs: the right pixels of the right frame, smooth when enlarged, averaged when shrunk, alone as in a batch."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from halfseen.world.cameras import FRAME
from halfseen.world.scenery.cutouts import PHOTO_SHARE, crops, photo_crops


def frames(count: int = 3, height: int = 54) -> Tensor:
    return torch.rand(count, 3, height, height * 16 // 9, generator=torch.Generator().manual_seed(1))


def boxes(rows: list[list[float]], height: int = 54) -> Tensor:
    """Given in pixels of frames `height` high."""
    return torch.tensor(rows) * (FRAME[0] / height)


def bilinear(frame: Tensor, x: float, y: float) -> list[float]:
    """By hand: pixel middles at whole numbers, the border repeated."""
    height, width = frame.shape[1:]
    x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    left, top = min(int(x), width - 2), min(int(y), height - 2)
    a, b = x - left, y - top
    corner = frame[:, top : top + 2, left : left + 2]
    mixed = (1 - b) * ((1 - a) * corner[:, 0, 0] + a * corner[:, 0, 1]) + b * (
        (1 - a) * corner[:, 1, 0] + a * corner[:, 1, 1]
    )
    return [float(value) for value in mixed]


def test_whole_pixels_come_out_as_they_are() -> None:
    source = frames()
    found = crops(source, torch.tensor([2, 0]), boxes([[10, 5, 26, 37], [0, 0, 16, 32]]), (32, 16))
    torch.testing.assert_close(found[0], source[2, :, 5:37, 10:26], atol=2e-4, rtol=0)
    torch.testing.assert_close(found[1], source[0, :, 0:32, 0:16], atol=2e-4, rtol=0)


def test_enlarged_cut_outs_match_a_loop_over_pixels() -> None:
    source = frames()
    left, top, right, bottom = box = [80.3, 40.2, 97.9, 60.6]  # reaches over the right and the lower border
    found = crops(source, torch.tensor([1]), boxes([box]), (24, 21))[0]
    for row in range(24):
        for column in range(21):
            x = left + (column + 0.5) / 21 * (right - left) - 0.5
            y = top + (row + 0.5) / 24 * (bottom - top) - 0.5
            assert found[:, row, column].tolist() == pytest.approx(bilinear(source[1], x, y), abs=1e-3)


@pytest.mark.parametrize("times", [2, 4])
def test_shrunk_cut_outs_are_averages(times: int) -> None:
    source = frames(1, 72)
    box = [8.0, 8.0, 8.0 + 8 * times, 8.0 + 16 * times]
    found = crops(source, torch.tensor([0]), boxes([box], 72), (16, 8))[0]
    piece = source[0, :, 8 : 8 + 16 * times, 8 : 8 + 8 * times]
    expected = piece.reshape(3, 16, times, 8, times).mean((2, 4))
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_a_cut_out_is_the_same_in_any_batch() -> None:
    source = frames()
    chance = torch.rand(40, 3, generator=torch.Generator().manual_seed(2))
    sides = torch.stack([chance[:, 0] * 80, chance[:, 1] * 30], dim=1)
    size = 4 + 60 * chance[:, 2:]
    box = torch.cat([sides, sides + size * torch.tensor([0.5, 1.0])], dim=1) * 20
    index = torch.arange(40) % 3
    together = crops(source, index, box, (21, 11))
    for row in range(40):
        assert torch.equal(crops(source, index[row : row + 1], box[row : row + 1], (21, 11))[0], together[row])


def position_photo(height: int, width: int) -> Tensor:
    """uint8; its first channel is the row of a pixel, its second the column, each as a share."""
    rows = ((torch.arange(height) + 0.5) / height)[:, None].expand(height, width)
    columns = ((torch.arange(width) + 0.5) / width).expand(height, width)
    return (torch.stack([rows, columns, torch.zeros(height, width)]) * 255).round().to(torch.uint8)


def test_photos_are_cut_upright_and_at_a_plausible_share() -> None:
    photos = [position_photo(120, 200), position_photo(90, 160)]
    photos[1][2] = 255
    chance = torch.rand(60, 4, generator=torch.Generator().manual_seed(3))
    found = photo_crops(photos, chance, (32, 16))
    assert found.shape == (60, 3, 32, 16)
    assert found[:, 2].amax((1, 2)).tolist() == (chance[:, 0] >= 0.5).float().tolist(), "the photo that chance says"
    tall = (found[:, 0, -1, 0] - found[:, 0, 0, 0]) * 32 / 31
    low, high = PHOTO_SHARE
    assert tall.tolist() == pytest.approx((low + (high - low) * chance[:, 1]).tolist(), abs=0.03)
    ratio = torch.where(chance[:, 0] < 0.5, 200 / 120, 160 / 90)
    wide = (found[:, 1, 0, -1] - found[:, 1, 0, 0]) * 16 / 15 * ratio
    assert (wide / tall).tolist() == pytest.approx([0.5] * 60, abs=0.05)


def test_a_photo_narrower_than_a_person_is_used_in_its_whole_width() -> None:
    found = photo_crops([position_photo(100, 20)], torch.full((1, 4), 0.99), (32, 16))[0]
    assert (found[1, 0, -1] - found[1, 0, 0]).item() == pytest.approx(15 / 16, abs=0.07)
    assert math.isclose((found[0, -1, 0] - found[0, 0, 0]).item() * 32 / 31, 0.4, abs_tol=0.03)


def test_each_photo_cut_is_the_same_alone() -> None:
    photos = [position_photo(50 + k, 80 - k).roll(k, 0) for k in range(3)]
    chance = torch.rand(9, 4, generator=torch.Generator().manual_seed(4))
    together = photo_crops(photos, chance, (32, 16))
    for row in range(9):
        assert torch.equal(photo_crops(photos, chance[row : row + 1], (32, 16))[0], together[row])
