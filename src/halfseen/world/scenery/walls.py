"""What walls are made of, what is in and on them. Each function paints a canvas: u is metres along, v metres up."""

from __future__ import annotations

import torch
from torch import Tensor

from halfseen.world.light.noise import noise
from halfseen.world.people import Colour
from halfseen.world.scenery.canvas import Canvas, Spots, between, box, chance, clouds, disc, soft, strip, stripes, tint
from halfseen.world.scenery.surfaces import cell_colours, slabs


def bricks(on: Canvas, seed: int, colour: Colour = (0.52, 0.31, 0.25), mortar: Colour = (0.62, 0.59, 0.54)) -> None:
    slabs(on, seed, size=(0.25, 0.077), colour=colour, mortar=mortar, bond=0.5, uneven=0.3, grime=0.25)
    _weather(on, seed + 9)


def plaster(on: Canvas, seed: int, colour: Colour = (0.74, 0.70, 0.60), wear: float = 0.5) -> None:
    """From freshly painted (`wear` 0) to crumbling (1)."""
    at = on.at
    on.lay(colour)
    on.shade(1 + (0.1 + 0.2 * wear) * (clouds(at, 1.6, seed, 5) - 0.5))
    bare = soft(1.1, 1.16, clouds(at, 0.9, seed + 1, 5) + 0.4 * wear + 0.15 * wear * (-at.v / 0.8).exp())
    on.lay((0.50, 0.45, 0.40), bare * min(3 * wear, 0.7))
    _weather(on, seed + 2, wear)


def concrete(on: Canvas, seed: int, colour: Colour = (0.58, 0.58, 0.56)) -> None:
    """Cast in boards, with the holes of their ties."""
    at = on.at
    slabs(on, seed, size=(2.4, 1.2), colour=colour, joint=0.02, uneven=0.08, grime=0.22)
    cell = Spots((at.u % 1.2) - 0.6, (at.v % 1.2) - 0.6, at.du, at.dv)
    on.shade(1 - 0.6 * disc(cell, 0, 0, 0.03) * (0.05 / at.du).clamp(max=1))
    _weather(on, seed + 2)


def _weather(on: Canvas, seed: int, wear: float = 0.6) -> None:
    """Rain streaks from above, splashes and grime at the foot."""
    at = on.at
    on.shade(1 - 0.35 * wear * soft(0.52, 0.9, clouds(at, (0.3, 5.0), seed, 3)))
    ragged = at.v + 0.3 * (clouds(at, 0.5, seed + 1, 3) - 0.5)
    on.shade(1 - (0.2 + 0.4 * wear) * (-ragged / 0.35).exp().clamp(max=1))


def windows(  # noqa: PLR0913  (keyword-only: what fronts differ in)
    on: Canvas,
    seed: int,
    *,
    period: tuple[float, float] = (2.4, 3.1),
    size: tuple[float, float] = (1.2, 1.6),
    above: float = 0.9,
    frame: Colour = (0.82, 0.81, 0.78),
    lit: float = 0.15,
) -> None:
    """Rows of windows in the wall that is there; the share `lit` of them is."""
    at = on.at
    column, row = (at.u / period[0]).floor(), ((at.v - above) / period[1]).floor()
    cell = at.moved((column + 0.5) * period[0], row * period[1] + above)
    half, height = size[0] / 2, size[1]
    real = (row >= 0).float()
    on.lay((0.30, 0.29, 0.28), box(cell, (-half - 0.05, half + 0.05), (-0.05, height + 0.12)) * real)  # the reveal
    on.lay((0.72, 0.70, 0.66), box(cell, (-half - 0.12, half + 0.12), (-0.14, -0.04)) * real)  # the sill
    on.lay(frame, box(cell, (-half, half), (0, height)) * real)
    panes = box(cell, (-half + 0.07, half - 0.07), (0.07, height - 0.07)) * (1 - strip(cell.u, -0.035, 0.035, cell.du))
    fate = chance(column, row, seed)
    sky = (0.14 + 0.30 * soft(0.35, 0.8, clouds(at, (1.2, 2.4), seed + 1, 3))) * (0.75 + 0.5 * fate)
    on.lay(torch.stack([sky * 0.92, sky, sky * 1.08]), panes * real)
    curtain = strip(cell.v, height * 0.35, height, cell.dv) * (fate > 0.55)
    folds = 0.55 + 0.2 * torch.sin(cell.u * 45) * (0.04 / at.du).clamp(max=1)
    on.lay(folds * tint((0.9, 0.88, 0.82), folds), panes * real * curtain * 0.8)
    on.lay((0.95, 0.82, 0.55), panes * real * (fate < lit) * 0.8, glow=0.7)


