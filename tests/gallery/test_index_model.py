"""The weights that a gallery is made with."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

pytest.importorskip("lance", reason="galleries need pylance: pip install 'halfseen[search]'")

from halfseen.data.images import read_image, save_image
from halfseen.encode import Look, encode
from halfseen.gallery.indexing import model as models
from halfseen.gallery.indexing.model import open_model
from halfseen.methods import METHODS
from halfseen.recipe import Recipe
from halfseen.types import InputError, Sample
from halfseen.weights import Card, plain, save_weights
from served import person, save_tiny
from tiny_methods import IMAGE, tiny_config, tiny_network


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("model") / "tiny.safetensors")


def test_a_gallery_is_told_which_model_it_is_of(weights: Path) -> None:
    facts = open_model(weights, "cpu").facts
    assert facts.name == "bpbreid"
    assert facts.digest == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert len(facts.parts) == 5
    assert facts.parts[0] == "foreground"
    assert facts.dim == 12


def test_pictures_in_memory_are_encoded_as_files_are(weights: Path, tmp_path: Path) -> None:
    model = open_model(weights, "cpu")
    sizes = [(64, 32), (100, 40), (20, 30), (128, 64), (64, 32)]
    samples = []
    for number, size in enumerate(sizes):
        path = tmp_path / f"{number}.png"
        save_image(path, person(number, 0, size))
        samples.append(Sample(path, path.name, number, 0))
    images = [read_image(sample.path) for sample in samples]
    wanted = encode(model.loaded.network, model.loaded.method, samples, Look(model.augment))
    found = model.encode(images)
    torch.testing.assert_close(found.vectors, wanted.vectors, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.visibility, wanted.visibility)
    assert not found.vectors.requires_grad
    again = model.encode([model.fitted(image) for image in images])  # made ready by the threads that read them
    torch.testing.assert_close(again.vectors, found.vectors)


def test_bfloat16_is_near(weights: Path) -> None:
    images = [person(number, 0) for number in range(3)]
    exact, fast = open_model(weights, "cpu").encode(images), open_model(weights, "cpu", "bfloat16").encode(images)
    assert fast.vectors.dtype == torch.float32
    shown = (exact.visibility > 0) & (fast.visibility > 0)
    assert (torch.cosine_similarity(exact.vectors, fast.vectors, dim=2)[shown] > 0.97).all()


def test_a_model_that_wants_more_than_pictures_is_refused(tmp_path: Path) -> None:
    config = tiny_config("pirt", reduction=16)
    card = Card("pirt", plain(config), plain(Recipe(height=IMAGE[0], width=IMAGE[1])), {}, 0, 0, "none")
    save_weights(tmp_path / "pirt.safetensors", METHODS["pirt"], tiny_network("pirt", config), card)
    with pytest.raises(InputError, match="pirt wants keypoints of each picture at test time"):
        open_model(tmp_path / "pirt.safetensors", "cpu")


def test_without_a_file_the_model_that_comes_with_halfseen_is_taken(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "DEFAULT", weights)
    assert open_model(device="cpu").facts == open_model(weights, "cpu").facts
    monkeypatch.setattr(models, "DEFAULT", tmp_path / "none.safetensors")
    with pytest.raises(InputError, match=r"no model comes with this version of halfseen; .* --model"):
        open_model(device="cpu")
