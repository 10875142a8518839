"""What `halfseen world render` writes: rendered people, of whom every part, joint and occlusion is known.

One folder holds the pictures of several benchmarks: occluded queries against the whole gallery (as Occluded-Duke), and,
as variants, holistic queries against the holistic pictures, the same queries against the whole gallery with its labels
(as Re-Occluded-Duke), and queries cut off at the bottom against the holistic pictures (as Partial-REID).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from halfseen.data.sets.folders import DataSet, Listing, Reading, exists, find_root
from halfseen.data.sets.tables import Columns, Row, camid_in, occlusion_in, path_in, read_rows, whole_number
from halfseen.types import InputError, Occlusion, Sample

TABLE, CARD, CHUNKS = "world.csv", "world.json", ".chunks"  # CHUNKS is there only until all pictures are
COLUMNS = Columns(needed=("path", "pid", "camid", "role", "occlusion"))
ROLES = ("train", "query", "gallery", "query_holistic", "query_partial")
QUERIES = {"": "query", "holistic": "query_holistic", "re-occluded": "query_holistic", "partial": "query_partial"}
AGAINST_ALL = ("", "re-occluded")  # variants whose gallery holds the occluded pictures too
AGAIN = "run the same `halfseen world render` again, which goes on where it was stopped"


def read(root: Path, variant: str) -> Reading:
    """Read the world in or below `root`; which pictures are queries and gallery is the choice of the `variant`."""
    folder, notes = _find(root)
    roles = _samples(folder, read_rows(folder / TABLE, COLUMNS))
    gallery = [s for s in roles["gallery"] if variant in AGAINST_ALL or s.occlusion is Occlusion.HOLISTIC]
    train, query, gallery_too = (Listing(tuple(some)) for some in (roles["train"], roles[QUERIES[variant]], gallery))
    return Reading(folder, query, gallery_too, train, notes=notes)


def _find(root: Path) -> tuple[Path, tuple[str, ...]]:
    folder, _, notes = find_root(root, (CARD,))
    if not exists(folder / TABLE):
        count = _rendered(folder / CHUNKS)
        told = f"{count:,} pictures are complete and their table is not written yet" if count else ""
        raise InputError(f"{str(folder)!r} holds a world of which {told or 'no picture is complete yet'}; {AGAIN}")
    if exists(folder / CHUNKS):
        notes = (*notes, f"a part of this world is still to be rendered; {AGAIN}")
    return folder, notes


def _rendered(chunks: Path) -> int:
    """How many pictures the finished `chunks` have, as a kill or a full disk may leave them."""
    count = 0
    for chunk in chunks.glob("[!.]*.json"):
        with suppress(OSError, ValueError, TypeError):  # an empty file, as a loss of power may leave it
            count += len(json.loads(chunk.read_bytes()))
    return count


def _samples(folder: Path, rows: list[Row]) -> Mapping[str, list[Sample]]:
    """The samples of each role."""
    roles: dict[str, list[Sample]] = {role: [] for role in ROLES}
    places: dict[str, str] = {}
    for row in rows:
        role, path = row.text("role").lower(), path_in(row)
        name = path.as_posix()
        if role not in roles:
            raise row.refuse("role", f"{row.text('role')!r} is not one of {', '.join(roles)}; write one of these")
        if name in places:
            raise row.refuse("path", f"{name!r} is listed already, at {places[name]}; remove one of the two rows")
        places[name] = row.place
        roles[role].append(Sample(folder / path, name, _pid(row), camid_in(row), occlusion_in(row)))
    return roles


def _pid(row: Row) -> int:
    text = row.text("pid")
    number = whole_number(text)
    if number is None or number < 0:
        raise row.refuse("pid", f"{text!r} is not a number from 0 on; copy world.csv anew, or write one")
    return number


WORLD = DataSet(
    name="world",
    title="a world rendered by halfseen",
    read=read,
    expected={variant: {} for variant in QUERIES},
    variants=tuple(QUERIES),
)
STREET = DataSet(
    name="street",
    title="the small world that comes with halfseen",
    read=read,
    expected={variant: {} for variant in QUERIES},
    variants=tuple(QUERIES),
    cameras=6,
    home=Path(__file__).parents[2] / "street",
)
