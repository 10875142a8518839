"""Cue files: what goes in comes out, and what is wrong is refused in one sentence."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from halfseen.data import cues
from halfseen.data.cues import KeypointFile
from halfseen.ops import parts
from halfseen.ops.groupings import GROUPINGS
from halfseen.types import InputError

NAMES = ("query/0001_c1_1.jpg", "query/0002_c1_1.jpg", "train/ü.png")


def keypoints(rows: int = 3) -> Tensor:
    drawn = torch.rand(rows, 17, 3, generator=torch.Generator().manual_seed(0))
    return drawn * torch.tensor([100.0, 300.0, 1.0]) - torch.tensor([20.0, 20.0, 0.0])


def save_arrays(path: Path, **changed: Any) -> Path:
    arrays = {"names": np.array(NAMES), "keypoints": keypoints().numpy(), "source": np.array("by hand")} | changed
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keypoints.npz"


def test_what_is_saved_is_loaded(path: Path) -> None:
    cues.save_keypoints(path, KeypointFile(NAMES, keypoints(), "by hand"))
    loaded = cues.load_keypoints(path)
    assert (loaded.names, loaded.source, len(loaded)) == (NAMES, "by hand", 3)
    assert loaded.keypoints.dtype == torch.float32
    assert torch.equal(loaded.keypoints, keypoints())
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_an_empty_file_is_a_file(path: Path) -> None:
    cues.save_keypoints(path, KeypointFile((), torch.zeros(0, 17, 3), ""))
    found, missing = cues.load_keypoints(path).lookup(["a.jpg"])
    assert torch.equal(found, torch.zeros(1, 17, 3))
    assert missing == 1


def test_lookup_keeps_the_order_and_counts_what_is_missing() -> None:
    file = KeypointFile(NAMES, keypoints(), "by hand")
    found, missing = file.lookup([NAMES[2], "nobody.jpg", NAMES[0], NAMES[2]])
    assert missing == 1
    assert torch.equal(found, torch.stack([keypoints()[2], torch.zeros(17, 3), keypoints()[0], keypoints()[2]]))
    assert file.lookup([])[0].shape == (0, 17, 3)


@pytest.mark.parametrize("dtype", [">f4", np.float64, np.float16, np.int32, np.uint16])
def test_other_real_numbers_become_float32(path: Path, dtype: Any) -> None:
    whole = np.ones((3, 17, 3), dtype)
    assert torch.equal(cues.load_keypoints(save_arrays(path, keypoints=whole)).keypoints, torch.ones(3, 17, 3))


def changed(row: int, joint: int, column: int, value: float) -> np.ndarray[Any, Any]:
    array = keypoints().double().numpy()
    array[row, joint, column] = value
    return array


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no names": ({"names": None}, "lacks the array 'names'"),
    "no keypoints": ({"keypoints": None}, "lacks the array 'keypoints'"),
    "no source": ({"source": None}, "lacks the array 'source'"),
    "bytes as names": ({"names": np.array([b"a", b"b", b"c"])}, "expected a list of strings"),
    "names in a table": ({"names": np.array([["a"], ["b"], ["c"]])}, "expected a list of strings"),
    "two sources": ({"source": np.array(["a", "b"])}, "one string"),
    "pickled names": ({"names": np.array(NAMES, dtype=object)}, "plain arrays"),
    "words as keypoints": ({"keypoints": np.array(["a"])}, "expected real numbers"),
    "complex": ({"keypoints": np.ones((3, 17, 3), complex)}, "expected real numbers"),
    "a row too few": ({"keypoints": np.ones((2, 17, 3))}, r"\[2, 17, 3\]|\(2, 17, 3\)"),
    "18 joints": ({"keypoints": np.ones((3, 18, 3))}, r"expected \[3, 17, 3\]"),
    "no scores": ({"keypoints": np.ones((3, 17, 2))}, r"expected \[3, 17, 3\]"),
    "twice": ({"names": np.array(["a", "b", "a"])}, "'a' is listed more than once"),
    "NaN": ({"keypoints": changed(1, 3, 0, np.nan)}, r"row 1 \('query/0002_c1_1.jpg'\), left_ear is x=nan"),
    "infinite": ({"keypoints": changed(0, 0, 1, -np.inf)}, "nose is .* y=-inf .*finite"),
    "too far for float32": ({"keypoints": changed(2, 16, 0, 1e300)}, "right_ankle .* finite"),
    "far away": ({"keypoints": changed(2, 16, 0, -2e6)}, "at most 1e"),
    "score of 2": ({"keypoints": changed(2, 9, 2, 2.0)}, "left_wrist .* score=2; a score must lie between 0 and 1"),
    "negative score": ({"keypoints": changed(0, 9, 2, -0.1)}, "between 0 and 1"),
    "score NaN": ({"keypoints": changed(0, 9, 2, np.nan)}, "between 0 and 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_keypoint_file_is_refused(path: Path, case: str) -> None:
    arrays, sentence = WRONG[case]
    with pytest.raises(InputError, match=sentence) as caught:
        cues.load_keypoints(save_arrays(path, **arrays))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_what_is_no_archive_is_refused(path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        cues.load_keypoints(path)
    for content in (b"", b"not an archive", b"PK\x03\x04", b"\x93NUMPY\x01\x00"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"not a readable \.npz"):
            cues.load_keypoints(path)
    path.write_text("names and joints")
    with pytest.raises(InputError) as caught:
        cues.load_keypoints(path)
    assert "pickle" not in str(caught.value), "numpy would have it loaded unsafely"
    with pytest.raises(InputError, match="is a folder, no file"):
        cues.load_keypoints(path.parent)
    with path.open("wb") as out:
        np.save(out, np.ones(3))
    with pytest.raises(InputError, match="one array, not an archive"):
        cues.load_keypoints(path)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_archive_is_loaded_whole_or_refused(path: Path, data: st.DataObject) -> None:
    original = save_arrays(path).read_bytes()
    cut = data.draw(st.integers(0, len(original)), "length")
    damaged = bytearray(original[:cut])
    for place in data.draw(st.lists(st.integers(0, max(cut - 1, 0)), max_size=3), "places") if cut else []:
        damaged[place] ^= data.draw(st.integers(1, 255), "bits")
    path.write_bytes(damaged)
    with suppress(InputError):  # and nothing else
        loaded = cues.load_keypoints(path)
        assert loaded.keypoints.shape == (len(loaded.names), 17, 3)


def test_nothing_wrong_is_ever_saved() -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        KeypointFile(("a",), torch.full((1, 17, 3), 2.0), "")


def test_a_failed_save_leaves_the_old_file_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cues.save_keypoints(path, KeypointFile(NAMES, keypoints(), "old"))
    old = path.read_bytes()
    with path.open("rb") as reader:  # whoever reads while it is saved again reads all of the old file
        cues.save_keypoints(path, KeypointFile(NAMES[:1], keypoints(1), "old"))
        assert reader.read() == old

    def disk_full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", disk_full)
    with pytest.raises(InputError, match="No space left on device"):
        cues.save_keypoints(path, KeypointFile(NAMES, keypoints(), "new"))
    assert cues.load_keypoints(path).source == "old"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    with pytest.raises(InputError, match="cannot be written"):
        cues.save_keypoints(path / "below.npz", KeypointFile((), torch.zeros(0, 17, 3), ""))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("query/a_c1.jpg", "query/a_c1.jpg.npy"),
        ("query/a_c1.jpg", "query/a_c1.npy"),
        ("query/a_c1.jpg", "query/a_c1.jpg.confidence_fields.npy"),
        ("test/whole_body_images/001/a.jpg", "test/whole_body_images/a.npy"),  # released without folders of people
        ("test/whole_body_images/001/a.jpg", "test/whole_body_images/001/a.npy"),
        ("a.v2.png", "a.v2.npy"),
    ],
)
def test_fields_are_found_where_they_lie(tmp_path: Path, name: str, file: str) -> None:
    assert cues.find_fields(tmp_path, name) is None
    for folder in (cues.FIELDS_FOLDER, "masks/pifpaf"):
        target = tmp_path / folder / file
        target.parent.mkdir(parents=True)
        target.touch()
        assert cues.find_fields(tmp_path, name, folder) == target
    assert cues.find_fields(tmp_path, f"other/{name}") is None


@pytest.mark.parametrize("dtype", [">f4", np.float64, np.float16, np.uint8])
def test_fields_are_clamped_to_0_1(tmp_path: Path, dtype: Any) -> None:
    values = np.linspace(0, 2, 36 * 30 * 15).reshape(36, 30, 15).astype(dtype)
    np.save(tmp_path / "a.npy", values)
    loaded = cues.load_fields(tmp_path / "a.npy")
    assert (loaded.dtype, loaded.shape) == (torch.float32, (36, 30, 15))
    assert torch.equal(loaded, torch.from_numpy(values.astype(np.float32)).clamp(0, 1))


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.ones((30, 15, 36)), r"\[36, height, width\]"),
        (np.ones((36, 30)), r"\[36, height, width\]"),
        (np.ones((36, 0, 15)), r"\[36, height, width\]"),
        (np.array("a"), r"\[36, height, width\]"),
        (np.array([{}], dtype=object), "not a readable .npy"),
        (np.pad([[[np.nan]]], ((21, 14), (0, 0), (0, 0))), r"field 21 \(left_hip-right_hip\) holds NaN"),
    ],
)
def test_wrong_fields_are_refused(tmp_path: Path, array: np.ndarray[Any, Any], sentence: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match=sentence):
        cues.load_fields(tmp_path / "a.npy")


def test_what_holds_no_fields_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        cues.load_fields(tmp_path / "a.npy")
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match=r"not a readable \.npy"):
        cues.load_fields(tmp_path / "a.npy")
    with pytest.raises(InputError, match="an archive of several arrays"):
        cues.load_fields(save_arrays(tmp_path / "b.npz"))


@pytest.mark.parametrize("mode", ["L", "P", "I;16", "1"])
def test_part_labels_are_the_numbers_in_the_image(tmp_path: Path, mode: str) -> None:
    numbers = np.array([[0, 1, 1], [1, 0, 0]] if mode == "1" else [[0, 1, 8], [8, 2, 0]])
    image = Image.fromarray(numbers.astype({"1": bool, "I;16": np.uint16}.get(mode, np.uint8)))
    if mode == "P":
        image.putpalette([9, 9, 9] * 256)
    image.save(tmp_path / "a.png")
    labels = cues.load_part_labels(tmp_path / "a.png", parts=8)
    assert labels.dtype == torch.int64
    assert labels.tolist() == numbers.tolist()


def test_wrong_part_labels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with pytest.raises(InputError, match="no such file"):
        cues.load_part_labels(path)
    Image.new("RGB", (3, 2)).save(path)
    with pytest.raises(InputError, match="mode RGB"):
        cues.load_part_labels(path)
    Image.new("L", (3, 2), 9).save(path)
    assert cues.load_part_labels(path).tolist() == [[9, 9, 9], [9, 9, 9]]
    with pytest.raises(InputError, match="label 9; with 8 parts"):
        cues.load_part_labels(path, parts=8)
    path.write_bytes(path.read_bytes()[:45])
    with pytest.raises(InputError, match="not a readable PNG"):
        cues.load_part_labels(path)
    Image.new("L", (3, 2)).save(tmp_path / "b.jpg")
    with pytest.raises(InputError, match="not a readable PNG"):
        cues.load_part_labels(tmp_path / "b.jpg")


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


@pytest.mark.data
def test_real_keypoints_load_and_make_plausible_parts() -> None:
    folder = os.environ.get("HALFSEEN_DATA")
    if folder is None:
        pytest.skip("HALFSEEN_DATA is not set to a folder with cuhk03-np and partial-reid")
    for data_set, count in (("cuhk03-np/detected", 14_097), ("partial-reid", 900)):
        root = Path(folder) / data_set
        file = cues.load_keypoints(root / "keypoints.npz")
        assert len(file) == count
        chosen = [name for name in file.names if name.startswith(("bounding_box_train", "whole_body"))][::25]
        people, missing = file.lookup(chosen)
        assert missing == 0
        stretch = torch.tensor([[128 / w, 256 / h, 1] for w, h in map(size_of, (root / name for name in chosen))])
        maps = parts.group(parts.fields(people * stretch[:, None], (256, 128), (64, 32)), GROUPINGS["three"])
        labels = parts.part_labels(parts.with_background(maps))
        rows = torch.arange(64)[:, None].expand_as(labels)
        head, upper, lower = (labels == part for part in (1, 2, 3))
        assert rows[head].float().mean() < 16 < rows[upper].float().mean() < 32 < rows[lower].float().mean() < 54
        areas = [part.float().mean().item() for part in (head, upper, lower)]
        assert 0.03 < areas[0] < 0.07 < min(areas[1:])
        assert 0.3 < sum(areas) < 0.6
