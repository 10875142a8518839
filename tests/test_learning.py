"""How weights change: speeds, momentum, clipping, numbers that are none, and what a step says of itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from math import inf, isnan, nan
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import Optimizer

from halfseen.recipe import Method, Recipe
from halfseen.train import BAD_BATCH, CHECKPOINT, Training, train
from halfseen.training.learning import check_given, check_recipe, learn, make_optimiser
from halfseen.training.log import read_log
from halfseen.training.settings import Settings
from halfseen.types import Batch, InputError, Splits
from halfseen.weights import make_network
from standins import RECIPE, TINY, Config, Output, Tiny, draw_set, read_drawn, same

SGD = replace(RECIPE, optimiser="sgd", lr=0.5, weight_decay=0.0, bias_lr=1.0)
SINGLE = replace(TINY, losses=lambda *given: {"identity": TINY.losses(*given)["identity"]})  # wants no triplets


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return read_drawn(draw_set(tmp_path_factory.mktemp("set")))


def network() -> Tiny:
    torch.manual_seed(0)
    return Tiny(Config(), people=3)


# --- The optimiser ---


def speeds(made: nn.Module, recipe: Recipe) -> dict[str, float]:
    """How many times as fast each parameter learns, by name."""
    groups = make_optimiser(made, recipe).param_groups
    by_value = {id(value): group["speed"] for group in groups for value in group["params"]}
    return {name: by_value[id(value)] for name, value in made.named_parameters()}


def test_the_longest_fitting_beginning_counts_and_biases_are_faster_still() -> None:
    given = (("backbone.norm", 0.0), ("backbone", 0.1), ("class", 5.0))
    assert speeds(network(), replace(SGD, bias_lr=2.0, speeds=given)) == {
        "backbone.conv.weight": 0.1,
        "backbone.conv.bias": 0.2,
        "backbone.norm.weight": 0.0,
        "backbone.norm.bias": 0.0,
        "classifier.weight": 5.0,
        "classifier.bias": 10.0,
    }


def test_what_is_not_trained_has_no_speed() -> None:
    made = network()
    made.backbone.conv.requires_grad_(False)
    assert len(make_optimiser(made, SGD).param_groups[0]["params"]) == 4


def test_speeds_reach_the_weights(splits: Splits, tmp_path: Path) -> None:
    recipe = replace(SGD, warmup=0, speeds=(("backbone", 0.1),))
    training, batch = begun(splits, tmp_path, recipe)
    before = {name: value.clone() for name, value in training.network.named_parameters()}
    training._step(batch)
    for name, now in training.network.named_parameters():
        assert now.grad is not None
        rate = 0.05 if name.startswith("backbone") else 0.5
        torch.testing.assert_close(now, before[name] - rate * now.grad)


def test_what_learns_at_no_speed_stays_and_gets_no_gradient(splits: Splits, tmp_path: Path) -> None:
    training, batch = begun(splits, tmp_path, replace(SGD, warmup=0, speeds=(("backbone", 0.0),)))
    before = {name: value.clone() for name, value in training.network.named_parameters()}
    training._step(batch)
    for name, now in training.network.named_parameters():
        stays = name.startswith("backbone")
        assert torch.equal(now, before[name]) is stays
        assert (now.grad is None) is stays


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_by_hand(nesterov: bool) -> None:
    made = nn.Linear(1, 1, bias=False)
    nn.init.constant_(made.weight, 2.0)
    optimiser = make_optimiser(made, replace(SGD, nesterov=nesterov))
    value, speed = 2.0, 0.0
    for slope in (1.0, -3.0, 0.5):
        made.weight.grad = torch.full((1, 1), slope)
        learn(optimiser, made, [torch.zeros(())], None)
        speed = 0.9 * speed + slope
        value -= 0.5 * (slope + 0.9 * speed if nesterov else speed)
        assert made.weight.item() == pytest.approx(value)


def test_adam_by_hand() -> None:
    made = nn.Linear(1, 1, bias=False)
    nn.init.constant_(made.weight, 2.0)
    optimiser = make_optimiser(made, replace(SGD, optimiser="adam", lr=0.1, weight_decay=0.3))
    value, mean, square = 2.0, 0.0, 0.0
    for step, slope in enumerate((1.0, -3.0, 0.5), 1):
        optimiser.param_groups[0]["lr"] = 0.1 / step
        made.weight.grad = torch.full((1, 1), slope)
        learn(optimiser, made, [torch.zeros(())], None)
        slope += 0.3 * value  # noqa: PLW2901  (the decay is part of the slope)
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
        value -= 0.1 / step * mean / (1 - 0.9**step) / ((square / (1 - 0.999**step)) ** 0.5 + 1e-8)
        assert made.weight.item() == pytest.approx(value)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
@pytest.mark.parametrize(
    ("losses", "slope", "clip"),
    [([nan, 1.0], 1.0, None), ([1.0, inf], 1.0, 0.5), ([1.0], nan, None), ([1.0], -inf, 0.5)],
)
def test_a_bad_number_changes_nothing(optimiser: Any, losses: list[float], slope: float, clip: float | None) -> None:
    made = [nn.Linear(3, 2) for _ in "ab"]
    made[1].load_state_dict(made[0].state_dict())
    optimisers = [make_optimiser(each, replace(SGD, optimiser=optimiser)) for each in made]
    for number in range(3):
        for each, own in zip(made, optimisers, strict=True):
            go(each, own, [1.0], float(number + 1), clip)
        bad = go(made[0], optimisers[0], losses, slope, clip)
        assert bad.isfinite() == (slope == 1.0)
        assert made[0].weight.grad is not None
        assert same(made[0].weight.grad.isfinite(), torch.full((2, 3), slope == 1.0))  # there to look at
    assert same(made[0].state_dict(), made[1].state_dict())
    assert same(optimisers[0].state_dict(), optimisers[1].state_dict())


def go(made: nn.Module, optimiser: Optimizer, losses: list[float], slope: float, clip: float | None) -> Tensor:
    """One step, every slope being the same."""
    for value in made.parameters():
        value.grad = torch.full_like(value, slope)
    return learn(optimiser, made, torch.tensor(losses).unbind(), clip)


@pytest.mark.parametrize("clip", [None, 0.5, 5.0, 50.0])
def test_a_gradient_is_shortened_to_the_clip(clip: float | None) -> None:
    made = nn.Linear(4, 1, bias=False)
    nn.init.zeros_(made.weight)
    length = go(made, make_optimiser(made, SGD), [1.0], 3.0, clip).item()
    assert length == pytest.approx(6.0)  # √(4·3²)
    assert made.weight.tolist()[0] == pytest.approx([-0.5 * 3.0 * min(1, (clip or 50) / 6)] * 4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nesterov": True, "optimiser": "adam"}, "nesterov is a momentum of SGD's, and the optimiser is adam"),
        (
            {"speeds": (("neck", 2.0),)},
            "'neck', with which the name of no parameter begins; they begin with backbone, cl",
        ),
        ({"speeds": (("backbone", -1.0),)}, "'backbone' learn -1.0 times as fast; give a number of 0 or more"),
        ({"speeds": (("backbone", nan),)}, "'backbone' learn nan times as fast"),
        ({"speeds": (("", 0.0),)}, "recipe.speeds lets nothing learn; leave something above 0"),
        ({"epochs": 0}, "recipe.epochs is 0, and nothing would be learned; give 1 or more"),
        ({"lr": 0.0}, "recipe.lr is 0, and nothing would be learned; give more"),
        ({"milestones": (2, -3)}, "recipe.milestones has -3; give epochs of 0 or more"),
        ({"twins": True}, "tiny learns from single pictures; leave recipe.twins as it is"),
    ],
)
def test_recipes_that_cannot_be(changes: Any, said: str, splits: Splits, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        train(TINY, Config(), replace(SGD, **changes), splits, {}, Settings(tmp_path / "out", start="none"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["people", "images"])
def test_batches_without_triplets(name: str, splits: Splits, tmp_path: Path) -> None:
    """They are refused before anything is written."""
    one = replace(SGD, **{name: 1})  # type: ignore[arg-type]  # one of those that are numbers
    with pytest.raises(InputError, match=rf"recipe.{name} .*1.*, and the loss 'triplet' compares .*; give 2 or more"):
        train(TINY, Config(), one, splits, {}, Settings(tmp_path / "out", start="none"))
    assert not (tmp_path / "out").exists()
    training, _ = begun(splits, tmp_path / "out", one, SINGLE)
    torch.manual_seed(0)
    fresh = make_network(SINGLE, Config(), one, 4, "none")
    assert same(training.network.state_dict(), fresh.state_dict())  # it was a copy that was tried
    assert training.run()


def test_the_speeds_of_a_methods_own_recipe_may_be_for_what_a_row_lacks() -> None:
    recipe = replace(SGD, speeds=(("teacher", 2.0),))
    check_recipe(replace(TINY, recipe=recipe), recipe, network(), 1, 1)
    with pytest.raises(InputError, match="'teacher', with which"):
        check_recipe(TINY, recipe, network(), 1, 1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"milestones": (3,), "schedule": "cosine"},
            "recipe.milestones is of the schedule step, and the schedule is cos",
        ),
        ({"gamma": 0.5, "schedule": "cosine"}, "set recipe.schedule to step, or leave gamma out"),
        ({"flat": 1}, "recipe.flat is of the schedule cosine, and the schedule is step"),
        ({"final": 0.1}, "set recipe.schedule to cosine, or leave final out"),
        ({"warmup_from": 0.5, "warmup": 0}, "recipe.warmup_from is where a warm-up begins, and recipe.warmup is 0"),
    ],
)
def test_what_was_given_and_would_change_nothing(changes: Any, said: str) -> None:
    """As a recipe's own it may stand there."""
    recipe = replace(RECIPE, **changes)
    with pytest.raises(InputError, match=said):
        check_given(recipe, RECIPE)
    check_given(recipe, recipe)


