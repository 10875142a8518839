"""What of a gallery lies ready to be searched: rows that are mapped from files, rows read into memory, and the rest.

`prepare` writes the files (`prepared`): whole chunks as they would lie in memory, so that a large gallery opens without
being read. What was added since the last of them is read as always. Where it does not fit into memory it is the rest,
read anew in each search.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import pyarrow as pa
import torch
from torch import Tensor

from halfseen.data.files import shown
from halfseen.gallery import prepared, tables
from halfseen.gallery.calibration import CROWD, Calibration, Crowd, calibration_of
from halfseen.gallery.chunks import Chunk, Maker, Stored, in_chunks
from halfseen.gallery.leading import Basis, Leading
from halfseen.gallery.planes import Planes
from halfseen.gallery.prepared import STORED
from halfseen.gallery.sightings import State
from halfseen.gallery.store import Gallery
from halfseen.gallery.tables import local, numbers
from halfseen.types import Embedding, InputError, Progress

READ = 256  # rows read at a time: so few come out of Lance without a copy, and stay in cache while they are split
CHUNK = 2**17  # rows searched at a time
STREAMED = 2**14  # the same where the gallery does not stay in memory
WORTH = 2**16  # rows that follow each other, from which on a file is written for them
FITTED = 4096  # rows of a gallery from which on it is looked whether few of the numbers lead
SAMPLE = 2048  # rows in which that is seen
MOSTLY = 0.9  # of the rows of a file are to be there, if it is to be used
SHARE = 0.6  # of the machine's memory that vectors may take
KINDS: dict[str, type[Chunk]] = {"leading": Leading, "planes": Planes}


class Loaded(NamedTuple):
    """A version of the gallery, ready to be searched; what is not in `chunks` is the `rest`, by its ids.

    `ids` [N] are in order, `facts` are those of these rows. `basis`: how fresh chunks lead, None where that does not
    pay, as it was when the gallery had `fitted` rows. So many rows are `mapped` from files.
    """

    state: State
    chunks: tuple[Chunk, ...]
    rest: Tensor
    basis: Basis | None
    fitted: int
    mapped: int
    ids: Tensor
    facts: pa.Table
    crowd: Crowd | None
    calibration: Calibration | None


class _Known(NamedTuple):
    """Chunks that need not be read, and how those yet to come are to lie."""

    chunks: tuple[Chunk, ...] = ()
    basis: Basis | None = None
    fitted: int = 0
    mapped: int = 0


def load(gallery: Gallery, memory: int | None, before: Loaded | None) -> Loaded:
    """The gallery as it is now; of the chunks of `before` those rows are kept that are still there.

    So many bytes of `memory` may be taken; None: a good part of what the machine has.
    """
    room = int(SHARE * _machine_memory()) if memory is None else memory
    state, calibration = gallery.state, calibration_of(gallery)
    ids, stored, facts = prepared.rows_of(gallery, tables.FACTS)
    if before and before.chunks and gallery.follows(before.state):
        known = _Known(before.chunks, before.basis, before.fitted, before.mapped)
    else:
        known = _prepared(gallery, ids, stored)
    old = tuple(some for chunk in known.chunks if len(some := chunk.among(ids)))
    missing = ~_there(ids, old)
    shape, count = (len(gallery.model.parts), gallery.model.dim), len(ids) - known.mapped
    plain, leads = (count * kind.row_bytes(*shape) <= room for kind in (Planes, Leading))
    basis, fitted = (known.basis, known.fitted) if leads else (None, 0)
    rest, fresh = ids[missing], tuple[Chunk, ...]()
    if plain:
        if leads and len(rest) and len(ids) >= max(FITTED, 2 * fitted):
            basis, fitted = _basis(gallery, ids)
        read = (in_chunks(*run, CHUNK, _maker(basis)) for run in _runs(gallery, ids, missing))
        fresh, rest = tuple(some for chunk in chain.from_iterable(read) if len(some := chunk.among(ids))), rest[:0]
    crowd = Crowd.of(_sample(gallery, ids, CROWD)) if calibration else None
    return Loaded(state, old + fresh, rest, basis, fitted, known.mapped, ids, facts, crowd, calibration)


def streamed(gallery: Gallery, loaded: Loaded) -> Iterator[Chunk]:
    """The rest of what is `loaded`, from the disk."""
    for run in _runs(gallery, loaded.ids, torch.isin(loaded.ids, loaded.rest)):
        for chunk in in_chunks(*run, STREAMED, Planes.room):
            if len(some := chunk.among(loaded.rest)):
                yield some


def prepare(gallery: Gallery, progress: Progress = lambda _, __: None) -> int:
    """Write files for rows that lie in none; returns for how many. A few are not worth it.

    What has no room on the disk is an InputError; what was written before stays.
    """
    gallery.refresh()
    if not local(gallery.folder) or len(gallery) < WORTH:
        return 0
    ids, stored, _ = prepared.rows_of(gallery)
    known = _prepared(gallery, ids, stored)
    runs = [run for run in _runs(gallery, ids, ~_there(ids, known.chunks)) if run.size >= WORTH]
    total, written, basis, fitted = sum(run.size for run in runs), 0, known.basis, known.fitted
    if total and len(ids) >= max(FITTED, 2 * fitted):
        basis, fitted = _basis(gallery, ids)
    kind: type[Chunk] = Leading if basis else Planes
    _check_room(gallery, total * kind.row_bytes(len(gallery.model.parts), gallery.model.dim))
    for run in runs:
        files = -(-run.size // CHUNK)
        for chunk in in_chunks(run.pieces, run.size, -(-run.size // files), _maker(basis)):
            written += _written(gallery, chunk, fitted)
            progress(written, total)
    return written


def unprepare(gallery: Gallery) -> None:
    """Remove what `prepare` has written."""
    prepared.drop(gallery, every=True)


def prepared_rows(gallery: Gallery) -> int:
    """How many rows of the gallery need not be read."""
    ids, stored, _ = prepared.rows_of(gallery)
    return sum(int(file.kept.sum()) for file in _usable(gallery, ids, stored))


def _written(gallery: Gallery, chunk: Chunk, fitted: int) -> int:
    """Write a file of those rows of `chunk` that are still there; returns how many."""
    with gallery.alone():
        gallery.refresh()  # somebody may have forgotten rows since they were read
        ids, stored, _ = prepared.rows_of(gallery)
        if rows := len(chunk := chunk.among(ids)):
            tensors = {field.name: getattr(chunk, field.name) for field in fields(chunk)}  # type: ignore[arg-type]
            if isinstance(basis := tensors.pop("basis", None), Basis):
                tensors |= {"axes": basis.axes, "centre": basis.centre}
            kind = next(name for name, kind in KINDS.items() if isinstance(chunk, kind))
            tensors[STORED] = stored[torch.searchsorted(ids, chunk.ids)]
            prepared.keep(gallery, tensors, {"kind": kind, "fitted": str(fitted)})
    return rows


class _File(NamedTuple):
    """What a file holds, how many rows the gallery had then, and which rows are still the gallery's."""

    chunk: Chunk
    fitted: int
    kept: Tensor


