"""Chunks in files and out of them: what of a gallery is mapped rather than read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from halfseen.gallery import prepared
from halfseen.gallery.chunks import Chunk, Maker, Stored, places
from halfseen.gallery.leading import Basis, Leading, leaders
from halfseen.gallery.planes import Planes
from halfseen.gallery.prepared import IDS, LOOK, LOOK_AT, STORED, File
from halfseen.gallery.store import Gallery

MOSTLY = 0.9  # of the rows of a file are to be there, if it is to be used
LOOKED_AT = 32  # of its rows are compared with the gallery's, before it is
KINDS: dict[str, type[Chunk]] = {"leading": Leading, "planes": Planes}


class Held(NamedTuple):
    """A chunk that lies ready, which of its rows are `live`, bool [n] (None: all), and the `file` it is mapped from."""

    chunk: Chunk
    live: Tensor | None = None
    file: File | None = None

    def stored(self, ids: Tensor) -> Stored:
        """Those of `ids` that are in here, and live."""
        rows = self.chunk.named(ids)
        return self.chunk.stored(rows if self.live is None else rows[self.live[rows]])


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
        try:
            chunk = known.get(file) or _chunk_of(gallery, about["kind"], tensors)
            kept = prepared.rows_kept(ids, stored, chunk.ids, tensors[STORED])
            size, look = int(about["fitted"]), {name: tensors[name] for name in (IDS, LOOK_AT, LOOK)}
        except (KeyError, TypeError, ValueError, RuntimeError):
            continue  # it makes no sense
        place, _ = places(ids, chunk.ids)
        if not bool(kept.any()) or float((kept := kept & ~there[place]).float().mean()) < MOSTLY:
            continue
        if file in known or prepared.agrees(gallery, look, kept):
            there[place[kept]] = True
            found.append(Held(chunk, None if bool(kept.all()) else kept, file))
            basis, fitted = getattr(chunk, "basis", None), max(fitted, size)
    return Mapped(tuple(found), there, basis, fitted)


def _chunk_of(gallery: Gallery, kind: str, tensors: Mapping[str, Tensor]) -> Chunk:
    """What `write` has written; a ValueError unless it is as large as such rows are."""
    parts, dim = len(gallery.model.parts), gallery.model.dim
    like = Stored(torch.zeros(1).long(), torch.zeros(1, parts, dim).half(), torch.zeros(1, parts))
    basis = Basis(tensors["axes"], tensors["centre"]) if KINDS[kind] is Leading else None
    if basis and (basis.axes.shape, basis.centre.shape) != ((parts, dim, leaders(dim)), (parts, leaders(dim))):
        raise ValueError("other axes")
    wanted = maker(basis)(like, 1)
    names = [field.name for field in fields(KINDS[kind]) if field.name != "basis"]  # type: ignore[arg-type]
    chunk = KINDS[kind](**{name: tensors[name] for name in names}, **({"basis": basis} if basis else {}))
    last = chunk.rows(slice(len(chunk) - 1, len(chunk)))
    for name in names:
        own, other = getattr(last, name), getattr(wanted, name)
        if (own.shape, own.dtype) != (other.shape, other.dtype):
            raise ValueError(f"other {name}")
    return chunk


def write(gallery: Gallery, chunk: Chunk, then: Tensor, fitted: int) -> None:
    """A file of `chunk`, whose rows were stored `then`, for one who alone is writing; `fitted`: see `Mapped`."""
    tensors = {field.name: getattr(chunk, field.name) for field in fields(chunk)}  # type: ignore[arg-type]
    if isinstance(basis := tensors.pop("basis", None), Basis):
        tensors |= {"axes": basis.axes, "centre": basis.centre}
    kind = next(name for name, kind in KINDS.items() if isinstance(chunk, kind))
    rows = torch.arange(len(chunk) - 1, -1, -max(1, len(chunk) // LOOKED_AT))
    tensors |= {STORED: then, LOOK_AT: rows, LOOK: chunk.stored(rows).vectors}
    prepared.keep(gallery, tensors, {"kind": kind, "fitted": str(fitted)})


def maker(basis: Basis | None) -> Maker:
    """Of chunks that lead by `basis`, if there is one."""
    return partial(Leading.room, basis=basis) if basis else Planes.room
