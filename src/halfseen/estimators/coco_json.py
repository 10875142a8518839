"""Results of any other tool, as JSON: COCO's keypoint results or annotations, ultralytics, OpenPifPaf.

    [{"image_id": NAME, "keypoints": [x, y, score, ...51]}, ...]      COCO results; `file_name` is taken before image_id
    {"images": [{"id", "file_name"}], "annotations": [...]}           COCO annotations: 0 unlabelled, 1 hidden, 2 seen
    {NAME: [person, ...], ...}                                        people by picture
    [person, ...] in a file named like its picture, of a folder       OpenPifPaf (NAME.predictions.json), ultralytics

A person's `keypoints` are 51 numbers, 17 triples, or ultralytics' {"x", "y", "visible"}.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from halfseen.estimators.people import People
from halfseen.ops.groupings import JOINTS
from halfseen.types import InputError

ENDING = re.compile(r"(\.predictions)?\.json$")
FEW = 0.5  # of the pictures: whoever looked at all of them finds people in more
STRAY = 0.1  # of the joints: of pictures of the same size fewer lie outside
UNSEEN, HIDDEN, SEEN = 0, 1, 2  # COCO's flags of annotated joints
Named = tuple[str, People]


def load_people(path: Path, names: Sequence[str]) -> dict[str, People]:
    """Of the pictures `names` those that the file at `path`, or the files in that folder, tell of: their people.

    A tool may call a picture by its path, by the end of it, or by its name without folder and ending, as long as that
    means one picture and all of the picture's people are told of at one place.
    """
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: holds no .json file; give the file that the tool wrote, or the folder of its files")
    meant = _Meanings(names)
    people: dict[str, list[People]] = defaultdict(list)
    first = ""
    for file in files:
        alone = ENDING.sub("", file.relative_to(path).as_posix() if path.is_dir() else file.name)
        for called, person in _people_in(_load_json(file), alone, str(file)):
            first = first or called
            if name := meant.find(called, str(file)):
                people[name].append(person)
    if first and not people:
        raise InputError(
            f"{path}: tells of other pictures ({first!r}), none of them in the set (which has {names[0]!r}); results "
            f"need the names of pictures, or annotations with `images` that say which number is which"
        )
    return {name: torch.stack(some) for name, some in people.items()}


def check_told(path: Path, names: Sequence[str], people: Mapping[str, People]) -> None:
    """Refuse results that tell of few of the pictures `names`: the tool has hardly looked at the others."""
    if len(people) < FEW * len(names):
        missing = next(name for name in names if name not in people)
        raise InputError(
            f"{path}: tells of {len(people):,} of the set's {len(names):,} pictures, not of {missing!r}; let the tool "
            f"look at all of them first, training pictures, queries and gallery"
        )


def check_places(path: Path, names: Sequence[str], joints: Tensor) -> None:
    """Refuse results of pictures of another size, by what was told and what went `astray` of each of `names` [n,2].

    Where joints outside are left out, nobody sees that any more.
    """
    told, outside = joints.sum(0).tolist()
    if outside > STRAY * told:
        first = names[int((joints[:, 1] > 0).nonzero()[0])]
        raise InputError(
            f"{path}: {100 * outside / told:.0f} % of the joints lie outside their pictures, first in {first!r}; they "
            f"are of pictures of another size: let the tool look at those that the set has"
        )


class _Meanings:
    """Which of the pictures `names` may be meant by a word, and by which each was meant before."""

    def __init__(self, names: Sequence[str]) -> None:
        self.ends: dict[str, list[str]] = defaultdict(list)
        self.wholes: dict[str, list[str]] = defaultdict(list)
        self.told: dict[str, tuple[str, str]] = {}
        for name in names:
            for word in dict.fromkeys(_words_for(name)):
                self.ends[word].append(name)
            for word in {str(path := PurePosixPath(name)), str(path.with_suffix(""))}:
                self.wholes[word].append(name)

    def find(self, called: str, where: str) -> str | None:
        """The picture that is `called` so in the file `where`; None: a picture of another set.

        What is called is an end of its path in the set, or ends in all of that, below wherever the tool found the set.
        Pictures of other folders may have the same name, so an end is not looked for in an end.
        """
        path = PurePosixPath(called.replace("\\", "/"))
        below = (str(PurePosixPath(*path.parts[start:])) for start in range(1, len(path.parts)))
        found = self.ends.get(str(path)) or next((self.wholes[word] for word in below if word in self.wholes), [])
        if len(found) > 1:
            raise InputError(
                f"{where}: {called!r} may be {found[0]!r} or {found[1]!r}; name pictures by their paths in the set"
            )
        if not found:
            return None
        before, there = self.told.setdefault(found[0], (str(path), where))
        if before != str(path):
            place = "" if there == where else f" in {there}"
            raise InputError(
                f"{where}: {called!r} means {found[0]!r}, as does {before!r}{place}; "
                f"leave out what the tool says of pictures that are not the set's"
            )
        if there != where:
            raise InputError(f"{where}: tells of {found[0]!r}, as does {there}; keep the one that is to count")
        return found[0]


def _words_for(name: str) -> Iterator[str]:
    parts = PurePosixPath(name).parts
    for start in range(len(parts)):
        path = PurePosixPath(*parts[start:])
        yield str(path)
        yield str(path.with_suffix(""))
    if (stem := PurePosixPath(name).stem).isdecimal():
        yield str(int(stem))  # as a number it has lost its zeros


def _load_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check --results") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: no JSON ({error}); let the tool write it again") from None


def _people_in(content: Any, alone: str, where: str) -> Iterator[Named]:
    """What pictures are called, and a person in them [17,3], one after the other."""
    if isinstance(content, dict) and "annotations" in content:
        yield from _annotated(content, where)
    elif isinstance(content, dict) and all(isinstance(value, list) for value in content.values()):
        for called, entries in content.items():
            for number, entry in enumerate(entries):
                yield called, _person(entry, f"{where}: person {number} of {called!r}")
    elif isinstance(content, list):
        for number, entry in enumerate(content):
            named = entry if isinstance(entry, dict) else {}
            called = next((named[key] for key in ("file_name", "image_id") if named.get(key) is not None), alone)
            yield str(called), _person(entry, f"{where}: entry {number} (picture {called!r})")
    else:
        raise InputError(f"{where}: neither COCO's results or annotations nor people by picture; see docs/data.md")


def _annotated(content: Mapping[str, Any], where: str) -> Iterator[Named]:
    called: dict[int | str, str] = {}
    for number, image in enumerate(_objects(content, "images", where)):
        what = f"{where}: image {number}"
        id, name = _entry(image, "id", what, int, str), _entry(image, "file_name", what, str)
        if id in called:
            raise InputError(f"{what}: the id {id!r} is {called[id]!r} already, and now {name!r}; give each its own")
        called[id] = name
    entries = [entry for entry in _objects(content, "annotations", where) if "keypoints" in entry]
    for number, entry in enumerate(entries):
        id = _entry(entry, "image_id", f"{where}: annotation {number}", int, str)
        if id not in called:
            raise InputError(
                f"{where}: COCO annotations without {id!r}; each needs image_id, and its image in `images`"
            )
        name = called[id]
        person = _person(entry, f"{where}: annotation {number} (picture {name!r})", highest=SEEN)
        person[:, 2] /= SEEN
        yield name, person


def _objects(content: Mapping[str, Any], key: str, where: str) -> list[Mapping[str, Any]]:
    """The list of objects that COCO's annotations have under `key`."""
    if key not in content:
        raise InputError(f"{where}: COCO annotations without {key!r}; they need `images` and `annotations`")
    entries = content[key]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(
            f"{where}: COCO annotations whose `{key}` are no list of objects; let the tool write them again, as "
            f"docs/data.md shows them"
        )
    return entries


