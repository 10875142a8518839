"""What is stored of pictures and of passages, and what a film that has grown makes needless."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from halfseen.gallery.indexing.films import Passages
from halfseen.gallery.indexing.model import Model
from halfseen.gallery.indexing.pictures import Picture, batches, thumbnail
from halfseen.gallery.indexing.sources import Source
from halfseen.gallery.sightings import Fact, Where
from halfseen.gallery.store import Gallery
from halfseen.types import Embedding

SAME = 0.01  # how far numbers of the same crop's directions may lie apart: bfloat16, and company in a batch


class Rows(NamedTuple):
    """What is to be stored: `embeddings` one after the other have a row for each of `facts` and `digests`."""

    embeddings: list[Embedding]
    facts: list[Fact]
    digests: list[str]


def rows_of(pictures: Sequence[Picture], model: Model) -> Rows:
    """What is stored of `pictures`, which are encoded together."""
    embedding = model.encode([picture.image for picture in pictures])
    return Rows([embedding], [_fact_of(picture) for picture in pictures], [picture.digest for picture in pictures])


def rows_of_passages(of: tuple[Source, str], name: str, found: Passages, model: Model, batch: int) -> Rows:
    """What is stored under `name` of the passages `found` in a film and its digest, so many crops encoded together."""
    images = [crop.image for crops in found for crop in crops]
    parts = [model.encode(some) for some in batches(images, batch)]
    film, digest = of
    return Rows(parts, _facts_of(film, found, digest), [name] * len(images))


def stretch_name(digest: str, stretch: int) -> str:
    """What a stretch of the film of that digest is noted as."""
    return f"{digest}@{stretch}"


def _fact_of(picture: Picture) -> Fact:
    source = picture.source
    return Fact(str(source.path), source.origin, *source.named, picture.thumbnail)


def _facts_of(film: Source, found: Passages, digest: str) -> list[Fact]:
    """Of each crop in turn; a passage bears the name of the film and of the second that it begins in."""
    camera, begin, track = (
        film.named.camera or film.path.stem,
        film.named.time or 0.0,
        film.named.track or film.path.stem,
    )
    return [
        Fact(
            source=film.origin,
            camera=camera,
            time=round(begin + crop.moment, 3),
            track=f"{track}-{digest[:6]}@{crops[0].moment:.0f}s-{number}",
            thumbnail=thumbnail(crop.image),
            box=crop.box,
        )
        for number, crops in enumerate(found)
        for crop in crops
    ]


def outgrown(gallery: Gallery, embedding: Embedding, facts: Sequence[Fact], but: Collection[int] = ()) -> list[int]:
    """What rows of `embedding` and `facts`, which are to be stored, tell anew, `but` for some ids: a film that was
    looked at while it was still being written is another file now, and begins with the same crops.

    A crop is the same that has the source, camera, moment, box and vectors of a new one. Where one is, all goes that
    was stored of that file from the first of the new moments to the last.
    """
    new = {_place(fact): row for row, fact in enumerate(facts) if fact.box and not fact.image}
    if not new:
        return []
    moments: dict[tuple[str, str], list[float]] = {}  # of each film that is to be stored
    for source, camera, moment, _ in new:
        moments.setdefault((source, camera), []).append(moment or 0.0)
    spans = {film: (min(own), max(own)) for film, own in moments.items()}
    sources, cameras = (frozenset(column) for column in zip(*spans, strict=True))
    there = {
        id: fact
        for id, fact in gallery.rows(where=Where(cameras, sources), thumbnails=False).items()
        if (span := spans.get((fact.source, fact.camera)))
        and span[0] <= (fact.time or 0.0) <= span[1]
        and id not in but
    }
    alike = [id for id, fact in there.items() if _place(fact) in new]
    ids, old = gallery.embedding(alike)
    rows = torch.tensor([new[_place(there[id])] for id in ids], dtype=torch.long)
    apart = F.normalize(old.vectors, dim=2) - F.normalize(embedding.vectors[rows].float(), dim=2)
    far = (apart * (old.visibility > 0)[:, :, None]).abs().amax((1, 2))
    films = {_film(there[id]) for id, distance in zip(ids, far.tolist(), strict=True) if distance < SAME}
    return [id for id, fact in there.items() if not fact.image and _film(fact) in films]


def _film(fact: Fact) -> tuple[str, str, str]:
    """The content of a film at a place: tracks begin with its name and its digest."""
    return fact.source, fact.camera, fact.track.rpartition("@")[0]


def _place(fact: Fact) -> tuple[str, str, float | None, tuple[float, ...] | None]:
    return fact.source, fact.camera, fact.time, fact.box
