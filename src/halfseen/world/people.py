"""Who there is: people as combinations of parts that others have too."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

Colour: TypeAlias = tuple[float, float, float]  # red, green, blue as seen on a screen, 0..1


class Pattern(IntEnum):
    """What a cloth shows; `fabrics` draws them."""

    PLAIN = 0
    STRIPES_ACROSS = 1  # rings around the body
    STRIPES_DOWN = 2
    CHECKS = 3
    DOTS = 4
    CAMOUFLAGE = 5
    GRADIENT = 6  # from the first colour at the lower end to the second
    PRINT_FRONT = 7
    PRINT_BACK = 8
    DENIM = 9
    STRANDS = 10  # hair
    FACE = 11


class HairStyle(IntEnum):
    BALD = 0
    SHORT = 1
    LONG = 2
    BUN = 3


class Headwear(IntEnum):
    NONE = 0
    CAP = 1
    HOOD = 2


class Top(IntEnum):
    TSHIRT = 0
    SHIRT = 1
    HOODIE = 2


class Outer(IntEnum):
    """What is worn over the top; all but JACKET_OPEN are closed."""

    NONE = 0
    JACKET = 1
    JACKET_OPEN = 2
    COAT = 3
    VEST = 4


class Bottom(IntEnum):
    TROUSERS = 0
    JEANS = 1
    SHORTS = 2
    SKIRT = 3
    DRESS = 4  # a skirt of the same cloth as the top


class Carry(IntEnum):
    NONE = 0
    BACKPACK = 1
    SHOULDER_BAG = 2
    HANDBAG = 3
    UMBRELLA = 4
    SUITCASE = 5


@dataclass(frozen=True)
class Cloth:
    """Three colours (most patterns use two), the length of a pattern's period in metres, its sheen 0..1, and a number
    0..1 that shifts or shapes what the pattern shows (a print, the flecks of camouflage)."""

    pattern: Pattern
    colours: tuple[Colour, Colour, Colour]
    period: float = 0.08
    gloss: float = 0.1
    chance: float = 0.0


@dataclass(frozen=True)
class Build:
    """The body: `height` in metres (1.50..1.95), `girth` .85..1.35, `shoulders` and `hips` .88..1.14 relative to an
    average adult's, `legs` .97..1.03 the share of leg, `belly` and `bust` 0..1, `age` 0..1 (1 stoops)."""

    height: float
    girth: float
    shoulders: float
    hips: float
    legs: float
    belly: float
    bust: float
    age: float
    skin: Colour


@dataclass(frozen=True)
class Head:
    """Hair, headwear and face; `eyes`, `brows`, `beard`, `jaw` 0..1 shape the face."""

    hair: HairStyle
    hair_cloth: Cloth
    headwear: Headwear
    hat_cloth: Cloth
    eyes: float
    brows: float
    beard: float
    jaw: float
    glasses: bool


@dataclass(frozen=True)
class Upper:
    """Upper wear: `sleeve` 0..1 of the arm covered by the top, `fit` 0 (tight) .. 1 (loose), `length` 0 (waist) ..
    1 (hip) for the top, and the cloths of body and sleeves of both layers."""

    top: Top
    cloth: Cloth
    sleeve_cloth: Cloth
    sleeve: float
    fit: float
    length: float
    outer: Outer
    outer_cloth: Cloth
    outer_sleeve_cloth: Cloth


@dataclass(frozen=True)
class Lower:
    """Lower wear: `length` 0 (knee) .. 1 (ankle), `width` 0 (tight) .. 1 (wide)."""

    bottom: Bottom
    cloth: Cloth
    length: float
    width: float


@dataclass(frozen=True)
class Shoes:
    """`shaft` 0 (low) .. 1 (boots to the middle of the calf)."""

    cloth: Cloth
    sole: Colour
    shaft: float


@dataclass(frozen=True)
class Carried:
    kind: Carry
    cloth: Cloth
    trim: Colour
    size: float  # .8..1.2
    on_left: bool


@dataclass(frozen=True)
class Person:
    """A combination; each of the six may be another person's too."""

    build: Build
    head: Head
    upper: Upper
    lower: Lower
    shoes: Shoes
    carried: Carried
