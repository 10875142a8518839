"""What stands about in streets and halls, painted flat: u is metres right of its middle, v metres above the floor."""

from __future__ import annotations

import random

import torch
from torch import Tensor

from halfseen.world.people import Colour
from halfseen.world.scenery.canvas import (
    Canvas,
    Spots,
    between,
    box,
    chance,
    clouds,
    disc,
    polygon,
    scaled,
    soft,
    strip,
    stripes,
    stroke,
    tint,
)
from halfseen.world.scenery.surfaces import cell_colours
from halfseen.world.scenery.walls import letters

CAR_COLOURS: tuple[Colour, ...] = (
    (0.82, 0.82, 0.82), (0.62, 0.64, 0.66), (0.15, 0.15, 0.17), (0.24, 0.26, 0.30), (0.55, 0.10, 0.10),
    (0.14, 0.22, 0.42), (0.45, 0.46, 0.44), (0.70, 0.66, 0.55),
)  # fmt: skip
CLOTHES: tuple[Colour, ...] = (
    (0.13, 0.13, 0.15), (0.16, 0.20, 0.32), (0.36, 0.37, 0.38), (0.74, 0.73, 0.71), (0.55, 0.48, 0.38),
    (0.40, 0.16, 0.17), (0.28, 0.30, 0.22), (0.25, 0.33, 0.46),
)  # fmt: skip
DARK: Colour = (0.09, 0.09, 0.10)
METAL: Colour = (0.50, 0.51, 0.52)


def car(on: Canvas, seed: int) -> None:
    """Seen from its side, 4.3 m long; some are taller than others."""
    dice = random.Random(seed)
    facing, tall = dice.choice((-1.0, 1.0)), dice.choice((1.0, 1.0, 1.08, 1.28))
    at = Spots(on.at.u * facing, on.at.v / tall, on.at.du, on.at.dv)
    on.lay((0.03, 0.03, 0.04), box(at, (-1.95, 1.95), (0.02, 0.5)))  # dark underneath
    lower = [(-2.05, 0.25), (2.05, 0.25), (2.15, 0.45), (2.08, 0.66), (1.75, 0.77), (1.0, 0.9), (-2.1, 0.94)]
    upper = [(-1.95, 0.9), (1.25, 0.86), (0.5, 1.36), (-0.1, 1.45), (-1.0, 1.45), (-1.55, 1.36)]
    on.lay(dice.choice(CAR_COLOURS), polygon(at, lower).maximum(polygon(at, upper)))
    mirrored = 0.1 * clouds(at, (1.2, 0.2), seed, 2)
    on.shade(0.55 + 0.45 * soft(0.25, 0.8, at.v) + mirrored + 0.25 * soft(0.84, 0.92, at.v) * soft(1.0, 0.92, at.v))
    glass = polygon(at, [(-1.65, 0.95), (1.0, 0.93), (0.42, 1.32), (-0.1, 1.38), (-0.95, 1.38), (-1.35, 1.3)])
    sky = soft(0.35, 0.75, clouds(at, (0.8, 0.4), seed + 1, 3)) * soft(0.9, 1.4, at.v)
    on.lay(between((0.05, 0.06, 0.07), (0.55, 0.60, 0.64), sky), glass)
    on.lay((0.03, 0.03, 0.03), box(at, (-0.3, -0.2), (0.93, 1.42)) + box(at, (-1.3, -1.24), (0.93, 1.36)))
    seams = stroke(at, [(-0.26, 0.32), (-0.26, 0.93)], 0.02) + stroke(at, [(0.82, 0.36), (0.9, 0.92)], 0.02)
    on.lay(DARK, (seams * 0.7).clamp(max=1))
    on.lay(DARK, box(at, (-2.1, 2.1), (0.24, 0.33)) * 0.85 + stroke(at, [(-0.55, 0.82), (-0.42, 0.82)], 0.03) * 0.6)
    on.lay((0.55, 0.07, 0.05), box(at, (-2.14, -1.92), (0.66, 0.84)))
    on.lay((0.90, 0.90, 0.86), polygon(at, [(1.78, 0.58), (2.08, 0.56), (2.07, 0.66), (1.8, 0.7)]))
    for wheel in (-1.32, 1.30):
        on.lay((0.03, 0.03, 0.03), disc(at, wheel, 0.36, 0.40))
        on.lay((0.10, 0.10, 0.10), disc(at, wheel, 0.32, 0.33))
        on.lay((0.50, 0.51, 0.52), disc(at, wheel, 0.32, 0.21) * (0.6 + 0.4 * stripes(at.u, 0.09, 0.05, at.du)))


