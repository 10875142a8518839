"""What keeping freed memory is worth on a CPU: `python benchmarks/heap.py [--tier mini] [--small]`.

The same forward and backward, and the same forward alone, of both tiers' backbones on batches of 64 that lie ready,
inside `freed_kept` and as torch and glibc do it, in turns, with the memory that each adds at most. A turn inside begins
with nothing kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from halfseen.encode import testing
from halfseen.heap import freed_kept
from halfseen.methods import METHODS
from halfseen.training.tiers import TierName, in_tier
from halfseen.weights import make_network
from measure import Options, introduce, pace_row, paces, ratio_row, read_options

SEED = 0
STEPS = {"full": 2, "mini": 8}  # of a turn


def learning(network: nn.Module, images: Tensor) -> None:
    network.zero_grad()
    torch.autograd.backward(network(images).logits["global"].square().mean())


def answering(network: nn.Module, images: Tensor) -> None:
    with testing(network), torch.inference_mode():
        network(images)


def pace(step: Callable[[], None], count: int, steps: int, *, keep: bool) -> float:
    """Images a second, of `steps` that see `count` each."""
    start = time.perf_counter()
    with freed_kept() if keep else nullcontext():
        for _ in range(steps):
            step()
    return count * steps / (time.perf_counter() - start)


def steps_of(name: str, tier: TierName, options: Options) -> dict[str, Callable[[], None]]:
    """What takes turns, of one method."""
    torch.manual_seed(SEED)
    method, (config, recipe) = METHODS[name], in_tier(METHODS[name], tier)
    network = make_network(method, config, recipe, 100).to(memory_format=torch.channels_last)
    images = torch.randn(8 if options.small else 64, 3, recipe.height, recipe.width)
    images = images.contiguous(memory_format=torch.channels_last)
    return {
        f"{config.backbone}, forward and backward": partial(learning, network, images),
        f"{config.backbone}, forward": partial(answering, network, images),
    }


def show(name: str, tier: TierName, options: Options) -> None:
    """One network, both ways."""
    jobs: dict[str, Callable[[], float]] = {}
    steps = steps_of(name, tier, options)
    count = 8 if options.small else 64
    for what, step in steps.items():
        for keep in (False, True):
            jobs[f"{what}{', kept' * keep}"] = partial(
                pace, step, count, 1 if options.small else STEPS[tier], keep=keep
            )
    found = paces(jobs, "cpu", options.runs)
    for what, measured in found.items():
        pace_row(what, measured)
    for what in steps:
        ratio_row(f"{what}, freed memory kept", found[f"{what}, kept"], found[what], "nothing")


if __name__ == "__main__":
    options = read_options(__doc__)
    introduce("Keeping freed memory", SEED)
    for tier in options.tiers:
        for name in ("bot", "vit"):
            print(f"\n{tier}")
            show(name, tier, options)
