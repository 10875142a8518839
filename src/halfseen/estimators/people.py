"""What every estimator speaks: the people in a picture, and which of them the picture is about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from halfseen.ops.groupings import JOINTS
from halfseen.types import InputError

People: TypeAlias = Tensor  # float32 [people,17,3]: x, y in pixels of the picture, (0,0) its first one's centre; score
Estimate: TypeAlias = Callable[[Sequence[Tensor]], list[People]]  # RGB uint8 [3,H,W] each → the people in each


class Estimator(NamedTuple):
    """A network that finds people. `about(weights)` says in words how it will do so, or what is missing for that;
    `load(weights, device)` makes it ready. Without `weights` it takes those of its maker."""

    about: Callable[[Path | None], str]
    load: Callable[[Path | None, str], Estimate]


class Choice(NamedTuple):
    """The keypoints of whom a picture is about, [17,3] (zeros: nobody is in it), and those of the others, [n,17,3]."""

    target: Tensor
    others: People


def choose(people: People, size: tuple[int, int]) -> Choice:
    """Whose middle lies nearest to the middle of the picture of `size`; joints outside the picture get score 0.

    A person's middle is the mean of the joints, weighted by their scores. Distances are in widths and heights of the
    picture: crops are narrow, so a step aside tells more than the same step down.
    """
    framed = within(people, size)
    framed = framed[framed[..., 2].amax(1) > 0]
    if not len(framed):
        return Choice(torch.zeros(len(JOINTS), 3), framed)
    weights = framed[..., 2:]
    middles = (framed[..., :2] * weights).sum(1) / weights.sum(1)
    extent = torch.tensor([size[1], size[0]])
    away = ((middles - (extent - 1) / 2) / extent).norm(dim=1)
    nearest = int(away.argmin())
    return Choice(framed[nearest], torch.cat([framed[:nearest], framed[nearest + 1 :]]))


def within(people: People, size: tuple[int, int]) -> People:
    """`people` with score 0 for each joint that lies outside the picture of `size`."""
    x, y, scores = people.unbind(-1)
    inside = (x >= -0.5) & (x < size[1] - 0.5) & (y >= -0.5) & (y < size[0] - 0.5)
    return torch.stack([x, y, scores * inside], dim=-1)


def astray(people: People, shape: Sequence[int]) -> tuple[int, int]:
    """How many joints were told, and how many of them lie outside the image of `shape` [3,H,W]."""
    told, inside = (int((each[..., 2] > 0).sum()) for each in (people, within(people, (shape[1], shape[2]))))
    return told, told - inside


def peaks(maps: Tensor) -> Tensor:
    """Where each of `maps` [...,h,w] is greatest, finer than a cell: [...,3] as column, row and the value there.

    Between the greatest cell and its neighbours a Gaussian is laid through the three values of each axis.
    """
    height, width = maps.shape[-2:]
    value, place = maps.flatten(-2).max(-1)
    row, column = place // width, place % width
    logs = maps.clamp(min=1e-6).log().flatten(-2)

    def shift(step: int, at: Tensor, length: int) -> Tensor:
        before, here, after = (
            logs.gather(-1, (place + by).clamp(0, height * width - 1)[..., None])[..., 0] for by in (-step, 0, step)
        )
        bend = 2 * here - before - after
        moved = torch.where(bend > 0, 0.5 * (after - before) / bend.clamp(min=1e-12), 0.0)
        return moved.clamp(-0.5, 0.5) * ((at > 0) & (at < length - 1))  # at the edge one neighbour is missing

    return torch.stack([column + shift(1, column, width), row + shift(width, row, height), value], dim=-1)


def needed(package: str, extra: str, version: str = "") -> str:
    """The version of `package` that is installed; the sentence that says how to install it, if it is not."""
    from importlib import metadata  # noqa: PLC0415  (takes 20 ms, and few commands ask)

    try:
        found = metadata.version(package)
    except metadata.PackageNotFoundError:
        raise InputError(f"{package} is not installed; run pip install 'halfseen[{extra}]'") from None
    if version and found != version:
        raise InputError(f"{package} {found} is installed, {version} is needed; run pip install 'halfseen[{extra}]'")
    return found


@contextmanager
def loading(package: str, extra: str) -> Iterator[None]:
    """The sentence that says what is missing, if `package` is installed but something that it imports is not."""
    try:
        yield
    except ImportError as error:
        raise InputError(
            f"{package} is installed but cannot be loaded ({error}); run pip install 'halfseen[{extra}]' again, and "
            f"install what it names"
        ) from error
