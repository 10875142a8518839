"""Questions and answers: the ranking is `evaluate`'s, and each answer says why it is there."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from galleries import DIM, MODEL, PARTS, facts, filled, people
from halfseen.evaluate import DISTANCES
from halfseen.gallery import loading
from halfseen.gallery import search as search_module
from halfseen.gallery.leading import Basis, Leading
from halfseen.gallery.planes import Planes
from halfseen.gallery.search import Search
from halfseen.gallery.sightings import Ask, Fact, ModelFacts, Sighting
from halfseen.gallery.store import Gallery
from halfseen.ops.distance import VisibleParts, distances, top_k
from halfseen.ops.rerank import KReciprocal, rerank
from halfseen.types import Embedding, InputError

pytest.importorskip("lance", reason="the extra `search` is not installed")

Change = Callable[[Ask], Ask]


def ids(answers: list[Sighting]) -> list[int]:
    return [answer.id for answer in answers]


def test_the_ranking_is_that_of_evaluate(tmp_path: Path) -> None:
    gallery, query = filled(tmp_path), people([*range(40)], seed=7)
    stored, embedding = gallery.embedding()
    found = Search(gallery).searches([Ask(query[row : row + 1], count=200) for row in range(40)])
    ranking = top_k(DISTANCES["parts-cosine"], query, embedding, 200)
    assert [ids(answers) for answers in found] == torch.tensor(stored)[ranking.indices].tolist()
    for answers, wanted in zip(found, ranking.distances.tolist(), strict=True):
        assert [answer.distance for answer in answers] == pytest.approx(wanted, abs=2e-6)
        assert [answer.rank for answer in answers] == [*range(1, 201)]


def test_of_one_vector_an_image_it_is_the_cosine_distance(tmp_path: Path) -> None:
    """Which is half the square of the Euclidean distance of unit vectors."""
    gallery = Gallery.create(tmp_path, ModelFacts("one", "a", ("whole",), DIM))
    dice = torch.Generator().manual_seed(0)
    vectors, query = torch.randn(50, DIM, generator=dice), torch.randn(1, DIM, generator=dice)
    gallery.add(Embedding.of(vectors), facts(50))
    left, right = (torch.nn.functional.normalize(side.double()) for side in (query, vectors))
    halves = (left - right).square().sum(1) / 2
    answers = Search(gallery).search(Ask(Embedding.of(query), count=50))
    assert [answer.distance for answer in answers] == pytest.approx(halves.sort().values.tolist(), abs=2e-4)
    assert ids(answers) == halves.argsort().tolist()


def test_parts_that_are_not_chosen_count_as_invisible(tmp_path: Path) -> None:
    search, query = Search(filled(tmp_path)), people([5, 6], seed=3)
    hidden = Embedding(query.vectors, query.visibility * torch.tensor([0.0, 1, 1, 0]))
    assert search.search(Ask(query, parts=(2, 1), count=200)) == search.search(Ask(hidden, count=200))


@pytest.mark.parametrize("machine", [10**4, 10**9])
def test_vectors_take_a_good_part_of_the_machine_and_no_more(
    tmp_path: Path, machine: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_machine_memory", lambda: machine)
    search = Search(filled(tmp_path))
    assert bool(len(search._loaded.rest)) == (machine < 10**5)
    assert len(search.search(Ask(people([5]), count=200))) == 200


def test_storing_hardly_moves_a_distance(tmp_path: Path) -> None:
    query = people([*range(40)], seed=7)
    found = Search(filled(tmp_path)).searches([Ask(query[row : row + 1], count=200) for row in range(40)])
    direct = distances(VisibleParts("cosine"), query, people([row % 40 for row in range(200)]))
    for row, answers in enumerate(found):
        moved = torch.tensor([answer.distance for answer in answers]) - direct[row, ids(answers)]
        assert float(moved.abs().max()) < 2e-4


def test_a_gallery_that_does_not_fit_into_memory_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "STREAMED", 64)
    gallery, query = filled(tmp_path), people([*range(9)], seed=7)
    asks = [Ask(query[row : row + 1], count=30, unlike=query[row - 1 : row] if row else None) for row in range(9)]
    streamed, held = Search(gallery, memory=0), Search(gallery)
    assert streamed.searches(asks) == held.searches(asks)
    gallery.remove([*range(100)])
    gallery.add(people([3]), facts(1, 200))
    for search in (streamed, held):
        assert search.refresh()
        assert not search.refresh()
    assert streamed.searches(asks) == held.searches(asks) == Search(Gallery.open(tmp_path)).searches(asks)


def test_a_streamed_search_passes_what_came_after_its_last_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "STREAMED", 64)
    gallery, ask = filled(tmp_path, 100), Ask(people([5]), count=100)
    search = Search(gallery, memory=0)
    before = search.search(ask)
    gallery.add(people([5] * 300), facts(300, 100))  # chunks, of which this search knows no row
    assert search.search(ask) == before
    assert search.refresh()
    assert search.search(ask) != before


@pytest.mark.parametrize("chunk", [16, 50, 1000])
def test_refreshing_is_as_good_as_opening_again(tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "CHUNK", chunk)
    gallery, other, ask = filled(tmp_path, 100), Gallery.open(tmp_path), Ask(people([5]), count=500)
    search = Search(gallery)
    steps: list[Callable[[], object]] = [
        lambda: other.remove([5, 45, 99]),
        lambda: other.add(people([5, 6]), facts(2, 100)),
        lambda: (other.remove([100]), other.add(people([5]), facts(1, 102))),
        other.compact,
        lambda: other.remove([*range(50)]),
        lambda: other.keep_note("a", 1),
        lambda: other.remove([*range(200)]),
        lambda: other.add(people([5]), facts(1, 103)),
    ]
    for step in steps:
        before = search.search(ask)
        step()
        assert search.search(ask) == before  # until it is told
        assert search.refresh()
        assert search.search(ask) == Search(Gallery.open(tmp_path)).search(ask)
    assert ids(search.search(ask)) == [103]


def test_another_gallery_in_the_same_place_is_read_anew(tmp_path: Path) -> None:
    """As after a restoration: the same number of changes, the same ids, and other rows."""
    alike, turned = people([0, 1, 2, 3]), torch.tensor([3, 2, 1, 0])
    gallery = Gallery.create(tmp_path / "g", MODEL)
    gallery.add(alike, facts(4))
    search = Search(gallery)
    shutil.rmtree(tmp_path / "g")
    Gallery.create(tmp_path / "g", MODEL).add(alike[turned], [facts(4)[row] for row in turned.tolist()])
    assert search.refresh()
    assert [answer.fact.image for answer in search.search(Ask(alike[:1], count=1))] == ["images/0.png"]
    assert not search.refresh()
    shutil.rmtree(tmp_path / "g")
    Gallery.create(tmp_path / "g", replace(MODEL, digest="f" * 16))
    with pytest.raises(InputError, match="has become a gallery of another model; open it anew"):
        search.refresh()


def test_a_copy_that_is_put_back_is_read_anew(tmp_path: Path) -> None:
    """It goes on to the same number of changes, and further, by others: the ids are given once more."""
    alike, place = people([0, 1, 2, 3]), tmp_path / "g"
    gallery = Gallery.create(place, MODEL)
    gallery.add(alike[:1], facts(1))
    shutil.copytree(place, tmp_path / "copy")
    gallery.add(alike[1:2], facts(1, 1))
    search, probe = Search(gallery), Ask(alike[2:3], count=1)
    shutil.rmtree(place)
    shutil.copytree(tmp_path / "copy", place)
    Gallery.open(place).add(alike[2:3], facts(1, 2))
    assert search.refresh()
    assert [answer.fact.image for answer in search.search(probe)] == ["images/2.png"]
    shutil.rmtree(place)
    (tmp_path / "copy").rename(place)
    other = Gallery.open(place)
    for row in (3, 1):
        other.add(alike[row : row + 1], facts(1, row))
    assert search.refresh()
    assert [answer.fact.image for answer in search.search(Ask(alike[3:], count=1))] == ["images/3.png"]
    assert not search.refresh()


@pytest.mark.parametrize("copied", [True, False])
def test_whoever_writes_writes_into_the_gallery_that_is_there(tmp_path: Path, copied: bool) -> None:
    alike, place = people([0, 1, 2, 3]), tmp_path / "g"
    gallery = Gallery.create(place, MODEL)
    shutil.copytree(place, tmp_path / "copy")
    gallery.add(alike[:1], facts(1))
    shutil.rmtree(place)
    if copied:
        shutil.copytree(tmp_path / "copy", place)
    other = Gallery.open(place) if copied else Gallery.create(place, MODEL)
    other.add(alike[1:2], facts(1, 1))
    gallery.add(alike[2:3], facts(1, 2))
    there = Gallery.open(place)
    assert [fact.image for fact in there.rows().values()] == ["images/1.png", "images/2.png"]
    assert there.verify() == []


def test_others_may_refresh_the_gallery_that_is_searched(tmp_path: Path) -> None:
    """The same object is refreshed, as by a service, and the search is not told: it goes on with what it knows."""
    gallery, ask = filled(tmp_path, 100), Ask(people([5]), count=500)
    again = replace(ask, rerank=True)
    for memory in (None, 0):
        search = Search(gallery, memory=memory)
        known, before = gallery.rows(), search.search(ask)
        gallery.remove([before[0].id, before[7].id])
        gallery.add(people([5, 5]), facts(2, 500))
        gallery.compact(grace=timedelta(0))
        assert {*ids(search.search(ask))} <= known.keys()
        for answer in (*search.search(ask), *search.search(again)):
            assert replace(answer.fact, thumbnail=known[answer.id].thumbnail) == known[answer.id]
        assert {before[0].id, before[7].id}.isdisjoint(ids(search.search(again)))
        assert len(search.search(again)) == len(known) - 2
    search = Search(gallery)
    gallery.remove([*gallery.rows()])
    assert search.search(again) == []


def test_an_empty_gallery_has_no_answers(tmp_path: Path) -> None:
    search = Search(Gallery.create(tmp_path, MODEL))
    assert len(search) == 0
    assert search.searches([Ask(people([0])), Ask(people([1]), rerank=True, since=0.0)]) == [[], []]
    assert search.searches([]) == []


def test_answers_meet_what_was_asked(tmp_path: Path) -> None:
    known = facts(200)
    search, query = Search(filled(tmp_path)), people([5], seed=3)
    changes: list[tuple[Change, Callable[[Fact], bool]]] = [
        (lambda ask: replace(ask, cameras=frozenset({"gate '1'", "gate '3'"})), lambda fact: fact.camera[6] in "13"),
        (lambda ask: replace(ask, sources=frozenset({"film 2.mp4"})), lambda fact: fact.source == "film 2.mp4"),
        (lambda ask: replace(ask, since=60.0), lambda fact: fact.time is not None and fact.time >= 60),
        (lambda ask: replace(ask, until=60.0), lambda fact: fact.time is not None and fact.time <= 60),
        (lambda ask: replace(ask, cameras=frozenset({"nowhere"})), lambda _: False),
        (lambda ask: replace(ask, cameras=frozenset()), lambda _: False),
        (lambda ask: ask, lambda _: True),
    ]
    whole = ids(search.search(Ask(query, count=200)))
    answers = search.searches([change(Ask(query, count=200)) for change, _ in changes])
    for found, (_, meets) in zip(answers, changes, strict=True):
        assert ids(found) == [id for id in whole if meets(known[id])]
        assert [replace(answer.fact, thumbnail=known[answer.id].thumbnail) for answer in found] == [
            known[answer.id] for answer in found
        ]


def test_many_at_once_are_as_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "PEOPLE", 4)
    search, query = Search(filled(tmp_path)), people([*range(10)], seed=3)
    asks = [
        Ask(
            query[row : row + 1 + row % 3],
            count=1 + 7 * row,
            rerank=row % 4 == 0,
            unlike=query[9:] if row % 2 else None,
        )
        for row in range(9)
    ]
    for one, together in zip([search.search(ask) for ask in asks], search.searches(asks), strict=True):
        assert ids(one) == ids(together)
        assert [a.distance for a in one] == pytest.approx([a.distance for a in together], abs=1e-6)
    assert [len(answers) for answers in search.searches(asks)] == [ask.count for ask in asks]


def test_whoever_asks_for_less_takes_nobody_s_answers_away(tmp_path: Path) -> None:
    search, query = Search(filled(tmp_path)), people([*range(3)], seed=3)
    asks = [Ask(query[row : row + 1], count=count) for row, count in enumerate((1, 30, 7))]
    assert [len(answers) for answers in search.searches(asks)] == [1, 30, 7]


def test_each_answer_says_why(tmp_path: Path) -> None:
    gallery, query = filled(tmp_path), people([5], seed=3)
    (stored,) = gallery.embedding()[1:]
    for answer in Search(gallery).search(Ask(query, count=200)):
        seen = (query.visibility[0] * stored.visibility[answer.id]).tolist()
        assert answer.seen == pytest.approx(seen)
        assert [part is None for part in answer.parts] == [not s for s in seen]
        cosine = torch.cosine_similarity(query.vectors[0], stored.vectors[answer.id], dim=1).tolist()
        assert [p for p in answer.parts if p is not None] == pytest.approx(
            [1 - c for c, s in zip(cosine, seen, strict=True) if s], abs=2e-6
        )
        mean = sum(s * p for p, s in zip(answer.parts, seen, strict=True) if p is not None) / sum(seen)
        assert answer.distance == pytest.approx(mean, abs=2e-6)
        assert answer.confidence is None


def test_no_distance_is_below_that_to_oneself(tmp_path: Path) -> None:
    """Rounding goes both ways, and "-0.00" would be read as something."""
    gallery = filled(tmp_path)
    stored, embedding = gallery.embedding()
    found = Search(gallery).searches([Ask(embedding[row : row + 1], count=1) for row in range(len(stored))])
    told = [number for (answer,) in found for number in (answer.distance, *answer.parts) if number is not None]
    assert min(told) >= 0
    assert max(told) < 1e-5


def test_images_that_share_no_part_are_no_answers(tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path, MODEL)
    embedding = people([1, 1, 1])
    seen = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0.25, 0]])
    gallery.add(Embedding(embedding.vectors, seen), facts(3))
    query = Embedding(people([1], seed=2).vectors, torch.tensor([[0.0, 1, 0.5, 0]]))
    assert sorted(ids(Search(gallery).search(Ask(query)))) == [1, 2]
    assert ids(Search(gallery).search(Ask(query, parts=(2,)))) == [2]
    assert [answer.seen for answer in Search(gallery).search(Ask(query, parts=(2,)))] == [(0, 0, 0.125, 0)]


def test_a_second_picture_helps(tmp_path: Path) -> None:
    gallery = filled(tmp_path, 400)
    pids = torch.arange(400) % 40
    one, two = people([*range(40)], seed=5, noise=1.5), people([*range(40)], seed=6, noise=1.5)
    search = Search(gallery)
    scores = []
    for pictures in (1, 2):
        asks = [
            Ask(Embedding(*(torch.stack(pair[:pictures]) for pair in pairs)), count=400)
            for pairs in zip(
                zip(one.vectors, two.vectors, strict=True),
                zip(one.visibility, two.visibility, strict=True),
                strict=True,
            )
        ]
        right = [(pids[ids(answers)] == pid).nonzero()[:, 0] + 1 for pid, answers in enumerate(search.searches(asks))]
        scores.append(sum(float((torch.arange(1, 11) / ranks).mean()) for ranks in right) / 40)
    assert scores[1] > scores[0] + 0.05


def test_what_is_not_meant_goes_back(tmp_path: Path) -> None:
    search, query = Search(filled(tmp_path)), people([5], seed=3, noise=2.0)
    before = search.search(Ask(query, count=200))
    wrong = next(answer for answer in before if answer.id % 40 != 5)
    unlike = search.gallery.embedding([wrong.id])[1]
    after = search.search(Ask(query, unlike, count=200))
    ranks = {answer.id: answer.rank for answer in after}
    assert ranks[wrong.id] > wrong.rank
    assert {a.id: a.distance for a in after}[wrong.id] == pytest.approx(1.5 * wrong.distance, abs=1e-5)
    assert all(
        now >= then - 1e-6
        for now, then in zip(
            (distance for _, distance in sorted((a.id, a.distance) for a in after)),
            (distance for _, distance in sorted((a.id, a.distance) for a in before)),
            strict=True,
        )
    )


def test_reranking_orders_the_first_by_their_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "RERANKED", 60)
    gallery, query = filled(tmp_path), people([5, 5], seed=3, noise=1.2)
    search = Search(gallery)
    first = ids(search.search(Ask(query, count=60)))
    answers = search.search(Ask(query, count=20, rerank=True))
    top = gallery.embedding(first)[1]
    blocks = rerank(KReciprocal(VisibleParts("cosine", on_empty="max+1")), query, top)
    wanted = torch.cat([block for _, block in blocks]).mean(0)
    order = wanted.sort(stable=True).indices[:20].tolist()
    assert ids(answers) == [first[row] for row in order]
    plain = {answer.id: (answer.distance, answer.parts) for answer in search.search(Ask(query, count=60))}
    assert [(answer.distance, answer.parts) for answer in answers] == [plain[answer.id] for answer in answers]
    limited = search.search(Ask(query, query[:1], parts=(0, 2), count=20, rerank=True))
    assert all(answer.seen[1] == answer.seen[3] == 0 for answer in limited)
    assert len(search.search(Ask(query, count=90, rerank=True))) == 90  # as many as are asked for


def test_reranking_looks_at_negative_pictures_by_the_parts_that_the_person_shows(tmp_path: Path) -> None:
    search = Search(filled(tmp_path))
    query, unlike = people([5], seed=3), people([7], seed=4, whole=True)
    torso = Embedding(query.vectors, torch.tensor([[0.0, 0, 1, 0]]))
    masked = Embedding(unlike.vectors, torch.tensor([[0.0, 0, 1, 0]]))
    pushed = search.search(Ask(torso, unlike, rerank=True, count=200))
    assert pushed == search.search(Ask(torso, masked, rerank=True, count=200))
    assert pushed != search.search(Ask(torso, rerank=True, count=200))


def test_reranking_does_not_hang_on_how_many_another_asks_for(tmp_path: Path) -> None:
    search, query = Search(filled(tmp_path)), people([*range(2)], seed=3, noise=1.2)
    few, many = Ask(query[:1], count=20, rerank=True), Ask(query[1:], count=200)
    assert search.searches([few, many])[0] == search.search(few)


def test_reranking_alike_pictures(tmp_path: Path) -> None:
    gallery, query = Gallery.create(tmp_path, MODEL), people([1], whole=True)
    gallery.add(Embedding(query.vectors.repeat(4, 1, 1), torch.ones(4, 4)), facts(4))
    assert ids(Search(gallery).search(Ask(query, rerank=True))) == [0, 1, 2, 3]


def kinds(search: Search) -> list[type]:
    return [type(each.chunk) for each in search._loaded.held]


def test_a_gallery_whose_numbers_lead_is_searched_by_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From some size on; what is added later leads by the same numbers, and answers are the same."""
    monkeypatch.setattr("halfseen.gallery.loading.FITTED", 200)
    monkeypatch.setattr(Basis, "pays", lambda *_: True)
    gallery = filled(tmp_path, 150)
    search, plain = Search(gallery), Search(Gallery.open(tmp_path))
    assert kinds(search) == [Planes]
    gallery.add(people([row % 40 for row in range(100)], seed=3), facts(100, 150))
    assert search.refresh()
    assert kinds(search) == [Planes, Leading], "by now it is large enough"
    basis = search._loaded.basis
    gallery.add(people([row % 40 for row in range(30)], seed=4), facts(30, 250))
    gallery.remove([3, 160, 251])
    assert search.refresh()
    assert kinds(search) == [Planes, Leading, Leading]
    assert search._loaded.basis is basis
    monkeypatch.setattr(Basis, "pays", lambda *_: False)
    plain.refresh()
    assert kinds(plain) == [Planes, Planes]
    some = [0, 270, 9999, 3, 160]
    for ids, kept in (search.embedding(some), gallery.embedding(some)):
        assert ids == [0, 270]
        assert torch.equal(kept.vectors, gallery.embedding([0, 270])[1].vectors)
    assert search.embedding([9999])[0] == []
    asks = [Ask(people([row], seed=9), count=277) for row in range(5)]
    assert search.searches(asks) == plain.searches(asks) == Search(gallery, memory=0).searches(asks)
    assert kinds(Search(gallery)) == [Planes], "it does not pay"


