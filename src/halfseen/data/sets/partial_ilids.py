"""Partial-iLIDS (He et al., CVPR 2018): a test set without cameras, one partial and one whole image per person."""

from __future__ import annotations

import re
from pathlib import Path

from halfseen.data.sets.folders import DataSet, Reading, find_root, list_images, place

LAYOUTS = (("Probe", "Gallery"), ("partial_body_images", "whole_body_images"))

_NUMBERED = re.compile(r"([0-9]{1,9})\.[^.]+")


def read(root: Path, _variant: str) -> Reading:
    """The stem of the file's name is the person: `Probe/17.jpg`."""
    found = find_root(root, *LAYOUTS)
    partial, whole = (list_images(found.root, folder) for folder in found.layout)
    return Reading(
        found.root,
        query=place(found.root, partial, lambda name: _parse(name, camid=0)),
        gallery=place(found.root, whole, lambda name: _parse(name, camid=1)),
        has_cameras=False,
        notes=found.notes,
    )


def _parse(name: str, camid: int) -> tuple[int, int] | None:
    match = _NUMBERED.fullmatch(name.rpartition("/")[2])
    return (int(match[1]), camid) if match else None


PARTIAL_ILIDS = DataSet(
    name="partial-ilids",
    title="Partial-iLIDS",
    read=read,
    expected={"": {"query": (119, 119), "gallery": (119, 119)}},
)
