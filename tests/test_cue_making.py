"""Keypoints are made for every picture, wherever the work was stopped, and are never half a file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import pose_stand_in
from halfseen.cue_making import CHUNK, Ask, Report, draw_sheet, make_cues
from halfseen.data.cues import FIELDS_FOLDER, KeypointFile, load_keypoints, save_keypoints
from halfseen.data.images import read_image
from halfseen.estimators import ESTIMATORS
from halfseen.ops.groupings import JOINTS
from halfseen.types import InputError, Sample
from pose_stand_in import alone, ask, large_set, person_of, stand_in

SmallDisk = Callable[[int], AbstractContextManager[None]]
COUNT = 109


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "set"


@pytest.fixture
def samples(root: Path) -> list[Sample]:
    made = large_set(root)
    (root / "keypoints.npz").unlink()
    assert len(made) == COUNT
    return made


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ESTIMATORS, "mediapipe", stand_in(alone))


def want(samples: list[Sample]) -> Tensor:
    return torch.stack([person_of(read_image(sample.path)) for sample in samples])


def make(samples: list[Sample], root: Path, **more: object) -> Report:
    return make_cues(ask(samples, root), samples, root / "keypoints.npz", workers=1, **more)  # type: ignore[arg-type]


def hidden(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.name.startswith("."))


def test_every_picture_has_its_row(samples: list[Sample], root: Path) -> None:
    said: list[tuple[int, int]] = []
    report = make(samples, root, progress=lambda *done: said.append(done))
    file = load_keypoints(root / "keypoints.npz")
    assert file.names == tuple(sample.name for sample in samples)
    assert torch.equal(file.keypoints, want(samples))
    assert file.source == pose_stand_in.SOURCE
    assert torch.equal(report.keypoints, file.keypoints)
    assert (report.made, report.several, report.nobody) == (COUNT, 0, [])
    assert said == [(0, COUNT), (32, COUNT), (64, COUNT), (96, COUNT), (COUNT, COUNT)]
    assert hidden(root) == []


def test_a_picture_in_two_splits_is_looked_at_once(samples: list[Sample], root: Path) -> None:
    report = make([*samples[:3], *samples[:3]], root)
    assert (report.made, len(report.file)) == (3, 3)


def test_the_target_is_the_one_in_the_middle_and_the_others_are_counted(
    samples: list[Sample], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    middle, aside = torch.zeros(17, 3), torch.zeros(17, 3)
    middle[:] = torch.tensor([3.5, 5.5, 0.5])
    aside[:] = torch.tensor([1.0, 5.5, 1.0])
    crowds = iter([torch.stack([aside, middle]), middle[None], torch.zeros(0, 17, 3), torch.stack([aside] * 3)])
    monkeypatch.setitem(ESTIMATORS, "mediapipe", stand_in(lambda _: next(crowds)))
    report = make(samples[:4], root)
    assert torch.equal(report.keypoints, torch.stack([middle, middle, torch.zeros(17, 3), aside]))
    assert report.several == 2
    assert report.nobody == [samples[2].name]
    assert report.scores.tolist() == pytest.approx([(0.5 + 0.5 + 1) / 3] * 17)


def test_what_lies_outside_scores_nothing(samples: list[Sample], root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    person = torch.tensor([4.0, 6.0, 0.9]).repeat(17, 1)
    person[3, 0], person[4, 1] = 8.0, -1.0
    monkeypatch.setitem(ESTIMATORS, "mediapipe", stand_in(lambda _: person[None]))
    report = make(samples[:1], root)
    assert report.keypoints[0, :, 2].tolist() == pytest.approx([0.9] * 3 + [0, 0] + [0.9] * 12)
    assert report.nobody == []  # somebody, of whom not all is seen


class StopError(Exception):
    """Whatever may go wrong."""


def stop_after(chunks: int, how: type[BaseException]) -> Callable[[int, int], None]:
    def hear(done: int, _all: int) -> None:
        if done >= chunks * CHUNK:
            raise how

    return hear


@pytest.mark.parametrize("how", [KeyboardInterrupt, StopError])
def test_a_stopped_work_goes_on(
    how: type[BaseException], samples: list[Sample], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(how):
        make(samples, root, progress=stop_after(2, how))
    assert hidden(root) == [".keypoints.npz.shards"]
    assert not (root / "keypoints.npz").exists()
    looked: list[Tensor] = []

    def look(image: Tensor) -> Tensor:
        looked.append(image)
        return alone(image)

    monkeypatch.setitem(ESTIMATORS, "mediapipe", stand_in(look))
    said: list[tuple[int, int]] = []
    report = make(samples, root, progress=lambda *done: said.append(done))
    assert len(looked) == COUNT - 2 * CHUNK
    assert said[0] == (2 * CHUNK, COUNT)
    assert torch.equal(report.keypoints, want(samples))
    assert hidden(root) == []


def test_a_killed_work_goes_on(samples: list[Sample], root: Path) -> None:
    program = [sys.executable, str(Path(pose_stand_in.__file__)), str(root), str(root / "keypoints.npz")]
    with subprocess.Popen(program) as process:
        shards = root / ".keypoints.npz.shards"
        for _ in range(6000):  # patient: importing torch takes a minute on a busy machine
            if shards.is_dir() and len([*shards.glob("*.npz")]) >= 2:
                break
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    done = len([path for path in shards.glob("*.npz") if not path.name.startswith(".")])
    assert 2 <= done <= 4
    assert not (root / "keypoints.npz").exists()
    (shards / ".12345678.part").write_bytes(b"half")  # what was being written
    next(shards.glob("[0-9a-f]*.npz")).write_bytes(b"")  # as the loss of power may leave it
    report = make(samples, root)
    assert torch.equal(report.keypoints, want(samples))
    assert hidden(root) == []


def test_another_source_begins_anew_and_leaves_the_first_alone(
    samples: list[Sample], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StopError):
        make(samples, root, progress=stop_after(2, StopError))
    with monkeypatch.context() as patch:
        patch.setitem(ESTIMATORS, "mediapipe", stand_in(lambda image: alone(image) * 0.5, "stand-in 2"))
        other = make_cues(ask(samples, root), samples, root / "other.npz", workers=1)
    assert torch.equal(other.keypoints, want(samples) * 0.5)
    said: list[tuple[int, int]] = []
    assert torch.equal(make(samples, root, progress=lambda *done: said.append(done)).keypoints, want(samples))
    assert said[0] == (2 * CHUNK, COUNT)


def test_what_another_source_began_in_the_same_place_is_not_taken_over(
    samples: list[Sample], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StopError):
        make(samples, root, progress=stop_after(2, StopError))
    monkeypatch.setitem(ESTIMATORS, "mediapipe", stand_in(lambda image: alone(image) * 0.5, "stand-in 2"))
    assert torch.equal(make(samples, root).keypoints, want(samples) * 0.5)


def test_large_networks_look_in_this_process_unless_workers_are_asked_for(
    samples: list[Sample], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each other process would hold the network once more, and would know nothing of this stand-in."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setitem(ESTIMATORS, "keypointrcnn", stand_in(alone))
    report = make_cues(replace(ask(samples, root), estimator="keypointrcnn"), samples, root / "keypoints.npz")
    assert torch.equal(report.keypoints, want(samples))


def test_rows_are_added_where_the_source_is_the_same(samples: list[Sample], root: Path) -> None:
    make(samples[:40], root)
    before = (root / "keypoints.npz").stat().st_mtime_ns
    again = make(samples[:40], root)
    assert (again.made, (root / "keypoints.npz").stat().st_mtime_ns) == (0, before)
    assert torch.equal(again.keypoints, want(samples[:40]))
    more = make(samples[30:60], root)
    assert more.made == 20
    assert torch.equal(more.keypoints, want(samples[30:60]))
    assert load_keypoints(root / "keypoints.npz").names == tuple(sample.name for sample in samples[:60])


def test_what_is_from_elsewhere_is_not_lost(samples: list[Sample], root: Path) -> None:
    out = root / "keypoints.npz"
    save_keypoints(out, KeypointFile((samples[0].name,), torch.ones(1, 17, 3), "known exactly"))
    before = out.read_bytes()
    with pytest.raises(InputError, match=r"keypoints\.npz holds keypoints from another source \('known exactly', not"):
        make(samples, root)
    assert out.read_bytes() == before
    assert torch.equal(make(samples, root, replace=True).keypoints, want(samples))


def test_a_broken_picture_is_told_with_what_is_done(samples: list[Sample], root: Path) -> None:
    samples[70].path.write_bytes(b"no picture")
    with pytest.raises(
        InputError, match=f"{samples[70].path.name} is not a picture .*; 64 of 109 pictures are done, and"
    ):
        make(samples, root)
    assert not (root / "keypoints.npz").exists()


def test_a_full_disk_is_told(samples: list[Sample], root: Path, small_disk: SmallDisk) -> None:
    with (
        small_disk(2000),
        pytest.raises(InputError, match=r"cannot be written .*; .*(make room there|yours)$"),
    ):
        make(samples, root)
    assert hidden(root) == []
    assert torch.equal(make(samples, root).keypoints, want(samples))


def test_places_that_cannot_be(samples: list[Sample], root: Path) -> None:
    with pytest.raises(InputError, match=r"keypoints\.txt does not end in \.npz"):
        make_cues(ask(samples, root), samples, root / "keypoints.txt")
    with pytest.raises(InputError, match=r"nothing can be written there .* choose a place with --out"):
        make_cues(ask(samples, root), samples, root / "gone/keypoints.npz", workers=1)
    with pytest.raises(InputError, match="holds no pictures to look at"):
        make_cues(ask((), root), (), root / "keypoints.npz")
    with pytest.raises(InputError, match="0 workers cannot look at anything"):
        make_cues(ask(samples, root), samples, root / "keypoints.npz", workers=0)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"results": Path("a.json")}, "--results is for coco-json and bpbreid-fields; mediapipe looks at pictures"),
        ({"estimator": "coco-json"}, "coco-json: --results is missing; name the JSON file or folder of the other tool"),
        ({"estimator": "coco-json", "results": Path("gone.json")}, r"--results gone\.json does not exist; name"),
        ({"estimator": "coco-json", "weights": Path("a.pth")}, "--weights is for networks; coco-json reads"),
        ({"estimator": "bpbreid-fields", "weights": Path("a.pth")}, "--weights is for networks; bpbreid-fields reads"),
    ],
)
def test_questions_that_make_no_sense(
    changed: dict[str, object], sentence: str, samples: list[Sample], root: Path
) -> None:
    wrong = replace(ask(samples, root), **changed)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=sentence):
        make_cues(wrong, samples, root / "keypoints.npz")
    assert hidden(root) == []


# --- What other tools have left ---


def test_results_of_another_tool(samples: list[Sample], root: Path, tmp_path: Path) -> None:
    entries = [
        {"image_id": sample.name, "keypoints": person_of(read_image(sample.path)).flatten().tolist()}
        for sample in samples[1:]
    ]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(entries))
    names = tuple(sample.name for sample in samples)
    told = Ask("coco-json", root, names, results=path)
    report = make_cues(told, samples, root / "keypoints.npz", workers=1)
    assert torch.allclose(report.keypoints[1:], want(samples)[1:])
    assert report.nobody == [samples[0].name]
    assert report.file.source.startswith("coco-json results.json ")
    path.write_text(json.dumps(entries[1:]))
    assert Ask("coco-json", root, names, results=path).source != report.file.source


def test_results_in_folders_are_known_by_what_all_their_files_hold(root: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "one/results", tmp_path / "other/results"
    for folder, files in ((one, ("a.json", "b.json", "in/c.json")), (other, ("in/c.json", "b.json", "a.json"))):
        for file in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(file)
    told = [Ask("coco-json", root, (), results=folder) for folder in (one, other)]
    assert told[0].source == told[1].source  # whatever their order on the disk
    (one / "in/c.json").write_text("changed")
    assert told[0].source != told[1].source


@pytest.mark.parametrize("scale", [1.5, 2.0, 3.0])
def test_results_of_pictures_of_another_size_are_refused(
    samples: list[Sample], root: Path, tmp_path: Path, scale: float
) -> None:
    """Even where the person's joints would be left out one by one, for lying outside."""
    person = torch.ones(17, 3)
    person[:, 0], person[:, 1] = torch.linspace(0, 7, 17), torch.linspace(0, 11, 17)  # of 8 × 12 pixels
    path, names = tmp_path / "results.json", tuple(sample.name for sample in samples)

    def told(scale: float) -> Report:
        points = (person * torch.tensor([scale, scale, 1.0])).flatten().tolist()
        path.write_text(json.dumps([{"image_id": name, "keypoints": points} for name in names]))
        asked = Ask("coco-json", root, names, results=path)
        return make_cues(asked, samples, root / "keypoints.npz", workers=1)

    with pytest.raises(
        InputError, match=r"results\.json: \d\d % of the joints lie outside .* first in '.*; they are of"
    ):
        told(scale)
    assert hidden(root) == []
    assert not (root / "keypoints.npz").exists()
    assert not told(1.0).nobody


