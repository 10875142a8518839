"""Films, looked at a few times a second, through OpenCV."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from halfseen.data.files import shown
from halfseen.gallery.indexing.sources import DamagedError
from halfseen.gallery.indexing.times import shown_time
from halfseen.types import InputError

TAKEN = "what comes before is taken"
WHOLE = 0.9  # a film that ends before this share of the frames it claims was cut short; headers are not exact
USUAL_RATE = 25.0  # frames a second where a film does not say


class Look(NamedTuple):
    """A frame at `moment` seconds from the beginning; `fetch` decodes it, until the next look: uint8 RGB [3,H,W]."""

    moment: float
    fetch: Callable[[], Tensor]


def opencv() -> ModuleType:
    """The module, told to be quiet: a damaged film is one sentence, and it is ours."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # FFmpeg writes to standard error by itself
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    try:
        import cv2  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise InputError(f"films need OpenCV ({error}); run pip install 'halfseen[search]'") from error
    return cv2


def duration(path: Path) -> float:
    """The seconds that the film at `path` claims to last; 0 if it does not say."""
    cv2 = opencv()
    film = _opened(path)
    try:
        return max(0.0, float(film.get(cv2.CAP_PROP_FRAME_COUNT))) / _rate(film)
    finally:
        film.release()


def looks(path: Path, every: float) -> Generator[Look, None, None]:
    """The film at `path`, a look for each `every` seconds of it; in the end DamagedError if it is cut short."""
    cv2 = opencv()
    film = _opened(path)
    try:
        rate, claimed = _rate(film), film.get(cv2.CAP_PROP_FRAME_COUNT)
        frames, moment, due = 0, 0.0, 0.0
        while film.grab():
            told = film.get(cv2.CAP_PROP_POS_MSEC) / 1000
            moment = told if told > moment else frames / rate  # some films have no clock
            frames += 1
            nearly = moment + 0.5 / rate
            if nearly >= due:  # the frame nearest to when it is due
                due = every * (nearly // every + 1)
                yield Look(moment, lambda: _frame(film, path))
        if not frames:
            raise DamagedError(
                f"{shown(path)} has no frame that can be read; convert it, or replace it by the original"
            )
        if frames < WHOLE * claimed:
            where = f"at {shown_time(moment)} of {shown_time(claimed / rate)}"
            raise DamagedError(f"{shown(path)} ends {where}: it is cut short or damaged; {TAKEN}")
    finally:
        film.release()


def _opened(path: Path) -> Any:
    film = opencv().VideoCapture(str(path))
    if not film.isOpened():
        problem = "cannot be opened as a film" if path.is_file() else "does not exist"
        raise DamagedError(f"{shown(path)} {problem}; check it with a player, or take it away")
    return film


def _rate(film: Any) -> float:
    rate = float(film.get(opencv().CAP_PROP_FPS))
    return rate if 0 < rate <= 1000 else USUAL_RATE


def _frame(film: Any, path: Path) -> Tensor:
    done, frame = film.retrieve()
    if not done or frame is None:  # it says so in both ways
        raise DamagedError(
            f"{shown(path)} has a frame that cannot be decoded; convert it, or replace it by the original"
        )
    return torch.from_numpy(frame[:, :, ::-1].copy()).permute(2, 0, 1)
