"""The verbs of `halfseen cues`: make, check."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from tyro.conf import Positional

from halfseen import printing
from halfseen.data.files import shown
from halfseen.data.finding import KEYPOINTS, read_named
from halfseen.data.images import SUFFIXES, save_image
from halfseen.data.sets import find_set
from halfseen.ops.groupings import JOINTS
from halfseen.ops.skeletons import RULES, SEEN
from halfseen.types import InputError, Splits

if TYPE_CHECKING:
    from halfseen.cue_checking import Agreement, Check
    from halfseen.cue_making import Report


@dataclass(frozen=True)
class MakeCues:
    """Find the joints of the person in each picture, and write them to a keypoint file that training can use."""

    data: Positional[str]
    """One of `halfseen data list`."""
    estimator: Literal["keypointrcnn", "vitpose", "mediapipe", "coco-json", "bpbreid-fields"]
    """Who looks at the pictures; the last two read what another tool has left."""
    root: Path | None = None
    """The folder that holds the set, or one above it; left out: the environment variable HALFSEEN_DATA."""
    out: Path | None = None
    """The file to write; left out: keypoints.npz in the set's folder, where training looks for it."""
    weights: Path | None = None
    """keypointrcnn: a file, vitpose: a folder; left out: those of their makers, from their hubs."""
    results: Path | None = None
    """coco-json: a JSON file, or a folder of them; bpbreid-fields: the folder of the fields, if not the usual one."""
    replace: bool = False
    """Replace a file that is there; otherwise rows are added to it if they come from the same source."""
    sheet: Path | None = None
    """The picture of some skeletons to draw: .png or .jpg; left out: beside the file, called like it."""
    workers: int | None = None
    """Processes; left out: as many as there are cores, but one for keypointrcnn and vitpose (torch uses all)."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU if there is one; mediapipe needs none."""
    json: bool = False
    """Print the report as JSON."""

    def run(self) -> int:
        from halfseen.cue_making import Ask, draw_sheet, make_cues  # noqa: PLC0415  (as the others: when it is needed)
        from halfseen.encode import chosen_device  # noqa: PLC0415

        splits = read_named(self.data, self.root, printing.print_note)
        if self.out is None and find_set(self.data.partition("+")[0])[0].home:
            raise InputError(f"{self.data} comes with halfseen, and its joints are known; name a file with --out")
        samples = tuple(sample for split in splits.by_name.values() for sample in split)
        out = self.out or splits.root / KEYPOINTS
        sheet = _picture(self.sheet or out.with_name(f"{out.stem}-sheet.png"))
        device = chosen_device(self.device) if self.estimator in ("keypointrcnn", "vitpose") else "cpu"
        names = tuple(sample.name for sample in samples)
        ask = Ask(self.estimator, splits.root, names, self.weights, self.results, device)
        with printing.progress_bar("looking") as progress:
            report = make_cues(ask, samples, out, replace=self.replace, workers=self.workers, progress=progress)
        save_image(sheet, draw_sheet(report))
        _print_json(out, sheet, report) if self.json else _print_report(out, sheet, report)
        return 0


@dataclass(frozen=True)
class CheckCues:
    """Compare keypoints with the pictures and with known parts: who is missing, impossible, or somewhere else."""

    data: Positional[str]
    """One of `halfseen data list`."""
    root: Path | None = None
    """The folder that holds the set, or one above it; left out: the environment variable HALFSEEN_DATA."""
    file: Path | None = None
    """The keypoint file; left out: keypoints.npz in the set's folder."""
    sheet: Path = Path("cues-worst.png")
    """The picture to draw the worst skeletons into, if any are bad: .png or .jpg."""
    worst: int = 24
    """How many of the worst are listed and drawn."""
    json: bool = False
    """Print JSON instead of tables."""

    def run(self) -> int:
        from halfseen.cue_checking import check_cues, draw_worst  # noqa: PLC0415

        if not 1 <= self.worst <= 500:
            raise InputError(f"--worst is {self.worst}; give a number from 1 to 500, as a sheet is one picture")
        sheet = _picture(self.sheet)
        splits = read_named(self.data, self.root, printing.print_note)
        with printing.progress_bar("comparing") as progress:
            check = check_cues(splits, self.file, progress=progress)
        if check.doubts:
            save_image(sheet, draw_worst(check, self.worst))
        _print_plain(check, self.worst) if self.json else _print_check(splits, check, self.worst, sheet)
        return 1 if check.refusal or check.foreign else 0


