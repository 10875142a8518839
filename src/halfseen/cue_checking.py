"""What is known of a set's pictures beside their pixels, and whether one can believe it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from halfseen.data.cues import KeypointFile, find_fields, load_keypoints, load_part_labels
from halfseen.data.files import shown
from halfseen.data.finding import KEYPOINTS, PARTS, PartLabels, fitting_keypoints
from halfseen.data.fitting import stored_sizes
from halfseen.data.images import read_image
from halfseen.drawing.skeletons import contact_sheet, skeleton
from halfseen.ops.groupings import FLIPPED_JOINTS, JOINTS
from halfseen.ops.skeletons import SEEN, impossible
from halfseen.types import InputError, Progress, Sample, Splits
from halfseen.world.labels import LIES_ON
from halfseen.world.shapes import PART

COLUMNS = 8  # of a sheet
# Estimators reach four in five and more; mixed up, small pictures whose people fill them reach two in five.
DOUBTED = 0.6
FOREIGN = 0.4  # joints that lie in their part are fewer only if they were mixed up: rows shifted by one leave a third


class Coverage(NamedTuple):
    """Of so many `images`: how many have a row of keypoints, somebody in it, confidence fields, part labels."""

    images: int
    rows: int
    found: int
    fields: int
    parts: int


class Agreement(NamedTuple):
    """Of each joint, int64 [17]: how often it was `seen`, `inside` its part, or else inside its `mirrored` part."""

    seen: Tensor
    inside: Tensor
    mirrored: Tensor


class Doubt(NamedTuple):
    """A skeleton that breaks `rules`, or of which so many seen joints (`strays`) lie outside their known parts."""

    sample: Sample
    keypoints: Tensor
    rules: tuple[str, ...]
    strays: int


@dataclass(frozen=True)
class Check:
    """What was found in `images` pictures: `file` None means that there are no keypoints.

    `broken` tells how many pictures break each rule, `refusal` in one sentence why no training takes the file, if none
    does. `doubts` begin with the worst.
    """

    images: int
    file: KeypointFile | None
    coverage: Mapping[str, Coverage]
    refusal: str
    broken: Mapping[str, int]
    agreement: Agreement | None
    doubts: tuple[Doubt, ...]

    @property
    def foreign(self) -> str:
        """In one sentence, if these can hardly be keypoints of these pictures; known parts tell that alone."""
        told = f"{self._few}, so these are hardly of these pictures; look at the worst, and make them anew"
        return told if self._share < FOREIGN else ""

    @property
    def doubted(self) -> str:
        """In one sentence, if they are worse than those of any good estimator, but may be of these pictures."""
        told = f"{self._few}, where estimators reach 80 and more; look at the worst before you train with these"
        return told if FOREIGN <= self._share < DOUBTED else ""

    @property
    def _share(self) -> float:
        """Of the seen joints, which lie in their part; 1 where nothing tells."""
        seen = 0 if self.agreement is None else int(self.agreement.seen.sum())
        return int(self.agreement.inside.sum()) / seen if self.agreement and seen else 1.0

    @property
    def _few(self) -> str:
        return f"only {100 * self._share:.0f} % of the joints lie in their known part"


def check_cues(splits: Splits, path: Path | None = None, *, progress: Progress | None = None) -> Check:
    """Compare all cues of `splits` with its pictures; keypoints come from `path`, or from the set's own file."""
    place = path or splits.root / KEYPOINTS
    file = load_keypoints(place) if path or place.exists() else None
    coverage = {split: _coverage(samples, file, splits.root) for split, samples in splits.by_name.items()}
    if not any(any(each[1:]) for each in coverage.values()):
        raise InputError(
            f"{splits.name}: nothing is known of the pictures in {shown(splits.root)}; `halfseen cues make "
            f"{splits.name} --estimator mediapipe --root FOLDER` makes keypoints"
        )
    samples = tuple({sample.name: sample for split in splits.by_name.values() for sample in split}.values())
    if file is None:
        return Check(len(samples), None, coverage, "", {}, None, ())
    keypoints = file.lookup([sample.name for sample in samples])[0]
    sizes = stored_sizes(samples)
    wrong = impossible(keypoints, sizes.float())
    labels = [PartLabels(splits.root / PARTS, "eight").path(sample.name) for sample in samples]
    seen, own, other = _all_in_parts(keypoints, sizes, labels, progress)
    strays = (seen & ~own).sum(1)
    agreement = Agreement(seen.sum(0), own.sum(0), other.sum(0)) if seen.any() else None
    doubts = [
        Doubt(sample, keypoints[row], tuple(rule for rule in wrong if wrong[rule][row]), int(strays[row]))
        for row, sample in enumerate(samples)
    ]
    doubts = sorted((doubt for doubt in doubts if doubt.rules or doubt.strays), key=_how_good)
    broken = {rule: int(which.sum()) for rule, which in wrong.items()}
    return Check(len(samples), file, coverage, _refusal(file, samples, place), broken, agreement, tuple(doubts))


