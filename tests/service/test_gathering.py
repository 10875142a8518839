"""What many ask at once is answered together, and each gets their own answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

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
