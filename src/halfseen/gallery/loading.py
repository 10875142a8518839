"""What of a gallery lies ready to be searched: rows that are mapped from files, rows read into memory, and the rest.

`prepare` writes the files (`prepared`): whole chunks as they would lie in memory, so that a large gallery opens without
being read. What was added since the last of them is read as always. Where it does not fit into memory it is the rest,
read anew in each search.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import pyarrow as pa
import torch
from torch import Tensor

from halfseen.data.files import shown
from halfseen.gallery import prepared, tables
from halfseen.gallery.calibration import CROWD, Calibration, Crowd, calibration_of
from halfseen.gallery.chunks import Chunk, Stored, in_chunks, places
from halfseen.gallery.leading import Basis, Leading
from halfseen.gallery.mapping import Held, maker, mapped_in, write
from halfseen.gallery.places import local
from halfseen.gallery.planes import Planes
from halfseen.gallery.prepared import STORED
from halfseen.gallery.sightings import State
from halfseen.gallery.store import Gallery
from halfseen.gallery.tables import numbers
from halfseen.gallery.troubles import retried
from halfseen.types import Embedding, InputError, Progress

READ = 256  # rows read at a time: so few come out of Lance without a copy, and stay in cache while they are split
CHUNK = 2**17  # rows searched at a time
STREAMED = 2**14  # the same where the gallery does not stay in memory
WORTH = 2**16  # rows that follow each other, from which on a file is written for them
FITTED = 4096  # rows of a gallery from which on it is looked whether few of the numbers lead
SAMPLE = 2048  # rows in which that is seen
SHARE = 0.6  # of the machine's memory that vectors may take


class Loaded(NamedTuple):
    """A version of the gallery, ready to be searched; what is not `held` is the `rest`, by its ids.

    `ids` [N] are in order, `facts` are those of these rows. `basis`: how fresh chunks lead, None where that does not
    pay, as it was when the gallery had `fitted` rows.
    """

    state: State
    held: tuple[Held, ...]
    rest: Tensor
    basis: Basis | None
    fitted: int
    ids: Tensor
    facts: pa.Table
    crowd: Crowd | None
    calibration: Calibration | None

    def embedding(self, ids: Sequence[int]) -> tuple[list[int], Embedding]:
        """Those of `ids` that are held, and what lies there."""
        pieces = [each.stored(torch.tensor(ids, dtype=torch.int64)) for each in self.held]
        stored = Stored(*(torch.cat(column) for column in zip(*pieces, strict=True)))
        place = {id: row for row, id in enumerate(stored.ids.tolist())}
        found = [id for id in ids if id in place]
        rows = [place[id] for id in found]
        return found, Embedding(stored.vectors[rows], stored.visibility[rows])


def load(gallery: Gallery, memory: int | None, before: Loaded | None) -> Loaded:
    """The gallery as it is now; what of `before` is still true is not read again.

    So many bytes of `memory` may be taken by what is not mapped; None: a good part of what the machine has.
    """
    room = int(SHARE * _machine_memory()) if memory is None else memory
    state, calibration = gallery.state, calibration_of(gallery)
    ids, stored, facts = prepared.rows_of(gallery, tables.FACTS)
    same = before if before and gallery.follows(before.state) else None
    mapped = mapped_in(gallery, ids, stored, same.held if same else ())
    there, old = mapped.there.clone(), list[Held]()
    for each in same.held if same else ():
        if not each.file and len(some := each.chunk.among(ids[~mapped.there])):
            old.append(Held(some))
            there[torch.searchsorted(ids, some.ids)] = True
    shape, count = (len(gallery.model.parts), gallery.model.dim), int((~mapped.there).sum())
    plain, leads = (count * kind.row_bytes(*shape) <= room for kind in (Planes, Leading))
    basis, fitted = (same.basis, same.fitted) if same else (mapped.basis, mapped.fitted)
    basis, fitted = (basis, fitted) if leads else (None, 0)
    rest, fresh = ids[~mapped.there], list[Held]()
    if plain:
        if leads and not bool(there.all()) and len(ids) >= max(FITTED, 2 * fitted):
            basis, fitted = _basis(gallery, ids)
        read = (in_chunks(*run, CHUNK, maker(basis)) for run in _runs(gallery, ids, ~there))
        fresh = [Held(some) for chunk in chain.from_iterable(read) if len(some := chunk.among(ids[~there]))]
        fresh, rest = old + fresh, rest[:0]
    crowd = Crowd.of(_sample(gallery, ids, CROWD)) if calibration else None
    return Loaded(state, (*mapped.held, *fresh), rest, basis, fitted, ids, facts, crowd, calibration)


def streamed(gallery: Gallery, loaded: Loaded) -> Iterator[Held]:
    """The rest of what is `loaded`, from the disk."""
    if not len(loaded.rest):
        return
    for run in _runs(gallery, loaded.ids, torch.isin(loaded.ids, loaded.rest)):
        for chunk in in_chunks(*run, STREAMED, Planes.room):
            if len(some := chunk.among(loaded.rest)):
                yield Held(some)


def prepare(gallery: Gallery, progress: Progress = lambda _, __: None) -> int:
    """Write files for rows that lie in none; returns for how many. A few are not worth it.

    What has no room on the disk is an InputError; what was written before stays.
    """
    if unpreparable(gallery):
        return 0
    return retried(lambda: _prepare(gallery, progress), gallery.refresh)


def unpreparable(gallery: Gallery) -> str:
    """What keeps a gallery from being prepared, if anything."""
    if not local(gallery.folder):
        return "it lies in an object store, whose files cannot be mapped; copy it to a disk of this machine"
    if STORED not in gallery.schema.names:
        return "it is of an early version, which did not note when sightings were stored; index into a new one"
    return ""


def unprepare(gallery: Gallery) -> None:
    """Remove what `prepare` has written."""
    prepared.drop(gallery, lambda _: False)


def prepared_rows(gallery: Gallery) -> int:
    """How many rows of the gallery need not be read."""
    ids, stored, _ = prepared.rows_of(gallery)
    return int(mapped_in(gallery, ids, stored).there.sum())


def _prepare(gallery: Gallery, progress: Progress) -> int:
    gallery.refresh()
    if len(gallery) < WORTH:
        return 0
    with gallery.alone():
        gallery.refresh()
        state = gallery.state
        ids, stored, _ = prepared.rows_of(gallery)
        mapped = mapped_in(gallery, ids, stored)
        used = {each.file for each in mapped.held}
        prepared.drop(gallery, lambda each: each.file in used)  # all that was broken off, or is of no use
    files: Sequence[Held] = mapped.held
    runs = [run for run in _runs(gallery, ids, ~mapped.there) if run.size >= WORTH]
    total, written, basis, fitted = sum(run.size for run in runs), 0, mapped.basis, mapped.fitted
    if total and len(ids) >= max(FITTED, 2 * fitted):
        basis, fitted = _basis(gallery, ids)
    kind: type[Chunk] = Leading if basis else Planes
    _check_room(gallery, total * kind.row_bytes(len(gallery.model.parts), gallery.model.dim))
    for run in runs:
        count = -(-run.size // CHUNK)
        for chunk in in_chunks(run.pieces, run.size, -(-run.size // count), maker(basis)):
            if len(some := chunk.among(ids)):
                then = stored[torch.searchsorted(ids, some.ids)]
                rows, files = _written(gallery, some, then, fitted, state, files)
                written += rows
            progress(written, total)
    return written


def _written(
    gallery: Gallery, chunk: Chunk, then: Tensor, fitted: int, state: State, files: Sequence[Held]
) -> tuple[int, Sequence[Held]]:
    """Write a file of those rows of `chunk`, stored `then` in a gallery of that `state`, that are still there and in no
    file; returns how many, and all files before, of which some `files` were known."""
    with gallery.alone():
        gallery.refresh()
        if not gallery.follows(state):
            return 0, ()  # another gallery lies there by now
        ids, stored, _ = prepared.rows_of(gallery)
        kept, there = prepared.rows_kept(ids, stored, chunk.ids, then), mapped_in(gallery, ids, stored, files)
        if bool(kept.any()):
            kept &= ~there.there[places(ids, chunk.ids)[0]]
        rows = kept.nonzero()[:, 0]
        if len(rows):
            chunk, then = (chunk, then) if len(rows) == len(chunk) else (chunk.rows(rows), then[rows])
            write(gallery, chunk, then, fitted)
    return len(rows), there.held


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
