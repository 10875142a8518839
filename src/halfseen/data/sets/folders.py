"""What every reader of a data set shares: the description of a set, finding its root, listing images, reading names."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple, TypeAlias

from halfseen.types import SPLITS, InputError, Sample, Splits

Counts: TypeAlias = Mapping[str, tuple[int, int]]  # split → identities, images
Parse: TypeAlias = Callable[[str], tuple[int, int] | None]  # name → pid, camid; None: not understood

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
UNPACK = "unpack the set there or name the folder that holds it"
LEVELS = 3  # how far below the given root a set is looked for
THREE_FOLDERS = ("bounding_box_train", "query", "bounding_box_test")

_PID_AND_CAMERA = re.compile(r"(-?[0-9]{1,9})_c([0-9]{1,9})(?![0-9])")
_NUMBER = re.compile(r"[0-9]{1,9}")


class Listing(NamedTuple):
    """The samples of one split, and the names and lines left out of it, each with its reason: none for a name that was
    not understood."""

    samples: tuple[Sample, ...]
    left_out: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Reading:
    """What a reader found at `root`; `train` is None for a set that has no such split."""

    root: Path
    query: Listing
    gallery: Listing
    train: Listing | None = None
    has_cameras: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataSet:
    """A data set halfseen can read: `read(root, variant)` does it, the first of `variants` is the default.

    `expected` holds the published counts of each variant (none where nobody published any), as they are after junk is
    left out. `distractor` is the pid that stands for nobody. `one_numbering` is False where train and test both count
    their people from the same number, so that equal pids don't mean equal people. `holistic` is True where the set is
    known as one of whole people, so that what no variant touches may be called so. `home` is where a set lies that
    comes with halfseen.
    """

    name: str
    title: str
    read: Callable[[Path, str], Reading]
    expected: Mapping[str, Counts]
    variants: tuple[str, ...] = ("",)
    cameras: int | None = None
    distractor: int | None = None
    one_numbering: bool = True
    holistic: bool = False
    note: str = ""
    home: Path | None = None


class Found(NamedTuple):
    """Where a set lies, which of its layouts it has there, and what should be said about the choice."""

    root: Path
    layout: tuple[str, ...]
    notes: tuple[str, ...]


def find_root(root: Path, *layouts: tuple[str, ...], named: str = "", do: str = UNPACK) -> Found:
    """The only folder, `root` or some levels below it, that holds all of a layout and, if asked, is `named` so; where
    there is none, an InputError says what to `do`.

    `root` itself goes before all below it. Of several others none can be preferred: sets share layouts.
    """
    wanted = (f"named {named} with " if named else "with ") + ", or ".join(" + ".join(layout) for layout in layouts)
    try:
        scan(root)
    except InputError as error:  # of the root only: a folder below it that cannot be listed is passed by
        raise InputError(f"{error}; looked there for a folder {wanted}") from error
    level, visited, places = [root], [root], []
    for _ in range(LEVELS + 1):
        new = [(folder, layout) for folder in level for layout in layouts if _holds(folder, layout, named)]
        places += new
        taken = {folder for folder, _ in new}
        level = sorted(below for folder in level if folder not in taken for below in _folders_below(folder))
        visited += level
    if not places:
        raise InputError(
            f"no folder {wanted} lies at {str(root)!r} or up to {LEVELS} levels below{_nearest(visited, layouts)}; {do}"
        )
    return Found(*places[0], _several(places))


def _holds(folder: Path, layout: tuple[str, ...], named: str) -> bool:
    return named in ("", folder.name) and all(map(exists, (folder / entry for entry in layout)))


def _folders_below(folder: Path) -> list[Path]:
    try:
        return [folder / entry.name for entry in scan(folder) if is_folder(entry)]
    except InputError:
        return []


def _several(places: list[tuple[Path, tuple[str, ...]]]) -> tuple[str, ...]:
    """Of several folders none can be preferred, because sets share layouts; of several layouts in one the first can."""
    folders = list(dict.fromkeys(folder for folder, _ in places))
    if len(folders) > 1:
        raise InputError(
            f"{len(folders)} folders could be meant: {shortened((repr(str(f)) for f in folders), 9)}; "
            f"name the one that holds the set"
        )
    if len(places) == 1:
        return ()
    first, *others = (", ".join(layout) for _, layout in places)
    return (f"{str(folders[0])!r} holds the set twice: read {first}, passed by {shortened(others)}",)


def _nearest(visited: list[Path], layouts: tuple[tuple[str, ...], ...]) -> str:
    """The folder that lacks least of a layout, if one has some of it."""
    lacks = [
        (folder, layout, [e for e in layout if not exists(folder / e)]) for folder in visited for layout in layouts
    ]
    some = [(len(lack), folder, lack) for folder, layout, lack in lacks if 0 < len(lack) < len(layout)]
    return f" (nearest: {str(min(some)[1])!r} lacks {', '.join(min(some)[2])})" if some else ""


def exists(path: Path) -> bool:
    """Whether something can be reached at `path`; False too where looking is forbidden."""
    try:
        path.stat()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return False
    return True


def scan(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of `folder`, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(
            f"{str(folder)!r} cannot be read as a folder ({why}); check how it is spelt and that you may open it"
        ) from error


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether `entry` is a folder or a link to one; a link that leads nowhere counts as a file."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def list_images(root: Path, folder: str) -> list[str]:
    """The names, relative to `root`, of the images that lie directly in `folder`, sorted."""
    entries = scan(root / folder)
    return [f"{folder}/{e.name}" for e in entries if e.name.lower().endswith(SUFFIXES) and not is_folder(e)]


def list_people(root: Path, folder: str) -> list[str]:
    """As `list_images`, but with the images of the folders in `folder` too: one folder per person."""
    people = [entry.name for entry in scan(root / folder) if is_folder(entry)]
    return list_images(root, folder) + [name for pid in people for name in list_images(root, f"{folder}/{pid}")]


def read_lines(path: Path) -> list[str]:
    """The lines of a list of file names, blank ones left out; names that are not UTF-8 stay what they are on disk."""
    try:
        text = os.fsdecode(path.read_bytes())
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read ({error.strerror}); check that you may open it") from error
    lines = (line.strip() for line in text.removeprefix("\ufeff").split("\n"))
    return [line for line in lines if line]


def pid_and_camera(name: str) -> tuple[int, int] | None:
    """`query/0002_c1s1_000451_03.jpg` → person 2, camera 1."""
    match = _PID_AND_CAMERA.match(name.rpartition("/")[2])
    return (int(match[1]), int(match[2])) if match else None


def leading_pid(name: str) -> int | None:
    """`whole_body_images/001/001_02.jpg` → person 1: the text before the first `_`, or else the folder's name."""
    path, _, file = name.rpartition("/")
    candidates = file.split("_")[0], path.rpartition("/")[2]
    return next((int(text) for text in candidates if _NUMBER.fullmatch(text)), None)


