"""What is wrong with a gallery on disk, found by reading all of it."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

import pyarrow as pa
import torch

from halfseen.data.files import shown
from halfseen.gallery import prepared
from halfseen.gallery.tables import GRID, LENGTH, numbers
from halfseen.gallery.troubles import retried
from halfseen.types import InputError

if TYPE_CHECKING:
    from halfseen.gallery.store import Gallery

READ = 4096  # rows at a time
TOLERANCE = 0.02  # by which a direction's length may differ after rounding, and does not
WORST = 20  # faults that are told
NEEDED = ("vectors", "visibility", "image", "source", "camera", "track", "thumbnail", "digest")


def faults_of(gallery: Gallery) -> list[str]:
    """A sentence for each fault; none if all is well."""
    try:
        faults = retried(lambda: _faults_of(gallery), gallery.refresh)
    except InputError as error:
        faults = [str(error)]
    more = [f"{shown(gallery.folder)}: {len(faults):,} faults in all; restore it from an export"]
    return faults[:WORST] + more * (len(faults) > WORST)


def _faults_of(gallery: Gallery) -> list[str]:
    """The same; an error where it cannot be read to its end."""
    faults = []
    for batch in gallery.scan(gallery.schema.names, READ):
        ids = batch["_rowid"].to_pylist()
        faults += [
            f"{shown(gallery.folder)}: image {ids[row]} has {what}; restore the gallery from an export, or do without "
            f"the image: `halfseen gallery forget ... --person {ids[row]}`"
            for what, rows in faults_in(batch, len(gallery.model.parts)).items()
            for row in rows
        ]
    gallery.sources()
    gallery.notes()
    return [*faults, *prepared.faults_in(gallery)]


def faults_in(batch: pa.RecordBatch, parts: int) -> dict[str, list[int]]:
    """What is wrong with rows of a gallery, and with which of them."""
    if absent := {f"no {name}": batch[name].is_null() for name in NEEDED if batch[name].null_count}:
        return {what: where.to_numpy(zero_copy_only=False).nonzero()[0].tolist() for what, where in absent.items()}
    visibility = numbers(batch["visibility"])
    k = numbers(batch["vectors"]).float().view(len(batch), parts, -1) * GRID
    seen, length = visibility > 0, torch.linalg.vector_norm(k, dim=2)
    wrong = {
        "a visibility outside 0 to 1": ~((visibility >= 0) & (visibility <= 1)),
        "a vector that is no direction": seen & (length > 0) & ~((length / LENGTH - 1).abs() < TOLERANCE),
        "numbers off the grid": ((k != k.round()) | (k.abs() > LENGTH)).any(2),
        "a vector of an invisible part": ~seen & (length > 0),
    }
    found = {what: where.any(1).nonzero()[:, 0].tolist() for what, where in wrong.items() if bool(where.any())}
    return found | {
        f"a {name} that is no finite number": rows for name in ("time", "box") if (rows := _endless(batch[name]))
    }


def _endless(column: pa.Array) -> list[int]:
    """Rows whose number, or one of whose numbers, is none or has no end; rows without any are fine."""
    rows = (row if isinstance(row, list) else [0 if row is None else row] for row in column.to_pylist())
    return [place for place, row in enumerate(rows) if not all(each is not None and isfinite(each) for each in row)]
