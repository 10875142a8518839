"""Who was found: the nearest first, junk beside them, and what each part had to say."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from halfseen import evaluate
from halfseen.data.embeddings import Encoded
from halfseen.ops.distance import Single
from halfseen.ops.metrics import PROTOCOLS, mean_scores
from halfseen.report import page
from halfseen.reporting import results, strips
from halfseen.reporting.results import Result
from halfseen.types import Embedding, Facts
from page_reader import Reader

PARTS = 8
MARKET = PROTOCOLS["market"]


# --- who was found ---


def toy(result: Result, vectors: list[float], pids: list[int], camids: list[int]) -> Result:
    """One query, person 7 before camera 1 at 0, and a gallery on a line; the parts' distances are the same."""
    gallery = Embedding.of(torch.tensor(vectors)[:, None])
    labels = torch.zeros(len(pids), dtype=torch.int64)
    one = torch.ones(1, dtype=torch.int64)
    method = replace(result.run.loaded.method, distance=Single("euclid"))
    run = replace(result.run, loaded=result.run.loaded._replace(method=method))
    return replace(
        result,
        run=run,
        query=Encoded(Embedding.of(torch.zeros(1, 1)), Facts(7 * one, one, 0 * one)),
        gallery=Encoded(gallery, Facts(torch.tensor(pids), torch.tensor(camids), labels)),
        names=("whole",),
    )


def test_answers_come_nearest_first_and_junk_takes_no_place(result: Result) -> None:
    #               wrong  right  same camera  nobody  right  wrong
    small = toy(result, [4.0, 1.0, 2.0, 3.0, 5.0, 6.0], [8, 7, 7, -1, 7, 9], [1, 2, 1, 1, 3, 1])
    found = results.answers(small, 0, 3, MARKET)
    assert [(a.row, a.verdict, a.place) for a in found] == [
        (1, "right", 1),
        (2, "junk", None),
        (3, "junk", None),
        (0, "wrong", 2),
        (4, "right", 3),
    ]
    assert [a.distance for a in found] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert len(results.answers(small, 0, 99, MARKET)) == 6


def test_where_cameras_do_not_count_only_nobody_is_junk(result: Result) -> None:
    small = toy(result, [1.0, 2.0], [7, -1], [1, 1])
    assert [a.verdict for a in results.answers(small, 0, 5, PROTOCOLS["all"])] == ["right", "junk"]


def test_of_much_junk_only_some_is_shown(result: Result) -> None:
    junk = results.SHOWN_JUNK + 5
    small = toy(result, [float(n) for n in range(junk + 1)], [*[7] * junk, 8], [*[1] * junk, 2])
    found = results.answers(small, 0, 1, MARKET)
    assert [a.verdict for a in found] == ["junk"] * results.SHOWN_JUNK + ["wrong"]


RULES = {"market": {0, 1, 2, 3}, "all": {0, 1, 2, 3}, "occ": {1, 2}, "npo": {2}, "ntp": {1}}  # occlusions that count


@pytest.mark.parametrize("name", RULES)
def test_what_an_answer_is_worth_is_a_matter_of_the_protocol(result: Result, name: str) -> None:
    dice = torch.Generator().manual_seed(4)
    pids = [8, *torch.randint(-1, 9, (79,), generator=dice).tolist()]
    camids, labels = (torch.randint(0, n, (80,), generator=dice).tolist() for n in (3, 4))
    small = toy(result, torch.rand(80, generator=dice).tolist(), [7 if pid > 5 else pid for pid in pids], camids)
    facts = replace(small.gallery.facts, occlusion=torch.tensor(labels))
    small = replace(small, gallery=replace(small.gallery, facts=facts))
    worth = [results.VERDICTS[number] for number in results.verdicts(small, 0, PROTOCOLS[name]).tolist()]
    for row, found in enumerate(worth):
        pid, own_camera = int(facts.pids[row]), camids[row] == 1
        if pid < 0 or (pid == 7 and own_camera and name != "all"):
            assert found == "junk"
        elif pid == 7:
            assert found == ("right" if labels[row] in RULES[name] else "ignored")
        else:
            assert found == "wrong"
    assert {*worth} >= {"right", "wrong", "junk"}
    assert ("ignored" in worth) is (name in ("occ", "npo", "ntp"))


