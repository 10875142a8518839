"""Occluded-REID (Zhuo et al., ICME 2018): a test set without cameras, one folder per person."""

from __future__ import annotations

from pathlib import Path

from halfseen.data.sets.folders import DataSet, Reading, find_root, read_people

LAYOUT = ("occluded_body_images", "whole_body_images")


def read(root: Path, _variant: str) -> Reading:
    """Occluded people are looked for among whole ones."""
    found = find_root(root, LAYOUT)
    occluded, whole = LAYOUT
    return Reading(
        found.root,
        query=read_people(found.root, occluded, camid=0),
        gallery=read_people(found.root, whole, camid=1),
        has_cameras=False,
        notes=found.notes,
    )


OCCLUDED_REID = DataSet(
    name="occluded-reid",
    title="Occluded-REID",
    read=read,
    expected={"": {"query": (200, 1_000), "gallery": (200, 1_000)}},
)
