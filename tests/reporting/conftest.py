"""Two runs of networks with random weights on a tiny set, as `halfseen train` leaves them, and the page about one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from halfseen.methods import METHODS
from halfseen.nets.heads import PixelParts
from halfseen.recipe import Recipe
from halfseen.report import examine, open_run, page
from halfseen.reporting.results import Result
from halfseen.train import CHECKPOINT
from halfseen.training.checkpoints import State, save_checkpoint
from halfseen.weights import Card, plain, save_weights
from standins import draw_set, read_drawn
from tiny_methods import IMAGE, tiny_config, tiny_network


def train_nothing(folder: Path, name: str, *, whole: bool = False, **changes: Any) -> Path:
    """A run as `halfseen train` leaves it, of a network with random weights; its checkpoint too, if it is `whole`."""
    folder.mkdir(parents=True)
    method, config = METHODS[name], tiny_config(name, **changes)
    recipe = Recipe(height=IMAGE[0], width=IMAGE[1], epochs=2, twins=method.recipe.twins)
    data = {"name": "market1501", "people": 4, "images": 12, "digest": "0"}
    card = Card(name, plain(config), plain(recipe), data, seed=3, epoch=2, started_from="none")
    network = tiny_network(name, config, people=4, seed=len(name))
    for pixels in (layer for layer in network.modules() if isinstance(layer, PixelParts)):
        nn.init.normal_(pixels.classifier.weight, std=20.0)  # or all maps would be flat
    save_weights(folder / "best.safetensors", method, network, card)
    if whole:
        about = {key: value for key, value in vars(card).items() if key not in ("epoch", "scores", "versions")}
        optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
        save_checkpoint(folder / CHECKPOINT, about | {"processes": 1}, State(), network, optimiser)
    scores = {"market": {"mAP": 0.5, "rank": {"1": 0.25}}}
    lines: list[dict[str, Any]] = [
        {"kind": "steps", "epoch": 1, "step": step, "losses": {"identity": 5 / step, "triplet": 1.0}, "lr": 0.1 / step}
        for step in (1, 2, 3)
    ]
    lines.append({"kind": "scores", "epoch": 1, "step": 3, "scores": scores})
    (folder / "log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a data set, seven runs, and a cache of its own."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALFSEEN_CACHE", str(folder / "cache"))
        draw_set(folder / "set")
        train_nothing(folder / "parts", "bpbreid", reduction=12)
        train_nothing(folder / "whole", "bot")
        train_nothing(folder / "posed", "pirt", reduction=16, nearest=4)
        train_nothing(folder / "queries", "tsd", whole=True)
        train_nothing(folder / "purified", "ogfr", whole=True)
        train_nothing(folder / "guided", "pgfl_kd", whole=True)
        train_nothing(folder / "fixed", "bpbreid", reduction=12, parts=3, attention="fixed", visibility="none")
        yield folder


@pytest.fixture(scope="session")
def result(place: Path) -> Result:
    return examine(open_run(place / "parts"), read_drawn(place / "set"))


@pytest.fixture(scope="session")
def whole(place: Path) -> Result:
    return examine(open_run(place / "whole"), read_drawn(place / "set"))


@pytest.fixture(scope="session")
def text(result: Result) -> str:
    return page([result], queries=2)


@pytest.fixture(scope="session")
def purified(place: Path) -> Result:
    return examine(open_run(place / "purified"), read_drawn(place / "set"))
