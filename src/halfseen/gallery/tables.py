"""How a gallery lies on disk: a Lance table of images and one of the files that are done.

Vectors are float16 [P·D]: of each visible part the direction, on a grid that search splits into two bytes a number
without loss (`on_grid`), and zeros for an invisible one. Lance's stable row ids are the images' ids: they are given
when an addition is confirmed, survive compaction and never come back.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import repeat
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import torch.nn.functional as F
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from halfseen.data.files import shown, taken
from halfseen.gallery.places import joined, local
from halfseen.gallery.sightings import Fact, State
from halfseen.gallery.troubles import guarded
from halfseen.types import Embedding, InputError

Dataset: TypeAlias = Any  # lance.LanceDataset: the package is an extra
Batches: TypeAlias = Iterator[pa.RecordBatch]

GRID = 2**15  # vectors are whole numbers over this, which float16 holds exactly
LENGTH = 127 * 254  # of a direction, in steps of the grid: see `planes`
FACTS = ("image", "source", "camera", "time", "track", "box")
MODEL, IDENTITY = b"halfseen", b"gallery"  # what a table says of itself
FORMAT = "2.0"  # of Lance's files: the one whose long rows are read without being copied
LOCK = "writing.lock"
PATIENCE = 60.0  # seconds that a writer waits for another


def image_schema(parts: int, dim: int, note: bytes) -> pa.Schema:
    """Of the table of images of a new gallery; `note` says which model makes them.

    `stored` is when each was added, in seconds since 1970. IDENTITY tells galleries apart that lay in the same place.
    """
    return pa.schema(
        [
            ("vectors", pa.list_(pa.float16(), parts * dim)),
            ("visibility", pa.list_(pa.float32(), parts)),
            ("image", pa.string()),
            ("source", pa.string()),
            ("camera", pa.string()),
            ("time", pa.float64()),
            ("track", pa.string()),
            ("box", pa.list_(pa.float64(), 4)),
            ("thumbnail", pa.large_binary()),
            ("digest", pa.string()),
            ("stored", pa.float64()),
        ],
        metadata={MODEL: note, IDENTITY: secrets.token_hex(8).encode()},
    )


def lance() -> Any:
    """The package, which is an extra; what goes wrong we say ourselves."""
    os.environ.setdefault("LANCE_LOG", "error")
    try:
        import lance  # noqa: PLC0415
    except ImportError as error:
        raise InputError("a gallery needs a package that is not there; run `pip install 'halfseen[search]'`") from error
    return lance


def on_grid(embedding: Embedding) -> Tensor:
    """The directions of `embedding` as the gallery keeps them: float16 [N,P,D], zeros for invisible parts."""
    unit = F.normalize(embedding.vectors.detach(), dim=2) * (embedding.visibility > 0)[:, :, None]
    return ((unit * (LENGTH / GRID)).half().float() * GRID).round().div_(GRID).half()


def image_table(schema: pa.Schema, embedding: Embedding, facts: Sequence[Fact], digests: Sequence[str]) -> pa.Table:
    """The rows to add."""
    columns = {
        "vectors": _fixed(on_grid(embedding).flatten(1)),
        "visibility": _fixed(embedding.visibility.detach()),
        "digest": pa.array(digests, pa.string()),
        "stored": pa.array([time.time()] * len(facts), pa.float64()),
    }
    for name in (*FACTS, "thumbnail"):
        try:
            columns[name] = pa.array([getattr(fact, name) for fact in facts], schema.field(name).type)
        except (pa.ArrowException, UnicodeError) as error:
            raise InputError(f"a fact cannot be stored: its {name} is not what a gallery keeps ({error})") from error
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _fixed(rows: Tensor) -> pa.Array:
    """[N,K] as lists of K numbers."""
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.contiguous().cpu().numpy().ravel()), rows.shape[1])


def numbers(column: pa.Array | pa.ChunkedArray) -> Tensor:
    """The lists of numbers of `column` as [N,K], which nobody may write to: the memory is Arrow's."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    flat: Tensor = from_dlpack(array.flatten())
    return flat.view(len(array), array.type.list_size)


def facts_of(table: pa.Table) -> list[Fact]:
    """Its rows; without the column `thumbnail`, facts have none."""
    words = [table[name].to_pylist() for name in ("image", "source", "camera", "time", "track")]
    thumbnails = table["thumbnail"].to_pylist() if "thumbnail" in table.column_names else repeat(b"")
    boxes = [None if box is None else tuple(box) for box in table["box"].to_pylist()]
    return list(map(Fact, *words, thumbnails, boxes))


