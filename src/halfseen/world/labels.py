"""What is known of a rendered picture: which pixel is which part, where the joints are and whether they are seen."""

from __future__ import annotations

import torch
from torch import Tensor

from halfseen.ops.groupings import JOINTS
from halfseen.world.shapes import PART, PARTS, Mesh, used

COVERED, OWN, SEEN = 0, 1, 2  # the states of a joint: something else is before it, its own body is, nothing is

# Which parts a joint may lie on, as its name begins and ends.
LIES_ON = {
    "shoulder": ("{}_arm", "torso"), "elbow": ("{}_arm",), "wrist": ("{}_arm",),
    "hip": ("torso", "{}_leg"), "knee": ("{}_leg",), "ankle": ("{}_leg", "{}_foot"),
}  # fmt: skip
FACE_JOINTS = 5  # the first five joints lie on the head's surface
DEEP = 0.22  # metres of clothed body before a joint, at most
FACE_DEEP = 0.035


def mode_of_four(labels: Tensor) -> Tensor:
    """[N,2H,2W] → [N,H,W]: the label that most of each 2×2 hold (the smaller of two that hold two each)."""
    n, height, width = labels.shape
    four = labels.reshape(n, height // 2, 2, width // 2, 2).transpose(2, 3).flatten(3)
    a, b, c, d = four.sort(dim=3).values.unbind(3)
    return torch.where((a != b) & (b != c) & (c == d), c, torch.where(b == c, b, a))


def mostly(holds: Tensor, of: Tensor) -> Tensor:
    """bool [N,H,W]: where `holds` bool [N,2H,2W] is true of at least half of each 2×2's pixels that are `of` it."""
    some, all_of = (_counted(mask) for mask in (holds & of, of))
    return 2 * some >= all_of


def _counted(mask: Tensor) -> Tensor:
    four = mask.to(torch.uint8)
    return four[:, ::2, ::2] + four[:, ::2, 1::2] + four[:, 1::2, ::2] + four[:, 1::2, 1::2]


def is_body(labels: Tensor) -> Tensor:
    """Where `labels` name one of the body's own parts: neither background nor something carried."""
    return (labels > 0) & (labels < PART["carried"])


def covered_share(alone: Tensor, together: Tensor) -> Tensor:
    """[N]: the share of the body's pixels in the labels `alone` [N,H,W] that are not the body's in `together`."""
    body = is_body(alone)
    hidden = body & ~is_body(together)
    return hidden.sum((1, 2)) / body.sum((1, 2)).clamp(min=1)


def whole_boxes(mesh: Mesh, screen: Tensor) -> Tensor:
    """[N,4] left, top, right, bottom edges of the body as projected to `screen` [N,V,3], things carried left out."""
    body = used(mesh.faces, mesh.shown & is_body(mesh.part), screen.shape[1])[..., None]
    low = torch.where(body, screen[..., :2], torch.inf).amin(1)
    high = torch.where(body, screen[..., :2], -torch.inf).amax(1)
    return torch.cat([low - 0.5, high + 0.5], dim=1)


def seen_boxes(labels: Tensor) -> Tensor:
    """[N,4] left, top, right, bottom edges of the body's pixels in `labels` [N,H,W]; zeros where there are none."""
    body = is_body(labels)
    edges = []
    for axis in (2, 1):  # columns are left after all rows are taken together, then rows
        line = body.any(3 - axis)
        length = line.shape[1]
        first = line.int().argmax(1)
        last = length - 1 - line.flip(1).int().argmax(1)
        edges.append((first - 0.5, last + 0.5))
    (left, right), (top, bottom) = edges
    box = torch.stack([left, top, right, bottom], dim=1)
    return torch.where(body.any(2).any(1)[:, None], box, 0.0)


def joint_states(joints: Tensor, labels: Tensor, rows: Tensor, depth: Tensor, front: Tensor) -> Tensor:
    """uint8 [N,17]: COVERED, OWN or SEEN.

    `joints` [N,17,3]: x, y in pixels of the `labels` [N,H,W] (the person's, as seen together with the rest) and metres
    ahead; `depth` and `front` [N,H,W]: metres to the person's surface and to what stands before it (inf: nothing).
    A joint is seen if its own part, at its own depth, is seen within a pixel of it. Outside the picture, of whose rows
    the first `rows` [N] are kept, it is covered.
    """
    height, width = labels.shape[1:]
    column, row = (joints[..., i].round().long() for i in (0, 1))
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < rows[:, None])
    place = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    ahead = joints[..., 2]
    behind = front.flatten(1).gather(1, place) < ahead
    own = torch.zeros_like(inside)
    allowed = _allowed(labels.device)
    deep = torch.full((len(JOINTS),), DEEP, device=labels.device)
    deep[:FACE_JOINTS] = FACE_DEEP
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            near = (row + dy).clamp(0, height - 1) * width + (column + dx).clamp(0, width - 1)
            label = labels.flatten(1).gather(1, near).long()
            away = ahead - depth.flatten(1).gather(1, near)
            right_part = allowed[torch.arange(len(JOINTS), device=labels.device), label]
            own |= right_part & (away < deep) & (away > -0.5 * deep)
    state = torch.where(own & ~behind, SEEN, torch.where(behind, COVERED, OWN))
    return torch.where(inside, state, COVERED).to(torch.uint8)


def _allowed(device: torch.device) -> Tensor:
    """bool [17, parts]"""
    table = torch.zeros(len(JOINTS), len(PARTS), dtype=torch.bool)
    for joint, name in enumerate(JOINTS):
        side, _, rest = name.partition("_")
        parts = LIES_ON.get(rest, ("head",))
        table[joint, [PART[part.format(side)] for part in parts]] = True
    return table.to(device)
