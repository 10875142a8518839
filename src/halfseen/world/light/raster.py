"""Which triangle each pixel sees: a batched rasteriser made for the small triangles of bodies.

A triangle is cut into rows of pixels, and a row, whose ends are computed, into the pixels that it covers; so almost no
work is done where nothing is. Two triangles that share an edge compute where it crosses a row from the same numbers in
the same order: they leave no crack. All is elementwise, so that an image never depends on its batch.

Screens are x and y in pixels, whose middles are at whole numbers, and metres ahead (`views.project`). A parallel view
is handed in with 1/h as its depth, h > 0 being the height towards the viewer: 1/depth is linear on a screen, and h is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from halfseen.world.shapes import Mesh

NEAR = 0.05  # metres; a triangle that comes nearer is not drawn
SLACK = 1 / 1024  # of a pixel by which all triangles are larger, so that rounding opens no crack
CHUNK = 1 << 21  # pixels of bounding boxes that are looked at together: some 100 MB
LOW = (1 << 32) - 1


@dataclass(frozen=True)
class Hits:
    """The M pixels of N images of H × W on which something is seen; `shape` is (N, H, W).

    `pixel` int64 [M], ascending, of N·H·W; `face` int64 [M]; `weights` [M,3] of its corners, in space, not on the
    screen; `depth` [M] in metres.
    """

    pixel: Tensor
    face: Tensor
    weights: Tensor
    depth: Tensor
    shape: tuple[int, int, int]

    @property
    def image(self) -> Tensor:
        """int64 [M]"""
        return self.pixel // (self.shape[1] * self.shape[2])

    def take(self, rows: Tensor) -> Hits:
        """Only those in `rows` int64."""
        weights = self.weights.t().index_select(1, rows).t()
        pixel, face, depth = (values.index_select(0, rows) for values in (self.pixel, self.face, self.depth))
        return Hits(pixel, face, weights, depth, self.shape)


@dataclass(frozen=True)
class _Triangles:
    """T triangles that may be seen, by image and face; `x`, `y`, `inverse` (1/depth) [3,T]."""

    image: Tensor
    face: Tensor
    x: Tensor
    y: Tensor
    inverse: Tensor


@dataclass(frozen=True)
class _Rows:
    """R rows of triangles: `of` which one, on `line` image·H + y, from column `first` to `last` (all int64 [R]);
    1/depth is `inverse` at the first column and grows by `step` with each."""

    of: Tensor
    line: Tensor
    first: Tensor
    last: Tensor
    inverse: Tensor
    step: Tensor


def facing(mesh: Mesh, eye: Tensor) -> Tensor:
    """bool [N,F]: the shown faces that can be seen from `eye` [N,3], as one of their normals at least looks there."""
    away = eye[:, None] - mesh.vertices
    across = sum(away[..., i] * mesh.normals[..., i] for i in range(3))
    looks = torch.as_tensor(across) > 0
    first, second, third = (looks.index_select(1, corner) for corner in mesh.faces.unbind(1))
    return mesh.shown & (mesh.two_sided | first | second | third)


def rasterise(screen: Tensor, faces: Tensor, keep: Tensor, size: tuple[int, int]) -> Hits:
    """What `size` (height, width) pixels see of the `faces` int64 [F,3] that are kept (bool [N,F]) of `screen` [N,V,3].

    A pixel is covered where its middle is in or on a triangle. The nearest is seen; of equals, the lowest face.
    """
    triangles = _gather(screen, faces, keep, size)
    keys = _nearest(triangles, len(screen), size)
    pixel = keys.nonzero().flatten()
    key = keys.index_select(0, pixel)
    of = key & LOW
    return Hits(
        pixel=pixel,
        face=triangles.face.index_select(0, of),
        weights=_weights(triangles, of, pixel, size),
        depth=1 / _inverse(key),
        shape=(len(screen), *size),
    )


def depths(screen: Tensor, faces: Tensor, keep: Tensor, size: tuple[int, int]) -> Tensor:
    """Only how far away what `rasterise` would see is: [N,H,W], infinite where nothing is."""
    keys = _nearest(_gather(screen, faces, keep, size), len(screen), size)
    return (1 / _inverse(keys)).view(len(screen), *size)


def silhouettes(screen: Tensor, faces: Tensor, keep: Tensor, size: tuple[int, int]) -> Tensor:
    """Only which pixels `rasterise` would hit: bool [N,H,W]."""
    (height, width), count = size, len(screen)
    change = torch.zeros(count * height * (width + 1), dtype=torch.int32, device=screen.device)
    for rows in _rows(_gather(screen, faces, keep, size), size):
        covers = (rows.last >= rows.first).int()
        change.index_add_(0, rows.line * (width + 1) + rows.first, covers)
        change.index_add_(0, rows.line * (width + 1) + rows.last + 1, -covers)
    return change.view(count, height, width + 1).cumsum(2)[..., :width] > 0


def interpolate(hits: Hits, faces: Tensor, values: Tensor) -> Tensor:
    """What `values` [N,V,C] of the vertices are at the hits: [M,C]; `faces` int64 [F,3].

    The columns lie one after the other in memory: `unbind(1)` is free, and much quicker to work on than rows.
    """
    offset = hits.image * values.shape[1]
    corners = [corner.index_select(0, hits.face) + offset for corner in faces.unbind(1)]
    weights = hits.weights.unbind(1)
    columns = []
    for value in values.flatten(0, 1).t().contiguous():
        first, second, third = (value.index_select(0, at) * w for at, w in zip(corners, weights, strict=True))
        columns.append(first + second + third)
    return torch.stack(columns).t()


def _gather(screen: Tensor, faces: Tensor, keep: Tensor, size: tuple[int, int]) -> _Triangles:
    image, face = keep.nonzero(as_tuple=True)
    corner = faces.t().index_select(1, face) + image * screen.shape[1]
    x, y, z = (part.float().flatten().index_select(0, corner.flatten()).view(3, -1) for part in screen.unbind(2))
    visible = z.amin(0) >= NEAR
    for part, pixels in ((x, size[1]), (y, size[0])):
        first, last = (part.amin(0) - SLACK).ceil(), (part.amax(0) + SLACK).floor()
        visible &= (first <= last) & (first <= pixels - 1) & (last >= 0)  # without those between two lines of pixels
    live = visible.nonzero().flatten()
    x, y, z = (part.index_select(1, live) for part in (x, y, z))
    return _Triangles(image.index_select(0, live), face.index_select(0, live), x, y, 1 / z)


def _nearest(triangles: _Triangles, count: int, size: tuple[int, int]) -> Tensor:
    """int64 [N·H·W]: minus the bits of 1/depth above the number of the triangle, so that the least is seen; 0: none."""
    keys = torch.zeros(count * size[0] * size[1], dtype=torch.int64, device=triangles.x.device)
    for rows in _rows(triangles, size):
        wide = (rows.last - rows.first + 1).clamp(min=0)
        row, place = _repeat(wide)
        inverse = rows.inverse.index_select(0, row) + rows.step.index_select(0, row) * place
        # positive numbers are in the order of their bits
        key = (-inverse.clamp_(min=1e-9).view(torch.int32).long() << 32) | rows.of.index_select(0, row)
        pixel = (rows.line * size[1] + rows.first).index_select(0, row) + place
        keys.scatter_reduce_(0, pixel, key, "amin")
    return keys


def _inverse(key: Tensor) -> Tensor:
    return (-(key >> 32)).int().view(torch.float32)


def _rows(triangles: _Triangles, size: tuple[int, int]) -> Iterator[_Rows]:
    """All rows of all triangles, chunk by chunk: some triangles are as large as the picture."""
    first = (triangles.y.amin(0) - SLACK).ceil().clamp(min=0).long()
    last = (triangles.y.amax(0) + SLACK).floor().clamp(max=size[0] - 1).long()
    left, right = triangles.x.amin(0).clamp(min=0), triangles.x.amax(0).clamp(max=size[1])
    area = (last - first + 1) * (right - left + 2).long()
    edges = _edges(triangles)
    line = triangles.image * size[0] + first
    chunk = area.cumsum(0) // CHUNK
    every = torch.arange(len(area), device=area.device)
    for part in every.split_with_sizes(torch.bincount(chunk).tolist()):
        row, place = _repeat((last - first + 1).index_select(0, part))
        of = part.index_select(0, row)
        y = (first.index_select(0, of) + place).float()
        yield _cut(of, line.index_select(0, of) + place, y, edges.index_select(1, of), size[1])


def _repeat(times: Tensor) -> tuple[Tensor, Tensor]:
    """Entry i of `times` int64 [K] so many times: its number i and the place 0, 1, .. among its repetitions."""
    ends = times.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    number = torch.repeat_interleave(times, output_size=total)
    return number, torch.arange(total, device=times.device) - (ends - times).index_select(0, number)


def _edges(triangles: _Triangles) -> Tensor:
    """[13,T]: the corners (x, 1/depth, y) from the top down, and how x and 1/depth grow with y on the edges."""
    top, middle, bottom = torch.stack([triangles.x, triangles.inverse, triangles.y], 1)  # each [3,T]
    top, middle = _ordered(top, middle)
    middle, bottom = _ordered(middle, bottom)
    top, middle = _ordered(top, middle)
    return torch.cat([top, middle, bottom[2:], _slope(top, bottom), _slope(top, middle), _slope(middle, bottom)])


def _ordered(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """`a` and `b` [3,T], exchanged where b is higher up."""
    swap = b[2] < a[2]
    return torch.where(swap, b, a), torch.where(swap, a, b)


def _slope(a: Tensor, b: Tensor) -> Tensor:
    """[2,T]: change of x and 1/depth with y from `a` to `b` [3,T]; 0 for level edges, of which only the ends count."""
    down = b[2] - a[2]
    return (b[:2] - a[:2]) / torch.where(down > 0, down, torch.inf)


def _cut(of: Tensor, line: Tensor, y: Tensor, edges: Tensor, width: int) -> _Rows:
    """The rows at `y` [R], on `line`, of the triangles `of` with these `edges` [13,R]."""
    top, middle, bottom_y, long, upper, lower = edges.split_with_sizes([3, 3, 1, 2, 2, 2])
    y = y.maximum(top[2]).minimum(bottom_y[0])
    from_top, from_middle = y - top[2], y - middle[2]
    one = top[:2] + from_top * long  # x and 1/depth at one end, and at the other
    two = torch.where(from_middle < 0, top[:2] + from_top * upper, middle[:2] + from_middle * lower)
    first = (one[0].minimum(two[0]) - SLACK).ceil().clamp(0, width)
    last = (one[0].maximum(two[0]) + SLACK).floor().clamp(-1, width - 1)
    across, change = two - one
    # where the ends almost meet, the slack reaches far beyond them: 1/depth stays what it is
    step = change / torch.where(across.abs() > 10 * SLACK, across, torch.inf)
    return _Rows(of, line, first.long(), last.long(), one[1] + (first - one[0]) * step, step)


def _weights(triangles: _Triangles, of: Tensor, pixel: Tensor, size: tuple[int, int]) -> Tensor:
    """[M,3]: shares of the corners of triangles `of` [M] at `pixel` [M], by areas on the screen over depths."""
    inside = (pixel % (size[0] * size[1])).int()
    row = inside // size[1]
    x, y = triangles.x, triangles.y
    (ax, bx), (ay, by) = x[1:] - x[0], y[1:] - y[0]
    area = ax * by - ay * bx
    area = torch.where(area.abs() > 1e-6, area, 1e-6)
    sides = torch.stack([x[0], y[0], by / area, bx / area, ay / area, ax / area, *triangles.inverse])
    x0, y0, by, bx, ay, ax, *inverse = sides.index_select(1, of)
    dx, dy = (inside - row * size[1]) - x0, row - y0
    second, third = (dx * by - dy * bx).clamp(0, 1), (dy * ax - dx * ay).clamp(0, 1)
    first = (1 - second - third).clamp(min=0)
    shares = [share * near for share, near in zip((first, second, third), inverse, strict=True)]
    total = shares[0] + shares[1] + shares[2]
    return torch.stack([share / total for share in shares]).t()  # quicker than stacking pixel by pixel
