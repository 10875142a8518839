"""Benchmarks made from any holistic set while its pictures are read: no copies on disk, everything follows from a seed.

`partial` and `occluded` write *edits* into samples, and `read_sample` carries them out. Every choice comes from sha256
and from `Random(seed).random()`, the one sequence that Python promises to keep; so a variant is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from random import Random
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor

from halfseen.data.images import read_image
from halfseen.data.occluders import KINDS, paste
from halfseen.types import SPLITS, Edit, InputError, KeepTop, Occluder, Occlusion, Paste, Sample, Splits

__all__ = ["Picture", "bank", "occluded", "partial", "paste", "read_sample", "twins"]

ALL_QUERIES: Mapping[str, float] = MappingProxyType({"query": 1.0})  # as Occluded-Duke: whole gallery, occluded queries


class Picture(NamedTuple):
    """What a sample looks like once its edits are carried out.

    `image` uint8 [3,H,W]; `hidden` bool [H,W], the pixels of pasted occluders (None: nothing was ever pasted);
    `occluder`, the kind pasted last (NONE if none of it is left in the picture).
    """

    image: Tensor
    hidden: Tensor | None
    occluder: Occluder


def read_sample(sample: Sample) -> Picture:
    """Read the file of `sample` and carry out its edits in order: the one door to the pictures of a set."""
    picture = Picture(read_image(sample.path), None, Occluder.NONE)
    for edit in sample.edits:
        picture = _carry_out(edit, picture)
    return picture


def _carry_out(edit: Edit, picture: Picture) -> Picture:
    image, hidden, occluder = picture
    if isinstance(edit, Paste):
        image, covered = paste(image, read_image(edit.source), edit.kind, edit.seed)
        return Picture(image, covered if hidden is None else hidden | covered, edit.kind)
    rows = max(1, image.shape[1] // edit.parts)
    if hidden is not None:
        hidden = hidden[:rows].clone()
        occluder = occluder if hidden.any() else Occluder.NONE
    return Picture(image[:, :rows].clone(), hidden, occluder)


def partial(splits: Splits, seed: int = 0) -> Splits:
    """Partial-Duke's rule on any set: of each split a quarter keeps its upper half, a quarter its upper third.

    Which ones: the first and the second quarter of the split sorted by sha256(seed + name); of n samples n//2 are cut,
    n//4 of these to a half. A cut picture's occlusion becomes UNKNOWN: no label says "cut off".
    """
    made, notes = [], []
    for split, samples in splits.by_name.items():
        order = _shuffled(samples, str(seed))
        quarter, half = len(order) // 4, len(order) // 2
        parts = dict.fromkeys(order[:quarter], 2) | dict.fromkeys(order[quarter:half], 3)
        made.append(tuple(_cut(s, parts[i]) if i in parts else s for i, s in enumerate(samples)))
        notes.append(f"{split}: upper halves {quarter}, upper thirds {half - quarter}, whole {len(order) - half}")
    return _variant(splits, "partial", seed, made, "; ".join(notes))


def occluded(
    splits: Splits,
    seed: int = 0,
    *,
    kinds: Sequence[Occluder] = KINDS,
    share: Mapping[str, float] = ALL_QUERIES,
    holistic: bool = True,
) -> Splits:
    """Hide people behind synthetic occluders, of a kind drawn from `kinds`, in a `share` (0..1) of each split it names.

    The occluders come from training pictures of other identities (gallery pictures, if there is no training part);
    things make the label NPO, pedestrians NTP. `holistic` is the caller's word that nothing hides anyone in the set as
    it is: then the UNKNOWN samples that no edit touches become HOLISTIC.
    """
    _check_wishes(kinds, share)
    sources = bank(splits)
    made, notes = [], []
    for split, samples in splits.by_name.items():
        chosen = set(_shuffled(samples, f"occluded/{seed}/")[: round(share.get(split, 0) * len(samples))])
        made.append(
            tuple(
                _occlude(s, f"{seed}/{split}", kinds, sources) if i in chosen else _untouched(s, holistic)
                for i, s in enumerate(samples)
            )
        )
        notes.append(f"{split}: {len(chosen)} of {len(samples)} occluded")
    cut = "training" if splits.train else "gallery, for want of training"
    notes += [f"kinds: {_listed(kinds)}", f"cut from {cut} pictures of other people"]
    return _variant(splits, "occluded", seed, made, "; ".join(notes))


def twins(samples: Sequence[Sample], seed: int | str, bank: Sequence[Sample]) -> tuple[Sample, ...]:
    """The occluded twin of each sample: a kind drawn from all five, cut from another identity's picture in `bank`.

    For paired batches; a seed such as "7/3" (seed 7, epoch 3) gives each epoch its own twins.
    """
    return tuple(_occlude(sample, f"{seed}/twin", KINDS, bank) for sample in samples)


def bank(splits: Splits) -> tuple[Sample, ...]:
    """The pictures that occluders are cut from, sorted by name: the training part, or without one the gallery."""
    return tuple(sorted(splits.train or splits.gallery, key=lambda sample: sample.name))


def _shuffled(samples: Sequence[Sample], key: str) -> list[int]:
    return sorted(range(len(samples)), key=lambda i: _digest(f"{key}{samples[i].name}"))


def _number(text: str) -> int:
    return int.from_bytes(_digest(text)[:7])  # 7 bytes: fits every integer type


def _digest(text: str) -> bytes:
    return sha256(text.encode(errors="surrogateescape")).digest()  # a name on disk need not be Unicode


def _cut(sample: Sample, parts: int) -> Sample:
    return replace(sample, edits=(*sample.edits, KeepTop(parts)), occlusion=Occlusion.UNKNOWN)


def _untouched(sample: Sample, holistic: bool) -> Sample:
    becomes = holistic and sample.occlusion is Occlusion.UNKNOWN and not sample.edits
    return replace(sample, occlusion=Occlusion.HOLISTIC) if becomes else sample


def _occlude(sample: Sample, key: str, kinds: Sequence[Occluder], bank: Sequence[Sample]) -> Sample:
    dice = Random(_number(f"{key}/{sample.name}"))
    kind = kinds[int(dice.random() * len(kinds))]
    source = _other_person(sample.pid, bank, dice)
    pixels = _number(f"{key}/pixels/{sample.name}")  # a seed of its own, or the pixels would repeat the throws above
    edit = Paste(kind, source.path, pixels)
    label = Occlusion.NTP if kind is Occluder.PEDESTRIAN else Occlusion.NPO
    return replace(sample, edits=(*sample.edits, edit), occlusion=label)


def _other_person(pid: int, bank: Sequence[Sample], dice: Random) -> Sample:
    if all(sample.pid == pid for sample in bank):
        raise InputError(
            f"no picture to cut an occluder from: the {len(bank)} pictures of the bank show nobody but identity {pid}; "
            f"give a set with two identities or more in its training part or its gallery"
        )
    while (sample := bank[int(dice.random() * len(bank))]).pid == pid:
        pass
    return sample


def _check_wishes(kinds: Sequence[Occluder], share: Mapping[str, float]) -> None:
    if not kinds or not set(kinds) <= set(KINDS):
        raise InputError(f"occluder kinds are '{_listed(kinds)}'; name one or more of {_listed(KINDS)}")
    for split, part in share.items():
        if split not in SPLITS or not 0 <= part <= 1:
            raise InputError(f"the share of '{split}' is {part}; give train, query or gallery a share from 0 to 1")


def _listed(kinds: Sequence[Occluder]) -> str:
    return ", ".join(kind.name.lower() for kind in kinds)


def _variant(splits: Splits, rule: str, seed: int, made: Sequence[tuple[Sample, ...]], note: str) -> Splits:
    name = f"{splits.name}+{rule}" + (f"@{seed}" if seed else "")
    train, query, gallery = made
    notes = (*splits.notes, f"{rule}, seed {seed}: {note}")
    return replace(splits, name=name, train=train, query=query, gallery=gallery, notes=notes)
