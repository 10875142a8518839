"""Where the parts of a body are: maps drawn from keypoints, maps from fixed cuts, and what is visible of them.

Pixel (0, 0) is the centre of the top left pixel; a grid of h×w cells covers the whole picture, edge to edge.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from halfseen.ops.groupings import GROUPINGS, LIMBS, Grouping, eight_in
from halfseen.types import Cues, InputError

# Pictures of people are resized to one shape, whatever theirs was, so that people look too broad or too slim. Widths
# are meant for a body as it was in a picture of this shape (width / height), about the mean of the public sets.
USUAL_ASPECT = 0.4

# As fractions of a standing person's height: how long a limb is (after Drillis and Contini), which tells the height,
# and how wide a joint or limb is (where its map falls to half its peak), chosen by looking at many people.
LIMB_LENGTHS = (
    *(0.22, 0.24, 0.22, 0.24),  # shanks and thighs, a little shortened by cameras that look down
    *(0.115, 0.325, 0.325, 0.21),  # torso: hip–hip, the sides, shoulder–shoulder
    *(0.17, 0.17, 0.15, 0.15),  # arms
    *(0.035, 0.03, 0.03, 0.04, 0.04),  # face
    *(0.155, 0.155),  # ear–shoulder
)
LIMB_RADII = (
    *(0.045, 0.06, 0.045, 0.06),
    *(0.065, 0.065, 0.065, 0.05),
    *(0.04, 0.04, 0.035, 0.035),
    *(0.065, 0.065, 0.065, 0.065, 0.065),
    *(0.035, 0.035),
)
JOINT_RADII = (
    *(0.065, 0.065, 0.065, 0.065, 0.065),
    *(0.05, 0.05, 0.04, 0.04, 0.045, 0.045),  # shoulders, elbows, wrists with the hands
    *(0.065, 0.065, 0.055, 0.055, 0.06, 0.06),  # hips, knees, ankles with the feet
)
_SIDES = ((5, 6), (17, 18))  # among LIMBS: shoulder–hip, ear–shoulder


class _Body(NamedTuple):
    """People and the grid they are drawn on, in pixels of pictures that were not stretched."""

    points: Tensor  # [B,17,2]
    scores: Tensor  # [B,17]
    height: Tensor  # [B]
    columns: Tensor  # [w]: where the centres of the cells are
    rows: Tensor  # [h]
    least: float  # radius: half a cell's diagonal, so that the cell that holds a joint has half its score or more

    def radii(self, shares: tuple[float, ...], width: float) -> Tensor:
        """[B,n] from shares of the height."""
        return (self.height[:, None] * self.points.new_tensor(shares) * width).clamp_min(self.least)


def joint_maps(
    keypoints: Tensor, size: tuple[int, int], grid: tuple[int, int], *, aspect: float = USUAL_ASPECT, width: float = 1.0
) -> Tensor:
    """A Gaussian at each joint, times its score: `keypoints` [B,17,3] in pictures of `size` → [B,17,h,w] in 0..1.

    `aspect`: width / height of the pictures before they were resized. `width` scales all widths.
    """
    body = _body(keypoints, size, grid, aspect)
    radii = body.radii(JOINT_RADII, width)
    down = _bell((body.rows - body.points[..., 1:]) ** 2, radii) * body.scores[..., None]
    across = _bell((body.columns - body.points[..., :1]) ** 2, radii)
    return (down[..., :, None] * across[..., None, :]).to(keypoints.dtype)


def limb_maps(
    keypoints: Tensor, size: tuple[int, int], grid: tuple[int, int], *, aspect: float = USUAL_ASPECT, width: float = 1.0
) -> Tensor:
    """A soft capsule along each limb, times the lower score of its ends: `keypoints` [B,17,3] → [B,19,h,w] in 0..1.

    The arguments are those of `joint_maps`.
    """
    body = _body(keypoints, size, grid, aspect)
    ends = _limb_ends(body.points, body.scores)[..., None, None]
    start, along = ends[:, :, 0], ends[:, :, 1] - ends[:, :, 0]  # [B,19,2,1,1]
    x = body.columns - start[:, :, 0]  # [B,19,1,w]
    y = body.rows[:, None] - start[:, :, 1]  # [B,19,h,1]
    run, rise = along[:, :, 0], along[:, :, 1]
    nearest = (x * run + y * rise) / (run**2 + rise**2).clamp_min(1e-12)  # a limb of length 0 is its start
    nearest.clamp_(0, 1)
    squares = (x - nearest * run) ** 2 + (y - nearest * rise) ** 2
    scores = body.scores[:, LIMBS].amin(2)
    maps = _bell(squares.flatten(2), body.radii(LIMB_RADII, width)) * scores[..., None]
    return maps.view_as(squares).to(keypoints.dtype)


def _limb_ends(points: Tensor, scores: Tensor) -> Tensor:
    """[B,19,2,2]. The flanks and the sides of the neck are moved halfway to the body's middle, where the flesh is:
    on the lines between the joints they would leave a hole in a broad chest and stand out beside it."""
    ends = points[:, LIMBS]
    sides = ends[:, _SIDES]  # [B,2,2 sides,2 ends,2]
    middle = sides.mean(2, keepdim=True)
    known = scores[:, LIMBS][:, _SIDES].amin((2, 3)) > 0  # a joint that was not found stands anywhere
    ends[:, _SIDES] = torch.where(known[:, :, None, None, None], (sides + middle) / 2, sides)
    return ends


def fields(
    keypoints: Tensor, size: tuple[int, int], grid: tuple[int, int], *, aspect: float = USUAL_ASPECT, width: float = 1.0
) -> Tensor:
    """The joints' and the limbs' maps, in the order of `FIELDS`: `keypoints` [B,17,3] → [B,36,h,w] in 0..1."""
    joints = joint_maps(keypoints, size, grid, aspect=aspect, width=width)
    return torch.cat([joints, limb_maps(keypoints, size, grid, aspect=aspect, width=width)], 1)


def _body(keypoints: Tensor, size: tuple[int, int], grid: tuple[int, int], aspect: float) -> _Body:
    (H, W), (h, w) = size, grid
    exact = keypoints.to(torch.promote_types(keypoints.dtype, torch.float32))
    unstretch = exact.new_tensor([aspect * H / W, 1.0])
    points, scores = exact[..., :2] * unstretch, exact[..., 2]
    columns = ((torch.arange(w).to(exact) + 0.5) * (W / w) - 0.5) * unstretch[0]
    rows = (torch.arange(h).to(exact) + 0.5) * (H / h) - 0.5
    least = math.hypot(aspect * H / w, H / h) / 2
    return _Body(points, scores, _heights(points, scores, otherwise=H), columns, rows, least)


def _heights(points: Tensor, scores: Tensor, otherwise: float) -> Tensor:
    """How tall people would stand, [B]: the weighted median of what each visible limb says (`points` [B,17,2])."""
    ends = points[:, LIMBS]
    expected = points.new_tensor(LIMB_LENGTHS)
    said, order = ((ends[:, :, 0] - ends[:, :, 1]).norm(dim=2) / expected).sort(dim=1)
    weights = scores[:, LIMBS].amin(2) * expected  # a long limb tells more than a short one
    below = weights.gather(1, order).cumsum(1)
    total = below[:, -1:]
    middle = (below < total / 2).sum(1, keepdim=True)
    return torch.where(total > 0, said.gather(1, middle), otherwise).squeeze(1)


def _bell(squares: Tensor, radii: Tensor) -> Tensor:
    """Gaussians of squared distances [B,n,m] that are 1 at distance 0 and ½ at each of `radii` [B,n] → [B,n,m]."""
    return torch.exp2(squares * (-1 / radii[..., None] ** 2))


def group(maps: Tensor, grouping: Grouping) -> Tensor:
    """The greatest member of each part: fields [B,36,h,w] (or joints' maps) → [B,K,h,w] in 0..1."""
    return _members(maps, grouping, filling=0.0).amax(2).clamp(0, 1)


def heatmap_groups(maps: Tensor, groups: Grouping, merge: Literal["sum", "max"] = "sum") -> Tensor:
    """Joints' heatmaps [B,17,h,w] (may lie outside 0..1) merged to [B,K,h,w], not clamped."""
    if merge == "sum":
        return _members(maps, groups, filling=0.0).sum(2)
    return _members(maps, groups, filling=-torch.inf).amax(2)


def _members(maps: Tensor, grouping: Grouping, filling: float) -> Tensor:
    """[B,C,h,w] → [B,K,M,h,w]: the members of each part, filled up to the length M of the largest."""
    longest = max(len(members) for _, members in grouping)
    nothing = maps.shape[1]  # the number of the channel that is appended
    table = [[*members, *[nothing] * (longest - len(members))] for _, members in grouping]
    padded = F.pad(maps, (0, 0, 0, 0, 0, 1), value=filling)
    return padded[:, torch.tensor(table, device=maps.device)]


def with_background(parts: Tensor, threshold: float = 0.5, sharpness: float = 15.0) -> Tensor:
    """Maps `parts` [B,K,h,w] → probabilities [B,K+1,h,w]; channel 0 is the background, where no part reaches
    `threshold` (BPBreID 0.5, TSD 0.3)."""
    background = parts.amax(1, keepdim=True) < threshold
    return torch.softmax(sharpness * torch.cat([background.to(parts.dtype), parts], 1), 1)


def resize_maps(maps: Tensor, grid: tuple[int, int], first: tuple[int, int] | None = None) -> Tensor:
    """`maps` [B,K,h,w] → [B,K,*grid], bilinear with corners aligned.

    `first`: go to that size by nearest neighbour before (BPBreID: a quarter of the picture's height and width).
    """
    if first is not None:
        maps = F.interpolate(maps, first, mode="nearest")
    return F.interpolate(maps, grid, mode="bilinear", align_corners=True)


def max_to_grid(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """The greatest value in each cell: `maps` [B,K,H,W] → [B,K,h,w] (Pirt eq. 1)."""
    return F.adaptive_max_pool2d(maps, grid)


def human_mask(maps: Tensor) -> Tensor:
    """The greatest of all joints' maps [B,17,h,w] → [B,1,h,w] (Pirt eq. 2)."""
    return maps.amax(1, keepdim=True)


def spatial_softmax(maps: Tensor, scale: float = 10.0) -> Tensor:
    """Each of `maps` [B,K,h,w] turned into a distribution over the cells (PGFL-KD; scale as in HOReID)."""
    return torch.softmax(scale * maps.flatten(2), 2).view_as(maps)


def part_labels(maps: Tensor) -> Tensor:
    """The number of the greatest channel in each cell: `maps` [B,K+1,h,w] → int64 [B,h,w], 0 = background."""
    return maps.argmax(1)


def grid_maps(cues: Cues, grouping: str, grid: tuple[int, int], image: tuple[int, int], person: float = 0.5) -> Tensor:
    """What share of each cell of `grid` is background (channel 0) and each part of `grouping`: [B,K+1,h,w].

    `cues` are of pictures of size `image`; the first there is of `parts` (in the grouping's own numbers, larger ones
    are background), `fields` and `keypoints` says where the parts are. Background is what is `hidden`, and where no
    confidence reaches `person`.
    """
    table, quarter = GROUPINGS[grouping], (image[0] // 4, image[1] // 4)
    if cues.parts is not None:
        shares = F.adaptive_avg_pool2d(_hidden_out(_one_hot(cues.parts, len(table)), cues), grid)
        return torch.cat([1 - shares.sum(1, keepdim=True), shares], 1)
    if cues.fields is not None:  # BPBreID's own way
        maps = with_background(_hidden_out(group(cues.fields, table), cues), person)
        return resize_maps(maps, grid, first=quarter)
    if cues.keypoints is not None:
        maps = group(fields(cues.keypoints, image, quarter), table)
        return F.adaptive_avg_pool2d(with_background(_hidden_out(maps, cues), person), grid)
    raise InputError("no cue says where these people's parts are; give keypoints, confidence fields or part labels")


def grid_labels(
    cues: Cues, grouping: str, grid: tuple[int, int], image: tuple[int, int], person: float = 0.5
) -> Tensor:
    """The part in each cell, int64 [B,h,w] in 0..K, of which parts must fill the share `person` where `parts` say; the
    arguments are those of `grid_maps`."""
    maps = grid_maps(cues, grouping, grid, image, person)
    if cues.parts is None and cues.fields is not None:
        return part_labels(maps)
    # Not the greatest channel: cells that two or three parts share would go to the background, and people grow thin.
    return torch.where(
        maps[:, 0] <= (0.5 if cues.parts is None else 1 - person + 1e-6), part_labels(maps[:, 1:]) + 1, 0
    )


def _one_hot(labels: Tensor, count: int) -> Tensor:
    """`labels` [B,H,W] as maps [B,count,H,W] of 0 and 1, without the background."""
    return (labels[:, None] == torch.arange(1, count + 1, device=labels.device)[:, None, None]).float()


def _hidden_out(maps: Tensor, cues: Cues) -> Tensor:
    return maps if cues.hidden is None else hide(maps, cues.hidden)


def regrouped(labels: Tensor, grouping: str) -> Tensor:
    """`labels` [B,H,W] of the world's numbers (0 background, the parts of `eight`, 9 carried) in those of `grouping`.

    What is carried becomes background. `five_v` cuts arms and torso in two, which `eight` does not know: here at half
    the height between their highest and lowest pixels that are seen.
    """
    numbers = torch.tensor([0, *eight_in(grouping), 0], device=labels.device)[labels.long()]
    if grouping != "five_v":
        return numbers
    trunk = (labels >= 2) & (labels <= 4)
    row = torch.arange(labels.shape[1], device=labels.device)[:, None]
    middle = (row.where(trunk, 0).amax((1, 2)) + row.where(trunk, len(row)).amin((1, 2))) / 2
    return torch.where(trunk, 2 + (row > middle[:, None, None]).long(), numbers)


def visible_parts(labels: Tensor, count: int) -> Tensor:
    """Which of `count` parts own a cell of `labels` [B,h,w], each 0..count → bool [B,count]."""
    seen = torch.zeros(len(labels), count + 1, dtype=torch.bool, device=labels.device)
    return seen.scatter_(1, labels.flatten(1).long(), True)[:, 1:]


def visible_by_threshold(maps: Tensor, threshold: float) -> Tensor:
    """Which of `maps` [B,K,h,w] rise above `threshold` somewhere → bool [B,K]."""
    return maps.amax((2, 3)) > threshold


def hide(maps: Tensor, hidden: Tensor) -> Tensor:
    """`maps` [B,K,h,w] times the share of each cell's pixels that `hidden` [B,H,W] leaves visible."""
    visible = (~hidden[:, None]).to(maps.dtype)
    return maps * F.adaptive_avg_pool2d(visible, (maps.shape[2], maps.shape[3]))


def seen_joints(keypoints: Tensor, hidden: Tensor) -> Tensor:
    """`keypoints` [B,17,3] with score 0 for joints outside the picture or on a `hidden` [B,H,W] pixel."""
    (H, W), (x, y) = hidden.shape[1:], (keypoints[..., :2] + 0.5).floor().long().unbind(-1)
    inside = (x >= 0) & (x < W) & (y >= 0) & (y < H)
    at = y.clamp(0, H - 1) * W + x.clamp(0, W - 1)
    seen = inside & ~hidden.flatten(1).gather(1, at)
    return torch.cat([keypoints[..., :2], keypoints[..., 2:] * seen[..., None]], dim=-1)


def stripes(count: int, grid: tuple[int, int]) -> Tensor:
    """`count` horizontal bands → [count,h,w] of 0 and 1; they share a row where the height is not divisible (PCB)."""
    return patches(count, 1, grid)


def patches(rows: int, columns: int, grid: tuple[int, int]) -> Tensor:
    """The picture cut into `rows` × `columns`, row by row → [rows·columns,h,w] of 0 and 1."""
    down, across = _bands(rows, grid[0]), _bands(columns, grid[1])
    return (down[:, None, :, None] * across[None, :, None, :]).flatten(0, 1)


def _bands(count: int, length: int) -> Tensor:
    """[count,length]: the cells that adaptive pooling of `length` cells to `count` counts to each."""
    band, cell = torch.arange(count)[:, None], torch.arange(length)
    first, end = band * length // count, -(-(band + 1) * length // count)
    return ((cell >= first) & (cell < end)).float()
