"""How fast training is: `python benchmarks/train.py [--device cuda] [--tier mini] [--small]`.

A full step is what `Training` does from one batch to the next: JPEG files decoded (all of them in each step, as in a
first epoch or where memory is short), resized, augmented and collated, normalised, forward, losses, backward, checks,
optimiser. Its reference is forward and backward of the same network in the same precision, on one batch that lies
ready, in turns with it. "Plain" is that reference in float32 with channels first, as torch makes networks. Both tiers'
convolutional backbones at their picture sizes, batches of 64, random weights; the pictures are the street's.

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

from halfseen.data.finding import find_cues
from halfseen.data.loading import Loader, Pictures
from halfseen.data.memory import Memory
from halfseen.data.sets import read_set
from halfseen.encode import Precision, normalised
from halfseen.methods import METHODS
from halfseen.train import Training
from halfseen.training.settings import Settings
from halfseen.training.tiers import TierName, in_tier
from halfseen.types import Splits
from measure import PRECISIONS, Options, in_turns, introduce, pace_row, paces, ratio_row, read_options, settle

SEED, READY = 0, 3  # READY batches are made by each worker process before the clock starts
STEPS = {("cpu", "full"): 1, ("cpu", "mini"): 8, ("cuda", "full"): 100, ("cuda", "mini"): 100}  # of a turn
PLAIN, BARE, BOT, BPBREID = "plain forward and backward", "forward and backward", "BoT's step", "BPBreID's step"

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
    if options.small:
        recipe = replace(recipe, height=64, width=32, people=4, images=2)
    wanted = method.of(config).needs["train"] & {"parts"}
    cues = {"train": find_cues(splits, splits.train, wanted, config.grouping)} if wanted else {}
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


def jobs_of(tier: TierName, precision: Precision, splits: Splits, options: Options) -> Jobs:
    """What takes turns, in one precision."""
    bot, bpbreid = (begin(name, tier, precision, splits, options) for name in ("bot", "bpbreid"))
    size = bot.recipe.people * bot.recipe.images
    work = Work(options.device, size, 1 if options.small else STEPS[options.device, tier], options.workers)
    batch = bot.handed(bot.source.batch(next(iter(bot.batches))))
    images, jobs = normalised(bot.network, batch.images), Jobs()
    if precision == "float32":
        plain = copy.deepcopy(bot.network).to(memory_format=torch.contiguous_format)
        jobs[precision, PLAIN] = partial(bare, plain, images.contiguous(), batch.pids, precision, work)
    jobs[precision, BARE] = partial(bare, bot.network, images, batch.pids, precision, work)
    jobs[precision, BOT] = partial(full, bot, work)
    jobs[precision, BPBREID] = partial(full, bpbreid, work)
    return jobs


def show(tier: TierName, splits: Splits, options: Options) -> None:
    """Everything about one tier."""
    config, recipe = in_tier(METHODS["bot"], tier)
    size = "64 × 32, 8 a batch" if options.small else f"{recipe.height} × {recipe.width}, 64 a batch"
    print(f"\n{tier}: {config.backbone}, {size}")
    jobs = jobs_of(tier, "float32", splits, options) | jobs_of(tier, "bfloat16", splits, options)
    found = paces(jobs, options.device, options.runs)
    for (precision, name), pace in found.items():
        pace_row(f"{precision}, {name}", pace)
    for precision in PRECISIONS:
        reference, bot, bpbreid = (found[precision, name] for name in (BARE, BOT, BPBREID))
        ratio_row(f"{precision}, BoT's step to forward and backward", bot, reference, "≥ 0.85")
        ratio_row(f"{precision}, BPBreID's step to BoT's", bpbreid, bot, f"≥ {1 / 1.15:.2f}")
    ratio_row("forward and backward, bfloat16 to plain", found["bfloat16", BARE], found["float32", PLAIN], "≥ 1.8")
    ratio_row("BoT's step, bfloat16 to float32", found["bfloat16", BOT], found["float32", BOT], "nothing")
    batches(begin("bpbreid", tier, "float32", splits, options))


def batches(training: Training) -> None:
    """What making a batch takes this one process, with part labels."""
    anew, numbers = training.pictures, next(iter(training.batches))
    memory = Memory(len(anew), anew.augment, parts=True)
    kept = Pictures(anew.samples, anew.augment, anew.cues, labels=anew.labels, seed=SEED, memory=memory)
    for what, seconds in zip(
        ("decoded", "kept in memory"), in_turns(partial(anew.batch, numbers), partial(kept.batch, numbers)), strict=True
    ):
        print(f"  a batch of BPBreID's, pictures and part labels {what}: {1000 * statistics.median(seconds):.1f} ms")


if __name__ == "__main__":
    options = read_options(__doc__)
    introduce("Training", SEED, options.device)
    street = read_set("street")
    for tier in options.tiers:
        show(tier, street, options)
