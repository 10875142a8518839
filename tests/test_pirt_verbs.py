"""A trained Pirt, as a person would use it: it needs keypoints wherever it looks at pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from halfseen.data.embeddings import load_encoded
from halfseen.methods import pirt
from halfseen.recipe import Recipe
from halfseen.weights import Card, load_weights, plain, save_weights
from standins import draw_set
from tiny_methods import IMAGE, tiny_config, tiny_network

Run = Callable[..., tuple[int, str, str]]
Refused = Callable[..., str]
RECIPE = Recipe(height=IMAGE[0], width=IMAGE[1])


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HALFSEEN_CACHE", str(tmp_path / "cache"))
    return draw_set(tmp_path / "set")


def saved(path: Path, **changes: object) -> Path:
    """The weights of a Pirt that has seen nothing."""
    config = tiny_config("pirt", reduction=16, **changes)
    card = Card("pirt", plain(config), plain(RECIPE), {}, 0, 0, "none")
    save_weights(path, pirt.METHOD.of(config), tiny_network("pirt", config), card)
    return path


def test_weights_keep_what_is_tested(tmp_path: Path) -> None:
    loaded = load_weights(saved(tmp_path / "pirt.safetensors", nearest=4, confidence="query"))
    assert loaded.method.distance == pirt.distance(loaded.config)
    assert loaded.config.nearest == 4
    assert not any("classifier" in name for name in loaded.network.state_dict())


def test_encode_and_evaluate_with_keypoints(root: Path, tmp_path: Path, run: Run) -> None:
    weights, out = saved(tmp_path / "pirt.safetensors", nearest=3), tmp_path / "gallery.safetensors"
    code, said, _ = run("encode", "--weights", weights, "--data", "market1501", "--root", root, "--out", out)
    assert (code, said) == (0, f"6 images, 5 × 16 numbers each: {out}\n")
    confidence = load_encoded(out, camid=0).embedding.visibility
    assert (confidence[:, :2] == 1).all()
    torch.testing.assert_close(confidence[:, 2:].sum(1), torch.ones(6))
    words = ("evaluate", "--weights", weights, "--data", "market1501", "--root", root)
    code, said, _ = run(*words)
    assert code == 0
    assert "queries with right answers among the 3 that are ordered again" in said
    scores = json.loads(run(*words, "--json")[1])["sets"]["market1501"]["market"]
    assert scores["recall"]["n"] == 3
    assert scores["recall"]["all"] <= scores["recall"]["any"]


def test_how_many_are_looked_at_again_may_be_asked_for(root: Path, tmp_path: Path, run: Run) -> None:
    weights = saved(tmp_path / "pirt.safetensors", nearest=3, metric="unit-euclid")
    words = ("evaluate", "--weights", weights, "--data", "market1501", "--root", root, "--json")

    def scores(*options: str) -> dict[str, Any]:
        code, said, err = run(*words, *options)
        assert code == 0, err
        found: dict[str, Any] = json.loads(said)["sets"]["market1501"]["market"]
        return found

    assert scores("--nearest", "2")["recall"]["n"] == 2
    assert scores("--distance", "coarse-to-fine") == scores(), "the method's own is coarse-to-fine"
    assert scores("--distance", "coarse-to-fine", "--nearest", "2") == scores("--nearest", "2")
    assert "recall" not in scores("--distance", "parts")


def test_taking_all_for_seen_is_the_papers_confidence_of_none(root: Path, tmp_path: Path, run: Run) -> None:
    words = ("evaluate", "--data", "market1501", "--root", root, "--json", "--weights")
    both, none = (saved(tmp_path / f"{name}.safetensors", confidence=name) for name in ("both", "none"))
    assert run(*words, both, "--all-seen")[1] == run(*words, none)[1]


NEEDED = "market1501 has no keypoints for its pictures in {root}, and this method needs them; "


def test_without_keypoints_one_sentence_says_so(root: Path, tmp_path: Path, refused: Refused) -> None:
    weights = saved(tmp_path / "pirt.safetensors")
    (root / "keypoints.npz").unlink()
    words = ("--data", "market1501", "--root", root)
    said = NEEDED.format(root=root)
    assert said in refused("evaluate", "--weights", weights, *words)
    out = tmp_path / "gallery.safetensors"
    assert said in refused("encode", "--weights", weights, *words, "--out", out)
    assert not out.exists()
    train = ("train", "pirt", *words, "--out", tmp_path / "run", "--weights", "none")
    assert said in refused(*train, "--config.backbone", "test_efficientnet")
    assert not (tmp_path / "run").exists()


def test_the_baseline_wants_no_keypoints(root: Path, tmp_path: Path, run: Run) -> None:
    (root / "keypoints.npz").unlink()
    weights = saved(tmp_path / "pirt.safetensors", pose=False, intra=False, units=0)
    code, said, _ = run("evaluate", "--weights", weights, "--data", "market1501", "--root", root)
    assert code == 0
    assert "ordered again" not in said


def test_train_learns_and_evaluates(root: Path, tmp_path: Path, run: Run) -> None:
    words = ["train", "pirt", "--data", "market1501", "--root", root, "--out", tmp_path / "run", "--weights", "none"]
    words += ["--config.backbone", "test_efficientnet", "--config.reduction", "16", "--recipe.height", "64"]
    words += ["--recipe.width", "32", "--recipe.epochs", "2", "--recipe.people", "3", "--recipe.images", "2"]
    code, out, _ = run(*words, "--device", "cpu", "--json")
    assert code == 0
    assert 0 <= json.loads(out)["scores"]["market"]["mAP"] <= 1
    steps = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    names = {name for line in steps if line["kind"] == "steps" for name in line["losses"]}
    assert names == {"identity_stripes", "identity_patches", "identity_parts", "triplet_parts"}
