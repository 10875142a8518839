"""ViTPose: pictures are laid into its frame and joints laid back; the real network with tiny random weights."""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from halfseen.estimators import vitpose
from halfseen.estimators.people import peaks
from halfseen.types import InputError

FRAME = (64, 48)


@pytest.mark.parametrize("size", [(128, 64), (100, 40), (50, 90), (64, 48), (1, 1)])
def test_the_frame_holds_the_picture_and_a_quarter_more(size: tuple[int, int]) -> None:
    height, width = vitpose.frame_of(size, FRAME)
    assert height / width == pytest.approx(FRAME[0] / FRAME[1])
    assert min(height / size[0], width / size[1]) == pytest.approx(1.25)
    assert vitpose.laid_in(torch.zeros(3, *size, dtype=torch.uint8), FRAME).shape == (3, *FRAME)


def test_around_the_picture_it_is_black() -> None:
    framed = vitpose.laid_in(torch.full((3, 128, 64), 255, dtype=torch.uint8), FRAME)
    colours = framed * torch.tensor(vitpose.STD)[:, None, None] + torch.tensor(vitpose.MEAN)[:, None, None]
    assert colours[:, 32, 24].tolist() == pytest.approx([1, 1, 1], abs=1e-5)
    assert colours[:, 0, 0].tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    lit = colours[0] > 0.5
    assert lit.sum(0).max() == pytest.approx(64 / 1.25, abs=1.5)
    assert lit.sum(1).max() == pytest.approx(64 / 1.25 / 2, abs=1.5)


class Bright(nn.Module):
    """A network whose 17 heatmaps are the picture itself, shrunk to a quarter, as if each joint were what is bright."""

    def __init__(self, experts: int = 1, joints: int = 17) -> None:
        super().__init__()
        backbone = SimpleNamespace(image_size=FRAME, num_experts=experts)
        self.config = SimpleNamespace(backbone_config=backbone, num_labels=joints)
        self.told: list[list[int]] = []

    def forward(self, pixels: Tensor, dataset_index: Tensor | None = None) -> Any:
        self.told.append([] if dataset_index is None else dataset_index.tolist())
        grey = pixels[:, :1] * vitpose.STD[0] + vitpose.MEAN[0]
        cells = torch.nn.functional.interpolate(grey, (16, 12), mode="bilinear", align_corners=True)
        return SimpleNamespace(heatmaps=cells.expand(-1, 17, -1, -1))


def stand_in(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = SimpleNamespace(from_pretrained=lambda _: network)
    module = SimpleNamespace(
        VitPoseForPoseEstimation=loader, logging=SimpleNamespace(disable_progress_bar=lambda: None)
    )
    monkeypatch.setitem(sys.modules, "transformers", module)


@pytest.mark.parametrize(("size", "dot"), [((128, 64), (20, 90)), ((100, 40), (18, 20)), ((60, 90), (60, 30))])
def test_a_joint_comes_back_to_where_it_is(
    size: tuple[int, int], dot: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    row, column = torch.arange(size[0])[:, None], torch.arange(size[1])
    spread = max(size) / 10
    bell = 255 * torch.exp(-((column - dot[0]) ** 2 + (row - dot[1]) ** 2) / (2 * spread**2))
    stand_in(Bright(), monkeypatch)
    (people,) = vitpose.load(None, "cpu")([bell.byte().expand(3, -1, -1)])
    assert people.shape == (1, 17, 3)
    assert people[0, 0, :2].tolist() == pytest.approx(dot, abs=1)
    assert people[0, :, 2].min() > 0.8
    assert people[0, :, 2].max() <= 1


def test_batches_and_experts(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Bright(experts=6)
    stand_in(network, monkeypatch)
    pictures = [torch.zeros(3, 30 + number, 20, dtype=torch.uint8) for number in range(vitpose.AT_ONCE + 1)]
    assert len(vitpose.load(None, "cpu")(pictures)) == len(pictures)
    assert network.told == [[0] * vitpose.AT_ONCE, [0]]


def test_other_joints_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(Bright(joints=133), monkeypatch)
    with pytest.raises(InputError, match="knows 133 joints; take a ViTPose with COCO's 17"):
        vitpose.load(None, "cpu")


def test_what_cannot_be_loaded_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(name: str) -> nn.Module:
        raise OSError(f"We couldn't connect to load\n{name}.")

    stand_in(Bright(), monkeypatch)
    monkeypatch.setattr(sys.modules["transformers"].VitPoseForPoseEstimation, "from_pretrained", offline)
    with pytest.raises(InputError, match=rf"could not be loaded from {vitpose.MODEL} \(We couldn't connect to load "):
        vitpose.load(None, "cpu")


def test_the_source_names_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: "9.9")
    assert vitpose.about(None) == f"transformers 9.9 {vitpose.MODEL}"
    with pytest.raises(InputError, match=r"holds no config\.json"):
        vitpose.about(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    first = vitpose.about(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert first != vitpose.about(tmp_path)


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(InputError, match=r"pip install 'halfseen\[pose\]'"):
        vitpose.about(None)


@pytest.mark.filterwarnings("ignore")  # of another's package
def test_the_real_network_with_random_weights(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra `pose` is not installed")
    backbone = transformers.VitPoseBackboneConfig(
        image_size=list(FRAME), patch_size=[16, 16], hidden_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    labels = {number: str(number) for number in range(17)}
    config = transformers.VitPoseConfig(backbone_config=backbone, id2label=labels)
    torch.manual_seed(0)
    transformers.VitPoseForPoseEstimation(config).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["backbone_config"]["image_size"] == list(FRAME)
    pictures = [torch.randint(0, 256, (3, height, 30), dtype=torch.uint8) for height in (60, 80)]
    people = vitpose.load(tmp_path, "cpu")(pictures)
    assert [each.shape for each in people] == [(1, 17, 3)] * 2
    for each, picture in zip(people, pictures, strict=True):
        height, width = vitpose.frame_of(picture.shape[1:], FRAME)
        middle = torch.tensor([(picture.shape[2] - 1) / 2, (picture.shape[1] - 1) / 2])
        assert ((each[0, :, :2] - middle).abs() <= torch.tensor([width, height]) / 2 + 0.01).all()
        assert not torch.equal(people[0], people[1])


@pytest.mark.filterwarnings("ignore")
def test_joints_come_back_as_the_authors_bring_them_back() -> None:
    """But for half a pixel: their box begins at the corner of the first pixel, ours at its middle."""
    transformers = pytest.importorskip("transformers", reason="the extra `pose` is not installed")
    pytest.importorskip("scipy")
    row, column = torch.arange(16.0)[:, None], torch.arange(12.0)
    dice = torch.Generator().manual_seed(0)
    places = 2 + torch.rand(17, 2, generator=dice) * torch.tensor([7.0, 11.0])
    squares = (column - places[:, :1, None]) ** 2 + (row - places[:, 1:, None]) ** 2
    maps = 0.8 * torch.exp(-squares / (2 * 1.5**2))
    theirs = transformers.VitPoseImageProcessor(size={"height": FRAME[0], "width": FRAME[1]})
    box = [[[0.0, 0.0, 40.0, 100.0]]]
    want = theirs.post_process_pose_estimation(SimpleNamespace(heatmaps=maps[None]), boxes=box)[0][0]
    ours = vitpose.laid_back(peaks(maps), maps.shape[-2:], (100, 40), FRAME)[0]
    assert torch.allclose(want["keypoints"] - 0.5, ours[:, :2], atol=0.15)
    assert torch.allclose(want["scores"], ours[:, 2])
