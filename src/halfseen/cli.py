"""The command line: each verb parses its words, calls one function and prints the answer.

Exit codes: 0 done; 1 `data check` found faults; 2 something could not be done, and one sentence said why.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import tyro
from tyro.conf import FlagCreatePairsOff, UseAppendAction

from halfseen import __version__, printing
from halfseen.data.embeddings import load_encoded
from halfseen.data_verbs import CheckSet, ExportSet, ListSets
from halfseen.demo import run_demo
from halfseen.evaluate import DISTANCES, evaluate, reranked, usual_distance
from halfseen.ops.distance import CoarseToFine
from halfseen.ops.metrics import PROTOCOLS
from halfseen.types import InputError
from halfseen.world_verbs import DrawSheet, RenderWorld

ProtocolName: TypeAlias = Literal["market", "all", "occ", "npo", "ntp"]
DistanceName: TypeAlias = Literal[
    "auto", "cosine", "euclid", "unit-euclid", "parts", "parts-sqrt", "parts-cosine", "coarse-to-fine"
]


@dataclass(frozen=True)
class Evaluate:
    """Score embeddings from any toolbox under one protocol or many."""

    query: Path
    """Embeddings of the queries: .safetensors or .npz with vectors [N,D] or [N,P,D], pid [N], and optionally
    visibility [N,P], camid [N], occlusion [N]."""
    gallery: Path
    """Embeddings of the gallery, likewise."""
    distance: DistanceName = "auto"
    """How two embeddings compare; auto: cosine, or parts (visible ones) where there are several."""
    protocol: UseAppendAction[tuple[ProtocolName, ...]] = ()
    """May be repeated; left out: all that the files' cameras and occlusion labels allow."""
    rerank: bool = False
    """k-reciprocal re-ranking on top of the distance."""
    k1: int = 20
    """Re-ranking: neighbours asked for reciprocity."""
    k2: int = 6
    """Re-ranking: neighbours averaged."""
    weight: float = 0.3
    """Re-ranking: weight of the original distance."""
    nearest: int = 100
    """coarse-to-fine: how many candidates the fine parts re-order."""
    coarse: int = 1
    """coarse-to-fine: how many of the leading parts are coarse."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 is faster and changes distances by less than 0.012 (cosine)."""
    json: bool = False
    """Print {"scores": {protocol: ...}} as fractions instead of a table in per cent."""

    def run(self) -> int:
        self._check_options()
        query, gallery = load_encoded(self.query, camid=0), load_encoded(self.gallery, camid=1)
        distance = usual_distance(query.embedding) if self.distance == "auto" else DISTANCES[self.distance]
        distance = replace(distance, precision=self.precision)
        if isinstance(distance, CoarseToFine):
            distance = replace(distance, n=self.nearest, coarse=self.coarse)
        again = reranked(distance, k1=self.k1, k2=self.k2, weight=self.weight) if self.rerank else None
        protocols = [PROTOCOLS[name] for name in dict.fromkeys(self.protocol)]
        if not query.has_cameras:
            printing.print_note("no cameras are named: query and gallery count as two, nothing is left out")
        with printing.progress_bar("scoring") as progress:
            scores = evaluate(query, gallery, distance=again or distance, protocols=protocols, progress=progress)
        if self.json:
            printing.print_line(json.dumps({"scores": printing.plain_scores(scores)}))
        else:
            printing.print_scores(f"{len(query.facts):,} queries, {len(gallery.facts):,} gallery images", scores)
        return 0

    def _check_options(self) -> None:
        if not self.rerank and (self.k1, self.k2, self.weight) != (20, 6, 0.3):
            raise InputError("--k1, --k2 and --weight belong to re-ranking; add --rerank, or leave them out")
        if self.distance != "coarse-to-fine" and (self.nearest, self.coarse) != (100, 1):
            raise InputError("--nearest and --coarse belong to coarse-to-fine; add --distance coarse-to-fine")


@dataclass(frozen=True)
class Demo:
    """Find the partly hidden people of the street that comes with halfseen, and score several ways to do it."""

    out: Path | None = None
    """Also write the embeddings and a picture of some answers into this folder."""

    def run(self) -> int:
        run_demo(self.out)
        return 0


Verb: TypeAlias = Evaluate | Demo | ListSets | CheckSet | ExportSet | RenderWorld | DrawSheet


@dataclass(frozen=True)
class Data:
    """List, check and export data sets: `halfseen data --help`."""

    def run(self) -> int:
        return main(["data", "--help"])


@dataclass(frozen=True)
class World:
    """Render people who do not exist: `halfseen world --help`."""

    def run(self) -> int:
        return main(["world", "--help"])


Verbs: TypeAlias = dict[str, Callable[..., Any]]

VERBS: Verbs = {"evaluate": Evaluate, "data": Data, "world": World, "demo": Demo}
GROUPS: dict[str, Verbs] = {
    "data": {"list": ListSets, "check": CheckSet, "export": ExportSet},
    "world": {"render": RenderWorld, "sheet": DrawSheet},
}


def main(words: Sequence[str] | None = None) -> int:
    """Run the verb that `words` (default: the command line) name; returns the exit code."""
    words = list(sys.argv[1:] if words is None else words)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names may hold what the terminal cannot show
    if words == ["--version"]:
        printing.print_line(f"halfseen {__version__}")
        return 0
    group = words[0] if words and words[0] in GROUPS else ""
    verbs, rest = (GROUPS[group], words[1:]) if group else (VERBS, words)
    try:
        verb: Verb = tyro.extras.subcommand_cli_from_dict(
            verbs,
            prog=f"halfseen {group}".rstrip(),
            description="Find people again when you only half see them. --version prints the version.",
            args=rest or ["--help"],
            config=(FlagCreatePairsOff,),
        )
        return verb.run()
    except InputError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("stopped by Ctrl-C; nothing half-written is left, and the same command starts again")
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "tried to allocate" not in str(error).lower():  # torch's MemoryError
            raise
        return _fail("this machine has too little memory for that; use fewer images at a time")
    except OSError as error:
        _drop_output()
        left = isinstance(error, BrokenPipeError)  # the reader of our output, e.g. `| head`
        return 2 if left else _fail(f"the system refused to go on ({error}); make room, or check the paths")


def _drop_output() -> None:
    """Forget what cannot be printed; Python would try it again at the end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(sentence: str) -> int:
    printing.print_note(f"halfseen: {' '.join(sentence.split())}")
    return 2


if __name__ == "__main__":
    sys.exit(main())
