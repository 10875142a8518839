"""The tables: checked against names written out here and against each other."""

from __future__ import annotations

from collections import Counter

import pytest

from halfseen.ops.groupings import (
    FIELDS,
    FLIPPED_FIELDS,
    FLIPPED_JOINTS,
    GROUPING_OF,
    GROUPINGS,
    JOINTS,
    KEYPOINT_GROUPS,
    LIMBS,
    flipped,
    flipped_parts,
)

# METHODS §0.5, word by word.
PAF_ORDER = (
    "l-ankle–l-knee, l-knee–l-hip, r-ankle–r-knee, r-knee–r-hip, l-hip–r-hip, l-shoulder–l-hip, r-shoulder–r-hip, "
    "l-shoulder–r-shoulder, l-shoulder–l-elbow, r-shoulder–r-elbow, l-elbow–l-wrist, r-elbow–r-wrist, l-eye–r-eye, "
    "nose–l-eye, nose–r-eye, l-eye–l-ear, r-eye–r-ear, l-ear–l-shoulder, r-ear–r-shoulder"
)
HIP_TO_HIP = FIELDS.index("left_hip-right_hip")


def members(grouping: str, part: str) -> set[str]:
    return {FIELDS[field] for field in dict(GROUPINGS[grouping])[part]}


def test_limbs_stand_in_the_order_of_the_released_fields() -> None:
    spelled = PAF_ORDER.replace("l-", "left_").replace("r-", "right_").replace("–", "-").split(", ")
    assert list(FIELDS[17:]) == spelled
    assert [f"{JOINTS[a]}-{JOINTS[b]}" for a, b in LIMBS] == spelled
    assert FIELDS[:17] == JOINTS


def test_C12_eight_uses_every_field_and_hip_to_hip_twice() -> None:
    uses = Counter(field for _, fields in GROUPINGS["eight"] for field in fields)
    assert set(uses) == set(range(36))
    assert [field for field, times in uses.items() if times > 1] == [HIP_TO_HIP]
    owners = {name for name, fields in GROUPINGS["eight"] if HIP_TO_HIP in fields}
    assert owners == {"torso", "left_leg"}


def test_eight_holds_the_members_of_the_table() -> None:
    face = {"nose", "left_eye", "right_eye", "left_ear", "right_ear"}
    assert members("eight", "head") == face | set(FIELDS[29:])
    for side in ("left", "right"):
        arm = {f"{side}_{joint}" for joint in ("shoulder", "elbow", "wrist")}
        arm |= {f"{side}_shoulder-{side}_elbow", f"{side}_elbow-{side}_wrist"}
        assert members("eight", f"{side}_arm") == arm
        leg = {f"{side}_knee", f"{side}_ankle-{side}_knee", f"{side}_knee-{side}_hip"}
        assert members("eight", f"{side}_leg") - {"left_hip-right_hip"} == leg
        assert members("eight", f"{side}_foot") == {f"{side}_ankle"}
    torso = {"left_hip", "right_hip", "left_hip-right_hip", "left_shoulder-right_shoulder"}
    torso |= {"left_shoulder-left_hip", "right_shoulder-right_hip"}
    assert members("eight", "torso") == torso


def test_six_and_five_and_three_are_eight_with_sides_joined() -> None:
    eight = {name: set(fields) for name, fields in GROUPINGS["eight"]}
    arms, legs = eight["left_arm"] | eight["right_arm"], eight["left_leg"] | eight["right_leg"]
    feet, torso = eight["left_foot"] | eight["right_foot"], eight["torso"]
    names = [name for name, _ in GROUPINGS["six"]]
    assert names == ["head", "torso", "left_arm", "right_arm", "legs", "feet"]
    six = {"legs": legs, "feet": feet} | {name: eight[name] for name in names[:4]}
    assert {name: set(fields) for name, fields in GROUPINGS["six"]} == six
    five = {"head": eight["head"], "arms": arms, "torso": torso, "legs": legs, "feet": feet}
    assert {name: set(fields) for name, fields in GROUPINGS["five"]} == five
    three = {"head": eight["head"], "upper": arms | torso, "lower": legs | feet}
    assert {name: set(fields) for name, fields in GROUPINGS["three"]} == three


