"""The training loop: what it learns, writes and refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from halfseen import train as training_module
from halfseen.data.finding import find_cues
from halfseen.data.loading import CueSources
from halfseen.data.variants import read_sample
from halfseen.recipe import Method, Recipe, learning_rate
from halfseen.train import CHECKPOINT, RUN, Training, train
from halfseen.training.log import read_log
from halfseen.training.settings import Settings, augment_of
from halfseen.types import Batch, InputError, Sample, Scores, Splits
from halfseen.weights import BEST, LAST, load_weights
from standins import CUED, RECIPE, TINY, Config, Tiny, draw_set, read_drawn, same

Trained = Callable[..., Path]


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return read_drawn(draw_set(tmp_path_factory.mktemp("set")))


@pytest.fixture
def trained(splits: Splits, tmp_path: Path) -> Trained:
    """`trained(name, ...)` trains into a folder of that name and returns it."""

    def run(name: str = "out", recipe: Recipe = RECIPE, method: Method = TINY, **settings: Any) -> Path:
        out = tmp_path / name
        how: dict[str, Any] = {"device": "cpu", "start": "none", "every": 0} | settings
        train(method, Config(), recipe, splits, {}, Settings(out, **how))
        return out

    return run


def checkpoint(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(out / CHECKPOINT, weights_only=True)
    return content


# --- What comes out ---


def test_a_training_writes_weights_a_checkpoint_and_a_log(trained: Trained, splits: Splits) -> None:
    out = trained(every=2, interval=2)
    assert sorted(path.name for path in out.iterdir()) == sorted([CHECKPOINT, BEST, LAST, RUN, "log.jsonl"])
    about = json.loads((out / RUN).read_text())
    assert (about["method"], about["seed"], about["started_from"]) == ("tiny", 0, "none")
    assert about["recipe"]["milestones"] == [2]
    assert about["root"] == str(splits.root)
    assert (about["data"]["name"], about["data"]["people"], about["data"]["images"]) == ("market1501", 4, 12)
    card = load_weights(out / LAST, TINY).card
    assert (card.epoch, card.recipe, card.data) == (3, about["recipe"], about["data"])
    lines = read_log(out / "log.jsonl")
    assert [(line["kind"], line["epoch"], line["step"]) for line in lines] == [
        ("steps", 1, 2),
        ("steps", 2, 4),
        ("scores", 2, 4),
        ("steps", 3, 6),
        ("scores", 3, 6),
    ]
    assert lines[0]["losses"].keys() == {"identity", "triplet"}
    assert card.scores == lines[-1]["scores"]


def test_losses_fall_and_people_are_found_again(trained: Trained) -> None:
    out = trained(recipe=replace(RECIPE, epochs=15, milestones=(), augment="none"), interval=1)
    losses = [line["losses"]["identity"] for line in read_log(out / "log.jsonl") if line["kind"] == "steps"]
    assert sum(losses[-4:]) < 0.5 * sum(losses[:4])
    assert load_weights(out / BEST, TINY).card.scores["market"]["rank"]["1"] == 1.0


def test_the_same_seed_trains_the_same_weights_and_another_others(trained: Trained) -> None:
    first, again, other = trained("a"), trained("b"), trained("c", seed=1)
    assert same(checkpoint(first)["network"], checkpoint(again)["network"])
    assert not same(checkpoint(first)["network"], checkpoint(other)["network"])
    assert (first / LAST).read_bytes() == (again / LAST).read_bytes()


def test_memory_and_workers_change_nothing(trained: Trained) -> None:
    once = replace(RECIPE, epochs=1)
    kept, read_anew = trained("a", once), trained("b", once, memory=0)
    by_workers = trained("c", once, workers=1)
    assert same(checkpoint(kept)["network"], checkpoint(read_anew)["network"])
    assert same(checkpoint(kept)["network"], checkpoint(by_workers)["network"])


def test_each_file_is_decoded_once(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def read(sample: Sample) -> object:
        seen.append(sample.name)
        return read_sample(sample)

    monkeypatch.setattr("halfseen.data.memory.read_sample", read)
    trained(recipe=replace(RECIPE, epochs=8), every=0)
    train_names = [name for name in seen if name.startswith("bounding_box_train")]
    assert len(train_names) == len(set(train_names)) == 12


def test_C10_the_learning_rate_follows_the_recipe_step_by_step(trained: Trained) -> None:
    recipe = replace(RECIPE, epochs=5, warmup=2, milestones=(4,))
    lines = [line for line in read_log(trained(recipe=recipe, interval=1) / "log.jsonl") if line["kind"] == "steps"]
    assert [line["lr"] for line in lines] == [learning_rate(recipe, step / 2) for step in range(10)]
    hand = [0.0001, 0.002575, 0.00505, 0.007525, *[0.01] * 4, *[0.001] * 2]
    assert [line["lr"] for line in lines] == pytest.approx(hand)


def test_the_best_is_kept_when_scores_fall_again(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.2, 0.9, 0.5])
    fake = lambda *_, **__: {"market": Scores(next(scores), 0.0, (0.0,), 1, 0, 1)}  # noqa: E731
    monkeypatch.setattr(training_module, "evaluate", fake)
    out = trained(every=1)
    best, last = (load_weights(out / name, TINY).card for name in (BEST, LAST))
    assert (best.epoch, best.scores["market"]["mAP"]) == (2, 0.9)
    assert (last.epoch, last.scores["market"]["mAP"]) == (3, 0.5)


# --- One step ---


def begun(splits: Splits, out: Path, recipe: Recipe = RECIPE, **settings: Any) -> tuple[Training, Batch]:
    """A training before its first step, and the first batch."""
    training = Training(
        TINY, Config(), recipe, splits, {}, settings=Settings(out, device="cpu", start="none", **settings)
    )
    return training, training.handed(training.pictures.batch(next(iter(training.batches))))


def test_one_step_of_sgd_by_hand(splits: Splits, tmp_path: Path) -> None:
    recipe = replace(RECIPE, optimiser="sgd", lr=0.5, warmup=0, weight_decay=0.1, bias_lr=3.0)
    training, batch = begun(splits, tmp_path, recipe)
    before = {name: value.clone() for name, value in training.network.named_parameters()}
    said = training._step(batch).read()
    for name, now in training.network.named_parameters():
        assert now.grad is not None
        rate = 1.5 if name.endswith("bias") else 0.5
        torch.testing.assert_close(now, before[name] - rate * (now.grad + 0.1 * before[name]))
    length = torch.stack([p.grad.norm() for p in training.network.parameters() if p.grad is not None]).norm()
    assert said.others["gradient"] == pytest.approx(length.item(), rel=1e-5)
    assert (training.state.done, said.others["lr"]) == (1, 0.5)


@pytest.mark.parametrize("clip", [0.1, 1e6])
def test_long_gradients_are_shortened(clip: float, splits: Splits, tmp_path: Path) -> None:
    training, batch = begun(splits, tmp_path, replace(RECIPE, clip=clip))
    length = training._step(batch).length.item()
    after = torch.stack([p.grad.norm() for p in training.network.parameters() if p.grad is not None]).norm().item()
    assert after == pytest.approx(min(clip, length), rel=1e-3)


def test_dropout_depends_on_seed_and_step_alone(splits: Splits, tmp_path: Path) -> None:
    losses = []
    for noise in (0, 1):
        training, batch = begun(splits, tmp_path)
        torch.manual_seed(noise)
        losses.append(training._step(batch).read().losses)
    training, batch = begun(splits, tmp_path)
    training.state.done = 1
    assert losses[0] == losses[1] != training._step(batch).read().losses


def test_bfloat16_rounds_the_network_and_not_its_input_or_losses(splits: Splits, tmp_path: Path) -> None:
    points = torch.full((12, 17, 3), 13.57)
    cues = {"train": CueSources(points)}
    how = Settings(tmp_path, device="cpu", start="none", precision="bfloat16")
    training = Training(CUED, Config(), replace(RECIPE, augment="none"), splits, cues, settings=how)
    batch = training.handed(training.pictures.batch(next(iter(training.batches))))
    training._step(batch)
    network = training.network
    assert isinstance(network, Tiny)
    assert network.handed[-1] is batch.cues
    assert batch.cues.keypoints is not None
    assert batch.cues.keypoints.dtype == torch.float32
    network.eval()
    exact = network(batch.images.float()).vectors
    rounded = training.module(batch.images.float()).vectors
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(exact, rounded, rtol=0.05, atol=0.5)


# --- Cues ---


@pytest.mark.parametrize("method", [TINY, CUED], ids=lambda method: method.name)
def test_a_method_sees_the_cues_that_it_declared(method: Method, splits: Splits, tmp_path: Path) -> None:
    everything = CueSources(torch.rand(12, 17, 3), fields=lambda _: torch.rand(36, 4, 2))
    how = Settings(tmp_path, device="cpu", start="none", every=1)
    training = Training(method, Config(), replace(RECIPE, epochs=1), splits, {"train": everything}, settings=how)
    training.run()
    network = training.network
    assert isinstance(network, Tiny)
    handed = [{name for name, cue in vars(cues).items() if cue is not None} for cues in network.handed if cues]
    in_training = {"hidden", "occluder"} | ({"keypoints"} if method is CUED else set())
    assert handed == [in_training] * 2 + [set()] * 2  # two steps, then queries and gallery


def test_a_training_is_told_from_one_with_other_cues(splits: Splits, tmp_path: Path) -> None:
    some, others = torch.rand(2, 12, 17, 3)
    sources = (
        None,
        CueSources(some),
        CueSources(others),
        CueSources(fields=lambda _: some),
        CueSources(parts=lambda sample: some[0] * sample.pid),
        CueSources(parts=lambda _: some[0]),
    )
    tales = []
    for number, source in enumerate(sources):
        cues = {"train": source} if source else {}
        how = Settings(tmp_path / str(number), device="cpu", start="none")
        tales.append(Training(TINY, Config(), RECIPE, splits, cues, settings=how).about()["data"])
    assert [told["cue"] for told in tales] == ["none", "keypoints", "keypoints", "fields", "parts", "parts"]
    assert all(one != other for one, other in combinations(tales, 2))
    again = Settings(tmp_path / "again", device="cpu", start="none")
    same = Training(TINY, Config(), RECIPE, splits, {"train": CueSources(some.clone())}, settings=again)
    assert same.about()["data"] == tales[1]


def test_part_labels_come_in_the_grouping_of_the_config_and_flip(tmp_path: Path) -> None:
    root = tmp_path / "set"
    draw_set(root)
    for sample in read_drawn(root).train:
        path = (root / "parts" / sample.name).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        labels = torch.zeros(40, 20, dtype=torch.uint8)
        labels[:, :10], labels[:, 10:] = 3, 5  # in eight: right arm, left leg
        Image.fromarray(labels.numpy()).save(path)
    drawn = read_drawn(root)
    cues = {"train": find_cues(drawn, drawn.train, {"parts", "keypoints"}, "six")}
    recipe = replace(RECIPE, augment="flip")
    training = Training(
        CUED, Config(), recipe, drawn, cues, settings=Settings(tmp_path / "out", device="cpu", start="none")
    )
    halves = set()
    for number in range(12):
        parts = training.pictures[number].view.parts
        assert parts is not None
        assert all(len({*half.flatten().tolist()}) == 1 for half in (parts[:, :8], parts[:, 8:]))
        halves.add((parts[0, 0].item(), parts[0, 8].item()))
    assert halves == {(4, 5), (5, 3)}  # in six: right arm and legs; in the mirror legs and left arm


def test_sizes_are_the_recipes_padding_follows_the_width_and_names_are_known() -> None:
    tall = augment_of(replace(RECIPE, height=384, width=128))
    assert (tall.height, tall.width) == (384, 128)
    assert (augment_of(RECIPE).pad, augment_of(replace(RECIPE, width=128)).pad) == (1, 10)
    assert augment_of(replace(RECIPE, augment="flip")).pad == 0
    with pytest.raises(InputError, match=r"'bott', which nobody knows; choose one of none, flip, bot"):
        augment_of(replace(RECIPE, augment="bott"))


# --- Company ---


def test_tensorboard_is_an_extra(trained: Trained) -> None:
    if find_spec("tensorboard"):
        assert list((trained(tensorboard=True) / "tensorboard").iterdir())
    else:
        with pytest.raises(InputError, match=r"pip install 'halfseen\[track\]'"):
            trained(tensorboard=True)


TWO = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
from halfseen.train import train
from halfseen.training.settings import Settings
from standins import RECIPE, TINY, Config, read_drawn
torch.set_num_threads(1)
root, out = map(Path, sys.argv[1:])
recipe = replace(RECIPE, people=4)
scores = train(TINY, Config(), recipe, read_drawn(root), {}, Settings(out, device="cpu", start="none"))
print("led" if scores else "followed")
"""


@pytest.mark.slow
def test_two_processes_share_the_work(splits: Splits, tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(TWO)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(tmp_path / "two.py")]
    for out in ("a", "b"):
        done = subprocess.run(
            [*command, str(splits.root), str(tmp_path / out)], capture_output=True, text=True, check=True
        )
        assert sorted(line for line in done.stdout.split() if line in ("led", "followed")) == ["followed", "led"]
    one, two = (checkpoint(tmp_path / name) for name in ("a", "b"))
    assert same(one["network"], two["network"])
    assert json.loads(one["run"])["processes"] == 2
    assert [line["kind"] for line in read_log(tmp_path / "a" / "log.jsonl")] == ["steps"] * 3 + ["scores"]
