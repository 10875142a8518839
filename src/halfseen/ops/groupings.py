"""The tables: 17 joints, 19 limbs, and how these 36 fields are grouped into body parts.

Field 0–16 is a joint in COCO's order, field 17–35 a limb in the order of BPBreID's confidence fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TypeAlias

from halfseen.types import InputError

# The parts in the order of their channels: a name, and the fields (or joints) that make it up.
Grouping: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]

JOINTS = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)

LIMBS = (
    (15, 13),  # 17: left ankle, left knee
    (13, 11),  # 18: left knee, left hip
    (16, 14),  # 19: right ankle, right knee
    (14, 12),  # 20: right knee, right hip
    (11, 12),  # 21: left hip, right hip
    (5, 11),  # 22: left shoulder, left hip
    (6, 12),  # 23: right shoulder, right hip
    (5, 6),  # 24: left shoulder, right shoulder
    (5, 7),  # 25: left shoulder, left elbow
    (6, 8),  # 26: right shoulder, right elbow
    (7, 9),  # 27: left elbow, left wrist
    (8, 10),  # 28: right elbow, right wrist
    (1, 2),  # 29: left eye, right eye
    (0, 1),  # 30: nose, left eye
    (0, 2),  # 31: nose, right eye
    (1, 3),  # 32: left eye, left ear
    (2, 4),  # 33: right eye, right ear
    (3, 5),  # 34: left ear, left shoulder
    (4, 6),  # 35: right ear, right shoulder
)

FIELDS = JOINTS + tuple(f"{JOINTS[a]}-{JOINTS[b]}" for a, b in LIMBS)


def flipped(names: Sequence[str]) -> tuple[int, ...]:
    """Which of `names` stands in each place of the mirror image: `left_` and `right_` change places."""
    other_side = {"left": "right", "right": "left"}
    mirrored = ["_".join(other_side.get(word, word) for word in name.split("_")) for name in names]
    return tuple(names.index(name) for name in mirrored)


def flipped_parts(grouping: Grouping) -> tuple[int, ...]:
    """Which part stands in each place of the mirror image."""
    return flipped([name for name, _ in grouping])


def _flipped_limbs() -> tuple[int, ...]:
    where = {frozenset(limb): place for place, limb in enumerate(LIMBS)}  # a limb has no direction
    return tuple(where[frozenset(FLIPPED_JOINTS[joint] for joint in limb)] for limb in LIMBS)


FLIPPED_JOINTS = flipped(JOINTS)
FLIPPED_FIELDS = FLIPPED_JOINTS + tuple(len(JOINTS) + place for place in _flipped_limbs())

_HEAD = (0, 1, 2, 3, 4, 29, 30, 31, 32, 33, 34, 35)
_LEFT_ARM, _RIGHT_ARM = (5, 7, 9, 25, 27), (6, 8, 10, 26, 28)
_ARMS = _LEFT_ARM + _RIGHT_ARM
_TORSO = (11, 12, 21, 22, 23, 24)
_LEFT_LEG, _RIGHT_LEG = (13, 17, 18), (14, 19, 20)
_LEGS = _LEFT_LEG + _RIGHT_LEG
_FEET = (15, 16)
_PELVIS = (21,)  # hip–hip; some of the papers' groupings count it to the torso and to the legs

# `eight`, `six` and `five_v` are BPBreID's, `five` and `three` TSD's, odd members included (in `eight` only the left
# leg holds hip–hip; in `five_v` hip–hip and the left side of the torso belong to nothing and the hips to two parts).
# `one`, `two`, `four` and `seven` are ours: every field belongs to exactly one part, and a mirror image changes nothing
# but the places of left and right.
GROUPINGS: dict[str, Grouping] = {
    "one": (("body", tuple(range(36))),),
    "two": (("upper", _HEAD + _ARMS + _TORSO), ("lower", _LEGS + _FEET)),
    "three": (("head", _HEAD), ("upper", _ARMS + _TORSO), ("lower", _LEGS + _PELVIS + _FEET)),
    "four": (("head", _HEAD), ("arms", _ARMS), ("torso", _TORSO), ("legs", _LEGS + _FEET)),
    "five": (("head", _HEAD), ("arms", _ARMS), ("torso", _TORSO), ("legs", _LEGS + _PELVIS), ("feet", _FEET)),
    "five_v": (
        ("head", _HEAD),
        ("upper", (5, 6, 7, 8, 24, 25, 26)),
        ("lower", (9, 10, 11, 12, 23, 27, 28)),
        ("legs", (11, 12, *_LEGS)),
        ("feet", _FEET),
    ),
    "six": (
        ("head", _HEAD),
        ("torso", _TORSO),
        ("left_arm", _LEFT_ARM),
        ("right_arm", _RIGHT_ARM),
        ("legs", _LEGS + _PELVIS),
        ("feet", _FEET),
    ),
    "seven": (
        ("head", _HEAD),
        ("left_arm", _LEFT_ARM),
        ("right_arm", _RIGHT_ARM),
        ("torso", _TORSO),
        ("left_leg", _LEFT_LEG),
        ("right_leg", _RIGHT_LEG),
        ("feet", _FEET),
    ),
    "eight": (
        ("head", _HEAD),
        ("left_arm", _LEFT_ARM),
        ("right_arm", _RIGHT_ARM),
        ("torso", _TORSO),
        ("left_leg", _LEFT_LEG + _PELVIS),
        ("right_leg", _RIGHT_LEG),
        ("left_foot", (15,)),
        ("right_foot", (16,)),
    ),
}

# The grouping that is meant where only a number of parts is given. Five means TSD's, which covers the whole torso.
GROUPING_OF: dict[int, str] = {
    1: "one",
    2: "two",
    3: "three",
    4: "four",
    5: "five",
    6: "six",
    7: "seven",
    8: "eight",
}


def grouping_named(parts: int | str) -> str:
    """The name of the grouping that has so many parts, or is called so."""
    name = GROUPING_OF.get(parts, "") if isinstance(parts, int) else parts
    if name not in GROUPINGS:
        raise InputError(
            f"no grouping has or is called {parts!r}; give a number of parts from {min(GROUPING_OF)} to "
            f"{max(GROUPING_OF)}, or one of {', '.join(GROUPINGS)}"
        )
    return name


@cache
def eight_in(grouping: str) -> tuple[int, ...]:
    """The number 1..K that each part of `eight` has in `grouping`: that of the part it shares the most fields with."""
    shared = [[len({*eighth} & {*part}) for _, part in GROUPINGS[grouping]] for _, eighth in GROUPINGS["eight"]]
    return tuple(1 + counts.index(max(counts)) for counts in shared)


# Groups of joints. PGFL-KD's eight part the 17; Pirt's three share the left shoulder (5), as its released
# configuration has it, so that its mirror image is not exact.
KEYPOINT_GROUPS: dict[str, Grouping] = {
    "pgfl_kd": (
        ("head", (0, 1, 2, 3, 4)),
        ("left_lower_arm", (7, 9)),
        ("right_lower_arm", (8, 10)),
        ("left_knee", (13,)),
        ("right_knee", (14,)),
        ("left_ankle", (15,)),
        ("right_ankle", (16,)),
        ("torso", (5, 6, 11, 12)),
    ),
    "pirt": (
        ("upper", (5, 7, 9, 6, 8, 10)),
        ("lower", (11, 13, 15, 12, 14, 16)),
        ("head", (0, 1, 2, 3, 4, 5)),
    ),
}