def bicycle(on: Canvas, seed: int) -> None:
    """1.7 m long, leaning on nothing."""
    dice = random.Random(seed)
    paint = dice.choice(((0.6, 0.1, 0.1), (0.1, 0.15, 0.4), (0.12, 0.12, 0.12), (0.1, 0.35, 0.25), (0.75, 0.75, 0.75)))
    at = on.at
    for wheel in (-0.53, 0.53):
        on.lay((0.10, 0.10, 0.10), disc(at, wheel, 0.34, 0.35) - disc(at, wheel, 0.34, 0.305))
        on.lay(METAL, disc(at, wheel, 0.34, 0.3) * 0.22)  # spokes
    on.lay(paint, stroke(at, [(-0.53, 0.34), (-0.2, 0.75), (0.38, 0.78), (0.0, 0.3), (-0.53, 0.34)], 0.04))
    on.lay(paint, stroke(at, [(0.0, 0.3), (-0.24, 0.88)], 0.04))
    on.lay(METAL, stroke(at, [(0.53, 0.34), (0.36, 0.98), (0.52, 1.02)], 0.035))
    on.lay(DARK, stroke(at, [(-0.38, 0.92), (-0.14, 0.93)], 0.09))
    if dice.random() < 0.5:
        on.lay((0.35, 0.33, 0.30), box(at, (0.45, 0.8), (0.7, 0.95)) * 0.75)


def dustbin(on: Canvas, seed: int) -> None:
    paint = random.Random(seed).choice(((0.16, 0.30, 0.20), (0.25, 0.26, 0.28), (0.13, 0.2, 0.4), (0.5, 0.38, 0.1)))
    at = on.at
    _tube(on, paint, 0.29, (0.03, 0.92))
    on.lay(DARK, box(at, (-0.2, 0.2), (0.72, 0.84)))
    on.lay((0.30, 0.30, 0.30), box(at, (-0.31, 0.31), (0.92, 1.0)))
    on.lay((0.75, 0.75, 0.7), box(at, (-0.14, 0.14), (0.4, 0.6)) * 0.7)


def pole(on: Canvas, seed: int) -> None:
    """Of a lamp or a sign, 5 m high."""
    dice = random.Random(seed)
    paint = dice.choice((METAL, (0.2, 0.24, 0.22), (0.35, 0.36, 0.36)))
    _tube(on, paint, 0.06, (0, 5.0))
    _tube(on, paint, 0.10, (0, 0.8))
    at = on.at
    if dice.random() < 0.5:
        on.lay((0.85, 0.85, 0.85), disc(at, 0, 2.5, 0.32))
        on.lay(dice.choice(((0.12, 0.25, 0.6), (0.7, 0.1, 0.1))), disc(at, 0, 2.5, 0.28))
        on.lay((0.9, 0.9, 0.9), box(at, (-0.18, 0.18), (2.45, 2.55)))
    else:
        on.lay((0.8, 0.78, 0.7), box(at, (-0.1, 0.1), (1.3, 1.6)) * 0.9)  # a notice
        on.lay(DARK, letters(at, 1.36, 1.54, seed) * strip(at.u, -0.08, 0.08, at.du) * 0.6)


def bollard(on: Canvas, seed: int) -> None:
    del seed  # they are all alike
    _tube(on, (0.22, 0.22, 0.23), 0.08, (0, 0.95))
    on.lay((0.85, 0.82, 0.75), box(on.at, (-0.08, 0.08), (0.74, 0.84)))
    on.lay((0.18, 0.18, 0.18), disc(on.at, 0, 0.95, 0.09))


def pillar(on: Canvas, seed: int) -> None:
    """Round, plastered, up to a ceiling."""
    _tube(on, (0.72, 0.70, 0.66), 0.36, (0, 4.2))
    on.shade(0.88 + 0.24 * clouds(on.at, 0.8, seed, 4))
    _tube(on, (0.34, 0.32, 0.31), 0.40, (0, 0.22))
    sheet = box(on.at, (-0.22, 0.16), (1.35, 1.85))
    on.lay((0.86, 0.85, 0.80), sheet * 0.9)
    on.lay((0.25, 0.25, 0.3), sheet * stripes(on.at.v, 0.07, 0.035, on.at.dv) * 0.5)


