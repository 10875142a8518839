"""Look at every picture of a data set before training does, and say all that is wrong with it at once."""

from __future__ import annotations

import hashlib
import re
import warnings
import zlib
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from PIL import Image

from halfseen.data.files import shown
from halfseen.data.images import FORMATS, MAX_BYTES, MAX_PIXELS, decode_image, read_bytes
from halfseen.data.sets import SETS
from halfseen.data.sets.folders import count_people, shortened
from halfseen.types import Edit, InputError, Progress, Sample, Splits

Kind: TypeAlias = Literal[
    "missing",
    "empty",
    "truncated",
    "unreadable",
    "gigantic",
    "duplicate",
    "wrong name",
    "wrong line",
    "overlap",
    "no positive",
]

PNG = b"\x89PNG\r\n\x1a\n"
AT_ONCE = 1024  # images handed to the threads at a time: bounds the memory, and the wait after an interruption


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong in `split`; `name` is the picture's, or empty where the fault is of the split itself."""

    kind: Kind
    split: str
    name: str
    detail: str

    def __str__(self) -> str:
        where = f"{self.split} {self.name!r}" if self.name else self.split
        return f"{where}: {self.kind}: {' '.join(self.detail.split())}"


class Tally(NamedTuple):
    """How much a split holds; people are counted without junk and distractors, cameras where the set has any."""

    ids: int
    images: int
    cameras: int


@dataclass(frozen=True)
class Report:
    """What `check` found in the data set `name`: counts per split, faults, and notes that are no faults."""

    name: str
    counts: Mapping[str, Tally]
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.faults


class Finding(NamedTuple):
    """A picture's fault, if it has one, or a digest of its bytes."""

    kind: Kind | None
    detail: str
    digest: bytes = b""


def check(splits: Splits, *, workers: int | None = None, progress: Progress | None = None) -> Report:
    """Read every picture of `splits` with `workers` threads and report all faults, of the files and of the facts."""
    if workers is not None and workers < 1:
        raise InputError(f"{workers} workers cannot read anything; give 1 or more, or none to let the machine decide")
    parts = splits.by_name
    paths = list(dict.fromkeys(sample.path for samples in parts.values() for sample in samples))
    findings = _look_at_all(paths, workers, progress)
    duplicates, notes = _duplicates(parts, findings)
    faults = (
        *_left_out(splits),
        *_broken(parts, findings),
        *duplicates,
        *_overlap(splits),
        *_without_positive(splits),
    )
    counts = {split: _tally(samples, splits) for split, samples in parts.items()}
    return Report(splits.name, counts, faults, splits.notes + notes)


def _left_out(splits: Splits) -> list[Fault]:
    return [
        Fault("wrong line", split, name, f"left out: {why}")
        if why
        else Fault("wrong name", split, name, "not understood, so left out")
        for split, name, why in splits.left_out
    ]


def _look_at_all(paths: list[Path], workers: int | None, progress: Progress | None) -> dict[Path, Finding]:
    findings: dict[Path, Finding] = {}
    pool = ThreadPoolExecutor(workers)  # decoding lets go of Python's lock
    try:
        for start in range(0, len(paths), AT_ONCE):
            some = paths[start : start + AT_ONCE]
            for path, finding in zip(some, pool.map(_look, some), strict=True):
                findings[path] = finding
                if progress:
                    progress(len(findings), len(paths))
    finally:  # after Ctrl-C too: what has not begun never will
        pool.shutdown(cancel_futures=True)
    with warnings.catch_warnings():  # here, not in `_look`: what silences one thread silences all
        warnings.simplefilter("ignore")
        return {path: f._replace(kind=_kind(path)) if f.kind else f for path, f in findings.items()}


def _look(path: Path) -> Finding:
    try:
        data = read_bytes(path)
        decode_image(data, shown(path))
    except InputError as error:
        return Finding("unreadable", str(error))
    if data.startswith(PNG) and not _png_is_sound(data):
        return Finding(
            "unreadable", f"{shown(path)} disagrees with its own checksums; replace it by the original picture"
        )
    return Finding(None, "", hashlib.sha256(data).digest())


