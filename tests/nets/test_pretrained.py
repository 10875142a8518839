"""Weights from files and from the hub: what fits is taken as it is, what does not is said in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import Tensor, nn

from halfseen.nets import pretrained
from halfseen.nets.backbones import Backbone, make_backbone
from halfseen.nets.surgery import resample
from halfseen.types import InputError

State = dict[str, Tensor]
SIZE = (64, 32)


def load(name: str, path: Path, **options: Any) -> State:
    backbone = make_backbone(name, image=SIZE, weights=path, **options)
    state: State = backbone.network.state_dict()
    return state


def drawn(name: str, **options: Any) -> State:
    """Weights of a network of timm, with numbers everywhere."""
    state: State = timm.create_model(name, **options).state_dict()
    generator = torch.Generator().manual_seed(1)
    return {key: torch.rand(value.shape, generator=generator).to(value.dtype) for key, value in state.items()}


def same(loaded: State, state: State, *classifiers: str) -> bool:
    kept = {key: value for key, value in state.items() if not key.startswith(classifiers or ("none",))}
    return loaded.keys() == kept.keys() and all(torch.equal(loaded[key], kept[key]) for key in kept)


def refusal(name: str, path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as error:
        load(name, path, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_safetensors_file_is_taken_but_for_its_classifier(tmp_path: Path) -> None:
    state = drawn("resnet18")
    save_file(state, tmp_path / "a.safetensors")
    assert same(load("resnet18", tmp_path / "a.safetensors"), state, "fc.")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3},
        lambda state: {"model": state},
    ],
)
def test_a_torch_file_is_taken_as_trainers_save_it(wrap: Callable[[State], object], tmp_path: Path) -> None:
    state = drawn("test_resnet", num_classes=751)
    torch.save(wrap(state), tmp_path / "a.pth")
    assert same(load("test_resnet", tmp_path / "a.pth"), state, "fc.")


def test_a_head_that_is_left_out_may_be_in_the_file(tmp_path: Path) -> None:
    state = drawn("mobilenetv3_small_050")
    save_file(state, tmp_path / "a.safetensors")
    assert same(load("mobilenetv3_small_050", tmp_path / "a.safetensors"), state, "conv_head.", "classifier.")


def test_the_public_ibn_weights_keep_their_names(tmp_path: Path) -> None:
    state = drawn("resnet18")
    for stage, channels in ((1, 64), (2, 128), (3, 256)):
        for block in (0, 1):
            old = f"layer{stage}.{block}.bn1."
            for kind in ("weight", "bias", "running_mean", "running_var"):
                values = state.pop(old + kind)
                state[f"{old}BN.{kind}"] = values[channels // 2 :]
                if not kind.startswith("running"):
                    state[f"{old}IN.{kind}"] = values[: channels // 2].clone()
            state[f"{old}BN.num_batches_tracked"] = state.pop(old + "num_batches_tracked")
    torch.save(state, tmp_path / "resnet18_ibn_a.pth")
    assert same(load("resnet18_ibn_a", tmp_path / "resnet18_ibn_a.pth"), state, "fc.")
    assert "first layer1.0.bn1.weight" in refusal("resnet18", tmp_path / "resnet18_ibn_a.pth")


def test_files_of_old_need_not_count_batches(tmp_path: Path) -> None:
    state = {key: value for key, value in drawn("resnet18").items() if "num_batches" not in key}
    torch.save(state, tmp_path / "a.pth")
    loaded = load("resnet18", tmp_path / "a.pth")
    assert same({key: value for key, value in loaded.items() if "num_batches" not in key}, state, "fc.")


def test_what_is_missing_strange_or_misshaped_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    state = drawn("resnet18")
    gone = state.pop("layer2.1.conv2.weight")
    save_file(state, path)
    assert "it lacks 1 of 120 tensors, first layer2.1.conv2.weight" in refusal("resnet18", path)
    save_file({**state, "layer2.1.conv2.weight": gone, "layer2.1.conv9.weight": gone[:1].clone()}, path)
    assert "first layer2.1.conv9.weight" in refusal("resnet18", path)
    save_file({**state, "layer2.1.conv2.weight": gone[:, :7].clone()}, path)
    sentence = refusal("resnet18", path)
    assert "layer2.1.conv2.weight has shape [128, 7, 3, 3] where [128, 128, 3, 3]" in sentence
    assert str(path) in sentence


@pytest.mark.parametrize("stride", [16, 12])
def test_positions_of_the_networks_own_size_are_resampled(stride: int, tmp_path: Path) -> None:
    state = drawn("test_vit")  # made for 160×160
    save_file(state, tmp_path / "a.safetensors")
    loaded = load("test_vit", tmp_path / "a.safetensors", patch_stride=stride)
    grid = {16: (4, 2), 12: (5, 2)}[stride]
    expected = resample(state["pos_embed"], 1, (10, 10), grid)
    assert torch.equal(loaded["pos_embed"], expected)
    state["pos_embed"] = expected
    assert same(loaded, state, "head.")


def test_positions_of_another_square_are_resampled(tmp_path: Path) -> None:
    state = drawn("test_vit", img_size=(48, 48))
    save_file(state, tmp_path / "a.safetensors")
    loaded = load("test_vit", tmp_path / "a.safetensors")
    assert torch.equal(loaded["pos_embed"], resample(state["pos_embed"], 1, (3, 3), (4, 2)))


def test_a_square_is_not_taken_for_a_grid_of_as_many_cells(tmp_path: Path) -> None:
    state = drawn("test_vit")
    save_file(state, tmp_path / "a.safetensors")
    backbone = make_backbone("test_vit", image=(400, 64), weights=tmp_path / "a.safetensors")
    assert backbone.grid == (25, 4)
    expected = resample(state["pos_embed"], 1, (10, 10), (25, 4))
    assert torch.equal(backbone.network.state_dict()["pos_embed"], expected)


def test_positions_on_the_same_grid_are_taken_as_they_are(tmp_path: Path) -> None:
    state = drawn("test_vit", img_size=SIZE)
    save_file(state, tmp_path / "a.safetensors")
    assert same(load("test_vit", tmp_path / "a.safetensors"), state, "head.")


def test_positions_of_an_unknown_grid_are_refused(tmp_path: Path) -> None:
    save_file(drawn("test_vit", img_size=(48, 80)), tmp_path / "a.safetensors")
    sentence = refusal("test_vit", tmp_path / "a.safetensors")
    assert "15 positions" in sentence
    assert "4×2" in sentence


def test_what_transreid_trained_is_taken_without_its_heads(tmp_path: Path) -> None:
    state = drawn("test_vit", img_size=SIZE)
    heads = {"bottleneck.weight": torch.ones(64), "classifier.weight": torch.ones(7, 64)}
    torch.save({**{f"base.{key}": value for key, value in state.items()}, **heads}, tmp_path / "a.pth")
    assert same(load("test_vit", tmp_path / "a.pth"), state, "head.")


def test_broken_files_are_one_sentence(tmp_path: Path) -> None:
    save_file(drawn("test_resnet"), tmp_path / "whole.safetensors")
    half = (tmp_path / "whole.safetensors").read_bytes()[:1_000_000]
    for name, content in {"cut.safetensors": half, "text.pth": b"no weights", "empty.pth": b""}.items():
        (tmp_path / name).write_bytes(content)
        assert f"{tmp_path / name} cannot be read as weights" in refusal("test_resnet", tmp_path / name)
    torch.save({"state_dict": drawn("test_resnet"), "path": tmp_path}, tmp_path / "more.pth")  # could run code
    assert "nothing but tensors" in refusal("test_resnet", tmp_path / "more.pth")
    torch.save(torch.ones(3), tmp_path / "tensor.pth")
    assert "cannot be read as weights" in refusal("test_resnet", tmp_path / "tensor.pth")
    for path in (tmp_path / "nowhere.pth", tmp_path):
        assert f"{path} is no file" in refusal("test_resnet", path)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(pretrained, "urlopen", fail)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


@pytest.mark.usefixtures("offline")
def test_without_a_network_a_sentence_says_which_file_to_bring(capfd: pytest.CaptureFixture[str]) -> None:
    before = constants.HF_HUB_OFFLINE
    with pytest.raises(InputError) as error:
        make_backbone("resnet18", image=SIZE)
    sentence = str(error.value)
    assert "/timm/resnet18.a1_in1k/resolve/main/model.safetensors" in sentence
    assert "--weights FILE" in sentence
    assert "--weights none" in sentence
    assert capfd.readouterr() == ("", "")
    assert before == constants.HF_HUB_OFFLINE


@pytest.mark.parametrize(
    ("name", "words"),
    [("resnet50_ibn_a", "IBN-Net/releases"), ("darknet17", "no weights for darknet17")],
)
def test_weights_that_no_hub_has_must_be_brought(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        make_backbone(name, image=SIZE)
    assert "--weights FILE" in str(error.value)


def test_the_hub_is_asked_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    create = timm.create_model

    def record(name: str, **options: Any) -> nn.Module:
        asked.append({"name": name, **options})
        assert not constants.HF_HUB_OFFLINE
        return create(name, **{**options, "pretrained": False})

    monkeypatch.setattr(timm, "create_model", record)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(pretrained, "_answers", lambda _: True)
    assert isinstance(make_backbone("test_vit.r160_in1k", image=SIZE, drop_path=0.1), Backbone)
    assert asked == [{"name": "test_vit.r160_in1k", "pretrained": True, "num_classes": 0, "drop_path_rate": 0.1}]


def test_a_refusal_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise HTTPError("https://hub", 403, "forbidden", None, None)  # type: ignore[arg-type]

    monkeypatch.setattr(pretrained, "urlopen", refuse)
    assert pretrained._answers("https://hub")
