"""Scores against sorted lists, hand-counted ranks and what chance would give."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import oracles
from halfseen.ops.metrics import PROTOCOLS, _count, score, score_queries
from halfseen.types import Facts, InputError, Occlusion, Protocol, Scores

MARKET, ALL, OCC = PROTOCOLS["market"], PROTOCOLS["all"], PROTOCOLS["occ"]
NTP, NPO, HOLISTIC = int(Occlusion.NTP), int(Occlusion.NPO), int(Occlusion.HOLISTIC)


def facts(pids: list[int], camids: list[int] | None = None, occlusion: list[int] | None = None) -> Facts:
    zeros = [0] * len(pids)
    return Facts(torch.tensor(pids), torch.tensor(camids or zeros), torch.tensor(occlusion or zeros))


def in_blocks(matrix: Tensor, rows: int) -> Iterator[tuple[int, Tensor]]:
    return ((first, matrix[first : first + rows]) for first in range(0, len(matrix), rows))


def market(matrix: Tensor, query: Facts, gallery: Facts) -> Scores:
    return score(matrix, query, gallery, [MARKET])["market"]


def score_order(pids: list[int]) -> Scores:
    """The scores of one query of pid 1 on a gallery of `pids`, nearest first."""
    return market(torch.arange(len(pids)).float()[None], facts([1], [9]), facts(pids))


@st.composite
def rankings(draw: st.DrawFn) -> tuple[Tensor, Facts, Facts]:
    """Few different distances, identities and cameras, so that ties, junk and skipped queries abound."""
    dice = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    q, g = draw(st.integers(1, 6)), draw(st.integers(1, 25))

    def numbers(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=dice)

    people, different = draw(st.integers(1, 4)), draw(st.sampled_from([2, 5, 100]))
    matrix = numbers(0, different, q, g).float()
    matrix[matrix == 1] = math.inf
    query = Facts(numbers(-1, people, q), numbers(0, 2, q), numbers(0, 4, q))
    return matrix, query, Facts(numbers(-1, people, g), numbers(0, 2, g), numbers(0, 4, g))


def ranks_by_loop(matrix: Tensor, query: Facts, gallery: Facts, protocol: Protocol) -> list[list[int]]:
    rows = zip(matrix.tolist(), query.pids.tolist(), query.camids.tolist(), strict=True)
    return [oracles.positive_ranks(row, pid, camid, gallery, protocol) for row, pid, camid in rows]


@given(rankings(), st.sampled_from([None, 1, 2, 5]))
@settings(deadline=None, max_examples=120)
def test_C5_queries_equal_sorted_lists(drawn: tuple[Tensor, Facts, Facts], rows: int | None) -> None:
    matrix, query, gallery = drawn
    given_as = matrix if rows is None else in_blocks(matrix, rows)
    found = score_queries(given_as, query, gallery, list(PROTOCOLS.values()))
    assert list(found) == list(PROTOCOLS)
    for name, protocol in PROTOCOLS.items():
        ranks = ranks_by_loop(matrix, query, gallery, protocol)
        got = found[name]
        assert got.positives.tolist() == [len(r) for r in ranks]
        assert got.first.tolist() == [r[0] if r else 0 for r in ranks]
        assert got.ap.tolist() == pytest.approx([oracles.average_precision(r) for r in ranks], abs=1e-6)
        assert got.inp.tolist() == pytest.approx([oracles.inverse_negative_penalty(r) for r in ranks], abs=1e-6)


@given(rankings(), st.sampled_from([None, 1, 2, 5]), st.integers(1, 30))
@settings(deadline=None, max_examples=80)
def test_C5_scores_are_means_over_queries_with_a_positive(
    drawn: tuple[Tensor, Facts, Facts], rows: int | None, max_rank: int
) -> None:
    matrix, query, gallery = drawn
    for name, protocol in PROTOCOLS.items():
        every = ranks_by_loop(matrix, query, gallery, protocol)
        ranks = [r for r in every if r]
        given_as = matrix if rows is None else in_blocks(matrix, rows)
        if not ranks:
            with pytest.raises(InputError):
                score(given_as, query, gallery, [protocol], max_rank=max_rank)
            continue
        got = score(given_as, query, gallery, [protocol], max_rank=max_rank)[name]
        assert (got.queries, got.skipped) == (len(ranks), len(every) - len(ranks))
        assert got.positives == sum(map(len, ranks))
        assert got.mAP == pytest.approx(statistics.fmean(map(oracles.average_precision, ranks)), abs=1e-6)
        assert got.mINP == pytest.approx(statistics.fmean(map(oracles.inverse_negative_penalty, ranks)), abs=1e-6)
        cmc = [statistics.fmean(r[0] <= reach for r in ranks) for reach in range(1, max_rank + 1)]
        assert min(len(gallery), max_rank) <= len(got.cmc) <= max_rank
        assert got.cmc == pytest.approx(cmc[: len(got.cmc)], abs=1e-6)


HAND = [  # pids nearest first, for a query of pid 1: average precision, inverse negative penalty, first rank
    ([1, 2, 1, 3], (1 / 1 + 2 / 3) / 2, 2 / 3, 1),
    ([2, 1, 2, 3, 1], (1 / 2 + 2 / 5) / 2, 2 / 5, 2),
    ([2, 3, 4, 5, 1], 1 / 5, 1 / 5, 5),
    ([1, 1, 1, 2], 1.0, 1.0, 1),
    ([-1, -1, 1, -1, 2, -1, 1], (1 / 1 + 2 / 3) / 2, 2 / 3, 1),
    ([1], 1.0, 1.0, 1),
]


@pytest.mark.parametrize(("pids", "ap", "inp", "first"), HAND)
def test_C5_hand_lists(pids: list[int], ap: float, inp: float, first: int) -> None:
    got = score_order(pids)
    assert (got.mAP, got.mINP) == pytest.approx((ap, inp))
    assert got.cmc == tuple(float(reach >= first) for reach in range(1, len(got.cmc) + 1))
    assert (got.queries, got.skipped, got.positives) == (1, 0, pids.count(1))


def test_C5_a_query_without_positive_is_skipped() -> None:
    matrix = torch.tensor([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0], [2.0, 1.0, 0.0], [0.0, 1.0, 2.0]])
    query, gallery = facts([2, 7, 1, -1], [1, 1, 0, 1]), facts([1, 2, 1], [0, 0, 1])
    got = market(matrix, query, gallery)
    assert (got.queries, got.skipped, got.positives) == (2, 2, 2)
    assert got.mAP == pytest.approx((1 / 2 + 1) / 2)
    assert got.cmc[:2] == (0.5, 1.0)


def test_C5_moving_a_row_of_the_same_identity_and_camera_changes_nothing() -> None:
    query, gallery = facts([1], [0]), facts([2, 1, 1, 3, 1], [0, 1, 0, 1, 2])
    matrix = torch.tensor([[1.0, 2.0, 0.0, 3.0, 4.0]])
    want = market(matrix, query, gallery)
    assert want.mAP == pytest.approx((1 / 2 + 2 / 4) / 2)
    for place in [0.0, 1.0, 1.5, 2.5, 4.0, 9.0, math.inf]:
        matrix[0, 2] = place
        assert market(matrix, query, gallery) == want
    assert score(matrix, query, gallery, [ALL])["all"].positives == 3


def test_C5_a_stranger_of_the_same_camera_stays() -> None:
    got = market(torch.tensor([[0.0, 1.0]]), facts([1], [0]), facts([2, 1], [0, 1]))
    assert got.mAP == 0.5


def test_C5_perfect_ranking_gives_1() -> None:
    dice = torch.Generator().manual_seed(0)
    query, gallery = facts([0, 1, 2, 3]), facts([0, 1, 2, 3] * 6)
    matrix = torch.rand(4, 24, generator=dice) + (query.pids[:, None] != gallery.pids)
    got = score(matrix, query, gallery, [ALL])["all"]
    assert (got.mAP, got.mINP) == (1, 1)
    assert set(got.cmc) == {1.0}


def test_C5_all_orders_of_a_small_gallery_average_to_the_expectation() -> None:
    orders = torch.tensor(list(itertools.permutations(range(5)))).float()
    got = score(orders, facts([1] * 120), facts([1, 1, 2, 2, 3]), [ALL])["all"]
    assert got.mAP == pytest.approx(oracles.expected_precision(5, 2), abs=1e-6)
    assert got.cmc[0] == pytest.approx(2 / 5)


def test_C5_random_ranking_scores_near_its_expectation() -> None:
    matrix = torch.rand(3000, 60, generator=torch.Generator().manual_seed(0))
    got = score(matrix, facts([1] * 3000), facts([1] * 6 + [2] * 54), [ALL])["all"]
    assert got.mAP == pytest.approx(oracles.expected_precision(60, 6), abs=0.01)  # the mean's own spread is .002
    assert got.cmc[0] == pytest.approx(0.1, abs=0.02)


def test_C5_ties_are_resolved_against_us() -> None:
    query, gallery = facts([1, 1]), facts([1, 2, 1, 3, 2])
    got = score(torch.zeros(2, 5), query, gallery, [ALL])["all"]
    assert got.mAP == pytest.approx((1 / 4 + 2 / 5) / 2)  # as if both stood last
    assert got.mINP == pytest.approx(2 / 5)
    assert got.cmc[:5] == (0, 0, 0, 1, 1)
    order = torch.tensor([3, 0, 4, 1, 2])
    assert score(torch.zeros(2, 5), query, gallery[order], [ALL])["all"] == got


def test_C5_two_halves_of_the_gallery_in_another_order_score_alike() -> None:
    dice = torch.Generator().manual_seed(2)
    matrix, order = torch.randint(0, 9, (8, 40), generator=dice).float(), torch.randperm(40, generator=dice)
    query = facts([0, 1, 2, 3] * 2, [0] * 8)
    gallery = facts([0, 1, 2, 3, -1] * 8, [0, 1, 2, 1] * 10)
    assert market(matrix[:, order], query, gallery[order]) == market(matrix, query, gallery)


def test_protocols_are_those_of_the_papers() -> None:
    kept = {name: (p.name, p.same_camera, p.keep) for name, p in PROTOCOLS.items()}
    assert kept == {
        "market": ("market", False, None),
        "all": ("all", True, None),
        "occ": ("occ", False, {Occlusion.NTP, Occlusion.NPO}),
        "npo": ("npo", False, {Occlusion.NPO}),
        "ntp": ("ntp", False, {Occlusion.NTP}),
    }


#                 pid 1's: holistic NTP   NPO   same camera | strangers of every kind
T12_GALLERY = facts([1, 2, 1, 2, 1, 1, 2], [1, 1, 1, 1, 1, 0, 1], [HOLISTIC, NTP, NTP, HOLISTIC, NPO, NPO, 0])
T12_MATRIX = torch.tensor([[0.0, 1.0, 2.0, 3.0, 4.0, 0.5, 5.0]])


def test_T12_each_protocol_keeps_its_own_positives() -> None:
    got = score(T12_MATRIX, facts([1], [0], [HOLISTIC]), T12_GALLERY, list(PROTOCOLS.values()))
    assert got["occ"].mAP == pytest.approx((1 / 2 + 2 / 4) / 2)  # stranger, NTP, stranger, NPO, stranger
    assert got["ntp"].mAP == pytest.approx(1 / 2)  # stranger, NTP, stranger, stranger
    assert got["npo"].mAP == pytest.approx(1 / 3)  # stranger, stranger, NPO, stranger
    assert got["market"].mAP == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert got["all"].mAP == pytest.approx((1 + 2 / 2 + 3 / 4 + 4 / 6) / 4)
    assert {name: scores.positives for name, scores in got.items()} == {
        "market": 3, "all": 4, "occ": 2, "npo": 1, "ntp": 1,
    }  # fmt: skip


@given(rankings())
@settings(deadline=None, max_examples=40)
def test_T12_occ_positives_are_those_of_npo_and_ntp(drawn: tuple[Tensor, Facts, Facts]) -> None:
    found = score_queries(*drawn, [PROTOCOLS[name] for name in ("occ", "npo", "ntp")])
    assert torch.equal(found["occ"].positives, found["npo"].positives + found["ntp"].positives)


@given(rankings())
@settings(deadline=None, max_examples=40)
def test_T12_removing_a_holistic_positive_leaves_occ_unchanged(drawn: tuple[Tensor, Facts, Facts]) -> None:
    matrix, query, gallery = drawn
    query = Facts(query.pids[:1].expand(len(query)), query.camids, query.occlusion)
    rest = ~((gallery.pids == query.pids[0]) & (gallery.occlusion == HOLISTIC))
    want = score_queries(matrix, query, gallery, [OCC])["occ"]
    if rest.any():
        got = score_queries(matrix[:, rest], query, gallery[rest], [OCC])["occ"]
        for name in ("ap", "inp", "first", "positives"):
            assert torch.equal(getattr(got, name), getattr(want, name))


def test_cmc_reaches_max_rank() -> None:
    matrix = torch.arange(80.0)[None]
    got = score(matrix, facts([1]), facts([2] * 59 + [1] + [2] * 20), [ALL])
    assert got["all"].cmc == (0.0,) * 50
    got = score(matrix, facts([1]), facts([2] * 59 + [1] + [2] * 20), [ALL], max_rank=60)
    assert got["all"].cmc == (0.0,) * 59 + (1.0,)


@pytest.mark.parametrize("rows", [None, 1, 2])
def test_a_nan_distance_is_refused_with_its_place(rows: int | None) -> None:
    matrix = torch.zeros(6, 9)
    matrix[4, 7] = math.nan
    with pytest.raises(InputError, match=r"(?s)(?=.*\b4\b)(?=.*\b7\b)"):
        score(matrix if rows is None else in_blocks(matrix, rows), facts([1] * 6), facts([1] * 9), [ALL])


MISFITS = [((2, 3), "3.*4"), ((1, 4), "1.*2"), ((3, 4), r"\b2\b"), ((2, 5), "5.*4")]


@pytest.mark.parametrize(("shape", "found"), MISFITS)
@pytest.mark.parametrize("rows", [None, 1, 2])
def test_distances_that_do_not_fit_the_facts_are_refused(shape: tuple[int, int], found: str, rows: int | None) -> None:
    matrix = torch.zeros(shape)
    with pytest.raises(InputError, match=found):
        score(matrix if rows is None else in_blocks(matrix, rows), facts([1, 1]), facts([1, 1, 1, 1]), [ALL])


def test_no_query_with_a_positive_is_refused_with_the_reason() -> None:
    with pytest.raises(InputError, match="camera"):
        score(torch.zeros(2, 3), facts([1, 2]), facts([1, 2, 1]), [MARKET])


@pytest.mark.parametrize("columns", [0, 1, 7, 8, 9, 2039, 2040, 2041, 4080, 4081])
def test_counting_makes_hardly_more_than_it_counts(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = torch.Generator().manual_seed(columns)
    distance, limit = torch.rand(3, columns, generator=dice), torch.rand(3, 5, generator=dice)
    made, empty = [], torch.empty

    def watched(*shape: int, **how: Any) -> Tensor:
        made.append(math.prod(shape))
        return empty(*shape, **how)

    monkeypatch.setattr(torch, "empty", watched)
    counted = _count(distance, limit)
    assert torch.equal(counted, (distance[:, None] <= limit[:, :, None]).sum(2))
    assert max(made) <= 15 * (columns + 8 * (columns // 2040 + 1))
