"""What a run asks for by name: a data set or a variant of it, and the cues that lie beside its pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from halfseen.data.cues import KeypointFile, below, find_fields, load_fields, load_keypoints, load_part_labels
from halfseen.data.files import shown
from halfseen.data.fitting import check_fit
from halfseen.data.loading import CueSources
from halfseen.data.sets import doubt, find_set, left_out, read_set
from halfseen.data.variants import occluded, partial
from halfseen.ops.parts import regrouped
from halfseen.recipe import Cue
from halfseen.types import InputError, Sample, Splits

CUES: Final[tuple[Cue, ...]] = ("parts", "fields", "keypoints")  # what knows most comes first
KINDS: dict[Cue, str] = {"parts": "part labels", "fields": "confidence fields", "keypoints": "keypoints"}
KEYPOINTS, PARTS = "keypoints.npz", "parts"  # a file and a folder in the set's root


def is_holistic(splits: Splits) -> bool:
    """Whether the set that `splits` are, or are made of, is known as one of whole people."""
    return find_set(splits.name.partition("+")[0])[0].holistic


def _occluded(splits: Splits, seed: int) -> Splits:
    return occluded(splits, seed, holistic=is_holistic(splits))


VARIANTS = {"partial": partial, "occluded": _occluded}


def read_named(name: str, root: Path | None = None, say: Callable[[str], None] = lambda _: None) -> Splits:
    """The set `name`, as `Splits.name` spells it: with `+partial` or `+occluded` behind it, and `@1` for another seed.

    Without `root` it is looked for in the folder that HALFSEEN_DATA names; what comes with halfseen is always
    that. `say` hears if it may be another set, and what was left out of it.
    """
    base, *rules = name.split("+")
    place = find_set(base)[0].home or root or os.environ.get("HALFSEEN_DATA")
    if not place:
        raise InputError(
            f"no folder is named for {base}; give --root FOLDER, or set the environment variable HALFSEEN_DATA to one"
        )
    splits = read_set(base, place)
    for note in filter(None, (doubt(splits), *left_out(splits))):
        say(f"note: {note}")
    for rule, _, seed in (rule.partition("@") for rule in rules):
        if rule in VARIANTS and not (seed or "0").isdecimal():
            raise InputError(f"{name!r}: the seed {seed!r} behind @ is no whole number; write one from 0 on, or no @")
        if rule not in VARIANTS:
            known = " or ".join(f"{base}+{variant}" for variant in VARIANTS)
            raise InputError(
                f"{name!r}: there is no variant {rule!r}; write {known}, with @ and a number behind it for another seed"
            )
        splits = VARIANTS[rule](splits, int(seed or 0))
    return splits


def find_cues(
    splits: Splits,
    samples: Sequence[Sample],
    wanted: Collection[Cue],
    grouping: str = "eight",
    instead: Collection[Cue] = (),
) -> CueSources:
    """Of the `wanted` cues the one that knows most of all `samples`; part labels come in the numbers of `grouping`.

    All of it is looked at here: what is wrong is told before anything is trained. Where there are none, those are named
    that would do `instead`.
    """
    if not wanted or not samples:
        return CueSources()
    for cue in CUES:
        if cue in wanted and _complete(cue, _without(cue, splits.root, samples), samples, splits.root):
            return _READ[cue](splits.root, samples, grouping)
    if there := [cue for cue in CUES if cue in instead and not _without(cue, splits.root, samples)]:
        asked = " and ".join(KINDS[cue] for cue in CUES if cue in wanted)
        raise InputError(
            f"--cue {' '.join(wanted)} asks for {asked}, of which {splits.name} has none for its pictures in "
            f"{shown(splits.root)}; it has {' and '.join(KINDS[cue] for cue in there)}: choose --cue "
            f"{', '.join(there)} or auto"
        )
    kinds = [KINDS[cue] for cue in CUES if cue in (*wanted, *instead)]
    raise InputError(
        f"{splits.name} has no {' and no '.join(kinds)} for its pictures in {shown(splits.root)}, and this method "
        f"needs {'one of these' if len(kinds) > 1 else 'them'}; make {KEYPOINTS} with `halfseen cues make "
        f"{splits.name} --estimator mediapipe --root FOLDER`, or take a set with part labels "
        f"and keypoints, as `halfseen world render` makes them"
    )


def _without(cue: Cue, root: Path, samples: Sequence[Sample]) -> list[str]:
    """The names of the `samples` for which no `cue` lies in `root`, whatever is in it; keypoints are one file's."""
    names = [sample.name for sample in samples]
    if cue == "keypoints":
        return [] if (root / KEYPOINTS).exists() else names
    if cue == "parts":
        labels = PartLabels(root / PARTS, "eight")
        return [name for name in names if not labels.path(name).is_file()]
    return [name for name in names if find_fields(root, name) is None]


