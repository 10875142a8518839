"""The page about a method that needs keypoints, on a set that knows more than these."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import torch

from halfseen.data.cues import save_part_labels
from halfseen.report import examine, open_run, page
from page_reader import rows_of
from standins import draw_set, read_drawn


def test_the_method_is_given_its_own_cues_and_the_page_the_best(place: Path, tmp_path: Path) -> None:
    root = draw_set(tmp_path / "set")
    splits = read_drawn(root)
    labels = torch.arange(40)[:, None].expand(40, 20).div(5, rounding_mode="floor").to(torch.uint8)
    for sample in splits.query:
        path = root / "parts" / PurePosixPath(sample.name).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        save_part_labels(path, labels, [(part, part, part) for part in range(9)])
    result = examine(open_run(place / "posed"), splits)
    assert result.names == ("stripes", "patches", "upper", "lower", "head")
    text = page([result], queries=2)
    assert "part labels from cues" in text
    alone = rows_of(text, "Each part alone, protocol market")
    assert list(alone)[:6] == [*result.names, "together"]
