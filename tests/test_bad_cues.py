"""Keypoints that cannot be used stop a training before it has begun: one sentence, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from halfseen.data.cues import load_keypoints
from standins import draw_set

Refused = Callable[..., str]
Rows = NDArray[np.float32]
SPLITS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}


def spoilt(rows: Rows, names: list[str], how: str, where: str) -> tuple[Rows, list[str], str]:
    """`rows` of `names` with a fault in the pictures of a folder `where`, and what is said of it."""
    here = [row for row, name in enumerate(names) if name.startswith(f"{where}/")]
    first, kept = here[0], [*range(len(names))]
    named = names[first]
    match how:
        case "missing":
            kept.remove(first)
            said = f"tells nothing of 1 of the {len(here)} pictures asked for"
        case "others":
            names = [f"else/{name}" for name in names]
            said = f"among them {named}, but of others (else/"
        case "zeros":
            rows[here, :, 2] = 0
            said = f"all scores are 0 for the {len(here)} pictures asked for, beginning with {named}"
        case "nan":
            rows[first, 3, 0] = np.nan
            said = f"row {first} ('{named}'), left_ear is x=nan"
        case "shape":
            rows = rows[:, :16]
            said = "keypoints have shape"
        case "outside":
            rows[first, :, 0] += 1000
            said = f"{named} is 8 x 12 pixels, its nose x="
        case _:
            rows[..., :2] *= 1.5
            said = "it was made for larger pictures: "
    return rows[kept], [names[row] for row in kept], said


@pytest.mark.parametrize(
    ("how", "where"),
    [
        *((how, "train") for how in ("missing", "others", "zeros", "nan", "shape", "outside", "size")),
        *((how, split) for how in ("missing", "zeros", "outside") for split in ("query", "gallery")),
    ],
)
def test_no_training_begins(
    how: str, where: str, tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALFSEEN_CACHE", str(tmp_path / "cache"))
    root = draw_set(tmp_path / "set", people=10, images=4, size=(12, 8))
    place = root / "keypoints.npz"
    known = load_keypoints(place)
    rows, names, said = spoilt(known.keypoints.numpy().copy(), [*known.names], how, SPLITS[where])
    np.savez(place, keypoints=rows, names=np.array(names), source=np.array("by hand"))
    words = ("--data", "market1501", "--root", root, "--out", tmp_path / "run", "--weights", "none")
    told = refused("train", "pirt", *words, "--config.backbone", "test_efficientnet")
    assert told.startswith(f"halfseen: {place}: ")
    assert said in told
    assert not (tmp_path / "run").exists()
