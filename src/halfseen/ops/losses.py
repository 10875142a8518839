"""Losses of networks: free functions of what a network returns, each a mean, so that their weights compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from halfseen.types import InputError

INFINITY = float("inf")

GiltTable: TypeAlias = dict[str, tuple[float, float]]  # of each embedding, what its identity and triplet loss weigh


def identity(logits: Tensor, pids: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of `logits` [N,C] with `pids` [N] in 0..C-1; `smoothing` is spread evenly over all C.

    `logits` [N,K,C] are K opinions of each image, of equal weight.
    """
    if logits.ndim == 3:
        logits, pids = logits.flatten(0, 1), pids.repeat_interleave(logits.shape[1])
    return F.cross_entropy(logits, pids, label_smoothing=_share(smoothing))


def pixel_parts(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of `logits` [N,K+1,h,w] with part `labels` [N,h,w] in 0..K, the mean over all cells of all images.

    `smoothing` is spread evenly over the K+1 classes: BPBreID's eq. 2, whose N means classes, not images.
    """
    return F.cross_entropy(logits, labels, label_smoothing=_share(smoothing))


def _share(smoothing: float) -> float:
    if not 0 <= smoothing <= 1:
        raise InputError(f"smoothing is {smoothing}; give a share from 0 to 1")
    return smoothing


def focal(logits: Tensor, labels: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Binary cross-entropy of `logits` and `labels` of one shape, 0 or 1, that listens less to what is known already.

    Each term weighs (1 − p)^`gamma`, p being the probability of the right answer, and `alpha` where the label is 1,
    1 − `alpha` where it is 0.
    """
    logits = _precise(logits)
    labels = labels.to(logits.dtype)
    entropy = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    doubt = (logits.sigmoid() - labels).abs()  # 1 − p
    return ((alpha * labels + (1 - alpha) * (1 - labels)) * doubt**gamma * entropy).mean()


def cosine_distillation(student: Tensor, teacher: Tensor, weights: Tensor | None = None) -> Tensor:
    """The mean of 1 − cos of `student` and `teacher` [...,D], which is 0 where they point the same way.

    `weights` [...] make it a weighted mean, 0 if all are 0. Detach the teacher, or it learns from its student.
    """
    gaps = 1 - F.cosine_similarity(_precise(student), _precise(teacher), dim=-1)
    if weights is None:
        return gaps.mean()
    return (weights * gaps).sum() / weights.sum().clamp(min=1e-6)


def diversity(parts: Tensor, pairs: Tensor | None = None, *, rectified: bool = False) -> Tensor:
    """The mean cosine of two different parts of one image, `parts` [N,K,D]: 1 if all are alike, 0 at right angles.

    `pairs` bool [K,K] says which are compared (None: all); `rectified` counts those that point apart as 0. A single
    part has no other: 0.
    """
    parts = _precise(parts)
    cosines = F.cosine_similarity(parts[:, :, None], parts[:, None], dim=-1)
    if rectified:
        cosines = cosines.relu()
    others = ~torch.eye(parts.shape[1], dtype=torch.bool, device=parts.device)
    counted = others if pairs is None else others & pairs
    return (cosines * counted).sum((1, 2)).mean() / counted.sum().clamp(min=1)


def _precise(vectors: Tensor) -> Tensor:
    return vectors.to(torch.promote_types(vectors.dtype, torch.float32))


def pairwise_euclid(a: Tensor, b: Tensor) -> Tensor:
    """The Euclidean distances [N,M] of `a` [N,D] to `b` [M,D]; a leading dimension, the same in both, is a batch."""
    # Differences, not the matrix product: its rounding error is larger than the distances of near twins,
    # and mixed precision would round it further.
    a, b = _precise(a), _precise(b)  # halves have no cdist
    distances = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    return distances.clamp(min=1e-6)  # squares from 1e-12 up; below, the gradient is 0 instead of unbounded


def batch_hard(distances: Tensor, pids: Tensor, margin: float | None) -> Tensor:
    """Triplet loss on `distances` [N,N] of images of `pids` [N]: each against its furthest friend and nearest stranger.

    `distances` [K,N,N] are mined one matrix at a time, and the losses averaged.

    `margin` None is the soft form log(1 + exp(.)), which papers also write as margin 0; a number is the hinge. An
    infinite distance marks a pair that is not looked at. Images left without friend or stranger drop out of the mean;
    0 if that leaves none.
    """
    if margin is not None and not 0 <= margin < INFINITY:
        raise InputError(f"a triplet's margin is {margin}; give a number of 0 or more")
    same = pids[:, None] == pids
    itself = torch.eye(len(pids), dtype=torch.bool, device=pids.device)
    unseen = distances == INFINITY  # and not ~isfinite: a NaN must surface in the loss
    friend = distances.masked_fill(~same | itself | unseen, -INFINITY).amax(-1)
    stranger = distances.masked_fill(same | unseen, INFINITY).amin(-1)
    gap = friend - stranger  # -inf without either, where both forms and their gradients vanish
    losses = F.softplus(gap) if margin is None else F.relu(gap + margin)
    return (losses.sum(-1) / (gap != -INFINITY).sum(-1).clamp(min=1)).mean()


def identity_and_triplet(
    raw: Tensor, logits: Tensor, pids: Tensor, *, smoothing: float, margin: float | None
) -> dict[str, Tensor]:
    """The two losses of one vector a picture: `identity` on the `logits` [N,C] after its neck, `batch_hard` on `raw`
    [N,D] before it."""
    return {
        "identity": identity(logits, pids, smoothing),
        "triplet": batch_hard(pairwise_euclid(raw, raw), pids, margin),
    }


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


def triplet_by_part(parts: Tensor, pids: Tensor, margin: float | None) -> Tensor:
    """`batch_hard` on each part of `parts` [N,K,D] by itself, and then the mean: what BPBreID's eq. 7 improves on."""
    return batch_hard(_by_part(parts), pids, margin)


def gilt_table(table: Mapping[str, Sequence[float]], embeddings: Sequence[str]) -> GiltTable:
    """`table` checked, and with weights of 0 for those `embeddings` that it does not name."""
    for name, weights in table.items():
        if name not in embeddings or len(weights) != 2 or not min(weights) >= 0:
            raise InputError(
                f"gilt gives {name!r} the weights {tuple(weights)}; name one of {', '.join(embeddings)} and give it "
                f"two numbers of 0 or more, for its identity and for its triplet loss"
            )
    if not any(map(any, table.values())):
        raise InputError("gilt gives weight to no loss at all; give some to one embedding or more")
    rows = {name: table.get(name, (0, 0)) for name in embeddings}
    return {name: (float(row[0]), float(row[1])) for name, row in rows.items()}


def gilt(
    table: GiltTable,
    vectors: Mapping[str, Tensor],
    logits: Mapping[str, Tensor],
    pids: Tensor,
    *,
    smoothing: float,
    triplet: Callable[[Tensor, Tensor], Tensor],
) -> dict[str, Tensor]:
    """Identity and triplet losses, weighted as `table` says; those of weight 0 are left out.

    `vectors` [N,D] or, of parts, [N,K,D] and `logits` [N,C] or [N,K,C] by the names of embeddings; `triplet` takes
    parts [N,K,D] and `pids` [N]. Global identity, local triplet (BPBreID's eq. 6) is the table of (1, 0) for holistic
    embeddings and (0, 1) for parts.
    """
    terms = {}
    for name, (identity_weight, triplet_weight) in table.items():
        if identity_weight:
            terms[f"identity_{name}"] = identity_weight * identity(logits[name], pids, smoothing)
        if triplet_weight:
            parts = vectors[name] if vectors[name].ndim == 3 else vectors[name][:, None]
            terms[f"triplet_{name}"] = triplet_weight * triplet(parts, pids)
    return terms


def _by_part(parts: Tensor) -> Tensor:
    """The distances [K,N,N] within each part of `parts` [N,K,D]."""
    columns = parts.transpose(0, 1)
    return pairwise_euclid(columns, columns)
