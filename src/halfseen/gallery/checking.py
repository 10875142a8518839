"""What is wrong with a gallery on disk, found by reading all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import torch

from halfseen.data.files import shown
from halfseen.gallery.tables import GRID, LENGTH, numbers
from halfseen.types import InputError

if TYPE_CHECKING:
    from halfseen.gallery.store import Gallery

READ = 4096  # rows at a time
TOLERANCE = 0.02  # by which a direction's length may differ after rounding, and does not
WORST = 20  # faults that are told


def faults_of(gallery: Gallery) -> list[str]:
    """A sentence for each fault; none if all is well."""
    faults: list[str] = []
    try:
        for batch in gallery.scan(gallery.schema.names, READ):
            faults += [
                f"{shown(gallery.folder)}: image {batch['_rowid'][row].as_py()} has {what}; "
                f"remove it, and index its picture again"
                for what, rows in faults_in(batch, len(gallery.model.parts)).items()
                for row in rows
            ]
    except InputError as error:
        faults.append(str(error))
    more = [f"{shown(gallery.folder)}: {len(faults):,} faults in all; restore it from an export"]
    return faults[:WORST] + more * (len(faults) > WORST)


def faults_in(batch: pa.RecordBatch, parts: int) -> dict[str, list[int]]:
    """What is wrong with rows of a gallery, and with which of them."""
    visibility = numbers(batch["visibility"])
    k = numbers(batch["vectors"]).float().view(len(batch), parts, -1) * GRID
    seen, length = visibility > 0, torch.linalg.vector_norm(k, dim=2)
    wrong = {
        "a visibility outside 0 to 1": ~((visibility >= 0) & (visibility <= 1)),
        "a vector that is no direction": seen & (length > 0) & ~((length / LENGTH - 1).abs() < TOLERANCE),
        "numbers off the grid": (k != k.round()).any(2),
        "a vector of an invisible part": ~seen & (length > 0),
    }
    return {what: where.any(1).nonzero()[:, 0].tolist() for what, where in wrong.items() if bool(where.any())}
