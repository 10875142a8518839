"""Threads make the same batches, and neither outlive nor outnumber whoever wanted them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch import Tensor

from halfseen.data.augment import Augment
from halfseen.data.images import save_image
from halfseen.data.loading import CueSources, Pictures, threaded
from halfseen.types import InputError, Sample

H, W = 32, 16


@pytest.fixture(autouse=True)
def _as_many_threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Three pictures of three people."""
    made = []
    for i in range(3):
        save_image(tmp_path / f"{i}.png", torch.randint(256, (3, 40, 20), dtype=torch.uint8))
        made.append(Sample(tmp_path / f"{i}.png", f"{i}.png", i, 1))
    return made


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_threads_change_nothing(samples: list[Sample], threads: int, ahead: int) -> None:
    torch.set_num_threads(threads)
    pictures = Pictures(samples, Augment(H, W, flip=0.5, erase=0.5), seed=3)
    batches = [[2, 0, 1], [0], [7, 5]]
    found = list(threaded(pictures, batches, ahead))
    assert [batch.pids.tolist() for batch in found] == [[2, 0, 1], [0], [1, 2]]
    for batch, numbers in zip(found, batches, strict=True):
        assert torch.equal(batch.images, pictures.batch(numbers).images)


class Threads:
    """Part labels of nothing; they remember the threads that asked, and whether it was for the second picture's."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []
        self.asked = threading.Event()

    def __call__(self, sample: Sample) -> Tensor:
        self.seen.append((threading.current_thread().name, torch.get_num_threads()))
        if sample.name == "1.png":
            self.asked.set()
        return torch.zeros(1, 1)


@pytest.mark.parametrize("ahead", [0, 1])
def test_the_next_batch_is_made_while_one_is_used_if_asked(samples: list[Sample], ahead: int) -> None:
    torch.set_num_threads(2)
    parts = Threads()
    batches = threaded(Pictures(samples, Augment(H, W), CueSources(parts=parts)), [[0], [1], [2]], ahead)
    assert next(batches).pids.tolist() == [0]
    assert parts.asked.wait(10 if ahead else 0.05) == bool(ahead)
    assert len(list(batches)) == 2
    assert {one for _, one in parts.seen} == {1}  # each by itself, or they would be four on two cores
    assert threading.current_thread().name not in {name for name, _ in parts.seen}
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("ahead", [0, 2])
def test_an_error_in_a_thread_arrives_in_its_turn(samples: list[Sample], tmp_path: Path, ahead: int) -> None:
    lost = Sample(tmp_path / "lost.jpg", "lost.jpg", 1, 1)
    batches = threaded(Pictures([samples[0], lost], Augment(H, W)), [[0], [1], [0]], ahead)
    assert next(batches).pids.tolist() == [0]
    with pytest.raises(InputError, match=r"lost\.jpg does not exist"):
        next(batches)


def test_threads_end_with_who_wanted_them(samples: list[Sample]) -> None:
    torch.set_num_threads(3)
    before = threading.active_count()
    with closing(threaded(Pictures(samples), [[0], [1], [2]], 1)) as batches:
        next(batches)
        assert threading.active_count() > before
    assert threading.active_count() == before
    assert torch.get_num_threads() == 3
    with ThreadPoolExecutor(1) as pool:  # threads to come have as many as before
        assert pool.submit(torch.get_num_threads).result() == 3
