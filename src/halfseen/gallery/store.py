"""A gallery on disk: embeddings of one model, and what is known of their images.

What `add`, `remove` and `forget` returned from is kept, whatever happens next; what they were interrupted in never
happened. One process writes at a time, the others wait for it; readers are never waited for.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Any, Literal

import pyarrow as pa

from halfseen.data.files import shown
from halfseen.gallery import finished, prepared, tables
from halfseen.gallery.checking import faults_of
from halfseen.gallery.conditions import among, between, condition, older, quoted, same_passages
from halfseen.gallery.exchange import export_images, import_images
from halfseen.gallery.places import joined, local
from halfseen.gallery.sightings import Fact, ModelFacts, State, Where
from halfseen.gallery.tables import Batches, Dataset, numbers
from halfseen.gallery.troubles import guarded, retried
from halfseen.types import Embedding, InputError

IMAGES, DONE = "images.lance", finished.TABLE
GRACE = timedelta(minutes=10)  # compaction leaves what readers may have opened that long ago
FRAGMENT = 2**17  # rows of a compacted file
NOTE = "halfseen."  # what the names of notes begin with, among Lance's own
AHEAD = 2**20  # bytes that are read ahead: more is no faster, and counts as memory of whoever searches
AT_ONCE = 10_000  # ids that one condition names


class Gallery:
    """Stored images, in a folder or an object store. Make it with `Gallery.create` or `Gallery.open`.

    An object shows the gallery as it was when it was opened, refreshed or last changed through it.
    """

    def __init__(self, folder: str, images: Dataset, model: ModelFacts) -> None:
        self.folder, self.model = folder, model
        self._images, self.state = images, tables.state(images)  # of what this object shows
        self._busy, self._is_alone = RLock(), False

    @staticmethod
    def create(folder: str | os.PathLike[str], model: ModelFacts, *, anew: bool = True) -> Gallery:
        """A new, empty gallery for embeddings of `model`; without `anew`, the one that another process makes first."""
        place = os.fspath(folder)
        schema = tables.image_schema(len(model.parts), model.dim, json.dumps(asdict(model)).encode())
        with guarded(place, "making"):
            if local(place):
                Path(place).mkdir(parents=True, exist_ok=True)
            with tables.locked(place):
                if tables.exists(joined(place, IMAGES)):
                    if not anew:
                        return Gallery.open(folder, model)
                    raise InputError(f"there is a gallery at {shown(place)} already; open it, or choose another folder")
                finished.make_finished(place)
                return Gallery(place, tables.make(joined(place, IMAGES), schema), model)

    @staticmethod
    def open(folder: str | os.PathLike[str], model: ModelFacts | None = None) -> Gallery:
        """The gallery at `folder`, which must be one of `model` if that is given."""
        place = os.fspath(folder)
        with guarded(place, "opening"):
            if not tables.exists(joined(place, IMAGES)):
                raise InputError(f"there is no gallery at {shown(place)}; check it, or make one by `halfseen index`")
            images = tables.lance().dataset(joined(place, IMAGES))
            found = ModelFacts.noted(json.loads((images.schema.metadata or {}).get(tables.MODEL, "0")))
        gallery = Gallery(place, images, found)
        if model:
            gallery.check(model)
        return gallery

    def check(self, model: ModelFacts) -> None:
        """An InputError unless the gallery is one of `model`."""
        if (model.digest, model.parts, model.dim) != (self.model.digest, self.model.parts, self.model.dim):
            raise InputError(
                f"the gallery {shown(self.folder)} holds embeddings of {self.model}, not of {model}; "
                f"give that model, or index into another gallery"
            )

    def __len__(self) -> int:
        with self._reading() as images:
            return int(images.count_rows())

    @property
    def schema(self) -> pa.Schema:
        """Of the table of images."""
        return self._images.schema

    def follows(self, state: State) -> bool:
        """Whether it was once in that `state`: then the rows of these ids are the same."""
        return tables.follows(self._images, self.state, state)

    def refresh(self) -> bool:
        """Show what others have changed meanwhile; tells whether they did."""
        before = self.state
        with self._busy:
            self._images, self.state = retried(self._newest)
        return self.state != before

    def _newest(self) -> tuple[Dataset, State]:
        with self._reading() as images:
            return tables.newest(images, self.state)

    def add(self, embedding: Embedding, facts: Sequence[Fact], digests: Sequence[str] = ()) -> list[int]:
        """Store the rows of `embedding`, all or none, with their `facts`; returns their ids.

        `digests` say of which content each row was made: see `known`.
        """
        shape, wanted = tuple(embedding.vectors.shape[1:]), (len(self.model.parts), self.model.dim)
        if len(embedding) and shape != wanted:
            raise InputError(
                f"the embeddings have {shape[0]} parts of {shape[1]} numbers and the gallery {shown(self.folder)} "
                f"{wanted[0]} of {wanted[1]}; encode with {self.model}, or index into another gallery"
            )
        if len(facts) != len(embedding) or len(digests) not in (0, len(embedding)):
            raise InputError(
                f"{len(embedding)} embeddings come with {len(facts)} facts and {len(digests)} digests; give one of each"
            )
        rows = tables.image_table(self._images.schema, embedding, facts, digests or [""] * len(facts))
        return self.append(rows) if len(facts) else []

    def append(self, rows: pa.Table | pa.RecordBatchReader) -> list[int]:
        """Store `rows` as they are, all or none; returns their ids."""
        with self._writing() as images:
            before = {fragment.fragment_id for fragment in images.get_fragments()}
            after = tables.append(rows, images)
            fresh = [fragment for fragment in after.get_fragments() if fragment.fragment_id not in before]
            added = after.scanner(columns=[], with_row_id=True, fragments=fresh).to_table() if fresh else None
            return [] if added is None else added["_rowid"].to_pylist()

    def remove(self, ids: Iterable[int] | None = None, where: Where | None = None) -> int:
        """Take images out of every answer: those of the `ids` that `where` means; returns how many.

        Their data stays on disk until `compact` or `forget`.
        """
        if ids is None and not where:
            raise InputError("removing needs to be told what: give ids, or a camera, source, track or time")
        chosen = None if ids is None else sorted(set(ids))
        return self._delete(condition(where or Where(), chosen)) if chosen != [] else 0

    def of_content(self, digests: Iterable[str]) -> dict[int, str]:
        """The ids of all images of content with these digests, and which: an interrupted run may have left some."""
        found = self._table(["digest"], among("digest", frozenset(digests) - {""}))
        return dict(zip(found["_rowid"].to_pylist(), found["digest"].to_pylist(), strict=True))

    def _delete(self, rows: str) -> int:
        with self._writing() as images:
            return int(images.delete(rows)["num_deleted_rows"])

    def forget(
        self, *, person: Iterable[int] | None = None, source: str | None = None, before: float | None = None
    ) -> int:
        """Remove images for good: nothing of them stays on disk; returns how many.

        `person`: these ids and the rest of their passages; `source`: all from there; `before`: all of an earlier time,
        or stored earlier where nobody knows it. Of several all must hold. What is forgotten stays `known`.
        """
        if person is None and source is None and before is None:
            raise InputError("forgetting needs to be told what: give a person, a source or a time")
        clauses = [] if source is None else [f"source = {quoted(source)}"]
        clauses += [] if before is None else [older(before)]
        with self.alone():
            if person is not None:
                self.refresh()  # they may be newer than what this object shows
                clauses.append(same_passages(self.table(["source", "track"], list(person))))
            count = self._delete(" AND ".join(clauses))
            self.compact(grace=timedelta(0))
        return count

    def compact(self, grace: timedelta = GRACE) -> None:
        """Merge small files, drop what was removed, and what no reader of the last `grace` needs."""
        try:
            prepared.drop(self)  # before what needs room on the disk
        finally:
            with self._writing() as images:
                tables.compact(images, FRAGMENT, grace)
                finished.compact_finished(self.folder, grace)

    def known(self, digests: Iterable[str]) -> set[str]:
        """Those of `digests` whose files are done: indexed as a whole, even if their images were forgotten since."""
        return set(finished.read_finished(self.folder, digests)["digest"].to_pylist())

    def finish(self, digests: Iterable[str]) -> None:
        """Note that files with these digests are done; an interrupted run has images of some that are not."""
        if names := set(digests):
            with self._writing():
                finished.add_finished(self.folder, names)

    def sources(self) -> pa.Table:
        """The digests of all files that are done."""
        return finished.read_finished(self.folder)

    def rows(
        self, ids: Sequence[int] | None = None, where: Where | None = None, *, thumbnails: bool = True
    ) -> dict[int, Fact]:
        """What is known of the images with these `ids`, or of all, that `where` means; by id."""
        columns = [*tables.FACTS, *(["thumbnail"] if thumbnails else [])]
        found: dict[int, Fact] = {}
        for table in self._select(columns, ids, where or Where()):
            found.update(zip(table["_rowid"].to_pylist(), tables.facts_of(table), strict=True))
        return found if ids is None else {int(id): found[id] for id in ids if id in found}

    def embedding(self, ids: Sequence[int] | None = None) -> tuple[list[int], Embedding]:
        """The images with these `ids`, or all, that are still there, and their embedding, row by row."""
        table = pa.concat_tables(self._select(["vectors", "visibility"], ids, Where()))
        vectors = numbers(table["vectors"]).view(len(table), len(self.model.parts), self.model.dim)
        place = {id: row for row, id in enumerate(table["_rowid"].to_pylist())}
        found = sorted(place) if ids is None else [int(id) for id in ids if id in place]
        kept = [place[id] for id in found]
        return found, Embedding(vectors[kept], numbers(table["visibility"])[kept])

    def _select(self, columns: list[str], ids: Sequence[int] | None, where: Where) -> Iterator[pa.Table]:
        chosen = [None] if ids is None else [ids[i : i + AT_ONCE] for i in range(0, max(1, len(ids)), AT_ONCE)]
        for some in chosen:
            yield retried(partial(self._table, columns, condition(where, some)), self.refresh)

    def _table(self, columns: list[str], rows: str) -> pa.Table:
        with self._reading() as images:
            return images.to_table(columns=columns, filter=rows, with_row_id=True)

    def count(self, column: Literal["camera", "source", "track"]) -> dict[str, int]:
        """How many images there are of each camera, source or track, by name."""
        return dict(sorted(Counter(self.table([column])[column].to_pylist()).items()))

    def table(self, columns: Sequence[str], ids: Sequence[int] | None = None) -> pa.Table:
        """These columns of the images with these `ids`, or of all, and `_rowid`, their ids, which are in order."""
        return pa.concat_tables(self._select(list(columns), ids, Where())).sort_by("_rowid")

    def scan(self, columns: Sequence[str], rows: int, after: int = -1, until: int | None = None) -> Batches:
        """The images whose id is greater than `after` and not than `until`, `rows` at a time, with `_rowid`, the id."""
        with self._reading() as images:
            yield from images.to_batches(
                columns=list(columns),
                filter=between(after, until),
                with_row_id=True,
                batch_size=rows,
                batch_readahead=4,
                io_buffer_size=AHEAD,
            )

    def notes(self) -> dict[str, Any]:
        """What is kept with the gallery, by name."""
        with self._reading() as images:
            return {key[len(NOTE) :]: json.loads(text) for key, text in images.config().items() if key.startswith(NOTE)}

    def keep_note(self, name: str, value: Any) -> None:
        """Keep `value`, of which JSON must be able to speak, with the gallery."""
        with self._writing() as images:
            images.update_config({f"{NOTE}{name}": json.dumps(value)})

    def verify(self) -> list[str]:
        """Read everything; returns a sentence for each fault."""
        return faults_of(self)

    def export(self, folder: str | os.PathLike[str]) -> None:
        """Write everything to a new `folder`, for `import_` and for any program that reads Parquet."""
        export_images(self, Path(folder))

    def import_(self, folder: str | os.PathLike[str]) -> int:
        """Add, all or none, what `export` wrote to `folder`, which must be of the same model; returns how many."""
        return import_images(self, Path(folder))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """In here nobody else writes to the gallery: what was looked up stays so until it is acted upon."""
        with self._busy:
            if self._is_alone:
                yield
                return
            with tables.locked(self.folder):
                self._is_alone = True
                try:
                    yield
                finally:
                    self._is_alone = False

    @contextmanager
    def _reading(self) -> Iterator[Dataset]:
        with guarded(self.folder, "reading"):
            yield self._images

    @contextmanager
    def _writing(self) -> Iterator[Dataset]:
        """The newest version, to be changed by us alone; what becomes of it is what this object shows afterwards."""
        with self.alone(), guarded(self.folder, "writing to"):
            newest, _ = tables.newest(self._images, self.state)
            yield newest
            self._images = newest.checkout_version(newest.latest_version)
            self.state = tables.state(self._images)
