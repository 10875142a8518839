"""How fast training is: `python benchmarks/train.py [--device cuda] [--tier mini] [--small]`.

A full step is what `Training` does from one batch to the next: JPEG files decoded (all of them in each step, as in a
first epoch or where memory is short), resized, augmented and collated, normalised, forward, losses, backward, checks,
optimiser; what is freed is kept, as `halfseen train` keeps it, for all that takes turns (`heap.py` measures that). Its
reference is forward and backward of the same network in the same precision, on one batch that lies ready, in turns with
it. "Plain" is that reference in float32 with channels first, as torch makes networks. The other methods' steps are
compared with that of the baseline on the same backbone, BoT's or the ViT's; OGFR's pictures count once, though it sees
each a second time as its hidden twin. What a method's answers cost, forward alone as at test time, is compared
likewise. Last comes what drawing keypoints into maps takes of a step. Both tiers' backbones at their picture sizes,
batches of 64, random weights; the pictures are the street's.

On a GPU worker processes make the batches; their start, and the batches they have ready by then, are not counted, and
torch's defaults hold: convolutions of float32 may use TF32.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halfseen.data.loading import Loader, Pictures
from halfseen.data.memory import Memory
from halfseen.data.sets import read_set
from halfseen.encode import Precision, cues_for, normalised, testing
from halfseen.heap import freed_kept
from halfseen.methods import METHODS, pgfl_kd, pirt
from halfseen.ops.parts import max_to_grid
from halfseen.train import Training
from halfseen.training.settings import Settings
from halfseen.training.tiers import TierName, in_tier
from halfseen.types import Splits
from measure import PRECISIONS, Options, in_turns, introduce, pace_row, paces, ratio_row, read_options, settle

SEED, READY = 0, 3  # READY batches are made by each worker process before the clock starts
STEPS = {("cpu", "full"): 1, ("cpu", "mini"): 3, ("cuda", "full"): 100, ("cuda", "mini"): 100}  # of a turn
PLAIN, BARE = "plain forward and backward", "forward and backward"


class Family(NamedTuple):
    """Methods on the same backbone as their baseline, and how fast theirs are to be, the baseline's being 1."""

    baseline: str
    steps: dict[str, str]
    answers: dict[str, str]


FAMILIES = (
    Family("bot", {"bpbreid": f"≥ {1 / 1.15:.2f}", "pgfl_kd": "nothing", "pirt": "nothing"}, {}),
    Family("vit", {"tsd": f"≥ {1 / 1.25:.2f}", "ogfr": f"≥ {1 / 2.3:.2f}"}, {"tsd": f"≥ {1 / 1.08:.2f}"}),
)

Jobs: TypeAlias = dict[tuple[Precision, str], Callable[[], float]]


class Work(NamedTuple):
    """What a turn does: so many steps of so many pictures, on which device, fed by how many processes."""

    device: Literal["cpu", "cuda"]
    size: int
    steps: int
    workers: int


def begin(name: str, tier: TierName, precision: Precision, splits: Splits, options: Options) -> Training:
    """A training before its first step; it writes nothing."""
    method, (config, recipe) = METHODS[name], in_tier(METHODS[name], tier)
    if method.of(config).rests:  # all of it is at work from the first step on
        config = replace(config, agent=replace(config.agent, warmup=0))
    if options.small:
        recipe = replace(recipe, height=64, width=32, people=4, images=2)
    cues = {"train": cues_for(method.of(config), config, "train", splits, splits.train)}
    how = Settings(Path("nowhere"), SEED, "none", options.device, precision, memory=0, workers=options.workers)
    return Training(method, config, recipe, splits, cues, settings=how)


def full(training: Training, work: Work) -> float:
    """Images a second of whole steps."""
    warm = READY * work.workers
    numbers = list(islice(cycle(training.batches), warm + work.steps))
    start = time.perf_counter()
    for done, batch in enumerate(Loader(training.source, numbers, work.workers), 1):
        deque(training.under_way.add(training._step(training.handed(batch))), maxlen=0)  # as the loop reads them
        if done == warm:
            settle(work.device)
            start = time.perf_counter()
    settle(work.device)
    return work.size * work.steps / (time.perf_counter() - start)


def bare(network: nn.Module, images: Tensor, pids: Tensor, precision: Precision, work: Work) -> float:
    """Images a second, forward and backward on normalised `images` [B,3,H,W] of people `pids` [B]."""
    start = time.perf_counter()
    for _ in range(work.steps):
        network.zero_grad()
        with torch.autocast(work.device, torch.bfloat16, enabled=precision == "bfloat16"):
            logits = network(images).logits["global"]
        loss = F.cross_entropy(logits.float(), pids)  # a plain sum's gradients would be nothing but rounding
        torch.autograd.backward(loss)
    settle(work.device)
    return work.size * work.steps / (time.perf_counter() - start)


def answering(network: nn.Module, images: Tensor, precision: Precision, work: Work) -> float:
    """Images a second, forward as at test time, of normalised `images` [B,3,H,W]."""
    with testing(network), torch.inference_mode(), torch.autocast(work.device, torch.bfloat16, precision == "bfloat16"):
        start = time.perf_counter()
        for _ in range(work.steps):
            network(images)
        settle(work.device)
        return work.size * work.steps / (time.perf_counter() - start)


