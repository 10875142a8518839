"""Whether keypoints can be those of the pictures that they are said to be of: asked before a training, not in it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from halfseen.data.files import shown
from halfseen.data.images import FORMATS, read_image
from halfseen.ops.groupings import JOINTS
from halfseen.types import InputError, Sample

SURE = 0.5  # a joint's score from which it is taken at its word
FAR = 1.0  # widths or heights beyond the picture's edge; estimators often guess a hidden leg a little below it
ENOUGH = 20  # people from whom the size that a file was made for can be told
MIDDLE = 0.42, 0.58  # of the width, where half of the people stand: in all sets at hand it is 0.48 to 0.50
LOWEST = 0.7, 1.05  # of the height, where the lowest joint is of half of those whose ankles are known: 0.85 to 0.95
ANKLES = [JOINTS.index(f"{side}_ankle") for side in ("left", "right")]
ORIENTATION = 0x0112  # EXIF's number


def stored_sizes(samples: Sequence[Sample]) -> Tensor:
    """Height and width of each stored picture, as it is read (upright): int64 [N,2]."""
    with warnings.catch_warnings():  # Pillow's, of pictures that are large or oddly made
        warnings.simplefilter("ignore")
        return torch.tensor([_size(sample.path) for sample in samples], dtype=torch.int64).reshape(-1, 2)


def check_fit(keypoints: Tensor, samples: Sequence[Sample], file: Path) -> None:
    """Refuse `keypoints` [N,17,3], which `file` gives for `samples`, if they cannot be of these pictures."""
    scored = keypoints[..., 2] > 0
    if not scored.any():
        raise InputError(
            f"{shown(file)}: all scores are 0 for the {len(samples):,} pictures asked for, beginning with "
            f"{samples[0].name}, so nobody is in them; make the file again with `halfseen cues make`"
        )
    sizes = stored_sizes(samples)
    extent = sizes.flip(1)[:, None].float()
    beyond = (torch.maximum(-keypoints[..., :2], keypoints[..., :2] - (extent - 1)) - 0.5) / extent
    out = beyond.amax(2) > 0
    _check_size(keypoints, samples, sizes, file)
    far = (beyond.amax(2) > FAR) & (keypoints[..., 2] >= SURE)
    nowhere = scored & (out | ~scored).all(1, keepdim=True)
    if (far | nowhere).any():
        row, joint = (far | nowhere).nonzero()[0].tolist()
        raise InputError(
            f"{shown(file)}: {_told(keypoints, samples, sizes, row, joint)}, outside it"
            f"{'' if far[row, joint] else ' like all other joints'}; make the keypoints of that picture again, or give "
            f"those joints the score 0"
        )


def _check_size(keypoints: Tensor, samples: Sequence[Sample], sizes: Tensor, file: Path) -> None:
    """Refuse what was made for larger or smaller pictures: usual people then stand beside their crops' middle, or end
    above or below their lower edge."""
    scored = keypoints[..., 2] > 0
    places = keypoints[..., :2] / sizes.flip(1)[:, None]
    first, last = (torch.where(scored, places[..., 0], edge) for edge in (torch.inf, -torch.inf))
    middle = (first.amin(1) + last.amax(1)) / 2
    lowest = torch.where(scored, places[..., 1], -torch.inf)
    for found, place, usual, joints, what in (
        (scored[:, ANKLES].any(1), lowest.amax(1), LOWEST, lowest, "lowest joint"),
        (scored.any(1), middle, MIDDLE, last, "rightmost joint"),
    ):
        if int(found.sum()) < ENOUGH or usual[0] <= (half := float(place[found].median())) <= usual[1]:
            continue
        larger = half > usual[1]
        wrong = found & (place > usual[1] if larger else place < usual[0])
        row = int(wrong.nonzero()[0, 0])
        raise InputError(
            f"{shown(file)}: it was made for {'larger' if larger else 'smaller'} pictures: "
            f"{_told(keypoints, samples, sizes, row, int(joints[row].argmax()))}, its {what}, and most people are like "
            f"that; make it again from these pictures, scale x and y, or give joints outside the score 0"
        )


def _told(keypoints: Tensor, samples: Sequence[Sample], sizes: Tensor, row: int, joint: int) -> str:
    (x, y, score), (height, width) = keypoints[row, joint].tolist(), sizes[row].tolist()
    return f"{samples[row].name} is {width} x {height} pixels, its {JOINTS[joint]} x={x:g} y={y:g} score={score:g}"


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path, formats=FORMATS) as picture:
            turned = picture.getexif().get(ORIENTATION, 1) >= 5
            width, height = picture.size
    except Exception:  # whatever Pillow stumbles over; reading the picture says what is wrong
        _, height, width = read_image(path).shape
        return height, width
    return (width, height) if turned else (height, width)
