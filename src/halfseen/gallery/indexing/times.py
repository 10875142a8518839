"""Moments as text: what a person writes becomes seconds since 1970, and seconds become what a person reads.

A moment without a zone is kept as it stands, as if all clocks showed UTC: what a name or a table says is what is shown,
and what is asked for. The moments of a film whose beginning nobody knows count from that beginning.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from functools import lru_cache

from halfseen.gallery.sightings import DAY, Fact
from halfseen.types import InputError

FIRST = date(1970, 1, 1).toordinal()
OF_FILM = " into the film"
YEARS = range(1900, 2101)  # with such a one digits begin that are a date: as seconds they would be a day of 1970
TOGETHER = tuple(map(len, ("20240531", "202405311745", "20240531174510")))  # of which only the first is ISO 8601


def read_time(text: str, where: str, *, last: bool = False, years: bool = True) -> float:
    """`text` is a number of seconds, or a date with or without a time as ISO 8601 has it; `where` it stands.

    A date alone is its first moment, or the `last`. What may be one of the `years` is refused, rather than taken for
    half an hour of 1970.
    """
    words = text.strip()
    in_years = words.isascii() and words.isdigit() and int(words[:4]) in YEARS
    if years and in_years and len(words) == len("2024"):
        raise InputError(
            f"{where}: {text!r} may be a year or seconds; write a date such as {words}-05-31, or {words}.0 for seconds"
        )
    number = None if in_years and len(words) in TOGETHER else _number(words)
    try:
        seconds = _moment(words, last) if number is None else number
    except (ValueError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise InputError(f"{where}: {text!r} is no time; write 2024-05-31, 2024-05-31 17:45:10, or a number of seconds")
    return seconds


def _number(words: str) -> float | None:
    try:
        return float(words)
    except ValueError:
        return None


def _moment(words: str, last: bool) -> float:
    """Of a date with or without a time; what has digits enough for both wants something between the two."""
    if words.isdigit() and len(words) > len("20240531"):
        raise ValueError("a date and a time in one word")
    alone = words.isdigit() or len(words) == len("2024-05-31")
    return since_1970(datetime.fromisoformat(words)) + (DAY - 0.001) * (last and alone)


def since_1970(moment: datetime) -> float:
    """Seconds, of a moment with a zone or without."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def shown_moment(fact: Fact) -> str:
    """When a sighting was. Of a film without a date nobody knows more than how far into it that is."""
    if fact.dated or fact.time is None:
        return shown_time(fact.time)
    days, second = divmod(round(fact.time, 1), DAY)
    return f"{days:.0f} d {shown_time(second)}{OF_FILM}" if days else f"{shown_time(second)}{OF_FILM}"


def shown_time(seconds: float | None) -> str:
    """A date and a time; of the first day of 1970 only the time, as films without a date count from there."""
    if seconds is None:
        return ""
    try:
        whole, tenth = divmod(round(10 * seconds), 10)
        day, second = divmod(whole, int(DAY))
        shown = f"{_date(day)} " if day else ""
    except (OverflowError, ValueError):
        return f"{seconds:g} s"
    clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    return f"{shown}{clock}.{tenth}" if tenth else f"{shown}{clock}"


@lru_cache(1024)
def _date(day: int) -> str:
    return date.fromordinal(FIRST + day).isoformat()
