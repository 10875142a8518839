"""Folders, tables and films → a gallery: each content once, and nothing done twice after a stop.

What is done is noted by the digest of a file (of a film also stretch by stretch), so that the same file adds nothing
the second time, wherever it lies by then. What was stored of a file that was not finished is replaced.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from halfseen.data.files import shown
from halfseen.gallery.indexing.detectors import Detect, DetectorName, check_detector, load_detector
from halfseen.gallery.indexing.films import Passages, passages
from halfseen.gallery.indexing.model import Model
from halfseen.gallery.indexing.patterns import Pattern
from halfseen.gallery.indexing.pictures import Picture, batches, digests, read_pictures
from halfseen.gallery.indexing.rows import Rows, outgrown, rows_of, rows_of_passages, stretch_name
from halfseen.gallery.indexing.sources import DamagedError, Found, Source, UnreadError, find
from halfseen.gallery.store import Gallery
from halfseen.heap import freed_kept
from halfseen.training.settings import Bars, Say, no_bar, say_nothing
from halfseen.types import Embedding, InputError

COMPARED = 1024  # files whose digests are looked up together
ROWS, SECONDS = 4096, 15.0  # stored together at most; a kill costs no more than that


@dataclass(frozen=True)
class Settings:
    """How to index.

    `patterns` read names. Films are looked at each `every` seconds, by the `detector` (with `weights`, if it is a
    network) for people at least `smallest` of a frame tall; a passage becomes at most `crops` crops. `batch` crops are
    encoded together. `again`: what is known, or was forgotten, too, instead of what is stored of it. `bars`, `say` (of
    what is left out) and `note` (of what may be meant otherwise) are for the person who waits.
    """

    patterns: tuple[Pattern, ...] = ()
    detector: DetectorName = "hog"
    weights: Path | None = None
    smallest: float = 1 / 9
    every: float = 0.3
    crops: int = 4
    batch: int = 64
    again: bool = False
    bars: Bars = no_bar
    say: Say = say_nothing
    note: Say = say_nothing

    def __post_init__(self) -> None:
        if not 0.02 <= self.every <= 1:
            raise InputError(f"--every {self.every:g}: films are looked at each 0.02 to 1 seconds")
        for name, count in (("crops", self.crops), ("batch", self.batch)):
            if count < 1:
                raise InputError(f"--{name} {count}: give 1 or more")
        check_detector(self.detector, self.smallest, self.weights)


@dataclass
class Report:
    """What came of it: `added` sightings from new `pictures` and from `passages` in new `films`; how many files were
    `known` before, and of the first of them how many are stored `otherwise` than they are named now; `faults`, one
    sentence for each file that is left out, or in part; `unread`, those of these files that may be read another time.
    """

    added: int = 0
    pictures: int = 0
    films: int = 0
    passages: int = 0
    known: int = 0
    otherwise: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)
    unread: list[Path] = field(default_factory=list)


def index(paths: Sequence[Path] | Found, gallery: Gallery, model: Model, settings: Settings = Settings()) -> Report:
    """Add to `gallery` what `paths` lead to (or led to, when they were looked at) and `model`, which must be the
    gallery's, makes of it."""
    gallery.check(model.facts)
    return Indexing(gallery, model, settings).run(paths if isinstance(paths, Found) else find(paths, settings.patterns))


