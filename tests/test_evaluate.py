"""From embeddings to scores, against loops in double precision; and which protocols apply to which files."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import oracles
from halfseen.data.embeddings import Encoded, load_encoded, save_encoded
from halfseen.evaluate import DISTANCES, evaluate, reranked, score_each
from halfseen.ops.distance import CoarseToFine, Single, VisibleParts
from halfseen.ops.metrics import PROTOCOLS
from halfseen.types import Embedding, Facts, InputError, Protocol, Scores

MARKET, ALL, OCC, NPO, NTP = PROTOCOLS.values()
SINGLE, PARTS = ("cosine", "euclid", "unit-euclid"), ("parts", "parts-sqrt", "parts-cosine", "coarse-to-fine")


def split(rows: int, seed: int, parts: int) -> Encoded:
    """Seven people and some junk before three cameras; hidden parts are junk too, and some images share none."""
    dice = torch.Generator().manual_seed(seed)
    people = torch.randn(7, parts, 6, generator=torch.Generator().manual_seed(parts))
    pids = torch.randint(-1, 7, (rows,), generator=dice)
    vectors = people[pids] + 1.2 * torch.randn(rows, parts, 6, generator=dice)
    visibility = torch.rand(rows, parts, generator=dice)
    visibility[visibility < 0.4] = 0 if parts > 1 else 1
    vectors[visibility == 0] = math.nan
    camids, occlusion = torch.randint(0, 3, (rows,), generator=dice), torch.randint(0, 4, (rows,), generator=dice)
    return Encoded(Embedding(vectors, visibility), Facts(pids, camids, occlusion))


def benchmark(parts: int = 1) -> tuple[Encoded, Encoded]:
    return split(18, 1, parts), split(60, 2, parts)


def held(side: Encoded) -> Encoded:
    """The same, with zeros in hidden parts instead of what only visible parts never look at."""
    return replace(side, embedding=Embedding(side.embedding.vectors, side.embedding.visibility))


def with_facts(side: Encoded, **columns: Tensor) -> Encoded:
    return replace(side, facts=replace(side.facts, **columns))


def rows_of(side: Encoded, rows: Tensor) -> Encoded:
    return replace(side, embedding=side.embedding[rows], facts=side.facts[rows])


def expected_distances(name: str, query: Embedding, gallery: Embedding, empty: float = math.inf) -> Tensor:
    if name in SINGLE:
        return oracles.part_distances(query, gallery, name)[:, :, 0]
    if name == "coarse-to-fine":
        values = oracles.part_distances(query, gallery, "cosine")
        fine = (oracles.fine_weights(query, gallery, 1, "both") * values).sum(2)
        coarse = oracles.coarse_distance(query, gallery, 1)
        return torch.where(oracles.nearest(coarse, 100), coarse + fine, coarse + 1000)
    values = oracles.part_distances(query, gallery, "cosine" if name == "parts-cosine" else "unit-euclid")
    return oracles.weighted_mean(values, query, gallery, "sqrt" if name == "parts-sqrt" else "product", empty)


def expected_scores(matrix: Tensor, query: Facts, gallery: Facts, protocol: Protocol) -> Scores:
    rows = zip(matrix.tolist(), query.pids.tolist(), query.camids.tolist(), strict=True)
    every = [oracles.positive_ranks(row, pid, camid, gallery, protocol) for row, pid, camid in rows]
    ranks = [r for r in every if r]
    return Scores(
        statistics.fmean(map(oracles.average_precision, ranks)),
        statistics.fmean(map(oracles.inverse_negative_penalty, ranks)),
        tuple(statistics.fmean(r[0] <= reach for r in ranks) for reach in range(1, 51)),
        len(ranks),
        len(every) - len(ranks),
        sum(map(len, ranks)),
    )


def assert_same(got: Scores, want: Scores) -> None:
    assert (got.mAP, got.mINP) == pytest.approx((want.mAP, want.mINP), abs=1e-6)
    assert got.cmc == pytest.approx(want.cmc, abs=1e-6)
    assert (got.queries, got.skipped, got.positives) == (want.queries, want.skipped, want.positives)


# --- the numbers ---


@pytest.mark.parametrize("name", SINGLE + PARTS)
def test_C5_scores_equal_loops_from_vectors_to_means(name: str) -> None:
    query, gallery = benchmark(1 if name in SINGLE else 3)
    if name == "coarse-to-fine":
        query, gallery = held(query), held(gallery)
    got = evaluate(query, gallery, distance=DISTANCES[name], protocols=tuple(PROTOCOLS.values()))
    assert list(got) == list(PROTOCOLS)
    matrix = expected_distances(name, query.embedding, gallery.embedding)
    assert name not in PARTS[:3] or (~matrix.isfinite()).any()
    for protocol in PROTOCOLS.values():
        assert_same(got[protocol.name], expected_scores(matrix, query.facts, gallery.facts, protocol))
    assert len({score.mAP for score in got.values()}) == 5


@pytest.mark.parametrize("name", ["cosine", "euclid", "parts", "parts-cosine"])
@pytest.mark.parametrize(("k1", "k2", "weight"), [(20, 6, 0.3), (5, 1, 0.1)])
def test_reranked_scores_equal_loops(name: str, k1: int, k2: int, weight: float) -> None:
    query, gallery = benchmark(1 if name in SINGLE else 3)
    both = Embedding(*(torch.cat(pair) for pair in zip(*map(both_tensors, (query, gallery)), strict=True)))
    matrix = oracles.k_reciprocal(
        expected_distances(name, both, both, 3.0), len(query.facts), k1=k1, k2=k2, weight=weight
    )
    got = evaluate(query, gallery, distance=reranked(DISTANCES[name], k1=k1, k2=k2, weight=weight), protocols=[ALL])
    plain = evaluate(query, gallery, distance=DISTANCES[name], protocols=[ALL])
    assert_same(got["all"], expected_scores(matrix, query.facts, gallery.facts, ALL))
    assert got["all"].mAP != plain["all"].mAP


def both_tensors(side: Encoded) -> tuple[Tensor, Tensor]:
    return side.embedding.vectors, side.embedding.visibility


@pytest.mark.parametrize(("parts", "usual"), [(1, "cosine"), (3, "parts")])
def test_the_usual_distance(parts: int, usual: str) -> None:
    query, gallery = benchmark(parts)
    assert evaluate(query, gallery) == evaluate(query, gallery, distance=DISTANCES[usual])
    assert evaluate(query, gallery) != evaluate(query, gallery, distance=VisibleParts("euclid"))


def test_one_vector_that_is_not_always_seen_is_not_looked_at_where_it_is_hidden() -> None:
    query, gallery = benchmark(1)
    hidden = replace(gallery.embedding, visibility=gallery.embedding.visibility.clone())
    hidden.visibility[::3] = 0
    there = replace(gallery, embedding=hidden)
    other = replace(hidden, vectors=torch.where(hidden.visibility[..., None] > 0, hidden.vectors, 9.0))
    found = evaluate(query, there)
    assert found == evaluate(query, replace(gallery, embedding=other))
    assert found == evaluate(query, there, distance=DISTANCES["parts-cosine"])
    assert found != evaluate(query, gallery)


def test_means_are_of_what_each_query_scores() -> None:
    query, gallery = benchmark(3)
    found, means = score_each(query, gallery), evaluate(query, gallery)
    assert [protocol.name for protocol in found] == list(means)
    for protocol, scores in found.items():
        valid = scores.positives > 0
        assert means[protocol.name].queries == int(valid.sum())
        assert means[protocol.name].mAP == pytest.approx(float(scores.ap[valid].double().mean()))


def test_names_mean_these_distances() -> None:
    assert DISTANCES["unit-euclid"] == Single("unit-euclid")
    assert DISTANCES["parts-sqrt"] == VisibleParts("unit-euclid", "sqrt")
    assert DISTANCES["coarse-to-fine"] == CoarseToFine(100, 1)


def test_junk_counts_neither_as_positive_nor_as_distractor() -> None:
    query, gallery = benchmark(3)
    junk = gallery.facts.pids < 0
    assert 0 < junk.sum() < len(junk)
    want = evaluate(query, rows_of(gallery, ~junk))
    assert evaluate(query, gallery) == want
    honest = evaluate(rows_of(query, query.facts.pids >= 0), gallery)
    for name, score in want.items():
        more = int((query.facts.pids < 0).sum())
        assert score == replace(honest[name], skipped=honest[name].skipped + more)


@pytest.mark.parametrize("name", ["cosine", "parts", "rerank"])
@pytest.mark.parametrize("rows", [1, 5, 1000])
def test_progress_goes_up_to_the_end_and_blocks_change_nothing(
    name: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, gallery = benchmark(3 if name == "parts" else 1)
    distance = reranked(Single()) if name == "rerank" else DISTANCES[name]
    want = evaluate(query, gallery, distance=distance)
    monkeypatch.setattr("halfseen.ops.distance.BLOCK_BYTES", 4 * rows * len(gallery.facts))
    seen: list[tuple[int, int]] = []
    got = evaluate(query, gallery, distance=distance, progress=lambda *step: seen.append(step))
    assert got == want
    stages = {total: [done for done, of in seen if of == total] for _, total in seen}
    assert list(stages) == ([18 + 60, 18] if name == "rerank" else [18])
    for total, done in stages.items():
        assert done[-1] == total
        assert all(before < after for before, after in pairwise(done))
        assert len(done) > 1 or rows == 1000
    assert [total for _, total in seen] == sorted((total for _, total in seen), reverse=True)


def test_scores_are_the_same_from_safetensors_and_npz(tmp_path: Path) -> None:
    loaded = []
    for side in benchmark(3):
        save_encoded(tmp_path / "a.safetensors", side)
        vectors, visibility = both_tensors(side)
        pid, camid, occlusion = vars(side.facts).values()
        np.savez(tmp_path / "a.npz", vectors=vectors, visibility=visibility, pid=pid, camid=camid, occlusion=occlusion)
        loaded.append([load_encoded(tmp_path / name, camid=9) for name in ("a.safetensors", "a.npz")])
    want = evaluate(*benchmark(3))
    for query, gallery in zip(*loaded, strict=True):
        assert evaluate(query, gallery) == want


# --- which protocols ---


def without_labels(side: Encoded) -> Encoded:
    return replace(with_facts(side, occlusion=torch.zeros_like(side.facts.pids)), has_labels=False)


def without_cameras(side: Encoded, camid: int) -> Encoded:
    return replace(with_facts(side, camids=torch.full_like(side.facts.pids, camid)), has_cameras=False)


def test_without_a_choice_all_protocols_that_the_facts_allow() -> None:
    query, gallery = benchmark()
    assert list(evaluate(query, gallery)) == ["market", "occ", "npo", "ntp"]
    assert list(evaluate(query, without_labels(gallery))) == ["market"]
    query, gallery = without_cameras(query, 0), without_cameras(gallery, 1)
    assert list(evaluate(query, gallery)) == ["all", "occ", "npo", "ntp"]
    assert list(evaluate(query, without_labels(gallery))) == ["all"]


def test_without_cameras_all_and_market_are_the_same() -> None:
    query, gallery = benchmark()
    got = evaluate(without_cameras(query, 0), without_cameras(gallery, 1), protocols=[MARKET, ALL])
    assert got["market"] == got["all"] == evaluate(query, gallery, protocols=[ALL])["all"]


def test_chosen_protocols_come_in_the_order_of_choice() -> None:
    query, gallery = benchmark()
    usual = evaluate(query, gallery)
    got = evaluate(query, gallery, protocols=[NTP, MARKET])
    assert list(got) == ["ntp", "market"]
    assert got == {name: usual[name] for name in got}


def test_a_label_that_no_positive_bears_is_left_out_unless_asked_for() -> None:
    query, gallery = benchmark()
    labels = gallery.facts.occlusion.where(gallery.facts.occlusion != 1, 0)
    labels = torch.where(gallery.facts.pids < 0, 1, labels)  # NTP is on junk only
    gallery = with_facts(gallery, occlusion=labels)
    assert list(evaluate(query, gallery)) == ["market", "occ", "npo"]
    with pytest.raises(InputError, match=r"none of the 18 queries .* 'ntp': .* of occlusion NTP; check the pids"):
        evaluate(query, gallery, protocols=[MARKET, NTP])


@pytest.mark.parametrize(
    ("protocol", "counted", "labels"),
    [(NPO, "2 (NPO)", (0, 1, 3)), (NTP, "1 (NTP)", (0, 2, 3)), (OCC, "1 (NTP) or 2 (NPO)", (0, 3, 3))],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_protocol_whose_labels_the_gallery_lacks_is_refused(
    protocol: Protocol, counted: str, labels: tuple[int, ...]
) -> None:
    query, gallery = benchmark()
    gallery = with_facts(gallery, occlusion=torch.tensor(labels).repeat(20))
    for chosen in ([protocol], [MARKET, protocol]):
        with pytest.raises(InputError) as caught:
            evaluate(query, gallery, protocols=chosen)
        assert str(caught.value) == (
            f"protocol '{protocol.name}' counts gallery images of occlusion {counted}, and the gallery has none; "
            f"choose another protocol, or a gallery with such labels (in a file: the array `occlusion`)"
        )
    assert protocol.name not in evaluate(query, gallery)
    assert list(evaluate(query, gallery, protocols=[ALL])) == ["all"]


def test_a_single_camera_needs_protocol_all() -> None:
    query, gallery = (with_facts(side, camids=torch.full_like(side.facts.pids, 4)) for side in benchmark())
    with pytest.raises(InputError, match=r"'market': .* choose protocol 'all' if there is only one camera"):
        evaluate(query, gallery)
    assert evaluate(query, gallery, protocols=[ALL]) == evaluate(*benchmark(), protocols=[ALL])


# --- what is refused ---


def test_cameras_on_one_side_only_are_refused() -> None:
    query, gallery = benchmark()
    with pytest.raises(InputError, match="the gallery has camera numbers and the query has none"):
        evaluate(without_cameras(query, 0), gallery)
    with pytest.raises(
        InputError, match=r"the query has camera numbers and the gallery has none.* add camid to the ga"
    ):
        evaluate(query, without_cameras(gallery, 1))


BAD: dict[str, Callable[[Encoded, Encoded], tuple[Encoded, Encoded]]] = {
    "at least one query": lambda q, g: (rows_of(q, torch.tensor([], dtype=torch.int64)), g),
    "the gallery is empty": lambda q, g: (q, rows_of(g, torch.tensor([], dtype=torch.int64))),
    "the query has 1 parts of 6 dimensions and the gallery 3 of 6": lambda q, _: (q, benchmark(3)[1]),
    "do not fit 17 queries": lambda q, g: (replace(q, facts=q.facts[1:]), g),
    "59 gallery rows": lambda q, g: (q, replace(g, facts=g.facts[1:])),
    "none of the 18 queries": lambda q, g: (with_facts(q, pids=q.facts.pids + 100), g),
}


@pytest.mark.parametrize(("said", "spoil"), BAD.items(), ids=list(BAD))
def test_what_cannot_be_scored_is_refused(said: str, spoil: Callable[..., tuple[Encoded, Encoded]]) -> None:
    with pytest.raises(InputError, match=said):
        evaluate(*spoil(*benchmark()))


def test_reranking_twice_and_reranking_infinite_distances_are_refused() -> None:
    with pytest.raises(InputError, match="coarse-to-fine is a re-ranking already"):
        reranked(DISTANCES["coarse-to-fine"])
    with pytest.raises(InputError, match="re-ranking needs finite distances"):
        evaluate(*benchmark(3), distance=reranked(VisibleParts("euclid")))
    with pytest.raises(InputError, match="k1=0"):
        reranked(Single(), k1=0)