def _picture(path: Path) -> Path:
    if path.suffix.lower() not in SUFFIXES:  # before the work, not after it
        raise InputError(f"{path} does not end in one of {', '.join(SUFFIXES)}; choose one of these endings")
    if not path.parent.is_dir():
        raise InputError(f"{shown(path.parent)}: there is no such folder; make it, or choose another")
    return path


def _print_report(out: Path, sheet: Path, report: Report) -> None:
    count, nobody = len(report.samples), report.nobody
    done = f"{report.made:,} looked at now" if report.made else "complete already, so nothing was looked at"
    found = report.keypoints[report.keypoints[..., 2].amax(1) > 0][..., 2]
    sure = (found > SEEN).float().mean(0) if len(found) else report.scores
    rows = [
        [joint, f"{mean:.2f}", f"{100 * share:.1f}"]
        for joint, mean, share in zip(JOINTS, report.scores.tolist(), sure.tolist(), strict=True)
    ]
    printing.print_table(f"{out}: {count:,} pictures, {done}", ("joint", "mean score", "seen, %"), rows)
    printing.print_line(f"source: {report.file.source}")
    among = f", among them {nobody[0]}" if nobody else ""
    printing.print_line(f"nobody was found in {len(nobody):,} of {count:,} pictures ({len(nobody) / count:.1%}){among}")
    if report.made:
        printing.print_line(
            f"several people were found in {report.several:,} of {report.made:,}: the middle one was taken"
        )
    printing.print_line(f"look at some of them: {sheet}")


def _print_json(out: Path, sheet: Path, report: Report) -> None:
    answer = {
        "out": str(out),
        "sheet": str(sheet),
        "source": report.file.source,
        "images": len(report.samples),
        "made": report.made,
        "several": report.several,
        "nobody": report.nobody,
        "scores": dict(zip(JOINTS, report.scores.tolist(), strict=True)),
    }
    printing.print_line(json.dumps(answer))


def _print_check(splits: Splits, check: Check, worst: int, sheet: Path) -> None:
    rows = [[split, *(f"{count:,}" for count in counts)] for split, counts in check.coverage.items()]
    columns = ("split", "images", "keypoints", "somebody", "fields", "part labels")
    printing.print_table(f"{splits.name}: of how many images something is known", columns, rows)
    if check.file is None:
        printing.print_line("no keypoints, so no skeletons to look at")
        return
    printing.print_line(f"source of the keypoints: {check.file.source}")
    shares = {rule: f"{100 * count / check.images:.2f}" for rule, count in check.broken.items()}
    rows = [[rule, RULES[rule], f"{count:,}", shares[rule]] for rule, count in check.broken.items()]
    printing.print_table("impossible skeletons", ("rule", "meaning", "images", "%"), rows, words=2)
    if check.agreement:
        _print_agreement(check.agreement)
    doubts = check.doubts[:worst]
    if doubts:
        rows = [[doubt.sample.name, ", ".join(doubt.rules) or "–", str(doubt.strays)] for doubt in doubts]
        title = f"the worst {len(doubts)} of {len(check.doubts):,}, drawn in this order: {sheet}"
        printing.print_table(title, ("picture", "rules", "joints off their part"), rows, words=2)
    printing.print_line(
        check.refusal
        or check.foreign
        or check.doubted
        or "no fault that would keep a training from using these keypoints"
    )


def _print_agreement(agreement: Agreement) -> None:
    columns = torch.stack([torch.cat([counts, counts.sum()[None]]) for counts in agreement], dim=1).tolist()
    rows = [
        [joint, f"{seen:,}", *(f"{100 * count / max(1, seen):.1f}" for count in (inside, mirrored))]
        for joint, (seen, inside, mirrored) in zip((*JOINTS, "all"), columns, strict=True)
    ]
    title = "joints that are seen, and whether they lie in their part (within a pixel)"
    printing.print_table(title, ("joint", "seen", "in its part, %", "in the other side's, %"), rows)


def _print_plain(check: Check, worst: int) -> None:
    agreement = check.agreement._asdict() if check.agreement else {}
    answer = {
        "source": check.file.source if check.file else None,
        "coverage": {split: counts._asdict() for split, counts in check.coverage.items()},
        "impossible": dict(check.broken),
        "agreement": {name: dict(zip(JOINTS, counts.tolist(), strict=True)) for name, counts in agreement.items()},
        "worst": [
            {"name": doubt.sample.name, "rules": doubt.rules, "strays": doubt.strays} for doubt in check.doubts[:worst]
        ],
        "refusal": check.refusal or check.foreign or None,
    }
    printing.print_line(json.dumps(answer))
