"""From people in frames to passages: one person walking by is a few good crops, and not a thousand.

Where somebody is expected follows from their last box and their speed; who is found there, in much the same colours, is
them. Boxes are compared as squares of their height: people are narrow, and take a step of their own width between two
looks. In doubt a passage is cut in two: that costs a few crops more, while two people in one passage mislead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from halfseen.gallery.indexing.detectors import People, area, covered
from halfseen.gallery.indexing.pictures import LEAST

SAME = 0.2  # least likeness of one person at two looks, see `likeness`
COLOURS = (6, 2)  # rows and columns of patches of one colour each
DIFFERENCE = 100.0  # of colours, as much as having nothing in common with where one is expected
PATIENCE = 1.0  # seconds that somebody may be out of sight, and two looks
LASTING = 0.7  # of what is known of somebody's colours, so much stays when they are seen again
FEWEST = 3  # looks that make a passage; fewer are mistakes of the detector
SPAN = 1.0  # seconds of which one crop is kept while the passage lasts
TALLEST = 384  # pixels of a crop's height; no network here looks at more
SHARP_SIZE = (64, 32)
BORDER = 2  # pixels


class Crop(NamedTuple):
    """Somebody at a `moment`: `image` uint8 [3,h,w], cut from `box` (left, top, right, bottom), and its `colours`."""

    moment: float
    box: tuple[float, float, float, float]
    quality: float
    image: Tensor
    colours: Tensor


@dataclass
class Passage:
    """Somebody who passes by, last seen at `moment` in `box` [4]; `speed` [2] of its middle, in pixels a second."""

    moment: float
    box: Tensor
    colours: Tensor
    speed: Tensor | None = None
    looks: int = 1
    crops: dict[int, Crop] = field(default_factory=dict)  # the best of each span

    def expected(self, moment: float) -> Tensor:
        """The box [4] at a later `moment`."""
        return self.box if self.speed is None else self.box + (self.speed * (moment - self.moment)).repeat(2)

    def see(self, box: Tensor, crop: Crop) -> None:
        """Here they are again, in `box` [4]."""
        speed = (middle(box) - middle(self.box)) / (crop.moment - self.moment)
        self.speed = speed if self.speed is None else (self.speed + speed) / 2
        self.colours = torch.lerp(crop.colours, self.colours, LASTING)
        self.moment, self.box, self.looks = crop.moment, box, self.looks + 1
        self.keep(crop)

    def keep(self, crop: Crop) -> None:
        span = int(crop.moment // SPAN)
        if span not in self.crops or self.crops[span].quality < crop.quality:
            self.crops[span] = crop

    def best(self, count: int) -> list[Crop]:
        """At most `count` crops, the best of as many equal parts of the passage."""
        crops = sorted(self.crops.values(), key=lambda crop: crop.moment)
        first, length = crops[0].moment, crops[-1].moment - crops[0].moment
        parts: dict[int, Crop] = {}
        for crop in crops:
            part = min(count - 1, int(count * (crop.moment - first) / length)) if length else 0
            parts[part] = max(parts.get(part, crop), crop, key=lambda each: each.quality)
        return list(parts.values())


class Tracker:
    """Follows people from look to look. `count`: how many crops of a passage to keep."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._present: list[Passage] = []
        self._ended: list[list[Crop]] = []
        self._last = 0.0

    def add(self, moment: float, frame: Tensor, people: People) -> None:
        """`people` in `frame`, uint8 [3,H,W], at a `moment` later than those before."""
        patience, self._last = max(PATIENCE, 2.5 * (moment - self._last)), moment
        self._present = [passage for passage in self._present if not self._ends(passage, moment - patience)]
        boxes, crops = cut(frame, people, moment)
        known = matched(likeness(self._present, moment, boxes, crops))
        passages = list(self._present)
        for number, (box, crop) in enumerate(zip(boxes, crops, strict=True)):
            if number in known:
                passages[known[number]].see(box, crop)
            else:
                self._present.append(Passage(moment, box, crop.colours))
                self._present[-1].keep(crop)

    def end(self) -> list[list[Crop]]:
        """The film ends: the crops of each passage, in the order in which they began."""
        self._present = [passage for passage in self._present if not self._ends(passage, torch.inf)]
        return sorted(self._ended, key=lambda crops: crops[0].moment)

    def _ends(self, passage: Passage, before: float) -> bool:
        if passage.moment >= before:
            return False
        if passage.looks >= FEWEST:
            self._ended.append(passage.best(self.count))
        return True


