"""Charts in SVG that follow the page: its text colour, its size, and a light or a dark background.

A line is told by its dashes as well as by its colour. The page may name its own colours in the CSS variables --line-0,
--line-1 and so on; otherwise those in `COLOURS` serve on both backgrounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import NamedTuple, TypeAlias

Bounds: TypeAlias = tuple[float, float]
Say: TypeAlias = Callable[[float], str]

COLOURS = ("#2f7ed8", "#d9541e", "#139a74", "#b565a7", "#b8860b", "#5b6ee1", "#7f8c8d", "#c2384f")
DASHES = ("", "7 3", "2 3", "9 3 2 3", "12 4", "4 2", "1 2", "8 2 2 2 2 2")
SMALL = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
LETTER = 5.7  # about how wide one of the legend's letters is
LEFT, RIGHT, TOP, BELOW, LEGEND = 44.0, 10.0, 24.0, 38.0, 16.0  # margins, and the height of a row of the legend


class Line(NamedTuple):
    """What the legend calls it, and its points from left to right."""

    name: str
    points: Sequence[tuple[float, float]]


class Plot(NamedTuple):
    """A rectangle of the drawing, what its sides stand for, and the marks of the axis y, from its foot to its top."""

    x: Bounds
    marks: Sequence[float]
    width: float
    height: float

    def place(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.marks[0]) / (self.marks[-1] - self.marks[0])
        return LEFT + across * self.width, TOP + (1 - up) * self.height


def number(value: float) -> str:
    """Short: 0.0035 is 0.0035, 0.00035 is 3.5·10⁻⁴, 12000 is 12,000."""
    if value and abs(value) < 0.001:
        digits, power = f"{value:.1e}".split("e-")
        return f"{digits.removesuffix('.0')}·10⁻{str(int(power)).translate(SMALL)}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"


def percent(value: float) -> str:
    """A fraction in per cent."""
    return f"{100 * value:.3g} %"


def curve(
    lines: Sequence[Line], title: str, x: str, y: str, *, say: Say = number, size: tuple[int, int] = (380, 250)
) -> str:
    """`lines` over the axis called `x`; `say` writes the numbers of the axis `y`. `title` is for those who hear it."""
    lines = [Line(line.name, [p for p in line.points if all(map(math.isfinite, p))]) for line in lines]
    lines = [line for line in lines if line.points]
    rows = _legend_rows([line.name for line in lines] if len(lines) > 1 else [], size[0])
    xs, ys = ([point[axis] for line in lines for point in line.points] or [0.0, 1.0] for axis in (0, 1))
    marks = ticks(*_apart(min(ys), max(ys)))
    plot = Plot(_apart(min(xs), max(xs)), marks, size[0] - LEFT - RIGHT, size[1] - TOP - BELOW)
    height = size[1] + LEGEND * len(rows)
    body = [*_grid(plot, x, y, say), *_strokes(lines, plot, say), *_legend(rows, size[1] + 4)]
    told = "; ".join(_told(line, say) for line in lines) or "no values"
    return (
        f'<svg class="chart" viewBox="0 0 {size[0]} {height:.0f}" role="img" aria-label="{escape(title)}. '
        f'{escape(told)}" xmlns="http://www.w3.org/2000/svg" font-family="inherit" font-size="11" fill="currentColor">'
        f"{''.join(body)}</svg>"
    )


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from `low` to `high`, both covered: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * n for n in range(first, last + 1)]


def thinned(points: Sequence[tuple[float, float]], most: int = 200) -> list[tuple[float, float]]:
    """At most `most` points: means of neighbours."""
    step = math.ceil(len(points) / most) or 1
    groups = (points[start : start + step] for start in range(0, len(points), step))
    return [(math.fsum(p[0] for p in g) / len(g), math.fsum(p[1] for p in g) / len(g)) for g in groups]


def _apart(low: float, high: float) -> Bounds:
    return (low, high) if high > low else (low - (abs(low) / 2 or 0.5), high + (abs(high) / 2 or 0.5))


def _grid(plot: Plot, x: str, y: str, say: Say) -> Iterator[str]:
    right, bottom = LEFT + plot.width, TOP + plot.height
    for value in plot.marks:
        _, at = plot.place(plot.x[0], value)
        yield f'<path d="M{LEFT} {at:.1f}H{right:.1f}" stroke="currentColor" stroke-opacity=".15"/>'
        yield f'<text x="{LEFT - 5}" y="{at + 3.5:.1f}" text-anchor="end">{say(value)}</text>'
    for value in ticks(*plot.x):
        if plot.x[0] <= value <= plot.x[1]:
            at, _ = plot.place(value, plot.marks[0])
            yield f'<path d="M{at:.1f} {bottom}v4" stroke="currentColor" stroke-opacity=".5"/>'
            yield f'<text x="{at:.1f}" y="{bottom + 15:.1f}" text-anchor="middle">{number(value)}</text>'
    yield f'<path d="M{LEFT} {bottom:.1f}H{right:.1f}" stroke="currentColor" stroke-opacity=".5"/>'
    middle = LEFT + plot.width / 2
    yield f'<text x="{middle:.1f}" y="{bottom + 30:.1f}" text-anchor="middle" fill-opacity=".75">{escape(x)}</text>'
    yield f'<text x="4" y="11" fill-opacity=".75">{escape(y)}</text>'


def _strokes(lines: Sequence[Line], plot: Plot, say: Say) -> Iterator[str]:
    for number_, line in enumerate(lines):
        places = [plot.place(*point) for point in line.points]
        path = "M" + "L".join(f"{across:.1f} {down:.1f}" for across, down in places)
        yield f'<path d="{path}" fill="none" stroke-linejoin="round" {_stroke(number_)}/>'
        if len(places) <= 25:
            for (across, down), (at, value) in zip(places, line.points, strict=True):
                told = f"<title>{escape(line.name)}: {say(value)} at {number(at)}</title>"
                yield f'<circle cx="{across:.1f}" cy="{down:.1f}" r="2.5" {_fill(number_)}>{told}</circle>'


def _stroke(number_: int) -> str:
    which = number_ % len(COLOURS)
    dashes = DASHES[(number_ + number_ // len(COLOURS)) % len(DASHES)]  # a colour that comes again has others
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'style="stroke:var(--line-{which},{COLOURS[which]})" stroke-width="2"{dash}'


def _fill(number_: int) -> str:
    which = number_ % len(COLOURS)
    return f'style="fill:var(--line-{which},{COLOURS[which]})"'


def _legend_rows(names: Sequence[str], width: float) -> list[list[tuple[int, str, float]]]:
    """The lines' numbers and names with where they begin, as many in a row as fit."""
    rows: list[list[tuple[int, str, float]]] = []
    at = width
    for number_, name in enumerate(names):
        room = 34 + LETTER * len(name)
        if at + room > width - RIGHT or not rows:
            rows.append([])
            at = 8.0
        rows[-1].append((number_, name, at))
        at += room + 6
    return rows


def _legend(rows: Sequence[Sequence[tuple[int, str, float]]], top: float) -> Iterator[str]:
    for row, entries in enumerate(rows):
        at = top + LEGEND * row
        for number_, name, left in entries:
            yield f'<path d="M{left:.1f} {at:.1f}h22" fill="none" {_stroke(number_)}/>'
            yield f'<text x="{left + 27:.1f}" y="{at + 3.5:.1f}">{escape(name)}</text>'


def _told(line: Line, say: Say) -> str:
    """The line in words."""
    first, last = line.points[0], line.points[-1]
    return f"{line.name}: {say(first[1])} at {number(first[0])}, {say(last[1])} at {number(last[0])}"
