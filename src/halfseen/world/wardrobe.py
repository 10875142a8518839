"""Who there is: people as combinations of looks that others have too.

A look is what one part (head, shoes, ...) looks like. Each is dealt to several people on purpose, so that no single
part tells who somebody is; only the combination does.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from halfseen.types import InputError
from halfseen.world import looks
from halfseen.world.dice import Dice
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
    Upper,
)

PARTS = ("build", "head", "upper", "lower", "shoes", "carried")
WOMANLY = 0.25  # a bust from here on
REDRAWS = 3  # so often another look is drawn that differs more
CARRIERS = (11, 20)  # so many of so many people carry something
EMPTY_HANDED = Carried(Carry.NONE, Cloth(Pattern.PLAIN, ((0.5, 0.5, 0.5),) * 3), (0.5, 0.5, 0.5), 1.0, on_left=False)

T = TypeVar("T", bound=Hashable)
Codes = tuple[int, int, int, int]  # which look of head, upper, lower and shoes


def draw_people(count: int, seed: int, sharing: float = 0.08) -> tuple[Person, ...]:
    """`count` people, decided by `seed`; of each part, two of them have the same look with probability `sharing`.

    A look goes to ⌊n/k⌋ or ⌈n/k⌉ of n people, and k, the number of looks of a part, is the one that brings the
    probability nearest to the asked one (`even_sharing` is the formula; k ≈ n / (1 + sharing·(n − 1))). About 45 % of
    people carry nothing whatever is asked; for `carried`, n counts those who carry something.

    Any two people differ in head, upper or lower, and in two of head, upper, lower and shoes at least; up to k² people
    (k·(k − 1) for an even k) they differ in two of head, upper and lower. More than k³ people are refused.
    Only builds are not dealt by chance: women's go rather to those with long hair or a skirt.
    """
    _check(count, sharing)
    number = count_looks(count, sharing)
    heads = _draw_looks(looks.draw_head, _glance_at_head, number, Dice("head", seed))
    uppers = _draw_looks(looks.draw_upper, _glance_at_upper, number, Dice("upper", seed))
    lowers = _draw_looks(looks.draw_lower, _glance_at_lower, number, Dice("lower", seed))
    shoes = _draw_looks(looks.draw_shoes, _glance_at_shoes, number, Dice("shoes", seed))
    builds = _draw_looks(looks.draw_woman, _glance_at_build, number // 2, Dice("woman", seed))
    builds += _draw_looks(looks.draw_man, _glance_at_build, number - number // 2, Dice("man", seed))
    dice = Dice("people", seed)
    codes = dice.shuffled(deal(count, number))
    dressed = [(heads[head], uppers[upper], lowers[lower], shoes[shoe]) for head, upper, lower, shoe in codes]
    even = [builds[row % number] for row in range(count)]
    bodies = _fit(dice, even, [head for head, *_ in dressed], [lower for _, _, lower, _ in dressed])
    bags = _hand_out(Dice("carried", seed), count, sharing)
    return tuple(Person(body, *worn, bag) for body, worn, bag in zip(bodies, dressed, bags, strict=True))


def part_sharing(people: Sequence[Person]) -> dict[str, float]:
    """For each part, the mean share of the other people who have the same look of it.

    `carried` is measured among those who carry something. Where there are fewer than two people it is 0.
    """
    worn = {part: [getattr(person, part) for person in people] for part in PARTS}
    worn["carried"] = [carried for carried in worn["carried"] if carried.kind is not Carry.NONE]
    pairs = {part: sum(n * (n - 1) for n in Counter(having).values()) for part, having in worn.items()}
    return {part: pairs[part] / max(1, len(having) * (len(having) - 1)) for part, having in worn.items()}


def even_sharing(count: int, number: int) -> float:
    """How probably two of `count` people have the same of `number` looks that are dealt evenly.

    With q = ⌊n/k⌋, n − k·q looks go to q + 1 people and the rest to q: q·(2n − k·(q + 1)) ordered pairs of n·(n − 1).
    """
    each = count // number
    return each * (2 * count - number * (each + 1)) / max(1, count * (count - 1))


def count_looks(count: int, sharing: float) -> int:
    """The number of looks, 1..`count`, whose sharing is nearest to the asked one; of two as near, the greater."""
    fewest = 1 + bisect_left(range(1, count), -sharing, key=lambda number: -even_sharing(count, number))
    return min((fewest, max(1, fewest - 1)), key=lambda number: abs(even_sharing(count, number) - sharing))


def deal(count: int, number: int) -> list[Codes]:
    """Codes 0..`number` − 1 for `count` ≤ `number`³ people, each code about equally often in each place.

    Person i's digits in base k are a, b, c. Every place counts on with a, hence evenness. The first three tell a, b
    and c; as the fourth is upper + lower − head, where just one of the three differs it does too. With c = 0, two of
    the three tell a and b: for this the step of b in `lower`, and the step less b, must all differ, which an even k
    allows for all b but the last.
    """
    codes = []
    for row in range(count):
        a, b, c = row % number, row // number % number, row // number // number
        step = 2 * b + (number % 2 == 0 and 2 * b >= number)
        head, upper, lower = a, a + b, a + step + c
        codes.append((head, upper % number, lower % number, (upper + lower - head) % number))
    return codes


def _check(count: int, sharing: float) -> None:
    if count < 1:
        raise InputError(f"{count} people cannot be drawn; ask for at least 1")
    if not 0 < sharing <= 0.5:
        raise InputError(f"a sharing of {sharing:g} is impossible; it must be more than 0 and at most 0.5")
    number = count_looks(count, sharing)
    if count > number**3:
        needed = bisect_left(range(count), count, key=lambda k: k**3)
        most = math.floor(even_sharing(count, needed) * 1e4) / 1e4
        raise InputError(
            f"{count} people cannot be told apart by head, upper and lower wear, as a sharing of {sharing:g} leaves "
            f"only {number} looks for each; ask for fewer people, or for a sharing of at most {most:g}"
        )


def _draw_looks(draw: Callable[[Dice], T], glance: Callable[[T], Hashable], number: int, dice: Dice) -> list[T]:
    """`number` different looks, which in a small world differ at a `glance` too.

    In a large one some may not: to insist on it would fill the street with what is seldom worn.
    """
    drawn: dict[T, None] = {}
    glances: set[Hashable] = set()
    while len(drawn) < number:
        look = draw(dice)
        for _ in range(REDRAWS):
            if glance(look) in glances:
                look = draw(dice)
        drawn[look] = None
        glances.add(glance(look))
    return list(drawn)


def _fit(dice: Dice, builds: Sequence[Build], heads: Sequence[Head], lowers: Sequence[Lower]) -> list[Build]:
    """One of `builds` for each person: women's rather for long hair and skirts, fair skin rather for fair hair."""
    feminine = [_femininity(head, lower) for head, lower in zip(heads, lowers, strict=True)]
    rows = sorted(dice.shuffled(range(len(builds))), key=lambda row: -feminine[row])
    women = sum(build.bust >= WOMANLY for build in builds)
    groups = dice.shuffled(rows[:women]), dice.shuffled(rows[women:])
    rows = [row for group in groups for row in sorted(group, key=lambda row: not _is_fair(heads[row]))]
    bodies = sorted(dice.shuffled(builds), key=lambda build: (build.bust < WOMANLY, -build.skin[1]))
    return [body for _, body in sorted(zip(rows, bodies, strict=True), key=lambda pair: pair[0])]


