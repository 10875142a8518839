"""Bodies: whole, dressed as asked, around their skeletons, labelled on the right side, and the same in any batch."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from halfseen.world.bodies.body import body
from halfseen.world.bodies.curves import between, curve
from halfseen.world.bodies.figure import figure
from halfseen.world.bodies.garments import coat, top
from halfseen.world.bodies.poses import Activity, Skeleton, skeleton
from halfseen.world.bodies.sleeves import LEG, trouser_widths
from halfseen.world.light.raster import Hits, interpolate, rasterise
from halfseen.world.people import Bottom, HairStyle, Headwear, Outer, Person, Top
from halfseen.world.shapes import PART, SLOT, Mesh, turned
from halfseen.world.views import look, project
from halfseen.world.wardrobe import draw_people

SIZE = (160, 128)
AWAY = 30.0  # metres, so that the view is nearly parallel


@cache
def crowd() -> tuple[Person, ...]:
    """24 people among whom every kind of every garment occurs."""
    people = []
    for number, person in enumerate(draw_people(24, seed=7)):
        head = replace(person.head, hair=HairStyle(number % 4), headwear=Headwear(number // 4 % 3))
        upper = replace(person.upper, top=Top(number % 3), outer=Outer(number % 5))
        lower = replace(person.lower, bottom=Bottom(number // 2 % 5))
        people.append(replace(person, head=head, upper=upper, lower=lower))
    return tuple(people)


def posed(people: tuple[Person, ...], activity: Activity | None = None, seed: int = 0) -> Skeleton:
    chance = torch.Generator().manual_seed(seed)
    count = len(people)
    does = torch.arange(count) % len(Activity) if activity is None else torch.full((count,), int(activity))
    return skeleton(list(people), does, torch.rand(count, generator=chance), torch.rand(count, 8, generator=chance))


def screens(points: Tensor, yaw: float) -> Tensor:
    """`points` [N,V,3] of people turned by `yaw`, on screens that show 2.2 m."""
    count = len(points)
    sin, cos = math.sin(yaw), math.cos(yaw)
    x, y, z = points.unbind(-1)
    stood = torch.stack([x * cos + z * sin, y, z * cos - x * sin - AWAY], -1)
    eye = torch.tensor([[0.0, 0.9, 0.0]]).expand(count, 3)
    return project(look(eye, torch.zeros(count), torch.full((count,), AWAY * SIZE[0] / 2.2), SIZE), stood)


def seen(mesh: Mesh, yaw: float) -> Hits:
    return rasterise(screens(mesh.vertices, yaw), mesh.faces, mesh.shown, SIZE)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_everything_is_finite_and_normals_have_length_one(seed: int) -> None:
    mesh = body(crowd(), posed(crowd(), seed=seed))
    for values in (mesh.vertices, mesh.normals, mesh.surface, mesh.open):
        assert values.isfinite().all()
    assert torch.allclose(mesh.normals.norm(dim=-1), torch.ones(mesh.normals.shape[:2]), atol=1e-4)
    assert mesh.open.min() >= 0
    assert mesh.open.max() <= 1
    assert mesh.surface[..., 2].abs().max() <= 1 + 1e-6
    assert mesh.vertices.abs().max() < 2.5
    assert mesh.faces.min() == 0
    assert mesh.faces.max() == mesh.vertices.shape[1] - 1


def test_one_mesh_for_everybody_with_few_faces() -> None:
    assert len(body(crowd(), posed(crowd())).faces) < 5300


def worn(mesh: Mesh, slot: str) -> list[bool]:
    """Of each person: whether something of the slot is shown."""
    return mesh.shown[:, mesh.slot == SLOT[slot]].any(1).tolist()


def test_people_show_what_they_wear_and_nothing_else() -> None:
    mesh = body(crowd(), posed(crowd()))
    slots = {
        slot: worn(mesh, slot) for slot in ("hair", "hat", "top", "outer", "outer_sleeve", "bottom", "shoe", "sole")
    }
    for row, person in enumerate(crowd()):
        shows = {slot for slot, rows in slots.items() if rows[row]}
        outer, bottom = person.upper.outer, person.lower.bottom
        assert ("hair" in shows) == (person.head.hair is not HairStyle.BALD)
        assert ("hat" in shows) == (person.head.headwear is not Headwear.NONE)
        assert ("outer" in shows) == (outer is not Outer.NONE)
        assert ("outer_sleeve" in shows) == (outer in (Outer.JACKET, Outer.JACKET_OPEN, Outer.COAT))
        assert ("bottom" in shows) == (bottom is not Bottom.DRESS)
        assert {"shoe", "sole"} <= shows
        if outer in (Outer.NONE, Outer.JACKET_OPEN) or bottom is Bottom.DRESS:
            assert "top" in shows


def test_a_coat_reaches_lower_than_a_jacket_and_sleeves_end_where_they_should() -> None:
    person = crowd()[0]
    short = replace(person.upper, outer=Outer.NONE, sleeve=0.3, top=Top.TSHIRT)
    people = tuple(
        replace(person, upper=upper)
        for upper in (
            replace(short, outer=Outer.JACKET),
            replace(short, outer=Outer.COAT),
            short,
            replace(short, sleeve=1.0),
        )
    )
    bones = posed(people[:1], Activity.STAND)
    same = Skeleton(*(values.expand(4, *values.shape[1:]) for values in vars(bones).values()))
    mesh = body(people, same)
    ends = {
        slot: mesh.vertices[:, mesh.faces[mesh.slot == SLOT[slot]].flatten(), 1].amin(1) for slot in ("outer", "sleeve")
    }
    hip, knee = bones.point("left_hip")[0, 1], bones.point("left_knee")[0, 1]
    assert abs(ends["outer"][0] - hip) < 0.15
    assert ends["outer"][1] < knee + 0.12
    elbow, wrist = bones.point("left_elbow")[0, 1], bones.point("left_wrist")[0, 1]
    assert ends["sleeve"][2] > elbow - 0.05
    assert ends["sleeve"][3] < max(wrist, bones.point("right_wrist")[0, 1]) + 0.03


@pytest.mark.parametrize("yaw", [0.0, 0.8, 1.6, 3.1, 4.4])
def test_limbs_surround_their_joints_from_every_side(yaw: float) -> None:
    bones = posed(crowd(), seed=3)
    hits = seen(body(crowd(), bones), yaw)
    image = torch.zeros(hits.shape, dtype=torch.bool).flatten()
    image[hits.pixel] = True
    at = screens(bones.joints[:, 5:], yaw)[..., :2].round().long()
    inside = image.view(hits.shape)[torch.arange(len(at))[:, None], at[..., 1], at[..., 0]]
    assert inside.all(), (~inside).nonzero()


def test_faces_of_the_head_lie_at_the_joints_of_the_head() -> None:
    bones = posed(crowd(), seed=4)
    mesh = body(crowd(), bones)
    head = mesh.vertices[:, mesh.faces[mesh.slot == SLOT["face"]].flatten()]
    gap = (bones.joints[:, :3, None] - head[:, None]).norm(dim=-1).amin(-1)  # nose and eyes
    assert gap.max() < 0.025


def test_what_is_seen_from_outside_looks_outwards() -> None:
    mesh = body(crowd(), posed(crowd(), seed=5))
    for yaw in (0.3, 2.0, 4.0):
        hits = seen(mesh, yaw)
        normal = interpolate(hits, mesh.faces, mesh.normals)
        ahead = normal[:, 2] * math.cos(yaw) - normal[:, 0] * math.sin(yaw)
        slot = mesh.slot[hits.face]
        two_sided = mesh.two_sided[hits.face]
        for name in ("skin", "face", "hair", "hat", "top", "sleeve", "outer", "outer_sleeve", "bottom", "shoe", "sole"):
            looks = ahead[(slot == SLOT[name]) & ~(two_sided & (slot != SLOT["outer"]))]
            assert (looks > -0.1).float().mean() > 0.93, name


def test_corners_of_faces_run_counterclockwise() -> None:
    mesh = body(crowd(), posed(crowd(), seed=5))
    first, second, third = (mesh.vertices[:, corner] for corner in mesh.faces.unbind(1))
    face = torch.linalg.cross(second - first, third - first)
    normal = sum(mesh.normals[:, corner] for corner in mesh.faces.unbind(1))
    along = (face * normal).sum(-1)[mesh.shown & (face.norm(dim=-1) > 2e-6)]
    assert (along > 0).float().mean() > 0.97


def middles(mesh: Mesh, part: str) -> Tensor:
    """[N,faces]: x of the middles of the shown faces of a part, NaN where they are not shown."""
    faces = mesh.part == PART[part]
    x = mesh.vertices[..., 0][:, mesh.faces[faces]].mean(-1)
    return torch.where(mesh.shown[:, faces], x, torch.nan)


def test_left_parts_are_on_the_left() -> None:
    mesh = body(crowd(), posed(crowd(), Activity.STAND, seed=6))
    for part, sign in (("left_leg", 1), ("left_foot", 1), ("right_leg", -1), ("right_foot", -1)):
        assert (sign * middles(mesh, part).nanmean(1) > 0.02).all()
    walking = body(crowd(), posed(crowd(), Activity.WALK, seed=6))
    for side, sign in (("left", 1), ("right", -1)):
        assert (sign * middles(walking, f"{side}_arm").nanmean(1) > 0.08).all()
    assert (middles(mesh, "torso").nanmean(1).abs() < 0.05).all()


def test_heads_are_above_torsos_above_legs_above_feet() -> None:
    mesh = body(crowd(), posed(crowd(), Activity.STAND, seed=8))
    heights = []
    for part in ("left_foot", "left_leg", "torso", "head"):
        faces = mesh.part == PART[part]
        y = mesh.vertices[..., 1][:, mesh.faces[faces]].mean(-1)
        heights.append(torch.where(mesh.shown[:, faces], y, torch.nan).nanmean(1))
    assert (torch.stack(heights, 1).diff(dim=1) > 0.15).all()


@pytest.mark.parametrize("activity", list(Activity))
def test_people_stand_on_the_ground(activity: Activity) -> None:
    mesh = body(crowd(), posed(crowd(), activity, seed=9))
    drawn = torch.zeros(len(mesh), mesh.vertices.shape[1], dtype=torch.bool)
    for row, shown in enumerate(mesh.shown):
        drawn[row, mesh.faces[shown].flatten()] = True
    lowest = torch.where(drawn, mesh.vertices[..., 1], torch.inf).amin(1)
    assert lowest.abs().max() < 0.015, lowest


def in_long_clothes() -> tuple[Person, ...]:
    people = []
    for person in crowd():
        upper = replace(person.upper, outer=Outer.NONE, sleeve=1.0)
        lower = replace(person.lower, bottom=Bottom(person.lower.bottom % 2), length=1.0)
        people.append(replace(person, upper=upper, lower=lower, shoes=replace(person.shoes, shaft=0.0)))
    return tuple(people)


def test_no_skin_shows_through_trousers_and_sleeves() -> None:
    people = in_long_clothes()
    bones = posed(people, seed=10)
    mesh = body(people, bones)
    for yaw in (0.0, 1.2, 2.5, 4.0, 5.2):
        hits = seen(mesh, yaw)
        place, part = interpolate(hits, mesh.faces, mesh.vertices), mesh.part[hits.face]
        bare = mesh.slot[hits.face] == SLOT["skin"]
        for side in ("left", "right"):
            for limb, end in (("arm", "hand"), ("leg", "ankle")):
                skin = bare & (part == PART[f"{side}_{limb}"])
                away = (place - bones.point(f"{side}_{end}")[hits.image]).norm(dim=-1)
                assert (away[skin] < (0.25 if limb == "arm" else 0.12)).all(), (side, limb, yaw)


def test_an_open_jacket_hides_the_back_of_what_is_under_it() -> None:
    people = tuple(
        replace(person, upper=replace(person.upper, top=Top.TSHIRT, outer=Outer.JACKET_OPEN, length=0.2))
        for person in in_long_clothes()
    )
    mesh = body(people, posed(people, Activity.WALK, seed=11))
    behind, before = seen(mesh, math.pi), seen(mesh, 0.0)
    tops = [(mesh.slot[hits.face] == SLOT["top"]).sum().item() for hits in (behind, before)]
    assert tops[1] > 2000
    assert tops[0] < 0.02 * tops[1]


def test_clothes_lie_further_out_the_more_of_them_there_are() -> None:
    who = figure(crowd(), torch.device("cpu"))
    assert (coat(who).ease > top(who).ease + 0.003).all()


@settings(deadline=None, max_examples=30)
@given(st.floats(0, 1), st.floats(0.85, 1.35), st.floats(1.5, 1.95))
def test_trousers_are_wider_than_legs(width: float, girth: float, height: float) -> None:
    person = crowd()[0]
    build = replace(person.build, girth=girth, height=height)
    who = figure([replace(person, build=build, lower=replace(person.lower, width=width))], torch.device("cpu"))
    t = torch.linspace(-0.2, 2.05, 40)[None]
    for cloth, leg in zip(trouser_widths(who, t), curve(LEG, t), strict=True):
        assert (cloth > leg * who.limb * height + 0.003).all()


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 3))
def test_curves_pass_their_knots_and_never_leave_their_neighbours(at: float) -> None:
    knots = ((0.0, 1.0), (1.0, 2.0), (1.5, 2.0), (3.0, -1.0))
    for place, value in knots:
        assert between(knots, place)[0] == pytest.approx(value)
    low, high = max(k for k in knots if k[0] <= at), min(k for k in knots if k[0] >= at)
    value = curve(knots, torch.tensor([[at]]))[0].item()
    assert min(low[1], high[1]) - 0.02 <= value <= max(low[1], high[1]) + 0.02


def test_bodies_do_not_depend_on_their_batch() -> None:
    people, bones = crowd(), posed(crowd(), seed=12)
    whole = body(people, bones)
    for rows in ([0], [5], [23], [3, 17], list(range(7, 20))):
        some = body([people[row] for row in rows], Skeleton(*(values[rows] for values in vars(bones).values())))
        for name in ("vertices", "normals", "surface", "open", "shown"):
            assert torch.equal(getattr(some, name), getattr(whole, name)[rows]), (name, rows)
        assert torch.equal(some.faces, whole.faces)


def test_turning_a_person_turns_the_mesh() -> None:
    people, bones = crowd()[:4], posed(crowd()[:4], seed=13)
    quarter = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    spun = Skeleton(
        *(values @ quarter.T if values.shape[-2:] != (3, 3) else quarter @ values for values in vars(bones).values())
    )
    mesh = turned(body(people, bones), torch.full((4,), math.pi / 2), torch.zeros(4, 3))
    assert torch.allclose(mesh.vertices, body(people, spun).vertices, atol=2e-4)
