"""Boards: sandwich boards, poster stands, hoardings and barriers."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from halfseen.world.light.prints import MIDDLE, WIDEST
from halfseen.world.objects.solids import Number, Pairs, bars, between, blocks, panels, spots
from halfseen.world.shapes import Mesh


def board(style: Tensor) -> list[Mesh]:
    """Sandwich boards, poster stands, hoardings of planks and crowd barriers by `style` [N,8]."""
    kind = (4 * style[:, 0]).long().clamp(max=3)
    return [
        *_sandwich(style, kind == 0),
        *_poster(style, kind == 1),
        *_hoarding(style, kind == 2),
        *_barrier(style, kind == 3),
    ]


def _printed(mesh: Mesh, wide: Tensor, high: Tensor, middle: Tensor) -> Mesh:
    """`mesh` with its surface measured so that one print fills it all; it is 2 `wide` and 2 `high` [N] metres large
    and its middle lies `middle` [N] metres up."""
    scale = 0.8 * WIDEST / torch.minimum(wide, high)[:, None]
    x, y, _ = mesh.vertices.unbind(-1)
    surface = [x * scale, MIDDLE + (y - middle[:, None]) * scale, mesh.surface[..., 2]]
    return replace(mesh, surface=torch.stack(surface, -1))


def _sandwich(style: Tensor, shown: Tensor) -> list[Mesh]:
    """Two leaves that lean against each other."""
    wide, high = between(style[:, 1], 0.28, 0.4), between(style[:, 2], 0.9, 1.25)
    pieces = []
    for side in (1, -1):
        frame = _leaf(side * wide, (0.0, side * 0.22), (high, side * 0.02))
        sheet = _leaf(side * 0.88 * wide, (0.12 * high, side * 0.208), (0.96 * high, side * 0.04))
        print_ = panels(sheet, slot="thing", shown=shown)
        pieces.append(panels(frame, slot="thing_trim", shown=shown, two_sided=True))
        pieces.append(_printed(print_, wide, 0.45 * high, 0.54 * high))
    return pieces


def _leaf(x: Tensor, low: tuple[Number, float], high: tuple[Number, float]) -> Tensor:
    """A panel [N,1,4,3] from −`x` [N] to `x`, with the (y, z) of its lower and of its upper edge."""
    return spots(x, (-x, *low), (x, *low), (x, *high), (-x, *high))[:, None]


def _poster(style: Tensor, shown: Tensor) -> list[Mesh]:
    """A framed poster on two legs."""
    wide, high = between(style[:, 1], 0.35, 0.75), between(style[:, 2], 0.4, 0.8)
    y = high + between(style[:, 3], 0.12, 0.5)
    face = blocks(wide, [((0, y, 0.03), (wide, high, 0.01))], slot="thing", shown=shown)
    rim = 0.04
    frame: Pairs = [
        *(((s * wide, y, 0.0), (rim, high + rim, 0.05)) for s in (-1, 1)),
        *(((0.0, y + s * high, 0.0), (wide, rim, 0.05)) for s in (-1, 1)),
        *(((s * 0.8 * wide, (y - high) / 2, 0.0), (0.03, (y - high) / 2, 0.03)) for s in (-1, 1)),
        *(((s * 0.8 * wide, 0.02, 0.0), (0.04, 0.02, 0.22)) for s in (-1, 1)),
    ]
    back = blocks(wide, [((0, y, -0.02), (wide, high, 0.02))], slot="thing_dark", shown=shown)
    return [_printed(face, wide, high, y), back, blocks(wide, frame, slot="thing_trim", shown=shown)]


def _hoarding(style: Tensor, shown: Tensor) -> list[Mesh]:
    """Planks side by side on rails, or a plain wall where they leave no gaps."""
    count = 9
    wide, high = between(style[:, 1], 0.7, 1.5), between(style[:, 2], 0.45, 1.0)
    low = torch.where(style[:, 3] > 0.5, 0.04, 0.0)
    plank, gap = wide / count, torch.where(style[:, 4] > 0.4, 0.012, 0.0)
    rows = [
        ((-wide + (2 * i + 1) * plank, high + low, 0.004 * (i % 2)), (plank - gap, high, 0.015)) for i in range(count)
    ]
    posts = [((s * (wide - 0.08), high, -0.06), (0.04, high, 0.04)) for s in (-1, 1)]
    rails = [((0.0, high * level, -0.03), (wide, 0.035, 0.015)) for level in (0.35, 1.65)]
    top = ((0.0, 2 * high + low + 0.02, 0.0), (wide + 0.03, 0.025, 0.04))
    return [
        _printed(blocks(wide, rows, slot="thing", shown=shown), wide, high, high + low),
        blocks(wide, [*posts, *rails], slot="thing_dark", shown=shown),
        blocks(wide, [top], slot="thing_trim", shown=shown & (style[:, 5] > 0.4)),
    ]


def _barrier(style: Tensor, shown: Tensor) -> list[Mesh]:
    """A frame of tubes with upright bars, a plate on some."""
    count = 15
    wide, high = between(style[:, 1], 0.9, 1.25), between(style[:, 2], 1.0, 1.15)
    low = 0.18
    inner = [wide * (2 * i / (count + 1) - 1) for i in range(1, count + 1)]
    thin = [((x, low, 0.0), (x, high - 0.03, 0.0)) for x in inner]
    frame = [((-wide, y, 0.0), (wide, y, 0.0)) for y in (low, high)]
    frame += [((s * wide, 0.02, 0.0), (s * wide, high, 0.0)) for s in (-1, 1)]
    feet = [((s * 0.8 * wide, 0.02, 0.0), (0.02, 0.02, 0.3)) for s in (-1, 1)]
    props = [((s * 0.8 * wide, 0.02, 0.0), (s * 0.8 * wide, low, 0.0)) for s in (-1, 1)]
    sign = torch.full_like(wide, 0.16)
    plate: Pairs = [((0.0, high - 0.3, 0.012), (0.42 * wide, sign, 0.006))]
    return [
        bars(wide, 0.008, thin, slot="thing_trim", shown=shown),
        bars(wide, 0.02, [*frame, *props], slot="thing_trim", shown=shown),
        blocks(wide, feet, slot="thing_dark", shown=shown),
        _printed(blocks(wide, plate, slot="thing", shown=shown & (style[:, 3] > 0.4)), 0.42 * wide, sign, high - 0.3),
    ]
