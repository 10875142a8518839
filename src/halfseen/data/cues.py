"""Cues on disk: keypoint files, confidence fields and part-label images, checked while they are loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from halfseen.data.files import shown, whole
from halfseen.ops.groupings import FIELDS, JOINTS
from halfseen.types import InputError

FIELDS_FOLDER = "masks/pifpaf_maskrcnn_filtering"  # where BPBreID's released confidence fields lie in a data set
FARTHEST = 1e6  # pixels; no joint is that far from its picture, and squares stay small
LABEL_MODES = ("1", "L", "P", "I", "I;16")  # Pillow's images of one integer a pixel


@dataclass(frozen=True, eq=False)
class KeypointFile:
    """Keypoints of many pictures: `keypoints` float32 [N,17,3] (x, y in pixels of the stored picture, score 0..1).

    `names` are the pictures' paths relative to the data set's root, with forward slashes; `source` says how the
    keypoints were made.
    """

    names: tuple[str, ...]
    keypoints: Tensor
    source: str

    def __post_init__(self) -> None:
        if self.keypoints.shape != (len(self.names), len(JOINTS), 3):
            raise InputError(
                f"keypoints have shape {tuple(self.keypoints.shape)} for {len(self.names)} names; "
                f"expected [{len(self.names)}, {len(JOINTS)}, 3]: one row of x, y, score per joint for each name"
            )
        if len(self._rows) < len(self.names):
            twice = next(name for row, name in enumerate(self.names) if self._rows[name] != row)
            raise InputError(f"{twice!r} is listed more than once in the names; keep one row for each picture")
        object.__setattr__(self, "keypoints", self.keypoints.float())
        self._check_values()

    def _check_values(self) -> None:
        scores = self.keypoints[..., 2]
        far = ~(self.keypoints[..., :2].abs() <= FARTHEST).all(2)  # NaN compares false
        self._refuse(far, f"x and y must be finite numbers of pixels, at most {FARTHEST:g}")
        self._refuse(~((scores >= 0) & (scores <= 1)), "a score must lie between 0 and 1 (rescale the scores)")

    def _refuse(self, bad: Tensor, rule: str) -> None:
        if bad.any():
            row, joint = bad.nonzero()[0].tolist()
            x, y, score = self.keypoints[row, joint].tolist()
            raise InputError(
                f"row {row} ({self.names[row]!r}), {JOINTS[joint]} is x={x:g} y={y:g} score={score:g}; {rule}"
            )

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def lookup(self, names: Sequence[str]) -> tuple[Tensor, int]:
        """The keypoints of `names` [len(names),17,3], zeros for those not in the file, and how many those are."""
        rows = torch.tensor([self._rows.get(name, -1) for name in names], dtype=torch.int64)
        found = self.keypoints.new_zeros(len(names), len(JOINTS), 3)
        found[rows >= 0] = self.keypoints[rows[rows >= 0]]
        return found, int((rows < 0).sum())


def load_keypoints(path: Path) -> KeypointFile:
    """Load and check a `keypoints.npz` with the arrays `names` [N], `keypoints` [N,17,3] and `source`."""
    names, keypoints, source = _load_arrays(path, ("names", "keypoints", "source"))
    if names.dtype.kind != "U" or names.ndim != 1 or source.dtype.kind != "U" or source.size != 1:
        raise InputError(
            f"{shown(path)}: names are {names.dtype}{list(names.shape)}, source is {source.dtype}{list(source.shape)}; "
            f"expected a list of strings and one string; save the file again with save_keypoints"
        )
    if keypoints.dtype.kind not in "fiu":
        raise InputError(f"{shown(path)}: keypoints are {keypoints.dtype}; expected real numbers, float32 [N,17,3]")
    try:
        numbers = torch.from_numpy(keypoints.astype(np.float64))  # a large number stays one until it is refused
        return KeypointFile(tuple(names.tolist()), numbers, str(source.item()))
    except InputError as error:
        raise InputError(f"{shown(path)}: {error}") from None


def save_keypoints(path: Path, file: KeypointFile) -> None:
    """Save `file` as a compressed .npz without pickle; an older file at `path` stays whole until the new one is."""
    with whole(path) as beside, beside.open("wb") as out:
        np.savez_compressed(
            out,
            names=np.array(file.names, dtype=np.str_),
            keypoints=file.keypoints.cpu().numpy(),
            source=np.array(file.source, dtype=np.str_),
        )


def below(name: str) -> PurePosixPath:
    """Where files about the picture `name` lie in a folder for such files: within it, also if a manifest names its
    pictures by absolute paths, or by a way out of its folder."""
    apart = {"/": "from the root", "//": "from the root", "..": "up"}  # no two names have one place
    return PurePosixPath(*(apart.get(part, part) for part in PurePosixPath(name).parts))


def find_fields(root: Path, name: str, folder: str = FIELDS_FOLDER) -> Path | None:
    """The file of confidence fields for the picture `name` (relative to the data set's `root`), or None.

    The released files leave out the picture's ending, and, where a data set has a folder for each person, that folder.
    """
    picture = below(name)
    file_names = [f"{picture.name}.npy", f"{picture.stem}.npy", f"{picture.name}.confidence_fields.npy"]
    folders = [picture.parent, *picture.parents[1:2]] if len(picture.parts) > 2 else [picture.parent]
    candidates = (root / folder / parent / file_name for parent in folders for file_name in file_names)
    return next((path for path in candidates if path.is_file()), None)


def load_fields(path: Path) -> Tensor:
    """BPBreID's confidence fields of one picture → float32 [36,h,w] in 0..1, in the order of `FIELDS`."""
    fields = _load_array(path)
    if fields.dtype.kind not in "fiu" or fields.ndim != 3 or len(fields) != len(FIELDS) or not fields.size:
        raise InputError(
            f"{shown(path)}: found {fields.dtype}{list(fields.shape)}; confidence fields are numbers of shape "
            f"[{len(FIELDS)}, height, width]: {len(JOINTS)} joints, then {len(FIELDS) - len(JOINTS)} limbs"
        )
    if not np.isfinite(fields).all():
        channel = int(np.argwhere(~np.isfinite(fields))[0, 0])
        raise InputError(
            f"{shown(path)}: field {channel} ({FIELDS[channel]}) holds NaN or infinity; make the file again"
        )
    return torch.from_numpy(fields.clip(0, 1).astype(np.float32))


def load_part_labels(path: Path, parts: int | None = None) -> Tensor:
    """A part-label image (PNG, one integer or palette index a pixel, 0 = background) → int64 [h,w].

    With `parts`, labels above that number are refused.
    """
    labels = _load_label_image(path)
    highest = int(labels.max())
    if parts is not None and highest > parts:
        raise InputError(
            f"{shown(path)}: holds the label {highest}; with {parts} parts labels are 0 (background) to {parts}; "
            f"renumber the image or choose another grouping"
        )
    return torch.from_numpy(labels)


def save_part_labels(path: Path, labels: Tensor, palette: Sequence[tuple[int, int, int]]) -> None:
    """Save `labels` uint8 [h,w] as a PNG of palette indices; number i is shown in the i-th colour of `palette`."""
    picture = Image.fromarray(labels.cpu().numpy())
    spare = max(0, 17 - len(palette))  # from 17 colours on it is a byte a pixel, which is easier to read, and smaller
    picture.putpalette([shade for colour in (*palette, *[(255, 255, 255)] * spare) for shade in colour])
    with whole(path) as beside:
        picture.save(beside, "PNG")


def _load_label_image(path: Path) -> NDArray[np.int64]:
    _check_exists(path)
    try:
        with Image.open(path, formats=("PNG",)) as image:
            mode, labels = image.mode, np.asarray(image)
    except Exception as error:  # whatever Pillow and zlib raise on a broken file
        raise InputError(
            f"{shown(path)}: not a readable PNG ({_first_line(error)}); save the labels as PNG again"
        ) from None
    if mode not in LABEL_MODES:
        raise InputError(
            f"{shown(path)}: a PNG of mode {mode}; part labels need one integer a pixel ({', '.join(LABEL_MODES)}); "
            f"convert the colours to part numbers first"
        )
    return labels.astype(np.int64)


def _load_arrays(path: Path, wanted: tuple[str, ...]) -> list[NDArray[np.generic]]:
    _check_exists(path)
    try:
        with path.open("rb") as opened:  # numpy leaves a file open that turns out to be broken
            archive = np.load(opened, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError("one array, not an archive of several")
            missing = [name for name in wanted if name not in archive]
            arrays = [archive[name] for name in wanted if name not in missing]
    except Exception as error:  # whatever zipfile, zlib and numpy raise on a broken file
        raise InputError(
            f"{shown(path)}: not a readable .npz file of plain arrays ({_first_line(error)}); make the file again"
        ) from None
    if missing:
        raise InputError(f"{shown(path)}: lacks the array {missing[0]!r}; a keypoint file holds {', '.join(wanted)}")
    return arrays


def _load_array(path: Path) -> NDArray[np.generic]:
    _check_exists(path)
    try:
        with path.open("rb") as opened:
            array = np.load(opened, allow_pickle=False)
            if not isinstance(array, np.ndarray):
                raise ValueError("an archive of several arrays, not one")
    except Exception as error:  # whatever zipfile and numpy raise on a broken file
        raise InputError(
            f"{shown(path)}: not a readable .npy file of plain numbers ({_first_line(error)}); make the file again"
        ) from None
    return array


def _check_exists(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{shown(path)}: is a folder, no file; move it away, or name another file")
    if not path.is_file():
        raise InputError(f"{shown(path)}: no such file; check the path")


def _first_line(error: Exception) -> str:
    if "pickle" in str(error):  # numpy's words advise to trust the file
        return "it is something else"
    return next(iter(str(error).splitlines()), type(error).__name__)
