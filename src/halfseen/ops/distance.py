"""Distances between two embeddings, streamed over the queries: small means alike.

Memory: one block [rows, G] of distances at a time, as much for its query vectors, and a few tiles (see `kernel`).
Numerics: `float32` rounds each squared distance by about 1e-6 of ‖q‖² + ‖g‖² up to a thousand dimensions, and more
beyond (a distance near zero may therefore read up to 2e-3, at 4,096 dimensions 3e-3). `bfloat16` rounds both factors
and the product: of unit vectors |Δcos| ≤ (1 + 1/257)³ − 1 < 0.0119, hence |Δd| < 0.0119 for cosine and |Δd²| < 0.0238
for unit-euclid, as long as products are summed in float32. On CUDA that is torch's to decide: TF32
(`torch.set_float32_matmul_precision`) loosens the first bound, `allow_bf16_reduced_precision_reduction` the second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from halfseen.ops.kernel import (
    Fill,
    Metric,
    Precision,
    Side,
    check_choice,
    check_pair,
    mean_of_pairs,
    mean_of_parts,
    side_of,
)
from halfseen.types import Block, Embedding, InputError, Ranking

Weight: TypeAlias = Literal["product", "sqrt"]
OnEmpty: TypeAlias = Literal["inf", "max+1"]
FineMetric: TypeAlias = Literal["cosine", "unit-euclid"]
Confidence: TypeAlias = Literal["both", "query", "gallery", "none"]
Cut: TypeAlias = Literal["sum", "first"]

QUERY, GALLERY = "the query's ", "the gallery's "  # in sentences
BLOCK_BYTES = 64 * 2**20  # of one block of distances
PIECE_BYTES = 4 * 2**20  # of the vectors that fine distances look at together


@dataclass(frozen=True)
class Single:
    """One vector per image: `cosine` is 1 − cos, `unit-euclid` the Euclidean distance of the L2-normalised
    vectors, `euclid` that of the vectors as they are. Visibility plays no role."""

    metric: Metric = "cosine"
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        check_choice("metric", self.metric, Metric)
        check_choice("precision", self.precision, Precision)

    def between(self, query: Embedding, gallery: Embedding) -> Fill:
        check_pair(query, gallery)
        return mean_of_parts(self.side(query, QUERY), self.side(gallery, GALLERY), self.precision, self.empty)

    def side(self, embedding: Embedding, whose: str = "") -> Side:
        if (parts := embedding.vectors.shape[1]) > 1:
            raise InputError(
                f"the embeddings have {parts} parts, and a single-vector distance takes one; "
                f"use a distance of visible parts, or keep one part only"
            )
        embedding.check_held("a single-vector distance looks at every part", whose)
        return side_of(embedding.vectors, torch.ones_like(embedding.visibility), self.metric)

    @property
    def empty(self) -> float:
        return torch.inf  # never used: the one part always counts


@dataclass(frozen=True)
class VisibleParts:
    """Mean over the parts that both images show: Σ w_p d_p / Σ w_p, with w_p = v_q·v_g or its square root.

    Where nothing is shared the distance is infinite, or (`max+1`) one more than any part distance can be: a constant,
    so that a distance never depends on which other images it is computed with.
    """

    metric: Metric = "unit-euclid"
    weight: Weight = "product"
    on_empty: OnEmpty = "inf"
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        check_choice("metric", self.metric, Metric)
        check_choice("weight", self.weight, Weight)
        check_choice("on_empty", self.on_empty, OnEmpty)
        check_choice("precision", self.precision, Precision)
        if self.on_empty == "max+1" and self.metric == "euclid":
            raise InputError(
                "on_empty='max+1' needs bounded distances: choose metric 'unit-euclid' or 'cosine', or 'inf'"
            )

    def between(self, query: Embedding, gallery: Embedding) -> Fill:
        check_pair(query, gallery)
        return mean_of_parts(self.side(query), self.side(gallery), self.precision, self.empty)

    def side(self, embedding: Embedding) -> Side:
        share = embedding.visibility.sqrt() if self.weight == "sqrt" else embedding.visibility
        return side_of(embedding.vectors, share, self.metric)

    @property
    def empty(self) -> float:
        return 3.0 if self.on_empty == "max+1" else torch.inf


@dataclass(frozen=True)
class CoarseToFine:
    """Rank by the first `coarse` parts; among the `n` nearest add the other parts, weighted by confidence (Pirt).

    The coarse distance is the sum of cosine distances. The n nearest by it (`cut='first'`: by the first part alone) get
    Σ c_i·d_i on top, where d_i is `cosine` or `unit-euclid` and c_i = sqrt(c_q·c_g), c_q, c_g or 1/parts; c is the
    part's visibility. `unshared` (0..2) is how far the confidence counts that is missing in Σ c_i to 1: with 0, as
    published, two images of which none shows what the other does are at fine distance 0; with 1 they are as far as
    strangers, and the whole is 1 − Σ c_i·cos_i. All others stay behind the n in coarse order: a constant above every
    possible value is added, which leaves coarse distances closer than about 1e-6 tied. Pirt's own setting is coarse=2
    (stripes and patches).
    """

    n: int = 100
    coarse: int = 1
    metric: FineMetric = "cosine"
    confidence: Confidence = "both"
    cut: Cut = "sum"
    precision: Precision = "float32"
    unshared: float = 0.0

    def __post_init__(self) -> None:
        check_choice("metric", self.metric, FineMetric)
        check_choice("confidence", self.confidence, Confidence)
        check_choice("cut", self.cut, Cut)
        check_choice("precision", self.precision, Precision)
        if self.coarse < 1 or self.n < 0:
            raise InputError(f"coarse={self.coarse}, n={self.n}: at least one part is coarse, and n is not negative")
        if not 0 <= self.unshared <= 2:
            raise InputError(f"unshared={self.unshared}: it is a distance of parts; give 0 to 2, 1 for strangers'")

    def between(self, query: Embedding, gallery: Embedding) -> Fill:
        cut, fine = self._cut(query, gallery), self.fine(query, gallery)
        coarse = cut if self.cut == "sum" else self._sum_of_cosines(query, gallery, self.coarse)
        n, bound = min(self.n, len(gallery)), 2.0 * query.vectors.shape[1] + 1.0

        @torch.no_grad()
        def fill(rows: slice, out: Tensor) -> None:
            cut(rows, out)
            near = nearest(out, n).indices
            if cut is not coarse:
                coarse(rows, out)
            inside = out.gather(1, near) + fine(rows, near)
            out.add_(bound).scatter_(1, near, inside)

        return fill

    def candidates(self, query: Embedding, gallery: Embedding) -> Iterator[Block]:
        """(first query row, the gallery rows [rows, n] whose order the fine parts decide), for all queries in turn."""
        cut = self._cut(query, gallery)
        for some in row_slices(len(query), None, len(gallery)):
            block = query.vectors.new_empty(some.stop - some.start, len(gallery))
            cut(some, block)
            yield some.start, nearest(block, min(self.n, len(gallery))).indices

    def _cut(self, query: Embedding, gallery: Embedding) -> Fill:
        """The distance that decides which n are looked at again."""
        check_pair(query, gallery)
        if self.coarse >= (parts := query.vectors.shape[1]):
            raise InputError(
                f"coarse-to-fine by {self.coarse} coarse part{'s'[: self.coarse > 1]} needs embeddings of at least "
                f"{self.coarse + 1} parts, coarse ones first, and these have {parts}; "
                + (f"take {parts - 1} coarse or fewer" if parts > 1 else "compare by cosine instead")
            )
        return self._sum_of_cosines(query, gallery, self.coarse if self.cut == "sum" else 1)

    def _sum_of_cosines(self, query: Embedding, gallery: Embedding, parts: int) -> Fill:
        for whose, embedding in ((QUERY, query), (GALLERY, gallery)):
            embedding.check_held("coarse-to-fine looks at every coarse part", whose, slice(parts))
        firsts = [e.vectors[:, :parts] for e in (query, gallery)]
        sides = [side_of(first, first.new_ones(first.shape[:2]), "cosine") for first in firsts]
        mean = mean_of_parts(sides[0], sides[1], self.precision)

        def fill(rows: slice, out: Tensor) -> None:
            mean(rows, out)
            out.mul_(parts)

        return fill

    def fine(self, query: Embedding, gallery: Embedding) -> Callable[[slice, Tensor], Tensor]:
        """What gives the weighted fine distances of some queries and their gallery rows `near` [q,n]: [q,n]."""
        fine = slice(self.coarse, None)
        for whose, embedding, other in ((QUERY, query, "gallery"), (GALLERY, gallery, "query")):
            if self.confidence in ("none", other):  # else an invisible part of this side has no weight
                by = f"coarse-to-fine of confidence '{self.confidence}' looks at every fine part"
                embedding.check_held(by, whose, fine)
        q, g = (side_of(e.vectors[:, fine], e.visibility[:, fine], "cosine") for e in (query, gallery))

        def distance(rows: slice, near: Tensor) -> Tensor:
            some, out = q.rows(rows), query.vectors.new_empty(near.shape)
            for row, column in _pieces(near.shape, q.vectors[0].numel()):
                of = near[row, column]
                vectors = g.vectors.index_select(0, of.flatten()).view(*of.shape, *g.vectors.shape[1:])
                cosine = vectors.mul_(some.vectors[row, None]).sum(3)  # while they are in the cache
                cosine.mul_(some.scale[row, None]).mul_(g.scale[of])
                out[row, column] = self._weighted(cosine, some.weight[row, None], g.weight[of])
            return out

        return distance

    def _weighted(self, cosine: Tensor, query: Tensor, gallery: Tensor) -> Tensor:
        """From `cosine` [q,n,F] and both images' confidences [q,1,F] and [q,n,F] → [q,n]."""
        distance = (1 - cosine).clamp_(0, 2)
        if self.metric == "unit-euclid":
            distance = distance.mul_(2).sqrt_()
        weight = self._weight(query, gallery)
        missing = (1 - weight.sum(-1)).clamp_(min=0)
        return distance.mul_(weight).sum(-1).add_(missing.expand(cosine.shape[:2]), alpha=self.unshared)

    def _weight(self, query: Tensor, gallery: Tensor) -> Tensor:
        """The weight of each fine part from both images' confidences, which broadcast."""
        match self.confidence:
            case "both":
                return (query * gallery).sqrt()
            case "query":
                return query
            case "gallery":
                return gallery
            case _:
                return torch.full_like(query, 1 / query.shape[-1])


