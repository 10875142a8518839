"""What goes out: the gallery, sightings and answers as JSON has them. Their fields are what `/docs` tells."""

from __future__ import annotations

import math
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import PurePath

from torch import Tensor

from halfseen.gallery.indexing.times import shown_moment
from halfseen.gallery.parts import PartLook
from halfseen.gallery.sightings import Fact, Sighting


@dataclass(frozen=True)
class Trouble:
    """Why something was not done, and what to do about it."""

    detail: str


@dataclass(frozen=True)
class Place:
    """A camera or a source: what filters call it, what people call it, and how many sightings it has."""

    key: str
    name: str
    count: int


@dataclass(frozen=True)
class Limits:
    """What one request may hold; `keep`: whether an upload is kept for those who ask for it."""

    bytes: int
    pixels: int
    pictures: int
    keep: bool


@dataclass(frozen=True)
class About:
    """The gallery. `parts` are the names of what is compared, `looks` what people see of them; `since` and `until` are
    seconds since 1970, or since a film began, `first` and `last` the same for people."""

    sightings: int
    model: str
    parts: list[str]
    looks: list[PartLook]
    cameras: list[Place]
    sources: list[Place]
    since: float | None
    until: float | None
    first: str
    last: str
    limits: Limits
    who: str


@dataclass(slots=True)  # made by the hundred for each request, and frozen ones take thrice as long
class Seen:
    """A stored picture of somebody. Those with one `passage` were taken while somebody passed a camera once."""

    id: int
    camera: str
    source: str
    time: float | None
    when: str
    passage: str


@dataclass(frozen=True)
class Sightings:
    """Some of the gallery's sightings; `next` is the first of those that follow, null at the end."""

    sightings: list[Seen]
    next: int | None


@dataclass(frozen=True)
class Maps:
    """Where the model looks for each part: `parts[p]` is base64 of `height` rows of `width` bytes, 255 is most."""

    height: int
    width: int
    parts: list[str]


@dataclass(frozen=True)
class Query:
    """A picture that was searched by: how far it shows each part, and where; `like` is its id in the gallery."""

    seen: list[float]
    like: int | None
    maps: Maps | None


@dataclass(slots=True)  # as above
class Answer:
    """A sighting near the queries. `distance` is null where they have no part in common; `parts` are the distances of
    the parts (null: not both pictures show it) and `seen` how far both show each. `confidence` is the chance that this
    is the person, null in a gallery that was never calibrated."""

    rank: int
    distance: float | None
    confidence: float | None
    parts: list[float | None]
    seen: list[float]
    sighting: Seen


@dataclass(frozen=True)
class Answers:
    """What was found, nearest first; in another order, with the same distances, where `rerank` was asked for."""

    queries: list[Query]
    answers: list[Answer]
    seconds: float


def seen_from(number: int, fact: Fact) -> Seen:
    passage = f"{fact.source}\n{fact.camera}\n{fact.track}" if fact.track else f"{number}"
    when = shown_moment(fact)
    return Seen(number, fact.camera, key_of(fact.source), fact.time, when, key_of(passage))


def answer_from(found: Sighting) -> Answer:
    return Answer(
        found.rank,
        _number(found.distance),
        _number(found.confidence),
        list(found.parts),
        list(found.seen),
        seen_from(found.id, found.fact),
    )


def maps_from(maps: Tensor) -> Maps:
    """From `maps` float [P,h,w], 0..1."""
    bytes_of = (maps * 255).round().byte()
    return Maps(maps.shape[1], maps.shape[2], [b64encode(each.numpy().tobytes()).decode() for each in bytes_of])


def sources_from(counts: Iterable[tuple[str, int]]) -> list[Place]:
    """Sources by the shortest end of their path that no other shares: nobody learns the folders of this machine."""
    counted = dict(counts)
    steps = {path: PurePath(path).parts for path in counted}
    shared = Counter(parts[-length:] for parts in steps.values() for length in range(1, len(parts) + 1))
    return [Place(key_of(path), _end(path, steps[path], shared), count) for path, count in counted.items()]


@lru_cache(2**15)
def key_of(text: str) -> str:
    """A name for `text` that does not tell it; none for nothing."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16] if text else ""


def _end(path: str, steps: tuple[str, ...], shared: Mapping[tuple[str, ...], int]) -> str:
    """The shortest end of `path` that is its own; how many paths end so is `shared`."""
    for length in range(1, len(steps) + 1):
        if shared[steps[-length:]] == 1:
            return "/".join(steps[-length:])
    return path


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
