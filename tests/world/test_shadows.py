"""Shadows where geometry says that they fall, and none of a surface on itself."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from halfseen.world.light.shadows import cast, lit
from halfseen.world.shapes import Mesh, join, loft

QUAD = torch.tensor([[0, 1, 2], [1, 3, 2]])
LIGHTS = torch.tensor([[0.6, 0.8, 0.0], [0.0, 1.0, 0.0], [-0.36, 0.8, 0.48]])
seeds = st.integers(0, 2**31)


def towards(seed: int, count: int) -> Tensor:
    """Lights above the horizon, from anywhere."""
    drawn = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
    drawn[:, 1] = drawn[:, 1].abs() + 0.2
    return torch.nn.functional.normalize(drawn, dim=1)


def ball(count: int, at: tuple[float, float, float], radius: float) -> Mesh:
    tilt = torch.linspace(0, math.pi, 25)
    centre = torch.tensor(at) + radius * tilt.cos()[:, None] * torch.tensor([0.0, 1.0, 0.0])
    wide = radius * tilt.sin()[:, None]
    rings = (centre, wide * torch.tensor([1.0, 0.0, 0.0]), wide * torch.tensor([0.0, 0.0, 1.0]))
    spread = (ring.expand(count, -1, -1) for ring in rings)
    return loft(*spread, slot="skin", part="head", segments=36)


def floor(half: float, steps: int) -> Tensor:
    """[steps²,3]"""
    x, z = torch.meshgrid(torch.linspace(-half, half, steps), torch.linspace(-half, half, steps), indexing="ij")
    return torch.stack([x, torch.zeros_like(x), z], -1).view(-1, 3)


def board(count: int) -> Tensor:
    """A square of a metre, a metre above the floor: [N,4,3], for QUAD."""
    corners = [[-0.5, 1.0, -0.5], [0.5, 1.0, -0.5], [-0.5, 1.0, 0.5], [0.5, 1.0, 0.5]]
    return torch.tensor(corners).expand(count, 4, 3)


def test_a_board_throws_its_shadow_where_the_light_says() -> None:
    shadows = cast(board(3), QUAD, torch.ones(3, 2, dtype=torch.bool), LIGHTS)
    points = floor(2.0, 81)
    for image, light in enumerate(LIGHTS):
        share = lit(shadows, torch.full((len(points),), image), points)
        # how far inside of the square: its shadow on the floor is as large as itself, shifted
        depth = 0.5 - (points + light / light[1])[:, [0, 2]].abs().amax(1)
        assert (share[depth > 0.03] == 0).all()
        assert (share[depth < -0.03] == 1).all()
        assert (share == 0).sum() > 100


def test_only_what_is_further_from_the_light_is_shaded() -> None:
    shadows = cast(board(1), QUAD, torch.ones(1, 2, dtype=torch.bool), LIGHTS[1:2])
    heights = torch.tensor([-5.0, 0.0, 0.9, 0.99, 1.0, 1.01, 3.0])
    points = torch.stack([torch.full_like(heights, 0.1), heights, torch.full_like(heights, -0.2)], 1)
    assert lit(shadows, torch.zeros(7, dtype=torch.int64), points).tolist() == [0, 0, 0, 1, 1, 1, 1]


@given(seed=seeds)
@settings(deadline=None, max_examples=10)
def test_a_balls_shadow_is_where_rays_meet_the_ball(seed: int) -> None:
    middle, radius = torch.tensor([0.1, 1.2, -0.3]), 0.4
    mesh, light = ball(4, (0.1, 1.2, -0.3), radius), towards(seed, 4)
    shadows = cast(mesh.vertices, mesh.faces, mesh.shown, light)
    dice = torch.Generator().manual_seed(seed)
    points = torch.rand(3000, 3, generator=dice) * 4 - torch.tensor([2.0, 2.0, 2.0])
    points[1500:] = points[1500:] * 0.3 + middle
    image = torch.randint(0, 4, (3000,), generator=dice)
    share = lit(shadows, image, points)
    rise = ((middle - points) * light[image]).sum(1)
    off = ((middle - points) - rise[:, None] * light[image]).norm(dim=1)
    behind = rise + (radius**2 - off**2).clamp(min=0).sqrt()  # up to where a ray leaves the ball
    shaded, free = (off < radius - 0.03) & (behind > 0.05), (off > radius + 0.03) | (behind < 0) & (off < 0.8 * radius)
    assert (share[shaded] == 0).all()
    assert (share[free] == 1).all()
    assert shaded.sum() > 100
    assert free.sum() > 100


@given(seed=seeds, softness=st.sampled_from([0.0, 0.04]), tall=st.booleans())
@settings(deadline=None, max_examples=8)
def test_a_lit_ball_does_not_shade_itself(seed: int, softness: float, tall: bool) -> None:
    """Not even where a second ball, two metres lower, makes texels large."""
    mesh, light = ball(2, (0.0, 1.5, 0.0), 0.3), towards(seed, 2)
    count = mesh.vertices.shape[1]
    if tall:
        mesh = join([mesh, ball(2, (0.0, -0.5, 0.0), 0.3)])
    shadows = cast(mesh.vertices, mesh.faces, mesh.shown, light)
    points, normals = mesh.vertices[:, :count].flatten(0, 1), mesh.normals[:, :count].flatten(0, 1)
    image = torch.arange(2).repeat_interleave(count)
    share = lit(shadows, image, points, softness, normals=normals)
    cosine = (normals * light[image]).sum(1)
    assert (share[cosine > 0.1] == 1).all()
    assert (share[cosine < -0.8] == 0).all()


def test_a_steep_floor_needs_its_normals() -> None:
    """What tells `normals` apart: the sun stands low, the map is coarse, the floor itself is in the map."""
    light = torch.nn.functional.normalize(torch.tensor([[0.3, 0.2, 0.9]]), dim=1)
    corners = torch.tensor([[[-4.0, 0, -4], [4, 0, -4], [-4, 0, 4], [4, 0, 4]]])
    shadows = cast(corners, QUAD, torch.ones(1, 2, dtype=torch.bool), light, size=64)
    points = floor(3.5, 60)
    image, up = torch.zeros(len(points), dtype=torch.int64), torch.tensor([0.0, 1.0, 0.0]).expand_as(points)
    assert lit(shadows, image, points).mean() < 0.9
    assert (lit(shadows, image, points, normals=up) == 1).all()
    assert (lit(shadows, image, points, 0.3, normals=up) == 1).all()


def test_an_edge_fades_over_the_softness_of_its_image() -> None:
    shadows = cast(board(3), QUAD, torch.ones(3, 2, dtype=torch.bool), LIGHTS[1:2].expand(3, 3))
    x, z = torch.meshgrid(torch.linspace(0, 1, 201), torch.linspace(-0.15, 0.15, 60), indexing="ij")
    points, away = torch.stack([x, torch.zeros_like(x), z], -1).view(-1, 3), x[:, 0] - 0.5
    softness = torch.tensor([0.0, 0.1, 0.3])
    for image, soft in enumerate(softness.tolist()):
        share = lit(shadows, torch.full((len(points),), image), points, softness)
        assert torch.equal(share, lit(shadows, torch.full((len(points),), image), points, soft))
        lines = share.view(201, 60)
        assert (lines.mean(1).diff() > -0.05).all()
        assert lines[100].mean().item() == pytest.approx(0.5, abs=0.1)
        assert lines.std(1).amax() < (0.25 if soft == 0 else 0.12)  # grain
        assert (lines[away < -soft - 0.015] == 0).all()
        assert (lines[away > soft + 0.015] == 1).all()
        assert ((lines > 0) & (lines < 1)).any(1).float().mean() * 1.005 >= 2 * soft - 0.02


def test_what_is_not_shown_throws_no_shadow_and_does_not_widen_the_map() -> None:
    far = board(3) * torch.tensor([40.0, 3.0, 40.0])
    vertices, faces = torch.cat([board(3), far], 1), torch.cat([QUAD, QUAD + 4])
    shown = torch.tensor([[True, True, False, False]]).expand(3, 4)
    one, other = cast(vertices, faces, shown, LIGHTS), cast(board(3), QUAD, shown[:, :2], LIGHTS)
    assert torch.equal(one.height, other.height)
    assert torch.equal(one.place, other.place)


def test_nothing_at_all_leaves_everything_lit() -> None:
    shadows = cast(board(3), QUAD, torch.zeros(3, 2, dtype=torch.bool), LIGHTS)
    points = floor(2.0, 11)
    for image in range(3):
        assert (lit(shadows, torch.full((len(points),), image), points, 0.2) == 1).all()
    assert lit(shadows, torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3)).shape == (0,)


@given(seed=seeds)
@settings(deadline=None, max_examples=5)
def test_an_image_does_not_depend_on_its_batch(seed: int) -> None:
    mesh, light = ball(5, (0.0, 1.0, 0.0), 0.3), towards(seed, 5)
    dice = torch.Generator().manual_seed(seed)
    points, image = torch.rand(500, 3, generator=dice) * 2 - 1, torch.randint(0, 5, (500,), generator=dice)
    together = cast(mesh.vertices, mesh.faces, mesh.shown, light)
    share = lit(together, image, points, 0.05)
    for one in range(5):
        alone = cast(mesh.vertices[one : one + 1], mesh.faces, mesh.shown[one : one + 1], light[one : one + 1])
        assert torch.equal(alone.height[0], together.height[one])
        mine = image == one
        assert torch.equal(lit(alone, torch.zeros_like(image[mine]), points[mine], 0.05), share[mine])
