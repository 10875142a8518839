"""`halfseen train --row`: the rows of papers' tables, by name."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from halfseen.methods import METHODS
from halfseen.train import RUN
from halfseen.train_verbs import Train, parse
from halfseen.training.tiers import TIERS, check_row, in_tier
from standins import TINY, Config, draw_set

Run = Callable[..., tuple[int, str, str]]
Refused = Callable[..., str]


def parsed(*words: str) -> Train:
    train = parse(words)
    assert isinstance(train, Train)
    return train


def test_a_row_is_what_the_options_begin_with() -> None:
    rows = METHODS["bpbreid"].rows
    for words in (("--row", "3-torso"), ("--row=3-torso",)):
        train = parsed("bpbreid", "--data", "x", *words, "--config.threshold", "0.2", "--recipe.epochs", "7")
        assert train.config == dataclasses.replace(rows["3-torso"], threshold=0.2)
        assert train.recipe == dataclasses.replace(METHODS["bpbreid"].recipe, epochs=7)
        assert train.row == "3-torso"
    assert parsed("bpbreid", "--data", "x").row is None


@pytest.mark.parametrize(
    ("row", "backbone"),
    [("3-torso", TIERS["mini"].convolutional), ("1-hrnet", "hrnet_w32"), ("1-resnet50-ibn", "resnet50_ibn_a")],
)
def test_in_a_tier_a_row_about_a_backbone_keeps_it(row: str, backbone: str) -> None:
    method = METHODS["bpbreid"]
    mini = parsed("bpbreid", "--data", "x", "--tier", "mini", "--row", row)
    assert mini.config == dataclasses.replace(method.rows[row], backbone=backbone)
    assert mini.recipe == parsed("bpbreid", "--data", "x", "--tier", "mini").recipe


def test_every_row_of_every_method_can_be_asked_for() -> None:
    for method in METHODS.values():
        for row, config in method.rows.items():
            assert in_tier(method, "full", row) == (config, method.recipe)
            small, recipe = in_tier(method, "mini", row)
            agent = {"agent": dataclasses.replace(config.agent, warmup=30)} if method.name == "ogfr" else {}
            assert (small, recipe.height) == (dataclasses.replace(config, backbone=small.backbone, **agent), 192)


def test_rows_are_listed_with_what_they_change(run: Run) -> None:
    code, out, err = run("train", "bpbreid", "--row", "list")
    assert (code, err) == (0, "")
    title, header, *lines = out.splitlines()
    assert (title, header.split()) == ("BPBreID: learned body parts; 35 rows", ["row", "differs", "in"])
    assert [line.split()[0] for line in lines] == list(METHODS["bpbreid"].rows)
    told = {line.split()[0]: line.split(maxsplit=1)[1:] for line in lines}
    assert (told["2-full"], told["3-torso"]) == ([], ["parts 6, test torso"])


def test_rows_that_differ_deep_inside_are_listed_with_what_does(run: Run) -> None:
    """Not with the whole agent, or the whole table of weights."""
    _, out, _ = run("train", "ogfr", "--row", "list")
    told = {line.split()[0]: " ".join(line.split()[1:]) for line in out.splitlines()[2:]}
    assert told["4-distillation"] == "agent.kind none"
    assert told["3-patterns"] == "student both, teacher none, agent.kind none"
    assert told["reward-triplet"] == "agent.reward 0.0 1.0 1.0"
    assert told["overlapping"] == "patch_stride 11"
    _, out, _ = run("train", "bpbreid", "--row", "list")
    told = {line.split()[0]: " ".join(line.split()[1:]) for line in out.splitlines()[2:]}
    assert told["4-gilt"] == ""
    assert told["4-triplet-on-holistic-too"] == "gilt.global 1.0 1.0, gilt.foreground 1.0 1.0, gilt.concat 1.0 1.0"


@pytest.mark.parametrize(("name", "row"), [("tsd", "1-tsd-overlap"), ("tsd", "code-overlap"), ("ogfr", "overlapping")])
def test_rows_about_patches_want_another_transformer_in_the_mini_tier(
    name: str, row: str, run: Run, refused: Refused
) -> None:
    words = ("train", name, "--data", "street", "--tier", "mini", "--row", row, "--weights", "none", "--dry-run")
    small = ("--recipe.people", 4, "--recipe.images", 2, "--recipe.height", 64, "--recipe.width", 32)
    said = refused(*words, *small)
    assert said.startswith(f"halfseen: --row {row} is about overlapping patches (11 pixels apart), and vit_tiny_lite0_")
    advised = re.findall(r"(--config\.backbone) (\S+) ", said)
    assert run(*words, *small, *advised[0])[0] == 0
    assert run(*words, *small, "--config.patch-stride", "none")[0] == 0
    full = parsed(name, "--data", "x", "--row", row, "--tier", "full")
    check_row(full.row, full.config)


def test_rows_that_nobody_knows(refused: Refused) -> None:
    said = refused("train", "bpbreid", "--data", "x", "--row", "3-torsi")
    assert said.startswith("halfseen: bpbreid has no row '3-torsi'; the nearest are 3-torso, ")
    assert said.endswith("and --row list shows all")
    for row in ("1", "list"):
        assert refused("train", "bot", "--data", "x", "--row", row).endswith("has no rows; leave --row out")


def test_a_row_has_a_folder_of_its_own(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "tiny", dataclasses.replace(TINY, rows={"wide": Config(dim=12)}))
    monkeypatch.chdir(tmp_path)
    words = ("train", "tiny", "--data", "market1501", "--root", draw_set(tmp_path / "set"), "--weights", "none")
    assert run(*words, "--recipe.epochs", 1, "--row", "wide")[0] == 0
    about = json.loads((tmp_path / "tiny-wide-market1501-0" / RUN).read_text())
    assert about["config"]["dim"] == 12
