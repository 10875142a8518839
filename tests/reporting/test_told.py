"""What the page says is what was measured: scores, curves, parts, costs."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from halfseen.data.embeddings import Encoded
from halfseen.evaluate import evaluate
from halfseen.methods import METHODS
from halfseen.ops.distance import VisibleParts, distances
from halfseen.printing import plain_scores
from halfseen.report import examine, open_run, page
from halfseen.reporting import costs, results, tables
from halfseen.reporting.results import Result
from halfseen.types import Embedding, Facts
from page_reader import Reader, rows_of
from standins import draw_set, read_drawn
from tiny_methods import IMAGE

PARTS = 8


# --- what it says ---


def test_scores_are_those_of_evaluate(text: str, result: Result) -> None:
    wanted = evaluate(result.query, result.gallery, distance=METHODS["bpbreid"].distance)
    rows = rows_of(text, "Scores in per cent")
    assert list(rows) == list(wanted) == ["market"]
    scores = wanted["market"]
    shares = (scores.mAP, scores.mINP, *(plain_scores(wanted)["market"]["rank"].values()))  # type: ignore[attr-defined]
    assert rows["market"][:6] == [f"{100 * share:.1f}" for share in shares]
    assert rows["market"][6:] == ["3", "0", "2.00"]
    assert f"<b>{100 * scores.mAP:.1f} %</b>" in text


def test_facts_come_from_the_card(text: str) -> None:
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", text))
    assert facts["run"] == "parts"
    assert facts["backbone"] == "test_efficientnet"
    assert facts["trained on"] == "market1501: 12 pictures of 4 people"
    assert (facts["seed"], facts["epochs"], facts["started from"]) == ("3", "2 of 2", "none")
    assert "<h1>BPBreID on market1501</h1>" in text


def test_curves_are_those_of_the_log(text: str) -> None:
    charts = [a["aria-label"] for a in Reader(text).all("svg")]
    (losses,) = (told for told in charts if told.startswith("Losses"))
    assert "identity: 5 at 1, 1.667 at 3; triplet: 1 at 1, 1 at 3" in losses
    (scored,) = (told for told in charts if told.startswith("Scores during training"))
    assert "market: 50 % at 3" in scored
    assert any(told.startswith("Learning rate. learning rate: 0.1 at 1") for told in charts)
    assert any(told.startswith("CMC. market:") for told in charts)


def test_what_a_method_watches_has_a_course_and_what_is_always_0_has_none(place: Path) -> None:
    lines = [
        {"kind": "steps", "step": step, "losses": {"policy": 1.0}, "lr": 0.1, "gradient": 2.0, "images_per_second": 9.0}
        | {"erased": 0.1 * step, "erased_greedy": 0.2, "reward": -0.5 / step, "keeps_all": 0.0}
        for step in (1, 2)
    ]
    run = replace(open_run(place / "parts"), log=lines)
    told = [a["aria-label"] for a in Reader(tables.training_charts(run)).all("svg")]
    assert told == [
        "Losses, with their weights. policy: 1 at 1, 1 at 2",
        "Learning rate. learning rate: 0.1 at 1, 0.1 at 2",
        "Erased. erased: 0.1 at 1, 0.2 at 2; erased greedy: 0.2 at 1, 0.2 at 2",
        "Reward. reward: -0.5 at 1, -0.25 at 2",
    ]


def test_weights_without_a_log_have_no_training_section(place: Path) -> None:
    run = open_run(place / "parts/best.safetensors")
    assert run.name == "best"
    assert tables.training_charts(run) == ""


def test_each_part_alone_is_scored_by_its_own_vectors(text: str, result: Result) -> None:
    rows = rows_of(text, "Each part alone")
    names = ["head", "left arm", "right arm", "torso", "left leg", "right leg", "left foot", "right foot"]
    assert list(rows)[:11] == ["foreground", *names, "all parts", "together"]
    query, gallery = result.query.embedding, result.gallery.embedding
    for name, chosen in {"head": [1], "all parts": list(range(1, 9)), "together": list(range(9))}.items():
        sides = [Embedding(e.vectors[:, chosen], e.visibility[:, chosen]) for e in (query, gallery)]
        between = distances(VisibleParts(), *sides)
        assert rows[name][0] == f"{100 * mean_precision(between, result.query.facts, result.gallery.facts):.1f}"
        assert rows[name][6] == f"{100 * float(sides[0].visibility.mean()):.0f}"


def mean_precision(between: Tensor, query: Facts, gallery: Facts) -> float:
    """mAP of the camera rule, by the book; at equal distance others come first."""
    found = []
    for row, distance in enumerate(between.tolist()):
        kin = [int(p) == int(query.pids[row]) for p in gallery.pids]
        mine = [k and int(c) == int(query.camids[row]) for k, c in zip(kin, gallery.camids, strict=True)]
        order = sorted((d, k) for d, k, junk in zip(distance, kin, mine, strict=True) if not junk)
        places = [place for place, (_, right) in enumerate(order, 1) if right]
        found.append(sum(n / place for n, place in enumerate(places, 1)) / len(places))
    return sum(found) / len(found)


def test_a_global_vector_has_no_part_table_and_no_part_maps(whole: Result) -> None:
    assert whole.names == ("whole",)
    assert tables.part_table(whole) == ""
    told = page([whole], queries=1)
    assert "response" in told
    assert "parts" not in Reader(told).texts


# --- what is looked at ---


def test_frames_are_green_where_the_embedding_calls_a_part_seen(text: str, result: Result) -> None:
    (section,) = re.findall(r'<section id="looks-0".*?</section>', text, re.DOTALL)
    shown = results.sampled(result, 6)
    tiles = re.findall(r'<figure class="tile (right|wrong)">.*?<small>([\d.]+) (seen|unseen)</small>', section)
    seen = result.query.embedding.visibility[shown, 1:].flatten().bool().tolist()
    assert [(frame == "right", word == "seen") for frame, _, word in tiles] == [(s, s) for s in seen]
    assert 0 < sum(seen) < len(seen)
    threshold = result.run.loaded.config.threshold
    assert all(
        (float(peak) > threshold) == (word == "seen") for _, peak, word in tiles if abs(float(peak) - threshold) > 0.01
    )
    assert section.count(">labels<") == section.count(">parts<") == section.count(">response<") == len(shown)


def test_without_cues_there_are_no_labels(place: Path, tmp_path: Path) -> None:
    (draw_set(tmp_path / "bare") / "keypoints.npz").unlink()
    told = page([examine(open_run(place / "parts"), read_drawn(tmp_path / "bare"))], queries=1)
    assert ">labels</figcaption>" not in told
    assert ">parts</figcaption>" in told


def test_maps_that_come_from_cues_are_shown_too(place: Path) -> None:
    fixed = examine(open_run(place / "fixed"), read_drawn(place / "set"))
    assert len(fixed.names) == 1 + 3
    told = page([fixed], queries=1)
    assert told.count(">parts</figcaption>") == told.count(">labels</figcaption>") == 3
    assert told.count(" seen</small>") == 3 * 3
    assert "together, all taken for seen" not in told  # they are anyway


# --- costs ---


def test_costs_count_what_is_there(result: Result, whole: Result) -> None:
    for some in (result, whole):
        found = costs.cost(some)
        assert found.tested == sum(p.numel() for p in some.run.loaded.network.parameters())
        assert found.trained > found.tested
        assert found.flops > 1e5
        assert found.encoding > 0 < found.matching
    found = costs.cost(whole)
    assert found.trained - found.tested == 4 * whole.query.embedding.vectors.shape[2]  # the classifier of four people


def test_operations_are_those_of_its_layers(whole: Result) -> None:
    """Two for each multiplication of the convolutions: nothing else in BoT multiplies matrices."""
    counted = []

    def count(layer: nn.Module, _: Any, out: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d)
        counted.append(2 * out.numel() * layer.weight[0].numel())

    network = whole.run.loaded.network
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    hooks = [layer.register_forward_hook(count) for layer in convolutions]
    with torch.inference_mode():
        network(torch.zeros(1, 3, *IMAGE))
    for hook in hooks:
        hook.remove()
    assert costs.cost(whole).flops == sum(counted)


def test_seconds_are_the_median_after_a_start_that_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = iter([0, 9.0, 0, 2.0, 0, 3.0, 0, 1.0, 0, 4.0])
    monkeypatch.setattr(costs, "perf_counter", lambda: next(ends))
    calls: list[int] = []
    assert costs.seconds(lambda: calls.append(1)) == 3.0
    assert len(calls) == 1 + costs.TIMES


def test_where_there_are_but_parts_all_of_them_are_no_row_of_their_own(result: Result) -> None:
    def parts(side: Encoded) -> Encoded:
        return replace(side, embedding=Embedding(side.embedding.vectors[:, 1:], side.embedding.visibility[:, 1:]))

    assert result.names[0] == "foreground"
    alone = replace(result, query=parts(result.query), gallery=parts(result.gallery), names=result.names[1:])
    assert list(rows_of(tables.part_table(alone), "Each part alone"))[:9] == [*result.names[1:], "together"]


def test_one_query_alone_is_timed(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int, int]] = []
    monkeypatch.setattr(costs, "top_k", lambda _, query, gallery, k: asked.append((len(query), len(gallery), k)))
    costs.cost(result)
    assert {*asked} == {(1, len(result.gallery.facts), 10)}