def letters(at: Spots, low: float, high: float, seed: int) -> Tensor:
    """[n]: the share covered by a line of writing nobody can read, between two heights."""
    size = (high - low) / 5
    x, y = (at.u / size).floor(), ((at.v - low) / size).floor()
    letter, column = (x / 4).floor(), x % 4
    two_stems = chance(letter, 1, seed) > 0.4
    stems = ((column == 0) | ((column == 2) & two_stems)) & (chance(letter, 2 + (y > 2), seed) > 0.2)
    bars = (column < 3) & (y % 2 == 0) & (chance(letter, 4 + y, seed) > 0.4)
    clear = (size / at.du).clamp(max=1)  # what is too small to read is grey
    ink = ((stems | bars) & (chance(letter, 9, seed) > 0.14)).float() * clear + 0.45 * (1 - clear)
    return ink * strip(at.v, low, high, at.dv)


def shops(on: Canvas, seed: int, *, bay: float = 4.2, wall: Colour = (0.72, 0.67, 0.59)) -> None:
    """Shop windows with lit rooms behind, doors, signs and awnings, up to 3.7 m; above it the wall is plaster."""
    at = on.at
    plaster(on, seed, wall)
    windows(on, seed + 1, above=4.6)
    number = (at.u / bay).floor()
    cell = at.moved((number + 0.5) * bay)
    half, inner = bay / 2, bay / 2 - 0.3
    on.lay(cell_colours(number, 0, seed + 2, 0.4) * 0.6 + 0.05, box(cell, (-half + 0.14, half - 0.14), (0, 3.7)))
    glass = box(cell, (-inner, inner), (0.35, 2.6)) * (1 - stripes(cell.u + inner, 1.2, 0.05, at.du))
    _room(on, glass, number, seed + 3)
    door = cell.moved(half - 1.1)
    on.lay((0.14, 0.13, 0.13), box(door, (-0.5, 0.5), (0.03, 2.35)))
    _room(on, box(door, (-0.4, 0.4), (0.2, 2.25)), number, seed + 5)
    on.lay((0.7, 0.7, 0.7), box(door, (0.28, 0.33), (0.9, 1.4)))
    _sign(on, cell, number, half, seed + 6)
    shown = (chance(number, 0, seed + 7) > 0.5) * strip(cell.u, 0.15 - half, half - 0.15, at.du)
    cloth = torch.where(stripes(cell.u, 0.4, 0.2, at.du) > 0.5, 0.82, cell_colours(number, 0, seed + 8, 0.7))
    on.lay(cloth * (0.65 + 0.35 * (at.v - 2.2) / 0.65), shown * strip(at.v, 2.2, 2.85, at.dv))
    on.shade(1 - 0.55 * shown * soft(1.5, 2.2, at.v) * (at.v < 2.2))  # it throws a shadow


def _sign(on: Canvas, cell: Spots, number: Tensor, half: float, seed: int) -> None:
    """The name above a shop, light on dark or dark on light."""
    ground = cell_colours(number, 0, seed, 0.8)
    on.lay(ground, box(cell, (-half + 0.2, half - 0.2), (2.75, 3.5)))
    long = (0.35 + 0.5 * chance(number, 5, seed)) * half
    ink = letters(on.at, 2.93, 3.33, seed + 1) * strip(cell.u, -long, long, cell.du)
    on.lay((ground.mean(0) < 0.5) * tint((0.86, 0.84, 0.78), on.at.u) + 0.06, ink)


def _room(on: Canvas, glass: Tensor, number: Tensor, seed: int) -> None:
    """Behind the share `glass` [n]: shelves with goods, lamps, and the street mirrored over it."""
    at = on.at
    bright = 0.35 + 0.75 * chance(number, 0, seed)
    x, y = (at.u / 0.19).floor(), (at.v / 0.34).floor()
    goods = cell_colours(x, y, seed + 1, 0.6) * (0.4 + 0.7 * clouds(at, 0.2, seed + 2, 2))
    goods = goods * (1 - 0.6 * stripes(at.v, 0.34, 0.05, at.dv)) * (1 - 0.5 * stripes(at.u, 0.19, 0.04, at.du))
    shelves = (chance(x, y, seed + 3) > 0.25) * soft(0.35, 0.55, clouds(at, (1.6, 1.2), seed + 4, 2))
    back = tint((0.42, 0.36, 0.29), at.u) * (0.25 + 1.1 * clouds(at, (0.9, 1.4), seed + 5, 4))
    on.lay(torch.lerp(back, goods, shelves) * bright, glass, glow=0.75)
    lamp = soft(0.72, 0.80, noise((at.u / 0.4, at.v / 0.2), seed + 6)) * strip(at.v, 1.9, 2.5, at.dv)
    on.lay((1.0, 0.93, 0.78), glass * lamp, glow=1.0)
    street = soft(0.42, 0.75, clouds(at, (0.9, 2.2), seed + 7, 4))
    on.lay((0.62, 0.66, 0.70), glass * street * 0.4)


