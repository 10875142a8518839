"""What a training starts with: devices, a name for its pictures, and the protocol that tells the best."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision, Precision
from torch import Tensor

from halfseen.data.embeddings import Encoded
from halfseen.data.loading import CueSources
from halfseen.encode import chosen_device
from halfseen.evaluate import evaluate, usual_protocols
from halfseen.ops.distance import Single
from halfseen.training.settings import Settings
from halfseen.types import Embedding, Facts, Paste, Protocol, Sample, Splits
from halfseen.weights import Plain


def launch(settings: Settings) -> Fabric:
    """One process on one device, or what torchrun began: as many as it says."""
    accelerator = chosen_device(settings.device)
    world, local = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    fabric = Fabric(
        accelerator=accelerator,
        strategy="ddp" if world > 1 else "auto",
        devices=local,
        num_nodes=world // local,
        plugins=[_Autocast("bf16-mixed", accelerator)] if settings.precision == "bfloat16" else [],
    )
    fabric.launch()
    return fabric


class _Autocast(MixedPrecision):
    """Autocast says what is rounded. The input stays as it is: keypoints in bfloat16 would lie pixels away."""

    # The plain one, as bfloat16 needs no scaler: for the sake of that of MixedPrecision, Fabric has a network's output
    # refuse to tell any slope but the whole loss's, and OGFR's credits ask for another.
    backward = Precision.backward

    def convert_input(self, data: Any) -> Any:
        return data


def judge(splits: Splits, asked: Sequence[Protocol]) -> str | None:
    """The protocol that tells the best: of those `asked` for, for all of which `splits` must have the labels, or else
    of the usual ones, the first. None: there is nothing to be scored on."""
    if not (splits.query and splits.gallery):
        return None
    query, gallery = (
        Encoded(Embedding.of(torch.zeros(len(some), 1)), Facts.of(some), has_cameras=splits.has_cameras)
        for some in (splits.query, splits.gallery)
    )
    if asked:  # better now than after ten epochs
        evaluate(query, gallery, distance=Single("euclid"), protocols=asked)
    return (*asked, *usual_protocols(gallery))[0].name


def described(splits: Splits, cues: CueSources | None) -> Plain:
    """The training part of `splits`: its name, how much it is, which cues it comes with, and a digest of what belongs
    to whom and of what the cues say."""
    lines = []
    for sample in splits.train:
        edits = [edit.seed if isinstance(edit, Paste) else edit.parts for edit in sample.edits]  # no paths: sets move
        lines.append(f"{sample.name} {sample.pid} {edits}")
    return {
        "name": splits.name,
        "people": len({sample.pid for sample in splits.train}),
        "images": len(splits.train),
        "digest": sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:16],
        "cue": "none",
    } | _told(cues or CueSources(), splits.train)


def _told(cues: CueSources, samples: Sequence[Sample]) -> Plain:
    """Which of the cues there is, and a digest of all it says."""
    if cues.keypoints is not None:
        return {"cue": "keypoints", "cue_digest": _digest([cues.keypoints])}
    for name, read in (("parts", cues.parts), ("fields", cues.fields)):
        if read is not None:
            return {"cue": name, "cue_digest": _digest(map(read, samples))}
    return {}


def _digest(tensors: Iterable[Tensor]) -> str:
    told = sha256()
    for tensor in tensors:
        told.update(tensor.numpy().tobytes())
    return told.hexdigest()[:16]
