"""Files in general: names that print on one line, writing wholly or not at all, and why that failed."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

from halfseen.types import InputError

if sys.platform != "win32":  # which has none
    import fcntl

PART = ".part"  # the ending of what is being written
FULL = (errno.ENOSPC, errno.EDQUOT)  # the disk, or the share of it that one may use


def shown(path: str | os.PathLike[str]) -> str:
    """`path` on one printable line, whatever bytes its name is made of."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def check_name(path: str | os.PathLike[str]) -> None:
    """Refuse names that are not UTF-8: safetensors reads none of these, whatever the file holds."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{shown(path)} cannot be read, because safetensors reads no file whose name, or whose folder's, is not "
            f"UTF-8; rename it, or begin the command in that folder"
        ) from error


@contextlib.contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A place beside `path` to write to. In the end it becomes `path`; if anything fails, `path` stays as it was."""
    target = Path(path)
    beside = target.with_name(f".{secrets.token_hex(4)}{PART}")
    try:
        yield beside
        beside.replace(target)
    except OSError as error:
        do = "make room there" if error.errno in FULL else "choose a folder that exists and is yours"
        raise InputError(f"{shown(path)} cannot be written ({error.strerror or error}); {do}") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def taken(file: int) -> bool:
    """Lock the open `file` until it is closed, by the end of the process at the latest; False if another has it."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else who comes this way writes into `folder` in here."""
    if sys.platform == "win32":  # nor can a folder be opened
        yield
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system that knows no locks
            if not taken(file):
                raise InputError(f"another process is writing into {shown(folder)}; wait until it is done, or end it")
        yield
    finally:
        os.close(file)


def check_folder(path: Path) -> None:
    """Refuse a file that is to be written where no folder is: before the work, not after it."""
    if not path.parent.is_dir():
        raise InputError(f"{shown(path)} cannot be written: its folder does not exist; make it, or choose another")
    if path.is_dir():
        raise InputError(f"{shown(path)} cannot be written: it is a folder; name a file in it")


def refused(error: Exception) -> OSError:
    """What the system said, where a library that wrote a file says it in words of its own."""
    text = str(error).partition("\n")[0]
    if number := re.search(r"\(os error (\d+)\)", text):  # safetensors
        return OSError(int(number[1]), os.strerror(int(number[1])))
    if "unexpected pos" in text or "iostream error" in text:  # torch: not all was written
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return OSError(text)
