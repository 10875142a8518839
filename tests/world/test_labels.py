"""Labels of small pictures drawn by hand, against loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from halfseen.ops.groupings import JOINTS
from halfseen.world.labels import (
    COVERED,
    OWN,
    SEEN,
    covered_share,
    is_body,
    joint_states,
    mode_of_four,
    mostly,
    seen_boxes,
    whole_boxes,
)
from halfseen.world.shapes import PART, join, loft

ELBOW, NOSE = JOINTS.index("left_elbow"), JOINTS.index("nose")


@given(st.lists(st.integers(0, 3), min_size=4, max_size=4))
@settings(deadline=None, max_examples=100)
def test_mode_of_four(four: list[int]) -> None:
    found = int(mode_of_four(torch.tensor(four).reshape(1, 2, 2))[0, 0, 0])
    most = max(four.count(label) for label in four)
    assert found == min(label for label in four if four.count(label) == most)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=4, max_size=4))
@settings(deadline=None, max_examples=100)
def test_mostly(four: list[tuple[bool, bool]]) -> None:
    holds, of = (torch.tensor(values).reshape(1, 2, 2) for values in zip(*four, strict=True))
    counted = [hold for hold, belongs in four if belongs]
    assert bool(mostly(holds, of)[0, 0, 0]) == (2 * sum(counted) >= len(counted))


def test_what_is_carried_is_no_body() -> None:
    assert is_body(torch.tensor([0, 1, 8, PART["carried"]])).tolist() == [False, True, True, False]


def test_covered_share() -> None:
    alone = torch.tensor([[[1, 1, 4, 9], [0, 4, 4, 9]]])
    together = torch.tensor([[[1, 0, 4, 0], [0, 0, 0, 9]]])
    assert covered_share(alone, together).tolist() == pytest.approx([3 / 5])
    assert covered_share(torch.zeros_like(alone), together).tolist() == [0]


def test_seen_boxes() -> None:
    labels = torch.zeros(3, 6, 8, dtype=torch.int64)
    labels[0, 2:5, 1:4] = 4
    labels[1, 5, 7] = 1
    labels[0, 0, 7] = PART["carried"]
    assert seen_boxes(labels).tolist() == [[0.5, 1.5, 3.5, 4.5], [6.5, 4.5, 7.5, 5.5], [0, 0, 0, 0]]


def test_whole_boxes_hold_the_shown_body_alone() -> None:
    line = torch.tensor([[[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]]])
    side, front = torch.tensor([[[0.5, 0.0, 0.0]] * 2]), torch.tensor([[[0.0, 0.0, 0.5]] * 2])
    body = loft(line, side, front, slot="top", part="torso")
    hidden = loft(line + 50, side, front, slot="top", part="torso", shown=torch.tensor([False]))
    bag = loft(line - 50, side, front, slot="bag", part="carried")
    mesh = join([body, hidden, bag])
    assert whole_boxes(mesh, mesh.vertices)[0].tolist() == pytest.approx([-1.0, -1.5, 1.0, 1.5], abs=1e-4)


def states(
    *, joint: int, at: tuple[float, float, float], label: int, depth: float, front: float = torch.inf, rows: int = 9
) -> int:
    joints = torch.zeros(1, 17, 3)
    joints[0, joint] = torch.tensor(at)
    labels = torch.full((1, 9, 9), label)
    surface, before = torch.full((1, 9, 9), depth), torch.full((1, 9, 9), front)
    return int(joint_states(joints, labels, torch.tensor([rows]), surface, before)[0, joint])


def test_a_joint_under_its_own_skin_is_seen() -> None:
    assert states(joint=ELBOW, at=(4, 4, 5.05), label=PART["left_arm"], depth=5.0) == SEEN


def test_a_joint_behind_another_part_or_far_behind_its_own_is_hidden_by_its_owner() -> None:
    assert states(joint=ELBOW, at=(4, 4, 5.05), label=PART["torso"], depth=5.0) == OWN
    assert states(joint=ELBOW, at=(4, 4, 5.05), label=PART["right_arm"], depth=5.0) == OWN
    assert states(joint=ELBOW, at=(4, 4, 5.4), label=PART["left_arm"], depth=5.0) == OWN
    assert states(joint=NOSE, at=(4, 4, 5.1), label=PART["head"], depth=5.0) == OWN  # seen from behind


def test_a_joint_behind_something_or_outside_is_covered() -> None:
    arm = PART["left_arm"]
    assert states(joint=ELBOW, at=(4, 4, 5.05), label=0, depth=5.0, front=4.5) == COVERED
    assert states(joint=ELBOW, at=(9, 4, 5.05), label=arm, depth=5.0) == COVERED
    assert states(joint=ELBOW, at=(4, -1, 5.05), label=arm, depth=5.0) == COVERED
    assert states(joint=ELBOW, at=(4, 4, 5.05), label=arm, depth=5.0, rows=4) == COVERED
    assert states(joint=ELBOW, at=(4, 4, 5.05), label=arm, depth=5.0, front=6.0) == SEEN  # it stands behind
