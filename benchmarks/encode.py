"""How fast pictures become embeddings: `python benchmarks/encode.py [--device cuda] [--tier mini] [--small]`.

`encode` as `halfseen encode` calls it (JPEG files decoded, resized, collated, normalised, forward, embedding, back to
the CPU) against the forward pass of the same network in the same precision on batches of 64 that lie ready, in turns.
Both tiers' convolutional backbones at their picture sizes, random weights; the pictures are the street's, over and over
until there are enough. On a CPU as many threads decode as compute afterwards; on a GPU worker processes make the
batches, and their start is counted: large sets count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle, islice

import torch
from torch import Tensor, nn

from halfseen.data.loading import Pictures
from halfseen.data.sets import read_set
from halfseen.encode import Look, encode, normalised
from halfseen.methods import METHODS
from halfseen.recipe import Method
from halfseen.training.settings import augment_of
from halfseen.training.tiers import TierName, in_tier
from halfseen.types import Sample
from halfseen.weights import make_network
from measure import PRECISIONS, Options, introduce, pace_row, paces, ratio_row, read_options, settle

SEED = 0
PICTURES = {("cpu", "full"): 64, ("cpu", "mini"): 512, ("cuda", "full"): 32_768, ("cuda", "mini"): 65_536}


def whole(network: nn.Module, method: Method, samples: Sequence[Sample], look: Look) -> float:
    """Images a second, from files to embeddings."""
    start = time.perf_counter()
    encode(network, method, samples, look)
    return len(samples) / (time.perf_counter() - start)


def forward(network: nn.Module, images: Tensor, look: Look, count: int) -> float:
    """Images a second on normalised `images` [B,3,H,W], of which there are `count` in all."""
    kind, steps = images.device.type, max(1, count // len(images))
    start = time.perf_counter()
    with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=look.precision == "bfloat16"):
        for _ in range(steps):
            network(images)
    settle(kind)
    return steps * len(images) / (time.perf_counter() - start)


def jobs_of(name: str, tier: TierName, samples: Sequence[Sample], options: Options) -> dict[str, Callable[[], float]]:
    """What takes turns, for one method."""
    torch.manual_seed(SEED)
    method, (config, recipe) = METHODS[name], in_tier(METHODS[name], tier)
    network = make_network(method, config, recipe).eval().to(options.device)
    jobs: dict[str, Callable[[], float]] = {}
    for precision in PRECISIONS:
        look = Look(augment_of(recipe).at_test(), precision, 8 if options.small else 64, options.workers)
        images = Pictures(samples, look.augment).batch(range(look.batch)).images
        ready = normalised(network, images.to(options.device))
        jobs[f"{precision}, {name}, forward"] = partial(forward, network, ready, look, len(samples))
        jobs[f"{precision}, {name}, encode"] = partial(whole, network, method, samples, look)
    return jobs


def show(tier: TierName, street: Sequence[Sample], options: Options) -> None:
    """Everything about one tier."""
    config, recipe = in_tier(METHODS["bot"], tier)
    samples = list(islice(cycle(street), 16 if options.small else PICTURES[options.device, tier]))
    print(f"\n{tier}: {config.backbone}, {recipe.height} × {recipe.width}, {len(samples):,} pictures a turn")
    jobs = jobs_of("bot", tier, samples, options) | jobs_of("bpbreid", tier, samples, options)
    found = paces(jobs, options.device, options.runs)
    for name, pace in found.items():
        pace_row(name, pace)
    for name, pace in found.items():
        if name.endswith("encode"):
            ratio_row(f"{name} to forward", pace, found[name.replace("encode", "forward")], "≥ 0.90")


if __name__ == "__main__":
    options = read_options(__doc__)
    introduce("Encoding", SEED, options.device)
    for tier in options.tiers:
        show(tier, read_set("street").gallery, options)
