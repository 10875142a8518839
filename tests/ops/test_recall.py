"""How often candidates hold the right answers, against counting one by one."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from halfseen.ops.metrics import PROTOCOLS, Recall, recall, score
from halfseen.types import Facts, InputError, Protocol


def facts(rows: list[tuple[int, int, int]]) -> Facts:
    """Of (pid, camid, occlusion)."""
    return Facts(*torch.tensor(rows).reshape(-1, 3).unbind(1))


def in_blocks(near: Tensor, rows: int) -> Iterator[tuple[int, Tensor]]:
    return ((first, near[first : first + rows]) for first in range(0, len(near), rows))


def right_answers(query: Facts, row: int, gallery: Facts, protocol: Protocol) -> set[int]:
    """The gallery rows that count for one query."""
    pid, camid = int(query.pids[row]), int(query.camids[row])
    rows = zip(gallery.pids.tolist(), gallery.camids.tolist(), gallery.occlusion.tolist(), strict=True)
    return {
        number
        for number, (other, camera, label) in enumerate(rows)
        if other == pid >= 0
        and (protocol.same_camera or camera != camid)
        and (protocol.keep is None or label in {int(kind) for kind in protocol.keep})
    }


@st.composite
def benchmarks(draw: st.DrawFn) -> tuple[Tensor, Facts, Facts]:
    dice = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    q, g = draw(st.integers(1, 6)), draw(st.integers(1, 25))
    query, gallery = (
        Facts(*(torch.randint(low, high, (rows,), generator=dice) for low, high in ((-1, 4), (-1, 2), (0, 4))))
        for rows in (q, g)
    )
    near = torch.rand(q, g, generator=dice).argsort(1)[:, : draw(st.integers(0, g))]
    return near, query, gallery


@given(benchmarks(), st.sampled_from([1, 2, 100]))
@settings(deadline=None, max_examples=150)
def test_recall_equals_counting(drawn: tuple[Tensor, Facts, Facts], rows: int) -> None:
    near, query, gallery = drawn
    for name, protocol in PROTOCOLS.items():
        every = [right_answers(query, row, gallery, protocol) for row in range(len(query))]
        pairs = [(right, set(found)) for right, found in zip(every, near.tolist(), strict=True) if right]
        if not pairs:
            with pytest.raises(InputError, match=f"has a right answer under protocol '{name}'"):
                recall(in_blocks(near, rows), query, gallery, [protocol])
            continue
        got = recall(in_blocks(near, rows), query, gallery, [protocol])[name]
        assert got.n == near.shape[1]
        assert got.all == pytest.approx(statistics.fmean(right <= found for right, found in pairs))
        assert got.any == pytest.approx(statistics.fmean(bool(right & found) for right, found in pairs))


def test_recall_by_hand() -> None:
    query = facts([(1, 0, 0), (2, 0, 0), (3, 0, 0), (-1, 0, 0)])
    gallery = facts([(1, 1, 2), (1, 2, 3), (1, 0, 3), (2, 1, 1), (2, 1, 3), (9, 1, 3), (-1, 1, 3)])
    near = torch.tensor([[0, 1, 5], [3, 5, 6], [5, 6, 0], [6, 0, 1]])
    got = recall([(0, near)], query, gallery, PROTOCOLS.values())
    assert got["market"] == Recall(3, 0.5, 1)  # the third has no right answer, the last is junk
    assert got["all"] == Recall(3, 0, 1)  # row 2, of the first query's own camera, counts too
    assert got["occ"] == Recall(3, 1, 1)
    assert got["npo"] == Recall(3, 1, 1)
    assert got["ntp"] == Recall(3, 1, 1)
    assert recall([(0, near[:, 2:])], query, gallery, [PROTOCOLS["market"]])["market"] == Recall(1, 0, 0)


def test_any_among_the_first_is_the_cmc_where_nothing_is_left_out() -> None:
    dice = torch.Generator().manual_seed(0)
    matrix = torch.rand(30, 80, generator=dice)
    query, gallery = (facts([(row % 12, 0, 0) for row in range(rows)]) for rows in (30, 80))
    cmc = score(matrix, query, gallery, [PROTOCOLS["all"]])["all"].cmc
    order = matrix.argsort(1)
    for n in (1, 5, 20):
        assert recall([(0, order[:, :n])], query, gallery, [PROTOCOLS["all"]])["all"].any == pytest.approx(cmc[n - 1])
