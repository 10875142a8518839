"""What many ask at once is answered together: while one lot is worked at, the next gathers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Given = TypeVar("Given")
Got = TypeVar("Got")


class Gathering(Generic[Given, Got]):
    """Hands what comes to `work`, at most `most` things at once, in a thread of its own, one lot after the other."""

    def __init__(self, work: Callable[[Sequence[Given]], Sequence[Got]], most: int = 64) -> None:
        self.work, self.most = work, most
        self._waiting: list[tuple[Given, asyncio.Future[Got]]] = []
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, given: Given) -> Got:
        """What `work` makes of `given`."""
        future: asyncio.Future[Got] = asyncio.get_running_loop().create_future()
        self._waiting.append((given, future))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        while self._waiting:
            lot, self._waiting = self._waiting[: self.most], self._waiting[self.most :]
            results = await asyncio.to_thread(self._together, [given for given, _ in lot])
            for (_, future), result in zip(lot, results, strict=True):
                if future.done():  # whoever asked has gone away
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    def _together(self, lot: list[Given]) -> list[Got | Exception]:
        """What fails in company is done again alone, so that nobody bears the fault of another."""
        try:
            return list(self.work(lot))
        except Exception as error:  # told to whoever asked
            return [error] if len(lot) == 1 else [self._together([given])[0] for given in lot]
