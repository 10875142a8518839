"""Rules about skeletons: true people break none, and each broken one is caught by its own rule."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from halfseen.data.cues import load_keypoints
from halfseen.data.fitting import stored_sizes
from halfseen.data.sets import read_set
from halfseen.ops.skeletons import RULES, correct, impossible, outside

SIZE = torch.tensor([[200.0, 80.0]])
# A person of 180 pixels who faces the camera, in a picture whose pixels are square: the person's left is at the right.
STANDING = (
    (40, 20), (43, 17), (37, 17), (47, 19), (33, 19),
    (58, 44), (22, 44), (62, 74), (18, 74), (64, 100), (16, 100),
    (50, 102), (30, 102), (50, 144), (30, 144), (50, 184), (30, 184),
)  # fmt: skip


def standing() -> Tensor:
    return torch.cat([torch.tensor(STANDING, dtype=torch.float32), torch.ones(17, 1)], dim=1)


def broken(person: Tensor, size: Tensor = SIZE) -> set[str]:
    return {rule for rule, which in impossible(person[None], size).items() if which.item()}


def test_somebody_who_stands_is_possible() -> None:
    assert broken(standing()) == set()
    assert set(impossible(standing()[None], SIZE)) == set(RULES)


def test_people_of_a_world_are_possible() -> None:
    street = read_set("street")
    samples = [*street.train, *street.query, *street.gallery]
    known = load_keypoints(street.root / "keypoints.npz").lookup([sample.name for sample in samples])[0]
    which = impossible(known, stored_sizes(samples).float())
    assert {rule: int(each.sum()) for rule, each in which.items()} == dict.fromkeys(RULES, 0)


@pytest.mark.parametrize(("joint", "place"), [(9, (64.0, 199.5)), (9, (79.5, 100)), (9, (-0.6, 74)), (0, (40, -0.6))])
def test_outside(joint: int, place: tuple[float, float]) -> None:
    person = standing()
    person[joint, :2] = torch.tensor(place)
    assert "outside" in broken(person)
    person[joint, 2] = 0.4  # not seen
    assert "outside" not in broken(person)


def test_a_long_limb() -> None:
    person = standing()
    person[15, 1], person[13, 1] = 199, 95  # a shank of 104 pixels, where 40 are usual
    assert broken(person) == {"long limb"}
    person[15, 2] = 0
    assert broken(person) == set()
    few = standing()
    few[:, 2] = 0
    few[[5, 7, 9], 2] = 1.0  # two limbs tell too little of the whole
    few[9, 1] = 199
    assert broken(few) == set()


def test_stretched_pictures_change_no_proportions() -> None:
    person, size = standing(), torch.tensor([[200.0, 160.0]])
    person[:, 0] *= 2
    assert broken(person, size) == set()


def test_crossed_sides() -> None:
    person = standing()
    person[[11, 12]] = person[[12, 11]]
    assert broken(person) == {"crossed"}
    person[[11, 12], 0] = torch.tensor([39.0, 41.0])  # as good as from the side
    assert broken(person) == set()
    behind = standing()
    behind[:, 0] = 80 - behind[:, 0]
    assert broken(behind) == set()


def test_upside_down() -> None:
    person = standing()
    person[:, 1] = 200 - person[:, 1]
    assert broken(person) == {"upside down"}
    legs = standing()
    legs[13:17, 1] = 204 - legs[13:17, 1]  # the legs alone point upwards
    assert "upside down" in broken(legs)


def test_collapsed() -> None:
    person = standing()
    person[:, :2] = 50 + 0.1 * person[:, :2]
    assert broken(person) == {"collapsed"}
    person[3:, 2] = 0.0
    assert broken(person) == set()


def test_nobody_breaks_no_rule() -> None:
    assert broken(torch.zeros(17, 3)) == set()


def test_outside_is_beyond_the_edges_of_the_pixels() -> None:
    person = standing()
    person[:4, :2] = torch.tensor([[-0.5, 0], [79.49, 0], [0, -0.6], [79.5, 0]])
    assert outside(person[None], SIZE)[0, :5].tolist() == [False, False, True, True, False]


def test_pck_is_a_share_of_the_torso() -> None:
    known = torch.stack([standing(), standing()])
    found = known.clone()
    torso = 58.0  # from (40, 44) to (40, 102)
    for joint in range(17):
        angle = 2 * math.pi * joint / 17
        found[0, joint, :2] += (
            torso * (0.199 if joint % 2 else 0.201) * torch.tensor([math.cos(angle), math.sin(angle)])
        )
    found[0, :, 2] = 0.01
    found[1, :, 2] = 0.0  # nobody
    right = correct(found, known)
    assert right[0].tolist() == [joint % 2 == 1 for joint in range(17)]
    assert not right[1].any()
    assert correct(found, known, 0.3)[0].all()


def test_skeletons_are_judged_where_they_lie() -> None:
    """On any device: here on one that holds nothing."""
    told = impossible(torch.zeros(2, 17, 3, device="meta"), torch.ones(2, 2, device="meta"))
    assert {broken.device.type for broken in told.values()} == {"meta"}
