"""Moments as text, there and back."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halfseen.gallery.indexing.times import read_time, shown_moment, shown_time, since_1970
from halfseen.gallery.sightings import Fact
from halfseen.types import InputError

NOON = 1_717_156_800.0  # 2024-05-31, twelve o'clock


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1717156800", NOON),
        ("12.5", 12.5),
        ("2024-05-31", NOON - 12 * 3600),
        ("2024-05-31 12:00", NOON),
        (" 2024-05-31T12:00:01.5 ", NOON + 1.5),
        ("2024-05-31T14:00+02:00", NOON),
        ("2024-05-31T12:00Z", NOON),
        ("20240531T120000", NOON),
        ("20240531", NOON - 12 * 3600),
        ("12", 12.0),
        ("300", 300.0),
        ("1899", 1899.0),
        ("2101", 2101.0),
        ("2024.0", 2024.0),
        ("18991231", 18_991_231.0),
        ("21010101", 21_010_101.0),
    ],
)
def test_dates_and_numbers_are_read(text: str, seconds: float) -> None:
    assert read_time(text, "here") == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "noon",
        "nan",
        "inf",
        "2024-02-30",
        "31.05.2024",
        "1e999",
        "9999-99-99",
        "20240230",
        "202405311745",
        "20240531174510",
    ],
)
def test_what_is_no_time_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(InputError, match=r"^--since: .* is no time; write 2024-05-31, "):
        read_time(text, "--since")


@pytest.mark.parametrize("text", ["1900", "2024", " 2100 "])
def test_a_year_alone_is_not_taken_for_half_an_hour_of_1970(text: str) -> None:
    year = text.strip()
    with pytest.raises(InputError) as raised:
        read_time(text, "--since")
    assert str(raised.value) == (
        f"--since: {text!r} may be a year or seconds; write a date such as {year}-05-31, or {year}.0 for seconds"
    )
    assert read_time(text, "row 1", years=False) == float(text)


def test_a_date_alone_ends_with_its_day_however_it_is_written() -> None:
    assert read_time("20240531", "here", last=True) == read_time("2024-05-31", "here", last=True) == NOON + 43_199.999


def test_a_zone_counts_and_none_is_as_it_stands() -> None:
    there = datetime(2024, 5, 31, 14, tzinfo=timezone(timedelta(hours=2)))
    assert since_1970(there) == since_1970(datetime(2024, 5, 31, 12)) == NOON


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.0, "00:00:00"),
        (72.31, "00:01:12.3"),
        (86_399.0, "23:59:59"),
        (86_400.0, "1970-01-02 00:00:00"),
        (86_399.96, "1970-01-02 00:00:00"),
        (-0.04, "00:00:00"),
        (-1.0, "1969-12-31 23:59:59"),
        (NOON, "2024-05-31 12:00:00"),
        (NOON + 0.25, "2024-05-31 12:00:00.2"),
        (1e15, "1e+15 s"),
        (math.nan, "nan s"),
    ],
)
def test_times_are_shown_as_people_read_them(seconds: float | None, text: str) -> None:
    assert shown_time(seconds) == text


def test_a_moment_of_a_film_without_a_date_says_so() -> None:
    assert shown_moment(Fact(source="a.mp4", time=72.31)) == "00:01:12.3 into the film"
    assert shown_moment(Fact(source="a.mp4", time=0.0)) == "00:00:00 into the film"
    assert shown_moment(Fact(source="a.mp4", time=90_072.3)) == "1 d 01:01:12.3 into the film"
    assert shown_moment(Fact(source="a.mp4", time=86_399.96)) == "1 d 00:00:00 into the film"
    assert shown_moment(Fact(source="a.mp4", time=NOON)) == "2024-05-31 12:00:00"
    assert shown_moment(Fact(image="a/0072.jpg", source="a", time=72.0)) == "00:01:12"  # a crop has no film
    assert shown_moment(Fact(source="a.mp4")) == ""


@settings(deadline=None, max_examples=100)
@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)))
def test_what_is_shown_is_read_again(moment: datetime) -> None:
    seconds = moment.replace(microsecond=0, tzinfo=UTC).timestamp()
    assert read_time(shown_time(seconds), "there") == seconds
