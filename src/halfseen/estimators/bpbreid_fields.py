"""BPBreID's released confidence fields: each joint is where its field is greatest, and as sure as that.

They were cut out with the mask of the person nearest the picture's middle, so there is nobody else in them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from halfseen.estimators.people import People, peaks
from halfseen.ops.groupings import JOINTS


def person_in(fields: Tensor, size: tuple[int, int]) -> People:
    """The one person [1,17,3], in pixels of a picture of `size`, of its `fields` [36,h,w] in 0..1."""
    found = peaks(fields[: len(JOINTS)])
    cells = torch.tensor([fields.shape[2], fields.shape[1]])
    places = (found[:, :2] + 0.5) * (torch.tensor([size[1], size[0]]) / cells) - 0.5
    return torch.cat([places, found[:, 2:].clamp(0, 1)], dim=1)[None]