def likeness(passages: Sequence[Passage], moment: float, boxes: Tensor, crops: Sequence[Crop]) -> Tensor:
    """How well each of `boxes` [m,4], which show `crops`, goes on with each of n `passages`: [n,m]."""
    if not passages or not crops:
        return torch.zeros(len(passages), len(crops))
    expected = torch.stack([passage.expected(moment) for passage in passages])
    before, now = (torch.stack([each.colours.flatten() for each in some]) for some in (passages, crops))
    difference = torch.cdist(before, now, p=1) / now.shape[1]
    return overlap(squares(expected), squares(boxes)) - difference / DIFFERENCE


def matched(likeness: Tensor) -> dict[int, int]:
    """Who is who by their `likeness` [n,m]: columns → rows, the likest pairs first, each once."""
    pairs: dict[int, int] = {}
    for place in likeness.flatten().argsort(descending=True, stable=True).tolist():
        row, column = divmod(place, likeness.shape[1])
        if likeness[row, column] < SAME:
            break
        if column not in pairs and row not in pairs.values():
            pairs[column] = row
    return pairs


def overlap(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of `boxes` [n,4] and `others` [m,4]: [n,m]."""
    shared = covered(boxes, others) * area(boxes)[:, None]
    return shared / (area(boxes)[:, None] + area(others) - shared).clamp(min=1e-6)


def squares(boxes: Tensor) -> Tensor:
    """`boxes` [n,4] as wide as they are tall."""
    middles, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 3:] - boxes[:, 1:2]) / 2
    return torch.cat([middles - half, middles + half], dim=1)


def middle(box: Tensor) -> Tensor:
    """Of a `box` [4]: [2]."""
    return (box[:2] + box[2:]) / 2


def cut(frame: Tensor, people: People, moment: float) -> tuple[Tensor, list[Crop]]:
    """Those of `people` who are in `frame`, uint8 [3,H,W]: their boxes [n,4], as they were found, and n crops."""
    height, width = frame.shape[1:]
    limits = torch.tensor([width, height, width, height])
    inside = torch.minimum(people.boxes.round().clamp(min=0), limits)
    there = ((inside[:, 2:] - inside[:, :2]) >= LEAST).all(1)
    boxes, inside = people.boxes[there], inside[there].int()
    shares = wholeness(boxes, height, width)
    return boxes, [_crop(frame, *each, moment) for each in zip(inside.tolist(), shares.tolist(), strict=True)]


def _crop(frame: Tensor, box: Sequence[int], share: float, moment: float) -> Crop:
    left, top, right, bottom = box
    image = frame[:, top:bottom, left:right].clone()
    if bottom - top > TALLEST:
        size = (TALLEST, max(1, round((right - left) * TALLEST / (bottom - top))))
        image = F.interpolate(image[None], size, mode="bilinear", antialias=True)[0]
    margin = image.shape[2] // 5  # a person is in the middle
    colours = F.interpolate(image[None, :, :, margin : image.shape[2] - margin].float(), COLOURS, mode="area")[0]
    quality = share**2 * (sharpness(image) * (bottom - top)) ** 0.5
    return Crop(moment, (left, top, right, bottom), quality, image, colours)


def wholeness(boxes: Tensor, height: int, width: int) -> Tensor:
    """How much of the people in `boxes` [n,4] a frame of that size shows, 0..1: [n].

    What lies outside is not seen, and neither is what those cover who stand lower in the frame, as they are nearer to
    the camera. Who touches the border is hardly whole, as detectors see nobody beyond it.
    """
    frame = torch.tensor([[0.0, 0.0, width, height]])
    inside = covered(boxes, frame)[:, 0]
    nearer = boxes[:, None, 3] < boxes[None, :, 3]
    hidden = torch.where(nearer, covered(boxes, boxes), 0.0).amax(1) if len(boxes) else inside
    touching = (boxes[:, :2] <= BORDER).any(1) | (boxes[:, 2:] >= frame[0, 2:] - BORDER).any(1)
    return inside * (1 - hidden.clamp(max=1)) * torch.where(touching, 0.5, 1.0)


def sharpness(image: Tensor) -> float:
    """How much neighbouring pixels of `image`, uint8 [3,h,w], differ once it has the size of all others."""
    grey = image.float().mean(0)[None, None]
    small = F.interpolate(grey, SHARP_SIZE, mode="bilinear", antialias=True)[0, 0]
    inner = small[1:-1, 1:-1]
    around = small[:-2, 1:-1] + small[2:, 1:-1] + small[1:-1, :-2] + small[1:-1, 2:]
    return float((4 * inner - around).abs().mean())
