"""Write a set, its edits carried out, as plain files that any other program can read.

    bounding_box_train/ query/ bounding_box_test/    <pid>_c<camid>_<number in the split>.png or .jpg
    masks/<the same>.png     1-bit: the pixels that pasted occluders hide, for the pictures that have one
    manifest.csv             path, pid, camid (where the set has cameras), split, time, occlusion;
                             and occluder, covered, kept, original
    keypoints.npz            where the set has one: the same points under the new names
    export.json              what was exported: set, variants, seeds, counts, version of halfseen

A picture without edits is copied byte for byte if its name says JPEG or PNG. All others become PNG, which is lossless,
so that the files hold exactly the pixels that reading the set gives. Each is read once before it is written, so nothing
damaged is passed on. Every file appears under its name when it is whole, export.json first and manifest.csv last; a
later call with the same set carries on where an earlier one was stopped.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from halfseen import __version__
from halfseen.data.cues import KeypointFile, load_keypoints, save_keypoints
from halfseen.data.files import PART, alone, shown, whole
from halfseen.data.fitting import stored_sizes
from halfseen.data.memory import cut
from halfseen.data.sets.folders import pid_and_camera
from halfseen.data.variants import read_sample
from halfseen.types import SPLITS, InputError, KeepTop, Occluder, Paste, Progress, Sample, Splits

Layout: TypeAlias = Literal["market"]

FOLDERS = dict(zip(SPLITS, ("bounding_box_train", "query", "bounding_box_test"), strict=True))
MANIFEST, CARD, KEYPOINTS = "manifest.csv", "export.json", "keypoints.npz"
COLUMNS = ("path", "pid", "camid", "split", "time", "occlusion", "occluder", "covered", "kept", "original")
COPIED = {".jpg": ".jpg", ".jpeg": ".jpg", ".png": ".png"}
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"

_VARIANT = re.compile(r"\+(partial|occluded)(?:@(-?\d+))?")


class Task(NamedTuple):
    """One picture to write: `path` and `mask` say where, `made` in a line how the picture comes about."""

    sample: Sample
    split: str
    camid: int
    name: str
    path: Path
    mask: Path | None
    made: str
    copied: bool


class Hidden(NamedTuple):
    """What an occluder hides of a picture, as the manifest says it."""

    occluder: str = Occluder.NONE.name.lower()
    covered: str = "0.0000"


def export(
    splits: Splits,
    out: str | os.PathLike[str],
    *,
    layout: Layout = "market",
    masks: bool = True,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write the pictures of `splits` into the folder `out`; returns the manifest's path."""
    if layout != "market":
        raise InputError(f"layout is {layout!r}; the one there is is 'market'")
    if workers is not None and workers < 1:
        raise InputError(f"{workers} workers cannot write anything; give 1 or more, or none to let the machine decide")
    try:
        target = Path(out).resolve()
        if target.is_file():
            raise InputError(f"{shown(out)} is a file; choose another name, of a folder to export into")
        tasks = list(_tasks(splits, target, masks))
        _check_place(target, splits)
        target.mkdir(parents=True, exist_ok=True)
        with alone(target):
            _claim(target, _card(splits, tasks, layout, masks))
            _carry_keypoints(splits, tasks, target)
            hidden = _write_all(tasks, workers or os.cpu_count() or 1, progress)
            _put(target / MANIFEST, _manifest(tasks, hidden, splits.has_cameras))
    except InputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"the export to {shown(out)} stopped: {reason}; make room there or choose another folder, and start again"
        ) from error
    return target / MANIFEST


def _tasks(splits: Splits, target: Path, masks: bool) -> Iterator[Task]:
    for split, samples in splits.by_name.items():
        folder = FOLDERS[split]
        for number, sample in enumerate(samples, 1):
            camid = sample.camid if splits.has_cameras or split == "train" else int(split == "gallery")
            pid = f"{sample.pid:04d}" if sample.pid >= 0 else str(sample.pid)
            stem = f"{folder}/{pid}_c{camid}_{number:06d}"
            suffix = None if sample.edits else COPIED.get(sample.path.suffix.lower())
            name = stem + (suffix or ".png")
            _check_read_back(name, sample, split, camid)
            pasted = any(isinstance(edit, Paste) for edit in sample.edits)
            mask = target / "masks" / f"{stem}.png" if masks and pasted else None
            made = _recipe(sample, splits.root)
            yield Task(sample, split, camid, name, target / name, mask, made, copied=suffix is not None)


