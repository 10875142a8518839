"""Times that no image of a gallery can meet, told in a sentence."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from halfseen.gallery.conditions import dated, span
from halfseen.gallery.indexing.times import OF_FILM, shown_time
from halfseen.gallery.sightings import Where

FROM_NAMES = "`halfseen index --pattern` reads them from names (with --again, of files that are in it)"


def why_never(facts: pa.Table, where: Where) -> str | None:
    """Why the times of `where` are none that these `facts` have, and which they have; None: they are not beyond them.

    A span in which nobody happened to be seen, between two others, is as good as any.
    """
    ends = span(facts, dates=where.dates)
    if not ends:
        return f"the times in this gallery are unknown; {FROM_NAMES}"
    (first, last), since_when = ends, counted_from(facts)
    it_has = f"it has {shown_time(first)} to {shown_time(last)}{since_when}"
    if where.dates and since_when:
        return f"the films in this gallery have no date; {it_has}: give seconds"
    if (where.since is not None and where.since > last) or (where.until is not None and where.until < first):
        return f"there is no sighting of then in this gallery; {it_has}"
    return None


def counted_from(facts: pa.Table) -> str:
    """What is to be said behind times of these `facts`: nothing, unless all are of films without a date."""
    return "" if pc.any(dated(facts)).as_py() else OF_FILM
