"""Pictures become embeddings, the same ones whatever the batches, and only once."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from halfseen.data.augment import Augment
from halfseen.data.images import read_image, save_image
from halfseen.data.loading import CueSources
from halfseen.data.transforms import resized
from halfseen.encode import Look, cache_folder, content_key, cues_for, encode, encode_once, encode_split
from halfseen.recipe import Method
from halfseen.streams import Behind
from halfseen.types import InputError, KeepTop, Occluder, Paste, Splits
from halfseen.weights import Card, Loaded, make_network, plain, save_weights
from standins import CUED, RECIPE, TINY, Config, Tiny, draw_set, read_drawn

LOOK = Look(Augment(32, 16, flip=0.5, pad=4, erase=1.0))


@pytest.fixture
def splits(tmp_path: Path) -> Splits:
    return read_drawn(draw_set(tmp_path / "set"))


@pytest.fixture
def network() -> Tiny:
    made = make_network(TINY, Config(), RECIPE, 3)
    assert isinstance(made, Tiny)
    return made


def test_an_embedding_is_what_the_network_makes_of_each_picture(network: Tiny, splits: Splits) -> None:
    done: list[tuple[int, int]] = []
    found = encode(network, TINY, splits.train, replace(LOOK, batch=5), progress=lambda *now: done.append(now))
    assert done == [(5, 12), (10, 12), (12, 12)]
    assert network.training  # as it was before
    network.eval()
    for row, sample in enumerate(splits.train):
        image = resized(read_image(sample.path), LOOK.augment).float() / 255
        with torch.no_grad():
            vectors = network(((image - 0.5) / 0.25)[None]).vectors
        torch.testing.assert_close(found.vectors[row], vectors, rtol=1e-5, atol=1e-5)
    assert not found.vectors.requires_grad


@pytest.mark.parametrize("batch", [1, 3, 12, 100])
def test_batches_make_no_difference(batch: int, network: Tiny, splits: Splits) -> None:
    want = encode(network, TINY, splits.train, LOOK)
    found = encode(network, TINY, splits.train, replace(LOOK, batch=batch))
    torch.testing.assert_close(found.vectors, want.vectors, rtol=1e-5, atol=1e-5)


def test_bfloat16_is_near(network: Tiny, splits: Splits) -> None:
    exact, rounded = (
        encode(network, TINY, splits.train, replace(LOOK, precision=precision)).vectors
        for precision in ("float32", "bfloat16")
    )
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(exact, rounded, rtol=0.02, atol=0.02)


def test_looking_late_makes_no_difference(network: Tiny, splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    look, done = replace(LOOK, batch=5), [0]
    want = encode(network, TINY, splits.train, look)

    class Late(Behind[Any, Any]):
        def __init__(self, *how: Any) -> None:
            super().__init__(*how)
            self.lag = 1

    monkeypatch.setattr("halfseen.encode.Behind", Late)
    found = encode(network, TINY, splits.train, look, progress=lambda now, _: done.append(now))
    assert torch.equal(found.vectors, want.vectors)
    assert done == [0, 5, 10, 12]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_is_gone_and_who_has_had_enough(network: Tiny, splits: Splits, workers: int) -> None:
    def stop(done: int, _: int) -> None:
        seen.append(done)
        if done >= 4:
            raise KeyboardInterrupt

    seen: list[int] = []
    look, threads = replace(LOOK, batch=2, workers=workers), threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        encode(network, TINY, splits.train, look, progress=stop)
    splits.train[7].path.unlink()
    with pytest.raises(InputError, match=f"{splits.train[7].name} does not exist"):
        encode(network, TINY, splits.train, look, progress=lambda done, _: seen.append(done))
    assert seen == [2, 4, 2, 4, 6]
    assert workers or threading.active_count() == threads
    assert network.training


def test_nothing_to_encode(network: Tiny, splits: Splits) -> None:
    for samples, look in (((), LOOK), (splits.train, replace(LOOK, batch=0))):
        with pytest.raises(InputError, match="are nothing to encode"):
            encode(network, TINY, samples, look)


def needing(*names: Any) -> Method:
    return replace(CUED, needs={"train": frozenset(names), "test": frozenset(names)})


def test_C13_only_declared_cues_are_handed_over(network: Tiny, splits: Splits) -> None:
    points = torch.rand(12, 17, 3)
    everything = CueSources(points, fields=lambda _: torch.rand(36, 4, 2))
    encode(network, CUED, splits.train, LOOK, cues=everything)
    encode(network, needing("keypoints"), splits.train, LOOK, cues=everything)
    none, some = network.handed
    assert none is not None
    assert set(vars(none).values()) == {None}
    assert some is not None
    assert {name for name, cue in vars(some).items() if cue is not None} == {"keypoints", "hidden"}


def test_a_method_that_needs_cues_at_test_time_is_told_what_an_edit_hides(network: Tiny, splits: Splits) -> None:
    edit = Paste(Occluder.TALL_LEFT, splits.gallery[0].path, 3)
    pasted = [splits.query[0], *(replace(sample, edits=(edit,)) for sample in splits.query[1:])]
    encode(network, needing("keypoints"), pasted, LOOK, cues=CueSources(torch.rand(3, 17, 3)))
    (handed,) = network.handed
    assert handed is not None
    assert handed.hidden is not None
    shares = handed.hidden.float().mean((1, 2)).tolist()
    assert shares[0] == 0
    assert all(0.1 < share < 0.6 for share in shares[1:])


def test_cues_are_looked_for_as_the_stage_demands(splits: Splits) -> None:
    assert cues_for(CUED, Config(), "train", splits, splits.train).keypoints is not None
    assert cues_for(CUED, Config(), "test", splits, splits.query).keypoints is None
    assert cues_for(CUED, Config(), "train", splits, splits.train, "keypoints").keypoints is not None
    with pytest.raises(InputError, match="cued does not look at fields; choose keypoints or parts, or auto"):
        cues_for(CUED, Config(), "train", splits, splits.train, "fields")
    assert cues_for(TINY, Config(), "train", splits, splits.train, "fields").keypoints is None


# --- The cache ---


@pytest.fixture
def loaded(network: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loaded:
    """Loaded from tiny.safetensors; the cache is an empty folder."""
    monkeypatch.setenv("HALFSEEN_CACHE", str(tmp_path / "cache"))
    card = Card("tiny", plain(Config()), plain(RECIPE), {}, 0, 0, "none")
    save_weights(tmp_path / "tiny.safetensors", TINY, network, card)
    return Loaded(TINY, Config(), RECIPE, network.eval(), card)


def test_what_was_encoded_is_not_encoded_again(loaded: Loaded, splits: Splits, tmp_path: Path) -> None:
    network = loaded.network
    assert isinstance(network, Tiny)
    weights = tmp_path / "tiny.safetensors"
    first = encode_split(loaded, weights, splits, "gallery", LOOK)
    assert len(network.handed) == 1
    again = encode_split(loaded, weights, splits, "gallery", LOOK)
    assert len(network.handed) == 1
    assert torch.equal(first.embedding.vectors, again.embedding.vectors)
    assert torch.equal(first.embedding.visibility, again.embedding.visibility)
    assert first.facts.pids.tolist() == again.facts.pids.tolist() == [s.pid for s in splits.gallery]
    assert (again.has_cameras, again.has_labels) == (True, False)
    assert (len(list((tmp_path / "cache").iterdir())), cache_folder()) == (1, tmp_path / "cache")
    encode_split(loaded, weights, splits, "query", LOOK)
    assert len(network.handed) == 2


def test_who_has_no_home_keeps_nothing(
    loaded: Loaded, splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("HALFSEEN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    network = loaded.network
    assert isinstance(network, Tiny)
    for times in (1, 2):
        encode_split(loaded, tmp_path / "tiny.safetensors", splits, "gallery", LOOK)
        assert len(network.handed) == times


def test_a_damaged_cache_is_made_again(loaded: Loaded, splits: Splits, tmp_path: Path) -> None:
    place = tmp_path / "cache" / "x.safetensors"
    first = encode_once(loaded, splits.query, LOOK, place)
    place.write_bytes(place.read_bytes()[:-7])
    assert torch.equal(encode_once(loaded, splits.query, LOOK, place).vectors, first.vectors)
    assert torch.equal(encode_once(loaded, splits.query, LOOK, place).vectors, first.vectors)
    assert isinstance(loaded.network, Tiny)
    assert len(loaded.network.handed) == 2


def test_a_network_whose_settings_were_changed_is_encoded_anew(
    loaded: Loaded, splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As scripts move the line between seen and hidden: what comes out is not what the file's card promises."""
    network = loaded.network
    assert isinstance(network, Tiny)
    for times, settings in ((1, loaded.config), (2, {"line": 0.4}), (2, loaded.config), (2, {"line": 0.4})):
        monkeypatch.setattr(network, "config", settings, raising=False)
        encode_split(loaded, tmp_path / "tiny.safetensors", splits, "gallery", LOOK)
        assert len(network.handed) == times


