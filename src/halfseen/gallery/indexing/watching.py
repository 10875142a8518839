"""Folders that grow: what is new is indexed as soon as nobody writes to it any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from halfseen.gallery.indexing.index import Indexing, Report, Settings
from halfseen.gallery.indexing.model import Model
from halfseen.gallery.indexing.sources import Found, Source, find
from halfseen.gallery.store import Gallery
from halfseen.types import InputError

PAUSE = 2.0  # seconds between two looks at the folders
QUIET = {False: 2.0, True: 15.0}  # seconds without a change that end a picture, and a film


class Seen(NamedTuple):
    """How a file was found: its size and its time of change in nanoseconds, the same since `since`."""

    size: int
    changed: int
    since: float


def watch(
    paths: Sequence[Path], gallery: Gallery, model: Model, settings: Settings, tell: Callable[[Report], None]
) -> NoReturn:
    """Until Ctrl-C; `tell` hears of each run that found something new.

    What is wrong in the beginning ends it. Later a folder may be away for a moment, or a table be half written: that is
    said once, and looked at again.
    """
    gallery.check(model.facts)
    found, trouble = find(paths, settings.patterns), ""
    seen: dict[Path, Seen] = {}
    done: dict[Path, Seen] = {}
    said: set[str] = set()
    while True:
        now = time.monotonic()
        seen = {source.path: one for source in found.sources if (one := _look(source, seen.get(source.path), now))}
        ready = [source for source in found.sources if _ready(source, seen, done, now)]
        faults = [fault for fault in found.faults if fault not in said]
        if ready or faults:
            done |= {source.path: seen[source.path] for source in ready}
            said.update(faults)
            tell(Indexing(gallery, model, settings).run(Found(ready, faults=faults)))
        time.sleep(PAUSE)
        try:
            found, trouble = find(paths, settings.patterns), ""
        except InputError as error:
            if str(error) != trouble:
                settings.say(trouble := str(error))


def _look(source: Source, before: Seen | None, now: float) -> Seen | None:
    try:
        about = source.path.stat()
    except OSError:  # gone meanwhile
        return None
    same = before is not None and (about.st_size, about.st_mtime_ns) == before[:2]
    return before if same else Seen(about.st_size, about.st_mtime_ns, now)


def _ready(source: Source, seen: dict[Path, Seen], done: dict[Path, Seen], now: float) -> bool:
    one = seen.get(source.path)
    if one is None or now - one.since < QUIET[source.is_film]:
        return False
    before = done.get(source.path)
    return before is None or one[:2] != before[:2]
