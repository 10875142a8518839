"""Indexing with all machines of a Ray cluster: they read and encode, through Ray Data, and this process alone stores.

So nothing changes for the gallery: one writer, additions that are whole, nothing twice. Files go out in lots, and what
comes back is stored as it comes. The lot of a machine that is lost goes to another. All machines must see the files
under the same names; the gallery only this one.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from halfseen.data.files import shown
from halfseen.encode import Device, chosen_device
from halfseen.gallery.indexing.detectors import load_detector
from halfseen.gallery.indexing.films import passages
from halfseen.gallery.indexing.index import Indexing, Report, Settings
from halfseen.gallery.indexing.ledger import Ledger
from halfseen.gallery.indexing.model import Model
from halfseen.gallery.indexing.pictures import Picture, batches, digests, read_pictures
from halfseen.gallery.indexing.rows import Rows, rows_of, rows_of_passages, stretch_name
from halfseen.gallery.indexing.sources import DamagedError, Found, Source, find
from halfseen.gallery.machines import joined, ray, told
from halfseen.gallery.store import Gallery
from halfseen.training.settings import no_bar, say_nothing
from halfseen.types import Embedding, InputError

NOTHING = Rows([], [], [])
TRIES = 2  # before a lot that ended its process is done file by file
TOGETHER = 16  # lots that go to a process in one piece, at most: the work that is done again when it is lost


@dataclass(frozen=True)
class Given:
    """What each process of the cluster works with. `known` are the names of what is done, in order."""

    model: Model
    settings: Settings
    device: Device
    known: NDArray[np.bytes_]

    def knows(self, name: str) -> bool:
        place = np.searchsorted(self.known, name.encode())
        return bool(place < len(self.known) and self.known[place] == name.encode())

    def ready(self) -> Model:
        """The model, where this process computes."""
        self.model.loaded.network.to(chosen_device(self.device))
        return self.model


@dataclass(frozen=True)
class Made:
    """What came of a lot: at first the digests of its files, or why there is none (`names`), then, now or in further
    ones, `rows` that make `done` what is named there; `faults`, each with the digest of its file."""

    names: Sequence[str | DamagedError] = ()
    rows: Rows = NOTHING
    done: Sequence[str] = ()
    faults: Sequence[tuple[str, InputError]] = ()
    passages: int = 0


Lot = Sequence[Source]  # some pictures, or one film
Work = Callable[[Lot], Iterable[Made]]


def merged(some: Sequence[Made]) -> Made:
    """What came of the pictures of a lot one by one, as if it had been one: each content once, encoded together."""
    first: dict[str, Made] = {}
    for made in some:
        for digest in made.rows.digests:
            first.setdefault(digest, made)
    embeddings = [embedding for made in first.values() for embedding in made.rows.embeddings]
    facts = [fact for made in first.values() for fact in made.rows.facts]
    rows = Rows([Embedding.joined(embeddings)], facts, list(first)) if first else NOTHING
    names = [name for made in some for name in made.names]
    return Made(names, rows, rows.digests, list(dict(fault for made in some for fault in made.faults).items()))


def index_on(
    address: str,
    paths: Sequence[Path] | Found,
    gallery: Gallery,
    model: Model,
    settings: Settings,
    *,
    device: Device = "auto",
) -> Report:
    """As `index`, by the machines of the cluster at `address`, each on its `device`."""
    gallery.check(model.facts)
    found = paths if isinstance(paths, Found) else find(paths, settings.patterns)
    with joined(address), contextlib.redirect_stdout(sys.stderr), told():  # there Ray tells of lost machines
        return Spread(gallery, model, settings, device).run(found)


class Spread(Indexing):
    """One run, of which the cluster does all but storing."""

    def __init__(self, gallery: Gallery, model: Model, settings: Settings, device: Device = "auto") -> None:
        super().__init__(gallery, model, settings)
        self._gpus = 0 if device == "cpu" else int(ray().cluster_resources().get("GPU", 0))
        network = deepcopy(model.loaded.network).cpu()  # to be loaded where there is no GPU too
        model = replace(model, loaded=model.loaded._replace(network=network))
        settings = replace(settings, bars=no_bar, say=say_nothing)
        done = [] if settings.again else gallery.sources()["digest"].to_pylist()
        known = np.sort(np.array(done, dtype=np.bytes_))
        self._given = ray().put(Given(model, settings, device, known))

    def _add_pictures(self, sources: Sequence[Source]) -> None:
        lots, done = list(batches(sources, self.settings.batch)), 0
        with self.settings.bars("pictures") as progress:
            for number, made in self._made(encoding, lots):
                new = {digest for _, digest in self._unknown(lots[number], made.names)}
                self.report.pictures += self._take(made, new)
                done += len(lots[number])
                progress(done, len(sources))

    def _add_films(self, films: Sequence[Source]) -> None:
        if films:
            self._detector()  # what is wrong with it is told before anybody begins
        new: dict[int, set[str]] = {}
        with self.settings.bars("films") as progress:
            for number, made in self._made(watching, [[film] for film in films]):
                if made.names:
                    new[number] = {digest for _, digest in self._unknown([films[number]], made.names)}
                if self._take(made, new[number]):
                    self.report.passages += made.passages
                    self.report.films += made.done[0] in new[number]  # rather than a stretch of it
                progress(len(new), len(films))

    def _made(self, begin: Callable[[Given], Work], lots: Sequence[Lot]) -> Iterator[tuple[int, Made]]:
        return spread(lots, begin, self._given, self._gpus)

    def _take(self, made: Made, new: set[str]) -> int:
        """Of what was made that which belongs to `new` files; returns of how many."""
        for digest, fault in made.faults:
            if digest in new:
                self._leave_out(fault)
        if done := [name for name in made.done if name.partition("@")[0] in new]:
            self._put(made.rows if len(done) == len(made.done) else _only(made.rows, done), done)
        return len(done)


def _only(rows: Rows, names: Sequence[str]) -> Rows:
    """Those of `rows`, which were encoded together, that belong to `names`."""
    kept = [row for row, name in enumerate(rows.digests) if name in names]
    embeddings = [embedding[torch.tensor(kept)] for embedding in rows.embeddings]
    return Rows(embeddings, [rows.facts[row] for row in kept], [rows.digests[row] for row in kept])


# --- in the processes of the cluster ---


def encoding(given: Given) -> Work:
    """Of lots of pictures."""
    model = given.ready()

    def work(lot: Lot) -> Iterator[Made]:
        names = digests(lot)
        found: dict[str, Source] = {}
        for source, name in zip(lot, names, strict=True):
            if isinstance(name, str):
                found.setdefault(name, source)
        new = [(source, name) for name, source in found.items() if not given.knows(name)]
        read = [each for some in read_pictures(new, model.fitted, max(1, len(new))) for each in some]
        pictures = [picture for picture in read if isinstance(picture, Picture)]
        faults = [(name, fault) for (_, name), fault in zip(new, read, strict=True) if isinstance(fault, InputError)]
        rows = rows_of(pictures, model) if pictures else NOTHING
        yield Made(names, rows, rows.digests, faults)

    return work


def watching(given: Given) -> Work:
    """Of films, stretch by stretch."""
    model, how = given.ready(), given.settings
    device = next(model.loaded.network.parameters()).device.type
    detect = load_detector(how.detector, how.smallest, how.weights, device)

    def work(lot: Lot) -> Iterator[Made]:
        (film,), (digest,) = lot, digests(lot)
        yield Made([digest])
        if isinstance(digest, DamagedError) or given.knows(digest):
            return
        try:
            for number, found in passages(
                film.path,
                detect,
                every=how.every,
                count=how.crops,
                known=lambda number: given.knows(stretch_name(digest, number)),
            ):
                name = stretch_name(digest, number)
                rows = rows_of_passages((film, digest), name, found, model, how.batch)
                yield Made((), rows, [name], passages=len(found))
            yield Made(done=[digest])
        except DamagedError as fault:
            yield Made(faults=[(digest, fault)])

    return work


def spread(
    lots: Sequence[Any], begin: Callable[[Any], Callable[[Any], Iterable[Any]]], given: Any, gpus: int = 0
) -> Iterator[tuple[int, Any]]:
    """What `begin(given)`, called once in each process of the cluster, makes of `lots`: the number of the lot and each
    thing that came of it, in order. `given` is a reference into Ray's store; with `gpus`, each process has one."""
    if not lots:
        return
    places = gpus or max(1, int(ray().cluster_resources().get("CPU", 1)))
    size = min(TOGETHER, -(-len(lots) // (2 * places)))
    ledger = ray().remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Ledger).remote()
    numbered = [pickle.dumps(pair) for pair in enumerate(lots)]
    pieces = [pa.table({"lot": some}) for some in batches(numbered, size)]
    data = ray().data
    made = data.from_arrow(pieces).map_batches(
        Hand,
        fn_constructor_args=(begin, given, ledger),
        batch_size=1,
        batch_format="pyarrow",
        compute=data.ActorPoolStrategy(size=min(places, len(pieces))),
        num_cpus=1,
        num_gpus=min(1, gpus),
    )
    made.context.execution_options.preserve_order = True
    made.context.enable_progress_bars = made.context.print_on_execution_start = False
    made.context.target_max_block_size = 1  # nothing waits for others to be told
    for row in made.iter_rows():
        yield pickle.loads(row["made"])


class Hand:
    """One process of the cluster at work. A lot that ended its process TRIES times is done file by file, and a file
    that does so alone is left out."""

    def __init__(self, begin: Callable[[Any], Callable[[Any], Iterable[Any]]], given: Any, ledger: Any) -> None:
        self._work = begin(ray().get(given) if isinstance(given, ray().ObjectRef) else given)
        self._ledger = ledger

    def __call__(self, lots: pa.Table) -> Iterator[pa.Table]:
        for number, lot in map(pickle.loads, lots["lot"].to_pylist()):
            times, told = ray().get(self._ledger.begin.remote(number))
            some = self._work(lot) if times <= TRIES else self._one_by_one(number, lot, told)
            for count, made in enumerate(some, 1):
                yield pa.table({"made": [pickle.dumps((number, made))]})
                ray().get(self._ledger.tell.remote(number, count))
            ray().get(self._ledger.end.remote(number))

    def _one_by_one(self, number: int, lot: Lot, told: int) -> Iterator[Made]:
        if lot[0].is_film:  # which is a lot by itself
            yield from self._alone((number, 0), lot[0], told)
        else:
            yield merged([made for row, source in enumerate(lot) for made in self._alone((number, row), source)])

    def _alone(self, key: tuple[int, int], source: Source, told: int = 0) -> Iterator[Made]:
        """Of one file, or why it is left out; Ray takes the first `told` things for those that it knows."""
        if ray().get(self._ledger.begin.remote(key))[0] == 1:
            yield from self._work([source])
        else:
            (digest,) = digests([source])
            yield from [Made([digest]), *[Made()] * (told - 1)]
            yield Made(faults=[(str(digest), _deadly(source))])
        ray().get(self._ledger.end.remote(key))


def _deadly(source: Source) -> DamagedError:
    times = f"has ended the process that read it {TRIES + 1} times"
    return DamagedError(f"{shown(source.path)} {times}; look whether it is sound, or save it anew in another format")
