"""What grows: bushes, hedges and trees, their leaves one by one on the side that is seen."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from halfseen.world.objects.solids import Pairs, Profile, between, blocks, lathe, panels, spots
from halfseen.world.shapes import Mesh

_BUSH_LEAVES, _TREE_LEAVES, _CLUMPS = 410, 392, 7


def bush(style: Tensor) -> list[Mesh]:
    """Round bushes and trimmed hedges by `style` [N,8], of leaves over a dark core."""
    hedge = style[:, 0] > 0.5
    half = torch.stack(
        [
            torch.where(hedge, between(style[:, 1], 0.7, 1.1), between(style[:, 1], 0.55, 0.9)),
            between(style[:, 2], 0.45, 0.75),
            between(style[:, 3], 0.35, 0.5),
        ],
        1,
    )
    way, dice = _ways(_BUSH_LEAVES, style)
    depth = between(dice[..., 0], 0.9, 1.06)
    out = way * depth[..., None] * _reach(way, hedge, style)[..., None]
    at = (out + way.new_tensor([0.0, 1.0, 0.0])) * half[:, None]
    sky = (0.3 + 0.35 * (depth - 0.9) / 0.16 + 0.35 * at[..., 1] / (2 * half[:, None, 1])).clamp(max=1)
    at = torch.stack([at[..., 0], at[..., 1].clamp(min=0.04), at[..., 2]], -1)
    leaves = _leaves(at, way, dice, size=between(style[:, 4], 0.05, 0.075) + 0.022 * hedge, round=style[:, 5], sky=sky)
    return [_on_the_floor(leaves), *_cores(half, hedge)]


def _cores(half: Tensor, hedge: Tensor) -> list[Mesh]:
    """What shows between the leaves of bushes that reach `half` [N,3]: leaves in the shade."""
    wide, high, deep = half.unbind(1)
    stem = spots(wide, (0, 0, 0), (0, 1.85 * high, 0))
    egg: Profile = [(0, 0.6 * wide), (0.3, 0.94 * wide), (0.65, 0.88 * wide), (0.9, 0.5 * wide), (1, 0)]
    ball = lathe(stem, egg, slot="thing", segments=8, open=0.25, shown=~hedge)
    flat = ball.vertices * spots(wide, (1, 1, deep / wide))
    block: Pairs = [((0, 0.88 * high, 0), (0.88 * wide, 0.88 * high, 0.84 * deep))]
    cube = blocks(wide, block, slot="thing", open=0.35, shown=hedge)
    return [replace(ball, vertices=flat), cube]


def tree(style: Tensor) -> list[Mesh]:
    """Trees by `style` [N,8]: a trunk that leans a little, and the lower clumps of the foliage."""
    radius = between(style[:, 0], 0.09, 0.2)
    low = between(style[:, 1], 1.15, 2.1)  # where the foliage ends below
    lean = 0.5 * (style[:, 2] - 0.5)
    points = spots(radius, (0, 0, 0), (lean * 0.6, 2.0, 0), (lean, 3.4, -0.1))
    stem: Profile = [(0, 1.6 * radius), (0.05, 1.15 * radius), (0.3, radius), (1, 0.85 * radius)]
    top: Profile = [(0, 0.85 * radius), (0.5, 0.5 * radius), (1, 0.3 * radius)]
    middles, sizes = _clumps(style, low, lean)
    fork = torch.lerp(points[:, 0], points[:, 1], between(style[:, 3], 0.6, 0.85)[:, None])
    limb: Profile = [(0, 0.4 * radius), (1, 0.12 * radius)]
    wood = [
        lathe(points[:, :2], stem, slot="thing_trim", segments=10, open=0.8),
        lathe(points[:, 1:], top, slot="thing_trim", segments=6, open=0.6),
        *(
            lathe(torch.stack([fork, middles[:, i]], 1), limb, slot="thing_trim", segments=5, open=0.7)
            for i in range(3)
        ),
    ]
    way, dice = _ways(_TREE_LEAVES, style)
    clump = torch.arange(_TREE_LEAVES, device=style.device) % _CLUMPS
    depth = dice[..., 0].sqrt()
    at = middles[:, clump] + way * (depth * sizes[:, clump])[..., None] * way.new_tensor([1.15, 0.8, 0.8])
    sky = (0.25 + 0.45 * depth + 0.3 * way[..., 1]).clamp(0.15, 1)
    leaves = _leaves(at, way, dice, size=between(style[:, 4], 0.075, 0.11), round=style[:, 5], sky=sky)
    return [leaves, *(_on_the_floor(piece) for piece in wood)]


def _on_the_floor(mesh: Mesh) -> Mesh:
    """`mesh` without what is below the floor."""
    x, y, z = mesh.vertices.unbind(-1)
    return replace(mesh, vertices=torch.stack([x, y.clamp(min=0), z], -1))


def _clumps(style: Tensor, low: Tensor, lean: Tensor) -> tuple[Tensor, Tensor]:
    """Middles [N,7,3] and radii [N,7] of clumps of leaves that hang down to `low` [N] metres."""
    dice = torch.rand(_CLUMPS, 4, generator=torch.Generator().manual_seed(7)).to(style.device)
    dice = _shifted(dice, style[:, 6])
    size = between(dice[..., 3], 0.3, 0.5)
    column = (torch.arange(_CLUMPS, device=style.device) % 3 - 1) * 0.55
    row = torch.arange(_CLUMPS, device=style.device) // 3 * 0.55
    x = column + 0.5 * (dice[..., 0] - 0.5) + lean[:, None]
    y = low[:, None] + 0.8 * size + row + 0.3 * dice[..., 1]
    return torch.stack([x, y, 0.5 * dice[..., 2] - 0.15], -1), size


def _ways(count: int, style: Tensor) -> tuple[Tensor, Tensor]:
    """Directions [N,count,3] to the front, the sides and above, and five numbers 0..1 for each leaf [N,count,5]."""
    dice = torch.rand(count, 8, generator=torch.Generator().manual_seed(count)).to(style.device)
    dice = _shifted(dice, style[:, 7])
    height, turn = 2 * dice[..., 5] - 1, (2 * dice[..., 6] - 1) * 1.85
    level = (1 - height.square()).clamp(min=0).sqrt()
    return torch.stack([turn.sin() * level, height, turn.cos() * level], -1), dice


def _shifted(dice: Tensor, by: Tensor) -> Tensor:
    """`dice` [K,D] moved on by `by` [N], each column at its own pace, so that no two images have the same [N,K,D]."""
    pace = 1 + torch.arange(dice.shape[1], device=dice.device) * 0.618
    moved = dice + by[:, None, None] * pace
    return moved - moved.floor()


def _reach(way: Tensor, hedge: Tensor, style: Tensor) -> Tensor:
    """How far [N,K] the surface lies in a direction [N,K,3], in half-sizes: a ball or nearly a box, with lumps."""
    square = way.abs().square()
    box = square.square().square().sum(-1).clamp(min=1e-6).sqrt().sqrt().sqrt().reciprocal()
    phase = 6.3 * style[:, 6, None]
    lumps = (
        (5 * way[..., 0] + phase).sin()
        + (4 * way[..., 1] + 2 * phase).sin()
        + (7 * way[..., 0] - 3 * way[..., 1]).sin()
    )
    return torch.where(hedge[:, None], box * (1 + 0.015 * lumps), 1 + 0.045 * lumps)


def _leaves(at: Tensor, out: Tensor, dice: Tensor, *, size: Tensor, round: Tensor, sky: Tensor) -> Mesh:
    """Leaves at `at` [N,K,3] that look more or less `out` [N,K,3]; `dice` [N,K,8]; `size` (half a length in metres) and
    `round` 0..1 [N], `sky` [N,K] how much of the sky they see."""
    wild = 2 * dice[..., 1:4] - 1
    normal = torch.nn.functional.normalize(out + 0.9 * wild, dim=-1)
    along = torch.stack([wild[..., 1], wild[..., 2] - 0.3, wild[..., 0]], -1)
    along = torch.nn.functional.normalize(torch.linalg.cross(normal, along), dim=-1)
    across = torch.linalg.cross(normal, along)
    half = size[:, None, None] * (0.7 + 0.6 * dice[..., 4:5])
    tip, side = along * half, across * half * between(round, 0.4, 0.75)[:, None, None]
    corners = torch.stack([at - tip, at + side - 0.15 * tip, at + tip, at - side - 0.15 * tip], 2)
    mesh = panels(corners, slot="thing", two_sided=True, open=sky)
    # light falls on a leaf as on the surface of the whole plant; its colours are its own
    lit = torch.nn.functional.normalize(normal + 1.6 * out, dim=-1)
    own = 4 * dice[..., 6:8].repeat_interleave(4, 1) + mesh.surface[..., :2]
    return replace(
        mesh,
        normals=lit.repeat_interleave(4, 1),
        surface=torch.cat([own, mesh.surface[..., 2:]], -1),
    )
