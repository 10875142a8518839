"""Times that no image of a gallery can meet."""

from __future__ import annotations

import pyarrow as pa
import pytest

from halfseen.gallery.conditions import span
from halfseen.gallery.sightings import Where
from halfseen.gallery.spans import why_never

NOON = 1_717_156_800.0  # 2024-05-31, twelve o'clock
SPAN = "it has 2024-05-31 12:00:00 to 2024-05-31 12:01:00"
FILM = "00:00:05 to 00:01:12 into the film"


def held(*facts: tuple[str, float | None]) -> pa.Table:
    images, times = zip(*facts, strict=True)
    return pa.table({"image": pa.array(images, pa.string()), "time": pa.array(times, pa.float64())})


DATED, FILMED = held(("a", NOON), ("b", NOON + 60), ("c", None)), held(("", 5.0), ("", 72.0), ("c", None))
BOTH = pa.concat_tables([DATED, FILMED])


@pytest.mark.parametrize(
    ("facts", "where", "says"),
    [
        (DATED, Where(since=NOON + 61), SPAN),
        (DATED, Where(until=NOON - 1), SPAN),
        (DATED, Where(since=1.0, until=2.0), SPAN),
        (BOTH, Where(since=NOON + 61), SPAN),
        (BOTH, Where(since=NOON - 9, until=NOON - 1), SPAN),
        (FILMED, Where(until=0.0), f"of then in this gallery; it has {FILM}"),
        (FILMED, Where(since=73.0), f"of then in this gallery; it has {FILM}"),
        (FILMED, Where(since=NOON), f"the films in this gallery have no date; it has {FILM}: give seconds"),
        (
            held(("a", None)),
            Where(since=1.0),
            "unknown; `halfseen index --pattern` reads them from names (with --again",
        ),
    ],
)
def test_why_nobody_can_be_found_is_told(facts: pa.Table, where: Where, says: str) -> None:
    assert says in (why_never(facts, where) or "")


def test_the_span_is_that_of_dates_if_there_are_any() -> None:
    assert span(BOTH) == span(DATED) == (NOON, NOON + 60)
    assert span(BOTH, dates=False) == (5.0, NOON + 60)
    assert span(FILMED) == (5.0, 72.0)
    assert span(held(("a", None))) is None


@pytest.mark.parametrize(
    ("facts", "where"),
    [
        (DATED, Where(since=NOON + 60)),
        (DATED, Where(until=NOON)),
        (DATED, Where(since=NOON + 20, until=NOON + 30)),
        (BOTH, Where(since=5.0, until=6.0)),
        (FILMED, Where(until=5.0)),
    ],
)
def test_times_within_those_of_the_gallery_are_as_good_as_any(facts: pa.Table, where: Where) -> None:
    assert why_never(facts, where) is None
