"""The verb `halfseen report`: what `halfseen train` left behind, as a page to look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from tyro.conf import Positional

from halfseen import printing
from halfseen.data.files import check_folder
from halfseen.data.finding import read_named
from halfseen.types import InputError


@dataclass(frozen=True)
class Report:
    """Write one HTML file about one run or several, with scores, curves, answers and what the networks look at."""

    runs: Positional[tuple[Path, ...]]
    """Folders that `halfseen train` wrote, or weight files; of several the scores stand side by side."""
    data: str | None = None
    """Whose queries and gallery to use; left out: those of the set that the first run was trained on."""
    root: Path | None = None
    """The folder that holds the set, or one above it; left out: where the first run was trained, if --data is left out
    too, or the environment variable HALFSEEN_DATA."""
    out: Path | None = None
    """The file to write; left out: report.html in the folder of the first run."""
    weights: Literal["best", "last"] = "best"
    """Those that scored best on the way, or those after the last epoch."""
    queries: int = 8
    """How many queries to show with their answers, and how many of the hardest ones."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU if there is one."""

    def run(self) -> int:
        from halfseen.report import examine, open_run, write_report  # noqa: PLC0415  (timm takes two seconds)

        self._check_options()
        device = "cuda" if self.device != "cpu" and torch.cuda.is_available() else "cpu"
        runs = [open_run(path, self.weights, device) for path in self.runs]
        name = self.data or str(runs[0].loaded.card.data.get("name"))
        splits = read_named(name, self.root or (None if self.data else runs[0].root), printing.print_note)
        results = [examine(run, splits, printing.progress_bar) for run in runs]
        first = self.runs[0]
        out = self.out or (first if first.is_dir() else first.parent) / "report.html"
        write_report(out, results, self.queries, printing.progress_bar)
        printing.print_line(f"{out}: {out.stat().st_size / 2**20:.1f} MB, to be opened in a browser")
        return 0

    def _check_options(self) -> None:
        if not self.runs:
            raise InputError("what is the report about? give the folder of a training: `halfseen report FOLDER`")
        if not 1 <= self.queries <= 100:
            raise InputError(f"--queries is {self.queries}; give a number from 1 to 100, as pictures make pages large")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise InputError("--device cuda: torch finds no such device here; leave it out")
        if self.out:
            check_folder(self.out)
