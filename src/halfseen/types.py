"""The nouns of halfseen: frozen dataclasses that every other module speaks, checked where they are made.

Data flows one way: pictures (+ cues in training) → `Batch` → a network → `Embedding` → distances → `Ranking`
or `Scores`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

SPLITS = ("train", "query", "gallery")
Block: TypeAlias = tuple[int, Tensor]  # some rows of a distance matrix: the first query row, distances [rows, G]
Progress: TypeAlias = Callable[[int, int], None]  # hears how much is done, of how much in all

LARGEST_VALUE = 1e15  # squares of larger float32 numbers, summed over a vector, overflow
FAINTEST_VISIBILITY = 1e-6  # anything fainter is invisible: its square would vanish in float32


class InputError(ValueError):
    """Bad input, in one sentence for the person at the keyboard: what, where, what is allowed, what to do."""


class Occlusion(IntEnum):
    """What hides the person of an image; the numbers are those of Re-Occluded-Duke's `new_gallery.txt`."""

    UNKNOWN = 0
    NTP = 1  # non-target pedestrian: another person stands in front
    NPO = 2  # non-pedestrian object: a thing stands in front
    HOLISTIC = 3  # nothing hides the person


class Occluder(IntEnum):
    """The kinds of synthetic occluder; 0 is a picture left as it was. The numbers are OGFR's pattern labels."""

    NONE = 0
    TALL_LEFT = 1
    TALL_RIGHT = 2
    WIDE_TOP = 3
    WIDE_BOTTOM = 4
    PEDESTRIAN = 5

    @property
    def mirrored(self) -> Occluder:
        """What it is in a picture that is flipped."""
        sides = {Occluder.TALL_LEFT: Occluder.TALL_RIGHT, Occluder.TALL_RIGHT: Occluder.TALL_LEFT}
        return sides.get(self, self)


@dataclass(frozen=True, slots=True)
class KeepTop:
    """Keep the upper 1/`parts` of the height, rounded down (Partial-Duke's rule)."""

    parts: int


@dataclass(frozen=True, slots=True)
class Paste:
    """Paste an occluder of `kind`, cut from the picture at `source`, wholly determined by `seed`."""

    kind: Occluder
    source: Path
    seed: int


Edit: TypeAlias = KeepTop | Paste


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture of one person. `name` is the path relative to the set's root, with forward slashes."""

    path: Path
    name: str
    pid: int
    camid: int
    occlusion: Occlusion = Occlusion.UNKNOWN
    time: float | None = None
    edits: tuple[Edit, ...] = ()  # applied in order while the picture is read


@dataclass(frozen=True)
class Splits:
    """A data set as read from disk.

    `notes` are warnings for the reader's eye, e.g. counts that differ; `left_out` are (split, name, "") of the pictures
    whose names were not understood, and (split, line, why) of the lines of lists that mean none.
    """

    name: str
    root: Path
    train: tuple[Sample, ...]
    query: tuple[Sample, ...]
    gallery: tuple[Sample, ...]
    has_cameras: bool = True
    notes: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str, str], ...] = ()

    @property
    def by_name(self) -> dict[str, tuple[Sample, ...]]:
        """The samples of train, query and gallery, in the order of SPLITS."""
        return {"train": self.train, "query": self.query, "gallery": self.gallery}


@dataclass(frozen=True)
class Cues:
    """What training may know beside the pixels; every entry may be missing.

    `keypoints` [B,17,3]: x, y in pixels of the batch's images and a score 0..1, COCO order.
    `fields` [B,36,h,w]: BPBreID's confidence fields. `parts` [B,h,w]: integer part labels, 0 = background.
    `hidden` [B,H,W] bool: pixels that show nothing of the person, because they were erased, lie in the padding or
    under a pasted occluder; `ops.parts.hide` takes them out of maps. `occluder` [B]: its `Occluder` number.
    """

    keypoints: Tensor | None = None
    fields: Tensor | None = None
    parts: Tensor | None = None
    hidden: Tensor | None = None
    occluder: Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """`images` uint8 [B,3,H,W], `pids` and `camids` int64 [B]; `partner` holds the occluded twins, if any."""

    images: Tensor
    pids: Tensor
    camids: Tensor
    cues: Cues = field(default_factory=Cues)
    partner: Batch | None = None