def _entry(entry: Mapping[str, Any], key: str, what: str, *types: type) -> Any:
    """What `entry` has under `key`, of one of these `types`."""
    if key not in entry:
        raise InputError(f"{what}: there is no `{key}`; give it one")
    if type(entry[key]) not in types:
        allowed = " or ".join({int: "a whole number", str: "text in quotes"}[each] for each in types)
        raise InputError(f"{what}: its `{key}` is {json.dumps(entry[key])[:60]}; it must be {allowed}")
    return entry[key]


def _person(entry: Any, what: str, highest: int = 1) -> People:
    """The person [17,3] of an `entry`; its scores lie in 0..`highest`."""
    points = entry.get("keypoints") if isinstance(entry, dict) else None
    try:
        if isinstance(points, dict):
            points = list(zip(points["x"], points["y"], points["visible"], strict=True))
        person = torch.tensor(points, dtype=torch.float32).reshape(len(JOINTS), 3)
    except (TypeError, ValueError, KeyError, RuntimeError, OverflowError):
        raise InputError(f"{what} has no `keypoints` of COCO's 17 joints as x, y, score; leave it out") from None
    scores = person[:, 2]
    if not person.isfinite().all() or not ((scores >= 0) & (scores <= highest)).all():
        worst = int((~(person.isfinite().all(1) & (scores >= 0) & (scores <= highest))).nonzero()[0, 0])
        raise InputError(
            f"{what}: {JOINTS[worst]} is {person[worst].tolist()}; they must be finite, scores from 0 to {highest}"
        )
    return person
