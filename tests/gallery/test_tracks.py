"""From boxes in frames to passages."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from halfseen.gallery.indexing.detectors import People, apart, area, covered
from halfseen.gallery.indexing.tracks import (
    TALLEST,
    Crop,
    Passage,
    Tracker,
    cut,
    matched,
    overlap,
    sharpness,
    squares,
    wholeness,
)
from passers import BLUE, GREEN, RED, SIZE, YELLOW, Colour, Walker, find, frame

EVERY = 0.3


def follow(walkers: Sequence[Walker], seconds: float, count: int = 4, every: float = EVERY) -> list[list[Crop]]:
    tracker = Tracker(count)
    for number in range(round(seconds / every)):
        image = frame(walkers, number * every)
        tracker.add(number * every, image, find(image))
    return tracker.end()


def colour_of(crop: Crop) -> Colour:
    red, green, blue = crop.image.float().mean((1, 2)).round().int().tolist()
    return red, green, blue


def test_somebody_who_walks_by_is_one_passage_of_few_crops() -> None:
    walker = Walker(RED, 1, 9, 5, 15)
    (crops,) = follow([walker], 12)
    assert len(crops) == 4
    assert [colour_of(crop) for crop in crops] == [RED] * 4
    moments = [crop.moment for crop in crops]
    assert moments == sorted(moments)
    assert moments[0] < 3  # they come from all of the passage
    assert moments[-1] > 7
    for crop in crops:
        assert crop.box == walker.box(crop.moment)


def test_two_who_cross_stay_two() -> None:
    walkers = [Walker(RED, 0, 8, 0, 18), Walker(BLUE, 0, 8, 140, -18)]
    found = follow(walkers, 9)
    assert len(found) == 2
    for crops in found:
        own = {RED, BLUE} & {colour_of(crop) for crop in crops}
        assert len(own) == 1


def test_who_comes_where_another_has_just_left_is_another() -> None:
    found = follow([Walker(RED, 0, 4, 60, 0), Walker(GREEN, 4.2, 8, 60, 0)], 9)
    assert [{colour_of(crop) for crop in crops} for crops in found] == [{RED}, {GREEN}]


def test_somebody_hidden_for_a_moment_is_still_the_same() -> None:
    tracker = Tracker(4)
    for number in range(30):
        image = frame([Walker(RED, 0, 8, 10, 16)], number * EVERY)
        image[:, :, 70:76] = 60  # a post
        tracker.add(number * EVERY, image, find(image))
    (crops,) = tracker.end()
    assert crops[0].box[2] < 70
    assert crops[-1].box[0] > 76


def test_what_is_seen_twice_only_is_a_mistake() -> None:
    assert follow([Walker(RED, 0, 0.5, 60, 0)], 5) == []
    assert len(follow([Walker(RED, 0, 0.8, 60, 0)], 5)) == 1


@pytest.mark.parametrize("every", [0.1, 0.5, 1.0])
def test_looks_may_be_far_apart(every: float) -> None:
    """Somebody is not seen at every second look."""
    tracker = Tracker(4)
    for number in range(9):
        image = frame([Walker(RED, 0, 99, 60, 2)], number * every)
        people = find(image)
        tracker.add(number * every, image, people if number % 2 == 0 else People(people.boxes[:0], people.scores[:0]))
    assert len(tracker.end()) == 1


def test_nobody_is_no_passage() -> None:
    assert follow([], 3) == []
    assert Tracker(4).end() == []


@settings(deadline=None, max_examples=6)
@given(st.integers(1, 6), st.floats(2, 15), st.floats(-12, 12))
def test_however_long_a_passage_is_it_leaves_few_crops(count: int, seconds: float, speed: float) -> None:
    (crops,) = follow([Walker(YELLOW, 0, seconds, 70, speed / seconds)], seconds + 2, count)
    assert 1 <= len(crops) <= count
    assert len({crop.moment for crop in crops}) == len(crops)


def test_the_best_crop_is_the_whole_person() -> None:
    """A red one walks behind a blue one who stands still; the crop kept of red is one that blue does not cover."""
    (red, blue) = follow([Walker(RED, 0, 6, 0, 20, top=24), Walker(BLUE, 0, 6, 60, 0, top=30)], 7, count=1)
    assert colour_of(red[0]) == RED
    assert colour_of(blue[0]) == BLUE


def test_of_each_span_and_part_of_a_passage_the_best_crop_is_kept() -> None:
    colours = torch.zeros(3, 6, 2)
    passage = Passage(0.0, torch.zeros(4), colours)
    for moment, quality in ((0.0, 1.0), (0.4, 3.0), (0.8, 2.0), (1.2, 5.0), (2.5, 1.0), (3.0, 4.0)):
        passage.keep(Crop(moment, (0, 0, 1, 1), quality, torch.zeros(3, 1, 1, dtype=torch.uint8), colours))
    assert [crop.moment for crop in passage.best(4)] == [0.4, 1.2, 3.0]
    assert [crop.moment for crop in passage.best(2)] == [1.2, 3.0]


def test_crops_are_cut_out_of_the_frame_and_no_larger_than_needed() -> None:
    image = torch.arange(3 * 500 * 90).remainder(251).byte().view(3, 500, 90)
    people = People(
        torch.tensor([[10.0, 5.2, 20.4, 30.0], [-5, -5, 40, 499], [80, 10, 85, 15], [200, 0, 300, 50]]), torch.ones(4)
    )
    boxes, crops = cut(image, people, 2.0)
    assert boxes.tolist() == people.boxes[:2].tolist()
    assert [list(crop.box) for crop in crops] == [[10, 5, 20, 30], [0, 0, 40, 499]]
    assert torch.equal(crops[0].image, image[:, 5:30, 10:20])
    assert list(crops[1].image.shape) == [3, TALLEST, round(40 * TALLEST / 499)]
    assert [crop.moment for crop in crops] == [2.0, 2.0]
    crops[0].image.zero_()
    assert image[:, 5:30, 10:20].any()  # a crop does not hold on to its frame


def test_wholeness_is_what_is_inside_and_not_covered() -> None:
    boxes = torch.tensor(
        [[20.0, 20, 40, 60], [30, 30, 50, 70], [100, 20, 120, 60], [150, 20, 170, 60], [60, 0, 80, 40]]
    )
    found = wholeness(boxes, *SIZE).tolist()
    covered_share = (10 * 30) / (20 * 40)
    assert found[0] == pytest.approx(1 - covered_share)  # the second stands lower, so before it
    assert found[1] == pytest.approx(1)
    assert found[2] == pytest.approx(1)
    assert found[3] == pytest.approx(0.5 * 0.5)  # half outside, and at the border
    assert found[4] == pytest.approx(0.5)
    assert wholeness(boxes[:0], *SIZE).shape == (0,)


def test_a_blurred_picture_is_less_sharp_whatever_its_size() -> None:
    sharp = torch.randint(0, 256, (3, 128, 64), generator=torch.Generator().manual_seed(0)).byte()
    sharp = sharp.repeat_interleave(2, 1).repeat_interleave(2, 2)
    blurred = torch.nn.functional.avg_pool2d(sharp.float(), 9, 1, 4).byte()
    assert sharpness(blurred) < 0.5 * sharpness(sharp)
    assert sharpness(torch.full((3, 40, 20), 90, dtype=torch.uint8)) < 1e-3


boxes = st.lists(
    st.tuples(st.integers(0, 80), st.integers(0, 80), st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=5
).map(lambda rows: torch.tensor([[x, y, x + w, y + h] for x, y, w, h in rows], dtype=torch.float32))


def pixels(box: torch.Tensor) -> set[tuple[int, int]]:
    left, top, right, bottom = box.int().tolist()
    return {(x, y) for x in range(left, right) for y in range(top, bottom)}


@settings(deadline=None, max_examples=40)
@given(boxes, boxes)
def test_shares_of_boxes_are_those_of_their_pixels(some: torch.Tensor, others: torch.Tensor) -> None:
    cover, iou = covered(some, others), overlap(some, others)
    for i, one in enumerate(some):
        mine = pixels(one)
        assert float(area(some)[i]) == len(mine)
        for j, other in enumerate(others):
            both = len(mine & pixels(other))
            assert float(cover[i, j]) == pytest.approx(both / len(mine))
            assert float(iou[i, j]) == pytest.approx(both / len(mine | pixels(other)))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 999))
def test_matching_takes_the_likest_pair_that_is_left(rows: int, columns: int, seed: int) -> None:
    likeness = torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed))
    free_rows, free_columns, wanted = set(range(rows)), set(range(columns)), {}
    while free_rows and free_columns:
        value, row, column = max((float(likeness[r, c]), r, c) for r in free_rows for c in free_columns)
        if value < 0.2:
            break
        wanted[column] = row
        free_rows.remove(row)
        free_columns.remove(column)
    assert matched(likeness) == wanted


def test_squares_keep_height_and_middle() -> None:
    assert squares(torch.tensor([[10.0, 0, 20, 40]])).tolist() == [[-5, 0, 35, 40]]


def test_of_boxes_that_show_the_same_the_surest_stays() -> None:
    boxes = torch.tensor([[0.0, 0, 20, 40], [2, 2, 22, 42], [40, 0, 60, 40], [-20, -20, 80, 80]])
    found = apart(People(boxes, torch.tensor([0.6, 0.9, 0.5, 0.7])))
    assert found.boxes.tolist() == [boxes[1].tolist(), boxes[2].tolist()]
    assert found.scores.tolist() == pytest.approx([0.9, 0.5])