Distance: TypeAlias = Single | VisibleParts | CoarseToFine


def blocks(distance: Distance, query: Embedding, gallery: Embedding, *, rows: int | None = None) -> Iterator[Block]:
    """(first query row, distances [rows, G]) for all queries in turn; `rows` defaults to BLOCK_BYTES' worth."""
    fill = distance.between(query, gallery)
    for some in row_slices(len(query), rows, max(len(gallery), query.vectors[0].numel())):
        block = query.vectors.new_empty(some.stop - some.start, len(gallery))
        fill(some, block)
        yield some.start, block


def distances(distance: Distance, query: Embedding, gallery: Embedding) -> Tensor:
    """The whole matrix [Q,G]; for scores and rankings prefer `blocks` and `top_k`, which never hold it."""
    fill = distance.between(query, gallery)
    out = query.vectors.new_empty(len(query), len(gallery))
    for some in row_slices(len(query), None, max(len(gallery), query.vectors[0].numel())):
        fill(some, out[some])
    return out


def pairs(distance: Single | VisibleParts, query: Embedding, gallery: Embedding) -> Tensor:
    """Row by row: n query rows with as many gallery rows → [n]."""
    return mean_of_pairs(distance.side(query), distance.side(gallery), distance.empty)


def top_k(distance: Distance, query: Embedding, gallery: Embedding, k: int, *, rows: int | None = None) -> Ranking:
    """The k nearest gallery rows of each query, nearest first; at equal distance the lower gallery row first."""
    if k < 0:
        raise InputError(f"k is {k}: the number of neighbours to find cannot be negative")
    found = [nearest(block, min(k, len(gallery))) for _, block in blocks(distance, query, gallery, rows=rows)]
    return Ranking(torch.cat([r.distances for r in found]), torch.cat([r.indices for r in found]))


