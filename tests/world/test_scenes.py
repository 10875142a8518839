"""The empty frames: true perspective, nothing flat, nothing before the people, and each camera's its own."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from halfseen.world.cameras import CAMERAS, FRAME, Camera, place, views
from halfseen.world.scenery.cutouts import crops
from halfseen.world.scenery.places import PLACES
from halfseen.world.scenery.scenes import paint
from halfseen.world.scenery.sites import Seen, Site, U, V, Y, block, met, rays, site
from halfseen.world.views import project

EACH = pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: camera.name)
HEIGHT = 90


@pytest.fixture(scope="module")
def frames() -> Tensor:
    return torch.stack([paint(camera, 0, HEIGHT) for camera in CAMERAS])


def passing(camera: Camera) -> list[tuple[float, float]]:
    """Spots on the floor (x, z) where people pass."""
    ahead = (camera.near, (camera.near + camera.far) / 2, camera.far)
    return [place(camera, *spot) for spot in itertools.product(ahead, (-1.0, -0.4, 0.3, 1.0))]


def in_place(here: Site, x: float, z: float) -> tuple[float, float]:
    """A spot of the world's floor as u and v, by complex numbers: turned about the eye, which lies at both origins."""
    turned = complex(x, -z) * complex(math.cos(here.turn), -math.sin(here.turn))
    return here.eye[U] + turned.real, here.eye[V] + turned.imag


def in_world(here: Site, u: float, v: float) -> tuple[float, float]:
    turned = complex(u - here.eye[U], v - here.eye[V]) * complex(math.cos(here.turn), math.sin(here.turn))
    return turned.real, -turned.imag


def pixel(camera: Camera, point: tuple[float, float, float], height: int) -> tuple[int, int]:
    """Row and column of a frame `height` pixels high in which a point of the world is."""
    x, y, _ = project(views([camera]), torch.tensor([[point]]))[0, 0].tolist()
    return math.floor((y + 0.5) * height / FRAME[0]), math.floor((x + 0.5) * height / FRAME[0])


def test_frames_are_pictures(frames: Tensor) -> None:
    assert frames.shape == (8, 3, 90, 160)
    assert frames.dtype == torch.float32
    assert frames.isfinite().all()
    assert frames.min() >= 0
    assert frames.max() <= 1
    assert (frames.flatten(1).std(1) > 0.08).all(), "light and shade"
    assert ((frames.mean((1, 2, 3)) > 0.2) & (frames.mean((1, 2, 3)) < 0.8)).all(), "neither night nor fog"


def test_cameras_look_at_different_places(frames: Tensor) -> None:
    for first, second in itertools.combinations(frames, 2):
        assert (first - second).abs().mean() > 0.08


def test_the_seed_decides_everything(frames: Tensor) -> None:
    for number in (0, 4):
        assert torch.equal(paint(CAMERAS[number], 0, HEIGHT), frames[number])
        assert (paint(CAMERAS[number], 2**40 + 1, HEIGHT) - frames[number]).abs().mean() > 0.02


def test_nothing_behind_a_person_is_flat(frames: Tensor) -> None:
    index, boxes = [], []
    for number, camera in enumerate(CAMERAS):
        for x, z in passing(camera):
            foot, crown = project(views([camera]), torch.tensor([[[x, 0.0, z], [x, 1.75, z]]]))[0, :, :2].tolist()
            half = 0.27 * (foot[1] - crown[1])
            index.append(number)
            boxes.append([crown[0] - half, crown[1], crown[0] + half, foot[1]])
    found = crops(frames, torch.tensor(index), torch.tensor(boxes), (32, 16))
    assert found.flatten(2).std(2).mean(1).min() > 0.02
    assert found.flatten(2).std(2).mean() > 0.08


