"""What the fixtures of `conftest.py` are, for tests that say what they take."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

Refused = Callable[..., str]
Run = Callable[..., tuple[int, str, str]]
SmallDisk = Callable[[int], AbstractContextManager[None]]
