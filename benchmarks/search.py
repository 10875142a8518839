"""Search in a gallery, against faiss and usearch on the same concatenated vectors, and against the bare product.

Asked of 64 queries × 100,000 images × 9 parts × 256, the 50 nearest: 6 times as fast as faiss Flat, 1.6 times the bare
product; of one query 25 ms; of a million images 250 ms, by the coarse search 60 ms with recall@10 ≥ 0.99, opened and
answered in 5 s, in 1.2 times the memory of the vectors. The two libraries are `pip install faiss-cpu usearch`.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from halfseen.gallery.probes import Found, Mean, Probes
from halfseen.gallery.search import Search
from halfseen.gallery.sightings import Ask, Fact, ModelFacts
from halfseen.gallery.store import Gallery
from halfseen.types import Embedding
from measure import RUNS, THREADS, extra_memory, in_turns, introduce, neighbours, once, row, workplace

PARTS, DIM, QUERIES, NEAREST, SEED = 9, 256, 64, 50, 0
MODEL = ModelFacts("synthetic", "0" * 64, tuple(f"part {number}" for number in range(PARTS)), DIM)
LOOKS = 48  # directions in which people differ: with many more, all strangers would be equally far
IMAGES = 16  # of each person
ADDED = 5_000  # at a time


def drawn(pids: Tensor, dice: torch.Generator, parts: int = PARTS, dim: int = DIM) -> Embedding:
    """Images of people of so many looks, three in four parts visible."""
    fixed = torch.Generator().manual_seed(SEED)
    looks = torch.randn(parts, LOOKS, dim, generator=fixed) / LOOKS**0.5
    people = torch.randn(2**16, LOOKS, generator=fixed)[pids]
    vectors = torch.einsum("nl,pld->npd", people, looks) + 0.8 * torch.randn(len(pids), parts, dim, generator=dice)
    visibility = (torch.rand(len(pids), parts, generator=dice) < 0.75).float()
    visibility[:, 0] = 1
    return Embedding(vectors, visibility)


def pieces(rows: int, parts: int = PARTS, dim: int = DIM) -> Iterator[Embedding]:
    dice = torch.Generator().manual_seed(SEED + 1)
    for start in range(0, rows, ADDED):
        yield drawn(torch.arange(start, min(start + ADDED, rows)) // IMAGES, dice, parts, dim)


def fill(folder: Path, rows: int, model: ModelFacts = MODEL) -> None:
    gallery, start = Gallery.create(folder, model), 0
    seconds = []
    for piece in pieces(rows, len(model.parts), model.dim):
        numbers = range(start, start + len(piece))
        known = [
            Fact(f"pictures/camera {n % 8}/{n:08d}.jpg", "pictures", f"camera {n % 8}", float(n), f"{n // 4}")
            for n in numbers
        ]
        seconds.append(once(partial(gallery.add, piece, known)))
        start += len(piece)
    row(f"adding {ADDED:,} images at a time", seconds)
    seconds = [once(gallery.compact)]
    row("compacting", seconds)


def concatenated(embedding: Embedding) -> Tensor:
    """Masked unit vectors side by side [N,P·D], as the libraries want them; they leave the division out."""
    return Mean.each(embedding).sums.flatten(1)


def bare(query: Tensor, rows: int) -> Callable[[], Tensor]:
    gallery = torch.cat([concatenated(piece).bfloat16() for piece in pieces(rows)])
    asked = query.bfloat16()
    return lambda: asked @ gallery.T


def libraries(query: Tensor, rows: int) -> dict[str, Callable[[], object]]:
    """Those that are installed."""
    jobs: dict[str, Callable[[], object]] = {}
    gallery = torch.cat([concatenated(piece) for piece in pieces(rows)]).numpy()
    try:
        import faiss  # noqa: PLC0415

        faiss.omp_set_num_threads(THREADS)
        flat = faiss.IndexFlatIP(gallery.shape[1])
        flat.add(gallery)
        jobs["faiss Flat"] = lambda: flat.search(query.numpy(), NEAREST)
    except ImportError:
        print("faiss is not installed and left out")
    try:
        from usearch.index import MetricKind, search  # noqa: PLC0415

        half = gallery.astype("float16")
        asked = query.numpy().astype("float16")
        jobs["usearch, exact, float16"] = lambda: search(
            half, asked, NEAREST, MetricKind.IP, exact=True, threads=THREADS
        )
    except ImportError:
        print("usearch is not installed and left out")
    return jobs


def many(folder: Path, rows: int, runs: int) -> None:
    """64 queries at once."""
    query = drawn(torch.arange(QUERIES) * 31, torch.Generator().manual_seed(SEED + 2))
    search, asked = Search(Gallery.open(folder)), concatenated(query)

    def ours() -> Found:
        return search.nearest(Probes.of(Mean.each(query)), NEAREST)

    others = libraries(asked, rows)
    times = in_turns(ours, bare(asked, rows), *others.values(), runs=runs)
    row(f"{QUERIES} queries, exact top {NEAREST}", times[0], times[1])
    row("the bare bfloat16 product", times[1])
    for name, seconds in zip(others, times[2:], strict=True):
        row(name, seconds, times[0])


def one(folder: Path, rows: int, runs: int) -> None:
    """Opening, memory, and one query with all that is told of its answers."""
    query = drawn(torch.arange(200) * 31, torch.Generator().manual_seed(SEED + 3))
    asks = [Ask(query[number : number + 1], count=NEAREST) for number in range(200)]
    row("opened and answered", [once(lambda: Search(Gallery.open(folder)).search(asks[0])) for _ in range(runs)])
    held: list[Search] = []
    extra = extra_memory(lambda: held.append(Search(Gallery.open(folder))))
    print(f"memory {extra / (2 * rows * PARTS * DIM):.3f} × the vectors")
    exact = firsts(held.pop(), asks, "exact", runs)
    coarse = firsts(Search(Gallery.open(folder), coarse=True), asks, "coarse", runs)
    shared = [len(a & b) / 10 for a, b in zip(exact, coarse, strict=True)]
    print(f"recall@10 of the coarse search {statistics.mean(shared):.4f}")


def firsts(search: Search, asks: list[Ask], name: str, runs: int) -> list[set[int]]:
    """The ten nearest of each of the `asks`, one asked at a time."""
    (seconds,) = in_turns(lambda: search.search(asks[0]), runs=5 * runs)
    row(f"one query, {name}", seconds)
    return [{answer.id for answer in search.search(ask)[:10]} for ask in asks]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--folder", type=Path, help="where the gallery is made, and kept; left out: a temporary one")
    parser.add_argument("--beside", type=int, default=0, help="so many processes that compute meanwhile")
    given = parser.parse_args()
    beside = f", beside {given.beside} processes" if given.beside else ""
    introduce(f"search in {given.images:,} images × {PARTS} × {DIM}{beside}", SEED)
    with workplace(given.folder) as folder:
        if not (folder / "gallery").exists():
            fill(folder / "gallery", given.images)
        with neighbours(given.beside):
            one(folder / "gallery", given.images, given.runs)
            if given.images <= 200_000:  # the libraries and the product hold copies of their own
                many(folder / "gallery", given.images, given.runs)


if __name__ == "__main__":
    main()
