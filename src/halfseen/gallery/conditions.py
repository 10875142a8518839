"""Which images of a gallery are meant, in the SQL that Lance understands."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from halfseen.data.files import shown
from halfseen.gallery.sightings import LONGEST, Names, Where
from halfseen.types import InputError

DATED = f"(time IS NOT NULL AND NOT (image = '' AND time >= 0 AND time < {LONGEST}))"  # as `Fact.dated` has it


def condition(where: Where, ids: Sequence[int] | None = None) -> str:
    """Those of the rows `ids`, or of all, that `where` means."""
    clauses = [f"time >= {where.since!r}"] if where.since is not None else []
    clauses += [f"time <= {where.until!r}"] if where.until is not None else []
    clauses += [DATED] if where.dates else []
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
    return f"({DATED} AND time < {moment!r} OR NOT {DATED} AND stored < {moment!r})"


def dated(facts: pa.Table) -> pa.ChunkedArray:
    """Which of some `facts` in memory have a date (`Fact.dated`)."""
    counted = pc.and_(pc.greater_equal(facts["time"], 0.0), pc.less(facts["time"], LONGEST))
    of_film = pc.and_(pc.equal(facts["image"], ""), counted)
    return pc.fill_null(pc.and_(pc.is_finite(facts["time"]), pc.invert(of_film)), False)


def span(facts: pa.Table, *, dates: bool = True) -> tuple[float, float] | None:
    """The first and the last moment of `facts`: with `dates`, if any have one, of those. None: no time is known."""
    facts = facts.filter(pc.is_finite(facts["time"]))
    meant = facts.filter(dated(facts)) if dates else facts
    ends = pc.min_max((meant or facts)["time"]).as_py()
    return (ends["min"], ends["max"]) if len(facts) else None


def among(column: str, names: Names) -> str:
    return f"{column} IN ({', '.join(map(quoted, sorted(names)))})" if names else "false"


def between(after: int, until: int | None) -> str | None:
    """The images whose id is greater than `after` and not than `until`; None: all."""
    clauses = [f"_rowid > {after}"] if after >= 0 else []
    clauses += [f"_rowid <= {until}"] if until is not None else []
    return " AND ".join(clauses) or None


def same_passages(some: pa.Table) -> str:
    """The images `some`, of which their sources and tracks are known, and the others of their passages."""
    ids, sources, tracks = (some[name].to_pylist() for name in ("_rowid", "source", "track"))
    passages = sorted({(source, track) for source, track in zip(sources, tracks, strict=True) if track})
    same = [f"(source = {quoted(source)} AND track = {quoted(track)})" for source, track in passages]
    return f"({' OR '.join([condition(Where(), ids), *same])})"


def quoted(text: str) -> str:
    """`text` as SQL has it: nothing in it can end the quotation."""
    try:
        text.encode()
    except UnicodeEncodeError as error:  # a name that the system could not read
        raise InputError(f"{shown(text)} is not UTF-8, as all names in a gallery are; correct it") from error
    return "'" + text.replace("'", "''") + "'"
