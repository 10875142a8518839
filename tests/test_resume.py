"""A training that is stopped goes on as if nothing had happened: the weights are the same, bit by bit."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

import standins
from halfseen.data.loading import Loader
from halfseen.ops.metrics import PROTOCOLS
from halfseen.processes import LostError
from halfseen.recipe import Method, Recipe
from halfseen.train import CHECKPOINT, RUN, train
from halfseen.training.log import Log, read_log
from halfseen.training.settings import Settings
from halfseen.training.stopping import SIGNALS, Stopped, StopSigns
from halfseen.types import Batch, InputError, Splits
from halfseen.weights import BEST, LAST
from standins import LONG, PAIRED, RECIPE, TINY, Config, Output, Tiny, draw_set, read_drawn, same

SmallDisk = Callable[[int], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return read_drawn(draw_set(tmp_path_factory.mktemp("set")))


@pytest.fixture(scope="module")
def unbroken(splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nobody stopped."""
    return go(splits, tmp_path_factory.mktemp("run") / "unbroken")


def go(splits: Splits, out: Path, method: Method = TINY, recipe: Recipe = LONG, **settings: Any) -> Path:
    how: dict[str, Any] = {"device": "cpu", "start": "none", "interval": 2, "save": 3} | settings
    train(method, Config(), recipe, splits, {}, Settings(out, **how))
    return out


def assert_alike(a: Path, b: Path) -> None:
    one, other = (torch.load(folder / CHECKPOINT, weights_only=True) for folder in (a, b))
    assert same(one["network"], other["network"])
    assert same(one["optimiser"]["state"], other["optimiser"]["state"])
    assert json.loads(one["state"])["done"] == json.loads(other["state"])["done"] == 24
    for name in (LAST, BEST):
        assert (a / name).read_bytes() == (b / name).read_bytes()
    timeless = [
        [{k: v for k, v in line.items() if k != "images_per_second"} for line in read_log(folder / "log.jsonl")]
        for folder in (a, b)
    ]
    ends = [[line for line in lines if line["kind"] == "scores"] for lines in timeless]
    assert ends[0] == ends[1]
    assert [line["step"] for line in timeless[0]] == sorted(line["step"] for line in timeless[0])
    assert len({line["step"] for line in timeless[1] if line["kind"] == "steps"}) == sum(
        line["kind"] == "steps" for line in timeless[1]
    )


def interrupted(splits: Splits, out: Path, step: int, *, method: Method = TINY, recipe: Recipe = LONG) -> None:
    """A training that falls in its step `step`, counted from 0."""
    steps = iter(range(1000))

    def fall(network_out: Output, batch: Batch, config: Config) -> dict[str, Tensor]:
        if next(steps) == step:
            raise RuntimeError
        return method.losses(network_out, batch, config)

    with pytest.raises(RuntimeError):
        go(splits, out, replace(method, losses=fall), recipe)


