"""The cameras: people who pass are wholly in the frame, large enough, and every camera's light is its own."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from halfseen.world.cameras import CAMERAS, FRAME, Camera, place, views
from halfseen.world.views import project

EACH = pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: camera.name)


def seen(camera: Camera, points: list[tuple[float, float, float]]) -> torch.Tensor:
    return project(views([camera]), torch.tensor([points]))[0]


def outline(camera: Camera, ahead: float, aside: float, tall: float) -> torch.Tensor:
    """The corners of a box around somebody, in pixels."""
    x, z = place(camera, ahead, aside)
    corners = itertools.product((-0.4, 0.4), (0.0, tall), (-0.25, 0.25))
    return seen(camera, [(x + across, up, z + deep) for across, up, deep in corners])


@EACH
def test_who_passes_is_wholly_in_the_frame(camera: Camera) -> None:
    for ahead, aside in itertools.product((camera.near, camera.far), (-1.0, 0.0, 1.0)):
        x, y, _ = outline(camera, ahead, aside, 1.95).unbind(1)
        assert x.min() >= 0
        assert x.max() <= FRAME[1] - 1
        assert y.min() >= 0
        assert y.max() <= FRAME[0] - 1


@EACH
def test_people_are_150_to_700_pixels_high(camera: Camera) -> None:
    for ahead, tall in itertools.product((camera.near, camera.far), (1.5, 1.95)):
        x, z = place(camera, ahead, 0)
        foot, crown = seen(camera, [(x, 0, z), (x, tall, z)])
        assert 150 <= foot[1] - crown[1] <= 700


@EACH
@settings(deadline=None, max_examples=20)
@given(ahead=st.floats(3, 30), aside=st.floats(-1, 1))
def test_aside_is_a_share_of_half_the_frame(camera: Camera, ahead: float, aside: float) -> None:
    x, z = place(camera, ahead, aside)
    assert z == -ahead
    column = seen(camera, [(x, 0.0, z)])[0, 0]
    assert column == pytest.approx((FRAME[1] - 1) / 2 + aside * camera.spread * FRAME[1] / 2, abs=0.1)


@EACH
def test_the_horizon_is_as_high_as_the_camera(camera: Camera) -> None:
    row = seen(camera, [(0.0, camera.height, -1e5)])[0, 1]
    assert row == pytest.approx((FRAME[0] - 1) / 2 - camera.focal * FRAME[0] * math.tan(camera.pitch), abs=0.1)


def test_views_are_those_of_the_cameras_one_by_one() -> None:
    together = views(CAMERAS)
    for row, camera in enumerate(CAMERAS):
        alone = views([camera])
        for name, values in vars(together).items():
            assert torch.equal(values[row], vars(alone)[name][0])


def test_lights_come_from_all_sides() -> None:
    x, y, z = torch.tensor([camera.light for camera in CAMERAS]).unbind(1)
    assert (y > 0).all()
    assert (x < -0.5).any()
    assert (x > 0.5).any()
    assert (z < -0.4).any(), "one against the light"
    assert (z > 0.4).any(), "one from behind the camera"
    bearings = sorted(torch.atan2(x, z).tolist())
    gaps = [after - before for before, after in itertools.pairwise([*bearings, bearings[0] + 2 * math.pi])]
    assert max(gaps) < math.radians(120)


def test_cameras_differ_in_every_number() -> None:
    assert len({camera.name for camera in CAMERAS}) == len({camera.scene for camera in CAMERAS}) == len(CAMERAS) == 8
    for name, least in {"height": 3, "pitch": 0.3, "focal": 0.8, "hardness": 0.8, "contrast": 0.4, "blur": 1.0}.items():
        values = [getattr(camera, name) for camera in CAMERAS]
        assert max(values) - min(values) >= least, name
    assert all(55 <= camera.quality <= 92 for camera in CAMERAS)
    warmth = [camera.cast[0] / camera.cast[2] for camera in CAMERAS]
    assert min(warmth) < 0.9
    assert max(warmth) > 1.25
