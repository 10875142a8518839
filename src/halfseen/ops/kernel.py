"""The arithmetic under every distance between two embeddings: a weighted mean over their parts, Σ w·d / Σ w.

The weight is a product w = w_q·w_g, and the square of every part distance has one form, so that

    w·d = w_q · √( u·(a_q + a_g − 2·s_q·s_g·⟨q, g⟩) )        with u = w_g²,

is one matrix product per part and a few in-place passes over a tile that stays in cache. Vectors are never copied:
their norms (s = 1/‖x‖, a = 1; or s = 1, a = ‖x‖²) and their visibility enter as factors of rows and columns. Only the
last tile of either side is copied, as it is filled up with zeros: equal rows must be at equal distances.
Cosine distance is half the square, without the root, and u = w_g.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor

from halfseen.types import Embedding, InputError

Metric: TypeAlias = Literal["cosine", "unit-euclid", "euclid"]
Precision: TypeAlias = Literal["float32", "bfloat16"]
Fill: TypeAlias = Callable[[slice, Tensor], None]  # writes the distances of some query rows into [rows, G]

TILE = (512, 1024)  # query rows and gallery columns worked on at a time: 2 MiB, which two cores' caches hold
EVEN = 16  # both sides of a product are multiples of it: BLAS adds up otherwise at an edge, so that equal rows differ
SMALLEST_NORM = 1e-12  # a shorter vector counts as zero: it is at right angles to everything


def check_choice(name: str, value: str, choices: Any) -> None:
    """`value` is one of the Literal `choices`, or an InputError: a misspelt option must not compute something else."""
    if value not in get_args(choices):
        raise InputError(f"{name} is {value!r}; allowed are {', '.join(get_args(choices))}")


def check_choices(name: str, values: Collection[str], choices: Any) -> tuple[str, ...]:
    """`values`, each once, in the order of the Literal `choices`; or an InputError if one is none of them."""
    for value in values:
        check_choice(name, value, choices)
    return tuple(choice for choice in get_args(choices) if choice in values)


class UnusedError(InputError):
    """A field was set that nothing reads. `config` is whole all the same: networks may have been trained by it."""

    def __init__(self, message: str, config: Any) -> None:
        super().__init__(message)
        self.config = config


def check_used(config: Any, used: bool, where: str, names: str) -> None:
    """The fields `names` of `config` ("state agent.rate") are as by default, or `used`, or an UnusedError.

    `where` says where they would be. The last thing to check: `config` must be one that can be worked with.
    """
    for name in () if used else names.split():
        of, _, field = name.rpartition(".")
        owner = getattr(config, of) if of else config
        value, usual = (getattr(each, field) for each in (owner, type(owner)))
        if value != usual:
            found, left = (", ".join(map(str, v)) or "empty" if isinstance(v, tuple) else v for v in (value, usual))
            raise UnusedError(
                f"{name} is {found}, which has an effect only where {where}; leave it at {left}, or change that too",
                config,
            )


def check_pair(query: Embedding, gallery: Embedding) -> None:
    """Both non-empty and of the same parts and dimensions, or an InputError."""
    for name, embedding in (("query", query), ("gallery", gallery)):
        if not len(embedding):
            raise InputError(f"the {name} is empty: there is nothing to measure; check how its rows were selected")
    if query.vectors.shape[1:] != gallery.vectors.shape[1:]:
        (p, d), (pg, dg) = query.vectors.shape[1:], gallery.vectors.shape[1:]
        raise InputError(
            f"the query has {p} parts of {d} dimensions and the gallery {pg} of {dg}; "
            f"encode both with the same model and settings"
        )


class Side(NamedTuple):
    """What one embedding brings to `w·d`; all but `vectors` are [N,P]."""

    vectors: Tensor  # [N,P,D]
    scale: Tensor  # s
    square: Tensor | None  # a; None for unit vectors, whose a is 1
    weight: Tensor  # w
    root: bool  # of the form above; without it, half the square

    @property
    def inner(self) -> Tensor:
        """u: the weight as it stands under the root."""
        return self.weight.square() if self.root else self.weight

    def rows(self, rows: slice) -> Side:
        square = None if self.square is None else self.square[rows]
        return Side(self.vectors[rows], self.scale[rows], square, self.weight[rows], self.root)

    def evened(self) -> Side:
        """With rows of zeros behind, up to a multiple of EVEN."""
        square = None if self.square is None else _evened(self.square)
        return Side(_evened(self.vectors), _evened(self.scale), square, _evened(self.weight), self.root)


def side_of(vectors: Tensor, weight: Tensor, metric: Metric) -> Side:
    """`vectors` [N,P,D] and the factor `weight` [N,P] they bring to each part's weight."""
    vectors, weight, root = vectors.detach(), weight.detach(), metric != "cosine"
    norm: Tensor = torch.linalg.vector_norm(vectors, dim=2)
    if metric == "euclid":
        return Side(vectors, torch.ones_like(norm), norm.square_(), weight, root)
    return Side(vectors, norm.clamp_(min=SMALLEST_NORM).reciprocal_(), None, weight, root)


