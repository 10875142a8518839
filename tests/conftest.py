"""What all tests share: one thread, as small tensors on several wait for each other, and commands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from fixture_types import Refused, Run, SmallDisk
from halfseen import cli

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Who changes it changes it back: with another number of threads, sums end in other bits."""
    yield
    left = torch.get_num_threads()
    torch.set_num_threads(1)
    assert left == 1, f"this test left torch with {left} threads"


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """`refused(*words)` runs them and returns the one sentence that says why it did not work."""

    def call(*words: object) -> str:
        assert cli.main([str(word) for word in words]) == 2
        out, err = capsys.readouterr()
        *notes, sentence = err.splitlines()
        assert all(line.startswith(("note: ", "no cameras ")) for line in notes)
        assert sentence.startswith("halfseen: ")
        assert len(sentence) > 40
        assert "Traceback" not in out + err
        return sentence

    return call


@pytest.fixture
def small_disk() -> SmallDisk:
    """In `with small_disk(size):` no file may grow beyond so many bytes, as if the disk were full."""
    resource = pytest.importorskip("resource", reason="Unix only")

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """`run(*words)` → exit code, standard output, standard error."""

    def call(*words: object) -> tuple[int, str, str]:
        try:
            code: Any = cli.main([str(word) for word in words])
        except SystemExit as end:  # how the parser ends
            code = end.code
        return int(code or 0), *capsys.readouterr()

    return call
