"""MediaPipe Pose (BlazePose): 33 landmarks of one person, 17 of which are COCO's joints.

Version 0.10.14 carries its models in the wheel, so nothing is downloaded, and lets numpy be: later ones until 0.10.21
want numpy 1, from 0.10.30 on the models are gone. Its scores tell of occlusion only at elbows, wrists, knees and
ankles; it always draws a whole person, whatever is seen, and follows one person at most.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from halfseen.estimators.people import Estimate, People, loading, needed
from halfseen.types import InputError

VERSION = "0.10.14"
LANDMARKS = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)  # those that are COCO's joints, in order
SIDE = 512  # the longer side of a picture for it: it was made for larger ones than crops
# Room around the picture, as a share of that side, and how sure the detector must be, one after the other until
# somebody upright is found: crops are tighter than what it was made for. What stands on its head is a mistake.
TRIES = ((0.25, 0.3), (0.0, 0.1), (0.1, 0.1), (0.5, 0.1))


def about(weights: Path | None) -> str:
    """The version; its models come with it."""
    if weights is not None:
        raise InputError(f"--weights {weights}: mediapipe carries its own models; leave it out")
    if sys.version_info >= (3, 13):
        raise InputError(f"mediapipe {VERSION} has no wheel for Python 3.13 and later; use 3.12, or another estimator")
    return f"mediapipe {needed('mediapipe', 'mediapipe', VERSION)} Pose, model 1, {len(TRIES)} tries at {SIDE} pixels"


def load(weights: Path | None, device: str) -> Estimate:  # noqa: ARG001  (it has models of its own, for CPUs)
    """A detector for each degree of being sure; both last as long as what is returned."""
    with _hushed(), loading("mediapipe", "mediapipe"):
        from mediapipe.python.solutions.pose import Pose  # noqa: PLC0415  (an extra)

        sure = {
            least: Pose(static_image_mode=True, model_complexity=1, min_detection_confidence=least)
            for least in dict.fromkeys(least for _, least in TRIES)
        }
        for detector in sure.values():
            detector.process(np.zeros((8, 8, 3), np.uint8))  # what it has to say, it says now

    def find(image: Tensor) -> People:
        large = enlarged(image)
        for room, least in TRIES:
            answer = sure[least].process(padded(large, room))
            people = in_pixels(answer.pose_landmarks, image.shape[1:], room)
            if len(people) and upright(people[0]):
                return people
        return torch.zeros(0, len(LANDMARKS), 3)

    def estimate(images: Sequence[Tensor]) -> list[People]:
        with warnings.catch_warnings():  # of the protobuf that it wants
            warnings.simplefilter("ignore")
            return [find(image) for image in images]

    return estimate


def enlarged(image: Tensor) -> Tensor:
    """`image` uint8 [3,H,W] with SIDE pixels along its longer side."""
    size = _enlarged_size(image.shape[1:])
    return F.interpolate(image[None].float(), size, mode="bicubic", antialias=True)[0].round().clamp(0, 255).byte()


def padded(image: Tensor, room: float) -> NDArray[np.uint8]:
    """`image` uint8 [3,H,W] with a border of `room` sides, black, as MediaPipe takes it: [h,w,3]."""
    border = round(room * SIDE)
    return np.ascontiguousarray(F.pad(image, (border,) * 4).permute(1, 2, 0).numpy())


def in_pixels(landmarks: Any, size: Sequence[int], room: float) -> People:
    """MediaPipe's `landmarks` (None: nobody), shares of an enlarged and padded picture, in pixels of it at `size`."""
    if landmarks is None:
        return torch.zeros(0, len(LANDMARKS), 3)
    marks = [landmarks.landmark[number] for number in LANDMARKS]
    shares = torch.tensor([(mark.x, mark.y, mark.visibility) for mark in marks])
    large, border = torch.tensor(_enlarged_size(size)), round(room * SIDE)
    height, width = (large + 2 * border).tolist()
    places = shares[:, :2] * torch.tensor([width, height]) - border
    places = places * (torch.tensor(list(size)) / large).flip(0) - 0.5  # it counts from the corner of the first pixel
    return torch.cat([places, shares[:, 2:].clamp(0, 1)], dim=1)[None]


def _enlarged_size(size: Sequence[int]) -> tuple[int, int]:
    height, width = (max(1, round(length * SIDE / max(size))) for length in size)
    return height, width


def upright(person: Tensor) -> bool:
    """Whether the shoulders of `person` [17,3] are above the hips."""
    return bool(person[5:7, 1].mean() < person[11:13, 1].mean())


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Its C++ tells standard error of its delegates, and its Python of old protobuf."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
