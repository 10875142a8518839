"""What every benchmark shares: a line about the machine, timing in turns, extra memory, synthetic embeddings."""

from __future__ import annotations

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from halfseen.types import Embedding, Facts

THREADS = 2
RUNS = 5

torch.set_num_threads(THREADS)


def introduce(what: str, seed: int) -> None:
    """The first lines of every benchmark: what is measured, where, with which seed."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = names[0].partition(": ")[2] if names else platform.processor()
    print(f"\n## {what}\n{model}, {THREADS} of {os.cpu_count()} threads, torch {torch.__version__}, seed {seed}")


def in_turns(*jobs: Callable[[], object], runs: int = RUNS) -> list[list[float]]:
    """Seconds of each job, run A B C A B C ... after one warm-up, so that a noisy neighbour meets them all."""
    for job in jobs:
        job()
    seconds: list[list[float]] = [[] for _ in jobs]
    for _ in range(runs):
        for job, times in zip(jobs, seconds, strict=True):
            times.append(once(job))
    return seconds


def once(job: Callable[[], object]) -> float:
    """Seconds of one run."""
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def extra_memory(job: Callable[[], object]) -> int:
    """Bytes by which the process grew at most while `job` ran (Linux: the resident set's high-water mark)."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # forgets the old mark
    before = _status("VmRSS")
    job()
    return _status("VmHWM") - before


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