def _usable(gallery: Gallery, ids: Tensor, stored: Tensor) -> Iterator[_File]:
    """The files most of whose rows are among these `ids`, `stored` then; not such as make no sense."""
    for file in prepared.files_of(gallery):
        with suppress(KeyError, TypeError, ValueError):
            tensors: dict[str, Any] = dict(file.tensors)
            kept = prepared.rows_kept(ids, stored, tensors["ids"], tensors.pop(STORED))
            kind = KINDS[file.about["kind"]]
            if kind is Leading:
                tensors["basis"] = Basis(tensors.pop("axes"), tensors.pop("centre"))
            found = _File(kind(**tensors), int(file.about["fitted"]), kept)
            if float(kept.float().mean()) >= MOSTLY:
                yield found


def _prepared(gallery: Gallery, ids: Tensor, stored: Tensor) -> _Known:
    """The rows of these `ids`, `stored` then, that lie in files."""
    known = _Known()
    for chunk, fitted, kept in _usable(gallery, ids, stored):
        whole = bool(kept.all())
        known = _Known(
            (*known.chunks, chunk if whole else chunk.rows(kept.nonzero()[:, 0])),
            chunk.basis if isinstance(chunk, Leading) else None,
            max(known.fitted, fitted),
            known.mapped + whole * len(chunk),
        )
    return known


def _there(ids: Tensor, chunks: tuple[Chunk, ...]) -> Tensor:
    """Which of `ids` are in `chunks`, all of whose rows are among them."""
    there = torch.zeros(len(ids), dtype=torch.bool)
    for chunk in chunks:
        there[torch.searchsorted(ids, chunk.ids)] = True
    return there


class _Run(NamedTuple):
    """Rows that follow each other, as they come from the disk, and about how many."""

    pieces: Iterator[Stored]
    size: int


def _runs(gallery: Gallery, ids: Tensor, wanted: Tensor) -> Iterator[_Run]:
    """Those of `ids` that are `wanted`, bool [N], and what else lies there by now."""
    place = wanted.nonzero()[:, 0]
    for run in place.tensor_split((place.diff() > 1).nonzero()[:, 0] + 1) if len(place) else ():
        first, last = int(run[0]), int(run[-1])
        after = int(ids[first - 1]) if first else -1
        until = int(ids[last]) if last + 1 < len(ids) else None
        yield _Run(_pieces(gallery, after, until), len(run))


def _pieces(gallery: Gallery, after: int, until: int | None) -> Iterator[Stored]:
    for batch in gallery.scan(("vectors", "visibility"), READ, after=after, until=until):
        vectors = numbers(batch["vectors"]).view(len(batch), len(gallery.model.parts), gallery.model.dim)
        ids = torch.tensor(batch["_rowid"].to_numpy(), dtype=torch.int64)
        yield Stored(ids, vectors, numbers(batch["visibility"]))


def _maker(basis: Basis | None) -> Maker:
    return partial(Leading.room, basis=basis) if basis else Planes.room


def _basis(gallery: Gallery, ids: Tensor) -> tuple[Basis | None, int]:
    """How the numbers of the gallery lead, if that pays, and of how many rows that holds."""
    sample = _sample(gallery, ids, SAMPLE)
    if 2 * len(sample) < min(len(ids), SAMPLE):  # most of it was removed meanwhile
        return None, 0
    return (basis if (basis := Basis.of(sample)).pays(sample) else None), len(ids)


def _sample(gallery: Gallery, ids: Tensor, size: int) -> Embedding:
    return gallery.embedding(ids[:: max(1, -(-len(ids) // size))].tolist())[1]


def _check_room(gallery: Gallery, wanted: int) -> None:
    free = shutil.disk_usage(gallery.folder).free
    if wanted > free:
        raise InputError(
            f"{shown(gallery.folder)} lies on a disk with {free / 2**30:,.1f} GiB of room, and to be prepared for "
            f"search takes {wanted / 2**30:,.1f}; make room, or leave it: searches read the gallery itself then"
        )


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
