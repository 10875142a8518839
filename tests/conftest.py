"""What all tests share: one thread, as small tensors on several wait for each other, and commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from halfseen import cli

torch.set_num_threads(1)

Refused = Callable[..., str]
Run = Callable[..., tuple[int, str, str]]


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
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """`run(*words)` → exit code, standard output, standard error."""

    def call(*words: object) -> tuple[int, str, str]:
        try:
            code: Any = cli.main([str(word) for word in words])
        except SystemExit as end:  # how the parser ends
            code = end.code
        return int(code or 0), *capsys.readouterr()

    return call
