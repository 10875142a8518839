"""How a training is run, and the names that a recipe uses for what it does to pictures."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from halfseen.data import augment
from halfseen.data.augment import Augment
from halfseen.data.files import shown
from halfseen.data.memory import GIGABYTE
from halfseen.encode import Device, Precision
from halfseen.ops.groupings import GROUPINGS, flipped_parts
from halfseen.recipe import Recipe
from halfseen.training.log import board_writer
from halfseen.types import InputError, Progress, Protocol
from halfseen.weights import Start

Bars: TypeAlias = Callable[[str], AbstractContextManager[Progress]]  # a progress bar for the work of that name
Say: TypeAlias = Callable[[str], None]

PAD = augment.BOT.pad / augment.BOT.width  # papers pad by 10 pixels, of pictures 128 wide

AUGMENTS: dict[str, Augment] = {
    "none": augment.TEST,
    "flip": Augment(flip=0.5),
    "bot": augment.BOT,
    "bpbreid": augment.BPBREID,
    "transreid": augment.TRANSREID,
    "tsd": augment.TSD,
    "tsd-paper": augment.TSD_PAPER,
    "ogfr": augment.OGFR,
}


def no_bar(_: str) -> AbstractContextManager[Progress]:
    """For work that nobody watches."""
    return nullcontext(lambda _done, _all: None)


def say_nothing(_: str) -> None:
    """For work that nobody listens to."""


@dataclass(frozen=True)
class Settings:
    """How a training is run; only `seed`, `start` and `precision` change what comes out.

    `out` is the folder of all it writes. After every so many epochs it is evaluated, under `protocols` (none: all that
    the set allows), and after the last. A line is logged every `interval` steps. A checkpoint is written after each
    epoch, and every `save` steps. `memory` bytes of resized pictures and part labels are kept. `workers` processes make
    the batches. `bars` and `say` are for the person who waits.
    """

    out: Path
    seed: int = 0
    start: Start = "hub"
    device: Device = "auto"
    precision: Precision = "float32"
    compile: bool = False
    every: int = 10
    protocols: tuple[Protocol, ...] = ()
    interval: int = 50
    save: int | None = None
    memory: int = 4 * GIGABYTE
    workers: int = 0
    tensorboard: bool = False
    bars: Bars = no_bar
    say: Say = say_nothing

    def __post_init__(self) -> None:
        for name in ("every", "interval", "save", "memory", "workers"):
            if (value := getattr(self, name)) is not None and value < 0:
                raise InputError(f"--{name} is {value}; give 0 or more")
        if not -(2**63) <= self.seed < 2**63:
            raise InputError(f"--seed is {self.seed}; give a whole number of at most 64 bits")
        if self.tensorboard:
            board_writer()  # better refused now than beside an empty log

    def made(self) -> Path:
        """The folder `out`, which is there now."""
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = error.strerror or error
            raise InputError(f"{shown(self.out)} cannot be made ({why}); choose another --out") from error
        return self.out


def augment_of(recipe: Recipe, grouping: str | None = None) -> Augment:
    """How `recipe` sees pictures; `grouping` tells what part labels become in a mirror."""
    known = AUGMENTS.get(recipe.augment)
    if known is None:
        raise InputError(
            f"the recipe sees pictures as {recipe.augment!r}, which nobody knows; choose one of {', '.join(AUGMENTS)}"
        )
    labels = (0, *(1 + part for part in flipped_parts(GROUPINGS[grouping]))) if grouping else None
    pad = round(PAD * recipe.width) if known.pad else 0
    return replace(known, height=recipe.height, width=recipe.width, pad=pad, flipped_labels=labels)