@EACH
def test_people_walk_on_the_floor_where_the_view_says(camera: Camera) -> None:
    height = 270
    here = site(camera, 0)
    sight = rays(here, height)
    which, depth = met(here, sight)
    points = sight.at(depth)
    for x, z in passing(camera):
        row, column = pixel(camera, (x, 0.0, z), height)
        number = row * 480 + column
        assert which[number] == Seen.FLOOR
        u, v = in_place(here, x, z)
        near = 0.03 * camera.far  # a pixel reaches as far at most
        assert points[Y, number].item() == pytest.approx(0, abs=1e-3)
        assert points[U, number].item() == pytest.approx(u, abs=near)
        assert points[V, number].item() == pytest.approx(v, abs=near)


@EACH
def test_nothing_stands_before_people(camera: Camera) -> None:
    here = site(camera, 3)
    sight = rays(here, 108)
    _, depth = met(here, sight)
    assert here.place.tall > camera.height or not here.place.indoors
    assert all(row.behind >= 1 for row in here.place.clutter)
    for x, z in passing(camera):
        assert in_place(here, x, z)[1] <= 1e-4
        for y in (0.4, 1.0, 1.9):
            row, column = pixel(camera, (x, y, z), 108)
            own = project(views([camera]), torch.tensor([[[x, y, z]]]))[0, 0, 2]
            assert depth[row * 192 + column] > own


@EACH
def test_the_sky_and_the_ceiling_are_above_the_horizon(camera: Camera) -> None:
    sight = rays(site(camera, 0), HEIGHT)
    which, _ = met(site(camera, 0), sight)
    horizon = (HEIGHT - 1) / 2 - camera.focal * HEIGHT * math.tan(camera.pitch)
    rows = torch.arange(HEIGHT).repeat_interleave(160)
    assert ((sight.way[Y] < 0) == (rows > horizon)).all()
    assert not ((which == Seen.FLOOR) & (rows < horizon)).any()
    assert not (((which == Seen.SKY) | (which == Seen.CEILING)) & (rows > horizon)).any()


def test_a_line_on_the_floor_is_painted_where_the_view_says() -> None:
    camera = next(camera for camera in CAMERAS if camera.name == "station")
    here = site(camera, 0)
    frame = paint(camera, 0, 540)
    for u in (-8.0, -6.0, -4.0):  # a yellow strip lies between v = 0.4 and 0.8
        x, z = in_world(here, u, 0.6)
        row, column = pixel(camera, (x, 0.0, z), 540)
        red, _, blue = frame[:, row, column].tolist()
        assert red - blue > 0.15
        x, z = in_world(here, u, -0.3)
        row, column = pixel(camera, (x, 0.0, z), 540)
        red, _, blue = frame[:, row, column].tolist()
        assert red - blue < 0.08


def test_what_stands_about_lies_in_the_block_that_is_painted() -> None:
    seen = 0
    for camera in CAMERAS:
        here = site(camera, 0)
        for card in here.cards:
            x, z = in_world(here, card.u, card.kind.behind)
            row, column = pixel(camera, (x, card.kind.tall / 2, z), HEIGHT)
            if 0 <= row < HEIGHT and 0 <= column < 160:
                rows, columns = block(here, card, (HEIGHT, 160)) or pytest.fail("in the picture, yet without pixels")
                assert rows.start <= row < rows.stop
                assert columns.start <= column < columns.stop
                seen += 1
    assert seen > 40


def test_light_is_the_cameras(frames: Tensor) -> None:
    for number in (0, 5):  # in the sun
        darker = paint(replace(CAMERAS[number], sun=0.0), 0, HEIGHT)
        assert darker.mean() < 0.85 * frames[number].mean()
    x, y, z = CAMERAS[7].light
    against = paint(replace(CAMERAS[7], light=(x, y, -z)), 0, HEIGHT)
    assert (against - frames[7])[:, :30].mean() < -0.03, "the house turns dark when the sun is behind it"


def test_every_camera_has_a_place_and_every_place_a_camera() -> None:
    assert {camera.scene for camera in CAMERAS} == set(PLACES)


def test_frames_of_other_heights_show_the_same(frames: Tensor) -> None:
    large = paint(CAMERAS[1], 0, 4 * HEIGHT)
    assert large.shape == (3, 360, 640)
    small = torch.nn.functional.avg_pool2d(large, 4)
    assert (small - frames[1]).abs().mean() < 0.04
