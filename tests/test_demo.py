"""The demo: its table is what its files evaluate to, its colours are its parts', its right answers are green."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean, pstdev

import pytest
import torch
from torch import Tensor

import oracles
from halfseen import demo
from halfseen.data.cues import load_part_labels
from halfseen.data.embeddings import Encoded, load_encoded
from halfseen.data.images import read_image
from halfseen.data.sets import SETS, read_set
from halfseen.demo import RIGHT, SHOWN, STRIPS, WAYS, WRONG, Side, colours_of_parts, describe, rank_strips, run_demo
from halfseen.evaluate import evaluate, reranked
from halfseen.ops.distance import Single, VisibleParts
from halfseen.painting import Job
from halfseen.rendering import render_set
from halfseen.types import Embedding, Facts, InputError, Occlusion, Sample, Scores, Splits
from halfseen.world.plan import Setting

Run = Callable[..., tuple[int, str, str]]
Refused = Callable[..., str]

WHOLE, ALL_PARTS, VISIBLE_PARTS, RERANKED = "whole picture", "all parts", "visible parts", "re-ranked"
LABELLED = ["market", "occ", "npo", "ntp"]
TINY = Setting(ids=6, images=8, cameras=3, height=128, width=64, sharing=0.3)  # the demo's own size: nothing is resized


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tiny") / "street"
    render_set(Job(out, TINY), workers=1)
    return out


@pytest.fixture
def tiny(rendered: Path, monkeypatch: pytest.MonkeyPatch) -> Splits:
    """The street, as long as a test runs: 3 people, 3 queries and 15 gallery images."""
    monkeypatch.setitem(SETS, "street", replace(SETS["street"], home=rendered))
    return read_set("street")


@pytest.fixture(scope="module")
def street() -> dict[tuple[Sample, ...], Side]:
    """Query and gallery of the street that is shipped, described."""
    splits = read_set("street")
    return {samples: describe(splits, samples) for samples in (splits.query, splits.gallery)}


def table(printed: str) -> dict[tuple[str, str], list[str]]:
    """The printed numbers by matching and protocol."""
    rows, what = {}, ""
    for line in printed.splitlines():
        if found := re.match(r" *(.*?) +(market|all|occ|npo|ntp) +([\d.].*)", line):
            what = found[1] or what
            rows[what, found[2]] = found[3].split()
    return rows


def row(s: Scores) -> list[str]:
    shares = (s.mAP, s.mINP, s.cmc[0], s.cmc[2], s.cmc[4], s.cmc[9])
    return [*(f"{100 * share:.1f}" for share in shares), str(s.queries), f"{s.positives / s.queries:.2f}"]


def files(out: Path) -> list[Encoded]:
    return [load_encoded(out / f"{name}.safetensors", camid=9) for name in ("query", "gallery")]


def test_the_table_is_what_the_files_evaluate_to(
    street: dict[tuple[Sample, ...], Side], tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "describe", lambda _splits, samples, _progress: street[samples])  # once is enough
    code, printed, err = run("demo", "--out", tmp_path)
    assert (code, err) == (0, "")
    rows = table(printed)
    assert list(rows) == [
        (what, protocol) for what in (WHOLE, ALL_PARTS, VISIBLE_PARTS, RERANKED) for protocol in LABELLED
    ]
    (header,) = (line for line in printed.splitlines() if line.startswith("matching"))
    assert header.split() == ["matching", "protocol", "mAP", "mINP", "R1", "R3", "R5", "R10", "queries", "pos."]
    sides = files(tmp_path)
    found = {VISIBLE_PARTS: evaluate(*sides), RERANKED: evaluate(*sides, distance=reranked(VisibleParts()))}
    blind = [Encoded(Embedding.of(side.embedding.vectors), side.facts) for side in sides]
    found[ALL_PARTS] = evaluate(*blind)
    whole = [
        Encoded(Embedding.of(side.encoded.embedding.vectors[:, 0]), side.encoded.facts) for side in street.values()
    ]
    found[WHOLE] = evaluate(*whole, distance=Single("unit-euclid"))
    for what, scores in found.items():
        assert {p: rows[what, p] for p in LABELLED} == {name: row(score) for name, score in scores.items()}
        assert all(score.skipped == 0 for score in scores.values())


def test_visible_parts_are_worth_something_where_people_are_hidden(street: dict[tuple[Sample, ...], Side]) -> None:
    score = {w: evaluate(*(choose(s.encoded) for s in street.values()), distance=d) for w, d, choose in WAYS}
    for protocol in ("occ", "npo", "ntp"):
        assert score[VISIBLE_PARTS][protocol].mAP > score[ALL_PARTS][protocol].mAP + 0.05
    assert score[VISIBLE_PARTS]["market"].mAP > score[ALL_PARTS]["market"].mAP > score[WHOLE]["market"].mAP + 0.1
    assert score[RERANKED]["market"].mAP > score[VISIBLE_PARTS]["market"].mAP
    assert 0.05 < score[VISIBLE_PARTS]["occ"].cmc[0] < 0.9  # neither hopeless nor solved


def test_the_whole_command(tiny: Splits, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "new" / "folder"
    code, printed, err = run("demo", "--out", out)
    assert (code, err) == (0, "")
    occluded = sum(sample.occlusion is not Occlusion.HOLISTIC for sample in tiny.gallery)
    told = r"(\d+) people .*\.\n(\d+) queries, 100% of them partly hidden; (\d+) gallery images, (\d+)% of them\."
    (people, queries, images, share) = map(int, re.findall(told, printed)[0])
    assert (people, queries, images) == (3, len(tiny.query), len(tiny.gallery)) == (3, 3, 15)
    assert share == round(100 * occluded / 15)
    assert sorted(path.name for path in out.iterdir()) == ["gallery.safetensors", "query.safetensors", "ranks.png"]
    assert read_image(out / "ranks.png").shape[1] == 3 * (128 + 12)
    again = run(*printed.rpartition("halfseen ")[2].split(), "--json")[1]  # what it says to try
    rows = table(printed)
    for name, scores in json.loads(again)["scores"].items():
        assert rows[VISIBLE_PARTS, name][0] == f"{100 * scores['mAP']:.1f}"
    assert run("demo")[1] == printed.partition("\nwrote ")[0]


def test_pictures_are_described_as_they_are(tiny: Splits) -> None:
    heard: list[tuple[int, int]] = []
    side = describe(tiny, tiny.gallery, lambda done, total: heard.append((done, total)))
    assert heard == [(done, 15) for done in range(1, 16)]
    assert torch.equal(side.images, torch.stack([read_image(sample.path) for sample in tiny.gallery]))
    assert side.encoded.facts.pids.tolist() == [sample.pid for sample in tiny.gallery]
    for sample, visibility in zip(tiny.gallery, side.encoded.embedding.visibility, strict=True):
        counts = (
            load_part_labels((tiny.root / "parts" / sample.name).with_suffix(".png")).flatten().bincount(minlength=9)
        )
        assert visibility.tolist() == [1, *(float(count / (128 * 64) > 0.004) for count in counts[1:9])]


def slow_colours(image: Tensor, labels: Tensor) -> tuple[list[list[float]], list[float]]:
    """Mean and spread of the whole's and each part's colours, over the mean of the whole's; and what is seen."""
    pixels, names = image.flatten(1).t().tolist(), labels.flatten().tolist()
    light = [max(1.0, fmean(pixel[channel] for pixel in pixels)) for channel in range(3)]
    vectors, seen = [], []
    for part in range(9):
        of_it = [pixel for pixel, name in zip(pixels, names, strict=True) if part in (0, name)]
        shades = [[min(4.0, pixel[channel] / light[channel]) for pixel in of_it] or [0.0] for channel in range(3)]
        vectors.append([*map(fmean, shades), *map(pstdev, shades)])
        seen.append(float(part == 0 or len(of_it) / len(pixels) > 0.004))
    return vectors, seen


