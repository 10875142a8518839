"""What surfaces look like: the cloths of people and things, and the colour of each point that a picture sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from halfseen.world.light import patterns, prints
from halfseen.world.light.faces import FACE_NUMBERS, face
from halfseen.world.light.noise import hash01, hashed, noise
from halfseen.world.light.patterns import Show, Spot, inside
from halfseen.world.people import Bottom, Carried, Carry, Cloth, Colour, Outer, Pattern, Person, Top
from halfseen.world.shapes import SLOT, SLOTS, Mesh

ThingCloths = tuple[Cloth, Cloth, Cloth]  # of the slots thing, thing_trim and thing_dark

# How much of the second and the third colour each pattern shows, and how bright; PLAIN and FACE are drawn apart.
_SHOWN: dict[Pattern, Callable[[Spot], Show]] = {
    Pattern.STRIPES_ACROSS: patterns.stripes_across,
    Pattern.STRIPES_DOWN: patterns.stripes_down,
    Pattern.CHECKS: patterns.checks,
    Pattern.DOTS: patterns.dots,
    Pattern.CAMOUFLAGE: patterns.camouflage,
    Pattern.GRADIENT: patterns.gradient,
    Pattern.PRINT_FRONT: prints.print_front,
    Pattern.PRINT_BACK: prints.print_back,
    Pattern.DENIM: patterns.denim,
    Pattern.STRANDS: patterns.strands,
}

_PRINTS = (Pattern.PRINT_FRONT, Pattern.PRINT_BACK)
_METAL: Colour = (0.62, 0.63, 0.65)
_GREY: Colour = (0.5, 0.5, 0.5)
_HALF_ROUND = 0.45  # metres from the middle of the front to that of the back, of an average jacket
_SEAM = 0.006  # metres: half the width of a placket or a zip
_TEXEL, _TILE = 0.006, 256  # wear repeats after 256 texels of so many metres


@dataclass(frozen=True)
class Materials:
    """What each slot of N images is made of, S = len(shapes.SLOTS).

    `pattern` int64 [N,S] (people.Pattern), `colours` [N,S,3,3] (three colours as seen on a screen, 0..1), `period`,
    `gloss`, `chance` [N,S]; `half_round` [N,S]: metres around from the middle of the front to that of the back;
    `opens` [N,S]: how dark the line is along which it is buttoned or zipped, 0 (none) .. 1; `face` [N,5]: the numbers
    of `faces.FACE_NUMBERS`.
    """

    pattern: Tensor
    colours: Tensor
    period: Tensor
    gloss: Tensor
    chance: Tensor
    half_round: Tensor
    opens: Tensor
    face: Tensor


def materials(
    people: Sequence[Person], things: Sequence[ThingCloths] = (), device: torch.device | str = "cpu"
) -> Materials:
    """What the `people` of N images wear, and the cloths of the thing in each (no `things`: they are grey)."""
    everyone = list(dict.fromkeys(people))
    number = {person: row for row, person in enumerate(everyone)}
    rows = torch.tensor([number[person] for person in people], dtype=torch.int64, device=device)
    worn = _stacked([_cloths(person) for person in everyone], device)
    opens, face = (torch.tensor([of(person) for person in everyone], device=device) for of in (_opens, _face_numbers))
    worn = Materials(**{name: values[rows] for name, values in vars(replace(worn, opens=opens, face=face)).items()})
    if not things:
        return worn
    theirs, first = vars(_stacked(things, device)), SLOT["thing"]
    slots = {n: torch.cat([v[:, :first], theirs[n]], dim=1) for n, v in vars(worn).items() if n != "face"}
    return Materials(**slots, face=worn.face)


def measured(worn: Materials, *meshes: Mesh) -> Materials:
    """`worn` with the `half_round` of upper garments as in `meshes`, so that a print sits in the middle of a back; the
    rows of `worn` are those of the meshes, one mesh after the other."""
    half_round, first = worn.half_round.clone(), 0
    for mesh in meshes:
        for name in ("top", "outer"):
            used = torch.zeros_like(mesh.open[0], dtype=torch.bool)
            used[mesh.faces[mesh.slot == SLOT[name]].flatten()] = True
            if used.any():
                half_round[first : first + len(mesh), SLOT[name]] = _half_round(mesh.surface[:, used])
        first += len(mesh)
    return replace(worn, half_round=half_round)


def _half_round(surface: Tensor) -> Tensor:
    """[N] of the vertices of a garment [N,V,3]."""
    around, _, front = surface.unbind(-1)
    # where a surface faces neither front nor back, it lies a quarter turn (less its `front`) from the front
    side = front.abs().argmin(1, keepdim=True)
    metres, front = around.gather(1, side)[:, 0].abs(), front.gather(1, side)[:, 0]
    return metres / (0.5 - 0.3183099 * front * (1 + front * front / 6))


def colours(worn: Materials, image: Tensor, slot: Tensor, surface: Tensor, footprint: Tensor) -> Tensor:
    """The colours [M,3] of M points, as on a screen (0..1) and without light.

    `image` and `slot` int64 [M]; `surface` [M,3] as in `shapes.Mesh`; `footprint` [N]: metres that a pixel spans:
    patterns finer than that blur into their mean.
    """
    row = image * len(SLOTS) + slot
    table = worn.colours.flatten(0, 1).permute(1, 2, 0).contiguous()  # [3 colours, red green blue, N*S]
    place = torch.cat([surface.t(), footprint.index_select(0, image)[None]])
    wear = _wear(worn, place, row)
    out = table[0].index_select(1, row) * wear
    kind = worn.pattern.flatten().index_select(0, row)
    for pattern in sorted(set(worn.pattern.flatten().tolist()) - {Pattern.PLAIN}):
        at = (kind == pattern).nonzero()[:, 0]
        here = row.index_select(0, at)
        spot, three = _spot(worn, place.index_select(1, at), here), table.index_select(2, here)
        if pattern == Pattern.FACE:
            out[:, at] = face(spot, three, worn.face.t().index_select(1, image.index_select(0, at)))
        else:
            out[:, at] = _shown(Pattern(pattern), spot, three) * wear.index_select(0, at)
    at = ((place[0].abs() < 2 * _SEAM) & (worn.opens.flatten().index_select(0, row) > 0)).nonzero()[:, 0]
    here = row.index_select(0, at)
    out[:, at] = out.index_select(1, at) * _openings(worn, _spot(worn, place.index_select(1, at), here), here)
    return out.t()


def _spot(worn: Materials, place: Tensor, row: Tensor) -> Spot:
    """`place` [4,P]: around, along, front and footprint; `row` [P] of N*S."""
    names = ("period", "chance", "half_round")
    return Spot(*place.unbind(0), *(getattr(worn, name).flatten().index_select(0, row) for name in names))


def _shown(pattern: Pattern, spot: Spot, three: Tensor) -> Tensor:
    """Colours [3,P] made of the `three` colours [3,3,P] of each point."""
    second, third, bright = _SHOWN[pattern](spot)
    mixed = three[0] + second * (three[1] - three[0])
    return (mixed + third * (three[2] - mixed)) * bright


def _wear(worn: Materials, place: Tensor, row: Tensor) -> Tensor:
    """Brightness [M] around 1: no cloth is of one colour all over; `place` [3,M]."""
    slot = torch.arange(len(SLOTS), dtype=torch.int32, device=place.device)
    start = hashed((worn.chance * 4096).to(torch.int32), slot).flatten().index_select(0, row)
    across, down = ((place[i] * (1 / _TEXEL)).floor().to(torch.int32) for i in (0, 1))
    texel = ((down + (start >> 8)) & (_TILE - 1)) * _TILE + ((across + start) & (_TILE - 1))
    return _wear_tile(str(place.device)).index_select(0, texel)


@cache
def _wear_tile(device: str) -> Tensor:
    """[_TILE * _TILE]: clouds a hand wide and finer ones, and a little of the weave."""
    texel = torch.arange(_TILE).repeat(_TILE), torch.arange(_TILE).repeat_interleave(_TILE)
    clouds = noise([c * (8 / _TILE) for c in reversed(texel)], 1, octaves=4, repeat=(8, 8))
    weave = hash01(*texel, 2)
    return (1 + 0.16 * (clouds - 0.5) + 0.03 * (weave - 0.5)).to(device)


def _openings(worn: Materials, spot: Spot, row: Tensor) -> Tensor:
    """Brightness [P] of plackets and zips: a line down the middle of the front of what can be opened there."""
    line = inside(_SEAM - spot.around.abs(), spot.footprint) * (spot.front > 0)
    return 1 - line * worn.opens.flatten().index_select(0, row)


def _cloths(person: Person) -> list[Cloth]:
    """The cloth of each slot."""
    upper, lower, head = person.upper, person.lower, person.head
    skin, hair = person.build.skin, head.hair_cloth.colours[0]
    lips = (0.82 * skin[0] + 0.03, 0.63 * skin[1], 0.64 * skin[2])
    bag = person.carried.cloth
    worn = {
        "skin": _plain(skin, gloss=0.3),
        "face": Cloth(Pattern.FACE, (skin, hair, lips), gloss=0.3),
        "hair": head.hair_cloth,
        "hat": head.hat_cloth,
        "top": upper.cloth,
        "sleeve": _of_sleeves(upper.sleeve_cloth),
        "outer": upper.outer_cloth,
        "outer_sleeve": _of_sleeves(upper.outer_sleeve_cloth),
        "bottom": upper.cloth if lower.bottom is Bottom.DRESS else _all_over(lower.cloth),
        "shoe": person.shoes.cloth,
        "sole": _plain(person.shoes.sole, gloss=0.2),
        "bag": bag,
        "bag_trim": _plain(_trim(person.carried), gloss=0.4),
        "umbrella": bag,
        "metal": _plain(_METAL, gloss=0.9),
    }
    return [worn.get(name, _plain(_GREY)) for name in SLOTS]


def _plain(colour: Colour, gloss: float = 0.1) -> Cloth:
    return Cloth(Pattern.PLAIN, (colour, colour, colour), gloss=gloss)


def _trim(carried: Carried) -> Colour:
    """Straps are nearly of the colour of what hangs on them; handles and the like stand out."""
    share = 0.25 if carried.kind in (Carry.BACKPACK, Carry.SHOULDER_BAG) else 1.0
    red, green, blue = (a + share * (b - a) for a, b in zip(carried.cloth.colours[0], carried.trim, strict=True))
    return red, green, blue


def _all_over(cloth: Cloth) -> Cloth:
    """A printed skirt is printed from its waist to its hem."""
    return replace(cloth, pattern=Pattern.CAMOUFLAGE, period=0.09) if cloth.pattern in _PRINTS else cloth


def _of_sleeves(cloth: Cloth) -> Cloth:
    """Sleeves bear no print, and are as a gradient is where they begin."""
    first, second, third = cloth.colours
    if cloth.pattern is Pattern.GRADIENT:
        return replace(cloth, pattern=Pattern.PLAIN, colours=(second, first, third))
    return replace(cloth, pattern=Pattern.PLAIN) if cloth.pattern in _PRINTS else cloth


def _opens(person: Person) -> tuple[float, ...]:
    """Whether each slot is opened down its front."""
    closed = person.upper.outer in (Outer.JACKET, Outer.COAT, Outer.VEST)
    lines = {"top": 0.3 * (person.upper.top is Top.SHIRT), "outer": 0.5 * closed}
    return tuple(lines.get(name, 0.0) for name in SLOTS)


def _face_numbers(person: Person) -> tuple[float, ...]:
    return tuple(float(getattr(person.head, name)) for name in FACE_NUMBERS)


def _stacked(cloths: Sequence[Sequence[Cloth]], device: torch.device | str) -> Materials:
    """Rows of cloths as tensors; nothing of it opens, and there is no face."""

    def numbers(name: str) -> Tensor:
        return torch.tensor([[getattr(cloth, name) for cloth in row] for row in cloths], device=device)

    period = numbers("period").float()
    return Materials(
        pattern=numbers("pattern"),
        colours=numbers("colours").float(),
        period=period,
        gloss=numbers("gloss").float(),
        chance=numbers("chance").float(),
        half_round=torch.full_like(period, _HALF_ROUND),
        opens=torch.zeros_like(period),
        face=period.new_zeros(len(period), len(FACE_NUMBERS)),
    )
