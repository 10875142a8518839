"""Make a keypoint file for anyone's pictures: whoever is asked looks at each, and the person in the middle is kept.

The pictures are looked at in chunks of 32. Each finished chunk becomes a file in a hidden folder beside the target,
called after what was asked of whom, so that the same command goes on where it was stopped or killed and another one
begins anew. In the end all is put together and takes the target's place at once; then the folder goes.
"""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from halfseen.data.cues import FIELDS_FOLDER, KeypointFile, find_fields, load_fields, load_keypoints, save_keypoints
from halfseen.data.files import PART, shown, whole
from halfseen.data.images import read_image
from halfseen.drawing.skeletons import contact_sheet, skeleton
from halfseen.estimators import ESTIMATORS
from halfseen.estimators.bpbreid_fields import person_in
from halfseen.estimators.coco_json import check_places, check_told, load_people
from halfseen.estimators.people import People, astray, choose
from halfseen.ops.groupings import JOINTS
from halfseen.processes import shared_out
from halfseen.types import InputError, Progress, Sample

Name: TypeAlias = Literal["keypointrcnn", "vitpose", "mediapipe", "coco-json", "bpbreid-fields"]
Look: TypeAlias = Callable[[Sequence[str], Sequence[Tensor]], list[People]]  # names and images → the people in each

CHUNK = 32
ON_SHEET, COLUMNS = 32, 8


@dataclass(frozen=True)
class Ask:
    """Whom to ask: an estimator with `weights` (None: its maker's) on `device`, or `results` that others left.

    `root` and `names` are the data set's folder and all its pictures, which results are compared with.
    """

    estimator: Name
    root: Path
    names: tuple[str, ...]
    weights: Path | None = None
    results: Path | None = None
    device: str = "cpu"

    @property
    def source(self) -> str:
        """How the keypoints come to be, in words; what is missing for that is told here, before any work."""
        if self.estimator in ESTIMATORS:
            if self.results is not None:
                raise InputError(f"--results is for coco-json and bpbreid-fields; {self.estimator} looks at pictures")
            return ESTIMATORS[self.estimator].about(self.weights)
        if self.weights is not None:
            raise InputError(f"--weights is for networks; {self.estimator} reads --results that another tool has left")
        if self.estimator == "bpbreid-fields":
            return f"peaks of BPBreID's confidence fields in {self.results or FIELDS_FOLDER}"
        if self.results is None or not self.results.exists():
            found = "is missing" if self.results is None else f"{shown(self.results)} does not exist"
            raise InputError(f"coco-json: --results {found}; name the JSON file or folder of the other tool")
        return f"coco-json {self.results.name} {_digest(self.results)}"


class Chunk(NamedTuple):
    """Pictures that are looked at one after the other, and the file for what is found."""

    file: Path
    samples: tuple[Sample, ...]


class Found(NamedTuple):
    """The target's keypoints [n,17,3] in some pictures, how many people each shows [n], and `astray` of them [n,2]."""

    keypoints: Tensor
    people: Tensor
    joints: Tensor


@dataclass(frozen=True)
class Report:
    """What the file holds of the pictures asked for: `keypoints` [N,17,3] of `samples`.

    `made` of them were made now, of which `several` show more than one person.
    """

    file: KeypointFile
    samples: tuple[Sample, ...]
    keypoints: Tensor
    made: int
    several: int

    @property
    def nobody(self) -> list[str]:
        """The pictures in which nobody was found."""
        empty = self.keypoints[..., 2].amax(1) == 0
        return [self.samples[row].name for row in empty.nonzero()[:, 0].tolist()]

    @property
    def scores(self) -> Tensor:
        """Of each joint the mean score where somebody was found, [17]."""
        found = self.keypoints[..., 2].amax(1) > 0
        return self.keypoints[found][..., 2].mean(0) if found.any() else torch.zeros(len(JOINTS))