def nearest(distance: Tensor, k: int) -> Ranking:
    """The k smallest of each row of `distance` [q,G], in the order (value, column); topk leaves ties to chance."""
    values, columns = distance.topk(min(k + 1, distance.shape[1]), largest=False)
    if 0 < k < values.shape[1]:
        torn = (values[:, k - 1] == values[:, k]).nonzero()[:, 0]  # a tie runs across the k-th place
        if len(torn):
            whole = distance[torn].sort(dim=1, stable=True)
            values[torn], columns[torn] = whole.values[:, : k + 1], whole.indices[:, : k + 1]
    columns, by_column = columns[:, :k].sort(dim=1)
    values, by_value = values[:, :k].gather(1, by_column).sort(dim=1, stable=True)
    return Ranking(values, columns.gather(1, by_value))


def row_slices(total: int, rows: int | None, columns: int = 1) -> list[slice]:
    """`total` rows cut into pieces of `rows`, or of as many rows of `columns` float32 as make a block."""
    if rows is not None and rows < 1:
        raise InputError(f"rows is {rows}: a block needs at least one row")
    step = rows or max(1, BLOCK_BYTES // (4 * max(1, columns)))
    return [slice(start, min(start + step, total)) for start in range(0, total, step)]


def _pieces(shape: torch.Size, numbers: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of `shape` (q, n), cut so that the vectors of a piece, so many `numbers` each, stay in cache."""
    pairs = max(1, PIECE_BYTES // (4 * numbers))
    width = max(1, min(shape[1], pairs))
    for row in row_slices(shape[0], pairs // width):
        yield from ((row, column) for column in row_slices(shape[1], width))
