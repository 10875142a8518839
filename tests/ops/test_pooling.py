"""Pooling, against loops over images, parts and cells."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from halfseen.ops.parts import stripes
from halfseen.ops.pooling import pool

Norm = Literal["mask", "grid", "max"]


def loop(features: Tensor, maps: Tensor, norm: Norm) -> Tensor:
    (images, dims, h, w), parts = features.shape, maps.shape[1]
    result = torch.zeros(images, parts, dims, dtype=features.dtype)
    for image in range(images):
        for part in range(parts):
            for dim in range(dims):
                products, mass = [], 0.0
                for row in range(h):
                    for column in range(w):
                        weight = maps[image, part, row, column].item()
                        products.append(weight * features[image, dim, row, column].item())
                        mass += weight
                result[image, part, dim] = {
                    "max": max(products),
                    "grid": sum(products) / (h * w),
                    "mask": sum(products) / max(mass, 1e-6),
                }[norm]
    return result


def draw(seed: int, images: int, parts: int, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    features = torch.randn(images, 3, *grid, generator=random, dtype=torch.float64)
    maps = torch.rand(images, parts, *grid, generator=random, dtype=torch.float64)
    return features, maps * (torch.rand(images, parts, 1, 1, generator=random) > 0.3)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    images=st.integers(0, 3),
    parts=st.integers(1, 4),
    grid=st.tuples(st.integers(1, 4), st.integers(1, 3)),
    norm=st.sampled_from(("mask", "grid", "max")),
)
def test_C8_pooling_equals_the_loop(seed: int, images: int, parts: int, grid: tuple[int, int], norm: Norm) -> None:
    features, maps = draw(seed, images, parts, grid)
    torch.testing.assert_close(pool(features, maps, norm), loop(features, maps, norm))


@pytest.mark.parametrize("norm", ["mask", "grid", "max"])
def test_C8_a_constant_map_pools_everything(norm: Norm) -> None:
    features, _ = draw(0, 2, 1, (4, 3))
    whole = torch.ones(2, 1, 4, 3, dtype=torch.float64)
    expected = features.amax((2, 3)) if norm == "max" else features.mean((2, 3))
    torch.testing.assert_close(pool(features, whole, norm)[:, 0], expected)


def test_C8_a_one_hot_map_picks_its_cell() -> None:
    features, _ = draw(1, 2, 1, (4, 3))
    one_hot = torch.zeros(2, 1, 4, 3, dtype=torch.float64)
    one_hot[:, :, 2, 1] = 1
    torch.testing.assert_close(pool(features, one_hot)[:, 0], features[:, :, 2, 1])


def test_C8_the_weighted_mean_ignores_the_scale_and_the_grid_norm_is_linear_in_it() -> None:
    features, maps = draw(2, 2, 3, (4, 3))
    for scale in (7, 1e-4):
        torch.testing.assert_close(pool(features, scale * maps), pool(features, maps))
    torch.testing.assert_close(pool(features, 7 * maps, "grid"), 7 * pool(features, maps, "grid"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("norm", ["mask", "grid", "max"])
def test_C8_a_map_of_zeros_gives_zero_in_every_precision(norm: Norm, dtype: torch.dtype) -> None:
    features, maps = draw(3, 2, 3, (4, 3))
    pooled = pool(features.to(dtype), 0 * maps.to(dtype), norm)
    assert pooled.dtype == dtype
    assert torch.equal(pooled, torch.zeros(2, 3, 3, dtype=dtype))


def test_one_set_of_maps_serves_all_images() -> None:
    features, _ = draw(4, 3, 1, (6, 2))
    thirds = stripes(3, (6, 2)).double()
    for norm in ("mask", "grid", "max"):
        shared = pool(features, thirds[None], norm)
        torch.testing.assert_close(shared, pool(features, thirds.expand(3, -1, -1, -1), norm))
    torch.testing.assert_close(pool(features, thirds[None])[:, 1], features[:, :, 2:4].mean((2, 3)))


def test_gradients_reach_features_and_maps() -> None:
    features, maps = draw(5, 1, 2, (2, 2))
    torch.autograd.gradcheck(pool, (features.requires_grad_(), (maps + 0.1).requires_grad_()))
