"""What networks look at, as rows of tiles: pictures, the cues about them, and what a method has to show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch.nn.functional as F
from torch import Tensor

from halfseen.draw import PARTS, erased, labelled, overlay, stretched
from halfseen.ops.groupings import GROUPINGS
from halfseen.ops.parts import part_labels
from halfseen.recipe import Exhibit
from halfseen.reporting.markup import picture, tag, words
from halfseen.reporting.results import Result
from halfseen.reporting.seeing import Sight, grouping_of
from halfseen.types import Occluder

HOW = {
    "parts": "Parts: each in its colour where it is likeliest, finer than the network's grid; its map; its peak.",
    "strengths": "Each map is stretched from its least to its most, which is so many times its mean.",
    "erased": "What is erased is grey.",
    "bars": "Bars are in per cent, all of a picture together 100.",
}
FRAMES = "A green frame says that the method takes the part for seen, a red one that it does not."


def explained(sight: Sight) -> str:
    """What the rows of tiles show."""
    told = []
    if sight.labels is not None:
        told.append("Labels: where the parts are, as cues say.")
    if sight.response is not None:
        told.append(
            "Response: how strongly the last layer of the backbone answers, the mean over its channels, between its "
            "least and its most."
        )
    if sight.exhibits:
        titles = [exhibit.title for exhibit in sight.exhibits]
        told.append(f"Then {'; '.join(titles)}.")
    told += dict.fromkeys(HOW[exhibit.kind] for exhibit in sight.exhibits)
    told += [FRAMES] * any(exhibit.seen is not None for exhibit in sight.exhibits)
    return " ".join(told)


def look_rows(result: Result, sight: Sight) -> str:
    """A row of tiles for each picture: itself, labels, response, and what the method has to show of it."""
    rows = []
    for number, (image, name) in enumerate(zip(sight.batch.images, sight.names, strict=True)):
        tiles = _seen(sight, number, f"query {name}")
        for exhibit in sight.exhibits:
            tiles += _shown(image, exhibit, number)
        rows.append(_tiles(tiles, name))
    return _legend(result, sight) + tag("div", *rows, class_="looks")


def responses(results: Sequence[Result], sights: Sequence[Sight]) -> str:
    """A row of tiles for each picture: itself, and how strongly the backbone of each of `results` answers to it."""
    names = [result.run.name for result in results]
    rows = []
    for number, name in enumerate(sights[0].names):
        tiles = [_tile(sights[0].batch.images[number], "picture", f"query {name}")]
        for run, sight in zip(names, sights, strict=True):
            if sight.response is not None:
                image = overlay(sight.batch.images[number], sight.response[number])
                tiles.append(_tile(image, run, f"how strongly {run} answers"))
        rows.append(_tiles(tiles, name))
    return tag("div", *rows, class_="looks")


def lesson_rows(result: Result, sight: Sight) -> str:
    """A row of tiles for each training picture and, if it has one, its twin: what the method has to show of either."""
    partner, rows = sight.batch.partner, []
    for number, (image, name) in enumerate(zip(sight.batch.images, sight.names, strict=True)):
        tiles = _seen(sight, number, f"training picture {name}")
        for exhibit in sight.exhibits:
            if len(exhibit.values) > len(sight.names) or not exhibit.twins:
                tiles += _shown(image, exhibit, number)
        if partner is not None and partner.cues.occluder is not None:
            kind = Occluder(int(partner.cues.occluder[number])).name.lower().replace("_", " ")
            tiles.append(_tile(partner.images[number], "twin", f"the same picture behind an occluder, {kind}", kind))
            for exhibit in sight.exhibits:
                if len(exhibit.values) > len(sight.names) or exhibit.twins:
                    tiles += _shown(partner.images[number], exhibit, number - len(sight.names))
        rows.append(_tiles(tiles, name))
    return _legend(result, sight) + tag("div", *rows, class_="looks")


def _seen(sight: Sight, number: int, told: str) -> list[str]:
    """What there is to be seen of a picture whatever the method is: itself, labels, response."""
    image = sight.batch.images[number]
    tiles = [_tile(image, "picture", told)]
    if sight.labels is not None:
        tiles.append(_tile(labelled(image, sight.labels[number]), "labels", "part labels from cues"))
    if sight.response is not None:
        tiles.append(_tile(overlay(image, sight.response[number]), "response", "how strongly the network answers"))
    return tiles


def _tiles(tiles: Sequence[str], name: str) -> str:
    return tag("div", *tiles, class_="tiles", role="group", aria_label=f"what is seen in {name}")


def _shown(image: Tensor, exhibit: Exhibit, row: int) -> Iterator[str]:
    """The tiles of one row of `exhibit`, which is about `image` uint8 [3,H,W]."""
    values = exhibit.values[row]
    if exhibit.kind == "bars":
        yield _bars(exhibit, values)
        return
    if exhibit.kind == "parts":
        fine = F.interpolate(values[None], (image.shape[1], image.shape[2]), mode="bilinear")
        yield _tile(labelled(image, part_labels(fine)[0]), "parts", "the likeliest part in each place")
        values = values[1:]
    for place, (name, values_of_one) in enumerate(zip(exhibit.names, values, strict=True)):
        seen = None if exhibit.seen is None else bool(exhibit.seen[row, place])
        yield _map(image, exhibit, name.replace("_", " "), values_of_one, seen)


def _map(image: Tensor, exhibit: Exhibit, name: str, values: Tensor, seen: bool | None) -> str:
    """One map [h,w] over `image`."""
    told, below = f"{exhibit.title}: {name}", []
    match exhibit.kind:
        case "erased":
            drawn = erased(image, values)
            below.append(f"{100 * float(values.mean()):.0f} %")
        case "parts":
            drawn = overlay(image, values)
            below.append(f"{float(values.max()):.2f}")
            told += f", at most {below[0]}"
        case _:
            drawn = overlay(image, stretched(values))
            below.append(f"{float(values.max() / values.mean().clamp(min=1e-12)):.1f}×")
    if seen is None:
        return _tile(drawn, name, told, " ".join(below))
    mark = "seen" if seen else "unseen"
    return _tile(drawn, name, f"{told}: {mark}", " ".join([*below, mark]), frame="right" if seen else "wrong")


def _bars(exhibit: Exhibit, shares: Tensor) -> str:
    """A bar for each of `shares` [K]; the longest stands out."""
    rows = [
        tag(
            "tr",
            tag("th", words(name.replace("_", " ")), scope="row"),
            tag("td", tag("i", class_="seen", style=f"--share:{share:.3f}"), f"{100 * share:.0f}"),
            class_="most" if share == float(shares.max()) else None,
        )
        for name, share in zip(exhibit.names, shares.tolist(), strict=True)
    ]
    return tag("figure", tag("table", tag("tbody", *rows)), tag("figcaption", words(exhibit.title)), class_="bars")


def _tile(image: Tensor, name: str, told: str, below: str = "", *, frame: str = "plain") -> str:
    caption = tag("figcaption", words(name), tag("small", words(below)) if below else "")
    return tag("figure", picture(image, told), caption, class_=f"tile {frame}")


def _legend(result: Result, sight: Sight) -> str:
    """The colours of parts, if any part is drawn in its colour."""
    if sight.labels is None and all(exhibit.kind != "parts" for exhibit in sight.exhibits):
        return ""
    entries = (
        tag("li", tag("i", class_="swatch", style=f"background:rgb{colour}"), words(name.replace("_", " ")))
        for (name, _), colour in zip(GROUPINGS[grouping_of(result.run.loaded.config)], PARTS, strict=False)
    )
    return tag("ul", *entries, class_="legend")