@pytest.mark.parametrize(
    "changes",
    [
        {"milestones": (3,), "gamma": 0.5},
        {"schedule": "cosine", "flat": 1, "final": 0.1},
        {"warmup_from": 0.5},
        {"warmup": 0},
    ],
)
def test_what_was_given_and_changes_something(changes: Any) -> None:
    check_given(replace(RECIPE, **changes), RECIPE)


def test_each_process_needs_two_people() -> None:
    check_recipe(TINY, replace(SGD, people=4), network(), 2, 1)
    check_recipe(TINY, replace(SGD, people=1), network(), 1, 1)
    with pytest.raises(InputError, match=r"of 6 people a batch 4 processes get 1 each.*set recipe.people to 8 or more"):
        check_recipe(TINY, replace(SGD, people=6), network(), 4, 1)


def test_a_batch_of_one_picture_has_nothing_to_be_normalised_by() -> None:
    check_recipe(TINY, replace(SGD, people=1, images=2), network(), 1, 1)
    check_recipe(TINY, replace(SGD, people=2, images=1), network(), 1, 1)
    with pytest.raises(InputError, match=r"recipe\.people is 1 and recipe\.images 1, and .* give 2 or more of either"):
        check_recipe(TINY, replace(SGD, people=1, images=1), network(), 1, 1)


