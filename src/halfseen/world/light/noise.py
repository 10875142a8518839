"""Chance without a generator: numbers that depend on whole numbers only, and smooth noise and grain made of them.

Everything here uses additions, products, square roots and bits, which are rounded alike everywhere: the same numbers on
any machine, wherever in a batch a point lies. (A sine or a power may differ in its last bit between the middle and the
end of a tensor.)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_START, _SALT = 0x3C6EF372, 0x1B873593
_FIRST, _SECOND = 0x7FEB352D, 0x846CA68B - (1 << 32)  # factors that spread every bit over all others
_BYTES = 0x00FF00FF


def hashed(*numbers: Tensor | int) -> Tensor:
    """An int32 that looks random, for each combination of whole `numbers` (tensors of any integer type broadcast)."""
    state = torch.tensor(_START, dtype=torch.int32)
    for number in numbers:
        state = _mixed(state ^ _int32(number))
    return state


def hash01(*numbers: Tensor | int) -> Tensor:
    """A float32 in 0 <= x < 1, evenly spread, for each combination of whole `numbers`."""
    return _share(hashed(*numbers))


def noise(
    at: Sequence[Tensor], seed: Tensor | int = 0, octaves: int = 1, repeat: Sequence[int] | None = None
) -> Tensor:
    """Smooth noise in 0..1 with a mean of 1/2 at the points `at` (two or three tensors [M]: x, y, z); hills and dales
    are about 2 apart. Each further octave adds half as much at twice the pace. With `repeat` it has that
    period in each direction. `seed`: a whole number, or one for each point [M].
    """
    total: Tensor | float = 0.0
    for octave in range(octaves):
        pace = 1 << octave
        again = None if repeat is None else [length * pace for length in repeat]
        total = total + _smooth([c * pace for c in at] if octave else at, hashed(seed, octave), again) / pace
    return torch.as_tensor(total) * (0.5 / (1 - 0.5**octaves))


def grain(seeds: Tensor, size: tuple[int, int], channels: int = 3) -> Tensor:
    """Independent, roughly Gaussian noise with a spread of 1 for every pixel: [N,`channels`,height,width].

    `seeds` [N] whole numbers.
    """
    height, width = size
    pixel = torch.arange(channels * height * width, dtype=torch.int32, device=seeds.device)
    bits = hashed(seeds[:, None], pixel)
    pairs = (bits & _BYTES) + (bits >> 8 & _BYTES)  # four bytes in all: their sum is nearly Gaussian
    total = (pairs & 0xFFFF) + (pairs >> 16)
    return ((total - 510).float() * (1 / 147.8)).reshape(-1, channels, height, width)


def _smooth(at: Sequence[Tensor], seed: Tensor, repeat: Sequence[int] | None) -> Tensor:
    """Values of the corners of the grid of whole numbers, blended."""
    whole = [c.floor() for c in at]
    near = [c - w for c, w in zip(at, whole, strict=True)]
    blend = [n * n * (3 - 2 * n) for n in near]
    cells = [w.to(torch.int32) for w in whole]
    sides = []
    for number, cell in enumerate(cells):
        both = (cell, cell + 1)
        sides.append(both if repeat is None else tuple(side % repeat[number] for side in both))
    return _blended(sides, blend, seed)


def _blended(sides: Sequence[tuple[Tensor, ...]], blend: Sequence[Tensor], state: Tensor) -> Tensor:
    """One direction after the other; `state` is the hash of the seed and the directions already decided."""
    (low, high), *others = sides
    first, second = _mixed(state ^ low), _mixed(state ^ high)
    if others:
        here, there = _blended(others, blend[1:], first), _blended(others, blend[1:], second)
    else:
        here, there = _share(first), _share(second)
    return here + blend[0] * (there - here)


def _mixed(state: Tensor) -> Tensor:
    state = (state ^ _SALT) * _FIRST
    state = (state ^ (state >> 15 & 0x1FFFF)) * _SECOND
    return state ^ (state >> 16 & 0xFFFF)


def _share(bits: Tensor) -> Tensor:
    return (bits >> 8 & 0xFFFFFF).float() * (1 / (1 << 24))


def _int32(number: Tensor | int) -> Tensor:
    number = torch.as_tensor(number)
    return (number ^ number >> 32).to(torch.int32) if number.dtype == torch.int64 else number.to(torch.int32)
