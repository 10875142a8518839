"""Small galleries for tests: people as random vectors, some of whose parts are hidden."""

from __future__ import annotations

from pathlib import Path

import torch

from halfseen.gallery.sightings import Fact, ModelFacts
from halfseen.gallery.store import Gallery
from halfseen.types import Embedding

PARTS = ("whole", "head", "torso", "legs")
DIM = 16
MODEL = ModelFacts("tiny", "0123456789abcdef", PARTS, DIM)


def people(pids: list[int], seed: int = 0, *, noise: float = 0.6, whole: bool = False) -> Embedding:
    """An image of each of `pids`; the first part is always seen, the others to any degree, or not."""
    dice = torch.Generator().manual_seed(seed)
    centres = torch.randn(max(pids) + 1, len(PARTS), DIM, generator=torch.Generator().manual_seed(99))
    vectors = centres[pids] + noise * torch.randn(len(pids), len(PARTS), DIM, generator=dice)
    visibility = (torch.rand(len(pids), len(PARTS), generator=dice) * 1.6 - 0.6).clamp(min=0)
    visibility[:, 0] = 1
    return Embedding(vectors, torch.ones_like(visibility) if whole else visibility)


def facts(count: int, first: int = 0) -> list[Fact]:
    """Of so many images: four cameras, passages of five, a time each but for every seventh."""
    return [
        Fact(
            image=f"images/{row}.png",
            source=f"film {row // 50}.mp4",
            camera=f"gate '{row % 4}'",
            time=None if row % 7 == 6 else float(row),
            track=f"track {row // 5}",
            thumbnail=b"thumbnail <%d>" % row,
            box=(float(row), 0.0, 9.5, 20.0) if row % 2 else None,
        )
        for row in range(first, first + count)
    ]


def filled(folder: Path, count: int = 200, persons: int = 40) -> Gallery:
    """A gallery of so many images, of these persons in turn."""
    gallery = Gallery.create(folder, MODEL)
    gallery.add(people([row % persons for row in range(count)]), facts(count))
    return gallery
