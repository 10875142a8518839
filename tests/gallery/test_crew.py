"""Threads that each work alone: everything is done once, what fails is heard of, and torch stays as it was."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Iterator

import pytest
import torch

from halfseen.gallery.threads import all_made, by_one, crew


def _nothing(_: int) -> None:
    pass


@pytest.fixture(params=[1, 2, 3])
def count(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_every_piece_is_worked_at_once(count: int) -> None:
    done, by = torch.zeros(1000, dtype=torch.int64), set[tuple[int, int]]()

    def work(piece: int) -> None:
        done[piece] += 1
        by.add((threading.get_ident(), torch.get_num_threads()))

    all_made(work, range(1000))
    assert bool((done == 1).all())
    assert len(by) <= count
    assert {threads for _, threads in by} == {1}
    assert by_one(torch.get_num_threads) == 1
    assert torch.get_num_threads() == count


def test_a_new_thread_has_all_of_torchs(count: int) -> None:
    all_made(_nothing, range(3))
    told: list[int] = []
    other = threading.Thread(target=lambda: told.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert told == [count]


@pytest.mark.usefixtures("count")
def test_what_fails_is_heard_of() -> None:
    def work(piece: int) -> None:
        if piece == 3:
            raise ValueError("three")

    with pytest.raises(ValueError, match="three"):
        all_made(work, range(5))
    with pytest.raises(ValueError, match="three"):
        by_one(lambda: work(3))
    assert by_one(lambda: 7) == 7


@pytest.mark.skipif(sys.platform == "win32", reason="nothing forks there")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:.*fork:UserWarning")
@pytest.mark.parametrize("count", [2], indirect=True)
def test_a_forked_process_has_threads_of_its_own(count: int) -> None:
    crew(count)
    child = multiprocessing.get_context("fork").Process(target=all_made, args=(_nothing, range(9)))
    child.start()
    child.join(20)
    assert child.exitcode == 0
