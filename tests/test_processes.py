"""Work in several processes: all of it comes back, errors with their words, and nobody outlives who began them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from halfseen.processes import shared_out
from halfseen.types import InputError


def doubler(folder: Path) -> Callable[[int], int]:
    (folder / f"{os.getpid()}.begun").touch()
    return double


def double(number: int) -> int:
    if number == 13:
        raise InputError("13 is too much to ask")
    if number == 14:
        os._exit(9)  # as if the system had ended it for lack of memory
    return 2 * number


def waiter(folder: Path) -> Callable[[int], int]:
    (folder / f"{os.getpid()}.begun").touch()
    return wait


def wait(_: int) -> int:
    time.sleep(300)
    return 0


@pytest.mark.parametrize("workers", [1, 2])
def test_all_that_is_asked_comes_back(workers: int, tmp_path: Path) -> None:
    assert sorted(shared_out(partial(doubler, tmp_path), range(10), workers)) == list(range(0, 20, 2))
    begun = [int(path.stem) for path in tmp_path.iterdir()]
    assert begun == [os.getpid()] if workers == 1 else 1 <= len(begun) <= 2
    assert (os.getpid() in begun) == (workers == 1)
    assert multiprocessing.active_children() == []


def test_nothing_to_do_begins_nothing(tmp_path: Path) -> None:
    assert list(shared_out(partial(doubler, tmp_path), [], 4)) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_back_with_its_words(workers: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^13 is too much to ask$"):
        list(shared_out(partial(doubler, tmp_path), [1, 13, 2], workers))
    assert multiprocessing.active_children() == []


def test_a_process_that_ends_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a process ended before its work was done .*; take fewer workers$"):
        list(shared_out(partial(doubler, tmp_path), [14, 14], 2))


def alive(process: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="Linux only")
def test_processes_end_with_whoever_began_them(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, __file__, str(tmp_path)]) as parent:
        begun: list[int] = []
        for _ in range(6000):
            begun = [int(path.stem) for path in tmp_path.glob("*.begun")]
            if len(begun) == 2:
                break
            time.sleep(0.05)
        assert all(map(alive, begun))
        os.kill(parent.pid, signal.SIGKILL)
    for _ in range(2000):
        if not any(map(alive, begun)):
            break
        time.sleep(0.05)
    assert len(begun) == 2
    assert not any(map(alive, begun))


if __name__ == "__main__":
    list(shared_out(partial(waiter, Path(sys.argv[1])), [1, 2], 2))