def step(name: str) -> str:
    return f"{name}'s step"


def answer(name: str) -> str:
    return f"{name}'s answers"


def jobs_of(family: Family, tier: TierName, precision: Precision, splits: Splits, options: Options) -> Jobs:
    """What takes turns, in one precision."""
    trainings = {name: begin(name, tier, precision, splits, options) for name in (family.baseline, *family.steps)}
    base = trainings[family.baseline]
    size = base.recipe.people * base.recipe.images
    work = Work(options.device, size, 1 if options.small else STEPS[options.device, tier], options.workers)
    batch = base.handed(base.source.batch(next(iter(base.batches))))
    images, jobs = normalised(base.network, batch.images), Jobs()
    if precision == "float32":
        plain = copy.deepcopy(base.network).to(memory_format=torch.contiguous_format)
        jobs[precision, PLAIN] = partial(bare, plain, images.contiguous(), batch.pids, precision, work)
    jobs[precision, BARE] = partial(bare, base.network, images, batch.pids, precision, work)
    for name, training in trainings.items():
        jobs[precision, step(name)] = partial(full, training, work)
    for name in (family.baseline, *family.answers) if family.answers else ():
        jobs[precision, answer(name)] = partial(answering, trainings[name].network, images, precision, work)
    return jobs


def show(family: Family, tier: TierName, splits: Splits, options: Options) -> None:
    """Everything about one tier's methods of one family."""
    base = family.baseline
    config, recipe = in_tier(METHODS[base], tier)
    size = "64 × 32, 8 a batch" if options.small else f"{recipe.height} × {recipe.width}, 64 a batch"
    print(f"\n{tier}: {config.backbone}, {size}")
    jobs = jobs_of(family, tier, "float32", splits, options) | jobs_of(family, tier, "bfloat16", splits, options)
    found = paces(jobs, options.device, options.runs)
    for (precision, name), pace in found.items():
        pace_row(f"{precision}, {name}", pace)
    for precision in PRECISIONS:
        own = found[precision, step(base)]
        ratio_row(f"{precision}, {step(base)} to forward and backward", own, found[precision, BARE], "≥ 0.85")
        for name, asked in family.steps.items():
            ratio_row(f"{precision}, {step(name)} to {step(base)}", found[precision, step(name)], own, asked)
        for name, asked in family.answers.items():
            pace, least = found[precision, answer(name)], found[precision, answer(base)]
            ratio_row(f"{precision}, {answer(name)} to {answer(base)}", pace, least, asked)
    ratio_row("forward and backward, bfloat16 to plain", found["bfloat16", BARE], found["float32", PLAIN], "≥ 1.8")
    whole, half = (found[precision, step(base)] for precision in PRECISIONS)
    ratio_row(f"{step(base)}, bfloat16 to float32", half, whole, "nothing")


def batches(training: Training) -> None:
    """What making a batch takes this one process, with part labels."""
    anew, numbers = training.pictures, next(iter(training.batches))
    memory = Memory(len(anew), anew.augment, parts=True)
    kept = Pictures(anew.samples, anew.augment, anew.cues, labels=anew.labels, seed=SEED, memory=memory)
    for what, seconds in zip(
        ("decoded", "kept in memory"), in_turns(partial(anew.batch, numbers), partial(kept.batch, numbers)), strict=True
    ):
        print(f"  a batch of BPBreID's, pictures and part labels {what}: {1000 * statistics.median(seconds):.1f} ms")


def drawing(name: str, tier: TierName, splits: Splits, options: Options) -> None:
    """What drawing keypoints into maps takes of a step."""
    training = begin(name, tier, "float32", splits, options)
    work = Work(options.device, training.recipe.people * training.recipe.images, 1, 0)
    batch = training.handed(training.source.batch(next(iter(training.batches))))
    height, width = batch.images.shape[2:]
    with torch.inference_mode():
        cells = training.network.get_submodule("backbone")(normalised(training.network, batch.images)).cells

    def maps() -> None:
        if name == "pirt":
            max_to_grid(pirt.heatmaps(batch.cues, (height, width)), cells.shape[2:])
        else:
            pgfl_kd.part_heat(batch.cues, training.config, grid=cells.shape[2:], image=(height, width))
        settle(work.device)

    steps, drawings = in_turns(partial(full, training, work), maps, runs=options.runs)
    shares = [100 * drawn / whole for drawn, whole in zip(drawings, steps, strict=True)]
    share = f"{statistics.median(shares):.2f} % ({min(shares):.2f}–{max(shares):.2f})"
    print(f"  {name}: {1000 * statistics.median(drawings):.1f} ms for a batch's maps, {share} of a step, asked ≤ 10 %")


if __name__ == "__main__":
    options = read_options(__doc__)
    introduce("Training", SEED, options.device)
    street = read_set("street")
    with freed_kept(options.device):
        for tier in options.tiers:
            for family in FAMILIES:
                show(family, tier, street, options)
            print(f"\n{tier}: cues")
            batches(begin("bpbreid", tier, "float32", street, options))
            for name in ("pgfl_kd", "pirt"):
                drawing(name, tier, street, options)