def test_how_numbers_lead_is_looked_at_again_when_there_are_twice_as_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halfseen.gallery.loading.FITTED", 100)
    answers = iter([False, True])
    monkeypatch.setattr(Basis, "pays", lambda *_: next(answers))
    gallery = filled(tmp_path, 100)
    search = Search(gallery)
    for added, wanted in ((99, [Planes] * 2), (1, [Planes] * 2 + [Leading]), (1, [Planes] * 2 + [Leading] * 2)):
        gallery.add(people([*range(added)], seed=3), facts(added, 100))
        assert search.refresh()
        assert kinds(search) == wanted


def test_where_leading_numbers_have_no_room_rows_lie_in_two_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halfseen.gallery.loading.FITTED", 100)
    monkeypatch.setattr(Basis, "pays", lambda *_: True)
    gallery = filled(tmp_path, 100)
    least, more = (100 * kind.row_bytes(len(MODEL.parts), DIM) for kind in (Planes, Leading))
    got = [kinds(Search(gallery, memory=memory)) for memory in (least - 1, least, more - 1, more)]
    assert got == [[], [Planes], [Planes], [Leading]]
    search = Search(gallery, memory=more)
    gallery.add(people([1]), facts(1, 100))
    search.refresh()
    assert kinds(search) == [Leading, Planes], "no room for another that leads"


