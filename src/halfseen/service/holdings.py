"""What the service knows of a gallery: its places and times, its sightings one by one, and answers to searches."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from fastapi import HTTPException
from numpy.typing import NDArray

from halfseen.gallery.indexing.times import shown_time
from halfseen.gallery.parts import looks_of
from halfseen.gallery.search import Search
from halfseen.gallery.sightings import Ask, Fact, Sighting, State, Where
from halfseen.gallery.store import Gallery
from halfseen.service.answers import About, Limits, Place, key_of, sources_from
from halfseen.service.asking import refused
from halfseen.types import Embedding

FRESH = 2.0  # seconds that may pass before it is looked whether the gallery has changed
PIECE = 2**16  # rows that are read at once
WORDS = ("camera", "source", "track")
COLUMNS = pa.schema([*((name, pa.string()) for name in WORDS), ("time", pa.float64()), ("_rowid", pa.uint64())])


@dataclass(frozen=True)
class Register:
    """Where and when all sightings of one version of the gallery were: a row of `table` for each, the newest first, and
    the `passage` that it belongs to, by number. `shown` are the sources as people see them: what is made of thousands
    of films is made once, and not in each answer, for which all others would wait."""

    state: State
    table: pa.Table
    passage: NDArray[np.int64]
    cameras: dict[str, int]
    sources: dict[str, int]
    paths: dict[str, str]  # of sources, by key
    shown: list[Place]

    @staticmethod
    def of(gallery: Gallery) -> Register:
        state = gallery.state
        table = pa.Table.from_batches(gallery.scan([*WORDS, "time"], PIECE), COLUMNS)
        order = pc.sort_indices(table, [("time", "descending"), ("_rowid", "ascending")])
        table = table.take(order)
        cameras, sources = (_counts(table[name]) for name in ("camera", "source"))
        paths, shown = {key_of(path): path for path in sources}, sources_from(sources.items())
        return Register(state, table, _passages(table), cameras, sources, paths, shown)

    def newest(self, where: Where) -> list[int]:
        """The ids of the newest sighting of each passage, among those that `where` means."""
        rows = np.arange(len(self.table))
        for mask in _masks(self.table, where):
            rows = rows[mask.to_numpy(zero_copy_only=False)[rows]]
        first = np.sort(np.unique(self.passage[rows], return_index=True)[1])
        ids: list[int] = self.table["_rowid"].to_numpy()[rows[first]].tolist()
        return ids


@dataclass(frozen=True, eq=False)
class Wanted:
    """Somebody: the person of the pictures `seen` and of the sightings `like`, who is none of `unlike`; `asked` says
    how to look, given the queries and the negative pictures."""

    seen: Sequence[Embedding]
    like: Sequence[int]
    unlike: Sequence[int]
    asked: Callable[[Embedding, Embedding | None], Ask]

    def ask(self, rows: Mapping[int, int], kept: Embedding | None) -> Ask:
        """The whole question; `kept` is what the gallery holds of sightings, whose `rows` it names by id."""

        def of(numbers: Sequence[int]) -> list[Embedding]:
            return [kept[torch.tensor([rows[number] for number in numbers])]] if numbers and kept else []

        unlike = of(self.unlike)
        return self.asked(Embedding.joined([*self.seen, *of(self.like)]), unlike[0] if unlike else None)


class Answered(NamedTuple):
    """What was found, and by which queries: pictures come first, then sightings."""

    queries: Embedding
    sightings: list[Sighting]


class Holdings:
    """A `gallery`, as others change it, and a `search` of it (None: one of this machine)."""

    def __init__(self, gallery: Gallery, search: Search | None = None) -> None:
        self.gallery, self.search = gallery, Search(gallery) if search is None else search
        self.parts = gallery.model.parts
        self.register = Register.of(gallery)
        self._looked, self._one = time.monotonic(), Lock()

    @property
    def due(self) -> bool:
        """Whether it is time to `refresh`."""
        return time.monotonic() - self._looked >= FRESH

    def refresh(self) -> None:
        """See what was added and removed meanwhile. While one does, which may take a while, others go on as before."""
        if self._one.acquire(blocking=False):
            try:
                self.search.refresh()
                if self.gallery.state != self.register.state:
                    self.register = Register.of(self.gallery)
                self._looked = time.monotonic()
            finally:
                self._one.release()

    def searches(self, people: Sequence[Wanted]) -> list[Answered | HTTPException]:
        """Who each of `people` is and where they were seen, or why that is not known; all are looked for together."""
        named = sorted({number for wanted in people for number in (*wanted.like, *wanted.unlike)})
        there, kept = self.search.embedding(named) if named else ([], None)
        rows = {number: row for row, number in enumerate(there)}
        known = [wanted for wanted in people if rows.keys() >= {*wanted.like, *wanted.unlike}]
        asks = [wanted.ask(rows, kept) for wanted in known]
        answers = self.search.searches(asks)
        found = {id(w): Answered(a.queries, s) for w, a, s in zip(known, asks, answers, strict=True)}
        gone = refused("one of these sightings is not in this gallery, or not any more", 404)
        return [found.get(id(wanted), gone) for wanted in people]

    def fact(self, number: int) -> Fact | None:
        """What is known of a sighting, with its thumbnail; None if it is not there."""
        return self.gallery.rows([number]).get(number)

    def browse(self, where: Where, start: int, count: int) -> list[tuple[int, Fact]]:
        """The newest sightings, one of each passage, `count` of them from number `start` on."""
        ids = self.register.newest(where)[start : start + count]
        return list(self.gallery.rows(ids, thumbnails=False).items())

    def about(self, limits: Limits, who: str) -> About:
        """What there is to search."""
        register = self.register
        times = pc.min_max(register.table["time"]).as_py()
        return About(
            sightings=len(register.table),
            model=self.gallery.model.name,
            parts=list(self.parts),
            looks=looks_of(self.parts),
            cameras=[Place(name, name, count) for name, count in register.cameras.items()],
            sources=register.shown,
            since=times["min"],
            until=times["max"],
            first=shown_time(times["min"]),
            last=shown_time(times["max"]),
            limits=limits,
            who=who,
        )


def _passages(table: pa.Table) -> NDArray[np.int64]:
    """A number for each passage: sightings of one source, camera and track; those without a track are passages each."""
    passage = np.zeros(len(table), np.int64)
    for name in WORDS:
        both = passage * (len(table) + 1) + _codes(table[name])
        passage = np.unique(both, return_inverse=True)[1]  # small numbers again
    alone = pc.equal(table["track"], "").to_numpy()
    return np.where(alone, -1 - np.arange(len(table)), passage)


def _counts(words: pa.ChunkedArray) -> dict[str, int]:
    """How often each is there, by name."""
    return dict(sorted((each["values"].as_py(), each["counts"].as_py()) for each in words.value_counts()))


def _codes(words: pa.ChunkedArray) -> NDArray[np.int64]:
    """Equal words, equal numbers."""
    codes: NDArray[np.int64] = words.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    return codes


def _masks(table: pa.Table, where: Where) -> list[pa.ChunkedArray]:
    """For each thing that is asked of a sighting, which of them meet it."""
    masks = []
    for column, names in (("camera", where.cameras), ("source", where.sources), ("track", where.tracks)):
        if names is not None:
            masks.append(pc.is_in(table[column], pa.array(sorted(names), pa.string())))
    if where.since is not None:
        masks.append(pc.fill_null(pc.greater_equal(table["time"], where.since), False))
    if where.until is not None:
        masks.append(pc.fill_null(pc.less_equal(table["time"], where.until), False))
    return masks