def tree(on: Canvas, seed: int) -> None:
    """A trunk that forks, and leaves from about 2.5 m up to 7 m."""
    dice = random.Random(seed)
    at = on.at
    lean = dice.uniform(-0.05, 0.05)
    trunk = Spots(at.u - lean * at.v, at.v, at.du, at.dv)
    thick = 0.13 + 0.1 * (-at.v / 0.2).exp() + 0.02 * clouds(at, 0.5, seed, 2)
    fork = stroke(trunk, [(0, 2.3), (dice.uniform(0.5, 1.0), 4.4)], 0.12)
    stem = strip(trunk.u.abs(), -1, thick, at.du) * strip(at.v, 0, 4.5, at.dv)
    bark = 0.35 + 0.6 * clouds(at, (0.06, 0.35), seed, 3)
    on.lay(bark * tint((0.62, 0.54, 0.46), bark), stem.maximum(fork))
    on.bend(trunk.u / 0.17, stem)
    lobes = [(dice.uniform(-1.1, 1.1), dice.uniform(3.6, 5.6), dice.uniform(1.0, 1.5)) for _ in range(5)]
    ragged = 1.1 * (clouds(at, 0.8, seed + 1, 5) - 0.5)
    crown = torch.stack([1 - torch.hypot(at.u - u, at.v - v) / radius for u, v, radius in lobes]).amax(0)
    _leaves(on, soft(0.0, 0.12, crown + ragged), seed + 2, lift=crown)


def hedge(on: Canvas, seed: int, height: float = 1.5) -> None:
    """A long one, clipped not too well."""
    at = on.at
    top = height + 0.25 * (clouds(at.moved(), (0.5, 50.0), seed, 3) - 0.5)
    ragged = (top - at.v) * 4 + 0.5 * (clouds(at, 0.12, seed + 1, 2) - 0.5)
    _leaves(on, ragged.clamp(0, 1) * (at.v > 0), seed + 2)
    on.shade(0.45 + 0.55 * soft(0.0, 0.9 * height, at.v))


def planter(on: Canvas, seed: int) -> None:
    """A bush in a concrete trough."""
    at = on.at
    top = 1.15 + 0.5 * (clouds(at, 0.5, seed, 3) - 0.5) - 0.25 * at.u.square()
    _leaves(on, ((top - at.v) * 6).clamp(0, 1) * strip(at.u, -0.85, 0.85, at.du) * (at.v > 0.3), seed + 1)
    trough = box(at, (-0.8, 0.8), (0, 0.5))
    on.lay((0.62, 0.60, 0.56), trough)
    on.shade(1 - trough * (0.3 - 0.5 * (clouds(at, 0.5, seed + 4, 4) - 0.5)) * soft(0.55, 0.1, at.v))


def bench(on: Canvas, seed: int) -> None:
    at = on.at
    wood: Colour = random.Random(seed).choice(((0.45, 0.31, 0.20), (0.38, 0.36, 0.33), (0.25, 0.30, 0.24)))
    for leg in (-0.7, 0.7):
        on.lay(DARK, box(at, (leg - 0.04, leg + 0.04), (0, 0.85)))
    slats = stripes(at.v - 0.5, 0.13, 0.1, at.dv) * box(at, (-0.9, 0.9), (0.5, 0.88))
    on.lay(wood, slats)
    on.lay(scaled(wood, 1.25), box(at, (-0.9, 0.9), (0.40, 0.47)))


def board(on: Canvas, seed: int) -> None:
    """An advertisement on two legs, 1.2 m wide and 1.9 m high."""
    at = on.at
    dice = random.Random(seed)
    on.lay(METAL, box(at, (-0.55, -0.49), (0, 1.9)) + box(at, (0.49, 0.55), (0, 1.9)))
    on.lay((0.30, 0.31, 0.32), box(at, (-0.6, 0.6), (0.3, 1.9)))
    poster(on, seed, box(at, (-0.54, 0.54), (0.36, 1.84)), glow=dice.choice((0.0, 0.5)))


def poster(on: Canvas, seed: int, share: Tensor, glow: float = 0.0) -> None:
    """A picture with some writing over the `share` [n]."""
    at = on.at
    dice = random.Random(seed)
    grey = dice.uniform(0.2, 0.6)
    low, high = ((grey, dice.uniform(0.1, 0.7), dice.uniform(0.1, 0.7)), (dice.uniform(0.3, 0.9), grey, 0.8 - grey))
    picture = soft(0.3, 0.7, clouds(at, dice.uniform(0.3, 0.7), seed, 3))
    on.lay(between(low, high, picture), share, glow=glow)
    on.lay((0.78, 0.58, 0.47), share * disc(at, dice.uniform(-0.2, 0.2), 1.3, 0.17) * 0.8, glow=glow)
    ink = letters(at, 0.55, 0.75, seed) + letters(at, 0.86, 0.94, seed + 1)
    on.lay((0.95, 0.95, 0.92), share * ink.clamp(max=1) * 0.85, glow=glow)


