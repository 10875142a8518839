"""Any pictures at all, by a manifest: a CSV or Parquet table with the columns path, pid, camid, split, time, occlusion.

`camid` may be missing (query and gallery then count as two cameras), and so may `time` and `occlusion`. Paths are
relative to the manifest's folder, or absolute.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from halfseen.data.files import whole
from halfseen.data.sets.folders import DataSet, Listing, Reading, exists, find_root, shortened
from halfseen.types import InputError, Occlusion, Sample, Splits

NEEDED = ("path", "pid", "split")
COLUMNS = (*NEEDED, "camid", "time", "occlusion")
EXPORTED = ("occluder", "covered", "kept", "original")  # what `data export` tells other programs besides
CAMERAS = {"train": 0, "query": 0, "gallery": 1}  # split → camid where the manifest names none
OCCLUSIONS = {str(int(o)): o for o in Occlusion} | {o.name.lower(): o for o in Occlusion}

_INTEGER = re.compile(r"-?[0-9]{1,18}")  # fits 64 bits


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one row as text; `place` says where it stands."""

    place: str
    cells: dict[str, str]

    def text(self, column: str) -> str:
        return self.cells.get(column, "").strip()

    def refuse(self, column: str, problem: str) -> InputError:
        return InputError(f"{self.place}, column {column}: {problem}")


def read(root: Path, _variant: str) -> Reading:
    """Read the manifest `root`, or the one called manifest.csv or manifest.parquet in or below that folder."""
    path = root
    notes: tuple[str, ...] = ()
    if not exists(root) or root.is_dir():
        folder, (name,), notes = find_root(root, ("manifest.csv",), ("manifest.parquet",))
        path = folder / name
    rows = list(_parquet_rows(path) if path.suffix.lower() == ".parquet" else _csv_rows(path))
    if not rows:
        raise InputError(f"{str(path)!r} holds no rows; give it one for each picture, with {', '.join(COLUMNS)}")
    return _reading(path.parent, rows, notes)


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
    columns = {c: [row.cells[c] for row in rows] for c in COLUMNS if splits.has_cameras or c != "camid"}
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
    unknown = [repr(column) for column in rows[0].cells if column not in COLUMNS + EXPORTED]
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
    if "" in texts:
        raise rows[texts.index("")].refuse("pid", "is empty; say who this is, by a number or a name")
    if all(map(_INTEGER.fullmatch, texts)):
        return [int(text) for text in texts], []
    numbers = {text: number for number, text in enumerate(sorted(set(texts)))}
    note = (
        f"not all pids are whole numbers: people were numbered from 0 in sorted order: {shortened(map(repr, numbers))}"
    )
    return [numbers[text] for text in texts], [note]


def _sample(folder: Path, row: Row, pid: int) -> tuple[str, Sample]:
    split = row.text("split").lower()
    if split not in CAMERAS:
        raise row.refuse("split", f"{row.text('split')!r} is not one of {', '.join(CAMERAS)}; write one of these")
    if pid < 0 and split != "gallery":
        raise row.refuse("pid", f"{pid} is below 0, which marks junk, and only a gallery may hold junk; remove the row")
    path = folder / _path(row)
    name = path.relative_to(folder) if path.is_relative_to(folder) else path
    return split, Sample(
        path,
        name.as_posix(),
        pid,
        _camid(row) if "camid" in row.cells else CAMERAS[split],
        occlusion=_occlusion(row),
        time=_time(row),
    )


def _path(row: Row) -> PurePosixPath:
    text = row.cells["path"]
    if not text.strip() or "\0" in text:
        raise row.refuse("path", f"{text!r} is no path; give the path of a picture, relative to the manifest's folder")
    return PurePosixPath(text)


def _camid(row: Row) -> int:
    if not _INTEGER.fullmatch(row.text("camid")):
        raise row.refuse(
            "camid", f"{row.text('camid')!r} is not a whole number; number the cameras, or drop the column"
        )
    return int(row.text("camid"))


def _occlusion(row: Row) -> Occlusion:
    text = row.text("occlusion").lower() or "unknown"
    if text not in OCCLUSIONS:
        raise row.refuse("occlusion", f"{text!r} is not one of {', '.join(OCCLUSIONS)}; write one of these or nothing")
    return OCCLUSIONS[text]


def _time(row: Row) -> float | None:
    """Seconds, or None for an empty cell and for what tables write instead: NaN."""
    try:
        seconds = float(row.text("time") or "nan")
    except ValueError:
        seconds = math.inf
    if math.isinf(seconds):
        raise row.refuse("time", f"{row.text('time')!r} is not a number of seconds; write one, or nothing")
    return None if math.isnan(seconds) else seconds


def _csv_rows(path: Path) -> Iterator[Row]:
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read ({error.strerror}); check that you may open it") from error
    first = text.lstrip().partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    end = 0  # of the row before, for a row may go over several lines
    try:
        for cells in lines:
            place, end = f"{str(path)!r}, line {end + 1}", lines.line_num
            if not any(map(str.strip, cells)):
                continue
            if header:
                yield _checked_row(place, header, cells)
            header = header or _checked_header(place, cells)
    except csv.Error as error:
        raise InputError(
            f"{str(path)!r}, line {end + 1}: broken table ({error}); check the quotes from this line on"
        ) from error


def _parquet_rows(path: Path) -> Iterator[Row]:
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
        names: list[str] = table.column_names
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        first = str(error).partition("\n")[0]
        raise InputError(f"{str(path)!r} cannot be read as a Parquet table ({first}); write it again") from error
    header = _checked_header(f"{str(path)!r}", names)
    columns = [map(_text, column) for column in table.columns]
    for number, cells in enumerate(zip(*columns, strict=True), 1):
        yield _checked_row(f"{str(path)!r}, row {number}", header, list(cells))


def _text(value: Any) -> str:
    """A Parquet cell as a CSV file would hold it; bytes that are not UTF-8 become what `_checked_row` refuses."""
    try:
        cell = value.as_py()
    except UnicodeDecodeError as error:
        cell = error.object
    return "" if cell is None else cell.decode("utf-8", "surrogateescape") if isinstance(cell, bytes) else str(cell)


def _checked_header(place: str, cells: list[str]) -> list[str]:
    header = [cell.strip().lower() for cell in cells]
    missing = [column for column in NEEDED if column not in header]
    if missing or len(set(header)) < len(header):
        problem = (
            f"there is no column {' and no column '.join(missing)}" if missing else "two columns have the same name"
        )
        raise InputError(
            f"{place}: {problem}; found {shortened(map(repr, header), 9)}, needed are {', '.join(NEEDED)}, "
            f"optional camid, time, occlusion"
        )
    return header


def _checked_row(place: str, header: list[str], cells: list[str]) -> Row:
    row = Row(place, dict(zip(header, cells, strict=False)))
    if len(cells) != len(header):
        raise InputError(
            f"{place}: {len(cells)} cells under a header of {len(header)} ({shortened(map(repr, header), 9)}); "
            f"fill the row up, and put cells that hold the delimiter in quotes"
        )
    for column in COLUMNS:
        cell = row.cells.get(column, "")
        if not cell.isascii() and any("\ud800" <= c <= "\udfff" for c in cell):
            raise row.refuse(column, f"{cell!r} is not UTF-8; save the manifest as UTF-8, and rename such files")
    return row


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
    return _checked_row(place, list(cells), list(cells.values()))


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