def draw_worst(check: Check, count: int) -> Tensor:
    """The `count` worst skeletons over their pictures, the worst first: uint8 [3,·,·]."""
    pictures = [skeleton(read_image(doubt.sample.path), doubt.keypoints) for doubt in check.doubts[:count]]
    return contact_sheet(pictures, min(COLUMNS, len(pictures)))


def _how_good(doubt: Doubt) -> tuple[int, int]:
    return -len(doubt.rules), -doubt.strays


def _coverage(samples: Sequence[Sample], file: KeypointFile | None, root: Path) -> Coverage:
    names = [sample.name for sample in samples]
    known = {*file.names} if file else set()
    found = int(file.lookup(names)[0][..., 2].any(1).sum()) if file else 0
    return Coverage(
        images=len(names),
        rows=sum(name in known for name in names),
        found=found,
        fields=sum(find_fields(root, name) is not None for name in names),
        parts=sum(PartLabels(root / PARTS, "eight").path(name).is_file() for name in names),
    )


def _refusal(file: KeypointFile, samples: Sequence[Sample], path: Path) -> str:
    try:
        fitting_keypoints(file, samples, path)
    except InputError as error:
        return str(error)
    return ""


def _all_in_parts(
    keypoints: Tensor, sizes: Tensor, labels: Sequence[Path], progress: Progress | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Which joints are seen, inside their own part, and inside the mirrored one: bool [N,17] each.

    Pictures of `sizes` [N,2] without part `labels` show nothing.
    """
    answers = torch.zeros(len(labels), 3, len(JOINTS), dtype=torch.bool)
    for row, (path, (height, width)) in enumerate(zip(labels, sizes.tolist(), strict=True)):
        if path.is_file():
            answers[row] = in_parts(keypoints[row], load_part_labels(path, parts=9), (height, width))
        if progress:
            progress(row + 1, len(labels))
    seen, own, other = answers.unbind(1)
    return seen, own, other


def in_parts(keypoints: Tensor, labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Of `keypoints` [17,3] in a picture of `size` and its `labels` [h,w]: bool [3,17].

    Which joints are seen; which of these lie within a pixel of their own part; which of the others do of the part of
    the other side.
    """
    height, width = labels.shape
    x, y, scores = keypoints.unbind(1)
    column = ((x + 0.5) * (width / size[1]) - 0.5).round().long()
    row = ((y + 0.5) * (height / size[0]) - 0.5).round().long()
    seen = scores > SEEN
    around = F.pad(labels, (1, 1, 1, 1)).unfold(0, 3, 1).unfold(1, 3, 1).flatten(2)  # [h,w,9]
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    near = around[row.clamp(0, height - 1), column.clamp(0, width - 1)] * inside[:, None]  # [17,9]
    own = seen & _PARTS_OF.gather(1, near).any(1)
    other = seen & ~own & _PARTS_OF[list(FLIPPED_JOINTS)].gather(1, near).any(1)
    return torch.stack([seen, own, other])


def _parts_of_joints() -> Tensor:
    """bool [17, parts]: on which of the world's parts each joint may lie."""
    table = torch.zeros(len(JOINTS), len(PART), dtype=torch.bool)
    for joint, name in enumerate(JOINTS):
        side, _, rest = name.partition("_")
        parts = LIES_ON.get(rest, ("head",))
        table[joint, [PART[part.format(side)] for part in parts]] = True
    return table


_PARTS_OF = _parts_of_joints()
