"""A training as one HTML file that needs nothing beside it: scores, curves, answers, and what the network looks at."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

import torch

from halfseen import __version__
from halfseen.data.files import whole
from halfseen.ops.metrics import PROTOCOLS
from halfseen.reporting import looks, strips, tables
from halfseen.reporting.costs import cost
from halfseen.reporting.markup import Section, contents, sections, table, tag, words
from halfseen.reporting.results import Result, examine, hardest, open_run, sampled, seen_again
from halfseen.reporting.seeing import see, see_training
from halfseen.training.settings import Bars, no_bar

LOOKED_INTO = 6  # queries that are shown as networks see them
TAUGHT = 4  # training pictures, likewise
JUDGED_OTHERWISE = 4  # queries whose answers are shown as another protocol judges them

__all__ = ["examine", "open_run", "page", "write_report"]


def write_report(path: Path, results: Sequence[Result], queries: int = 8, bars: Bars = no_bar) -> None:
    """Write the page about `results` wholly or not at all; the arguments are those of `page`."""
    text = page(results, queries, bars)
    with whole(path) as beside:
        beside.write_text(text, encoding="utf-8", errors="backslashreplace")  # names may be no UTF-8


def page(results: Sequence[Result], queries: int = 8, bars: Bars = no_bar) -> str:
    """HTML about `results`, which are on the same queries and gallery: side by side, with `queries` strips of each
    kind."""
    shown, count = [], 8 + 3 * len(results)  # sections, at most
    with bars("writing the report") as progress:
        for part in _parts(results, queries):
            shown.append(part)
            progress(len(shown), count)
    *others, last = dict.fromkeys(result.run.method for result in results)
    title = f"{', '.join(others)} and {last}" if others else last
    title += f" on {results[0].splits.name}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", words(title)),
        tag("style", _asset("page.css")),
    )
    body = tag(
        "body",
        tag("a", "Skip to the scores", href="#scores", class_="skip"),
        tag("header", tag("h1", words(title)), _facts(results), contents(shown)),
        tag("main", sections(shown)),
        tag("footer", tag("p", words(f"Written by halfseen {__version__}."))),
        tag("script", _asset("page.js"), type="module"),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _parts(results: Sequence[Result], queries: int) -> Iterator[Section]:
    yield _scores(results)
    for number, result in enumerate(results):
        lead = "The losses, the scores on the way and the learning rate, over the steps of the training."
        charts = tables.training_charts(result.run)
        title = f"Training of {result.run.name}" if len(results) > 1 else "Training"
        yield Section(f"training-{number}", title, lead, _plots(charts))
    yield _strips(results, queries)
    yield from _judged_otherwise(results, queries)
    yield _failures(results, queries)
    yield from _looks(results)
    lead = (
        f"Counted and timed on one picture at a time, on {_machine(results[0])}, against "
        f"{len(results[0].gallery.facts):,} gallery pictures. A multiplication and its addition are two operations."
    )
    yield Section("costs", "Costs", lead, tables.cost_table(results, [cost(result) for result in results]))
    settings = (tag("h3", words(r.run.name)) * (len(results) > 1) + tables.setting_tables(r.run) for r in results)
    yield Section("settings", "Settings", "What was trained, in every detail.", "".join(settings))


def _facts(results: Sequence[Result]) -> str:
    """Where the weights come from: in a line, or as a table."""
    rows = [_origin(result) for result in results]
    if len(rows) > 1:
        return table("Runs", [*rows[0]], [[*row.values()] for row in rows])
    (row,) = rows
    return tag("dl", *(tag("div", tag("dt", words(k)), tag("dd", words(v))) for k, v in row.items()), class_="facts")


def _origin(result: Result) -> dict[str, str]:
    card, recipe = result.run.loaded.card, result.run.loaded.recipe
    data = card.data
    return {
        "run": result.run.name,
        "method": result.run.method,
        "backbone": str(card.config.get("backbone", "")),
        "pictures": f"{recipe.height}\u00a0×\u00a0{recipe.width}",
        "trained on": f"{data.get('name')}: {data.get('images', 0):,} pictures of {data.get('people', 0):,} people",
        "started from": card.started_from,
        "epochs": f"{card.epoch} of {recipe.epochs}",
        "seed": str(card.seed),
        "made with": f"halfseen {card.versions.get('halfseen')}, torch {card.versions.get('torch')}",
    }


def _scores(results: Sequence[Result]) -> Section:
    first = results[0]
    people = len({sample.pid for sample in first.splits.query})
    lead = (
        f"{len(first.query.facts):,} queries of {people:,} people, {len(first.gallery.facts):,} gallery pictures of "
        f"{first.splits.name}. Where no other is named, this page speaks of protocol {first.protocol.name}."
    )
    if len(results) > 1:
        told = tables.comparison(results) + tables.score_table(results) + _plots(tables.cmc_charts(results))
    else:
        told = tables.headline(first) + tag(
            "div", tables.score_table(results), tables.cmc_charts(results), class_="beside"
        )
    return Section("scores", "Scores", lead, told)


def _strips(results: Sequence[Result], queries: int) -> Section:
    lead = (
        "Queries from all over the set, each with its ten nearest answers. Point at an answer, or open it, to see how "
        "far each part is and whether both pictures show it."
    )
    rows, marks = sampled(results[0], queries), strips.legend(results[0].protocol)
    return Section("answers", "Answers", lead, marks + strips.strips(results, rows, "sample"))


def _judged_otherwise(results: Sequence[Result], queries: int) -> Iterator[Section]:
    """What counts is a matter of the protocol: answers with the query's own camera, and hidden ones alone."""
    first, count = results[0], min(queries, JUDGED_OTHERWISE)
    if not first.protocol.same_camera and (rows := seen_again(first, count)):
        lead = (
            "The same ranking, where the query's own camera counts too (its pictures say so). They are the easiest to "
            "find: no table on this page counts them, but papers like to show them."
        )
        rule = PROTOCOLS["all"]
        shown = strips.legend(rule) + strips.strips(results, rows, "camera", rule)
        yield Section("camera", "Answers, the same camera included", lead, shown)
    if "occ" in first.scores:
        lead, rule = "Protocol occ: only answers in which the person is hidden count as right.", PROTOCOLS["occ"]
        rows = sampled(first, count, rule)
        yield Section(
            "hidden", "Hidden answers", lead, strips.legend(rule) + strips.strips(results, rows, "hidden", rule)
        )


