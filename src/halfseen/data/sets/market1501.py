"""Market-1501 (Zheng et al., ICCV 2015): six cameras, boxes of a detector."""

from __future__ import annotations

from pathlib import Path

from halfseen.data.sets.folders import DataSet, Reading, read_three_folders


def read(root: Path, _variant: str) -> Reading:
    """The three folders; the gallery keeps the distractors of pid 0 and loses the junk of pid -1."""
    return read_three_folders(root)


MARKET1501 = DataSet(
    name="market1501",
    title="Market-1501",
    read=read,
    # 19,732 images are published for the gallery; 3,819 of them are junk
    expected={"": {"train": (751, 12_936), "query": (750, 3_368), "gallery": (750, 19_732 - 3_819)}},
    cameras=6,
    distractor=0,
    holistic=True,
)