@dataclass(frozen=True)
class Embedding:
    """`vectors` float [N,P,D] and `visibility` float [N,P] in 0..1; a global descriptor is P = 1.

    Any float type (for visibility bool too) is taken and kept as float32. What an invisible part holds may be anything,
    even NaN: that reads as zero, and `replaced` bool [N,P] says where, for those who look at invisible parts too.
    Rows of another embedding bring theirs as `lost`.
    """

    vectors: Tensor
    visibility: Tensor
    replaced: Tensor = field(init=False)
    lost: InitVar[Tensor | None] = None

    def __post_init__(self, lost: Tensor | None) -> None:
        _check_shapes(self.vectors, self.visibility)
        for name, values in (("vectors", self.vectors), ("visibility", self.visibility)):
            if not values.is_floating_point() and (name, values.dtype) != ("visibility", torch.bool):
                raise InputError(f"{name} of type {values.dtype}: convert to float32")
            object.__setattr__(self, name, values.float())
        outside = ~((self.visibility >= 0) & (self.visibility <= 1))  # catches NaN too
        if outside.any():
            row, part = outside.nonzero()[0].tolist()
            raise InputError(
                f"visibility of row {row}, part {part} is {self.visibility[row, part].item():g}; "
                f"it must lie between 0 and 1 (rescale the scores first)"
            )
        seen = self.visibility >= FAINTEST_VISIBILITY
        object.__setattr__(self, "visibility", torch.where(seen, self.visibility, 0.0))
        object.__setattr__(self, "replaced", torch.zeros_like(seen) if lost is None else lost)
        self._check_values(seen)

    def _check_values(self, seen: Tensor) -> None:
        if not len(self) or max(map(abs, map(float, self.vectors.aminmax()))) <= LARGEST_VALUE:  # NaN: no
            return
        bad = ~(self.vectors.abs().amax(2) <= LARGEST_VALUE)  # NaN compares false
        if (bad & seen).any():
            row, part = (bad & seen).nonzero()[0].tolist()
            raise InputError(
                f"the vector of row {row}, part {part} holds NaN, infinite or huge (over {LARGEST_VALUE:g}) values, "
                f"as do {int((bad & seen).sum())} visible parts in all; encode those images again or "
                f"give the parts visibility 0"
            )
        object.__setattr__(self, "vectors", torch.where(bad[:, :, None], 0.0, self.vectors))
        object.__setattr__(self, "replaced", self.replaced | bad)

    def check_held(self, by: str, whose: str = "", parts: slice = slice(None)) -> None:
        """Refuse to be looked at `by` something whatever is visible, if values of `parts` had to be replaced."""
        looked_at = torch.zeros_like(self.replaced)
        looked_at[:, parts] = True
        if (self.replaced & looked_at).any():
            row, part = (self.replaced & looked_at).nonzero()[0].tolist()
            raise InputError(
                f"{whose}row {row}, part {part} holds NaN, infinite or huge values and is invisible, but {by}, seen or "
                f"not; encode those images again, or compare visible parts alone"
            )

    def __len__(self) -> int:
        return self.vectors.shape[0]

    def all_seen(self, whose: str = "") -> Embedding:
        """The same with every part visible, as if nothing told which are."""
        self.check_held("taking all for seen looks at every part", whose)
        return Embedding.of(self.vectors)

    def __getitem__(self, rows: slice | Tensor) -> Embedding:
        return Embedding(self.vectors[rows], self.visibility[rows], self.replaced[rows])

    @staticmethod
    def joined(some: Sequence[Embedding]) -> Embedding:
        """One below the other."""
        columns = ([e.vectors for e in some], [e.visibility for e in some], [e.replaced for e in some])
        return Embedding(*map(torch.cat, columns))

    @staticmethod
    def of(vectors: Tensor, visibility: Tensor | None = None) -> Embedding:
        """From `vectors` [N,D] or [N,P,D] of any float type; without `visibility` all parts are visible."""
        if vectors.ndim == 2:
            vectors = vectors[:, None]
        if visibility is None:
            visibility = vectors.new_ones(vectors.shape[:2], dtype=torch.float32)
        if visibility.ndim == 1:
            visibility = visibility[:, None]
        return Embedding(vectors, visibility)


def _check_shapes(vectors: Tensor, visibility: Tensor) -> None:
    if vectors.ndim != 3 or visibility.shape != vectors.shape[:2] or 0 in vectors.shape[1:]:
        raise InputError(
            f"vectors have shape {tuple(vectors.shape)} and visibility {tuple(visibility.shape)}; "
            f"expected [N, parts, dims] and [N, parts] with at least one part and one dimension"
        )


@dataclass(frozen=True)
class Facts:
    """Who stands before which camera, for each row of an embedding: int64 [N] each.

    `occlusion` holds `Occlusion` numbers. A `pid` below 0 marks junk, which no ranking ever contains.
    """

    pids: Tensor
    camids: Tensor
    occlusion: Tensor

    def __post_init__(self) -> None:
        shapes = {name: tuple(t.shape) for name, t in vars(self).items()}
        if len(set(shapes.values())) > 1 or self.pids.ndim != 1:
            raise InputError(f"pid, camid and occlusion must be lists of one length, found {shapes}")
        if wrong := [name for name, t in vars(self).items() if t.dtype != torch.int64]:
            raise InputError(f"{', '.join(wrong)} must be int64, found {getattr(self, wrong[0]).dtype}; convert them")

    def __len__(self) -> int:
        return self.pids.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> Facts:
        return Facts(self.pids[rows], self.camids[rows], self.occlusion[rows])

    @staticmethod
    def of(samples: tuple[Sample, ...]) -> Facts:
        """The facts of a split, in its order."""
        columns = [(s.pid, s.camid, int(s.occlusion)) for s in samples]
        table = torch.tensor(columns, dtype=torch.int64).reshape(-1, 3)
        return Facts(*table.unbind(1))


@dataclass(frozen=True)
class Protocol:
    """Which gallery rows of the query's own identity count.

    `same_camera`: whether those of the query's own camera count. `keep`: only those with one of these occlusions
    count (None: all). What does not count is left out of the ranking; other identities always stay as distractors.
    """

    name: str
    same_camera: bool = False
    keep: frozenset[Occlusion] | None = None


@dataclass(frozen=True)
class Ranking:
    """For each query its nearest gallery rows, nearest first: `distances` float [Q,k] and `indices` int64 [Q,k]."""

    distances: Tensor
    indices: Tensor


@dataclass(frozen=True)
class Scores:
    """Means over the queries that have a positive; fractions, not per cent.

    `cmc[r-1]`: share of queries with a positive among the first r. `queries`: how many had one, `skipped`: how many
    had none. `positives`: how many query-positive pairs there were.
    """

    mAP: float  # noqa: N815  (the field's own spelling)
    mINP: float  # noqa: N815
    cmc: tuple[float, ...]
    queries: int
    skipped: int
    positives: int
