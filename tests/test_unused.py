"""A field that nothing reads, as long as another says so: refused where somebody sets it, taken where it is old."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from halfseen.methods import METHODS
from halfseen.train_verbs import Train, parse
from halfseen.types import InputError
from halfseen.weights import Card, load_weights, make_network, plain, rebuilt, save_weights
from tiny_methods import IMAGE, tiny_config

COMMANDS = [
    ("bpbreid --config.visibility argmax --config.threshold 0.9", "threshold is 0.9", "visibility is threshold"),
    ("bpbreid --config.attention fixed --config.pixel-weight 3", "pixel_weight is 3.0", "attention is learned"),
    (
        "pcb --config.gilt.global 1 1 --config.gilt.parts 0 0 --config.dropout 0.5",
        "dropout is 0.5",
        "gilt gives weight to concat or parts",
    ),
    ("pgfl_kd --row 7-consistency --config.temperature 2", "temperature is 2.0", "parts_loss is contrastive"),
    ("tsd --row 3-baseline --config.masks bernoulli", "masks is bernoulli", "terms have teacher"),
    ("tsd --row 3-baseline --config.background True", "background is True", "terms have more than global"),
    ("tsd --row 3-m1 --config.distillation concatenated", "distillation is concatenated", "terms have distillation"),
    ("pirt --row 3-baseline --config.nearest 5", "nearest is 5", "pose is True"),
    ("pirt --config.intra False --config.project False", "project is False", "intra is True"),
    ("ogfr --row 5-random-erasure --config.agent.state patch", "agent.state is patch", "agent.kind is trained"),
    ("ogfr --row 5-random-erasure --config.agent.credit patch", "agent.credit is patch", "agent.kind is trained"),
    ("ogfr --row known-erasure --config.agent.greedy likely", "agent.greedy is likely", "agent.kind is trained or ran"),
    ("ogfr --row 5-random-erasure --config.agent.entropy 0", "agent.entropy is 0.0", "agent.kind is trained"),
]


@pytest.mark.parametrize(("command", "found", "where"), COMMANDS)
def test_what_nothing_reads_is_refused(command: str, found: str, where: str, refused: Callable[..., str]) -> None:
    said = refused("train", *command.split(), "--data", "x", "--tier", "mini")
    assert said.startswith(f"halfseen: {found}, which has an effect only where ")
    assert where in said
    assert "; leave it at " in said
    assert said.endswith(", or change that too")


@pytest.mark.parametrize(
    "command",
    [  # a ladder is climbed with the same options at each step: runs/posed.sh, runs/transformers.sh
        *(f"pgfl_kd --row 6-{row} --config.lengths unit --config.temperature 0.07" for row in ("baseline", "aligned")),
        "pirt --row 3-baseline --config.reduction 256",
        "ogfr --row 4-distillation --config.agent.rate 0.5",
        "ogfr --row 5-random-erasure --config.agent.pools kept --config.agent.gap unit --config.agent.reward 1 1 1",
    ],
)
def test_what_only_some_steps_of_a_ladder_read_is_taken_at_each(command: str) -> None:
    assert isinstance(parse([*command.split(), "--data", "x", "--tier", "mini"]), Train)


OLD: list[tuple[str, dict[str, Any]]] = [
    ("bpbreid", {"visibility": "argmax", "threshold": 0.9}),
    ("pgfl_kd", {"parts_loss": "consistency", "temperature": 0.1}),
    ("tsd", {"terms": ("global",), "test": ("global",), "background": True, "masks": "fixed"}),
    ("pirt", {"pose": False, "intra": False, "units": 0, "nearest": 5}),
    ("ogfr", {"agent": {"kind": "random", "state": "patch"}}),
]


@pytest.mark.parametrize(("name", "changes"), OLD)
def test_weights_that_were_trained_so_are_read_all_the_same(name: str, changes: dict[str, Any], tmp_path: Path) -> None:
    """By versions that let it pass: it changed nothing."""
    method, saved = METHODS[name], {**plain(tiny_config(name)), **changes}
    with pytest.raises(InputError, match="has an effect only where"):
        method.config(**changes)
    config, recipe = rebuilt(method.config, saved), replace(method.recipe, height=IMAGE[0], width=IMAGE[1])
    assert all(getattr(config, field) == value for field, value in changes.items() if field != "agent")
    card = Card(name, plain(config), plain(recipe), {"name": "market1501"}, 0, 1, "none")
    save_weights(tmp_path / "w.safetensors", method, make_network(method, config, recipe, 3), card)
    assert plain(load_weights(tmp_path / "w.safetensors").config) == json.loads(json.dumps(plain(config)))
