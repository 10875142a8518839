"""A flip of the picture exchanges left and right in its keypoints, and what is drawn from them is mirrored."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from halfseen.data.augment import Augment, Draw
from halfseen.data.transforms import View, apply
from halfseen.ops.groupings import FIELDS, FLIPPED_FIELDS, JOINTS
from halfseen.ops.parts import fields

H, W = 128, 64
ORIGINAL = torch.rand(3, 17, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([100.0, 300.0, 1.0])


def mirrored(keypoints: Tensor) -> Tensor:
    picture = torch.zeros(3, H, W, dtype=torch.uint8)
    views = [apply(View(picture, one), Draw(flip=True), Augment(H, W)).keypoints for one in keypoints]
    return torch.stack([view for view in views if view is not None])


def test_D3_mirrored_keypoints_change_sides() -> None:
    kept = ORIGINAL.clone()
    flipped = mirrored(ORIGINAL)
    for joint, name in enumerate(JOINTS):
        other = name.replace("left", "L").replace("right", "left").replace("L", "right")
        x, y, score = ORIGINAL[1, JOINTS.index(other)].tolist()
        assert flipped[1, joint].tolist() == pytest.approx([W - 1 - x, y, score], abs=1e-4)
    torch.testing.assert_close(mirrored(flipped), ORIGINAL)
    assert torch.equal(ORIGINAL, kept)  # the argument is left alone


def test_D3_fields_of_mirrored_keypoints_are_mirrored_fields() -> None:
    drawn, again = (fields(k, (H, W), (16, 8)) for k in (ORIGINAL, mirrored(ORIGINAL)))
    torch.testing.assert_close(drawn[:, list(FLIPPED_FIELDS)].flip(-1), again)
    left, right = (FIELDS.index(f"{side}_knee-{side}_hip") for side in ("left", "right"))
    torch.testing.assert_close(again[:, left], drawn[:, right].flip(-1))
