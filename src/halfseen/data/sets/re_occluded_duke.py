"""Re-Occluded-Duke (TSD, ICASSP 2024): Occluded-Duke's images with new queries, and a gallery labelled by occlusion."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Set
from dataclasses import replace
from pathlib import Path, PurePosixPath

from halfseen.data.sets.folders import (
    THREE_FOLDERS,
    DataSet,
    Listing,
    Reading,
    exists,
    find_root,
    list_images,
    pid_and_camera,
    place,
    read_lines,
)
from halfseen.types import Occlusion, Sample

QUERY_LIST, GALLERY_LIST = "new_query.txt", "new_gallery.txt"
LABELS = {Occlusion.UNKNOWN: 6_252, Occlusion.NTP: 1_992, Occlusion.NPO: 1_587, Occlusion.HOLISTIC: 8_170}
ALLOWED = {str(label.value): label for label in LABELS}
NAMES = ", ".join(f"{text} ({label.name.lower()})" for text, label in ALLOWED.items())

_LABELLED = re.compile(r"(.*\S)\s*,\s*([^,]*)")  # path,label


def read(root: Path, _variant: str) -> Reading:
    """Train as in Occluded-Duke; query and gallery are what the two lists name, in their order."""
    root, _, notes = find_root(root, (*THREE_FOLDERS, QUERY_LIST, GALLERY_LIST))
    train, *test = THREE_FOLDERS
    known = {name for folder in test for name in list_images(root, folder)}
    query = [_resolve(root, line, known) for line in read_lines(root / QUERY_LIST)]
    gallery = _read_gallery(root, known)
    return Reading(
        root,
        query=place(root, query, pid_and_camera),
        gallery=gallery,
        train=place(root, list_images(root, train), pid_and_camera),
        notes=(*notes, *_label_notes(gallery.samples)),
    )


def _resolve(root: Path, line: str, known: Set[str]) -> str:
    """The name of the image that a line of a list means: as given, or wherever one of that name lies."""
    path = PurePosixPath(line.replace("\\", "/"))
    given = str(path)
    if given in known or (not path.is_absolute() and exists(root / path)):
        return given
    folders = (path.parent.name, *THREE_FOLDERS[1:])
    return next((name for folder in folders if (name := f"{folder}/{path.name}") in known), given)


def _read_gallery(root: Path, known: Set[str]) -> Listing:
    labels: dict[str, Occlusion] = {}
    refused = []
    for line in read_lines(root / GALLERY_LIST):
        path, label = entry.groups() if (entry := _LABELLED.fullmatch(line)) else (line, "")
        name = _resolve(root, path, known)
        if label not in ALLOWED:
            found = f"its label is {label!r}" if label else "it has no label"
            refused.append((line, f"{found}; write a comma and one of {NAMES} behind the path"))
        elif name in labels:
            refused.append((line, f"named before, as {labels[name].name.lower()}, which counts; remove one"))
        else:
            labels[name] = ALLOWED[label]
    named = place(root, labels, pid_and_camera)
    labelled = tuple(replace(sample, occlusion=labels[sample.name]) for sample in named.samples)
    return Listing(labelled, (*named.left_out, *((f"{GALLERY_LIST}: {line}", why) for line, why in refused)))


def _label_notes(gallery: tuple[Sample, ...]) -> list[str]:
    found = Counter(sample.occlusion for sample in gallery)
    return [
        f"gallery: found {found[label]:,} images labelled {label.name.lower()}, expected {expected:,}"
        for label, expected in LABELS.items()
        if found[label] != expected
    ]


RE_OCCLUDED_DUKE = DataSet(
    name="re-occluded-duke",
    title="Re-Occluded-Duke",
    read=read,
    expected={"": {"train": (702, 15_618), "query": (517, 2_538), "gallery": (1_110, 18_001)}},
    cameras=8,
    note="made of DukeMTMC-reID's images: withdrawn by its authors; "
    "halfseen reads a copy that you hold and links to none",
)
