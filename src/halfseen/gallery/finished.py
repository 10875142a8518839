"""Which files are in a gallery as a whole: a Lance table of the digests of their contents, beside that of the images.

They are noted after the images are stored. So an interrupted run may have left images of a file that is not noted, but
never a note without the images.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import pyarrow as pa

from halfseen.gallery.conditions import among
from halfseen.gallery.places import joined
from halfseen.gallery.tables import Dataset, append, compact, exists, lance, make
from halfseen.gallery.troubles import guarded, retried

TABLE = "sources.lance"
FRAGMENT = 2**20  # rows of a compacted file
SCHEMA = pa.schema([("digest", pa.string())])


def make_finished(folder: str) -> None:
    """An empty table, unless there is one, as where a making of the gallery was broken off."""
    if not exists(joined(folder, TABLE)):
        make(joined(folder, TABLE), SCHEMA)


def read_finished(folder: str, digests: Iterable[str] | None = None) -> pa.Table:
    """Those of `digests`, or all, that are noted."""
    rows = "true" if digests is None else among("digest", frozenset(digests))

    def reading() -> pa.Table:
        with guarded(folder, "reading"):
            return _open(folder).to_table(filter=rows)

    return retried(reading)  # which opens it again


def add_finished(folder: str, digests: Iterable[str]) -> None:
    """Note them, for one who alone is writing."""
    append(pa.table({"digest": sorted(set(digests))}, schema=SCHEMA), _open(folder))


def compact_finished(folder: str, grace: timedelta) -> None:
    """Merge small files, for one who alone is writing."""
    compact(_open(folder), FRAGMENT, grace)


def _open(folder: str) -> Dataset:
    return lance().dataset(joined(folder, TABLE))