def test_ignored_answers_are_crossed_out_and_take_no_place(result: Result) -> None:
    #               holistic  hidden  wrong  same camera
    small = toy(result, [1.0, 2.0, 3.0, 4.0], [7, 7, 8, 7], [2, 2, 2, 1])
    facts = replace(small.gallery.facts, occlusion=torch.tensor([3, 2, 3, 2]))
    small = replace(small, gallery=replace(small.gallery, facts=facts))
    occ = PROTOCOLS["occ"]
    found = results.answers(small, 0, 10, occ)
    assert [(a.row, a.verdict, a.place) for a in found] == [
        (0, "ignored", None),
        (1, "right", 1),
        (2, "wrong", 2),
        (3, "junk", None),
    ]
    told = strips.strips([small], [0], "x", occ)
    buttons = Reader(told).all("button")
    assert [button["class"] for button in buttons] == [f"tile {a.verdict}" for a in found]
    assert [button["aria-label"].startswith("does not count") for button in buttons] == [True, False, False, True]
    assert "AP 100 % · first right answer at place 1 · 1 right answers in all" in told
    assert "before the same camera or not labelled as hidden (crossed out): does not count" in strips.legend(occ)
    assert "labelled as hidden" not in strips.legend(MARKET)
    assert "does not count" not in strips.legend(PROTOCOLS["all"])


def test_with_the_same_camera_its_pictures_count(result: Result) -> None:
    small = toy(result, [1.0, 2.0, 3.0], [7, 8, 7], [1, 2, 2])
    told = {name: strips.strips([small], [0], "x", PROTOCOLS[name]) for name in ("market", "all")}
    assert "AP 50 % · first right answer at place 2 · 1 right answers in all" in told["market"]
    assert "AP 83 % · first right answer at place 1 · 2 right answers in all" in told["all"]  # (1 + 2/3) / 2


def test_one_query_alone_scores_as_among_all(result: Result) -> None:
    for name, scores in result.per_query.items():
        for query in range(len(result.query.facts)):
            alone = results.scored_alone(result, query, PROTOCOLS[name])
            assert [float(value) for value in alone] == [float(values[query]) for values in scores]


def test_queries_that_their_own_camera_saw_again_are_found(result: Result) -> None:
    small = toy(result, [1.0, 2.0], [7, 8], [1, 1])
    assert results.seen_again(small, 5) == [0]
    assert results.seen_again(toy(result, [1.0, 2.0], [7, 8], [2, 1]), 5) == []
    assert results.seen_again(result, 5) == []  # its gallery is before other cameras


def test_sections_judge_the_same_ranking_otherwise(result: Result) -> None:
    def section(told: str, key: str) -> str:
        return next(iter(re.findall(rf'<section id="{key}".*?</section>', told, re.DOTALL)), "")

    plain = page([result], queries=1)
    assert section(plain, "camera") == section(plain, "hidden") == ""
    facts = replace(result.gallery.facts, occlusion=torch.tensor([3, 2, 3, 2, 3, 2]))
    facts = replace(facts, camids=torch.where(facts.camids == 3, 1, facts.camids))
    query = replace(result.query, facts=replace(result.query.facts, camids=torch.tensor([1, 2, 3])))
    gallery, camids = replace(result.gallery, facts=facts), facts.camids
    found = evaluate.score_each(query, gallery, distance=result.distance)
    scores = {protocol.name: mean_scores(each, protocol) for protocol, each in found.items()}
    assert "occ" in scores
    each = {protocol.name: values for protocol, values in found.items()}
    told = page([replace(result, query=query, gallery=gallery, scores=scores, per_query=each)], queries=3)
    assert "junk" not in section(told, "camera")
    assert section(told, "camera").count("<article") == 2  # the queries before cameras 1 and 2
    assert section(told, "camera").count("own camera</small>") == (camids == 1).sum() + (camids == 2).sum()
    assert told.count("own camera</small>") == section(told, "camera").count("own camera</small>")
    assert "tile ignored" in section(told, "hidden")
    assert "tile ignored" not in section(told, "answers")


def test_part_distances_are_those_of_a_loop(result: Result) -> None:
    found = results.part_distances(result, 1, [4, 0])
    query, gallery = result.query.embedding.vectors, result.gallery.embedding.vectors
    assert found.shape == (2, 1 + PARTS)
    for number, row in enumerate([4, 0]):
        for part in range(1 + PARTS):
            one, other = (v / v.norm() for v in (query[1, part], gallery[row, part]))
            assert float(found[number, part]) == pytest.approx(float((one - other).norm()), abs=2e-3)


