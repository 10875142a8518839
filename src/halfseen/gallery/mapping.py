"""Chunks in files and out of them: what of a gallery is mapped rather than read."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from halfseen.gallery import prepared
from halfseen.gallery.chunks import Chunk, Maker, Stored
from halfseen.gallery.leading import Basis, Leading, leaders
from halfseen.gallery.planes import Planes
from halfseen.gallery.prepared import STORED, File
from halfseen.gallery.store import Gallery

MOSTLY = 0.9  # of the rows of a file are to be there, if it is to be used
LOOKED_AT = 32  # of its rows, before it is
KINDS: dict[str, type[Chunk]] = {"leading": Leading, "planes": Planes}


class Held(NamedTuple):
    """A chunk that lies ready, which of its rows count, bool [n] (None: all), and the `file` that it is mapped from."""

    chunk: Chunk
    counts: Tensor | None = None
    file: File | None = None

    def stored(self, ids: Tensor) -> Stored:
        """Those of `ids` that are in here, and count."""
        rows = self.chunk.named(ids)
        return self.chunk.stored(rows if self.counts is None else rows[self.counts[rows]])


class Mapped(NamedTuple):
    """What lies in files: which rows of a gallery are `there`, bool [N], and how fresh ones are to lie, as it was tried
    when the gallery had `fitted` rows."""

    held: tuple[Held, ...]
    there: Tensor
    basis: Basis | None
    fitted: int


def mapped_in(gallery: Gallery, ids: Tensor, stored: Tensor, before: Sequence[Held] = ()) -> Mapped:
    """The files most of whose rows are among these `ids`, `stored` then, and in no file before. Of files of which
    something is held `before`, that is taken; others must agree with the gallery in some of their rows."""
    found, there, basis, fitted = list[Held](), torch.zeros(len(ids), dtype=torch.bool), None, 0
    known = {each.file: each.chunk for each in before if each.file}
    for file, about, tensors in prepared.files_of(gallery):
        with suppress(KeyError, TypeError, ValueError, RuntimeError):  # a file that makes no sense
            chunk, then = known.get(file) or _chunk_of(gallery, about["kind"], dict(tensors)), tensors[STORED]
            kept = prepared.rows_kept(ids, stored, chunk.ids, then)
            place = torch.searchsorted(ids, chunk.ids).clamp_(max=max(0, len(ids) - 1))
            if not bool(kept.any()) or float((kept := kept & ~there[place]).float().mean()) < MOSTLY:
                continue
            if file in known or _agrees(gallery, chunk, kept.nonzero()[:, 0]):
                there[place[kept]] = True
                found.append(Held(chunk, None if bool(kept.all()) else kept, file))
                basis, fitted = getattr(chunk, "basis", None), max(fitted, int(about["fitted"]))
    return Mapped(tuple(found), there, basis, fitted)


def _chunk_of(gallery: Gallery, kind: str, tensors: dict[str, Any]) -> Chunk:
    """What `write` has written; a ValueError unless it is as large as such rows are."""
    del tensors[STORED]
    parts, dim = len(gallery.model.parts), gallery.model.dim
    like = Stored(torch.zeros(1).long(), torch.zeros(1, parts, dim).half(), torch.zeros(1, parts))
    basis = Basis(tensors.pop("axes"), tensors.pop("centre")) if KINDS[kind] is Leading else None
    chunk = KINDS[kind](**tensors, **({"basis": basis} if basis else {}))
    if basis and (basis.axes.shape, basis.centre.shape) != ((parts, dim, leaders(dim)), (parts, leaders(dim))):
        raise ValueError("other axes")
    last, wanted = chunk.rows(slice(len(chunk) - 1, len(chunk))), maker(basis)(like, 1)
    for name in tensors:
        own, other = getattr(last, name), getattr(wanted, name)
        if (own.shape, own.dtype) != (other.shape, other.dtype):
            raise ValueError(f"other {name}")
    return chunk


def _agrees(gallery: Gallery, chunk: Chunk, rows: Tensor) -> bool:
    """Whether some of the `rows`, the last one among them, are in the gallery what they are in `chunk`.

    Ids and times might be those of another history, as after the import of another export.
    """
    some = chunk.stored(rows.flip(0)[:: max(1, len(rows) // LOOKED_AT)])
    ids, embedding = gallery.embedding(some.ids.tolist())
    same = torch.equal(embedding.vectors, some.vectors) and torch.equal(embedding.visibility, some.visibility)
    return same and ids == some.ids.tolist()


def write(gallery: Gallery, chunk: Chunk, then: Tensor, fitted: int) -> None:
    """A file of `chunk`, whose rows were stored `then`, for one who alone is writing; `fitted`: see `Mapped`."""
    tensors = {field.name: getattr(chunk, field.name) for field in fields(chunk)}  # type: ignore[arg-type]
    if isinstance(basis := tensors.pop("basis", None), Basis):
        tensors |= {"axes": basis.axes, "centre": basis.centre}
    kind = next(name for name, kind in KINDS.items() if isinstance(chunk, kind))
    prepared.keep(gallery, tensors | {STORED: then}, {"kind": kind, "fitted": str(fitted)})


def maker(basis: Basis | None) -> Maker:
    """Of chunks that lead by `basis`, if there is one."""
    return partial(Leading.room, basis=basis) if basis else Planes.room
