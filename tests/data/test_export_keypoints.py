"""Keypoints go with their pictures into an export, under the new names."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from PIL import Image

from halfseen.data.cues import KeypointFile, load_keypoints, save_keypoints
from halfseen.data.export import export
from halfseen.data.finding import find_cues, read_named
from halfseen.data.sets import read_set
from halfseen.data.variants import occluded, partial
from halfseen.types import InputError, Splits

Plant = Callable[[Iterable[str]], Path]

NAMES = (
    *(f"set/bounding_box_train/{pid:04d}_c1_00.jpg" for pid in (11, 12, 13, 14)),
    *(f"set/query/{pid:04d}_c1_00.png" for pid in (1, 2)),
    *(f"set/bounding_box_test/{pid:04d}_c2_00.bmp" for pid in (1, 2, 3)),
)


@pytest.fixture
def splits(plant: Plant) -> Splits:
    return read_set("market1501", plant(NAMES) / "set")


def points_of(splits: Splits, *left_out: str) -> dict[str, torch.Tensor]:
    """Random keypoints [17,3] of all pictures but some, saved beside them, in an order of their own."""
    names = sorted({s.name for s in (*splits.train, *splits.query, *splits.gallery)} - {*left_out}, reverse=True)
    points = torch.rand(len(names), 17, 3, generator=torch.Generator().manual_seed(3))
    points[..., :2] *= 8
    save_keypoints(splits.root / "keypoints.npz", KeypointFile(tuple(names), points, "drawn by dice"))
    return dict(zip(names, points, strict=True))


def originals(out: Path) -> dict[str, str]:
    """The name in the set by the name in the export, as the manifest says."""
    with (out / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return {row["path"]: row["original"] for row in csv.DictReader(file)}


@pytest.mark.parametrize("variant", [None, partial, occluded])
def test_keypoints_go_along_under_the_new_names(
    variant: Callable[[Splits], Splits] | None, splits: Splits, tmp_path: Path
) -> None:
    missing = "query/0002_c1_00.png"
    points, out = points_of(splits, missing), tmp_path / "out"
    export(variant(splits) if variant else splits, out)
    got, old = load_keypoints(out / "keypoints.npz"), originals(out)
    assert (list(got.names), got.source) == ([name for name in old if old[name] != missing], "drawn by dice")
    assert len(old) == len(NAMES) == len(got) + 1
    cut = list[bool]()
    for name, found in zip(got.names, got.keypoints, strict=True):
        with Image.open(out / name) as made, Image.open(splits.root / old[name]) as picture:
            cut.append(made.height < picture.height)
            there = (points[old[name]][:, 1] <= made.height - 0.5) | (not cut[-1])
        assert torch.equal(found[:, :2], points[old[name]][:, :2])
        assert torch.equal(found[:, 2], points[old[name]][:, 2].where(there, 0))
    assert any(cut) == (variant is partial)


def test_an_exported_variant_is_learned_from_with_its_own_keypoints(tmp_path: Path) -> None:
    splits, out = partial(read_named("street")), tmp_path / "out"
    export(splits, out)
    again = read_named("manifest", out)
    for split, samples in again.by_name.items():
        cues = find_cues(again, samples, {"keypoints"})  # refuses what cannot be of these pictures
        assert cues.keypoints is not None, split
        assert 0.3 < float((cues.keypoints[..., 2] > 0).float().mean()) < 0.95


def test_a_second_run_leaves_them_equal(splits: Splits, tmp_path: Path) -> None:
    points_of(splits)
    export(splits, tmp_path / "out")
    before = load_keypoints(tmp_path / "out/keypoints.npz")
    export(splits, tmp_path / "out")
    after = load_keypoints(tmp_path / "out/keypoints.npz")
    assert (after.names, after.source) == (before.names, before.source)
    assert torch.equal(after.keypoints, before.keypoints)
    assert not list((tmp_path / "out").rglob("*.part"))


def test_a_set_without_keypoints_is_exported_without(splits: Splits, tmp_path: Path) -> None:
    export(splits, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.npz"))


def test_damaged_keypoints_are_refused_before_the_manifest_is_written(splits: Splits, tmp_path: Path) -> None:
    (splits.root / "keypoints.npz").write_bytes(b"<html>")
    with pytest.raises(InputError, match=r"set/keypoints\.npz"):
        export(splits, tmp_path / "out")
    assert not [name for name in ("manifest.csv", "keypoints.npz") if (tmp_path / "out" / name).exists()]


def test_occluded_says_whose_pictures_were_cut(splits: Splits) -> None:
    assert occluded(splits).notes[-1].endswith("; cut from training pictures of other people")
    bare = Splits("toy", splits.root, (), splits.query, splits.gallery)
    assert occluded(bare).notes[-1].endswith("; cut from gallery, for want of training pictures of other people")
