"""Triangles against a loop over pixels in double precision, and what must hold of any picture of them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from halfseen.world.light import raster
from halfseen.world.light.raster import Hits, depths, facing, interpolate, rasterise, silhouettes
from halfseen.world.shapes import Mesh, join, loft

SIZE = (20, 16)
Corner = tuple[float, float, float]
seeds = st.integers(0, 2**31)


def drawn(seed: int, images: int, count: int, *, reach: float = 6.0) -> tuple[Tensor, Tensor, Tensor]:
    """Screens of triangles here and there, some of them off the frame; their faces; a few are not kept."""
    dice = torch.Generator().manual_seed(seed)
    middle = torch.rand(images, count, 1, 2, generator=dice) * torch.tensor([SIZE[1] + 8.0, SIZE[0] + 8.0]) - 4
    around = torch.randn(images, count, 3, 2, generator=dice) * reach
    depth = 1 + 5 * torch.rand(images, count, 3, 1, generator=dice)
    keep = torch.rand(images, count, generator=dice) < 0.9
    return torch.cat([middle + around, depth], -1).flatten(1, 2), torch.arange(3 * count).view(count, 3), keep


def within(corners: list[Corner], x: int, y: int) -> tuple[float, float, list[float]]:
    """How many pixels a point lies inside of a triangle (negative: outside), its depth, the shares in space."""
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = corners
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    if area == 0:
        return -math.inf, math.inf, []
    shares = [
        ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area,
        ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area,
        ((ax - x) * (by - y) - (ay - y) * (bx - x)) / area,
    ]
    edges = [math.dist((bx, by), (cx, cy)), math.dist((cx, cy), (ax, ay)), math.dist((ax, ay), (bx, by))]
    inside = min(share * abs(area) / edge for share, edge in zip(shares, edges, strict=True))
    inverse = sum(share / z for share, z in zip(shares, (az, bz, cz), strict=True))
    return inside, 1 / inverse, [share / z / inverse for share, z in zip(shares, (az, bz, cz), strict=True)]


def look_at(screen: Tensor, faces: Tensor, keep: Tensor, x: int, y: int) -> tuple[int, float, list[float]] | None:
    """The face seen at a pixel (-1: none), its depth and shares; None where rounding may decide."""
    best = (-1, math.inf, [0.0])
    for face in range(len(faces)):
        if not keep[face]:
            continue
        corners: list[Corner] = [tuple(screen[v].double().tolist()) for v in faces[face]]
        inside, depth, shares = within(corners, x, y)
        if abs(inside) < 0.01 or (inside > 0 and abs(depth - best[1]) < 1e-4):
            return None
        if inside > 0 and depth < best[1]:
            best = (face, depth, shares)
    return best


def as_pictures(hits: Hits, values: Tensor, nothing: float) -> Tensor:
    picture = torch.full((math.prod(hits.shape),), nothing, dtype=values.dtype)
    picture[hits.pixel] = values
    return picture.view(hits.shape)


def square(left: float, top: float, right: float, bottom: float, depth: float) -> Tensor:
    """[4,3], for QUAD."""
    return torch.tensor([[left, top, depth], [right, top, depth], [left, bottom, depth], [right, bottom, depth]])


QUAD = torch.tensor([[0, 1, 2], [1, 3, 2]])


@given(seed=seeds, reach=st.sampled_from([0.7, 4.0, 40.0]))
@settings(deadline=None, max_examples=6)
def test_what_each_pixel_sees_is_what_a_loop_finds(seed: int, reach: float) -> None:
    screen, faces, keep = drawn(seed, 2, 8, reach=reach)
    hits = rasterise(screen, faces, keep, SIZE)
    assert (hits.pixel[1:] > hits.pixel[:-1]).all()
    face, depth = as_pictures(hits, hits.face, -1), as_pictures(hits, hits.depth, math.inf)
    index = as_pictures(hits, torch.arange(len(hits.pixel)), -1)
    decided = 0
    for image, y, x in torch.cartesian_prod(*(torch.arange(n) for n in hits.shape)).tolist():
        truth = look_at(screen[image], faces, keep[image], x, y)
        if truth is None:
            continue
        decided += 1
        assert face[image, y, x] == truth[0]
        if truth[0] >= 0:
            assert depth[image, y, x].item() == pytest.approx(truth[1], rel=1e-4)
            assert hits.weights[index[image, y, x]].tolist() == pytest.approx(truth[2], abs=2e-3)
    assert decided > 0.7 * face.numel()


@given(seed=seeds)
@settings(deadline=None, max_examples=10)
def test_an_image_does_not_depend_on_its_batch(seed: int) -> None:
    screen, faces, keep = drawn(seed, 5, 30)
    together = rasterise(screen, faces, keep, SIZE)
    for image in range(5):
        alone = rasterise(screen[image : image + 1], faces, keep[image : image + 1], SIZE)
        mine = together.image == image
        assert torch.equal(together.pixel[mine] - image * SIZE[0] * SIZE[1], alone.pixel)
        for one, other in ((together.face, alone.face), (together.depth, alone.depth)):
            assert torch.equal(one[mine], other)
        assert torch.equal(together.weights[mine], alone.weights)


@given(seed=seeds)
@settings(deadline=None, max_examples=10)
def test_depths_silhouettes_and_chunks_agree_with_the_hits(seed: int) -> None:
    screen, faces, keep = drawn(seed, 3, 30)
    hits = rasterise(screen, faces, keep, SIZE)
    assert torch.equal(depths(screen, faces, keep, SIZE), as_pictures(hits, hits.depth, math.inf))
    assert torch.equal(silhouettes(screen, faces, keep, SIZE), as_pictures(hits, hits.face, -1) >= 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raster, "CHUNK", 50)  # less than most triangles
        small = rasterise(screen, faces, keep, SIZE)
    assert torch.equal(small.pixel, hits.pixel)
    assert torch.equal(small.face, hits.face)
    assert torch.equal(small.depth, hits.depth)


def test_a_slanted_quad_has_exact_depths_and_places() -> None:
    """A floor 1.5 m below an eye that looks level: row y of focal f lies 1.5·f/y metres ahead."""
    focal, floor = 30.0, torch.tensor([[-2.0, 1.5, 2.0], [2.0, 1.5, 2.0], [-40.0, 1.5, 40.0], [40.0, 1.5, 40.0]])
    x, y, z = floor.unbind(1)
    middle = torch.tensor([31.5, 0.0])
    screen = torch.stack([x / z * focal + middle[0], y / z * focal, z], 1)[None]
    hits = rasterise(screen, QUAD, torch.ones(1, 2, dtype=torch.bool), (32, 64))
    row, column = hits.pixel // 64, hits.pixel % 64
    assert (row >= 2).all()
    assert ((row >= 2) & (row <= 22)).sum() == 21 * 60  # x/z is ±1 at its sides: columns 2 to 61
    depth = 1.5 * focal / row
    torch.testing.assert_close(hits.depth, depth, rtol=1e-5, atol=0)
    places = interpolate(hits, QUAD, floor[None])
    truth = torch.stack([(column - middle[0]) / focal * depth, torch.full_like(depth, 1.5), depth], 1)
    torch.testing.assert_close(places, truth, rtol=1e-4, atol=1e-4)


@given(seed=seeds, rows=st.integers(1, 12), columns=st.integers(1, 12))
@settings(deadline=None, max_examples=30)
def test_neighbours_leave_no_crack(seed: int, rows: int, columns: int) -> None:
    """A net over all of the frame whose knots lie anywhere, even so that faces turn over."""
    dice = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.linspace(0, 19, rows + 1), torch.linspace(0, 15, columns + 1), indexing="ij")
    knots = torch.stack([x, y, torch.ones_like(x)], -1)
    knots[1:-1, 1:-1, :2] += torch.randn(rows - 1, columns - 1, 2, generator=dice) * 2
    knots[1:-1, 1:-1, 2] += torch.rand(rows - 1, columns - 1, generator=dice)
    corner = (torch.arange(rows)[:, None] * (columns + 1) + torch.arange(columns)).flatten()
    right, below, across = corner + 1, corner + columns + 1, corner + columns + 2
    faces = torch.cat([torch.stack([corner, right, below], 1), torch.stack([below, across, right], 1)])
    keep = torch.ones(1, len(faces), dtype=torch.bool)
    assert silhouettes(knots.view(1, -1, 3), faces, keep, SIZE).all()


def test_a_seam_that_rounding_opened_is_shut() -> None:
    gap = 1e-4
    for turn in ([0, 1, 2], [1, 0, 2]):
        halves = torch.cat([square(0, 0, 5 - gap, 9, 1.0), square(5 + gap, 0, 9, 9, 1.0)])[None, :, turn]
        hit = silhouettes(halves, torch.cat([QUAD, QUAD + 4]), torch.ones(1, 4, dtype=torch.bool), SIZE)
        assert hit[0, :10, :10].all()


@given(seed=seeds)
@settings(deadline=None, max_examples=8)
def test_slivers_are_no_nearer_and_no_further_than_their_corners(seed: int) -> None:
    """Triangles as thin as the rounding of their corners, near pixels' middles: seen from the side, a body has many."""
    dice = torch.Generator().manual_seed(seed)
    middle = torch.randint(4, 12, (1, 200, 1, 2), generator=dice).float()
    line = torch.randn(1, 200, 1, 2, generator=dice) * torch.randn(1, 200, 3, 1, generator=dice)
    line[:, ::4, ..., 0], line[:, 1::4, ..., 1] = 0, 0
    thin = torch.randn(1, 200, 3, 2, generator=dice) * 10 ** (-5 + 4 * torch.rand(1, 200, 1, 1, generator=dice))
    depth = torch.rand(1, 200, 3, 1, generator=dice) * 5 + 0.1
    screen = torch.cat([middle + line + thin, depth], -1).flatten(1, 2)
    faces = torch.arange(600).view(200, 3)
    seen = 0
    for face in range(200):
        keep = torch.arange(200)[None] == face
        hits = rasterise(screen, faces, keep, SIZE)
        seen += len(hits.pixel)
        near, far = 1 / depth[0, face].amin(), 1 / depth[0, face].amax()
        assert (1 / hits.depth <= near + 0.12 * (near - far) + 1e-4).all()
        assert (1 / hits.depth >= far - 0.12 * (near - far) - 1e-4).all()
        assert ((hits.weights >= 0) & (hits.weights <= 1)).all()
    assert seen > 100


