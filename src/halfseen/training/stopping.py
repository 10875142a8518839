"""How a training ends before its time: because somebody asked, or because its numbers went bad."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from math import isfinite
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from halfseen.data.files import refused, shown, whole
from halfseen.training.learning import Step
from halfseen.types import Batch, InputError

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):  # noqa: N818  (nothing went wrong)
    """Somebody wants the work to end here."""


class StopSigns:
    """In its `with`, Ctrl-C and SIGTERM are noted, so that work ends where it can go on; the second ends it at once."""

    def __init__(self) -> None:
        self.seen = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopSigns:
        if threading.current_thread() is threading.main_thread():  # no other thread hears signals
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self.seen:
            raise KeyboardInterrupt
        self.seen = True

    def check(self) -> None:
        if self.seen:
            raise Stopped

    def check_meant(self, end: Exception) -> None:
        """Raise what ended the work, unless somebody wants it to end: then it had to, or its workers heard of it."""
        if not (isinstance(end, Stopped) or self.seen):
            raise end


def blame(step: Step, losses: Mapping[str, float], network: nn.Module, path: Path) -> NoReturn:
    """A loss of `step` or its gradient is no finite number: save its batch at `path` and say what the cause is."""
    terms = {name: value for name, value in losses.items() if not isfinite(value)}
    said = [f"the loss term {name!r} is {value}" for name, value in terms.items()] or ["all losses are finite"]
    said.append(_parameters_to_blame(network))
    with suppress(InputError):  # a full disk does not change the cause
        save_batch(path, step.batch)
    raise InputError(
        f"in step {step.number + 1:,} {', '.join(said)}; the batch is kept in {shown(path)} and the weights before it "
        f"stay as they were: lower --recipe.lr, set --recipe.clip, or look at that batch"
    )


def save_batch(path: Path, batch: Batch) -> None:
    """Everything in `batch` as safetensors, by the names of its fields; `partner.` precedes those of the partner."""
    tensors = {name: tensor.cpu().contiguous().clone() for name, tensor in _tensors(batch)}
    with whole(path) as beside:
        try:
            save_file(tensors, beside)
        except SafetensorError as error:
            raise refused(error) from error


def _tensors(batch: Batch, before: str = "") -> Iterator[tuple[str, Tensor]]:
    for name, value in (*vars(batch).items(), *vars(batch.cues).items()):
        if isinstance(value, Tensor):
            yield f"{before}{name}", value
    if batch.partner is not None:
        yield from _tensors(batch.partner, f"{before}partner.")


def _parameters_to_blame(network: nn.Module) -> str:
    named = dict(network.named_parameters())
    held = [name for name, value in named.items() if not value.isfinite().all()]
    if held:
        return f"the parameter {held[0]!r} holds NaN or infinity, as do {len(held)} of {len(named)} in all"
    reached = [name for name, value in named.items() if value.grad is not None and not value.grad.isfinite().all()]
    if reached:
        return f"the gradient is not finite at {len(reached)} of {len(named)} parameters, the first {reached[0]!r}"
    return "all parameters and gradients are finite"
