"""How fast a folder of crops becomes a gallery: `python benchmarks/indexing.py [--images 2000] [--runs 3]`.

`index`, as `halfseen index` calls it (files listed, digests, decoded, encoded, thumbnails, stored), against `encode` of
the same files by the same model (decoded and encoded), in turns. Asked: 0.9 of the encoder's own images a second. The
pictures are the street's, over and over, each with other pixels, so that none is known before. The second row is the
same folder once more, of which all is known.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import torch

from halfseen.data.images import read_image, save_image
from halfseen.data.sets import read_set
from halfseen.encode import Look, encode
from halfseen.gallery.indexing.index import index
from halfseen.gallery.indexing.model import Model, open_model
from halfseen.gallery.opening import open_or_make
from halfseen.types import Sample
from measure import introduce, once, pace_row, paces, ratio_row, workplace

SEED = 0


def write(folder: Path, count: int) -> list[Sample]:
    """So many pictures in `folder`, no two alike."""
    dice, samples = torch.Generator().manual_seed(SEED), []
    for number, sample in enumerate(islice(cycle(read_set("street").gallery), count)):
        image = read_image(sample.path)
        image[:, :8, :8] = torch.randint(0, 256, (3, 8, 8), generator=dice, dtype=torch.uint8)
        path = folder / f"{number:06d}.jpg"
        save_image(path, image)
        samples.append(Sample(path, path.name, sample.pid, sample.camid))
    return samples


def indexed(folder: Path, model: Model) -> Callable[[], float]:
    """A job that indexes `folder` into a gallery of its own, and tells the images a second."""

    def run() -> float:
        with workplace() as place:
            gallery = open_or_make(place / "gallery", model.facts)
            report = index([folder], gallery, model)
            if report.faults or len(gallery) != report.added:
                raise SystemExit(f"{len(gallery):,} were stored: {report}")
            return report.added / report.seconds

    return run


def encoded(samples: list[Sample], model: Model) -> Callable[[], float]:
    """A job that encodes `samples` alone."""
    network, method = model.loaded.network, model.loaded.method
    look = Look(model.augment)
    return lambda: len(samples) / once(lambda: encode(network, method, samples, look))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    introduce(f"indexing {given.images:,} crops", SEED)
    model = open_model(device="cpu")
    with workplace() as folder:
        samples = write(folder, given.images)
        found = paces({"encode": encoded(samples, model), "index": indexed(folder, model)}, "cpu", given.runs)
        for name, pace in found.items():
            pace_row(name, pace)
        ratio_row("index to encode", found["index"], found["encode"], "≥ 0.90")
        gallery = open_or_make(folder / "gallery", model.facts)
        index([folder], gallery, model)
        print(f"the same folder again: {given.images / once(lambda: index([folder], gallery, model)):,.0f} images/s")


if __name__ == "__main__":
    main()