def test_a_fan_leaves_no_crack_and_ends_where_it_ends() -> None:
    angle = torch.arange(17) / 17 * 2 * math.pi
    rim = torch.stack([50 + 40.3 * angle.cos(), 50 + 40.3 * angle.sin(), torch.ones(17)], 1)
    screen = torch.cat([torch.tensor([[50.0, 50.0, 1.0]]), rim])[None]
    number = torch.arange(17)
    faces = torch.stack([torch.zeros_like(number), number + 1, (number + 1) % 17 + 1], 1)
    hit = silhouettes(screen, faces, torch.ones(1, 17, dtype=torch.bool), (101, 101))[0]
    y, x = torch.meshgrid(torch.arange(101.0), torch.arange(101.0), indexing="ij")
    away = (x - 50).hypot(y - 50)
    assert hit[away < 40.3 * math.cos(math.pi / 17)].all()
    assert not hit[away > 40.31].any()


def test_pixels_on_an_edge_are_hit_by_both_sides() -> None:
    screen = square(2, 3, 6, 5, 1.0)[None]
    for face, pixels in ((0, 5 + 3 + 1), (1, 1 + 3 + 5)):
        keep = torch.arange(2)[None] == face
        assert silhouettes(screen, QUAD, keep, SIZE).sum() == pixels


