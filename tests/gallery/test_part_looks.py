"""What people see of parts: the same name and colour wherever answers are shown."""

from __future__ import annotations

import re
from pathlib import Path

from halfseen.draw import PARTS, WHOLE
from halfseen.gallery.parts import colours_of, label_of, looks_of

PAGE = Path(__file__).parents[2] / "src" / "halfseen" / "service" / "page" / "page.js"


def test_what_is_all_of_somebody_is_grey_and_called_so() -> None:
    parts = ("foreground", "head", "torso")
    assert [label_of(part) for part in parts] == ["whole person", "head", "torso"]
    assert colours_of(parts) == [WHOLE, PARTS[1], PARTS[2]]
    assert [(look.label, look.whole) for look in looks_of(parts)] == [
        ("whole person", True),
        ("head", False),
        ("torso", False),
    ]


def test_more_parts_than_colours_begin_anew() -> None:
    names = [f"part {number}" for number in range(len(PARTS) + 2)]
    assert colours_of(names)[-2:] == list(PARTS[:2])


def test_the_page_has_no_colours_of_parts_of_its_own() -> None:
    assert not re.search(r"#[0-9a-f]{6}", PAGE.read_text("utf-8"))
