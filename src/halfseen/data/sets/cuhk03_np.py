"""CUHK03 under the new protocol (Zhong et al., CVPR 2017): two cameras, boxes of a detector or drawn by hand."""

from __future__ import annotations

from pathlib import Path

from halfseen.data.sets.folders import DataSet, Reading, read_three_folders


def read(root: Path, variant: str) -> Reading:
    """The three folders inside the one that is named as the variant."""
    return read_three_folders(root, named=variant)


CUHK03_NP = DataSet(
    name="cuhk03-np",
    title="CUHK03-NP",
    read=read,
    expected={
        "detected": {"train": (767, 7_365), "query": (700, 1_400), "gallery": (700, 5_332)},
        "labeled": {"train": (767, 7_368), "query": (700, 1_400), "gallery": (700, 5_328)},
    },
    variants=("detected", "labeled"),
    cameras=2,
    holistic=True,
)