def test_five_v_cuts_the_body_from_top_to_bottom() -> None:
    assert [name for name, _ in GROUPINGS["five_v"]] == ["head", "upper", "lower", "legs", "feet"]
    upper = {f"{side}_{joint}" for side in ("left", "right") for joint in ("shoulder", "elbow")}
    upper |= {"left_shoulder-left_elbow", "right_shoulder-right_elbow", "left_shoulder-right_shoulder"}
    assert members("five_v", "upper") == upper
    lower = {f"{side}_{joint}" for side in ("left", "right") for joint in ("wrist", "hip")}
    lower |= {"left_elbow-left_wrist", "right_elbow-right_wrist", "right_shoulder-right_hip"}
    assert members("five_v", "lower") == lower
    assert members("five_v", "legs") >= {"left_hip", "right_hip", "left_knee", "right_knee", *FIELDS[17:21]}
    assert members("five_v", "feet") == {"left_ankle", "right_ankle"}


@pytest.mark.parametrize("name", ["one", "two", "four", "seven"])
def test_our_own_groupings_give_each_field_to_exactly_one_part(name: str) -> None:
    assert sorted(field for _, fields in GROUPINGS[name] for field in fields) == list(range(36))


@pytest.mark.parametrize("count", range(1, 9))
def test_each_number_of_parts_has_a_grouping(count: int) -> None:
    assert len(GROUPINGS[GROUPING_OF[count]]) == count


def test_K7_the_eight_groups_of_joints_are_a_partition() -> None:
    groups = KEYPOINT_GROUPS["pgfl_kd"]
    assert sorted(joint for _, joints in groups for joint in joints) == list(range(17))
    assert sorted((len(joints) for _, joints in groups), reverse=True) == [5, 4, 2, 2, 1, 1, 1, 1]
    assert flipped_parts(groups) == (0, 2, 1, 4, 3, 6, 5, 7)


def test_P5_keypoint_5_in_two_groups() -> None:
    groups = KEYPOINT_GROUPS["pirt"]
    assert [name for name, joints in groups if 5 in joints] == ["upper", "head"]
    assert Counter(joint for _, joints in groups for joint in joints) == Counter([*range(17), 5])
    assert flipped_parts(groups) == (0, 1, 2)


def test_mirror_images_swap_left_and_right() -> None:
    assert FLIPPED_JOINTS == (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
    assert FLIPPED_FIELDS[17:] == (19, 20, 17, 18, 21, 23, 22, 24, 26, 25, 28, 27, 29, 31, 30, 33, 32, 35, 34)
    assert [FLIPPED_FIELDS[field] for field in FLIPPED_FIELDS] == list(range(36))
    assert flipped(["torso", "left_upper_arm", "right_upper_arm"]) == (0, 2, 1)


@pytest.mark.parametrize("name", GROUPINGS)
def test_mirrored_fields_make_the_mirrored_parts(name: str) -> None:
    grouping, swapped = GROUPINGS[name], flipped_parts(GROUPINGS[name])
    assert [swapped[part] for part in swapped] == list(range(len(grouping)))
    one_sided = {HIP_TO_HIP, FIELDS.index("left_shoulder-left_hip"), FIELDS.index("right_shoulder-right_hip")}
    allowed = one_sided if name in ("eight", "five_v") else set()  # the papers' own oddities
    for (_, fields), other in zip(grouping, swapped, strict=True):
        mirrored = {FLIPPED_FIELDS[field] for field in fields}
        assert mirrored ^ set(grouping[other][1]) <= allowed
