"""The weights that a gallery is made with: pictures in memory → `Embedding`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from halfseen.data.augment import Augment
from halfseen.data.transforms import resized
from halfseen.encode import PACKAGE, Device, Precision, chosen_device, normalised, testing
from halfseen.gallery.indexing.sources import digest_of
from halfseen.gallery.sightings import ModelFacts
from halfseen.streams import sent
from halfseen.training.settings import augment_of
from halfseen.types import Embedding, InputError
from halfseen.weights import Loaded, load_weights, part_names

DEFAULT = PACKAGE / "models" / "default.safetensors"


@dataclass(frozen=True)
class Model:
    """What was `loaded`, on its device; `facts` are what a gallery knows of it, `augment` how it sees pictures."""

    loaded: Loaded
    facts: ModelFacts
    augment: Augment
    precision: Precision = "float32"

    @torch.inference_mode()
    def encode(self, images: Sequence[Tensor]) -> Embedding:
        """Of `images`, uint8 [3,h,w] of any sizes, all at once."""
        network, method = self.loaded.network, self.loaded.method
        device = next(network.parameters()).device
        batch = torch.stack([self.fitted(image).permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)
        with testing(network), torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            found = method.embed(network(normalised(network, sent(batch, device))))
        return Embedding(found.vectors.float().cpu(), found.visibility.float().cpu())

    def fitted(self, image: Tensor) -> Tensor:
        """`image`, uint8 [3,h,w], in the size that the network looks at."""
        return resized(image, self.augment)


def open_model(path: Path | None = None, device: Device = "auto", precision: Precision = "float32") -> Model:
    """The model in the weight file `path`, or the one that comes with halfseen.

    One that wants more than pictures is refused.
    """
    if path is None and not DEFAULT.is_file():
        raise InputError("no model comes with this version of halfseen; train one, and give its weights with --model")
    path = path or DEFAULT
    loaded = load_weights(path)
    if cues := loaded.method.needs["test"]:
        raise InputError(
            f"{loaded.card.method} wants {' or '.join(sorted(cues))} of each picture at test time, which nobody makes "
            f"while a gallery is searched; take a model that needs pictures alone, such as bpbreid"
        )
    loaded.network.to(chosen_device(device)).to(memory_format=torch.channels_last)
    augment = augment_of(loaded.recipe).at_test()
    unknown = Model(loaded, ModelFacts(loaded.card.method, digest_of(path), (), 0), augment, precision)
    grey = torch.full((3, augment.height, augment.width), 128, dtype=torch.uint8)
    _, parts, dim = unknown.encode([grey]).vectors.shape
    facts = replace(unknown.facts, parts=part_names(loaded.config, parts), dim=dim)
    return replace(unknown, facts=facts)
