"""Canvases: shapes cover the share of a pixel that they should, patterns fade to their mean, paint lies over paint."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from halfseen.world.scenery.canvas import Canvas, Spots, box, chance, clouds, disc, polygon, strip, stripes, stroke


def spots(u: list[float] | Tensor, v: list[float] | Tensor, span: float = 1e-3) -> Spots:
    across, up = torch.as_tensor(u), torch.as_tensor(v)
    return Spots(across, up, torch.full_like(across, span), torch.full_like(up, span))


def grid(size: float, count: int = 200) -> Spots:
    """Of count × count pixels without gaps, from −size to size."""
    steps = ((torch.arange(count) + 0.5) / count * 2 - 1) * size
    v, u = torch.meshgrid(steps, steps, indexing="ij")
    return spots(u.flatten(), v.flatten(), 2 * size / count)


@settings(deadline=None, max_examples=60)
@given(x=st.floats(-5, 5), span=st.floats(0.05, 4), period=st.floats(0.5, 3), share=st.floats(0.1, 0.9))
def test_stripes_cover_what_many_points_say(x: float, span: float, period: float, share: float) -> None:
    points = x - span / 2 + (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000 * span
    expected = ((points % period) < share * period).double().mean().item()
    found = stripes(torch.tensor([x]), period, share * period, torch.tensor([span])).item()
    assert found == pytest.approx(expected, abs=3e-3)


def test_a_strip_is_covered_in_part() -> None:
    found = strip(torch.tensor([0.0, 1.0, 1.25, 3.0]), 1.0, 2.0, torch.full((4,), 0.5))
    assert found.tolist() == pytest.approx([0, 0.5, 1.0, 0])


def test_areas_are_those_of_geometry() -> None:
    at = grid(2.0)
    pixel = (4.0 / 200) ** 2
    assert (box(at, (-1, 0.5), (0, 1.2)).sum() * pixel).item() == pytest.approx(1.8, rel=0.01)
    assert (disc(at, 0.3, 0.1, 1.0).sum() * pixel).item() == pytest.approx(torch.pi, rel=0.01)
    triangle = polygon(at, [(-1, -1), (1, -1), (0, 1)])
    assert (triangle.sum() * pixel).item() == pytest.approx(2.0, rel=0.02)
    line = stroke(at, [(-1, 0), (1, 0)], 0.2)
    assert (line.sum() * pixel).item() == pytest.approx(0.4 + torch.pi * 0.01, rel=0.03)


def test_lines_too_thin_for_a_pixel_grow_faint() -> None:
    thin = stroke(grid(2.0, 40), [(-1, 0), (1, 0)], 0.01)
    assert 0 < thin.max() <= 0.1


def test_clouds_are_between_0_and_1_mostly_and_fade_to_their_mean() -> None:
    near = clouds(grid(5.0), 1.0, 3)
    assert near.mean().item() == pytest.approx(0.5, abs=0.05)
    assert near.std() > 0.1
    assert ((near > 0) & (near < 1)).float().mean() > 0.95
    far = grid(5.0)
    far = Spots(far.u, far.v, far.du * 1000, far.dv * 1000)
    assert (clouds(far, 1.0, 3) == 0.5).all()


def test_chance_is_even_and_depends_on_all_three() -> None:
    x = torch.arange(10000.0)
    first = chance(x, 0, 1)
    assert first.mean().item() == pytest.approx(0.5, abs=0.02)
    assert torch.histc(first, 10, 0, 1).min() > 850
    assert (first != chance(x, 1, 1)).float().mean() > 0.99
    assert (first != chance(x, 0, 2)).float().mean() > 0.99


def test_paint_lies_over_paint() -> None:
    canvas = Canvas(spots([0.0], [0.0]))
    canvas.lay((1.0, 0.0, 0.0), torch.tensor([0.5]))
    assert canvas.colour[:, 0].tolist() == [1, 0, 0], "a half-covered pixel has the pure colour of its paint"
    canvas.lay((0.0, 1.0, 0.0), torch.tensor([0.5]), glow=1.0)
    # of the pixel a quarter is red (half of the first half), a half green: shares 1/3 and 2/3 of what is painted
    assert canvas.cover.item() == pytest.approx(0.75)
    assert canvas.colour[:, 0].tolist() == pytest.approx([1 / 3, 2 / 3, 0])
    assert canvas.glow.item() == pytest.approx(2 / 3)
    canvas.lay((0.2, 0.3, 0.4))
    assert canvas.cover.item() == pytest.approx(1)
    assert canvas.colour[:, 0].tolist() == pytest.approx([0.2, 0.3, 0.4])
    assert canvas.glow.item() == 0
