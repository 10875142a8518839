"""Threads that each work alone, for what torch would share among its own.

Those of torch wait for each other after every operation. Where another process, or Python itself, takes one of their
processors for a moment, all of them wait for that, thousands of times in a search. Here each takes a whole piece.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier
from typing import TypeVar

import torch

Given = TypeVar("Given")
Made = TypeVar("Made")


def all_made(work: Callable[[Given], Made], pieces: Iterable[Given]) -> list[Made]:
    """What `work` makes of all `pieces`, by as many threads as torch has; asked by one of these, by that one alone."""
    count = torch.get_num_threads()
    return list(map(work, pieces) if count == 1 else crew(count).map(work, pieces))


def by_one(work: Callable[[], Made]) -> Made:
    """What `work` makes, of many operations that are too small to be shared."""
    count = torch.get_num_threads()
    return work() if count == 1 else crew(count).submit(work).result()


@cache
def crew(count: int) -> ThreadPoolExecutor:
    """So many threads; torch does what they ask for in the thread that asks."""
    all_here = Barrier(count + 1)
    pool = ThreadPoolExecutor(count, "search", _alone)
    for _ in range(count):
        pool.submit(all_here.wait)
    all_here.wait()
    torch.set_num_threads(count)  # theirs has changed that of all threads yet to come
    return pool


def _alone() -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # a thread that has not asked takes, at its first work, what was set last anywhere


os.register_at_fork(after_in_child=crew.cache_clear)  # threads are not copied
