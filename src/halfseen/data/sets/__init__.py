"""The data sets halfseen can read. To add one, write a file with a `read` and a `DataSet`, and a line in `SETS`."""

from __future__ import annotations

from pathlib import Path

from halfseen.data.files import shown
from halfseen.data.sets.cuhk03_np import CUHK03_NP
from halfseen.data.sets.dukemtmc import DUKEMTMC, OCCLUDED_DUKE
from halfseen.data.sets.folders import DataSet, count_people, guessed, left_out, notes_on
from halfseen.data.sets.manifest import MANIFEST
from halfseen.data.sets.market1501 import MARKET1501
from halfseen.data.sets.msmt17 import MSMT17
from halfseen.data.sets.occluded_reid import OCCLUDED_REID
from halfseen.data.sets.p_dukemtmc import P_DUKEMTMC
from halfseen.data.sets.partial_ilids import PARTIAL_ILIDS
from halfseen.data.sets.partial_reid import PARTIAL_REID
from halfseen.data.sets.re_occluded_duke import RE_OCCLUDED_DUKE
from halfseen.data.sets.world import STREET, WORLD
from halfseen.types import InputError, Splits

SETS: dict[str, DataSet] = {
    "market1501": MARKET1501,
    "dukemtmc": DUKEMTMC,
    "occluded-duke": OCCLUDED_DUKE,
    "re-occluded-duke": RE_OCCLUDED_DUKE,
    "p-dukemtmc": P_DUKEMTMC,
    "occluded-reid": OCCLUDED_REID,
    "partial-reid": PARTIAL_REID,
    "partial-ilids": PARTIAL_ILIDS,
    "cuhk03-np": CUHK03_NP,
    "msmt17": MSMT17,
    "world": WORLD,
    "street": STREET,
    "manifest": MANIFEST,
}

__all__ = ["SETS", "DataSet", "doubt", "find_set", "left_out", "read_set", "set_names"]


def read_set(name: str, root: Path | str | None = None) -> Splits:
    """Read the data set called `name` or `name:variant` from `root`, or from the nearest folder below that holds it.

    Only a set that comes with halfseen needs no `root`.
    """
    dataset, variant = find_set(name)
    place = root or dataset.home
    if not place:
        raise InputError(f"no folder is named for {name}; give the folder that holds it, or one above it, as the root")
    reading = dataset.read(Path(place).absolute(), variant)  # not resolved: links are part of the names
    splits = {"train": reading.train, "query": reading.query, "gallery": reading.gallery}
    return Splits(
        name=dataset.name if variant == dataset.variants[0] else f"{dataset.name}:{variant}",
        root=reading.root,
        **{split: listing.samples if listing else () for split, listing in splits.items()},
        has_cameras=reading.has_cameras,
        notes=(*reading.notes, *notes_on(reading, dataset.expected[variant], dataset.distractor)),
        left_out=tuple((split, *out) for split, listing in splits.items() if listing for out in listing.left_out),
    )


def doubt(splits: Splits) -> str | None:
    """A sentence if no split has the published counts: several sets share one layout, and this may be another."""
    dataset, variant = find_set(splits.name.partition("+")[0])
    counts = dataset.expected[variant]
    found = {s: (count_people(samples, dataset.distractor), len(samples)) for s, samples in splits.by_name.items()}
    if not counts or any(found[split] == tuple(published) for split, published in counts.items()):
        return None
    return f"no split has the published counts of {dataset.title}; is {shown(splits.root)} another data set?"


def find_set(name: str) -> tuple[DataSet, str]:
    """The data set and the variant that `name` or `name:variant` means."""
    base, _, variant = name.partition(":")
    dataset = SETS.get(base)
    if dataset and (variant or dataset.variants[0]) in dataset.variants:
        return dataset, variant or dataset.variants[0]
    raise InputError(f"there is no data set {name!r}; {guessed(name, set_names())}")


def set_names() -> list[str]:
    """Every name that `read_set` knows: the sets, and each variant of those that have some."""
    return [
        f"{name}:{variant}" if variant and variant != dataset.variants[0] else name
        for name, dataset in SETS.items()
        for variant in dataset.variants
    ]
