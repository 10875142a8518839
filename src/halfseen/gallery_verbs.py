"""The verbs of `halfseen gallery`: info, prepare, forget, verify, compact, export, import, calibrate.

What needs the extra `search` is imported when it is needed.
"""

from __future__ import annotations

import json
import stat
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional, UseAppendAction

from halfseen import printing
from halfseen.data.files import shown, whole
from halfseen.data.finding import read_named
from halfseen.gallery.origins import source_among, why_no_source
from halfseen.gallery.places import Place, local
from halfseen.printing import counted
from halfseen.types import InputError

if TYPE_CHECKING:
    from halfseen.gallery.store import Gallery

LONGEST = 100_000  # days


@dataclass(frozen=True)
class GalleryInfo:
    """What a gallery holds: how many sightings, of which cameras, sources and times, made by which model."""

    gallery: Positional[Place]
    """What `halfseen index` wrote: its folder, or its address in an object store."""
    json: bool = False
    """Print JSON instead of tables."""

    def run(self) -> int:
        from halfseen.gallery.indexing.times import shown_time  # noqa: PLC0415

        told = _told(_open(self.gallery))
        if self.json:
            printing.print_line(json.dumps(told))
            return 0
        model = told["model"]
        times = f"{shown_time(told['since'])} to {told['last']}" if told["last"] else "times unknown"
        size = counted(told["sightings"], "sighting")
        size += f", {told['bytes'] / 2**20:,.1f} MiB" if told["bytes"] else ""
        size += f", {told['prepared']:,} prepared for search" if told["prepared"] else ""
        printing.print_line(f"{shown(self.gallery)}: {size}, {times}")
        printing.print_line(f"model: {model['name']} {model['digest'][:12]}, parts: {', '.join(model['parts'])}")
        for what in ("cameras", "sources"):
            rows = ([shown(name) or "(none)", f"{count:,}"] for name, count in told[what].items())
            printing.print_table("", (what, "sightings"), rows)
        return 0


@dataclass(frozen=True)
class Forget:
    """Remove sightings for good, from the disk too. What is given together must hold together."""

    gallery: Positional[Place]
    """What `halfseen index` wrote: its folder, or its address in an object store."""
    person: UseAppendAction[tuple[int, ...]] = ()
    """The id of a sighting of that person, as `halfseen search` prints it; the rest of its passage goes too. May be
    repeated."""
    source: str | None = None
    """A film, or the folder or table of pictures as it was given to `halfseen index`."""
    before: str | None = None
    """All that is older than this time: 2024-05-31 or '2024-05-31 17:45:10', or a number of seconds."""
    days: float | None = None
    """All that is older than so many days."""
    json: bool = False
    """Print {"forgotten", "holds"}."""

    def run(self) -> int:
        from halfseen.gallery.indexing.times import read_time  # noqa: PLC0415
        from halfseen.gallery.sightings import DAY  # noqa: PLC0415

        if self.before is not None and self.days is not None:
            raise InputError("--before and --days say the same thing in two ways; give one of them")
        if self.days is not None and not 0 <= self.days <= LONGEST:  # NaN is neither
            raise InputError(f"--days is {self.days:g}; give 0 to {LONGEST:,}: what is to come cannot be forgotten")
        gallery = _open(self.gallery)
        before = None if self.before is None else read_time(self.before, "--before")
        if self.days is not None:
            before = time.time() - self.days * DAY
        known = gallery.count("source")
        source = None if self.source is None else source_among(self.source, known)
        there = {*gallery.table(["source"], self.person)["_rowid"].to_pylist()} if self.person else set()
        count = gallery.forget(person=self.person or None, source=source, before=before)
        # only now: a forgetting that was broken off is ended by itself
        if strangers := [id for id in self.person if id not in there]:
            gone = f"; {counted(count, 'sighting')} of the others' passages {'is' if count == 1 else 'are'} forgotten"
            others = gone if there else ""
            raise InputError(
                f"--person {strangers[0]}: there is no such sighting{others}; `halfseen search` prints ids"
            )
        if source is not None and source not in known:
            why = why_no_source(source, known, narrow="or --person to forget some of it")
            raise InputError(f"--source {shown(source)}: {why}")
        if self.json:
            printing.print_line(json.dumps({"forgotten": count, "holds": len(gallery)}))
        else:
            printing.print_line(f"{counted(count, 'sighting')} forgotten; {shown(self.gallery)} holds {len(gallery):,}")
        return 0


@dataclass(frozen=True)
class Verify:
    """Read all of a gallery, and say what is wrong with it."""

    gallery: Positional[Place]
    """What `halfseen index` wrote: its folder, or its address in an object store."""
    json: bool = False
    """Print {"faults"}."""

    def run(self) -> int:
        faults = _open(self.gallery).verify()
        if self.json:
            printing.print_line(json.dumps({"faults": faults}))
        else:
            for fault in faults or [f"{shown(self.gallery)}: all is well"]:
                printing.print_line(fault)
        return 1 if faults else 0


@dataclass(frozen=True)
class Compact:
    """Merge the files of a gallery, and free what removed sightings and old versions still take of the disk."""

    gallery: Positional[Place]
    """What `halfseen index` wrote: its folder, or its address in an object store."""

    def run(self) -> int:
        gallery = _open(self.gallery)
        before = _size(self.gallery)
        gallery.compact()
        after = _size(self.gallery)
        sizes = f"{before / 2**20:,.1f} MiB before, {after / 2**20:,.1f} MiB now" if before and after else "compacted"
        printing.print_line(f"{shown(self.gallery)}: {sizes}")
        return 0


