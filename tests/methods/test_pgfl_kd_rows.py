"""What PGFL-KD may be made of: its configurations, the rows of its tables, other backbones, a second last stage."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import nn

from halfseen.methods import METHODS, pgfl_kd
from halfseen.methods.pgfl_kd import ROWS, Config, Output, needs
from halfseen.ops.distance import Single
from halfseen.recipe import learning_rate
from halfseen.types import InputError
from tiny_methods import Cells, pictures, tiny_batch, tiny_config, tiny_cues, tiny_network

JOINTS = {"keypoints", "fields"}


def network_of(**changes: Any) -> nn.Module:
    return tiny_network("pgfl_kd", tiny_config("pgfl_kd", **changes))


def test_needs_follow_the_config() -> None:
    assert needs(Config()) == {"train": JOINTS, "test": frozenset()} == pgfl_kd.METHOD.needs
    assert needs(Config(test="enhanced")) == {"train": JOINTS, "test": JOINTS}
    assert needs(ROWS["6-baseline"]) == {"train": frozenset(), "test": frozenset()}
    assert pgfl_kd.METHOD.of(ROWS["8-aligned"]).needs["test"] == JOINTS
    assert pgfl_kd.METHOD.distance == Single("cosine")


def test_the_published_tables_are_all_there() -> None:
    ladder = [row for name, row in ROWS.items() if name.startswith("6-")]
    assert [(row.reid, row.lambda_mcl, row.lambda_cl) for row in ladder] == [
        (("global",), 0, 0),
        (("global", "aligned"), 0, 0),
        (("global", "fused"), 0, 0),
        (("global", "fused"), 0.25, 0),
        (("global", "enhanced", "fused"), 0.25, 0),
        (("global", "enhanced", "fused"), 0.25, 0.25),
    ]
    assert ladder[-1] == Config() == ROWS["7-contrastive"] == ROWS["8-global"]
    assert replace(ROWS["7-consistency"], parts_loss="contrastive") == Config()
    tested = {name: row.test for name, row in ROWS.items() if name.startswith("8-")}
    assert list(tested.values()) == ["global", "global", "aligned", "fused", "foreground", "enhanced"]
    assert all(replace(ROWS[name], test="global") == Config() for name in tested if name != "8-baseline")


def test_the_vectors_of_table_8_are_of_one_training() -> None:
    first, *others = (
        network_of(**{field.name: getattr(row, field.name) for field in fields(row) if field.name != "backbone"})
        for name, row in ROWS.items()
        if name.startswith("8-") and name != "8-baseline"
    )
    terms = [pgfl_kd.losses(net(pictures(4), tiny_cues(4)), tiny_batch(), Config()) for net in (first, *others)]
    for network, term in zip(others, terms[1:], strict=True):
        assert network.state_dict().keys() == first.state_dict().keys()
        assert all(torch.equal(value, first.state_dict()[name]) for name, value in network.state_dict().items())
        assert term == terms[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"last_stage": "both"}, "last_stage is 'both'; allowed are shared, separate"),
        ({"merge": "mean"}, "merge is 'mean'; allowed are sum, max"),
        ({"gap": "cells"}, "gap is 'cells'; allowed are grid, mask"),
        ({"attention": "soft"}, "attention is 'soft'; allowed are dot, cosine"),
        ({"parts_loss": "mse"}, "parts_loss is 'mse'; allowed are contrastive, consistency"),
        ({"lengths": "unity"}, "lengths is 'unity'; allowed are own, unit"),
        ({"reid": ("global", "local")}, "reid is 'local'; allowed are global, foreground, enhanced, aligned, fused"),
        ({"test": "all"}, "test is 'all'; allowed are global"),
        ({"reid": ()}, "name one vector or more"),
        ({"lambda_cl": -1.0}, "lambda_cl -1.0"),
        ({"lambda_mcl": math.nan}, "lambda_mcl nan"),
        ({"temperature": 0.0}, "a temperature above 0"),
        ({"scale": -10.0}, "give weights of 0 or more and a scale"),
        ({"reid": ("global",)}, "nothing trains the aligned parts, which are taught from or tested"),
        ({"reid": ("global",), "lambda_mcl": 0, "test": "fused"}, "name aligned or fused in reid"),
        ({"reid": ("global",), "lambda_mcl": 0, "last_stage": "separate"}, "nothing trains the second last stage"),
        (
            {"reid": ("aligned",), "last_stage": "separate", "lambda_cl": 0, "lambda_mcl": 0},
            "nothing trains the last stage of the global",
        ),
        (
            {
                "reid": ("foreground", "aligned"),
                "test": "fused",
                "last_stage": "separate",
                "lambda_cl": 0,
                "lambda_mcl": 0,
            },
            "name it in reid, or share the stage",
        ),
        (
            {"reid": ("aligned",), "test": "aligned", "last_stage": "separate", "lambda_cl": 0, "lambda_mcl": 0},
            "nothing trains the last stage of the global vector",
        ),
    ],
)
def test_what_is_no_config_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny_config("pgfl_kd", **changes)


def test_C10_steps_without_warm_up() -> None:
    recipe = METHODS["pgfl_kd"].recipe
    at = [learning_rate(recipe, epoch) for epoch in (0, 29.9, 30, 69, 70, 119)]
    assert at == pytest.approx([3.5e-4, 3.5e-4, 3.5e-5, 3.5e-5, 3.5e-6, 3.5e-6])
    assert (recipe.height, recipe.width, recipe.people, recipe.images, recipe.epochs) == (384, 128, 4, 16, 120)
    assert (recipe.optimiser, recipe.weight_decay, recipe.augment) == ("adam", 5e-4, "bot")


def test_a_width_that_eight_parts_cannot_share_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pgfl_kd, "make_backbone", lambda *_, **__: Cells(12))
    with pytest.raises(InputError, match="makes vectors of 12 numbers, which cannot be cut into 8 equal parts"):
        network_of()
    narrow = network_of(reid=("global", "enhanced"), lambda_mcl=0)
    assert narrow(pictures(3), tiny_cues(3)).vectors["enhanced"].shape == (3, 12)


def test_a_separate_last_stage_begins_alike_and_learns_by_itself() -> None:
    network, shared = network_of(last_stage="separate"), network_of()
    with torch.no_grad():
        cells, guided = network.eval().get_submodule("second")(network.get_submodule("backbone"), pictures(2))
    assert torch.equal(cells, network.get_submodule("backbone")(pictures(2)).cells)
    assert guided.shape == cells.shape
    network.train()
    terms = pgfl_kd.losses(network(pictures(4), tiny_cues(4)), tiny_batch(), tiny_config("pgfl_kd"))
    weights = {name: value for name, value in network.named_parameters() if name.startswith("second")}
    assert weights
    for name, reached in (
        ("triplet_global", False),
        ("consistency", False),
        ("parts", False),
        ("triplet_enhanced", True),
    ):
        slopes = torch.autograd.grad(terms[name], list(weights.values()), retain_graph=True, allow_unused=True)
        assert all((slope is not None) == reached for slope in slopes)
    assert sum(v.numel() for v in network.parameters()) == sum(v.numel() for v in shared.parameters()) + sum(
        v.numel() for v in weights.values()
    )


def test_poses_look_at_the_second_last_stage_and_the_global_vector_at_the_first() -> None:
    network = network_of(last_stage="separate").eval()
    before: Output = network(pictures(3), tiny_cues(3))
    norm = network.get_submodule("second.layers.2")  # the last layer of this backbone
    nn.init.zeros_(norm.get_parameter("weight"))
    nn.init.zeros_(norm.get_parameter("bias"))
    after: Output = network(pictures(3), tiny_cues(3))
    assert torch.equal(before.vectors["global"], after.vectors["global"])
    assert before.local is not None
    assert after.local is not None
    assert before.local.abs().min() < before.local.abs().max()
    assert not after.local.any()
    assert before.vectors["foreground"].any()
    assert not after.vectors["foreground"].any()


def test_transformers_have_poses_too_but_no_last_stage() -> None:
    network = network_of(backbone="test_vit")
    out = network(pictures(4), tiny_cues(4))
    assert all(term.isfinite() for term in pgfl_kd.losses(out, tiny_batch(), Config()).values())
    with pytest.raises(InputError, match="no last stage of which a second copy could be made"):
        network_of(backbone="test_vit", last_stage="separate")
