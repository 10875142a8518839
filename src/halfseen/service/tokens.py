"""Who may search: names and their tokens, and the sessions of browsers that have shown one."""

from __future__ import annotations

import hashlib
import secrets
import stat
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

from halfseen.data.files import shown
from halfseen.service.settings import SMALLEST
from halfseen.types import InputError

HOURS = 12  # that a session lasts
MOST = 1000  # sessions; the oldest goes first


def digest_of(token: str) -> str:
    """What is known of a token here: its SHA-256."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def read_tokens(path: Path) -> dict[str, str]:
    """The names of those who may search, by the digest of their tokens: the lines `name token` of a private file."""
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise InputError(f"{shown(path)} may be read by others than you; run `chmod 600` on it, or make new tokens")
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{shown(path)} cannot be read ({error}); give a file with lines `name token`") from error
    known: dict[str, str] = {}
    for row, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or len(words[1]) < SMALLEST or not words[0].isprintable() or words[0] in known.values():
            raise InputError(
                f"{shown(path)}, line {row}, is no `name token` with a name of its own and a token of at least "
                f"{SMALLEST} characters; mend it"
            )
        other = known.setdefault(digest_of(words[1]), words[0])
        if other != words[0]:
            raise InputError(
                f"{shown(path)}, line {row}, gives {words[0]} the token of {other}, and the log could not tell who of "
                f"them searched; make another for one of them, e.g. with `openssl rand -hex 20`"
            )
    if not known:
        raise InputError(f"{shown(path)} names nobody; write a line `name token` for each who may search")
    return known


class Sessions:
    """Of the browsers that have shown a token; they end after HOURS, and with the service."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self.tokens = tokens
        self.cookie = f"halfseen-{secrets.token_hex(4)}"  # not another service's at this host: cookies know no ports
        self._open: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def name_of_token(self, token: str) -> str | None:
        """Whose `token` it is, with or without blanks around it.

        Only digests are compared, so the time that it takes tells nothing of a token.
        """
        return self.tokens.get(digest_of(token.strip()))

    def open(self, name: str) -> str:
        """A new session of `name`: what its cookie holds."""
        key = secrets.token_urlsafe(32)
        self._open[digest_of(key)] = (name, time.monotonic() + HOURS * 3600)
        while len(self._open) > MOST:
            self._open.popitem(last=False)
        return key

    def name_of(self, key: str) -> str | None:
        """Whose session it is, if it is one."""
        name, end = self._open.get(digest_of(key), (None, 0.0))
        return name if time.monotonic() < end else None

    def close(self, key: str) -> None:
        self._open.pop(digest_of(key), None)
