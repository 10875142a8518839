"""From shots to pictures: everything together, for a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from halfseen.types import InputError
from halfseen.world.cameras import CAMERAS
from halfseen.world.labels import covered_share, joint_states, mode_of_four, mostly, seen_boxes, whole_boxes
from halfseen.world.light.raster import Hits, facing, rasterise
from halfseen.world.photograph import World, photograph
from halfseen.world.plan import Shot
from halfseen.world.scenery.scenes import paint
from halfseen.world.shapes import Mesh
from halfseen.world.stage import set_stage
from halfseen.world.views import View, cropped, project


@dataclass(frozen=True)
class Pictures:
    """N pictures and all that is known of them.

    `images` uint8 [N,3,H,W], of which the first `rows` [N] rows are kept (partial pictures are cut below); `parts`
    uint8 [N,H,W]: labels of `shapes.PARTS`, 0 below the cut; `keypoints` [N,17,2]: x, y in pixels;
    `state` uint8 [N,17]: 2 seen, 1 behind the own body, 0 behind something else or outside the picture;
    `covered` [N]: the share of the body's pixels that something else hides; `whole_box` and `seen_box` [N,4]: left,
    top, right, bottom of the body, as if alone in a larger picture, and of its pixels seen (zeros if there are none).
    """

    images: Tensor
    rows: Tensor
    parts: Tensor
    keypoints: Tensor
    state: Tensor
    covered: Tensor
    whole_box: Tensor
    seen_box: Tensor


def build(
    cameras: int, seed: int, height: int, photos: Sequence[Tensor] = (), device: torch.device | str = "cpu"
) -> World:
    """A world of the first `cameras` cameras, whose frames are painted `height` pixels high; `photos` uint8 [3,·,·]."""
    if not 1 <= cameras <= len(CAMERAS):
        raise InputError(f"{cameras} cameras were asked for; {len(CAMERAS)} are defined, so choose 1 to {len(CAMERAS)}")
    chosen = CAMERAS[:cameras]
    frames = torch.stack([paint(camera, seed, height, device) for camera in chosen])
    return World(chosen, frames, tuple(photo.to(device) for photo in photos))


def render(world: World, shots: Sequence[Shot], size: tuple[int, int]) -> Pictures:
    """The pictures of `shots`, each `size` (height, width), of which `rows` belong to the picture."""
    fine = (2 * size[0], 2 * size[1])
    stage = set_stage(world.cameras, shots, world.frames.device)
    view = cropped(stage.view, stage.box, fine)
    own, front = (_trace(mesh, view, fine) for mesh in (stage.person, stage.front))
    depth, before = (_dense(hits, hits.depth, torch.inf) for hits in (own, front))
    labels = _dense(own, stage.person.part[own.face], 0)
    rows = torch.tensor([max(1, round(shot.keep * size[0])) for shot in shots], device=labels.device)
    kept = torch.arange(size[0], device=labels.device)[:, None] < rows[:, None, None]
    alone = mode_of_four(labels) * kept
    parts = alone * mostly(depth <= before, labels > 0)
    small = cropped(stage.view, stage.box, size)
    joints = project(small, stage.joints)
    return Pictures(
        images=photograph(world, shots, stage, _nearest(own, front, depth, before, len(stage.person.faces)), size),
        rows=rows,
        parts=parts.to(torch.uint8),
        keypoints=joints[..., :2],
        state=joint_states(joints, parts, rows, depth[:, ::2, ::2], before[:, ::2, ::2]),
        covered=covered_share(alone, parts),
        whole_box=whole_boxes(stage.person, project(small, stage.person.vertices)),
        seen_box=seen_boxes(parts),
    )


def _trace(mesh: Mesh, view: View, size: tuple[int, int]) -> Hits:
    return rasterise(project(view, mesh.vertices), mesh.faces, facing(mesh, view.eye), size)


def _dense(hits: Hits, values: Tensor, empty: float) -> Tensor:
    """`values` [M] of the hits as a picture [N,H,W] that is `empty` elsewhere."""
    out = torch.full((hits.shape[0] * hits.shape[1] * hits.shape[2],), empty, dtype=values.dtype, device=values.device)
    out[hits.pixel] = values
    return out.view(hits.shape)


def _nearest(own: Hits, front: Hits, depth: Tensor, before: Tensor, faces: int) -> Hits:
    """What is seen of both; the front's faces are numbered after the `faces` of the person's mesh."""
    first = (own.depth <= before.flatten().index_select(0, own.pixel)).nonzero()[:, 0]
    second = (front.depth < depth.flatten().index_select(0, front.pixel)).nonzero()[:, 0]
    own, front = own.take(first), front.take(second)
    return Hits(
        pixel=torch.cat([own.pixel, front.pixel]),
        face=torch.cat([own.face, front.face + faces]),
        weights=torch.cat([own.weights.t(), front.weights.t()], dim=1).t(),
        depth=torch.cat([own.depth, front.depth]),
        shape=own.shape,
    )
