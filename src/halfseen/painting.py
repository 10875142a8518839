"""Paint pictures of the world chunk by chunk, and write them: alone, in several processes, or in batches on a GPU."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from halfseen.data.cues import save_part_labels
from halfseen.data.files import whole
from halfseen.data.images import read_image, save_image
from halfseen.data.sets.world import CHUNKS
from halfseen.processes import shared_out
from halfseen.world.cameras import CAMERAS, FRAME
from halfseen.world.plan import Planned, Setting, Shot
from halfseen.world.render import Pictures, build, render
from halfseen.world.sheet import PALETTE

PARTS = "parts"  # the folder of the label images
ON_GPU = 8  # chunks painted at once there
SCORES = (0.0, 0.5, 1.0)  # of a joint's state: behind something else, behind the own body, seen

Counts: TypeAlias = Generator[int, None, None]
Paint: TypeAlias = Callable[[Sequence[Shot]], Pictures]
Record: TypeAlias = tuple[list[str], list[list[float]]]  # a row of world.csv, and the keypoints [17][3]


def open_studio(job: Job) -> Paint:
    """Paint the empty scenes of the job's cameras; what comes back paints people into them."""
    setting = job.setting
    photos = [_shrunk(read_image(path)) for path in job.photos]
    world = build(setting.cameras, setting.seed, setting.height, photos, job.device)
    return partial(render, world, size=(setting.height, setting.width))


@dataclass(frozen=True)
class Job:
    """What to render, and into which folder: `photos` are backgrounds to use instead of painted scenes."""

    out: Path
    setting: Setting
    photos: tuple[Path, ...] = ()
    device: str = "cpu"
    studio: Callable[[Job], Paint] = open_studio


class Chunk(NamedTuple):
    """Pictures that are written together."""

    number: int
    planned: tuple[Planned, ...]

    @property
    def shots(self) -> list[Shot]:
        return [planned.shot for planned in self.planned]


def paint_all(job: Job, chunks: Sequence[Chunk], workers: int) -> Counts:
    """Paint and write `chunks`; say how many pictures each has as soon as it is finished."""
    if not chunks:
        return
    if torch.device(job.device).type == "cuda":
        yield from _on_gpu(job, chunks, workers)
    elif min(workers, len(chunks)) < 2:
        yield from _alone(job, chunks)
    else:
        yield from shared_out(partial(_painter, job), chunks, workers)


def finished(out: Path, chunk: Chunk) -> list[Record] | None:
    """What is known of the pictures of `chunk`, if it is finished."""
    try:
        records: list[Record] = json.loads(_place(out, chunk).read_bytes())
    except (OSError, ValueError):  # ValueError: an empty file, as a loss of power may leave it
        return None
    return records if [cells[0] for cells, _ in records] == [planned.name for planned in chunk.planned] else None


def labels_name(name: str) -> str:
    """Where the part labels of the picture `name` lie."""
    return str(PARTS / PurePosixPath(name).with_suffix(".png"))


def _alone(job: Job, chunks: Sequence[Chunk]) -> Counts:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as each of several processes: more threads may add up in another order
    try:
        paint = job.studio(job)
        for chunk in chunks:
            yield _write(job.out, chunk, paint(chunk.shots))
    finally:
        torch.set_num_threads(threads)


def _on_gpu(job: Job, chunks: Sequence[Chunk], writers: int) -> Counts:
    paint = job.studio(job)
    writing: deque[Future[int]] = deque()
    pool = ThreadPoolExecutor(writers)
    try:
        for start in range(0, len(chunks), ON_GPU):
            some = chunks[start : start + ON_GPU]
            pictures = paint([shot for chunk in some for shot in chunk.shots])
            writing += [pool.submit(_write, job.out, *pair) for pair in zip(some, _split(pictures, some), strict=True)]
            while len(writing) > 2 * ON_GPU:  # what waits to be written is bounded
                yield writing.popleft().result()
        while writing:
            yield writing.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _painter(job: Job) -> Callable[[Chunk], int]:
    """In each process: paint the scenes once, then people into them, one chunk after the other."""
    paint = job.studio(job)
    return lambda chunk: _write(job.out, chunk, paint(chunk.shots))


def _write(out: Path, chunk: Chunk, pictures: Pictures) -> int:
    kept = zip(chunk.planned, pictures.images, pictures.parts, pictures.rows.tolist(), strict=True)
    for planned, image, labels, rows in kept:
        save_image(out / planned.name, image[:, :rows], CAMERAS[planned.shot.camera].quality)
        save_part_labels(out / labels_name(planned.name), labels[:rows], PALETTE)
    with whole(_place(out, chunk)) as beside:
        beside.write_text(json.dumps(_records(chunk, pictures)))
    return len(chunk.planned)


def _place(out: Path, chunk: Chunk) -> Path:
    return out / CHUNKS / f"{chunk.number:06d}.json"


def _records(chunk: Chunk, pictures: Pictures) -> list[Record]:
    scores = torch.tensor(SCORES)[pictures.state.long().cpu()]
    points = torch.cat([pictures.keypoints.double().cpu().round(decimals=2), scores[..., None].double()], dim=2)
    boxes = torch.cat([pictures.whole_box, pictures.seen_box], dim=1).tolist()
    rows = []
    for planned, covered, box in zip(chunk.planned, pictures.covered.tolist(), boxes, strict=True):
        shot = planned.shot
        who = [planned.name, str(shot.pid), str(shot.camera + 1), planned.role.value, shot.occlusion.name.lower()]
        what = [shot.thing.name.lower(), f"{covered:.4f}", shot.stance.activity.name.lower()]
        rows.append(who + what + [f"{edge:.1f}" for edge in box])
    return list(zip(rows, points.tolist(), strict=True))


def _split(pictures: Pictures, chunks: Sequence[Chunk]) -> list[Pictures]:
    """The pictures of each of `chunks`, on the CPU."""
    sizes = [len(chunk.planned) for chunk in chunks]
    columns = {name: values.cpu().split(sizes) for name, values in vars(pictures).items()}
    return [Pictures(**{name: part[i] for name, part in columns.items()}) for i in range(len(chunks))]


def _shrunk(photo: Tensor) -> Tensor:
    """`photo` uint8 [3,H,W], no longer than a camera's frame: what is larger only takes memory."""
    scale = max(FRAME) / max(photo.shape[1:])
    if scale >= 1:
        return photo
    size = [max(1, round(scale * side)) for side in photo.shape[1:]]
    shrunk = torch.nn.functional.interpolate(photo[None].float(), size, mode="bilinear", antialias=True)[0]
    return shrunk.round().clamp(0, 255).to(torch.uint8)
