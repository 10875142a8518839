"""Who passes through a film, stretch by stretch, so that a long film can be gone on with where it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

from halfseen.gallery.indexing.detectors import Detect
from halfseen.gallery.indexing.sources import DamagedError
from halfseen.gallery.indexing.tracks import Crop, Tracker
from halfseen.gallery.indexing.video import duration, looks
from halfseen.types import Progress

STRETCH = 300  # seconds; passages end where a stretch does, so that none depends on where a film was stopped

Passages = list[list[Crop]]


def passages(
    path: Path,
    detect: Detect,
    *,
    every: float = 0.3,
    count: int = 4,
    known: Callable[[int], bool] = lambda _: False,
    progress: Progress | None = None,
) -> Generator[tuple[int, Passages], None, None]:
    """The number of each stretch that is not `known`, and for everybody who passes in it at most `count` crops.

    The film is looked at each `every` seconds. In the end DamagedError says so if it is cut short.
    """
    number, tracker, skip = 0, Tracker(count), known(0)
    moment, length, fault = -1.0, round(duration(path)), None
    with closing(looks(path, every)) as film:
        try:
            for look in film:
                moment = look.moment
                if moment >= (number + 1) * STRETCH:
                    if not skip:
                        yield number, tracker.end()
                    number = int(moment // STRETCH)
                    tracker, skip = Tracker(count), known(number)
                if not skip:
                    frame = look.fetch()
                    tracker.add(moment, frame, detect(frame))
                if progress:
                    progress(round(moment), max(length, round(moment)))
        except DamagedError as error:
            fault = error
    if moment >= 0 and not skip:
        yield number, tracker.end()
    if fault:
        raise fault
