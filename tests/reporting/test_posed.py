"""The page about a method that needs keypoints, on a set that knows more than these."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

import torch

from halfseen.data.cues import save_part_labels
from halfseen.evaluate import DISTANCES, evaluate
from halfseen.ops.distance import CoarseToFine
from halfseen.report import examine, open_run, page
from halfseen.reporting import tables
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


def test_together_parts_score_as_the_method_does(place: Path, tmp_path: Path) -> None:
    """Pirt goes from coarse to fine; its parts alone are compared otherwise, and the caption says so."""
    found = examine(open_run(place / "posed"), read_drawn(draw_set(tmp_path / "set")))
    assert isinstance(found.distance, CoarseToFine)
    scores = evaluate(found.query, found.gallery, distance=DISTANCES["parts"], protocols=[found.protocol])
    told = replace(found, scores={name: replace(each, mAP=0.123) for name, each in scores.items()})
    rows = rows_of(tables.part_table(told), "Each part alone")
    assert rows["together"][0] == "12.3"
    assert "; together they are compared as the method has it" in tables.part_table(told)
    blind = replace(found.distance, confidence="none")
    (want,) = evaluate(found.query, found.gallery, distance=blind, protocols=[found.protocol]).values()
    assert rows["together, all taken for seen"][0] == f"{100 * want.mAP:.1f}"
