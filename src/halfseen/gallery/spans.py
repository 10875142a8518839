"""Times that no image of a gallery can meet, told in a sentence."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from halfseen.gallery.conditions import dated
from halfseen.gallery.indexing.times import OF_FILM, shown_time
from halfseen.gallery.sightings import Where


def why_never(facts: pa.Table, where: Where) -> str | None:
    """Why the times of `where` are none that these `facts` have, and which they have; None: they are not beyond them.

    A span in which nobody happened to be seen, between two others, is as good as any.
    """
    timed = facts.filter(pc.is_finite(facts["time"]))
    if not len(timed):
        return "the times in this gallery are unknown; `halfseen index --pattern` reads them from names"
    having = timed.filter(dated(timed))
    meant = having if where.dates else timed
    ends = pc.min_max((meant if len(meant) else timed)["time"]).as_py()
    first, last = ends["min"], ends["max"]
    span = f"{shown_time(first)} to {shown_time(last)}{'' if len(having) else OF_FILM}"
    if not len(meant):
        return f"the films in this gallery have no date; it has {span}: give seconds"
    if (where.since is not None and where.since > last) or (where.until is not None and where.until < first):
        return f"there is no sighting of then in this gallery; it has {span}"
    return None
