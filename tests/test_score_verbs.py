"""`halfseen encode` and `halfseen evaluate --weights`, run as a person would."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import torch

from halfseen.data.embeddings import Encoded, load_encoded
from halfseen.data.finding import read_named
from halfseen.encode import Look, encode
from halfseen.evaluate import DISTANCES, evaluate, reranked
from halfseen.methods import METHODS
from halfseen.ops.distance import Single
from halfseen.ops.metrics import PROTOCOLS
from halfseen.printing import plain_scores
from halfseen.training.settings import augment_of
from halfseen.types import Facts
from halfseen.weights import Card, load_weights, make_network, plain, save_weights
from standins import RECIPE, TINY, Config, draw_set

Run = Callable[..., tuple[int, str, str]]
Refused = Callable[..., str]
EUCLID = replace(TINY, distance=Single("euclid"))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HALFSEEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(METHODS, "tiny", EUCLID)
    return draw_set(tmp_path / "set")


@pytest.fixture
def weights(root: Path, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    assert root
    card = Card("tiny", plain(Config()), plain(RECIPE), {}, 0, 0, "none")
    save_weights(tmp_path / "tiny.safetensors", EUCLID, make_network(TINY, Config(), RECIPE, 3), card)
    return tmp_path / "tiny.safetensors"


def encoded(weights: Path, name: str, root: Path, split: str) -> Encoded:
    loaded, samples = load_weights(weights), read_named(name, root).by_name[split]
    look = Look(augment_of(RECIPE))
    return Encoded(encode(loaded.network, EUCLID, samples, look), Facts.of(samples))


def test_encode_writes_what_evaluate_reads(weights: Path, root: Path, tmp_path: Path, run: Run) -> None:
    for split, count in (("train", 12), ("query", 3), ("gallery", 6)):
        out = tmp_path / f"{split}.safetensors"
        words = ("encode", "--weights", weights, "--data", "market1501", "--root", root, "--out", out)
        code, said, _ = run(*words, "--split", split)
        assert (code, said) == (0, f"{count} images, 1 × 32 numbers each: {out}\n")
        want = encoded(weights, "market1501", root, split)
        assert torch.equal(load_encoded(out, camid=0).embedding.vectors, want.embedding.vectors)
        assert torch.equal(load_encoded(out, camid=0).facts.pids, want.facts.pids)
    files = ("--query", tmp_path / "query.safetensors", "--gallery", tmp_path / "gallery.safetensors")
    by_file = json.loads(run("evaluate", *files, "--distance", "euclid", "--json")[1])
    by_weights = json.loads(run("evaluate", "--weights", weights, "--data", "market1501", "--root", root, "--json")[1])
    assert by_weights == {"sets": {"market1501": by_file["scores"]}}


def test_evaluate_scores_several_sets_by_the_methods_distance(weights: Path, root: Path, run: Run) -> None:
    names = ("market1501", "market1501+occluded@3")
    words = ["evaluate", "--weights", weights, "--root", root]
    for name in names:
        words += ["--data", name]
    code, out, _ = run(*words, "--json")
    sides = {name: [encoded(weights, name, root, split) for split in ("query", "gallery")] for name in names}
    want = {n: plain_scores(evaluate(*s, distance=Single("euclid"))) for n, s in sides.items()}
    assert (code, json.loads(out)) == (0, {"sets": want})
    assert not torch.equal(*(s[0].embedding.vectors for s in sides.values()))
    other = json.loads(run(*words, "--json", "--distance", "cosine", "--protocol", "all")[1])["sets"]
    assert other[names[1]] == plain_scores(
        evaluate(*sides[names[1]], distance=DISTANCES["cosine"], protocols=[PROTOCOLS["all"]])
    )
    again = json.loads(run(*words, "--json", "--rerank")[1])["sets"]
    assert again[names[0]] == plain_scores(evaluate(*sides[names[0]], distance=reranked(Single("euclid"))))
    _, table, _ = run(*words)
    titles = [line for line in table.splitlines() if ":" in line]
    assert titles == [f"{name}: 3 queries, 6 gallery images" for name in names]


def test_another_protocol_needs_no_network(
    weights: Path, root: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("evaluate", "--weights", weights, "--data", "market1501", "--root", root)
    assert run(*words)[0] == 0
    monkeypatch.delattr("halfseen.encode.encode")
    assert run(*words, "--protocol", "all", "--rerank", "--k1", 2, "--k2", 1)[0] == 0


def test_autocast_and_workers_are_taken(weights: Path, root: Path, run: Run) -> None:
    words = ("evaluate", "--weights", weights, "--data", "market1501", "--root", root, "--json")
    assert run(*words, "--autocast", "--device", "cpu")[0] == 0


WHAT = "what is to be scored? give --query FILE and --gallery FILE, or --weights FILE and --data NAME"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", WHAT),
        ("--query a.npz", WHAT),
        ("--weights w", WHAT),
        ("--data market1501", WHAT),
        ("--query a.npz --gallery b.npz --weights w --data x", WHAT),
        ("--query a.npz --gallery b.npz --data x", WHAT),
        ("--query a.npz --gallery b.npz --autocast", "--root, --device, --autocast and --workers belong to --weights"),
        ("--query a.npz --gallery b.npz --device cpu", "--root, --device, --autocast and --workers belong to"),
        ("--weights none.safetensors --data market1501", "none.safetensors does not exist; check the path"),
    ],
)
def test_what_does_not_belong_together(options: str, said: str, refused: Refused) -> None:
    assert said in refused("evaluate", *options.split())


def test_sets_without_the_split(weights: Path, root: Path, tmp_path: Path, refused: Refused) -> None:
    (root / "manifest.csv").write_text("path,pid,split\nquery/0001_c1_000.png,1,query\n")
    words = ("--weights", weights, "--data", "manifest", "--root", root)
    assert "manifest has no gallery pictures; name a set" in refused("evaluate", *words)
    assert "manifest has no gallery pictures" in refused("encode", *words, "--out", tmp_path / "x.safetensors")


def test_a_place_where_nothing_can_be_written(weights: Path, root: Path, tmp_path: Path, refused: Refused) -> None:
    words = ("encode", "--weights", weights, "--data", "market1501", "--root", root, "--out")
    with mock.patch("halfseen.weights.load_weights", side_effect=AssertionError("before the work")):
        assert "does not end in .safetensors" in refused(*words, tmp_path / "x.npz")
        assert "its folder does not exist; make it" in refused(*words, tmp_path / "no/x.safetensors")
        (tmp_path / "x.safetensors").mkdir()
        assert "it is a folder; name a file in it" in refused(*words, tmp_path / "x.safetensors")
    assert "its folder does not exist" in refused(*words, tmp_path / "no" / "x.safetensors")


@pytest.mark.parametrize("option", ["--workers 2", "--root x", "--autocast", "--device cpu"])
def test_options_of_weights_are_refused_with_files(option: str, refused: Callable[..., str]) -> None:
    said = refused("evaluate", *f"--query a.npz --gallery b.npz {option}".split())
    assert "--root, --device, --autocast and --workers belong to --weights" in said
