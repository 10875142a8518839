"""The log of a training: a line of JSON for some steps and for each evaluation, optionally TensorBoard beside it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from halfseen.data.files import shown, whole
from halfseen.types import InputError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

NAME = "log.jsonl"


class Log:
    """Lines in `folder`/log.jsonl, if it `writes` at all; what an earlier run wrote after `step` is taken back, and
    scores of epochs that were not over yet, after `epochs` of them."""

    def __init__(
        self, folder: Path, step: int, epochs: int = 0, *, writes: bool = True, tensorboard: bool = False
    ) -> None:
        self.path, self.writes = folder / NAME, writes
        if writes:
            self._take_back(step, epochs)
        self._board = _board(folder, step) if writes and tensorboard else None

    def _take_back(self, step: int, epochs: int) -> None:
        lines = [line for line in read_log(self.path) if line["step"] <= step]
        kept = [line for line in lines if line.get("kind") != "scores" or _epoch(line) <= epochs]
        with whole(self.path) as beside:
            beside.write_text("".join(f"{json.dumps(line)}\n" for line in kept))

    def write(self, kind: str, epoch: int, step: int, values: Mapping[str, Any]) -> None:
        """One line: `kind`, `epoch` (from 1), `step` (how many are done in all) and `values`."""
        if not self.writes:
            return
        try:
            with self.path.open("a") as file:
                file.write(json.dumps({"kind": kind, "epoch": epoch, "step": step, **values}) + "\n")
        except OSError as error:
            raise InputError(f"{shown(self.path)} cannot be written ({error.strerror or error}); make room") from error
        if self._board:
            for name, value in _numbers(values):
                self._board.add_scalar(name, value, step)
            self._board.flush()

    def close(self) -> None:
        if self._board:
            self._board.close()


class Meter:
    """What happened in some steps: means of what each said, and images a second."""

    def __init__(self) -> None:
        self.losses: dict[str, float] = defaultdict(float)
        self.others: dict[str, float] = defaultdict(float)
        self.steps = self.images = 0
        self.began = perf_counter()

    def add(self, losses: Mapping[str, float], others: Mapping[str, float], images: int) -> None:
        """What a step of `images` said: its `losses`, and what it said beside them."""
        for sums, values in ((self.losses, losses), (self.others, others)):
            for name, value in values.items():
                sums[name] += value
        self.steps += 1
        self.images += images

    def summary(self) -> dict[str, Any]:
        """`losses` by name, what was said beside them, and `images_per_second`."""
        losses, others = ({name: s / self.steps for name, s in sums.items()} for sums in (self.losses, self.others))
        return {"losses": losses, **others, "images_per_second": self.images / (perf_counter() - self.began)}

    def __str__(self) -> str:
        summary = self.summary()
        losses = ", ".join(f"{name} {value:.3f}" for name, value in summary["losses"].items())
        return f"{losses}; {summary['images_per_second']:,.0f} images/s"


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; what was cut off in the middle of a line by a power cut or kill is left out."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            lines.append(line)
    return lines


def _epoch(line: Mapping[str, Any]) -> int:
    """Of a line; 0 of one that says none, which is older than any."""
    return epoch if isinstance(epoch := line.get("epoch"), int) else 0


def _numbers(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    """All numbers in `values`, however deep, with their names joined by slashes."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{before}{name}/")
        elif isinstance(value, int | float):
            yield f"{before}{name}", value


def board_writer() -> type[SummaryWriter]:
    """What writes for TensorBoard, which is an extra."""
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise InputError(
            "--tensorboard needs a package that is not there; run `pip install 'halfseen[track]'`, or leave it out"
        ) from error
    return SummaryWriter


def _board(folder: Path, step: int) -> SummaryWriter:
    return board_writer()(str(folder / "tensorboard"), purge_step=step + 1)
