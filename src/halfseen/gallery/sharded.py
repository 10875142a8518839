"""Exact search over more machines than one: the vectors lie in shards, each in a process (an actor) of a Ray cluster.

A shard is a `Search` over its share of the rows. It finds its own k nearest by (distance, id), and the k nearest of all
are among these. Each distance comes of one row and one query, by the same operations wherever the row lies, so the
answers are those of one machine to the last bit.

All shards answer from the version of the gallery that the question names. A shard whose process or machine is lost is
begun again on another by Ray, which asks it again; it then reads its rows of that version once more. Where that version
is gone meanwhile, as after `forget`, the search goes on with the newest.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from copy import copy
from threading import Lock
from typing import Any, NamedTuple

import pyarrow as pa
import torch

from halfseen.data.files import shown
from halfseen.gallery.conditions import between, condition
from halfseen.gallery.leading import Leading
from halfseen.gallery.loading import Loaded
from halfseen.gallery.machines import ray, told
from halfseen.gallery.places import joined, local
from halfseen.gallery.probes import Found, Probes
from halfseen.gallery.search import Search
from halfseen.gallery.sightings import Ask, ModelFacts, Sighting, State, Where
from halfseen.gallery.store import AHEAD, IMAGES, Gallery
from halfseen.gallery.tables import Batches, lance
from halfseen.gallery.troubles import VanishedError, guarded, retried

BLOCK = 1024  # ids that follow each other lie in one shard
KEPT = 2  # versions that a shard can be asked about: searches go on while the next is read
AT_ONCE = 4  # questions, one of which may be what makes it read the next version
ROOM, PATIENCE = 300.0, 900.0  # seconds until all shards have a place, and until a lost one must be back


class Share(NamedTuple):
    """Every `of`-th block of ids, from the block `number` on: adding and removing others moves no row."""

    number: int
    of: int

    @property
    def rows(self) -> str:
        """SQL for them."""
        first = self.number * BLOCK
        return f"_rowid % {self.of * BLOCK} BETWEEN {first} AND {first + BLOCK - 1}"


class Part(Gallery):
    """A share of a gallery's rows, at one version, as if that were all: nothing refreshes it."""

    def __init__(self, folder: str, model: ModelFacts, share: Share, version: int) -> None:
        with guarded(folder, "opening"):
            images = lance().dataset(joined(folder, IMAGES), version=version)
        super().__init__(folder, images, model)
        self._share = share

    def refresh(self) -> bool:
        return False

    def notes(self) -> dict[str, Any]:
        """None: what was learned is of the whole."""
        return {}

    def table(self, columns: Sequence[str], ids: Sequence[int] | None = None) -> pa.Table:
        return self._table(list(columns), f"{self._share.rows} AND {condition(Where(), ids)}").sort_by("_rowid")

    def scan(self, columns: Sequence[str], rows: int, after: int = -1, until: int | None = None) -> Batches:
        with self._reading() as images:
            yield from images.to_batches(
                columns=list(columns),
                filter=" AND ".join(filter(None, [self._share.rows, between(after, until)])),
                with_row_id=True,
                batch_size=rows,
                batch_readahead=4,
                io_buffer_size=AHEAD,
            )


class Shard:
    """What one process of the cluster holds; calls may come from several threads."""

    def __init__(self, folder: str, model: ModelFacts, share: Share, memory: int | None, threads: int | None) -> None:
        torch.set_num_threads(threads or os.cpu_count() or 1)  # Ray would leave one
        self._about, self._memory = (folder, model, share), memory
        self._searches: dict[State, Search] = {}
        self._one = Lock()

    def ready(self) -> None:
        """It has a place."""

    def load(self, state: State) -> int:
        """Have that state ready; tells how many rows there are."""
        return len(self._at(state))

    def nearest(self, state: State, probes: Probes, k: int, wheres: Sequence[Where]) -> Found:
        return self._at(state).nearest(probes, k, wheres)

    def _at(self, state: State) -> Search:
        found = self._searches.get(state)  # looked up once: another thread may put it out for a newer one
        if found is None:
            with self._one:
                found = self._searches.get(state)
                if found is None:
                    same = [one for one in self._searches if one.gallery == state.gallery]
                    others = {one: self._searches[one] for one in sorted(same)[1 - KEPT :]}
                    found = self._made(state, others)
                    self._searches = others | {state: found}
        return found

    def _made(self, state: State, others: dict[State, Search]) -> Search:
        part, newest = Part(*self._about, state.version), max(others, default=state)
        if part.state != state:
            raise VanishedError(f"another gallery lies in {shown(part.folder)} by now; look again")
        if newest >= state:
            return Search(part, memory=self._memory)
        later = copy(others[newest])  # what both have is not read again, and the earlier one stays as it is
        later.gallery = part
        later.refresh()
        return later


class Sharded(Search):
    """A `Search` whose vectors lie in `shards` processes (None: one on each machine) of the cluster that was joined.

    All machines must see the gallery's folder under the same name, or it lies in an object store. `memory`: as for
    `Search`, of each shard. `threads`: of each; None: all that its machine has.
    """

    def __init__(
        self, gallery: Gallery, shards: int | None = None, *, memory: int | None = None, threads: int | None = None
    ) -> None:
        folder = os.path.abspath(gallery.folder) if local(gallery.folder) else gallery.folder  # noqa: PTH100
        count = shards or max(1, sum(node["Alive"] for node in ray().nodes()))
        size = -(-len(gallery) // count) * Leading.row_bytes(len(gallery.model.parts), gallery.model.dim)
        actor = ray().remote(
            max_restarts=-1,
            max_task_retries=-1,  # while a machine is not yet known to be lost, each attempt counts
            max_concurrency=AT_ONCE,
            scheduling_strategy="SPREAD",
            memory=size if memory is None else min(size, memory),
        )(Shard)
        self._shards = [
            actor.remote(folder, gallery.model, Share(number, count), memory, threads) for number in range(count)
        ]
        with told():
            ray().get([shard.ready.remote() for shard in self._shards], timeout=ROOM)
        super().__init__(gallery, memory=0)

    def searches(self, asks: Sequence[Ask]) -> list[list[Sighting]]:
        return retried(lambda: super(Sharded, self).searches(asks), self.refresh)

    def nearest(self, probes: Probes, k: int, wheres: Sequence[Where] = ()) -> Found:
        return retried(lambda: super(Sharded, self).nearest(probes, k, wheres), self.refresh)

    def _nearest(self, loaded: Loaded, probes: Probes, k: int, wheres: Sequence[Where]) -> Found:
        found = Found.room(len(probes), 0, len(self.gallery.model.parts))
        question = ray().put(probes)
        for other in self._answers("nearest", loaded.state, question, k, wheres):
            found = found.joined(other, k)
        return found

    def _load(self, before: Loaded | None) -> Loaded:
        loaded = super()._load(before)
        self._answers("load", loaded.state)
        return loaded

    def _answers(self, call: str, *words: Any) -> list[Any]:
        with told():
            answers: list[Any] = ray().get(
                [getattr(shard, call).remote(*words) for shard in self._shards], timeout=PATIENCE
            )
        return answers
