"""Pictures that stay in memory are the same pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from halfseen.data import memory
from halfseen.data.augment import Augment, draw
from halfseen.data.images import save_image
from halfseen.data.loading import CueSources, Loader, Paired, Pictures
from halfseen.data.memory import Memory
from halfseen.data.transforms import View, apply
from halfseen.data.variants import read_sample
from halfseen.types import KeepTop, Occluder, Paste, Sample

SMALL = Augment(32, 16, flip=0.5, pad=4, erase=0.5, flipped_labels=(0, 2, 1, 3, 4, 5, 6, 7))
BYTES = 32 * 16 * 4  # of one picture and its part labels


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Eight pictures of several sizes."""
    dice = torch.Generator().manual_seed(0)
    made = []
    for i, size in enumerate([(32, 16), (64, 32), (50, 21), (17, 9)] * 2):
        path = tmp_path / f"{i}.png"
        save_image(path, torch.randint(1, 256, (3, *size), dtype=torch.uint8, generator=dice))
        made.append(Sample(path, path.name, i // 2, i % 3))
    return made


def labels_of(sample: Sample) -> torch.Tensor:
    """Part labels of a size that no picture has, other ones for each sample."""
    dice = torch.Generator().manual_seed(len(sample.edits) + int(sample.path.stem))
    return torch.randint(0, 8, (41, 27), generator=dice)


def seen(samples: list[Sample], memory: Memory | None, augment: Augment = SMALL) -> list[torch.Tensor]:
    """All that two epochs show."""
    points = torch.rand(len(samples), 17, 3, generator=torch.Generator().manual_seed(1)) * 20
    pictures = Pictures(samples, augment, CueSources(points, parts=labels_of), memory=memory)
    shown = []
    for epoch in (0, 1):
        pictures.set_epoch(epoch)
        batch = pictures.batch([*range(2 * len(samples))])
        assert batch.cues.keypoints is not None
        assert batch.cues.hidden is not None
        assert batch.cues.occluder is not None
        assert batch.cues.parts is not None
        shown += [batch.images, batch.cues.keypoints, batch.cues.hidden, batch.cues.occluder, batch.cues.parts]
    return shown


@pytest.mark.parametrize("room", [0, 1, 5, 8, 100])
def test_memory_changes_nothing(room: int, samples: list[Sample]) -> None:
    samples[2] = replace(samples[2], edits=(KeepTop(2),))
    samples[3] = replace(samples[3], edits=(Paste(Occluder.TALL_LEFT, samples[0].path, 3),))
    plain = seen(samples, None)
    memory = Memory(8, SMALL, room * BYTES + 7, parts=True)
    assert memory.nbytes == min(room, 8) * BYTES
    for kept in (memory, Memory(8, SMALL, room * BYTES)):  # or room for the pictures alone
        assert all(torch.equal(a, b) for a, b in zip(plain, seen(samples, kept), strict=True))


@pytest.mark.parametrize("size", [(32, 16), (30, 13), (7, 50), (41, 27)])
def test_labels_move_as_they_would_in_their_own_size(size: tuple[int, int], samples: list[Sample]) -> None:
    augment = replace(SMALL, height=size[0], width=size[1])
    pictures = Pictures(samples[:1], augment, CueSources(parts=labels_of))
    for number in range(20):
        found, image = pictures[number].view.parts, read_sample(samples[0]).image
        drawn = draw(augment, 0, 0, number)
        want = apply(View(image, parts=labels_of(samples[0])), drawn, augment).parts
        assert found is not None
        assert want is not None
        assert torch.equal(found, want)


def test_what_is_in_memory_is_not_read_again(samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    samples[3] = replace(samples[3], edits=(Paste(Occluder.TALL_LEFT, samples[0].path, 3),))
    reads: list[str] = []

    def read(sample: Sample) -> object:
        reads.append(sample.name)
        return read_sample(sample)

    def read_labels(sample: Sample) -> torch.Tensor:
        labelled.append(sample.name)
        return torch.zeros(41, 27, dtype=torch.uint8)

    labelled: list[str] = []
    monkeypatch.setattr("halfseen.data.memory.read_sample", read)
    monkeypatch.setitem(globals(), "labels_of", read_labels)
    seen(samples, Memory(8, SMALL, 6 * BYTES, parts=True))
    once, always = ["0.png", "1.png", "2.png", "4.png", "5.png"], ["3.png", "6.png", "7.png"]  # pasted, no room
    assert sorted(reads) == sorted(labelled) == sorted(once + 4 * always)


def test_a_twin_is_not_its_original(samples: list[Sample]) -> None:
    twins = [replace(s, edits=(Paste(Occluder.WIDE_TOP, samples[0].path, 3),)) for s in samples]
    cues = CueSources(parts=labels_of)
    without, with_memory = (
        Paired(Pictures(samples, SMALL, cues, memory=memory), twins) for memory in (None, Memory(8, SMALL, parts=True))
    )
    for _ in range(2):
        one, other = without.batch([0, 1]), with_memory.batch([0, 1])
        assert one.partner is not None
        assert other.partner is not None
        assert torch.equal(one.partner.images, other.partner.images)
        assert torch.equal(one.images, other.images)
        for batch in (one.partner, other.partner):  # what can be seen of the original's own labels
            assert batch.cues.parts is not None
            assert batch.cues.hidden is not None
            assert one.cues.parts is not None
            assert torch.equal(batch.cues.parts, one.cues.parts * ~batch.cues.hidden)


def test_processes_share_it(samples: list[Sample]) -> None:
    memory = Memory(8, SMALL, parts=True, shared=True)
    pictures = Pictures(samples, SMALL, CueSources(parts=labels_of), memory=memory)
    alone = pictures.batch([0, 1])
    assert alone.cues.parts is not None
    memory.stored.zero_()
    memory.parts.zero_()
    (batch,) = Loader(pictures, [[0, 1]], workers=1)
    assert torch.equal(batch.images, alone.images)
    assert batch.cues.parts is not None
    assert torch.equal(batch.cues.parts, alone.cues.parts)
    assert memory.stored[:3].tolist() == [[32, 16], [64, 32], [0, 0]]
    assert memory.parts[:3].flatten(1).any(1).tolist() == [True, True, False]


def test_a_picture_is_said_to_be_there_when_all_of_it_is(
    samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may look at any moment, and would take half a picture for the whole."""
    memory = Memory(1, SMALL, parts=True)
    there: list[tuple[torch.Tensor, torch.Tensor]] = []
    sizes = torch.zeros(1, 2)

    class Said:
        def __getitem__(self, row: int) -> torch.Tensor:
            return sizes[row]

        def __setitem__(self, row: int, size: torch.Tensor) -> None:
            there.append((memory.pixels[row].clone(), memory.parts[row].clone()))

    for tensor in (memory.pixels, memory.parts):
        tensor.zero_()
    monkeypatch.setattr(memory, "stored", Said())
    found = memory.see(0, samples[0], SMALL, labels_of)
    ((pixels, labels),) = there
    assert torch.equal(pixels, found.image.permute(1, 2, 0))
    assert found.parts is not None
    assert torch.equal(labels, found.parts)


def test_what_is_shared_takes_at_most_half_of_what_is_free_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def usage(place: Path) -> SimpleNamespace:
        asked.append(place)
        return SimpleNamespace(free=6 * BYTES + 7)

    monkeypatch.setattr(memory, "SHARED", tmp_path)
    monkeypatch.setattr("shutil.disk_usage", usage)
    assert Memory(8, SMALL, parts=True, shared=True).nbytes == 3 * BYTES
    assert Memory(8, SMALL, 2 * BYTES, parts=True, shared=True).nbytes == 2 * BYTES
    assert Memory(8, SMALL, parts=True).nbytes == 8 * BYTES  # of its own
    assert {*asked} == {tmp_path}
    monkeypatch.setattr(memory, "SHARED", tmp_path / "gone")
    assert Memory(8, SMALL, parts=True, shared=True).nbytes == 8 * BYTES
