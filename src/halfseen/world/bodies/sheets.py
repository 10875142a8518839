"""Sheets: grids of points that are sewn together into one mesh in a few operations, however many there are.

`shapes.loft` is for single things; a body has some fifty pieces, and what many pieces share (faces, neighbours, labels)
depends on nothing but their cut, so it is worked out once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from halfseen.world.shapes import PART, SLOT, Mesh


@dataclass(frozen=True)
class Cut:
    """What is alike in every version of a piece, which is of one slot and part.

    Seen from outside, with the rings one above the other and the first at the bottom, the columns run to the right;
    `flip` says that they run to the left. `closed`: the last column is the first again. `gap`: no faces in the middle
    strip of columns. `poles`: whether the first and the last ring are single points. The first `legs` strips between
    rings belong to the leg of their side (columns of the first half: the right one), whatever `part` says.
    """

    slot: str
    part: str
    closed: bool = True
    gap: bool = False
    flip: bool = False
    poles: tuple[bool, bool] = (False, False)
    legs: int = 0
    two_sided: bool = False


@dataclass(frozen=True)
class Sheet:
    """N versions of a piece.

    `points` [N,R,C,3] in metres: R rings of C columns; `around`, `along`, `front` and `open` as in `Mesh`, each [N,R,C]
    or what broadcasts to that; `shown` bool [N].
    """

    points: Tensor
    around: Tensor
    along: Tensor
    front: Tensor
    open: Tensor
    shown: Tensor
    cut: Cut


def sew(sheets: Sequence[Sheet]) -> Mesh:
    """All of `sheets` as one mesh."""
    grids = tuple((sheet.cut, *sheet.points.shape[1:3]) for sheet in sheets)
    pattern = _pattern(grids, sheets[0].points.device)
    vertices = torch.cat([sheet.points.flatten(1, 2) for sheet in sheets], 1)

    def spread(name: str) -> Tensor:
        values = [getattr(s, name).expand(s.points.shape[:3]).flatten(1) for s in sheets]
        return torch.cat(values, 1)

    return Mesh(
        vertices=vertices,
        normals=_normals(vertices, pattern.beside),
        surface=torch.stack([spread("around"), spread("along"), spread("front")], -1),
        open=spread("open"),
        faces=pattern.faces,
        slot=pattern.slot,
        part=pattern.part,
        two_sided=pattern.two_sided,
        shown=torch.stack([sheet.shown for sheet in sheets], 1)[:, pattern.piece],
    )


@dataclass(frozen=True)
class _Pattern:
    """What `Mesh` says of faces; `piece` [F]: the sheet of each; `beside` [4,V]: the neighbours of each vertex, chosen
    such that (second − first) × (fourth − third) points outwards."""

    faces: Tensor
    slot: Tensor
    part: Tensor
    two_sided: Tensor
    piece: Tensor
    beside: Tensor


@cache
def _pattern(grids: tuple[tuple[Cut, int, int], ...], device: torch.device) -> _Pattern:
    faces, parts, beside, offset = [], [], [], 0
    for cut, rings, columns in grids:
        corners, strip = _faces(cut, rings, columns)
        faces.append(corners + offset)
        parts.append(_parts(cut, corners, strip, columns))
        beside.append(_beside(cut, rings, columns) + offset)
        offset += rings * columns
    piece = torch.cat([torch.full((len(f),), number) for number, f in enumerate(faces)])
    slot = torch.tensor([SLOT[cut.slot] for cut, _, _ in grids])[piece]
    two_sided = torch.tensor([cut.two_sided for cut, _, _ in grids])[piece]
    whole = (torch.cat(faces), slot, torch.cat(parts), two_sided, piece, torch.cat(beside, 1))
    return _Pattern(*(tensor.to(device) for tensor in whole))


def _faces(cut: Cut, rings: int, columns: int) -> tuple[Tensor, Tensor]:
    """The triangles [F,3] of a grid, counterclockwise from outside, and the strip of columns [F] of each."""
    ring, strip = (
        grid.flatten() for grid in torch.meshgrid(torch.arange(rings - 1), torch.arange(columns - 1), indexing="ij")
    )
    if cut.gap:
        kept = strip != columns // 2 - 1
        ring, strip = ring[kept], strip[kept]
    corner = ring * columns + strip
    right, above, across = corner + 1, corner + columns, corner + columns + 1
    # at a pole one triangle of each square has no size
    low, high = (ring > 0) | (not cut.poles[0]), (ring < rings - 2) | (not cut.poles[1])
    faces = torch.cat([torch.stack([corner, right, above], 1)[low], torch.stack([right, across, above], 1)[high]])
    return (faces.flip(1) if cut.flip else faces), torch.cat([strip[low], strip[high]])


def _parts(cut: Cut, faces: Tensor, strip: Tensor, columns: int) -> Tensor:
    """int64 [F]"""
    on_leg = faces.amax(1) // columns <= cut.legs if cut.legs else torch.zeros_like(strip, dtype=torch.bool)
    leg = torch.where(strip < columns // 2, PART["right_leg"], PART["left_leg"])
    return torch.where(on_leg, leg, PART[cut.part])


def _beside(cut: Cut, rings: int, columns: int) -> Tensor:
    """[4, rings × columns]: the neighbours to the left, to the right, below and above; at poles, four around."""
    ring, column = torch.meshgrid(torch.arange(rings), torch.arange(columns), indexing="ij")
    last, turn = rings - 1, columns - 1  # if closed, column `turn` is column 0 again
    left, right = (column - 1) % turn, (column + 1) % turn
    if not cut.closed:
        left, right = (column - 1).clamp(min=0), (column + 1).clamp(max=turn)
    if cut.gap:
        left = torch.where(column == columns // 2, column, left)
        right = torch.where(column == columns // 2 - 1, column, right)
    rows = [ring, ring, (ring - 1).clamp(min=0), (ring + 1).clamp(max=last)]
    across = [left, right, column, column]
    quarter = turn // 4
    for pole, end, near, sign in zip(cut.poles, (0, last), (1, last - 1), (-1, 1), strict=True):
        if pole:
            here = ring == end
            around = (column + sign * quarter, column - sign * quarter, column + 2 * quarter, column)
            rows = [torch.where(here, near, row) for row in rows]
            across = [torch.where(here, new % turn, old) for new, old in zip(around, across, strict=True)]
    index = torch.stack([row * columns + where for row, where in zip(rows, across, strict=True)]).flatten(1)
    return index[[1, 0, 2, 3]] if cut.flip else index


def _normals(vertices: Tensor, beside: Tensor) -> Tensor:
    """Unit normals [N,V,3] from the neighbours of each vertex."""
    points = vertices.transpose(0, 1).contiguous()  # of all images together: quicker to pick from
    left, right, below, above = (points.index_select(0, index) for index in beside)
    normal = torch.linalg.cross(right - left, above - below)
    normal[..., 1] += 1e-12  # where a piece has no size, any direction
    x, y, z = normal.unbind(-1)
    length = (x * x + y * y + z * z).sqrt().clamp(min=1e-30)[..., None]
    return torch.transpose(normal / length, 0, 1).contiguous()
