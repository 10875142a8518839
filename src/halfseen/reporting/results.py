"""A training, opened and looked into: its weights, its log, and what they make of the queries of a set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor

from halfseen.data.embeddings import Encoded
from halfseen.data.files import shown
from halfseen.data.loading import CueSources, Pictures
from halfseen.encode import Look, encode_split
from halfseen.evaluate import score_each
from halfseen.ops.distance import Distance, Single, pairs, top_k
from halfseen.ops.metrics import QueryScores, mean_scores
from halfseen.train import CHECKPOINT, RUN
from halfseen.training.log import NAME, read_log
from halfseen.training.settings import Bars, augment_of, no_bar
from halfseen.types import Batch, Embedding, InputError, Protocol, Sample, Scores, Splits
from halfseen.weights import BEST, LAST, Loaded, load_weights, part_names

SHOWN_JUNK = 6  # of the pictures that do not count, so many of a kind at most stand in a strip

Verdict: TypeAlias = Literal["wrong", "right", "junk", "ignored"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True)
class Run:
    """What `halfseen train` left behind. `name` is its folder's; `weights` the file that was `loaded`; the `checkpoint`
    holds what else was trained, if it is there."""

    name: str
    weights: Path
    loaded: Loaded
    log: list[dict[str, Any]]
    checkpoint: Path | None = None

    @property
    def method(self) -> str:
        """What its method is called, in short."""
        return self.loaded.method.title.partition(":")[0]

    @property
    def look(self) -> Look:
        """How its network sees pictures."""
        return Look(augment_of(self.loaded.recipe))

    @property
    def root(self) -> Path | None:
        """The folder of the pictures that it was trained on, if that is known and still there."""
        try:
            folder = Path(json.loads((self.weights.parent / RUN).read_text())["root"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return folder if folder.is_dir() else None


@dataclass(frozen=True)
class Result:
    """A `run` on the queries and the gallery of `splits`.

    `scores`, and those of each query, by protocol, the first of which is `protocol`. `names` are those of the parts of
    its embeddings.
    """

    run: Run
    splits: Splits
    query: Encoded
    gallery: Encoded
    scores: dict[str, Scores]
    per_query: dict[str, QueryScores]
    protocol: Protocol
    names: tuple[str, ...]

    @property
    def distance(self) -> Distance:
        return self.run.loaded.method.distance


class Answer(NamedTuple):
    """A gallery row near a query: how far, what it is worth, and its place among those that count (None: it does
    not). "junk" are nobody and the same person before the same camera, "ignored" the same person hidden otherwise than
    the protocol asks."""

    row: int
    distance: float
    verdict: Verdict
    place: int | None


def open_run(path: Path, which: Literal["best", "last"] = "best", device: str = "cpu") -> Run:
    """The run in the folder `path`, or the weights in that file alone."""
    if path.is_file():
        return Run(path.stem, path, _loaded(path, device), [])
    if not path.is_dir():
        raise InputError(f"{shown(path)} does not exist; give a folder that `halfseen train` wrote")
    weights = path / (BEST if which == "best" else LAST)
    if not weights.is_file():
        other = " or say --weights last" if which == "best" and (path / LAST).is_file() else " or give another folder"
        when = "the first evaluation" if which == "best" else "the last epoch"
        raise InputError(
            f"{shown(path)} holds no {weights.name}, which `halfseen train` writes after {when}; let it come so far,"
            f"{other}"
        )
    checkpoint = path / CHECKPOINT if (path / CHECKPOINT).is_file() else None
    return Run(path.resolve().name, weights, _loaded(weights, device), read_log(path / NAME), checkpoint)


def _loaded(path: Path, device: str) -> Loaded:
    loaded = load_weights(path)
    loaded.network.to(device)
    return loaded


def examine(run: Run, splits: Splits, bars: Bars = no_bar) -> Result:
    """Encode queries and gallery (or find them in the cache) and score them."""
    sides = []
    for split in ("query", "gallery"):
        if not splits.by_name[split]:
            raise InputError(f"{splits.name} has no {split} pictures; name a set that has some with --data")
        with bars(f"{run.name}: encoding {split}") as progress:
            sides.append(encode_split(run.loaded, run.weights, splits, split, run.look, progress=progress))
    query, gallery = sides
    found = score_each(query, gallery, distance=run.loaded.method.distance)
    scores = {protocol.name: mean_scores(each, protocol) for protocol, each in found.items()}
    per_query = {protocol.name: each for protocol, each in found.items()}
    names = part_names(run.loaded.config, query.embedding.vectors.shape[1])
    return Result(run, splits, query, gallery, scores, per_query, next(iter(found)), names)


def answers(result: Result, query: int, count: int, protocol: Protocol) -> list[Answer]:
    """The nearest `count` gallery rows that count under `protocol`, and between them those that do not."""
    worth = verdicts(result, query, protocol)
    out = worth >= VERDICTS.index("junk")
    wanted = min(len(worth), count + int(out.sum()))
    ranking = top_k(result.distance, result.query.embedding[query : query + 1], result.gallery.embedding, wanted)
    found: list[Answer] = []
    shown_out, place = dict.fromkeys(VERDICTS, 0), 0
    for distance, row in zip(ranking.distances[0].tolist(), ranking.indices[0].tolist(), strict=True):
        if place == count:
            break
        verdict = VERDICTS[worth[row]]
        shown_out[verdict] += 1
        if not out[row]:
            place += 1
        elif shown_out[verdict] > SHOWN_JUNK:
            continue
        found.append(Answer(row, distance, verdict, None if out[row] else place))
    return found


def verdicts(result: Result, query: int, protocol: Protocol) -> Tensor:
    """What each gallery row is worth to a query under `protocol`: numbers of `VERDICTS`, [G]."""
    facts, own = result.gallery.facts, result.query.facts[query : query + 1]
    same = facts.pids == own.pids
    worth = same.long()
    if protocol.keep is not None:
        kept = torch.isin(facts.occlusion, torch.tensor(sorted(protocol.keep)))
        worth[same & ~kept] = VERDICTS.index("ignored")
    junk = facts.pids < 0
    if not protocol.same_camera:
        junk |= same & (facts.camids == own.camids)
    worth[junk] = VERDICTS.index("junk")
    return worth


def scored_alone(result: Result, query: int, protocol: Protocol) -> QueryScores:
    """The scores [1] of one query under `protocol`."""
    rows = slice(query, query + 1)
    alone = replace(result.query, embedding=result.query.embedding[rows], facts=result.query.facts[rows])
    return score_each(alone, result.gallery, distance=result.distance, protocols=[protocol])[protocol]


def part_distances(result: Result, query: int, rows: Sequence[int]) -> Tensor:
    """How far each part of a query is from that part of gallery `rows`, seen or not: [rows,P]."""
    single, other = Single(result.distance.metric), result.gallery.embedding.vectors[list(rows)]
    own = result.query.embedding.vectors[query].expand(len(rows), -1, -1)
    columns = [pairs(single, Embedding.of(own[:, part]), Embedding.of(other[:, part])) for part in range(own.shape[1])]
    return torch.stack(columns, dim=1)


def sampled(result: Result, count: int, protocol: Protocol | None = None) -> list[int]:
    """`count` queries that have a right answer under `protocol`, evenly spread over all of them."""
    scores = result.per_query[(protocol or result.protocol).name]
    return spread((scores.positives > 0).nonzero()[:, 0].tolist(), count)


def seen_again(result: Result, count: int) -> list[int]:
    """`count` queries of whose people the gallery has pictures by the query's own camera, evenly spread."""
    facts = (result.query.facts, result.gallery.facts)
    queries, gallery = (zip(each.pids.tolist(), each.camids.tolist(), strict=True) for each in facts)
    known = {*gallery}
    return spread([row for row, seen in enumerate(queries) if seen in known], count)


def spread(rows: Sequence[int], count: int) -> list[int]:
    """`count` of `rows`, or all that there are, evenly spread."""
    count = min(count, len(rows))
    return [rows[(2 * number + 1) * len(rows) // (2 * count)] for number in range(count)]


def hardest(results: Sequence[Result], count: int) -> list[int]:
    """The `count` queries of the lowest average precision, the mean over all `results`; none that all find at once."""
    each = [result.per_query[result.protocol.name] for result in results]
    precision = torch.stack([scores.ap for scores in each]).mean(0)
    precision[each[0].positives == 0] = torch.inf
    order = precision.argsort(stable=True)[:count].tolist()
    return [row for row in order if precision[row] < 1]


def looked_at(run: Run, samples: Sequence[Sample], cues: CueSources | None = None) -> Batch:
    """`samples` as the network sees them, before they are normalised."""
    pictures = Pictures(samples, run.look.augment.at_test(), cues)
    return pictures.batch(range(len(samples)))
