"""Pasted occluders: exact masks, the rule's places and sizes, and the same pixels everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from halfseen.data.occluders import KINDS, paste
from halfseen.types import InputError, Occluder

THINGS = tuple(kind for kind in KINDS if kind is not Occluder.PEDESTRIAN)
RED, BLUE, GREY = torch.tensor([200, 10, 30]), torch.tensor([0, 20, 250]), torch.tensor([100, 100, 100])


def noise(height: int, width: int, seed: int = 0) -> Tensor:
    """uint8 [3,height,width] of random colours."""
    dice = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=dice, dtype=torch.uint8)


def plain(colour: Tensor, height: int, width: int) -> Tensor:
    """uint8 [3,height,width], all of one `colour` [3]."""
    return colour.to(torch.uint8)[:, None, None].repeat(1, height, width)


def ramp(height: int, width: int, dim: int) -> Tensor:
    """uint8 [3,height,width] that rises by 1 per pixel along `dim`."""
    return torch.arange((height, width)[dim]).view((-1, 1) if dim == 0 else (1, -1)).expand(3, height, width).byte()


def pattern(height: int, width: int) -> Tensor:
    """uint8 [3,height,width] made by arithmetic alone."""
    y, x = torch.arange(height)[:, None], torch.arange(width)[None]
    return torch.stack([(y * 7 + x * 3) % 256, (y * x) % 256, (y * 2 - x * 5) % 256]).byte()


def as_decoded(image: Tensor) -> Tensor:
    """`image` [3,H,W] with the memory layout of a decoder: height, width, colour."""
    return image.permute(1, 2, 0).contiguous().permute(2, 0, 1)


def extent(hidden: Tensor, dim: int) -> tuple[int, int]:
    """First and one past the last row (`dim` 0) or column (1) that `hidden` bool [H,W] touches."""
    places = hidden.any(1 - dim).nonzero().flatten().tolist()
    assert places == list(range(places[0], places[-1] + 1))
    return places[0], places[-1] + 1


sides = st.integers(3, 200)
kinds = st.sampled_from(KINDS)
seeds = st.integers(0, 2**56 - 1)


@given(sides, sides, st.integers(1, 90), st.integers(1, 90), kinds, seeds)
@settings(deadline=None, max_examples=80)
def test_only_hidden_pixels_change(H: int, W: int, h: int, w: int, kind: Occluder, seed: int) -> None:
    image, source = noise(H, W), noise(h, w, 1)
    before = image.clone()
    pasted, hidden = paste(image, source, kind, seed)
    assert pasted.shape == image.shape
    assert pasted.dtype == torch.uint8
    assert hidden.shape == (H, W)
    assert hidden.dtype == torch.bool
    assert torch.equal(image, before)
    assert torch.equal(pasted[:, ~hidden], image[:, ~hidden])


@given(sides, sides, st.sampled_from(THINGS), seeds)
@settings(deadline=None, max_examples=80)
def test_things_have_the_rules_size_and_place(H: int, W: int, kind: Occluder, seed: int) -> None:
    _, hidden = paste(noise(H, W), noise(40, 20), kind, seed)
    (top, bottom), (left, right) = extent(hidden, 0), extent(hidden, 1)
    assert hidden[top:bottom, left:right].all()
    if kind in (Occluder.TALL_LEFT, Occluder.TALL_RIGHT):
        assert (top, bottom) == (0, H)
        assert W / 4 <= right - left <= W / 2
        assert left == 0 if kind is Occluder.TALL_LEFT else right == W
    else:
        assert (left, right) == (0, W)
        assert H / 4 <= bottom - top <= H / 2
        assert top == 0 if kind is Occluder.WIDE_TOP else bottom == H


@given(sides, sides, seeds)
@example(22, 198, 59)  # one of the largest, as far out as can be: the head is in view all the same
@settings(deadline=None, max_examples=120)
def test_a_pedestrian_takes_20_to_40_percent_of_the_width_from_one_side(H: int, W: int, seed: int) -> None:
    _, hidden = paste(noise(H, W), noise(40, 20), Occluder.PEDESTRIAN, seed)
    (top, bottom), (left, right) = extent(hidden, 0), extent(hidden, 1)
    assert W / 5 <= right - left <= 2 * W / 5
    assert left == 0 or right == W
    assert bottom == H
    assert top <= 0.25 * H + 1  # the head


def test_a_pedestrian_is_no_rectangle_and_comes_from_both_sides() -> None:
    shapes = [paste(noise(128, 64), noise(128, 64), Occluder.PEDESTRIAN, seed)[1] for seed in range(40)]
    from_left = [bool(hidden[:, 0].any()) for hidden in shapes]
    assert 8 < sum(from_left) < 32
    for hidden in shapes:
        rows = hidden.sum(1)
        assert rows[rows > 0][0] < rows.max()  # the head is narrower than the shoulders
        assert rows[-1] < rows.max()  # and so are the legs
        assert hidden.any(0).sum() * 128 * 0.5 < hidden.sum() < hidden.any(0).sum() * 128


def test_inside_a_thing_stands_what_was_cut_out() -> None:
    for seed in range(20):
        for kind in THINGS:
            pasted, hidden = paste(plain(BLUE, 60, 33), plain(RED, 50, 30), kind, seed)
            inside = pasted[:, hidden]
            if kind in (Occluder.TALL_LEFT, Occluder.TALL_RIGHT):
                assert torch.equal(inside, RED.byte()[:, None].expand_as(inside))
            else:
                assert torch.equal(inside, inside[:, :1].expand_as(inside))  # shaken, but of one colour still


def test_inside_a_pedestrian_stands_the_other_person_with_a_soft_edge() -> None:
    for seed in range(12):
        pasted, hidden = paste(plain(BLUE, 256, 128), plain(RED, 90, 40), Occluder.PEDESTRIAN, seed)
        wholly = (pasted == RED[:, None, None]).all(0)
        edge = hidden & ~wholly
        assert wholly.sum() > 4 * edge.sum() > 0
        assert not (wholly & ~hidden).any()
        between = pasted[:, edge].int()
        assert (between >= torch.minimum(RED, BLUE)[:, None]).all()
        assert (between <= torch.maximum(RED, BLUE)[:, None]).all()
        waist = edge[110]
        assert 0 < waist.sum() <= 4


def test_a_pedestrian_is_nearer() -> None:
    for seed in range(30):
        H = 200
        pasted, hidden = paste(plain(GREY, H, 100), ramp(101, 50, 0), Occluder.PEDESTRIAN, seed)
        column = pasted[0, :, 2 if hidden[:, 0].any() else -3]  # in the figure, near its side
        per_row = (int(column[H - 40]) - int(column[H - 120])) / 80
        assert 1.05 * 0.97 <= 101 / (per_row * H) <= 1.4 * 1.03


def test_things_are_cut_from_the_side_borders() -> None:
    source = plain(BLUE, 80, 40)
    source[:, :, :12], source[:, :, 28:] = RED[:, None, None], RED[:, None, None]
    for seed in range(40):
        for kind in THINGS:
            pasted, hidden = paste(plain(GREY, 128, 64), source, kind, seed)
            inside = pasted[:, hidden]
            assert torch.equal(inside, inside[:, :1].expand_as(inside))  # nothing of the blue person in the middle


def test_strips_come_from_both_borders_mirrored_or_not() -> None:
    seen = set()
    for seed in range(60):
        pasted, _ = paste(noise(60, 40), ramp(90, 60, 1), Occluder.TALL_LEFT, seed)
        first, last = int(pasted[0, 30, 0]), int(pasted[0, 30, 9])
        seen.add((max(first, last) < 30, first < last))
    assert seen == {(True, True), (True, False), (False, True), (False, False)}


def test_wide_things_are_shaken_by_half_and_tall_ones_not() -> None:
    values = []
    for seed in range(300):
        pasted, hidden = paste(plain(BLUE, 20, 10), plain(GREY, 40, 20), Occluder.WIDE_TOP, seed)
        assert len(set(pasted[:, hidden].flatten().tolist())) == 1  # grey stays grey
        values.append(int(pasted[0, 0, 0]))
    assert 50 <= min(values) < 55
    assert 145 < max(values) <= 150


def test_saturation_and_contrast_are_shaken_too() -> None:
    spread, relief = [], []
    source = noise(40, 40).clamp(100, 140)
    for seed in range(200):
        pasted, hidden = paste(plain(BLUE, 40, 40), source, Occluder.WIDE_TOP, seed)
        inside = pasted[:, hidden].float()
        spread.append(float(inside.std(0).mean() / inside.mean()))
        relief.append(float(inside.mean(0).std() / inside.mean()))
    assert max(spread) > 3 * min(spread)
    assert max(relief) > 3 * min(relief)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), kinds, seeds)
@settings(deadline=None, max_examples=100)
def test_tiny_pictures_are_no_trouble(H: int, W: int, h: int, w: int, kind: Occluder, seed: int) -> None:
    _, hidden = paste(noise(H, W), noise(h, w), kind, seed)
    assert hidden.any()


def test_the_memory_layout_does_not_matter() -> None:
    image, source = noise(64, 32), noise(50, 20, 1)
    for kind in KINDS:
        a = paste(image, source, kind, 5)
        b = paste(as_decoded(image), as_decoded(source), kind, 5)
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])


def test_no_occluder_cannot_be_pasted() -> None:
    with pytest.raises(InputError, match="TALL_LEFT"):
        paste(noise(8, 8), noise(8, 8), Occluder.NONE, 0)


def digest() -> str:
    """Of what all kinds with some seeds make of pictures that are made by arithmetic alone."""
    sums = sha256()
    for kind in KINDS:
        for seed in range(8):
            for x in paste(pattern(61, 34), pattern(97, 45), kind, seed):
                sums.update(x.contiguous().numpy().tobytes())
    return sums.hexdigest()


def test_the_same_pixels_on_every_machine() -> None:
    assert digest() == "432ba85f18223e8da5dc7bcaaec54bc10d7727732dd3df107acdb5dfc9003551"


def test_the_same_pixels_in_another_process() -> None:
    code = "import test_occluders; print(test_occluders.digest())"
    where = {"PYTHONPATH": os.path.dirname(__file__), "PYTHONHASHSEED": "12345"}  # noqa: PTH120  (PYTHONPATH is text)
    run = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | where, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == digest()
