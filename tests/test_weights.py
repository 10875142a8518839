"""Weights come back as they were saved, or it is said why not."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from halfseen import __version__, weights
from halfseen.data import embeddings
from halfseen.data.embeddings import Encoded, load_encoded, save_encoded
from halfseen.methods import METHODS
from halfseen.recipe import Recipe
from halfseen.training import stopping
from halfseen.training.checkpoints import State, save_checkpoint
from halfseen.training.stopping import save_batch
from halfseen.types import Batch, Embedding, Facts, InputError
from halfseen.weights import BEST, CARD, LAST, Card, load_weights, make_network, plain, rebuilt, save_weights
from standins import RECIPE, TINY, Config, Tiny
from tiny_methods import IMAGE, tiny_config

CONFIG = Config(dim=6, dropout=0.1, table=(("identity", 2.0), ("triplet", 0.5)))
SmallDisk = Callable[[int], AbstractContextManager[None]]

DATA = {"name": "market1501", "people": 9, "images": 30, "digest": "x"}


def card(method: str = "tiny") -> Card:
    return Card(method, plain(CONFIG), plain(RECIPE), DATA, 3, 7, "none", {"market": {"mAP": 0.5}})


@pytest.fixture
def network() -> Tiny:
    """Trained for nine people, with running means that are not zero."""
    made = make_network(TINY, CONFIG, RECIPE, 9)
    assert isinstance(made, Tiny)
    made(torch.randn(4, 3, 32, 16))
    return made


@pytest.fixture
def saved(network: Tiny, tmp_path: Path) -> Path:
    save_weights(tmp_path / "tiny.safetensors", TINY, network, card())
    return tmp_path / "tiny.safetensors"


def test_weights_come_back_bit_by_bit(network: Tiny, saved: Path) -> None:
    loaded = load_weights(saved, TINY)
    assert (loaded.method, loaded.config, loaded.recipe, loaded.card) == (TINY, CONFIG, RECIPE, card())
    assert not loaded.network.training
    images = torch.randn(5, 3, 32, 16)
    with torch.no_grad():
        before, after = TINY.embed(network.eval()(images)), TINY.embed(loaded.network(images))
    assert torch.equal(before.vectors, after.vectors)
    assert isinstance(loaded.network, Tiny)
    assert (loaded.network.image, loaded.network.weights) == ((32, 16), "none")


def test_what_only_training_needs_is_left_out(network: Tiny, saved: Path) -> None:
    trained, kept = set(network.state_dict()), set(load_file(saved))
    assert trained - kept == {"classifier.weight", "classifier.bias"}
    assert kept < trained


def test_the_card_is_json_in_the_file(saved: Path) -> None:
    with safe_open(saved, framework="pt") as file:
        told = json.loads(file.metadata()[CARD])
    assert told["versions"] == {"halfseen": __version__, "torch": torch.__version__}
    assert told["config"]["table"] == [["identity", 2.0], ["triplet", 0.5]]
    assert (told["method"], told["seed"], told["epoch"], told["started_from"]) == ("tiny", 3, 7, "none")


def test_the_method_is_found_by_its_name(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "tiny", TINY)
    assert load_weights(saved).method is TINY


def test_channels_last_makes_no_difference(network: Tiny, saved: Path, tmp_path: Path) -> None:
    save_weights(tmp_path / "again.safetensors", TINY, network.to(memory_format=torch.channels_last), card())
    assert (tmp_path / "again.safetensors").read_bytes() == saved.read_bytes()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_fits_the_test_network_it_names(name: str, tmp_path: Path) -> None:
    method, config = METHODS[name], tiny_config(name)
    recipe = replace(method.recipe, height=IMAGE[0], width=IMAGE[1])
    told = replace(card(name), config=plain(config), recipe=plain(recipe))
    save_weights(tmp_path / "w.safetensors", method, make_network(method, config, recipe, 3), told)
    loaded = load_weights(tmp_path / "w.safetensors")
    assert (loaded.config, loaded.recipe) == (config, recipe)


# --- Configurations as JSON ---


@dataclass(frozen=True)
class Nested:
    path: Path | None = None
    shares: tuple[tuple[float, ...], ...] = ((1.0, 2.0), ())
    table: Mapping[str, tuple[float, float]] = field(default_factory=lambda: {"a": (1.0, 0.0)})
    words: str = "x"


def test_C11_settings_survive_json() -> None:
    for value in (Recipe(milestones=(1, 2), clip=None, lr=1 / 3), CONFIG, Nested(shares=((0.1,), (2.0, 3.0)))):
        assert rebuilt(type(value), json.loads(json.dumps(plain(value)))) == value
    assert plain(Nested(path=Path("a/b")))["path"] == "a/b"
    for method in METHODS.values():
        for settings in (method.recipe, method.config(), *method.rows.values()):
            assert rebuilt(type(settings), json.loads(json.dumps(plain(settings)))) == settings


# --- Files that do not fit ---


def refusal(path: Path, *method: Any) -> str:
    with pytest.raises(InputError) as error:
        load_weights(path, *method)
    sentence = str(error.value)
    assert "\n" not in sentence
    assert sentence.startswith(str(path))
    return sentence


def rewritten(path: Path, **changes: Any) -> Path:
    """The file with other tensors, or another entry in its card."""
    told = vars(card()) | {key: value for key, value in changes.items() if key != "tensors"}
    save_file(changes.get("tensors", load_file(path)), path, metadata={CARD: json.dumps(told)})
    return path


def test_another_methods_file(saved: Path) -> None:
    assert "holds weights of tiny, not of bot; give a file of bot" in refusal(saved, METHODS["bot"])


def test_a_method_that_nobody_knows(saved: Path) -> None:
    assert "of the method 'tiny'; known are bot, " in refusal(saved)


@pytest.mark.parametrize("name", ["config", "recipe", "data", "scores", "versions"])
@pytest.mark.parametrize("value", [None, [1], "x"])
def test_a_card_of_another_make(name: str, value: object, saved: Path) -> None:
    assert f"bears a card of another version (its {name} is {value!r}); train it again" in refusal(
        rewritten(saved, **{name: value}), TINY
    )


@pytest.mark.parametrize("size", [0, 5, 300, -1])
def test_a_truncated_file(size: int, saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:size])
    assert "is cut short, damaged or no safetensors" in refusal(saved, TINY)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    assert "does not exist; check the path" in refusal(tmp_path / "none.safetensors")
    assert f"is a folder; give weights that `halfseen train` wrote, e.g. {BEST}" in refusal(tmp_path)


def test_the_folder_of_a_training_and_its_checkpoint_tell_its_weights(saved: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "last.ckpt"
    torch.save({"network": {}}, checkpoint)
    about = f"{checkpoint} is a checkpoint, which `halfseen train` goes on from, and no weights; give"
    assert refusal(checkpoint) == f"{about} weights that `halfseen train` wrote, e.g. {BEST}"
    last = saved.rename(tmp_path / LAST)
    assert refusal(tmp_path) == f"{tmp_path} is a folder; give the file {last}"
    assert refusal(checkpoint) == f"{about} the file {last}"
    best = shutil.copy(last, tmp_path / BEST)
    assert refusal(tmp_path) == f"{tmp_path} is a folder; give the file {best} or {last}"
    assert refusal(checkpoint) == f"{about} the file {best} or {last}"


@pytest.mark.parametrize("name", ["q.npz", "q.pth", "q"])
def test_a_file_of_another_kind_is_not_called_damaged(name: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "q.npz", vectors=np.zeros((2, 4), np.float32))
    path = (tmp_path / "q.npz").rename(tmp_path / name)
    said = refusal(path)
    assert said.startswith(f"{path} is no safetensors (")
    assert said.endswith(f"; give weights that `halfseen train` wrote, e.g. {BEST}")


def test_a_file_without_a_card(saved: Path) -> None:
    save_file(load_file(saved), saved)
    assert refusal(saved) == (
        f"{saved} bears no card, so `halfseen train` did not write it; weights of a backbone alone belong to --weights "
        f"in training"
    )


@pytest.mark.parametrize("text", ["[]", "{", '{"method": "tiny"}', '{"more": 1}'])
def test_a_card_of_another_kind(text: str, saved: Path) -> None:
    save_file(load_file(saved), saved, metadata={CARD: text})
    assert "bears a card of another version" in refusal(saved, TINY)


def test_a_configuration_of_another_version(saved: Path) -> None:
    assert "had other settings" in refusal(rewritten(saved, config={"depth": 3}), TINY)
    assert "had other settings" in refusal(rewritten(saved, recipe={"momentum": 3}), TINY)


def test_tensors_that_do_not_fit(saved: Path) -> None:
    state = load_file(saved)
    lean = {name: value for name, value in state.items() if name != "backbone.conv.bias"}
    assert "lacks 'backbone.conv.bias' (1 such" in refusal(rewritten(saved, tensors=lean), TINY)
    more = state | {"teacher": torch.zeros(1)}
    assert "holds 'teacher', which this version does not know (1 such" in refusal(rewritten(saved, tensors=more), TINY)
    wrong = state | {"backbone.conv.bias": torch.zeros(5)}
    assert "'backbone.conv.bias' of shape (5,) instead of (6,)" in refusal(rewritten(saved, tensors=wrong), TINY)


@pytest.mark.parametrize("folder", ["no/such", "file"])
def test_where_nothing_can_be_written(folder: str, network: Tiny, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        save_weights(tmp_path / folder / "w.safetensors", TINY, network, card())


def test_a_full_disk_leaves_the_file_before(saved: Path, network: Tiny, small_disk: SmallDisk) -> None:
    before = saved.read_bytes()
    with small_disk(1000), pytest.raises(InputError, match="cannot be written"):
        save_weights(saved, TINY, network, card())
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_full_disk_is_told_as_such(
    saved: Path, network: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the words of safetensors and of torch when there was no room (0.8.0 and 2.15, on a disk of 100 KB)."""

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    def torch_full(*_: object) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 576 vs 534\nframe #0: ...")

    encoded = Encoded(Embedding.of(torch.zeros(1, 2)), Facts(*torch.zeros(3, 1, dtype=torch.int64)))
    for module in (weights, stopping, embeddings):
        monkeypatch.setattr(module, "save_file", full)
    monkeypatch.setattr(torch, "save", torch_full)
    batch = Batch(torch.zeros(1, 3, 2, 2, dtype=torch.uint8), *torch.zeros(2, 1, dtype=torch.int64))
    optimiser = torch.optim.SGD(network.parameters())
    writes: list[Callable[[], object]] = [
        lambda: save_weights(saved, TINY, network, card()),
        lambda: save_batch(tmp_path / "b.safetensors", batch),
        lambda: save_encoded(tmp_path / "e.safetensors", encoded),
        lambda: save_checkpoint(tmp_path / "last.ckpt", {}, State(), network, optimiser),
    ]
    for write in writes:
        with pytest.raises(InputError, match=r"cannot be written \(No space left on device\); make room there$"):
            write()


def test_a_folder_whose_name_is_not_utf_8(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved.parent / os.fsdecode(b"w\xff")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system wants names to be UTF-8")
    path = saved.rename(folder / "w.safetensors")
    for read in (lambda: load_weights(path), lambda: load_encoded(path, camid=0)):
        with pytest.raises(
            InputError, match=r"w\\xff/w.safetensors cannot be read, because .* not UTF-8; rename it, or"
        ):
            read()
    monkeypatch.chdir(folder)
    assert load_weights(Path("w.safetensors"), TINY).card == card()
