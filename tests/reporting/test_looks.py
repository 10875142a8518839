"""What methods have to show is drawn where it belongs, at test time and in training."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from halfseen.data.variants import bank, twins
from halfseen.recipe import Exhibit
from halfseen.report import examine, open_run, page
from halfseen.reporting import looks
from halfseen.reporting.results import Result, sampled
from halfseen.reporting.seeing import Sight, see, see_training
from halfseen.train import CHECKPOINT
from halfseen.types import Batch, Cues, InputError, Occluder, Paste
from halfseen.weights import make_network
from page_reader import Reader
from standins import read_drawn

PARTS = 8


def section(told: str, key: str) -> str:
    return next(iter(re.findall(rf'<section id="{key}".*?</section>', told, re.DOTALL)), "")


def captions(told: str) -> list[str]:
    """The names of all tiles, and what stands below them."""
    return [
        re.sub("<small>", " ", re.sub("</small>", "", words)) for words in re.findall("<figcaption>(.*?)</fig", told)
    ]


# --- what is drawn of an exhibit ---


def drawn(*exhibits: Exhibit, twin: int | None = None, result: Result) -> str:
    """The rows of tiles of two pictures, and of their twins behind an occluder of kind `twin`."""
    images, numbers = torch.full((2, 3, 16, 8), 200, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)
    partner = None
    if twin is not None:
        partner = Batch(images, numbers, numbers, Cues(occluder=torch.full((2,), twin)))
    sight = Sight(("a.png", "b.png"), Batch(images, numbers, numbers, partner=partner), exhibits)
    return looks.look_rows(result, sight) if twin is None else looks.lesson_rows(result, sight)


def test_strengths_are_told_beside_their_mean_and_framed_by_what_is_seen(result: Result) -> None:
    values = torch.tensor([[[[1.0, 1.0], [1.0, 5.0]]] * 2, [[[2.0, 2.0], [2.0, 2.0]]] * 2])
    seen = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    told = drawn(Exhibit("where", "strengths", ("left_arm", "head"), values, seen), result=result)
    assert captions(told) == [
        *("picture", "left arm 2.5× seen", "head 2.5× unseen"),
        *("picture", "left arm 1.0× unseen", "head 1.0× seen"),
    ]
    tiles = [figure["class"] for figure in Reader(told).all("figure")]
    assert tiles == ["tile plain", "tile right", "tile wrong", "tile plain", "tile wrong", "tile right"]
    assert "where: left arm: seen" in {image["alt"] for image in Reader(told).all("img")}


def test_parts_are_coloured_once_and_then_drawn_one_by_one(result: Result) -> None:
    values = torch.zeros(2, 3, 4, 2)
    values[0, 1], values[1, 2] = 1.0, 0.75
    told = drawn(Exhibit("maps", "parts", ("head", "torso"), values), result=result)
    assert captions(told) == [
        "picture",
        "parts",
        "head 1.00",
        "torso 0.00",
        "picture",
        "parts",
        "head 0.00",
        "torso 0.75",
    ]
    assert "legend" in told


def test_what_is_erased_has_its_share_below(result: Result) -> None:
    values = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]], [[[1.0, 1.0], [1.0, 1.0]]]])
    told = drawn(Exhibit("what goes", "erased", ("erased",), values), result=result)
    assert captions(told) == ["picture", "erased 25 %", "picture", "erased 100 %"]
    assert "legend" not in told


def test_bars_are_as_long_as_they_are_likely_and_the_longest_stands_out(result: Result) -> None:
    told = drawn(
        Exhibit("what hides", "bars", ("none", "tall_left"), torch.tensor([[0.25, 0.75], [0.9, 0.1]])), result=result
    )
    assert re.findall(r"--share:([\d.]+)", told) == ["0.250", "0.750", "0.900", "0.100"]
    assert re.findall(r'<tr class="most"><th scope="row">(.*?)</th>', told) == ["tall left", "none"]
    assert captions(told) == ["picture", "what hides", "picture", "what hides"]


@pytest.mark.parametrize(
    ("rows", "of_twins", "wanted"),
    [
        (2, False, [["0", "t"], ["1", "t"]]),
        (2, True, [["t", "0"], ["t", "1"]]),
        (4, True, [["0", "t", "2"], ["1", "t", "3"]]),
    ],
)
def test_rows_stand_beside_the_pictures_that_they_are_of(
    result: Result, rows: int, of_twins: bool, wanted: list[list[str]]
) -> None:
    bars = Exhibit("b", "bars", ("x",), torch.arange(float(rows))[:, None] / 100, twins=of_twins)
    told = drawn(bars, twin=Occluder.WIDE_TOP, result=result)
    found = re.findall(r">twin<small>wide top</small>|</i>(\d)</td>", told)
    assert ["t" if value == "" else value for value in found] == [value for row in wanted for value in row]


# --- what networks show ---


def test_the_frames_of_attention_are_those_of_the_embedding(place: Path) -> None:
    queries = examine(open_run(place / "queries"), read_drawn(place / "set"))
    assert queries.names == (
        "global",
        "head",
        "left arm",
        "right arm",
        "torso",
        "left leg",
        "right leg",
        "left foot",
        "right foot",
    )
    rows = sampled(queries, 6)
    sight = see(queries, rows)
    (attention,) = sight.exhibits
    assert attention.seen is not None
    assert torch.equal(attention.seen.float(), queries.query.embedding.visibility[rows, 1:])
    told = section(page([queries], queries=1), "looks-0")
    frames = re.findall(r'<figure class="tile (right|wrong)">', told)
    assert [frame == "right" for frame in frames] == attention.seen.flatten().tolist()


def test_methods_that_show_nothing_are_looked_into_all_the_same(whole: Result) -> None:
    sight = see(whole, [0, 1])
    assert sight.exhibits == ()
    assert captions(looks.look_rows(whole, sight)) == ["picture", "labels", "response"] * 2


def test_the_response_is_the_mean_over_channels_between_its_least_and_its_most(whole: Result) -> None:
    sight = see(whole, [0, 2])
    network = whole.run.loaded.network
    backbone: Any = network.get_submodule("backbone")
    images = sight.batch.images / 255.0
    mean, std = (torch.tensor(values)[:, None, None] for values in (backbone.mean, backbone.std))
    with torch.no_grad():
        cells = backbone((images - mean) / std).cells
    assert sight.response is not None
    for row, response in zip(cells, sight.response, strict=True):
        strength = sum(channel.abs() for channel in row) / len(row)
        wanted = (strength - strength.min()) / (strength.max() - strength.min())
        torch.testing.assert_close(response, wanted, rtol=1e-3, atol=1e-4)


def test_responses_of_several_runs_stand_side_by_side(result: Result, whole: Result) -> None:
    assert section(page([result], queries=1), "responses") == ""
    told = section(page([result, whole], queries=1), "responses")
    assert captions(told) == ["picture", "parts", "whole"] * len(sampled(result, 6))


# --- in training ---


def test_what_an_agent_erases_is_shown_beside_the_twins(purified: Result) -> None:
    sight = see_training(purified, {exhibit.title for exhibit in see(purified, [0]).exhibits}, 3)
    assert sight is not None
    assert [exhibit.kind for exhibit in sight.exhibits] == ["erased", "strengths", "bars"]
    erased, likely, bars = (exhibit.values for exhibit in sight.exhibits)
    assert {*erased.flatten().tolist()} <= {0.0, 1.0}
    assert erased.shape == (3, 2, 4, 2)
    assert torch.equal(erased[:, 1:].flatten(1).argmax(1), likely.flatten(1).argmax(1))
    assert erased[:, 1:].flatten(1).sum(1).tolist() == [1, 1, 1], "15 % of eight patches"
    assert bars.shape == (6, 6)
    torch.testing.assert_close(bars.sum(1), torch.ones(6))
    told = looks.lesson_rows(purified, sight)
    names = [re.sub(r" [\d.]+[×%]?.*", "", caption) for caption in captions(told)]
    samples = [purified.splits.train[row] for row in (2, 6, 10)]
    edits = [twin.edits[-1] for twin in twins(samples, 3, bank(purified.splits))]
    kinds = [edit.kind.name.lower().replace("_", " ") for edit in edits if isinstance(edit, Paste)]
    row = ["picture", "labels", "as drawn", "likeliest", "how likely", "what it thinks hides the person"]
    assert names == [word for kind in kinds for word in [*row, f"twin {kind}", row[-1]]]
    assert sight.names == tuple(sample.name for sample in samples)


def test_the_page_shows_training_and_says_the_same_each_time(purified: Result) -> None:
    told = [section(page([purified], queries=1), "taught-0") for _ in range(2)]
    assert told[0] == told[1]
    assert "In training" in told[0]
    assert "patches that the agent erases" in told[0]


def test_guides_of_training_are_shown_though_testing_has_none(place: Path) -> None:
    guided = examine(open_run(place / "guided"), read_drawn(place / "set"))
    assert see(guided, [0]).exhibits == ()
    sight = see_training(guided, (), 2)
    assert sight is not None
    foreground, heat = (exhibit.values for exhibit in sight.exhibits)
    for maps in (foreground, heat):
        torch.testing.assert_close(maps.sum((2, 3)), torch.ones(maps.shape[:2]))
    assert heat.shape[1] == PARTS


def test_luck_and_statistics_are_those_of_test_time(purified: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[nn.Module] = []
    modes: list[list[bool]] = []

    def note(network: nn.Module, _: object) -> None:
        modes.append([module.training for module in network.modules()])

    def watched(*arguments: Any) -> nn.Module:
        made.append(make_network(*arguments))
        made[-1].register_forward_pre_hook(note)
        return made[-1]

    monkeypatch.setattr("halfseen.reporting.seeing.make_network", watched)
    assert see_training(purified, (), 2) is not None
    assert modes[0][0]
    assert not any(modes[0][1:])
    kept = torch.load(purified.run.weights.parent / CHECKPOINT, weights_only=True)["network"]
    assert all(torch.equal(value, kept[name]) for name, value in made[0].state_dict().items())


def without(result: Result, **changes: Any) -> Result:
    return replace(result, run=replace(result.run, **changes))


def test_without_its_own_checkpoint_nothing_is_shown_of_training(purified: Result, result: Result) -> None:
    loaded = purified.run.loaded
    assert see_training(without(purified, checkpoint=None), (), 2) is None
    other = loaded._replace(card=replace(loaded.card, seed=4))
    assert see_training(without(purified, loaded=other), (), 2) is None
    assert see_training(replace(purified, splits=replace(purified.splits, name="another")), (), 2) is None
    assert result.run.checkpoint is None
    assert section(page([result], queries=1), "taught-0") == ""


def test_where_training_shows_no_more_than_testing_there_is_no_section(place: Path) -> None:
    queries = examine(open_run(place / "queries"), read_drawn(place / "set"))
    known: Sequence[str] = ()
    sight = see_training(queries, known, 2)
    assert sight is not None
    assert see_training(queries, [exhibit.title for exhibit in sight.exhibits], 2) is None


def test_a_damaged_checkpoint_is_told(purified: Result, tmp_path: Path) -> None:
    broken = tmp_path / CHECKPOINT
    broken.write_bytes((purified.run.weights.parent / CHECKPOINT).read_bytes()[:2000])
    with pytest.raises(InputError, match=r"last\.ckpt is cut short or no checkpoint"):
        see_training(without(purified, checkpoint=broken), (), 2)
