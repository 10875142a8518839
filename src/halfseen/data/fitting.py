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
MIDDLE = 0.42, 0.58  # of the width, where people stand: in all sets at hand half of them below 0.48 to 0.50
REACH = 0.75, 1.02  # of the width, to where one in twenty has a joint: 0.88 to 0.98; of people cut in half 0.8 to 1
LOWEST = 0.7, 1.05  # of the height, where those whose ankles are known have their lowest joint: half below 0.87 to 0.93
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
    """Refuse what was made for larger or smaller pictures: usual people then end below or far above the lower edge, or
    stand beside the middle and reach beyond the right edge, or nowhere near it."""
    sure = keypoints[..., 2] >= SURE
    places = keypoints[..., :2] / sizes.flip(1)[:, None]
    left, _ = torch.where(sure[..., None], places, torch.inf).amin(1).unbind(1)
    right, low = torch.where(sure[..., None], places, -torch.inf).amax(1).unbind(1)
    middle, known, standing = (left + right) / 2, sure.any(1), sure[:, ANKLES].any(1)
    if int(standing.sum()) >= ENOUGH and (wrong := _beyond(float(low[standing].median()), LOWEST)):
        at, usual, who, values, what = low, LOWEST, standing, keypoints[..., 1], "lowest joint, in heights"
    elif (
        int(known.sum()) >= ENOUGH
        and (wrong := _beyond(float(middle[known].median()), MIDDLE))
        and wrong == _beyond(float(right[known].quantile(0.95)), REACH)
    ):
        at, usual, who, values, what = middle, MIDDLE, known, keypoints[..., 0], "middle, in widths"
    else:
        return
    half = float(at[who].median())
    row = int((who & (at > usual[1] if wrong == "larger" else at < usual[0])).nonzero()[0, 0])
    joint = int(torch.where(sure[row], values[row], -torch.inf).argmax())
    raise InputError(
        f"{shown(file)}: it was made for {wrong} pictures: people's {what}, is {half:.2f}, where {usual[0]} to "
        f"{usual[1]} is usual, and {_told(keypoints, samples, sizes, row, joint)}; make it again from these pictures, "
        f"or scale x and y{', or give joints outside the score 0' if wrong == 'larger' else ''}"
    )


def _beyond(place: float, usual: tuple[float, float]) -> str:
    return "larger" if place > usual[1] else "smaller" if place < usual[0] else ""


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