def drawn(seed: int, height: int = 25, width: int = 20) -> tuple[Tensor, Tensor]:
    """Noise [1,3,25,20], and labels [1,25,20] by hand: parts of several sizes, some missing, one of a single pixel."""
    dice = torch.Generator().manual_seed(seed)
    image = torch.randint(10, 120, (1, 3, height, width), generator=dice, dtype=torch.uint8)
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
    images = torch.cat([image // 4 * 4, image // 9, other])
    images[1, :, 0, 9] = 255
    found = colours_of_parts(images, labels.repeat(3, 1, 1))
    assert found.vectors.shape == (3, 9, 6)
    for number in range(3):
        vectors, seen = slow_colours(images[number], labels[0])
        assert found.visibility[number].tolist() == seen == [1, 1, 1, 0, 1, 1, 0, 0, 1]
        torch.testing.assert_close(found.vectors[number], torch.tensor(vectors), atol=2e-3, rtol=0)
    assert (found.vectors[:, [3, 6]] == 0).all()  # parts without any pixel


def test_the_light_of_a_picture_does_not_matter() -> None:
    image, labels = drawn(5)
    cast = image * torch.tensor([2, 1, 2], dtype=torch.uint8)[:, None, None]
    before, after = (colours_of_parts(pictures, labels).vectors for pictures in (image, cast))
    torch.testing.assert_close(before, after, atol=1e-4, rtol=0)
    assert not torch.allclose(before, colours_of_parts(image.flip(1), labels).vectors, atol=0.01)


def planted(count: int, seed: int) -> Side:
    """`count` pictures 8×4 in one shade each, which is their number, of 5 people before 3 cameras."""
    dice = torch.Generator().manual_seed(seed)
    pids, camids = (torch.randint(0, most, (count,), generator=dice).tolist() for most in (5, 3))
    shades = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(count, 3, 8, 4)
    samples = tuple(Sample(Path(f"{n}.jpg"), f"{n}.jpg", *who) for n, who in enumerate(zip(pids, camids, strict=True)))
    visibility = (torch.rand(count, 9, generator=dice) < 0.7).float()
    visibility[:, 3] = 1  # some part is shared always
    embedding = Embedding(torch.randn(count, 9, 6, generator=dice), visibility)
    return Side(samples, shades, Encoded(embedding, Facts.of(samples)))


@pytest.mark.parametrize(("queries", "seed"), [(2, 0), (6, 1), (14, 2), (40, 3)])
def test_right_answers_are_framed_green_and_the_query_s_own_camera_is_left_out(queries: int, seed: int) -> None:
    query, gallery = planted(queries, seed), planted(60, seed + 100)
    picture = rank_strips(query, gallery)
    lines, cells = min(queries, STRIPS), SHOWN + 1
    assert picture.shape == (3, lines * (8 + 12), cells * (4 + 12))
    sides = [side.encoded.embedding for side in (query, gallery)]
    asking, asked_of = (Embedding(side.vectors[:, 1:], side.visibility[:, 1:]) for side in sides)
    apart = oracles.part_distances(asking, asked_of, "unit-euclid")
    away = oracles.weighted_mean(apart, asking, asked_of, "product", torch.inf)
    order = oracles.stable_order(away)
    frames = {RIGHT: 0, WRONG: 0}
    for line in range(lines):
        grid = picture[:, line * 20 : line * 20 + 20].unfold(2, 16, 16).permute(2, 0, 1, 3)  # cells [9,3,20,16]
        rows = [int(cell[0, 6, 6]) for cell in grid]
        assert all((cell[:, 6:14, 6:10] == row).all() for cell, row in zip(grid, rows, strict=True))
        asked = query.samples[rows[0]]
        own = [n for n, s in enumerate(gallery.samples) if (s.pid, s.camid) == (asked.pid, asked.camid)]
        assert rows[1:] == [n for n in order[rows[0]] if n not in own][:SHOWN]
        for cell, answer in zip(grid[1:], rows[1:], strict=True):
            frame = RIGHT if gallery.samples[answer].pid == asked.pid else WRONG
            edge = torch.cat([cell[:, 3:6, 3:13].flatten(1), cell[:, 14:17, 3:13].flatten(1)], dim=1)
            assert (edge == torch.tensor(frame)[:, None]).all()
            frames[frame] += 1
    assert min(frames.values()) > 0
    assert len({int(picture[0, line * 20 + 6, 6]) for line in range(lines)}) == lines  # no query twice


TAKEN: dict[str, Callable[[Path], object]] = {
    "": lambda out: out.touch(),
    "query.safetensors": lambda out: (out / "query.safetensors").mkdir(parents=True),
    "ranks.png": lambda out: (out / "ranks.png").mkdir(parents=True),
}


@pytest.mark.parametrize("name", TAKEN)
@pytest.mark.usefixtures("tiny")
def test_a_place_that_is_taken_is_refused(name: str, tmp_path: Path, refused: Refused) -> None:
    out = tmp_path / "out"
    TAKEN[name](out)
    assert refused("demo", "--out", out).startswith(f"halfseen: {out / name} cannot be ")
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.usefixtures("tiny")
def test_a_folder_below_a_file_is_refused_from_python_too(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file/out cannot be made: Not a directory; choose another folder"):
        run_demo(tmp_path / "file" / "out")
