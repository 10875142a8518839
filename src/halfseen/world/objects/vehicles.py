"""What is parked in the street: cars, vans and bicycles, with their left or right side to the front."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from halfseen.world.objects.solids import Pairs, Profile, bars, between, blocks, hoop, lathe, panels, rounded, spots
from halfseen.world.shapes import Mesh, loft

# Cross-sections of a car's body: share of the length from the nose, heights of lower and upper edge, half-width.
_BODY = (
    (0.0, 0.40, 0.56, 0.0), (0.0, 0.36, 0.60, 0.58), (0.012, 0.26, 0.67, 0.73), (0.06, 0.19, 0.76, 0.83),
    (0.17, 0.18, 0.84, 0.87), (0.29, 0.18, 0.92, 0.88), (0.50, 0.18, 0.94, 0.88),
    (0.91, 0.20, 0.96, 0.86), (0.985, 0.28, 0.94, 0.82), (1.0, 0.36, 0.84, 0.74), (1.0, 0.44, 0.78, 0.0),
)  # fmt: skip
# Cabins of a hatchback, a saloon and a van: shares of the length where the windscreen begins and ends and where the
# rear window ends and begins; the roof's height; half-widths below and above.
_CABINS = (
    (0.26, 0.41, 0.88, 0.97, 1.46, 0.82, 0.66),
    (0.28, 0.43, 0.70, 0.86, 1.42, 0.81, 0.63),
    (0.15, 0.24, 0.97, 0.985, 1.86, 0.87, 0.79),
)
# The windows of their near sides: from where to where, as shares from the rear.
_WINDOWS = (
    ((0.06, 0.13), (0.17, 0.46), (0.51, 0.93)),
    ((0.12, 0.18), (0.21, 0.44), (0.49, 0.93)),
    ((0.05, 0.32), (0.37, 0.65), (0.70, 0.94)),
)
_BELT, _SIDE = 0.92, 0.886  # where windows begin, and how far the body's near side is from its middle
_FRONT, _REAR = 0.19, 0.805  # shares of the length where the wheels are


def car(style: Tensor) -> list[Mesh]:
    """Cars and vans by `style` [N,8]."""
    design = (style[:, 0] * 2.5).long().clamp(max=2)
    length = between(style[:, 1], 4.2, 4.7)
    lift = between(style[:, 2], -0.02, 0.06) + 0.08 * (design == 2)
    cabin = torch.tensor(_CABINS, device=style.device)[design]
    cabin = torch.cat([length[:, None] * (0.5 - cabin[:, :4]), lift[:, None] + cabin[:, 4:5], cabin[:, 5:]], 1)
    windows = torch.tensor(_WINDOWS, device=style.device)[design]
    pieces = [
        _body(length, lift),
        *_cabin(cabin, lift, windows),
        *_bonnet(cabin, length, lift),
        *_marks(length, lift),
        *_wheels(length, lift),
    ]
    return [_facing(piece, style[:, 3]) for piece in pieces]


def _facing(mesh: Mesh, chance: Tensor) -> Mesh:
    """`mesh`, or where `chance` [N] is low its mirror image."""
    sign = torch.ones_like(mesh.vertices[:, :1])
    sign[..., 0] = torch.where(chance < 0.5, -1.0, 1.0)[:, None]
    return replace(mesh, vertices=mesh.vertices * sign, normals=mesh.normals * sign)


def _body(length: Tensor, lift: Tensor) -> Mesh:
    share, low, high, wide = torch.tensor(_BODY, device=length.device).unbind(1)
    x = length[:, None] * (0.5 - share)
    nothing = torch.zeros_like(x)
    line = torch.stack([x, lift[:, None] + (low + high) / 2, nothing], -1)
    up = torch.stack([nothing, nothing + (high - low) / 2, nothing], -1)
    across = torch.stack([nothing, nothing, nothing + wide], -1)
    return loft(line, across, up, slot="thing", part="background", square=8.0)


def _cabin(cabin: Tensor, lift: Tensor, windows: Tensor) -> list[Mesh]:
    """Posts, glass and roof; `cabin` [N,7] as in _CABINS but in metres, `windows` [N,3,2]."""
    foot, top, rear_top, rear, roof, wide, narrow = cabin.unbind(1)
    low, high = lift + _BELT - 0.04, roof - 0.06
    near = spots(foot, (rear, low, wide), (foot, low, wide), (top, high, narrow), (rear_top, high, narrow))
    far = near * near.new_tensor([1, 1, -1])
    ahead = torch.stack([near[:, 1], far[:, 1], far[:, 2], near[:, 2]], 1)
    behind = torch.stack([far[:, 0], near[:, 0], near[:, 3], far[:, 3]], 1)
    walls = torch.stack([near, far[:, [1, 0, 3, 2]], ahead, behind], 1)
    across = torch.cat([windows, windows.new_tensor([[0.05, 0.95]]).expand(len(foot), 2, 2)], 1)
    glass = _inside(walls[:, [0, 0, 0, 2, 3]], across)
    sky = foot.new_tensor([0.25, 0.25, 1.0, 1.0])  # below, glass shows what is inside
    panes = panels(glass, slot="thing_dark")
    place = spots(foot, ((top + rear_top) / 2, roof - 0.05, 0), ((top - rear_top) / 2 + 0.02, 0.05, narrow + 0.01))
    cap = rounded(place, bevel=0.3, slot="thing", square=8.0, segments=8)
    return [panels(walls, slot="thing"), replace(panes, open=sky.repeat(5).expand(len(foot), -1)), cap]


def _inside(walls: Tensor, across: Tensor) -> Tensor:
    """Panes [N,Q,4,3] a little before `walls` [N,Q,4,3], `across` [N,Q,2] from where to where on them."""
    edges = []
    for up, (left, right) in ((0.12, (0, 1)), (0.9, (1, 0))):
        start, stop = (torch.lerp(walls[:, :, i], walls[:, :, j], up) for i, j in ((0, 3), (1, 2)))
        edges += [torch.lerp(start, stop, across[..., i, None]) for i in (left, right)]
    panes = torch.stack(edges, 2)
    out = torch.linalg.cross(panes[:, :, 2] - panes[:, :, 0], panes[:, :, 3] - panes[:, :, 1])
    return panes + 0.006 * torch.nn.functional.normalize(out, dim=-1)[:, :, None]


def _bonnet(cabin: Tensor, length: Tensor, lift: Tensor) -> list[Mesh]:
    """Seams along the bonnet, what lies between it and the windscreen, and wipers."""
    foot, top, roof = cabin[:, 0], cabin[:, 1], cabin[:, 4]
    ridge = [(length * (0.5 - share), lift + high + 0.002) for share, _, high, _ in _BODY[3:6]]
    seams: Pairs = [((*a, s * 0.64), (*b, s * 0.64)) for a, b in pairwise(ridge) for s in (-1, 1)]
    slope = (foot - top) / (roof - lift - _BELT - 0.02)
    wipers: Pairs = [
        ((foot + 0.02, lift + _BELT, z), (foot + 0.03 - 0.2 * slope, lift + _BELT + 0.2, z + 0.42)) for z in (-0.5, 0.1)
    ]
    return [
        bars(foot, 0.007, [*seams, *wipers], slot="thing_dark"),
        blocks(foot, [((foot + 0.03, lift + _BELT - 0.02, 0), (0.05, 0.008, 0.66))], slot="thing_dark"),
    ]


def _marks(length: Tensor, lift: Tensor) -> list[Mesh]:
    """Seams of the doors, handles, lamps, plates, a mirror, and the dark strip below."""

    def at(share: float) -> Tensor:
        return length * (0.5 - share)

    gaps = ((0.335, 0.006, 0.6, 0.3), (0.53, 0.006, 0.6, 0.3), (0.71, 0.006, 0.72, 0.17), (0.5, 1.0, 0.26, 0.04))
    seams: Pairs = [((at(share), lift + y, _SIDE), (wide, high, 0)) for share, wide, y, high in gaps]
    handles: Pairs = [((at(share), lift + 0.775, _SIDE), (0.08, 0.015, 0)) for share in (0.495, 0.675)]
    lamps = [((at(0.045), lift + 0.66, z), (0.125, 0.055, 0.17)) for z in (0.66, -0.66)]
    rims = [((at(0.045), lift + 0.66, z), (0.11, 0.07, 0.16)) for z in (0.66, -0.66)]
    plate = ((at(0.012), lift + 0.42, 0.0), (0.03, 0.06, 0.26))
    tails = [((at(0.985), lift + 0.8, z), (0.06, 0.1, 0.12)) for z in (0.7, -0.7)]
    grille = ((at(0.006), lift + 0.58, 0.0), (0.04, 0.05, 0.40))
    mirror = ((at(0.315), lift + 0.98, 0.95), (0.06, 0.07, 0.09))
    return [
        blocks(length, seams, slot="thing_dark", sides=1, open=0.15),
        blocks(length, handles, slot="thing_trim", sides=1),
        blocks(length, [*lamps, plate], slot="thing_trim"),
        blocks(length, [*tails, grille, *rims], slot="thing_dark", open=0.25),
        blocks(length, [mirror], slot="thing"),
    ]


def _wheels(length: Tensor, lift: Tensor) -> list[Mesh]:
    radius = 0.3 + 0.4 * (lift + 0.02)
    pieces = []
    for share in (_FRONT, _REAR):
        x = length * (0.5 - share)
        near = spots(length, (x, radius, 0.6), (x, radius, _SIDE + 0.012))
        far = spots(length, (x, radius, -_SIDE), (x, radius, -0.6))
        tyre: Profile = [(0, radius), (1, radius), (1, 0)]
        pieces += [
            lathe(near, tyre, slot="thing_dark", segments=16, open=0.2),
            lathe(far, tyre[:2], slot="thing_dark", segments=8, open=0.1),
            *_rim(near[:, 1], 0.66 * radius),
            _arch(near[:, 1], 1.15 * radius),
        ]
    return pieces


def _rim(centre: Tensor, radius: Tensor) -> list[Mesh]:
    """A disc with five dark gaps."""
    out = centre + centre.new_tensor([0, 0, 0.01])
    disc = lathe(torch.stack([centre, out], 1), [(0, radius), (0.8, 0)], slot="thing_trim", segments=16)
    corners = [
        out[:, None] + reach * radius[:, None, None] * _around(centre, 5, angle)
        for angle, reach in ((0.0, 0.3), (-0.42, 0.82), (0.42, 0.82), (0.0, 0.3))
    ]
    return [disc, panels(torch.stack(corners, 2), slot="thing_dark")]


def _around(like: Tensor, count: int, first: float) -> Tensor:
    """`count` directions [count,3] across an axle, evenly spread, the `first` at that angle."""
    turn = first + torch.arange(count, device=like.device) * (2 * torch.pi / count)
    return torch.stack([turn.cos(), turn.sin(), torch.zeros_like(turn)], -1)


def _arch(centre: Tensor, radius: Tensor) -> Mesh:
    """The dark gap over a wheel."""
    size = torch.stack([torch.zeros_like(radius), radius], 1)[..., None]
    line = (centre - centre.new_tensor([0, 0, 0.008]))[:, None].expand(-1, 2, -1)
    reach = torch.full_like(line[..., 0], 1.9)
    ahead, up = centre.new_tensor([1, 0, 0]), centre.new_tensor([0, 1, 0])
    return loft(line, size * ahead, size * up, slot="thing_dark", part="background", start=-reach, stop=reach)


# A bicycle's points (x, y): hubs, bottom bracket, ends of the seat tube and of the head tube, saddle and stem.
_REAR_HUB, _FRONT_HUB, _CRANK = (-0.52, 0.34), (0.54, 0.34), (-0.08, 0.28)
_SEAT, _SADDLE, _HEAD, _NECK, _STEM = (-0.22, 0.78), (-0.26, 0.93), (0.36, 0.86), (0.40, 0.73), (0.33, 0.99)
_GRIP = (0.18, 1.02, 0.28)


def bicycle(style: Tensor) -> list[Mesh]:
    """Bicycles by `style` [N,8]: with a high or a low upper tube, some with a basket or a carrier."""
    size = between(style[:, 1], 0.94, 1.06)
    pieces = [*_frame(style), *_bicycle_wheels(style), *_handlebar(style), *_basket(style), *_carrier(style)]
    lean = 0.14 * (style[:, 7] - 0.5)
    return [_facing(_leaning(piece, size, lean), style[:, 3]) for piece in pieces]


def _leaning(mesh: Mesh, size: Tensor, lean: Tensor) -> Mesh:
    """`mesh` scaled by `size` [N], its top moved by the share `lean` [N] of its height to the front."""
    points = mesh.vertices * size[:, None, None]
    x, y, z = points.unbind(-1)
    return replace(mesh, vertices=torch.stack([x, y, z + lean[:, None] * y], -1))


def _frame(style: Tensor) -> list[Mesh]:
    one = style[:, 0]
    low = (one > 0.5).to(one.dtype)  # the upper tube of a step-through
    upper = (0.36 + 0.02 * low, 0.83 - 0.07 * low, 0.0), (-0.21 + 0.055 * low, 0.75 - 0.2 * low, 0.0)
    flat = ((_CRANK, _SADDLE), (_CRANK, _NECK), (_NECK, _HEAD), (_HEAD, _STEM))
    pairs = [((*a, 0.0), (*b, 0.0)) for a, b in flat] + [upper]
    thin = [
        ((*end, 0.02 * s), (*hub, 0.055 * s))
        for end, hub in ((_CRANK, _REAR_HUB), (_SEAT, _REAR_HUB), (_NECK, _FRONT_HUB))
        for s in (-1, 1)
    ]
    pedals = [((*_CRANK, 0.07), (0.02, 0.15, 0.09)), ((*_CRANK, -0.07), (-0.18, 0.41, -0.09))]
    treads = [((0.04, 0.14, 0.12), (0.05, 0.015, 0.04)), ((-0.16, 0.42, -0.12), (0.05, 0.015, 0.04))]
    chain, saddle = spots(one, (*_CRANK, 0.06), (*_CRANK, 0.075)), spots(one, (-0.26, 0.95, 0), (0.13, 0.035, 0.085))
    return [
        bars(one, 0.018, pairs, slot="thing"),
        bars(one, 0.011, thin, slot="thing"),
        bars(one, 0.011, pedals, slot="thing_trim"),
        blocks(one, treads, slot="thing_dark"),
        lathe(chain, [(0, 0.1), (1, 0.09), (1, 0)], slot="thing_trim", segments=8),
        rounded(saddle, slot="thing_dark", square=2.5, bevel=0.5, segments=6),
    ]


def _bicycle_wheels(style: Tensor) -> list[Mesh]:
    one = style[:, 0]
    pieces = []
    for x, y in (_REAR_HUB, _FRONT_HUB):
        centre = spots(one, (x, y, 0.0))[:, 0]
        way, across = _around(one, 14, 0), 0.0025 * _around(one, 14, torch.pi / 2)
        spokes = [centre[:, None] + r * way + s * across for r, s in ((0.01, -1), (0.01, 1), (0.3, 1), (0.3, -1))]
        disc = spots(one, (x, y, 0), (x, y, 0.01))
        pieces += [
            hoop(centre, 0.315, 0.025, slot="thing_dark"),
            lathe(disc, [(0, 0.3), (0, 0.28)], slot="thing_trim", segments=16, two_sided=True),
            panels(torch.stack(spokes, 2), slot="thing_trim", two_sided=True),
            bars(one, 0.02, [((x, y, -0.07), (x, y, 0.07))], slot="thing_trim"),
        ]
    return pieces


def _handlebar(style: Tensor) -> list[Mesh]:
    one = style[:, 0]
    x, y, z = _GRIP
    metal = [((*_STEM, z0), (x + 0.08, y, z1)) for z0, z1 in ((0.0, z), (0.0, -z))]
    grips = [((x + 0.08, y, s * z), (x - 0.06, y - 0.01, s * (z + 0.02))) for s in (-1, 1)]
    return [bars(one, 0.012, metal, slot="thing_trim"), bars(one, 0.017, grips, slot="thing_dark")]


def _basket(style: Tensor) -> list[Mesh]:
    """Wires before the handlebar."""
    one = style[:, 0]
    left, right, low, high, deep = 0.42, 0.72, 0.72, 0.98, 0.16
    level = [low + (high - low) * share for share in (0.0, 0.33, 0.67, 1.0)]
    pairs = [
        pair
        for y in level
        for pair in (
            ((left, y, deep), (right, y, deep)), ((left, y, -deep), (right, y, -deep)),
            ((left, y, deep), (left, y, -deep)), ((right, y, deep), (right, y, -deep)),
        )
    ]  # fmt: skip
    posts = [((x, low, z), (x, high, z)) for x in (left, right) for z in (-deep, deep)]
    return [bars(one, 0.006, [*pairs, *posts], slot="thing_trim", shown=style[:, 4] > 0.45)]


def _carrier(style: Tensor) -> list[Mesh]:
    one = style[:, 0]
    pairs = [((-0.28, 0.74, s * 0.05), (-0.68, 0.74, s * 0.06)) for s in (-1, 0, 1)]
    stays = [((*_REAR_HUB, s * 0.06), (-0.56, 0.74, s * 0.06)) for s in (-1, 1)]
    return [bars(one, 0.009, [*pairs, *stays], slot="thing_trim", shown=style[:, 5] > 0.4)]
