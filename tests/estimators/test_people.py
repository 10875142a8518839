"""Who is chosen of several people, and where heatmaps are greatest."""

from __future__ import annotations

import sys
from importlib import metadata
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from halfseen.estimators import mediapipe, vitpose
from halfseen.estimators.people import choose, needed, peaks, within
from halfseen.types import InputError

SIZE = (100, 40)


def person(x: float, y: float, score: float = 1.0) -> Tensor:
    """All joints near a point."""
    offsets = torch.linspace(-2, 2, 17)
    return torch.stack([x + offsets, y - offsets, torch.full((17,), score)], dim=1)


def test_the_person_nearest_the_middle_is_chosen_and_others_are_kept_apart() -> None:
    people = torch.stack([person(5, 50), person(20, 45), person(33, 50)])
    target, others = choose(people, SIZE)
    assert torch.equal(target, people[1])
    assert torch.equal(others, people[[0, 2]])


def test_a_step_aside_tells_more_than_the_same_step_down() -> None:
    aside, down = person(32, 50), person(20, 66)
    assert torch.equal(choose(torch.stack([aside, down]), SIZE).target, down)
    aside, down = person(66, 20), person(50, 32)  # and in a picture that lies down
    assert torch.equal(choose(torch.stack([aside, down]), (40, 100)).target, aside)


def test_the_middle_of_a_person_is_where_the_surest_joints_are() -> None:
    unsure = person(20, 50)
    unsure[:8, 2], unsure[8:, 2], unsure[:8, 0] = 1.0, 0.01, 3.0  # what is seen of the body lies at the side
    near = person(26, 55)
    assert torch.equal(choose(torch.stack([unsure, near]), SIZE).target, near)


def test_joints_outside_the_picture_score_nothing() -> None:
    edges = torch.zeros(1, 17, 3)
    edges[..., 2] = 0.9
    edges[0, :8, :2] = torch.tensor(
        [[-0.5, 0], [-0.51, 0], [39.4, 0], [39.5, 0], [0, -0.5], [0, -0.51], [0, 99.4], [0, 99.5]]
    )
    scores = within(edges, SIZE)[0, :, 2]
    assert scores[:8].tolist() == pytest.approx([0.9, 0, 0.9, 0, 0.9, 0, 0.9, 0])
    assert torch.equal(within(edges, SIZE)[..., :2], edges[..., :2])


@pytest.mark.parametrize("people", [torch.zeros(0, 17, 3), torch.zeros(2, 17, 3), person(500, 500)[None]])
def test_nobody_is_all_zeros(people: Tensor) -> None:
    target, others = choose(people, SIZE)
    assert torch.equal(target, torch.zeros(17, 3))
    assert others.shape == (0, 17, 3)


@settings(deadline=None, max_examples=50)
@given(st.floats(1.0, 10.0), st.floats(1.0, 18.0), st.floats(0.8, 3.0), st.floats(0.05, 1.0))
def test_peaks_of_gaussians_are_found_between_the_cells(x: float, y: float, width: float, height: float) -> None:
    row, column = torch.arange(20.0)[:, None], torch.arange(12.0)
    bell = height * torch.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * width**2))
    found = peaks(torch.stack([bell, bell.flip(1)]))
    assert found[:, 0].tolist() == pytest.approx([x, 11 - x], abs=0.02)
    assert found[:, 1].tolist() == pytest.approx([y, y], abs=0.02)
    assert found[:, 2].tolist() == pytest.approx([bell.max().item()] * 2)


@pytest.mark.parametrize("at", [(0, 0), (0, 11), (19, 0), (19, 11), (7, 0), (0, 5)])
def test_peaks_at_the_edge_stay_inside(at: tuple[int, int]) -> None:
    maps = torch.zeros(20, 12)
    maps[at] = 0.7
    assert peaks(maps).tolist() == pytest.approx([at[1], at[0], 0.7])
    ramp = torch.rand(20, 12, generator=torch.Generator().manual_seed(0)) * 0.5
    ramp[at] = 0.7
    column, row, _ = peaks(ramp).tolist()
    assert abs(column - at[1]) <= 0.5
    assert abs(row - at[0]) <= 0.5
    assert 0 <= column <= 11
    assert 0 <= row <= 19


def test_empty_maps_have_no_peak() -> None:
    assert peaks(torch.zeros(3, 4, 5))[:, 2].tolist() == [0, 0, 0]


def test_what_is_needed_is_named() -> None:
    assert needed("torch", "pose") == metadata.version("torch")
    with pytest.raises(InputError, match=r"torch .* is installed, 0\.1 is needed; run pip install 'halfseen\[pose\]'"):
        needed("torch", "pose", "0.1")
    with pytest.raises(InputError, match=r"halfsaw is not installed; run pip install 'halfseen\[eyes\]'"):
        needed("halfsaw", "eyes")


@pytest.mark.parametrize(("estimator", "package"), [(mediapipe, "mediapipe"), (vitpose, "transformers")])
def test_a_package_that_lacks_something_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, estimator: ModuleType, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as Python has it when an import has failed
    with pytest.raises(InputError, match=rf"{package} is installed but cannot be loaded \(.*{package}.*\); run pip"):
        estimator.load(None, "cpu")