@pytest.mark.parametrize("step", [0, 1, 3, 4, 22, 23])
def test_after_a_crash(step: int, splits: Splits, unbroken: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    interrupted(splits, out, step)
    assert_alike(go(splits, out), unbroken)


def test_with_twins(splits: Splits, tmp_path: Path) -> None:
    recipe = replace(LONG, twins=True)
    unbroken = go(splits, tmp_path / "unbroken", PAIRED, recipe)
    for step in (5, 4):
        interrupted(splits, tmp_path / "out", step, method=PAIRED, recipe=recipe)
    assert_alike(go(splits, tmp_path / "out", PAIRED, recipe), unbroken)


def test_after_several(splits: Splits, unbroken: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for step in (5, 4, 6, 3):
        interrupted(splits, out, step)
    assert_alike(go(splits, out), unbroken)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are others there")
def test_after_signals(splits: Splits, unbroken: Path, tmp_path: Path) -> None:
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
    runs = {}
    for number in signals:
        command = [sys.executable, standins.__file__, str(splits.root), str(tmp_path / number.name)]
        runs[number] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    waiting = dict(runs)
    while waiting:
        for number, process in [*waiting.items()]:
            assert process.poll() is None, process.communicate()
            if (tmp_path / number.name / CHECKPOINT).exists():
                waiting.pop(number).send_signal(number)
        time.sleep(0.01)
    for number, process in runs.items():
        said = process.communicate(timeout=300)[1]
        if number == signal.SIGKILL:
            assert process.returncode == -signal.SIGKILL
        else:
            state = torch.load(tmp_path / number.name / CHECKPOINT, weights_only=True)["state"]
            done = json.loads(state)["done"]
            assert done < 24, "it was over before the signal came"
            assert said.strip() == f"stopped after {done} of 24 steps; the same command goes on from there"
    for number in signals:
        assert_alike(go(splits, tmp_path / number.name), unbroken)


def test_stopped_while_evaluating(splits: Splits, unbroken: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def press(method_out: Output) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return TINY.embed(method_out)

    with pytest.raises(KeyboardInterrupt, match="stopped after 20 of 24 steps"):
        go(splits, out, replace(TINY, embed=press))
    assert [line["kind"] for line in read_log(out / "log.jsonl")].count("scores") == 0
    assert_alike(go(splits, out), unbroken)


def worker_lost(batches: int) -> Callable[[Loader], Iterator[Batch]]:
    """In place of a loader's batches: so many, then its worker is gone."""
    usual, left = Loader.__iter__, iter(range(batches))

    def some(loader: Loader) -> Iterator[Batch]:
        for batch in usual(loader):
            if next(left, None) is None:
                raise LostError
            yield batch

    return some


def test_workers_that_heard_the_signal_first(
    splits: Splits, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = worker_lost(7)

    def with_a_signal(loader: Loader) -> Iterator[Batch]:
        try:
            yield from heard(loader)
        except LostError:
            signal.raise_signal(signal.SIGTERM)
            raise

    monkeypatch.setattr(Loader, "__iter__", with_a_signal)
    with pytest.raises(KeyboardInterrupt, match="stopped after 7 of 24 steps; the same command goes on"):
        go(splits, tmp_path / "out", save=None)
    monkeypatch.undo()
    assert_alike(go(splits, tmp_path / "out"), unbroken)


def test_a_worker_that_is_gone_unasked(splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Loader, "__iter__", worker_lost(2))
    with pytest.raises(LostError, match="take fewer workers"):
        go(splits, tmp_path / "out")


def test_what_is_over_is_not_done_again(splits: Splits, tmp_path: Path) -> None:
    out = go(splits, tmp_path / "out", recipe=RECIPE)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    said: list[str] = []
    go(splits, out, recipe=RECIPE, say=said.append)
    assert said == ["going on after 6 of 6 steps"]
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize("was", [1, 2, None])
def test_another_number_of_threads_is_told(was: int | None, splits: Splits, tmp_path: Path) -> None:
    """As sums then end in other bits. What was written before that was kept tells nothing."""
    said: list[str] = []
    interrupted(splits, tmp_path, 4)
    content = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    state = json.loads(content["state"])
    assert state["threads"] == 1
    content["state"] = json.dumps(state | {"threads": was})
    torch.save(content, tmp_path / CHECKPOINT)
    go(splits, tmp_path, say=said.append)
    assert said[0].startswith("going on after 4 of 24 steps")
    assert ("by 1 of torch's threads instead of 2: sums end in other bits" in said[0]) == (was == 2)
    assert ("OMP_NUM_THREADS=2" in said[0]) == (was == 2)
    assert json.loads(torch.load(tmp_path / CHECKPOINT, weights_only=True)["state"])["threads"] == 1


def test_going_on_needs_no_weights_to_begin_with(splits: Splits, tmp_path: Path) -> None:
    start = tmp_path / "backbone.safetensors"
    start.touch()
    begun: list[object] = []

    def make(config: Config, people: int, **how: Any) -> Tiny:
        begun.append(how["weights"])
        return Tiny(config, people, **how)

    method = replace(TINY, network=make)
    go(splits, tmp_path / "out", method, RECIPE, start=start)
    again = len(begun)
    go(splits, tmp_path / "out", method, RECIPE, start=start)
    assert begun[0] == start
    assert {*begun[1:again], *begun[again:]} == {"none"}


# --- Checkpoints that do not fit ---


@pytest.fixture
def half(splits: Splits, tmp_path: Path) -> Path:
    """A training that was stopped in its second epoch."""
    out = tmp_path / "half"
    interrupted(splits, out, 4)
    return out


@pytest.mark.parametrize("over", [False, True])
def test_an_early_version_noted_no_protocol_where_none_was_named(over: bool, splits: Splits, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if over:
        go(splits, out)
    else:
        interrupted(splits, out, 4)
    content = torch.load(out / CHECKPOINT, weights_only=True)
    run = json.loads(content["run"])
    assert run.pop("protocol") == "market"
    torch.save({**content, "run": json.dumps(run)}, out / CHECKPOINT)
    if not over:
        with pytest.raises(InputError, match=r"protocol market \(now all\)"):
            go(splits, out, protocols=(PROTOCOLS["all"],))
    go(splits, out, protocols=(PROTOCOLS["all" if over else "market"],))
    assert json.loads((out / RUN).read_text())["protocol"] == "market"


@pytest.mark.parametrize(
    ("method", "recipe", "settings", "said"),
    [
        (replace(TINY, name="other"), LONG, {}, r"method tiny \(now other\)"),
        (TINY, replace(LONG, lr=0.02), {}, r"recipe.lr 0.01 \(now 0.02\)"),
        (TINY, LONG, {"seed": 7}, r"seed 0 \(now 7\)"),
        (TINY, LONG, {"protocols": (PROTOCOLS["all"],)}, r"protocol market \(now all\)"),
        (TINY, replace(LONG, lr=1, warmup=3, epochs=9, clip=2), {}, "and 1 more"),
    ],
)
def test_another_training_is_refused(
    method: Method, recipe: Recipe, settings: Any, said: str, half: Path, splits: Splits
) -> None:
    before = (half / CHECKPOINT).read_bytes()
    with pytest.raises(InputError, match=f"half holds a training with .*{said}.*choose another --out"):
        go(splits, half, method, recipe, **settings)
    assert (half / CHECKPOINT).read_bytes() == before


@pytest.mark.parametrize("what", ["network", "optimiser"])
def test_a_checkpoint_of_a_version_with_other_parameters(what: str, half: Path, splits: Splits) -> None:
    content = torch.load(half / CHECKPOINT, weights_only=True)
    state = content["network"] if what == "network" else content["optimiser"]["param_groups"][0]
    state.popitem()
    torch.save(content, half / CHECKPOINT)
    with pytest.raises(InputError, match=r"last.ckpt holds other parameters than .*; go on with the version that"):
        go(splits, half)


@pytest.mark.parametrize("changes", [{"network": None}, {"optimiser": None}, {"run": "[]"}, {"state": "3"}])
def test_a_checkpoint_that_lacks_something(changes: dict[str, Any], half: Path, splits: Splits) -> None:
    content = torch.load(half / CHECKPOINT, weights_only=True) | changes
    torch.save({name: value for name, value in content.items() if value is not None}, half / CHECKPOINT)
    with pytest.raises(InputError, match=r"last.ckpt is cut short or no checkpoint"):
        go(splits, half)


def test_scores_of_an_epoch_that_was_not_over_are_not_told_twice(tmp_path: Path) -> None:
    log = Log(tmp_path, 0)
    for kind, epoch, step in (("steps", 1, 3), ("scores", 1, 3), ("steps", 2, 6), ("scores", 2, 6)):
        log.write(kind, epoch, step, {})
    Log(tmp_path, 6, 1)
    assert [(line["kind"], line["epoch"]) for line in read_log(tmp_path / "log.jsonl")] == [
        ("steps", 1),
        ("scores", 1),
        ("steps", 2),
    ]


@pytest.mark.parametrize("size", [0, 10, 3000, -1])
def test_a_truncated_checkpoint(size: int, half: Path, splits: Splits) -> None:
    data = (half / CHECKPOINT).read_bytes()
    (half / CHECKPOINT).write_bytes(data[:size])
    with pytest.raises(InputError, match=r"last.ckpt is cut short or no checkpoint; copy it again, or delete it"):
        go(splits, half)


def test_a_full_disk_leaves_the_checkpoint_before(
    half: Path, splits: Splits, unbroken: Path, small_disk: SmallDisk
) -> None:
    before = {path.name: path.read_bytes() for path in half.iterdir() if path.suffix == ".ckpt"}
    with small_disk(5000), pytest.raises(InputError, match=r"last.ckpt cannot be written .*; make room there"):
        go(splits, half)
    assert {path.name: path.read_bytes() for path in half.iterdir() if path.suffix == ".ckpt"} == before
    assert not list(half.glob(".*"))
    assert_alike(go(splits, half), unbroken)


def test_no_room_for_weights_costs_no_steps(splits: Splits, unbroken: Path, tmp_path: Path) -> None:
    with (
        mock.patch("halfseen.train.save_weights", side_effect=InputError("no room")),
        pytest.raises(InputError, match="no room"),
    ):
        go(splits, tmp_path / "out")
    state = json.loads(torch.load(tmp_path / "out" / CHECKPOINT)["state"])
    assert (state["done"], state["epoch"]) == (20, 9)  # its evaluation is still to come
    assert_alike(go(splits, tmp_path / "out"), unbroken)


def test_after_a_training_signals_mean_what_they_meant_before() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    try:
        with StopSigns() as signs:
            signs.check()
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(Stopped):
                signs.check()
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert [signal.getsignal(number) for number in SIGNALS] == before
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)
