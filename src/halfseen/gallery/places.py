"""Where a gallery lies: in a folder of this machine, or at an object store's address, such as `s3://bucket/street`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, TypeAlias

from tyro.conf import arg

from halfseen.data.files import shown
from halfseen.types import InputError

Place: TypeAlias = Annotated[str, arg(metavar="PLACE")]  # what a command is told: a path would lose a slash of //


def local(place: str) -> bool:
    """Whether `place` is a folder of this machine rather than an object store's address."""
    if not place:
        raise InputError("the place of the gallery is empty; name a folder, or an object store's address")
    if re.match("[a-z][a-z0-9]+:/[^/]", place):
        raise InputError(
            f"{shown(place)} is an object store's address that has lost a slash, as a path does; give a folder, or the "
            f"address with both slashes (in Python as a str)"
        )
    return "://" not in place


def joined(place: str, name: str) -> str:
    """Where `name` is in `place`: from the root, as Lance takes what has a colon or a ~ in it for an address."""
    return str(Path(os.path.abspath(place), name)) if local(place) else f"{place.rstrip('/')}/{name}"  # noqa: PTH100
