"""Search in a gallery, against faiss and usearch on the same concatenated vectors, and against the bare product.

Asked of 64 queries × 100,000 images × 9 parts × 256, the 50 nearest: 6 times as fast as faiss Flat, 1.6 times the bare
product; of one query 25 ms; of a million images 250 ms, with a coarse stage 60 ms, opened and answered in 5 s, in 1.2
times the memory of the vectors. The two libraries are `pip install faiss-cpu usearch`.

Vectors are synthetic, alike in all directions, of which `gallery/leading.py` can make nothing; or they are like those
of some pictures (`--like`, one or more files of `halfseen encode`): each is one of them, plus SPREAD times how two
pictures of another person differ, so that all directions are as full as the network leaves them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from halfseen.data.embeddings import load_encoded
from halfseen.gallery.loading import prepare
from halfseen.gallery.probes import Found, Mean, Probes
from halfseen.gallery.search import Search
from halfseen.gallery.sightings import Ask, Fact, ModelFacts
from halfseen.gallery.store import Gallery
from halfseen.types import Embedding
from measure import RUNS, THREADS, extra_memory, in_turns, introduce, neighbours, once, row, workplace

PARTS, DIM, QUERIES, NEAREST, SEED = 9, 256, 64, 50, 0
ASKS = 200  # one at a time
LOOKS = 48  # directions in which people differ: with many more, all strangers would be equally far
IMAGES = 16  # of each person
ADDED = 5_000  # at a time
SPREAD = 0.6  # of the difference of two pictures of a person that is added to another


class Synthetic:
    """Images of people of so many looks, three in four parts visible; noise in all directions."""

    def __init__(self, parts: int = PARTS, dim: int = DIM) -> None:
        fixed = torch.Generator().manual_seed(SEED)
        self.looks = torch.randn(parts, LOOKS, dim, generator=fixed) / LOOKS**0.5
        self.people = torch.randn(2**16, LOOKS, generator=fixed)

    def __call__(self, pids: Tensor, dice: torch.Generator) -> Embedding:
        parts, _, dim = self.looks.shape
        vectors = torch.einsum("nl,pld->npd", self.people[pids], self.looks)
        visibility = (torch.rand(len(pids), parts, generator=dice) < 0.75).float()
        visibility[:, 0] = 1
        return Embedding(vectors + 0.8 * torch.randn(len(pids), parts, dim, generator=dice), visibility)


class Like:
    """Images like those of encoded pictures; `parts` beyond theirs are theirs once more, of other pictures."""

    def __init__(self, paths: Sequence[Path], parts: int | None = None) -> None:
        files = [load_encoded(path, camid=0) for path in paths]
        self.units = torch.cat([F.normalize(file.embedding.vectors, dim=2) for file in files])
        self.visibility = torch.cat([file.embedding.visibility for file in files])
        pids = torch.cat([file.facts.pids + number * 10**6 for number, file in enumerate(files)])
        order = pids.argsort(stable=True)
        self.following = torch.empty_like(order).index_copy_(0, order, order.roll(-1))
        self.followed = (pids[self.following] == pids).nonzero()[:, 0]
        theirs = self.units.shape[1]
        self.columns = torch.arange(parts or theirs) % theirs
        self.copies = torch.arange(parts or theirs) // theirs

    def __call__(self, pids: Tensor, dice: torch.Generator) -> Embedding:
        """So many; who they are is drawn."""
        shape = (len(pids), int(self.copies[-1]) + 1)
        picture = torch.randint(len(self.units), pids.shape, generator=dice)
        other = self.followed[torch.randint(len(self.followed), shape, generator=dice)][:, self.copies]
        apart = self.units[other, self.columns] - self.units[self.following[other], self.columns]
        vectors = self.units[picture][:, self.columns] + SPREAD * apart
        return Embedding(vectors, self.visibility[picture][:, self.columns])


Draw: TypeAlias = Synthetic | Like


def model_of(parts: int, dim: int) -> ModelFacts:
    return ModelFacts("synthetic", "0" * 64, tuple(f"part {number}" for number in range(parts)), dim)


def pieces(rows: int, draw: Draw) -> Iterator[Embedding]:
    dice = torch.Generator().manual_seed(SEED + 1)
    for start in range(0, rows, ADDED):
        yield draw(torch.arange(start, min(start + ADDED, rows)) // IMAGES, dice)


def fill(folder: Path, rows: int, draw: Draw, model: ModelFacts) -> None:
    gallery, start = Gallery.create(folder, model), 0
    seconds = []
    for piece in pieces(rows, draw):
        numbers = range(start, start + len(piece))
        known = [
            Fact(f"pictures/camera {n % 8}/{n:08d}.jpg", "pictures", f"camera {n % 8}", float(n), f"{n // 4}")
            for n in numbers
        ]
        seconds.append(once(partial(gallery.add, piece, known)))
        start += len(piece)
    row(f"adding {ADDED:,} images at a time", seconds)
    row("compacting", [once(gallery.compact)])
    row("opened and answered, as long as it is not prepared", [once(partial(opened, folder, asks_like(draw)[0]))])
    row("preparing", [once(partial(prepare, gallery))])


def asks_like(draw: Draw) -> list[Ask]:
    query = draw(torch.arange(ASKS) * 31, torch.Generator().manual_seed(SEED + 3))
    return [Ask(query[number : number + 1], count=NEAREST) for number in range(ASKS)]


def opened(folder: Path, *asks: Ask) -> Search:
    """Which has answered."""
    search = Search(Gallery.open(folder))
    for ask in asks:
        search.search(ask)
    return search


def concatenated(embedding: Embedding) -> Tensor:
    """Masked unit vectors side by side [N,P·D], as the libraries want them; they leave the division out."""
    return Mean.each(embedding).sums.flatten(1)


def bare(query: Tensor, rows: int, draw: Draw) -> Callable[[], Tensor]:
    gallery = torch.cat([concatenated(piece).bfloat16() for piece in pieces(rows, draw)])
    asked = query.bfloat16()
    return lambda: asked @ gallery.T


def libraries(query: Tensor, rows: int, draw: Draw) -> dict[str, Callable[[], object]]:
    """Those that are installed."""
    jobs: dict[str, Callable[[], object]] = {}
    gallery = torch.cat([concatenated(piece) for piece in pieces(rows, draw)]).numpy()
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


def many(folder: Path, rows: int, runs: int, draw: Draw) -> None:
    """64 queries at once."""
    query = draw(torch.arange(QUERIES) * 31, torch.Generator().manual_seed(SEED + 2))
    search, asked = Search(Gallery.open(folder)), concatenated(query)

    def ours() -> Found:
        return search.nearest(Probes.of(Mean.each(query)), NEAREST)

    others = libraries(asked, rows, draw)
    times = in_turns(ours, bare(asked, rows, draw), *others.values(), runs=runs)
    row(f"{QUERIES} queries, exact top {NEAREST}", times[0], times[1])
    row("the bare bfloat16 product", times[1])
    for name, seconds in zip(others, times[2:], strict=True):
        row(name, seconds, times[0])


def one(folder: Path, runs: int, draw: Draw) -> None:
    """Opening, memory, and one query with all that is told of its answers."""
    asks, held = asks_like(draw), list[Search]()
    row("opened and answered", [once(partial(opened, folder, asks[0])) for _ in range(runs)])
    extra = extra_memory(lambda: held.append(opened(folder, *asks)))
    vectors = 2 * len(held[0]) * asks[0].queries.vectors[0].numel()
    print(f"memory when opened, and with {ASKS} searches, {extra / vectors:.3f} × the vectors")
    (seconds,) = in_turns(lambda: held[0].search(asks[0]), runs=5 * runs)
    row("one query", seconds)
    different = iter(cycle(asks))
    (seconds,) = in_turns(lambda: held[0].search(next(different)), runs=40 * runs)
    row("one query, each another", seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--folder", type=Path, help="where the gallery is made, and kept; left out: a temporary one")
    parser.add_argument("--beside", type=int, default=0, help="so many processes that compute meanwhile")
    parser.add_argument("--like", type=Path, nargs="+", help="files of `halfseen encode`, like whose rows all are")
    parser.add_argument("--parts", type=int, help="of each image; left out: 9, or as many as the files have")
    given = parser.parse_args()
    draw = Like(given.like, given.parts) if given.like else Synthetic(given.parts or PARTS)
    _, parts, dim = draw(torch.zeros(1).long(), torch.Generator()).vectors.shape
    beside = f", beside {given.beside} processes" if given.beside else ""
    introduce(f"search in {given.images:,} images × {parts} × {dim}{beside}", SEED)
    with workplace(given.folder) as folder:
        if not (folder / "gallery").exists():
            fill(folder / "gallery", given.images, draw, model_of(parts, dim))
        with neighbours(given.beside):
            one(folder / "gallery", given.runs, draw)
            if given.images <= 200_000:  # the libraries and the product hold copies of their own
                many(folder / "gallery", given.images, given.runs, draw)


if __name__ == "__main__":
    main()
