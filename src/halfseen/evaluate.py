"""Score embeddings under one protocol or many, streaming: distances are made block by block and never stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from halfseen.data.embeddings import Encoded
from halfseen.ops.distance import CoarseToFine, Distance, Single, VisibleParts, blocks
from halfseen.ops.metrics import PROTOCOLS, QueryScores, Recall, mean_scores, recall, score_queries
from halfseen.ops.rerank import KReciprocal, rerank
from halfseen.types import Block, Embedding, InputError, Progress, Protocol, Scores

DISTANCES: dict[str, Distance] = {
    "cosine": Single("cosine"),
    "euclid": Single("euclid"),
    "unit-euclid": Single("unit-euclid"),
    "parts": VisibleParts(),
    "parts-sqrt": VisibleParts(weight="sqrt"),
    "parts-cosine": VisibleParts("cosine"),
    "coarse-to-fine": CoarseToFine(),
}


def evaluate(
    query: Encoded,
    gallery: Encoded,
    *,
    distance: Distance | KReciprocal | None = None,
    protocols: Sequence[Protocol] = (),
    progress: Progress | None = None,
) -> dict[str, Scores]:
    """Scores by protocol name. Without `distance`: cosine, or visible parts where there are several.

    Without `protocols`: all that the facts allow, i.e. market (or all, if no cameras are known), and occ, npo and ntp
    where gallery rows bear such labels and some query has such a positive. `progress` hears of images while a
    re-ranking finds neighbours, then of queries.
    """
    found = score_each(query, gallery, distance=distance, protocols=protocols, progress=progress)
    return {protocol.name: mean_scores(scores, protocol) for protocol, scores in found.items()}


def score_each(
    query: Encoded,
    gallery: Encoded,
    *,
    distance: Distance | KReciprocal | None = None,
    protocols: Sequence[Protocol] = (),
    progress: Progress | None = None,
) -> dict[Protocol, QueryScores]:
    """As `evaluate`, but the scores of every query, before their means are taken."""
    _check_cameras(query, gallery)
    _check_labels(gallery, protocols)
    distance = distance or usual_distance(query.embedding, gallery.embedding)
    wanted = tuple(protocols) or usual_protocols(gallery)
    watched = _watched(_blocks(distance, query.embedding, gallery.embedding, progress), len(query.facts), progress)
    found = score_queries(watched, query.facts, gallery.facts, wanted)
    if not protocols:
        wanted = (wanted[0], *(p for p in wanted[1:] if found[p.name].positives.any()))
    return {p: found[p.name] for p in wanted}


def recall_of(
    query: Encoded, gallery: Encoded, distance: CoarseToFine, protocols: Iterable[Protocol]
) -> dict[str, Recall]:
    """By protocol name, how often the nearest by the coarse distance, which the fine one orders, hold the right
    answers."""
    candidates = distance.candidates(query.embedding, gallery.embedding)
    return recall(candidates, query.facts, gallery.facts, protocols)


def usual_distance(*sides: Embedding) -> Distance:
    """Visible parts for several, cosine for a global descriptor; its visibility counts where one is given."""
    if any(side.vectors.shape[1] > 1 for side in sides):
        return DISTANCES["parts"]
    return DISTANCES["cosine" if all(bool((side.visibility == 1).all()) for side in sides) else "parts-cosine"]


def usual_protocols(gallery: Encoded) -> tuple[Protocol, ...]:
    """All whose labels the gallery bears, the camera rule's first."""
    labels = set(gallery.facts.occlusion.tolist())
    first = PROTOCOLS["market" if gallery.has_cameras else "all"]
    return (first, *(p for p in PROTOCOLS.values() if p.keep and p.keep & labels))


def reranked(distance: Distance, *, k1: int = 20, k2: int = 6, weight: float = 0.3) -> KReciprocal:
    """k-reciprocal re-ranking on `distance`, which becomes finite for images that share no part."""
    if isinstance(distance, CoarseToFine):
        raise InputError("coarse-to-fine is a re-ranking already; re-rank cosine, euclid or parts instead")
    if isinstance(distance, VisibleParts) and distance.metric != "euclid":
        distance = replace(distance, on_empty="max+1")
    return KReciprocal(distance, k1, k2, weight)


def _blocks(
    distance: Distance | KReciprocal, query: Embedding, gallery: Embedding, progress: Progress | None
) -> Iterator[Block]:
    if isinstance(distance, KReciprocal):
        return rerank(distance, query, gallery, watch=progress)
    return blocks(distance, query, gallery)


def _watched(blocks: Iterable[Block], total: int, progress: Progress | None) -> Iterator[Block]:
    """The same blocks, telling `progress` when each is done with."""
    for start, block in blocks:
        yield start, block
        if progress:
            progress(start + len(block), total)


def _check_labels(gallery: Encoded, protocols: Sequence[Protocol]) -> None:
    labels = set(gallery.facts.occlusion.tolist())
    for protocol in protocols:
        if protocol.keep and not protocol.keep & labels:
            wanted = " or ".join(f"{o.value} ({o.name})" for o in sorted(protocol.keep))
            raise InputError(
                f"protocol '{protocol.name}' counts gallery images of occlusion {wanted}, and the gallery has none; "
                f"choose another protocol, or a gallery with such labels (in a file: the array `occlusion`)"
            )


def _check_cameras(query: Encoded, gallery: Encoded) -> None:
    if query.has_cameras != gallery.has_cameras:
        which, other = ("query", "gallery") if query.has_cameras else ("gallery", "query")
        raise InputError(
            f"the {which} has camera numbers and the {other} has none, so the camera rule cannot be applied; "
            f"add camid to the {other} file, or leave it out of both"
        )
