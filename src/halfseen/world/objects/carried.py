"""What people carry: backpacks, shoulder bags, handbags, umbrellas and suitcases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from halfseen.world.bodies.figure import Figure, figure
from halfseen.world.bodies.garments import LOW, Layer, around_trunk, coat, top
from halfseen.world.bodies.limbs import legs_of
from halfseen.world.bodies.poses import Skeleton
from halfseen.world.objects import bags
from halfseen.world.objects.solids import drum, frame
from halfseen.world.people import Carry, Outer, Person
from halfseen.world.shapes import PART, Mesh, join, tube

# Where straps run over the trunk: rows of (ring, column) of its rings from the hips (0) over waist (1.7), chest (3.3)
# and armpits (4) to the neck (9), and of its columns from the back (0) over right (4), front (8) and left (12).
_PACK_STRAP = (
    (5.0, 15.1), (6.0, 14.4), (7.0, 13.2), (7.6, 12.0), (7.1, 10.8), (6.0, 9.8), (5.0, 9.5), (4.5, 9.4), (4.0, 9.4),
    (3.4, 9.6), (3.0, 9.9), (2.6, 10.6), (2.4, 11.6), (2.2, 12.8), (2.0, 14.0), (1.9, 15.2),
)  # fmt: skip
_BAG_STRAP = (
    (0.9, 12.0), (1.4, 10.9), (2.0, 9.9), (2.6, 9.1), (3.2, 8.4), (3.7, 7.7), (4.2, 7.0), (5.0, 6.5), (6.0, 6.0),
    (7.0, 5.1), (7.5, 4.0), (7.0, 2.9), (6.0, 2.0), (5.0, 1.5), (4.2, 1.0), (3.7, 0.4), (3.2, -0.3), (2.6, -1.0),
    (2.0, -1.8), (1.4, -2.8), (0.9, -3.6),
)  # fmt: skip
_LIFT = 0.008  # metres that a strap lies above the cloth


@dataclass(frozen=True)
class _Load:
    """What N people carry: its `kind`, `size` and `side` (1 left, −1 right) [N]; `trunk` and `out` [N,10,16,3]: points
    over all that is worn around the trunk, and unit normals there."""

    kind: Tensor
    size: Tensor
    side: Tensor
    bones: Skeleton
    trunk: Tensor
    out: Tensor

    def grip(self) -> Tensor:
        """[N,3]: where the hand holds."""
        hands = []
        for side in ("left", "right"):
            wrist, hand = self.bones.point(f"{side}_wrist"), self.bones.point(f"{side}_hand")
            hands.append(wrist + 0.6 * (hand - wrist))
        return torch.where(self.side[:, None] > 0, hands[0], hands[1])

    def over(self, way: Sequence[tuple[float, float]]) -> tuple[Tensor, Tensor]:
        """Points and normals [N,K,3] along a way over the left of the trunk."""
        ring, column = torch.tensor(way, device=self.trunk.device).unbind(1)
        low, first = ring.floor().clamp(max=8), column.floor()
        up, on = (ring - low)[:, None], (column - first)[:, None]
        row, left, right = low.long(), first.long() % 16, (first.long() + 1) % 16

        def between(grid: Tensor) -> Tensor:
            below = torch.lerp(grid[:, row, left], grid[:, row, right], on)
            return torch.lerp(below, torch.lerp(grid[:, row + 1, left], grid[:, row + 1, right], on), up)

        out = torch.nn.functional.normalize(between(self.out), dim=-1)
        return between(self.trunk) + _LIFT * out, out

    def over_own(self, way: Sequence[tuple[float, float]]) -> tuple[Tensor, Tensor]:
        """The same, mirrored for those who carry on the right."""
        mirrored = [(ring, 16 - column) for ring, column in way]
        pairs = zip(self.over(way), self.over(mirrored), strict=True)
        first, second = (torch.where(self.side[:, None, None] > 0, left, right) for left, right in pairs)
        return first, second


def carried(people: Sequence[Person], skeleton: Skeleton) -> Mesh:
    """What N `people` carry, in the poses of `skeleton`."""
    load = _load(people, skeleton)
    mesh = join([*_backpack(load), *_shoulder_bag(load), *_handbag(load), *_umbrella(load), *_suitcase(load)])
    return replace(mesh, part=torch.full_like(mesh.part, PART["carried"]))


def _load(people: Sequence[Person], bones: Skeleton) -> _Load:
    who = figure(people, bones.points.device)
    trunk = around_trunk(who, bones, legs_of(bones), _over_all(who)).points[:, len(LOW) - 1 : -1, :-1]
    rows = [(int(p.carried.kind), p.carried.size, 1.0 if p.carried.on_left else -1.0) for p in people]
    kind, size, side = torch.tensor(rows, device=trunk.device).unbind(1)
    return _Load(kind, size, side, bones, trunk, _outward(trunk))


def _over_all(who: Figure) -> Layer:
    """A garment down to the hips as wide as the widest that is worn."""
    inner, outer, worn = top(who), coat(who), who.outer > Outer.NONE
    names = ("ease", "loose", "drape", "flare")
    ease, loose, drape, flare = (torch.where(worn, getattr(outer, name), getattr(inner, name)) for name in names)
    hem = torch.zeros_like(ease)
    return replace(inner, hem=hem, ease=ease, loose=loose, drape=drape, flare=flare, snug=outer.snug)


def _outward(trunk: Tensor) -> Tensor:
    around = trunk.roll(-1, 2) - trunk.roll(1, 2)
    up = torch.cat([trunk[:, 1:], trunk[:, -1:]], 1) - torch.cat([trunk[:, :1], trunk[:, :-1]], 1)
    return torch.nn.functional.normalize(torch.linalg.cross(around, up), dim=-1)


def _ribbon(line: Tensor, out: Tensor, half: float, **about: Any) -> Mesh:
    """A strap along `line` [N,K,3], seen from `out` [N,K,3]."""
    wide, thick = torch.full_like(line[..., 0], half), torch.full_like(line[..., 0], 0.006)
    reach = torch.full_like(wide, torch.pi / 2)
    return tube(line, wide, thick, out, part="carried", segments=3, start=-reach, stop=reach, two_sided=True, **about)


def _backpack(load: _Load) -> list[Mesh]:
    shown = load.kind == Carry.BACKPACK
    left, up, front = load.bones.chest.unbind(2)
    back = (load.trunk[:, 3, 0] + load.trunk[:, 4, 0]) / 2 + 0.015 * front - 0.04 * up
    pack = _placed(bags.pack(back.device), back, torch.stack([-left, up, -front], 2), load.size)
    ways = _PACK_STRAP, [(ring, 16 - column) for ring, column in _PACK_STRAP]
    straps = [_ribbon(*load.over(way), 0.022, slot="bag_trim", shown=shown) for way in ways]
    return [_only(pack, shown), *straps]


def _shoulder_bag(load: _Load) -> list[Mesh]:
    shown = load.kind == Carry.SHOULDER_BAG
    hip, aside = load.over_own([(0.5, 12.9)])
    axes = _upright(aside[:, 0])
    bag = _placed(bags.bag(hip.device), hip[:, 0], axes, load.size)
    line, out = load.over_own(_BAG_STRAP)
    side = axes[..., 0] * load.side[:, None]
    ends = [hip[:, 0] + load.size[:, None] * (s * 0.14 * side + 0.045 * axes[..., 2]) for s in (-1, 1)]
    line = torch.cat([ends[0][:, None], line, ends[1][:, None]], 1)
    out = torch.cat([out[:, :1], out, out[:, -1:]], 1)
    return [_only(bag, shown), _ribbon(line, out, 0.018, slot="bag_trim", shown=shown)]


def _handbag(load: _Load) -> list[Mesh]:
    axes = _upright(load.bones.pelvis[..., 0] * load.side[:, None])
    bag = _placed(bags.handbag(axes.device), load.grip(), axes, load.size)
    return [_only(bag, load.kind == Carry.HANDBAG)]


def _umbrella(load: _Load) -> list[Mesh]:
    shown, hand = load.kind == Carry.UMBRELLA, load.grip()
    crown = load.bones.point("crown")
    over = hand + 0.45 * (crown - hand)
    over = torch.stack([over[:, 0], crown[:, 1] + 0.25, over[:, 2]], 1)
    axis = torch.nn.functional.normalize(over - hand, dim=-1)
    canopy = _placed(bags.canopy(axis.device), over, torch.stack(frame(axis), 2), load.size)
    shaft = torch.stack([hand, over + 0.05 * axis], 1)
    handle = torch.stack([hand - 0.1 * axis, hand + 0.05 * axis], 1)
    return [
        _only(canopy, shown),
        drum(shaft, 0.008, slot="metal", segments=5, shown=shown),
        drum(handle, 0.016, slot="bag_trim", segments=6, shown=shown),
    ]


def _suitcase(load: _Load) -> list[Mesh]:
    shown, hand, size = load.kind == Carry.SUITCASE, load.grip(), load.size
    wheels = torch.stack([hand[:, 0], 0.04 * size, hand[:, 2] - 0.5 - 0.1 * size], 1)
    left = hand.new_tensor([1.0, 0.0, 0.0]).expand_as(hand)
    axis = torch.nn.functional.normalize(hand - wheels, dim=-1)
    axes = torch.stack([-left, axis, torch.linalg.cross(-left, axis)], 2)
    case = _placed(bags.case(axes.device), wheels, axes, size)
    foot = wheels + 0.5 * size[:, None] * axis
    rods = [
        drum(torch.stack([foot + s * left, hand + s * left], 1), 0.008, slot="metal", segments=5, shown=shown)
        for s in (-0.07, 0.07)
    ]
    bar = drum(
        torch.stack([hand - 0.085 * left, hand + 0.085 * left], 1), 0.014, slot="bag_trim", segments=5, shown=shown
    )
    return [_only(case, shown), *rods, bar]


def _placed(model: Mesh, origin: Tensor, axes: Tensor, size: Tensor) -> Mesh:
    """`model` (of one) for N people: its own origin at `origin` [N,3], turned by `axes` [N,3,3] (columns: left, up,
    front), `size` [N] times as large."""
    count = len(origin)

    def turned(vectors: Tensor) -> Tensor:  # written out: the same bits whatever the size of the batch
        x, y, z = (vectors[..., i, None] * axes[:, None, :, i] for i in range(3))
        return x + y + z

    return replace(
        model,
        vertices=origin[:, None] + size[:, None, None] * turned(model.vertices),
        normals=turned(model.normals),
        surface=model.surface.expand(count, -1, -1),
        open=model.open.expand(count, -1),
        shown=model.shown.expand(count, -1),
    )


def _only(mesh: Mesh, shown: Tensor) -> Mesh:
    return replace(mesh, shown=mesh.shown & shown[:, None])


def _upright(front: Tensor) -> Tensor:
    """Axes [N,3,3] (columns: left, up, front) with the vertical, and what is level of `front` [N,3]."""
    up = front.new_tensor([0.0, 1.0, 0.0]).expand_as(front)
    ahead = torch.nn.functional.normalize(front * front.new_tensor([1.0, 0.0, 1.0]), dim=-1)
    return torch.stack([torch.linalg.cross(up, ahead), up, ahead], 2)
