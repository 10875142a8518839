"""Camera, time and passage out of names."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halfseen.gallery.indexing.patterns import Named, Pattern, read_name
from halfseen.types import InputError

NOON = 1_717_156_800.0  # 2024-05-31, twelve o'clock


@pytest.mark.parametrize(
    ("pattern", "path", "named"),
    [
        ("*", "/a/b.jpg", Named()),
        ("{camera}/*", "/a/gate 2/b.jpg", Named("gate 2")),
        ("{camera}/{time:%Y%m%d_%H%M%S}_*.jpg", "/x/gate/20240531_120000_7.jpg", Named("gate", NOON)),
        ("{time:%Y-%m-%d}/{camera}/{time:%H.%M.%S}.mp4", "/2024-05-31/c1/12.00.00.mp4", Named("c1", NOON)),
        ("{track}_c{camera}s?_*", "/m/0001_c12s1_001051_00.jpg", Named("12", None, "0001")),
        ("{camera}_{time}.png", "gate_12.5.png", Named("gate", 12.5)),
        ("{camera}-{time:%H%M}.avi", "gate-0110.avi", Named("gate", 4200.0)),  # no date: of the first day
        ("{time:%y%j}*", "24152.jpg", Named("", NOON - 43_200)),
        ("{time:%Y%m%dT%H%M%S%z}.jpg", "20240531T140000+0200.jpg", Named("", NOON)),
        ("{time:%Y%m%dT%H%M%S%z}.jpg", "20240531T120000Z.jpg", Named("", NOON)),
        ("{time:%Y-%m-%d}/{time:%Y%m%d_%H%M%S}.jpg", "2024-05-31/20240531_120000.jpg", Named("", NOON)),
        ("{time:%Y%m%dT%H%M%S.%f}.jpg", "20240531T120000.25.jpg", Named("", NOON + 0.25)),
        ("a.b(c)[d]{camera}", "a.b(c)[d]e", Named("e")),  # no letter means anything by itself
        ("100%-{time:%%%H}", "100%-%05", Named("", 18_000.0)),
        ("{time:%%Y%H}.jpg", "%Y05.jpg", Named("", 18_000.0)),  # a percent sign and a letter
        ("{time:%f}_{time:%f}_{time:%z}_{time:%z}", "5_500000_Z_+00:00", Named("", 0.5)),
        ("{time:%Y%m%d}_{time:%y%j}", "20240531_24152", Named("", NOON - 43_200)),
        ("{time:day}/{camera}", "day/gate", Named("gate")),
    ],
)
def test_a_pattern_reads_the_end_of_a_path(pattern: str, path: str, named: Named) -> None:
    assert Pattern(pattern).read(PurePosixPath(path)) == named


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("{camera}/*.jpg", "b.jpg"),
        ("{camera}_*", "/_b"),
        ("*.jpg", "b.jpg.part"),
        ("?.jpg", "ab.jpg"),
        ("a*", "b/a/c"),
        ("{time:%Y%m%d}", "2024531"),
        ("{time}", "-3"),
        ("{camera}x{track}", "ab/xc"),
    ],
)
def test_a_name_that_does_not_fit_says_nothing(pattern: str, path: str) -> None:
    assert Pattern(pattern).read(PurePosixPath(path)) is None


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("", "is empty or mixes"),
        ("{time}-{time:%Y}", "is empty or mixes"),
        ("{who}", r"has '\{who\}'; allowed are \{camera\}"),
        ("{camera:x}", "has"),
        ("{camera}{camera}", "the camera or the track twice"),
        ("{camera", r"has '\{'"),
        ("camera}", r"has '\}'"),
        ("{time:%B}", "has '%B'; allowed are %y, "),
        ("{time:%Y%}", "has '%'; allowed"),
    ],
)
def test_a_pattern_without_sense_is_refused(pattern: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "path", "said"),
    [
        ("{time:%Y-%m-%d}/{time:%Y%m%d_%H}.jpg", "2024-05-31/20240601_12.jpg", "%m is 05, and 06"),
        ("{time:%Y-%m-%d}/{time:%y%m%d}.jpg", "2024-05-31/250531.jpg", "%Y is 2024, and 2025|%y is 25, and 24"),
        ("{time:%Y%m%d}_{time:%j}.jpg", "20240531_001.jpg", "%m is 05, and 01|%j is 001, and 152"),
        ("{time:%f}_{time:%f}.jpg", "5_05.jpg", "%f is 500000, and 050000"),
    ],
)
def test_a_name_with_two_times_is_a_fault(pattern: str, path: str, said: str) -> None:
    with pytest.raises(InputError, match=rf"names no possible time \(({said})\); rename it"):
        Pattern(pattern).read(PurePosixPath(path))


def test_a_name_with_an_impossible_time_is_a_fault() -> None:
    with pytest.raises(InputError, match=r"^20240231\.jpg names no possible time"):
        Pattern("{time:%Y%m%d}.jpg").read(PurePosixPath("20240231.jpg"))


def test_the_first_pattern_that_fits_counts_and_without_patterns_nothing_is_asked() -> None:
    patterns = [Pattern("{camera}_x.jpg"), Pattern("{camera}_*.jpg")]
    assert read_name(PurePosixPath("a_x.jpg"), patterns) == Named("a")
    assert read_name(PurePosixPath("a_y.jpg"), patterns) == Named("a")
    assert read_name(PurePosixPath("a.png"), patterns) is None
    assert read_name(PurePosixPath("a.png"), []) == Named()


words = st.text("abcXYZ019 .-()", min_size=1, max_size=8)


@settings(deadline=None, max_examples=200)
@given(words, words, st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)))
def test_what_a_pattern_would_write_it_reads(camera: str, track: str, moment: datetime) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    path = PurePosixPath("/any") / camera.strip(".") / f"{moment:%Y-%m-%d %H.%M.%S}_{track}.jpg"
    found = Pattern("{camera}/{time:%Y-%m-%d %H.%M.%S}_{track}.jpg").read(path)
    if camera.strip("."):
        assert found == Named(camera.strip("."), moment.timestamp(), track)
