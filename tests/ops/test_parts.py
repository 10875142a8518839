"""Maps from keypoints, against loops over images, joints, limbs and cells; and what is made of the maps."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from halfseen.ops import parts
from halfseen.ops.groupings import FLIPPED_FIELDS, GROUPINGS, LIMBS

Point = tuple[float, float]
SIZE = (64, 32)

# A person standing upright in a picture of 64×32, seen from the front: x, y, score.
STANDING = torch.tensor(
    [
        *([16, 8, 1], [17, 7, 1], [15, 7, 1], [18, 8, 1], [14, 8, 1]),
        *([21, 15, 1], [11, 15, 1], [23, 24, 1], [9, 24, 1], [24, 32, 1], [8, 32, 1]),
        *([19, 33, 1], [13, 33, 1], [19, 46, 1], [13, 46, 1], [19, 58, 1], [13, 58, 1.0]),
    ]
)


def drawn_people(seed: int, count: int) -> Tensor:
    """Joints scattered in and around the picture, some of them not found, some people not found at all."""
    random = torch.Generator().manual_seed(seed)
    people = torch.rand(count, 17, 3, generator=random, dtype=torch.float64)
    people[..., 0] = people[..., 0] * 60 - 14
    people[..., 1] = people[..., 1] * 90 - 13
    people[torch.rand(count, 17, generator=random) < 0.2] = 0
    people[torch.rand(count, generator=random) < 0.2] = 0
    return people


def distance_to_segment(p: Point, a: Point, b: Point) -> float:
    """The least of many steps along the segment, then refined: nothing like the formula under test."""
    low, high = 0.0, 1.0
    for _ in range(60):  # the distance to points of a line has one valley: ternary search
        left, right = low + (high - low) / 3, high - (high - low) / 3
        at = [(a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])) for t in (left, right)]
        low, high = (low, right) if math.dist(p, at[0]) <= math.dist(p, at[1]) else (left, high)
    return math.dist(p, (a[0] + low * (b[0] - a[0]), a[1] + low * (b[1] - a[1])))


def height_by_loop(points: list[Point], scores: list[float], otherwise: float) -> float:
    said = []
    for (a, b), share in zip(LIMBS, parts.LIMB_LENGTHS, strict=True):
        said.append((math.dist(points[a], points[b]) / share, min(scores[a], scores[b]) * share))
    total, below = sum(weight for _, weight in said), 0.0
    for height, weight in sorted(said):
        below += weight
        if total > 0 and below >= total / 2:
            return height
    return otherwise


def middle(a: Point, b: Point) -> Point:
    return ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)


def ends_by_loop(points: list[Point], scores: list[float]) -> list[tuple[Point, Point]]:
    ends = [(points[a], points[b]) for a, b in LIMBS]
    for (left, right), joints in (((5, 6), (5, 6, 11, 12)), ((17, 18), (3, 4, 5, 6))):
        if min(scores[joint] for joint in joints) > 0:
            upper, lower = (middle(ends[left][end], ends[right][end]) for end in (0, 1))
            for limb in (left, right):
                ends[limb] = (middle(ends[limb][0], upper), middle(ends[limb][1], lower))
    return ends


def fields_by_loop(person: Tensor, size: tuple[int, int], grid: tuple[int, int], aspect: float) -> Tensor:
    """[17,3] → [36,h,w], one cell of one field at a time."""
    (H, W), (h, w) = size, grid
    slim = aspect * H / W
    points = [(x * slim, y) for x, y, _ in person.tolist()]
    scores = person[:, 2].tolist()
    height, half_a_diagonal = height_by_loop(points, scores, H), math.sqrt((aspect * H / w) ** 2 + (H / h) ** 2) / 2
    ends = [(point, point) for point in points] + ends_by_loop(points, scores)
    peaks = scores + [min(scores[a], scores[b]) for a, b in LIMBS]
    result = torch.zeros(36, h, w, dtype=torch.float64)
    for field, radius in enumerate((*parts.JOINT_RADII, *parts.LIMB_RADII)):
        sigma = max(radius * height, half_a_diagonal) / math.sqrt(2 * math.log(2))
        for row in range(h):
            for column in range(w):
                centre = (((column + 0.5) * W / w - 0.5) * slim, (row + 0.5) * H / h - 0.5)
                far = distance_to_segment(centre, *ends[field]) / sigma
                result[field, row, column] = peaks[field] * math.exp(-far * far / 2)
    return result


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(0, 2),
    grid=st.sampled_from([(1, 1), (4, 2), (3, 5), (1, 4)]),
    aspect=st.sampled_from([0.3, 0.5]),
)
def test_fields_equal_the_loop(seed: int, count: int, grid: tuple[int, int], aspect: float) -> None:
    people = drawn_people(seed, count)
    drawn = parts.fields(people, SIZE, grid, aspect=aspect)
    assert drawn.shape == (count, 36, *grid)
    for person, maps in zip(people, drawn, strict=True):
        torch.testing.assert_close(maps, fields_by_loop(person, SIZE, grid, aspect))


def test_the_standing_person_is_about_as_tall_as_they_stand() -> None:
    heights = [height_by_loop([(x, y) for x, y, _ in STANDING.tolist()], [1.0] * 17, 0.0)]
    heights += [(STANDING[15, 1] - STANDING[1, 1]).item() / 0.89]  # from the ankles to the eyes
    assert max(heights) < 1.15 * min(heights)
    assert 50 < statistics.mean(heights) < 64


def test_a_joint_peaks_on_its_pixel_and_is_half_as_high_at_its_radius() -> None:
    person = torch.zeros(1, 17, 3, dtype=torch.float64)
    person[0, 9] = torch.tensor([40.0, 70.0, 0.8])  # alone, so that the picture's height stands for the person's
    drawn = parts.joint_maps(person, (1000, 100), (1000, 100), aspect=0.1)[0, 9]
    assert drawn[70, 40].item() == pytest.approx(0.8)
    assert drawn[70 + 45, 40].item() == pytest.approx(0.4, abs=1e-3)
    assert drawn[70, 40 + 45].item() == pytest.approx(0.4, abs=1e-3)


def test_widths_follow_the_person_and_the_given_width() -> None:
    size, near = (640, 320), STANDING * torch.tensor([10, 10, 1])
    far = torch.cat([near[:, :2] / 2 + 100, near[:, 2:]], 1)
    areas = parts.fields(torch.stack([near, far]), size, size).sum((2, 3))
    torch.testing.assert_close(areas[0], 4 * areas[1], rtol=0.03, atol=0)
    wide = parts.joint_maps(near[None], size, size, width=1.5).sum((2, 3))
    torch.testing.assert_close(wide[0, 7:11], 1.5**2 * areas[0, 7:11], rtol=0.03, atol=0)


def test_a_stretched_picture_has_stretched_maps() -> None:
    slim = parts.fields(STANDING[None], SIZE, SIZE, aspect=0.5)
    doubled = STANDING.clone()
    doubled[:, 0] = doubled[:, 0] * 2 + 0.5
    broad = parts.fields(doubled[None], (64, 64), SIZE, aspect=0.5)  # each cell two pixels wide
    torch.testing.assert_close(broad, slim)


def test_the_mirrored_person_has_mirrored_maps() -> None:
    people = drawn_people(3, 4)
    mirrored = people[:, list(FLIPPED_FIELDS[:17])]
    mirrored[..., 0] = SIZE[1] - 1 - mirrored[..., 0]
    expected = parts.fields(people, SIZE, (16, 8)).flip(-1)[:, list(FLIPPED_FIELDS)]
    torch.testing.assert_close(parts.fields(mirrored, SIZE, (16, 8)), expected)


def test_joints_outside_the_picture_still_cast_their_part() -> None:
    person = STANDING.clone()
    person[:, 0] += 20  # the left arm and leg are now out of the picture
    drawn = parts.fields(person[None], SIZE, (32, 16))[0]
    assert person[7, 0] > SIZE[1]
    assert 0 < drawn[7].max() < 0.7
    assert (drawn[7][:, -1] >= drawn[7][:, 0]).all()


def test_a_limb_between_a_seen_and_a_hidden_joint_is_half_seen() -> None:
    hidden = torch.zeros(1, *SIZE, dtype=torch.bool)
    hidden[:, 40:] = True  # from the middle of the thighs down
    left_knee, thigh, shank = 13, 17 + LIMBS.index((13, 11)), 17 + LIMBS.index((15, 13))
    drawn = parts.fields(STANDING[None], SIZE, (32, 16))
    seen = parts.hide(drawn, hidden)
    assert torch.equal(seen[:, :, :20], drawn[:, :, :20])
    assert not seen[:, :, 20:].any()
    assert parts.visible_by_threshold(seen, 0.4)[0, [thigh, shank]].tolist() == [True, False]
    assert seen[0, thigh].amax() > 0.9
    joints = parts.seen_joints(STANDING[None], hidden)
    assert joints[0, :, 2].tolist() == [1.0] * left_knee + [0.0] * 4
    assert not parts.fields(joints, SIZE, (32, 16))[0, thigh].any()  # why maps are not drawn from what is seen


def test_a_limb_with_both_ends_in_one_place_is_a_spot() -> None:
    person = STANDING.clone()
    person[9] = person[7]
    limb = parts.limb_maps(person[None], SIZE, SIZE)[0, LIMBS.index((7, 9))]
    assert limb.max() == 1
    assert (limb == limb.max()).nonzero().tolist() == [[24, 23]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_any_precision_any_number_of_people(dtype: torch.dtype) -> None:
    exact = parts.fields(STANDING[None].double(), SIZE, (16, 8))
    drawn = parts.fields(STANDING[None].to(dtype), SIZE, (16, 8))
    assert drawn.dtype == dtype
    torch.testing.assert_close(drawn.double(), exact, rtol=0, atol=4 * torch.finfo(dtype).eps)
    assert parts.fields(STANDING[None][:0].to(dtype), SIZE, (16, 8)).shape == (0, 36, 16, 8)


@pytest.mark.parametrize("grid", [(1, 1), (16, 8)])
def test_nobody_and_one_joint_never_give_nan(grid: tuple[int, int]) -> None:
    people = torch.zeros(18, 17, 3)  # nobody, then one joint each
    for joint in range(17):
        people[joint + 1, joint] = torch.tensor([10.0, 20.0, 0.5])
    drawn = parts.fields(people, SIZE, grid)
    assert torch.isfinite(drawn).all()
    assert torch.equal(drawn.amax((2, 3)) > 0, torch.cat([torch.zeros(1, 36), torch.eye(17, 36)]).bool())
    assert drawn.amax() <= 0.5


@pytest.mark.parametrize("grid", [(8, 4), (16, 8), (24, 8), (22, 11)])
def test_something_of_every_part_remains_on_a_coarse_grid(grid: tuple[int, int]) -> None:
    tiny = STANDING.clone()
    tiny[:, :2] = tiny[:, :2] / 4 + 10
    for person in (STANDING, tiny):
        assert parts.fields(person[None], SIZE, grid).amax((2, 3)).amin() >= 0.5 - 1e-6


def test_the_labels_of_the_standing_person_cover_a_body() -> None:
    names = [name for name, _ in GROUPINGS["eight"]]
    maps = parts.group(parts.fields(STANDING[None], SIZE, SIZE), GROUPINGS["eight"])
    labels = parts.part_labels(parts.with_background(maps))[0]
    at = {"head": (6, 16), "torso": (25, 16), "left_arm": (26, 23), "right_arm": (26, 9), "left_leg": (46, 19)}
    at |= {"right_leg": (46, 13), "left_foot": (60, 19), "right_foot": (60, 13)}
    assert {name: names[int(labels[place]) - 1] for name, place in at.items()} == {name: name for name in at}
    assert labels[0, 0] == labels[40, 31] == 0
    torso = labels[16:33, 11:22]
    assert (torso > 0).all()  # no hole in the chest
    assert parts.visible_parts(labels[None], 8).all()
    assert 0.25 < (labels > 0).float().mean() < 0.5


def test_everything_stays_on_the_device_of_its_argument() -> None:
    people = torch.zeros(2, 17, 3, device="meta")  # without a GPU: a mix with tensors elsewhere would raise
    maps = parts.group(parts.fields(people, SIZE, (16, 8)), GROUPINGS["eight"])
    hidden = torch.zeros(2, *SIZE, dtype=torch.bool, device="meta")
    probabilities = parts.with_background(parts.hide(maps, hidden))
    seen = parts.visible_parts(parts.part_labels(probabilities), 8)
    assert (seen.device.type, seen.shape) == ("meta", (2, 8))
    joints = parts.seen_joints(people, hidden)
    assert (joints.device.type, joints.shape) == ("meta", (2, 17, 3))


def test_joints_as_far_away_as_a_file_may_put_them_give_no_nan() -> None:
    people = drawn_people(7, 50).float() * torch.tensor([2e4, 1e4, 1.0])
    drawn = parts.fields(people, SIZE, (16, 8))
    assert ((drawn >= 0) & (drawn <= 1)).all()  # NaN compares false
