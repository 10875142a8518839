"""MediaPipe: which landmarks are which joints, how they come back to the picture, and the real thing if it is there."""

from __future__ import annotations

import importlib.util
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from halfseen.data.cues import load_keypoints
from halfseen.data.images import read_image
from halfseen.data.sets import read_set
from halfseen.estimators import mediapipe
from halfseen.estimators.people import choose
from halfseen.ops.groupings import JOINTS
from halfseen.ops.skeletons import correct
from halfseen.types import InputError, Occlusion

# The names of BlazePose's landmarks, in its order.
BLAZE = [
    "nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye", "right_eye_outer",
    "left_ear", "right_ear", "mouth_left", "mouth_right", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_pinky", "right_pinky", "left_index", "right_index",
    "left_thumb", "right_thumb", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    "left_heel", "right_heel", "left_foot_index", "right_foot_index",
]  # fmt: skip


def test_landmarks_are_the_joints_of_the_same_name() -> None:
    assert len(BLAZE) == 33
    assert tuple(BLAZE[number] for number in mediapipe.LANDMARKS) == JOINTS


@pytest.mark.parametrize("size", [(256, 128), (64, 30), (101, 33), (40, 90)])
@pytest.mark.parametrize("room", [0.0, 0.25])
def test_a_landmark_comes_back_to_where_it_is(size: tuple[int, int], room: float) -> None:
    image = torch.zeros(3, *size, dtype=torch.uint8)
    row, column = size[0] * 3 // 4, size[1] // 3
    image[:, row, column] = 255
    shown = torch.from_numpy(mediapipe.padded(mediapipe.enlarged(image), room)[..., 0].astype("float32"))
    weights = shown * (shown > 30)
    down = (torch.arange(shown.shape[0]) + 0.5) @ weights.sum(1) / weights.sum() / shown.shape[0]
    across = (torch.arange(shown.shape[1]) + 0.5) @ weights.sum(0) / weights.sum() / shown.shape[1]
    marks = SimpleNamespace(landmark=[SimpleNamespace(x=float(across), y=float(down), visibility=0.7)] * 33)
    (person,) = mediapipe.in_pixels(marks, size, room)
    assert person[5].tolist() == pytest.approx([column, row, 0.7], abs=0.2)
    assert mediapipe.in_pixels(None, size, room).shape == (0, 17, 3)


def test_who_stands_on_the_head_is_a_mistake() -> None:
    person = torch.zeros(17, 3)
    person[11:13, 1] = 10.0
    assert mediapipe.upright(person)
    person[5:7, 1] = 11.0
    assert not mediapipe.upright(person)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="it has no wheel there")
def test_without_mediapipe_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    with pytest.raises(InputError, match="mediapipe carries its own models; leave it out"):
        mediapipe.about(Path("weights.tflite"))
    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(InputError, match=r"mediapipe is not installed; run pip install 'halfseen\[mediapipe\]'"):
        mediapipe.about(None)
    monkeypatch.setattr(metadata, "version", lambda _: "0.10.35")
    with pytest.raises(InputError, match=r"mediapipe 0\.10\.35 is installed, 0\.10\.14 is needed"):
        mediapipe.about(None)


@pytest.mark.skipif(importlib.util.find_spec("mediapipe") is None, reason="the extra `mediapipe` is not installed")
def test_it_finds_the_people_of_the_street(capfd: pytest.CaptureFixture[str]) -> None:
    street = read_set("street")
    samples = [sample for sample in street.train if sample.occlusion == Occlusion.HOLISTIC][::16]
    known = load_keypoints(street.root / "keypoints.npz").lookup([sample.name for sample in samples])[0]
    people = mediapipe.load(None, "cpu")([read_image(sample.path) for sample in samples])
    assert "mediapipe 0.10.14 " in mediapipe.about(None)
    found = torch.stack([choose(each, (256, 128)).target for each in people])
    seen = known[..., 2] == 1
    assert len(samples) >= 8
    assert found[..., 2].any(1).float().mean() > 0.7
    assert correct(found, known)[seen].float().mean() > 0.6
    swapped = known[:, [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]]  # left for right
    assert correct(found, swapped)[seen].float().mean() < 0.55
    assert capfd.readouterr() == ("", "")
