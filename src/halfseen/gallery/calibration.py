"""How sure an answer is: the chance that it is the person, learned from a gallery in which everyone has a name.

Three things tell: the distance; how far the answer stands out from strangers, in standard deviations of the query's
distances to them; and how much of the body both pictures show, by itself and because standing out tells more, the more
is seen. For strangers the farther half of a crowd is taken, some images for all: in a small gallery a good part of its
images may be of the person, who would not stand out from themselves. A logistic regression on the first answers of
labelled queries makes them a chance. A gallery with more images than the labelled one holds more strangers that look
alike at the same distance, in proportion: that many times the odds are lowered. They are never raised: that a gallery
is small does not say that the person is in it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from halfseen.data.embeddings import Encoded
from halfseen.data.files import shown
from halfseen.drawing.charts import Line, curve, percent
from halfseen.gallery.probes import Mean
from halfseen.gallery.store import Gallery
from halfseen.ops.distance import VisibleParts, blocks, nearest
from halfseen.types import Embedding, Facts, InputError

NOTE = "calibration"  # its name among the gallery's notes
CROWD = 1024  # images that stand for all
ANSWERS = 50  # of a labelled query, that are learned from
FOLDS = 5  # people are split into so many groups; each is told by what the others taught
BINS = 10
FEWEST = 50  # answers of a bin; fewer tell nothing, and are put with their neighbours
SHRINK = 1e-4  # how much large coefficients cost
FARTHER = 0.5  # of the crowd, for strangers
STEPS = 50  # of Newton's method, which needs ten


class Crowd(NamedTuple):
    """Some images for all of a gallery: `directions` [c,P·D] are v·direction, `weights` [c,P] are v."""

    directions: Tensor
    weights: Tensor

    @staticmethod
    def of(embedding: Embedding) -> Crowd:
        each = Mean.each(embedding)
        return Crowd(each.sums.flatten(1), each.weights)

    def moments(self, mean: Mean) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the distances of each person [q] to the farther half of those of the crowd
        who share a part."""
        shared = mean.weights @ self.weights.T
        if not len(self.weights):
            return shared.sum(1), shared.sum(1)
        distances = torch.where(shared > 0, 1 - mean.sums.flatten(1) @ self.directions.T / shared, torch.nan)
        far = distances >= distances.nanquantile(1 - FARTHER, dim=1, keepdim=True, interpolation="higher")
        count = far.sum(1).clamp(min=1)
        middle = torch.where(far, distances, 0.0).sum(1) / count
        spread = torch.where(far, (distances - middle[:, None]).square(), 0.0).sum(1) / count
        return middle, spread.sqrt()


class Signs(NamedTuple):
    """What tells how sure an answer is: its distance, how far it stands out, how much both show."""

    distance: Tensor
    margin: Tensor
    shown: Tensor


def signs_of(crowd: Crowd, mean: Mean, distances: Tensor, seen: Tensor, spread: float) -> Signs:
    """Of each person's answers, with `distances` [q,k] and `seen` [q,k,P]. Strangers differ by `spread` at least, or
    a few pictures of one of them would be a crowd that anybody stands out from."""
    middle, own = crowd.moments(mean)
    margin = (middle[:, None] - distances) / own.clamp(min=max(spread, 1e-6))[:, None]
    return Signs(distances, margin.clamp(-20, 20), seen.mean(2))


class Bin(NamedTuple):
    """Of the `answers` that were given about this chance: its mean, and the share that was right."""

    said: float
    right: float
    answers: int


@dataclass(frozen=True)
class Calibration:
    """What was learned from `name`: a gallery of `rows` images, `answers` to queries for so many `people`.

    `coefficients`: of 1, distance, margin, shown and margin · shown. `spread`: what strangers differ by, usually. Of
    people whose answers were not learned from: `bins`, the mean gap between chance said and share right (`error`), and
    the mean square of what a chance is off (`brier`).
    """

    name: str
    coefficients: tuple[float, ...]
    rows: int
    answers: int
    people: int
    error: float
    brier: float
    bins: tuple[Bin, ...]
    spread: float

    def chance(self, signs: Signs, rows: int) -> Tensor:
        """The chance that each answer, from a gallery of so many `rows`, is the person."""
        odds = _table(signs) @ torch.tensor(self.coefficients, dtype=torch.float64)
        return torch.sigmoid(odds - math.log(max(1.0, rows / self.rows))).float()