@dataclass(frozen=True)
class Prepare:
    """Keep a large gallery on the disk as searches want it in memory: it opens at once, and takes twice the room.

    `halfseen index` does so by itself."""

    gallery: Positional[Place]
    """What `halfseen index` wrote: its folder, or its address in an object store."""
    undo: bool = False
    """Remove what was kept. Searches then read the gallery itself."""

    def run(self) -> int:
        from halfseen.gallery.loading import WORTH, prepare, prepared_rows, unpreparable, unprepare  # noqa: PLC0415

        gallery = _open(self.gallery)
        if self.undo:
            unprepare(gallery)
            printing.print_line(f"{shown(self.gallery)}: nothing is prepared any more")
            return 0
        if reason := unpreparable(gallery):
            raise InputError(f"{shown(self.gallery)} cannot be prepared: {reason}")
        with printing.progress_bar("preparing") as progress:
            prepare(gallery, progress)
        rest = len(gallery) - (ready := prepared_rows(gallery))
        few = f"; {rest:,} are read, as fewer than {WORTH:,} in a row are not worth it" if rest else ""
        printing.print_line(f"{shown(self.gallery)}: {ready:,} sightings are prepared for search{few}")
        return 0


@dataclass(frozen=True)
class ExportGallery:
    """Write a gallery as plain files that any program can read, and `halfseen gallery import` too."""

    gallery: Positional[Place]
    """What `halfseen index` wrote: its folder, or its address in an object store."""
    out: Positional[Path]
    """The new folder to write."""

    def run(self) -> int:
        gallery = _open(self.gallery)
        gallery.export(self.out)
        printing.print_line(f"{counted(len(gallery), 'sighting')} written to {shown(self.out)}")
        return 0


@dataclass(frozen=True)
class ImportGallery:
    """Add to a gallery what another one exported, or make it of that."""

    gallery: Positional[Place]
    """The gallery to add to; it is made if there is none."""
    folder: Positional[Path]
    """The folder that `halfseen gallery export` wrote."""

    def run(self) -> int:
        from halfseen.gallery.exchange import exported  # noqa: PLC0415
        from halfseen.gallery.opening import open_or_make  # noqa: PLC0415

        model, _ = exported(self.folder)
        gallery = open_or_make(self.gallery, model)
        count = gallery.import_(self.folder)
        printing.print_line(f"{counted(count, 'sighting')} added; {shown(self.gallery)} holds {len(gallery):,}")
        return 0


@dataclass(frozen=True)
class Calibrate:
    """Learn on a labelled set how sure answers are; from then on searches of the gallery tell, in per cent."""

    gallery: Positional[Place]
    """What `halfseen index` wrote: its folder, or its address in an object store."""
    data: str
    """One of `halfseen data list`, the liker the gallery the better; with +occluded behind it, people are hidden."""
    root: Path | None = None
    """The folder that holds the set, or one above it; left out: the environment variable HALFSEEN_DATA."""
    model: Path | None = None
    """The weights that the gallery was made with; left out: those that come with halfseen."""
    plot: Path | None = None
    """The reliability plot to write: .svg."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU if there is one."""

    def run(self) -> int:
        from halfseen.encode import Look, encode_split  # noqa: PLC0415
        from halfseen.gallery.calibration import calibrate, draw_reliability, keep_calibration  # noqa: PLC0415
        from halfseen.gallery.indexing.model import DEFAULT, open_model  # noqa: PLC0415

        if self.plot and self.plot.suffix.lower() != ".svg":
            raise InputError(f"--plot {shown(self.plot)} does not end in .svg, which is what is drawn; rename it")
        model, gallery = open_model(self.model, self.device), _open(self.gallery)
        gallery.check(model.facts)
        splits = read_named(self.data, self.root, printing.print_note)
        sides = []
        for split in ("query", "gallery"):
            with printing.progress_bar(f"encoding {split}") as progress:
                look, weights = Look(model.augment), self.model or DEFAULT
                sides.append(encode_split(model.loaded, weights, splits, split, look, progress=progress))
        query, answers = sides
        found = calibrate(query, answers, self.data)
        keep_calibration(gallery, found)
        if self.plot:
            with whole(self.plot) as beside:
                beside.write_text(draw_reliability(found))
        printing.print_line(
            f"learned from {found.answers:,} answers about {found.people:,} people of {self.data}: the chance that is "
            f"told is off by {100 * found.error:.1f} points on average"
        )
        return 0


def _open(place: Place) -> Gallery:
    from halfseen.gallery.store import Gallery  # noqa: PLC0415  (an extra)

    return Gallery.open(place)


def _told(gallery: Gallery) -> dict[str, Any]:
    from halfseen.gallery.conditions import span  # noqa: PLC0415
    from halfseen.gallery.indexing.times import shown_time  # noqa: PLC0415
    from halfseen.gallery.loading import prepared_rows  # noqa: PLC0415
    from halfseen.gallery.spans import counted_from  # noqa: PLC0415

    facts = gallery.table(["image", "time"])
    (since, until), since_when = span(facts) or (None, None), counted_from(facts)
    first, last = ("" if time is None else shown_time(time) + since_when for time in (since, until))
    return {
        "sightings": len(gallery),
        "bytes": _size(gallery.folder),
        "prepared": prepared_rows(gallery),
        "since": since,
        "until": until,
        "first": first,
        "last": last,
        "model": asdict(gallery.model),
        "cameras": gallery.count("camera"),
        "sources": gallery.count("source"),
    }


def _size(place: Place) -> int | None:
    """What the gallery takes of the disk, in bytes; others may be writing to it. None: it is an object store's."""
    if not local(place):
        return None
    size = 0
    for path in Path(place).rglob("*"):
        with suppress(FileNotFoundError):
            about = path.lstat()
            size += about.st_size * stat.S_ISREG(about.st_mode)
    return size
