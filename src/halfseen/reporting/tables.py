"""Scores and costs as tables, the log of a training as curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from halfseen.data.embeddings import Encoded
from halfseen.drawing.charts import Line, Say, curve, number, percent, thinned
from halfseen.evaluate import DISTANCES, evaluate
from halfseen.ops.distance import CoarseToFine, VisibleParts
from halfseen.printing import RANKS, rank_share
from halfseen.reporting.costs import Cost
from halfseen.reporting.markup import figure, table, tag, words
from halfseen.reporting.results import Result, Run
from halfseen.types import Embedding, Scores

SHOWN_RANKS = 20
COUNTERS, USUAL = ("epoch", "step"), ("lr", "gradient", "images per second")  # numbers in the log of every method
MEASURES = ("mAP", "mINP", *(f"R{rank}" for rank in RANKS))


def headline(result: Result) -> str:
    """The scores that are quoted, in large."""
    scores = result.scores[result.protocol.name]
    told = {"mAP": scores.mAP, "rank 1": scores.cmc[0], "rank 5": rank_share(scores, 5), "mINP": scores.mINP}
    boxes = (tag("div", tag("b", f"{100 * share:.1f} %"), tag("span", words(name))) for name, share in told.items())
    return tag("div", *boxes, class_="numbers")


def score_table(results: Sequence[Result]) -> str:
    """One row a protocol, or one a protocol and run, in per cent."""
    tables = []
    for name in results[0].scores:
        for result in results:
            if name in result.scores:
                told = f"{name}: {result.run.name}" if len(results) > 1 else name
                tables.append([told, *_cells(result.scores[name]), *_counts(result.scores[name])])
    return table("Scores in per cent", ("protocol", *MEASURES, "queries", "skipped", "positives"), tables)


def comparison(results: Sequence[Result]) -> str:
    """A row for each run, the measures that are quoted under each protocol."""
    names = list(results[0].scores)
    rows = []
    for result in results:
        found = [result.scores[name] for name in names]
        shares = (f"{100 * share:.1f}" for s in found for share in (s.mAP, s.cmc[0]))
        rows.append([result.run.name, result.run.method, *shares])
    columns = ("run", "method", *(f"{name} {measure}" for name in names for measure in ("mAP", "R1")))
    return table("Side by side, in per cent", columns, rows, best=range(2, len(columns)))


def cmc_charts(results: Sequence[Result]) -> str:
    """One run: its protocols in one chart. Several: a chart for each protocol, a line for each run."""
    if len(results) == 1:
        lines = [_cmc(name, scores) for name, scores in results[0].scores.items()]
        return _chart(lines, "CMC", "rank", "queries with a right answer among the first", percent)
    return "".join(
        _chart(
            [_cmc(result.run.name, result.scores[name]) for result in results if name in result.scores],
            f"CMC, {name}",
            "rank",
            "queries with a right answer among the first",
            percent,
        )
        for name in results[0].scores
    )


def training_charts(run: Run) -> str:
    """Losses, scores on the way, the learning rate, and what the method watches; nothing without a log."""
    steps = [line for line in run.log if line.get("kind") == "steps"]
    losses, others = _courses([{"step": line["step"], **line["losses"]} for line in steps]), _courses(steps)
    drawn = [
        _chart(losses, "Losses, with their weights", "step", "loss", number),
        _chart(_scored(run.log), "Scores during training", "step", "mAP", percent),
        _chart(
            [Line("learning rate", line.points) for line in others if line.name == "lr"],
            "Learning rate",
            "step",
            "learning rate",
            number,
        ),
    ]
    watched = [line for line in others if line.name not in USUAL and any(value for _, value in line.points)]
    for first in dict.fromkeys(line.name.partition(" ")[0] for line in watched):
        alike = [line for line in watched if line.name.partition(" ")[0] == first]
        title = first if len(alike) > 1 else alike[0].name
        drawn.append(_chart(alike, title.capitalize(), "step", title, number))
    return "".join(drawn)


def part_table(result: Result) -> str:
    """What each part of the embedding finds alone, all parts, and everything; nothing if there is one vector."""
    if len(result.names) == 1:
        return ""
    usual = isinstance(result.distance, VisibleParts)  # another cannot compare some parts alone
    distance = result.distance if usual else DISTANCES["parts"]
    columns: dict[str, list[int]] = {name: [place] for place, name in enumerate(result.names)}
    told = {name.replace("_", " ") for name in getattr(result.run.loaded.config, "names", ())}
    parts = [place for place, name in enumerate(result.names) if name in told]
    if 1 < len(parts) < len(result.names):
        columns["all parts"] = parts
    columns["together"] = list(range(len(result.names)))
    rows = []
    for name, chosen in columns.items():
        sides = [replace(side, embedding=_chosen(side.embedding, chosen)) for side in (result.query, result.gallery)]
        if name == "together":
            scores = result.scores[result.protocol.name]
        else:
            scores = evaluate(*sides, distance=distance, protocols=[result.protocol])[result.protocol.name]
        shares = (f"{100 * float((side.embedding.visibility > 0).float().mean()):.0f}" for side in sides)
        rows.append([name, *_cells(scores), *shares])
    both = (result.query, result.gallery)
    if not (result.gallery.embedding.visibility == 1).all() and not any(s.embedding.replaced.any() for s in both):
        blind = [replace(side, embedding=side.embedding.all_seen()) for side in both]
        rows.append(["together, all taken for seen", *_cells(_blind(result, blind)), "100", "100"])
    caption = (
        f"Each part alone, protocol {result.protocol.name}, and how many pictures show it, in per cent; those in which "
        f"it is not seen stand last" + ("" if usual else "; together they are compared as the method has it")
    )
    return table(caption, ("compared by", *MEASURES, "of queries", "of the gallery"), rows)


def _blind(result: Result, sides: Sequence[Encoded]) -> Scores:
    """The scores by the method's own distance where all parts count alike; `sides` take all for seen."""
    distance = result.distance
    if isinstance(distance, CoarseToFine):  # whose visibilities are shares of one
        distance, sides = replace(distance, confidence="none"), (result.query, result.gallery)
    return evaluate(*sides, distance=distance, protocols=[result.protocol])[result.protocol.name]


