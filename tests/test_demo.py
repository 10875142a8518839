"""The demo: its table is what its weights and files evaluate to, done twice it is done once, its colours are right."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from statistics import fmean, pstdev
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from halfseen import cli, demo
from halfseen.data.cues import load_part_labels
from halfseen.data.sets import SETS, read_set
from halfseen.demo import LESSONS, Lesson, colours_of_parts, describe
from halfseen.evaluate import evaluate
from halfseen.painting import Job
from halfseen.rendering import render_set
from halfseen.report import examine, open_run
from halfseen.types import Scores, Splits
from halfseen.weights import LAST
from halfseen.world.plan import Setting

Run = Callable[..., tuple[int, str, str]]
Refused = Callable[..., str]

TINY = Setting(ids=6, images=8, cameras=3, height=128, width=64, sharing=0.3)  # the demo's own size: nothing is resized
QUICK = {"height": 64, "width": 32, "people": 3, "epochs": 2, "warmup": 1, "lr": 2e-3}
FILES = ["bot", "bpbreid", "gallery.safetensors", "query.safetensors", "report.html"]  # and those of `demo_page`
PAGE = ["answers.png", "street", "who.png"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Splits]:
    """The street, as long as a test runs: 3 people, 3 queries and 15 gallery images; and as much to learn."""
    folder = tmp_path_factory.mktemp("tiny")
    render_set(Job(folder / "street", TINY), workers=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SETS, "street", replace(SETS["street"], home=folder / "street"))
        patch.setattr(demo, "LESSONS", {name: Lesson(lesson.config, QUICK) for name, lesson in LESSONS.items()})
        patch.setenv("HALFSEEN_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        yield read_set("street")


class Ran(NamedTuple):
    """What the demo printed, and the folder it filled."""

    printed: str
    out: Path

    @property
    def rows(self) -> dict[tuple[str, str], list[str]]:
        """The printed numbers by set and protocol."""
        found = re.findall(r"^(street\S*) +(market|all|occ|npo|ntp) +([\d. ]+)$", self.printed, re.MULTILINE)
        return {(name, protocol): numbers.split() for name, protocol, numbers in found}


@pytest.fixture(scope="module")
def ran(tiny: Splits) -> Ran:
    assert len(tiny.query) == 3
    with redirect_stdout(io.StringIO()) as printed, redirect_stderr(io.StringIO()) as err:
        assert cli.main(["demo"]) == 0
    assert err.getvalue() == ""
    return Ran(printed.getvalue(), Path("halfseen-demo"))


def cells(score: Scores) -> list[str]:
    return [f"{100 * share:.1f}" for share in (score.mAP, score.cmc[0])]


def test_the_table_is_what_the_weights_evaluate_to(ran: Ran) -> None:
    (header,) = (line for line in ran.printed.splitlines() if line.startswith("set "))
    assert " ".join(header.split()) == "set protocol BoT mAP R1 BPBreID mAP R1 colours mAP R1"
    expected = {}
    for splits in map(read_set, ("street", "street:re-occluded")):
        ways = [examine(open_run(ran.out / name, "last"), splits).scores for name in LESSONS]
        ways.append(evaluate(describe(splits, splits.query), describe(splits, splits.gallery)))
        for protocol in ways[0]:
            expected[splits.name, protocol] = [cell for scores in ways for cell in cells(scores[protocol])]
    assert ran.rows == expected
    assert {name for name, _ in expected} == {"street", "street:re-occluded"}


def test_what_it_leaves_can_be_opened_and_used(ran: Ran, run: Run) -> None:
    assert sorted(path.name for path in ran.out.iterdir()) == sorted(FILES + PAGE)
    page = (ran.out / "report.html").read_text()
    assert "<title>BoT and BPBreID on street</title>" in page
    assert f"Open {ran.out}/report.html" in ran.printed
    (words,) = re.findall(r"^halfseen (evaluate .+)$", ran.printed, re.MULTILINE)  # what it says to try
    again = run(*words.split(), "--json")[1]
    for protocol, scores in json.loads(again)["scores"].items():
        assert ran.rows["street", protocol][2:4] == [f"{100 * scores['mAP']:.1f}", f"{100 * scores['rank']['1']:.1f}"]


def test_it_says_what_was_learned_from_what(ran: Ran, tiny: Splits) -> None:
    told = re.findall(r"on (\d+) pictures of (\d+) other people,\n(\d+)×(\d+) and each seen (\d+) times", ran.printed)
    assert told == [(str(len(tiny.train)), "3", "64", "32", "2")]
    lines = re.findall(r"^- (\w+): (\S+), ([\d.]+) M parameters; (\d+) s$", ran.printed, re.MULTILINE)
    assert [line[:2] for line in lines] == [(name, "test_efficientnet") for name in ("BoT", "BPBreID")]
    for line, name in zip(lines, LESSONS, strict=True):
        loaded = open_run(ran.out / name, "last").loaded
        assert float(line[2]) == round(sum(p.numel() for p in loaded.network.parameters()) / 1e6, 2)
        assert (loaded.card.started_from, loaded.card.data["images"]) == ("none", len(tiny.train))


def test_twice_is_once(ran: Ran, run: Run) -> None:
    before = {name: (ran.out / name / LAST).read_bytes() for name in LESSONS}
    code, printed, _ = run("demo", "--out", ran.out)
    assert (code, Ran(printed, ran.out).rows) == (0, ran.rows)
    assert printed.count("begun before, and found there") == 2
    assert " shows 15 pictures of the street.\n" in printed
    assert {name: (ran.out / name / LAST).read_bytes() for name in LESSONS} == before


def test_another_demo_in_the_same_folder_is_refused(
    ran: Ran, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {name: Lesson(lesson.config, {**QUICK, "epochs": 3}) for name, lesson in LESSONS.items()}
    monkeypatch.setattr(demo, "LESSONS", changed)
    assert "recipe.epochs 2 (now 3)" in refused("demo", "--out", ran.out)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_place_that_is_taken_is_refused(name: str, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "file").touch()
    assert f"{tmp_path / name}" in refused("demo", "--out", tmp_path / name)


def test_both_learn_alike() -> None:
    baseline, parts = LESSONS.values()
    assert baseline.recipe == parts.recipe
    assert baseline.config["backbone"] == parts.config["backbone"]


# --- Colours ---


def test_colours_see_what_the_labels_show(tiny: Splits) -> None:
    heard: list[tuple[int, int]] = []
    encoded = describe(tiny, tiny.gallery, lambda done, total: heard.append((done, total)))
    assert heard == [(done, 15) for done in range(1, 16)]
    assert encoded.facts.pids.tolist() == [sample.pid for sample in tiny.gallery]
    for sample, visibility in zip(tiny.gallery, encoded.embedding.visibility, strict=True):
        labels = load_part_labels((tiny.root / "parts" / sample.name).with_suffix(".png"))
        counts = labels.flatten().bincount(minlength=9)[1:9].tolist()
        assert visibility.tolist() == [float(count / (128 * 64) > 0.004) for count in counts]


def slow_colours(image: Tensor, labels: Tensor) -> tuple[list[list[float]], list[float]]:
    """Mean and spread of each part's colours, over the mean of the whole picture's; and what is seen."""
    pixels, names = image.flatten(1).t().tolist(), labels.flatten().tolist()
    light = [max(1.0, fmean(pixel[channel] for pixel in pixels)) for channel in range(3)]
    vectors, seen = [], []
    for part in range(1, 9):
        of_it = [pixel for pixel, name in zip(pixels, names, strict=True) if part == name]
        shades = [[min(4.0, pixel[channel] / light[channel]) for pixel in of_it] or [0.0] for channel in range(3)]
        vectors.append([*map(fmean, shades), *map(pstdev, shades)])
        seen.append(float(len(of_it) / len(pixels) > 0.004))
    return vectors, seen


def drawn(seed: int, height: int = 25, width: int = 20) -> tuple[Tensor, Tensor]:
    """Noise [1,3,25,20], and labels [1,25,20] by hand: parts of several sizes, some missing, one of a single pixel."""
    dice = torch.Generator().manual_seed(seed)
    image = torch.randint(10, 120, (1, 3, height, width), generator=dice).float()
    labels = torch.zeros(1, height, width, dtype=torch.int64)
    labels[:, :4, 8:12] = 1
    labels[:, 4:12, 6:14] = 4
    labels[:, 4:10, 4:6] = 2
    labels[:, 12:22, 7:9] = 5
    labels[:, 22, 7] = 7  # one pixel of 500 is too little, three are enough
    labels[:, 22, 11:14] = 8
    labels[:, 5:9, 14:18] = 9  # something carried
    return image, labels


@pytest.mark.parametrize("seed", range(3))
def test_colours_are_those_of_a_slow_loop(seed: int) -> None:
    (image, labels), (other, _) = drawn(seed), drawn(seed + 9)
    image[:, :2, :2, 8:12] = 255  # brighter than 4 times the light, if there is little
    other[:, 2] = labels == 4  # next to no blue: less than 1 on average
    images = torch.cat([image, image // 9, other])
    images[1, :, 0, 9] = 255
    found = colours_of_parts(images, labels.repeat(3, 1, 1))
    assert found.vectors.shape == (3, 8, 6)
    for number in range(3):
        vectors, seen = slow_colours(images[number], labels[0])
        assert found.visibility[number].tolist() == seen == [1, 1, 0, 1, 1, 0, 0, 1]
        torch.testing.assert_close(found.vectors[number], torch.tensor(vectors), atol=2e-3, rtol=0)
    assert (found.vectors[:, [2, 5]] == 0).all()  # parts without any pixel


def test_the_light_of_a_picture_does_not_matter() -> None:
    image, labels = drawn(5)
    cast = image * torch.tensor([2, 1, 2])[:, None, None]
    before, after = (colours_of_parts(pictures, labels).vectors for pictures in (image, cast))
    torch.testing.assert_close(before, after, atol=1e-4, rtol=0)
    assert not torch.allclose(before, colours_of_parts(image.flip(1), labels).vectors, atol=0.01)
