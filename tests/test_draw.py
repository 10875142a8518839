"""Drawing: what is hot is where the map is high, frames leave the picture whole, curves lie where their axes say."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from halfseen.draw import GONE, HEAT, PARTS, RIM, WHOLE, erased, heat, labelled, overlay, stretched
from halfseen.drawing.charts import COLOURS, Line, curve, number, percent, thinned, ticks

H, W = 16, 8
SVG = "{http://www.w3.org/2000/svg}"


def image(seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (3, H, W), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def colours_in(pixels: Tensor) -> set[tuple[int, ...]]:
    """The colours of `pixels` [3,...]."""
    return {tuple(pixel) for pixel in pixels.flatten(1).T.tolist()}


def luma(colour: tuple[int, int, int]) -> float:
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


# --- pictures ---


def test_heat_begins_and_ends_with_its_table_and_gets_lighter_all_the_way() -> None:
    colours = heat(torch.linspace(0, 1, 101))
    assert colours.shape == (3, 101)
    assert tuple(colours[:, 0].tolist()) == HEAT[0]
    assert tuple(colours[:, -1].tolist()) == HEAT[-1]
    assert tuple(colours[:, 25].tolist()) == pytest.approx(HEAT[1], abs=1e-3)
    shades = [luma((r, g, b)) for r, g, b in colours.T.tolist()]
    assert all(darker < lighter for darker, lighter in pairwise(shades))


def test_heat_takes_what_lies_outside_for_the_ends() -> None:
    assert torch.equal(heat(torch.tensor([-3.0, 7.0])), heat(torch.tensor([0.0, 1.0])))


def test_overlay_is_grey_where_nothing_is_looked_at_and_warm_where_all_is() -> None:
    attention = torch.zeros(4, 2)
    attention[3] = 1.0
    picture = image()
    before = picture.clone()
    seen = overlay(picture, attention)
    assert seen.dtype == torch.uint8
    assert seen.shape == picture.shape
    assert torch.equal(picture, before)
    top, bottom = seen[:, :6].int(), seen[:, 14:].int()
    assert torch.equal(top[0], top[2])  # grey, of the picture's own shades
    assert torch.equal(top[0], (0.75 * picture[:, :6].float().mean(0) + 30).round().int())
    assert (bottom[0] - bottom[2]).min() > 60


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_overlay_of_an_even_map_is_the_same_mixture_everywhere(level: float) -> None:
    picture = image(3)
    seen = overlay(picture, torch.full((2, 2), level))
    grey = 0.75 * picture.float().mean(0) + 30
    colour = heat(torch.tensor(level))
    for channel in range(3):
        wanted = grey + 0.95 * level * (colour[channel] - grey)
        assert (seen[channel].float() - wanted).abs().max() <= 0.51


def test_stretched_uses_the_whole_range_whatever_the_scale() -> None:
    values = torch.tensor([[3.0, 5.0], [4.0, 7.0]])
    assert torch.allclose(stretched(values), torch.tensor([[0, 0.5], [0.25, 1]]))
    assert torch.allclose(stretched(1000 * values - 9), stretched(values))
    assert not stretched(torch.full((2, 2), 6.0)).any()


def test_labels_have_the_colour_of_their_part_and_the_background_has_none() -> None:
    labels = torch.tensor([[0, 1], [2, 8]])
    painted = labelled(torch.full((3, H, W), 100, dtype=torch.uint8), labels, share=1.0)
    for row, column, label in ((0, 0, 0), (0, 1, 1), (1, 0, 2), (1, 1, 8)):
        block = painted[:, row * 8 : row * 8 + 8, column * 4 : column * 4 + 4]
        wanted = (60, 60, 60) if label == 0 else PARTS[label - 1]
        assert colours_in(block) == {wanted}


def test_erased_cells_are_grey_with_a_rim_and_the_rest_is_the_picture() -> None:
    cells = torch.zeros(4, 2)
    cells[1, 0] = cells[2, 0] = 1
    picture = image(5)
    left = erased(picture, cells)
    for row in range(H):
        for column in range(W):
            pixel = left[:, row, column].tolist()
            if not (4 <= row < 12 and column < 4):
                assert pixel == picture[:, row, column].tolist()
            else:
                assert pixel == [RIM if row in (4, 8) or column == 0 else GONE] * 3


@settings(deadline=None, max_examples=30)
@given(st.integers(1, H // 2), st.integers(1, W // 2))
def test_all_erased_shows_nothing_whatever_the_grid(rows: int, columns: int) -> None:
    left = erased(image(), torch.ones(rows, columns))
    assert colours_in(left) <= {(int(GONE),) * 3, (int(RIM),) * 3}
    assert torch.equal(erased(image(), torch.zeros(rows, columns)), image())
    assert int((left[0] == RIM).all(1).sum()) == rows  # one line of rim above each row of cells


def test_every_part_has_a_colour_of_its_own() -> None:
    colours = [*PARTS, WHOLE]
    assert len(colours) >= 9
    apart = [math.dist(a, b) for i, a in enumerate(colours) for b in colours[:i]]
    assert min(apart) > 60


# --- charts ---


@settings(deadline=None, max_examples=200)
@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_round_and_cover_what_they_should(low: float, span: float) -> None:
    marks = ticks(low, low + span)
    step = marks[1] - marks[0]
    slack = 1e-6 * max(abs(low), span, step)
    assert marks[0] <= low + slack
    assert marks[-1] >= low + span - slack
    assert 2 <= len(marks) <= 8
    if span > 1e-3 * abs(low):  # else the differences of the marks are rounded
        assert f"{step:.0e}"[0] in "125"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (0.0035, "0.0035"),
        (0.00035, "3.5·10⁻⁴"),
        (2e-12, "2·10⁻¹²"),
        (12000, "12,000"),
        (-3, "-3"),
    ],
)
def test_numbers_are_short(value: float, told: str) -> None:
    assert number(value) == told


def test_percent_is_of_a_fraction() -> None:
    assert percent(0.5) == "50 %"
    assert percent(1.0) == "100 %"


def drawn(*lines: Line, **options: str) -> ElementTree.Element:
    return ElementTree.fromstring(curve(lines, "A title", options.get("x", "rank"), options.get("y", "share")))


def stroke_of(chart: ElementTree.Element, which: int) -> list[tuple[float, float]]:
    (path,) = (p for p in chart.iter(f"{SVG}path") if f"line-{which}," in p.get("style", "") and "L" in p.get("d", ""))
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", path.get("d", ""))]


def test_a_curve_lies_where_its_axes_say() -> None:
    chart = drawn(Line("up", [(0, 0), (5, 50), (10, 100)]), Line("down", [(0, 100), (10, 0)]))
    up, down = stroke_of(chart, 0), stroke_of(chart, 1)
    assert up[0][0] == down[0][0]
    assert up[2][0] == down[1][0]
    assert up[1][0] == pytest.approx((up[0][0] + up[2][0]) / 2)
    assert up[1][1] == pytest.approx((up[0][1] + up[2][1]) / 2)
    assert up[0][1] == down[1][1] > up[2][1] == down[0][1]  # down the page is less
    labels = {t.text: float(t.get("y", "0")) for t in chart.iter(f"{SVG}text") if t.get("text-anchor") == "end"}
    assert max(labels.values()) == labels["0"] == pytest.approx(up[0][1] + 3.5)
    assert labels["100"] == pytest.approx(up[2][1] + 3.5)


@settings(deadline=None, max_examples=100)
@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_marks_end_where_the_axis_does(low: float, span: float) -> None:
    chart = drawn(Line("a", [(0, low), (1, low + span)]))
    marks = [float(t.get("y", "0")) - 3.5 for t in chart.iter(f"{SVG}text") if t.get("text-anchor") == "end"]
    (axis,) = (p for p in chart.iter(f"{SVG}path") if "H" in p.get("d", "") and p.get("stroke-opacity") == ".5")
    assert max(marks) == pytest.approx(float(axis.get("d", "").split()[1].split("H")[0]))
    assert min(marks) > 10


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9)), min_size=1, max_size=30).map(sorted))
def test_nothing_is_drawn_outside_the_chart(points: list[tuple[float, float]]) -> None:
    chart = ElementTree.fromstring(curve([Line("a", points), Line("b", points[:1])], "t", "x", "y"))
    _, _, width, height = map(float, chart.get("viewBox", "").split())
    for word in chart.iter(f"{SVG}text"):
        assert 0 < float(word.get("y", "-1")) < height
    for circle in chart.iter(f"{SVG}circle"):
        assert 0 <= float(circle.get("cx", "-1")) <= width
        assert 0 <= float(circle.get("cy", "-1")) <= height


def test_a_curve_can_be_heard_and_told_without_colours() -> None:
    chart = drawn(Line("market", [(1, 0.5), (20, 0.75)]), Line("occ", [(1, 0.25), (20, 0.5)]))
    assert chart.get("role") == "img"
    assert chart.get("aria-label") == "A title. market: 0.5 at 1, 0.75 at 20; occ: 0.25 at 1, 0.5 at 20"
    texts = [t.text for t in chart.iter(f"{SVG}text")]
    assert {"market", "occ", "rank", "share"} <= {*texts}
    dashes = {p.get("stroke-dasharray") for p in chart.iter(f"{SVG}path") if "L" in p.get("d", "")}
    assert len(dashes) == 2


def test_one_line_needs_no_legend() -> None:
    assert "lonely" not in [t.text for t in drawn(Line("lonely", [(0, 0), (1, 1)])).iter(f"{SVG}text")]


def test_a_legend_of_many_lines_stays_on_the_chart() -> None:
    lines = [Line(f"a rather long name {i}", [(0, i), (1, i)]) for i in range(len(COLOURS))]
    chart = drawn(*lines)
    _, _, width, height = map(float, chart.get("viewBox", "").split())
    placed = [t for t in chart.iter(f"{SVG}text") if (t.text or "").startswith("a rather")]
    assert len(placed) == len(lines)
    assert max(float(t.get("y", "0")) for t in placed) < height
    assert max(float(t.get("x", "0")) for t in placed) < width - 100
    assert len({(t.get("x"), t.get("y")) for t in placed}) == len(lines)


@pytest.mark.parametrize("points", [[], [(1.0, math.nan)], [(1.0, 2.0)], [(0.0, 1.0), (1.0, math.inf), (2.0, 1.0)]])
def test_too_few_and_broken_points_are_no_trouble(points: list[tuple[float, float]]) -> None:
    text = curve([Line("odd", points)], "t", "x", "y")
    assert "nan" not in text
    assert "inf" not in text
    ElementTree.fromstring(text)


def test_lines_beyond_the_last_colour_have_other_dashes() -> None:
    chart = drawn(*(Line(str(i), [(0, i), (1, i)]) for i in range(2 * len(COLOURS))))
    strokes = [p for p in chart.iter(f"{SVG}path") if "L" in p.get("d", "")]
    looks = [(p.get("style"), p.get("stroke-dasharray")) for p in strokes]
    assert len({*looks}) == len(looks) == 2 * len(COLOURS)


def test_names_cannot_break_the_drawing() -> None:
    chart = drawn(Line('<b>"&', [(0, 0), (1, 1)]), Line("b", [(0, 1)]), x="<x>", y="&")
    assert '<b>"&' in [t.text for t in chart.iter(f"{SVG}text")]
    assert '<b>"&' in chart.get("aria-label", "")


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 500), st.integers(1, 60))
def test_thinning_keeps_the_mean_and_the_order(count: int, most: int) -> None:
    points = [(float(i), float(i * i % 17)) for i in range(count)]
    kept = thinned(points, most)
    assert len(kept) <= most
    assert [x for x, _ in kept] == sorted({x for x, _ in kept})
    step = math.ceil(count / most) if count else 1
    if count and count % step == 0:
        assert sum(y for _, y in kept) / len(kept) == pytest.approx(sum(y for _, y in points) / count)
