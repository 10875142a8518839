"""Setting the stage: who and what stands where in the pictures of a batch, and what cuts each of them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from halfseen.types import Occlusion
from halfseen.world.bodies.body import body
from halfseen.world.bodies.poses import skeleton
from halfseen.world.cameras import Camera, place, views
from halfseen.world.labels import whole_boxes
from halfseen.world.objects.carried import carried
from halfseen.world.objects.solids import spread
from halfseen.world.objects.things import things
from halfseen.world.placing import moved, sideways
from halfseen.world.plan import Shot, Stance, Thing
from halfseen.world.shapes import Mesh, about_y, join, turned
from halfseen.world.views import View, project

NARROWEST = 0.44  # widths of a box are at least this share of its height, as a detector's are
GAP_THING, GAP_PASSER = (0.35, 0.9), (0.55, 1.1)  # metres before the person, nearest and farthest
LONG_THING = {Thing.CAR: 2.0}  # metres of it that are moved aside at once
DEEP_THING = {Thing.CAR: 0.9, Thing.BUSH: 0.55, Thing.TABLE: 0.4, Thing.TREE: 0.3}  # half their depth, in metres


@dataclass(frozen=True)
class Stage:
    """N scenes in the world of their cameras.

    `person` and `front` (what stands before it: first things, from face `passers` on people), `joints` [N,17,3] of the
    person, `at` [N,3] where it stands, `view` that of the whole frame, `box` [N,4] the cut-out in the frame's pixels.
    """

    person: Mesh
    front: Mesh
    passers: int
    joints: Tensor
    at: Tensor
    view: View
    box: Tensor


def set_stage(cameras: Sequence[Camera], shots: Sequence[Shot], device: torch.device | str) -> Stage:
    """The scenes of `shots`."""
    at = _spots(cameras, shots, device)
    to_camera = torch.atan2(-at[:, 0].double(), -at[:, 2].double()).float()  # as `about_y`
    person, joints = _people([shot.stance for shot in shots], to_camera, at)
    view = views([cameras[shot.camera] for shot in shots], device)
    box = _boxes(whole_boxes(person, project(view, person.vertices)), shots)
    things_before, passers_before = _things(shots, to_camera, at), _passers(shots, to_camera, at)
    front = join([_nothing(len(shots), device), *things_before, *passers_before])
    aside = sideways(person, front, view, box, covered=_numbers(shots, "covered", device), side=_sides(shots, device))
    passers = 1 + sum(len(mesh.faces) for mesh in things_before)
    return Stage(person, moved(front, aside), passers, joints, at, view, box)


def _people(stances: Sequence[Stance], to_camera: Tensor, at: Tensor) -> tuple[Mesh, Tensor]:
    """The mesh of people with what they carry, and their joints [N,17,3], where they stand."""
    device = at.device
    people = [stance.person for stance in stances]
    activity = torch.tensor([int(stance.activity) for stance in stances], device=device)
    phase = torch.tensor([stance.phase for stance in stances], device=device)
    style = torch.tensor([stance.style for stance in stances], device=device)
    bones = skeleton(people, activity, phase, style)
    yaw = to_camera + torch.tensor([stance.yaw for stance in stances], device=device)
    joints = (about_y(yaw)[:, None] * bones.joints[:, :, None]).sum(-1) + at[:, None]
    return turned(join([body(people, bones), carried(people, bones)]), yaw, at), joints


def _spots(cameras: Sequence[Camera], shots: Sequence[Shot], device: torch.device | str) -> Tensor:
    floor = [place(cameras[shot.camera], shot.ahead, shot.aside) for shot in shots]
    return torch.tensor([(x, 0.0, z) for x, z in floor], device=device)


def _boxes(whole: Tensor, shots: Sequence[Shot]) -> Tensor:
    """Boxes [N,4] as a detector draws them around `whole` ones: not too narrow, and a little off."""
    left, top, right, bottom = whole.unbind(1)
    middle, height = (left + right) / 2, bottom - top
    half = torch.maximum(right - left, NARROWEST * height) / 2
    jitter = torch.tensor([shot.jitter for shot in shots], device=whole.device)
    return torch.stack(
        [
            middle - half - jitter[:, 0] * 2 * half,
            top - jitter[:, 1] * height,
            middle + half + jitter[:, 2] * 2 * half,
            bottom + jitter[:, 3] * height,
        ],
        dim=1,
    )


def _things(shots: Sequence[Shot], to_camera: Tensor, at: Tensor) -> list[Mesh]:
    rows = [row for row, shot in enumerate(shots) if shot.occlusion is Occlusion.NPO]
    if not rows:
        return []
    device = at.device
    chosen = [shots[row] for row in rows]
    dice = chances(chosen, device)
    kinds = torch.tensor([int(shot.thing) for shot in chosen], device=device)
    deep = torch.tensor([DEEP_THING.get(shot.thing, 0.2) for shot in chosen], device=device)
    mesh = things(kinds, dice[:, :8])
    aside = torch.tensor([LONG_THING.get(shot.thing, 0.0) for shot in chosen], device=device) * _sides(chosen, device)
    spot = _before(at[rows], to_camera[rows], deep + _between(GAP_THING, dice[:, 8]))
    spot = spot + torch.nn.functional.pad(aside[:, None], (0, 2))
    faced = turned(mesh, to_camera[rows] + 0.5 * (dice[:, 9] - 0.5), spot)
    return [spread(faced, torch.tensor(rows, device=device), len(shots))]


def _passers(shots: Sequence[Shot], to_camera: Tensor, at: Tensor) -> list[Mesh]:
    rows = [row for row, shot in enumerate(shots) if shot.passer is not None]
    if not rows:
        return []
    stances = [shot.passer for shot in shots if shot.passer is not None]
    dice = chances([shots[row] for row in rows], at.device)
    spot = _before(at[rows], to_camera[rows], _between(GAP_PASSER, dice[:, 8]))
    mesh, _ = _people(stances, to_camera[rows], spot)
    return [spread(mesh, torch.tensor(rows, device=at.device), len(shots))]


def _before(at: Tensor, to_camera: Tensor, gap: Tensor) -> Tensor:
    """Places [N,3] `gap` [N] metres nearer to the camera than `at` [N,3]."""
    step = torch.stack([to_camera.sin(), torch.zeros_like(gap), to_camera.cos()], dim=1)
    return at + gap[:, None] * step


def _nothing(count: int, device: torch.device | str) -> Mesh:
    """One face that is never shown, so that there is always something to join."""
    corner = torch.zeros(count, 3, 3, device=device)
    zero = torch.zeros(1, dtype=torch.int64, device=device)
    faces = torch.tensor([[0, 1, 2]], device=device)
    shown = torch.zeros(count, 1, dtype=torch.bool, device=device)
    return Mesh(corner, corner, corner, corner[..., 0], faces, zero, zero, zero.bool(), shown)


def _numbers(shots: Sequence[Shot], name: str, device: torch.device | str) -> Tensor:
    return torch.tensor([float(getattr(shot, name)) for shot in shots], device=device)


def _between(ends: tuple[float, float], share: Tensor) -> Tensor:
    return ends[0] + (ends[1] - ends[0]) * share


def _sides(shots: Sequence[Shot], device: torch.device | str) -> Tensor:
    return torch.tensor([1.0 if shot.seed % 2 else -1.0 for shot in shots], device=device)


def chances(shots: Sequence[Shot], device: torch.device | str) -> Tensor:
    """Ten numbers 0..1 for each shot, made of its seed."""
    seeds = torch.tensor([shot.seed % 2**31 for shot in shots], device=device)
    turns = torch.arange(1, 11, device=device)
    mixed = (seeds[:, None] * 6364136223846793005 + turns * 1442695040888963407) >> 17
    mixed = (mixed ^ (mixed >> 13)) * 2862933555777941757
    return ((mixed >> 24) & 0xFFFFFF).float() / 0x1000000
