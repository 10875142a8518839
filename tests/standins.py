"""A method and a data set so small that a whole training takes a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from halfseen.data.cues import KeypointFile, save_keypoints
from halfseen.data.images import save_image
from halfseen.data.sets import read_set
from halfseen.ops.distance import Single
from halfseen.ops.losses import batch_hard, identity, pairwise_euclid
from halfseen.recipe import Method, Recipe
from halfseen.train import train
from halfseen.training.settings import Settings
from halfseen.types import Batch, Cues, Embedding, Splits

HEIGHT, WIDTH = 32, 16


@dataclass(frozen=True)
class Config:
    """As small as they come; `table` is there because JSON knows no tuples."""

    backbone: str = "stripes"
    dim: int = 8
    dropout: float = 0.3
    table: tuple[tuple[str, float], ...] = (("identity", 1.0), ("triplet", 1.0))

    @property
    def grouping(self) -> str:
        return "six"


class Output(NamedTuple):
    vectors: Tensor
    logits: dict[str, Tensor]


class Stripes(nn.Module):
    """One convolution, and the mean of each of four stripes."""

    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, dim, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(dim)

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(self.norm(self.conv(images)).relu(), (4, 1)).flatten(1)


class Tiny(nn.Module):
    """`handed` remembers the cues that came with each batch."""

    def __init__(
        self,
        config: Config,
        people: int,
        *,
        image: tuple[int, int] = (HEIGHT, WIDTH),
        weights: Path | Literal["hub", "none"] = "none",
    ) -> None:
        super().__init__()
        self.backbone = Stripes(config.dim)
        self.dropout = nn.Dropout(config.dropout)
        self.image, self.weights = image, weights
        self.handed: list[Cues | None] = []
        if people:
            self.classifier = nn.Linear(4 * config.dim, people)

    def forward(self, images: Tensor, cues: Cues | None = None) -> Output:
        self.handed.append(cues)
        vectors = self.dropout(self.backbone(images))
        return Output(vectors, {"all": self.classifier(vectors)} if hasattr(self, "classifier") else {})


def embed(out: Output) -> Embedding:
    return Embedding.of(out.vectors)


def losses(out: Output, batch: Batch, config: Config) -> dict[str, Tensor]:
    weights = dict(config.table)
    return {
        "identity": weights["identity"] * identity(out.logits["all"], batch.pids),
        "triplet": weights["triplet"] * batch_hard(pairwise_euclid(out.vectors, out.vectors), batch.pids, 0.3),
    }


RECIPE = Recipe(
    height=HEIGHT, width=WIDTH, people=3, images=2, epochs=3, lr=0.01, warmup=1, milestones=(2,), bias_lr=2.0
)
LONG = replace(RECIPE, epochs=12, milestones=(8,))  # 24 steps
TINY = Method(
    name="tiny",
    title="Tiny: four stripes",
    config=Config,
    network=Tiny,
    embed=embed,
    losses=losses,
    recipe=RECIPE,
    distance=Single("cosine"),
    needs={"train": frozenset(), "test": frozenset()},
)


def losses_of_both(out: Output, batch: Batch, config: Config) -> dict[str, Tensor]:
    """The losses of pictures, and those of their twins, which stand behind them."""
    half = len(batch.pids)
    terms: dict[str, Tensor] = {}
    assert batch.partner is not None
    for name, rows, seen in (("whole", slice(half), batch), ("hidden", slice(half, None), batch.partner)):
        part = Output(out.vectors[rows], {"all": out.logits["all"][rows]})
        terms |= {f"{name}_{term}": value for term, value in losses(part, seen, config).items()}
    return terms


CUED = replace(TINY, name="cued", needs={"train": frozenset({"parts", "keypoints"}), "test": frozenset()})
PAIRED = replace(TINY, name="paired", losses=losses_of_both, recipe=replace(RECIPE, twins=True))


def draw_set(root: Path, *, people: int = 4, images: int = 3, size: tuple[int, int] = (40, 20)) -> Path:
    """A Market-1501 of people who wear a colour above and one below, with keypoints."""
    dice = np.random.default_rng(0)
    names = []
    for folder, pids, cameras in (
        ("bounding_box_train", range(11, 11 + people), range(1, 1 + images)),
        ("query", range(1, 4), (1,)),
        ("bounding_box_test", range(1, 4), (2, 3)),
    ):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for pid in pids:
            looks = np.random.default_rng(pid).integers(0, 256, (2, 3))
            for camera in cameras:
                picture = np.repeat(looks, size[0] // 2, axis=0)[:, None].repeat(size[1], axis=1)
                picture = (picture + dice.normal(0, 20, picture.shape)).clip(0, 255).astype(np.uint8)
                names.append(f"{folder}/{pid:04d}_c{camera}_000.png")
                save_image(root / names[-1], torch.from_numpy(picture).permute(2, 0, 1))
    keypoints = torch.rand(len(names), 17, 3, generator=torch.Generator().manual_seed(0))
    scaled = keypoints * torch.tensor([size[1] - 1.0, size[0] - 1.0, 1.0])
    save_keypoints(root / "keypoints.npz", KeypointFile(tuple(names), scaled, "drawn"))
    return root


def slowly(out: Output, batch: Batch, config: Config) -> dict[str, Tensor]:
    """The same losses, in steps so long that a signal meets them."""
    time.sleep(0.1)
    return losses(out, batch, config)


def read_drawn(root: Path) -> Splits:
    return read_set("market1501", root)


def same(a: Any, b: Any) -> bool:
    """Whether two nests of tensors, numbers and words hold the same, bit by bit."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, Sequence) and not isinstance(a, str):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


if __name__ == "__main__":  # python standins.py SET OUT: a training of LONG that waits to be stopped
    torch.set_num_threads(1)
    root, out = map(Path, sys.argv[1:])
    settings = Settings(out, device="cpu", start="none", save=3)
    try:
        train(replace(TINY, losses=slowly), Config(), LONG, read_drawn(root), {}, settings)
    except KeyboardInterrupt as stop:
        sys.exit(str(stop))