def _complete(cue: Cue, missing: Sequence[str], samples: Sequence[Sample], root: Path) -> bool:
    if missing and len(missing) < len(samples):
        raise InputError(
            f"{len(missing):,} of {len(samples):,} pictures in {shown(root)} have no {KINDS[cue]}, among them "
            f"{missing[0]}; make those too, or move all {KINDS[cue]} away to use another cue"
        )
    return not missing


@dataclass(frozen=True)
class PartLabels:
    """Reads the part labels [h,w] of samples from PNG files in `folder`, as numbers of `grouping`."""

    folder: Path
    grouping: str

    def path(self, name: str) -> Path:
        return self.folder / below(name).with_suffix(".png")

    def load(self, sample: Sample) -> Tensor:
        """In the file's own numbers, those of the world's parts."""
        return load_part_labels(self.path(sample.name), parts=9)  # eight and what is carried

    def __call__(self, sample: Sample) -> Tensor:
        return regrouped(self.load(sample)[None], self.grouping)[0].to(torch.uint8)


@dataclass(frozen=True)
class Fields:
    """Reads BPBreID's confidence fields [36,h,w] of samples, found in the data set's `root`."""

    root: Path

    def __call__(self, sample: Sample) -> Tensor:
        path = find_fields(self.root, sample.name)
        if path is None:
            raise InputError(f"{sample.name} has lost its confidence fields in {shown(self.root)}; put them back")
        return load_fields(path)


def _read_parts(root: Path, samples: Sequence[Sample], grouping: str) -> CueSources:
    labels = PartLabels(root / PARTS, grouping)
    for sample in samples:
        labels.load(sample)
    return CueSources(parts=labels)


def _read_fields(root: Path, samples: Sequence[Sample], _: str) -> CueSources:
    fields = Fields(root)
    for sample in samples:
        fields(sample)
    return CueSources(fields=fields)


def _read_keypoints(root: Path, samples: Sequence[Sample], _: str) -> CueSources:
    path = root / KEYPOINTS
    return CueSources(keypoints=fitting_keypoints(load_keypoints(path), samples, path))


def fitting_keypoints(file: KeypointFile, samples: Sequence[Sample], path: Path) -> Tensor:
    """The keypoints [N,17,3] of `samples` from what was loaded from `path`, if it tells of all of them, and fits."""
    keypoints, missing = file.lookup([sample.name for sample in samples])
    if missing:
        known = {*file.names}
        first = next(sample.name for sample in samples if sample.name not in known)
        told = f", but of others ({file.names[0]})" if file.names and missing == len(samples) else ""
        raise InputError(
            f"{shown(path)}: tells nothing of {missing:,} of the {len(samples):,} pictures asked for, among them "
            f"{first}{told}; `halfseen cues make` gives each picture a row, of zeros where nobody was found"
        )
    check_fit(keypoints, samples, path)
    return keypoints


_READ = {"parts": _read_parts, "fields": _read_fields, "keypoints": _read_keypoints}
