"""A training, opened and looked into: its weights, its log, and what they make of the queries of a set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from halfseen.data.embeddings import Encoded
from halfseen.data.files import shown
from halfseen.data.loading import CueSources, Pictures
from halfseen.encode import Look, encode_split
from halfseen.evaluate import score_each
from halfseen.ops.distance import Distance, Single, pairs, top_k
from halfseen.ops.metrics import QueryScores, mean_scores
from halfseen.train import BEST, LAST
from halfseen.training.log import NAME, read_log
from halfseen.training.settings import Bars, augment_of, no_bar
from halfseen.types import Batch, Embedding, InputError, Protocol, Sample, Scores, Splits
from halfseen.weights import Loaded, load_weights

SHOWN_JUNK = 6  # of the pictures that do not count, so many at most stand in a strip

Verdict = Literal["right", "wrong", "junk"]


@dataclass(frozen=True)
class Run:
    """What `halfseen train` left behind. `name` is its folder's; `weights` the file that was `loaded`."""

    name: str
    weights: Path
    loaded: Loaded
    log: list[dict[str, Any]]

    @property
    def look(self) -> Look:
        """How its network sees pictures."""
        return Look(augment_of(self.loaded.recipe))


@dataclass(frozen=True)
class Result:
    """A `run` on the queries and the gallery of `splits`.

    `scores` by protocol; `per_query` is of the first of them, `protocol`, which also says what is junk. `names` are
    those of the parts of its embeddings.
    """

    run: Run
    splits: Splits
    query: Encoded
    gallery: Encoded
    scores: dict[str, Scores]
    protocol: Protocol
    per_query: QueryScores
    names: tuple[str, ...]

    @property
    def distance(self) -> Distance:
        return self.run.loaded.method.distance


class Answer(NamedTuple):
    """A gallery row near a query: how far, what it is worth, and its place among those that count (None: junk)."""

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
        when = "the first evaluation" if which == "best" else "the last epoch"
        raise InputError(
            f"{shown(path)} holds no {weights.name}, which `halfseen train` writes after {when}; let it come so far, "
            f"or give another folder"
        )
    return Run(path.resolve().name, weights, _loaded(weights, device), read_log(path / NAME))


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
    protocol, per_query = next(iter(found.items()))
    names = part_names(run.loaded.config, query.embedding.vectors.shape[1])
    return Result(run, splits, query, gallery, scores, protocol, per_query, names)


def part_names(config: Any, count: int) -> tuple[str, ...]:
    """What the `count` parts of an embedding are called, where the configuration tells."""
    tested, parts = getattr(config, "test", ()), getattr(config, "names", ())
    told = [name for test in tested for name in (parts if test == "parts" else (test,))]
    if isinstance(tested, tuple) and len(told) == count:
        return tuple(name.replace("_", " ") for name in told)
    return ("whole",) if count == 1 else tuple(f"part {number}" for number in range(1, count + 1))


def answers(result: Result, query: int, count: int) -> list[Answer]:
    """The nearest `count` gallery rows that count, and the junk that stands between them."""
    facts, own = result.gallery.facts, result.query.facts[query : query + 1]
    junk = facts.pids < 0
    if not result.protocol.same_camera:
        junk |= (facts.pids == own.pids) & (facts.camids == own.camids)
    wanted = min(len(facts), count + int(junk.sum()))
    ranking = top_k(result.distance, result.query.embedding[query : query + 1], result.gallery.embedding, wanted)
    found: list[Answer] = []
    place = left_out = 0
    for distance, row in zip(ranking.distances[0].tolist(), ranking.indices[0].tolist(), strict=True):
        if place == count:
            break
        if junk[row]:
            left_out += 1
            if left_out <= SHOWN_JUNK:
                found.append(Answer(row, distance, "junk", None))
            continue
        place += 1
        right = bool(facts.pids[row] == own.pids[0])
        found.append(Answer(row, distance, "right" if right else "wrong", place))
    return found


def part_distances(result: Result, query: int, rows: Sequence[int]) -> Tensor:
    """How far each part of a query is from that part of gallery `rows`, seen or not: [rows,P]."""
    single, other = Single(result.distance.metric), result.gallery.embedding.vectors[list(rows)]
    own = result.query.embedding.vectors[query].expand(len(rows), -1, -1)
    columns = [pairs(single, Embedding.of(own[:, part]), Embedding.of(other[:, part])) for part in range(own.shape[1])]
    return torch.stack(columns, dim=1)


def sampled(result: Result, count: int) -> list[int]:
    """`count` queries that have a right answer, evenly spread over all of them."""
    rows = (result.per_query.positives > 0).nonzero()[:, 0].tolist()
    count = min(count, len(rows))
    return [rows[(2 * number + 1) * len(rows) // (2 * count)] for number in range(count)]


def hardest(results: Sequence[Result], count: int) -> list[int]:
    """The `count` queries of the lowest average precision, the mean over all `results`; none that all find at once."""
    precision = torch.stack([result.per_query.ap for result in results]).mean(0)
    precision[results[0].per_query.positives == 0] = torch.inf
    order = precision.argsort(stable=True)[:count].tolist()
    return [row for row in order if precision[row] < 1]


def looked_at(run: Run, samples: Sequence[Sample], cues: CueSources | None = None) -> Batch:
    """`samples` as the network sees them, before they are normalised."""
    pictures = Pictures(samples, run.look.augment.at_test(), cues)
    return pictures.batch(range(len(samples)))