def place(root: Path, names: Iterable[str], parse: Parse) -> Listing:
    """The images `names` as samples, each with the pid and camera that `parse` finds in its name; junk is left out."""
    facts = [(name, parse(name)) for name in names]
    samples = tuple(Sample(root / name, name, *fact) for name, fact in facts if fact and fact[0] >= 0)
    return Listing(samples, tuple((name, "") for name, fact in facts if fact is None))


def read_three_folders(root: Path, *, named: str = "") -> Reading:
    """Market-1501's layout: train, query and gallery folder, pid and camera in the file name."""
    found = find_root(root, THREE_FOLDERS, named=named)
    train, query, gallery = (
        place(found.root, list_images(found.root, folder), pid_and_camera) for folder in THREE_FOLDERS
    )
    return Reading(found.root, query, gallery, train, notes=found.notes)


def read_people(root: Path, *folders: str, camid: int) -> Listing:
    """The images of `folders`, with or without a folder per person, as if camera `camid` had taken them all."""

    def parse(name: str) -> tuple[int, int] | None:
        pid = leading_pid(name)
        return None if pid is None else (pid, camid)

    return place(root, (name for folder in folders for name in list_people(root, folder)), parse)


def count_people(samples: Iterable[Sample], distractor: int | None = None) -> int:
    """How many people `samples` show, junk and distractors not counted."""
    return len({sample.pid for sample in samples if sample.pid >= 0} - {distractor})


def shortened(names: Iterable[str], most: int = 3) -> str:
    """The first few of `names` in one line."""
    names = list(names)
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def guessed(name: str, known: Collection[str]) -> str:
    """Of a `name` that is none of the `known`: which of them may be meant, and all that there are."""
    close = get_close_matches(name.lower(), known, n=1)
    return f"{f'did you mean {close[0]}? ' if close else ''}known are {', '.join(known)}"


def left_out(splits: Splits) -> list[str]:
    """Sentences for each split on names that say nothing, and on lines that mean none, where there are any."""
    notes = []
    for split in SPLITS:
        some = [(what, why) for where, what, why in splits.left_out if where == split]
        names = [repr(what) for what, why in some if not why]
        lines = [f"{what!r} ({why})" for what, why in some if why]
        kinds = ((names, "image names were not understood and"), (lines, "lines of its list were"))
        notes += [f"{split}: {len(told):,} {kind} left out: {shortened(told)}" for told, kind in kinds if told]
    return notes


def notes_on(reading: Reading, counts: Counts, distractor: int | None) -> list[str]:
    """One sentence for each split that is empty or differs from the published `counts`."""
    notes = []
    for split in SPLITS:
        listing: Listing | None = getattr(reading, split)
        if listing is None:
            continue
        people, images = count_people(listing.samples, distractor), len(listing.samples)
        published = counts.get(split, (people, images))
        if published != (people, images):
            notes.append(
                f"{split}: found {people:,} people in {images:,} images, "
                f"expected {published[0]:,} in {published[1]:,}; is the copy complete?"
            )
        elif not images:
            notes.append(f"{split}: found no images")
    return notes
