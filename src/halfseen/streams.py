"""To a GPU and back without waiting for it: it computes while the next batch comes and the last result is looked at."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor

Made = TypeVar("Made")
Seen = TypeVar("Seen")


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`; a GPU fetches it while this process goes on, which only pinned memory allows."""
    if device.type == "cuda" and not tensor.is_cuda:
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


class Behind(Generic[Made, Seen]):
    """Looks at what a device makes: on a CPU at once, on a GPU when the next thing is under way.

    `look` may wait, e.g. copy to the CPU. It does so on a stream of its own, which is behind by `lag` things and does
    not wait for newer work.
    """

    def __init__(self, device: torch.device, look: Callable[[Made], Seen]) -> None:
        self.look = look
        self.stream = _stream(device)
        self.lag = 0 if self.stream is None else 1
        self._waiting: deque[tuple[Made, torch.cuda.Event | None]] = deque()

    def add(self, made: Made, *, last: bool = False) -> Iterator[tuple[Made, Seen]]:
        """`made` is under way: the things before it that are due, if it is the `last` it too, with what is seen."""
        ready = None if self.stream is None else torch.cuda.current_stream(self.stream.device).record_event()
        self._waiting.append((made, ready))
        while len(self._waiting) > (0 if last else self.lag):
            oldest, ready = self._waiting.popleft()
            yield oldest, self._seen(oldest, ready)

    def _seen(self, made: Made, ready: torch.cuda.Event | None) -> Seen:
        if self.stream is None or ready is None:
            return self.look(made)
        self.stream.wait_event(ready)
        with torch.cuda.stream(self.stream):
            return self.look(made)


def _stream(device: torch.device) -> torch.cuda.Stream | None:
    return torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
