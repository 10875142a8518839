"""Rows as they lie in memory, kept as files in a gallery's folder: mapped, they are there at once.

Each file holds the rows of a range of ids. Answers do not depend on it: rows that lie in no file are read from the
gallery. A file counts only if it was made of this gallery, and as far as its rows are the gallery's by id and by the
moment when they were stored, which another history of the same folder would not have in common.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from halfseen.data.files import shown, whole
from halfseen.gallery.tables import guarded, local

if TYPE_CHECKING:
    from halfseen.gallery.store import Gallery

FOLDER, SUFFIX = "prepared", ".safetensors"
LAYOUT = "1"  # to be raised when tensors of the same names come to mean something else
IDS, STORED = "ids", "stored"  # tensors that every file has: of each row its id, and when it was stored
SUM = "sha256"  # of all tensors, in the order of their names


class Prepared(NamedTuple):
    """One file: `about` says of what it was made, `tensors` are mapped, and whoever writes to them changes a copy."""

    path: Path
    about: dict[str, str]
    tensors: dict[str, Tensor]


def rows_of(gallery: Gallery, columns: Sequence[str] = ()) -> tuple[Tensor, Tensor, pa.Table]:
    """The ids of all rows of the gallery, in order, when each was stored (NaN: nobody knows), and these columns."""
    known = [STORED] if STORED in gallery.schema.names else []
    table = gallery.table([*columns, *known])
    ids = torch.tensor(table["_rowid"].to_numpy(), dtype=torch.int64)
    if not known:
        return ids, torch.full(ids.shape, torch.nan, dtype=torch.float64), table
    return ids, torch.tensor(table[STORED].to_numpy(), dtype=torch.float64), table.drop_columns(known)


def rows_kept(ids: Tensor, stored: Tensor, own: Tensor, then: Tensor) -> Tensor:
    """Which of a file's `own` rows, stored `then`, are still those of a gallery: bool [n]."""
    if not len(ids):
        return torch.zeros(len(own), dtype=torch.bool)
    place = torch.searchsorted(ids, own).clamp_(max=len(ids) - 1)
    return (ids[place] == own) & (stored[place] == then)


def keep(gallery: Gallery, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> None:
    """Write a file for `tensors`, ids and times of storing among them, for one who alone is writing."""
    flat = {name: tensor.contiguous() for name, tensor in tensors.items()}
    path = Path(gallery.folder, FOLDER, f"{int(flat[IDS].min()):016d}-{int(flat[IDS].max()):016d}{SUFFIX}")
    with guarded(gallery.folder, "preparing"):
        path.parent.mkdir(exist_ok=True)
        with whole(path) as beside:
            try:
                save_file(flat, beside, {**about, "gallery": _name(gallery), "layout": LAYOUT, SUM: sum_of(flat)})
            except SafetensorError as error:
                raise RuntimeError(str(error)) from error  # what `guarded` tells
            with beside.open("rb") as file:
                os.fsync(file.fileno())


def files_of(gallery: Gallery) -> Iterator[Prepared]:
    """All files that can be read and were made of that gallery, in the order of their rows."""
    for path in _paths(gallery):
        with contextlib.suppress(OSError, SafetensorError), safe_open(path, "pt") as file:
            about = file.metadata() or {}
            if (about.get("gallery"), about.get("layout")) == (_name(gallery), LAYOUT):
                yield Prepared(path, about, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118


def drop(gallery: Gallery, *, every: bool = False) -> None:
    """Remove all files that hold rows which are not the gallery's, or `every` one."""
    if _paths(gallery, "*"):
        with gallery.alone():
            gallery.refresh()
            ids, stored, _ = rows_of(gallery)
            kept = [] if every else [file.path for file in files_of(gallery) if _is_whole(file, ids, stored)]
            for path in _paths(gallery, "*"):  # those that were broken off too
                if path not in kept:
                    path.unlink(missing_ok=True)


def _is_whole(file: Prepared, ids: Tensor, stored: Tensor) -> bool:
    known = {IDS, STORED} <= file.tensors.keys()
    return known and bool(rows_kept(ids, stored, file.tensors[IDS], file.tensors[STORED]).all())


def faults_in(gallery: Gallery) -> Iterator[str]:
    """A sentence for each file that is not as it was written."""
    for path in _paths(gallery):
        try:
            with safe_open(path, "pt") as file:
                found = sum_of({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
                wrong = "" if (file.metadata() or {}).get(SUM) == found else "has changed"
        except (OSError, SafetensorError) as error:
            wrong = f"cannot be read ({error})"
        if wrong:
            yield f"{shown(path)} {wrong}; delete it, and `halfseen gallery prepare` makes it anew"


def _paths(gallery: Gallery, names: str = f"*{SUFFIX}") -> list[Path]:
    return sorted(Path(gallery.folder, FOLDER).glob(names)) if local(gallery.folder) else []


def _name(gallery: Gallery) -> str:
    """Which no other gallery has."""
    return gallery.state.gallery.decode()


def sum_of(tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(tensors[name].contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()
