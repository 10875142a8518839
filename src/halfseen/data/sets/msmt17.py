"""MSMT17 (Wei et al., CVPR 2018): fifteen cameras, identities in lists. V1, and V2 with blurred faces."""

from __future__ import annotations

import re
from pathlib import Path

from halfseen.data.sets.folders import DataSet, Listing, Reading, find_root, read_lines
from halfseen.types import Sample

LISTS = ("list_train.txt", "list_val.txt", "list_query.txt", "list_gallery.txt")
LAYOUTS = (("train", "test", *LISTS), ("mask_train_v2", "mask_test_v2", *LISTS))

_LINE = re.compile(r"(.*\S)\s+([0-9]{1,9})")  # path pid
_CAMERA = re.compile(r"[^_]*_[^_]*_([0-9]{1,9})(?![0-9])")  # 0000_000_01_0303morning_0015_0.jpg


def read(root: Path, _variant: str) -> Reading:
    """Train and validation lists together are what everyone trains on."""
    found = find_root(root, *LAYOUTS)
    train, test, *lists = found.layout
    of_train, of_val, query, gallery = (
        _read_list(found.root, folder, name) for folder, name in zip((train, train, test, test), lists, strict=True)
    )
    both = Listing(of_train.samples + of_val.samples, of_train.left_out + of_val.left_out)
    return Reading(found.root, query, gallery, both, notes=found.notes)


def _read_list(root: Path, folder: str, name: str) -> Listing:
    lines = read_lines(root / name)
    samples = [(line, _sample(root, folder, line)) for line in lines]
    return Listing(
        tuple(sample for _, sample in samples if sample),
        tuple((f"{name}: {line}", "") for line, sample in samples if not sample),
    )


def _sample(root: Path, folder: str, line: str) -> Sample | None:
    entry = _LINE.fullmatch(line)
    camera = entry and _CAMERA.match(entry[1].rpartition("/")[2])
    if not (entry and camera):
        return None
    name = f"{folder}/{entry[1]}"
    return Sample(root / name, name, int(entry[2]), int(camera[1]))


MSMT17 = DataSet(
    name="msmt17",
    title="MSMT17",
    read=read,
    expected={"": {"train": (1_041, 32_621), "query": (3_060, 11_659), "gallery": (3_060, 82_161)}},
    cameras=15,
    one_numbering=False,
    holistic=True,
)
