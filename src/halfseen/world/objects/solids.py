"""Things with straight edges and round ones: panels, boxes, bars, and what a lathe turns; N of each at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from halfseen.world.shapes import PART, SLOT, Mesh, loft

Number: TypeAlias = Tensor | float  # for all of a batch, or [N] for each of it
Row: TypeAlias = tuple[Number, Number, Number]
Pairs: TypeAlias = Sequence[tuple[Row, Row]]  # two points each
Profile: TypeAlias = Sequence[tuple[Number, Number]]  # shares of an axis, and metres from it

# The six sides of a box, as (outwards, to the right, up) where its axes are left, up and front.
_SIDES = (
    ((0, 0, 1), (1, 0, 0), (0, 1, 0)),
    ((0, 0, -1), (-1, 0, 0), (0, 1, 0)),
    ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    ((-1, 0, 0), (0, 0, 1), (0, 1, 0)),
    ((0, 1, 0), (1, 0, 0), (0, 0, -1)),
    ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
)


def between(share: Tensor, low: Number, high: Number) -> Tensor:
    """`low` at 0, `high` at 1."""
    return low + (high - low) * share


def spots(like: Tensor, *rows: Row) -> Tensor:
    """Points [N,K,3] from K rows (x, y, z); `like` [N] says how many and where."""
    zero = torch.zeros_like(like)
    return torch.stack([torch.stack([zero + number for number in row], -1) for row in rows], 1)


def spread(mesh: Mesh, rows: Tensor, count: int) -> Mesh:
    """`mesh` in the `rows` int64 of `count`; in the others nothing of it is shown."""

    def wide(values: Tensor) -> Tensor:
        return values.new_zeros(count, *values.shape[1:]).index_copy(0, rows, values)

    batched = ("vertices", "normals", "surface", "open", "shown")
    return replace(mesh, **{name: wide(getattr(mesh, name)) for name in batched})


def panels(
    corners: Tensor,
    *,
    slot: str,
    part: str = "background",
    shown: Tensor | None = None,
    open: Number = 1.0,
    two_sided: bool = False,
) -> Mesh:
    """Flat faces with four `corners` [N,Q,4,3]: bottom left, bottom right, top right, top left as seen from outside.

    Surface: metres from the middle and from the top. `open` is a number or [N,Q].
    """
    count, quads = corners.shape[:2]
    first, second, third, fourth = corners.unbind(2)
    normal = torch.nn.functional.normalize(torch.linalg.cross(third - first, fourth - second), dim=-1)
    half, height = (second - first).norm(dim=-1) / 2, (fourth - first).norm(dim=-1)
    nothing, front = torch.zeros_like(half), normal[..., 2]
    across = torch.stack([-half, half, half, -half], -1)
    along = torch.stack([height, height, nothing, nothing], -1)
    sky = nothing + open
    start = 4 * torch.arange(quads, device=corners.device)[:, None, None]
    faces = (start + torch.tensor([[0, 1, 2], [0, 2, 3]], device=corners.device)).flatten(0, 1)
    seen = torch.ones(count, dtype=torch.bool, device=corners.device) if shown is None else shown
    return Mesh(
        vertices=corners.flatten(1, 2),
        normals=normal[:, :, None].expand(-1, -1, 4, -1).flatten(1, 2),
        surface=torch.stack([across, along, front[..., None].expand_as(across)], -1).flatten(1, 2),
        open=sky[..., None].expand_as(across).flatten(1, 2),
        faces=faces,
        slot=torch.full_like(faces[:, 0], SLOT[slot]),
        part=torch.full_like(faces[:, 0], PART[part]),
        two_sided=torch.full_like(faces[:, 0], two_sided, dtype=torch.bool),
        shown=seen[:, None].expand(count, len(faces)),
    )


def boxes(centre: Tensor, half: Tensor, axes: Tensor | None = None, *, sides: int = 6, **about: Any) -> Mesh:
    """Boxes about `centre` [N,B,3], reaching `half` [N,B,3] along `axes` [N,B|1,3,3] (columns: left, up, front).

    With four `sides` they are open above and below, with one there is only the front. `about` goes to `panels`.
    """
    out, right, up = torch.tensor(_SIDES[:sides], dtype=centre.dtype, device=centre.device).unbind(1)
    signs = torch.stack([out - right - up, out + right - up, out + right + up, out - right + up], 1)  # [sides,4,3]
    reach = signs * half[..., None, None, :]  # [N,B,sides,4,3]
    if axes is not None:  # written out: the same bits whatever the size of the batch
        reach = (
            reach[..., 0, None] * axes[:, :, None, None, :, 0]
            + reach[..., 1, None] * axes[:, :, None, None, :, 1]
            + reach[..., 2, None] * axes[:, :, None, None, :, 2]
        )
    return panels((centre[:, :, None, None] + reach).flatten(1, 2), **about)


def blocks(like: Tensor, rows: Pairs, **about: Any) -> Mesh:
    """Upright boxes from rows of (middle, half of the size); `like` [N], `about` goes to `panels`."""
    return boxes(spots(like, *(middle for middle, _ in rows)), spots(like, *(half for _, half in rows)), **about)


def bars(like: Tensor, thick: float, ends: Pairs, **about: Any) -> Mesh:
    """Square rods of half-width `thick` between pairs of points; `like` [N], `about` goes to `panels`."""
    start, stop = (spots(like, *(pair[i] for pair in ends)) for i in (0, 1))
    length = (stop - start).norm(dim=-1)
    half = torch.stack([torch.full_like(length, thick), length / 2, torch.full_like(length, thick)], -1)
    return boxes((start + stop) / 2, half, torch.stack(frame(stop - start), -1), sides=4, **about)


def lathe(ends: Tensor, profile: Profile, *, part: str = "background", **about: Any) -> Mesh:
    """What is round about the axis between two `ends` [N,2,3]; `about` goes to `loft`.

    Edges of the `profile` are soft; a row that occurs twice is a sharp one.
    """
    start, axis = ends[:, :1], ends[:, 1:] - ends[:, :1]
    share, radius = (torch.stack([torch.zeros_like(ends[:, 0, 0]) + row[i] for row in profile], 1) for i in (0, 1))
    left, _, front = frame(axis)
    line = start + share[..., None] * axis
    return loft(line, left * radius[..., None], front * radius[..., None], part=part, **about)


def drum(ends: Tensor, radius: Number, **about: Any) -> Mesh:
    """A cylinder between its `ends` [N,2,3]; `about` goes to `loft`."""
    return lathe(ends, [(0, 0), (0, radius), (1, radius), (1, 0)], **about)


def rounded(
    place: Tensor,
    axes: Tensor | None = None,
    *,
    bevel: float = 0.15,
    square: float = 5.0,
    part: str = "background",
    **about: Any,
) -> Mesh:
    """A box with round edges, its middle and half its size in `place` [N,2,3], along `axes` [N,3,3] (columns: left, up,
    front); the share `bevel` of it is round. `about` goes to `loft`."""
    axes = torch.eye(3, device=place.device).expand(len(place), 3, 3) if axes is None else axes
    centre, half = place[:, :1], place[:, 1:]
    left, up, front = (half[..., i, None] * axes[:, None, :, i] for i in range(3))
    height = place.new_tensor([1, 1, 1 - bevel, bevel - 1, -1, -1])[:, None]
    width = place.new_tensor([0, 1 - bevel, 1, 1, 1 - bevel, 0])[:, None]
    return loft(centre + height * up, width * left, width * front, square=square, part=part, **about)


def hoop(centre: Tensor, radius: Number, thick: float, *, rings: int = 16, **about: Any) -> Mesh:
    """A ring about `centre` [N,3], upright and facing front (a tyre); `about` goes to `loft`."""
    angle = torch.arange(rings + 1, device=centre.device) * (2 * torch.pi / rings)
    out = torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle)], -1)[None]
    size = torch.zeros_like(centre[:, 0]) + radius
    line = centre[:, None] + size[:, None, None] * out
    ahead = torch.zeros_like(line)
    ahead[..., 2] = thick
    return loft(line, (thick * out).expand_as(line), ahead, part="background", segments=3, **about)


def frame(along: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Unit vectors [...,3]: across, along and across `along` [...,3]; the last as near to z as can be (or to x)."""
    up = torch.nn.functional.normalize(along, dim=-1)
    level = (up[..., 2:].abs() > 0.9).to(up.dtype)
    ahead = torch.cat([-level, torch.zeros_like(level), 1 - level], -1)
    left = torch.nn.functional.normalize(torch.linalg.cross(up, ahead), dim=-1)
    return left, up, torch.linalg.cross(left, up)
