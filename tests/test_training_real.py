"""The training loop with a method of a paper: how it lies in memory, how it is scored, stopped and compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from halfseen import train as training_module
from halfseen.encode import cues_for
from halfseen.methods import bpbreid, ogfr
from halfseen.ops.distance import Distance, VisibleParts
from halfseen.recipe import Method
from halfseen.train import CHECKPOINT, Training
from halfseen.training.log import read_log
from halfseen.training.settings import Settings
from halfseen.types import Batch, Scores, Splits
from halfseen.weights import LAST
from standins import draw_set, read_drawn, same
from tiny_methods import thin

CONFIG = bpbreid.Config(backbone="test_efficientnet", parts=3, reduction=8)
RECIPE = replace(bpbreid.RECIPE, height=64, width=32, people=2, images=2, epochs=2, warmup=1, milestones=())  # 4 steps


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return read_drawn(draw_set(tmp_path_factory.mktemp("set"), size=(64, 32)))


Go = Callable[..., Training]


@pytest.fixture
def go(splits: Splits, tmp_path: Path) -> Go:
    """`go(name, ...)`: a BPBreID that is trained into a folder of that name, as far as it comes."""

    def run(name: str = "out", method: Method = bpbreid.METHOD, config: Any = CONFIG, **settings: Any) -> Training:
        how: dict[str, Any] = {"device": "cpu", "start": "none", "every": 0, "interval": 1} | settings
        cues = {"train": cues_for(method, config, "train", splits, splits.train, "keypoints")}
        training = Training(method, config, RECIPE, splits, cues, settings=Settings(tmp_path / name, **how))
        training.run()
        return training

    return run


def losses_of(out: Path) -> list[dict[str, float]]:
    return [line["losses"] for line in read_log(out / "log.jsonl") if line["kind"] == "steps"]


def test_colours_lie_innermost_from_the_pictures_through_the_layers(go: Go) -> None:
    """Channels last, which many devices want: in batches, in features, and in weights to the end."""
    seen: list[bool] = []

    def look(_: nn.Module, given: tuple[Tensor, ...], cells: Any) -> None:
        for tensor in (given[0], cells.cells):
            seen.append(tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous())

    class Watched(bpbreid.BPBreID):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.backbone.register_forward_hook(look)

    network = go(method=replace(bpbreid.METHOD, network=Watched)).network
    assert len(seen) > 8
    assert all(seen)
    kernels = {
        name: value for name, value in network.named_parameters() if value.ndim == 4 and min(value.shape[1:]) > 1
    }
    assert len(kernels) > 2
    assert all(value.is_contiguous(memory_format=torch.channels_last) for value in kernels.values())


@pytest.mark.parametrize("on_empty", ["inf", "max+1"])
def test_a_training_is_scored_by_the_distance_of_its_own_config(
    on_empty: Any, go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[Distance] = []

    def score(*_: object, distance: Distance, **__: object) -> dict[str, Scores]:
        used.append(distance)
        return {"market": Scores(0.5, 0.5, (0.5,), 1, 0, 1)}

    monkeypatch.setattr(training_module, "evaluate", score)
    go(config=replace(CONFIG, on_empty=on_empty), every=1)
    assert used == [VisibleParts("unit-euclid", weight="product", on_empty=on_empty)] * 2


def test_a_real_method_that_was_stopped_arrives_at_the_same_bits(go: Go, tmp_path: Path) -> None:
    unbroken = go("unbroken").state
    steps = iter(range(100))

    def fall(out: bpbreid.Output, batch: Batch, config: bpbreid.Config) -> dict[str, Tensor]:
        if next(steps) == 3:
            raise RuntimeError
        return bpbreid.losses(out, batch, config)

    with pytest.raises(RuntimeError):
        go("broken", replace(bpbreid.METHOD, losses=fall), save=1)
    go("broken")
    assert unbroken.done == 4
    one, other = (torch.load(tmp_path / name / CHECKPOINT, weights_only=True) for name in ("unbroken", "broken"))
    assert same(one["network"], other["network"])
    assert same(one["optimiser"]["state"], other["optimiser"]["state"])
    assert (tmp_path / "unbroken" / LAST).read_bytes() == (tmp_path / "broken" / LAST).read_bytes()
    assert losses_of(tmp_path / "unbroken") == losses_of(tmp_path / "broken")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_compiled_network_learns_the_same(go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpbreid, "make_backbone", thin)
    plain, compiled = go("plain"), go("compiled", compile=True)
    assert plain.network.state_dict().keys() == compiled.network.state_dict().keys()
    for one, other in zip(losses_of(tmp_path / "plain"), losses_of(tmp_path / "compiled"), strict=True):
        assert other == pytest.approx(one, rel=1e-3)


def test_in_bfloat16_credit_can_be_given_by_patch(splits: Splits, tmp_path: Path) -> None:
    """What a patch's absence changed is a slope of the network's own output, taken before that of the losses."""
    agent = replace(ogfr.ROWS["credit-patch"].agent, warmup=0)
    config = replace(ogfr.ROWS["credit-patch"], backbone="test_vit", agent=agent)
    recipe = replace(ogfr.RECIPE, height=64, width=32, people=2, images=2, epochs=1, warmup=0)
    cues = {"train": cues_for(ogfr.METHOD, config, "train", splits, splits.train, "keypoints")}
    how = Settings(tmp_path / "out", device="cpu", start="none", every=0, interval=1, precision="bfloat16")
    Training(ogfr.METHOD, config, recipe, splits, cues, settings=how).run()
    told = losses_of(tmp_path / "out")
    assert told
    assert all(step["policy"] for step in told)
