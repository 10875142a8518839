"""What the service allows, and to whom."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from halfseen.types import InputError

SMALLEST = 20  # characters of a token


@dataclass(frozen=True)
class Settings:
    """How a gallery is served.

    `log` is the file that says who searched for what when. `tokens` are the names of those who may search, by the
    SHA-256 of their tokens; without any, whoever sits at this machine may. Pictures in one of the `folders` are shown
    as they lie there, all others as the gallery's own thumbnails. What is uploaded is kept in `keep` if its sender asks
    for it, and never without `keep`. A request may have `upload` bytes, which must arrive within `patience` seconds,
    with `pictures` pictures of `pixels` pixels; a client may ask for `rate` pieces of work a minute (0: any number).
    """

    log: Path
    host: str = "127.0.0.1"
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    folders: tuple[Path, ...] = ()
    keep: Path | None = None
    upload: int = 16 * 2**20
    pixels: int = 40_000_000
    pictures: int = 8
    rate: int = 240
    patience: float = 30.0

    def __post_init__(self) -> None:
        if not is_loopback(self.host) and not self.tokens:
            raise InputError(
                f"{self.host} can be reached from other machines, and then everyone who searches needs a token; make a "
                f"file with a line `name token` for each (at least {SMALLEST} characters, e.g. from "
                f"`openssl rand -hex 20`), give it with --tokens, or leave --host out"
            )
        low = [name for name in ("upload", "pixels", "pictures", "patience") if getattr(self, name) <= 0]
        if low or self.rate < 0:
            raise InputError(f"{low[0] if low else 'rate'} is too small to serve anybody; give a greater number")


def is_loopback(host: str) -> bool:
    """Whether only this machine itself can come to `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
