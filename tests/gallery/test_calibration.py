"""Chances that hold: of answers given 70 %, seven in ten are right, also for people who were not learned from."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from galleries import facts, filled, people
from halfseen.data.embeddings import Encoded
from halfseen.gallery import calibration as module
from halfseen.gallery.calibration import (
    Calibration,
    Crowd,
    Signs,
    calibrate,
    calibration_of,
    draw_reliability,
    keep_calibration,
    signs_of,
)
from halfseen.gallery.probes import Mean
from halfseen.gallery.search import Search
from halfseen.gallery.sightings import Ask
from halfseen.gallery.store import Gallery
from halfseen.types import Embedding, Facts, InputError

NOISE = 1.1
KEPT = {"name": "toys", "coefficients": [0.0] * 5, "rows": 9, "answers": 9, "people": 3, "error": 0.1, "brier": 0.1}
KEPT |= {"bins": [[0.5, 0.5, 9]], "spread": 0.1}


def labelled(pids: list[int], seed: int, camera: int) -> Encoded:
    columns = torch.tensor(pids)
    camids = torch.full_like(columns, camera)
    return Encoded(people(pids, seed, noise=NOISE), Facts(columns, camids, torch.zeros_like(columns)))


def answers(query: Encoded, gallery: Encoded, spread: float) -> tuple[Signs, torch.Tensor, torch.Tensor]:
    return module._answers(query, gallery, Crowd.of(gallery.embedding), spread)


@pytest.fixture(scope="module")
def learned() -> Calibration:
    return calibrate(labelled([*range(120)], 1, 0), labelled([row % 120 for row in range(1_200)], 2, 1), "toys")


def test_chances_hold_for_people_not_learned_from(learned: Calibration) -> None:
    assert (learned.rows, learned.people, learned.answers) == (1_200, 120, 6_000)
    assert learned.error < 0.04
    assert sum(each.answers for each in learned.bins) == learned.answers
    assert learned.brier < 0.15
    assert max(each.said for each in learned.bins) > 0.7
    assert [each.said for each in learned.bins] == sorted(each.said for each in learned.bins)
    for each in learned.bins:
        assert abs(each.said - each.right) < 0.02 + 2.6 * math.sqrt(0.25 / each.answers)


def test_chances_hold_in_a_larger_gallery(learned: Calibration) -> None:
    """Four times the strangers; without lowering the odds, the gap would be several times as large."""
    pids = [row % 120 for row in range(1_200)] + [120 + row % 360 for row in range(3_600)]
    query, gallery = labelled([*range(120)], 5, 0), labelled(pids, 6, 1)
    signs, right, _ = answers(query, gallery, learned.spread)
    gap, careless = (
        abs(float(learned.chance(signs, rows).mean()) - float(right.float().mean())) for rows in (4_800, 1)
    )
    assert gap < 0.04
    assert careless > 2 * gap


@pytest.mark.parametrize(("count", "least"), [(3, 0.5), (6, 0.7), (12, 0.8)])
def test_few_people_in_a_gallery_make_nobody_doubtful(count: int, least: float, learned: Calibration) -> None:
    """A third to a twelfth of it is the person, who is not to be taken for the strangers to stand out from."""
    gallery = labelled([row % 120 for row in range(1_200)], 2, 1)
    everyone, few, many = Crowd.of(gallery.embedding), list[torch.Tensor](), list[torch.Tensor]()
    for first in range(0, 120, count):
        rows = (gallery.facts.pids >= first) & (gallery.facts.pids < first + count)
        query = labelled([*range(first, first + count)], first, 0)
        here = Encoded(gallery.embedding[rows], gallery.facts[rows])
        signs, right, asked = answers(query, here, learned.spread)
        middle, spread = (each[asked - first] for each in everyone.moments(Mean.each(query.embedding)))
        usual = Signs(signs.distance, (middle - signs.distance) / spread.clamp(min=learned.spread), signs.shown)
        few.append(learned.chance(signs, 1)[right])
        many.append(learned.chance(usual, 1)[right])
    assert least < float(torch.cat(few).mean() / torch.cat(many).mean()) < 1.1


@pytest.mark.parametrize("count", [2, 5, 10])
def test_nobody_stands_out_from_few_strangers_by_their_being_few(count: int, learned: Calibration) -> None:
    """Five pictures of each, all alike as those of a passage are; the person asked for is none of them."""
    first = list[torch.Tensor]()
    for seed in range(30):
        pids = [200 + seed * count + row for row in range(count)]
        crops = people([pid for pid in pids for _ in range(5)], seed=seed, noise=0.05)
        gallery = Encoded(crops, Facts(*torch.tensor([pids * 5, [1] * 5 * count, [0] * 5 * count])))
        signs, _, _ = answers(labelled([seed, seed + 30], seed, 0), gallery, learned.spread)
        first.append(learned.chance(signs, len(crops)).view(2, -1)[:, 0])
    chances = torch.cat(first)
    assert float(chances.mean()) < 0.08
    assert float((chances > 0.5).float().mean()) < 0.04


def test_the_odds_fall_with_the_strangers_and_never_rise(learned: Calibration) -> None:
    signs = Signs(torch.tensor([0.4]), torch.tensor([3.0]), torch.tensor([0.5]))
    odds = [float(torch.logit(learned.chance(signs, rows))) for rows in (10, 1_200, 2_400, 12_000)]
    assert odds[0] == odds[1]
    assert odds[1] - odds[2] == pytest.approx(math.log(2), abs=1e-4)
    assert odds[1] - odds[3] == pytest.approx(math.log(10), abs=1e-4)


def test_what_makes_an_answer_sure(learned: Calibration) -> None:
    def chance(distance: float, margin: float) -> float:
        signs = Signs(torch.tensor([distance]), torch.tensor([margin]), torch.tensor([0.6]))
        return float(learned.chance(signs, learned.rows)[0])

    assert chance(0.2, 6.0) > 0.9
    assert chance(0.8, 0.5) < 0.3


def test_standing_out_by_hand() -> None:
    crowd = Embedding(torch.tensor([[[1.0, 0]], [[0, 1]], [[-1, 0]], [[5, 5]]]), torch.tensor([[1.0], [0.5], [1], [0]]))
    query = Mean.each(Embedding(torch.tensor([[[2.0, 0]]]), torch.tensor([[0.5]])))
    middle, spread = Crowd.of(crowd).moments(query)  # distances 0, 1 and 2: of these the farther half; 5, 5 is unseen
    assert float(middle) == pytest.approx(1.5)
    assert float(spread) == pytest.approx(0.5)
    signs = signs_of(Crowd.of(crowd), query, torch.tensor([[0.2]]), torch.tensor([[[0.25]]]), 0.1)
    assert [float(sign) for sign in signs] == pytest.approx([0.2, 1.3 / 0.5, 0.25])
    signs = signs_of(Crowd.of(crowd), query, torch.tensor([[0.2]]), torch.tensor([[[0.25]]]), 2.0)
    assert float(signs.margin) == pytest.approx(1.3 / 2.0)
    blind = Mean(torch.zeros(1, 1, 2), torch.zeros(1, 1))
    assert all(bool(value.isfinite()) for value in Crowd.of(crowd).moments(blind))


def test_a_logistic_regression_finds_what_made_the_labels() -> None:
    dice = torch.Generator().manual_seed(0)
    table = torch.cat([torch.ones(20_000, 1), torch.randn(20_000, 2, generator=dice)], 1).double()
    truth = torch.tensor([-1.0, 2.0, -0.5], dtype=torch.float64)
    right = (torch.rand(20_000, generator=dice, dtype=torch.float64) < torch.sigmoid(table @ truth)).double()
    found = module._logistic(table, right)
    assert torch.allclose(found, truth, atol=0.1)
    slope = table.T @ (torch.sigmoid(table @ found) - right) / len(table)
    assert float(slope.abs().max()) < 0.01
    apart = module._logistic(table, (table[:, 1] > 0).double())  # nothing but the cost keeps these finite
    assert bool(apart.isfinite().all())


def test_images_of_ones_own_camera_and_junk_are_no_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWERS", 100)
    query, gallery = labelled([*range(20)], 1, 0), labelled([row % 20 for row in range(100)], 2, 1)
    camids = gallery.facts.camids.clone()
    camids[:40] = 0
    pids = torch.where(torch.arange(100) >= 90, -1, gallery.facts.pids)
    same = Encoded(gallery.embedding, Facts(pids, camids, gallery.facts.occlusion))
    named = replace(same, embedding=same.embedding[:90], facts=same.facts[:90])
    found, right, people_asked = answers(query, named, 0.1)
    assert int(right.sum()) == 50  # rows 40 to 89
    nameless = replace(named, has_cameras=False)
    assert int(answers(query, nameless, 0.1)[1].sum()) == 90
    assert calibrate(query, same, "toys").rows == 90
    assert found.distance.shape == right.shape == people_asked.shape


@pytest.mark.parametrize("pids", [[0] * 30, [*range(100, 130)]])
def test_both_kinds_of_answers_are_needed(pids: list[int]) -> None:
    with pytest.raises(InputError, match="both kinds are needed"):
        calibrate(labelled([0, 0], 1, 0), labelled(pids, 2, 1), "toys")


def test_one_person_is_not_enough() -> None:
    with pytest.raises(InputError, match="all queries are of one person"):
        calibrate(labelled([0, 0], 1, 0), labelled([0, 1] * 20, 2, 1), "toys")
    assert calibrate(labelled([0, 1], 1, 0), labelled([0, 1] * 20, 2, 1), "toys").people == 2


@pytest.mark.parametrize(
    "noted",
    [
        3,
        {},
        {"bins": [], "coefficients": "abcd"},
        {"bins": [[1, 2, 3]], "coefficients": [1]},
        KEPT | {"spread": -1.0},
        {name: value for name, value in KEPT.items() if name != "spread"},
    ],
)
def test_what_another_version_kept_is_one_sentence(tmp_path: Path, noted: object) -> None:
    pytest.importorskip("lance", reason="the extra `search` is not installed")
    gallery = filled(tmp_path, 3)
    gallery.keep_note(module.NOTE, noted)
    with pytest.raises(InputError, match=r"another version of halfseen; run `halfseen gallery calibrate` again"):
        Search(gallery)


def test_a_calibrated_gallery_may_be_empty(tmp_path: Path, learned: Calibration) -> None:
    pytest.importorskip("lance", reason="the extra `search` is not installed")
    gallery = filled(tmp_path, 3)
    keep_calibration(gallery, learned)
    gallery.remove([0, 1, 2])
    assert Search(gallery).search(Ask(people([0]))) == []
    gallery.add(people([0]), facts(1))
    (answer,) = Search(gallery).search(Ask(people([0]), rerank=True))
    assert answer.confidence is not None
    assert 0 < answer.confidence < 1


def test_a_gallery_keeps_it_and_its_answers_bear_it(tmp_path: Path, learned: Calibration) -> None:
    pytest.importorskip("lance", reason="the extra `search` is not installed")
    gallery, query = filled(tmp_path, 400), people([3], seed=8)
    search = Search(gallery)
    assert calibration_of(gallery) is None
    keep_calibration(gallery, learned)
    assert calibration_of(Gallery.open(tmp_path)) == learned
    assert search.search(Ask(query))[0].confidence is None
    assert search.refresh()
    answers = search.search(Ask(query, count=400))
    chances = [answer.confidence or 0.0 for answer in answers]
    assert all(0 < chance < 1 for chance in chances)
    assert chances[0] > 0.5
    assert chances[-1] < 0.1
    stored = gallery.embedding()[1]
    distances, seen = torch.tensor([[a.distance for a in answers]]), torch.tensor([[a.seen for a in answers]])
    signs = signs_of(Crowd.of(stored), Mean.each(query), distances, seen, learned.spread)
    assert chances == pytest.approx(learned.chance(signs, 400)[0].tolist(), abs=1e-5)
    streamed = Search(gallery, memory=0).search(Ask(query, count=400))
    assert [answer.confidence for answer in streamed] == pytest.approx(chances, abs=1e-6)


def test_points_of_the_plot_rest_on_enough_answers() -> None:
    said = torch.tensor([0.01] * 400 + [0.15] * 60 + [0.55] * 20 + [0.75] * 20 + [0.95] * 20, dtype=torch.float64)
    right = (torch.arange(520) % 4 == 0).double()
    assert [(round(each.said, 3), each.answers) for each in module._bins(said, right)] == [
        (0.01, 400),
        (0.15, 60),
        (0.75, 60),
    ]
    assert [each.answers for each in module._bins(said[380:], right[380:])] == [80, 60]
    assert [each.answers for each in module._bins(said[:3], right[:3])] == [3]
    assert all(each.right == pytest.approx(0.25, abs=0.02) for each in module._bins(said, right))


def test_the_plot_is_drawn(learned: Calibration) -> None:
    drawn = draw_reliability(learned)
    assert drawn.startswith("<svg")
    assert drawn.count("<polyline") + drawn.count("<path") >= 2
    assert "said and right" in drawn
    assert drawn.count("<circle") == len(learned.bins) + 2


def test_a_confidence_stays_with_its_answer_when_they_are_ordered_anew(tmp_path: Path) -> None:
    pytest.importorskip("lance", reason="the extra `search` is not installed")
    learned = calibrate(labelled([*range(40)], 1, 0), labelled([row % 40 for row in range(200)], 2, 1), "toys")
    gallery, query = filled(tmp_path, 100), people([3], seed=8, noise=1.2)
    keep_calibration(gallery, learned)
    search = Search(gallery)
    plain = {answer.id: answer.confidence for answer in search.search(Ask(query, count=100))}
    answers = search.search(Ask(query, count=100, rerank=True))
    assert [answer.id for answer in answers] != list(plain)
    assert [answer.confidence for answer in answers] == [plain[answer.id] for answer in answers]


def test_each_is_told_by_what_the_others_taught(monkeypatch: pytest.MonkeyPatch) -> None:
    learned_from, really = list[int](), module._logistic

    def noted(table: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        learned_from.append(len(table))
        return really(table, right)

    monkeypatch.setattr(module, "_logistic", noted)
    found = calibrate(labelled([*range(20)], 1, 0), labelled([row % 20 for row in range(200)], 2, 1), "toys")
    *folds, whole = learned_from
    assert whole == found.answers
    assert sum(whole - fold for fold in folds) == whole  # each answer is held out once


def test_nobody_stands_out_beyond_all_measure() -> None:
    crowd = Crowd.of(Embedding(torch.tensor([[[-1.0, 0]]]), torch.ones(1, 1)))
    query = Mean.each(Embedding(torch.tensor([[[2.0, 0]]]), torch.ones(1, 1)))
    for distance, margin in ((0.2, 20), (2.8, -20)):
        signs = signs_of(crowd, query, torch.tensor([[distance]]), torch.ones(1, 1, 1), 0.01)
        assert float(signs.margin) == margin
