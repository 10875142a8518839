"""The dice fall alike everywhere, and as often as the recipes say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from halfseen.data.augment import BOT, BPBREID, TRANSREID, TSD, AreaAndAspect, Augment, Draw, Sides, draw
from halfseen.types import InputError


def test_a_draw_follows_from_its_key_alone() -> None:
    assert draw(BOT, 1, 2, 3) == draw(BOT, 1, 2, 3)
    keys = [(0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 1, 1), (11, 0, 1), (1, 10, 1), (1, 1, 0), (11, 0), (1, 1)]
    assert len({draw(TRANSREID, *key).noise for key in keys}) == len(keys)
    # written down, so that a new Python or a new version of this code cannot change a published run unseen
    assert draw(BOT, 1, 2, 7) == Draw(True, -5, 4, (144, 8, 81, 110), 1779608129)


def test_draws_are_uniform() -> None:
    draws = [draw(replace(BOT, pad=3), 0, 0, i) for i in range(4000)]
    assert np.mean([d.flip for d in draws]) == pytest.approx(0.5, abs=0.03)
    for shift in ([d.dx for d in draws], [d.dy for d in draws]):
        values, counts = np.unique(shift, return_counts=True)
        assert values.tolist() == [-3, -2, -1, 0, 1, 2, 3]
        assert counts / 4000 == pytest.approx(np.full(7, 1 / 7), abs=0.03)


@pytest.mark.parametrize(("augment", "low", "high"), [(BOT, 0.02, 0.4), (TRANSREID, 0.02, 1 / 3)])
def test_erasing_by_area_and_aspect(augment: Augment, low: float, high: float) -> None:
    boxes = [draw(augment, 0, 0, i).erase for i in range(4000)]
    there = [box for box in boxes if box]
    assert len(there) / 4000 == pytest.approx(0.5, abs=0.03)
    _check_inside(there)
    areas = np.array([h * w for _, _, h, w in there]) / (256 * 128)
    aspects = np.array([h / w for _, _, h, w in there])
    assert low * 0.95 < areas.min() < 0.04
    assert 0.9 * high < areas.max() < high * 1.02
    assert 0.28 < aspects.min() < 0.4
    assert 3 < aspects.max() < 3.5


def test_erasing_by_sides() -> None:
    boxes = [draw(replace(BPBREID, erase=1.0), 0, 0, i).erase for i in range(2000)]
    there = [box for box in boxes if box]
    assert len(there) == 2000
    _check_inside(there)
    heights, widths = np.array([box[2] for box in there]) / 256, np.array([box[3] for box in there]) / 128
    for sides in (heights, widths):
        assert sides.min() == pytest.approx(0.15, abs=0.01)
        assert sides.max() == pytest.approx(0.65, abs=0.01)
        assert sides.mean() == pytest.approx(0.4, abs=0.02)
    assert abs(np.corrcoef(heights, widths)[0, 1]) < 0.08


def _check_inside(boxes: list[tuple[int, int, int, int]]) -> None:
    for top, left, height, width in boxes:
        assert 0 <= top <= top + height <= 256
        assert 0 <= left <= left + width <= 128
        assert min(height, width) >= 1


def test_a_rectangle_that_never_fits_is_not_erased() -> None:
    augment = Augment(4, 400, erase=1.0, rectangle=AreaAndAspect((0.9, 1.0), (50, 90)))
    assert draw(augment, 0).erase is None


def test_at_test_nothing_is_left_to_chance() -> None:
    still = replace(TRANSREID, height=384).at_test()
    assert (still.height, still.width, still.interpolation) == (384, 128, "bicubic")
    assert all(draw(still, 0, 0, i)._replace(noise=0) == Draw() for i in range(50))


@pytest.mark.parametrize(
    "wrong",
    [{"height": 0}, {"width": -1}, {"pad": 128}, {"pad": -1}, {"flip": 1.5}, {"erase": -0.1}, {"flip": float("nan")}],
)
def test_impossible_wishes(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Augment(**wrong)  # type: ignore[arg-type]


def test_impossible_rectangles() -> None:
    for bad in ((0, 0.5), (0.5, 0.4), (0.5, 1.5)):
        with pytest.raises(InputError, match="no range to draw from"):
            AreaAndAspect(bad)
        with pytest.raises(InputError, match="no range to draw from"):
            Sides(bad)
    with pytest.raises(InputError, match="aspect"):
        AreaAndAspect((0.1, 0.2), (0, 1))


def test_D3_bpbreid_never_flips_and_tsd_never_swaps() -> None:
    assert not any(draw(BPBREID, 0, 0, i).flip for i in range(300))
    assert any(draw(TSD, 0, 0, i).flip for i in range(30))
    assert not TSD.swap_sides
    assert TRANSREID.swap_sides
