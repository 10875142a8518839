"""A gallery that may not be there yet: opened, or made."""

from __future__ import annotations

import os
from pathlib import Path

from halfseen.data.files import shown
from halfseen.gallery.places import joined, local
from halfseen.gallery.sightings import ModelFacts
from halfseen.gallery.store import DONE, IMAGES, Gallery
from halfseen.gallery.tables import exists
from halfseen.gallery.troubles import guarded
from halfseen.types import InputError

BEGUN = {IMAGES, DONE, "writing.lock"}  # what a making that was broken off may have left


def is_there(place: str) -> bool:
    """Whether a gallery is at `place`; where something else is, none can be made, which is refused."""
    with guarded(place, "opening"):
        there = exists(joined(place, IMAGES))
        if not there and local(place):
            _check_new(Path(place))
    return there


def open_or_make(place: str | os.PathLike[str], model: ModelFacts) -> Gallery:
    """The gallery at `place`, which must be one of `model`; a new one if there is nothing yet."""
    if is_there(os.fspath(place)):
        return Gallery.open(place, model)
    return Gallery.create(place, model, anew=False)


def _check_new(folder: Path) -> None:
    if folder.exists() and not (folder.is_dir() and {path.name for path in folder.iterdir()} <= BEGUN):
        raise InputError(f"{shown(folder)} holds other things, and no gallery; name a folder that is new or empty")
