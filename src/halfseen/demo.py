"""The street that comes with halfseen, searched without any network: people are described by their parts' colours.

Nobody is real; the world is rendered, so that it is known which pixel is which part and what hides what. An image is
described by the colours of eight parts where they are seen. That is enough to see what the protocols measure and what
it is worth to compare only what both pictures show.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from halfseen import printing
from halfseen.data.cues import load_part_labels
from halfseen.data.embeddings import Encoded, save_encoded
from halfseen.data.files import shown
from halfseen.data.images import save_image
from halfseen.data.sets import read_set
from halfseen.data.variants import read_sample
from halfseen.evaluate import evaluate, reranked
from halfseen.ops.distance import Distance, Single, VisibleParts, top_k
from halfseen.ops.groupings import GROUPINGS
from halfseen.ops.pooling import pool
from halfseen.ops.rerank import KReciprocal
from halfseen.types import Embedding, Facts, InputError, Occlusion, Progress, Sample, Splits

SET = "street"
PARTS = len(GROUPINGS["eight"])
SIZE = (128, 64)  # height, width that pictures are brought to
FEWEST = 0.004  # a part is seen if it takes this share of the picture
SHOWN, STRIPS = 8, 6  # answers of a query that are drawn, and queries
RIGHT, WRONG, ASKED = (46, 160, 67), (218, 54, 51), (40, 44, 52)  # colours of frames


class Side(NamedTuple):
    """Queries or gallery: the samples, their pictures uint8 [N,3,H,W], and what they are described by."""

    samples: tuple[Sample, ...]
    images: Tensor
    encoded: Encoded


def run_demo(out: Path | None) -> None:
    """Read, describe, score in several ways, print; with `out`, draw and save."""
    if out:
        _make(out)  # before the work, not after it
    splits = read_set(SET)
    with printing.progress_bar("describing") as progress:
        query, gallery = (describe(splits, split, progress) for split in (splits.query, splits.gallery))
    _print_header(splits)
    rows: list[list[str]] = []
    with printing.progress_bar("scoring") as progress:
        for what, distance, choose in WAYS:
            rows += _score(what, distance, [choose(side.encoded) for side in (query, gallery)], progress)
    columns = ("matching", "protocol", "mAP", "mINP", *(f"R{r}" for r in printing.RANKS), "queries", "pos.")
    printing.print_table("Scores in per cent", columns, rows, words=2)
    if out:
        _save(out, query, gallery)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{shown(folder)} cannot be made: {why}; choose another folder") from error


def _print_header(splits: Splits) -> None:
    queries, gallery = (
        f"{len(part)} {what}, {sum(s.occlusion is not Occlusion.HOLISTIC for s in part) / len(part):.0%} of them"
        for part, what in ((splits.query, "queries"), (splits.gallery, "gallery images"))
    )
    everyone = splits.query + splits.gallery
    people, cameras = {s.pid for s in everyone}, {s.camid for s in everyone}
    printing.print_line(
        f"{len(people)} people on a rendered street, before {len(cameras)} cameras.\n"
        f"{queries} partly hidden; {gallery}."
    )
    printing.print_line("No network here: an image is described by the colours of its parts.\n")


def describe(splits: Splits, samples: tuple[Sample, ...], progress: Progress | None = None) -> Side:
    """The pictures of `samples` and their descriptors [N,9,6]: the colours of the whole and of eight parts."""
    images, labels = [], []
    for done, sample in enumerate(samples, 1):
        image = read_sample(sample).image[None].float()
        images.append(F.interpolate(image, SIZE, mode="bilinear", antialias=True)[0].round().to(torch.uint8))
        part_map = load_part_labels((splits.root / "parts" / sample.name).with_suffix(".png"))
        labels.append(F.interpolate(part_map[None, None].float(), SIZE, mode="nearest")[0, 0].long())
        if progress:
            progress(done, len(samples))
    pictures = torch.stack(images)
    embedding = colours_of_parts(pictures, torch.stack(labels))
    return Side(samples, pictures, Encoded(embedding, Facts.of(samples)))


def colours_of_parts(images: Tensor, labels: Tensor) -> Embedding:
    """[N,9,6] of `images` uint8 [N,3,H,W] and part `labels` [N,H,W]: how the colours of the whole picture, and of
    each part that is seen, lie (mean and spread), in the light of the picture."""
    parts = torch.stack([labels == part for part in range(1, PARTS + 1)], dim=1).float()
    masks = torch.cat([torch.ones_like(parts[:, :1]), parts], dim=1)
    light = images.float().mean((2, 3), keepdim=True)  # a camera's cast and the hour colour all of a picture
    colours = (images.float() / light.clamp(min=1)).clamp(max=4)
    mean = pool(colours, masks, "mask")
    spread = (pool(colours.square(), masks, "mask") - mean.square()).clamp(min=0).sqrt()
    seen = parts.mean((2, 3)) > FEWEST
    return Embedding(torch.cat([mean, spread], dim=2), torch.cat([torch.ones_like(seen[:, :1]), seen], dim=1).float())


def _whole(side: Encoded) -> Encoded:
    return Encoded(_parts(side.embedding, slice(0, 1)), side.facts)


def _all_parts(side: Encoded) -> Encoded:
    parts = _parts(side.embedding, slice(1, None))
    return Encoded(Embedding(parts.vectors, torch.ones_like(parts.visibility)), side.facts)


def _visible_parts(side: Encoded) -> Encoded:
    return Encoded(_parts(side.embedding, slice(1, None)), side.facts)


def _parts(embedding: Embedding, parts: slice) -> Embedding:
    return Embedding(embedding.vectors[:, parts], embedding.visibility[:, parts])


WAYS: tuple[tuple[str, Distance | KReciprocal, Callable[[Encoded], Encoded]], ...] = (
    ("whole picture", Single("unit-euclid"), _whole),
    ("all parts", VisibleParts(), _all_parts),
    ("visible parts", VisibleParts(), _visible_parts),
    ("re-ranked", reranked(VisibleParts()), _visible_parts),
)


def _score(what: str, distance: Distance | KReciprocal, sides: list[Encoded], progress: Progress) -> list[list[str]]:
    scores = evaluate(*sides, distance=distance, progress=progress)
    cells = [printing.score_row(name, score) for name, score in scores.items()]
    return [[what if i == 0 else "", *row[:-2], row[-1]] for i, row in enumerate(cells)]  # no query is ever skipped


def _save(out: Path, query: Side, gallery: Side) -> None:
    for name, side in (("query", query), ("gallery", gallery)):
        save_encoded(out / f"{name}.safetensors", _visible_parts(side.encoded))
    save_image(out / "ranks.png", rank_strips(query, gallery))
    printing.print_line(
        f"\nwrote {out}/query.safetensors, gallery.safetensors and ranks.png; now try\n"
        f"halfseen evaluate --query {out}/query.safetensors --gallery {out}/gallery.safetensors"
    )


def rank_strips(query: Side, gallery: Side) -> Tensor:
    """uint8 [3,·,·]: some queries and their first answers, framed green if right.

    As the Market protocol has it, pictures of the same person by the query's own camera are left out.
    """
    sides = [_visible_parts(side.encoded) for side in (query, gallery)]
    order = top_k(VisibleParts(), sides[0].embedding, sides[1].embedding, len(gallery.samples)).indices
    lines = []
    for row in range(0, len(query.samples), max(1, len(query.samples) // STRIPS))[:STRIPS]:
        asked = query.samples[row]
        others = [
            g
            for g in order[row].tolist()
            if (gallery.samples[g].pid, gallery.samples[g].camid) != (asked.pid, asked.camid)
        ]
        strip = [_framed(query.images[row], ASKED)]
        strip += [
            _framed(gallery.images[g], RIGHT if gallery.samples[g].pid == asked.pid else WRONG) for g in others[:SHOWN]
        ]
        lines.append(torch.cat(strip, dim=2))
    return torch.cat(lines, dim=1)


def _framed(image: Tensor, colour: tuple[int, int, int]) -> Tensor:
    frame = torch.tensor(colour, dtype=torch.uint8)[:, None, None]
    height, width = image.shape[1:]
    out = frame.expand(3, height + 6, width + 6).clone()
    out[:, 3:-3, 3:-3] = image
    return F.pad(out, (3, 3, 3, 3), value=255)
