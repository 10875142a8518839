"""What an answer costs: parameters, operations, and seconds on this machine."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from halfseen.encode import declared, normalised, testing
from halfseen.ops.distance import top_k
from halfseen.reporting.results import Result, looked_at
from halfseen.types import Cues
from halfseen.weights import make_network

TIMES = 5


class Cost(NamedTuple):
    """Parameters in training and at test time; operations of one picture, a multiplication and its addition being two;
    seconds to encode one picture, and to find its ten nearest in the gallery."""

    trained: int
    tested: int
    flops: int
    encoding: float
    matching: float


def cost(result: Result) -> Cost:
    """Measured on the first query, alone."""
    loaded = result.run.loaded
    network, method = loaded.network, loaded.method
    device = next(network.parameters()).device
    images = looked_at(result.run, result.splits.query[:1]).images.to(device)
    cues = declared(blank(images), method.needs["test"], device)

    def encode() -> None:
        with testing(network), torch.inference_mode():
            method.embed(network(normalised(network, images), cues)).vectors.cpu()

    def match() -> None:
        top_k(result.distance, result.query.embedding[:1], result.gallery.embedding, 10)

    with FlopCounterMode(display=False) as counter:
        encode()
    people = int(loaded.card.data.get("people", 0))
    whole = make_network(method, loaded.config, loaded.recipe, people)
    trained, tested = (sum(p.numel() for p in net.parameters()) for net in (whole, network))
    return Cost(trained, tested, counter.get_total_flops(), seconds(encode), seconds(match))


def seconds(work: Callable[[], None]) -> float:
    """How long `work` takes: the median of a few times, after one that does not count."""
    work()
    taken = []
    for _ in range(TIMES):
        began = perf_counter()
        work()
        taken.append(perf_counter() - began)
    return median(taken)


def blank(images: torch.Tensor) -> Cues:
    """Cues that say nothing, for methods that need some: they cost as much."""
    count, _, height, width = images.shape
    return Cues(
        keypoints=torch.zeros(count, 17, 3),
        fields=torch.zeros(count, 36, height // 8, width // 8),
        parts=torch.zeros(count, height, width, dtype=torch.int64),
    )
