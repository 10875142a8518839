"""Folders that grow: what is new is indexed as soon as nobody writes to it any more."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, NoReturn

from halfseen.gallery.indexing.index import Indexing, Report, Settings
from halfseen.gallery.indexing.model import Model
from halfseen.gallery.indexing.sources import Found, Source, find
from halfseen.gallery.store import Gallery
from halfseen.types import InputError

PAUSE = 2.0  # seconds between two looks at the folders
QUIET = {False: 2.0, True: 15.0}  # seconds without a change that end a picture, and a film
AGAIN = 60.0  # seconds until what could not be read, or stored, is tried once more


class Seen(NamedTuple):
    """How a file was found: its size and its time of change in nanoseconds, the same since `since`."""

    size: int
    changed: int
    since: float


def watch(
    paths: Sequence[Path], gallery: Gallery, model: Model, settings: Settings, tell: Callable[[Report], None]
) -> NoReturn:
    """Until Ctrl-C; `tell` hears of each run that found something new.

    What is wrong in the beginning ends it. Later a folder may be away for a moment, a table be half written, a file not
    to be read or the gallery not to be written to: that is said once, and tried again.
    """
    gallery.check(model.facts)
    found, files, said = find(paths, settings.patterns), Files(), set[str]()
    heard: set[str] = set()

    def once(sentence: str) -> None:
        if sentence not in heard:
            settings.say(sentence)
        heard.add(sentence)

    while True:
        ready = files.ready(found.sources, time.monotonic())
        faults, notes = ([each for each in some if each not in said] for some in (found.faults, found.notes))
        try:
            if ready or faults:
                said.update(faults, notes)
                new = Found(ready, faults=faults, notes=notes)
                report = Indexing(gallery, model, replace(settings, say=once)).run(new)
                files.try_again(report.unread, time.monotonic())
                tell(report)
        except InputError as error:
            files.try_again([source.path for source in ready], time.monotonic())
            once(str(error))
        time.sleep(PAUSE)
        try:
            found = find(paths, settings.patterns)
        except InputError as error:
            once(str(error))


class Files:
    """What is known of the files that were found: how they look, and when they looked so when they were taken."""

    def __init__(self) -> None:
        self._seen: dict[Path, Seen] = {}
        self._done: dict[Path, Seen] = {}
        self._again: dict[Path, float] = {}

    def ready(self, sources: Sequence[Source], now: float) -> list[Source]:
        """Those of `sources` that are new or changed and at rest, or to be tried again; they are taken to be done."""
        seen = {source.path: one for source in sources if (one := _look(source, self._seen.get(source.path), now))}
        self._seen = seen
        ready = [source for source in sources if source.path in seen and self._is_ready(source, now)]
        for source in ready:
            self._done[source.path] = seen[source.path]
            self._again.pop(source.path, None)
        return ready

    def try_again(self, paths: Sequence[Path], now: float) -> None:
        """In a while, even if they do not change."""
        self._again |= dict.fromkeys(paths, now + AGAIN)

    def _is_ready(self, source: Source, now: float) -> bool:
        one, before = self._seen[source.path], self._done.get(source.path)
        new = before is None or one[:2] != before[:2] or self._again.get(source.path, math.inf) <= now
        return new and now - one.since >= QUIET[source.is_film]


def _look(source: Source, before: Seen | None, now: float) -> Seen | None:
    try:
        about = source.path.stat()
    except OSError:  # gone meanwhile
        return None
    same = before is not None and (about.st_size, about.st_mtime_ns) == before[:2]
    return before if same else Seen(about.st_size, about.st_mtime_ns, now)
