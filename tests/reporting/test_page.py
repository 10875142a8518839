"""The page is one file that anybody can open, read and listen to; the verb writes it or says why not."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from unittest import mock

import pytest
import torch

from halfseen.report import examine, open_run, page, write_report
from halfseen.reporting import markup
from halfseen.reporting.results import Result
from halfseen.train import RUN
from page_reader import Reader, rows_of
from standins import read_drawn

PARTS = 8


# --- the page as a file ---


def test_the_page_is_whole_and_needs_nothing_beside_it(text: str) -> None:
    read = Reader(text)
    assert read.stack == []
    links = [a[key] for _, a in read.elements for key in ("src", "href") if key in a]
    assert links
    assert [link for link in links if not link.startswith(("data:image/jpeg;base64,", "#"))] == []
    assert not re.search(r"@import|url\(|https?://(?!www\.w3\.org/2000/svg)", text)
    assert len(text) < 8e6


def test_addresses_are_unique_and_lead_somewhere(text: str) -> None:
    read = Reader(text)
    ids = Counter(a["id"] for _, a in read.elements if "id" in a)
    assert max(ids.values()) == 1
    wanted = {a["popovertarget"] for a in read.all("button")} | {a["href"][1:] for a in read.all("a")}
    wanted |= {a["aria-labelledby"] for _, a in read.elements if "aria-labelledby" in a}
    assert len(wanted) > 20
    assert wanted <= set(ids)


def test_a_listener_hears_what_a_viewer_sees(text: str) -> None:
    read = Reader(text)
    assert read.all("html")[0]["lang"] == "en"
    assert all("alt" in image for image in read.all("img"))
    assert all(button["aria-label"].startswith(("place ", "does not count")) for button in read.all("button"))
    assert all(chart["aria-label"] for chart in read.all("svg"))
    assert all("scope" in cell for cell in read.all("th"))
    headings = [int(tag[1]) for tag, _ in read.elements if re.fullmatch(r"h[1-6]", tag)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))


def test_the_page_holds_no_moment_and_no_place(text: str, place: Path) -> None:
    assert str(place) not in text
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b", text)


def test_what_comes_from_outside_cannot_become_markup(result: Result) -> None:
    named = replace(result, run=replace(result.run, name="<script>alert(1)</script>&"))
    told = page([named, result], queries=1)
    assert "<script>alert" not in told
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;" in told
    assert Reader(told).stack == []


def contrast(one: str, other: str) -> float:
    def light(colour: str) -> float:
        shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((light(one), light(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_words_stand_out_from_their_background_and_lines_too(text: str, theme: int) -> None:
    blocks = re.findall(r":root \{(.*?)\}", text, re.DOTALL)
    colours = dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", blocks[theme]))
    assert len(blocks) == 2
    for name in ("--text", "--soft", "--accent", "--right", "--wrong", "--junk"):
        assert min(contrast(colours[name], colours[behind]) for behind in ("--card", "--page")) >= 4.5, name
    assert contrast(colours["--text"], colours["--best"]) >= 4.5
    for name in [f"--line-{which}" for which in range(8)] + ["--bar-far", "--bar-seen"]:
        assert contrast(colours[name], colours["--card"]) >= 3, name


# --- several runs ---


def test_runs_stand_side_by_side_on_the_same_queries(result: Result, whole: Result) -> None:
    told = page([result, whole], queries=2)
    rows = rows_of(told, "Side by side")
    assert list(rows) == ["parts", "whole"]
    for some in (result, whole):
        scores = some.scores["market"]
        assert rows[some.run.name][1:] == [f"{100 * scores.mAP:.1f}", f"{100 * scores.cmc[0]:.1f}"]
    assert list(rows_of(told, "What a query costs")) == ["parts", "whole"]
    (sample,) = re.findall(r'<section id="answers".*?</section>', told, re.DOTALL)
    assert sample.count("<article") == 2
    assert sample.count("<b>parts</b>") == sample.count("<b>whole</b>") == 2
    assert max(Counter(a["id"] for _, a in Reader(told).elements if "id" in a).values()) == 1
    assert "<h1>BPBreID and BoT on market1501</h1>" in told


def test_the_best_of_a_column_stands_out() -> None:
    told = markup.table("t", ("run", "mAP", "note"), [["a", "9.5", "x"], ["b", "10.0", "y"]], best=[1])
    assert re.findall(r'<td class="best">(.*?)</td>', told) == ["10.0"]
    assert "best" not in markup.table("t", ("run", "mAP"), [["a", "9.5"]], best=[1])


def test_of_equals_none_is_the_best() -> None:
    rows = [["a", "9.5", "1.0"], ["b", "9.5", "1.0"], ["c", "9.5", "0.5"]]
    told = markup.table("t", ("run", "mAP", "R1"), rows, best=[1, 2])
    assert re.findall(r'<td class="best">(.*?)</td>', told) == ["1.0", "1.0"]


def test_each_run_says_its_method_and_what_is_a_reconstruction(whole: Result, purified: Result) -> None:
    told = page([whole, purified], queries=1)
    assert "<h1>BoT and OGFR (reconstruction) on market1501</h1>" in told
    for caption in ("Runs", "Side by side", "What a query costs"):
        rows = rows_of(told, caption)
        assert {run: cells[0] for run, cells in rows.items()} == {"whole": "BoT", "purified": "OGFR (reconstruction)"}
    assert "<dt>method</dt><dd>OGFR (reconstruction)</dd>" in page([purified], queries=1)


def test_pictures_are_small_and_keep_their_shape() -> None:
    tall = torch.randint(0, 256, (3, 512, 256), dtype=torch.uint8)
    assert 'width="96" height="192"' in markup.picture(tall, "noise")
    assert 'width="32" height="64"' in markup.picture(tall[:, :64, :32], "noise")
    assert 'alt="&quot;a&quot; &amp; b"' in markup.picture(tall, '"a" & b')


# --- the verb ---


def test_the_verb_writes_the_page(place: Path, run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    code, printed, _ = run("report", place / "parts", "--root", place / "set", "--out", out, "--queries", 1)
    assert code == 0
    assert printed.startswith(f"{out}: ")
    assert out.read_text().startswith("<!doctype html>\n<html")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert run("report", place / "parts", "--root", place / "set")[0] == 0
    assert (place / "parts/report.html").is_file()


def test_names_of_any_bytes_are_written(result: Result, tmp_path: Path) -> None:
    odd = replace(result, run=replace(result.run, name=os.fsdecode(b"r\xff")))
    write_report(tmp_path / "r.html", [odd], 1)
    assert r"r\udcff" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_pictures_are_looked_for_where_they_were_in_training(
    place: Path,
    run: Callable[..., tuple[int, str, str]],
    refused: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HALFSEEN_DATA", raising=False)
    again = tmp_path / "again"
    shutil.copytree(place / "parts", again)
    (again / RUN).write_text(json.dumps({"root": str(place / "set")}))
    assert run("report", again, "--queries", 1)[0] == 0
    for told in ("nothing", "[]", '{"root": 1}', json.dumps({"root": str(tmp_path / "gone")})):
        (again / RUN).write_text(told)
        assert "no folder is named for market1501" in refused("report", again)
    (again / RUN).unlink()
    assert "no folder is named for market1501" in refused("report", again)


def test_where_nothing_can_be_written_is_said_before_the_work(place: Path, refused: Callable[..., str]) -> None:
    with mock.patch("halfseen.report.open_run", side_effect=AssertionError("before the work")):
        said = refused("report", place / "parts", "--out", place / "no/r.html")
    assert said.endswith("r.html cannot be written: its folder does not exist; make it, or choose another")


def test_without_the_best_weights_the_last_are_named(place: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    shutil.copy(place / "parts/best.safetensors", tmp_path / "last.safetensors")
    said = refused("report", tmp_path)
    assert said.endswith("after the first evaluation; let it come so far, or say --weights last")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "nowhere does not exist; give a folder that `halfseen train` wrote"),
        (["set"], "holds no best.safetensors, which `halfseen train` writes after the first evaluation"),
        (
            ["parts", "--weights", "last"],
            "holds no last.safetensors, which `halfseen train` writes after the last epoch",
        ),
        (["parts", "--queries", "0"], "--queries is 0; give a number from 1 to 100"),
        (["parts", "--data", "market15"], "market15"),
        (["parts", "--out", "no/such/folder.html"], "cannot be written"),
        (["broken.safetensors"], "cut short, damaged or no safetensors"),
        ([], "what is the report about?"),
    ],
)
def test_what_cannot_be_reported_on_is_said_in_a_sentence(
    place: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(place)
    (place / "broken.safetensors").write_bytes((place / "parts/best.safetensors").read_bytes()[:5000])
    assert said in refused("report", *words, "--root", place / "set")


def test_a_set_without_queries_is_refused(place: Path) -> None:
    splits = replace(read_drawn(place / "set"), query=())
    with pytest.raises(Exception, match="market1501 has no query pictures; name a set that has some with --data"):
        examine(open_run(place / "parts"), splits)