def make(table: str, schema: pa.Schema) -> Dataset:
    """A new table of Lance at that place, without rows."""
    return lance().write_dataset(
        schema.empty_table(), table, mode="create", enable_stable_row_ids=True, data_storage_version=FORMAT
    )


def newest(table: Dataset, known: State) -> tuple[Dataset, State]:
    """`table`, whose state is `known`, as it is now; if somebody has put another in its place, or a copy of an earlier
    day, that one."""
    there = lance().dataset(table.uri)  # `table` itself would not look again at a version that it knows
    if there.schema.metadata[MODEL] != table.schema.metadata[MODEL]:
        raise InputError(f"{shown(table.uri)} has become a gallery of another model; open it anew")
    now = state(there)
    return (table, known) if now == known else (there, now)


def state(table: Dataset) -> State:
    """What tells `table`, just opened, from all that lay in its place before."""
    return State(table.schema.metadata.get(IDENTITY, b""), table.version, _change(table, table.version))


def follows(table: Dataset, now: State, before: State) -> bool:
    """Whether `table`, whose state is `now`, once was in the state `before`, as far as its history reaches back."""
    if now.gallery != before.gallery or now.version < before.version:
        return False
    return _change(table, before.version) in (before.change, "")


def _change(table: Dataset, version: int) -> str:
    """The name of the change that made that version; nothing if it is gone."""
    try:
        return str(table.read_transaction(version).uuid)
    except (OSError, ValueError, AttributeError):
        return ""


def append(rows: pa.Table | pa.RecordBatchReader, table: Dataset) -> Dataset:
    """`table` with `rows` behind its own, all or none; it must be the newest, and nobody else be writing."""
    fragments = lance().fragment.write_fragments(rows, table, mode="append", data_storage_version=FORMAT)
    if not fragments:
        return table
    check_sizes(table, fragments)
    return lance().LanceDataset.commit(table, lance().LanceOperation.Append(fragments), read_version=table.version)


def compact(table: Dataset, rows: int, grace: timedelta) -> None:
    """Merge the files of `table` to ones of so many `rows`, without what was removed; drop versions of before `grace`.

    Nobody else may be writing.
    """
    from lance.optimize import Compaction  # noqa: PLC0415  (an extra)

    plan = Compaction.plan(table, {"target_rows_per_fragment": rows, "materialize_deletions_threshold": 0.0})
    if done := [task.execute(table) for task in plan.tasks]:
        check_sizes(table, [fragment for each in done for fragment in each.new_fragments])
        Compaction.commit(table, done)
    table.cleanup_old_versions(older_than=grace, delete_unverified=True)


def check_sizes(table: Dataset, fragments: Iterable[Any]) -> None:
    """An OSError unless the files of `fragments` are as long as what was written to them.

    Lance does not notice it when the disk has no room for the last bytes of a file.
    """
    if local(table.uri):
        for file in (file for fragment in fragments for file in fragment.files):
            path = Path(table.uri, "data", file.path)
            if path.stat().st_size != file.file_size_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def exists(table: str) -> bool:
    """Whether there is a Lance table at that place; what was broken off while it was made is none."""
    if local(table):
        return any(Path(table, "_versions").glob("*.manifest"))
    try:
        lance().dataset(table)
    except ValueError as error:  # which is all that Lance says
        if "was not found" not in str(error):  # what is out of reach may well be there
            raise
        return False
    return True


@contextmanager
def locked(folder: str) -> Iterator[None]:
    """Nobody else writes to the gallery `folder` in here; a lock dies with its process.

    Object stores know no locks: there Lance's own rule holds, that of two who change the same, one is refused.
    """
    if not local(folder):
        yield
        return
    with guarded(folder, "writing to"):
        file = os.open(joined(folder, LOCK), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _wait_for(file, folder)
        yield
    finally:
        os.close(file)


def _wait_for(file: int, folder: str) -> None:
    until = time.monotonic() + PATIENCE
    while not taken(file):
        if time.monotonic() > until:
            raise InputError(
                f"another process has been writing to the gallery {shown(folder)} for {PATIENCE:.0f} seconds; wait "
                f"until it is done, or end it"
            )
        time.sleep(0.02)
