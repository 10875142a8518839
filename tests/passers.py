"""Films of coloured people who walk over grey, a detector that knows their colours, and a clock for those who wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from halfseen.gallery.indexing.detectors import People

SIZE = (96, 160)  # height, width of a frame
TALL, WIDE = 36, 12
RATE = 10
RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 200, 30), (30, 30, 220), (220, 200, 20)

Colour = tuple[int, int, int]


class Walker(NamedTuple):
    """There from `begin` to `end`, at first at `left` and `top`; walks `speed` pixels a second."""

    colour: Colour
    begin: float
    end: float
    left: float
    speed: float
    top: float = 30.0

    def box(self, moment: float) -> tuple[int, int, int, int] | None:
        if not self.begin <= moment < self.end:
            return None
        left, top = round(self.left + self.speed * (moment - self.begin)), round(self.top)
        return left, top, left + WIDE, top + TALL


def frame(walkers: Sequence[Walker], moment: float) -> Tensor:
    """uint8 [3,H,W]; who comes later in `walkers` stands in front."""
    image = torch.full((3, *SIZE), 120, dtype=torch.uint8)
    for walker in walkers:
        if (box := walker.box(moment)) is not None:
            left, top, right, bottom = box
            image[:, max(0, top) : bottom, max(0, left) : max(0, right)] = torch.tensor(walker.colour)[:, None, None]
    return image


def save_film(path: Path, walkers: Sequence[Walker], seconds: float, rate: int = RATE) -> Path:
    """As Motion JPEG."""
    cv2 = pytest.importorskip("cv2", reason="films need OpenCV: pip install 'halfseen[search]'")
    film = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), rate, (SIZE[1], SIZE[0]))
    assert film.isOpened()
    for number in range(round(seconds * rate)):
        film.write(frame(walkers, number / rate).permute(1, 2, 0).numpy()[:, :, ::-1])
    film.release()
    return path


def find(image: Tensor) -> People:
    """Where somebody in one of the colours is to be seen."""
    boxes = []
    for colour in (RED, GREEN, BLUE, YELLOW):
        near = (image.float() - torch.tensor(colour)[:, None, None]).abs().sum(0) < 90
        rows, columns = near.any(1).nonzero()[:, 0], near.any(0).nonzero()[:, 0]
        if len(rows) > 10 and len(columns) > 3:
            boxes.append([int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1])
    return People(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), torch.ones(len(boxes)))


class Ended(BaseException):
    """Nothing more happens."""


class Days:
    """A clock that runs only while the watch rests; then the next of `events` happens."""

    def __init__(self, events: Sequence[Callable[[], object] | None]) -> None:
        self.now, self.events = 0.0, list(events)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if not self.events:
            raise Ended
        event = self.events.pop(0)
        if event:
            event()
