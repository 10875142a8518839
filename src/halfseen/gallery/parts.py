"""What the parts that a search compares look like to people: one name and one colour for each, in tables, strips and on
the page. In galleries, in JSON and in what HTTP answers they keep the names that the model gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from halfseen.draw import PARTS, WHOLE, Colour

LABELS = {"foreground": "whole person", "global": "whole picture", "concat": "all parts"}
ALL_OF_IT = {*LABELS, "whole", "stripe", "patch"}  # of these no map says which part of the body they are


@dataclass(frozen=True)
class PartLook:
    """What a part is called and its colour, `#rrggbb`; `whole`: it is all of somebody, and no part of the body."""

    label: str
    colour: str
    whole: bool


def label_of(part: str) -> str:
    return LABELS.get(part, part)


def numbers_of(parts: Sequence[str]) -> dict[str, int]:
    """The number of each of `parts` by its names in small letters: as people call it, and as the model does."""
    return {name.lower(): number for number, part in enumerate(parts) for name in (label_of(part), part)}


def colours_of(parts: Sequence[str]) -> list[Colour]:
    return [WHOLE if part in ALL_OF_IT else PARTS[row % len(PARTS)] for row, part in enumerate(parts)]


def looks_of(parts: Sequence[str]) -> list[PartLook]:
    colours = ("#{:02x}{:02x}{:02x}".format(*colour) for colour in colours_of(parts))
    return [PartLook(label_of(part), colour, part in ALL_OF_IT) for part, colour in zip(parts, colours, strict=True)]
