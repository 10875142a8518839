"""Which images of a gallery are meant, in the SQL that Lance understands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from halfseen.gallery.sightings import LONGEST, Fact, Names, Where


def condition(where: Where, ids: Sequence[int] | None = None) -> str:
    """Those of the rows `ids`, or of all, that `where` means."""
    clauses = [f"time >= {where.since!r}"] if where.since is not None else []
    clauses += [f"time <= {where.until!r}"] if where.until is not None else []
    for column, names in (("camera", where.cameras), ("source", where.sources), ("track", where.tracks)):
        clauses += [among(column, names)] if names is not None else []
    if ids is not None:
        possible = [str(int(id)) for id in ids if 0 <= id < 2**63]
        clauses.append(f"_rowid IN ({', '.join(possible)})" if possible else "false")
    return " AND ".join(clauses) or "true"


def older(moment: float) -> str:
    """The images of before that `moment`; where nobody knows when an image was taken (`Fact.dated`), those that were
    stored before."""
    Where(until=moment)  # which refuses what is none
    dated = f"(time IS NOT NULL AND NOT (image = '' AND time >= 0 AND time < {LONGEST}))"
    return f"({dated} AND time < {moment!r} OR NOT {dated} AND stored < {moment!r})"


def among(column: str, names: Names) -> str:
    return f"{column} IN ({', '.join(map(quoted, sorted(names)))})" if names else "false"


def between(after: int, until: int | None) -> str | None:
    """The images whose id is greater than `after` and not than `until`; None: all."""
    clauses = [f"_rowid > {after}"] if after >= 0 else []
    clauses += [f"_rowid <= {until}"] if until is not None else []
    return " AND ".join(clauses) or None


def same_passages(facts: Mapping[int, Fact]) -> str:
    """The images whose ids and `facts` these are, and for the others of their passages."""
    passages = {(fact.source, fact.track) for fact in facts.values() if fact.track}
    same = [f"(source = {quoted(source)} AND track = {quoted(track)})" for source, track in sorted(passages)]
    return f"({' OR '.join([condition(Where(), list(facts)), *same])})"


def quoted(text: str) -> str:
    """`text` as SQL has it: nothing in it can end the quotation."""
    return "'" + text.replace("'", "''") + "'"
