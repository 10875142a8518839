"""The scores of trainings as a table: the mean over their seeds, and the lowest and the highest.

    python runs/table.py FOLDER [--scores scores-all-seen.json] [--columns SET/PROTOCOL ...]

FOLDER holds folders NAME-SEED, each with what `halfseen evaluate --json` printed: the scripts here make them.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from halfseen.printing import print_line

COLUMNS = (
    *("world/market", "world/occ", "world:partial/market", "world:holistic/market"),
    *(f"world:re-occluded/{protocol}" for protocol in ("occ", "npo", "ntp")),
)


def gathered(folder: Path, file: str) -> dict[str, list[Mapping[str, Any]]]:
    """By the name of a training: for each of its seeds the scores, {set: {protocol: {mAP, cmc, ...}}}."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for path in sorted(folder.glob(f"*-*/{file}")):
        if match := re.fullmatch(r"(.+)-\d+", path.parent.name):
            found.setdefault(match[1], []).append(json.loads(path.read_text())["sets"])
    return found


def cell(values: Sequence[float]) -> str:
    """The mean in per cent, and between which values."""
    mean, low, high = (f"{100 * value:.1f}" for value in (fmean(values), min(values), max(values)))
    return f"{mean} ({low}–{high})" if len(values) > 1 else mean


def rows(found: Mapping[str, Sequence[Mapping[str, Any]]], columns: Sequence[str]) -> Iterator[list[str]]:
    """The lines of the table, the heading first."""
    yield ["training", "seeds", *(f"{column} {score}" for column in columns for score in ("mAP", "R1"))]
    for name, runs in found.items():
        cells = []
        for column in columns:
            some = [run[data][protocol] for run in runs for data, protocol in [column.split("/")]]
            cells += [cell([scores["mAP"] for scores in some]), cell([scores["rank"]["1"] for scores in some])]
        yield [name, str(len(runs)), *cells]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scores", default="scores.json", metavar="FILE")
    parser.add_argument("--columns", nargs="+", default=COLUMNS, metavar="SET/PROTOCOL")
    asked = parser.parse_args()
    for number, line in enumerate(rows(gathered(asked.folder, asked.scores), asked.columns)):
        print_line("| " + " | ".join(line) + " |")
        if not number:
            print_line("|" + "---|" * len(line))
