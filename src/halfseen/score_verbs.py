"""The verbs `halfseen encode` and `halfseen evaluate`: pictures → embeddings → scores.

What needs networks is imported when it is needed: timm takes two seconds, and scoring files does not use it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import torch
from tyro.conf import UseAppendAction

from halfseen import printing
from halfseen.data.embeddings import Encoded, check_out, load_encoded, save_encoded
from halfseen.data.finding import read_named
from halfseen.evaluate import DISTANCES, evaluate, recall_of, reranked, usual_distance
from halfseen.ops.distance import GALLERY, QUERY, CoarseToFine, Distance
from halfseen.ops.metrics import PROTOCOLS, ProtocolName, Recall
from halfseen.types import InputError, Scores

if TYPE_CHECKING:
    from halfseen.weights import Loaded

Device: TypeAlias = Literal["auto", "cpu", "cuda"]
DistanceName: TypeAlias = Literal[
    "auto", "cosine", "euclid", "unit-euclid", "parts", "parts-sqrt", "parts-cosine", "coarse-to-fine"
]


class Sides(NamedTuple):
    """What is scored: both sides, the name of the set (files have none), and how they are meant to be compared."""

    query: Encoded
    gallery: Encoded
    name: str
    distance: Distance


@dataclass(frozen=True)
class Way:
    """How pictures are encoded, as the options of both verbs say."""

    weights: Path
    root: Path | None
    device: Device
    autocast: bool
    workers: int

    def load(self) -> Loaded:
        """The method, its network on the device."""
        from halfseen.encode import chosen_device  # noqa: PLC0415
        from halfseen.weights import load_weights  # noqa: PLC0415

        device, loaded = chosen_device(self.device), load_weights(self.weights)
        loaded.network.to(device).to(memory_format=torch.channels_last)
        return loaded

    def encode(self, loaded: Loaded, name: str, *splits: str) -> list[Encoded]:
        """`splits` of the set `name`, from the cache if they were encoded before."""
        from halfseen.encode import Look, encode_split  # noqa: PLC0415
        from halfseen.training.settings import augment_of  # noqa: PLC0415

        data = read_named(name, self.root, printing.print_note)
        look = Look(augment_of(loaded.recipe), "bfloat16" if self.autocast else "float32", workers=self.workers)
        encoded = []
        for split in splits:
            if not data.by_name[split]:
                raise InputError(f"{name} has no {split} pictures; name a set that has some (`halfseen data list`)")
            with printing.progress_bar(f"encoding {split}") as progress:
                encoded.append(encode_split(loaded, self.weights, data, split, look, progress=progress))
        return encoded


@dataclass(frozen=True)
class Encode:
    """Encode the pictures of a data set with trained weights."""

    weights: Path
    """What `halfseen train` wrote, e.g. best.safetensors."""
    data: str
    """A set of `halfseen data list`, with +partial or +occluded behind it for a variant made while reading."""
    out: Path
    """The file to write: .safetensors, as `halfseen evaluate --query` and --gallery read it."""
    split: Literal["train", "query", "gallery"] = "gallery"
    """Which part of the set."""
    root: Path | None = None
    """The folder that holds the set, or one above it; left out: the environment variable HALFSEEN_DATA."""
    device: Device = "auto"
    """auto: a GPU if there is one."""
    autocast: bool = False
    """Compute in bfloat16 where that is safe: faster on GPUs, and a little different."""
    workers: int = 0
    """Processes that read pictures; 0: none but this."""

    def run(self) -> int:
        check_out(self.out)
        way = Way(self.weights, self.root, self.device, self.autocast, self.workers)
        (encoded,) = way.encode(way.load(), self.data, self.split)
        save_encoded(self.out, encoded)
        images, parts, dims = encoded.embedding.vectors.shape
        printing.print_line(f"{images:,} images, {parts} × {dims} numbers each: {self.out}")
        return 0


@dataclass(frozen=True)
class Evaluate:
    """Score trained weights on data sets, or embeddings from any toolbox, under one protocol or many."""

    query: Path | None = None
    """Embeddings of the queries: .safetensors or .npz with vectors [N,D] or [N,P,D], pid [N], and optionally
    visibility [N,P], camid [N], occlusion [N]."""
    gallery: Path | None = None
    """Embeddings of the gallery, likewise."""
    weights: Path | None = None
    """Instead of the two: what `halfseen train` wrote, e.g. best.safetensors."""
    data: UseAppendAction[tuple[str, ...]] = ()
    """With --weights: a set of `halfseen data list`, +partial or +occluded behind it for a variant. May be repeated."""
    root: Path | None = None
    """With --weights: the folder that holds the sets; left out: the environment variable HALFSEEN_DATA."""
    device: Device = "auto"
    """With --weights: where to encode; auto: a GPU if there is one."""
    autocast: bool = False
    """With --weights: encode in bfloat16 where that is safe."""
    workers: int = 0
    """With --weights: processes that read pictures; 0: none but this."""
    distance: DistanceName = "auto"
    """How two embeddings compare; auto: as the method has it; for files cosine, parts (visible ones) where there are
    several, parts-cosine where there is one that is not always seen."""
    protocol: UseAppendAction[tuple[ProtocolName, ...]] = ()
    """May be repeated; left out: all that cameras and occlusion labels allow."""
    all_seen: bool = False
    """Take every part for seen, as if nothing told which are: what is visibility worth? Of coarse-to-fine: fine parts
    count alike, whatever the confidence in them."""
    rerank: bool = False
    """k-reciprocal re-ranking on top of the distance."""
    k1: int = 20
    """Re-ranking: neighbours asked for reciprocity."""
    k2: int = 6
    """Re-ranking: neighbours averaged."""
    weight: float = 0.3
    """Re-ranking: weight of the original distance."""
    nearest: int | None = None
    """coarse-to-fine: how many candidates the fine parts re-order; left out: as the method has it, for files 100."""
    coarse: int | None = None
    """coarse-to-fine: how many of the leading parts are coarse; left out: as the method has it, for files 1."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 is faster and changes distances by less than 0.012 (cosine)."""
    json: bool = False
    """Print {"scores": {protocol: ...}} as fractions instead of a table in per cent; with --weights
    {"sets": {name: {protocol: ...}}}."""

    def run(self) -> int:
        self._check_options()
        plain = {}
        for sides in self._sides():
            scores = self._scores(sides)
            recall = _recall(sides, scores)
            plain[sides.name] = printing.plain_scores(scores)
            for name, each in recall.items():
                plain[sides.name][name]["recall"] = each._asdict()
            if not self.json:
                counts = f"{len(sides.query.facts):,} queries, {len(sides.gallery.facts):,} gallery images"
                printing.print_scores(f"{sides.name}: {counts}" if sides.name else counts, scores)
                if recall:
                    printing.print_recall(recall)
        if self.json:
            printing.print_line(json.dumps({"sets": plain} if self.weights else {"scores": plain[""]}))
        return 0

    def _sides(self) -> Iterator[Sides]:
        if self.query and self.gallery:
            query, gallery = load_encoded(self.query, camid=0), load_encoded(self.gallery, camid=1)
            yield self._seen(
                Sides(query, gallery, "", self._distance(usual_distance(query.embedding, gallery.embedding)))
            )
        elif self.weights:
            way = Way(self.weights, self.root, self.device, self.autocast, self.workers)
            loaded = way.load()
            distance = self._distance(loaded.method.distance)
            for name in dict.fromkeys(self.data):
                query, gallery = way.encode(loaded, name, "query", "gallery")
                yield self._seen(Sides(query, gallery, name, distance))

    def _seen(self, sides: Sides) -> Sides:
        if not self.all_seen:
            return sides
        if isinstance(sides.distance, CoarseToFine):  # whose visibilities are shares of one
            return sides._replace(distance=replace(sides.distance, confidence="none"))
        query, gallery = (
            replace(side, embedding=side.embedding.all_seen(whose))
            for side, whose in zip(sides[:2], (QUERY, GALLERY), strict=True)
        )
        return sides._replace(query=query, gallery=gallery)

    def _distance(self, usual: Distance) -> Distance:
        """The one that is asked for, or the `usual` one; of coarse-to-fine with the options that were given."""
        kept = self.distance == "auto" or (self.distance == "coarse-to-fine" and isinstance(usual, CoarseToFine))
        distance = replace(usual if kept else DISTANCES[self.distance], precision=self.precision)
        if isinstance(distance, CoarseToFine):
            n = distance.n if self.nearest is None else self.nearest
            return replace(distance, n=n, coarse=distance.coarse if self.coarse is None else self.coarse)
        if (self.nearest, self.coarse) != (None, None):
            raise InputError("--nearest and --coarse belong to coarse-to-fine; add --distance coarse-to-fine")
        return distance

    def _scores(self, sides: Sides) -> dict[str, Scores]:
        again = reranked(sides.distance, k1=self.k1, k2=self.k2, weight=self.weight) if self.rerank else None
        protocols = [PROTOCOLS[name] for name in dict.fromkeys(self.protocol)]
        if not (sides.query.has_cameras or sides.gallery.has_cameras):
            printing.print_note("no cameras are named: query and gallery count as two, nothing is left out")
        with printing.progress_bar("scoring") as progress:
            return evaluate(
                sides.query, sides.gallery, distance=again or sides.distance, protocols=protocols, progress=progress
            )

    def _check_options(self) -> None:
        files, pictures = (self.query, self.gallery), (self.weights, self.data)
        if not (all(files) and not any(pictures)) and not (all(pictures) and not any(files)):
            raise InputError(
                "what is to be scored? give --query FILE and --gallery FILE, or --weights FILE and --data NAME"
            )
        if not self.weights and (self.root or self.autocast or self.workers or self.device != "auto"):
            raise InputError("--root, --device, --autocast and --workers belong to --weights; leave them out")
        if not self.rerank and (self.k1, self.k2, self.weight) != (20, 6, 0.3):
            raise InputError("--k1, --k2 and --weight belong to re-ranking; add --rerank, or leave them out")


def _recall(sides: Sides, scores: Iterable[str]) -> dict[str, Recall]:
    """Under the protocols of these `scores`; of a distance in one step there is none."""
    if not isinstance(sides.distance, CoarseToFine):
        return {}
    return recall_of(sides.query, sides.gallery, sides.distance, [PROTOCOLS[name] for name in scores])
