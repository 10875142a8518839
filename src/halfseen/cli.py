"""The command line: each verb parses its words, calls one function and prints the answer.

Exit codes: 0 done; 1 `data check`, `cues check` or `gallery verify` found faults; 2 something could not be done, and
one sentence said why.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO, TypeAlias

import tyro
from tyro.conf import FlagCreatePairsOff

from halfseen import __version__, printing
from halfseen.cue_verbs import CheckCues, MakeCues
from halfseen.data_verbs import CheckSet, ExportSet, ListSets
from halfseen.gallery_verbs import (
    Calibrate,
    Compact,
    ExportGallery,
    Forget,
    GalleryInfo,
    ImportGallery,
    Prepare,
    Verify,
)
from halfseen.index_verbs import Index
from halfseen.report_verbs import Report
from halfseen.score_verbs import Encode, Evaluate
from halfseen.search_verbs import Search
from halfseen.serve_verbs import Serve
from halfseen.types import InputError
from halfseen.world_verbs import DrawSheet, RenderWorld


@dataclass(frozen=True)
class Demo:
    """Train two small networks on the street that comes with halfseen, search it for hidden people, compare."""

    out: Path = Path("halfseen-demo")
    """The folder for the report and all that it is made of."""

    def run(self) -> int:
        from halfseen.demo import run_demo  # noqa: PLC0415  (timm takes two seconds)

        run_demo(self.out)
        return 0


class Verb(Protocol):
    """What has been asked for."""

    def run(self) -> int: ...


@dataclass(frozen=True)
class Data:
    """List, check and export data sets: `halfseen data --help`."""

    def run(self) -> int:
        return main(["data", "--help"])


@dataclass(frozen=True)
class Cues:
    """Make and check keypoints: `halfseen cues --help`."""

    def run(self) -> int:
        return main(["cues", "--help"])


@dataclass(frozen=True)
class World:
    """Render people who do not exist: `halfseen world --help`."""

    def run(self) -> int:
        return main(["world", "--help"])


@dataclass(frozen=True)
class Gallery:
    """Look after a gallery: `halfseen gallery --help`."""

    def run(self) -> int:
        return main(["gallery", "--help"])


@dataclass(frozen=True)
class Train:
    """Train a method: `halfseen train --help`."""

    def run(self) -> int:
        return main(["train", "--help"])


Verbs: TypeAlias = dict[str, Callable[..., Any]]

VERBS: Verbs = {
    "train": Train,
    "encode": Encode,
    "evaluate": Evaluate,
    "report": Report,
    "index": Index,
    "search": Search,
    "serve": Serve,
    "gallery": Gallery,
    "data": Data,
    "cues": Cues,
    "world": World,
    "demo": Demo,
}
GROUPS: dict[str, Verbs] = {
    "data": {"list": ListSets, "check": CheckSet, "export": ExportSet},
    "cues": {"make": MakeCues, "check": CheckCues},
    "world": {"render": RenderWorld, "sheet": DrawSheet},
    "gallery": {
        "info": GalleryInfo,
        "forget": Forget,
        "verify": Verify,
        "compact": Compact,
        "prepare": Prepare,
        "export": ExportGallery,
        "import": ImportGallery,
        "calibrate": Calibrate,
    },
}


def main(words: Sequence[str] | None = None) -> int:
    """Run the verb that `words` (default: the command line) name; returns the exit code."""
    words = list(sys.argv[1:] if words is None else words)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by `>&-`; not everybody who prints expects that
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  (until the end)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names may hold what the terminal cannot show
    try:
        if words == ["--version"]:
            printing.print_line(f"halfseen {__version__}")
            return 0
        return _parse(words).run()
    except InputError as error:
        return _fail(str(error))
    except KeyboardInterrupt as stop:
        return _fail(
            str(stop) or "stopped by Ctrl-C; nothing half-written is left, and the same command goes on where it can"
        )
    except (MemoryError, RuntimeError) as error:
        if not (cause := _cause(error)):
            raise
        return _fail(cause)
    except OSError as error:
        _drop_output()
        left = isinstance(error, BrokenPipeError)  # the reader of our output, e.g. `| head`
        return 2 if left else _fail(f"the system refused to go on ({error}); make room, or check the paths")


def _cause(error: Exception) -> str:
    """Of an error that is not one of halfseen's, what to do about it, where that is known."""
    if isinstance(error, MemoryError) or "tried to allocate" in str(error).lower():  # torch's MemoryError
        return "this machine has too little memory for that; use fewer images at a time"
    from halfseen.data.loading import lost  # noqa: PLC0415  (torch takes two seconds)
    from halfseen.processes import LostError  # noqa: PLC0415  (the same)

    # where processes that make batches are this one's own, torch tells of one that is killed whatever is at work
    return str(LostError()) if lost(error) else ""


def _parse(words: list[str]) -> Verb:
    if words[:1] == ["train"]:
        from halfseen.train_verbs import parse  # noqa: PLC0415  (timm takes two seconds)

        return parse(words[1:])
    group = words[0] if words and words[0] in GROUPS else ""
    verbs, rest = (GROUPS[group], words[1:]) if group else (VERBS, words)
    verb: Verb = tyro.extras.subcommand_cli_from_dict(
        verbs,
        prog=f"halfseen {group}".rstrip(),
        description="Find people again when you only half see them. --version prints the version.",
        args=rest or ["--help"],
        config=(FlagCreatePairsOff,),
    )
    return verb


def _drop_output(stream: TextIO | None = None) -> None:
    """Forget what cannot be printed; Python would try it again at the end, and complain."""
    stream = stream or sys.stdout
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _fail(sentence: str) -> int:
    try:
        printing.print_note(f"halfseen: {' '.join(sentence.split())}")
    except OSError:  # nobody reads it, or its disk is full; the exit code still says it
        _drop_output(sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