def _check_read_back(name: str, sample: Sample, split: str, camid: int) -> None:
    """Refuse people and cameras that `name` cannot say: whoever reads Market-1501's layout would leave it out."""
    if pid_and_camera(name) != (sample.pid, camid):
        raise InputError(
            f"{split} {shown(sample.name)} shows person {sample.pid} by camera {camid}, and programs that read "
            f"Market-1501 pass by {name!r}; number people and cameras from 0 on, by at most 9 digits, and export then"
        )


def _recipe(sample: Sample, root: Path) -> str:
    steps = [shown(sample.name)]
    for edit in sample.edits:
        if isinstance(edit, KeepTop):
            steps.append(f"keep the upper 1/{edit.parts}")
        else:
            source = edit.source.relative_to(root).as_posix() if edit.source.is_relative_to(root) else edit.source.name
            steps.append(f"paste {edit.kind.name.lower()} from {shown(source)} with seed {edit.seed}")
    return "; ".join(steps)


def _card(splits: Splits, tasks: list[Task], layout: str, masks: bool) -> bytes:
    """What export.json says; two exports are the same thing if they say the same."""
    facts = "\n".join(f"{t.name} {t.sample.time} {int(t.sample.occlusion)} {t.made}" for t in tasks)
    card = {
        "name": splits.name,
        "set": _VARIANT.split(splits.name)[0],
        "variants": [{"rule": rule, "seed": int(seed or 0)} for rule, seed in _VARIANT.findall(splits.name)],
        "counts": {split: len(samples) for split, samples in splits.by_name.items()},
        "layout": layout,
        "masks": masks,
        "pictures": sha256(facts.encode()).hexdigest(),
        "halfseen": __version__,
    }
    return (json.dumps(card, indent=2) + "\n").encode()


def _check_place(target: Path, splits: Splits) -> None:
    if not (splits.train or splits.query or splits.gallery):
        raise InputError(f"the set {splits.name!r} holds no pictures; check what was read before exporting it")
    root = splits.root.resolve()
    if target == root or root in target.parents:
        raise InputError(f"{shown(target)} lies in the folder of the set itself; choose an export folder outside of it")


def _claim(target: Path, card: bytes) -> None:
    """Make sure that `target` is empty or an earlier export of the same thing, and prepare its folders."""
    earlier = (target / CARD).read_bytes() if (target / CARD).is_file() else None
    if earlier != card and any(target.iterdir()):
        what = "holds an export of something else" if earlier else "is not empty"
        raise InputError(f"{shown(target)} {what}; choose a new folder, or empty this one first")
    for leftover in target.rglob(f".*{PART}"):  # of an export that was killed
        leftover.unlink(missing_ok=True)
    for split in SPLITS:
        (target / FOLDERS[split]).mkdir(exist_ok=True)
    _put(target / CARD, card)


def _write_all(tasks: list[Task], workers: int, progress: Progress | None) -> list[Hidden]:
    """Write the pictures that aren't written yet."""
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(_write, task) for task in tasks]
        try:
            for done, future in enumerate(as_completed(futures), 1):
                future.result()
                if progress is not None:
                    progress(done, len(tasks))
        except BaseException:  # Ctrl-C too: what is being written becomes whole, what waits never starts
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in futures]


def _write(task: Task) -> Hidden:
    return (_written_copy(task) or _copy(task)) if task.copied else (_written_png(task) or _make_png(task))


def _written_copy(task: Task) -> Hidden | None:
    source = task.sample.path
    there = task.path.is_file() and source.is_file() and task.path.stat().st_size == source.stat().st_size
    return Hidden() if there and task.path.read_bytes() == source.read_bytes() else None


def _copy(task: Task) -> Hidden:
    read_sample(task.sample)  # raises if it is damaged
    _put(task.path, task.sample.path.read_bytes())
    return Hidden()


