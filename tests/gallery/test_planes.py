"""The bound and the search on it, against every distance in double precision."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import oracles
from halfseen.gallery import bounds, compiled, leading, planes
from halfseen.gallery.bounds import search
from halfseen.gallery.chunks import Chunk, Maker, Stored, in_chunks
from halfseen.gallery.compiled import Loops, loops_for
from halfseen.gallery.leading import Basis, Leading
from halfseen.gallery.planes import ROWS_FIRST, Planes
from halfseen.gallery.probes import FINE, PUSH, ROUNDING, Found, Mean, Probes, pushed
from halfseen.gallery.tables import GRID, on_grid
from halfseen.ops import bytes
from halfseen.ops.bytes import HIGHEST
from halfseen.types import Embedding, InputError

CLOSE = 3e-6  # of a distance in float32
KINDS = ("plain", "sparse", "alike", "positive", "axes", "faint", "opposite")


def made(rows: int, shape: tuple[int, int], seed: int, kind: str) -> Embedding:
    """Vectors of one kind, a third of whose parts are hidden; some are equal, some zero."""
    dice = torch.Generator().manual_seed(seed)
    vectors = torch.randn(rows, *shape, generator=dice)
    if kind == "sparse":  # nearly all of a vector in one number: the hardest to split into bytes
        vectors *= (torch.rand(vectors.shape, generator=dice) ** 20 * 12).exp()
    if kind == "alike":  # all distances within a few thousandths: the bound tells nothing
        vectors = vectors * 0.02 + 1
    if kind == "positive":
        vectors.relu_()
    if kind == "axes":  # few distances, and many equal ones
        vectors = torch.eye(shape[1])[torch.randint(shape[1], vectors.shape[:2], generator=dice)]
    if kind == "opposite":  # cosines of 1 and −1
        signs = torch.randint(0, 2, (rows, shape[0], 1), generator=dice) * 2 - 1
        vectors = torch.randn(1, *shape, generator=torch.Generator().manual_seed(9)) * signs
    if rows > 10:
        late = torch.arange(rows // 2 + 1, rows, 7)
        vectors[late] = vectors[late - rows // 2]
        vectors[rows // 3, 0] = 0
    visibility = torch.rand(rows, shape[0], generator=dice) * 1.5 - 0.5
    if kind == "faint":  # from all to a millionth of a part
        visibility = torch.where(visibility > 0, 10 ** (-6 * torch.rand(visibility.shape, generator=dice)), 0.0)
    return Embedding(vectors, visibility.clamp(min=0) if kind != "sparse" else (visibility > 0).float())


def rows_of(embedding: Embedding, ids: Tensor | None = None) -> Stored:
    return Stored(torch.arange(len(embedding)) if ids is None else ids, on_grid(embedding), embedding.visibility)


def split(embedding: Embedding) -> Planes:
    return Planes.of(rows_of(embedding))


def led(embedding: Embedding, sample: Embedding | None = None) -> Leading:
    return Leading.of(rows_of(embedding), Basis.of(sample or embedding))


class Sooner(Leading):
    """Compiled however few the rows are."""

    compiled_from = 0


def quick(embedding: Embedding, sample: Embedding | None = None) -> Leading:
    return Sooner(**vars(led(embedding, sample)))


EITHER = pytest.mark.parametrize("kept", [split, led, quick])


def as_kept(embedding: Embedding) -> Embedding:
    """What the gallery keeps of it."""
    return Embedding(on_grid(embedding).float(), embedding.visibility)


def exact(query: Embedding, gallery: Embedding) -> Tensor:
    """[Q,G] in double precision."""
    left, right = (torch.nn.functional.normalize(e.vectors.double(), dim=2) for e in (query, gallery))
    weights = query.visibility.double()[:, None] * gallery.visibility.double()
    away = (1 - torch.einsum("qpd,gpd->qgp", left, right)) * weights
    return (away.sum(2) / weights.sum(2)).nan_to_num(nan=math.inf)


def check(found: Found, distances: Tensor, k: int) -> None:
    """`found` are the k nearest by `distances` [Q,G], up to the rounding of equal ones."""
    for row, ids, own in zip(distances, found.ids.tolist(), found.distances.tolist(), strict=True):
        best = sorted((d, i) for i, d in enumerate(row.tolist()) if d < math.inf)[:k]
        shown = [(d, i) for d, i in zip(own, ids, strict=True) if d < math.inf]
        assert len(shown) == len(best)
        assert len({i for _, i in shown}) == len(shown)
        for (d, i), (wanted, _) in zip(shown, best, strict=True):
            assert abs(d - wanted) < CLOSE
            assert abs(float(row[i]) - wanted) < CLOSE


@settings(deadline=None, max_examples=150)
@given(
    st.integers(1, 400),
    st.tuples(st.integers(1, 4), st.sampled_from([1, 2, 7, 33])),
    st.integers(1, 20),
    st.integers(0, 10**6),
    st.sampled_from(KINDS),
)
def test_search_finds_the_nearest(rows: int, shape: tuple[int, int], k: int, seed: int, kind: str) -> None:
    gallery, query = made(rows, shape, seed, kind), made(5, shape, seed + 1, kind)
    probes, found = Probes.of(Mean.each(query)), Found.room(5, 0, shape[0])
    basis = Basis.of(made(rows, shape, seed + 2, kind))
    make: Maker = partial(Leading.room, basis=basis) if seed % 3 else Planes.room
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Leading, "compiled_from", 0 if seed % 3 == 1 else math.inf)
        for piece in in_chunks([rows_of(gallery)], rows, max(1 + seed % 200, rows // 5), make):
            found = search(piece, probes, k, found, None)
    check(found, exact(query, as_kept(gallery)), k)


@EITHER
@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_holds_and_is_of_use(kind: str, kept: Callable[[Embedding], Chunk]) -> None:
    gallery, query = made(500, (3, 64), 1, kind), made(8, (3, 64), 2, kind)
    rows, probes = kept(gallery), Probes.of(Mean.each(query))
    lowest, least = bounds._bounds(rows, probes, None)
    distances, lowest = exact(query, as_kept(gallery)), lowest.flatten(1)
    assert bool((lowest[:, :500] <= distances).all())
    assert bool((lowest[:, 500:] == math.inf).all())
    assert torch.equal(lowest[:, :500] == math.inf, distances == math.inf)
    assert torch.equal(least, lowest.view(8, -1, bounds.BLOCK).amin(2))
    apart = (distances - lowest[:, :500])[distances < math.inf]
    assert kind == "faint" or kept is not split or float(apart.mean()) < 0.06


def test_rows_are_found_by_their_ids_in_any_order() -> None:
    rows = replace(split(made(6, (3, 64), 1, "plain")), ids=torch.tensor([9, 2, 7, 4, 11, 5]))
    assert rows.named(torch.tensor([4, 9, 4, 1, 12, 8])).tolist() == [3, 0, 3]
    assert rows.named(torch.tensor([], dtype=torch.int64)).tolist() == []


def watched(monkeypatch: pytest.MonkeyPatch, name: str, module: ModuleType = bounds) -> list[tuple[Any, ...]]:
    """What the function of a module with this name is called with from now on."""
    calls: list[tuple[Any, ...]] = []
    whole = getattr(module, name)

    def noted(*given: Any) -> Any:
        calls.append(given)
        return whole(*given)

    monkeypatch.setattr(module, name, noted)
    return calls


def test_few_rows_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    gallery, query = made(4_000, (3, 64), 1, "plain"), made(4, (3, 64), 2, "plain")
    measured = watched(monkeypatch, "_pairs")
    search(split(gallery), Probes.of(Mean.each(query)), 10, Found.room(4, 0, 3), None)
    assert sum(len(rows) for _, _, (rows, _), _ in measured) < 4 * 4_000 / 20


@EITHER
def test_all_may_have_to_be_measured(monkeypatch: pytest.MonkeyPatch, kept: Callable[[Embedding], Chunk]) -> None:
    """Then they are measured some at a time, and the memory stays small."""
    some = 2 * bounds.BLOCK * torch.get_num_threads()
    monkeypatch.setattr(bounds, "LOOKED_AT", 4 * 2 * bounds.BLOCK)
    monkeypatch.setattr(bounds, "ENOUGH", 1)
    gallery, query = made(1_000, (2, 16), 1, "alike"), made(4, (2, 16), 2, "alike")
    joined = watched(monkeypatch, "_joined")
    found = search(kept(gallery), Probes.of(Mean.each(query)), 10, Found.room(4, 0, 2), None)
    assert len(joined) > 1000 // some
    assert all(int(people.bincount().max()) <= some for *_, (_, people), _ in joined if len(people))
    check(found, exact(query, as_kept(gallery)), 10)


def test_who_found_too_few_so_far_has_a_limit_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the first rows next to none are meant by two of three: those that come after are not all measured for that."""
    gallery, query = leaning(8_000, 1), leaning(3, 2)
    probes, allowed = Probes.of(Mean.each(query)), torch.ones(3, 8_000, dtype=torch.bool)
    allowed[1:, 5:4_000] = False
    measured = watched(monkeypatch, "_pairs")
    for kept in (split, led, quick):
        found = Found.room(3, 0, 6)
        measured.clear()
        for start in (0, 4_000):
            some = kept(gallery[start : start + 4_000])
            some = replace(some, ids=some.ids + start)
            found = search(some, probes, 20, found, allowed[:, start : start + 4_000])
        assert sum(len(rows) for _, _, (rows, _), _ in measured) < 3 * 4_000 / 4
        check(found, exact(query, as_kept(gallery)).masked_fill(~allowed, math.inf), 20)


