"""Exact search over a gallery, and the reason for each answer.

**The distance** is `evaluate`'s `parts-cosine`, the mean over the parts that both show of 1 − cos, weighted by v_q·v_g:
the ranking of `halfseen evaluate --distance parts-cosine` over the same vectors. It is one product a part (`bounds`).

**Several pictures of one person** are one query: the mean over pictures and parts, weighted by v_q·v_g as before. What
one picture hides another shows, a picture in which little is seen says little, and where two disagree neither decides.
As 1 − cos is linear, this is the product with one vector, Σ v·direction, and costs no more than one picture.

**Negative pictures** push back what is nearer to one of them than to the person, by PUSH times the difference of the
distances; each is another person, so the nearest counts. All others keep their distance.

**Re-ranking** orders the first answers anew by k-reciprocal neighbours among themselves and the pictures. It changes
nothing but the order: distances stay what they are without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from threading import Lock

import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from halfseen.gallery import bounds, tables
from halfseen.gallery.calibration import signs_of
from halfseen.gallery.chunks import places
from halfseen.gallery.conditions import dated
from halfseen.gallery.loading import Loaded, load, streamed
from halfseen.gallery.probes import EMPTY, Found, Mean, Probes, pushed
from halfseen.gallery.sightings import Ask, Sighting, Where
from halfseen.gallery.store import Gallery
from halfseen.gallery.threads import by_one
from halfseen.gallery.troubles import retried
from halfseen.ops.distance import VisibleParts
from halfseen.ops.rerank import KReciprocal, rerank
from halfseen.types import Embedding, InputError

PEOPLE = 64  # looked for at a time
RERANKED = 100  # answers that are ordered anew, or as many as are asked for


class Search:
    """Answers from one gallery, as it was when this was made or last refreshed.

    Vectors that do not lie in files that can be mapped (`loading.prepare`) stay in memory if they take no more than
    `memory` bytes (None: a good part of what the machine has); otherwise each search reads them anew.
    """

    def __init__(self, gallery: Gallery, *, memory: int | None = None) -> None:
        self.gallery, self._one, self._memory = gallery, Lock(), memory
        self._loaded = retried(lambda: self._load(None), gallery.refresh)

    def __len__(self) -> int:
        return len(self._loaded.ids)

    @property
    def unmapped(self) -> int:
        """How many images lie in no file that could be mapped, and were read, or are read in each search."""
        mapped = (len(each.chunk) for each in self._loaded.held if each.file)
        return max(0, len(self) - sum(mapped))

    def refresh(self) -> bool:
        """Take in what was added and removed meanwhile; tells whether anything was. Searches go on all the time."""
        with self._one:
            self.gallery.refresh()
            before = self._loaded
            if self.gallery.state != before.state:
                self._loaded = retried(lambda: self._load(before), self.gallery.refresh)
            return self._loaded is not before

    def search(self, ask: Ask) -> list[Sighting]:
        """The answers, nearest first."""
        return self.searches([ask])[0]

    def searches(self, asks: Sequence[Ask]) -> list[list[Sighting]]:
        """The same for many: faster than one by one."""
        answers = []
        for start in range(0, len(asks), PEOPLE):
            some = asks[start : start + PEOPLE]
            loaded, probes = self._loaded, self.probes(some)
            found = self._nearest(loaded, probes, max(map(_wanted, some)), [ask.where for ask in some])
            answers += self._sightings(loaded, probes, found, some)
        return answers

    def embedding(self, ids: Sequence[int]) -> tuple[list[int], Embedding]:
        """The images with these `ids` that are there, as `Gallery.embedding`, from memory if they lie there."""
        loaded = self._loaded
        if len(loaded.rest) or not loaded.held:
            return self.gallery.embedding(ids)
        return by_one(lambda: loaded.embedding(ids))

    def probes(self, asks: Sequence[Ask]) -> Probes:
        """What is compared with the gallery."""
        people = [self._each(ask.queries, ask).together for ask in asks]
        for mean in people:
            if not bool(mean.weights.any()):
                raise InputError(
                    "the pictures show none of the parts that count; choose other parts, or other pictures"
                )
        return Probes.of(Mean.joined(people), self._rounds(asks))

    def _rounds(self, asks: Sequence[Ask]) -> tuple[Mean, ...]:
        """The first negative picture of each, the second of each, and so on: of those who have fewer, nothing."""
        count = max(0 if ask.unlike is None else len(ask.unlike) for ask in asks)
        sums = torch.zeros(count, len(asks), len(self.gallery.model.parts), self.gallery.model.dim)
        weights = torch.zeros(sums.shape[:3])
        for row, ask in enumerate(asks):
            if ask.unlike is not None:
                each = self._each(ask.unlike, ask)
                sums[: len(each.sums), row], weights[: len(each.sums), row] = each
        return tuple(map(Mean, sums, weights))

    def nearest(self, probes: Probes, k: int, wheres: Sequence[Where] = ()) -> Found:
        """The k nearest of each of the `probes` among the images that `wheres`, one for each, mean (none: all)."""
        return self._nearest(self._loaded, probes, k, wheres)

    def _nearest(self, loaded: Loaded, probes: Probes, k: int, wheres: Sequence[Where]) -> Found:
        return retried(lambda: self._passed(loaded, probes, k, wheres), self.gallery.refresh)

    def _passed(self, loaded: Loaded, probes: Probes, k: int, wheres: Sequence[Where]) -> Found:
        """What one pass over all chunks finds."""
        found = Found.room(len(probes), 0, len(self.gallery.model.parts))
        masks = {where: _meant(loaded.facts, where) for where in set(wheres) if where}
        for each in chain(loaded.held, streamed(self.gallery, loaded)):
            allowed = None
            if masks:
                place, _ = places(loaded.ids, each.chunk.ids)
                everywhere = torch.ones(len(place), dtype=torch.bool)
                allowed = torch.stack([masks[w][place] if w else everywhere for w in wheres])
            if each.live is not None:
                allowed = each.live.expand(len(probes), -1) if allowed is None else allowed & each.live
            found = bounds.search(each.chunk, probes, k, found, allowed)
        return found

    def _load(self, before: Loaded | None) -> Loaded:
        return load(self.gallery, self._memory, before)

    def _each(self, pictures: Embedding, ask: Ask) -> Mean:
        shape, wanted = tuple(pictures.vectors.shape[1:]), (len(self.gallery.model.parts), self.gallery.model.dim)
        if shape != wanted:
            raise InputError(
                f"the pictures have {shape[0]} parts of {shape[1]} numbers and the gallery {wanted[0]} of {wanted[1]}; "
                f"encode them with {self.gallery.model.name}, whose weights made the gallery"
            )
        if ask.parts is not None and not set(ask.parts) <= set(range(wanted[0])):
            raise InputError(f"parts {ask.parts} are asked for, and there are those from 0 to {wanted[0] - 1}")
        return Mean.each(pictures, ask.parts)

    # --- answers ---

    def _sightings(self, loaded: Loaded, probes: Probes, found: Found, asks: Sequence[Ask]) -> list[list[Sighting]]:
        """What was `found` for each of the `asks`, in words. All of them at once: so little for each is soon done."""
        chances = self._chances(loaded, probes, found)
        counts = (found.distances < EMPTY).sum(1).tolist()
        for row, ask in enumerate(asks):
            if ask.rerank and counts[row]:
                counts[row] = self._rerank(ask, row, min(counts[row], _wanted(ask)), found, chances)
            counts[row] = min(counts[row], ask.count)
        ids = torch.cat([own[:count] for own, count in zip(found.ids, counts, strict=True)])
        facts = iter(tables.facts_of(loaded.facts.take(torch.searchsorted(loaded.ids, ids).numpy())))
        told = (column.clamp(min=0).tolist() for column in (*found, chances))  # rounding leaves −1e-8 of 0
        return [
            [
                Sighting(
                    id=id,
                    rank=rank,
                    distance=distance,
                    confidence=chance if loaded.calibration else None,
                    parts=tuple([part if shown else None for part, shown in zip(parts, seen, strict=True)]),
                    seen=tuple(seen),
                    fact=fact,
                )
                for rank, distance, id, parts, seen, chance, fact in zip(range(1, count + 1), *own, facts, strict=False)
            ]
            for count, *own in zip(counts, *told, strict=True)
        ]

    def _chances(self, loaded: Loaded, probes: Probes, found: Found) -> Tensor:
        if loaded.calibration is None or loaded.crowd is None:
            return torch.zeros_like(found.distances)  # as many of anything
        spread = loaded.calibration.spread
        signs = signs_of(loaded.crowd, probes.mean, found.distances, found.seen, spread)
        return loaded.calibration.chance(signs, len(loaded.ids))

    def _rerank(self, ask: Ask, row: int, count: int, found: Found, chances: Tensor) -> int:
        """Order the first `count` answers of a `row` anew, each with all that was found of it; tells how many are still
        there."""
        distances = self._reranked(ask, found.ids[row, :count])
        order = distances.sort(stable=True).indices
        order = order[distances[order] < EMPTY]
        for column in (*found, chances):
            column[row, : len(order)] = column[row][order]
        return len(order)

    def _reranked(self, ask: Ask, ids: Tensor) -> Tensor:
        """Re-ranked distances of the images `ids` [m], the mean over the pictures, pushed by negative ones.

        What was removed meanwhile is infinitely far.
        """
        kept, top = self.gallery.embedding(ids.tolist())
        found = torch.full(ids.shape, EMPTY)
        if not kept:
            return found
        pictures = [ask.queries] if ask.unlike is None else [ask.queries, ask.unlike]
        shown = self._each(ask.queries, ask).weights.amax(0) > 0  # no other part counts, as in the first search
        vectors, visibility = torch.cat([e.vectors for e in pictures]), torch.cat([e.visibility for e in pictures])
        blocks = rerank(
            KReciprocal(VisibleParts("cosine", on_empty="max+1")), Embedding(vectors, visibility * shown), top
        )
        distances = torch.cat([block for _, block in blocks])
        mean = distances[: len(ask.queries)].mean(0, keepdim=True)
        found[torch.isin(ids, torch.tensor(kept))] = pushed(torch.cat([mean, distances[len(ask.queries) :]]))
        return found


def _wanted(ask: Ask) -> int:
    return max(ask.count, RERANKED) if ask.rerank else ask.count


def _meant(facts: pa.Table, where: Where) -> Tensor:
    """Which of `facts` are those that `where` means: bool [N]."""
    meant = torch.ones(len(facts), dtype=torch.bool)
    for column, names in (("camera", where.cameras), ("source", where.sources), ("track", where.tracks)):
        if names is not None:
            meant &= _bools(pc.is_in(facts[column], pa.array(sorted(names), pa.string())))
    if where.since is not None:
        meant &= _bools(pc.greater_equal(facts["time"], where.since))
    if where.until is not None:
        meant &= _bools(pc.less_equal(facts["time"], where.until))
    if where.dates:
        meant &= _bools(dated(facts))
    return meant


def _bools(column: pa.ChunkedArray) -> Tensor:
    """[N], false where nothing is known."""
    return torch.tensor(pc.fill_null(column, False).to_numpy())
