"""What many ask at once is answered together: while one lot is worked at, the next gathers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import Generic, TypeVar

Given = TypeVar("Given")
Got = TypeVar("Got")


class Gathering(Generic[Given, Got]):
    """Hands what comes to `work`, at most `most` things at once, in a thread of its own, one lot after the other.

    What `work` makes of a thing may be an Exception, which is raised to whoever asked for that thing alone.
    """

    def __init__(self, work: Callable[[Sequence[Given]], Sequence[Got | Exception]], most: int = 64) -> None:
        self.work, self.most = work, most
        self._thread = ThreadPoolExecutor(1, "gathering")  # the same one always: torch begins a team for each
        self._waiting: list[tuple[Given, asyncio.Future[Got]]] = []
        self._running: asyncio.Task[None] | None = None
        self._expected, self._until = 0, 0.0  # how many things the next lot may be, and how long it waits for them
        self._enough: asyncio.Future[None] | None = None

    async def __call__(self, given: Given) -> Got:
        """What `work` makes of `given`."""
        future: asyncio.Future[Got] = asyncio.get_running_loop().create_future()
        self._waiting.append((given, future))
        if self._enough and not self._enough.done() and len(self._waiting) >= self._expected:
            self._enough.set_result(None)
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        while self._waiting:
            await self._more()
            lot, self._waiting = self._waiting[: self.most], self._waiting[self.most :]
            begin = perf_counter()
            work = partial(self._together, [given for given, _ in lot])
            results = await asyncio.get_running_loop().run_in_executor(self._thread, work)
            end = perf_counter()
            self._expected = min(self.most, len(lot) + len(self._waiting)) if len(lot) > 1 else 0
            self._until = end + end - begin
            for (_, future), result in zip(lot, results, strict=True):
                if future.done():  # whoever asked has gone away
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    async def _more(self) -> None:
        """Let those who were answered just now ask again, if they do so within the time that they waited.

        A lot of sixteen takes little longer than one of eight; who asks alone does not wait here.
        """
        left = self._until - perf_counter()
        if len(self._waiting) < self._expected and left > 0:
            self._enough = asyncio.get_running_loop().create_future()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._enough, left)

    def _together(self, lot: list[Given]) -> list[Got | Exception]:
        """What fails in company is done again alone, so that nobody bears the fault of another."""
        try:
            return list(self.work(lot))
        except Exception as error:  # told to whoever asked
            return [error] if len(lot) == 1 else [self._together([given])[0] for given in lot]
