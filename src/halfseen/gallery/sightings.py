"""The nouns of the gallery: what is known of a stored image, what is asked, and what is found."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from halfseen.types import Embedding, InputError

DAY = 86_400.0  # seconds
LONGEST = 365 * DAY  # of a film; what was filmed in 1970 is taken for one without a date

Box: TypeAlias = tuple[float, float, float, float]
Names: TypeAlias = frozenset[str]


class State(NamedTuple):
    """Which gallery it is, of all that ever lay in that place, its version, which grows with every change, and the name
    of the last one: a copy that was put back may go on to the same number by other changes."""

    gallery: bytes
    version: int
    change: str


@dataclass(frozen=True)
class ModelFacts:
    """Which model made the embeddings: its name, the digest of its file, the names of its parts, numbers a part."""

    name: str
    digest: str
    parts: tuple[str, ...]
    dim: int

    def __str__(self) -> str:
        return f"{self.name} ({self.digest[:12]}, {len(self.parts)} parts of {self.dim})"

    @staticmethod
    def noted(noted: Any) -> ModelFacts:
        """From what JSON keeps of one; a ValueError if it is something else."""
        match noted:
            case {"name": str(name), "digest": str(digest), "parts": [str(), *_] as parts, "dim": int(dim), **others}:
                if dim > 0 and not others and all(isinstance(part, str) for part in parts):
                    return ModelFacts(name, digest, tuple(parts), dim)
        raise ValueError("it does not say which model it is of")


@dataclass(frozen=True, slots=True)
class Fact:
    """What is known of one stored image.

    `image`: its path, or "" if only the `thumbnail` (JPEG) is kept. `source`: what it came from. `time`: in seconds;
    of a video without a date, from its start. `track`: the passage of `source` that it belongs to. `box`: left, top,
    right and bottom in pixels of the source.
    """

    image: str = ""
    source: str = ""
    camera: str = ""
    time: float | None = None
    track: str = ""
    thumbnail: bytes = field(default=b"", repr=False)
    box: Box | None = None

    def __post_init__(self) -> None:
        timely = self.time is None or math.isfinite(self.time)
        if not timely or not (self.box is None or all(map(math.isfinite, self.box))):
            raise InputError(f"{self} has a time or a box that is no finite number; give a number, or leave it out")

    @property
    def dated(self) -> bool:
        """Whether `time` counts from 1970: that of a film without a date, of which crops alone are kept, does not."""
        return self.time is not None and not (self.image == "" and 0 <= self.time < LONGEST)


@dataclass(frozen=True, slots=True)
class Where:
    """Which images are meant: those that meet all that is given here; with nothing given, all.

    `since` and `until` are included; an image without a time meets neither, and one of a film without a date no date.
    """

    cameras: Names | None = None
    sources: Names | None = None
    tracks: Names | None = None
    since: float | None = None
    until: float | None = None

    def __post_init__(self) -> None:
        if not all(math.isfinite(time) for time in (self.since, self.until) if time is not None):
            raise InputError(f"since {self.since} until {self.until} is no span of time; give finite numbers")
        if self.since is not None and self.until is not None and self.since > self.until:
            raise InputError(
                f"the time asked for ends before it begins: since {self.since:.0f}, until {self.until:.0f}, in "
                f"seconds; exchange the two"
            )

    def __bool__(self) -> bool:
        return self != Where()

    @property
    def dates(self) -> bool:
        """Whether the time asked for is a date, rather than so many seconds of a film."""
        return max(self.since or 0.0, self.until or 0.0) >= LONGEST


@dataclass(frozen=True, slots=True)
class Sighting:
    """One answer: the stored image `id` at `rank` (from 1), and why it is there.

    `parts` are the cosine distances of the parts, None where not both sides show the part; `seen` is how far both show
    it, v_q·v_g. `distance` is the mean of `parts` weighted by `seen`, plus what negative pictures push it back by,
    whatever order re-ranking brings. `confidence` is the chance that this is the person, None if the
    gallery was never calibrated. `fact` comes without its thumbnail, which `Gallery.rows` has.
    """

    id: int
    rank: int
    distance: float
    confidence: float | None
    parts: tuple[float | None, ...]
    seen: tuple[float, ...]
    fact: Fact


@dataclass(frozen=True)
class Ask:
    """Whom to look for: `queries` are one or more pictures of one person, `unlike` are pictures of others.

    `parts`: only these count, by number; None: all that the queries show. The others say which images may answer, as in
    `Where`. `count`: how many answers at most. `rerank`: order the first of them anew by their neighbours.
    """

    queries: Embedding
    unlike: Embedding | None = None
    parts: tuple[int, ...] | None = None
    cameras: Names | None = None
    sources: Names | None = None
    since: float | None = None
    until: float | None = None
    count: int = 50
    rerank: bool = False

    def __post_init__(self) -> None:
        if not len(self.queries):
            raise InputError("there is no picture to search by; give at least one")
        if self.count < 1:
            raise InputError(f"count is {self.count}; ask for at least one answer")
        if self.parts is not None and not self.parts:
            raise InputError("no part is chosen to search by; choose at least one, or leave the choice out")

    @property
    def where(self) -> Where:
        return Where(self.cameras, self.sources, None, self.since, self.until)
