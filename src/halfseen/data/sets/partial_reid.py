"""Partial-REID (Zheng et al., ICCV 2015): a test set without cameras, five images per person and folder."""

from __future__ import annotations

from pathlib import Path

from halfseen.data.sets.folders import DataSet, Reading, find_root, read_people

WHOLE = "whole_body_images"
COUNTS = {"query": (60, 300), "gallery": (60, 300)}


def read(root: Path, variant: str) -> Reading:
    """Partial people (cut out by hand), or occluded ones (before the cut), are looked for among whole ones."""
    hidden = f"{variant}_body_images"
    found = find_root(root, (hidden, WHOLE))
    return Reading(
        found.root,
        query=read_people(found.root, hidden, camid=0),
        gallery=read_people(found.root, WHOLE, camid=1),
        has_cameras=False,
        notes=found.notes,
    )


PARTIAL_REID = DataSet(
    name="partial-reid",
    title="Partial-REID",
    read=read,
    expected={"partial": COUNTS, "occluded": COUNTS},
    variants=("partial", "occluded"),
)
