"""What a network looks at: its part maps beside the part labels, and which parts it takes for seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from halfseen.data.finding import CUES, find_cues
from halfseen.data.loading import CueSources
from halfseen.draw import PARTS, labelled, overlay, stretched
from halfseen.encode import declared, normalised, testing
from halfseen.nets.backbones import Backbone
from halfseen.ops.groupings import GROUPINGS
from halfseen.ops.parts import grid_labels, part_labels
from halfseen.reporting.markup import picture, tag, words
from halfseen.reporting.results import Result, looked_at
from halfseen.types import InputError

USUAL = "eight"  # the grouping of methods that have none


class Sight(NamedTuple):
    """What is seen in B pictures `images` uint8 [B,3,H,W].

    `response` [B,h,w], 0..1: how strongly the backbone answers in each cell. `maps` [B,K+1,h,w]: the method's, if it
    has any. `labels` [B,H/2,W/2]: what the cues say, if there are any.
    """

    images: Tensor
    response: Tensor
    maps: Tensor | None
    labels: Tensor | None


def grouping_of(config: Any) -> str:
    """How a method cuts people into parts; those that do not care are shown the usual one."""
    return str(getattr(config, "grouping", USUAL))


def see(result: Result, queries: Sequence[int]) -> Sight:
    """Let the network look at some queries."""
    run, samples = result.run, [result.splits.query[query] for query in queries]
    config, method, network = run.loaded.config, run.loaded.method, run.loaded.network
    grouping = grouping_of(config)
    try:
        cues = find_cues(result.splits, samples, CUES, grouping)
    except InputError:
        cues = CueSources()
    batch = looked_at(run, samples, cues)
    device = next(network.parameters()).device
    images = normalised(network, batch.images.to(device))
    with testing(network), torch.inference_mode():
        output = network(images, declared(batch.cues, method.needs["test"], device))
        cells = cast(Backbone, network.get_submodule("backbone"))(images).cells
    response = torch.stack([stretched(lengths) for lengths in cells.norm(dim=1).cpu()])
    labels = None
    if cues != CueSources():
        height, width = batch.images.shape[2:]
        labels = grid_labels(batch.cues, grouping, (height // 2, width // 2), (height, width))
    maps = getattr(output, "maps", None)  # an Output that has part maps calls them so
    return Sight(batch.images, response, None if maps is None else maps.cpu(), labels)


def explained(result: Result) -> str:
    """What the rows of tiles show."""
    config = result.run.loaded.config
    told = (
        "Labels: where the parts are, if the set has cues that say so. Response: how strongly the last layer of the "
        "backbone answers, between its least and its most."
    )
    if hasattr(config, "names"):
        told += (
            " Learned: the likeliest part in each place, drawn finer than the network's grid. Then the map of each "
            "part with its peak, in a green frame where the method takes the part for seen, in a red one where not."
        )
    return told


def part_rows(result: Result, queries: Sequence[int]) -> str:
    """A row of tiles for each query: the picture, labels, maps as labels, response, and each part's map in a frame."""
    sight, config = see(result, queries), result.run.loaded.config
    names = [name.replace("_", " ") for name, _ in GROUPINGS[grouping_of(config)]]
    rows = [_row(result, sight, names, number, query) for number, query in enumerate(queries)]
    coloured = sight.maps is not None or sight.labels is not None
    return (_legend(names) if coloured else "") + tag("div", *rows, class_="looks")


def _row(result: Result, sight: Sight, names: Sequence[str], number: int, query: int) -> str:
    image = sight.images[number]
    who = result.splits.query[query].name
    tiles = [_tile(image, "picture", f"query {who}")]
    if sight.labels is not None:
        tiles.append(_tile(labelled(image, sight.labels[number]), "labels", "part labels from cues"))
    if sight.maps is not None:
        size = (image.shape[1], image.shape[2])
        fine = F.interpolate(sight.maps[number : number + 1].float(), size, mode="bilinear")
        tiles.append(_tile(labelled(image, part_labels(fine)[0]), "learned", "the likeliest part in each place"))
    tiles.append(_tile(overlay(image, sight.response[number]), "response", "how strongly the network answers"))
    if sight.maps is not None:
        visible = dict(zip(result.names, result.query.embedding.visibility[query].tolist(), strict=True))
        for name, attention in zip(names, sight.maps[number, 1:], strict=True):
            tiles.append(_part_tile(image, name, attention, visible.get(name)))
    return tag("div", *tiles, class_="tiles", role="group", aria_label=f"what is seen in {who}")


def _part_tile(image: Tensor, name: str, attention: Tensor, visible: float | None) -> str:
    peak = f"{float(attention.max()):.2f}"
    if visible is None:
        return _tile(overlay(image, attention), name, f"attention to {name}, at most {peak}", below=peak)
    kind, mark = ("right", "seen") if visible else ("wrong", "unseen")
    told = f"attention to {name}, at most {peak}: {mark}"
    return _tile(overlay(image, attention), name, told, below=f"{peak} {mark}", frame=kind)


def _tile(image: Tensor, name: str, told: str, *, below: str = "", frame: str = "plain") -> str:
    caption = tag("figcaption", words(name), tag("small", words(below)) if below else "")
    return tag("figure", picture(image, told), caption, class_=f"tile {frame}")


def _legend(names: Sequence[str]) -> str:
    colours = (f"background:rgb{colour}" for colour in PARTS)
    entries = (
        tag("li", tag("i", class_="swatch", style=colour), words(name))
        for name, colour in zip(names, colours, strict=False)
    )
    return tag("ul", *entries, class_="legend")