def test_of_equals_the_lowest_face_is_seen() -> None:
    screen = torch.cat([square(2, 3, 9, 9, 2.0), square(0, 0, 12, 12, 2.0)])[None]
    for faces in (torch.cat([QUAD, QUAD + 4]), torch.cat([QUAD + 4, QUAD])):
        hits = rasterise(screen, faces, torch.ones(1, 4, dtype=torch.bool), SIZE)
        face = as_pictures(hits, hits.face, -1)[0, 3:10, 2:10]
        corner = faces[:, 0] >= 4 if faces[0, 0] >= 4 else faces[:, 0] < 4
        assert corner[face].all()


def test_the_nearest_is_seen_whatever_the_order() -> None:
    screen = torch.cat([square(0, 0, 15, 19, 5.0), square(4, 4, 8, 8, 1.0), square(0, 0, 15, 19, 3.0)])[None]
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        faces = torch.cat([QUAD + 4 * number for number in order])
        depth = depths(screen, faces, torch.ones(1, 6, dtype=torch.bool), SIZE)[0]
        truth = torch.full(SIZE, 3.0)
        truth[4:9, 4:9] = 1.0
        torch.testing.assert_close(depth, truth)


def test_a_face_much_larger_than_the_frame() -> None:
    screen = torch.tensor([[[-1e4, -9e3, 1.0], [1.2e4, -8e3, 4.0], [100.0, 2e4, 2.0]]])
    faces = torch.tensor([[0, 1, 2]])
    hits = rasterise(screen, faces, torch.ones(1, 1, dtype=torch.bool), (300, 200))
    assert len(hits.pixel) == 300 * 200
    corners: list[Corner] = [tuple(corner) for corner in screen[0].double().tolist()]
    _, depth, shares = within(corners, 120, 240)
    at = 240 * 200 + 120
    assert hits.depth[at].item() == pytest.approx(depth, rel=1e-4)
    assert hits.weights[at].tolist() == pytest.approx(shares, abs=1e-4)


