"""What Lance, a disk and an object store say when something goes wrong, in a sentence of ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

from halfseen.data.files import shown
from halfseen.gallery.places import local
from halfseen.types import InputError

Read = TypeVar("Read")
Remedies: TypeAlias = Mapping[tuple[str, ...], str]  # what to do, by words that tell the cause; the first that fit

LONG = 160  # of what Lance says
TRIES = 5  # to read what others compact at the same time
FULL = ("no space left", "file too large", "quota exceeded")
GONE = ("not found", "no such file")
TO_DO: Remedies = {
    FULL: "nothing of it was kept; make room on that disk and do it again",
    ("permission denied", "not permitted", "read-only"): "nothing of it is damaged; make it yours, or be its owner",
    ("too many open files",): "nothing of it is damaged; allow this process more open files (`ulimit -n`)",
    GONE: "files of it are gone, by a compaction or by hand; open it again, or restore it from an export",
    ("",): "its files are damaged, or of another version; restore it from an export",
}
AT_A_STORE: Remedies = {  # of object stores, before those, whose last is another
    ("nosuchbucket", "bucket does not exist"): "make that bucket, or correct the address",
    ("credential",): "give the store's, for S3 by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ("forbidden", "accessdenied", "access denied", "unauthorized", "invalidaccesskeyid", "signaturedoesnotmatch"): (
        "give the credentials of somebody who may read and write there"
    ),
    (
        "resolve region",
        "configured region",
        "the region '",
    ): "name the bucket's by AWS_REGION, and by AWS_ENDPOINT_URL a store that is not Amazon's",
    ("builder error",): "set AWS_ALLOW_HTTP=true if the store has no HTTPS",
    (
        "sending request",
        "timed out",
        "connection",
        "dns error",
        "slowdown",
        "500 internal",
        "503 service",
    ): "see that the store can be reached, and do it again",
    ("invalid user input", "unable to find object store"): "correct the address; it is one such as s3://bucket/street",
    **TO_DO,
    ("",): "the store refuses it, or its files are damaged; ask whoever keeps the store, or restore it from an export",
}


class VanishedError(InputError):
    """Files are gone, as they are for readers of what was compacted long ago: opening again may help."""


@contextmanager
def guarded(place: str, doing: str) -> Iterator[None]:
    """What is said of the gallery at `place` when files are missing, damaged, out of reach or cannot be written."""
    try:
        yield
    except InputError:
        raise
    except BaseException as error:
        if not isinstance(error, OSError | ValueError | RuntimeError) and type(error).__name__ != "PanicException":
            raise
        said, remedies = str(error).lower(), TO_DO if local(place) else AT_A_STORE
        cause, do = next((cause, do) for cause, do in remedies.items() if any(words in said for words in cause))
        kind = VanishedError if cause == GONE else InputError
        raise kind(f"{doing} the gallery {shown(place)} failed ({_brief(error)}): {do}") from error


def retried(reading: Callable[[], Read], again: Callable[[], object] = lambda: None) -> Read:
    """What `reading` returns, after `again` once more if a compaction took its files away meanwhile."""
    for _ in range(TRIES):
        try:
            return reading()
        except VanishedError:
            again()
    return reading()


def _brief(error: BaseException) -> str:
    """The first line of what Lance says, without the places in its own code and what it asked a store for."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0].split(", /")[0]
    lead = r"^(External error: )?(LanceError\(\w+\): )?(Generic LocalFileSystem error: )?"
    told = re.sub(r"(https?://[^\s?]*)\?\S*", r"\1", re.sub(lead, "", first))
    return told if len(told) <= LONG else f"{told[: LONG // 2]} … {told[-LONG // 2 :]}"
