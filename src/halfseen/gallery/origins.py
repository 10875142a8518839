"""Sources as a person names them: from where that person is, and by folders that are none by themselves."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import PurePath

from halfseen.data.files import shown
from halfseen.data.sets.folders import shortened


def source_among(name: str, known: Collection[str]) -> str:
    """The source `name` as a gallery that has those `known` calls it: it may be named from where one is."""
    return next((each for each in (name, os.path.abspath(name)) if each in known), name)  # noqa: PTH100


def why_no_source(name: str, known: Collection[str], *, narrow: str) -> str:
    """Why `name` is none of the `known` sources, and what to give; `narrow`: what to do where that is too much."""
    place = PurePath(os.path.abspath(name))  # noqa: PTH100
    if whole := max({*map(str, place.parents)} & {*known}, key=len, default=""):
        return f"it lies in {shown(whole)}, which was indexed as one source; give that, {narrow}"
    if any(place in PurePath(each).parents for each in known):
        return "the films in it are sources of their own; name one of these"
    return f"nothing in this gallery is from there; it has {shortened(map(shown, known)) or 'no source'}"
