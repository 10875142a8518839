"""Any pictures at all, by a manifest: a CSV or Parquet table with the columns path, pid, camid, split, time, occlusion.

`camid` may be missing (query and gallery then count as two cameras), and so may `time` and `occlusion`. Paths are
relative to the manifest's folder, or absolute.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterable, Set
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from halfseen.data.files import whole
from halfseen.data.sets.folders import DataSet, Listing, Reading, exists, find_root, shortened
from halfseen.data.sets.tables import (
    Columns,
    Row,
    camid_in,
    checked_row,
    occlusion_in,
    path_in,
    read_rows,
    whole_number,
)
from halfseen.types import InputError, Sample, Splits

COLUMNS = Columns(needed=("path", "pid", "split"), optional=("camid", "time", "occlusion"))
EVERY = COLUMNS.needed + COLUMNS.optional
EXPORTED = ("occluder", "covered", "kept", "original")  # what `data export` tells other programs besides
MISSING = ("", "nan")  # how tables say that a number is not known
WRITE = "write one with the columns path, pid and split: docs/data.md shows how, out of a folder for each person"
CAMERAS = {"train": 0, "query": 0, "gallery": 1}  # split → camid where the manifest names none

_NEGATIVE = re.compile(r"-[0-9]+(\.[0-9]*)?$")


def read(root: Path, _variant: str) -> Reading:
    """Read the manifest `root`, or the one called manifest.csv or manifest.parquet in or below that folder."""
    path = root
    notes: tuple[str, ...] = ()
    if not exists(root) or root.is_dir():
        folder, (name,), notes = find_root(root, ("manifest.csv",), ("manifest.parquet",), do=WRITE)
        path = folder / name
    return _reading(path.parent, read_rows(path, COLUMNS), notes)


def save_manifest(splits: Splits, path: Path | str) -> None:
    """Write `splits` as CSV or Parquet, by the ending of `path`, wholly or not at all.

    In `splits.root` it reads back as the same samples; elsewhere the paths, and with them the names, become absolute.
    """
    target = Path(path).absolute()
    write: Callable[[Path, dict[str, list[str]]], None] | None
    write = {".csv": _write_csv, ".parquet": _write_parquet}.get(target.suffix.lower())
    if write is None:
        raise InputError(f"{str(path)!r} ends neither in .csv nor in .parquet; choose one of the two")
    samples = [(split, sample) for split, part in splits.by_name.items() for sample in part]
    rows = [_row(split, sample, target.parent) for split, sample in samples]
    if not rows:
        raise InputError(f"{splits.name} holds no pictures, so there is nothing to write to {str(path)!r}")
    _reading(target.parent, rows, ())  # what could not be read back is not written
    columns = {c: [row.cells[c] for row in rows] for c in EVERY if splits.has_cameras or c != "camid"}
    with whole(target) as beside:
        write(beside, columns)


def _reading(folder: Path, rows: list[Row], notes: tuple[str, ...]) -> Reading:
    pids, pid_notes = _number_people(rows)
    splits: dict[str, list[Sample]] = {split: [] for split in CAMERAS}
    places: dict[tuple[str, str], str] = {}
    for row, pid in zip(rows, pids, strict=True):
        split, sample = _sample(folder, row, pid)
        if (split, sample.name) in places:
            raise row.refuse(
                "path", f"{sample.name!r} is in {split} already, at {places[split, sample.name]}; remove one"
            )
        places[split, sample.name] = row.place
        splits[split].append(sample)
    train, query, gallery = (Listing(tuple(samples)) for samples in splits.values())
    unknown = [repr(column) for column in rows[0].cells if column not in EVERY + EXPORTED]
    ignored = [f"columns {shortened(unknown)} are not known and were passed by"] if unknown else []
    return Reading(
        folder,
        query,
        gallery,
        train=train if train.samples else None,
        has_cameras="camid" in rows[0].cells,
        notes=(*notes, *ignored, *pid_notes),
    )


def _number_people(rows: list[Row]) -> tuple[list[int], list[str]]:
    """The pids if all are whole numbers; otherwise people are numbered in the sorted order of what they are called."""
    texts = [row.text("pid") for row in rows]
    pids = [whole_number(text) for text in texts]
    whole_pids = [pid for pid in pids if pid is not None]
    if len(whole_pids) == len(rows):
        return whole_pids, []
    _check_names(rows, {text for text, pid in zip(texts, pids, strict=True) if pid is None})
    numbers = {text: number for number, text in enumerate(sorted(set(texts)))}
    note = (
        f"not all pids are whole numbers: people were numbered from 0 in sorted order: {shortened(map(repr, numbers))}"
    )
    return [numbers[text] for text in texts], [note]


def _check_names(rows: list[Row], names: Set[str]) -> None:
    """Refuse rows that name nobody, or junk, which has no name; `names` are the pids that are not whole numbers."""
    missing = all(name.lower() in MISSING for name in names)  # beside others it may be what somebody is called
    for row in rows:
        text = row.text("pid")
        if text == "" or (missing and text in names):
            told = f"is {text}" if text else "is empty"
            raise row.refuse("pid", f"{told}; say who this is, by a number or a name")
        if not missing and _NEGATIVE.match(text):
            raise row.refuse(
                "pid",
                f"{text} is below 0, which marks junk, but people here have names "
                f"({shortened(map(repr, sorted(names)))}) and junk has none; number all people from 0 on, or remove "
                f"the row",
            )


def _sample(folder: Path, row: Row, pid: int) -> tuple[str, Sample]:
    split = row.text("split").lower()
    if split not in CAMERAS:
        raise row.refuse("split", f"{row.text('split')!r} is not one of {', '.join(CAMERAS)}; write one of these")
    if pid < 0 and split != "gallery":
        raise row.refuse("pid", f"{pid} is below 0, which marks junk, and only a gallery may hold junk; remove the row")
    path = folder / path_in(row)
    name = path.relative_to(folder) if path.is_relative_to(folder) else path
    return split, Sample(
        path,
        name.as_posix(),
        pid,
        camid_in(row) if "camid" in row.cells else CAMERAS[split],
        occlusion=occlusion_in(row),
        time=_time(row),
    )


def _time(row: Row) -> float | None:
    """Seconds, or None for an empty cell and for what tables write instead: NaN."""
    try:
        seconds = float(row.text("time") or "nan")
    except ValueError:
        seconds = math.inf
    if math.isinf(seconds):
        raise row.refuse("time", f"{row.text('time')!r} is not a number of seconds; write one, or nothing")
    return None if math.isnan(seconds) else seconds


def _row(split: str, sample: Sample, folder: Path) -> Row:
    place = f"{split} {sample.name!r}"
    if sample.edits:
        raise InputError(
            f"{place} is edited while it is read, which a manifest cannot say; write its pictures out first"
        )
    path = sample.path.absolute()
    cells = {
        "path": (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix(),
        "pid": str(sample.pid),
        "camid": str(sample.camid),
        "split": split,
        "time": "" if sample.time is None else repr(sample.time),
        "occlusion": sample.occlusion.name.lower(),
    }
    return checked_row(place, list(cells), list(cells.values()), COLUMNS)


def _write_csv(path: Path, columns: dict[str, list[str]]) -> None:
    returns = any("\r" in cell for cell in columns["path"])  # which the writer would leave without quotes
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _write_parquet(path: Path, columns: dict[str, list[str]]) -> None:
    as_typed: dict[str, Iterable[Any]] = dict(columns)
    as_typed |= {c: map(int, columns[c]) for c in ("pid", "camid") if c in columns}
    as_typed["time"] = (float(cell) if cell else None for cell in columns["time"])
    types = {"pid": pa.int64(), "camid": pa.int64(), "time": pa.float64()}
    table = {c: pa.array(list(cells), types.get(c, pa.string())) for c, cells in as_typed.items()}
    pq.write_table(pa.table(table), path)


MANIFEST = DataSet(name="manifest", title="a manifest of your own", read=read, expected={"": {}})