def test_a_cache_that_cannot_be_written_is_no_fault(loaded: Loaded, splits: Splits, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    assert len(encode_split(loaded, tmp_path / "tiny.safetensors", splits, "query", LOOK).embedding) == 3


def test_a_key_names_the_content(splits: Splits, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(b"1")
    samples = [*splits.query]

    def key(look: Look = LOOK, device: str = "cpu", points: Tensor | None = None, config: object = None) -> str:
        return content_key(weights, samples, look, device=device, cues=CueSources(points), config=config)

    first = key()
    assert key() == key(replace(LOOK, batch=3, workers=2)) == first
    assert key(replace(LOOK, augment=replace(LOOK.augment, flip=0.0, erase=0.0))) == first  # of training alone
    keys = [
        first,
        key(replace(LOOK, precision="bfloat16")),
        key(replace(LOOK, augment=replace(LOOK.augment, height=64))),
        key(device="cuda"),
        key(config=replace(LOOK, batch=9)),
        key(points=torch.zeros(3, 17, 3)),
        key(points=torch.ones(3, 17, 3)),
    ]
    samples[0] = replace(samples[0], edits=(KeepTop(2),))
    keys.append(key())
    samples[0] = replace(samples[0], edits=(KeepTop(3),))
    keys.append(key())
    source = splits.gallery[0].path
    samples[0] = replace(samples[0], edits=(Paste(Occluder.TALL_LEFT, source, 3),))
    keys.append(key())
    save_image(source, torch.zeros(3, 40, 20, dtype=torch.uint8))
    keys.append(key())
    save_image(samples[1].path, torch.zeros(3, 40, 20, dtype=torch.uint8))
    keys.append(key())
    weights.write_bytes(b"2")
    keys.append(key())
    samples.reverse()
    keys.append(key())
    assert len(set(keys)) == len(keys)


def test_moved_pictures_keep_their_key(splits: Splits, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"1")
    before = content_key(tmp_path / "weights", splits.query, LOOK, device="cpu", cues=CueSources())
    moved = read_drawn(splits.root.rename(tmp_path / "elsewhere"))
    assert content_key(tmp_path / "weights", moved.query, LOOK, device="cpu", cues=CueSources()) == before


def test_a_network_that_does_not_learn_goes_on_not_to(tmp_path: Path) -> None:
    network = make_network(TINY, Config(), RECIPE, 3).eval()
    encode(network, TINY, read_drawn(draw_set(tmp_path / "set")).query, Look(Augment(32, 16)))
    assert not network.training
