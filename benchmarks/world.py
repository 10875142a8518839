"""How fast the world is rendered, and where the time goes: `python benchmarks/world.py [--device cuda]`.

Pictures of a plan's mixture (45 % nobody in the way, the rest behind things and passers-by), backgrounds included and
without writing files, in batches of 16, by two worker processes of one thread each, as `halfseen world render` does it,
and by one process of two threads. The parts of a picture's time are of one thread; memory is what a batch adds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from unittest import mock

import torch

from halfseen.world import photograph as photograph_module
from halfseen.world import render as render_module
from halfseen.world.cameras import CAMERAS
from halfseen.world.photograph import World
from halfseen.world.plan import Setting, Shot, plan
from halfseen.world.render import build, render
from halfseen.world.wardrobe import draw_people
from measure import RUNS, THREADS, extra_memory, introduce

SEED, CAMERA_COUNT, FRAME_HEIGHT, BATCH = 0, 6, 540, 16
SIZES = ((128, 64), (256, 128))
TARGETS = {(128, 64): 40, (256, 128): 12}  # images a second on two threads
PICTURES = {(128, 64): 384, (256, 128): 192}
GPU_BATCH, GPU_TARGET = 256, 1500
# what the parts of the time are, as the functions that take it
STEPS = (
    (render_module, "set_stage", "people, things, where they stand"),
    (render_module, "_trace", "which surface each pixel sees"),
    (photograph_module, "cast", "shadow maps"),
    (photograph_module, "_layer", "cloth, skin and light"),
    (photograph_module, "floor_light", "shadows on the floor"),
    (photograph_module, "_background", "backgrounds"),
    (photograph_module, "finish", "lens and sensor"),
)

_worlds: list[World] = []  # of this process


def shots(count: int) -> list[Shot]:
    setting = Setting(ids=60, images=12, cameras=CAMERA_COUNT, seed=SEED)
    planned = plan(setting, draw_people(setting.ids, SEED, setting.sharing), CAMERAS)
    return [entry.shot for entry in planned][: count * 2 : 2]


def open_world() -> None:
    torch.set_num_threads(1)
    _worlds.append(build(CAMERA_COUNT, SEED, FRAME_HEIGHT))


def paint(batch: Sequence[Shot], size: tuple[int, int]) -> int:
    return len(render(_worlds[-1], batch, size).images)


def rate(paint_all: Callable[[], int]) -> list[float]:
    """Images a second, a few times over, after one warm-up."""
    paint_all()
    rates = []
    for _ in range(RUNS):
        start = time.perf_counter()
        count = paint_all()
        rates.append(count / (time.perf_counter() - start))
    return rates


def say(what: str, rates: Sequence[float], target: float | None = None) -> None:
    asked = "" if target is None else f", asked: {target:g}"
    print(f"{what}: {statistics.median(rates):.1f} images/s ({min(rates):.1f}-{max(rates):.1f}){asked}")


@contextmanager
def stopwatch(seconds: dict[str, float]) -> Iterator[None]:
    """Adds up the seconds that each of the STEPS takes while the block runs."""

    def timed(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def run(*args: object, **about: object) -> object:
            start = time.perf_counter()
            result = function(*args, **about)
            seconds[name] += time.perf_counter() - start
            return result

        return run

    patches = [mock.patch.object(module, name, timed(what, getattr(module, name))) for module, name, what in STEPS]
    for patch in patches:
        patch.start()
    yield
    mock.patch.stopall()


def on_cpu() -> None:
    context = multiprocessing.get_context("spawn")
    world = build(CAMERA_COUNT, SEED, FRAME_HEIGHT)
    for size in SIZES:
        batches = in_batches(shots(PICTURES[size]))
        with ProcessPoolExecutor(THREADS, context, initializer=open_world) as pool:
            sizes = [size] * len(batches)
            rates = rate(partial(_sum_of, partial(pool.map, paint, batches, sizes)))
        say(f"{size[0]} x {size[1]}, {THREADS} processes", rates, TARGETS[size])
    for size in SIZES:
        batches = in_batches(shots(PICTURES[size]))[:6]
        say(f"{size[0]} x {size[1]}, 1 process of {THREADS} threads", rate(partial(render_all, world, batches, size)))
        extra = extra_memory(partial(render, world, batches[0], size))
        print(f"  memory that a batch of {BATCH} adds: {extra / 2**20:.0f} MiB")
        where_the_time_goes(world, batches, size)


def _sum_of(numbers: Callable[[], Iterator[int]]) -> int:
    return sum(numbers())


def in_batches(todo: Sequence[Shot]) -> list[Sequence[Shot]]:
    return [todo[start : start + BATCH] for start in range(0, len(todo), BATCH)]


def render_all(world: World, batches: Sequence[Sequence[Shot]], size: tuple[int, int]) -> int:
    return sum(len(render(world, batch, size).images) for batch in batches)


def where_the_time_goes(world: World, batches: Sequence[Sequence[Shot]], size: tuple[int, int]) -> None:
    torch.set_num_threads(1)
    seconds: dict[str, float] = defaultdict(float)
    start = time.perf_counter()
    with stopwatch(seconds):
        render_all(world, batches, size)
    total, count = time.perf_counter() - start, sum(map(len, batches))
    torch.set_num_threads(THREADS)
    print(f"  on one thread {1000 * total / count:.1f} ms an image:")
    for what, spent in sorted(seconds.items(), key=lambda item: -item[1]):
        print(f"    {100 * spent / total:4.0f} %  {what}")
    print(f"    {100 * (1 - sum(seconds.values()) / total):4.0f} %  labels, joints, boxes and the rest")


def on_gpu() -> None:
    world = build(CAMERA_COUNT, SEED, FRAME_HEIGHT, device="cuda")
    batch = shots(GPU_BATCH)

    def run() -> int:
        count = sum(len(render(world, batch, (256, 128)).images) for _ in range(4))
        torch.cuda.synchronize()
        return count

    say(f"256 x 128, {torch.cuda.get_device_name()}, batches of {GPU_BATCH}", rate(run), GPU_TARGET)
    print(f"  memory: {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    introduce("The world", SEED)
    on_gpu() if parser.parse_args().device == "cuda" else on_cpu()
