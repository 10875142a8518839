"""Worlds for tests that need one quickly: people as noise, which follows from the seed of each shot alone."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

import torch
from torch import Tensor

from halfseen.data.cues import save_part_labels
from halfseen.data.files import whole
from halfseen.painting import Job, Paint
from halfseen.types import Occlusion
from halfseen.world.plan import Setting, Shot
from halfseen.world.render import Pictures

SETTING = Setting(ids=10, images=10, cameras=3, height=32, width=16, seed=5, sharing=0.2)  # 100 pictures, 4 chunks


def studio(job: Job) -> Paint:
    """Noise instead of people."""
    return partial(noise, size=(job.setting.height, job.setting.width))


def noise(shots: Sequence[Shot], size: tuple[int, int]) -> Pictures:
    """Pictures that differ in all that is told of them."""
    height, width = size
    dice = [torch.Generator().manual_seed(shot.seed) for shot in shots]

    def each(draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        return torch.stack([draw(die) for die in dice])

    hidden = torch.tensor([float(shot.occlusion is not Occlusion.HOLISTIC) for shot in shots])
    return Pictures(
        images=each(lambda die: torch.randint(0, 256, (3, height, width), generator=die, dtype=torch.uint8)),
        rows=torch.tensor([round(height * shot.keep) for shot in shots]),
        parts=each(lambda die: torch.randint(0, 10, size, generator=die, dtype=torch.uint8)),
        keypoints=each(lambda die: torch.rand(17, 2, generator=die)) * torch.tensor([width, height]),
        state=each(lambda die: torch.randint(0, 3, (17,), generator=die, dtype=torch.uint8)),
        covered=each(lambda die: torch.rand((), generator=die)) * hidden,
        whole_box=each(lambda die: 40 * torch.rand(4, generator=die)),
        seen_box=each(lambda die: 20 * torch.rand(4, generator=die)),
    )


def slow_studio(job: Job) -> Paint:
    """As `studio`, but after one chunk the next takes minutes; a file beside the set is named like the process."""
    (job.out.parent / f"{os.getpid()}.pid").touch()
    waits = iter([0])

    def paint(shots: Sequence[Shot]) -> Pictures:
        time.sleep(next(waits, 300))
        return studio(job)(shots)

    return paint


def full_studio(job: Job) -> Paint:
    """As `studio`, but in the process that opens it the disk is full after 40 pictures."""
    mock.patch("halfseen.painting.save_part_labels", full_after(40)).start()
    return studio(job)


def full_after(pictures: int) -> Callable[..., None]:
    """How labels are saved on a disk that is full after so many."""
    left = iter(range(pictures))

    def save(path: Path, *labels: Any) -> None:
        if next(left, None) is not None:
            return save_part_labels(path, *labels)
        with whole(path) as beside:
            beside.write_bytes(b"half a picture")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return save


def dying_studio(_: Job) -> NoReturn:
    """As if the system had ended the process for lack of memory."""
    os._exit(9)


def files_of(folder: Path) -> dict[str, bytes]:
    """What lies in `folder`, by name."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def interrupt_after(chunks: int) -> Callable[[int, int], None]:
    """A listener to the progress that presses Ctrl-C after some chunks."""
    left = iter(range(chunks + 1))  # the first call tells where the work begins

    def hear(_done: int, _all: int) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    return hear