def calibrate(query: Encoded, gallery: Encoded, name: str) -> Calibration:
    """Learn from labelled pictures; `name` says which, for those who read it later."""
    rows = gallery.facts.pids >= 0
    named = replace(gallery, embedding=gallery.embedding[rows], facts=gallery.facts[rows])
    crowd = Crowd.of(named.embedding[:: max(1, -(-len(named.embedding) // CROWD))])
    spread = float(crowd.moments(Mean.each(query.embedding))[1].median())
    signs, right, people = _answers(query, named, crowd, spread)
    table, right = _table(signs), right.double()
    if not 0 < int(right.sum()) < len(right):
        raise InputError(
            f"of {len(right)} answers {int(right.sum())} are right, and both kinds are needed to learn from; "
            f"give queries whose people are in the gallery, among others"
        )
    kinds = sorted(set(people.tolist()))
    if len(kinds) < 2:
        raise InputError("all queries are of one person, and others are needed to check what is learned; give more")
    place = torch.searchsorted(torch.tensor(kinds), people)
    said = torch.zeros_like(right)
    for fold in range(min(FOLDS, len(kinds))):
        held = place % FOLDS == fold
        said[held] = torch.sigmoid(table[held] @ _logistic(table[~held], right[~held]))
    bins = _bins(said, right)
    error = sum(each.answers * abs(each.said - each.right) for each in bins) / len(right)
    found = tuple(_logistic(table, right).tolist())
    brier = float((said - right).square().mean())
    return Calibration(name, found, len(named.facts), len(right), len(kinds), error, brier, tuple(bins), spread)


def keep_calibration(gallery: Gallery, calibration: Calibration) -> None:
    """From now on the answers of `gallery` bear a confidence."""
    gallery.keep_note(NOTE, asdict(calibration))


def calibration_of(gallery: Gallery) -> Calibration | None:
    """What was kept with `gallery`."""
    noted = gallery.notes().get(NOTE)
    if noted is None:
        return None
    try:
        bins, coefficients = tuple(Bin(*each) for each in noted["bins"]), tuple(map(float, noted["coefficients"]))
        found = Calibration(**noted | {"coefficients": coefficients, "bins": bins})
        found.chance(Signs(*torch.zeros(3, 1)), found.rows)
        if not 0 <= found.spread < math.inf:
            raise ValueError(f"spread is {found.spread}")
    except (TypeError, KeyError, ValueError, RuntimeError, ZeroDivisionError) as error:
        raise InputError(
            f"what the gallery {shown(gallery.folder)} keeps of a calibration is of another version of halfseen; "
            f"run `halfseen gallery calibrate` again"
        ) from error
    return found


def draw_reliability(calibration: Calibration) -> str:
    """An SVG of chances said and shares right."""
    lines = [
        Line("said and right", [(100 * each.said, each.right) for each in calibration.bins]),
        Line("as it should be", [(0.0, 0.0), (100.0, 1.0)]),
    ]
    about = f"chance said, in per cent ({calibration.answers:,} answers, at least {FEWEST} a point)"
    drawn = curve(lines, "how often answers are right", about, "share right", say=percent)
    return drawn.replace("<svg ", '<svg style="background:#fff;color:#222" ', 1)  # it stands alone, on any ground


def _answers(query: Encoded, gallery: Encoded, crowd: Crowd, spread: float) -> tuple[Signs, Tensor, Tensor]:
    """Of the first answers [M] their signs, whether they are right, and who was asked for.

    Images of the person's own camera are no answers, where cameras are known.
    """
    embedding, facts = gallery.embedding, gallery.facts
    found: list[tuple[Tensor, ...]] = []
    for start, block in blocks(VisibleParts("cosine"), query.embedding, embedding):
        some = slice(start, start + len(block))
        asked = query.facts[some]
        near = nearest(block.masked_fill_(_junk(asked, facts, gallery.has_cameras), torch.inf), ANSWERS)
        seen = query.embedding.visibility[some, None] * embedding.visibility[near.indices]
        signs = signs_of(crowd, Mean.each(query.embedding[some]), near.distances, seen, spread)
        pids = asked.pids[:, None].expand_as(near.indices)
        there = near.distances < torch.inf
        right = facts.pids[near.indices] == pids
        found.append(tuple(column[there] for column in (*signs, right, pids)))
    distance, margin, shown, right, pids = (torch.cat(column) for column in zip(*found, strict=True))
    return Signs(distance, margin, shown), right, pids


def _junk(query: Facts, gallery: Facts, has_cameras: bool) -> Tensor:
    """bool [Q,G]: images of the same person by the same camera."""
    same = query.pids[:, None] == gallery.pids
    return same & (query.camids[:, None] == gallery.camids) if has_cameras else torch.zeros_like(same)


def _table(signs: Signs) -> Tensor:
    """[...,5]."""
    columns = [torch.ones_like(signs.distance), *signs, signs.margin * signs.shown]
    return torch.stack([column.double() for column in columns], -1)


def _logistic(table: Tensor, right: Tensor) -> Tensor:
    """The coefficients [F] of a logistic regression of `right` [M] on `table` [M,F], by Newton's method."""
    found = table.new_zeros(table.shape[1])
    cost = SHRINK * len(table) * torch.eye(len(found), dtype=table.dtype)
    cost[0, 0] = 1e-9
    for _ in range(STEPS):
        said = torch.sigmoid(table @ found)
        slope = table.T @ (said - right) + cost @ found
        bend = (table * (said * (1 - said))[:, None]).T @ table + cost
        step = torch.linalg.solve(bend, slope)
        found = found - step
        if float(step.abs().max()) < 1e-10:
            break
    return found


def _bins(said: Tensor, right: Tensor) -> list[Bin]:
    """From the surest answers down, tenths of all chances, together where they hold few answers."""
    place = (said * BINS).long().clamp(max=BINS - 1)
    groups = [torch.zeros_like(place, dtype=torch.bool)]
    for number in reversed(range(BINS)):
        if int(groups[-1].sum()) >= FEWEST:
            groups.append(torch.zeros_like(groups[-1]))
        groups[-1] |= place == number
    if len(groups) > 1 and int(groups[-1].sum()) < FEWEST:
        fewest = groups.pop()
        groups[-1] |= fewest
    return [Bin(float(said[s].mean()), float(right[s].mean()), int(s.sum())) for s in reversed(groups)]