def mean_of_parts(query: Side, gallery: Side, precision: Precision, empty: float = torch.inf) -> Fill:
    """Rows → Σ w·d / Σ w over the parts, `empty` where all w are 0."""
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32

    def fill(rows: slice, out: Tensor) -> None:
        some = query.rows(rows)
        scaled = (some.vectors * (-2 * some.scale[:, :, None])).to(dtype)
        bands = [(band, some.rows(band).evened(), _evened(scaled[band])) for band in _tiles(out.shape[0], TILE[0])]
        for columns in _tiles(out.shape[1], TILE[1]):
            others = gallery.rows(columns).evened()
            vectors = others.vectors.to(dtype)
            for band, asked, factors in bands:
                tile, place = _sum_of_parts(asked, others, factors, vectors), out[band, columns]
                weight = asked.weight @ others.weight.T
                tile.div_(weight).masked_fill_(weight == 0, empty)
                place.copy_(tile[: place.shape[0], : place.shape[1]])

    return fill


def _tiles(size: int, step: int) -> Iterator[slice]:
    return (slice(start, start + step) for start in range(0, size, step))


def _evened(values: Tensor) -> Tensor:
    """`values` [n,...] with zeros behind, up to a multiple of EVEN rows."""
    missing = -len(values) % EVEN
    return torch.cat([values, values.new_zeros(missing, *values.shape[1:])]) if missing else values


def _sum_of_parts(query: Side, gallery: Side, scaled: Tensor, vectors: Tensor) -> Tensor:
    """Σ w·d [q,c]; `scaled` [q,P,D] are the query's vectors times −2·s, `vectors` [c,P,D] the gallery's."""
    total = query.weight.new_zeros(len(query.weight), len(gallery.weight))
    u = gallery.inner
    scale, constant = gallery.scale * u, 2 * u if gallery.square is None else gallery.square * u
    for part in range(u.shape[1]):
        term = (scaled[:, part] @ vectors[:, part].T).float()
        term.mul_(scale[:, part]).add_(constant[:, part])
        if query.square is not None:
            term.addcmul_(query.square[:, part, None], u[:, part])
        term.clamp_(min=0)
        term = term.sqrt_() if query.root else term.div_(2)
        total.add_(term.mul_(query.weight[:, part, None]))
    return total


def mean_of_pairs(query: Side, gallery: Side, empty: float = torch.inf) -> Tensor:
    """The same row by row: n query rows with as many gallery rows → [n]."""
    products = torch.einsum("npd,npd->np", query.vectors, gallery.vectors) * query.scale * gallery.scale
    if query.square is None or gallery.square is None:
        squares = (2 - 2 * products).clamp_(min=0)
    else:
        squares = (query.square + gallery.square - 2 * products).clamp_(min=0)
    distance = squares.sqrt_() if query.root else squares.div_(2)
    weight = query.weight * gallery.weight
    total = weight.sum(1)
    return (distance * weight).sum(1).div_(total).masked_fill_(total == 0, empty)