def test_what_rests_must_awake_before_the_end() -> None:
    recipe = replace(SGD, epochs=3)
    check_recipe(replace(TINY, rests={"agent.warmup": 29}), recipe, network(), 1, 10)
    with pytest.raises(InputError, match=r"agent\.warmup is 30 steps, and there are 30 in all; set it to fewer, or "):
        check_recipe(replace(TINY, rests={"agent.warmup": 30}), recipe, network(), 1, 10)


# --- What a step says ---


def begun(splits: Splits, out: Path, recipe: Recipe = RECIPE, method: Method = TINY) -> tuple[Training, Batch]:
    """A training before its first step, and the first batch."""
    how = Settings(out, device="cpu", start="none", interval=2)
    training = Training(method, Config(), recipe, splits, {}, settings=how)
    return training, training.handed(training.source.batch(next(iter(training.batches))))


def test_what_a_method_watches_is_logged_and_not_minimised(splits: Splits, tmp_path: Path) -> None:
    def watch(out: Output, batch: Batch, _: Config) -> dict[str, Tensor]:
        assert not torch.is_grad_enabled()
        return {"first": batch.pids[0], "spread": out.vectors.std(), "odd": torch.tensor(nan)}

    for name, method in (("plain", TINY), ("watched", replace(TINY, watch=watch))):
        begun(splits, tmp_path / name, method=method)[0].run()
    plain, watched = (torch.load(tmp_path / name / CHECKPOINT) for name in ("plain", "watched"))
    assert same(plain["network"], watched["network"])
    lines = [line for line in read_log(tmp_path / "watched" / "log.jsonl") if line["kind"] == "steps"]
    assert all(line["losses"].keys() == {"identity", "triplet"} for line in lines)
    assert all(line["spread"] > 0 and 0 <= line["first"] <= 3 and isnan(line["odd"]) for line in lines)