@pytest.mark.parametrize(
    ("box", "depth"),
    [
        ((2, 2, 9, 9), 0.01),
        ((2, 2, 9, 9), math.nan),
        ((-9, 2, -1, 9), 1.0),
        ((16, 2, 30, 9), 1.0),
        ((2, 20, 9, 30), 1.0),
        ((2.2, 2.2, 2.8, 2.8), 1.0),
        ((math.nan, 2, 9, 9), 1.0),
    ],
    ids=["near", "no depth", "left", "right", "below", "between pixels", "nowhere"],
)
def test_what_is_not_to_be_seen_is_an_empty_result(box: tuple[float, float, float, float], depth: float) -> None:
    screen = square(*box, 1.0)[None].repeat(2, 1, 1)
    screen[:, :, 2] = depth
    screen[:, 3] = screen[:, 0]  # else a quad of which one corner lacks a place would still be half there
    keep = torch.ones(2, 2, dtype=torch.bool)
    hits = rasterise(screen, QUAD, keep, SIZE)
    assert hits.pixel.shape == hits.face.shape == hits.depth.shape == hits.image.shape == (0,)
    assert hits.weights.shape == (0, 3)
    assert interpolate(hits, QUAD, screen).shape == (0, 3)
    assert not silhouettes(screen, QUAD, keep, SIZE).any()
    assert depths(screen, QUAD, keep, SIZE).isinf().all()
    assert len(rasterise(screen, QUAD, ~keep, SIZE).pixel) == 0


def test_one_corner_behind_the_eye_takes_its_face_away_only() -> None:
    screen = square(2, 3, 9, 9, 1.0)[None].clone()
    screen[0, 0, 2] = 0.01
    hits = rasterise(screen, QUAD, torch.ones(1, 2, dtype=torch.bool), SIZE)
    assert len(hits.face) > 0
    assert (hits.face == 1).all()


def test_values_are_mixed_by_the_weights_of_their_own_image() -> None:
    screen, faces, keep = drawn(3, 3, 6)
    values = torch.randn(3, 18, 4, generator=torch.Generator().manual_seed(0))
    hits = rasterise(screen, faces, keep, SIZE)
    mixed = interpolate(hits, faces, values)
    assert len(mixed) > 100
    for number in range(0, len(mixed), 7):
        corners = values[hits.image[number], faces[hits.face[number]]]
        torch.testing.assert_close(mixed[number], (hits.weights[number, :, None] * corners).sum(0))


def ball(at: tuple[float, float, float], radius: float, *, two_sided: bool = False) -> Mesh:
    tilt = torch.linspace(0, math.pi, 13)
    centre = torch.tensor(at) + radius * tilt.cos()[:, None] * torch.tensor([0.0, 1.0, 0.0])
    wide = radius * tilt.sin()[:, None]
    side, front = wide * torch.tensor([1.0, 0.0, 0.0]), wide * torch.tensor([0.0, 0.0, 1.0])
    return loft(centre[None], side[None], front[None], slot="skin", part="head", segments=18, two_sided=two_sided)


def test_a_ball_seen_from_outside_is_whole_and_has_no_far_side() -> None:
    both = join([ball((0.0, 0.0, 0.0), 0.5), ball((0.0, 0.0, 0.0), 0.3, two_sided=True)])
    eye = torch.tensor([[0.4, 0.7, 4.0]])
    keep = facing(both, eye)
    inner = len(both.faces) // 2
    assert keep[0, inner:].all()
    for face in range(0, inner, 5):
        corners = both.vertices[0, both.faces[face]], both.normals[0, both.faces[face]]
        looks = [float((eye[0] - place) @ normal) > 0 for place, normal in zip(*corners, strict=True)]
        assert keep[0, face] == any(looks)
    assert 0.4 < keep[0, :inner].float().mean() < 0.75
    x, y, z = (both.vertices - eye[:, None]).unbind(2)
    screen = torch.stack([128 + x / -z * 600 + 60, 128 - y / -z * 600 - 100, -z], 2)
    shown = both.shown.clone()
    shown[:, inner:] = False
    whole, culled = (rasterise(screen, both.faces, k, (256, 256)) for k in (shown, keep & shown))
    assert torch.equal(whole.pixel, culled.pixel)
    assert (whole.face == culled.face).float().mean() > 0.999
    rows = as_pictures(whole, whole.face, -1)[0] >= 0
    assert (rows.int().diff(dim=1).abs().sum(1) <= 2).all()  # each row is one piece: no seam


def test_what_is_not_shown_does_not_face_anybody() -> None:
    mesh = ball((0.0, 0.0, 0.0), 0.5)
    hidden = Mesh(**vars(mesh) | {"shown": torch.zeros_like(mesh.shown)})
    assert not facing(hidden, torch.tensor([[0.0, 0.0, 4.0]])).any()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_same_on_a_cuda_device() -> None:
    screen, faces, keep = drawn(1, 8, 200)
    here, there = rasterise(screen, faces, keep, SIZE), rasterise(screen.cuda(), faces.cuda(), keep.cuda(), SIZE)
    assert torch.equal(here.pixel, there.pixel.cpu())
    assert (here.face == there.face.cpu()).float().mean() > 0.99
    torch.testing.assert_close(here.depth, there.depth.cpu(), rtol=1e-4, atol=0)
