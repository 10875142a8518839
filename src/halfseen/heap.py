"""What networks free on a CPU is kept for their next step, instead of going back to the kernel."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4  # as glibc's malloc.h numbers them
KEEPING = ((MMAP_MAX, 0), (TRIM_THRESHOLD, -1))
GIVING = ((MMAP_MAX, 1 << 16), (TRIM_THRESHOLD, 1 << 26), (MMAP_THRESHOLD, 1 << 25))  # as glibc's own soon stand
OWN_WISHES = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_")

_inside = [0]
_lock = Lock()


@contextmanager
def freed_kept(device: str = "cpu") -> Iterator[bool]:
    """In here glibc keeps what this process frees; afterwards it gives back all of it. Tells whether it does.

    Left alone it gives each large block back at once, and the kernel clears every page before it hands it out anew:
    with a small network that takes as long as the network itself. Where no CPU is the `device`, where malloc is
    another's, or where the environment says how it is to behave, all stays as it is.
    """
    set_option = None if device != "cpu" or any(name in os.environ for name in OWN_WISHES) else _mallopt()
    if set_option is None:
        yield False
        return
    _enter(set_option)
    try:
        yield True
    finally:
        _leave(set_option)


def _mallopt() -> Callable[[int, int], int] | None:
    try:
        function: Callable[[int, int], int] = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another libc, another system
        return None
    return function


def _enter(set_option: Callable[[int, int], int]) -> None:
    with _lock:
        _inside[0] += 1
        for option, value in KEEPING:
            set_option(option, value)


def _leave(set_option: Callable[[int, int], int]) -> None:
    with _lock:
        _inside[0] -= 1
        if not _inside[0]:
            for option, value in GIVING:
                set_option(option, value)
            ctypes.CDLL(None).malloc_trim(0)
