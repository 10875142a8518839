"""Skeletons: bones of constant length, feet on the ground, joints that bend as ours do."""

import math

import pytest
import torch
from torch import Tensor

from halfseen.ops.groupings import JOINTS
from halfseen.world.bodies.poses import POINTS, Activity, Skeleton, skeleton
from halfseen.world.people import (
    Bottom,
    Build,
    Carried,
    Carry,
    Cloth,
    HairStyle,
    Head,
    Headwear,
    Lower,
    Outer,
    Pattern,
    Person,
    Shoes,
    Top,
    Upper,
)

GREY = (0.5, 0.5, 0.5)
CLOTH = Cloth(Pattern.PLAIN, (GREY, GREY, GREY))
AVERAGE = Build(1.75, girth=1, shoulders=1, hips=1, legs=1, belly=0.1, bust=0, age=0.1, skin=GREY)
STOUT = Build(1.6, girth=1.35, shoulders=0.9, hips=1.14, legs=0.97, belly=1, bust=1, age=1, skin=GREY)
LANKY = Build(1.95, girth=0.85, shoulders=1.14, hips=0.88, legs=1.03, belly=0, bust=0, age=0, skin=GREY)
BUILDS = (AVERAGE, STOUT, LANKY)
BONES = (
    ("pelvis", "waist"), ("waist", "chest"), ("chest", "neck"), ("neck", "head"), ("head", "crown"),
    *((f"{side}_{a}", f"{side}_{b}")
      for side in ("left", "right")
      for a, b in (("shoulder", "elbow"), ("elbow", "wrist"), ("wrist", "hand"), ("hip", "knee"), ("knee", "ankle"),
                   ("ankle", "toe"))),
    ("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"), ("pelvis", "left_hip"), ("chest", "right_shoulder"),
)  # fmt: skip


def somebody(build: Build = AVERAGE, carry: Carry = Carry.NONE, *, on_left: bool = True) -> Person:
    return Person(
        build,
        Head(HairStyle.SHORT, CLOTH, Headwear.NONE, CLOTH, eyes=0.5, brows=0.5, beard=0.5, jaw=0.5, glasses=False),
        Upper(Top.TSHIRT, CLOTH, CLOTH, 0.3, 0.5, 0.5, Outer.NONE, CLOTH, CLOTH),
        Lower(Bottom.JEANS, CLOTH, 1, 0.3),
        Shoes(CLOTH, GREY, 0),
        Carried(carry, CLOTH, GREY, 1, on_left),
    )


