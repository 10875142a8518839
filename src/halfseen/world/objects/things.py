"""What stands in front of people: each thing in its own frame, on the floor at the origin, its broad side to +z."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from halfseen.world.dice import Dice
from halfseen.world.objects.boards import board
from halfseen.world.objects.furniture import luggage, pole, table
from halfseen.world.objects.plants import bush, tree
from halfseen.world.objects.solids import spread
from halfseen.world.objects.vehicles import bicycle, car
from halfseen.world.people import Cloth, Colour, Pattern
from halfseen.world.plan import Thing
from halfseen.world.shapes import Mesh, join

_SHAPES: dict[Thing, Callable[[Tensor], list[Mesh]]] = {
    Thing.POLE: pole,
    Thing.CAR: car,
    Thing.BUSH: bush,
    Thing.BOARD: board,
    Thing.BICYCLE: bicycle,
    Thing.TABLE: table,
    Thing.LUGGAGE: luggage,
    Thing.TREE: tree,
}


def things(kind: Tensor, style: Tensor) -> Mesh:
    """Things of `kind` int64 [N] (plan.Thing) that differ by `style` [N,8], 0..1."""
    rows = {thing: (kind == thing).nonzero()[:, 0] for thing in _SHAPES}
    return join([spread(join(shape(style[rows[thing]])), rows[thing], len(kind)) for thing, shape in _SHAPES.items()])


# Colours as seen on a screen.
_WHITE: Colour = (0.88, 0.88, 0.86)
_BLACK: Colour = (0.09, 0.09, 0.10)
_STEEL: Colour = (0.66, 0.67, 0.69)
_DARK: Colour = (0.13, 0.13, 0.14)
_CHROME: Colour = (0.74, 0.75, 0.77)
_GLASS: Colour = (0.34, 0.38, 0.42)
_PAINTS: dict[Colour, int] = {  # of cars, and how many there are of each
    _WHITE: 6, _STEEL: 5, (0.40, 0.41, 0.43): 4, _BLACK: 5, (0.62, 0.11, 0.12): 3, (0.13, 0.22, 0.45): 3,
    (0.35, 0.48, 0.62): 1, (0.16, 0.30, 0.22): 1, (0.72, 0.66, 0.52): 1, (0.80, 0.55, 0.12): 1,
}  # fmt: skip
_POSTS: dict[Colour, int] = {
    (0.48, 0.49, 0.50): 5, (0.20, 0.24, 0.22): 4, _DARK: 3, (0.62, 0.60, 0.56): 4, (0.75, 0.74, 0.70): 2,
    (0.60, 0.34, 0.26): 2, (0.80, 0.62, 0.12): 1,
}  # fmt: skip
_GAUDY: dict[Colour, int] = {
    (0.75, 0.14, 0.14): 3, (0.12, 0.32, 0.62): 3, (0.10, 0.46, 0.30): 2, (0.88, 0.68, 0.12): 2, (0.88, 0.42, 0.12): 2,
    (0.42, 0.16, 0.42): 1, (0.16, 0.55, 0.62): 1, _WHITE: 3, _BLACK: 3,
}  # fmt: skip
_WOODS: dict[Colour, int] = {
    (0.62, 0.48, 0.33): 4, (0.45, 0.32, 0.21): 4, (0.30, 0.21, 0.15): 2, (0.74, 0.63, 0.47): 2, _WHITE: 3,
}  # fmt: skip
_CASES: dict[Colour, int] = {
    _BLACK: 4, (0.14, 0.18, 0.32): 3, (0.48, 0.10, 0.14): 2, (0.66, 0.52, 0.36): 4, (0.42, 0.44, 0.46): 2,
    (0.18, 0.36, 0.26): 2, (0.80, 0.42, 0.14): 1, (0.36, 0.26, 0.18): 2,
}  # fmt: skip
_GREENS: dict[Colour, int] = {
    (0.24, 0.36, 0.13): 4, (0.17, 0.29, 0.13): 4, (0.34, 0.42, 0.16): 3, (0.50, 0.50, 0.20): 1, (0.30, 0.34, 0.22): 2,
    (0.36, 0.16, 0.16): 1,
}  # fmt: skip
_BARKS: dict[Colour, int] = {(0.36, 0.29, 0.23): 3, (0.44, 0.40, 0.35): 3, (0.27, 0.22, 0.18): 2, (0.58, 0.56, 0.51): 1}


def thing_materials(kind: Thing, chance: float) -> tuple[Cloth, Cloth, Cloth]:
    """What the slots thing, thing_trim and thing_dark of a thing are made of, by one number 0..1."""
    dice = Dice("thing", int(kind), chance)
    first, second, third = (cloth(dice) for cloth in _MADE_OF[kind])
    return first, second, third


def _painted(colours: Mapping[Colour, int], gloss: float) -> Callable[[Dice], Cloth]:
    def cloth(dice: Dice) -> Cloth:
        colour = dice.pick(colours)
        return Cloth(Pattern.PLAIN, (colour, colour, colour), gloss=gloss, chance=dice.between(0, 1))

    return cloth


def _leaves(dice: Dice) -> Cloth:
    colour = dice.pick(_GREENS)
    deep, light = _mixed(colour, _BLACK, 0.4), _mixed(colour, (0.66, 0.70, 0.38), 0.4)
    return Cloth(Pattern.CAMOUFLAGE, (deep, colour, light), period=0.05, gloss=0.25, chance=dice.between(0, 1))


def _bark(dice: Dice) -> Cloth:
    colour = dice.pick(_BARKS)
    deep, light = _mixed(colour, _BLACK, 0.25), _mixed(colour, _WHITE, 0.12)
    pattern = dice.pick({Pattern.STRANDS: 3, Pattern.CAMOUFLAGE: 1})
    return Cloth(pattern, (colour, deep, light), period=0.12, chance=dice.between(0, 1))


def _poster(dice: Dice) -> Cloth:
    """Prints for the most part; some boards are plain, in stripes or of wood."""
    pattern = dice.pick(
        {
            Pattern.PRINT_FRONT: 6,
            Pattern.PLAIN: 2,
            Pattern.STRIPES_DOWN: 1,
            Pattern.STRIPES_ACROSS: 1,
            Pattern.GRADIENT: 1,
        }
    )
    colours = dice.pick(_GAUDY | _WOODS), dice.pick(_GAUDY), dice.pick(_GAUDY)
    return Cloth(pattern, colours, period=dice.between(0.04, 0.12), gloss=0.3, chance=dice.between(0, 1))


def _table_top(dice: Dice) -> Cloth:
    """Wood, or a table cloth."""
    pattern = dice.pick({Pattern.PLAIN: 3, Pattern.STRANDS: 2, Pattern.CHECKS: 2, Pattern.STRIPES_DOWN: 1})
    colour = dice.pick(_WOODS | _GAUDY if pattern in (Pattern.CHECKS, Pattern.STRIPES_DOWN) else _WOODS)
    return Cloth(
        pattern, (colour, _mixed(colour, _WHITE, 0.5), _WHITE), period=0.1, gloss=0.3, chance=dice.between(0, 1)
    )


def _post(dice: Dice) -> Cloth:
    """Painted metal or concrete; one in six in rings."""
    colour = dice.pick(_POSTS)
    second = dice.pick({_WHITE: 2, _BLACK: 1, (0.75, 0.14, 0.14): 2})
    pattern = dice.pick({Pattern.PLAIN: 5, Pattern.STRIPES_ACROSS: 1})
    return Cloth(
        pattern, (colour, second, colour), period=dice.between(0.25, 0.5), gloss=0.4, chance=dice.between(0, 1)
    )


def _mixed(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return red, green, blue


_RUBBER = _painted({_DARK: 1}, 0.3)
_MADE_OF: dict[Thing, tuple[Callable[[Dice], Cloth], ...]] = {
    Thing.NONE: (_RUBBER, _RUBBER, _RUBBER),
    Thing.POLE: (_post, _painted(_GAUDY, 0.5), _RUBBER),
    Thing.CAR: (_painted(_PAINTS, 0.85), _painted({_CHROME: 1}, 0.8), _painted({_GLASS: 1}, 0.7)),
    Thing.BUSH: (_leaves, _bark, _RUBBER),
    Thing.BOARD: (_poster, _painted(_POSTS | {_STEEL: 6}, 0.5), _RUBBER),
    Thing.BICYCLE: (_painted(_GAUDY, 0.7), _painted({_STEEL: 1}, 0.8), _RUBBER),
    Thing.TABLE: (_table_top, _painted(_WOODS | {_STEEL: 4}, 0.3), _painted(_WOODS | {_BLACK: 9}, 0.2)),
    Thing.LUGGAGE: (_painted(_CASES, 0.4), _painted(_CASES | {_STEEL: 4}, 0.4), _RUBBER),
    Thing.TREE: (_leaves, _bark, _RUBBER),
}
