"""What a training refuses, and how it ends when its numbers go bad."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf, nan
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from halfseen.ops.metrics import PROTOCOLS
from halfseen.train import BAD_BATCH, CHECKPOINT, Training, train
from halfseen.training import stopping
from halfseen.training.settings import Settings
from halfseen.training.stopping import save_batch
from halfseen.types import Batch, Cues, InputError, Splits
from halfseen.weights import BEST, LAST
from standins import RECIPE, TINY, Config, Output, draw_set, read_drawn


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return read_drawn(draw_set(tmp_path_factory.mktemp("set")))


def settings(out: Path) -> Settings:
    return Settings(out, device="cpu", start="none")


def test_a_set_without_training_pictures(splits: Splits, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no training pictures; train on another"):
        train(TINY, Config(), RECIPE, replace(splits, train=()), {}, settings(tmp_path))


def test_fewer_people_than_a_batch_shows(splits: Splits, tmp_path: Path) -> None:
    recipe = replace(RECIPE, people=5)
    with pytest.raises(InputError, match=r"a batch of 5 identities cannot be filled: .* only 4"):
        train(TINY, Config(), recipe, splits, {}, settings(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_protocols_without_labels_are_refused_before_the_first_step(splits: Splits, tmp_path: Path) -> None:
    how = replace(settings(tmp_path / "out"), protocols=(PROTOCOLS["market"], PROTOCOLS["occ"]))
    with pytest.raises(InputError, match="protocol 'occ' counts gallery images of occlusion"):
        train(TINY, Config(), RECIPE, splits, {}, how)
    assert not (tmp_path / "out").exists()


def test_a_set_that_cannot_be_scored_is_trained_on(splits: Splits, tmp_path: Path) -> None:
    for name, lean in (("a", replace(splits, query=())), ("b", replace(splits, gallery=()))):
        assert train(TINY, Config(), RECIPE, lean, {}, settings(tmp_path / name)) == {}
        assert (tmp_path / name / LAST).exists()
        assert not (tmp_path / name / BEST).exists()


def test_a_folder_that_cannot_be_made(splits: Splits, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/out cannot be made .* choose another --out"):
        train(TINY, Config(), RECIPE, splits, {}, settings(tmp_path / "file/out"))


@pytest.mark.parametrize("value", [nan, inf])
def test_a_loss_that_is_no_number_stops_with_the_batch(value: float, splits: Splits, tmp_path: Path) -> None:
    def spoilt(out: Output, batch: Batch, config: Config) -> dict[str, Tensor]:
        terms = TINY.losses(out, batch, config)
        return terms | {"triplet": terms["triplet"] * value} if next(steps) == 3 else terms

    steps = iter(range(10))
    training = Training(replace(TINY, losses=spoilt), Config(), RECIPE, splits, {}, settings=settings(tmp_path))
    with pytest.raises(InputError) as error:
        training.run()
    sentence = str(error.value)
    assert f"the loss term 'triplet' is {value}, the gradient is not finite at 4 of 6 parameters" in sentence
    assert ", the first 'backbone.conv.weight'; " in sentence
    assert "\n" not in sentence
    assert all(parameter.isfinite().all() for parameter in training.network.parameters())
    assert json.loads(torch.load(tmp_path / CHECKPOINT, weights_only=True)["state"])["done"] == 2
    kept = load_file(tmp_path / BAD_BATCH)
    training.batches.set_epoch(1)
    want = training.pictures.batch(list(training.batches)[1])
    assert torch.equal(kept["images"], want.images)
    assert torch.equal(kept["pids"], want.pids)
    assert want.cues.hidden is not None
    assert torch.equal(kept["hidden"], want.cues.hidden)


def test_a_gradient_that_is_no_number(splits: Splits, tmp_path: Path) -> None:
    def steep(out: Output, _: Batch, __: Config) -> dict[str, Tensor]:
        return {"root": (0 * out.vectors.sum()).sqrt()}  # 0, with a slope that is none

    training = Training(replace(TINY, losses=steep), Config(), RECIPE, splits, {}, settings=settings(tmp_path))
    with pytest.raises(InputError, match="all losses are finite, the gradient is not finite at 4 of 6 parameters"):
        training.run()


def test_a_parameter_that_is_no_number_is_named(splits: Splits, tmp_path: Path) -> None:
    training = Training(TINY, Config(), RECIPE, splits, {}, settings=settings(tmp_path))
    with torch.no_grad():
        training.network.get_parameter("classifier.weight")[0, 0] = nan
    with pytest.raises(InputError, match=r"'identity' is nan, the parameter 'classifier.weight' holds NaN or infinity"):
        training.run()


def test_a_bad_batch_is_saved_with_its_partner_and_cues(tmp_path: Path) -> None:
    def batch(number: int, partner: Batch | None = None) -> Batch:
        cues = Cues(keypoints=torch.full((2, 17, 3), float(number)))
        return Batch(
            torch.full((2, 3, 4, 2), number, dtype=torch.uint8), torch.arange(2), torch.arange(2), cues, partner
        )

    save_batch(tmp_path / "b.safetensors", batch(1, batch(2)))
    kept = load_file(tmp_path / "b.safetensors")
    names = {"images", "pids", "camids", "keypoints"}
    assert kept.keys() == names | {f"partner.{name}" for name in names}
    assert (kept["images"] == 1).all()
    assert (kept["partner.keypoints"] == 2).all()


def test_an_infinite_slope_is_blamed_as_one_that_is_none() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    for value in network.parameters():
        value.grad = torch.zeros_like(value)
    network.get_parameter("1.weight").grad[0, 1] = -inf  # type: ignore[index]
    said = stopping._parameters_to_blame(network)
    assert said == "the gradient is not finite at 1 of 4 parameters, the first '1.weight'"
