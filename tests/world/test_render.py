"""The whole renderer at 64×32: what it says of a picture is what is in the picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from halfseen.data.images import save_image
from halfseen.ops.groupings import JOINTS
from halfseen.painting import Job, open_studio
from halfseen.types import InputError, Occlusion
from halfseen.world.labels import COVERED, LIES_ON, SEEN, is_body
from halfseen.world.photograph import World
from halfseen.world.plan import Planned, Setting, Shot, Thing, plan
from halfseen.world.render import Pictures, build, render
from halfseen.world.shapes import PART, PARTS, Mesh
from halfseen.world.stage import set_stage
from halfseen.world.views import cropped
from halfseen.world.wardrobe import draw_people

SIZE = (64, 32)
SETTING = Setting(ids=6, images=10, cameras=3, height=SIZE[0], width=SIZE[1], sharing=0.3)


@pytest.fixture(scope="module")
def world() -> World:
    return build(3, 0, 90)


@pytest.fixture(scope="module")
def planned(world: World) -> tuple[Planned, ...]:
    return plan(SETTING, draw_people(6, 0, 0.3), world.cameras)


@pytest.fixture(scope="module")
def shots(planned: tuple[Planned, ...]) -> list[Shot]:
    return [entry.shot for entry in planned]


@pytest.fixture(scope="module")
def pictures(world: World, shots: list[Shot]) -> Pictures:
    return render(world, shots, SIZE)


def rows(pictures: Pictures, chosen: slice) -> dict[str, Tensor]:
    return {name: value[chosen] for name, value in vars(pictures).items()}


def alone(shot: Shot) -> Shot:
    return replace(shot, occlusion=Occlusion.HOLISTIC, thing=Thing.NONE, passer=None)


def test_shapes_and_types(pictures: Pictures) -> None:
    count = 60
    assert pictures.images.shape == (count, 3, *SIZE)
    assert pictures.images.dtype == pictures.parts.dtype == pictures.state.dtype == torch.uint8
    assert pictures.parts.shape == (count, *SIZE)
    assert int(pictures.parts.max()) < len(PARTS)
    assert pictures.keypoints.isfinite().all()
    assert ((pictures.covered >= 0) & (pictures.covered <= 1)).all()


def test_a_picture_is_the_same_in_any_batch(world: World, shots: list[Shot], pictures: Pictures) -> None:
    for chosen in (slice(0, 1), slice(7, 20), slice(41, 60)):
        again = rows(render(world, shots[chosen], SIZE), slice(None))
        expected = rows(pictures, chosen)
        # chips compute roots and exponentials of many numbers at once, and of the last few otherwise
        assert int((again.pop("images").int() - expected.pop("images").int()).abs().max()) <= 1
        for name, values in expected.items():
            assert torch.equal(again[name], values), (name, chosen)


def test_covered_is_the_share_that_is_lost_against_the_same_picture_without_occluder(
    world: World, shots: list[Shot], pictures: Pictures
) -> None:
    bare = render(world, [alone(shot) for shot in shots], SIZE)
    assert (bare.covered == 0).all()
    for row in range(len(shots)):
        body, left = is_body(bare.parts[row]), is_body(pictures.parts[row])
        assert not (left & ~body).any()
        assert pictures.covered[row] == pytest.approx(1 - int(left.sum()) / max(1, int(body.sum())), abs=1e-6)
        assert torch.equal(pictures.parts[row][left], bare.parts[row][left])


def test_only_the_occluded_are_covered(shots: list[Shot], pictures: Pictures) -> None:
    holistic = torch.tensor([shot.occlusion is Occlusion.HOLISTIC for shot in shots])
    assert (pictures.covered[holistic] == 0).all()
    assert (pictures.covered[~holistic] > 0.03).all()


def test_the_asked_share_is_covered_on_the_whole(shots: list[Shot], pictures: Pictures) -> None:
    # a bicycle's frame or a low table cannot hide half a body; all else comes near
    hard = (Thing.BICYCLE, Thing.TABLE, Thing.CAR)
    off = [
        abs(float(pictures.covered[row]) - shot.covered)
        for row, shot in enumerate(shots)
        if shot.occlusion is not Occlusion.HOLISTIC and shot.thing not in hard and shot.keep == 1
    ]
    assert len(off) > 10
    assert sum(off) / len(off) < 0.12


@pytest.mark.parametrize("thing", [thing for thing in Thing if thing], ids=lambda thing: thing.name.lower())
def test_each_thing_hides_somebody_and_is_to_be_seen(world: World, shots: list[Shot], thing: Thing) -> None:
    base = [alone(shot) for shot in shots[:12]]
    before = [replace(shot, occlusion=Occlusion.NPO, thing=thing, covered=0.45) for shot in base]
    with_thing, without = render(world, before, SIZE), render(world, base, SIZE)
    changed = (with_thing.images.int() - without.images.int()).abs().amax(1) > 12
    hidden = is_body(without.parts) & ~is_body(with_thing.parts)
    assert (with_thing.covered > 0.02).float().mean() > 0.8
    assert changed.float().mean((1, 2)).median() > 0.04
    assert (hidden & changed).sum() > 0.6 * hidden.sum()  # what is hidden looks like the thing, not like the person


def test_a_seen_joint_lies_on_its_part(pictures: Pictures) -> None:
    seen = 0
    for row in range(len(pictures.parts)):
        for joint, name in enumerate(JOINTS):
            x, y = pictures.keypoints[row, joint].round().long().tolist()
            if int(pictures.state[row, joint]) != SEEN:
                continue
            side, _, rest = name.partition("_")
            allowed = [PART[part.format(side)] for part in LIES_ON.get(rest, ("head",))]
            near = pictures.parts[row, max(0, y - 3) : y + 4, max(0, x - 3) : x + 4].flatten().tolist()
            assert set(near) & set(allowed), (row, name)
            seen += 1
    assert seen > 300


def test_joints_outside_or_behind_others_are_covered(shots: list[Shot], pictures: Pictures) -> None:
    inside = (
        (pictures.keypoints > -0.5)
        & (pictures.keypoints < torch.stack([torch.full_like(pictures.rows, SIZE[1]), pictures.rows], 1)[:, None] - 0.5)
    ).all(2)
    assert (pictures.state[~inside] == COVERED).all()
    holistic = torch.tensor([shot.occlusion is Occlusion.HOLISTIC for shot in shots])
    assert (pictures.state[holistic][inside[holistic]] != COVERED).all()
    share = (pictures.state == COVERED).float().mean(1)
    assert share[pictures.covered > 0.4].mean() > 0.25


def hit(mesh: Mesh, row: int, eye: Tensor, towards: Tensor) -> Tensor:
    """Of rays from `eye` along `towards` [R,3], whether any triangle of `mesh` is met before their end: bool [R]."""
    a, b, c = mesh.vertices[row].double()[mesh.faces[mesh.shown[row]]].unbind(1)
    down, right, begin = b - a, c - a, eye.double() - a
    across = torch.linalg.cross(towards.double()[:, None].expand(-1, len(a), -1), right.expand(len(towards), -1, -1))
    scale = (across * down).sum(2)
    beside = torch.linalg.cross(begin, down)
    u, v = (across * begin).sum(2) / scale, (beside * towards.double()[:, None]).sum(2) / scale
    along = (beside * right).sum(1) / scale
    met: Tensor = (u >= 0) & (v >= 0) & (u + v <= 1) & (along > 0.01) & (along < 1)
    return met.any(1)


def test_a_joint_is_covered_where_a_ray_from_the_eye_to_it_meets_something_before(
    world: World, shots: list[Shot], pictures: Pictures
) -> None:
    stage, asked, covered = set_stage(world.cameras, shots, "cpu"), 0, 0
    for row in [row for row, shot in enumerate(shots) if shot.occlusion is not Occlusion.HOLISTIC]:
        view, eye = cropped(stage.view, stage.box, SIZE), stage.view.eye[row]
        towards = stage.joints[row] - eye
        pixel = view.axes[row, :2] / view.focal[row, :, None]  # metres a pixel, one metre ahead
        ahead = (towards * view.axes[row, 2]).sum(1)[:, None]
        around = [(0.0, 0.0), (1.5, 0.0), (-1.5, 0.0), (0.0, 1.5), (0.0, -1.5)]
        met = torch.stack(
            [hit(stage.front, row, eye, towards + (pixel * torch.tensor([a]).T).sum(0) * ahead) for a in around]
        )
        x, y = pictures.keypoints[row].T
        inside = (x > 0) & (x < SIZE[1] - 1) & (y > 0) & (y < int(pictures.rows[row]) - 1)
        sure = inside & (met.all(0) | ~met.any(0))  # rather than at an outline
        assert torch.equal(pictures.state[row][sure] == COVERED, met[0][sure]), shots[row]
        asked, covered = asked + int(sure.sum()), covered + int(met[0][sure].sum())
    assert asked > 300
    assert covered > 100


def test_boxes_hold_the_body(pictures: Pictures) -> None:
    for row in range(len(pictures.parts)):
        body = is_body(pictures.parts[row]).nonzero()
        left, top, right, bottom = pictures.seen_box[row].tolist()
        assert [top, left] == (body.amin(0) - 0.5).tolist()
        assert [bottom, right] == (body.amax(0) + 0.5).tolist()
        whole = pictures.whole_box[row]
        assert (whole[:2] <= torch.tensor([left, top]) + 1.01).all()  # a pixel of slack: labels are of whole pixels
        assert (whole[2:] >= torch.tensor([right, bottom]) - 1.01).all()


def test_partial_pictures_keep_their_upper_rows(shots: list[Shot], pictures: Pictures) -> None:
    partial = [row for row, shot in enumerate(shots) if shot.keep < 1]
    assert partial
    for row in partial:
        kept = int(pictures.rows[row])
        assert kept == round(shots[row].keep * SIZE[0])
        assert not pictures.parts[row, kept:].any()
        below = pictures.keypoints[row, :, 1] >= kept - 0.5
        assert (pictures.state[row][below] == COVERED).all()


def mean_colour(pictures: Pictures, row: int, part: str) -> Tensor:
    return pictures.images[row].float()[:, pictures.parts[row] == PART[part]].mean(1)


def test_the_same_person_looks_alike_and_others_do_not(world: World, shots: list[Shot]) -> None:
    """One camera, the same light: a torso's colour stays within a bound; people differ by more than that."""
    people = list(dict.fromkeys(shot.stance.person for shot in shots))
    moments = [replace(alone(shots[0]), camera=1, light=(0.0, 0.0, 0.0, 0.0), jitter=(0.0,) * 4, keep=1.0)] * 2
    yaws = (0.3, -0.4)
    colours = []
    for person in people:
        views = [
            replace(moment, stance=replace(moment.stance, person=person, yaw=yaw, phase=0.3 + yaw))
            for moment, yaw in zip(moments, yaws, strict=True)
        ]
        pictures = render(world, views, SIZE)
        colours.append(torch.stack([mean_colour(pictures, row, "torso") for row in (0, 1)]))
    own = torch.stack([(first - second).abs().mean() for first, second in colours])
    assert own.max() < 25
    tops = {person.upper: number for number, person in enumerate(people)}
    firsts = torch.stack([colours[number][0] for number in tops.values()])
    apart = torch.cdist(firsts, firsts, p=1) / 3
    apart.fill_diagonal_(torch.inf)
    assert apart.amin(1).median() > 1.5 * own.median()