def doors(on: Canvas, seed: int, period: float) -> None:
    """About one in every `period` metres of the wall that is there."""
    at = on.at
    number = (at.u / period).floor()
    cell = at.moved((number + 0.25 + 0.5 * chance(number, 0, seed)) * period)
    real = (chance(number, 1, seed) > 0.25).float()
    on.lay((0.55, 0.53, 0.50), box(cell, (-0.56, 0.56), (0, 2.2)) * real)
    on.lay(cell_colours(number, 2, seed, 0.25) * 0.55 + 0.06, box(cell, (-0.46, 0.46), (0.01, 2.1)) * real)
    panels = box(cell, (-0.34, 0.34), (0.2, 0.85)) + box(cell, (-0.34, 0.34), (1.05, 1.95))
    on.shade(1 - panels * real * (0.25 + 0.2 * (clouds(at, 0.7, seed, 3) - 0.5)))
    on.lay((0.75, 0.72, 0.62), box(cell, (0.36, 0.43), (0.98, 1.06)) * real)


def shutters(on: Canvas, seed: int, period: float) -> None:
    """Roller shutters 2.6 m wide, scratched and written on."""
    at = on.at
    number = (at.u / period).floor()
    cell = at.moved((number + 0.6) * period)
    real = (chance(number, 3, seed) > 0.4).float()
    on.lay((0.32, 0.32, 0.33), box(cell, (-1.4, 1.4), (0, 2.75)) * real)
    share = box(cell, (-1.3, 1.3), (0.02, 2.6)) * real
    slats = 0.72 + 0.4 * ((at.v / 0.1) % 1.0 - 0.5) * (0.08 / at.dv - 0.5).clamp(0, 1)
    metal = torch.lerp(tint((0.60, 0.61, 0.62), slats), cell_colours(number, 0, seed, 0.4), 0.5)
    on.lay(metal * slats * (0.85 + 0.3 * clouds(at, 0.9, seed + 1, 5)), share)


def posters(on: Canvas, seed: int, period: float) -> None:
    """Sheets of paper in a row at the height of the eyes, some missing."""
    at = on.at
    number = (at.u / period).floor()
    cell = at.moved((number + 0.5) * period, 1.1 + 0.3 * chance(number, 0, seed))
    words = Spots(at.u, cell.v, at.du, at.dv)  # each sheet its own
    wide = 0.22 + 0.13 * chance(number, 1, seed)
    sheet = strip(cell.u, -wide, wide, at.du) * strip(cell.v, 0.0, 2.9 * wide, at.dv)
    sheet = sheet * (chance(number, 2, seed) > 0.4)
    pale, ink = (cell_colours(number, k, seed + 3, 0.6) for k in (0, 1))
    picture = soft(0.35, 0.65, clouds(at, 0.35, seed + 4, 3))
    on.lay(torch.lerp(0.35 + 0.6 * pale, ink, picture), sheet)
    on.lay((0.12, 0.12, 0.14), sheet * letters(words, 0.08, 0.2, seed + 5) * 0.8)
    on.lay((0.95, 0.95, 0.93), sheet * letters(words, 0.5, 0.6, seed + 6) * 0.8)


def scribbles(on: Canvas, seed: int) -> None:
    """Sprayed lines at the height of a hand."""
    at = on.at
    band = soft(0.3, 0.6, at.v) * soft(1.9, 1.5, at.v) * soft(0.52, 0.6, clouds(at, (2.6, 8.0), seed, 2))
    line = (clouds(at, (0.45, 0.6), seed + 1, 2) - 0.5).abs()
    colour = cell_colours((at.u / 2.2).floor(), 0, seed + 2, 1.0)
    on.lay(colour * 0.8, (1 - soft(0.012, 0.03, line)) * band * 0.85)


def glazing(on: Canvas, seed: int) -> None:
    """A front of glass and metal with doors; behind it rooms, on it the sky and the houses across."""
    at = on.at
    on.lay((0.36, 0.37, 0.38))
    column, row = (at.u / 1.5).floor(), (at.v / 3.0).floor()
    mirrored = clouds(at, (2.5, 5.0), seed, 4) * 0.7 + 0.3 * soft(0, 9, at.v)
    on.lay(between((0.10, 0.12, 0.13), (0.62, 0.70, 0.78), (mirrored - 0.2).clamp(0, 1)))
    on.lay((0.85, 0.80, 0.68), 0.5 * (chance(column, row, seed + 1) > 0.75).float(), glow=0.4)
    on.shade(0.8 + 0.4 * chance(column, row, seed + 2))
    frames = 1 - (1 - stripes(at.u, 1.5, 0.08, at.du)) * (1 - stripes(at.v, 3.0, 0.35, at.dv))
    on.lay((0.30, 0.31, 0.32), frames)
    on.lay((0.68, 0.68, 0.66), strip(at.v, 1.0, 1.08, at.dv) * 0.7)
    doors(on, seed + 3, 6.0)
