"""Galleries as plain files that any program reads: a folder with `images.parquet`, `sources.parquet` (which files are
done) and `gallery.json`, which says what model the vectors are of."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from halfseen.data.files import PART, shown
from halfseen.gallery.checking import faults_in
from halfseen.gallery.finished import SCHEMA
from halfseen.gallery.sightings import ModelFacts
from halfseen.gallery.tables import image_schema
from halfseen.gallery.troubles import FULL
from halfseen.types import InputError

if TYPE_CHECKING:
    from halfseen.gallery.store import Gallery

IMAGES, SOURCES, ABOUT = "images.parquet", "sources.parquet", "gallery.json"
READ = 4096  # rows at a time


def export_images(gallery: Gallery, folder: Path) -> None:
    """Write all of `gallery` to the new `folder`, wholly or not at all."""
    if folder.exists():
        raise InputError(f"{shown(folder)} exists already; choose a new folder for the export")
    schema = gallery.schema.remove_metadata()
    with _whole(folder) as beside:
        about = {"model": asdict(gallery.model), "notes": gallery.notes()}
        (beside / ABOUT).write_text(json.dumps(about, indent=2) + "\n")
        pq.write_table(gallery.sources(), beside / SOURCES)
        gallery.refresh()  # whatever is noted as done is in there by now
        with pq.ParquetWriter(beside / IMAGES, schema, compression="zstd") as file:
            for batch in gallery.scan(schema.names, READ):
                file.write_batch(batch.select(schema.names))


def import_images(gallery: Gallery, folder: Path) -> int:
    """Add what `export_images` wrote to `folder`, all images or none; returns how many.

    Content that is there already, or was and has been removed, is left out; what has no digest is always added.
    """
    model, notes = exported(folder)
    gallery.check(model)
    with _reading(folder / IMAGES, gallery.schema.remove_metadata()) as file:
        for batch in file.iter_batches(READ):
            for fault in faults_in(batch, len(gallery.model.parts)):
                raise InputError(f"{shown(folder / IMAGES)} has an image with {fault}; export the gallery again")
    with _reading(folder / SOURCES, gallery.sources().schema) as file:
        sources = file.read()["digest"].to_pylist()
    with gallery.alone(), _reading(folder / IMAGES, gallery.schema.remove_metadata()) as file:
        gallery.refresh()
        there = {*gallery.sources()["digest"].to_pylist(), *gallery.table(["digest"])["digest"].to_pylist()} - {""}
        rows = _without(file.iter_batches(READ), pa.array(sorted(there), pa.string()))
        count = len(gallery.append(pa.RecordBatchReader.from_batches(file.schema_arrow, rows)))
        gallery.finish(sources)
        for name in notes.keys() - gallery.notes().keys():
            gallery.keep_note(name, notes[name])
    return count


def _without(batches: Iterable[pa.RecordBatch], digests: pa.Array) -> Iterator[pa.RecordBatch]:
    """`batches` without the rows of these `digests`."""
    return (batch.filter(pc.invert(pc.is_in(batch["digest"], digests))) for batch in batches)


def exported(folder: Path) -> tuple[ModelFacts, dict[str, Any]]:
    """What `gallery.json` in `folder` says: the model, and the notes by name; the tables stand beside it."""
    model, notes = _about(folder)
    columns = image_schema(len(model.parts), model.dim, b"").remove_metadata()
    with _reading(folder / SOURCES, SCHEMA), _reading(folder / IMAGES, columns):
        return model, notes


def _about(folder: Path) -> tuple[ModelFacts, dict[str, Any]]:
    try:
        about = json.loads((folder / ABOUT).read_text())
        if isinstance(about["notes"], dict):
            return ModelFacts.noted(about["model"]), about["notes"]
    except OSError as error:
        raise InputError(
            f"{shown(folder)} holds no exported gallery ({ABOUT}: {error.strerror}); name the gallery first, then the "
            f"folder that `halfseen gallery export` wrote"
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{shown(folder)} holds no exported gallery ({ABOUT}: {error}); choose another folder"
        ) from error
    raise InputError(f"{shown(folder / ABOUT)} says something else than an export does; export the gallery again")


@contextmanager
def _reading(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(schema):
                raise InputError(
                    f"{shown(path)} has the columns {', '.join(file.schema_arrow.names)}, or some of another type, and "
                    f"{', '.join(schema.names)} are wanted; export the gallery again"
                )
            yield file
    except (OSError, pa.ArrowException) as error:
        said = str(error).splitlines()[0][:160]
        raise InputError(f"{shown(path)} is missing or damaged ({said}); export the gallery again") from error


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to write to, which becomes it in the end; if anything fails, there is none."""
    beside = folder.with_name(f".{secrets.token_hex(4)}{PART}")
    try:
        beside.mkdir()
        yield beside
        beside.rename(folder)
    except OSError as error:
        full = any(words in str(error).lower() for words in FULL)  # what Arrow raises has no number
        do = "make room there" if full else "choose a place that exists and is yours"
        raise InputError(f"{shown(folder)} cannot be written ({error.strerror or error}); {do}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