@pytest.mark.parametrize("high", [40, 2000])  # enlarged, and shrunk
def test_photos_take_the_place_of_frames(shots: list[Shot], tmp_path: Path, high: int) -> None:
    path = tmp_path / "red.png"
    save_image(path, torch.tensor([204, 20, 20], dtype=torch.uint8)[:, None, None].expand(3, high, high))
    with_photo = open_studio(Job(tmp_path, SETTING, (path,)))([alone(shots[0])])
    bare = with_photo.parts[0] == 0
    red, green, _ = with_photo.images[0].float()[:, bare].mean(1).tolist()
    assert 2.5 * green < red < 240


def test_the_seed_of_a_shot_changes_noise_only(world: World, shots: list[Shot]) -> None:
    shot = alone(shots[3])
    first, second = (render(world, [replace(shot, seed=seed)], SIZE) for seed in (1, 2))
    assert torch.equal(first.parts, second.parts)
    difference = (first.images.int() - second.images.int()).abs().float()
    assert 0 < difference.mean() < 12


@pytest.mark.parametrize("count", [0, 9])
def test_a_number_of_cameras_that_does_not_exist_is_refused(count: int) -> None:
    with pytest.raises(InputError, match=rf"{count} cameras were asked for; 8 are defined"):
        build(count, 0, 90)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_gpu_draws_the_same_pictures(shots: list[Shot], pictures: Pictures) -> None:
    drawn = render(build(3, 0, 90, device="cuda"), shots, SIZE)
    assert (drawn.parts.cpu() != pictures.parts).float().mean() < 1e-3
    off = (drawn.images.cpu().int() - pictures.images.int()).abs()
    assert (off <= 1).float().mean() > 0.999
