"""DukeMTMC-reID (Zheng et al., ICCV 2017) and Occluded-Duke (Miao et al., ICCV 2019): one layout, eight cameras."""

from __future__ import annotations

from pathlib import Path

from halfseen.data.sets.folders import DataSet, Reading, read_three_folders

WITHDRAWN = "withdrawn by its authors; halfseen reads a copy that you hold and links to none"


def read(root: Path, _variant: str) -> Reading:
    """The three folders."""
    return read_three_folders(root)


DUKEMTMC = DataSet(
    name="dukemtmc",
    title="DukeMTMC-reID",
    read=read,
    expected={"": {"train": (702, 16_522), "query": (702, 2_228), "gallery": (1_110, 17_661)}},
    cameras=8,
    note=WITHDRAWN,
    holistic=False,  # a fifth of its gallery hides people, as Re-Occluded-Duke's labels say
)

OCCLUDED_DUKE = DataSet(
    name="occluded-duke",
    title="Occluded-Duke",
    read=read,
    expected={"": {"train": (702, 15_618), "query": (519, 2_210), "gallery": (1_110, 17_661)}},
    cameras=8,
    note=f"made of DukeMTMC-reID's images: {WITHDRAWN}",
)