def test_strips_show_the_same_answers_with_their_parts(result: Result) -> None:
    told = strips.strips([result], [2], "x")
    read = Reader(told)
    found = results.answers(result, 2, 10, MARKET)
    assert [b["class"] for b in read.all("button")] == [f"tile {a.verdict}" for a in found]
    assert len(read.all("img")) == 1 + len(found)
    for answer, button in zip(found, read.all("button"), strict=True):
        sample = result.splits.gallery[answer.row]
        assert f"person {sample.pid}, camera {sample.camid}, distance {answer.distance:.3f}" in button["aria-label"]
    bars = re.findall(r'style="--share:([\d.]+)"', told)
    assert len(bars) == 3 * (1 + PARTS) * len(found)
    assert 0 <= min(map(float, bars)) <= max(map(float, bars)) <= 1


def test_an_answer_that_shares_no_part_says_so(result: Result) -> None:
    unseen = Embedding(result.gallery.embedding.vectors, torch.zeros_like(result.gallery.embedding.visibility))
    blind = replace(result, gallery=replace(result.gallery, embedding=unseen))
    assert "infinite, as no part is seen in both" in strips.strips([blind], [0], "x")


def scored(result: Result, precision: list[float], positives: list[int]) -> Result:
    ap = torch.tensor(precision, dtype=torch.float64)
    each = result.per_query["market"]._replace(ap=ap, positives=torch.tensor(positives))
    return replace(result, per_query={"market": each})


def test_the_hardest_are_those_found_worst_and_nobody_found_at_once(result: Result) -> None:
    easy = scored(result, [1.0, 0.2, 0.0, 0.5, 0.1], [1, 1, 0, 1, 1])
    assert results.hardest([easy], 2) == [4, 1]
    assert results.hardest([easy], 9) == [4, 1, 3]
    other = scored(result, [0.0, 0.0, 0.0, 0.0, 1.0], [1, 1, 0, 1, 1])
    assert results.hardest([easy, other], 2) == [1, 3]
    assert results.hardest([scored(result, [1.0, 1.0], [1, 1])], 3) == []
    told = page([scored(result, [1.0, 1.0, 1.0], [2, 2, 2])], queries=1)
    assert "None: every query finds all it should first." in told


@pytest.mark.parametrize(
    ("queries", "count", "wanted"), [(10, 2, [2, 7]), (3, 8, [0, 1, 2]), (5, 1, [2]), (4, 4, [0, 1, 2, 3])]
)
def test_the_sample_is_spread_over_all_queries(result: Result, queries: int, count: int, wanted: list[int]) -> None:
    assert results.sampled(scored(result, [0.5] * queries, [1] * queries), count) == wanted


def test_a_query_without_an_answer_is_not_in_the_sample(result: Result) -> None:
    assert results.sampled(scored(result, [0.5] * 4, [1, 0, 0, 1]), 4) == [0, 3]


def test_of_each_kind_that_does_not_count_some_are_shown(result: Result) -> None:
    some = results.SHOWN_JUNK
    small = toy(result, [float(n) for n in range(2 * some + 1)], [*[7] * 2 * some, 8], [*[1, 2] * some, 2])
    facts = replace(small.gallery.facts, occlusion=torch.full((2 * some + 1,), 3))  # nobody is hidden
    small = replace(small, gallery=replace(small.gallery, facts=facts))
    found = results.answers(small, 0, 1, PROTOCOLS["occ"])
    assert [answer.verdict for answer in found] == ["junk", "ignored"] * some + ["wrong"]


def test_a_part_that_one_of_the_two_hides_is_marked(result: Result) -> None:
    def seen(count: int, hidden: int) -> torch.Tensor:
        return torch.ones(count, len(result.names)).index_fill(1, torch.tensor([hidden]), 0.0)

    query, gallery = (
        replace(side, embedding=Embedding(side.embedding.vectors, seen(len(side.facts), hidden)))
        for side, hidden in ((result.query, 1), (result.gallery, 2))
    )
    told = strips.strips([replace(result, query=query, gallery=gallery)], [0], "x")
    (first, *_) = re.findall(r"<tbody>(.*?)</tbody>", told, re.DOTALL)
    assert ["unseen" in row for row in re.findall(r"<tr.*?</tr>", first, re.DOTALL)] == [False, True, True] + [
        False
    ] * (len(result.names) - 3)
