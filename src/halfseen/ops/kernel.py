"""The arithmetic under every distance between two embeddings: a weighted mean over their parts.

The square of each term of that mean has one form,

    (w·d)² = u_q·u_g·(a_q + a_g − 2·s_q·s_g·⟨q, g⟩),

so one matrix product per part and five in-place passes over a tile that stays in cache are all the work. Vectors
are never copied: their norms (s = 1/‖x‖) and visibilities (u) enter as factors of rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor

from halfseen.types import InputError

Metric: TypeAlias = Literal["cosine", "unit-euclid", "euclid"]
Precision: TypeAlias = Literal["float32", "bfloat16"]
Fill: TypeAlias = Callable[[slice, Tensor], None]  # writes the distances of some query rows into [rows, G]

TILE = (256, 1024)  # query rows and gallery columns worked on at a time: 1 MiB, which a core's cache holds
SMALLEST_NORM = 1e-12  # a shorter vector counts as zero: it is at right angles to everything


def check_choice(name: str, value: str, choices: Any) -> None:
    """`value` is one of the Literal `choices`, or an InputError: a misspelt option must not compute something else."""
    if value not in get_args(choices):
        raise InputError(f"{name} is {value!r}; allowed are {', '.join(get_args(choices))}")


class Side(NamedTuple):
    """What one embedding brings to `(w·d)² = u_q·u_g·(a_q + a_g − 2·s_q·s_g·⟨q, g⟩)`; all but `vectors` are [N,P]."""

    vectors: Tensor  # [N,P,D]
    u: Tensor
    us: Tensor  # u·s
    ua: Tensor | None  # u·a; None for unit vectors, whose a is 1
    share: Tensor  # the factor of w that this side brings
    root: bool  # take the square root (else halve: cosine)

    def rows(self, rows: slice | Tensor) -> Side:
        ua = None if self.ua is None else self.ua[rows]
        return Side(self.vectors[rows], self.u[rows], self.us[rows], ua, self.share[rows], self.root)


def side_of(vectors: Tensor, share: Tensor, metric: Metric) -> Side:
    """`vectors` [N,P,D] and their `share` [N,P] of each part's weight."""
    vectors, root = vectors.detach(), metric != "cosine"
    u = share.square() if root else share
    norm: Tensor = torch.linalg.vector_norm(vectors, dim=2)
    if metric == "euclid":
        return Side(vectors, u, u, u * norm.square(), share, root)
    return Side(vectors, u, u / norm.clamp_(min=SMALLEST_NORM), None, share, root)


def mean_of_parts(query: Side, gallery: Side, precision: Precision, empty: float = torch.inf) -> Fill:
    """Rows → Σ w·d / Σ w over the parts, `empty` where all w are 0."""
    ready = _in_bfloat16 if precision == "bfloat16" else _as_it_is

    def fill(rows: slice, out: Tensor) -> None:
        some = ready(query.rows(rows))
        for columns in _tiles(out.shape[1], TILE[1]):
            others = ready(gallery.rows(columns))
            for band in _tiles(out.shape[0], TILE[0]):
                tile = _sum_of_parts(some.rows(band), others)
                weight = some.share[band] @ others.share.T
                out[band, columns] = tile.div_(weight).masked_fill_(weight == 0, empty)

    return fill


def _tiles(size: int, step: int) -> Iterator[slice]:
    return (slice(start, start + step) for start in range(0, size, step))


def _as_it_is(side: Side) -> Side:
    return side


def _in_bfloat16(side: Side) -> Side:
    """The factor u·s goes into the vectors before they are rounded."""
    return side._replace(vectors=(side.vectors * side.us[:, :, None]).bfloat16(), us=torch.ones_like(side.us))


def _sum_of_parts(query: Side, gallery: Side) -> Tensor:
    """Σ w·d [q,c]."""
    total = query.u.new_zeros(len(query.u), len(gallery.u))
    for part in range(query.u.shape[1]):
        u_q, u_g = query.u[:, part, None], gallery.u[:, part]
        term = (query.vectors[:, part] @ gallery.vectors[:, part].T).float()
        term.mul_(gallery.us[:, part]).mul_(-2 * query.us[:, part, None])
        if query.ua is None or gallery.ua is None:
            term.addcmul_(u_q, u_g, value=2)
        else:
            term.addcmul_(query.ua[:, part, None], u_g).addcmul_(u_q, gallery.ua[:, part])
        term.clamp_(min=0)
        total.add_(term.sqrt_() if query.root else term.div_(2))
    return total


def mean_of_pairs(query: Side, gallery: Side, empty: float = torch.inf) -> Tensor:
    """The same row by row: n query rows with as many gallery rows → [n]."""
    terms = -2 * query.us * gallery.us * torch.einsum("npd,npd->np", query.vectors, gallery.vectors)
    if query.ua is None or gallery.ua is None:
        terms += 2 * query.u * gallery.u
    else:
        terms += query.ua * gallery.u + query.u * gallery.ua
    terms.clamp_(min=0)
    total = (terms.sqrt_() if query.root else terms.div_(2)).sum(1)
    weight = (query.share * gallery.share).sum(1)
    return total.div_(weight).masked_fill_(weight == 0, empty)
