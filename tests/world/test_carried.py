"""Things carried: worn where they belong, on the cloth and not in it, held by the hand that carries them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from halfseen.world.bodies.body import body
from halfseen.world.bodies.poses import Activity, Skeleton, skeleton
from halfseen.world.light.fabrics import materials
from halfseen.world.objects.carried import carried
from halfseen.world.people import Carried, Carry, Outer, Person
from halfseen.world.shapes import PART, SLOT, SLOTS, Mesh
from halfseen.world.wardrobe import draw_people

KINDS = [kind for kind in Carry if kind is not Carry.NONE]
PEOPLE = draw_people(40, seed=3)


def carrying(kind: Carry, who: Sequence[Person] = PEOPLE, *, size: float = 1.0, left: bool = True) -> list[Person]:
    return [replace(person, carried=replace(person.carried, kind=kind, size=size, on_left=left)) for person in who]


def pose(people: Sequence[Person], activity: Activity = Activity.WALK, seed: int = 0) -> Skeleton:
    chance = torch.rand(len(people), 9, generator=torch.Generator().manual_seed(seed))
    return skeleton(people, torch.full((len(people),), int(activity)), chance[:, 8], chance[:, :8])


def points(mesh: Mesh, row: int, *slots: str) -> Tensor:
    """The corners [K,3] of the faces of `slots` (all if none is named) that image `row` shows."""
    of_slots = [mesh.slot == SLOT[name] for name in slots or SLOTS]
    return mesh.vertices[row, mesh.faces[mesh.shown[row] & torch.stack(of_slots).any(0)].flatten()]


def test_each_kind_shows_faces_of_its_own() -> None:
    people = [carrying(kind, PEOPLE[:1])[0] for kind in Carry]
    mesh = carried(people, pose(people))
    counts = mesh.shown.sum(1)
    assert counts[Carry.NONE] == 0
    assert (counts[1:] > 100).all()
    assert (counts <= 480).all()
    assert mesh.shown.long().sum(0).max() == 1
    assert mesh.shown.any(0).all()


def test_it_is_all_labelled_carried() -> None:
    people = carrying(Carry.BACKPACK, PEOPLE[:2])
    mesh = carried(people, pose(people))
    assert (mesh.part == PART["carried"]).all()
    assert {SLOTS[slot] for slot in mesh.slot.tolist()} == {"bag", "bag_trim", "umbrella", "metal"}


@pytest.mark.parametrize("kind", [Carry.BACKPACK, Carry.SHOULDER_BAG])
def test_straps_lie_on_the_cloth(kind: Carry) -> None:
    people = carrying(kind)
    bones = pose(people)
    straps, bodies = carried(people, bones), body(people, bones)
    torso = bodies.part == PART["torso"]
    for row in range(len(people)):
        seen = bodies.faces[torso & bodies.shown[row]].flatten()
        cloth, normals = bodies.vertices[row, seen], bodies.normals[row, seen]
        low, high = bones.point("waist")[row, 1] + 0.1, bones.point("neck")[row, 1] - 0.06
        strap = points(straps, row, "bag_trim")
        chest = (strap - bones.point("chest")[row]) @ bones.chest[row]
        strap = strap[(strap[:, 1] > low) & (strap[:, 1] < high) & (chest[:, 2] > 0)]
        assert len(strap) > 20
        away = strap[:, None] - cloth
        nearest = away.norm(dim=-1).argmin(1)
        height = (away[torch.arange(len(strap)), nearest] * normals[nearest]).sum(-1)
        assert height.min() > -0.012, people[row].upper.outer
        assert height.max() < 0.045, people[row].upper.outer


def test_backpacks_have_a_strap_on_either_side_of_the_chest() -> None:
    people = carrying(Carry.BACKPACK)
    bones = pose(people)
    mesh = carried(people, bones)
    for row in range(len(people)):
        strap = (points(mesh, row, "bag_trim") - bones.point("chest")[row]) @ bones.chest[row]
        front = strap[strap[:, 2] > 0.05]
        assert (front[:, 0] > 0.05).sum() > 10
        assert (front[:, 0] < -0.05).sum() > 10
        assert (front[:, 0].abs() > 0.02).all()


@pytest.mark.parametrize("activity", [Activity.WALK, Activity.TURN, Activity.PHONE])
def test_backpacks_follow_the_chest(activity: Activity) -> None:
    people = carrying(Carry.BACKPACK)
    bones = pose(people, activity)
    mesh = carried(people, bones)
    for row in range(len(people)):
        pack = (points(mesh, row, "bag") - bones.point("chest")[row]) @ bones.chest[row]
        low, high = pack.amin(0), pack.amax(0)
        assert abs(float(low[0] + high[0])) < 0.06  # in the middle, however the chest is turned
        assert 0.25 < high[0] - low[0] < 0.32
        assert high[2] < -0.04  # behind the middle of the chest
        assert -0.36 < low[2] < -0.2


def test_shoulder_bags_hang_at_one_hip_from_the_other_shoulder() -> None:
    for left in (True, False):
        people = carrying(Carry.SHOULDER_BAG, left=left)
        bones = pose(people, Activity.STAND)
        mesh = carried(people, bones)
        own = 1 if left else -1
        for row in range(len(people)):
            bag = (points(mesh, row, "bag") - bones.point("pelvis")[row]) @ bones.pelvis[row]
            strap = (points(mesh, row, "bag_trim") - bones.point("neck")[row]) @ bones.chest[row]
            assert bag[:, 0].mean() * own > 0.1
            assert abs(float(bag[:, 1].mean())) < 0.15
            assert strap[strap[:, 1].argmax(), 0] * own < -0.05


@pytest.mark.parametrize("kind", [Carry.HANDBAG, Carry.UMBRELLA, Carry.SUITCASE])
@pytest.mark.parametrize("left", [True, False])
def test_what_is_held_is_in_the_hand(kind: Carry, left: bool) -> None:
    people = carrying(kind, left=left)
    bones = pose(people)
    mesh = carried(people, bones)
    side = "left" if left else "right"
    for row in range(len(people)):
        hand = (bones.point(f"{side}_wrist")[row] + bones.point(f"{side}_hand")[row]) / 2
        assert (points(mesh, row) - hand).norm(dim=-1).min() < 0.07


def test_handbags_hang_between_hand_and_floor() -> None:
    people = carrying(Carry.HANDBAG, size=1.2)
    bones = pose(people)
    mesh = carried(people, bones)
    for row in range(len(people)):
        bag = points(mesh, row, "bag")
        assert bag[:, 1].max() < bones.point("left_wrist")[row, 1]
        assert bag[:, 1].min() > 0.1


def test_umbrellas_are_over_the_head_and_seen_from_below() -> None:
    people = carrying(Carry.UMBRELLA)
    bones = pose(people)
    mesh = carried(people, bones)
    assert mesh.two_sided[mesh.slot == SLOT["umbrella"]].all()
    assert (mesh.slot == SLOT["umbrella"]).sum() >= 8 * 7
    for row in range(len(people)):
        canopy, crown = points(mesh, row, "umbrella"), bones.point("crown")[row]
        assert canopy[:, 1].max() > crown[1] + 0.1
        for axis in (0, 2):
            assert canopy[:, axis].min() < crown[axis] - 0.05
            assert canopy[:, axis].max() > crown[axis] + 0.05


def test_suitcases_roll_behind_on_the_floor() -> None:
    for size in (0.8, 1.2):
        people = carrying(Carry.SUITCASE, size=size)
        bones = pose(people)
        mesh = carried(people, bones)
        for row in range(len(people)):
            everything = points(mesh, row)
            assert abs(float(everything[:, 1].min())) < 0.01
            assert points(mesh, row, "bag")[:, 2].max() < bones.point("left_hand")[row, 2] + 0.05


def test_size_scales() -> None:
    small, large = (carrying(Carry.UMBRELLA, PEOPLE[:1], size=size) for size in (0.8, 1.2))
    bones = pose(small)
    widths = []
    for people in (small, large):
        canopy = points(carried(people, bones), 0, "umbrella")
        widths.append(float(canopy[:, 0].max() - canopy[:, 0].min()))
    assert widths[1] / widths[0] == pytest.approx(1.5, rel=0.01)


def test_an_image_does_not_depend_on_its_batch() -> None:
    people = [carrying(KINDS[row % 5], PEOPLE[row : row + 1])[0] for row in range(len(PEOPLE))]
    bones = pose(people)
    together = carried(people, bones)
    for row in range(0, len(people), 3):
        alone = carried(people[row : row + 1], Skeleton(**{name: v[row : row + 1] for name, v in vars(bones).items()}))
        for name in ("vertices", "normals", "surface", "open", "shown"):
            assert torch.equal(getattr(together, name)[row], getattr(alone, name)[0]), (people[row].carried.kind, name)


@settings(deadline=None, max_examples=25)
@given(
    kind=st.sampled_from(KINDS),
    person=st.sampled_from(PEOPLE),
    outer=st.sampled_from(Outer),
    activity=st.sampled_from(Activity),
    seed=st.integers(0, 1000),
    size=st.floats(0.8, 1.2),
)
def test_any_person_in_any_pose_is_sound(
    kind: Carry, person: Person, outer: Outer, activity: Activity, seed: int, size: float
) -> None:
    dressed = replace(person, upper=replace(person.upper, outer=outer))
    people = [replace(dressed, carried=Carried(kind, person.upper.cloth, (0.1, 0.1, 0.1), size, seed % 2 == 0))]
    mesh = carried(people, pose(people, activity, seed))
    used = mesh.faces[mesh.shown[0]].flatten()
    for values in (mesh.vertices, mesh.normals, mesh.surface, mesh.open):
        assert values.isfinite().all()
    assert (mesh.normals[0, used].norm(dim=-1) - 1).abs().max() < 1e-3
    assert mesh.vertices[0, used, 1].min() > -0.02


def test_straps_are_nearly_of_the_colour_of_what_hangs_on_them() -> None:
    for kind, share in {Carry.BACKPACK: 0.25, Carry.SHOULDER_BAG: 0.25, Carry.HANDBAG: 1.0}.items():
        (one,) = carrying(kind, PEOPLE[:1])
        bag, trim = (torch.tensor(colour) for colour in (one.carried.cloth.colours[0], one.carried.trim))
        strap = materials([one]).colours[0, SLOT["bag_trim"], 0]
        assert torch.allclose(strap, bag + share * (trim - bag), atol=1e-5)
