"""Light: brighter towards the sun, darker in shadow, bounded, folded as asked, and the same in any batch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from halfseen.world.light.noise import hash01
from halfseen.world.light.shade import FOLDS, Light, folds, shade
from halfseen.world.shapes import SLOT, SLOTS

UP, AHEAD = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def unit(*numbers: float) -> Tensor:
    return torch.nn.functional.normalize(torch.tensor([numbers], dtype=torch.float32), dim=1)


def light(count: int = 1, **numbers: Tensor) -> Light:
    neutral = {
        "direction": unit(0.6, 0.8, 0.0),
        "sun": torch.full((1, 3), 0.8),
        "sky": torch.full((1, 3), 0.3),
        "ground": torch.full((1, 3), 0.1),
        "hardness": torch.ones(1),
    } | numbers
    return Light(**{name: values.repeat(count, *[1] * (values.ndim - 1)) for name, values in neutral.items()})


def directions(count: int, salt: int = 0) -> Tensor:
    """Unit vectors [count,3]."""
    each = [hash01(torch.arange(count), axis, salt) - 0.5 for axis in range(3)]
    return torch.nn.functional.normalize(torch.stack(each, 1), dim=1)


def seen(normal: Tensor, under: Light | None = None, **changes: Tensor) -> Tensor:
    """Screen values [M,3] of grey, dull, open points that look along `normal` [M,3] and are seen from there."""
    count = len(normal)
    point = {
        "colour": torch.full((count, 3), 0.5), "normal": normal, "to_eye": normal, "open": torch.ones(count),
        "lit": torch.ones(count), "gloss": torch.zeros(count), "image": torch.zeros(count, dtype=torch.int64),
    } | changes  # fmt: skip
    return shade(**point, light=under or light())


def test_a_hard_sun_and_a_sky_add_up() -> None:
    normal = torch.cat([unit(0.6, 0.8, 0.0), unit(-0.6, -0.8, 0.0), unit(0.8, -0.6, 0.0)])
    values = seen(normal, colour=torch.full((3, 3), 0.5))
    own = 0.5 * 0.5 + 0.015 * 0.5 * 0.5  # darker cloth is lifted more
    sky = [0.1 + 0.2 * (0.5 + 0.5 * float(y)) for y in normal[:, 1]]
    expected = [own * (0.8 + sky[0]), own * sky[1], own * sky[2]]
    assert torch.allclose(values[:, 0].square(), torch.tensor(expected), atol=0.01)  # 0.01 of sheen and rim


def test_surfaces_are_brighter_the_more_they_face_the_light() -> None:
    for hardness in (0.0, 0.5, 1.0):
        turn = torch.linspace(0, torch.pi / 2, 12)
        normal = torch.stack([turn.cos(), torch.zeros(12), turn.sin()], 1)
        values = seen(normal, light(direction=unit(1, 0, 0), hardness=torch.tensor([hardness])))[:, 0]
        assert (values[1:] < values[:-1]).all()


def test_soft_light_reaches_around_where_hard_light_does_not() -> None:
    away = unit(-0.2, 0.0, 0.98)
    hard, soft = (seen(away, light(direction=unit(1, 0, 0), hardness=torch.tensor([h])))[0, 0] for h in (1.0, 0.0))
    dark = seen(away, light(direction=unit(1, 0, 0)), lit=torch.zeros(1))[0, 0]
    assert float(hard) == pytest.approx(float(dark))
    assert float(soft) > float(hard) + 0.05


def test_shadow_takes_the_sun_and_a_crease_takes_the_sky() -> None:
    up = unit(*UP)
    whole, shaded, creased, neither = (
        float(seen(up, lit=torch.tensor([lit]), open=torch.tensor([open_]))[0, 0])
        for lit, open_ in ((1.0, 1.0), (0.0, 1.0), (1.0, 0.2), (0.0, 0.0))
    )
    assert whole > creased > shaded > neither == 0


def test_light_from_above_below_and_its_colours() -> None:
    up, down = unit(*UP), unit(0, -1, 0)
    nothing = torch.zeros(1, 3)
    tinted = light(sun=nothing, sky=torch.tensor([[0.2, 0.3, 0.6]]), ground=torch.tensor([[0.5, 0.3, 0.1]]))
    above, below = seen(up, tinted)[0], seen(down, tinted)[0]
    assert above[2] > above[1] > above[0]
    assert below[0] > below[1] > below[2]


def test_gloss_adds_a_highlight_where_it_mirrors_the_sun() -> None:
    black = torch.full((2, 3), 0.05)
    sun = unit(0.0, 0.6, 0.8)
    normal = torch.cat([unit(*AHEAD), unit(0.0, 0.3162278, 0.9486833)])  # the second mirrors the sun to the eye
    eye = unit(*AHEAD).repeat(2, 1)
    sky = torch.zeros(1, 3)
    under = light(direction=sun, sky=sky, ground=sky)
    dull, shiny = (seen(normal, under, colour=black, to_eye=eye, gloss=torch.full((2,), g))[:, 0] for g in (0.0, 0.9))
    assert shiny[1] > shiny[0] + 0.2
    assert shiny[1] > dull[1] + 0.2
    assert float((dull[0] - dull[1]).abs()) < 0.05


def test_the_inside_of_a_surface_is_lit_as_seen() -> None:
    inner = seen(unit(0.0, 0.0, -1.0), light(direction=unit(*AHEAD)), to_eye=unit(*AHEAD))
    assert torch.allclose(inner, seen(unit(*AHEAD), light(direction=unit(*AHEAD))))


@given(st.floats(0, 4), st.floats(0, 2), st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None, max_examples=25)
def test_screen_values_are_bounded(sun: float, sky: float, gloss: float, hardness: float) -> None:
    count = 300
    under = light(
        sun=torch.full((1, 3), sun),
        sky=torch.full((1, 3), sky),
        ground=torch.full((1, 3), sky / 2),
        hardness=torch.tensor([hardness]),
    )
    values = seen(
        directions(count),
        under,
        colour=hash01(torch.arange(count)[:, None], torch.arange(3)) * 1.2,
        to_eye=directions(count, 1),
        open=hash01(torch.arange(count), 7),
        lit=hash01(torch.arange(count), 8),
        gloss=torch.full((count,), gloss),
    )
    assert bool(values.isfinite().all())
    assert float(values.min()) >= 0
    assert float(values.max()) <= 1


def cloth_points(count: int = 6000) -> tuple[Tensor, Tensor]:
    """Places [count,3] on a front that looks ahead, and its normals."""
    place = torch.stack([hash01(torch.arange(count), axis) for axis in range(3)], 1)
    return place, torch.tensor([AHEAD]).repeat(count, 1)


def test_folds_bend_cloth_and_leave_skin() -> None:
    place, normal = cloth_points()
    image, chance = torch.zeros(len(place), dtype=torch.int64), torch.tensor([0.3])
    for name in ("skin", "face", "metal", "top", "outer_sleeve"):
        bent = folds(place, normal * 0.9, image, image + SLOT[name], chance)
        assert torch.allclose(bent.norm(dim=1), torch.ones(len(bent)), atol=1e-5)
        slope = (bent[:, :2] / bent[:, 2:]).square().sum(1).mean().sqrt()
        assert float(slope) == pytest.approx(FOLDS.get(name, (0.0,))[0], rel=0.35, abs=1e-6)
    assert FOLDS["top"][0] > 0.1


def test_folds_run_around_more_than_along_and_are_smooth() -> None:
    steps = torch.arange(400) * 0.005
    line, normal = torch.zeros(400, 3), torch.tensor([AHEAD]).repeat(400, 1)
    image, chance = torch.zeros(400, dtype=torch.int64), torch.tensor([0.8])
    place, normal_there = cloth_points()
    many = torch.zeros(len(place), dtype=torch.int64)
    bent = folds(place, normal_there, many, many + SLOT["bottom"], chance)
    assert float(bent[:, 1].square().mean()) > 1.5 * float(bent[:, 0].square().mean())
    line[:, 1] = steps
    along = folds(line, normal, image, image + SLOT["bottom"], chance)
    assert float((along[1:] - along[:-1]).norm(dim=1).mean()) < 0.1


def test_folds_differ_from_image_to_image_and_from_slot_to_slot() -> None:
    place, normal = cloth_points(500)
    image = torch.zeros(500, dtype=torch.int64)
    chance = torch.tensor([0.1, 0.9, 0.1])
    first, second, third = (folds(place, normal, image + row, image + SLOT["top"], chance) for row in range(3))
    assert torch.equal(first, third)
    assert float((first - second).norm(dim=1).mean()) > 0.1
    sleeve = folds(place, normal, image, image + SLOT["outer"], chance)
    assert float((first - sleeve).norm(dim=1).mean()) > 0.1


def test_a_point_does_not_depend_on_its_batch() -> None:
    count, images = 3000, 7
    image = (hash01(torch.arange(count), 1) * images).long()
    slot = (hash01(torch.arange(count), 2) * len(SLOTS)).long()
    under = replace(light(images), direction=directions(images, 5), hardness=torch.linspace(0, 1, images))
    place = directions(count, 3)
    chance = hash01(torch.arange(images), 9)
    point = {
        "colour": hash01(torch.arange(count)[:, None], torch.arange(3)), "to_eye": directions(count, 4),
        "open": hash01(torch.arange(count), 5), "lit": hash01(torch.arange(count), 6),
        "gloss": hash01(torch.arange(count), 7),
    }  # fmt: skip
    normal = folds(place, directions(count), image, slot, chance)
    together = shade(**point, normal=normal, image=image, light=under)
    for row in range(images):
        mine = (image == row).nonzero()[:, 0]
        for some in (mine, mine[-3:]):
            alone = Light(**{name: values[row : row + 1] for name, values in vars(under).items()})
            bent = folds(place[some], directions(count)[some], some * 0, slot[some], chance[row : row + 1])
            assert torch.equal(bent, normal[some])
            part = {name: values[some] for name, values in point.items()}
            assert torch.equal(shade(**part, normal=bent, image=some * 0, light=alone), together[some])


def test_nothing_seen_is_shaded_to_nothing() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    assert folds(torch.zeros(0, 3), torch.zeros(0, 3), nothing, nothing, torch.zeros(1)).shape == (0, 3)
    assert seen(torch.zeros(0, 3)).shape == (0, 3)


def test_more_points_than_are_lit_together_change_nothing() -> None:
    count = (1 << 17) + 5
    values = seen(directions(count))
    assert torch.equal(values[-9:], seen(directions(count)[-9:]))
    assert values.shape == (count, 3)


def test_folds_do_not_break_in_the_middle_of_a_back() -> None:
    turn = torch.linspace(-0.2, 0.2, 41)  # either side of it, on a cylinder
    angle = torch.where(turn < 0, turn + torch.pi, turn - torch.pi)
    heights = torch.arange(100) * 0.007
    jumps = []
    for height in heights.tolist():
        place = torch.stack([angle * 0.15, torch.full_like(angle, height), angle.cos()], 1)
        normal = torch.stack([angle.sin(), torch.zeros_like(angle), angle.cos()], 1)
        image = torch.zeros(41, dtype=torch.int64)
        bent = folds(place, normal, image, image + SLOT["outer"], torch.tensor([0.4]))
        jumps.append((bent[1:] - bent[:-1]).norm(dim=1))
    middle = torch.stack(jumps).mean(0)
    assert float(middle[19:21].max()) < 1.3 * float(middle[:15].max())
