"""Surfaces: meshes in many versions at once, made by sweeping an outline along a line.

A mesh is a batch: the same triangles for each of N images, with vertices that differ. What an image does not show
(another hair style, another garment) is there too, only not `shown`, so that one batch draws people of all kinds.

Everything is in metres. A person stands at the origin, y is up, z is where the person faces, x is the person's left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from halfseen.ops.groupings import GROUPINGS

# The labels of part maps: 0 is background or an occluder, then BPBreID's eight parts, then what the person carries.
PARTS = ("background", *(name for name, _ in GROUPINGS["eight"]), "carried")
PART = {name: label for label, name in enumerate(PARTS)}

# What a face of a mesh is made of; for each slot an image has one material.
SLOTS = (
    "skin", "face", "hair", "hat", "top", "sleeve", "outer", "outer_sleeve", "bottom", "shoe", "sole",
    "bag", "bag_trim", "umbrella", "metal", "thing", "thing_trim", "thing_dark",
)  # fmt: skip
SLOT = {name: number for number, name in enumerate(SLOTS)}


@dataclass(frozen=True)
class Mesh:
    """The same triangles in N versions.

    `vertices` [N,V,3] in metres, `normals` [N,V,3] of length 1 pointing outwards, `surface` [N,V,3]: metres around
    from the middle of the front (left is positive), metres along, and how far to the front (1) or back (-1) it lies;
    `open` [N,V] 0..1: how much of the sky a vertex sees (creases and armpits see little). `faces` int64 [F,3];
    `slot` and `part` int64 [F]: material and label; `two_sided` bool [F]: seen from within too;
    `shown` bool [N,F].
    """

    vertices: Tensor
    normals: Tensor
    surface: Tensor
    open: Tensor
    faces: Tensor
    slot: Tensor
    part: Tensor
    two_sided: Tensor
    shown: Tensor

    def __len__(self) -> int:
        return self.vertices.shape[0]


def used(faces: Tensor, shown: Tensor, count: int) -> Tensor:
    """bool [N,V]: those of `count` vertices that belong to a shown face; `faces` [F,3], `shown` bool [N,F]."""
    times = torch.zeros(len(shown), count, dtype=torch.int32, device=shown.device)
    for corner in faces.unbind(1):
        times.index_add_(1, corner, shown.int())
    return times > 0


def join(meshes: Sequence[Mesh]) -> Mesh:
    """All of `meshes` as one."""
    offsets = [0]
    for mesh in meshes:
        offsets.append(offsets[-1] + mesh.vertices.shape[1])
    return Mesh(
        vertices=torch.cat([m.vertices for m in meshes], dim=1),
        normals=torch.cat([m.normals for m in meshes], dim=1),
        surface=torch.cat([m.surface for m in meshes], dim=1),
        open=torch.cat([m.open for m in meshes], dim=1),
        faces=torch.cat([m.faces + offset for m, offset in zip(meshes, offsets[:-1], strict=True)]),
        slot=torch.cat([m.slot for m in meshes]),
        part=torch.cat([m.part for m in meshes]),
        two_sided=torch.cat([m.two_sided for m in meshes]),
        shown=torch.cat([m.shown for m in meshes], dim=1),
    )


def turned(mesh: Mesh, yaw: Tensor, at: Tensor) -> Mesh:
    """`mesh` turned about the vertical by `yaw` [N] (to its own left) and set down at `at` [N,3]."""
    turn = about_y(yaw).transpose(1, 2)
    return Mesh(
        **vars(mesh) | {"vertices": mesh.vertices @ turn + at[:, None], "normals": mesh.normals @ turn},
    )


def about_y(angle: Tensor) -> Tensor:
    """Rotations [N,3,3] about the vertical by `angle` [N]; a quarter turn takes z (front) to x (left)."""
    exact = angle.double()  # chips compute the last few of many sines otherwise than the rest; rounded, all agree
    sin, cos = exact.sin().to(angle), exact.cos().to(angle)
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    rows = [cos, zero, sin, zero, one, zero, -sin, zero, cos]
    return torch.stack(rows, dim=-1).reshape(-1, 3, 3)


def loft(  # noqa: PLR0913  (keyword-only: what a surface has)
    centre: Tensor,
    side: Tensor,
    front: Tensor,
    *,
    slot: str,
    part: str,
    segments: int = 12,
    shown: Tensor | None = None,
    square: float = 2.0,
    start: Tensor | None = None,
    stop: Tensor | None = None,
    along: Tensor | None = None,
    open: Tensor | float = 1.0,
    two_sided: bool = False,
) -> Mesh:
    """Sweep an ellipse: ring r lies at `centre` [N,R,3], reaching `side` [N,R,3] to the left, `front` [N,R,3] ahead.

    A point at angle a from the front (positive to the left) is centre + sin(a)·side + cos(a)·front; `square` 2 is an
    ellipse, 4 or more a rounded box. `start` and `stop` [N,R] leave a gap (default: all around, −π to π). `along` [N,R]
    overrides the metres along, `open` is a number or [N,R]; `shown` bool [N] (default: all). A ring of no size closes
    an end.
    """
    angle = _angles(centre, segments, start, stop)
    sin, cos = (_squared(part, square) for part in (angle.sin(), angle.cos()))
    radial = sin[..., None] * side[:, :, None] + cos[..., None] * front[:, :, None]
    points = centre[:, :, None] + radial
    closed = start is None and stop is None
    radius = 0.5 * (side.norm(dim=-1) + front.norm(dim=-1))
    typical = radius.sum(1, keepdim=True) / (radius > 1e-4).sum(1, keepdim=True).clamp(min=1)
    if along is None:
        steps = (centre[:, 1:] - centre[:, :-1]).norm(dim=-1)
        along = torch.nn.functional.pad(steps.cumsum(1), (1, 0))
    surface = torch.stack([angle * typical[..., None], along[..., None].expand_as(angle), angle.cos()], dim=-1)
    count, rings = centre.shape[:2]
    faces = _grid_faces(rings, segments + 1).to(centre.device)
    sky = open[..., None].expand_as(angle) if isinstance(open, Tensor) else torch.full_like(angle, open)
    seen = torch.ones(count, dtype=torch.bool, device=centre.device) if shown is None else shown
    return Mesh(
        vertices=points.flatten(1, 2),
        normals=_grid_normals(points, radial, closed=closed).flatten(1, 2),
        surface=surface.flatten(1, 2),
        open=sky.flatten(1, 2),
        faces=faces,
        slot=torch.full_like(faces[:, 0], SLOT[slot]),
        part=torch.full_like(faces[:, 0], PART[part]),
        two_sided=torch.full_like(faces[:, 0], two_sided, dtype=torch.bool),
        shown=seen[:, None].expand(count, len(faces)),
    )


def _angles(centre: Tensor, segments: int, start: Tensor | None, stop: Tensor | None) -> Tensor:
    """[N,R,segments + 1] from `start` to `stop` [N,R]; all around where they are None."""
    first = torch.full_like(centre[..., 0], -math.pi) if start is None else start
    last = torch.full_like(centre[..., 0], math.pi) if stop is None else stop
    return first[..., None] + (last - first)[..., None] * torch.arange(segments + 1, device=centre.device) / segments


def axes_along(line: Tensor, front: Tensor) -> tuple[Tensor, Tensor]:
    """Unit `side` and `front` [N,R,3] across the `line` [N,R,3], the latter as near to `front` [N,1|R,3] as can be.

    Where a line goes down, its side is the body's left; where it goes up, the right.
    """
    steps = line[:, 1:] - line[:, :-1]
    steps = steps / steps.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    before, after = torch.cat([steps[:, :1], steps], 1), torch.cat([steps, steps[:, -1:]], 1)
    tangent = torch.nn.functional.normalize(before + after, dim=-1)
    ahead = front - (front * tangent).sum(-1, keepdim=True) * tangent
    ahead = torch.nn.functional.normalize(ahead, dim=-1)
    return torch.linalg.cross(ahead, tangent), ahead


def tube(line: Tensor, side: Tensor, front: Tensor, ahead: Tensor, **about: object) -> Mesh:
    """A limb: a loft along `line` [N,R,3] with half-widths `side`, `front` [N,R]; `ahead` [N,1|R,3] is its front.

    For lines that go down (an arm, a leg), left and right are the body's. `about` goes to `loft`.
    """
    left, forward = axes_along(line, ahead)
    return loft(line, left * side[..., None], forward * front[..., None], **about)  # type: ignore[arg-type]


def _squared(share: Tensor, power: float) -> Tensor:
    return share if power == 2 else share.sign() * share.abs().pow(2 / power)


def _grid_faces(rows: int, columns: int) -> Tensor:
    corner = (torch.arange(rows - 1)[:, None] * columns + torch.arange(columns - 1)).flatten()
    right, below, across = corner + 1, corner + columns, corner + columns + 1
    return torch.cat([torch.stack([corner, right, below], 1), torch.stack([right, across, below], 1)])


def _grid_normals(points: Tensor, radial: Tensor, *, closed: bool) -> Tensor:
    """Unit normals [N,R,A,3] of a grid of points, on the side of `radial`; a closed grid's last column is its first."""
    around = torch.cat([points[:, :, 1:], points[:, :, 1:2] if closed else points[:, :, -1:]], 2) - torch.cat(
        [points[:, :, -2:-1] if closed else points[:, :, :1], points[:, :, :-1]], 2
    )
    down = torch.cat([points[:, 1:], points[:, -1:]], 1) - torch.cat([points[:, :1], points[:, :-1]], 1)
    normal = torch.linalg.cross(around, down)
    length = normal.norm(dim=-1, keepdim=True)
    middle = points.mean((1, 2), keepdim=True)
    normal = torch.where(length > 1e-9, normal / length.clamp(min=1e-9), points - middle)  # a closed end
    outward = torch.where(radial.norm(dim=-1, keepdim=True) > 1e-6, radial, points - middle)
    normal = torch.where((normal * outward).sum(-1, keepdim=True) < 0, -normal, normal)
    return torch.nn.functional.normalize(normal, dim=-1)