def cost_table(results: Sequence[Result], costs: Sequence[Cost]) -> str:
    """A row for each run: what it costs and what it finds."""
    measured = ("GFLOPs a picture", "parameters (M)", "in training (M)", "encode (ms)", "match (ms)", "R1", "mAP")
    rows = []
    for result, spent in zip(results, costs, strict=True):
        scores = result.scores[result.protocol.name]
        millions = (f"{count / 1e6:.2f}" for count in (spent.tested, spent.trained))
        times = (f"{1000 * took:.3g}" for took in (spent.encoding, spent.matching))
        found = (f"{100 * scores.cmc[0]:.1f}", f"{100 * scores.mAP:.1f}")
        rows.append([result.run.name, result.run.method, f"{spent.flops / 1e9:.3g}", *millions, *times, *found])
    return table("What a query costs", ("run", "method", *measured), rows)


def setting_tables(run: Run) -> str:
    """The configuration and the recipe, field by field."""
    card = run.loaded.card
    told = {"configuration": card.config, "recipe": card.recipe}
    tables = (table(f"The {what}", ("field", "value"), _fields(values)) for what, values in told.items())
    return tag("details", tag("summary", "All settings"), tag("div", *tables, class_="pair"))


def _fields(values: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            value = "; ".join(f"{key}: {_plain(entry)}" for key, entry in value.items())  # noqa: PLW2901
        rows.append([name.replace("_", " "), _plain(value)])
    return rows


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _cells(scores: Scores) -> list[str]:
    shares = (scores.mAP, scores.mINP, *(rank_share(scores, rank) for rank in RANKS))
    return [f"{100 * share:.1f}" for share in shares]


def _counts(scores: Scores) -> list[str]:
    return [f"{scores.queries:,}", f"{scores.skipped:,}", f"{scores.positives / scores.queries:.2f}"]


def _cmc(name: str, scores: Scores) -> Line:
    return Line(name, list(enumerate(scores.cmc[:SHOWN_RANKS], 1)))


def _courses(lines: Sequence[Mapping[str, Any]]) -> list[Line]:
    """How each number in `lines` changes with their `step`."""
    numbers = ((name, value) for line in lines for name, value in line.items() if name not in COUNTERS)
    names = dict.fromkeys(name for name, value in numbers if isinstance(value, int | float))
    return [
        Line(name.replace("_", " "), thinned([(line["step"], line[name]) for line in lines if name in line]))
        for name in names
    ]


def _scored(log: Sequence[Mapping[str, Any]]) -> list[Line]:
    lines = [line for line in log if line.get("kind") == "scores"]
    names = dict.fromkeys(name for line in lines for name in line["scores"])
    return [
        Line(name, [(line["step"], line["scores"][name]["mAP"]) for line in lines if name in line["scores"]])
        for name in names
    ]


def _chart(lines: Sequence[Line], title: str, x: str, y: str, say: Say) -> str:
    if not any(line.points for line in lines):
        return ""
    return figure(curve(lines, title, x, y, say=say), title, class_="plot")


def _chosen(embedding: Embedding, places: list[int]) -> Embedding:
    return Embedding(embedding.vectors[:, places], embedding.visibility[:, places], embedding.replaced[:, places])
