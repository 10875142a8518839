"""What many ask at once is answered together, and each gets their own answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import NoReturn

import pytest

from halfseen.service.gathering import Gathering


def test_all_that_comes_meanwhile_is_one_lot() -> None:
    lots: list[list[int]] = []
    go = threading.Event()

    def work(numbers: Sequence[int]) -> list[int]:
        lots.append(list(numbers))
        go.wait(10)
        return [number**2 for number in numbers]

    async def ask() -> list[int]:
        gathering = Gathering(work, most=4)
        first = asyncio.create_task(gathering(1))
        await asyncio.sleep(0.05)
        rest = [asyncio.create_task(gathering(number)) for number in range(2, 9)]
        await asyncio.sleep(0.05)
        go.set()
        return list(await asyncio.gather(first, *rest))

    assert asyncio.run(ask()) == [number**2 for number in range(1, 9)]
    assert lots == [[1], [2, 3, 4, 5], [6, 7, 8]]


def test_nobody_bears_the_fault_of_another() -> None:
    def work(numbers: Sequence[int]) -> list[int]:
        if 3 in numbers:
            raise ValueError("three")
        return list(numbers)

    async def ask() -> list[int | BaseException]:
        gathering = Gathering(work)
        return await asyncio.gather(*map(gathering, range(6)), return_exceptions=True)

    found = asyncio.run(ask())
    assert isinstance(found[3], ValueError)
    assert [found[n] for n in (0, 1, 2, 4, 5)] == [0, 1, 2, 4, 5]


def increased(numbers: Sequence[int]) -> list[int]:
    return [number + 1 for number in numbers]


def test_who_goes_away_is_missed_by_nobody() -> None:
    async def ask() -> list[int]:
        gathering = Gathering(increased)
        gone = asyncio.create_task(gathering(0))
        stays = asyncio.create_task(gathering(1))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        return [await stays, await gathering(5)]

    assert asyncio.run(ask()) == [2, 6]


def test_another_loop_finds_it_ready() -> None:
    gathering = Gathering(increased)

    async def ask(number: int) -> int:
        return await gathering(number)

    assert [asyncio.run(ask(number)) for number in range(3)] == [1, 2, 3]


class Clock:
    """Goes by as it is told to, so that no stall of the machine can look like somebody's slowness."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("halfseen.service.gathering.perf_counter", clock)
    return clock


def test_those_who_ask_again_at_once_come_together(clock: Clock) -> None:
    lots: list[int] = []

    def work(numbers: Sequence[int]) -> list[int]:
        lots.append(len(numbers))
        clock.now += 60
        return list(numbers)

    async def ask() -> None:
        gathering = Gathering(work)

        async def client() -> None:
            for number in range(6):
                await gathering(number)
                await asyncio.sleep(0.005)

        await asyncio.gather(*(client() for _ in range(8)))

    asyncio.run(ask())
    assert sum(lots) == 48
    assert lots[2:] == [8] * len(lots[2:])  # and not four and four in turns


@pytest.mark.parametrize(("later", "waits"), [(0.1, [0.4]), (0.6, [])])
def test_who_asks_alone_does_not_wait(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, later: float, waits: list[float]
) -> None:
    """Others are waited for as long as their work took, and no longer."""
    waited: list[float] = []

    async def wait(_: asyncio.Future[None], left: float) -> NoReturn:
        waited.append(round(left, 9))
        raise TimeoutError

    def work(numbers: Sequence[int]) -> list[int]:
        clock.now += 0.5
        return list(numbers)

    async def ask() -> None:
        gathering = Gathering(work)
        await asyncio.gather(*map(gathering, range(4)))
        clock.now += later
        await gathering(0)

    monkeypatch.setattr(asyncio, "wait_for", wait)
    asyncio.run(ask())
    assert waited == waits


def test_what_has_no_answer_is_told_to_its_asker_alone() -> None:
    calls: list[int] = []

    def work(numbers: Sequence[int]) -> list[int | Exception]:
        calls.append(len(numbers))
        return [ValueError("odd") if number % 2 else number for number in numbers]

    async def ask() -> list[int | BaseException]:
        gathering = Gathering[int, int](work)
        return await asyncio.gather(*map(gathering, range(4)), return_exceptions=True)

    found = asyncio.run(ask())
    assert [found[0], found[2]] == [0, 2]
    assert isinstance(found[1], ValueError)
    assert isinstance(found[3], ValueError)
    assert sum(calls) == 4  # nothing was done twice
