"""A search as one picture: who was asked for, the answers by rank, and how alike each part is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from halfseen.data.images import decode_image, read_image
from halfseen.draw import Colour
from halfseen.gallery.indexing.times import OF_FILM, shown_moment
from halfseen.gallery.parts import colours_of, label_of
from halfseen.gallery.sightings import Fact, Sighting
from halfseen.types import InputError

WIDTH, HEIGHT = 96, 192  # of a picture
GAP, LINE, BAR, LABELS = 8, 14, 12, 80
PAPER, INK, FAINT = (250, 250, 248), (30, 30, 34), (214, 214, 210)


def draw_strip(queries: Sequence[Tensor], answers: Sequence[tuple[Sighting, Tensor]], parts: Sequence[str]) -> Tensor:
    """`queries` and the pictures of `answers` are uint8 [3,h,w]; the strip is uint8 [3,H,W].

    Below each answer stand its rank and distance, camera and time, and a bar for each of `parts`: the longer, the more
    alike; none where not both pictures show the part.
    """
    top = GAP + HEIGHT + 3 * LINE + 4
    columns = len(queries) + len(answers)
    width = GAP + columns * (WIDTH + GAP) + LABELS
    canvas = Image.new("RGB", (width, top + len(parts) * BAR + GAP), PAPER)
    pen = ImageDraw.Draw(canvas)
    for column, image in enumerate(queries):
        left = GAP + column * (WIDTH + GAP)
        canvas.paste(_tile(image), (left, GAP))
        _write(pen, left, GAP + HEIGHT, "asked")
    shift = GAP + len(queries) * (WIDTH + GAP) + LABELS
    for row, name in enumerate(parts):
        _write(pen, shift - LABELS, top + row * BAR - 3, label_of(name)[:13])
    for place, (sighting, image) in enumerate(answers):
        left = shift + place * (WIDTH + GAP)
        canvas.paste(_tile(image), (left, GAP))
        _write(pen, left, GAP + HEIGHT, f"{sighting.rank}   {sighting.distance:.3f}")
        _write(pen, left, GAP + HEIGHT + LINE, sighting.fact.camera[:15])
        _write(pen, left, GAP + HEIGHT + 2 * LINE, _when(sighting.fact)[:16])
        for row, (distance, colour) in enumerate(zip(sighting.parts, colours_of(parts), strict=True)):
            _bar(pen, left, top + row * BAR, distance, colour)
    return torch.from_numpy(np.array(canvas)).permute(2, 0, 1)


def picture_of(fact: Fact) -> Tensor:
    """The thumbnail, or else the picture itself, uint8 [3,h,w]; grey where neither can be read."""
    try:
        return decode_image(fact.thumbnail, "a thumbnail") if fact.thumbnail else read_image(fact.image)
    except InputError:
        return torch.full((3, HEIGHT, WIDTH), FAINT[0], dtype=torch.uint8)


def fitted(image: Tensor, width: int = WIDTH, height: int = HEIGHT) -> Tensor:
    """`image` uint8 [3,h,w] as large as fits: uint8 [3,height,width] with paper around it."""
    scale = min(width / image.shape[2], height / image.shape[1])
    size = max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[2]))
    small = F.interpolate(image[None], size, mode="bilinear", antialias=True)[0]
    paper = torch.tensor(PAPER, dtype=torch.uint8)[:, None, None].expand(3, height, width).clone()
    left, top = (width - size[1]) // 2, (height - size[0]) // 2
    paper[:, top : top + size[0], left : left + size[1]] = small
    return paper


def _tile(image: Tensor) -> Image.Image:
    return Image.fromarray(fitted(image).permute(1, 2, 0).contiguous().numpy())


def _when(fact: Fact) -> str:
    """Its moment, as short as a tile wants it."""
    told = shown_moment(fact)
    return f"film {told.removesuffix(OF_FILM)}" if told.endswith(OF_FILM) else told


def _bar(pen: ImageDraw.ImageDraw, left: int, top: int, distance: float | None, colour: Colour) -> None:
    pen.rectangle(
        (left, top, left + WIDTH - 1, top + BAR - 4), fill=FAINT if distance is not None else PAPER, outline=FAINT
    )
    if distance is not None:
        alike = min(max(1 - distance, 0.0), 1.0)
        pen.rectangle((left, top, left + round(alike * (WIDTH - 1)), top + BAR - 4), fill=colour)


def _write(pen: ImageDraw.ImageDraw, left: int, top: int, text: str) -> None:
    pen.text((left, top), text, fill=INK, font=_font())


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(11)