def _femininity(head: Head, lower: Lower) -> float:
    long_hair, skirt = head.hair in (HairStyle.LONG, HairStyle.BUN), lower.bottom in (Bottom.SKIRT, Bottom.DRESS)
    return long_hair + 1.5 * skirt - 2 * (head.beard > 0) - head.jaw


def _is_fair(head: Head) -> bool:
    """Whether the hair is blond or red, as dark-skinned people's seldom is."""
    red, _, blue = head.hair_cloth.colours[0]
    return red - blue > 0.25


def _hand_out(dice: Dice, count: int, sharing: float) -> list[Carried]:
    share, whole = CARRIERS
    carriers = (share * count + whole // 2) // whole
    number = count_looks(carriers, sharing) if carriers else 0
    bags = _draw_looks(looks.draw_carried, _glance_at_carried, number, dice)
    return dice.shuffled([bags[row % number] if row < carriers else EMPTY_HANDED for row in range(count)])


def _tint(colour: Colour) -> Hashable:
    return tuple(round(3 * value) for value in colour)


def _glance(cloth: Cloth) -> Hashable:
    first, second, _ = map(_tint, cloth.colours)
    return first if cloth.pattern is Pattern.PLAIN else (cloth.pattern, first, second)


def _glance_at_build(build: Build) -> Hashable:
    return round(12 * build.height), round(6 * build.girth), _tint(build.skin)


def _glance_at_head(head: Head) -> Hashable:
    hat = head.headwear is not Headwear.NONE and _glance(head.hat_cloth)
    hair = head.headwear is not Headwear.HOOD and (head.hair, _tint(head.hair_cloth.colours[0]))
    return head.headwear, hat, hair, head.beard > 0, head.jaw < 0.45


def _glance_at_upper(upper: Upper) -> Hashable:
    top = (upper.top, _glance(upper.cloth), _glance(upper.sleeve_cloth), round(2 * upper.sleeve))
    over = (upper.outer, _glance(upper.outer_cloth), _glance(upper.outer_sleeve_cloth))
    return {Outer.NONE: top, Outer.JACKET: over, Outer.COAT: over}.get(upper.outer, (top, over))


def _glance_at_lower(lower: Lower) -> Hashable:
    cloth = lower.bottom is not Bottom.DRESS and _glance(lower.cloth)  # a dress is of the cloth of the top
    return lower.bottom, cloth, round(2 * lower.length), round(2 * lower.width)


def _glance_at_shoes(shoes: Shoes) -> Hashable:
    return _glance(shoes.cloth), round(2 * shoes.shaft), _tint(shoes.sole)


def _glance_at_carried(carried: Carried) -> Hashable:
    return carried.kind, _glance(carried.cloth)