def moments(count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Activities, phases and styles, all kinds of them."""
    chance = torch.Generator().manual_seed(seed)
    activity = torch.arange(count) % len(Activity)
    return activity, torch.rand(count, generator=chance), torch.rand(count, 8, generator=chance)


def length(poses: Skeleton, start: str, end: str) -> Tensor:
    return (poses.point(end) - poses.point(start)).square().sum(1).sqrt()


def angle(poses: Skeleton, start: str, middle: str, end: str) -> Tensor:
    """Degrees between two bones in line."""
    first, second = poses.point(middle) - poses.point(start), poses.point(end) - poses.point(middle)
    return torch.rad2deg(torch.acos(torch.cosine_similarity(first, second, dim=1).clamp(-1, 1)))


def soles(poses: Skeleton, person: int, side: str) -> list[float]:
    """How high heel, ball and toe of a shoe lie, from the slope of the line between ankle and toe."""
    ankle, toe = (poses.point(f"{side}_{name}")[person].tolist() for name in ("ankle", "toe"))
    height = float(length(poses, "left_shoulder", "left_elbow")[person]) / 0.172
    level = math.atan2(-0.025, 0.115)  # a level foot's toe lies 2 % of the height over the ground, its ankle 4.5 %
    slope = math.atan2(toe[1] - ankle[1], math.hypot(toe[0] - ankle[0], toe[2] - ankle[2])) - level
    ends = [ankle[1] + height * (z * math.sin(slope) - 0.045 * math.cos(slope)) for z in (-0.035, 0.075)]
    return [*ends, toe[1] - 0.02 * height]


@pytest.mark.parametrize("build", BUILDS)
def test_bones_keep_their_length(build: Build) -> None:
    poses = skeleton([somebody(build)] * 120, *moments(120))
    for start, end in BONES:
        lengths = length(poses, start, end)
        assert lengths.max() - lengths.min() < 1e-4, (start, end)
        assert lengths.min() > 0.02


def test_proportions_of_somebody_upright() -> None:
    style = torch.full((1, 8), 0.5)
    build = Build(2.0, girth=1, shoulders=1, hips=1, legs=1, belly=0, bust=0, age=0, skin=GREY)
    poses = skeleton([somebody(build)], torch.tensor([Activity.STAND]), torch.zeros(1), style)
    heights = {"crown": 1.0, "head": 0.935, "neck": 0.845, "left_shoulder": 0.815, "left_hip": 0.525, "left_knee": 0.28,
               "left_ankle": 0.045}  # fmt: skip
    for name, share in heights.items():
        assert float(poses.point(name)[0, 1]) == pytest.approx(2 * share, abs=0.012), name
    assert float(length(poses, "left_shoulder", "right_shoulder")[0]) == pytest.approx(0.424, abs=0.02)


def test_everything_scales_with_height() -> None:
    activity, phase, style = moments(24)
    short, tall = (
        skeleton([somebody(Build(h, 1, 1, 1, 1, 0, 0, 0.2, GREY))] * 24, activity, phase, style) for h in (1.5, 1.8)
    )
    torch.testing.assert_close(short.points * 1.2, tall.points, rtol=0, atol=1e-5)
    torch.testing.assert_close(short.joints * 1.2, tall.joints, rtol=0, atol=1e-5)


@pytest.mark.parametrize("build", BUILDS)
def test_feet_stand_on_the_ground(build: Build) -> None:
    activity, phase, style = moments(60)
    poses = skeleton([somebody(build)] * 60, activity, phase, style)
    for person in range(60):
        lowest = [min(soles(poses, person, side)) for side in ("left", "right")]
        assert min(lowest) == pytest.approx(0, abs=1e-3)
        if activity[person] in (Activity.STAND, Activity.ARMS_CROSSED):
            assert max(lowest) == pytest.approx(0, abs=1e-3)  # both
    assert poses.point("pelvis")[:, [0, 2]].abs().max() < 1e-6


def test_both_feet_touch_the_ground_between_two_steps() -> None:
    style = torch.full((3, 8), 0.5)
    style[:, 0] = torch.tensor([0.1, 0.5, 0.9])
    poses = skeleton([somebody()] * 3, torch.zeros(3, dtype=torch.long), torch.full((3,), 0.03), style)
    for person in range(3):
        assert max(min(soles(poses, person, side)) for side in ("left", "right")) < 0.012
    assert (poses.point("left_ankle")[:, 2] - poses.point("right_ankle")[:, 2] > 0.45).all()


def test_a_walk_goes_as_in_the_textbook() -> None:
    style = torch.full((20, 8), 0.5)
    poses = skeleton([somebody()] * 20, torch.zeros(20, dtype=torch.long), torch.arange(20) / 20, style)
    knee = angle(poses, "left_hip", "left_knee", "left_ankle")
    assert 54 < knee.max() < 66
    assert 12 <= int(knee.argmax()) <= 15  # bent most in the swing
    assert 10 < knee[2:5].max() < 22  # and a little as it takes the weight
    assert poses.point("right_wrist")[0, 2] > poses.point("left_wrist")[0, 2] + 0.15  # the left heel comes down
    assert poses.pelvis[0, 0, 2] < 0 < poses.chest[0, 0, 2]  # pelvis and chest turn against each other
    assert poses.point("left_hip")[5, 1] > poses.point("right_hip")[5, 1]  # the left foot bears, and lies below
    assert poses.point("left_ankle")[5, 0] < -poses.point("right_ankle")[5, 0] - 0.02


def test_the_swinging_foot_clears_the_ground() -> None:
    phase = torch.linspace(0.7, 0.9, 20)
    poses = skeleton([somebody()] * 20, torch.zeros(20, dtype=torch.long), phase, torch.full((20, 8), 0.5))
    assert all(min(soles(poses, person, "left")) > 0.005 for person in range(20))


@pytest.mark.parametrize("carry", list(Carry))
def test_mirrored_moments_give_mirrored_people(carry: Carry) -> None:
    activity, phase, style = moments(90)
    poses = skeleton([somebody(STOUT, carry)] * 90, activity, phase, style)
    style[:, [3, 5]] = 1 - style[:, [3, 5]]
    style[:, 7] = (style[:, 7] + 0.5) % 1
    mirrored = skeleton([somebody(STOUT, carry, on_left=False)] * 90, activity, (phase + 0.5) % 1, style)
    swapped = [POINTS.index(_other_side(name)) for name in POINTS]
    flipped = mirrored.points[:, swapped] * torch.tensor([-1, 1, 1])
    torch.testing.assert_close(flipped, poses.points, rtol=0, atol=1e-4)
    joints = mirrored.joints[:, [JOINTS.index(_other_side(name)) for name in JOINTS]] * torch.tensor([-1, 1, 1])
    torch.testing.assert_close(joints, poses.joints, rtol=0, atol=1e-4)


def _other_side(name: str) -> str:
    return name.replace("left", "?").replace("right", "left").replace("?", "right")


@pytest.mark.parametrize("carry", list(Carry))
def test_knees_bend_backwards_only(carry: Carry) -> None:
    poses = skeleton([somebody(build, carry) for build in BUILDS * 100], *moments(300))
    for side in ("left", "right"):
        hip, knee, ankle, toe = (poses.point(f"{side}_{name}") for name in ("hip", "knee", "ankle", "toe"))
        level = torch.nn.functional.normalize((toe - ankle) * torch.tensor([1, 0, 1]), dim=1)
        between = hip + (ankle - hip) * ((knee - hip).norm(dim=1) / (ankle - hip).norm(dim=1))[:, None]
        assert ((knee - between) * level).sum(1).min() > -1e-3
        assert angle(poses, f"{side}_hip", f"{side}_knee", f"{side}_ankle").max() < 75


@pytest.mark.parametrize("carry", list(Carry))
def test_elbows_bend_forwards_only(carry: Carry) -> None:
    poses = skeleton([somebody(build, carry) for build in BUILDS * 100], *moments(300))
    for side, out in (("left", 1), ("right", -1)):
        shoulder, elbow, wrist = (poses.point(f"{side}_{name}") for name in ("shoulder", "elbow", "wrist"))
        upper, lower = (torch.nn.functional.normalize(b, dim=1) for b in (elbow - shoulder, wrist - elbow))
        bend = angle(poses, f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist")
        assert bend.min() > 2
        assert bend.max() < 150
        # Swing the arm from hanging straight to where its upper half is: the chest's front then is where an untwisted
        # forearm goes. An arm twists inwards by 90 degrees, outwards by less.
        down, front = -poses.chest[..., 1], poses.chest[..., 2]
        axis = torch.linalg.cross(down, upper)
        ahead = front + torch.linalg.cross(axis, front)
        ahead = ahead + torch.linalg.cross(axis, torch.linalg.cross(axis, front)) / (1 + (down * upper).sum(1))[:, None]
        aside = torch.linalg.cross(upper, ahead)  # of a hanging arm: to the right
        inwards = torch.rad2deg(torch.atan2((lower * aside).sum(1) * out, (lower * ahead).sum(1)))
        assert inwards.max() < 110
        assert inwards.min() > -60


def test_joints_are_those_of_coco_on_their_sides() -> None:
    poses = skeleton([somebody()] * 30, torch.full((30,), Activity.STAND), *moments(30)[1:])
    assert poses.joints.shape == (30, len(JOINTS), 3)
    for number, name in enumerate(JOINTS):
        if name != "nose":
            across = poses.joints[:, number, 0] * (1 if name.startswith("left") else -1)
            # a head looks aside, but not that far
            assert across.min() > (-0.02 if name[-3:] in ("eye", "ear") else 0.03), name
    for name in ("shoulder", "elbow", "wrist", "knee", "ankle"):
        for side in ("left", "right"):
            assert torch.equal(poses.joints[:, JOINTS.index(f"{side}_{name}")], poses.point(f"{side}_{name}"))
    hips = poses.joints[:, JOINTS.index("left_hip")] - poses.point("left_hip")
    assert hips.norm(dim=1).max() < 0.05
    seen = (poses.joints[:, :5] - poses.point("head")[:, None]) @ poses.head  # nose, eyes and ears from within the head
    assert (seen[:, 0, 2] > seen[:, 1, 2]).all()
    assert (seen[:, 1, 2] > seen[:, 3, 2] + 0.05).all()
    assert (seen[:, 1, 1] > seen[:, 0, 1]).all()


def test_frames_are_rotations_that_look_ahead() -> None:
    poses = skeleton([somebody()] * 60, *moments(60))
    for frame in (poses.pelvis, poses.chest, poses.head):
        torch.testing.assert_close(frame @ frame.mT, torch.eye(3).expand(60, 3, 3), rtol=0, atol=1e-5)
        assert torch.linalg.det(frame).min() > 0.99
        assert frame[:, 1, 1].min() > 0.8  # up
        assert frame[:, 2, 2].min() > 0.35  # ahead


def test_who_turns_looks_aside() -> None:
    phase, style = moments(40)[1:]
    poses = skeleton([somebody()] * 40, torch.full((40,), Activity.TURN), phase, style)
    turns = torch.rad2deg(torch.atan2(poses.head[:, 0, 2], poses.head[:, 2, 2]))
    assert (turns.abs() > 20).all()
    assert (turns.sign() == (style[:, 5] - 0.5).sign()).all()
    assert turns.abs().max() < 62


def test_what_is_carried_has_its_arm() -> None:
    activity, phase, style = moments(60)
    for on_left, side in ((True, "left"), (False, "right")):
        wrists = {}
        for carry in (Carry.HANDBAG, Carry.SUITCASE, Carry.UMBRELLA):
            poses = skeleton([somebody(AVERAGE, carry, on_left=on_left)] * 60, activity, phase, style)
            wrists[carry] = poses.point(f"{side}_wrist") - poses.point("chest")
            bend = angle(poses, f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist")
            assert (bend > 80).all() if carry == Carry.UMBRELLA else (bend < 12).all()
        assert wrists[Carry.HANDBAG][:, 1].max() < -0.25
        assert (wrists[Carry.SUITCASE][:, 2] < wrists[Carry.HANDBAG][:, 2] - 0.05).all()
        assert wrists[Carry.UMBRELLA][:, 1].min() > -0.1
        assert wrists[Carry.UMBRELLA][:, 2].min() > 0.1


def test_a_phone_is_in_the_free_hand() -> None:
    phase, style = moments(40)[1:]
    poses = skeleton([somebody(AVERAGE, Carry.HANDBAG)] * 40, torch.full((40,), Activity.PHONE), phase, style)
    assert (poses.point("right_hand")[:, 1] > poses.point("chest")[:, 1]).all()


def test_age_stoops_and_shortens_steps() -> None:
    young, old = (Build(1.75, 1, 1, 1, 1, 0, 0, age, GREY) for age in (0.0, 1.0))
    walk, phase, style = torch.zeros(2, dtype=torch.long), torch.zeros(2), torch.full((2, 8), 0.5)
    poses = skeleton([somebody(young), somebody(old)], walk, phase, style)
    steps = poses.point("left_ankle")[:, 2] - poses.point("right_ankle")[:, 2]
    assert steps[1] < 0.8 * steps[0]
    crown = skeleton([somebody(young), somebody(old)], walk + Activity.STAND, phase, style).point("crown")
    assert crown[1, 1] < crown[0, 1] - 0.04
    assert crown[1, 2] > crown[0, 2] + 0.08


@pytest.mark.parametrize("count", [1, 2, 7, 17])
def test_a_batch_changes_no_bit(count: int) -> None:
    people = [somebody(BUILDS[n % 3], Carry(n % 6)) for n in range(68)]
    activity, phase, style = moments(68)
    together = skeleton(people, activity, phase, style)
    for start in range(0, 68 - count, 13):
        some = slice(start, start + count)
        alone = skeleton(people[some], activity[some], phase[some], style[some])
        for name in ("points", "pelvis", "chest", "head", "joints"):
            assert torch.equal(getattr(alone, name), getattr(together, name)[some]), name


def test_the_ends_of_all_ranges_are_finite() -> None:
    corners = torch.tensor([[0.0] * 8, [1.0] * 8, [0.5] * 8])
    for activity in Activity:
        for phase in (0.0, 1.0):
            kind, when = torch.full((3,), activity), torch.full((3,), phase)
            poses = skeleton([somebody(build) for build in BUILDS], kind, when, corners)
            assert poses.points.isfinite().all()
            assert poses.joints.isfinite().all()
            assert poses.points[..., 1].min() > 0


def test_nobody_has_no_skeleton() -> None:
    poses = skeleton([], torch.zeros(0, dtype=torch.long), torch.zeros(0), torch.zeros(0, 8))
    assert poses.points.shape == (0, len(POINTS), 3)
    assert poses.joints.shape == (0, len(JOINTS), 3)