def _failures(results: Sequence[Result], queries: int) -> Section:
    rows = hardest(results, queries)
    lead = "The queries with the lowest average precision."
    content = strips.strips(results, rows, "hard") if rows else tag("p", "None: every query finds all it should first.")
    return Section("failures", "Hardest queries", lead, content)


def _looks(results: Sequence[Result]) -> Iterator[Section]:
    """What networks look at: side by side, each alone at test time, and each in training."""
    rows = sampled(results[0], LOOKED_INTO)
    sights = [see(result, rows) for result in results]
    if len(results) > 1:
        lead = "How strongly the last layer of each backbone answers: the mean over its channels, least to most."
        yield Section("responses", "Responses side by side", lead, looks.responses(results, sights))
    for number, (result, sight) in enumerate(zip(results, sights, strict=True)):
        content = looks.look_rows(result, sight) + tables.part_table(result)
        title = f"What {result.run.name if len(results) > 1 else 'it'} looks at"
        yield Section(f"looks-{number}", title, looks.explained(sight), content)
    for number, (result, sight) in enumerate(zip(results, sights, strict=True)):
        if taught := see_training(result, {exhibit.title for exhibit in sight.exhibits}, TAUGHT):
            lead = f"Training pictures, and what only training knows of them. {looks.explained(taught)}"
            title = f"{result.run.name} in training" if len(results) > 1 else "In training"
            yield Section(f"taught-{number}", title, lead, looks.lesson_rows(result, taught))


def _plots(charts: str) -> str:
    return tag("div", charts, class_="plots") if charts else ""


def _machine(result: Result) -> str:
    """What this was measured on."""
    device = next(result.run.loaded.network.parameters()).device
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{threads} thread{'s'[: threads > 1]} of a CPU ({platform.machine()})"


def _asset(name: str) -> str:
    return (files("halfseen.reporting") / name).read_text(encoding="utf-8")
