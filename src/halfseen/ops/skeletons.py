"""What can be wrong with a skeleton, by rules that one can measure, and how near one is to the truth."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from halfseen.ops.groupings import LIMBS
from halfseen.ops.parts import LIMB_LENGTHS, USUAL_ASPECT

SEEN = 0.5  # the score above which a joint counts as seen; the world gives it to those behind the own body
BODY = 12  # the first limbs: legs, torso, arms; those of the face are as short as the errors
FEWEST = 4  # joints or limbs that must be seen before anything is said of the whole
TOO_LONG = 2.5  # times the person's height, as most limbs tell it; the world's own people reach 2.2
TOO_SMALL = 0.1  # of the picture's height, if all joints lie within that
CROSSED = 0.03  # of the person's height by which left and right must be apart to be told apart

# What each rule calls impossible; of all joints and limbs only those count that are seen.
RULES = {
    "outside": "a joint lies outside the picture",
    "long limb": f"a limb is over {TOO_LONG:g} times as long as others let expect",
    "crossed": "shoulders and hips face opposite ways",
    "upside down": "shoulders lie below hips, or hips below both ankles",
    "collapsed": f"all joints lie within {TOO_SMALL:.0%} of the picture's height",
}


def impossible(keypoints: Tensor, sizes: Tensor) -> Mapping[str, Tensor]:
    """Which of `keypoints` [N,17,3], in pictures of `sizes` [N,2] (height, width), break each of RULES: bool [N]."""
    seen = keypoints[..., 2] > SEEN
    widths = USUAL_ASPECT * sizes[:, 0] / sizes[:, 1]  # of pixels: the pictures have been stretched
    x, y = keypoints[..., 0] * widths[:, None], keypoints[..., 1]
    told = _heights_told(torch.stack([x, y], dim=2), seen)
    height = told.nanmedian(1).values
    enough = (~told.isnan()).sum(1) >= FEWEST
    return {
        "outside": (seen & outside(keypoints, sizes)).any(1),
        "long limb": (told > TOO_LONG * height[:, None]).any(1) & enough,
        "crossed": _crossed(x, seen, height),
        "upside down": _upside_down(y, seen),
        "collapsed": (_extent(keypoints, seen) < TOO_SMALL * sizes[:, 0]) & (seen.sum(1) >= FEWEST),
    }


def outside(keypoints: Tensor, sizes: Tensor) -> Tensor:
    """Which joints of `keypoints` [N,17,3] lie outside pictures of `sizes` [N,2] (height, width): bool [N,17]."""
    places = keypoints[..., :2]
    return ((places < -0.5) | (places >= sizes.flip(1)[:, None] - 0.5)).any(2)


def correct(found: Tensor, known: Tensor, share: float = 0.2) -> Tensor:
    """PCK: which joints of `found` [N,17,3] lie within `share` of the torso's length of the `known` ones: bool [N,17].

    The torso reaches from the middle of the known shoulders to that of the hips, in the picture. Who was not found (all
    scores 0) has no joint right.
    """
    torso = (known[:, 5:7, :2].mean(1) - known[:, 11:13, :2].mean(1)).norm(dim=1)
    away = (found[..., :2] - known[..., :2]).norm(dim=2)
    near: Tensor = away <= share * torso[:, None]
    return near & (found[..., 2].amax(1) > 0)[:, None]


def _heights_told(points: Tensor, seen: Tensor) -> Tensor:
    """How tall each limb says that a person is, [N,BODY] from `points` [N,17,2]; NaN where an end is not `seen`."""
    ends = torch.tensor(LIMBS[:BODY], device=points.device)
    usual = torch.tensor(LIMB_LENGTHS[:BODY], device=points.device)
    lengths = (points[:, ends[:, 0]] - points[:, ends[:, 1]]).norm(dim=2) / usual
    return torch.where(seen[:, ends].all(2), lengths, torch.nan)


def _crossed(x: Tensor, seen: Tensor, height: Tensor) -> Tensor:
    shoulders, hips = x[:, 5] - x[:, 6], x[:, 11] - x[:, 12]
    apart = torch.minimum(shoulders.abs(), hips.abs()) > CROSSED * height  # false if the height is not known
    return (shoulders * hips < 0) & apart & seen[:, [5, 6, 11, 12]].all(1)


def _upside_down(y: Tensor, seen: Tensor) -> Tensor:
    torso = (y[:, 5:7].mean(1) > y[:, 11:13].mean(1)) & seen[:, [5, 6, 11, 12]].all(1)
    legs = (y[:, 11:13].mean(1) > y[:, 15:17].amax(1)) & seen[:, [11, 12, 15, 16]].all(1)
    return torso | legs


def _extent(keypoints: Tensor, seen: Tensor) -> Tensor:
    """The longer side of the box around the `seen` joints, [N]."""
    points = keypoints[..., :2]
    high = torch.where(seen[..., None], points, -torch.inf).amax(1)
    low = torch.where(seen[..., None], points, torch.inf).amin(1)
    return (high - low).amax(1)
