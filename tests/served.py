"""A small gallery of coloured people, made by a network with random weights."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from halfseen.data.images import save_image
from halfseen.gallery.indexing.model import Model
from halfseen.gallery.sightings import Fact
from halfseen.gallery.store import Gallery
from halfseen.methods import METHODS
from halfseen.recipe import Recipe
from halfseen.service.settings import Settings
from halfseen.weights import Card, plain, save_weights
from tiny_methods import IMAGE, tiny_config, tiny_network

PEOPLE, CAMERAS = 6, ("gate", "hall", "yard")
NOON = 1_717_156_800.0  # 2024-05-31, twelve o'clock
TOKEN = "t" * 30


def person(number: int, camera: int, size: tuple[int, int] = (64, 32)) -> Tensor:
    """A picture of one who wears three colours, in the light of a camera: uint8 [3,H,W]."""
    colours = torch.randint(0, 256, (3, 3, 1, 1), generator=torch.Generator().manual_seed(number)).float()
    rows = size[0] // 3
    image = torch.cat([colour.expand(3, rows, size[1]) for colour in colours], 1)
    image = nn.functional.pad(image, (0, 0, 0, size[0] - 3 * rows), mode="replicate")
    noise = torch.randn(3, *size, generator=torch.Generator().manual_seed(100 * number + camera))
    return (image * (0.8 + 0.1 * camera) + 12 * noise).clamp(0, 255).to(torch.uint8)


def as_file(image: Tensor, kind: str = "PNG") -> bytes:
    kept = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(kept, kind)
    return kept.getvalue()


@dataclass(frozen=True)
class Place:
    """A folder with weights, pictures (which may be shown) and a gallery of them."""

    folder: Path
    model: Model
    gallery: Gallery

    @property
    def settings(self) -> Settings:
        return Settings(self.folder / "log.jsonl", folders=(self.folder / "pictures",), rate=0)


def save_tiny(path: Path) -> Path:
    """Weights of a BPBreID whose maps are not nearly even."""
    method, config = METHODS["bpbreid"], tiny_config("bpbreid", parts=4, reduction=12, visibility="argmax")
    network = tiny_network("bpbreid", config, seed=1)
    nn.init.normal_(network.get_parameter("pixels.classifier.weight"), std=20.0)
    card = Card("bpbreid", plain(config), plain(Recipe(height=IMAGE[0], width=IMAGE[1])), {}, 0, 1, "none")
    save_weights(path, method, network, card)
    return path


def fill(gallery: Gallery, model: Model, folder: Path, people: Sequence[int]) -> None:
    images, facts = [], []
    for number in people:
        for camera, name in enumerate(CAMERAS):
            for shot in range(2):
                image = person(number, camera + 3 * shot)
                path = folder / f"{number}_{name}_{shot}.png"
                save_image(path, image)
                time = None if name == "yard" else NOON + 600 * number + 60 * camera + shot
                images.append(image)
                facts.append(Fact(str(path), str(folder), name, time, f"{number}-{name}", as_file(image, "JPEG"), None))
    gallery.add(model.encode(images), facts)
