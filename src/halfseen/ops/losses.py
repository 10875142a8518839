"""Losses of networks: free functions of what a network returns, each a mean, so that their weights compare."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

INFINITY = float("inf")


def identity(logits: Tensor, pids: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of `logits` [N,C] with `pids` [N] in 0..C-1; `smoothing` is spread evenly over all C."""
    return F.cross_entropy(logits, pids, label_smoothing=smoothing)


def pairwise_euclid(a: Tensor, b: Tensor) -> Tensor:
    """The Euclidean distances [N,M] of `a` [N,D] to `b` [M,D]; a leading dimension, the same in both, is a batch."""
    # Differences, not the matrix product: its rounding error is larger than the distances of near twins,
    # and mixed precision would round it further.
    distances = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    return distances.clamp(min=1e-6)  # squares from 1e-12 up; below, the gradient is 0 instead of unbounded


def batch_hard(distances: Tensor, pids: Tensor, margin: float | None) -> Tensor:
    """Triplet loss on `distances` [N,N] of images of `pids` [N]: each against its furthest friend and nearest stranger.

    `margin` None is the soft form log(1 + exp(.)), which papers also write as margin 0; a number is the hinge. An
    infinite distance marks a pair that is not looked at. Images left without friend or stranger drop out of the mean;
    0 if that leaves none.
    """
    same = pids[:, None] == pids
    itself = torch.eye(len(pids), dtype=torch.bool, device=pids.device)
    unseen = distances == INFINITY  # and not ~isfinite: a NaN must surface in the loss
    friend = distances.masked_fill(~same | itself | unseen, -INFINITY).amax(1)
    stranger = distances.masked_fill(same | unseen, INFINITY).amin(1)
    gap = friend - stranger  # -inf without either, where both forms and their gradients vanish
    losses = F.softplus(gap) if margin is None else F.relu(gap + margin)
    return losses.sum() / (gap != -INFINITY).sum().clamp(min=1)


def part_triplet(parts: Tensor, pids: Tensor, margin: float | None, *, visibility: Tensor | None = None) -> Tensor:
    """`batch_hard` on the mean over parts of the distances of `parts` [N,K,D].

    With `visibility` [N,K] in 0..1, parts weigh v_a v_b; pairs without a shared part are not looked at. Gradients
    reach `visibility` too: detach it where it is predicted, or hiding parts becomes a way to lower the loss.
    """
    if visibility is None:
        return batch_hard(_by_part(parts).mean(0), pids, margin)
    parts = torch.where(visibility[:, :, None] > 0, parts, 0.0)  # what is hidden may be anything, even NaN
    weights = visibility.T[:, :, None] * visibility.T[:, None, :]
    total = weights.sum(0)
    shared = total > 0
    mean = (weights * _by_part(parts)).sum(0) / total.where(shared, 1.0)
    return batch_hard(mean.where(shared, INFINITY), pids, margin)


def _by_part(parts: Tensor) -> Tensor:
    """The distances [K,N,N] within each part of `parts` [N,K,D]."""
    columns = parts.transpose(0, 1)
    return pairwise_euclid(columns, columns)
