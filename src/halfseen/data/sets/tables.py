"""Tables of pictures, CSV or Parquet, as rows of text; each row knows where it stands and says which cell is bad."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from halfseen.data.sets.folders import shortened
from halfseen.types import InputError, Occlusion

OCCLUSIONS = {str(int(o)): o for o in Occlusion} | {o.name.lower(): o for o in Occlusion}

_INTEGER = re.compile(r"(-?[0-9]{1,18})(\.0*)?")  # fits 64 bits; 1.0 is what tools write where others are missing
_EXACT = 2**53  # up to here every whole number is a float

Cells: TypeAlias = tuple[str, list[str], list[str]]  # where a row stands, the table's header, and what is in the row


class Columns(NamedTuple):
    """Those a table must have and those it may have; of others nothing is asked."""

    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one row as text; `place` says where it stands."""

    place: str
    cells: dict[str, str]

    def text(self, column: str) -> str:
        return self.cells.get(column, "").strip()

    def refuse(self, column: str, problem: str) -> InputError:
        return InputError(f"{self.place}, column {column}: {problem}")


def whole_number(text: str) -> int | None:
    """The number of 64 bits that `text` is, 12 or 12.0; None if it is none."""
    match = _INTEGER.fullmatch(text)
    return int(match[1]) if match else None


def path_in(row: Row) -> PurePosixPath:
    text = row.cells["path"]
    if not text.strip() or "\0" in text:
        raise row.refuse("path", f"{text!r} is no path; give the path of a picture, relative to the table's folder")
    return PurePosixPath(text)


def camid_in(row: Row) -> int:
    number = whole_number(row.text("camid"))
    if number is None:
        raise row.refuse(
            "camid", f"{row.text('camid')!r} is not a whole number; number the cameras, or drop the column"
        )
    return number


def occlusion_in(row: Row) -> Occlusion:
    text = row.text("occlusion").lower() or "unknown"
    number = whole_number(text)
    text = text if number is None else str(number)
    if text not in OCCLUSIONS:
        raise row.refuse("occlusion", f"{text!r} is not one of {', '.join(OCCLUSIONS)}; write one of these or nothing")
    return OCCLUSIONS[text]


def read_rows(path: Path, columns: Columns, bad: list[str] | None = None) -> list[Row]:
    """The rows of the table at `path`, at least one, each with a cell for each column of its header.

    What is wrong with single rows is added to `bad`, if that is given, and they are left out.
    """
    rows, wrong = list[Row](), list[str]()
    for place, header, cells in (_parquet_rows if path.suffix.lower() == ".parquet" else _csv_rows)(path, columns):
        try:
            rows.append(checked_row(place, header, cells, columns))
        except InputError as error:
            if bad is None:
                raise
            wrong.append(str(error))
    if not (rows or wrong):
        every = ", ".join(columns.needed + columns.optional)
        raise InputError(f"{str(path)!r} holds no rows; give it one for each picture, with {every}")
    if bad is not None:
        bad += wrong
    return rows


def checked_row(place: str, header: list[str], cells: list[str], columns: Columns) -> Row:
    """A row that has as many cells as its header, and in `columns` such as can be printed."""
    row = Row(place, dict(zip(header, cells, strict=False)))
    if len(cells) != len(header):
        raise InputError(
            f"{place}: {len(cells)} cells under a header of {len(header)} ({shortened(map(repr, header), 9)}); "
            f"fill the row up, and put cells that hold the delimiter in quotes"
        )
    for column in columns.needed + columns.optional:
        cell = row.cells.get(column, "")
        if not cell.isascii() and any("\ud800" <= c <= "\udfff" for c in cell):
            raise row.refuse(column, f"{cell!r} is not UTF-8; save the table as UTF-8, and rename such files")
    return row


def _csv_rows(path: Path, columns: Columns) -> Iterator[Cells]:
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
                yield place, header, cells
            header = header or _checked_header(place, cells, columns)
    except csv.Error as error:
        raise InputError(
            f"{str(path)!r}, line {end + 1}: broken table ({error}); check the quotes from this line on"
        ) from error


def _parquet_rows(path: Path, columns: Columns) -> Iterator[Cells]:
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
        names: list[str] = table.column_names
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        first = str(error).partition("\n")[0]
        raise InputError(f"{str(path)!r} cannot be read as a Parquet table ({first}); write it again") from error
    header = _checked_header(f"{str(path)!r}", names, columns)
    texts = [map(_text, column) for column in table.columns]
    for number, cells in enumerate(zip(*texts, strict=True), 1):
        yield f"{str(path)!r}, row {number}", header, list(cells)


def _text(value: Any) -> str:
    """A Parquet cell as a CSV file would hold it; bytes that are not UTF-8 become what `checked_row` refuses.

    A column of whole numbers of which one is missing is often stored as floats with a NaN: these are 1 and nothing.
    """
    try:
        cell = value.as_py()
    except UnicodeDecodeError as error:
        cell = error.object
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) <= _EXACT:
        return str(int(cell))
    return cell.decode("utf-8", "surrogateescape") if isinstance(cell, bytes) else str(cell)


def _checked_header(place: str, cells: list[str], columns: Columns) -> list[str]:
    header = [cell.strip().lower() for cell in cells]
    missing = [column for column in columns.needed if column not in header]
    if missing and (odd := [cell for cell in header if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in cell)]):
        raise InputError(f"{place}: the header has {odd[0][:20]!r}, which is not UTF-8; save the table as UTF-8")
    if missing or len(set(header)) < len(header):
        problem = (
            f"there is no column {' and no column '.join(missing)}" if missing else "two columns have the same name"
        )
        optional = f", optional {', '.join(columns.optional)}" if columns.optional else ""
        raise InputError(
            f"{place}: {problem}; found {shortened(map(repr, header), 9)}, "
            f"needed are {', '.join(columns.needed)}{optional}"
        )
    return header
