"""From cues to the part of each cell, against loops over pixels; and the world's labels in every grouping."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from halfseen.ops import parts
from halfseen.ops.groupings import GROUPING_OF, GROUPINGS, eight_in, grouping_named
from halfseen.types import Cues, InputError

IMAGE, GRID = (16, 8), (4, 2)


def random_labels(seed: int, images: int, highest: int, size: tuple[int, int] = IMAGE) -> Tensor:
    """Blocks of labels rather than noise, so that cells have a clear owner now and then."""
    blocks = torch.randint(0, highest + 1, (images, 8, 4), generator=torch.Generator().manual_seed(seed))
    return blocks.repeat_interleave(size[0] // 8, 1).repeat_interleave(size[1] // 4, 2)


def shares_by_loop(labels: Tensor, hidden: Tensor | None, count: int) -> Tensor:
    """[B,count+1,h,w]: pixel by pixel."""
    (images, H, W), (h, w) = labels.shape, GRID
    shares = torch.zeros(images, count + 1, h, w)
    for i in range(images):
        for y in range(H):
            for x in range(W):
                shown = hidden is None or not hidden[i, y, x]
                label = int(labels[i, y, x]) if shown and labels[i, y, x] <= count else 0
                shares[i, label, y * h // H, x * w // W] += h * w / (H * W)
    return shares


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.integers(0, 2), st.sampled_from(["three", "eight"]), st.booleans())
def test_part_labels_become_shares_and_shares_become_labels(seed: int, n: int, grouping: str, covered: bool) -> None:
    count = len(GROUPINGS[grouping])
    labels = random_labels(seed, n, count + 1)  # the number above the last part stands for nothing
    hidden = torch.rand(n, *IMAGE, generator=torch.Generator().manual_seed(seed)) < 0.3 if covered else None
    cues = Cues(parts=labels.to(torch.uint8), hidden=hidden)
    shares = shares_by_loop(labels, hidden, count)
    torch.testing.assert_close(parts.grid_maps(cues, grouping, GRID, IMAGE), shares)
    got = parts.grid_labels(cues, grouping, GRID, IMAGE)
    assert got.dtype == torch.int64
    for cell, label in zip(shares.permute(0, 2, 3, 1).reshape(-1, count + 1).tolist(), got.flatten(), strict=True):
        background, *person = cell
        assert (label == 0) if background > 0.5 else (person[int(label) - 1] == max(person))


def test_a_cell_that_parts_share_is_not_background() -> None:
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    labels[0, :, 0], labels[0, :2, 1], labels[0, 2, 1] = 2, 3, 1  # 4 pixels of part 2, 2 of part 3, 1 of part 1
    assert parts.grid_labels(Cues(parts=labels), "three", (1, 1), (4, 4)).item() == 0  # 7 of 16 are the person
    labels[0, 3, 3] = 3
    assert parts.grid_labels(Cues(parts=labels), "three", (1, 1), (4, 4)).item() == 2  # 8 are, most of them part 2


def test_less_of_a_cell_may_be_somebody() -> None:
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    labels[0, 0], labels[0, 1, 0] = 2, 1  # 5 of 16 pixels
    got = [parts.grid_labels(Cues(parts=labels), "three", (1, 1), (4, 4), person).item() for person in (0.32, 0.31)]
    assert got == [0, 2]


@pytest.mark.parametrize("grid", [(10, 5), (21, 10), (16, 8)])
def test_a_cell_that_is_wholly_somebodys_is_so_whatever_is_asked(grid: tuple[int, int]) -> None:
    labels = torch.randint(1, 4, (2, 192, 96), generator=torch.Generator().manual_seed(0))
    assert (parts.grid_labels(Cues(parts=labels), "three", grid, (192, 96), 1.0) > 0).all()


@pytest.mark.parametrize("cue", ["fields", "keypoints"])
def test_less_confidence_may_be_somebody(cue: str) -> None:
    faint = standing() * torch.tensor([1.0, 1.0, 0.4])
    cues = Cues(keypoints=faint) if cue == "keypoints" else Cues(fields=torch.full((1, 36, 8, 4), 0.4))
    owned = [(parts.grid_labels(cues, "eight", (16, 8), (64, 32), person) > 0).float().mean() for person in (0.5, 0.3)]
    assert owned[0] == 0
    assert owned[1] > 0.2


@pytest.mark.parametrize("size", [(4, 2), (8, 4), (16, 8)])
def test_part_labels_may_come_at_any_resolution(size: tuple[int, int]) -> None:
    coarse = torch.randint(0, 4, (2, *GRID), generator=torch.Generator().manual_seed(0))
    labels = coarse.repeat_interleave(size[0] // 4, 1).repeat_interleave(size[1] // 2, 2)
    assert torch.equal(parts.grid_labels(Cues(parts=labels), "three", GRID, IMAGE), coarse)
    hidden = torch.zeros(2, *IMAGE, dtype=torch.bool)
    hidden[:, :4] = True  # the upper row of cells
    got = parts.grid_labels(Cues(parts=labels, hidden=hidden), "three", GRID, IMAGE)
    assert torch.equal(got[:, 1:], coarse[:, 1:])
    assert not got[:, 0].any()


@pytest.mark.parametrize("size", [(2, 1), (7, 3), (3, 5), (4, 2), (9, 2)])
def test_labels_of_other_grids_go_to_the_cells_that_they_touch(size: tuple[int, int]) -> None:
    labels = torch.randint(0, 5, (9, *size), generator=torch.Generator().manual_seed(0))  # 4 is no part of three
    got, seen = parts.grid_labels(Cues(parts=labels), "three", GRID, IMAGE), set()
    for picture in range(len(labels)):
        for row in range(GRID[0]):
            for column in range(GRID[1]):
                rows = range(row * size[0] // GRID[0], -(-(row + 1) * size[0] // GRID[0]))
                columns = range(column * size[1] // GRID[1], -(-(column + 1) * size[1] // GRID[1]))
                touched = [int(labels[picture, y, x]) for y in rows for x in columns]
                counts = [touched.count(part) for part in (1, 2, 3)]
                best = counts.index(max(counts)) + 1 if 2 * sum(counts) >= len(touched) else 0
                assert got[picture, row, column] == best
                seen.add(best)
    assert len(seen) > 2


def test_fields_become_labels_the_way_of_the_paper() -> None:
    fields = torch.rand(3, 36, 4, 2, generator=torch.Generator().manual_seed(1)) * 0.51  # half the cells are background
    cues = Cues(fields=fields, keypoints=torch.zeros(3, 17, 3))  # fields go before keypoints
    grouped = torch.stack([fields[:, list(members)].amax(1) for _, members in GROUPINGS["eight"]], 1)
    background = (grouped.amax(1, keepdim=True) < 0.5).float()
    maps = torch.softmax(15 * torch.cat([background, grouped], 1), 1)
    maps = torch.nn.functional.interpolate(maps, (8, 4), mode="nearest")  # a quarter of the picture
    want = torch.nn.functional.interpolate(maps, (6, 3), mode="bilinear", align_corners=True)
    torch.testing.assert_close(parts.grid_maps(cues, "eight", (6, 3), (32, 16)), want)
    labels = parts.grid_labels(cues, "eight", (6, 3), (32, 16))
    assert torch.equal(labels, want.argmax(1))
    assert ((labels == 0) & (want[:, 0] < 0.5)).any()  # where our rule for the other cues says otherwise


def test_hidden_pixels_of_fields_are_background() -> None:
    fields = torch.full((1, 36, 8, 4), 0.9)
    hidden = torch.zeros(1, 64, 32, dtype=torch.bool)
    hidden[:, :32] = True
    labels = parts.grid_labels(Cues(fields=fields, hidden=hidden), "eight", (4, 2), (64, 32))
    assert labels[0].tolist() == [[0, 0], [0, 0], [1, 1], [1, 1]]


def standing() -> Tensor:
    """Someone in a picture of 64×32, upright in the middle."""
    rows = (6, 5, 5, 6, 6, 14, 14, 23, 23, 31, 31, 32, 32, 45, 45, 58, 58)
    columns = (16, 17, 15, 18, 14, 21, 11, 24, 8, 25, 7, 19, 13, 19, 13, 19, 13)
    return torch.tensor([[x, y, 1.0] for x, y in zip(columns, rows, strict=True)])[None]


def test_keypoints_become_labels_where_the_joints_are() -> None:
    labels = parts.grid_labels(Cues(keypoints=standing()), "eight", (16, 8), (64, 32))
    assert labels[0, 1, 4] == 1
    assert labels[0, 6, 4] == 4
    assert 2 in labels[0, 5, 5:]
    assert 3 in labels[0, 5, :3]
    assert labels[0, 11, 2:6].tolist() == [6, 6, 5, 5]
    assert 7 in labels[0, 14, 4:]
    assert 8 in labels[0, 14, :4]
    assert labels[0, :, [0, 7]].sum() == 0
    assert parts.visible_parts(labels, 8).all()


def test_hidden_pixels_of_keypoint_maps_are_background() -> None:
    hidden = torch.zeros(1, 64, 32, dtype=torch.bool)
    hidden[:, 40:] = True
    bare = parts.grid_labels(Cues(keypoints=standing()), "eight", (16, 8), (64, 32))
    labels = parts.grid_labels(Cues(keypoints=standing(), hidden=hidden), "eight", (16, 8), (64, 32))
    assert torch.equal(labels[:, :10], bare[:, :10])
    assert not labels[:, 10:].any()
    assert bare[:, 10:].any()


@pytest.mark.parametrize("source", ["parts", "fields", "keypoints"])
def test_B1_shares_of_a_cell_sum_to_one(source: str) -> None:
    cues = {
        "parts": Cues(parts=random_labels(2, 1, 8, (64, 32))),
        "fields": Cues(fields=torch.rand(1, 36, 8, 4)),
        "keypoints": Cues(keypoints=standing()),
    }[source]
    torch.testing.assert_close(parts.grid_maps(cues, "eight", (8, 4), (64, 32)).sum(1), torch.ones(1, 8, 4))


def test_without_a_cue_it_says_what_to_give() -> None:
    with pytest.raises(InputError, match="keypoints, confidence fields or part labels"):
        parts.grid_labels(Cues(hidden=torch.zeros(1, 8, 8, dtype=torch.bool)), "eight", (2, 2), (8, 8))


PLACES = {  # of head, left arm, right arm, torso, left leg, right leg, left foot, right foot
    "one": ["body"] * 8,
    "two": ["upper"] * 4 + ["lower"] * 4,
    "three": ["head"] + ["upper"] * 3 + ["lower"] * 4,
    "four": ["head", "arms", "arms", "torso"] + ["legs"] * 4,
    "five": ["head", "arms", "arms", "torso", "legs", "legs", "feet", "feet"],
    "six": ["head", "left_arm", "right_arm", "torso", "legs", "legs", "feet", "feet"],
    "seven": ["head", "left_arm", "right_arm", "torso", "left_leg", "right_leg", "feet", "feet"],
    "eight": [name for name, _ in GROUPINGS["eight"]],
}


@pytest.mark.parametrize("grouping", PLACES)
def test_the_world_s_labels_in_every_grouping(grouping: str) -> None:
    names = [name for name, _ in GROUPINGS[grouping]]
    numbers = parts.regrouped(torch.arange(10, dtype=torch.uint8).view(1, 2, 5), grouping).flatten().tolist()
    assert numbers[0] == numbers[9] == 0
    assert [names[number - 1] for number in numbers[1:9]] == PLACES[grouping]
    assert eight_in(grouping) == tuple(numbers[1:9])


def test_vertical_fifths_cut_arms_and_torso_at_half_their_height() -> None:
    labels = torch.zeros(3, 8, 3, dtype=torch.uint8)
    labels[0, 0], labels[0, 6], labels[0, 7] = 1, 6, 7
    labels[0, 1:6] = torch.tensor([2, 4, 3])  # rows 1..5: the middle is row 3
    labels[1, 4:8, 1] = 4  # someone low in the picture: rows 4..7, the middle between 5 and 6
    assert parts.regrouped(labels, "five_v")[0, :, 1].tolist() == [1, 2, 2, 2, 3, 3, 4, 5]
    assert parts.regrouped(labels, "five_v")[0, :, 0].tolist() == [1, 2, 2, 2, 3, 3, 4, 5]
    assert parts.regrouped(labels, "five_v")[1, :, 1].tolist() == [0, 0, 0, 0, 2, 2, 3, 3]
    assert not parts.regrouped(labels, "five_v")[2].any()


@pytest.mark.parametrize("parts_or_name", [*range(1, 9), *GROUPINGS])
def test_groupings_have_numbers_and_names(parts_or_name: int | str) -> None:
    name = grouping_named(parts_or_name)
    assert name == (GROUPING_OF[parts_or_name] if isinstance(parts_or_name, int) else parts_or_name)


@pytest.mark.parametrize("wrong", [0, 9, -1, "nine", ""])
def test_a_grouping_that_is_none_is_refused(wrong: int | str) -> None:
    with pytest.raises(InputError, match=r"from 1 to 8, or one of one, two, .*five_v"):
        grouping_named(wrong)