def make_cues(
    ask: Ask,
    samples: Sequence[Sample],
    out: Path,
    *,
    replace: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Write the keypoints of `samples` to `out`; to a file from the same source those are added that it lacks.

    A file from another source is touched only to `replace` it.
    """
    if workers is not None and workers < 1:
        raise InputError(f"{workers} workers cannot look at anything; give 1 or more, or none to take all cores")
    if not samples:
        raise InputError(f"{shown(ask.root)} holds no pictures to look at; check --root")
    source = ask.source
    samples = tuple({sample.name: sample for sample in samples}.values())
    before = _before(out, source, replace)
    known = {*before.names}
    todo = [sample for sample in samples if sample.name not in known]
    shards = out.with_name(f".{out.name}.shards")
    chunks = _chunks(shards, source, todo)
    alone = ask.estimator in ("keypointrcnn", "vitpose")  # torch spreads large networks over all cores by itself
    _find_all(ask, chunks, workers or (1 if alone else os.cpu_count() or 1), progress)
    found = [_finished(chunk) or _lost(chunk) for chunk in chunks]
    if ask.results is not None and found:
        try:
            check_places(ask.results, [sample.name for sample in todo], torch.cat([each.joints for each in found]))
        except InputError:
            _sweep(shards, chunks)
            raise
    keypoints = torch.cat([before.keypoints, *(each.keypoints for each in found)])
    file = KeypointFile((*before.names, *(sample.name for sample in todo)), keypoints, source)
    if todo:
        save_keypoints(out, file)
        _sweep(shards, chunks)
    several = sum(int((each.people > 1).sum()) for each in found)
    return Report(file, samples, file.lookup([sample.name for sample in samples])[0], len(todo), several)


def draw_sheet(report: Report) -> Tensor:
    """Some of the pictures, from all over the set, with what was found in them: uint8 [3,·,·]."""
    names = [sample.name.encode(errors="surrogateescape") for sample in report.samples]
    chosen = sorted(sorted(range(len(names)), key=lambda row: sha256(names[row]).digest())[:ON_SHEET])
    pictures = [skeleton(read_image(report.samples[row].path), report.keypoints[row]) for row in chosen]
    return contact_sheet(pictures, COLUMNS)


def _before(out: Path, source: str, replace: bool) -> KeypointFile:
    """What `out` already holds from the same source."""
    if out.suffix != ".npz":
        raise InputError(f"{shown(out)} does not end in .npz, as keypoint files do; choose another name")
    if out.is_dir():
        raise InputError(f"{shown(out)}: is a folder, no file; move it away, or give --out with another name")
    if replace or not out.exists():
        return KeypointFile((), torch.zeros(0, len(JOINTS), 3), source)
    file = load_keypoints(out)
    if file.source != source:
        raise InputError(
            f"{shown(out)} holds keypoints from another source ({file.source[:100]!r}, not {source!r}); give --replace "
            f"to lose those, or --out with another name"
        )
    return file


def _chunks(shards: Path, source: str, samples: Sequence[Sample]) -> list[Chunk]:
    starts = range(0, len(samples), CHUNK)
    chunks = [tuple(samples[start : start + CHUNK]) for start in starts]
    asked = ["\n".join([source, *(sample.name for sample in chunk)]) for chunk in chunks]
    files = [shards / f"{sha256(words.encode(errors='surrogateescape')).hexdigest()[:24]}.npz" for words in asked]
    return [Chunk(file, chunk) for file, chunk in zip(files, chunks, strict=True)]


def _find_all(ask: Ask, chunks: Sequence[Chunk], workers: int, progress: Progress | None) -> None:
    tell = progress or (lambda _done, _all: None)
    todo = [chunk for chunk in chunks if _finished(chunk) is None]
    total = sum(len(chunk.samples) for chunk in chunks)
    done = total - sum(len(chunk.samples) for chunk in todo)
    tell(done, total)
    if todo:
        _make_folder(todo[0].file.parent)
    try:
        with contextlib.closing(shared_out(partial(_looker, ask), todo, workers)) as counts:
            for count in counts:
                done += count
                tell(done, total)
    except InputError as error:
        told = f"; {done:,} of {total:,} pictures are done, and the same command goes on" if done else ""
        raise InputError(f"{error}{told}") from error
    finally:
        if todo:
            _remove_if_empty(todo[0].file.parent)


def _looker(ask: Ask) -> Callable[[Chunk], int]:
    """In each process: make whoever is asked ready, once, to look at one chunk after the other."""
    return partial(_look_at, _opened(ask))


def _look_at(look: Look, chunk: Chunk) -> int:
    images = [read_image(sample.path) for sample in chunk.samples]
    people = look([sample.name for sample in chunk.samples], images)
    choices = [choose(each, (image.shape[1], image.shape[2])) for each, image in zip(people, images, strict=True)]
    targets = torch.stack([choice.target for choice in choices])
    counts = torch.tensor([len(choice.others) for choice in choices]) + (targets[..., 2].amax(1) > 0)
    joints = torch.tensor([astray(each, image.shape) for each, image in zip(people, images, strict=True)])
    with whole(chunk.file) as beside, beside.open("wb") as opened:
        np.savez(opened, keypoints=targets.numpy(), people=counts.numpy(), joints=joints.numpy())
    return len(chunk.samples)


def _opened(ask: Ask) -> Look:
    if ask.estimator in ESTIMATORS:
        estimate = ESTIMATORS[ask.estimator].load(ask.weights, ask.device)
        return lambda _names, images: estimate(images)
    if ask.estimator == "coco-json" and ask.results is not None:
        people = load_people(ask.results, ask.names)
        check_told(ask.results, ask.names, people)
        return lambda names, _images: [people.get(name, torch.zeros(0, len(JOINTS), 3)) for name in names]
    return partial(_in_fields, ask.root, str(ask.results or FIELDS_FOLDER))


def _in_fields(root: Path, folder: str, names: Sequence[str], images: Sequence[Tensor]) -> list[People]:
    people = []
    for name, image in zip(names, images, strict=True):
        path = find_fields(root, name, folder)
        if path is None:
            raise InputError(
                f"{shown(root / folder)} holds no confidence fields of {name}; name their folder with --results"
            )
        people.append(person_in(load_fields(path), (image.shape[1], image.shape[2])))
    return people


def _finished(chunk: Chunk) -> Found | None:
    """What was found in the pictures of `chunk`, if that is known."""
    try:
        with np.load(chunk.file) as arrays:
            found = Found(*(torch.from_numpy(arrays[name]) for name in Found._fields))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # not there, or lost with the power
        return None
    return found if len(found.keypoints) == len(chunk.samples) else None


def _lost(chunk: Chunk) -> Found:
    raise InputError(f"{shown(chunk.file)} has gone while this went on; begin the same command again")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{shown(folder.parent)}: nothing can be written there ({error.strerror}); choose a place with --out"
        ) from error


def _sweep(shards: Path, chunks: Sequence[Chunk]) -> None:
    """Take away what is put together now; the beginnings of other commands stay."""
    for chunk in chunks:
        chunk.file.unlink(missing_ok=True)
    for leftover in shards.glob(f".*{PART}"):
        leftover.unlink(missing_ok=True)
    _remove_if_empty(shards)


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not empty, or never there
        folder.rmdir()


def _digest(results: Path) -> str:
    files = sorted(results.rglob("*.json")) if results.is_dir() else [results]
    digest = sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
