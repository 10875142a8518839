"""The drawn benchmark: the same for the same seed, and visible parts are worth something where people are hidden."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from halfseen import cli
from halfseen.data.embeddings import Encoded, load_encoded
from halfseen.data.images import read_image
from halfseen.demo import CAMERAS, HEIGHT, LOOKS, WAYS, WIDTH, contact_sheet, describe, draw_benchmark, run_demo
from halfseen.evaluate import evaluate
from halfseen.types import InputError, Occlusion, Scores

WHOLE, ALL_PARTS, VISIBLE_PARTS, RERANKED = (what for what, _, _ in WAYS)
LABELLED = ["market", "occ", "npo", "ntp"]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


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


def sides(people: int, seed: int) -> list[Encoded]:
    return [Encoded(describe(drawn), drawn.facts) for drawn in draw_benchmark(people, seed)]


def test_the_table_holds_every_matching_under_every_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    run_demo(6, 0, None)
    printed = capsys.readouterr().out
    assert printed.startswith("6 people drawn (seed 0): 12 queries, 60 gallery images, 4 cameras")
    (header,) = (line for line in printed.splitlines() if line.startswith("matching"))
    assert header.split() == ["matching", "protocol", "mAP", "mINP", "R1", "R3", "R5", "R10", "queries", "pos."]
    rows = table(printed)
    assert [what for what, _, _ in WAYS] == ["whole picture", "all parts", "visible parts", "re-ranked"]
    assert list(rows) == [(what, protocol) for what, _, _ in WAYS for protocol in LABELLED]
    encoded = sides(6, 0)
    for what, distance, choose in WAYS:
        scores = evaluate(*map(choose, encoded), distance=distance)
        assert {protocol: rows[what, protocol] for protocol in LABELLED} == {n: row(s) for n, s in scores.items()}
    assert len({tuple(numbers) for numbers in rows.values()}) == len(rows)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_visible_parts_beat_all_parts_where_things_hide_people(seed: int) -> None:
    encoded = sides(12, seed)
    score = {w: evaluate(*map(choose, encoded), distance=d)["npo"] for w, d, choose in WAYS if w != RERANKED}
    assert score[VISIBLE_PARTS].mAP > score[ALL_PARTS].mAP + 0.02
    assert score[VISIBLE_PARTS].cmc[0] >= score[ALL_PARTS].cmc[0]
    assert score[ALL_PARTS].mAP > score[WHOLE].mAP


def test_the_same_seed_draws_the_same_and_another_another() -> None:
    for first, again, other in zip(draw_benchmark(3, 5), draw_benchmark(3, 5), draw_benchmark(3, 6), strict=True):
        for name in ("images", "keypoints", "hidden"):
            assert torch.equal(getattr(first, name), getattr(again, name))
            assert not torch.equal(getattr(first, name), getattr(other, name))
        assert torch.equal(first.facts.occlusion, again.facts.occlusion)
        assert torch.equal(describe(first).vectors, describe(again).vectors)


def test_what_is_drawn_fits_what_is_said_of_it() -> None:
    query, gallery = draw_benchmark(4, 0)
    assert len(query.facts) + len(gallery.facts) == 4 * CAMERAS * LOOKS
    for drawn in (query, gallery):
        count = len(drawn.facts)
        assert (drawn.images.dtype, drawn.images.shape) == (torch.uint8, (count, 3, HEIGHT, WIDTH))
        assert (drawn.keypoints.shape, drawn.hidden.shape) == ((count, 17, 3), (count, HEIGHT, WIDTH))
        assert torch.equal(drawn.hidden.any((1, 2)), drawn.facts.occlusion != Occlusion.HOLISTIC)
        assert set(drawn.facts.pids.tolist()) == {0, 1, 2, 3}
        assert set(drawn.facts.occlusion.tolist()) == {Occlusion.NTP, Occlusion.NPO, Occlusion.HOLISTIC}
    hidden = gallery.facts.occlusion != Occlusion.HOLISTIC
    seen = describe(gallery).visibility
    assert set(seen.flatten().tolist()) == {0, 1}
    assert seen[:, 0].all()
    assert seen[~hidden].all()
    assert seen[hidden].mean() < 0.96


def test_out_writes_files_that_evaluate_to_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "folder"
    assert cli.main(["demo", "--people", "5", "--seed", "1", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["gallery.safetensors", "people.png", "query.safetensors"]
    rows = table(printed)
    loaded = [load_encoded(out / f"{name}.safetensors", camid=9) for name in ("query", "gallery")]
    scores = evaluate(*loaded)
    assert {name: row(score) for name, score in scores.items()} == {n: rows[VISIBLE_PARTS, n] for n in LABELLED}
    words = printed.rpartition("halfseen ")[2].split()
    assert cli.main([*words, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)["scores"]
    assert {name: score["mAP"] for name, score in again.items()} == {name: s.mAP for name, s in scores.items()}
    assert read_image(out / "people.png").float().std() > 20


@pytest.mark.parametrize(("counts", "rows", "columns"), [((50, 100), 6, 16), ((3, 2), 1, 5), ((20, 0), 1, 16)])
def test_a_contact_sheet_shows_rows_of_each(counts: tuple[int, int], rows: int, columns: int) -> None:
    images = [
        torch.full((count, 3, 6, 4), shade, dtype=torch.uint8) for count, shade in zip(counts, (10, 90), strict=True)
    ]
    sheet = contact_sheet(*images)
    assert sheet.shape == (3, rows * 10, columns * 8)


@pytest.mark.parametrize("words", ["--people 1", "--people 0", "--people -3", "--people 99999999999999999999"])
def test_too_few_or_too_many_people_are_refused(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", *words.split()]) == 2
    assert re.fullmatch(r"halfseen: -?\d+ people cannot be drawn .*; draw 2 to 10,000\n", capsys.readouterr().err)


@pytest.mark.parametrize("seed", [-1, 10**30, -(10**30)])
def test_every_whole_number_is_a_seed(seed: int) -> None:
    assert not torch.equal(draw_benchmark(2, seed)[0].images, draw_benchmark(2, 0)[0].images)


TAKEN: dict[str, Callable[[Path], object]] = {
    "": lambda out: out.touch(),
    "query.safetensors": lambda out: (out / "query.safetensors").mkdir(parents=True),
    "people.png": lambda out: (out / "people.png").mkdir(parents=True),
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_place_that_is_taken_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    TAKEN[name](out)
    assert cli.main(["demo", "--people", "2", "--out", str(out)]) == 2
    assert capsys.readouterr().err.startswith(f"halfseen: {out / name} cannot be ")
    assert not list(tmp_path.rglob("*.part"))


def test_one_person_cannot_be_drawn_from_python_either() -> None:
    with pytest.raises(InputError, match="draw 2 to"):
        draw_benchmark(1, 0)
