"""Where occluders go: a board before a board, whose shares are known."""

from __future__ import annotations

import pytest
import torch

from halfseen.world.placing import moved, sideways
from halfseen.world.shapes import Mesh, loft
from halfseen.world.views import View, look, project


def slab(width: float, height: float, ahead: float, count: int) -> Mesh:
    """An upright board of that size, standing `ahead` metres before the camera."""
    line = torch.tensor([[0.0, 0.0, -ahead], [0.0, height, -ahead]]).expand(count, 2, 3)
    side = torch.tensor([width / 2, 0.0, 0.0]).expand(count, 2, 3)
    front = torch.tensor([0.0, 0.0, 0.02]).expand(count, 2, 3)
    return loft(line, side, front, slot="top", part="torso", square=20.0, segments=24)


def scene(count: int) -> tuple[View, torch.Tensor, Mesh]:
    view = look(
        torch.tensor([[0.0, 1.0, 0.0]]).expand(count, 3), torch.zeros(count), torch.full((count,), 800.0), (1080, 1920)
    )
    person = slab(0.6, 2.0, 8.0, count)
    seen = project(view, person.vertices)
    return view, torch.cat([seen[..., :2].amin(1), seen[..., :2].amax(1)], 1), person


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_taller_board_is_moved_until_it_hides_the_share(share: float, side: float) -> None:
    view, box, person = scene(1)
    front = slab(1.0, 3.0, 7.0, 1)
    metres = sideways(person, front, view, box, covered=torch.tensor([share]), side=torch.tensor([side]))
    placed = moved(front, metres)
    left, right = project(view, placed.vertices)[0, :, 0].aminmax()
    first, last = box[0, 0], box[0, 2]
    hidden = (right.minimum(last) - left.maximum(first)) / (last - first)
    assert float(hidden) == pytest.approx(share, abs=0.06)
    assert float(metres) * side > 0


def test_a_low_board_hides_what_it_can() -> None:
    view, box, person = scene(1)
    low = slab(1.0, 0.6, 7.5, 1)
    metres = sideways(person, low, view, box, covered=torch.tensor([0.9]), side=torch.tensor([1.0]))
    assert abs(float(metres)) < 0.25  # all of its width is used, and no place would do better


def test_each_image_gets_its_own() -> None:
    view, box, person = scene(3)
    front = slab(1.0, 3.0, 7.0, 3)
    wanted = torch.tensor([0.2, 0.5, 0.8])
    metres = sideways(person, front, view, box, covered=wanted, side=torch.ones(3))
    assert metres[0] > metres[1] > metres[2] > 0
