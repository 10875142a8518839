"""What there is to be looked at: pictures and films in folders, by themselves, or in a table, and what is told of them.

A table is CSV or Parquet with the columns path (relative to the table), camera, time and track; all but the first may
be missing or empty. Its times are seconds, or dates as ISO 8601 has them.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from halfseen.data.files import shown
from halfseen.data.sets.folders import shortened
from halfseen.data.sets.tables import Columns, Row, path_in, read_rows
from halfseen.gallery.indexing.patterns import Named, Pattern, read_name
from halfseen.gallery.indexing.times import read_time
from halfseen.types import InputError

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".jfif")
FILMS = (
    ".avi",
    ".mp4",
    ".m4v",
    ".mov",
    ".mkv",
    ".webm",
    ".mpg",
    ".mpeg",
    ".ts",
    ".mts",
    ".m2ts",
    ".wmv",
    ".flv",
    ".3gp",
)
UNREAD = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".dng", ".cr2", ".nef", ".arw", ".raw", ".svg", ".psd")
TABLES = (".csv", ".tsv", ".parquet")
COLUMNS = Columns(needed=("path",), optional=("camera", "time", "track"))


class DamagedError(InputError):
    """A file that cannot be used, which is no reason not to use the others."""


class UnreadError(DamagedError):
    """A file that could not be read now: later it may be, or another that holds the same."""


@dataclass(frozen=True, slots=True)
class Source:
    """A picture of one person, or a film. `origin` is what a sighting in it names as its source: the film, or the
    folder or table that the picture was found by."""

    path: Path
    origin: str
    named: Named

    @property
    def is_film(self) -> bool:
        return self.path.suffix.lower() in FILMS


@dataclass
class Found:
    """`strays` are the files that no pattern fits; `faults` are sentences about all that is left out, and `notes` about
    what may have been meant otherwise."""

    sources: list[Source] = field(default_factory=list)
    strays: list[Path] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def films(self) -> list[Source]:
        return [source for source in self.sources if source.is_film]

    @property
    def pictures(self) -> list[Source]:
        return [source for source in self.sources if not source.is_film]


def check(paths: Iterable[Path]) -> None:
    """Whether all `paths` are there and of a kind that can be indexed; what lies in them is not looked at."""
    for path in paths:
        if not path.exists():
            raise InputError(f"{shown(path)} does not exist; give folders, pictures, films or tables")
        if not path.is_dir() and path.suffix.lower() not in PICTURES + FILMS + TABLES:
            kinds = ", ".join(PICTURES + FILMS + TABLES)
            raise InputError(f"{shown(path)} is no folder and ends in none of {kinds}; give such files, or a folder")


def find(paths: Sequence[Path], patterns: Sequence[Pattern] = ()) -> Found:
    """All that `paths` (folders, pictures, films, tables) lead to, each file once, in a fixed order."""
    check(paths)
    found = Found()
    for path in (Path(os.path.abspath(path)) for path in paths):  # noqa: PTH100  (links keep the names people gave)
        if path.is_dir():
            _add_folder(found, path, patterns)
        elif path.suffix.lower() in TABLES:
            _add_table(found, path)
        else:
            _add(found, path, path.parent, patterns)
    if found.strays:
        few = f"{len(found.strays):,} file{'s'[: len(found.strays) > 1]}, such as {shown(found.strays[0])}"
        found.faults.append(f"no --pattern fits {few}; correct it, or add one")
    once: dict[Path, Source] = {}
    for source in found.sources:
        once.setdefault(source.path, source)
    found.sources = list(once.values())
    _look_at_films(found, patterns)
    return found


def digest_of(path: Path) -> str:
    """A name for what the file at `path` holds."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # to open a pipe is to wait for its other end
            kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
            raise DamagedError(f"{shown(path)} is no file but {kind}; take it away")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UnreadError(
            f"{shown(path)} cannot be read ({error.strerror}); check the path, and that you may"
        ) from error


