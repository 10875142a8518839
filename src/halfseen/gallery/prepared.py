"""Rows as they lie in memory, kept as files in a gallery's folder: mapped, they are there at once.

Each file holds the rows of a range of ids. Answers do not depend on it: rows that lie in no file are read from the
gallery. A file counts only if it was made of this gallery and holds some vectors of it to the last bit, and as far as
its rows are the gallery's by id and by the moment when they were stored: another history of the same folder would not
have all that in common.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from halfseen.data.files import shown, whole
from halfseen.gallery.chunks import places
from halfseen.gallery.places import local
from halfseen.types import InputError

if TYPE_CHECKING:
    from halfseen.gallery.store import Gallery

FOLDER, SUFFIX = "prepared", ".safetensors"
LAYOUT = "1"  # to be raised when tensors of the same names come to mean something else
IDS, STORED = "ids", "stored"  # tensors that every file has: of each row its id, and when it was stored
LOOK_AT, LOOK = "look_at", "look"  # the numbers of some rows, and their vectors as the gallery has them
UNREADABLE = (OSError, SafetensorError, MemoryError, RuntimeError)  # the last two where nothing more can be mapped
SUM = "sha256"  # of all tensors, in the order of their names


class File(NamedTuple):
    """Which file it is; another in its place has another number, or time."""

    path: Path
    number: int
    time: int


class Prepared(NamedTuple):
    """`about` says of what the file was made, `tensors` are mapped, and whoever writes to them changes a copy."""

    file: File
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
    place, there = places(ids, own)
    return there & (stored[place] == then) if len(ids) else there


def keep(gallery: Gallery, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> None:
    """Write a file for `tensors`, ids and times of storing among them, for one who alone is writing."""
    flat = {name: tensor.contiguous() for name, tensor in tensors.items()}
    folder = Path(gallery.folder, FOLDER)
    path = folder / f"{int(flat[IDS].min()):016d}-{int(flat[IDS].max()):016d}{SUFFIX}"
    try:
        folder.mkdir(exist_ok=True)
        with whole(path) as beside:
            save_file(flat, beside, {**about, "gallery": _name(gallery), "layout": LAYOUT, SUM: sum_of(flat)})
            beside.chmod(folder.stat().st_mode & 0o666)  # for whoever may look into the folder
            with beside.open("rb") as file:
                os.fsync(file.fileno())
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{shown(folder)} cannot be written ({error}); make room there, or leave it: searches read the gallery then"
        ) from error


def files_of(gallery: Gallery) -> Iterator[Prepared]:
    """All files that can be read and were made of that gallery, in the order of their rows."""
    paths: list[Path] = []
    with suppress(InputError):  # who may not look into the folder reads the gallery
        paths = _paths(gallery)
    for path in paths:
        if path.suffix != SUFFIX:
            continue
        with suppress(*UNREADABLE), safe_open(path, "pt") as file:
            known, about = path.stat(), file.metadata() or {}
            if (about.get("gallery"), about.get("layout")) == (_name(gallery), LAYOUT):
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                yield Prepared(File(path, known.st_ino, known.st_mtime_ns), about, tensors)


def agrees(gallery: Gallery, tensors: Mapping[str, Tensor], kept: Tensor) -> bool:
    """Whether those rows of a file that can be looked at, and are `kept`, bool [n], are the same in the gallery.

    Ids and times might be those of another history, as after the import of another export.
    """
    rows, vectors = tensors[LOOK_AT], tensors[LOOK]
    ids = tensors[IDS][rows]
    found, embedding = gallery.embedding(ids[kept[rows]].tolist())
    return bool(found) and torch.equal(embedding.vectors, vectors[torch.isin(ids, torch.tensor(found))])


def drop(gallery: Gallery, spared: Callable[[Prepared], bool] | None = None) -> None:
    """Remove all files but those that are `spared`; None: those all of whose rows are still the gallery's."""
    if not _paths(gallery):
        return
    failed: list[tuple[Path, str]] = []
    with gallery.alone():
        gallery.refresh()
        spare = spared or _whole(gallery)
        kept = {each.file.path for each in files_of(gallery) if spare(each)}
        for path in _paths(gallery):  # what was broken off goes too
            try:
                if path not in kept:
                    path.unlink(missing_ok=True)
            except OSError as error:
                failed.append((path, error.strerror or str(error)))
    if failed:
        raise InputError(
            f"{shown(failed[0][0])} could not be removed ({failed[0][1]}), and may hold what was forgotten; "
            f"remove it by hand, and do it again"
        )


def _whole(gallery: Gallery) -> Callable[[Prepared], bool]:
    ids, stored, _ = rows_of(gallery)

    def is_whole(file: Prepared) -> bool:
        with suppress(KeyError, RuntimeError):  # of a file that makes no sense
            kept = rows_kept(ids, stored, file.tensors[IDS], file.tensors[STORED])
            return bool(kept.all()) and agrees(gallery, file.tensors, kept)
        return False

    return is_whole


def faults_in(gallery: Gallery) -> Iterator[str]:
    """A sentence for each file that is not as it was written."""
    for path in _paths(gallery):
        if path.suffix != SUFFIX:
            continue
        try:
            with safe_open(path, "pt") as file:
                found = sum_of({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
                wrong = "" if (file.metadata() or {}).get(SUM) == found else "has changed"
        except UNREADABLE as error:
            wrong = f"cannot be read ({error})"
        if wrong:
            yield f"{shown(path)} {wrong}; delete it, and `halfseen gallery prepare` makes it anew"


def _paths(gallery: Gallery) -> list[Path]:
    """All that lies there but folders, which are not ours."""
    if not local(gallery.folder) or not Path(gallery.folder, FOLDER).is_dir():
        return []
    try:
        return sorted(Path(entry.path) for entry in os.scandir(Path(gallery.folder, FOLDER)) if not entry.is_dir())
    except OSError as error:
        raise InputError(
            f"{shown(Path(gallery.folder, FOLDER))} cannot be read ({error.strerror}); it holds what was prepared for "
            f"search: make it yours, or remove it"
        ) from error


def _name(gallery: Gallery) -> str:
    """Which no other gallery has."""
    return gallery.state.gallery.decode()


def sum_of(tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(tensors[name].contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()
