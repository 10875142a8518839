"""Who finds people in the frames of a film: OpenCV's own detector, which needs no download, or torchvision's."""

from __future__ import annotations

import contextlib
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, cast

import torch
from torch import Tensor, nn

from halfseen.data.files import shown
from halfseen.gallery.indexing.video import opencv
from halfseen.types import InputError

DetectorName: TypeAlias = Literal["hog", "mobilenet", "resnet"]

NETWORKS = {"mobilenet": "fasterrcnn_mobilenet_v3_large_fpn", "resnet": "fasterrcnn_resnet50_fpn_v2"}
PERSON = 1  # of COCO's classes
SURE = 0.7  # of the networks' scores

# The window of OpenCV's detector shows a person 96 pixels tall with room around: shares of its width and height.
WINDOW_PERSON, WINDOW_WIDTH = 96, 64
ROOM = (0.16, 0.08)
SURE_HOG = 0.5  # on which side of its plane, and how far from it
APART = 0.6  # two of its boxes that share this much of the smaller one show the same person


class People(NamedTuple):
    """Those in one frame: `boxes` float [n,4] (left, top, right, bottom, in pixels) and `scores` [n]."""

    boxes: Tensor
    scores: Tensor


Detect: TypeAlias = Callable[[Tensor], People]  # of a frame, uint8 RGB [3,H,W]


def load_detector(name: DetectorName, smallest: float, weights: Path | None, device: str) -> Detect:
    """The detector `name`, for people of whom at least `smallest` times the frame's height is to be seen."""
    check_detector(name, smallest, weights)
    return _hog(smallest) if name == "hog" else _network(name, smallest, weights, device)


def check_detector(name: DetectorName, smallest: float, weights: Path | None) -> None:
    """What can be told before there is a film."""
    if not 0.02 <= smallest <= 1:
        raise InputError(f"--smallest is {smallest:g}; it is a share of a frame's height: give 0.02 to 1")
    if weights is not None and name == "hog":
        raise InputError("--weights belong to --detector mobilenet or resnet; leave them out")
    if weights is not None and not weights.is_file():
        raise InputError(f"--weights {shown(weights)}: there is no such file; name one of torchvision's state dicts")


def _hog(smallest: float) -> Detect:
    cv2 = opencv()
    if not hasattr(cv2, "HOGDescriptor"):
        raise InputError(
            f"OpenCV {cv2.__version__} is installed without its people detector, which has moved; run pip uninstall "
            f"opencv-python-headless, then pip install 'halfseen[search]'"
        )
    hog = cv2.HOGDescriptor()
    hog.setSVMDetector(cv2.HOGDescriptor.getDefaultPeopleDetector())

    def detect(frame: Tensor) -> People:
        scale = WINDOW_PERSON / (smallest * frame.shape[1])
        grey = cv2.cvtColor(frame.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY)
        grey = cv2.resize(
            grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        )
        narrow = max(0, WINDOW_WIDTH - grey.shape[1])  # OpenCV stumbles over less, or worse
        grey = cv2.copyMakeBorder(grey, 0, 0, 0, narrow, cv2.BORDER_REPLICATE)
        found, weights = hog.detectMultiScale(grey, winStride=(8, 8), padding=(16, 16), scale=1.1)
        boxes = torch.tensor(found, dtype=torch.float32).reshape(-1, 4) / scale
        scores = torch.tensor(weights, dtype=torch.float32).reshape(-1)
        corner, size = boxes[:, :2], boxes[:, 2:]
        room = size * torch.tensor(ROOM)
        boxes, sure = torch.cat([corner + room, corner + size - room], dim=1), scores >= SURE_HOG
        return apart(People(boxes[sure], scores[sure]))

    return detect


def apart(people: People) -> People:
    """Of those who share too much of the smaller box, the one with the highest score: scores fall in the answer."""
    order = people.scores.argsort(descending=True, stable=True).tolist()
    shared = covered(people.boxes, people.boxes)
    shared = torch.maximum(shared, shared.T)
    kept: list[int] = []
    for one in order:
        if all(float(shared[one, other]) <= APART for other in kept):
            kept.append(one)
    return People(people.boxes[kept], people.scores[kept])


def covered(boxes: Tensor, others: Tensor) -> Tensor:
    """Which share of each of `boxes` [n,4] each of `others` [m,4] covers: [n,m]."""
    corner = torch.maximum(boxes[:, None, :2], others[None, :, :2])
    end = torch.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return (end - corner).clamp(min=0).prod(2) / area(boxes)[:, None].clamp(min=1e-6)


def area(boxes: Tensor) -> Tensor:
    """Of `boxes` [n,4]: [n]."""
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)


def _network(name: str, smallest: float, weights: Path | None, device: str) -> Detect:
    network = _built(NETWORKS[name], weights).eval().to(device)

    @torch.inference_mode()
    def detect(frame: Tensor) -> People:
        (answer,) = network([frame.to(device).float() / 255])
        people = People(answer["boxes"].cpu(), answer["scores"].cpu())
        tall = people.boxes[:, 3] - people.boxes[:, 1] >= smallest * frame.shape[1]
        keep = tall & (answer["labels"].cpu() == PERSON) & (people.scores >= SURE)
        return People(people.boxes[keep], people.scores[keep])

    return detect


def _built(name: str, weights: Path | None) -> nn.Module:
    from torchvision.models import detection  # noqa: PLC0415  (takes a second)

    build = getattr(detection, name)
    try:
        if weights is None:
            with contextlib.redirect_stdout(sys.stderr):  # torch tells what it fetches
                return cast(nn.Module, build(weights="DEFAULT", progress=False))
        network = cast(nn.Module, build(weights=None, weights_backbone=None))
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        return network
    except (OSError, RuntimeError, TypeError, AttributeError, pickle.UnpicklingError, EOFError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        if weights is not None:
            raise InputError(
                f"{shown(weights)} holds no weights of torchvision's {name} ({reason}); give a file of its state dict"
            ) from error
        raise InputError(
            f"the weights of {name} could not be fetched from torchvision's hub ({reason}); fetch them elsewhere and "
            f"name the file with --weights"
        ) from error
