"""What all tests share: one thread, as small tensors on several wait for each other, and a command that is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from halfseen import cli

torch.set_num_threads(1)

Refused = Callable[..., str]


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
