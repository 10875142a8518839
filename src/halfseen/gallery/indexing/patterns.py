"""Camera, time and passage out of the names of files: `{camera}/{time:%Y%m%d_%H%M%S}_*.jpg`.

A pattern is compared with the end of a path, as many folders deep as it has slashes. `*` is anything within one name
and `?` one character; `{camera}` and `{track}` are words; `{time:...}` is written as `strptime` has it, in digits, and
may come in pieces (`{time:%Y-%m-%d}/{time:%H.%M.%S}.jpg`), which may say the same again; a bare `{time}` is a number of
seconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import PurePath
from typing import NamedTuple

from halfseen.data.files import shown
from halfseen.gallery.indexing.times import since_1970
from halfseen.types import InputError

TOKEN = re.compile(r"\{(\w*)(?::([^{}]*))?\}|[*?{}]")
CODE = re.compile("%(.?)")
WILD = {"*": "[^/]*", "?": "[^/]"}
SECONDS = r"[0-9]+(?:\.[0-9]+)?"
DIGITS = dict.fromkeys("ymdHMS", "[0-9]{2}") | {
    "Y": "[0-9]{4}",
    "j": "[0-9]{3}",
    "f": "[0-9]{1,6}",
    "z": "(?:Z|[+-][0-9]{2}:?[0-9]{2})",
    "%": "%",  # itself
}


class Named(NamedTuple):
    """What a name, or a row of a table, tells of a picture; `time` is that of a film's beginning."""

    camera: str = ""
    time: float | None = None
    track: str = ""


class Pattern:
    """One way to read names; see this module's first lines."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._codes: list[str] = []  # of all pieces of time, as strptime names them; "" is a number of seconds
        ends = [0, *(end for token in TOKEN.finditer(text) for end in token.span()), len(text)]
        between = [re.escape(text[ends[i] : ends[i + 1]]) for i in range(0, len(ends), 2)]
        tokens = [self._expression(token) for token in TOKEN.finditer(text)]
        try:
            self._fits = re.compile("".join(map("".join, zip(between, [*tokens, ""], strict=True))))
        except re.error as error:  # a word that comes twice
            raise InputError(f"the pattern {text!r} has the camera or the track twice; only times may") from error
        if not text or ("" in self._codes and len(self._codes) > 1):
            raise InputError(
                f"the pattern {text!r} is empty or mixes seconds with dates; write it as in docs/search.md"
            )

    def read(self, path: PurePath) -> Named | None:
        """What `path` tells, or None if it does not fit."""
        found = self._fits.fullmatch("/".join(path.parts[-1 - self.text.count("/") :]))
        if found is None:
            return None
        said = found.groupdict()
        return Named(said.get("camera", ""), self._time(path, found), said.get("track", ""))

    def _expression(self, token: re.Match[str]) -> str:
        name, form = token[1], token[2]
        if name == "time":
            return CODE.sub(self._digits, re.escape(form)) if form else self._code("", SECONDS)
        if name in ("camera", "track") and form is None:
            return f"(?P<{name}>[^/]+?)"
        if token[0] in WILD:
            return WILD[token[0]]
        raise InputError(
            f"the pattern {self.text!r} has {token[0]!r}; allowed are {{camera}}, {{track}}, {{time}}, "
            f"{{time:%Y%m%d}} with any codes of strptime that are digits, * and ?"
        )

    def _digits(self, code: re.Match[str]) -> str:
        if code[1] not in DIGITS:
            raise InputError(f"the pattern {self.text!r} has {code[0]!r}; allowed are %{', %'.join(DIGITS)}")
        return code[1] if code[1] == "%" else self._code(code[1], DIGITS[code[1]])

    def _code(self, name: str, digits: str) -> str:
        self._codes.append(name)
        return f"(?P<code{len(self._codes)}>{digits})"

    def _time(self, path: PurePath, found: re.Match[str]) -> float | None:
        told = [(code, _plain(code, found[f"code{number}"])) for number, code in enumerate(self._codes, 1)]
        said = dict(told)
        if not said or "" in said:
            return float(said[""]) if said else None
        if not {"y", "Y"} & {*said}:
            said["Y"] = "1970"
        try:
            moment = datetime.strptime(" ".join(said.values()), " ".join(f"%{code}" for code in said))
            for code, text in told:
                if (other := _plain(code, moment.strftime(f"%{code}"))) != text:
                    raise ValueError(f"%{code} is {text}, and {other}")
            return since_1970(moment)
        except (ValueError, OverflowError) as error:
            raise InputError(f"{shown(path)} names no possible time ({error}); rename it, or take it away") from error


def _plain(code: str, digits: str) -> str:
    """In the one way in which the same is always written."""
    if code == "f":
        return digits.ljust(6, "0")
    if code == "z":
        return digits.replace(":", "").replace("Z", "+0000").replace("-0000", "+0000")
    return digits.zfill(4) if code == "Y" else digits


def read_name(path: PurePath, patterns: Sequence[Pattern]) -> Named | None:
    """What the first of `patterns` that fits says of `path`; nothing is asked of names where there are none."""
    if not patterns:
        return Named()
    return next((named for pattern in patterns if (named := pattern.read(path)) is not None), None)
