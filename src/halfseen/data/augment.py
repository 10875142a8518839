"""How training sees its pictures: what may happen to one, and the dice that say what does.

Chance and work are apart: `draw` throws the dice, `transforms.apply` is a pure function of what fell. So a picture and
its occluded twin can share one draw, and no result depends on which process did the work.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, log, sqrt
from random import Random
from typing import Literal, NamedTuple, TypeAlias

from halfseen.types import InputError

ERASE_TRIES = 10  # a rectangle that does not fit is drawn anew, as in timm

Range: TypeAlias = tuple[float, float]
Box: TypeAlias = tuple[int, int, int, int]  # top, left, height, width


def _check_range(name: str, values: Range, largest: float) -> None:
    if not 0 < values[0] <= values[1] <= largest:
        raise InputError(
            f"{name} {values} is no range to draw from; give (low, high) with 0 < low <= high <= {largest}"
        )


@dataclass(frozen=True, slots=True)
class AreaAndAspect:
    """A rectangle that takes a share of the image drawn from `area`, height to width drawn from `aspect`."""

    area: Range
    aspect: Range = (0.3, 1 / 0.3)

    def __post_init__(self) -> None:
        _check_range("area", self.area, 1)
        _check_range("aspect", self.aspect, 100)


@dataclass(frozen=True, slots=True)
class Sides:
    """A rectangle whose height and width are each a share of the image's, drawn from `share`."""

    share: Range

    def __post_init__(self) -> None:
        _check_range("share", self.share, 1)


@dataclass(frozen=True, slots=True)
class Augment:
    """How training sees a picture. `flip` and `erase` are probabilities; `pad` pixels of black precede the crop.

    `fill`: what erased pixels show. `swap_sides`: whether a flip exchanges left and right joints, fields and labels
    (False only to repeat TSD's released code). `flipped_labels[l]` is what part label l becomes in a mirror, background
    included; empty for labels without sides. None: part labels and flips don't go together.
    """

    height: int = 256
    width: int = 128
    flip: float = 0.0
    pad: int = 0
    erase: float = 0.0
    rectangle: AreaAndAspect | Sides = AreaAndAspect((0.02, 0.4))
    fill: Literal["mean", "noise"] = "mean"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    swap_sides: bool = True
    flipped_labels: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1 or not 0 <= self.pad < min(self.height, self.width):
            raise InputError(
                f"an image of {self.width} x {self.height} with pad {self.pad} cannot be made; "
                f"width and height must be at least 1 and pad smaller than both"
            )
        if not (0 <= self.flip <= 1 and 0 <= self.erase <= 1):
            raise InputError(f"flip {self.flip} and erase {self.erase} are probabilities; give numbers from 0 to 1")

    def at_test(self) -> Augment:
        """The same image size, and nothing left to chance."""
        return replace(self, flip=0.0, pad=0, erase=0.0)


TEST = Augment()
BOT = Augment(flip=0.5, pad=10, erase=0.5)
BPBREID = Augment(pad=10, erase=0.5, rectangle=Sides((0.15, 0.65)))  # no flip: its parts know left from right
TRANSREID = Augment(
    flip=0.5, pad=10, erase=0.5, rectangle=AreaAndAspect((0.02, 1 / 3)), fill="noise", interpolation="bicubic"
)
TSD = replace(TRANSREID, swap_sides=False)
TSD_PAPER = replace(TRANSREID, flip=0.0)
OGFR = replace(TRANSREID, erase=0.0)  # its occluders take the place of erasing


class Draw(NamedTuple):
    """What the dice said for one picture: column c of the result shows column c + dx of the resized, flipped picture.

    `noise` seeds the pixels of an erased rectangle.
    """

    flip: bool = False
    dx: int = 0
    dy: int = 0
    erase: Box | None = None
    noise: int = 0


def draw(augment: Augment, *key: int) -> Draw:
    """The draw that belongs to `key`, such as (seed, epoch, item): the same on every machine, in every process."""
    dice = Random(" ".join(map(str, key)))
    flip = dice.random() < augment.flip
    dx, dy = (_whole(dice, -augment.pad, augment.pad) for _ in "xy")
    erase = _draw_box(augment, dice) if dice.random() < augment.erase else None
    return Draw(flip, dx, dy, erase, _whole(dice, 0, 2**31))


def _whole(dice: Random, low: int, high: int) -> int:
    """A whole number from `low` to `high`, both included, from the one sequence Python never changes."""
    return low + int(dice.random() * (high - low + 1))


def _between(dice: Random, values: Range) -> float:
    return values[0] + dice.random() * (values[1] - values[0])


def _draw_box(augment: Augment, dice: Random) -> Box | None:
    for _ in range(ERASE_TRIES):
        height, width = _draw_sides(augment, dice)
        if 1 <= height <= augment.height and 1 <= width <= augment.width:
            top, left = _whole(dice, 0, augment.height - height), _whole(dice, 0, augment.width - width)
            return top, left, height, width
    return None


def _draw_sides(augment: Augment, dice: Random) -> tuple[int, int]:
    rule = augment.rectangle
    if isinstance(rule, Sides):
        return round(_between(dice, rule.share) * augment.height), round(_between(dice, rule.share) * augment.width)
    area = _between(dice, rule.area) * augment.height * augment.width
    aspect = exp(_between(dice, (log(rule.aspect[0]), log(rule.aspect[1]))))
    return round(sqrt(area * aspect)), round(sqrt(area / aspect))