class Indexing:
    """One run: what is still to be stored, and what came of it so far."""

    def __init__(self, gallery: Gallery, model: Model, settings: Settings) -> None:
        self.gallery, self.model, self.settings = gallery, model, settings
        self.report = Report()
        self._met: set[str] = set()  # digests of this run
        self._again: dict[str, list[Source]] = {}  # files that hold what another of this run holds
        self._damaged: dict[str, Source] = {}  # what could not be read
        self._rows: list[Rows] = []
        self._done: list[str] = []
        self._stored = time.monotonic()
        self._detect: Detect | None = None
        self._compared = False

    def run(self, found: Found) -> Report:
        began = time.monotonic()
        for note in found.notes:
            self.settings.note(note)
        for fault in found.faults:
            self._leave_out(fault)
        try:
            with freed_kept(self._device):
                if found.pictures:
                    self._add_pictures(found.pictures)
                self._add_films(found.films)
        except KeyboardInterrupt:
            self._store()  # what is encoded is not thrown away
            raise
        self._store()
        self.report.seconds = time.monotonic() - began
        return self.report

    @property
    def _device(self) -> str:
        """Where the network is."""
        return next(self.model.loaded.network.parameters()).device.type

    def _add_pictures(self, sources: Sequence[Source]) -> None:
        ahead = int(self._device == "cuda")  # a CPU has nothing to spare meanwhile
        with self.settings.bars("pictures") as progress:
            done = 0
            for some in batches(sources, COMPARED):
                fresh = self._unknown(some, digests(some))
                done += len(some) - len(fresh)
                while fresh:
                    left, others = iter(fresh), list[tuple[Source, str]]()
                    for batch in read_pictures(fresh, self.model.fitted, self.settings.batch, ahead=ahead):
                        for picture, (source, digest) in zip(batch, left, strict=False):
                            if isinstance(picture, InputError):
                                others += self._instead_of(source, digest, picture)
                        self._add_batch(batch)
                        done += len(batch)
                        progress(done, len(sources))
                    fresh, done = others, done - len(others)

    def _add_films(self, films: Sequence[Source]) -> None:
        for each in films:
            for film, digest in self._unknown([each], digests([each])):
                self._add_film(film, digest)

    def _unknown(self, sources: Sequence[Source], found: Sequence[str | DamagedError]) -> list[tuple[Source, str]]:
        """Those of `sources` whose digests (or faults) were `found` that are new here."""
        done = set() if self.settings.again else self.gallery.known(name for name in found if isinstance(name, str))
        known, fresh = done | self._met, dict[str, Source]()
        old = done - self._met
        self._compare({name: each for each, name in zip(sources[::-1], found[::-1], strict=True) if name in old})
        for source, digest in zip(sources, found, strict=True):
            if isinstance(digest, DamagedError):
                self._leave_out(digest)
                self.report.unread += [source.path] if isinstance(digest, UnreadError) else []
            elif digest in self._damaged:
                self._leave_out_too(source, self._damaged[digest])
            elif digest in known or digest in fresh:
                self.report.known += 1
                if digest in self._met or digest in fresh:
                    self._again.setdefault(digest, []).append(source)
            else:
                fresh[digest] = source
        self._met.update(fresh)
        return [(source, digest) for digest, source in fresh.items()]

    def _compare(self, known: Mapping[str | DamagedError, Source]) -> None:
        """Look once, among the first that are known, whether what is stored of them is what is told of them now."""
        named = {str(digest): source.named for digest, source in known.items() if not source.is_film}
        if named and not self._compared:
            digests = self.gallery.of_content(named)
            facts = self.gallery.rows([*digests], thumbnails=False)
            told = [(digests[id], (fact.camera, fact.time, fact.track)) for id, fact in facts.items()]
            same = {digest for digest, fact in told if fact == named[digest]}
            self.report.otherwise, self._compared = len({digest for digest, _ in told} - same), True

    def _instead_of(self, source: Source, digest: str, fault: InputError) -> list[tuple[Source, str]]:
        """`source` is of no use, and so is no other file that holds the same: unless it is only that it was not read,
        which the next may be."""
        self._leave_out(fault)
        others = self._again.pop(digest, [])
        if not isinstance(fault, UnreadError):
            self._damaged[digest] = source
            self.report.known -= len(others)
            for other in others:
                self._leave_out_too(other, source)
            return []
        self.report.unread.append(source.path)
        self.report.known -= len(others[:1])
        if others:
            self._again[digest] = others[1:]
        else:
            self._met.discard(digest)
        return [(other, digest) for other in others[:1]]

    def _leave_out_too(self, source: Source, like: Source) -> None:
        self._leave_out(f"{shown(source.path)} is {shown(like.path)} once more, which cannot be used")

    def _add_batch(self, batch: Sequence[Picture | InputError]) -> None:
        pictures = [picture for picture in batch if isinstance(picture, Picture)]
        if pictures:
            rows = rows_of(pictures, self.model)
            self.report.pictures += len(pictures)
            self._put(rows, rows.digests)

    def _add_film(self, film: Source, digest: str) -> None:
        self._detect = self._detect or self._detector()
        how = self.settings

        def known(stretch: int) -> bool:
            return not how.again and bool(self.gallery.known([stretch_name(digest, stretch)]))

        with how.bars(film.path.name) as watch:
            try:
                for stretch, found in passages(
                    film.path, self._detect, every=how.every, count=how.crops, known=known, progress=watch
                ):
                    self._add_stretch(film, digest, stretch, found)
            except DamagedError as fault:
                self._leave_out(fault)
                return
        self._done.append(digest)
        self.report.films += 1

    def _detector(self) -> Detect:
        how = self.settings
        try:
            return load_detector(how.detector, how.smallest, how.weights, self._device)
        except InputError:
            self._store()  # what is encoded is not thrown away
            raise

    def _add_stretch(self, film: Source, digest: str, stretch: int, found: Passages) -> None:
        name = stretch_name(digest, stretch)
        self._put(rows_of_passages((film, digest), name, found, self.model, self.settings.batch), [name])
        self.report.passages += len(found)

    def _put(self, rows: Rows, done: Sequence[str]) -> None:
        """These `rows` make the files (or stretches) `done`."""
        self._rows.append(rows)
        self._done += done
        if sum(len(each.facts) for each in self._rows) >= ROWS or time.monotonic() - self._stored > SECONDS:
            self._store()

    def _store(self) -> None:
        """What another run has finished meanwhile is there already; what a broken one left of the rest is replaced."""
        if self._done:
            with self.gallery.alone():
                known = self.gallery.known(self._done)
                self.gallery.refresh()
                self._replace(set() if self.settings.again else known)
                self.gallery.finish(set(self._done) - known)
        self._rows, self._done, self._stored = [], [], time.monotonic()

    def _replace(self, known: set[str]) -> None:
        embeddings = [each for rows in self._rows for each in rows.embeddings]
        facts = [fact for rows in self._rows for fact in rows.facts]
        names = [name for rows in self._rows for name in rows.digests]
        new = [row for row, name in enumerate(names) if name not in known]
        old = [*self.gallery.of_content({*self._done, *names} - known)]
        if new:
            vectors = torch.cat([each.vectors for each in embeddings])[new]
            embedding = Embedding(vectors, torch.cat([each.visibility for each in embeddings])[new])
            facts, names = [facts[row] for row in new], [names[row] for row in new]
            old += outgrown(self.gallery, embedding, facts, frozenset(old))
            self.gallery.add(embedding, facts, names)
            self.report.added += len(new)
        self.gallery.remove(old)  # only now: a full disk takes nothing away

    def _leave_out(self, fault: InputError | str) -> None:
        sentence = " ".join(str(fault).split())
        self.report.faults.append(sentence)
        self.settings.say(sentence)
