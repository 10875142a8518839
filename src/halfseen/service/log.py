"""Who searched for whom when: lines that are only ever added, each with the digest of the one before.

A line that was changed or taken out afterwards breaks the chain, and `check_log` says where. What was cut off at the
end cannot be told from the file alone: who must know keeps the last digest elsewhere, or the file where it only grows
(`chattr +a`).
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from halfseen.data.files import shown
from halfseen.types import InputError

LONGEST = 2**20  # bytes of a line
BEGIN = "0" * 64  # what stands for the line before the first


class LogError(OSError):
    """A line could not be added to the log."""


class Log:
    """The file at `path`, made for its owner's eyes if it is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._one = Lock()
        self._ours = -1, ""  # where our last line ends, and its digest
        try:
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InputError(
                f"the log {shown(path)} cannot be written ({error.strerror}); nobody searches without one, so give a "
                f"file in a folder of yours with --log"
            ) from error

    def write(self, event: str, who: str, **facts: object) -> None:
        """Add a line; in the file when this returns."""
        with self._one:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX)  # of two services that share the file
                self._add({"event": event, "who": who, **facts})
            except OSError as error:
                raise LogError(error.errno, error.strerror) from error
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def _add(self, facts: dict[str, object]) -> None:
        about = os.fstat(self._file)
        if not about.st_nlink:
            raise OSError(errno.ENOENT, "the file was removed, and nobody would read this")
        size = about.st_size
        before, torn = (self._ours[1], False) if size == self._ours[0] else self._last(size)
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, **facts, "before": before}).encode() + b"\n"
        if os.write(self._file, b"\n" * torn + line) < len(line) + torn:
            raise OSError(errno.ENOSPC, "a line did not fit")
        self._ours = size + torn + len(line), digest_of(line[:-1])

    def _last(self, size: int) -> tuple[str, bool]:
        """The digest of the last line, and whether that was cut short, by a power cut or a full disk."""
        tail = os.pread(self._file, LONGEST, max(0, size - LONGEST))
        torn = bool(tail) and not tail.endswith(b"\n")
        line = tail.removesuffix(b"\n").rpartition(b"\n")[2]
        return (digest_of(line) if tail else BEGIN), torn

    def close(self) -> None:
        os.close(self._file)


def digest_of(line: bytes) -> str:
    """Of a line without its end."""
    return hashlib.sha256(line).hexdigest()


def check_log(path: Path) -> list[str]:
    """What is wrong with the chain of the log at `path`, a sentence for each break."""
    faults, before = [], BEGIN
    try:
        with path.open("rb") as lines:
            for row, raw in enumerate(lines, 1):
                line = raw.removesuffix(b"\n")
                try:
                    told = json.loads(line)["before"]
                except (ValueError, KeyError, TypeError):
                    faults.append(f"{shown(path)}, line {row}, was cut short or is none of ours")
                else:
                    if told != before:
                        faults.append(f"{shown(path)}: before line {row} something was changed or taken out")
                before = digest_of(line)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"the log {shown(path)} cannot be read ({error.strerror}); give another with --log") from error
    return faults
