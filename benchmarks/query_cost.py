"""What a query costs: `python benchmarks/query_cost.py [--device cuda] [--tier mini] [--small]`.

PGFL-KD's Table 9 for every method, all in one run: seconds to encode one picture, alone, and to find its ten nearest in
a gallery of Occluded-Duke's size. Beside them what its Table 8 counts: parameters, in training with 702 people and at
test time, and the operations of one picture, a multiplication with its addition being two. The table's other vectors
of PGFL-KD follow, and cost what their branches cost: poses come with the pictures, and who finds them is not counted.

Random weights, a blank picture, random galleries. Methods take turns, so that a noisy neighbour meets them all.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from halfseen.encode import declared, normalised, testing
from halfseen.methods import METHODS
from halfseen.ops.distance import top_k
from halfseen.recipe import Method
from halfseen.reporting.costs import blank
from halfseen.training.tiers import TierName, in_tier
from halfseen.types import Cues, Embedding
from halfseen.weights import make_network
from measure import Options, in_turns, introduce, read_options

SEED, PEOPLE, GALLERY, NEAREST = 0, 702, 17_661, 10
OTHERS = ("8-foreground", "8-enhanced", "8-aligned", "8-fused")  # rows of PGFL-KD


class Subject(NamedTuple):
    """A method that is ready to be asked, and what it costs before it is."""

    method: Method
    network: nn.Module
    image: Tensor  # uint8 [1,3,H,W]
    cues: Cues
    query: Embedding
    gallery: Embedding
    trained: int
    tested: int
    flops: int


def subject(name: str, row: str | None, tier: TierName, options: Options) -> Subject:
    """The method `name`, in that `row` of its paper's tables if one is given."""
    torch.manual_seed(SEED)
    config, recipe = in_tier(METHODS[name], tier, row)
    method = METHODS[name].of(config)
    trained = _size(make_network(method, config, recipe, PEOPLE))
    network = make_network(method, config, recipe).eval().to(options.device)
    device = next(network.parameters()).device
    image = torch.zeros(1, 3, recipe.height, recipe.width, dtype=torch.uint8, device=device)
    cues = declared(blank(image), method.needs["test"], device)
    with FlopCounterMode(display=False) as counter:
        query = encode(method, network, image, cues)
    rows = 200 if options.small else GALLERY
    gallery = Embedding.of(torch.randn(rows, *query.vectors.shape[1:]))
    return Subject(method, network, image, cues, query, gallery, trained, _size(network), counter.get_total_flops())


def _size(network: nn.Module) -> int:
    return sum(value.numel() for value in network.parameters())


def encode(method: Method, network: nn.Module, image: Tensor, cues: Cues) -> Embedding:
    """Of one uint8 `image` [1,3,H,W], back on the CPU."""
    with testing(network), torch.inference_mode():
        made = method.embed(network(normalised(network, image), cues))
    return Embedding(made.vectors.cpu(), made.visibility.cpu())


def backbone(asked: Subject) -> Tensor:
    """What the least is that encoding can cost: the backbone's own pass, [1,D,h,w] back on the CPU."""
    with testing(asked.network), torch.inference_mode():
        cells: Tensor = asked.network.get_submodule("backbone")(normalised(asked.network, asked.image)).cells
    return cells.cpu()


def jobs_of(asked: Subject) -> tuple[Callable[[], object], Callable[[], object]]:
    """Encode the query; match it."""
    return (
        partial(encode, asked.method, asked.network, asked.image, asked.cues),
        partial(top_k, asked.method.distance, asked.query, asked.gallery, NEAREST),
    )


def show(tier: TierName, options: Options) -> None:
    """Every method in that tier."""
    wanted: list[tuple[str, str | None]] = [*((name, None) for name in METHODS), *(("pgfl_kd", row) for row in OTHERS)]
    asked = {f"{name} {row}" if row else name: subject(name, row, tier, options) for name, row in wanted}
    rows = len(next(iter(asked.values())).gallery)
    print(f"\n{tier}: one query, the {NEAREST} nearest of {rows:,}; medians of {options.runs} turns, (least–most)")
    print(f"{'':<22}{'in training':>14}{'at test':>14}{'operations':>14}{'encode':>25}{'match':>25}{'both':>11}")
    bare = partial(backbone, asked["pgfl_kd"])
    *seconds, least = in_turns(*(job for each in asked.values() for job in jobs_of(each)), bare, runs=options.runs)
    for (name, each), encoding, matching in zip(asked.items(), seconds[::2], seconds[1::2], strict=True):
        both = statistics.median(a + b for a, b in zip(encoding, matching, strict=True))
        counts = f"{each.trained / 1e6:>12.2f} M{each.tested / 1e6:>12.2f} M{each.flops / 1e9:>12.3f} G"
        print(f"{name:<22}{counts}{_spread(encoding):>25}{_spread(matching):>25}{both:>9.4f} s")
    encoding = seconds[2 * list(asked).index("pgfl_kd")]
    ratios = [a / b for a, b in zip(encoding, least, strict=True)]
    spread = f"{statistics.median(ratios):.3f} ({min(ratios):.3f}–{max(ratios):.3f})"
    print(f"pgfl_kd's encoding to its bare backbone's pass: {spread} times as long")


def _spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.4f} s ({min(seconds):.4f}–{max(seconds):.4f})"


if __name__ == "__main__":
    options = read_options(__doc__)
    introduce("What a query costs", SEED, options.device)
    for tier in options.tiers:
        show(tier, options)