def _add_folder(found: Found, folder: Path, patterns: Sequence[Pattern]) -> None:
    """What is of another kind is passed by, and told where it looks like a picture, or where nothing else is there."""
    others, any_file = Counter[str](), False
    for file in _files(folder, found):
        if file.suffix.lower() in PICTURES + FILMS:
            any_file = True
            _add(found, file, folder, patterns)
        else:
            others[file.suffix.lower() or "no ending"] += 1
    told = {kind: count for kind, count in others.items() if kind in UNREAD or not any_file}
    if told:
        kinds = ", ".join(f"{kind} ({count:,})" for kind, count in sorted(told.items()))
        found.faults.append(
            f"{shown(folder)}: passed by, as such files are not read: {kinds}; make .jpg of pictures and .mp4 of films"
        )
    elif not any_file:
        found.faults.append(f"{shown(folder)} holds no picture and no film; put some there, or name another")


def _files(folder: Path, found: Found) -> Iterator[Path]:
    """The files in and below `folder`, sorted; hidden ones are passed by, links to folders not followed."""

    def refused(error: OSError) -> None:
        found.faults.append(f"{shown(error.filename)} cannot be listed ({error.strerror}); check that you may open it")

    for where, folders, names in os.walk(folder, onerror=refused):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(where, name) for name in sorted(names) if not name.startswith("."))


def _add(found: Found, path: Path, by: Path, patterns: Sequence[Pattern]) -> None:
    try:
        named = read_name(path, patterns)
    except InputError as error:
        found.faults.append(str(error))
        return
    if named is None:
        found.strays.append(path)
    else:
        _keep(found, path, by, named)


def _add_table(found: Found, table: Path) -> None:
    """What is wrong with one row is no reason not to use the others."""
    rows = read_rows(table, COLUMNS, found.faults)
    _look_at_columns(found, table, rows)
    for row in rows:
        try:
            path = Path(os.path.abspath(table.parent / path_in(row)))  # noqa: PTH100
            if path.suffix.lower() not in PICTURES + FILMS:
                raise row.refuse("path", f"{shown(path)} ends neither as a picture nor as a film; list such files only")
            named = Named(row.text("camera"), _time(row, table), row.text("track"))
        except InputError as fault:
            found.faults.append(str(fault))
        else:
            _keep(found, path, table, named)


def _look_at_columns(found: Found, table: Path, rows: Sequence[Row]) -> None:
    """Where one that is read is not there, another may be meant to be it: `cam` for `camera`."""
    has = dict.fromkeys(name for row in rows[:1] for name in row.cells)
    others = shortened((repr(name) for name in has if name and name not in COLUMNS.needed + COLUMNS.optional), 9)
    lacks = [name for name in COLUMNS.optional if name not in has]
    if others and lacks:
        every = ", ".join(COLUMNS.needed + COLUMNS.optional)
        found.notes.append(
            f"{shown(table)}: columns that are not read: {others}; read are {every}: rename it if one of these is meant"
        )


def _look_at_films(found: Found, patterns: Sequence[Pattern]) -> None:
    """Without a camera's name a film's own stands for it: `gate/video.mp4` and `yard/video.mp4` would be one camera."""
    first: dict[str, Path] = {}
    told = "with {camera} in your patterns" if patterns else "--pattern '{camera}/*', or '{camera}/*/*' for one above"
    for film in found.films:
        path = film.path
        if not film.named.camera and first.setdefault(path.stem, path).parent != path.parent:
            found.notes.append(
                f"{shown(first[path.stem])} and {shown(path)} become one camera, {path.stem!r}; if folders are "
                f"cameras, say so: {told}; or in a table by the column camera"
            )
            return


def _keep(found: Found, path: Path, by: Path, named: Named) -> None:
    """A source at `path`, found by way of `by`; what is stored must be text."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        found.faults.append(f"{shown(path)} has a name that is not UTF-8: rename it")
        return
    found.sources.append(Source(path, str(path if path.suffix.lower() in FILMS else by), named))


def _time(row: Row, table: Path) -> float | None:
    """Parquet has a type for dates: there 2024 are seconds, as nothing but that is left of 2024.0 by now."""
    text, years = row.text("time"), table.suffix.lower() != ".parquet"
    return read_time(text, f"{row.place}, column time", years=years) if text else None
