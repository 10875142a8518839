"""What a training needs in order to go on as if it had never stopped: one file, whole or not at all."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from halfseen.data.files import refused, shown, whole
from halfseen.types import InputError
from halfseen.weights import Plain

BROKEN = (OSError, RuntimeError, ValueError, TypeError, KeyError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile)


@dataclass
class State:
    """How far a training is: epochs that are over, evaluation included, and steps that are done in all; the latest
    scores, and the best mAP so far. And by how many threads one CPU process does it: None on others, and of old.

    No random state is kept, because there is none: all luck follows from the seed and the number of the step.
    """

    epoch: int = 0
    done: int = 0
    best: float = -1.0
    scores: Plain = field(default_factory=dict)
    threads: int | None = None

    def going_on(self, steps: int, threads: int | None) -> str:
        """What is said when it goes on, to so many steps and by so many threads."""
        told = f"going on after {self.done:,} of {steps:,} steps"
        if self.done == steps or None in (self.threads, threads) or self.threads == threads:
            return told
        return (
            f"{told}, by {threads} of torch's threads instead of {self.threads}: sums end in other bits, so weights "
            f"are not those of a training that nobody stopped (OMP_NUM_THREADS={self.threads} would have given them)"
        )


def save_checkpoint(path: Path, run: Plain, state: State, network: nn.Module, optimiser: Optimizer) -> None:
    """Write all that `load_checkpoint` needs; `run` says which training this is."""
    content = {
        "run": json.dumps(run),
        "state": json.dumps(vars(state)),
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    with whole(path) as beside:
        try:
            torch.save(content, beside)
        except RuntimeError as error:  # how torch reports a full disk
            raise refused(error) from error


def load_checkpoint(
    path: Path, run: Plain, network: nn.Module, optimiser: Optimizer, *, unasked: str | None
) -> tuple[Plain, State]:
    """Bring `network` and `optimiser` to where the training `run` was stopped; another training is refused. What it was
    begun as, too: of one that is over, the protocol may be another, as nothing is scored any more. `unasked`: the one
    that tells the best where none is named, as which an early version noted none."""
    content, was, state = _read(path)
    first = was.setdefault("protocol", unasked)
    if state.epoch == run["recipe"]["epochs"]:
        run = {**run, "protocol": first}
    if differing := list(differences(was, run)):
        raise InputError(
            f"{shown(path.parent)} holds a training with {', '.join(differing[:3])}"
            f"{f' and {len(differing) - 3} more' if len(differing) > 3 else ''}; "
            f"ask for the same again, or choose another --out"
        )
    with _fitting(path):
        network.load_state_dict(content["network"])
        optimiser.load_state_dict(content["optimiser"])
    return was, state


def load_trained(path: Path, about: Plain, network: nn.Module) -> bool:
    """Bring `network` alone to where the training in `path` is, and say so; not if that is another than `about` it."""
    content, was, _ = _read(path)
    if {name: was.get(name) for name in about} != about:
        return False
    with _fitting(path):
        network.load_state_dict(content["network"])
    return True


@contextmanager
def _fitting(path: Path) -> Iterator[None]:
    """What it says of a network that has not the parameters of this one, an InputError says of the checkpoint."""
    try:
        yield
    except BROKEN as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{shown(path)} holds other parameters than this version of halfseen has for the same training "
            f"({why}); go on with the version that wrote it, or choose another --out"
        ) from error


def _read(path: Path) -> tuple[Plain, Plain, State]:
    """All that a checkpoint holds, which training it is of, and how far that is."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{shown(path)} cannot be read ({error.strerror or error}); check the folder") from error
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        run, state = json.loads(content["run"]), State(**json.loads(content["state"]))
        if not all(isinstance(each, dict) for each in (run, content["network"], content["optimiser"])):
            raise ValueError("it lacks what checkpoints have")
        return content, run, state
    except BROKEN as error:
        raise InputError(
            f"{shown(path)} is cut short or no checkpoint; copy it again, or delete it to begin anew"
        ) from error


def differences(was: Mapping[str, Any], now: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """What `was` and `now` disagree about, e.g. `recipe.lr 0.1 (now 0.2)`."""
    for name in {**was, **now}:
        old, new = was.get(name, "left out"), now.get(name, "left out")
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, f"{before}{name}.")
        elif old != new:
            yield f"{before}{name} {old} (now {new})"