def _written_png(task: Task) -> Hidden | None:
    """What an earlier call noted in the picture, if picture and mask are there, whole, and made in the same way."""
    if not _is_whole_png(task.path) or (task.mask is not None and not _is_whole_png(task.mask)):
        return None
    with Image.open(task.path) as picture:
        notes = picture.info
    if (notes.get("Comment"), notes.get("Source")) != (task.made, _digest(task.sample)):
        return None
    return Hidden(notes["Occluder"], notes["Covered"])


def _digest(sample: Sample) -> str:
    """Of the files that a picture is made from, which may have become others since it was."""
    whole = sha256()
    for path in (sample.path, *(edit.source for edit in sample.edits if isinstance(edit, Paste))):
        with suppress(OSError):  # making it anew says what is wrong
            whole.update(sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def _make_png(task: Task) -> Hidden:
    digest = _digest(task.sample)
    image, mask, occluder = read_sample(task.sample)
    hidden = Hidden()
    if mask is not None:
        hidden = Hidden(occluder.name.lower(), f"{mask.float().mean().item():.4f}")
        if task.mask is not None:
            task.mask.parent.mkdir(parents=True, exist_ok=True)
            _put(task.mask, _png(mask.numpy(), {}))
    notes = {"Comment": task.made, "Source": digest, "Occluder": hidden.occluder, "Covered": hidden.covered}
    _put(task.path, _png(image.permute(1, 2, 0).numpy(), notes))
    return hidden


def _png(pixels: NDArray[np.uint8] | NDArray[np.bool_], notes: dict[str, str]) -> bytes:
    """`pixels` uint8 [H,W,3] or bool [H,W] as the bytes of a PNG file that also holds `notes`."""
    texts, file = PngInfo(), io.BytesIO()
    for key, text in notes.items():
        texts.add_text(key, text)
    Image.fromarray(pixels).save(file, "PNG", pnginfo=texts)
    return file.getvalue()


def _is_whole_png(path: Path) -> bool:
    return path.is_file() and path.read_bytes().endswith(PNG_END)


def _manifest(tasks: list[Task], hidden: list[Hidden], has_cameras: bool) -> bytes:
    """A set without cameras has none here either, so that it is scored alike: those in the names stand for splits."""
    text = io.StringIO()
    columns = [column for column in COLUMNS if has_cameras or column != "camid"]
    table = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    for task, (occluder, covered) in zip(tasks, hidden, strict=True):
        sample = task.sample
        kept = prod(1 / edit.parts for edit in sample.edits if isinstance(edit, KeepTop))
        time = "" if sample.time is None else sample.time
        facts = (task.name, sample.pid, task.camid, task.split, time, sample.occlusion.name.lower())
        row = (*facts, occluder, covered, f"{kept:.4g}", shown(sample.name))
        table.writerow(dict(zip(COLUMNS, row, strict=True)))
    return text.getvalue().encode()


def _carry_keypoints(splits: Splits, tasks: list[Task], target: Path) -> None:
    """Where the set has keypoints, the export has them too, under its own names. Edits move no point, but joints that
    are cut off have the score 0; pictures that the file does not name it does not name here."""
    if (splits.root / KEYPOINTS).is_file():
        file = load_keypoints(splits.root / KEYPOINTS)
        known = [task for task in tasks if task.sample.name in file]
        found, _ = file.lookup([task.sample.name for task in known])
        rows = [row for row, t in enumerate(known) if any(isinstance(edit, KeepTop) for edit in t.sample.edits)]
        samples = [known[row].sample for row in rows]
        heights, _ = stored_sizes(samples).unbind(1)
        left = torch.tensor([len(cut(torch.empty(h, 0), s)) for h, s in zip(heights.tolist(), samples, strict=True)])
        off = found[rows, :, 1] > left[:, None] - 0.5
        found[rows, :, 2] = found[rows, :, 2].masked_fill(off, 0.0)
        save_keypoints(target / KEYPOINTS, KeypointFile(tuple(t.name for t in known), found, file.source))


def _put(path: Path, data: bytes) -> None:
    with whole(path) as beside:
        beside.write_bytes(data)
