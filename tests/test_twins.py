"""Training on pairs: each picture and its occluded twin, as network and losses see them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from halfseen.data.images import read_image
from halfseen.data.loading import CueSources
from halfseen.data.variants import bank, read_sample, twins
from halfseen.encode import normalised
from halfseen.recipe import Method, Recipe
from halfseen.train import CHECKPOINT, Training, train
from halfseen.training.settings import Settings
from halfseen.types import Batch, Cues, InputError, Splits
from standins import CUED, PAIRED, TINY, Config, Output, Tiny, draw_set, losses_of_both, read_drawn, same

RECIPE = replace(PAIRED.recipe, augment="none", height=40, width=20)  # as large as the drawn pictures: nothing moves


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return read_drawn(draw_set(tmp_path_factory.mktemp("set")))


def begun(splits: Splits, out: Path, method: Method = PAIRED, recipe: Recipe = RECIPE, **settings: Any) -> Training:
    cues = {"train": CueSources(torch.rand(12, 17, 3))}
    how = Settings(out, **{"device": "cpu", "start": "none", "every": 0, **settings})
    return Training(method, Config(), recipe, splits, cues, settings=how)


def test_the_network_sees_twins_behind_pictures_and_losses_see_pairs(splits: Splits, tmp_path: Path) -> None:
    seen: list[tuple[Output, Batch]] = []

    def look(out: Output, batch: Batch, config: Config) -> dict[str, Tensor]:
        seen.append((out, batch))
        return losses_of_both(out, batch, config)

    paired = replace(PAIRED, losses=look, needs=CUED.needs)
    training = begun(splits, tmp_path, paired, replace(RECIPE, epochs=1))
    numbers = list(training.batches)
    training.run()
    assert isinstance(training.network, Tiny)
    want = twins(splits.train, "0/0", bank(splits))
    assert len(seen) == len(numbers) == 2
    for (out, batch), cues, own in zip(seen, training.network.handed, numbers, strict=False):  # it is evaluated too
        hidden = batch.partner
        assert hidden is not None
        assert cues is not None
        assert torch.equal(batch.images, torch.stack([read_image(splits.train[i % 12].path) for i in own]))
        assert torch.equal(hidden.images, torch.stack([read_sample(want[i % 12]).image for i in own]))
        assert torch.equal(hidden.pids, batch.pids)
        assert out.vectors.shape[0] == 2 * len(own) == 12
        kinds = [int(read_sample(want[i % 12]).occluder) for i in own]
        for name, each in {"keypoints": None, "hidden": None, "occluder": [0] * 6 + kinds}.items():
            pair = torch.cat([vars(half.cues)[name] for half in (batch, hidden)])
            assert torch.equal(vars(cues)[name], pair)
            assert each is None or pair.tolist() == each
        assert (cues.fields, cues.parts) == (None, None)


def test_pictures_and_twins_go_in_together(splits: Splits, tmp_path: Path) -> None:
    training = begun(splits, tmp_path)
    batch = training.handed(training.source.batch([0, 5]))
    assert batch.partner is not None
    images: list[Tensor] = []
    training.module.register_forward_pre_hook(lambda _, given: images.append(given[0]))
    training._step(batch)
    assert torch.equal(images[0], normalised(training.network, torch.cat([batch.images, batch.partner.images])))


def test_each_epoch_and_each_seed_has_its_own_twins(splits: Splits, tmp_path: Path) -> None:
    shown: dict[tuple[int, int], Tensor] = {}

    def look(out: Output, batch: Batch, config: Config) -> dict[str, Tensor]:
        assert batch.partner is not None
        order = batch.images.flatten(1).float().norm(dim=1).argsort()  # nothing moves: each picture is always the same
        shown.setdefault((seed, training.state.epoch), batch.partner.images[order])
        return losses_of_both(out, batch, config)

    all_at_once = replace(RECIPE, people=4, images=3)
    for seed in (0, 1):
        training = begun(splits, tmp_path / str(seed), replace(PAIRED, losses=look), all_at_once, seed=seed)
        training.run()
    assert len(shown) == 6
    values = list(shown.values())
    assert not any(torch.equal(a, b) for i, a in enumerate(values) for b in values[:i])


def test_memory_and_workers_change_nothing(splits: Splits, tmp_path: Path) -> None:
    ways: dict[str, dict[str, Any]] = {"kept": {}, "read_anew": {"memory": 0}, "by_workers": {"workers": 1}}
    for name, way in ways.items():
        begun(splits, tmp_path / name, recipe=replace(RECIPE, augment="bot", epochs=2), **way).run()
    one, *others = (torch.load(tmp_path / name / CHECKPOINT)["network"] for name in ways)
    assert all(same(one, other) for other in others)


@pytest.mark.parametrize(
    ("method", "paired", "said"),
    [(PAIRED, False, "paired learns from pairs of pictures"), (TINY, True, "tiny learns from single pictures")],
)
def test_pairs_go_to_methods_that_want_them(
    method: Method, paired: bool, said: str, splits: Splits, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"{said}; leave recipe.twins as it is"):
        begun(splits, tmp_path / "out", method, replace(RECIPE, twins=paired))
    assert not (tmp_path / "out").exists()


def test_one_person_alone_cannot_be_hidden(splits: Splits, tmp_path: Path) -> None:
    alone = replace(splits, train=splits.train[:3])
    assert len({sample.pid for sample in alone.train}) == 1
    with pytest.raises(InputError, match="no picture to cut an occluder from: the 3 pictures"):
        train(PAIRED, Config(), replace(RECIPE, people=1), alone, {}, Settings(tmp_path / "out", start="none"))
    assert not (tmp_path / "out").exists()


def test_without_a_partner_a_network_sees_the_batch_itself(splits: Splits, tmp_path: Path) -> None:
    training = begun(splits, tmp_path, TINY, replace(RECIPE, twins=False))
    batch = training.handed(training.source.batch([0, 1]))
    assert batch.partner is None
    training._step(batch)
    assert isinstance(training.network, Tiny)
    (cues,) = training.network.handed
    assert cues is batch.cues
    assert isinstance(cues, Cues)