def test_a_sample_that_has_gone_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is looked at was removed, and compacted away, since the rows were counted."""
    monkeypatch.setattr("halfseen.gallery.loading.FITTED", 100)
    monkeypatch.setattr(loading, "_sample", lambda *_: people([1])[:0])
    assert kinds(Search(filled(tmp_path, 100))) == [Planes]


def test_vectors_like_those_of_networks_are_searched_by_leading_numbers(tmp_path: Path) -> None:
    """As it is by itself, from some thousands on."""
    dice = torch.Generator().manual_seed(0)
    axes = torch.randn(4, DIM, DIM, generator=dice) * torch.arange(1.0, DIM + 1).pow(-1.5)
    looks = torch.randn(300, 4, DIM, generator=dice)
    noise = 0.3 * torch.randn(5_040, 4, DIM, generator=dice)
    vectors = torch.einsum("npe,pde->npd", looks[torch.arange(5_040) % 300] + noise, axes)
    gallery = Gallery.create(tmp_path, MODEL)
    gallery.add(Embedding.of(vectors[:5_000]), facts(5_000))
    search = Search(gallery)
    assert kinds(search) == [Leading]
    asks = [Ask(Embedding.of(vectors[row : row + 1]), count=20) for row in range(5_000, 5_040)]
    assert search.searches(asks) == Search(gallery, memory=0).searches(asks)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda ask: replace(ask, queries=Embedding.of(torch.ones(1, 2, DIM))),
            "2 parts of 16 numbers and the gallery 4",
        ),
        (lambda ask: replace(ask, unlike=Embedding.of(torch.ones(1, 4, 3))), "4 parts of 3 numbers"),
        (lambda ask: replace(ask, parts=(0, 4)), "there are those from 0 to 3"),
        (lambda ask: replace(ask, parts=(-1,)), "there are those from 0 to 3"),
        (lambda ask: replace(ask, queries=_blind()), "show none of the parts that count"),
        (lambda ask: replace(ask, parts=()), "no part is chosen"),
        (lambda ask: replace(ask, count=0), "at least one answer"),
        (lambda ask: replace(ask, queries=people([1])[:0]), "no picture to search by"),
        (lambda ask: replace(ask, since=math.nan), "no span of time"),
    ],
)
def test_questions_without_an_answer(tmp_path: Path, change: Change, words: str) -> None:
    search = Search(filled(tmp_path, 3))
    with pytest.raises(InputError, match=words):
        search.search(change(Ask(people([1]))))


def _blind() -> Embedding:
    return Embedding(torch.ones(1, len(PARTS), DIM), torch.zeros(1, len(PARTS)))


def test_sightings_come_from_memory_to_the_last_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "CHUNK", 64)
    gallery = filled(tmp_path)
    gallery.remove([5, 130])
    wanted = [190, 3, 5, 77, 3, 1000, 64]
    there, stored = gallery.embedding(wanted)
    for memory in (None, 0):  # held, and streamed
        search = Search(gallery, memory=memory)
        found, embedding = search.embedding(wanted)
        assert found == there == [190, 3, 77, 3, 64]
        assert torch.equal(embedding.vectors, stored.vectors)
        assert torch.equal(embedding.visibility, stored.visibility)
        assert search.embedding([5, 10**12])[0] == []


def test_company_changes_no_bit_of_an_answer(tmp_path: Path) -> None:
    gallery, query = filled(tmp_path), people([*range(40)], seed=7)
    search = Search(gallery)
    asks = [
        Ask(query[row : row + 1], count=30, cameras=frozenset({"gate '1'"}) if row % 3 else None) for row in range(40)
    ]
    alone = [search.search(ask) for ask in asks]
    for together in (2, 3, 5, 7, 8, 9, 16, 17, 40):
        assert search.searches(asks[:together]) == alone[:together]
