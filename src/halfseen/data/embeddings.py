"""Files of embeddings, from this package or any other toolbox: safetensors or npz.

vectors      [N,D] or [N,P,D], any float type
visibility   [N,P] in 0..1, optional: without it every part is visible
pid          [N] integers; below 0 is junk, which no ranking contains
camid        [N] integers, optional: without it query and gallery count as two different cameras
occlusion    [N] integers, optional: 0 unknown, 1 pedestrian in front (NTP), 2 thing in front (NPO), 3 holistic
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from halfseen.data.files import check_folder, check_name, refused, shown, whole
from halfseen.types import Embedding, Facts, InputError, Occlusion

KEYS = ("vectors", "visibility", "pid", "camid", "occlusion")
NEEDED = ("vectors", "pid")
FROM_0 = "number {} from 0 on, in query and gallery alike"
FLOATS = "convert them to float32 or float16"
ASKED = {  # what to do about values that are no numbers
    "vectors": FLOATS,
    "visibility": "write numbers from 0 to 1",
    "pid": FROM_0.format("people"),
    "camid": FROM_0.format("cameras"),
    "occlusion": "write " + ", ".join(f"{o.value} ({o.name.lower()})" for o in Occlusion),
}
BROKEN = (SafetensorError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, TypeError, KeyError)


@dataclass(frozen=True)
class Encoded:
    """One split, encoded. `has_cameras` and `has_labels`: whether the file said where and how occluded."""

    embedding: Embedding
    facts: Facts
    has_cameras: bool = True
    has_labels: bool = True


def load_encoded(path: Path | str, *, camid: int) -> Encoded:
    """Read and check the file at `path`; `camid` is the camera of all rows where the file names none."""
    path = Path(path)
    arrays = _read(path)
    rows = len(arrays["vectors"])
    if not rows:
        raise InputError(f"{shown(path)} holds no rows; encode some images first")
    numbers = {key: _integers(path, key, arrays[key], rows) for key in ("pid", "camid", "occlusion") if key in arrays}
    _check_occlusion(path, numbers.get("occlusion"))
    vectors = _floats(path, arrays, "vectors")
    visibility = _floats(path, arrays, "visibility") if "visibility" in arrays else None
    try:
        embedding = Embedding.of(vectors, visibility)
    except InputError as error:
        raise InputError(f"{shown(path)}: {error}") from error
    facts = Facts(
        numbers["pid"],
        numbers.get("camid", torch.full((rows,), camid)),
        numbers.get("occlusion", torch.zeros(rows, dtype=torch.int64)),
    )
    return Encoded(embedding, facts, "camid" in numbers, "occlusion" in numbers)


def check_out(path: Path) -> None:
    """Refuse what `save_encoded` cannot write to: a name of another ending, or in no folder."""
    if path.suffix.lower() != ".safetensors":
        raise InputError(f"{shown(path)} does not end in .safetensors, which is what embeddings are written as")
    check_folder(path)  # safetensors would name a temporary file of its own


def save_encoded(path: Path, encoded: Encoded) -> None:
    """Write `encoded` as safetensors, wholly or not at all."""
    check_out(path)
    replaced = encoded.embedding.replaced[:, :, None]  # what is read again knows of them too
    arrays = {
        "vectors": torch.where(replaced, torch.nan, encoded.embedding.vectors),
        "visibility": encoded.embedding.visibility,
        "pid": encoded.facts.pids.clone(),  # safetensors refuses tensors that share memory, as constant facts may
    }
    if encoded.has_cameras:
        arrays["camid"] = encoded.facts.camids.clone()
    if encoded.has_labels:
        arrays["occlusion"] = encoded.facts.occlusion.clone()
    with whole(path) as beside:
        try:
            save_file({key: tensor.contiguous().cpu() for key, tensor in arrays.items()}, beside)
        except SafetensorError as error:  # how safetensors reports a full disk or a missing folder
            raise refused(error) from error
        beside.chmod(0o644)  # safetensors makes it readable for its owner only


def _read(path: Path) -> Mapping[str, Tensor]:
    readers: dict[str, Callable[[Path], Mapping[str, Tensor]]] = {".safetensors": load_file, ".npz": _read_npz}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{shown(path)} ends in {path.suffix!r}; embeddings are read from .safetensors and .npz")
    try:
        path.open("rb").close()  # safetensors says "no such file" of forbidden ones, and "no such device" of folders
        arrays = reader(path)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{shown(path)} does not exist; check the path") from error
    except BROKEN as error:
        if isinstance(error, SafetensorError):
            check_name(path)
        raise InputError(f"{shown(path)} is damaged or of another format ({error}); write it again") from error
    except OSError as error:
        raise InputError(f"{shown(path)} cannot be read: {error.strerror or error}; give another file") from error
    _check_names(path, arrays)
    if single := [key for key, array in arrays.items() if not array.ndim]:
        raise InputError(f"{shown(path)}: {single[0]!r} is a single number; it must have one entry for each image")
    return arrays


def _read_npz(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:  # opened here, because numpy leaves damaged files open
        if file.read(2) != b"PK":  # numpy would take it for a pickle and advise to trust it
            raise ValueError("it does not begin as a .npz of named arrays does")
        file.seek(0)
        arrays = np.load(file, allow_pickle=False)  # a pickle could run code
        _check_names(path, arrays.files)
        return {key: _tensor(path, arrays, key) for key in arrays.files}


def _check_names(path: Path, names: Collection[str]) -> None:
    unknown, missing = sorted(set(names) - set(KEYS)), [key for key in NEEDED if key not in names]
    if unknown or missing:
        found = f"holds {', '.join(map(repr, unknown or sorted(names)))}"
        wrong = f"has no {' and no '.join(missing)}, but {found}" if missing else found
        raise InputError(
            f"{shown(path)} {wrong}; allowed are {', '.join(KEYS)}, of which {' and '.join(NEEDED)} are needed: "
            f"write the file again with these names"
        )


def _tensor(path: Path, arrays: Mapping[str, np.ndarray], key: str) -> Tensor:
    try:
        array = arrays[key]
    except ValueError as error:
        if "allow_pickle" not in str(error):  # numpy's words for objects, which only a pickle can hold
            raise
        raise InputError(f"{shown(path)}: {key} holds Python objects, no array of numbers; {ASKED[key]}") from None
    if array.dtype.kind not in "biuf" or array.dtype == np.longdouble:
        what = "text" if array.dtype.kind in "US" else f"{array.dtype} values"
        raise InputError(f"{shown(path)}: {key} holds {what}; {ASKED[key]}")
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))


def _integers(path: Path, key: str, values: Tensor, rows: int) -> Tensor:
    if values.dtype.is_floating_point or values.dtype.is_complex or values.dtype == torch.bool:
        raise InputError(f"{shown(path)}: {key} holds {values.dtype} numbers; convert them to integers")
    if tuple(values.shape) != (rows,):
        raise InputError(
            f"{shown(path)}: {key} has shape {tuple(values.shape)} and vectors have {rows} rows; give one {key} a row"
        )
    whole = values.to(torch.int64)
    if values.dtype == torch.uint64 and bool((whole < 0).any()):
        raise InputError(
            f"{shown(path)}: {key} holds numbers above 2^63 - 1, which nothing here counts to; {ASKED[key]}"
        )
    return whole


def _check_occlusion(path: Path, occlusion: Tensor | None) -> None:
    known = {int(o) for o in Occlusion}
    if occlusion is not None and (strange := set(occlusion.tolist()) - known):
        raise InputError(
            f"{shown(path)}: occlusion holds {min(strange)}; allowed are "
            + ", ".join(f"{o.value} ({o.name.lower()})" for o in Occlusion)
        )


def _floats(path: Path, arrays: Mapping[str, Tensor], key: str) -> Tensor:
    values = arrays[key]
    if key == "visibility" and not values.dtype.is_complex:  # 0 and 1 are often stored as integers
        return values.float()
    if not values.dtype.is_floating_point:
        raise InputError(f"{shown(path)}: {key} holds {values.dtype} numbers; {FLOATS}")
    return values
