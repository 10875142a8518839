"""Sets and cues are found by name, or it is said what is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from halfseen.data.cues import FIELDS_FOLDER, KeypointFile, load_keypoints, save_keypoints
from halfseen.data.finding import find_cues, read_named
from halfseen.data.variants import occluded, partial
from halfseen.types import InputError, Splits
from standins import draw_set, read_drawn


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return draw_set(tmp_path / "set")


@pytest.fixture
def splits(root: Path) -> Splits:
    return read_drawn(root)


def label(root: Path, splits: Splits) -> None:
    """Part labels of the training pictures: numbers 0 to 9, one a row."""
    for sample in splits.train:
        path = (root / "parts" / sample.name).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.arange(10, dtype=np.uint8).repeat(4)[:, None].repeat(3, axis=1)).save(path)


def spread(root: Path, splits: Splits) -> None:
    """Confidence fields of the training pictures."""
    for sample in splits.train:
        path = root / FIELDS_FOLDER / f"{sample.name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.full((36, 4, 2), 0.25, np.float32))


# --- Sets ---


@pytest.mark.parametrize(
    "name", ["market1501", "market1501+partial", "market1501+occluded@3", "market1501+partial+occluded"]
)
def test_a_set_is_read_by_the_name_that_it_bears(name: str, root: Path) -> None:
    said: list[str] = []
    splits = read_named(name, root, said.append)
    assert splits.name == name
    assert [line[:40] for line in said] == ["note: no split has the published counts "]


def test_what_a_set_leaves_out_is_said(root: Path) -> None:
    (root / "query/nobody.jpg").write_bytes(b"")
    said: list[str] = []
    read_named("market1501", root, said.append)
    assert said[1:] == ["note: query: 1 image names were not understood and left out: 'query/nobody.jpg'"]


def test_variants_are_those_of_the_package(root: Path, splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALFSEEN_DATA", str(root))
    assert read_named("market1501").train == splits.train
    assert read_named("market1501+occluded@3").query == occluded(splits, 3).query
    assert read_named("market1501+partial").gallery == partial(splits).gallery


@pytest.mark.parametrize(
    ("name", "label"),
    [("market1501", "HOLISTIC"), ("dukemtmc", "UNKNOWN"), ("occluded-duke", "UNKNOWN")],
)
def test_only_sets_of_whole_people_become_holistic(name: str, label: str, root: Path) -> None:
    made = read_named(f"{name}+occluded", root)
    assert {sample.occlusion.name for sample in made.train + made.gallery} == {label}
    assert not {sample.occlusion.name for sample in made.query} & {"UNKNOWN", "HOLISTIC"}


def test_what_comes_with_halfseen_is_never_another_set(tmp_path: Path) -> None:
    """`--data world --data street --root WORLD`, say."""
    assert read_named("street", tmp_path).root == read_named("street").root


def test_pictures_named_by_absolute_paths_are_no_cues_of_themselves(root: Path, splits: Splits) -> None:
    samples = []
    for row, sample in enumerate(splits.train):
        path = root.parent / f"elsewhere/{row}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (16, 32)).save(path)
        samples.append(replace(sample, path=path, name=path.as_posix()))
        np.save(path.with_suffix(".npy"), np.zeros((36, 4, 2), np.float32))
    names = tuple(sample.name for sample in samples)
    points = load_keypoints(root / "keypoints.npz").lookup([sample.name for sample in splits.train])[0]
    save_keypoints(root / "keypoints.npz", KeypointFile(names, points, "drawn"))
    cues = find_cues(replace(splits, train=tuple(samples)), samples, {"parts", "fields", "keypoints"})
    assert cues.keypoints is not None
    assert torch.equal(cues.keypoints, points)


@pytest.mark.parametrize("seed", ["x", "-1", "1.5"])
def test_seeds_that_are_none(seed: str, root: Path) -> None:
    with pytest.raises(InputError, match=f"the seed '{seed}' behind @ is no whole number; write one from 0 on"):
        read_named(f"market1501+partial@{seed}", root)


@pytest.mark.parametrize("rule", ["hidden", "", "hidden@x"])
def test_unknown_variants(rule: str, root: Path) -> None:
    with pytest.raises(InputError, match=r"write market1501\+partial or market1501\+occluded"):
        read_named(f"market1501+{rule}", root)


def test_without_a_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HALFSEEN_DATA", raising=False)
    with pytest.raises(InputError, match="no folder is named for market1501; give --root FOLDER"):
        read_named("market1501+partial")


# --- Cues ---


def test_what_knows_most_comes_first(root: Path, splits: Splits) -> None:
    cues = find_cues(splits, splits.train, {"parts", "fields", "keypoints"})
    assert cues.keypoints is not None
    want = load_keypoints(root / "keypoints.npz").lookup([sample.name for sample in splits.train])[0]
    assert torch.equal(cues.keypoints, want)
    spread(root, splits)
    cues = find_cues(splits, splits.train, {"parts", "fields", "keypoints"})
    assert (cues.keypoints, cues.parts) == (None, None)
    assert cues.fields is not None
    assert torch.equal(cues.fields(splits.train[0]), torch.full((36, 4, 2), 0.25))
    label(root, splits)
    cues = find_cues(splits, splits.train, {"parts", "fields", "keypoints"})
    assert (cues.keypoints, cues.fields) == (None, None)
    assert cues.parts is not None
    assert find_cues(splits, splits.train, {"keypoints"}).keypoints is not None
    assert vars(find_cues(splits, splits.train, ())) == {"keypoints": None, "fields": None, "parts": None}


@pytest.mark.parametrize(
    ("grouping", "numbers"),
    [
        ("eight", [0, 1, 2, 3, 4, 5, 6, 7, 8, 0]),
        ("six", [0, 1, 3, 4, 2, 5, 5, 6, 6, 0]),
        ("five", [0, 1, 2, 2, 3, 4, 4, 5, 5, 0]),
        ("two", [0, 1, 1, 1, 1, 2, 2, 2, 2, 0]),
        ("one", [0, *[1] * 8, 0]),
    ],
)
def test_part_labels_in_the_numbers_of_a_grouping(
    grouping: str, numbers: list[int], root: Path, splits: Splits
) -> None:
    label(root, splits)
    parts = find_cues(splits, splits.train, {"parts"}, grouping).parts
    assert parts is not None
    labels = parts(splits.train[0])
    assert labels.shape == (40, 3)
    assert labels.dtype == torch.uint8
    assert labels[::4, 0].tolist() == numbers


def test_no_cue_at_all(root: Path, splits: Splits) -> None:
    (root / "keypoints.npz").unlink()
    with pytest.raises(InputError, match=r"market1501 has .*part labels.*keypoints.*`halfseen world render`") as error:
        find_cues(splits, splits.train, {"parts", "keypoints"})
    assert "fields" not in str(error.value)


def test_keypoints_of_other_pictures(root: Path, splits: Splits) -> None:
    strangers = [replace(sample, name=f"x{sample.name}") for sample in splits.train]
    with pytest.raises(InputError, match="tells nothing of 12 of the 12 pictures asked for, among them x") as error:
        find_cues(splits, strangers, {"keypoints"})
    said = str(error.value)
    assert said.startswith(f"{root / 'keypoints.npz'}: ")
    assert f"{strangers[0].name}, but of others (bounding_box_train/0011_c1_000.png); `halfseen cues make`" in said
    with pytest.raises(InputError, match=r"nothing of 3 of the 4 pictures .*xbounding_box_train/0011_c1_000\.png; "):
        find_cues(splits, [splits.train[5], *strangers[:3]], {"keypoints"})


def test_keypoints_that_do_not_fit(root: Path, splits: Splits) -> None:
    file = load_keypoints(root / "keypoints.npz")
    far = file.keypoints.clone()
    far[file.names.index(splits.train[2].name), 4] = torch.tensor([500.0, 5.0, 1.0])
    save_keypoints(root / "keypoints.npz", replace(file, keypoints=far))
    with pytest.raises(InputError, match=f"{splits.train[2].name} is 20 x 40 pixels, its right_ear x=500 y=5 score=1"):
        find_cues(splits, splits.train, {"keypoints"})
    assert find_cues(splits, splits.train[3:], {"keypoints"}).keypoints is not None
    save_keypoints(root / "keypoints.npz", replace(file, keypoints=0 * far))
    with pytest.raises(InputError, match="all scores are 0 for the 12 pictures asked for"):
        find_cues(splits, splits.train, {"keypoints"})


@pytest.mark.parametrize("kind", ["parts", "fields"])
def test_what_cannot_be_read_is_told_before_the_training(kind: str, root: Path, splits: Splits) -> None:
    sample = splits.train[7]
    if kind == "parts":
        label(root, splits)
        path = (root / "parts" / sample.name).with_suffix(".png")
    else:
        spread(root, splits)
        path = root / FIELDS_FOLDER / f"{sample.name}.npy"
    path.write_bytes(path.read_bytes()[:45])
    with pytest.raises(InputError, match=f"{path.name}: not a readable"):
        find_cues(splits, splits.train, {"parts", "fields", "keypoints"})


@pytest.mark.parametrize(
    ("make", "folder", "what"), [(label, "parts", "part labels"), (spread, FIELDS_FOLDER, "confidence fields")]
)
def test_some_pictures_without(
    make: Callable[[Path, Splits], None], folder: str, what: str, root: Path, splits: Splits
) -> None:
    make(root, splits)
    min((root / folder).rglob("*.*")).unlink()
    with pytest.raises(InputError, match=f"1 of 12 pictures in .* have no {what}, among them bounding_box_train/0011"):
        find_cues(splits, splits.train, {"parts", "fields"})


def test_what_would_do_instead_is_named(root: Path, splits: Splits) -> None:
    def said() -> str:
        with pytest.raises(InputError) as refusal:
            find_cues(splits, splits.train, ["fields"], instead={"keypoints", "parts"})
        return str(refusal.value)

    start = f"--cue fields asks for confidence fields, of which market1501 has none for its pictures in {root}; it has "
    assert said() == f"{start}keypoints: choose --cue keypoints or auto"
    label(root, splits)
    assert said() == f"{start}part labels and keypoints: choose --cue parts, keypoints or auto"
    (root / "keypoints.npz").unlink()
    assert said() == f"{start}part labels: choose --cue parts or auto"
    min((root / "parts").rglob("*.png")).unlink()
    assert "has no part labels and no confidence fields and no keypoints for its pictures" in said()
    spread(root, splits)
    with pytest.raises(InputError, match="; it has confidence fields: choose --cue fields or auto"):
        find_cues(splits, splits.train, ["keypoints"], instead={"fields"})
