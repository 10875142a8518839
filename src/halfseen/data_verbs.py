"""The verbs of `halfseen data`: list, check, export."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from halfseen import printing
from halfseen.data.check import check
from halfseen.data.export import export
from halfseen.data.finding import is_holistic, read_named
from halfseen.data.sets import SETS, doubt, set_names
from halfseen.data.variants import occluded, partial
from halfseen.types import SPLITS, InputError


@dataclass(frozen=True)
class ListSets:
    """List the data sets halfseen reads, with their published counts."""

    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> int:
        names = {name: SETS[name.partition(":")[0]] for name in set_names()}
        counts = {n: dict(d.expected[n.partition(":")[2] or d.variants[0]]) for n, d in names.items()}
        if self.json:
            sets = {n: {"title": d.title, "cameras": d.cameras, "expected": counts[n]} for n, d in names.items()}
            printing.print_line(json.dumps({"sets": sets}))
            return 0
        cells = [
            [name, str(d.cameras or "–"), *(_people_and_images(counts[name].get(split)) for split in SPLITS)]
            for name, d in names.items()
        ]
        printing.print_table("people / images", ("name", "cameras", *SPLITS), cells)
        for name, dataset in SETS.items():
            if dataset.note:
                printing.print_line(f"{name}: {dataset.note}")
        return 0


@dataclass(frozen=True)
class CheckSet:
    """Read every picture of a data set and report all that is wrong with it."""

    name: Positional[str]
    """One of `halfseen data list`, e.g. market1501 or partial-reid:occluded."""
    root: Path | None = None
    """The folder that holds the set, or one above it; left out: the environment variable HALFSEEN_DATA."""
    workers: int | None = None
    """Threads; left out: as many as the machine likes."""
    json: bool = False
    """Print JSON instead of tables."""

    def run(self) -> int:
        splits = read_named(self.name, self.root)  # what was left out is among the faults
        if sentence := doubt(splits):
            printing.print_note(f"note: {sentence}")
        with printing.progress_bar("reading") as progress:
            report = check(splits, workers=self.workers, progress=progress)
        if self.json:
            counts = {split: tally._asdict() for split, tally in report.counts.items()}
            faults = [vars(fault) for fault in report.faults]
            printing.print_line(
                json.dumps({"name": report.name, "counts": counts, "faults": faults, "notes": report.notes})
            )
        else:
            rows = [[split, *(f"{n:,}" for n in tally)] for split, tally in report.counts.items()]
            title = f"{report.name}, read from {splits.root}"
            printing.print_table(title, ("split", "people", "images", "cameras"), rows)
            for line in (*(f"note: {note}" for note in report.notes), *map(str, report.faults)):
                printing.print_line(line)
            count = len(report.faults)
            printing.print_line(f"{count:,} fault{'s' if count > 1 else ''}" if count else "no faults")
        return 0 if report.ok else 1


@dataclass(frozen=True)
class ExportSet:
    """Write a data set, or an occluded or partial variant of it, as plain files in Market-1501's layout."""

    name: Positional[str]
    """One of `halfseen data list`."""
    out: Positional[Path]
    """The folder to write: empty, new, or an earlier export of the same thing, which is carried on."""
    root: Path | None = None
    """The folder that holds the set, or one above it; left out: the environment variable HALFSEEN_DATA."""
    variant: Literal["none", "partial", "occluded"] = "none"
    """partial: Partial-Duke's rule; occluded: synthetic occluders over the shares below."""
    train: float = 0.0
    """occluded: share of the training pictures that get an occluder."""
    query: float = 1.0
    """occluded: share of the queries."""
    gallery: float = 0.0
    """occluded: share of the gallery."""
    seed: int = 0
    """The same seed makes the same variant everywhere."""
    workers: int | None = None
    """Threads; left out: as many as the machine likes."""

    def run(self) -> int:
        if self.variant != "occluded" and (self.train, self.query, self.gallery) != (0.0, 1.0, 0.0):
            raise InputError("--train, --query and --gallery are shares of occluded pictures; add --variant occluded")
        splits = read_named(self.name, self.root, printing.print_note)
        if self.variant == "partial":
            splits = partial(splits, self.seed)
        elif self.variant == "occluded":
            share = {"train": self.train, "query": self.query, "gallery": self.gallery}
            splits = occluded(splits, self.seed, share=share, holistic=is_holistic(splits))
        for note in splits.notes:
            printing.print_note(f"note: {note}")
        with printing.progress_bar("writing") as progress:
            manifest = export(splits, self.out, workers=self.workers, progress=progress)
        printing.print_line(f"{sum(map(len, splits.by_name.values())):,} images are there; see {manifest}")
        return 0


def _people_and_images(counts: tuple[int, int] | None) -> str:
    return "–" if counts is None else f"{counts[0]:,} / {counts[1]:,}"
