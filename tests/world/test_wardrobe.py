"""People are believable combinations of looks that a known share of the others has too."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from itertools import combinations, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halfseen.types import InputError
from halfseen.world.people import (
    Bottom,
    Carry,
    Cloth,
    Colour,
    HairStyle,
    Headwear,
    Lower,
    Outer,
    Pattern,
    Person,
    Top,
)
from halfseen.world.wardrobe import PARTS, count_looks, draw_people, even_sharing, part_sharing

WORN = ("head", "upper", "lower")
SKIRTS = (Bottom.SKIRT, Bottom.DRESS)
BODILY = {Pattern.PRINT_FRONT, Pattern.PRINT_BACK, Pattern.GRADIENT}


@pytest.fixture(scope="module")
def crowd() -> tuple[Person, ...]:
    """So many looks that all there is occurs."""
    return draw_people(400, seed=0, sharing=0.003)


@pytest.fixture(scope="module")
def street() -> list[Person]:
    """Those of many worlds as people ask for them."""
    return [person for seed in range(25) for person in draw_people(60, seed)]


def cloths(person: Person) -> list[Cloth]:
    head, upper = person.head, person.upper
    uppers = [upper.cloth, upper.sleeve_cloth, upper.outer_cloth, upper.outer_sleeve_cloth]
    return [head.hair_cloth, head.hat_cloth, *uppers, person.lower.cloth, person.shoes.cloth, person.carried.cloth]


def colours(people: tuple[Person, ...]) -> Iterator[Colour]:
    for person in people:
        yield from (person.build.skin, person.shoes.sole, person.carried.trim)
        for cloth in cloths(person):
            yield from cloth.colours


def share_by_pairs(people: tuple[Person, ...], part: str) -> float:
    alike = Counter(getattr(one, part) == getattr(other, part) for one, other in permutations(people, 2))
    return alike[True] / alike.total()


def tells_apart(people: tuple[Person, ...], parts: tuple[str, ...]) -> bool:
    return len({tuple(getattr(person, part) for part in parts) for person in people}) == len(people)


@pytest.mark.parametrize(("count", "asked"), [(60, 0.08), (60, 0.15), (250, 0.08), (500, 0.08), (500, 0.02)])
def test_sharing_is_as_asked(count: int, asked: float) -> None:
    measured = part_sharing(draw_people(count, seed=1, sharing=asked))
    assert measured == {part: pytest.approx(asked, rel=0.08) for part in PARTS}


def test_sharing_is_measured_over_pairs_and_among_those_who_carry() -> None:
    people = draw_people(70, seed=2, sharing=0.1)
    carriers = tuple(person for person in people if person.carried.kind is not Carry.NONE)
    by_pairs = {part: share_by_pairs(people, part) for part in PARTS[:-1]}
    by_pairs["carried"] = share_by_pairs(carriers, "carried")
    assert part_sharing(people) == {part: pytest.approx(share) for part, share in by_pairs.items()}
    assert part_sharing(people[:1]) == dict.fromkeys(PARTS, 0.0)
    assert part_sharing(()) == dict.fromkeys(PARTS, 0.0)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.floats(0.005, 0.5))
def test_no_other_number_of_looks_comes_nearer(count: int, asked: float) -> None:
    def dealt(number: int) -> float:
        hands = [row % number for row in range(count)]
        return sum(one == other for one, other in permutations(hands, 2)) / max(1, count * (count - 1))

    shares = [dealt(number) for number in range(1, count + 1)]
    assert shares == [pytest.approx(even_sharing(count, number)) for number in range(1, count + 1)]
    found = abs(dealt(count_looks(count, asked)) - asked)
    assert found == pytest.approx(min(abs(share - asked) for share in shares))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 300), st.floats(0.03, 0.5), st.integers())
def test_people_differ_in_two_parts_at_least(count: int, sharing: float, seed: int) -> None:
    number = count_looks(count, sharing)
    if count > number**3:
        with pytest.raises(InputError, match="cannot be told apart"):
            draw_people(count, seed, sharing)
        return
    people = draw_people(count, seed, sharing)
    assert len(people) == count
    assert tells_apart(people, WORN)
    # two of several parts differ just where leaving out any one of them still tells people apart
    assert all(tells_apart(people, three) for three in combinations((*WORN, "shoes"), 3))
    if count <= number * (number - (number % 2 == 0)):
        assert all(tells_apart(people, two) for two in combinations(WORN, 2))


def test_a_full_world_still_tells_people_apart() -> None:
    people = draw_people(12**3, seed=0)  # 0.08 leaves 12 looks
    assert tells_apart(people, WORN)
    assert part_sharing(people)["head"] == pytest.approx(0.08, abs=0.004)


def test_the_same_share_carries_nothing_whatever_the_sharing() -> None:
    for sharing in (0.01, 0.08, 0.14):
        people = draw_people(200, seed=4, sharing=sharing)
        assert sum(person.carried.kind is Carry.NONE for person in people) == 90
    assert sum(person.carried.kind is Carry.NONE for person in draw_people(7, seed=4)) == 3


def test_everything_in_the_wardrobe_is_worn(crowd: tuple[Person, ...]) -> None:
    assert {cloth.pattern for person in crowd for cloth in cloths(person)} == set(Pattern) - {Pattern.FACE}
    assert {person.head.hair for person in crowd} == set(HairStyle)
    assert {person.head.headwear for person in crowd} == set(Headwear)
    assert {person.upper.top for person in crowd} == set(Top)
    assert {person.upper.outer for person in crowd} == set(Outer)
    assert {person.lower.bottom for person in crowd} == set(Bottom)
    assert {person.carried.kind for person in crowd} == set(Carry)
    assert any(person.upper.sleeve_cloth.colours != person.upper.cloth.colours for person in crowd)


def test_numbers_are_those_that_people_promise(crowd: tuple[Person, ...]) -> None:
    assert all(0 <= value <= 1 for colour in colours(crowd) for value in colour)
    assert all(0.01 <= c.period <= 0.3 and 0 <= c.gloss <= 1 and 0 <= c.chance <= 1 for p in crowd for c in cloths(p))
    for person in crowd:
        build, carried = person.build, person.carried
        assert 1.5 <= build.height <= 1.95
        assert 0.85 <= build.girth <= 1.35
        assert all(0.88 <= share <= 1.14 for share in (build.shoulders, build.hips))
        assert 0.97 <= build.legs <= 1.03
        assert 0.8 <= carried.size <= 1.2
        face = (person.head.eyes, person.head.brows, person.head.beard, person.head.jaw)
        lengths = (person.upper.sleeve, person.upper.fit, person.upper.length, person.lower.length, person.lower.width)
        assert all(0 <= n <= 1 for n in (build.belly, build.bust, build.age, person.shoes.shaft, *face, *lengths))


def test_clothes_are_those_of_the_street(crowd: tuple[Person, ...]) -> None:
    for person in crowd:
        upper, lower = person.upper, person.lower
        assert (lower.cloth.pattern is Pattern.DENIM) == (lower.bottom is Bottom.JEANS)
        assert not BODILY & {upper.sleeve_cloth.pattern, upper.outer_sleeve_cloth.pattern}
        assert upper.outer is not Outer.NONE or upper.outer_cloth == upper.cloth
        assert lower.bottom is not Bottom.SHORTS or lower.length < 0.2


def test_colours_and_patterns_are_as_frequent_as_in_the_street(street: list[Person]) -> None:
    plain = [person.lower.cloth.pattern in (Pattern.PLAIN, Pattern.DENIM) for person in street]
    assert 0.75 * len(street) < sum(plain) < 0.95 * len(street)
    bright = [max(c) - min(c) > 0.4 for c in (person.upper.cloth.colours[0] for person in street)]
    assert 0.05 * len(street) < sum(bright) < 0.2 * len(street)
    dark_legs = [sum(person.lower.cloth.colours[0]) < 1.2 for person in street]
    assert sum(dark_legs) > 0.5 * len(street)
    camouflaged = [Pattern.CAMOUFLAGE in (p.upper.cloth.pattern, p.lower.cloth.pattern) for p in street]
    assert 0 < sum(camouflaged) < 0.06 * len(street)
    skirts = [person.lower.bottom in SKIRTS for person in street]
    assert 0.08 * len(street) < sum(skirts) < 0.22 * len(street)


def test_looks_of_a_small_world_differ_at_a_glance() -> None:
    def black_trousers(lower: Lower) -> bool:
        shape = lower.bottom is Bottom.TROUSERS and lower.length > 0.9 and 0.3 < lower.width < 0.7
        return shape and lower.cloth.pattern is Pattern.PLAIN and max(lower.cloth.colours[0]) < 0.16

    worn = [{person.lower for person in draw_people(60, seed)} for seed in range(60)]
    counts = Counter(sum(map(black_trousers, lowers)) for lowers in worn)
    assert counts[1] > 15
    assert sum(counts[several] for several in counts if several > 1) <= 1


def test_fair_skin_goes_with_fair_hair(street: list[Person]) -> None:
    skins: dict[bool, list[float]] = {True: [], False: []}
    for person in street:
        red, _, blue = person.head.hair_cloth.colours[0]
        skins[red - blue > 0.25].append(sum(person.build.skin))
    fair, dark = (sum(values) / len(values) for values in skins.values())
    assert fair > dark + 0.3


def test_second_colours_stand_out(crowd: tuple[Person, ...]) -> None:
    striped = {Pattern.STRIPES_ACROSS, Pattern.CHECKS, Pattern.PRINT_FRONT, Pattern.DOTS}
    tops = [person.upper.cloth.colours for person in crowd if person.upper.cloth.pattern in striped]
    far = [max(abs(a - b) for a, b in zip(first, second, strict=True)) > 0.2 for first, second, _ in tops]
    assert sum(far) > 0.95 * len(far)


def test_bodies_are_like_women_s_and_men_s(street: list[Person]) -> None:
    women = [person for person in street if person.build.bust > 0.3]
    men = [person for person in street if person.build.bust <= 0.3]
    assert len(women) / len(street) == pytest.approx(0.5, abs=0.05)
    for group, broad in ((women, "hips"), (men, "shoulders")):
        assert sum(getattr(p.build, broad) > 0.99 for p in group) == len(group)
    assert sum(p.build.height for p in women) / len(women) + 0.08 < sum(p.build.height for p in men) / len(men)
    # a beard and a skirt may meet, as everything does; it is then a man's build
    skirts = [sum(p.lower.bottom in SKIRTS and not p.head.beard for p in group) for group in (women, men)]
    beards = [sum(p.head.beard > 0 for p in group) for group in (women, men)]
    assert skirts[1] < 0.1 * skirts[0]
    assert beards[0] < 0.1 * beards[1]
    skins = sorted(sum(person.build.skin) for person in street)
    assert skins[0] < 0.75
    assert skins[-1] > 2.4


def test_a_seed_means_the_same_people_everywhere() -> None:
    people = draw_people(30, seed=7, sharing=0.1)
    random.seed(1)
    assert draw_people(30, seed=7, sharing=0.1) == people
    assert sha256(repr(people).encode()).hexdigest()[:16] == "ff6636cea72b7dff"
    assert draw_people(30, seed=8, sharing=0.1) != people
    assert draw_people(30, seed=-7, sharing=0.1) != people


@pytest.mark.parametrize(
    ("count", "sharing", "sentence"),
    [
        (0, 0.08, "0 people cannot be drawn; ask for at least 1"),
        (-3, 0.08, "-3 people cannot be drawn"),
        (9, 0.0, "a sharing of 0 is impossible; it must be more than 0 and at most 0.5"),
        (9, 0.51, "a sharing of 0.51 is impossible"),
        (9, float("nan"), "a sharing of nan is impossible"),
        (100, 0.3, "100 people cannot be told apart .* only 3 looks .* at most 0.1919"),
        (10**9, 0.08, "only 12 looks|only 13 looks"),
    ],
)
def test_what_cannot_be_drawn_is_refused(count: int, sharing: float, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        draw_people(count, 0, sharing)


def test_the_sharing_that_a_refusal_offers_is_granted() -> None:
    assert len(draw_people(100, 0, 0.1919)) == 100
