"""What is printed on the front or the back of a garment: words, rings, a heart, a picture, or a band with words."""

from __future__ import annotations

import torch
from torch import Tensor

from halfseen.world.light.noise import hash01, hashed, noise
from halfseen.world.light.patterns import Show, Spot, bands, ellipse, inside, part_of

WIDEST = 0.13  # metres from the middle of a print to its sides, at most
MIDDLE = 0.33  # metres along (upwards) where that is


def print_front(spot: Spot) -> Show:
    return _printed(spot, spot.around, spot.front > 0)


def print_back(spot: Spot) -> Show:
    back = spot.around + torch.where(spot.around > 0, -spot.half_round, spot.half_round)
    return _printed(spot, back, spot.front < 0)


def _printed(spot: Spot, across: Tensor, facing: Tensor) -> Show:
    """The shares of the two inks; `across` [P]: metres to the right of the garment's middle, as a viewer sees it."""
    second, third = torch.zeros_like(across), torch.zeros_like(across)
    at = (facing & (across.abs() < WIDEST) & ((spot.along - MIDDLE).abs() < WIDEST)).nonzero()[:, 0]
    x, up, chance, blur = (
        values.index_select(0, at) for values in (across, spot.along - MIDDLE, spot.chance, spot.footprint)
    )
    seed = (chance * 4096).to(torch.int32)
    kinds = [_words, _rings, _heart, _picture, _labelled]
    kind = (part_of(chance, 0) * len(kinds)).to(torch.int32)
    for number, figure in enumerate(kinds):
        these = (kind == number).nonzero()[:, 0]
        if len(these):
            where = at.index_select(0, these)
            inks = figure(*(values.index_select(0, these) for values in (x, up, seed, blur)))
            second[where], third[where] = inks
    return second, third, 1.0


def _words(x: Tensor, up: Tensor, seed: Tensor, blur: Tensor) -> tuple[Tensor, Tensor]:
    """Two to four lines in capitals, one of them in the other ink."""
    high = 0.034 + 0.022 * hash01(seed, 11)
    lines = 2 + (hash01(seed, 12) * 3).floor()
    down = 0.5 * lines - up / high
    line = down.floor()
    ink = _letters(x / high, (down - line) * 1.4, line, seed, blur / high)
    ink = ink * ((line >= 0) & (line < lines))
    return ink, ink * (line == (hash01(seed, 13) * lines).floor())


def _rings(x: Tensor, up: Tensor, seed: Tensor, blur: Tensor) -> tuple[Tensor, Tensor]:
    """A disc with a ring in it, or a sun that sets behind bars."""
    radius = 0.07 + 0.04 * hash01(seed, 21)
    away = (x * x + up * up).sqrt()
    hole = radius * (0.4 + 0.4 * hash01(seed, 22))
    disc, ring = inside(radius - away, blur), inside(hole - away, blur) * inside(away - 0.6 * hole, blur)
    bars = disc * bands(up / (0.3 * radius), 0.5, blur / (0.3 * radius)) * inside(-up, blur)
    return disc, torch.where(hash01(seed, 23) < 0.5, ring, bars)


def _heart(x: Tensor, up: Tensor, seed: Tensor, blur: Tensor) -> tuple[Tensor, Tensor]:
    """A heart, or the same upside down, over one word."""
    size = 0.062 + 0.02 * hash01(seed, 31)
    x, y = x / size, (up / size - 0.2) * torch.where(hash01(seed, 32) < 0.7, 1.0, -1.0)
    aside, high = x.abs() - 0.45, y - 0.35
    wings = 0.5 - (aside * aside + high * high).sqrt()
    tip = torch.minimum(0.5 - 0.77 * aside + 0.64 * high, -high)  # bounded by their tangents
    heart = inside(torch.maximum(wings, tip), blur / size)
    word = _letters(x * 1.6, (-up / size - 1.0) * 2.2, torch.zeros_like(seed), seed, blur / size)
    return torch.maximum(heart, word), word


def _picture(x: Tensor, up: Tensor, seed: Tensor, blur: Tensor) -> tuple[Tensor, Tensor]:
    """A framed picture of blots, alike left and right."""
    wide, high = 0.075 + 0.05 * hash01(seed, 41), 0.07 + 0.055 * hash01(seed, 42)
    frame = inside(wide - x.abs(), blur) * inside(high - up.abs(), blur)
    blots = noise([x.abs() * 34, up * 34], seed, octaves=2)
    return frame, frame * inside(0.06 * (blots - 0.48), blur)


def _labelled(x: Tensor, up: Tensor, seed: Tensor, blur: Tensor) -> tuple[Tensor, Tensor]:
    """A patch with one line of capitals in it."""
    high = 0.028 + 0.02 * hash01(seed, 51)
    patch = inside(0.115 - x.abs(), blur) * inside(high - up.abs(), blur)
    rounded = ellipse(x, up, (0.125, 2.2 * high), blur)
    return torch.where(hash01(seed, 52) < 0.5, patch, rounded), _letters(
        x / (1.5 * high), (0.6 - up / (1.5 * high)) * 1.1, torch.zeros_like(seed), seed, blur / high
    ) * patch


def _letters(x: Tensor, down: Tensor, line: Tensor, seed: Tensor, blur: Tensor) -> Tensor:
    """Ink of one line of capitals nobody can read: `x` and `down` in heights of the line, `down` 0..1 within it."""
    width = 3.2 + 3.2 * hash01(seed, line.to(torch.int32), 1)  # how many letters, in all
    place = x / 0.72 + 0.5 * width
    letter = place.floor()
    column, row = ((place - letter) * 4).floor(), (down * 5).floor()
    side = (column - 1).abs()  # letters look alike left and right, more or less
    cell = hashed(seed, line.to(torch.int32), letter.to(torch.int32), (row * 2 + side).to(torch.int32))
    likely = torch.where(side == 1, 0.78, 0.5)
    ink = (hash01(cell) < likely) & (column < 3) & (row >= 0) & (row < 5) & (letter >= 0) & (letter < width.floor())
    within = (down > 0) & (down < 1) & (place > 0) & (place < width.floor())
    clear = (0.3 / blur.clamp(min=0.01)).clamp(max=1)
    return within * (0.45 + clear * (ink.float() - 0.45))
