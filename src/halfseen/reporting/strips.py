"""Rank strips: a query, its nearest answers, which of them are right, and what each part had to say about it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from halfseen.reporting.markup import picture, tag, words
from halfseen.reporting.results import Answer, Result, Verdict, answers, looked_at, part_distances, scored_alone
from halfseen.types import Protocol

NEAREST = 10
MANY = 14  # answers that do not fit into one line
MARKS: dict[Verdict, str] = {"right": "✓", "wrong": "✗", "junk": "–", "ignored": "–"}


def strips(results: Sequence[Result], queries: Sequence[int], key: str, protocol: Protocol | None = None) -> str:
    """For each of `queries` one row of answers for each of `results`, judged by `protocol` (None: the results' own);
    `key` keeps the addresses on the page apart."""
    rule = protocol or results[0].protocol
    return "".join(_strip(results, query, rule, f"{key}-{query}") for query in queries)


def legend(protocol: Protocol) -> str:
    """What the marks mean under `protocol`."""
    told: dict[Verdict, str] = {"right": "the same person", "wrong": "another person"}
    out = [] if protocol.same_camera else ["before the same camera"]
    if protocol.keep is not None:
        out.append("not labelled as hidden (crossed out)")
    if out:
        told["junk"] = f"the same person {' or '.join(out)}: does not count"
    entries = (
        tag("li", tag("span", MARKS[kind], class_=f"mark {kind}", aria_hidden="true"), " ", words(what))
        for kind, what in told.items()
    )
    return tag("ul", *entries, class_="legend")


def _strip(results: Sequence[Result], query: int, protocol: Protocol, key: str) -> str:
    first = results[0]
    sample = first.splits.query[query]
    image = looked_at(first.run, [sample]).images[0]
    asked = tag(
        "figure",
        picture(image, f"the query, person {sample.pid} before camera {sample.camid}"),
        tag("figcaption", words(_who(first, sample.pid, sample.camid))),
        class_="tile asked",
    )
    rows = [
        tag(
            "div",
            _told(result, query, protocol, named=len(results) > 1),
            _answers(result, query, protocol, f"{key}-{number}"),
        )
        for number, result in enumerate(results)
    ]
    return tag("article", asked, tag("div", *rows, class_="rows"), class_="strip", aria_label=f"query {sample.name}")


def _told(result: Result, query: int, protocol: Protocol, *, named: bool) -> str:
    """How well it went, in a line."""
    scores = scored_alone(result, query, protocol)
    run = [tag("b", words(result.run.name))] if named else []
    precision = f"AP {100 * float(scores.ap):.0f} %"
    right = int(scores.positives)
    first = f"first right answer at place {int(scores.first)}"
    return tag("p", " · ".join([*run, words(precision), words(first), f"{right} right answers in all"]), class_="told")


def _answers(result: Result, query: int, protocol: Protocol, key: str) -> str:
    found = answers(result, query, NEAREST, protocol)
    rows = [answer.row for answer in found]
    images = looked_at(result.run, [result.splits.gallery[row] for row in rows]).images
    parts = part_distances(result, query, rows)
    farthest = max(1e-9, float(parts.max()))
    marked = protocol.same_camera and result.splits.has_cameras
    own = ((result.gallery.facts.camids[rows] == result.query.facts.camids[query]) & marked).tolist()
    tiles = [
        _tile(
            result, answer, image, _details(result, query, answer.row, distances, farthest), f"{key}-{place}", own=mine
        )
        for place, (answer, image, distances, mine) in enumerate(zip(found, images, parts, own, strict=True))
    ]
    return tag("ol", *tiles, class_="answers many" if len(tiles) > MANY else "answers")


def _tile(result: Result, answer: Answer, image: Tensor, details: str, key: str, *, own: bool) -> str:
    """`own`: it is before the query's own camera, and that is worth telling."""
    sample = result.splits.gallery[answer.row]
    who, kind = _who(result, sample.pid, sample.camid), answer.verdict
    place = f"place {answer.place}, {kind}" if answer.place else "does not count"
    face = tag("span", f"{answer.place or ''} {MARKS[kind]}".strip(), class_=f"mark {kind}", aria_hidden="true")
    button = tag(
        "button",
        picture(image, ""),
        face,
        tag("small", "own camera") if own else "",
        class_=f"tile {kind}",
        type="button",
        popovertarget=key,
        popovertargetaction="show",
        aria_label=f"{place}, {who}, distance {_far(answer.distance)}: show its parts",
    )
    heading = tag("p", tag("b", words(f"{place}: {who}")), words(f"; distance {_far(answer.distance)}"))
    return tag("li", button, tag("div", heading, details, id=key, popover=True, class_="details"))


def _details(result: Result, query: int, row: int, distances: Tensor, farthest: float) -> str:
    """A row of small bars for each part: its distance, and how well either picture shows it."""
    asked, other = result.query.embedding.visibility[query], result.gallery.embedding.visibility[row]
    columns = zip(result.names, distances.tolist(), asked.tolist(), other.tolist(), strict=True)
    rows = [
        tag(
            "tr",
            tag("th", words(name), scope="row"),
            _bar(f"{distance:.2f}", distance / farthest, "far"),
            _bar(f"{mine:.2g}", mine, "seen"),
            _bar(f"{theirs:.2g}", theirs, "seen"),
            class_=None if mine and theirs else "unseen",
        )
        for name, distance, mine, theirs in columns
    ]
    head = tag("tr", *(tag("th", word, scope="col") for word in ("part", "distance", "query sees", "answer sees")))
    return tag("table", tag("thead", head), tag("tbody", *rows))


def _bar(told: str, share: float, kind: str) -> str:
    return tag("td", tag("i", class_=kind, style=f"--share:{share:.3f}"), words(told))


def _who(result: Result, pid: int, camid: int) -> str:
    person = f"person {pid}" if pid >= 0 else "nobody"
    return f"{person}, camera {camid}" if result.splits.has_cameras else person


def _far(distance: float) -> str:
    return f"{distance:.3f}" if math.isfinite(distance) else "infinite, as no part is seen in both"
