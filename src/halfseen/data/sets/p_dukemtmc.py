"""P-DukeMTMC-reID (Zhuo et al., ICME 2018): occluded against whole people of DukeMTMC, one folder per person."""

from __future__ import annotations

from pathlib import Path

from halfseen.data.sets.folders import DataSet, Reading, find_root, read_people

TRAIN = ("train/occluded_body_images", "train/whole_body_images")
OCCLUDED, WHOLE = "test/occluded_body_images", "test/whole_body_images"


def read(root: Path, _variant: str) -> Reading:
    """Occluded people of the test half are looked for among its whole ones; both kinds serve to train."""
    found = find_root(root, (*TRAIN, OCCLUDED, WHOLE))
    return Reading(
        found.root,
        query=read_people(found.root, OCCLUDED, camid=0),
        gallery=read_people(found.root, WHOLE, camid=1),
        train=read_people(found.root, *TRAIN, camid=0),
        has_cameras=False,
        notes=found.notes,
    )


P_DUKEMTMC = DataSet(
    name="p-dukemtmc",
    title="P-DukeMTMC-reID",
    read=read,
    expected={"": {}},
    note="made of DukeMTMC's images: withdrawn by its authors; halfseen reads a copy that you hold and links to none",
)
