"""Things that stand in front of people: what is shown, where it stands, how large it is, what it is made of."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from halfseen.world.objects.solids import bars, blocks, lathe, rounded, spots, spread
from halfseen.world.objects.things import thing_materials, things
from halfseen.world.people import Pattern
from halfseen.world.plan import Thing
from halfseen.world.shapes import PART, SLOTS, Mesh

KINDS = [kind for kind in Thing if kind is not Thing.NONE]
# Least and greatest width, least and greatest height, and the most faces shown.
SIZES = {
    Thing.POLE: (0.1, 0.9, 0.8, 3.7, 300),
    Thing.CAR: (4.15, 4.75, 1.38, 2.05, 850),
    Thing.BUSH: (0.9, 2.6, 0.8, 1.75, 900),
    Thing.BOARD: (0.5, 3.1, 0.85, 2.3, 250),
    Thing.BICYCLE: (1.5, 1.9, 0.9, 1.15, 850),
    Thing.TABLE: (0.9, 2.3, 0.7, 1.35, 600),
    Thing.LUGGAGE: (0.5, 1.3, 0.6, 1.4, 760),
    Thing.TREE: (1.4, 2.9, 2.9, 4.6, 900),
}


def styles(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 8, generator=torch.Generator().manual_seed(seed))


def all_kinds(each: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    kind = torch.tensor([int(kind) for kind in Thing]).repeat_interleave(each)
    return kind, styles(len(kind), seed)


def corners(mesh: Mesh, row: int) -> Tensor:
    """The corners [K,3] of the faces that image `row` shows."""
    return mesh.vertices[row, mesh.faces[mesh.shown[row]].flatten()]


def test_a_kind_shows_faces_that_are_its_own() -> None:
    kind, style = all_kinds(12)
    mesh = things(kind, style)
    seen = {thing: mesh.shown[kind == thing].any(0) for thing in Thing}
    assert not seen[Thing.NONE].any()
    assert torch.stack([seen[thing].long() for thing in KINDS]).sum(0).max() == 1
    for thing in KINDS:
        shown = mesh.shown[kind == thing].sum(1)
        assert shown.min() > 0, thing.name
        assert shown.max() <= SIZES[thing][-1], thing.name


def test_things_are_background_of_their_own_slots() -> None:
    mesh = things(*all_kinds(1))
    assert (mesh.part == PART["background"]).all()
    assert {SLOTS[slot] for slot in mesh.slot.tolist()} == {"thing", "thing_trim", "thing_dark"}


@pytest.mark.parametrize("thing", KINDS)
def test_sizes_and_the_floor(thing: Thing) -> None:
    style = styles(40, seed=int(thing))
    kind = torch.full((40,), int(thing))
    mesh = things(kind, style)
    narrow, wide, low, high, _ = SIZES[thing]
    for row in range(40):
        points = corners(mesh, row)
        extent = points.amax(0) - points.amin(0)
        assert narrow <= extent[0] <= wide
        assert low <= extent[1] <= high
        assert abs(float(points[:, 1].min())) < 0.01
        assert points[:, 0].min() < 0 < points[:, 0].max()
        assert points[:, 2].abs().max() < 1.1


def test_style_makes_a_difference() -> None:
    for thing in KINDS:
        mesh = things(torch.full((20,), int(thing)), styles(20))
        sizes = [corners(mesh, row).amax(0)[:2].mul(1000).round().tolist() for row in range(20)]
        assert len(set(map(tuple, sizes))) > 10, thing.name


def test_an_image_does_not_depend_on_its_batch() -> None:
    kind, style = all_kinds(3, seed=5)
    together = things(kind, style)
    for row in range(0, len(kind), 4):
        alone = things(kind[row : row + 1], style[row : row + 1])
        for name in ("vertices", "normals", "surface", "open", "shown"):
            assert torch.equal(getattr(together, name)[row], getattr(alone, name)[0]), (kind[row], name)


@settings(deadline=None, max_examples=20)
@given(kind=st.sampled_from(KINDS), style=st.lists(st.floats(0, 1, width=32), min_size=8, max_size=8))
def test_any_style_is_sound(kind: Thing, style: list[float]) -> None:
    mesh = things(torch.tensor([int(kind)]), torch.tensor([style]))
    used = mesh.faces[mesh.shown[0]].flatten()
    for values in (mesh.vertices, mesh.surface, mesh.open, mesh.normals):
        assert values.isfinite().all()
    assert (mesh.normals[0, used].norm(dim=-1) - 1).abs().max() < 1e-3
    assert mesh.open.min() >= 0
    assert mesh.open.max() <= 1
    assert mesh.vertices[0, used].abs().max() < 5


def test_the_ends_of_styles_are_allowed() -> None:
    kind = torch.tensor([int(kind) for kind in KINDS])
    for end in (0.0, 1.0):
        mesh = things(kind, torch.full((len(kind), 8), end))
        assert mesh.shown.any(1).all()


def test_leaves_face_the_camera_and_differ() -> None:
    mesh = things(torch.tensor([int(Thing.BUSH)]), styles(1))
    leaves = mesh.two_sided & mesh.shown[0]
    normals = mesh.normals[0, mesh.faces[leaves, 0]]
    assert leaves.sum() > 500
    assert (normals[:, 2] > 0).float().mean() > 0.6
    assert mesh.surface[0, mesh.faces[leaves, 0], 0].std() > 0.5


@pytest.mark.parametrize("thing", list(Thing))
def test_materials(thing: Thing) -> None:
    cloths = [thing_materials(thing, number / 50) for number in range(50)]
    assert cloths == [thing_materials(thing, number / 50) for number in range(50)]
    for cloth in (cloth for three in cloths for cloth in three):
        assert all(0 <= part <= 1 for colour in cloth.colours for part in colour)
        assert cloth.period > 0
        assert 0 <= cloth.gloss <= 1
        assert 0 <= cloth.chance <= 1
    if thing is not Thing.NONE:
        assert len({three[0].colours for three in cloths}) >= 4


def test_cars_shine_leaves_are_flecked_and_boards_are_printed() -> None:
    chances = [number / 40 for number in range(40)]
    assert min(thing_materials(Thing.CAR, chance)[0].gloss for chance in chances) > 0.7
    assert {thing_materials(Thing.BUSH, chance)[0].pattern for chance in chances} == {Pattern.CAMOUFLAGE}
    boards = [thing_materials(Thing.BOARD, chance)[0].pattern for chance in chances]
    assert boards.count(Pattern.PRINT_FRONT) > 10


def test_a_block_has_its_six_sides() -> None:
    mesh = blocks(torch.zeros(1), [((1.0, 2.0, 3.0), (0.5, 1.0, 1.5))], slot="thing")
    assert mesh.faces.shape == (12, 3)
    assert mesh.vertices[0].amin(0).tolist() == [0.5, 1.0, 1.5]
    assert mesh.vertices[0].amax(0).tolist() == [1.5, 3.0, 4.5]
    outward = mesh.vertices[0] - torch.tensor([1.0, 2.0, 3.0])
    assert ((outward * mesh.normals[0]).sum(-1) > 0.49).all()
    front = mesh.surface[0, :4]
    assert front[:, 0].tolist() == [-0.5, 0.5, 0.5, -0.5]  # metres from the middle
    assert front[:, 1].tolist() == [2, 2, 0, 0]  # and from the top


def test_panels_are_wound_as_their_normals_say() -> None:
    mesh = blocks(torch.zeros(1), [((0.0, 0.0, 0.0), (1.0, 2.0, 3.0))], slot="thing")
    first, second, third = mesh.vertices[0, mesh.faces].unbind(1)
    wound = torch.linalg.cross(second - first, third - first)
    assert ((wound * mesh.normals[0, mesh.faces[:, 0]]).sum(-1) > 0).all()


@pytest.mark.parametrize("end", [(0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.6, -0.3, 0.9)])
def test_bars_and_lathes_follow_their_axis(end: tuple[float, float, float]) -> None:
    axis = torch.tensor(end)
    start = torch.tensor([0.1, 0.2, 0.3])
    rod = bars(torch.zeros(1), 0.01, [(tuple(start.tolist()), tuple((start + axis).tolist()))], slot="metal")
    turned = lathe(
        spots(torch.zeros(1), tuple(start.tolist()), tuple((start + axis).tolist())),
        [(0, 0.01), (1, 0.01)],
        slot="metal",
    )
    for mesh, far in ((rod, 0.01 * 2**0.5), (turned, 0.01)):
        away = mesh.vertices[0] - start
        along = (away @ axis) / axis.norm()
        aside = (away - along[:, None] * axis / axis.norm()).norm(dim=-1)
        assert along.min().item() == pytest.approx(0, abs=1e-5)
        assert along.max().item() == pytest.approx(axis.norm().item(), abs=1e-5)
        assert aside.tolist() == pytest.approx([far] * len(aside), abs=1e-5)


def test_rounded_boxes_fill_their_place() -> None:
    mesh = rounded(spots(torch.zeros(1), (0, 1, 0), (0.3, 0.2, 0.1)), slot="bag")
    assert mesh.vertices[0].amax(0).tolist() == pytest.approx([0.3, 1.2, 0.1])
    assert mesh.vertices[0].amin(0).tolist() == pytest.approx([-0.3, 0.8, -0.1])


def test_spread_shows_only_its_rows() -> None:
    mesh = blocks(torch.zeros(2), [((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))], slot="thing")
    wide = spread(mesh, torch.tensor([3, 1]), 4)
    assert wide.shown.any(1).tolist() == [False, True, False, True]
    assert torch.equal(wide.vertices[3], mesh.vertices[0])
    assert (wide.vertices[0] == 0).all()
