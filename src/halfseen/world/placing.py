"""Where a thing or a passer-by must stand to hide the wanted share of a person."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from halfseen.world.labels import is_body
from halfseen.world.light.raster import silhouettes
from halfseen.world.shapes import Mesh
from halfseen.world.views import View, cropped, project

COARSE = (48, 24)  # pixels in which shares are measured
AROUND = 3  # boxes to either side within which a place is looked for
WRONG_SIDE = 0.02  # how much worse a share may be on the side that chance prefers


def sideways(person: Mesh, front: Mesh, view: View, box: Tensor, *, covered: Tensor, side: Tensor) -> Tensor:
    """Metres [N] to the right by which `front` must move so that it hides the share `covered` [N] of `person`.

    `view` is that of the frame, `box` [N,4] cuts the person out. Moving `front` along the picture's rows moves its
    outline by as many pixels everywhere (it has little depth), so that one outline and one product give the shares of
    all places. Of places as good as each other the one on `side` [N] (−1 or 1) is taken.
    """
    height, width = COARSE
    margin = AROUND * (box[:, 2] - box[:, 0])[:, None] * torch.tensor([-1.0, 0.0, 1.0, 0.0], device=box.device)
    body = _outline(person, is_body(person.part) & person.shown, cropped(view, box, COARSE), COARSE).float()
    size = (height, (1 + 2 * AROUND) * width)
    wide = cropped(view, box + margin, size)
    other = _outline(front, front.shown, wide, size).float()
    windows = other.unfold(2, width, 1)  # [N,h,·,w]: what is to be seen if the outline is moved, first the farthest
    hidden = (windows * body[:, :, None]).sum((1, 3)) / body.sum((1, 2)).clamp(min=1)[:, None]
    steps = AROUND * width - torch.arange(windows.shape[2], device=box.device)  # pixels to the right
    wrong = (steps.sign() * side[:, None] < 0) * WRONG_SIDE
    best = ((hidden - covered[:, None]).abs() + wrong).argmin(1)
    return steps[best] * _ahead(front, view) / wide.focal[:, 0]


def moved(mesh: Mesh, metres: Tensor) -> Mesh:
    """`mesh` moved by `metres` [N] to the right of the picture."""
    aside = torch.nn.functional.pad(metres[:, None], (0, 2))
    return replace(mesh, vertices=mesh.vertices + aside[:, None])


def _outline(mesh: Mesh, keep: Tensor, view: View, size: tuple[int, int]) -> Tensor:
    return silhouettes(project(view, mesh.vertices), mesh.faces, keep, size)


def _ahead(mesh: Mesh, view: View) -> Tensor:
    """Metres [N] from the camera to the middle of what is shown of `mesh`."""
    corner = project(view, mesh.vertices)[:, mesh.faces[:, 0], 2]
    return (corner * mesh.shown).sum(1) / mesh.shown.sum(1).clamp(min=1)
