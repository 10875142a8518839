"""Which packages a service needs that plain halfseen does without."""

from __future__ import annotations

from importlib.util import find_spec

NEEDED = ("lance", "fastapi", "uvicorn", "python_multipart")  # of the extras search and serve


def all_there() -> bool:
    return all(find_spec(name) is not None for name in NEEDED)
