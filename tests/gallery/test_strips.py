"""A search as one picture."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from halfseen.draw import PARTS, WHOLE
from halfseen.gallery.sightings import Fact, Sighting
from halfseen.gallery.strips import BAR, FAINT, GAP, HEIGHT, LABELS, PAPER, WIDTH, draw_strip, fitted, picture_of

NAMES = ("whole", "head", "feet")


def plain(colour: tuple[int, int, int], height: int = 64, width: int = 32) -> Tensor:
    return torch.tensor(colour, dtype=torch.uint8)[:, None, None].expand(3, height, width)


def sighting(rank: int, parts: tuple[float | None, ...]) -> Sighting:
    fact = Fact(camera="a gate with a very long name", time=1_717_156_800.0)
    return Sighting(7, rank, 0.25, None, parts, (1.0,) * len(parts), fact)


def colours_at(strip: Tensor, left: int, top: int, width: int, height: int) -> set[tuple[int, ...]]:
    return {tuple(pixel) for pixel in strip[:, top : top + height, left : left + width].flatten(1).T.tolist()}


def test_a_strip_shows_who_was_asked_and_the_answers_with_bars() -> None:
    red, blue, green = (250, 0, 0), (0, 0, 250), (0, 200, 0)
    answers = [(sighting(1, (0.0, 0.5, None)), plain(blue)), (sighting(2, (1.0, 1.7, 0.2)), plain(green))]
    strip = draw_strip([plain(red)], answers, NAMES)
    assert strip.dtype == torch.uint8
    lefts = [GAP, 2 * GAP + WIDTH + LABELS, 3 * GAP + 2 * WIDTH + LABELS]
    assert strip.shape[2] == lefts[2] + WIDTH + GAP
    for left, colour in zip(lefts, (red, blue, green), strict=True):
        assert colours_at(strip, left, GAP, WIDTH, HEIGHT) == {colour}
    top = strip.shape[1] - GAP - len(NAMES) * BAR
    for row, (first, second) in enumerate([(1.0, 0.0), (0.5, 0.0), (None, 0.8)]):
        for left, share in ((lefts[1], first), (lefts[2], second)):
            line = strip[:, top + row * BAR + 3, left : left + WIDTH]
            own = torch.tensor([WHOLE, PARTS[1], PARTS[2]][row])
            filled = (line == own[:, None]).all(0).sum().item()
            if share is None:
                assert filled == 0
                assert tuple(line[:, 5].tolist()) == PAPER
            else:
                assert abs(filled - share * WIDTH) <= 1
                assert share == 1 or tuple(line[:, -3].tolist()) == FAINT
    assert (strip[:, GAP + HEIGHT : top] != torch.tensor(PAPER)[:, None, None]).any()  # something is written


def test_several_may_be_asked_and_nobody_found() -> None:
    assert draw_strip([plain((1, 2, 3))] * 3, [], NAMES).shape[2] == GAP + 3 * (WIDTH + GAP) + LABELS


def test_a_picture_keeps_its_shape_on_paper() -> None:
    wide = fitted(plain((9, 9, 9), 20, 60), 90, 120)
    assert wide.shape == (3, 120, 90)
    assert colours_at(wide, 0, 45, 90, 30) == {(9, 9, 9)}
    assert colours_at(wide, 0, 0, 90, 45) == colours_at(wide, 0, 75, 90, 45) == {PAPER}


def test_what_is_shown_of_a_sighting_is_its_thumbnail_or_its_picture_or_grey(tmp_path: Path) -> None:
    kept = io.BytesIO()
    Image.new("RGB", (8, 16), (200, 100, 50)).save(kept, "PNG")
    assert picture_of(Fact(thumbnail=kept.getvalue()))[:, 0, 0].tolist() == [200, 100, 50]
    (file := tmp_path / "a.png").write_bytes(kept.getvalue())
    assert picture_of(Fact(image=str(file))).shape == (3, 16, 8)
    for fact in (Fact(), Fact(image="gone.jpg"), Fact(thumbnail=b"broken")):
        assert set(picture_of(fact).flatten().tolist()) == {FAINT[0]}
