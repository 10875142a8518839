"""Render a set of the world into a folder, in Market-1501's layout and with all that is known of each picture.

    bounding_box_train/ query/ bounding_box_test/ query_holistic/ query_partial/    the pictures, as JPEG
    parts/<the same>.png    which pixel is which part: palette indices, the numbers of `world.shapes.PARTS`
    keypoints.npz           score 1: seen; 0.5: behind the person's own body; 0: behind something else, or outside
    world.csv               a row for each picture: who, which camera, role, what hides how much, where the body lies
    world.json              the setting, and what was measured

The pictures are painted in chunks, which are the same whatever the number of workers. When the pictures of a chunk are
written, its rows become a file in `.chunks`; what lies there is never painted again. In the end, or when the work is
stopped or fails, all finished chunks are put together, if there is room; `.chunks` goes when nothing is missing.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import torch

from halfseen import __version__
from halfseen.data.cues import KeypointFile, save_keypoints
from halfseen.data.files import PART, alone, shown, whole
from halfseen.data.images import read_bytes, read_image
from halfseen.data.sets.folders import SUFFIXES, scan
from halfseen.data.sets.world import CARD, CHUNKS, TABLE
from halfseen.painting import Chunk, Job, Record, finished, labels_name, paint_all
from halfseen.types import InputError, Occlusion, Progress
from halfseen.world.cameras import CAMERAS
from halfseen.world.plan import Planned, plan
from halfseen.world.wardrobe import draw_people, part_sharing

FORMAT = 1  # of the files, and of the world that a seed gives; another number means other pictures
CHUNK = 32
MOST_PHOTOS = 64  # they are all held in memory, by each worker
KEYPOINTS = "keypoints.npz"
COLUMNS = (
    *("path", "pid", "camid", "role", "occlusion", "thing", "covered", "activity"),
    *(f"{box}_{edge}" for box in ("whole", "seen") for edge in ("left", "top", "right", "bottom")),
)

Card: TypeAlias = dict[str, Any]  # what world.json says


@dataclass(frozen=True)
class Report:
    """What lies in `out`, and how many of its pictures were `rendered` just now.

    `roles`: people and images of each; `sharing`: of each part, the mean share of other people who have its look too;
    `covered`: the mean share of the body that is hidden where something hides it.
    """

    out: Path
    rendered: int
    roles: Mapping[str, tuple[int, int]]
    sharing: Mapping[str, float]
    covered: float


def render_set(job: Job, *, workers: int | None = None, progress: Progress | None = None) -> Report:
    """Render what `job` says with some `workers` (default: all cores); what an earlier call finished stays."""
    _check(job, workers)
    people = draw_people(job.setting.ids, job.setting.seed, job.setting.sharing)
    planned = plan(job.setting, people, CAMERAS)
    card: Card = {"format": FORMAT, "halfseen": __version__, "setting": _setting(job), "sharing": part_sharing(people)}
    _make(job.out)
    with alone(job.out):
        complete = _claim(job.out, card, planned)
        if complete:
            return _report(job.out, complete, 0)
        return _render(job, card, planned, workers or os.cpu_count() or 1, progress)


def _render(job: Job, card: Card, planned: Sequence[Planned], workers: int, progress: Progress | None) -> Report:
    chunks = _chunks(planned)
    todo = [chunk for chunk in chunks if finished(job.out, chunk) is None]
    with _keeping(job.out, chunks, planned):
        _paint(job, todo, len(planned), workers, progress)
        records = _put_together(job.out, chunks, planned)
        if len(records) < len(planned):  # somebody took some of CHUNKS away meanwhile
            raise InputError(f"{shown(job.out)} has lost what was known of {len(planned) - len(records):,} pictures")
        card |= _measured(records)
        _put(job.out / CARD, _json(card))
    shutil.rmtree(job.out / CHUNKS)
    return _report(job.out, card, sum(len(chunk.planned) for chunk in todo))


def photos_in(folder: Path) -> tuple[Path, ...]:
    """The pictures that lie directly in `folder`, by name; no more than can be held in memory, and none damaged."""
    photos = [folder / entry.name for entry in scan(folder) if entry.name.lower().endswith(SUFFIXES)]
    if not photos:
        raise InputError(
            f"{shown(folder)} holds no picture; put photos there ({', '.join(SUFFIXES)}), or name no folder"
        )
    for photo in photos[:MOST_PHOTOS]:
        read_image(photo)  # before the work, not in it
    return tuple(photos[:MOST_PHOTOS])


def _check(job: Job, workers: int | None) -> None:
    if workers is not None and workers < 1:
        raise InputError(f"{workers} workers cannot render anything; give 1 or more, or none to take all cores")
    try:
        device = torch.device(job.device)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"there is no rendering on {job.device!r}; choose cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"{torch.cuda.device_count()} CUDA devices are at hand, {job.device!r} is none; choose cpu")


def _setting(job: Job) -> Card:
    """All that decides how the pictures look, as JSON gives it back."""
    digest = sha256(b"".join(sha256(read_bytes(path)).digest() for path in job.photos)).hexdigest()
    photos = f"{len(job.photos)} photos ({digest[:12]})" if job.photos else "painted"
    setting: Card = json.loads(json.dumps(vars(job.setting)))
    return setting | {"backgrounds": photos}


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{shown(out)} cannot be made ({reason}); choose a folder that is yours") from error


def _claim(out: Path, card: Card, planned: Sequence[Planned]) -> Card | None:
    """Make `out` ready, if it is empty, or holds the beginning of the same; if it holds all, return its card."""
    names = [entry.name for entry in scan(out) if not entry.name.endswith(PART)]
    if names and CARD not in names:
        raise InputError(f"{shown(out)} holds other things ({shown(names[0])}); choose a new folder, or empty this one")
    if CARD in names:
        earlier = _earlier(out, card)
        if "roles" in earlier and TABLE in names:
            shutil.rmtree(out / CHUNKS, ignore_errors=True)
            return earlier
    _sweep(out)
    _put(out / CARD, _json(card))
    pictures = [Path(name) for each in planned for name in (each.name, labels_name(each.name))]
    for folder in (Path(CHUNKS), *dict.fromkeys(picture.parent for picture in pictures)):
        (out / folder).mkdir(parents=True, exist_ok=True)
    return None


def _earlier(out: Path, card: Card) -> Card:
    """The card in `out`, which must tell of the same setting as `card`."""
    try:
        earlier: Card = json.loads((out / CARD).read_bytes())
        was = earlier["setting"] | {"format": earlier["format"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{shown(out / CARD)} does not say which world lies there; choose a new folder") from error
    now = card["setting"] | {"format": FORMAT}
    differing = [
        f"{name} {was.get(name)} (now {now.get(name)})" for name in was | now if was.get(name) != now.get(name)
    ]
    if differing:
        raise InputError(
            f"{shown(out)} holds a world with {', '.join(differing)}; ask for the same again, or choose a new folder"
        )
    return earlier


def _chunks(planned: Sequence[Planned]) -> list[Chunk]:
    """Chunks of pictures from all over the plan, so that some of them are a small set and not some of its people."""
    mixed = sorted(planned, key=lambda each: sha256(each.name.encode()).digest())
    starts = range(0, len(mixed), CHUNK)
    return [Chunk(number, tuple(mixed[start : start + CHUNK])) for number, start in enumerate(starts)]


def _paint(job: Job, todo: list[Chunk], total: int, workers: int, progress: Progress | None) -> None:
    tell = progress or (lambda _done, _all: None)
    done = total - sum(len(chunk.planned) for chunk in todo)
    tell(done, total)
    with _ending_like_ctrl_c(), contextlib.closing(paint_all(job, todo, workers)) as counts:
        for count in counts:
            done += count
            tell(done, total)


@contextlib.contextmanager
def _ending_like_ctrl_c() -> Iterator[None]:
    """What ends a program from outside (SIGTERM) is Ctrl-C in here, so that there is time to put things together."""
    if threading.current_thread() is not threading.main_thread():  # where no signal can be waited for
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _keeping(out: Path, chunks: Sequence[Chunk], planned: Sequence[Planned]) -> Iterator[None]:
    """If the work in here is stopped or fails, what is finished is put together, so that it can be used."""
    try:
        yield
    except BaseException as error:
        _sweep(out)
        with contextlib.suppress(InputError):  # the disk may be full
            _put_together(out, chunks, planned)
        if not isinstance(error, InputError):
            raise
        complete = sum(len(chunk.planned) for chunk in chunks if finished(out, chunk) is not None)
        raise InputError(
            f"{error}; {complete:,} of {len(planned):,} pictures are complete, and the same command goes on from there"
        ) from error


def _put_together(out: Path, chunks: Sequence[Chunk], planned: Sequence[Planned]) -> list[Record]:
    """Write world.csv and keypoints.npz of all finished chunks, in the order of the plan."""
    found = {record[0][0]: record for chunk in chunks for record in finished(out, chunk) or []}
    records = [found[each.name] for each in planned if each.name in found]
    if records:
        names = tuple(cells[0] for cells, _ in records)
        keypoints = torch.tensor([points for _, points in records])
        save_keypoints(out / KEYPOINTS, KeypointFile(names, keypoints, f"halfseen world {FORMAT}: known exactly"))
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([COLUMNS, *(cells for cells, _ in records)])
        _put(out / TABLE, text.getvalue())
    return records


def _measured(records: Sequence[Record]) -> Card:
    """People and images of each role, and how much is hidden where something is."""
    pids: dict[str, list[str]] = {}
    for cells, _ in records:
        pids.setdefault(cells[3], []).append(cells[1])
    covered = [float(cells[6]) for cells, _ in records if cells[4] != Occlusion.HOLISTIC.name.lower()]
    roles = {role: {"people": len(set(some)), "images": len(some)} for role, some in pids.items()}
    return {"roles": roles, "covered": round(sum(covered) / max(1, len(covered)), 4)}


def _report(out: Path, card: Card, rendered: int) -> Report:
    roles = {role: (counts["people"], counts["images"]) for role, counts in card["roles"].items()}
    return Report(out, rendered, roles, card["sharing"], card["covered"])


def _sweep(out: Path) -> None:
    """Take away what was being written when an earlier call was killed."""
    for leftover in out.rglob(f".*{PART}"):
        leftover.unlink(missing_ok=True)


def _json(card: Card) -> str:
    return json.dumps(card, indent=2) + "\n"


def _put(path: Path, text: str) -> None:
    with whole(path) as beside:
        beside.write_text(text, encoding="utf-8")
