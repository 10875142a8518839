"""From samples to batches, in this process or in workers; the numbers are the same either way."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing.context import BaseContext
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from halfseen.data.augment import TEST, Augment, draw
from halfseen.data.memory import Memory, ReadParts, Seen, cut, see
from halfseen.data.sampling import IdentityBatches
from halfseen.data.transforms import View, apply
from halfseen.processes import LostError
from halfseen.types import Batch, Cues, InputError, Occluder, Sample


class Item(NamedTuple):
    """One picture on its way into a batch; `pid` is a class 0..C-1 where `Pictures` was given labels."""

    view: View
    pid: int
    camid: int
    occluder: Occluder


@dataclass(frozen=True)
class CueSources:
    """Where the cues of N samples come from.

    `keypoints` [N,17,3], in the pixels of the stored pictures. `fields` [36,h,w] and `parts`, integers [h,w] below 256,
    read those of one sample, spread over the stored picture; worker processes want functions that pickle can name.
    """

    keypoints: Tensor | None = None
    fields: Callable[[Sample], Tensor] | None = None
    parts: ReadParts | None = None


class Pictures(Dataset[Item]):
    """N samples seen through `augment`. Item i + N, i + 2N, ... is picture i again, with other luck.

    `labels` turns a pid into the class that an identity loss wants; without it pids stay as they are. `memory` holds
    the resized pictures of the same `augment`, so that each file is decoded once.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        augment: Augment = TEST,
        cues: CueSources | None = None,
        *,
        labels: Mapping[int, int] | None = None,
        seed: int = 0,
        memory: Memory | None = None,
    ) -> None:
        self.samples, self.augment, self.cues = samples, augment, cues or CueSources()
        self.labels, self.seed, self.epoch, self.memory = labels, seed, 0, memory
        _check_keypoints(self.cues.keypoints, len(samples))
        stranger = next((s for s in samples if labels is not None and s.pid not in labels), None)
        if stranger is not None:
            raise InputError(
                f"{stranger.name} shows identity {stranger.pid}, which has no class; "
                f"make the labels from the samples that are trained on"
            )

    def set_epoch(self, epoch: int) -> None:
        """Each epoch throws its own dice."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Item]:  # Python's own way would go on for ever
        return (self[i] for i in range(len(self)))

    def __getitem__(self, number: int) -> Item:
        return self.item(number, self.see(number))

    def see(self, number: int) -> Seen:
        """The picture of item `number`, before any luck."""
        row = number % len(self)
        how = self.samples[row], self.augment, self.cues.parts
        return see(*how) if self.memory is None else self.memory.see(row, *how)

    def item(self, number: int, seen: Seen) -> Item:
        """What was `seen` as item `number`: with the cues and the luck of that item."""
        row, cues = number % len(self), self.cues
        sample = self.samples[row]
        view = View(
            seen.image,
            None if cues.keypoints is None else cues.keypoints[row],
            None if cues.fields is None else cut(cues.fields(sample), sample),
            seen.parts,
            seen.hidden,
        )
        luck = draw(self.augment, self.seed, self.epoch, number)
        view = apply(view, luck, self.augment, stored=seen.stored)
        pid = sample.pid if self.labels is None else self.labels[sample.pid]
        return Item(view, pid, sample.camid, seen.occluder.mirrored if luck.flip else seen.occluder)

    def batch(self, numbers: Sequence[int]) -> Batch:
        return collate([self[number] for number in numbers])


class Paired(Dataset[tuple[Item, Item]]):
    """`pictures` together with their `twins`, sample by sample: the same picture behind an occluder, the same luck.

    Between epochs `twins` may be replaced by others.
    """

    def __init__(self, pictures: Pictures, twins: Sequence[Sample]) -> None:
        if [sample.pid for sample in pictures.samples] != [twin.pid for twin in twins]:
            raise InputError(
                f"{len(twins)} twins do not fit {len(pictures)} pictures person by person; "
                f"give each picture its own twin, in the same order"
            )
        self.pictures, self.twins = pictures, twins

    def set_epoch(self, epoch: int) -> None:
        self.pictures.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.pictures)

    def __iter__(self) -> Iterator[tuple[Item, Item]]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, number: int) -> tuple[Item, Item]:
        seen = self.pictures.see(number)
        behind = see(self.twins[number % len(self)], self.pictures.augment)._replace(parts=seen.parts)
        return self.pictures.item(number, seen), self.pictures.item(number, behind)

    def batch(self, numbers: Sequence[int]) -> Batch:
        """The holistic batch, with the occluded one as its `partner`."""
        holistic, occluded = zip(*(self[number] for number in numbers), strict=True)
        return replace(collate(holistic), partner=collate(occluded))


def labels_of(samples: Sequence[Sample]) -> dict[int, int]:
    """The classes 0..C-1 of the identities of `samples`, in the order of their pids."""
    return {pid: label for label, pid in enumerate(sorted({sample.pid for sample in samples}))}


def collate(items: Sequence[Item]) -> Batch:
    """One batch of `items`; a cue is there if the items have it."""
    views = [item.view for item in items]
    pixels = torch.stack([view.image.permute(1, 2, 0) for view in views])  # as they lie in memory: ten times as fast
    cues = Cues(
        keypoints=_stack([view.keypoints for view in views]),
        fields=_stack([view.fields for view in views]),
        parts=_stack([view.parts for view in views]),
        hidden=_stack([view.hidden for view in views]),
        occluder=torch.tensor([int(item.occluder) for item in items]),
    )
    pids, camids = (torch.tensor(column) for column in ([i.pid for i in items], [i.camid for i in items]))
    return Batch(pixels.permute(0, 3, 1, 2), pids, camids, cues)


def lost(error: Exception) -> bool:
    """Whether torch says by `error` that a process is gone, or what it had begun to hand over has gone with it."""
    torchs = isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker (pid")
    return torchs or (isinstance(error, EOFError | ConnectionError) and "DataLoader" not in str(error))


class Loader(DataLoader[Batch | InputError]):
    """The batches of one epoch after the other, made by `workers` processes or, with 0, by this one.

    Workers start anew each epoch, from a server process that has torch loaded: forking this process would copy its
    threads' locks. A script that uses them needs the usual `if __name__ == "__main__":`.
    """

    def __init__(
        self, source: Pictures | Paired, batches: Sampler[list[int]] | Sequence[list[int]], workers: int = 0
    ) -> None:
        if workers < 0:
            raise InputError(f"{workers} worker processes cannot be; give 0 (none but this one) or more")
        self.source, self.batches = source, batches
        super().__init__(
            _Fetch(source),
            batch_size=None,  # `batches` says what belongs together
            sampler=batches,
            num_workers=workers,
            multiprocessing_context=_clean_start() if workers else None,
            generator=torch.Generator(),  # or each epoch would take a number from torch's own
        )

    def set_epoch(self, epoch: int) -> None:
        """Call it before each epoch: other batches, other luck."""
        self.source.set_epoch(epoch)
        if isinstance(self.batches, IdentityBatches):
            self.batches.set_epoch(epoch)

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        batches = super().__iter__()
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except (RuntimeError, EOFError, ConnectionError) as error:
                if self.num_workers and lost(error):
                    raise LostError from error
                raise
            if isinstance(batch, InputError):
                raise batch
            yield batch


def threaded(pictures: Pictures, batches: Iterable[Sequence[int]], ahead: int = 0) -> Generator[Batch, None, None]:
    """The batches, their pictures made by as many threads as torch has: what reads and decodes lets others run.

    `ahead` batches more are begun before one is used. A CPU that computes with all its threads gains nothing from that:
    they would wait for each other. Close it (`contextlib.closing`) where it may be left early.
    """
    threads = torch.get_num_threads()
    coming: deque[list[Future[Item]]] = deque()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for numbers in batches:
                coming.append([pool.submit(pictures.__getitem__, number) for number in numbers])
                if len(coming) > ahead:
                    yield collate([item.result() for item in coming.popleft()])
            for items in coming:
                yield collate([item.result() for item in items])
    finally:
        torch.set_num_threads(threads)  # the pool's threads have changed it for all that are yet to come


class _Fetch(Dataset[Batch | InputError]):
    """Makes whole batches. An error travels as a value: raised in a worker it would come back as a traceback's text."""

    def __init__(self, source: Pictures | Paired) -> None:
        self.source = source

    def __getitem__(self, numbers: list[int]) -> Batch | InputError:
        try:
            return self.source.batch(numbers)
        except InputError as error:
            return error


def _stack(tensors: Sequence[Tensor | None]) -> Tensor | None:
    present = [tensor for tensor in tensors if tensor is not None]
    return torch.stack(present) if present else None


def _clean_start() -> BaseContext:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torchvision.io", __name__])
    return context


def _check_keypoints(keypoints: Tensor | None, samples: int) -> None:
    if keypoints is None:
        return
    if keypoints.shape != (samples, 17, 3) or keypoints.dtype != torch.float32:
        raise InputError(
            f"keypoints are {keypoints.dtype} {tuple(keypoints.shape)} for {samples} samples; "
            f"give torch.float32 [{samples}, 17, 3], one row of x, y, score per joint for each sample"
        )
    if not keypoints.isfinite().all():
        row = int((~keypoints.isfinite()).nonzero()[0, 0])
        raise InputError(f"the keypoints of sample {row} hold NaN or infinity; give a joint never seen the score 0")