def figure(on: Canvas, seed: int) -> None:
    """Somebody far off."""
    dice = random.Random(seed)
    at = on.at
    top, legs = (scaled(dice.choice(CLOTHES), dice.uniform(0.8, 1.1)) for _ in range(2))
    step, swing = dice.uniform(0.04, 0.2), dice.uniform(-0.05, 0.15)
    left, right = stroke(at, [(-step, 0.06), (-0.07, 0.85)], 0.15), stroke(at, [(step, 0.06), (0.07, 0.85)], 0.15)
    on.lay(legs, left.maximum(right))
    on.lay(DARK, box(at, (-step - 0.08, -step + 0.1), (0, 0.07)) + box(at, (step - 0.08, step + 0.1), (0, 0.07)))
    chest = polygon(at, [(-0.15, 0.8), (0.16, 0.8), (0.2, 1.38), (0.08, 1.48), (-0.08, 1.48), (-0.2, 1.38)])
    arms = stroke(at, [(-0.2, 1.36), (-0.24 - swing, 0.85)], 0.1).maximum(stroke(at, [(0.2, 1.36), (0.24, 0.87)], 0.1))
    on.lay(top, chest.maximum(arms))
    on.bend(at.u / 0.25, chest)
    on.lay((0.62, 0.46, 0.38), disc(at, 0, 1.6, 0.1))
    on.lay((0.12, 0.10, 0.09), disc(at, 0, 1.64 + 0.02 * swing, 0.1))


def railing(on: Canvas, seed: int) -> None:
    """Uprights between two bars."""
    at = on.at
    paint = random.Random(seed).choice((METAL, (0.16, 0.18, 0.17), (0.6, 0.6, 0.6)))
    bars = strip(at.v, 1.0, 1.06, at.dv) + strip(at.v, 0.12, 0.16, at.dv)
    uprights = stripes(at.u, 0.13, 0.018, at.du) * strip(at.v, 0.12, 1.0, at.dv)
    posts = stripes(at.u, 1.95, 0.06, at.du) * strip(at.v, 0, 1.1, at.dv)
    on.lay(paint, (bars + uprights + posts).clamp(max=1))


def machine(on: Canvas, seed: int) -> None:
    """It sells drinks."""
    at = on.at
    paint = random.Random(seed).choice(((0.65, 0.1, 0.1), (0.1, 0.2, 0.5), (0.75, 0.75, 0.76)))
    on.lay(paint, box(at, (-0.5, 0.5), (0.05, 1.85)))
    on.shade(0.8 + 0.25 * soft(-0.5, 0.5, at.u))
    window = box(at, (-0.42, 0.22), (0.62, 1.72))
    x, y = (at.u / 0.09).floor(), (at.v / 0.22).floor()
    goods = cell_colours(x, y, seed, 0.9) * 0.8 + 0.2
    bottle = stripes(at.u, 0.09, 0.07, at.du) * stripes(at.v, 0.22, 0.17, at.dv)
    on.lay((0.80, 0.84, 0.86), window, glow=0.6)
    on.lay(goods, window * bottle, glow=0.5)
    on.lay(DARK, box(at, (-0.35, 0.15), (0.25, 0.45)) + box(at, (0.29, 0.43), (0.95, 1.25)))


def gate(on: Canvas, seed: int) -> None:
    """One side of a ticket gate."""
    at = on.at
    _tube(on, (0.60, 0.62, 0.63), 0.17, (0, 1.0))
    on.lay((0.12, 0.13, 0.14), box(at, (-0.19, 0.19), (0.94, 1.04)))
    lamp = random.Random(seed).choice(((0.1, 0.7, 0.3), (0.8, 0.15, 0.1)))
    on.lay(lamp, box(at, (-0.06, 0.06), (0.78, 0.88)), glow=0.9)


def _leaves(on: Canvas, share: Tensor, seed: int, lift: Tensor | float = 0.3) -> None:
    """The outer leaves (`lift` small) are lit, the inner ones dark."""
    at = on.at
    clumps, fine = clouds(at, 0.6, seed, 3), clouds(at, 0.07, seed + 1, 3)
    lit = (1.6 * clumps - 0.3 - 0.3 * torch.as_tensor(lift) + 0.15).clamp(0, 1)
    on.lay(between((0.10, 0.15, 0.07), (0.40, 0.49, 0.22), lit), share)
    on.shade(1 + share * (1.1 * fine - 0.55))
    flecks = soft(0.66, 0.85, chance((at.u / 0.05).floor(), (at.v / 0.05).floor(), seed) * fine)
    on.lay((0.64, 0.70, 0.44), share * flecks * 0.7)


def _tube(on: Canvas, paint: Colour, radius: float, up: tuple[float, float]) -> None:
    """Something round and upright."""
    share = box(on.at, (-radius, radius), up)
    on.lay(paint, share)
    on.bend(on.at.u / radius, share)
