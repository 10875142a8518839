"""Confidence fields: each joint is where its field is greatest."""

from __future__ import annotations

import pytest
import torch

from halfseen.estimators.bpbreid_fields import person_in
from halfseen.ops.parts import fields

SIZE = (256, 128)


def test_the_peaks_of_drawn_fields_are_the_joints() -> None:
    dice = torch.Generator().manual_seed(0)
    places = torch.rand(1, 17, 2, generator=dice) * torch.tensor([96.0, 208.0]) + torch.tensor([16.0, 24.0])
    known = torch.cat([places, 0.2 + 0.8 * torch.rand(1, 17, 1, generator=dice)], dim=2)
    (person,) = person_in(fields(known, SIZE, (32, 16))[0], SIZE)
    assert (person[:, :2] - known[0, :, :2]).abs().max() < 1.5  # of cells of 8 × 8 pixels
    assert torch.allclose(person[:, 2], known[0, :, 2], atol=0.25)


def test_a_cell_is_where_its_pixels_are() -> None:
    grid = torch.zeros(36, 4, 2)
    grid[:17, 3, 0] = 0.8
    grid[20] = 1.0  # limbs say nothing of joints
    (person,) = person_in(grid, (40, 30))
    assert person[9].tolist() == pytest.approx([7.0, 34.5, 0.8])  # the middle of columns 0..14, of rows 30..39


def test_empty_fields_show_nobody() -> None:
    assert person_in(torch.zeros(36, 4, 2), (40, 30))[0, :, 2].tolist() == [0.0] * 17