def _png_is_sound(data: bytes) -> bool:
    """Whether every chunk has the checksum it was written with; decoders don't look, and show grey or noise."""
    at, kind = len(PNG), b""
    while at < len(data) and kind != b"IEND":
        end = at + 8 + int.from_bytes(data[at : at + 4])
        kind = data[at + 4 : at + 8]
        if zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4]):
            return False
        at = end + 4
    return kind == b"IEND"


def _kind(path: Path) -> Kind:
    """What is wrong with a file that `read_image` refused."""
    try:
        size = path.stat().st_size
        if not path.is_file():  # opening a pipe would wait for a writer
            return "unreadable"
        if 0 < size <= MAX_BYTES:
            return _kind_of_picture(path)
        return "gigantic" if size else "empty"
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except OSError:
        return "unreadable"


def _kind_of_picture(path: Path) -> Kind:
    try:
        with Image.open(path, formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                return "gigantic"
            picture.load()
    except Image.DecompressionBombError:  # Pillow's own limit: several times ours
        return "gigantic"
    except Exception as error:  # Pillow's readers raise whatever they stumble over
        return "truncated" if "truncated" in str(error).lower() else "unreadable"
    return "unreadable"


def _broken(parts: Mapping[str, tuple[Sample, ...]], findings: Mapping[Path, Finding]) -> list[Fault]:
    looked_at = [(split, sample.name, findings[sample.path]) for split, part in parts.items() for sample in part]
    return [Fault(finding.kind, split, name, finding.detail) for split, name, finding in looked_at if finding.kind]


def _duplicates(
    parts: Mapping[str, tuple[Sample, ...]], findings: Mapping[Path, Finding]
) -> tuple[list[Fault], tuple[str, ...]]:
    """Equal pictures within a split, or in training and test, are faults; in query and gallery they are usual."""
    faults: list[Fault] = []
    first: dict[str, dict[tuple[bytes, tuple[Edit, ...]], str]] = {split: {} for split in parts}
    for split, samples in parts.items():
        for sample in samples:
            digest = findings[sample.path].digest
            key = (digest, sample.edits)
            for where in dict.fromkeys(("train", split)):
                if key in first[where]:
                    faults.append(
                        Fault("duplicate", split, sample.name, f"same picture as {where} {first[where][key]!r}")
                    )
            if digest:
                first[split].setdefault(key, sample.name)
    shared = len(first["query"].keys() & first["gallery"].keys())
    return faults, (f"{shared:,} of the query pictures are in the gallery too",) if shared else ()


def _overlap(splits: Splits) -> list[Fault]:
    dataset = SETS.get(re.split("[:+]", splits.name)[0])
    train = {sample.pid for sample in splits.train}
    both = sorted(train & {sample.pid for sample in splits.query + splits.gallery})
    if not both or (dataset and not dataset.one_numbering):
        return []
    people = shortened(map(str, both), 9)
    return [Fault("overlap", "train", "", f"{len(both):,} people are in training and in test: {people}")]


def _without_positive(splits: Splits) -> list[Fault]:
    cameras, queries = defaultdict(set), defaultdict(list)
    for sample in splits.gallery:
        cameras[sample.pid].add(sample.camid)
    for sample in splits.query:
        queries[sample.pid].append(sample)
    faults = []
    for pid, samples in queries.items():
        alone = [sample for sample in samples if not cameras[pid] - {sample.camid}]
        if alone:
            faults.append(
                Fault(
                    "no positive",
                    "query",
                    alone[0].name,
                    f"the gallery shows person {pid} in no other camera; "
                    f"{len(alone)} of {len(samples)} queries for that person cannot be answered",
                )
            )
    return faults


def _tally(samples: tuple[Sample, ...], splits: Splits) -> Tally:
    dataset = SETS.get(re.split("[:+]", splits.name)[0])
    ids = count_people(samples, dataset.distractor if dataset else None)
    return Tally(ids, len(samples), len({s.camid for s in samples}) if splits.has_cameras else 0)
