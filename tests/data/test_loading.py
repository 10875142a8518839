"""Batches hold what their samples say, whoever makes them: this process or workers, one rank or many."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from halfseen.data.augment import BOT, Augment, draw
from halfseen.data.images import read_image, save_image
from halfseen.data.loading import CueSources, Loader, Paired, Pictures, collate, labels_of, lost
from halfseen.data.sampling import IdentityBatches
from halfseen.data.transforms import View, apply
from halfseen.processes import LostError
from halfseen.types import Batch, InputError, Occluder, Paste, Sample

H, W = 32, 16
SMALL = Augment(H, W, flip=0.5, pad=4, erase=0.5, flipped_labels=())


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sample, ...]:
    """Twelve pictures: identities 7, 3 and 40 with four each."""
    root = tmp_path_factory.mktemp("set")
    generator = torch.Generator().manual_seed(0)
    made = []
    for i in range(12):
        path = root / f"{i:02}.png"
        save_image(path, torch.randint(1, 256, (3, H, W), dtype=torch.uint8, generator=generator))
        made.append(Sample(path, path.name, (7, 3, 40)[i // 4], i % 3))
    return tuple(made)


def with_keypoints(samples: tuple[Sample, ...]) -> Pictures:
    points = torch.rand(len(samples), 17, 3, generator=torch.Generator().manual_seed(1)) * torch.tensor([W, H, 1.0])
    cues = CueSources(points, fields=fields_of, parts=parts_of)
    return Pictures(samples, SMALL, cues, labels=labels_of(samples), seed=5)


def fields_of(sample: Sample) -> Tensor:
    return torch.full((36, 6, 3), sample.camid + 1.0)


def parts_of(sample: Sample) -> Tensor:
    return torch.full((H, W), sample.camid + 1)


def twins_of(samples: tuple[Sample, ...]) -> list[Sample]:
    source = samples[-1].path
    return [
        Sample(s.path, s.name, s.pid, s.camid, edits=(Paste(list(Occluder)[1 + i % 5], source, i),))
        for i, s in enumerate(samples)
    ]


def tensors(batch: Batch) -> list[Tensor | None]:
    cues = batch.cues
    own = [batch.images, batch.pids, batch.camids]
    return [*own, cues.keypoints, cues.fields, cues.parts, cues.hidden, cues.occluder] + (
        tensors(batch.partner) if batch.partner else []
    )


def assert_same(a: Batch, b: Batch) -> None:
    for one, other in zip(tensors(a), tensors(b), strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert torch.equal(one, other)


# --- One picture, one batch ---


def test_an_item_is_the_picture_as_its_draw_says(samples: tuple[Sample, ...]) -> None:
    pictures = with_keypoints(samples)
    pictures.set_epoch(2)
    assert len(pictures) == 12
    assert pictures.cues.keypoints is not None
    for number in (0, 5, 12 + 5, 24 + 5):
        item = pictures[number]
        index = number % 12
        sample = samples[index]
        view = View(read_image(sample.path), pictures.cues.keypoints[index], fields_of(sample), parts_of(sample))
        expected = apply(view, draw(SMALL, 5, 2, number), SMALL)
        for one, other in zip(item.view, expected, strict=True):
            assert one is not None
            assert other is not None
            assert torch.equal(one, other)
        assert (item.pid, item.camid) == ([1, 0, 2][index // 4], index % 3)
        assert item.occluder is Occluder.NONE


def test_another_look_another_epoch_and_another_seed_bring_other_luck(samples: tuple[Sample, ...]) -> None:
    pictures = with_keypoints(samples)
    looks = [pictures[5].view.image, pictures[17].view.image]
    pictures.set_epoch(1)
    looks.append(pictures[5].view.image)
    looks.append(Pictures(samples, SMALL, seed=6)[5].view.image)
    assert all(not torch.equal(a, b) for i, a in enumerate(looks) for b in looks[:i])


def test_a_batch_stacks_its_items(samples: tuple[Sample, ...]) -> None:
    pictures = with_keypoints(samples)
    items = [pictures[i] for i in (3, 4, 11)]
    batch = pictures.batch([3, 4, 11])
    assert batch.images.shape == (3, 3, H, W)
    assert batch.images.dtype == torch.uint8
    assert batch.pids.tolist() == [1, 0, 2]
    assert batch.camids.tolist() == [0, 1, 2]
    assert batch.pids.dtype == batch.camids.dtype == torch.int64
    assert batch.partner is None
    assert batch.cues.occluder is not None
    assert batch.cues.occluder.tolist() == [0, 0, 0]
    views = [item.view for item in items]
    for name, stacked in (("image", batch.images), *vars(batch.cues).items()):
        if name != "occluder":
            assert torch.equal(stacked, default_collate([getattr(view, name) for view in views]))


def test_cues_that_nobody_gave_are_none(samples: tuple[Sample, ...]) -> None:
    cues = Pictures(samples).batch([0, 1]).cues
    assert (cues.keypoints, cues.fields, cues.parts) == (None, None, None)
    assert cues.hidden is not None
    assert not cues.hidden.any()


def test_hidden_pictures_beside_unhidden_ones(samples: tuple[Sample, ...]) -> None:
    mixed = [samples[0], twins_of(samples)[2], samples[1]]
    cues = collate([Pictures(mixed, Augment(H, W))[i] for i in range(3)]).cues
    assert cues.hidden is not None
    assert cues.occluder is not None
    assert cues.hidden.flatten(1).any(1).tolist() == [False, True, False]
    assert cues.occluder.tolist() == [0, Occluder.WIDE_TOP, 0]


def test_labels_are_numbered_by_pid(samples: tuple[Sample, ...]) -> None:
    assert labels_of(samples) == {3: 0, 7: 1, 40: 2}
    assert Pictures(samples, Augment(H, W))[0].pid == 7
    with pytest.raises(InputError, match=r"08\.png shows identity 40, which has no class"):
        Pictures(samples, labels=labels_of(samples[:8]))


@pytest.mark.parametrize(
    ("keypoints", "says"),
    [
        (torch.zeros(11, 17, 3), r"float32 \[12, 17, 3\]"),
        (torch.zeros(12, 17, 2), r"float32 \[12, 17, 3\]"),
        (torch.zeros(12, 17, 3).double(), r"float64 .* for 12 samples"),
        (torch.zeros(12, 17, 3).index_fill(0, torch.tensor(4), torch.nan), "sample 4 hold NaN"),
    ],
)
def test_keypoints_that_do_not_fit(samples: tuple[Sample, ...], keypoints: Tensor, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Pictures(samples, cues=CueSources(keypoints))


# --- Workers ---


@pytest.mark.parametrize("kind", ["pictures", "pairs"])
def test_workers_change_nothing(samples: tuple[Sample, ...], kind: str) -> None:
    pictures = with_keypoints(samples)
    source = pictures if kind == "pictures" else Paired(pictures, twins_of(samples))
    random_state = torch.get_rng_state()
    runs = []
    for workers in (0, 2):
        loader = Loader(source, IdentityBatches([s.pid for s in samples], 2, 3, seed=1), workers)
        for epoch in (1, 0):
            loader.set_epoch(epoch)
            runs.append(list(loader))
            assert len(loader) == len(runs[-1]) > 0
    for alone, helped in zip(runs[:2], runs[2:], strict=True):
        for a, b in zip(alone, helped, strict=True):
            assert_same(a, b)
    first, second = (torch.cat([batch.pids for batch in run]).tolist() for run in runs[:2])
    assert first != second  # each epoch has its own batches
    assert torch.equal(torch.get_rng_state(), random_state)


def test_world_sizes_change_nothing(samples: tuple[Sample, ...]) -> None:
    pids = [s.pid for s in samples] + [1, 1, 1]
    pictures = Pictures([*samples, *(Sample(samples[0].path, "x", 1, 0),) * 3], SMALL)
    whole = list(Loader(pictures, IdentityBatches(pids, 4, 2)))
    shares = [list(Loader(pictures, IdentityBatches(pids, 4, 2, rank=rank, world=2))) for rank in (0, 1)]
    for all_ranks, *parts in zip(whole, *shares, strict=True):
        for name in ("images", "pids", "camids"):
            assert torch.equal(getattr(all_ranks, name), torch.cat([getattr(part, name) for part in parts]))


def threads_and_process(_: Sample) -> Tensor:
    return torch.tensor([[torch.get_num_threads(), multiprocessing.parent_process() is not None]])


def test_workers_use_one_thread_and_are_not_this_process(samples: tuple[Sample, ...]) -> None:
    torch.set_num_threads(2)
    pictures = Pictures(samples, Augment(2, 2), CueSources(parts=threads_and_process))
    batches = [[0], [1], [2]]
    seen = torch.cat([b.cues.parts for b in Loader(pictures, batches, workers=1) if b.cues.parts is not None])
    assert set(seen[:, :, 0].flatten().tolist()) == {1}
    assert set(seen[:, :, 1].flatten().tolist()) == {1}
    assert threads_and_process(samples[0]).tolist() == [[2, 0]]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_arrives_as_its_sentence(samples: tuple[Sample, ...], tmp_path: Path, workers: int) -> None:
    lost = Sample(tmp_path / "lost.jpg", "lost.jpg", 1, 1)
    batches = iter(Loader(Pictures([samples[0], lost], Augment(H, W)), [[0], [1]], workers))
    assert next(batches).pids.tolist() == [7]
    with pytest.raises(InputError) as error:
        next(batches)
    assert str(error.value) == f"{tmp_path}/lost.jpg does not exist; check the path or the list that names it"


# --- Sizes ---


def test_training_sizes(samples: tuple[Sample, ...]) -> None:
    batch = next(iter(Loader(Pictures(samples, BOT), [[0, 1]])))
    assert batch.images.shape == (2, 3, 256, 128)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)


def test_fewer_workers_than_none() -> None:
    with pytest.raises(InputError, match="-1 worker processes cannot be"):
        Loader(Pictures([]), [], workers=-1)


def test_where_no_fork_server_exists_workers_are_spawned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.get_all_start_methods", lambda: ["spawn"])
    loader = Loader(Pictures([]), [], workers=1)
    assert loader.multiprocessing_context.get_start_method() == "spawn"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="nobody is killed so elsewhere")
def test_a_process_that_is_gone_is_a_sentence(samples: tuple[Sample, ...]) -> None:
    batches = iter(Loader(Pictures([*samples] * 99, Augment(H, W)), [[number] for number in range(99)], workers=1))
    next(batches)
    for process in multiprocessing.active_children():
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
    try:
        for _ in batches:
            time.sleep(0.1)
    except LostError:
        return
    except RuntimeError as error:  # torch tells whoever is at work
        assert lost(error)  # noqa: PT017
        return
    pytest.fail("nobody has missed the process")


def test_what_else_goes_wrong_is_left_as_it_is(samples: tuple[Sample, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Loader) -> Iterator[Batch]:
        yield Pictures(samples, Augment(H, W)).batch([0])
        raise RuntimeError(said)

    monkeypatch.setattr(DataLoader, "__iter__", fail)
    loader = Loader(Pictures(samples, Augment(H, W)), [[0]], workers=1)
    said = "something of the machine"
    with pytest.raises(RuntimeError, match=said):
        list(loader)
    said = "DataLoader worker (pid(s) 7) exited unexpectedly"
    with pytest.raises(LostError, match=r"a process ended before its work was done .*; take fewer workers"):
        list(loader)
