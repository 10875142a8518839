"""Cloths: each pattern has its measure, blurs into its mean, sits where it belongs, and never depends on its batch."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from halfseen.world.light.fabrics import Materials, colours, materials, measured
from halfseen.world.light.noise import hash01
from halfseen.world.light.patterns import bands
from halfseen.world.people import (
    Bottom,
    Build,
    Carried,
    Carry,
    Cloth,
    Colour,
    HairStyle,
    Head,
    Headwear,
    Lower,
    Outer,
    Pattern,
    Person,
    Shoes,
    Top,
    Upper,
)
from halfseen.world.shapes import SLOT, SLOTS, loft

WHITE, BLACK, RED, SKIN = (0.9, 0.9, 0.9), (0.1, 0.1, 0.1), (0.8, 0.1, 0.1), (0.8, 0.65, 0.55)
REPEATING = (Pattern.STRIPES_ACROSS, Pattern.STRIPES_DOWN, Pattern.CHECKS, Pattern.DOTS, Pattern.CAMOUFLAGE)
UNEVEN = 0.1  # how far wear makes a cloth brighter or darker, at most


def cloth(pattern: Pattern = Pattern.PLAIN, *shown: Colour, **numbers: float) -> Cloth:
    one, two, three = (*shown, WHITE, BLACK, RED)[:3]
    return Cloth(pattern, (one, two, three), **numbers)


PLAIN = cloth()


def person(wears: Cloth = PLAIN, **face: float) -> Person:
    numbers = {"eyes": 0.5, "brows": 0.5, "beard": 0.0, "jaw": 0.5, "glasses": False} | face
    hair = cloth(Pattern.STRANDS, BLACK)
    return Person(
        Build(1.7, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, SKIN),
        Head(HairStyle.SHORT, hair, Headwear.NONE, cloth(), **numbers),  # type: ignore[arg-type]
        Upper(Top.TSHIRT, wears, wears, 0.4, 0.5, 0.5, Outer.NONE, wears, wears),
        Lower(Bottom.TROUSERS, cloth(Pattern.DENIM), 1.0, 0.5),
        Shoes(cloth(), RED, 0.0),
        Carried(Carry.NONE, cloth(), BLACK, 1.0, True),
    )


def drawn(worn: Materials, place: Tensor, *, slot: str = "top", footprint: float = 0.0005) -> Tensor:
    """[M,3] for `place` [M,3] in the only image of `worn`."""
    image = torch.zeros(len(place), dtype=torch.int64)
    return colours(worn, image, image + SLOT[slot], place, torch.tensor([footprint]))


def grid(wide: float = 0.4, high: float = 0.5, step: float = 0.002, front: float = 1.0) -> Tensor:
    """Points [M,3] from -`wide` to `wide` across and 0 to `high` along."""
    half = round(wide / step)
    across, along = torch.arange(-half, half + 1) * step, torch.arange(0, round(high / step)) * step
    both = torch.stack(torch.meshgrid(across, along, indexing="ij"), -1).flatten(0, 1)
    return torch.cat([both, torch.full_like(both[:, :1], front)], 1)


@given(st.floats(-20, 20), st.floats(0.05, 0.95), st.floats(0.02, 7))
@settings(deadline=None, max_examples=40)
def test_bands_are_averaged_over_a_pixel(at: float, share: float, blur: float) -> None:
    samples = at + blur * ((torch.arange(20000).double() + 0.5) / 20000 - 0.5)
    expected = float((samples - samples.floor() < share).double().mean())
    assert float(bands(torch.tensor(at), share, torch.tensor(blur))) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(("pattern", "axis"), [(Pattern.STRIPES_ACROSS, 1), (Pattern.STRIPES_DOWN, 0)])
@pytest.mark.parametrize("period", [0.03, 0.11])
def test_stripes_have_their_period_and_direction(pattern: Pattern, axis: int, period: float) -> None:
    worn = materials([person(cloth(pattern, WHITE, BLACK, WHITE, period=period))])
    place = torch.zeros(4000, 3)
    place[:, axis] = torch.arange(4000) * 0.0002
    dark = drawn(worn, place)[:, 0] < 0.5
    starts = (dark[1:] & ~dark[:-1]).nonzero()[:, 0] * 0.0002
    assert len(starts) == pytest.approx(0.8 / period, abs=1)
    assert torch.allclose(starts[1:] - starts[:-1], torch.tensor(period), atol=0.0005)
    assert 0.25 < float(dark.float().mean()) < 0.65
    other = torch.zeros(500, 3)
    other[:, 1 - axis] = torch.arange(500) * 0.001
    assert float(drawn(worn, other)[:, 0].std()) < UNEVEN


def test_checks_are_translucent_bands_both_ways() -> None:
    worn = materials([person(cloth(Pattern.CHECKS, WHITE, BLACK, WHITE, period=0.1))])
    values = drawn(worn, grid(0.2, 0.4, 0.0025))[:, 0]
    sharp = [float(((values - level).abs() < UNEVEN).float().mean()) for level in (0.9, 0.5, 0.1)]
    assert sum(sharp) > 0.93
    band = sharp[2] + sharp[1] / 2  # the share of a band: crossings hold its square, single bands 2 share (1 - share)
    assert sharp[2] == pytest.approx(band * band, abs=0.04)


def test_dots_stand_apart_in_staggered_rows() -> None:
    worn = materials([person(cloth(Pattern.DOTS, WHITE, BLACK, RED, period=0.05))])
    dark = (drawn(worn, grid(0.2, 0.05 * 0.8660254 * 8, 0.001))[:, 0] < 0.5).reshape(401, -1)
    rows = dark.any(0)
    assert int((rows[1:] & ~rows[:-1]).sum()) == 8
    starts = rows[1:] & ~rows[:-1]
    lines = [dark[:, at + 12] for at in starts.nonzero()[:3, 0].tolist()]  # across the middle of the dots
    firsts = [int((line[1:] & ~line[:-1]).float().argmax()) % 50 for line in lines]
    assert (firsts[0] - firsts[1]) % 50 in range(23, 28)
    assert abs(firsts[0] - firsts[2]) <= 1


@pytest.mark.parametrize("pattern", REPEATING)
def test_patterns_finer_than_a_pixel_are_their_mean(pattern: Pattern) -> None:
    worn = materials([person(cloth(pattern, WHITE, BLACK, RED, period=0.05, chance=0.77))])
    place = grid(2.0, 4.0, 0.0101)
    sharp, coarse = drawn(worn, place), drawn(worn, place, footprint=0.25)
    assert float(sharp[:, 1].std()) > 0.15
    assert float(coarse[:, 1].std()) < UNEVEN / 2
    assert torch.allclose(sharp.mean(0), coarse.mean(0), atol=0.06)


@pytest.mark.parametrize("pattern", [*Pattern])
@pytest.mark.parametrize("footprint", [0.0, 0.004, 10.0])
def test_every_pattern_gives_colours(pattern: Pattern, footprint: float) -> None:
    worn = materials([person(cloth(pattern, WHITE, BLACK, RED, chance=0.3))])
    for front in (1.0, -1.0):
        values = drawn(worn, grid(step=0.011, front=front), footprint=footprint)
        assert bool(values.isfinite().all())
        assert float(values.min()) >= 0
        assert float(values.max()) <= 1.3
    assert float(values.std()) > 0


@pytest.mark.parametrize("chance", [0.05, 0.25, 0.45, 0.65, 0.85, 0.95])
def test_prints_are_on_one_side_of_the_body_only(chance: float) -> None:
    half = math.pi * 0.15
    front, back = grid(half, 0.6, 0.004), grid(half, 0.6, 0.004, front=-1.0)
    inked = []
    for pattern in (Pattern.PRINT_FRONT, Pattern.PRINT_BACK):
        worn = materials([person(cloth(pattern, WHITE, BLACK, RED, chance=chance))])
        worn = replace(worn, half_round=torch.full_like(worn.half_round, half))
        inked.append([drawn(worn, place)[:, 1] < 0.5 for place in (front, back)])
        assert float(drawn(worn, front, slot="sleeve")[:, 1].min()) > 0.5
    (ahead, nothing), (nowhere, behind) = inked
    assert not nothing.any()
    assert not nowhere.any()
    assert 0.002 < float(ahead.float().mean()) < 0.25
    assert float(front[ahead, 0].abs().max()) < 0.131
    assert float(front[ahead, 1].min()) >= 0.2
    assert float(front[ahead, 1].max()) <= 0.461
    # what is printed behind lies around the spine, as seen from there
    viewed = torch.where(back[:, 0] > 0, back[:, 0] - half, back[:, 0] + half)
    assert float(viewed[behind].abs().max()) < 0.131
    assert torch.allclose(behind.float().mean(), ahead.float().mean(), rtol=0.1)
    assert float(viewed[behind].mean()) == pytest.approx(float(front[ahead, 0].mean()), abs=0.01)


def test_prints_differ() -> None:
    prints = [cloth(Pattern.PRINT_FRONT, WHITE, BLACK, RED, chance=(n + 0.5) / 20) for n in range(20)]
    shown = torch.stack([drawn(materials([person(one)]), grid(0.13, 0.5, 0.005)) for one in prints])
    unlike = ((shown[:, None] - shown[None]).abs().amax(-1) > 0.3).float().mean(-1)
    assert float((unlike + torch.eye(20)).min()) > 0.005


def test_a_shirt_is_buttoned_in_front_and_an_open_jacket_is_not() -> None:
    base = person()
    line, beside, behind = (torch.tensor([[x, 0.2, z]]).expand(1, 3) for x, z in ((0.0, 1.0), (0.05, 1.0), (0.0, -1.0)))
    shirt = materials([replace(base, upper=replace(base.upper, top=Top.SHIRT))])
    assert float(drawn(shirt, line).mean()) < 0.8 * float(drawn(shirt, beside).mean())
    assert float(drawn(shirt, behind).mean()) > 0.75
    assert float(drawn(materials([base]), line).mean()) > 0.75
    for kind, closed in ((Outer.COAT, True), (Outer.JACKET_OPEN, False)):
        worn = materials([replace(base, upper=replace(base.upper, outer=kind))])
        assert (float(drawn(worn, line, slot="outer").mean()) < 0.7) is closed


def face_of(**numbers: float) -> Tensor:
    """[W,H] brightness of a face, from its left-hand side and its chin on; 1 mm apart."""
    place = grid(0.08, 0.19, 0.001)
    place[:, 1] -= 0.11
    return drawn(materials([person(PLAIN, **numbers)]), place, slot="face", footprint=0.002).mean(1).reshape(161, 190)


def test_a_face_has_two_dark_eyes_at_mirrored_places() -> None:
    face = face_of(brows=0.0)
    assert torch.allclose(face, face.flip(0), atol=1e-3)
    eyes = face[:, 110 + 15 : 110 + 36]  # from 15 to 35 mm above the middle
    dark = (eyes < 0.3).any(1).nonzero()[:, 0] - 80
    assert {bool(x > 0) for x in dark} == {True, False}
    assert int(dark.abs().min()) >= 15
    assert int(dark.abs().max()) <= 50
    assert 26 <= abs(int(eyes[:80].amin(1).argmin()) - 80) <= 38  # a pupil
    assert float(eyes[70:91].mean()) > 0.5  # the root of the nose between them is bright
    skin = sum(SKIN) / 3
    assert float(face[80, 110 - 46]) < 0.6 * skin  # the mouth
    assert float(face[80, 110 + 70]) == pytest.approx(skin, rel=0.1)  # the forehead


def test_faces_differ_by_each_of_their_numbers() -> None:
    usual = face_of()
    for number, value in {"eyes": 1.0, "brows": 1.0, "beard": 0.6, "jaw": 0.0, "glasses": True}.items():
        assert float((face_of(**{number: value}) - usual).abs().max()) > 0.05, number
    chin = (slice(60, 101), slice(110 - 95, 110 - 70))
    clean, stubble, full = (float(face_of(beard=beard)[chin].mean()) for beard in (0.0, 0.6, 1.0))
    assert clean > stubble + 0.05 > full + 0.1


def test_behind_its_features_a_head_is_skin() -> None:
    worn = materials([person(beard=1.0, glasses=True)])
    values = drawn(worn, torch.tensor([[0.2, 0.0, -0.9], [0.0, 0.02, -1.0], [-0.14, 0.03, -0.1]]), slot="face")
    assert torch.allclose(values, torch.tensor(SKIN).expand(3, 3), atol=0.01)


def test_materials_are_the_cloths_of_each_slot() -> None:
    one, other = person(cloth(Pattern.CHECKS, RED, gloss=0.4, chance=0.7)), person()
    worn = materials([one, other, one])
    assert worn.pattern.shape == (3, len(SLOTS))
    assert worn.pattern[:, SLOT["top"]].tolist() == [Pattern.CHECKS, Pattern.PLAIN, Pattern.CHECKS]
    assert worn.pattern[:, SLOT["face"]].tolist() == [Pattern.FACE] * 3
    assert worn.pattern[:, SLOT["bottom"]].tolist() == [Pattern.DENIM] * 3
    assert worn.gloss[0, SLOT["sleeve"]] == pytest.approx(0.4)
    assert worn.chance[2, SLOT["outer"]] == pytest.approx(0.7)
    assert worn.colours[1, SLOT["sole"], 0].tolist() == pytest.approx(RED)
    assert worn.colours[1, SLOT["skin"], 0].tolist() == pytest.approx(SKIN)
    dress = replace(one, lower=replace(one.lower, bottom=Bottom.DRESS))
    assert materials([dress]).pattern[0, SLOT["bottom"]] == Pattern.CHECKS


def test_sleeves_and_skirts_are_printed_otherwise_than_tops() -> None:
    base = person(cloth(Pattern.PRINT_FRONT, WHITE, BLACK, RED))
    skirt = replace(base, lower=replace(base.lower, bottom=Bottom.SKIRT, cloth=cloth(Pattern.PRINT_FRONT)))
    worn = materials([skirt])
    assert worn.pattern[0, SLOT["sleeve"]] == worn.pattern[0, SLOT["outer_sleeve"]] == Pattern.PLAIN
    hanging = grid(0.2, 0.5, 0.01) - torch.tensor([0.0, 0.5, 0.0])  # below the hips
    assert float(drawn(worn, hanging, slot="bottom")[:, 0].std()) > 0.1
    shaded = materials([person(cloth(Pattern.GRADIENT, WHITE, BLACK, RED))])
    low, high = (float(drawn(shaded, torch.tensor([[0.2, y, 0.1]]))[0, 0]) for y in (0.0, 0.53))
    assert low > 0.7
    assert high < 0.2
    assert float(drawn(shaded, torch.tensor([[0.05, 0.0, 0.1]]), slot="sleeve")[0, 0]) < 0.2


def test_nothing_seen_has_no_colours() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    assert colours(materials([person()]), nothing, nothing, torch.zeros(0, 3), torch.ones(1)).shape == (0, 3)


def test_the_things_of_a_batch_have_their_own_cloths() -> None:
    things = [(cloth(Pattern.PLAIN, RED), cloth(Pattern.PLAIN, BLACK), cloth(Pattern.DOTS))] * 2
    worn = materials([person(), person()], things)
    assert worn.colours[1, SLOT["thing"], 0].tolist() == pytest.approx(RED)
    assert worn.colours[0, SLOT["thing_trim"], 0].tolist() == pytest.approx(BLACK)
    assert worn.pattern[0, SLOT["thing_dark"]] == Pattern.DOTS
    assert torch.equal(worn.colours[:, : SLOT["thing"]], materials([person()] * 2).colours[:, : SLOT["thing"]])


def test_the_middle_of_a_back_is_measured_on_the_mesh() -> None:
    size = torch.tensor([0.12, 0.2])
    centre, side, front = torch.zeros(2, 3, 3), torch.zeros(2, 3, 3), torch.zeros(2, 3, 3)
    centre[..., 1] = torch.tensor([1.0, 1.3, 1.5])
    side[..., 0] = front[..., 2] = size[:, None].expand(2, 3)
    for segments in (12, 18):
        mesh = loft(centre, side, front, slot="top", part="torso", segments=segments)
        worn = measured(materials([person(), person()]), mesh)
        assert torch.allclose(worn.half_round[:, SLOT["top"]], math.pi * size, rtol=1e-3)
        assert torch.equal(worn.half_round[:, SLOT["outer"]], materials([person()] * 2).half_round[:, SLOT["outer"]])
    both = measured(materials([person()] * 4), mesh, mesh)
    assert torch.equal(both.half_round, worn.half_round.repeat(2, 1))


def test_a_point_does_not_depend_on_its_batch() -> None:
    people = [person(cloth(pattern, WHITE, BLACK, RED, chance=0.6), beard=0.7, glasses=True) for pattern in Pattern]
    worn, count = materials(people), 4000
    image = (hash01(torch.arange(count), 1) * len(people)).long()
    slot = (hash01(torch.arange(count), 2) * len(SLOTS)).long()
    place = torch.stack([hash01(torch.arange(count), 3 + axis) - 0.5 for axis in range(3)], 1)
    footprint = torch.linspace(0.002, 0.01, len(people))
    together = colours(worn, image, slot, place, footprint)
    for row in range(len(people)):
        alone = Materials(**{name: values[row : row + 1] for name, values in vars(worn).items()})
        mine = (image == row).nonzero()[:, 0]
        once = colours(alone, mine * 0, slot[mine], place[mine], footprint[row : row + 1])
        assert torch.equal(once, together[mine])
        few = mine[-3:]
        assert torch.equal(colours(alone, few * 0, slot[few], place[few], footprint[row : row + 1]), together[few])