def test_looking_a_step_late_changes_neither_weights_nor_log(splits: Splits, tmp_path: Path) -> None:
    for name, lag in (("at_once", 0), ("late", 1)):
        training, _ = begun(splits, tmp_path / name, replace(RECIPE, epochs=4))
        training.under_way.lag = lag
        training.run()
    one, other = (torch.load(tmp_path / name / CHECKPOINT) for name in ("at_once", "late"))
    assert same(one["network"], other["network"])
    logs = [read_log(tmp_path / name / "log.jsonl") for name in ("at_once", "late")]
    assert [{**line, "images_per_second": 0} for line in logs[0]] == [
        {**line, "images_per_second": 0} for line in logs[1]
    ]


@pytest.fixture
def spoilt(splits: Splits, tmp_path: Path) -> Callable[[int], Training]:
    """A training whose fifth batch, of nine, brings a loss that is none."""

    def make(lag: int) -> Training:
        recipe = replace(RECIPE, epochs=3, images=1, people=4)
        training, _ = begun(splits, tmp_path, recipe, SINGLE)
        training.under_way.lag = lag
        training.batches.set_epoch(1)
        training.source.set_epoch(1)
        bad = training.source.batch(list(training.batches)[1]).images

        def losses(out: Output, batch: Batch, config: Config) -> dict[str, Tensor]:
            loss = TINY.losses(out, batch, config)["identity"]
            return {"identity": loss * nan if torch.equal(batch.images, bad) else loss}

        training.method = replace(TINY, losses=losses)
        return training

    return make


@pytest.mark.parametrize("lag", [0, 1])
def test_a_bad_step_is_named_with_its_own_batch_and_gradients(
    lag: int, spoilt: Callable[[int], Training], tmp_path: Path
) -> None:
    training = spoilt(lag)
    with pytest.raises(InputError) as error:
        training.run()
    assert training.steps == 3
    assert "in step 5 the loss term 'identity' is nan, the gradient is not finite at 6 of 6" in str(error.value)
    training.source.set_epoch(1)
    assert torch.equal(
        load_file(tmp_path / BAD_BATCH)["images"], training.source.batch(list(training.batches)[1]).images
    )
    assert all(value.isfinite().all() for value in training.network.state_dict().values() if value.ndim)
    assert json.loads(torch.load(tmp_path / CHECKPOINT)["state"])["done"] == 3


@pytest.mark.parametrize("change", [{"lr": -1.0}, {"lr": nan}, {"weight_decay": -1.0}, {"warmup": -3}, {"final": inf}])
def test_recipes_that_cannot_be_are_refused_at_once(change: dict[str, Any]) -> None:
    (name,) = change
    with pytest.raises(InputError, match=rf"recipe\.{name} is .*; give a number of 0 or more"):
        replace(RECIPE, **change)


def test_shortened_to_nothing_no_gradient_teaches() -> None:
    with pytest.raises(InputError, match=r"recipe\.clip is 0, and nothing would be learned"):
        replace(RECIPE, clip=0.0)


@pytest.mark.parametrize("name", ["every", "interval", "save", "memory", "workers"])
def test_settings_are_not_negative(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"--{name} is -1; give 0 or more"):
        replace(Settings(tmp_path), **{name: -1})  # type: ignore[arg-type]  # one of those that are numbers


def test_a_seed_has_at_most_64_bits(tmp_path: Path) -> None:
    for seed in (-(2**63), 2**63 - 1):
        torch.manual_seed(Settings(tmp_path, seed=seed).seed)  # which takes them
    for seed in (-(2**63) - 1, 2**63):
        with pytest.raises(InputError, match=f"--seed is {seed}; give a whole number of at most 64 bits"):
            Settings(tmp_path, seed=seed)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schedule": "constant"}, "recipe.schedule is 'constant'; allowed are step, cosine"),
        ({"optimiser": "adamw"}, "recipe.optimiser is 'adamw'; allowed are adam, sgd"),
    ],
)
def test_recipes_that_nobody_knows_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Recipe(**changes)
