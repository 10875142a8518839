"""Keypoints that cannot be those of their pictures are refused before anything is trained, in one sentence."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from halfseen.data.cues import load_keypoints
from halfseen.data.finding import KEYPOINTS, find_cues
from halfseen.data.fitting import check_fit, stored_sizes
from halfseen.data.sets import read_set
from halfseen.types import InputError, Sample

FILE = Path("set/keypoints.npz")
HEIGHT, WIDTH = 80, 40


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    made = []
    for number in range(24):
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / f"{number}.png")
        made.append(Sample(tmp_path / f"{number}.png", f"query/{number}.png", number, 1))
    return made


def people(count: int) -> Tensor:
    """Joints all over the picture."""
    dice = torch.rand(count, 17, 2, generator=torch.Generator().manual_seed(0))
    return torch.cat([dice * torch.tensor([WIDTH - 1.0, HEIGHT - 1.0]), torch.full((count, 17, 1), 0.8)], dim=2)


def refusal(keypoints: Tensor, samples: list[Sample]) -> str:
    with pytest.raises(InputError) as error:
        check_fit(keypoints, samples, FILE)
    said = str(error.value)
    assert said.startswith("set/keypoints.npz: ")
    assert "\n" not in said
    return said


def test_what_fits_is_taken(samples: list[Sample]) -> None:
    check_fit(people(24), samples, FILE)
    some = people(24)
    some[3] = 0.0  # nobody was found
    some[4, 2, :2] = torch.tensor([20.0, HEIGHT + 30.0])  # a guess of what a counter hides
    some[5, 2] = torch.tensor([1e4, 1e4, 0.2])  # far, but nobody is sure of it
    some[6, 2] = torch.tensor([-1e4, 0.0, 0.0])
    check_fit(some, samples, FILE)


def test_scores_of_zero(samples: list[Sample]) -> None:
    nothing = people(24)
    nothing[..., 2] = 0
    said = refusal(nothing, samples)
    assert "all scores are 0 for the 24 pictures asked for, beginning with query/0.png" in said


def test_joints_far_outside(samples: list[Sample]) -> None:
    wrong = people(24)
    wrong[7, 9, :2] = torch.tensor([20.0, 2 * HEIGHT + 1.0])
    wrong[9, 9, :2] = torch.tensor([1e4, 0.0])
    said = refusal(wrong, samples)
    assert "query/7.png is 40 x 80 pixels, its left_wrist x=20 y=161 score=0.8, outside it; make" in said
    for place in ((-WIDTH - 1.0, 5.0), (2 * WIDTH + 1.0, 5.0), (5.0, -HEIGHT - 1.0)):
        wrong = people(24)
        wrong[7, 9, :2] = torch.tensor(place)
        assert "query/7.png" in refusal(wrong, samples)


def test_somebody_all_outside(samples: list[Sample]) -> None:
    wrong = people(24)
    wrong[5, :, 0] += WIDTH
    assert "query/5.png is 40 x 80 pixels, its nose x=" in (said := refusal(wrong, samples))
    assert "outside it like all other joints" in said


@pytest.mark.parametrize(
    ("x", "y", "what", "joint"),
    [
        (2.0, 2.0, "larger", "lowest"),
        (4.0, 4.0, "larger", "lowest"),
        (1.25, 1.25, "larger", "lowest"),
        (1.0, 1.5, "larger", "lowest"),
        (1.25, 1.0, "larger", "rightmost"),
        (0.5, 0.5, "smaller", "lowest"),
        (0.25, 0.25, "smaller", "lowest"),
        (1.0, 2 / 3, "smaller", "lowest"),
        (0.75, 0.75, "smaller", "rightmost"),
        (0.75, 1.0, "smaller", "rightmost"),
    ],
)
def test_another_size(x: float, y: float, what: str, joint: str, samples: list[Sample]) -> None:
    scaled = people(24) * torch.tensor([x, y, 1.0])
    scaled[0] = 0.0
    said = refusal(scaled, samples)
    row = int(re.search(r"query/(\d+)\.png is 40 x 80 pixels, its ", said)[1])  # type: ignore[index]
    axis = ("rightmost", "lowest").index(joint)
    farthest = scaled[row, scaled[row, :, axis].argmax()]
    assert f"it was made for {what} pictures: " in said
    assert f" x={farthest[0].item():g} y={farthest[1].item():g} score=0.8; make it again" in said
    assert ("people's lowest joint, in heights, is " if axis else "people's middle, in widths, is ") in said
    assert ("or give joints outside the score 0" in said) == (what == "larger")


@pytest.mark.parametrize(("x", "y"), [(1.25, 1.25), (0.75, 0.75), (1.0, 1.5), (1.0, 2 / 3), (1.5, 1.0), (2 / 3, 1.0)])
def test_the_street_at_another_size_does_not_fit(x: float, y: float) -> None:
    street = read_set("street")
    scale = torch.tensor([x, y, 1.0])
    for samples in street.by_name.values():
        keypoints = load_keypoints(street.root / KEYPOINTS).lookup([sample.name for sample in samples])[0]
        check_fit(keypoints, samples, FILE)
        with pytest.raises(InputError, match=r"was made for (larger|smaller) pictures"):
            check_fit(keypoints * scale, samples, FILE)


@pytest.mark.parametrize("side", [0.0, 1.0, None])
def test_people_cut_in_half_are_no_other_size(side: float | None, samples: list[Sample]) -> None:
    street = read_set("street")
    keypoints = load_keypoints(street.root / KEYPOINTS).lookup([sample.name for sample in street.train])[0][:24]
    height, width = stored_sizes(street.train[:24]).T
    keypoints[..., 0] *= 2 * WIDTH / width[:, None]  # stretched to two pictures side by side
    keypoints[..., 1] *= HEIGHT / height[:, None]
    keypoints[..., 0] -= WIDTH * (torch.arange(24)[:, None] % 2 if side is None else side)
    inside = (keypoints[..., 0] >= 0) & (keypoints[..., 0] <= WIDTH - 1)
    keypoints[..., 2] *= inside
    check_fit(keypoints, samples, FILE)


def test_guesses_of_what_the_picture_does_not_show_are_no_other_size(samples: list[Sample]) -> None:
    halves = people(24)
    halves[:, 13:, 1] = 1.6 * HEIGHT  # knees and ankles
    halves[:, 13:, 2] = 0.05
    check_fit(halves, samples, FILE)


def test_people_behind_a_counter_are_no_other_size(samples: list[Sample]) -> None:
    busts = people(24)
    busts[:, 11:] = 0.0  # from the hips on
    busts[:, :11, 1] *= 0.5
    check_fit(busts, samples, FILE)


def test_a_few_people_who_are_small_are_no_other_size(samples: list[Sample]) -> None:
    some = people(24)
    some[:10] *= torch.tensor([0.5, 0.5, 1.0])
    check_fit(some, samples, FILE)
    check_fit(people(3) * torch.tensor([0.5, 0.5, 1.0]), samples[:3], FILE)


def test_sizes_are_those_of_pictures_as_they_are_read(tmp_path: Path) -> None:
    picture = Image.new("RGB", (30, 20))
    picture.save(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned
    picture.save(tmp_path / "b.jpg", exif=exif)
    made = [Sample(tmp_path / name, name, 0, 1) for name in ("a.png", "b.jpg")]
    assert stored_sizes(made).tolist() == [[20, 30], [30, 20]]
    assert stored_sizes([]).shape == (0, 2)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"a\.png is empty"):
        stored_sizes(made)


def test_the_street_fits() -> None:
    street = read_set("street")
    for split in street.by_name.values():
        assert find_cues(street, split, {"keypoints"}).keypoints is not None


@pytest.mark.data
def test_real_keypoints_fit() -> None:
    folder = os.environ.get("HALFSEEN_DATA")
    if folder is None:
        pytest.skip("HALFSEEN_DATA is not set to a folder with cuhk03-np and partial-reid")
    for name in ("cuhk03-np", "partial-reid", "partial-reid:occluded"):
        splits = read_set(name, folder)
        assert load_keypoints(splits.root / KEYPOINTS)
        for samples in splits.by_name.values():
            keypoints = find_cues(splits, samples, {"keypoints"}).keypoints
            assert keypoints is None or len(keypoints) == len(samples)