def test_what_bounds_leave_is_measured_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """But where that is much, what has been measured excludes some of what has not."""
    gallery, query = people(20_000, 1), people(8, 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # of more, each has some of the people
    joined = watched(monkeypatch, "_joined")
    monkeypatch.setattr(bounds, "LOOKED_AT", 2**14)
    rows, probes, room = led(gallery), Probes.of(Mean.each(query)), Found.room(8, 0, 6)
    measured = []
    for enough in (10**6, 100):
        monkeypatch.setattr(bounds, "ENOUGH", enough)
        joined.clear()
        check(search(rows, probes, 20, room, None), exact(query, as_kept(gallery)), 20)
        measured.append([len(people) for *_, (_, people), _ in joined])
    assert len(measured[0]) == 2, "the first, and all others"
    assert len(measured[1]) > 3
    assert 0 < sum(measured[1]) < sum(measured[0])


@pytest.mark.parametrize("hidden", ["the query's", "the gallery's", "both"])
@EITHER
def test_who_shows_nothing_finds_nobody_and_is_not_found(hidden: str, kept: Callable[[Embedding], Chunk]) -> None:
    gallery, query = made(100, (3, 8), 1, "plain"), made(2, (3, 8), 2, "plain")
    if hidden != "the gallery's":
        query = Embedding(query.vectors, torch.zeros(2, 3))
    if hidden != "the query's":
        gallery = Embedding(gallery.vectors, torch.zeros(100, 3))
    found = search(kept(gallery), Probes.of(Mean.each(query)), 10, Found.room(2, 0, 3), None)
    assert bool((found.distances == math.inf).all())


def test_what_an_invisible_part_holds_may_be_anything() -> None:
    vectors, visibility = torch.randn(3, 2, 8, generator=torch.Generator().manual_seed(0)), torch.ones(3, 2)
    vectors[1, 1], visibility[1, 1] = math.nan, 0
    stored = on_grid(Embedding(vectors, visibility))
    assert not stored[1, 1].any()
    assert bool(stored.isfinite().all())
    visibility[1, 1] = 1
    with pytest.raises(InputError, match="NaN"):
        Embedding(vectors, visibility)


@EITHER
def test_zero_vectors_are_as_far_as_strangers(kept: Callable[[Embedding], Chunk]) -> None:
    gallery = Embedding(torch.zeros(70, 2, 8), torch.ones(70, 2))
    for query in (made(1, (2, 8), 1, "plain"), Embedding(torch.zeros(1, 2, 8), torch.ones(1, 2))):
        found = search(kept(gallery), Probes.of(Mean.each(query)), 3, Found.room(1, 0, 2), None)
        assert found.ids.tolist() == [[0, 1, 2]]
        assert torch.equal(found.distances, torch.ones(1, 3))


@pytest.mark.parametrize("harm", [math.nan, math.inf, 1.5, 1.2])
def test_damaged_numbers_are_told(harm: float) -> None:
    """They would spoil the bounds of their neighbours, and so the answer."""
    for column in (1, 2):
        rows = Stored(*(each.clone() for each in rows_of(made(20, (2, 8), 1, "plain"))))
        rows[column].flatten(1)[3, -1] = harm
        for of in (Planes.of, partial(Leading.of, basis=Basis.of(made(20, (2, 8), 1, "plain")))):
            with pytest.raises(InputError, match="`halfseen gallery verify` says which"):
                of(rows)


@pytest.mark.parametrize(("column", "harm"), [(1, 0.9), (2, -0.25)])
def test_vectors_that_are_too_long_and_visibilities_below_nothing_are_told(column: int, harm: float) -> None:
    """Of the vectors each number could be one of a direction."""
    rows = Stored(*(each.clone() for each in rows_of(made(20, (2, 8), 1, "plain"))))
    rows[column][3, 1] = harm
    for of in (Planes.of, partial(Leading.of, basis=Basis.of(made(20, (2, 8), 1, "plain")))):
        with pytest.raises(InputError, match="`halfseen gallery verify` says which"):
            of(rows)


def test_only_the_parts_that_someone_shows_are_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    gallery, query = made(100, (4, 8), 1, "plain"), made(2, (4, 8), 2, "plain")
    query = Embedding(query.vectors, torch.tensor([[0.0, 1, 0, 0], [0, 0.5, 0, 1]]))
    apart, together = (watched(monkeypatch, "byte_products", module) for module in (planes, leading))
    for kept in (split, led):
        found = search(kept(gallery), Probes.of(Mean.each(query)), 9, Found.room(2, 0, 4), None)
        check(found, exact(query, as_kept(gallery)), 9)
    assert sum(len(rows) for _, rows in apart) == 2 * 100
    assert {(rows.shape[1], *queries.shape) for queries, rows in apart} == {(8, 2, 8)}
    assert sum(len(rows) for _, rows in together) == 100
    assert {(rows.shape[1], *queries.shape) for queries, rows in together} == {(3 * 8, 2, 3 * 8)}, "the third between"


def people(rows: int, seed: int) -> Embedding:
    """Pictures of 40 people, three in four parts visible."""
    looks = torch.randn(40, 6, 64, generator=torch.Generator().manual_seed(0))
    dice = torch.Generator().manual_seed(seed)
    vectors = looks[torch.arange(rows) % 40] + 1.5 * torch.randn(rows, 6, 64, generator=dice)
    return Embedding(vectors, (torch.rand(rows, 6, generator=dice) < 0.75).float().index_fill_(1, torch.tensor(0), 1))


def leaning(rows: int, seed: int) -> Embedding:
    """People whose vectors lie mostly in a tenth of all dimensions, as those of networks do."""
    picture = people(rows, seed)
    axes = torch.linalg.qr(torch.randn(6, 64, 64, generator=torch.Generator().manual_seed(5))).Q
    shares = torch.arange(1.0, 65).pow(-1.2)
    return Embedding(torch.einsum("npd,pde->npe", picture.vectors * shares, axes.mT), picture.visibility)


def test_the_axes_are_those_that_hold_most() -> None:
    sample = leaning(600, 1)
    basis = Basis.of(sample)
    assert basis.axes.shape == (6, 64, 16)
    assert torch.allclose(basis.axes.mT @ basis.axes, torch.eye(16).expand(6, -1, -1), atol=1e-5)
    for part, axes in enumerate(basis.axes.double()):
        shown = torch.nn.functional.normalize(sample.vectors[sample.visibility[:, part] > 0, part].double(), dim=1)
        best = torch.linalg.svdvals(shown)[:16].square()
        assert float((shown @ axes).square().sum()) > 0.999 * float(best.sum())
        assert torch.allclose((shown @ axes).mean(0), basis.centre[part].double(), atol=1e-5)
        assert float((shown @ axes).square().sum(0).max()) < 0.5 * float(best[0]), "turned among each other"


def test_axes_pay_where_few_numbers_hold_most() -> None:
    for sample, pays in ((leaning(600, 1), True), (people(600, 1), False)):
        assert Basis.of(sample).pays(sample) is pays


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_axes_of_few_rows_are_axes(rows: int) -> None:
    """Or of none that shows the part."""
    sample = made(rows, (3, 64), 1, "plain")
    sample = Embedding(sample.vectors, sample.visibility.index_fill(1, torch.tensor(2), 0))
    basis = Basis.of(sample)
    assert torch.allclose(basis.axes.mT @ basis.axes, torch.eye(16).expand(3, -1, -1), atol=1e-5)
    gallery, query = made(300, (3, 64), 2, "plain"), made(4, (3, 64), 3, "plain")
    found = search(led(gallery, sample), Probes.of(Mean.each(query)), 9, Found.room(4, 0, 3), None)
    check(found, exact(query, as_kept(gallery)), 9)


def test_what_rounding_loses_is_granted() -> None:
    """Each row and its own picture: where all numbers lead, nothing else parts the bound from the distance."""
    gallery = made(300, (3, 16), 1, "plain")
    rows, probes = led(gallery), Probes.of(Mean.each(gallery[:100]))
    lowest, _ = bounds._bounds(rows, probes, None)
    distances, lowest = exact(gallery[:100], as_kept(gallery)), lowest.flatten(1)
    assert rows.basis.axes.shape == (3, 16, 16)
    assert bool((lowest[:, :300] <= distances).all())
    assert float((distances - lowest[:, :300])[distances < math.inf].mean()) < 0.08


@pytest.mark.parametrize("rounded", ["the rows", "the query"])
def test_what_rounding_loses_may_all_point_one_way(rounded: str) -> None:
    """Numbers that all lie nearly half a step off, towards the other side's: half of what is granted is too little."""
    dice = torch.Generator().manual_seed(0)
    signs = (torch.randint(0, 2, (40, 3, 64), generator=dice) * 2 - 1).float()
    off = (torch.randint(-100, 101, signs.shape, generator=dice) + 0.45 * signs) / HIGHEST
    off[:, :, 0] = signs[:, :, 0]
    sides = Embedding(off, torch.ones(40, 3)), Embedding(signs, torch.ones(40, 3))
    gallery, query = sides if rounded == "the rows" else sides[::-1]
    rows = Leading.of(rows_of(gallery), Basis(torch.eye(64).repeat(3, 1, 1), torch.zeros(3, 64)))
    lowest, _ = bounds._bounds(rows, Probes.of(Mean.each(query)), None)
    assert bool((lowest.flatten(1)[:, :40] <= exact(query, as_kept(gallery))).all())


@pytest.mark.parametrize("beyond", ["the rows", "the query"])
def test_what_lies_just_beyond_the_axes_counts(beyond: str) -> None:
    """So little that float32 may see a vector as long as what the axes hold of it; the other side is nothing else."""
    vectors = torch.randn(40, 3, 64, generator=torch.Generator().manual_seed(0))
    vectors[:, :, 16:] = 0
    vectors = torch.nn.functional.normalize(vectors, dim=2)
    vectors[:, :, 20] = 3e-4
    sides = Embedding(vectors, torch.ones(40, 3)), Embedding(torch.eye(64)[20].expand(1, 3, 64), torch.ones(1, 3))
    gallery, query = sides if beyond == "the rows" else sides[::-1]
    rows = Leading.of(rows_of(gallery), Basis(torch.eye(64)[:, :16].repeat(3, 1, 1), torch.zeros(3, 16)))
    lowest, _ = bounds._bounds(rows, Probes.of(Mean.each(query)), None)
    assert bool((lowest.flatten(1)[:, : len(gallery)] <= exact(query, as_kept(gallery))).all())


def test_what_float32_loses_is_granted_where_bytes_lose_nothing() -> None:
    """Or of equal pictures one would be beyond the other, and not found for its lower id."""
    signs = torch.randint(0, 2, (1, 9, 16), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    visibility = torch.rand(200, 9, generator=torch.Generator().manual_seed(1))
    gallery, query = Embedding(signs.repeat(200, 1, 1), visibility), Embedding(signs, torch.ones(1, 9))
    rows = split(gallery)
    assert not rows.low.any()
    lowest, _ = bounds._bounds(rows, Probes.of(Mean.each(query)), None)
    assert float(lowest.flatten(1)[:, :200].max()) <= 0, "all of them are where the query is"


@EITHER
def test_the_bound_holds_of_the_faintest(kept: Callable[[Embedding], Chunk]) -> None:
    """Which no `Embedding` holds, but files that were imported may."""
    gallery = made(50, (3, 64), 1, "plain")
    stored = rows_of(gallery)._replace(visibility=torch.full((50, 3), 1e-22))
    rows = Planes.of(stored) if kept is split else Leading.of(stored, Basis.of(gallery))
    if kept is quick:
        rows = Sooner(**vars(rows))
    lowest, _ = bounds._bounds(rows, Probes.of(Mean.each(gallery[:9])), None)
    true = exact(gallery[:9], Embedding(as_kept(gallery).vectors, torch.ones(50, 3)))
    assert bool((lowest.flatten(1)[:, :50] <= true).all())


def test_by_leading_numbers_few_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    gallery, query = leaning(8_000, 1), leaning(10, 2)
    rows, probes = led(gallery, leaning(600, 3)), Probes.of(Mean.each(query))
    multiplied, measured = watched(monkeypatch, "byte_products", leading), watched(monkeypatch, "_pairs")
    twice = search(quick(gallery, leaning(600, 3)), probes, 20, Found.room(10, 0, 6), None)
    assert sum(len(pairs[0]) for _, _, pairs, _ in measured) < 10 * (20 + 20), "looked at twice, next to none but these"
    measured.clear()
    found = search(rows, probes, 20, Found.room(10, 0, 6), None)
    assert torch.equal(found.ids, twice.ids)
    assert {queries.shape[1] for queries, _ in multiplied} == {2 * 64}, "a quarter of the numbers"
    assert sum(len(rows) for _, _, (rows, _), _ in measured) < 0.1 * 10 * 8_000
    check(found, exact(query, as_kept(gallery)), 20)


def test_a_negative_picture_may_be_the_person() -> None:
    gallery, mean = leaning(300, 1), Mean.each(leaning(9, 2))
    one, other = (search(kept(gallery), Probes(mean, (mean,)), 30, Found.room(9, 0, 6), None) for kept in (split, led))
    assert torch.equal(one.distances, other.distances)
    assert torch.equal(one.ids, other.ids)


@pytest.mark.parametrize("shape", [(6, 64), (1, 7), (5, 33)])
@pytest.mark.parametrize("chosen", [None, (0,), (0, 3, 5)])
def test_however_rows_lie_answers_are_the_same_to_the_last_bit(
    chosen: tuple[int, ...] | None, shape: tuple[int, int]
) -> None:
    gallery, query, unlike = (
        leaning(rows, seed) if shape == (6, 64) else made(rows, shape, seed, "plain")
        for rows, seed in ((3_000, 1), (9, 2), (9, 4))
    )
    chosen = chosen and tuple(part for part in chosen if part < shape[0])
    rounds = (Mean.each(unlike, chosen),)
    probes, room = Probes.of(Mean.each(query, chosen), rounds), Found.room(9, 0, shape[0])
    one, *others = (search(kept(gallery), probes, 30, room, None) for kept in (split, led, quick))
    for other in others:
        for left, right in zip(one, other, strict=True):
            assert torch.equal(left.nan_to_num(7), right.nan_to_num(7))


@EITHER
def test_the_parts_are_told(kept: Callable[[Embedding], Chunk]) -> None:
    gallery, query = made(60, (3, 8), 1, "plain"), made(2, (3, 8), 2, "plain")
    found = search(kept(gallery), Probes.of(Mean.each(query)), 5, Found.room(2, 0, 3), None)
    stored = as_kept(gallery)
    parts = oracles.part_distances(query, stored, "cosine")
    for person, ids in enumerate(found.ids.tolist()):
        for place, row in enumerate(ids):
            seen = query.visibility[person] * stored.visibility[row]
            assert torch.allclose(found.seen[person, place], seen)
            there = seen > 0
            assert torch.allclose(found.parts[person, place][there].double(), parts[person, row][there], atol=CLOSE)
            mean = (parts[person, row] * seen)[there].sum() / seen.sum()
            assert abs(float(found.distances[person, place]) - float(mean)) < CLOSE


@EITHER
def test_negative_pictures_change_nothing_of_what_is_told_of_the_parts(kept: Callable[[Embedding], Chunk]) -> None:
    gallery, query, unlike = (made(n, (3, 8), seed, "plain") for n, seed in ((60, 1), (2, 2), (2, 3)))
    rows, mean, room = kept(gallery), Mean.each(query), Found.room(2, 0, 3)
    both = Probes.of(mean), Probes.of(mean, (Mean.each(unlike),))
    alone, beside = (parts_told(search(rows, probes, 60, room, None)) for probes in both)
    assert min(map(len, alone)) > 20
    assert alone == beside


def parts_told(found: Found) -> list[dict[int, list[float]]]:
    """Of each person the parts of all who were found, and how far they are seen, by id."""
    parts, apart = torch.cat([found.parts.nan_to_num(7), found.seen], 2), found.distances
    return [
        {id: told for id, told, far in zip(*columns, strict=True) if far < math.inf}
        for columns in zip(found.ids.tolist(), parts.tolist(), apart.tolist(), strict=True)
    ]


@EITHER
def test_every_bit_is_held(kept: Callable[[Embedding], Chunk]) -> None:
    for kind in ("plain", "sparse", "alike"):
        embedding = made(50, (3, 17), 4, kind)
        for rows in (torch.arange(50), torch.tensor([7, 3, 3]), torch.arange(0)):
            stored = kept(embedding).stored(rows)
            assert torch.equal(stored.ids, rows)
            assert torch.equal(stored.vectors, on_grid(embedding)[rows])
            assert torch.equal(stored.visibility, embedding.visibility[rows])


def test_planes_are_the_two_bytes_of_a_number() -> None:
    embedding = made(50, (3, 17), 4, "sparse")
    rows = split(embedding)
    k = rows.high.long() * rows.step.long()[:, :, None] + rows.low.long()
    assert torch.equal(k.transpose(0, 1).double(), on_grid(embedding).double() * GRID)


@pytest.mark.parametrize(("kept", "kind", "share"), [(split, Planes, 1.04), (led, Leading, 1.13)])
def test_the_bytes_of_rows_are_few(
    kept: Callable[[Embedding], Chunk], kind: type[Planes | Leading], share: float
) -> None:
    rows = kept(made(100, (9, 256), 0, "plain"))
    size = sum(value.nbytes for value in vars(rows).values() if isinstance(value, Tensor))
    assert size <= share * (2 * 9 * 256 * 100)
    assert size <= 100 * kind.row_bytes(9, 256)


@pytest.mark.parametrize("leads", [False, True])
def test_in_chunks_puts_together_what_it_gets(leads: bool) -> None:
    embedding = made(100, (2, 4), 0, "plain")
    whole: Chunk = led(embedding) if leads else split(embedding)
    make: Maker = partial(Leading.room, basis=whole.basis) if isinstance(whole, Leading) else Planes.room
    for size, total in ((1, 100), (7, 100), (100, 100), (1000, 100), (30, 50), (30, 200)):
        columns = rows_of(embedding)
        pieces = [Stored(*(column[start : start + 13] for column in columns)) for start in range(0, 100, 13)]
        chunks = list(in_chunks(pieces, total, size, make))
        assert max(map(len, chunks)) <= size
        for name, value in vars(whole).items():
            if isinstance(value, Tensor):
                axis = 0 if leads or name in ROWS_FIRST else 1
                together = torch.cat([vars(chunk)[name] for chunk in chunks], axis)
                assert torch.allclose(together.float(), value.float(), atol=1e-6)


def test_what_is_measured_is_exact() -> None:
    """Numbers of queries over their part's weight, in steps so fine that their sums are whole and below 2⁵³."""
    gallery, query = made(200, (3, 64), 1, "faint"), made(6, (3, 64), 2, "faint")
    probes = Probes.of(Mean.each(query))
    (mean,) = probes.exact
    pairs = torch.arange(200).repeat(6), torch.arange(6).repeat_interleave(200)
    whole = rows_of(gallery).vectors.double() * GRID
    wanted = torch.einsum("qpd,npd->qnp", mean.sums, whole).flatten(0, 1)
    assert torch.equal(mean.sums, mean.sums.round())
    assert float(torch.einsum("qpd,npd->qnp", mean.sums.abs(), whole.abs()).max()) < 2**53
    there = (query.visibility[pairs[1]] > 0) & (gallery.visibility[pairs[0]] > 0)
    for kept in (split, led, quick):
        assert torch.equal(kept(gallery).dots(mean, pairs, [0, 1, 2]) * there, wanted * there)
    apart = wanted / (FINE * GRID) / on_grid(gallery).double().norm(dim=2)[pairs[0]].clamp(min=1e-9)
    assert torch.allclose((1 - apart)[there], part_distances(query, gallery, pairs)[there], atol=1e-7)


def part_distances(query: Embedding, gallery: Embedding, pairs: tuple[Tensor, Tensor]) -> Tensor:
    """1 − cos of each part of some pairs of rows and people, in double precision."""
    left, right = query.vectors[pairs[1]].double(), as_kept(gallery).vectors[pairs[0]].double()
    return 1 - torch.nn.functional.cosine_similarity(left, right, dim=2, eps=1e-30)


def test_a_second_look_is_nearer_to_the_distance_and_never_beyond() -> None:
    pytest.importorskip("numba", reason="needs the extra fast")
    gallery, query = leaning(500, 1), leaning(7, 2)
    rows, probes = quick(gallery), Probes.of(Mean.each(query))
    pairs = torch.arange(500).repeat(7), torch.arange(7).repeat_interleave(500)
    closer = rows.second_bounds(probes)
    assert closer
    apart = exact(query, as_kept(gallery)).flatten() - closer(pairs)
    assert 0 < float(apart.min()) <= float(apart.max()) < 2 * ROUNDING
    assert led(gallery).second_bounds(probes) is None


def test_sums_of_very_many_numbers_are_not_looked_at_twice_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba", reason="needs the extra fast")
    rows, probes = quick(leaning(50, 1)), Probes.of(Mean.each(leaning(2, 2)))
    for most, looked_at in ((64, True), (63, False)):
        monkeypatch.setattr(leading, "LONG", most)
        assert bool(rows.second_bounds(probes)) is looked_at


def test_without_numba_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    assert loops_for.__wrapped__(3) is None
    rows, gallery = quick(leaning(300, 1)), leaning(300, 1)
    monkeypatch.setattr(leading, "loops_for", lambda _: None)
    query = leaning(5, 2)
    assert rows.loops is None
    check(search(rows, Probes.of(Mean.each(query)), 9, Found.room(5, 0, 6), None), exact(query, as_kept(gallery)), 9)


def test_where_nothing_can_be_kept_it_is_compiled_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that nobody may write to, and a user without a home."""
    tries: list[bool] = []

    def njit(_: list[str], *, cache: bool = False, **_options: object) -> Callable[..., object]:
        def make(function: object) -> object:
            tries.append(cache)
            if cache:
                raise RuntimeError("no locator available")
            return function

        return make

    numba = SimpleNamespace(njit=njit, config=SimpleNamespace(DISABLE_JIT=False))
    monkeypatch.setitem(sys.modules, "numba", numba)
    ready = loops_for.__wrapped__(2)
    assert ready
    assert tries == [True, False] * len(ready)
    numba.config.DISABLE_JIT = True
    assert loops_for.__wrapped__(2) is None, "plain Python would take for ever"
    del numba.config, numba.njit
    with pytest.warns(UserWarning, match="numba does not work here .*: searches take longer"):
        assert loops_for.__wrapped__(2) is None


@pytest.mark.parametrize("parts", [1, 4])
def test_as_plain_python_they_do_the_same(parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery, query = made(70, (parts, 8), 1, "plain"), made(3, (parts, 8), 2, "plain")
    monkeypatch.setattr(leading, "loops_for", plain)
    found = search(quick(gallery), Probes.of(Mean.each(query)), 6, Found.room(3, 0, parts), None)
    check(found, exact(query, as_kept(gallery)), 6)


def test_each_of_many_people_finds_what_is_theirs() -> None:
    """They are shared among threads; some may see few rows, and find fewer than others."""
    gallery, query = leaning(400, 1), leaning(45, 2)
    allowed = torch.ones(45, 400, dtype=torch.bool)
    allowed[20:, 3:], allowed[44] = False, False
    for kept in (split, quick):
        together = search(kept(gallery), Probes.of(Mean.each(query)), 9, Found.room(45, 0, 6), allowed)
        for row in (0, 19, 20, 43, 44):
            alone = Probes.of(Mean.each(query[row : row + 1]))
            found = search(kept(gallery), alone, 9, Found.room(1, 0, 6), allowed[row : row + 1])
            wide = found.distances.shape[1]
            assert wide <= (9 if row < 20 else 3)
            for column, own in zip(together, found, strict=True):
                torch.testing.assert_close(column[row, :wide], own[0], rtol=0, atol=0, equal_nan=True)
            assert bool((together.distances[row, wide:] == torch.inf).all())


@EITHER
def test_each_of_many_people_goes_on_from_what_they_have_found(kept: Callable[[Embedding], Planes | Leading]) -> None:
    """Also those whom another thread looks for."""
    gallery, query = leaning(400, 1), leaning(3 * bounds.PEOPLE - 3, 2)
    probes, found = Probes.of(Mean.each(query)), Found.room(len(query), 0, 6)
    for start in (0, 150, 300):
        some = kept(gallery[start : start + 150])
        found = search(replace(some, ids=some.ids + start), probes, 9, found, None)
    check(found, exact(query, as_kept(gallery)), 9)


@pytest.mark.parametrize("people", [1, 4, 5])
def test_a_few_people_are_multiplied_in_machine_code(people: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by the columns of some parts alone; for many torch is faster."""
    pytest.importorskip("numba", reason="needs the extra fast")
    gallery, query = leaning(300, 1), leaning(people, 2)
    calls: list[int] = []

    def counted(queries: Tensor, rows: Tensor) -> Tensor:
        calls.append(len(queries))
        return bytes.byte_products(queries, rows)

    monkeypatch.setattr(leading, "byte_products", counted)
    for shown in ([0, 1, 2, 3, 4, 5], [2, 3], [5]):
        some = Embedding(query.vectors, torch.zeros_like(query.visibility).index_fill(1, torch.tensor(shown), 1))
        probes, fast, slow = Probes.of(Mean.each(some)), *torch.full((2, people, 310), -7.0)
        calls.clear()
        quick(gallery).lower_bounds(probes)(slice(17, 290), fast)
        assert calls == [people] * (people > compiled.FEW)
        led(gallery).lower_bounds(probes)(slice(17, 290), slow)
        assert torch.allclose(fast, slow, atol=1e-6)
        assert bool((fast[:, :17] == -7).all())


def plain(parts: int) -> Loops:
    return Loops(
        compiled.products, compiled.of_parts(parts), compiled.rows_within, compiled.second_bounds, compiled.dots
    )


def test_equal_distances_go_by_id() -> None:
    one = made(1, (2, 8), 0, "plain")
    gallery = Embedding(one.vectors.expand(300, -1, -1).clone(), torch.ones(300, 2))
    ids = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    found = Found.room(1, 0, 2)
    for piece in in_chunks([rows_of(gallery, ids)], 300, 90, Planes.room):
        found = search(piece, Probes.of(Mean.each(one)), 7, found, None)
    assert found.ids.tolist() == [[*range(7)]]


@EITHER
def test_where_all_are_alike_few_are_measured_at_once(
    kept: Callable[[Embedding], Chunk], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = made(1, (2, 8), 0, "plain")
    gallery = Embedding(one.vectors.expand(3_000, -1, -1).clone(), torch.ones(3_000, 2))
    joined = watched(monkeypatch, "_joined")
    found = search(kept(gallery), Probes.of(Mean.each(one)), 7, Found.room(1, 0, 2), None)
    assert found.ids.tolist() == [[*range(7)]]
    assert len(joined[0][3][0]) == 7 * (1 if kept is quick else kept(gallery).more)


def test_without_bytes_that_are_fast_the_same_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    gallery, query = leaning(2_000, 1), leaning(9, 2)
    probes, room = Probes.of(Mean.each(query)), Found.room(9, 0, 6)
    found = search(quick(gallery), probes, 12, room, None)
    monkeypatch.setattr(bytes, "_bytes_are_fast", lambda: False)
    for left, right in zip(found, search(quick(gallery), probes, 12, room, None), strict=True):
        assert torch.equal(left.nan_to_num(7), right.nan_to_num(7))


@EITHER
def test_a_search_that_failed_leaves_nothing_behind(
    kept: Callable[[Embedding], Chunk], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads may still be writing bounds when the next search begins: it has other room."""
    gallery, query = leaning(2_000, 1), leaning(5, 2)
    rows, probes, room = kept(gallery), Probes.of(Mean.each(query)), Found.room(5, 0, 6)
    search(rows, probes, 9, room, None)
    before = bounds.KEPT.room
    assert len(before) >= 5 * 2_000
    with monkeypatch.context() as patch:
        patch.setattr(bounds, "_joined", Mock(side_effect=RuntimeError("no memory")))
        with pytest.raises(RuntimeError, match="no memory"):
            search(rows, probes, 9, room, None)
    assert not len(bounds.KEPT.room)
    found = search(rows, probes, 9, room, None)
    assert bounds.KEPT.room.data_ptr() != before.data_ptr()
    check(found, exact(query, as_kept(gallery)), 9)


def test_much_room_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_KEPT", 3_000)
    bounds.KEPT.room = torch.empty(0)
    for people, rows, kept in ((1, 2_000, 2_016), (1, 1_000, 2_016), (5, 2_000, 0)):
        search(led(leaning(rows, 1)), Probes.of(Mean.each(leaning(people, 2))), 9, Found.room(people, 0, 6), None)
        assert len(bounds.KEPT.room) == kept


@EITHER
def test_one_may_search_in_inference_mode(kept: Callable[[Embedding], Chunk]) -> None:
    gallery, query = leaning(500, 1), leaning(5, 2)
    rows, room = kept(gallery), Found.room(5, 0, 6)
    for inference in (True, False, True):
        with torch.inference_mode(inference):
            found = search(rows, Probes.of(Mean.each(query)), 9, room, None)
        check(found, exact(query, as_kept(gallery)), 9)


@EITHER
def test_rows_that_are_not_allowed_are_never_found(kept: Callable[[Embedding], Chunk]) -> None:
    gallery, query = made(200, (2, 8), 0, "plain"), made(3, (2, 8), 1, "plain")
    allowed = torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) < torch.tensor([0.5, 0.02, 0.0])
    found = search(kept(gallery), Probes.of(Mean.each(query)), 10, Found.room(3, 0, 2), allowed.T)
    check(found, exact(query, as_kept(gallery)).masked_fill(~allowed.T, math.inf), 10)


@EITHER
def test_negative_pictures_push_back_what_is_nearer_to_them(kept: Callable[[Embedding], Chunk]) -> None:
    gallery, query, unlike = (made(n, (3, 16), seed, "plain") for n, seed in ((300, 0), (2, 1), (3, 2)))
    none = Mean(torch.zeros(1, 3, 16), torch.zeros(1, 3))
    each = Mean.each(unlike)
    rounds = (  # the first person has one negative picture, the second has two
        Mean(*(column[[0, 1]] for column in each)),
        Mean.joined([none, Mean(*(column[[2]] for column in each))]),
    )
    found = search(kept(gallery), Probes.of(Mean.each(query), rounds), 300, Found.room(2, 0, 3), None)
    own, stored = exact(query, as_kept(gallery)), as_kept(gallery)
    for person, negatives in enumerate(([0], [1, 2])):
        shown = unlike.visibility[negatives] * (query.visibility[person] > 0)
        other = exact(Embedding(unlike.vectors[negatives], shown), stored).amin(0)
        nearer = (own[person] - other).clamp(min=0).nan_to_num(0.0, posinf=0.0)
        assert 20 < int((nearer > 0).sum()) < 280
        wanted = own[person] + PUSH * nearer
        check(Found(*(column[[person]] for column in found)), wanted[None], 300)


def test_pushing_by_hand() -> None:
    distances = torch.tensor([[0.3, 0.3, 0.3, math.inf], [0.5, 0.1, math.inf, 0.1], [0.4, 0.2, math.inf, math.inf]])
    wanted = torch.tensor([0.3, 0.3 + PUSH * 0.2, 0.3, math.inf])
    assert torch.allclose(pushed(distances), wanted)
    assert torch.equal(pushed(distances[:1]), distances[0])


@EITHER
def test_several_pictures_are_the_weighted_mean_of_all_their_parts(kept: Callable[[Embedding], Chunk]) -> None:
    gallery, pictures = made(80, (3, 16), 0, "plain"), made(4, (3, 16), 5, "plain")
    stored = as_kept(gallery)
    found = search(kept(gallery), Probes.of(Mean.each(pictures).together), 80, Found.room(1, 0, 3), None)
    parts = oracles.part_distances(pictures, stored, "cosine")
    weights = pictures.visibility.double()[:, None] * stored.visibility.double()
    wanted = (parts * weights).sum((0, 2)) / weights.sum((0, 2))
    check(found, wanted.nan_to_num(nan=math.inf)[None], 80)


def test_one_picture_twice_is_that_picture() -> None:
    picture = made(1, (3, 16), 5, "plain")
    twice = Embedding(picture.vectors.expand(2, -1, -1), picture.visibility.expand(2, -1))
    for one, two in zip(Mean.each(picture), Mean.each(twice).together, strict=True):
        assert torch.allclose(one, two)


def test_parts_chosen_by_hand() -> None:
    picture = made(2, (3, 16), 5, "plain")
    chosen = Mean.each(picture, (2, 0))
    assert torch.equal(chosen.weights, picture.visibility * torch.tensor([1.0, 0, 1]))
    assert not chosen.sums[:, 1].any()
    assert torch.equal(chosen.sums[:, [0, 2]], Mean.each(picture).sums[:, [0, 2]])
