"""What a network makes of pictures on its way to vectors: at test time, and in training."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from halfseen.data.finding import CUES, find_cues
from halfseen.data.loading import CueSources, Paired, Pictures
from halfseen.data.variants import bank, twins
from halfseen.draw import stretched
from halfseen.encode import cues_for, handed, normalised, testing, with_twins
from halfseen.nets.backbones import Backbone
from halfseen.ops.parts import grid_labels
from halfseen.recipe import Exhibit
from halfseen.reporting.results import Result, looked_at, spread
from halfseen.training.checkpoints import load_trained
from halfseen.training.learning import ALWAYS
from halfseen.types import Batch, InputError, Sample
from halfseen.weights import make_network

USUAL = "eight"  # the grouping of methods that have none
IDENTITY = ("method", "config", "recipe", "data", "seed", "started_from")  # what card and checkpoint say of a training


class Sight(NamedTuple):
    """What is seen in the pictures of a `batch`, whose files have `names`.

    `response` [B,h,w], 0..1: how strongly the backbone answers in each cell. `labels` [B,H/2,W/2]: what the cues say of
    parts, if there are any. `exhibits`: what the method has to show.
    """

    names: tuple[str, ...]
    batch: Batch
    exhibits: tuple[Exhibit, ...]
    response: Tensor | None = None
    labels: Tensor | None = None


def grouping_of(config: Any) -> str:
    """How a method cuts people into parts; those that do not care are shown the usual one."""
    return str(getattr(config, "grouping", USUAL))


def see(result: Result, queries: Sequence[int]) -> Sight:
    """Let the network look at some queries."""
    samples = [result.splits.query[query] for query in queries]
    method, config, _, network, _ = result.run.loaded
    needed = method.needs["test"]
    cues = cues_for(method, config, "test", result.splits, samples)
    batch = looked_at(result.run, samples, cues)
    device = next(network.parameters()).device
    told = handed(batch, {*needed, "hidden"} if needed else needed, device)
    images = normalised(network, told.images)
    with testing(network), torch.inference_mode():
        output = network(images, told.cues)
        cells = cast(Backbone, network.get_submodule("backbone"))(images).cells
        exhibits = _exhibits(method.shows and method.shows(output, config))
    response = torch.stack([stretched(strength) for strength in cells.abs().mean(1).cpu()])
    return Sight(_names(samples), batch, exhibits, response, _labels(result, samples))


def see_training(result: Result, known: Collection[str], count: int) -> Sight | None:
    """Let the network look at `count` training pictures with all that only training has.

    Nothing, if that is not at hand or shows no more than the exhibits whose titles are `known`. Where there are twins,
    bars are always new, as we know what hides them.
    """
    run, splits = result.run, result.splits
    method, config, recipe, tested, card = run.loaded
    if run.checkpoint is None or method.shows is None or card.data.get("name") != splits.name:
        return None
    network = make_network(method, config, recipe, int(card.data.get("people", 0)))
    if not load_trained(run.checkpoint, {name: getattr(card, name) for name in IDENTITY}, network):
        return None
    samples = [splits.train[row] for row in spread(range(len(splits.train)), count)]
    try:
        cues = cues_for(method, config, "train", splits, samples)
    except InputError:  # they were there when it was trained
        return None
    pictures = Pictures(samples, run.look.augment.at_test(), cues)
    paired = Paired(pictures, twins(samples, card.seed, bank(splits))) if recipe.twins else pictures
    batch = paired.batch(range(len(samples)))
    device = next(tested.parameters()).device
    images, told = with_twins(handed(batch, {*method.needs["train"], *ALWAYS}, device))
    with _learning(network.to(device)), torch.inference_mode():
        shown = _exhibits(method.shows(network(normalised(network, images), told), config))
    new = tuple(e for e in shown if e.title not in known or (recipe.twins and e.kind == "bars"))
    return Sight(_names(samples), batch, new, labels=_labels(result, samples)) if new else None


def _exhibits(shown: Sequence[Exhibit] | None) -> tuple[Exhibit, ...]:
    """Brought to the CPU, pictures before bars."""
    return tuple(
        exhibit._replace(values=exhibit.values.float().cpu(), seen=None if exhibit.seen is None else exhibit.seen.cpu())
        for exhibit in sorted(shown or (), key=lambda exhibit: exhibit.kind == "bars")
    )


def _labels(result: Result, samples: Sequence[Sample]) -> Tensor | None:
    """What the cues that know most say of parts; they may be others than those that the method is given."""
    grouping = grouping_of(result.run.loaded.config)
    try:
        cues = find_cues(result.splits, samples, CUES, grouping)
    except InputError:
        cues = CueSources()
    if cues == CueSources():
        return None
    batch = looked_at(result.run, samples, cues)
    height, width = batch.images.shape[2:]
    return grid_labels(batch.cues, grouping, (height // 2, width // 2), (height, width))


def _names(samples: Sequence[Sample]) -> tuple[str, ...]:
    return tuple(sample.name for sample in samples)


@contextmanager
def _learning(network: nn.Module) -> Iterator[None]:
    """`network` makes in here what its losses would see; its layers behave as at test time, as luck and the statistics
    of a few pictures would show something else. What is thrown nevertheless falls the same way each time."""
    with testing(network), torch.random.fork_rng():
        torch.manual_seed(0)
        network.training = True  # of the outermost module alone
        yield
