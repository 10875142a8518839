"""Freed memory is kept: the kernel is not asked for the same pages twice, until all of it goes back."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from halfseen import heap
from halfseen.heap import GIVING, KEEPING, OWN_WISHES, freed_kept

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep what is freed")

WORK = """
import gc, os, resource
import torch
from halfseen.heap import freed_kept

def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        torch.ones(2_000_000)  # 8 MB
    for _ in range(50):
        torch.ones(10_000_000)  # 40 MB, which no threshold of glibc's would keep
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

alone, before = faults(), held()
with freed_kept() as kept:
    with freed_kept():
        inside = faults()
    still = faults()
print(kept, alone, inside, still, faults(), held() - before)
"""


def measured(**environment: str) -> list[int]:
    """Of a fresh process: whether it keeps what it frees; page faults of the same work before, within two, within one
    and after; and how many bytes more than before it holds in the end."""
    own = {name: value for name, value in os.environ.items() if name not in OWN_WISHES}
    ran = subprocess.run(
        [sys.executable, "-c", WORK], env=own | environment, capture_output=True, text=True, check=True
    )
    kept, *numbers = ran.stdout.split()
    return [kept == "True", *map(int, numbers)]


@needs_glibc
def test_pages_are_asked_for_once_and_given_back() -> None:
    kept, alone, inside, still, after, more = measured()
    assert kept
    assert alone > 400_000, "the work asks for 10,000 pages 50 times"
    assert inside < alone / 4
    assert still < alone / 4, "the inner one leaves it as it was"
    assert after > 400_000
    assert more < 20e6


@needs_glibc
def test_whoever_has_wishes_of_their_own_keeps_them() -> None:
    kept, alone, inside, *_ = measured(GLIBC_TUNABLES="glibc.malloc.mmap_max=100")
    assert not kept
    assert inside > alone / 2


@needs_glibc
@pytest.mark.parametrize("wish", OWN_WISHES)
def test_every_way_of_wishing_is_heard(wish: str, told: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    with freed_kept() as kept:
        assert kept
    told.clear()
    monkeypatch.setenv(wish, "1")
    with freed_kept() as kept:
        assert (kept, told) == (False, [])


def test_neither_a_gpu_nor_another_libc_changes_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    for wish in OWN_WISHES:
        monkeypatch.delenv(wish, raising=False)
    with freed_kept("cuda") as kept:
        assert not kept
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    with freed_kept() as kept:
        assert not kept


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What a stand-in for glibc's mallopt has been told."""
    for wish in OWN_WISHES:
        monkeypatch.delenv(wish, raising=False)
    heard: list[tuple[int, int]] = []
    monkeypatch.setattr(heap, "_mallopt", lambda: lambda option, value: heard.append((option, value)))
    return heard


@needs_glibc
def test_a_fault_inside_gives_back_all(told: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="within"), freed_kept():
        raise ValueError("within")
    assert told == [*KEEPING, *GIVING]
