"""Hashes, noise and grain: evenly spread, without order, and the same wherever a number stands in a batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from halfseen.world.light.noise import grain, hash01, hashed, noise


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten().double(), b.flatten().double()]))[0, 1])


def test_hashes_of_neighbours_are_even_and_unlike() -> None:
    x, y = torch.arange(300)[:, None], torch.arange(-150, 150)[None]
    values = hash01(x, y)
    assert values.shape == (300, 300)
    assert values.dtype == torch.float32
    assert float(values.min()) >= 0
    assert float(values.max()) < 1
    counts = torch.histc(values, 20, 0, 1)
    assert float((counts / 4500 - 1).abs().max()) < 0.06  # four standard deviations
    assert abs(correlation(values[1:], values[:-1])) < 0.015
    assert abs(correlation(values[:, 1:], values[:, :-1])) < 0.015
    assert abs(correlation(values[1:, 1:], values[:-1, :-1])) < 0.015
    assert abs(correlation(values, values.T)) < 0.015


def test_every_bit_of_every_number_matters() -> None:
    base = hashed(12345, 678)
    for bit in range(62):
        flipped = torch.tensor(1 << bit)
        first, second = hashed(torch.tensor(12345) ^ flipped, 678), hashed(12345, torch.tensor(678) ^ flipped)
        for other in (first, second):
            changed = bin((int(base) ^ int(other)) & 0xFFFFFFFF).count("1")
            assert 6 <= changed <= 26
    assert int(hashed(1, 2)) != int(hashed(2, 1))


@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**31 - 1))
@settings(deadline=None, max_examples=30)
def test_a_hash_is_that_of_plain_arithmetic(number: int, seed: int) -> None:
    def mixed(state: int) -> int:
        state = ((state ^ 0x1B873593) * 0x7FEB352D) % 2**32
        state = ((state ^ state >> 15) * 0x846CA68B) % 2**32
        return state ^ state >> 16

    expected = mixed(mixed(0x3C6EF372 ^ seed % 2**32) ^ number % 2**32)
    assert int(hashed(seed, torch.tensor([number], dtype=torch.int32))) % 2**32 == expected


@pytest.mark.parametrize("count", [1, 7, 33, 1000])
def test_a_number_does_not_depend_on_its_batch(count: int) -> None:
    points = [hash01(torch.arange(1000), axis) * 40 - 20 for axis in range(3)]
    everywhere = noise(points, 3, octaves=3)
    there = noise([axis[-count:] for axis in points], 3, octaves=3)
    assert torch.equal(there, everywhere[-count:])


def test_noise_is_smooth_and_fills_its_range() -> None:
    across, down = torch.meshgrid(torch.arange(400) * 0.1, torch.arange(400) * 0.1, indexing="ij")
    values = noise([across.flatten(), down.flatten()], 7).reshape(400, 400)
    assert 0 <= float(values.min()) < 0.05
    assert 0.95 < float(values.max()) <= 1
    assert abs(float(values.mean()) - 0.5) < 0.03
    assert float((values[1:] - values[:-1]).abs().max()) < 0.2  # 1.5 per unit at most
    assert correlation(values[10:], values[:-10]) < 0.6
    assert abs(correlation(values[30:], values[:-30])) < 0.15
    whole = values[::10, ::10]
    assert torch.equal(whole, noise([across[::10, ::10].round(), down[::10, ::10].round()], 7))


def test_octaves_add_detail_and_seeds_differ() -> None:
    x = torch.arange(4000) * 0.02
    rough, smooth = noise([x, x * 0.3], 5, octaves=4), noise([x, x * 0.3], 5)
    hills = [int(((v[2:] < v[1:-1]) & (v[:-2] < v[1:-1])).sum()) for v in (rough, smooth)]
    assert hills[0] > 2 * hills[1] > 20
    assert abs(float(rough.mean()) - 0.5) < 0.05
    assert abs(correlation(smooth, noise([x, x * 0.3], 6))) < 0.4
    mixed = noise([x, x * 0.3], torch.where(torch.arange(4000) < 2000, 5, 6))
    assert torch.equal(mixed[:2000], smooth[:2000])


def test_noise_repeats_when_asked() -> None:
    x, y = hash01(torch.arange(200), 0) * 6, hash01(torch.arange(200), 1) * 5
    here = noise([x, y], 2, octaves=2, repeat=(6, 5))
    assert torch.allclose(here, noise([x + 6, y - 10], 2, octaves=2, repeat=(6, 5)), atol=1e-5)
    assert not torch.allclose(here, noise([x + 5, y], 2, octaves=2, repeat=(6, 5)), atol=0.1)


def test_grain_is_nearly_gaussian_and_white() -> None:
    values = grain(torch.tensor([3, 4, 2**40 + 3]), (64, 48))
    assert values.shape == (3, 3, 64, 48)
    assert abs(float(values.mean())) < 0.02
    assert abs(float(values.std()) - 1) < 0.02
    assert abs(float((values.abs() < 1).float().mean()) - 0.68) < 0.02
    assert abs(float((values.abs() > 2).float().mean()) - 0.045) < 0.01
    for one, other in ((values[..., 1:], values[..., :-1]), (values[:, 0], values[:, 1]), (values[0], values[2])):
        assert abs(correlation(one, other)) < 0.03
    assert torch.equal(grain(torch.tensor([4]), (64, 48))[0], values[1])
