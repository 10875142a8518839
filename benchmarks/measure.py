"""What every benchmark shares: a line about the machine, timing in turns, extra memory, images a second, synthetic
embeddings."""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from halfseen.encode import Precision
from halfseen.training.tiers import TierName
from halfseen.types import Embedding, Facts

THREADS = 2
RUNS = 5
BESIDE = "import torch; torch.set_num_threads(1); a = torch.randn(900, 900); print(flush=True)\nwhile True: a @ a"

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
Name = TypeVar("Name")

torch.set_num_threads(THREADS)


def introduce(what: str, seed: int, device: str = "cpu") -> None:
    """The first lines of every benchmark: what is measured, where, with which seed."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = names[0].partition(": ")[2] if names else platform.processor()
    print(f"\n## {what}\n{model}, {THREADS} of {os.cpu_count()} threads, torch {torch.__version__}, seed {seed}")
    if device == "cuda":
        print(torch.cuda.get_device_name())


def in_turns(*jobs: Callable[[], object], runs: int = RUNS) -> list[list[float]]:
    """Seconds of each job, run A B C A B C ... after one warm-up, so that a noisy neighbour meets them all."""
    for job in jobs:
        job()
    seconds: list[list[float]] = [[] for _ in jobs]
    for _ in range(runs):
        for job, times in zip(jobs, seconds, strict=True):
            times.append(once(job))
    return seconds


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """So many processes that compute all the time, each by one thread."""
    with ExitStack() as stack:
        for _ in range(count):
            other = stack.enter_context(subprocess.Popen([sys.executable, "-c", BESIDE], stdout=subprocess.PIPE))
            stack.callback(other.kill)
            assert other.stdout is not None
            other.stdout.readline()  # it has begun
        yield


@contextmanager
def workplace(kept: Path | None = None) -> Iterator[Path]:
    """The folder that is to be kept, or one that is gone afterwards."""
    if kept:
        yield kept
    else:
        with TemporaryDirectory() as folder:
            yield Path(folder)


def once(job: Callable[[], object]) -> float:
    """Seconds of one run."""
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def extra_memory(job: Callable[[], object]) -> int:
    """Bytes by which the process grew at most while `job` ran (Linux: the resident set's high-water mark)."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # or `job` would find room that others left
    Path("/proc/self/clear_refs").write_text("5")  # forgets the old mark
    before = _status("VmRSS")
    job()
    return _status("VmHWM") - before


def device_memory(job: Callable[[], object]) -> int:
    """Bytes by which what is allocated on the GPU grew at most while `job` ran."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    job()
    return torch.cuda.max_memory_allocated() - before


def settle(device: str) -> None:
    """Wait until `device` has done all it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def row(name: str, seconds: list[float], reference: list[float] | None = None, extra: int | None = None) -> None:
    """One line: median and spread, the median of the ratios to the reference in each turn, extra memory."""
    text = f"{name:<44} {statistics.median(seconds):8.3f} s  ({min(seconds):.3f}–{max(seconds):.3f})"
    if reference:
        ratios = [a / b for a, b in zip(seconds, reference, strict=True)]
        text += f"  {statistics.median(ratios):7.3f} × the reference ({min(ratios):.3f}–{max(ratios):.3f})"
    if extra is not None:
        text += f"  +{extra / 2**20:,.0f} MiB"
    print(text)


class Options(NamedTuple):
    """Of the benchmarks that run networks."""

    device: Literal["cpu", "cuda"]
    tiers: tuple[TierName, ...]
    workers: int
    runs: int
    small: bool


def read_options(about: str | None) -> Options:
    """From the command line; on a GPU all cores but two make batches, on a CPU the one process does."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--tier", choices=("full", "mini"), help="only this one")
    parser.add_argument("--workers", type=int, help="processes that make batches")
    parser.add_argument("--runs", type=int, help="turns that are measured")
    parser.add_argument("--small", action="store_true", help="sizes that show only that it works")
    given = parser.parse_args()
    spare = max(1, (os.cpu_count() or 1) - 2) if given.device == "cuda" else 0
    return Options(
        given.device,
        (given.tier,) if given.tier else ("full", "mini"),
        spare if given.workers is None else given.workers,
        given.runs or (1 if given.small else RUNS if given.device == "cuda" else 3),
        given.small,
    )


class Pace(NamedTuple):
    """Images a second in each turn, and the extra memory in bytes (of the device) of the first run."""

    rates: list[float]
    extra: int


def paces(jobs: Mapping[Name, Callable[[], float]], device: str, runs: int) -> dict[Name, Pace]:
    """Of `jobs` that each tell their images a second: a first run for memory and warmth, then A B C A B C ..."""
    memory = device_memory if device == "cuda" else extra_memory
    extras = [memory(job) for job in jobs.values()]
    turns = [[job() for job in jobs.values()] for _ in range(runs)]
    return {
        name: Pace(list(rates), extra)
        for name, rates, extra in zip(jobs, zip(*turns, strict=True), extras, strict=True)
    }


def pace_row(name: str, pace: Pace) -> None:
    """One line: images a second, median and spread, and extra memory."""
    rates, extra = pace
    spread = f"({min(rates):.1f}–{max(rates):.1f})"
    print(f"{name:<36} {statistics.median(rates):9.1f} images/s  {spread:<20} +{extra / 2**20:,.0f} MiB")


def ratio_row(what: str, pace: Pace, reference: Pace, asked: str) -> None:
    """One line: how many times as fast as the reference, the median of the turns and spread, and what was asked."""
    ratios = [a / b for a, b in zip(pace.rates, reference.rates, strict=True)]
    print(f"  {what:<52} {statistics.median(ratios):6.3f} ({min(ratios):.3f}–{max(ratios):.3f}), asked {asked}")


def facts(rows: int, people: int, dice: torch.Generator, *, cameras: int = 8) -> Facts:
    """As many images of each person as rows allow, cameras at random."""
    pids = torch.arange(rows) % people
    return Facts(pids, torch.randint(0, cameras, (rows,), generator=dice), torch.zeros(rows, dtype=torch.int64))


def clusters(pids: Tensor, shape: tuple[int, int], noise: float, seed: int, dice: torch.Generator) -> Embedding:
    """Vectors [N,P,D] around one centre a person, three in four parts visible; the same centres for a seed."""
    centres = torch.randn(int(pids.max()) + 1, *shape, generator=torch.Generator().manual_seed(seed))
    vectors = torch.randn(len(pids), *shape, generator=dice).mul_(noise)
    for start in range(0, len(pids), 4096):
        vectors[start : start + 4096] += centres[pids[start : start + 4096]]
    visibility = (torch.rand(len(pids), shape[0], generator=dice) < 0.75).float()
    visibility[:, 0] = 1
    return Embedding(vectors, visibility)