def test_results_that_tell_of_few_pictures_are_refused(samples: list[Sample], root: Path, tmp_path: Path) -> None:
    path, names = tmp_path / "results.json", tuple(sample.name for sample in samples)
    for told in (names[: COUNT // 2], ()):
        path.write_text(json.dumps([{"image_id": name, "keypoints": [1.0] * 51} for name in told]))
        words = rf"tells of {len(told)} of the set's 109 pictures, not of '.*; let the tool look at all"
        with pytest.raises(InputError, match=words):
            make_cues(Ask("coco-json", root, names, results=path), samples, root / "keypoints.npz", workers=1)


def test_a_folder_in_the_place_of_the_file_is_told_before_the_work(samples: list[Sample], root: Path) -> None:
    (root / "keypoints.npz").mkdir()
    for replacing in (False, True):
        with pytest.raises(InputError, match=r"keypoints\.npz: is a folder, no file; move it away"):
            make(samples, root, replace=replacing)


def spread(folder: Path, samples: list[Sample]) -> Tensor:
    """Fields of 6 × 4 cells with a peak in one of them, for pictures of 12 × 8: where it is, [n,17,3]."""
    dice = np.random.default_rng(0)
    rows, columns = dice.integers(0, 6, (len(samples), 17)), dice.integers(0, 4, (len(samples), 17))
    for number, sample in enumerate(samples):
        fields = np.zeros((36, 6, 4), np.float32)
        fields[np.arange(17), rows[number], columns[number]] = 0.75
        path = folder / f"{sample.name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, fields)
    places = torch.from_numpy(np.stack([2 * columns + 0.5, 2 * rows + 0.5], axis=2)).float()
    return torch.cat([places, torch.full((len(samples), 17, 1), 0.75)], dim=2)


@pytest.mark.parametrize(("folder", "workers"), [(None, 2), ("mine", 1)])
def test_confidence_fields(folder: str | None, workers: int, samples: list[Sample], root: Path) -> None:
    places = spread(root / (folder or FIELDS_FOLDER), samples)
    names = tuple(sample.name for sample in samples)
    told = Ask("bpbreid-fields", root, names, results=Path(folder) if folder else None)
    report = make_cues(told, samples, root / "keypoints.npz", workers=workers)
    assert torch.allclose(report.keypoints, places)
    with suppress(FileNotFoundError):
        (root / (folder or FIELDS_FOLDER) / f"{samples[3].name}.npy").unlink()
    with pytest.raises(InputError, match=f"holds no confidence fields of {samples[3].name}; .* with --results$"):
        make_cues(told, samples, root / "again.npz", workers=1)


def test_a_sheet_shows_some_of_the_pictures(samples: list[Sample], root: Path) -> None:
    sheet = draw_sheet(make(samples, root))
    assert sheet.dtype == torch.uint8
    assert sheet.shape == (3, 4 * (256 + 8), 8 * (171 + 8))
    assert len(JOINTS) == 17


def test_a_sheet_shows_pictures_from_all_over_the_set(samples: list[Sample], root: Path) -> None:
    report = make(samples, root)
    before = draw_sheet(report)
    for sample in samples[:48]:
        sample.path.write_bytes(samples[-1].path.read_bytes())
    changed = draw_sheet(report) != before
    assert 0.1 < changed[:, ::16, ::16].float().mean() < 0.6, "not the first ones alone"
