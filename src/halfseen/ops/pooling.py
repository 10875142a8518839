"""From a grid of features and maps over it to one vector for each map."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

LEAST_MASS = 1e-6  # a map without any mass gives the vector 0


def pool(features: Tensor, maps: Tensor, norm: Literal["mask", "grid", "max"] = "mask") -> Tensor:
    """`features` [B,D,h,w] under `maps` [B,K,h,w] (or [1,K,h,w], the same for all) → [B,K,D].

    `mask`: weighted mean. `grid`: sum over the number of cells, as average pooling of map × features.
    `max`: the greatest map × feature over the cells, thus at least 0 where the map leaves a cell out.
    """
    if norm == "max":
        # map by map: all at once would hold [B,K,D,h,w]
        return torch.stack([(features * maps[:, k, None]).amax((2, 3)) for k in range(maps.shape[1])], dim=1)
    sums = torch.einsum("bdhw,bkhw->bkd", features, maps)
    if norm == "grid":
        return sums / (features.shape[2] * features.shape[3])
    return sums / maps.sum((2, 3)).clamp_min(LEAST_MASS)[..., None]
