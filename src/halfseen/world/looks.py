"""What people look like, part by part, as one meets them in the street: black, grey and navy often, yellow seldom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

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
    Shoes,
    Top,
    Upper,
)

Range = tuple[float, float]
Palette = Mapping[str, int]  # name of a paint → how often

PAINTS: dict[str, Colour] = {
    "black": (0.08, 0.08, 0.09), "charcoal": (0.22, 0.22, 0.24), "grey": (0.47, 0.47, 0.48),
    "silver": (0.71, 0.71, 0.71), "white": (0.93, 0.93, 0.91), "cream": (0.89, 0.84, 0.73), "beige": (0.75, 0.66, 0.52),
    "camel": (0.64, 0.47, 0.30), "brown": (0.33, 0.23, 0.16), "olive": (0.35, 0.36, 0.23), "bottle": (0.11, 0.27, 0.20),
    "navy": (0.11, 0.14, 0.28), "steel": (0.31, 0.42, 0.57), "sky": (0.61, 0.75, 0.88), "royal": (0.14, 0.28, 0.66),
    "burgundy": (0.39, 0.10, 0.16), "red": (0.76, 0.12, 0.13), "green": (0.16, 0.52, 0.28),
    "yellow": (0.91, 0.77, 0.22), "pink": (0.90, 0.63, 0.71), "turquoise": (0.15, 0.61, 0.64),
    "orange": (0.89, 0.45, 0.13), "purple": (0.42, 0.25, 0.52), "indigo": (0.15, 0.20, 0.34),
    "denim": (0.27, 0.38, 0.55), "washed": (0.49, 0.60, 0.73),
    "raven": (0.06, 0.05, 0.05), "chestnut": (0.19, 0.12, 0.08), "hazel": (0.33, 0.21, 0.12),
    "blond": (0.68, 0.52, 0.31), "copper": (0.48, 0.22, 0.11), "dyed": (0.55, 0.20, 0.35), "hoar": (0.78, 0.77, 0.75),
    "porcelain": (0.94, 0.81, 0.73), "fair": (0.89, 0.73, 0.61), "tan": (0.80, 0.62, 0.48),
    "bronze": (0.66, 0.47, 0.34), "umber": (0.47, 0.32, 0.23), "ebony": (0.29, 0.19, 0.15),
}  # fmt: skip

STREET: Palette = {
    "black": 20, "charcoal": 9, "grey": 10, "silver": 6, "white": 14, "cream": 3, "beige": 5, "camel": 2, "brown": 3,
    "olive": 4, "bottle": 3, "navy": 11, "steel": 5, "sky": 5, "royal": 3, "burgundy": 4, "red": 3, "green": 2,
    "yellow": 2, "pink": 3, "turquoise": 2, "orange": 1, "purple": 2,
}  # fmt: skip
COATS: Palette = {
    "black": 30, "charcoal": 12, "grey": 8, "navy": 16, "beige": 6, "camel": 6, "brown": 5, "olive": 9, "bottle": 3,
    "burgundy": 4, "white": 2, "red": 3, "royal": 2, "yellow": 1, "orange": 1,
}  # fmt: skip
TROUSERS: Palette = {
    "black": 32, "charcoal": 13, "grey": 11, "navy": 14, "beige": 12, "camel": 3, "olive": 7, "brown": 5, "white": 3,
    "burgundy": 1,
}  # fmt: skip
LEATHER: Palette = {"black": 45, "brown": 20, "camel": 10, "charcoal": 8, "navy": 6, "grey": 6, "burgundy": 5, "red": 2}
BAGS: Palette = {**LEATHER, "olive": 8, "royal": 4, "red": 4, "pink": 3, "green": 2, "yellow": 2, "orange": 2}
CAPS: Palette = {"black": 10, "navy": 5, "white": 4, "red": 3, "grey": 2, "beige": 2, "olive": 2, "royal": 2}
SOLES: Palette = {"white": 12, "cream": 2, "black": 5, "camel": 2, "grey": 1, "red": 1}
SNEAKERS: Palette = {
    "white": 32, "black": 28, "grey": 10, "navy": 7, "brown": 6, "beige": 4, "red": 3, "royal": 3, "pink": 2,
    "green": 1, "yellow": 1, "turquoise": 1, "orange": 1,
}  # fmt: skip
DENIMS: Palette = {"indigo": 30, "denim": 34, "washed": 18, "black": 13, "grey": 5}
YOUNG_HAIR: Palette = {"raven": 42, "chestnut": 28, "hazel": 15, "blond": 9, "copper": 4, "dyed": 2}
OLD_HAIR: Palette = {"grey": 40, "hoar": 28, "charcoal": 22, "chestnut": 10}
SKINS: Palette = {"porcelain": 14, "fair": 24, "tan": 26, "bronze": 16, "umber": 11, "ebony": 9}
ON_DARK: Palette = {"white": 10, "silver": 5, "cream": 3, "sky": 3, "red": 3, "yellow": 2, "turquoise": 1, "orange": 1}
ON_LIGHT: Palette = {"black": 8, "navy": 8, "charcoal": 4, "red": 4, "royal": 3, "burgundy": 2, "green": 2, "pink": 1}
CAMOUFLAGES = {("olive", "brown", "black"): 5, ("camel", "beige", "brown"): 2, ("grey", "charcoal", "silver"): 2}

PLAIN = {Pattern.PLAIN: 1}
TOP_PATTERNS = {
    Top.TSHIRT: {
        Pattern.PLAIN: 40, Pattern.PRINT_FRONT: 28, Pattern.STRIPES_ACROSS: 15, Pattern.PRINT_BACK: 6, Pattern.DOTS: 3,
        Pattern.GRADIENT: 4, Pattern.CAMOUFLAGE: 2, Pattern.STRIPES_DOWN: 2,
    },
    Top.SHIRT: {Pattern.PLAIN: 45, Pattern.CHECKS: 32, Pattern.STRIPES_DOWN: 17, Pattern.DOTS: 3, Pattern.DENIM: 3},
    Top.HOODIE: {Pattern.PLAIN: 70, Pattern.PRINT_FRONT: 18, Pattern.PRINT_BACK: 5, Pattern.STRIPES_ACROSS: 5,
                 Pattern.CAMOUFLAGE: 2},
}  # fmt: skip
OUTER_PATTERNS = {
    Outer.JACKET: {Pattern.PLAIN: 82, Pattern.DENIM: 11, Pattern.CAMOUFLAGE: 2, Pattern.CHECKS: 5},
    Outer.JACKET_OPEN: {Pattern.PLAIN: 76, Pattern.DENIM: 16, Pattern.CAMOUFLAGE: 2, Pattern.CHECKS: 6},
    Outer.COAT: {Pattern.PLAIN: 88, Pattern.CHECKS: 12},
    Outer.VEST: {Pattern.PLAIN: 94, Pattern.DENIM: 6},
}
BOTTOM_PATTERNS = {
    Bottom.TROUSERS: {Pattern.PLAIN: 92, Pattern.CHECKS: 4, Pattern.STRIPES_DOWN: 2, Pattern.CAMOUFLAGE: 2},
    Bottom.JEANS: {Pattern.DENIM: 1},
    Bottom.SHORTS: {Pattern.PLAIN: 84, Pattern.CHECKS: 12, Pattern.CAMOUFLAGE: 4},
    Bottom.SKIRT: {
        Pattern.PLAIN: 54, Pattern.DOTS: 16, Pattern.CHECKS: 12, Pattern.STRIPES_ACROSS: 8, Pattern.PRINT_FRONT: 10,
    },
    Bottom.DRESS: {Pattern.PLAIN: 50, Pattern.DOTS: 25, Pattern.PRINT_FRONT: 25},
}  # fmt: skip
PERIODS: dict[Pattern, Range] = {  # metres
    Pattern.STRIPES_ACROSS: (0.03, 0.11), Pattern.STRIPES_DOWN: (0.012, 0.05), Pattern.CHECKS: (0.04, 0.13),
    Pattern.DOTS: (0.03, 0.07), Pattern.CAMOUFLAGE: (0.12, 0.25),
}  # fmt: skip
OUTERS = {
    Top.TSHIRT: {Outer.NONE: 72, Outer.JACKET_OPEN: 14, Outer.JACKET: 6, Outer.COAT: 4, Outer.VEST: 4},
    Top.SHIRT: {Outer.NONE: 48, Outer.JACKET_OPEN: 18, Outer.JACKET: 12, Outer.COAT: 14, Outer.VEST: 8},
    Top.HOODIE: {Outer.NONE: 58, Outer.JACKET_OPEN: 14, Outer.JACKET: 10, Outer.COAT: 8, Outer.VEST: 10},
}
SLEEVES: dict[Top, dict[Range, int]] = {
    Top.TSHIRT: {(0.24, 0.42): 15, (0.95, 1.0): 4, (0.04, 0.1): 1},
    Top.SHIRT: {(0.95, 1.0): 12, (0.5, 0.65): 4, (0.28, 0.4): 4},
    Top.HOODIE: {(0.95, 1.0): 9, (0.6, 0.75): 1},
}
BOTTOM_SHAPES: dict[Bottom, tuple[dict[Range, int], Range]] = {  # lengths, width
    Bottom.TROUSERS: ({(0.92, 1.0): 8, (0.65, 0.8): 2}, (0.15, 0.95)),
    Bottom.JEANS: ({(0.93, 1.0): 9, (0.75, 0.85): 1}, (0.0, 0.7)),
    Bottom.SHORTS: ({(0.0, 0.15): 1}, (0.3, 0.95)),
    Bottom.SKIRT: ({(0.0, 0.15): 6, (0.3, 0.75): 4}, (0.2, 1.0)),
    Bottom.DRESS: ({(0.0, 0.15): 6, (0.3, 0.8): 4}, (0.3, 1.0)),
}
WOMENS_HAIR = {HairStyle.LONG: 60, HairStyle.BUN: 21, HairStyle.SHORT: 19}
MENS_HAIR = {HairStyle.SHORT: 86, HairStyle.BALD: 7, HairStyle.LONG: 4, HairStyle.BUN: 3}
OLD_MENS_HAIR = {HairStyle.SHORT: 65, HairStyle.BALD: 35}


def draw_woman(dice: Dice) -> Build:
    return _build(dice, woman=True)


def draw_man(dice: Dice) -> Build:
    return _build(dice, woman=False)


def _build(dice: Dice, *, woman: bool) -> Build:
    age = dice.between(0, 1) * dice.between(0.2, 1)  # the young are many
    girth = 0.85 + 0.5 * (0.3 * dice.between(0, 1) + 0.5 * dice.between(0, 1) * dice.between(0, 1) + 0.2 * age)
    stout = (girth - 0.85) / 0.5
    narrow, broad = (0.88, 1.0), (0.99, 1.14)
    return Build(
        height=dice.bell(1.5, 1.78) if woman else dice.bell(1.6, 1.95),
        girth=round(girth, 4),
        shoulders=dice.bell(*(narrow if woman else broad)),
        hips=dice.bell(*(broad if woman else narrow)),
        legs=dice.bell(0.97, 1.03),
        belly=round(min(1.0, 0.9 * stout + dice.between(0, 0.25)), 4),
        bust=round(dice.between(0.35, 0.75) + 0.25 * stout, 4) if woman else round(0.15 * stout, 4),
        age=round(age, 4),
        skin=_colour(dice, SKINS),
    )


def draw_head(dice: Dice) -> Head:
    woman, old = dice.chance(0.5), dice.chance(0.16)
    headwear = dice.pick({Headwear.NONE: 76, Headwear.CAP: 15, Headwear.HOOD: 9})
    hair = dice.pick(WOMENS_HAIR if woman else OLD_MENS_HAIR if old else MENS_HAIR)
    beard = not woman and hair in (HairStyle.SHORT, HairStyle.BALD) and dice.chance(0.25)
    return Head(
        hair=hair,
        hair_cloth=_cloth(dice, OLD_HAIR if old else YOUNG_HAIR, {Pattern.STRANDS: 1}, gloss=(0.2, 0.45)),
        headwear=headwear,
        hat_cloth=_cloth(dice, STREET if headwear is Headwear.HOOD else CAPS),
        eyes=dice.between(0, 1),
        brows=dice.between(0, 0.6) if woman else dice.between(0.3, 1),
        beard=dice.between(0.35, 1) if beard else 0.0,
        jaw=dice.between(0, 0.5) if woman else dice.between(0.4, 1),
        glasses=dice.chance(0.6 if old else 0.25),
    )


def draw_upper(dice: Dice) -> Upper:
    top = dice.pick({Top.TSHIRT: 9, Top.SHIRT: 5, Top.HOODIE: 6})
    cloth = _cloth(dice, STREET, TOP_PATTERNS[top], gloss=(0.02, 0.12))
    two_tone = dice.chance({Top.TSHIRT: 0.1, Top.SHIRT: 0.0, Top.HOODIE: 0.25}[top])
    outer = dice.pick(OUTERS[top])
    over = _cloth(dice, COATS, OUTER_PATTERNS[outer], gloss=(0.05, 0.4)) if outer else cloth
    college = outer in (Outer.JACKET, Outer.JACKET_OPEN) and dice.chance(0.15)
    return Upper(
        top=top,
        cloth=cloth,
        sleeve_cloth=_cloth(dice, STREET) if two_tone else _sleeve(cloth),
        sleeve=dice.between(*dice.pick(SLEEVES[top])),
        fit=dice.bell(*{Top.TSHIRT: (0.05, 0.9), Top.SHIRT: (0.1, 0.8), Top.HOODIE: (0.35, 1.0)}[top]),
        length=dice.bell(0.1, 1.0),
        outer=outer,
        outer_cloth=over,
        outer_sleeve_cloth=_cloth(dice, COATS) if college else _sleeve(over),
    )


def draw_lower(dice: Dice) -> Lower:
    bottom = dice.pick({Bottom.TROUSERS: 34, Bottom.JEANS: 39, Bottom.SHORTS: 15, Bottom.SKIRT: 8, Bottom.DRESS: 4})
    lengths, width = BOTTOM_SHAPES[bottom]
    palette = STREET if bottom in (Bottom.SKIRT, Bottom.DRESS) else TROUSERS
    cloth = _cloth(dice, palette, BOTTOM_PATTERNS[bottom], gloss=(0.02, 0.12))
    return Lower(
        bottom=bottom,
        cloth=_muted(cloth) if bottom in (Bottom.TROUSERS, Bottom.SHORTS) else cloth,
        length=dice.between(*dice.pick(lengths)),
        width=dice.bell(*width),
    )


def draw_shoes(dice: Dice) -> Shoes:
    leather = dice.chance(0.35)
    shaft = dice.pick({(0.0, 0.05): 5, (0.1, 0.25): 2, (0.6, 1.0): 3} if leather else {(0.0, 0.05): 8, (0.1, 0.3): 2})
    cloth = _cloth(dice, LEATHER, gloss=(0.3, 0.6)) if leather else _cloth(dice, SNEAKERS, gloss=(0.05, 0.25))
    soles = {"black": 6, "brown": 2} if leather else SOLES
    return Shoes(cloth=cloth, sole=_colour(dice, soles), shaft=dice.between(*shaft))


def draw_carried(dice: Dice) -> Carried:
    kind = dice.pick(
        {Carry.BACKPACK: 42, Carry.SHOULDER_BAG: 22, Carry.HANDBAG: 18, Carry.UMBRELLA: 7, Carry.SUITCASE: 11}
    )
    palette = STREET if kind is Carry.UMBRELLA else BAGS
    cloth = _cloth(dice, palette, gloss=(0.05, 0.35))
    return Carried(kind, cloth, _second(dice, cloth.colours[0]), dice.between(0.8, 1.2), dice.chance(0.5))


def _cloth(dice: Dice, palette: Palette, patterns: Mapping[Pattern, int] = PLAIN, gloss: Range = (0.05, 0.15)) -> Cloth:
    pattern = dice.pick(patterns)
    return Cloth(
        pattern,
        _colours(dice, palette, pattern),
        period=dice.between(*PERIODS.get(pattern, (0.08, 0.08))),
        gloss=dice.between(*gloss),
        chance=dice.between(0, 1),
    )


def _colours(dice: Dice, palette: Palette, pattern: Pattern) -> tuple[Colour, Colour, Colour]:
    if pattern is Pattern.CAMOUFLAGE:
        one, two, three = dice.pick(CAMOUFLAGES)
        return _colour(dice, {one: 1}), _colour(dice, {two: 1}), _colour(dice, {three: 1})
    first = _colour(dice, DENIMS if pattern is Pattern.DENIM else palette)
    if pattern in (Pattern.DENIM, Pattern.STRANDS):  # threads and hairs: lighter and darker of the same
        return first, _mixed(first, PAINTS["white"], 0.3), _mixed(first, PAINTS["black"], 0.45)
    return first, _second(dice, first), _second(dice, first)


def _colour(dice: Dice, palette: Palette) -> Colour:
    """A paint of the palette as it happens to be: a little lighter or darker, and hardly another hue."""
    red, green, blue = PAINTS[dice.pick(palette)]
    light = dice.bell(0.88, 1.12)
    red, green, blue = (min(1.0, max(0.0, light * c + dice.bell(-0.025, 0.025))) for c in (red, green, blue))
    return round(red, 4), round(green, 4), round(blue, 4)


def _second(dice: Dice, first: Colour) -> Colour:
    """A colour that stands out from the first."""
    return _colour(dice, ON_DARK if first[0] + first[1] + first[2] < 1.35 else ON_LIGHT)


def _mixed(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share, 4) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _muted(cloth: Cloth) -> Cloth:
    first, second, third = cloth.colours
    return replace(cloth, colours=(first, _mixed(second, first, 0.55), _mixed(third, first, 0.55)))


def _sleeve(cloth: Cloth) -> Cloth:
    """What sleeves of a garment of `cloth` are made of: prints and fading belong on the body only."""
    bodily = (Pattern.PRINT_FRONT, Pattern.PRINT_BACK, Pattern.GRADIENT)
    return replace(cloth, pattern=Pattern.PLAIN) if cloth.pattern in bodily else cloth
