"""The verbs of `halfseen data`, run as a person would: what they print where, and with which exit code they end."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import pytest
from PIL import Image

from halfseen.data.sets import SETS, read_set, set_names

Run = Callable[..., tuple[int, str, str]]
Refused = Callable[..., str]

MARKET = (
    *(f"bounding_box_train/{pid:04d}_c{camid}_000.png" for pid in (11, 12) for camid in (1, 2)),
    *(f"query/{pid:04d}_c1_000.png" for pid in (1, 2, 3)),
    *(f"bounding_box_test/{pid:04d}_c{camid}_000.png" for pid in (0, 1, 2, 3) for camid in (2, 3)),
    "bounding_box_test/-1_c1_000.png",
)


@pytest.fixture
def market(tmp_path: Path) -> Path:
    """A tiny Market-1501: pictures of a few pixels."""
    for name in MARKET:
        path = tmp_path / "sets" / "market" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.frombytes("RGB", (4, 8), crc32(name.encode()).to_bytes(4) * 24).save(path)
    return tmp_path / "sets"


def doubt(market: Path) -> str:
    place = market / "market"
    return f"note: no split has the published counts of Market-1501; is {place} another data set?\n"


def test_data_list_names_every_set(run: Run) -> None:
    code, out, err = run("data", "list")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[2 : 2 + len(set_names())]] == set_names()
    title, header = out.splitlines()[:2]
    assert (title, header.split()) == ("people / images", ["name", "cameras", "train", "query", "gallery"])
    assert re.search(r"^market1501 {2,}6 {2,}751 / 12,936 {2,}750 / 3,368 {2,}750 / 15,913$", out, re.MULTILINE)
    assert all(line == line.strip() for line in out.splitlines())
    assert "\ndukemtmc: withdrawn by its authors; " in out
    sets = json.loads(run("data", "list", "--json")[1])["sets"]
    assert list(sets) == set_names()
    counts = {"train": [751, 12_936], "query": [750, 3_368], "gallery": [750, 15_913]}
    assert sets["market1501"] == {"title": "Market-1501", "cameras": 6, "expected": counts}


def test_data_check_counts_and_finds_nothing(market: Path, run: Run) -> None:
    code, out, err = run("data", "check", "market1501", "--root", market)
    assert (code, err) == (0, doubt(market))
    title, header, *lines = out.splitlines()
    assert title == f"market1501, read from {market / 'market'}"
    assert header == "split    people  images  cameras"
    rows = [line.split() for line in lines[:3]]
    assert rows == [["train", "2", "4", "2"], ["query", "3", "3", "1"], ["gallery", "3", "8", "2"]]
    assert (out.count("note: "), out.splitlines()[-1]) == (3, "no faults")


def test_data_check_reports_every_fault_and_ends_with_1(market: Path, run: Run) -> None:
    query = market / "market" / "query"
    (query / "0001_c1_000.png").write_bytes(b"")
    (query / "0009_c1_000.png").write_bytes((query / "0002_c1_000.png").read_bytes())
    (query / "nobody.png").write_bytes(b"no picture")
    words = ("data", "check", "market1501", "--root", market)
    code, out, err = run(*words)
    assert (code, out.splitlines()[-1], err) == (1, "4 faults", doubt(market))
    code, out, err = run(*words, "--json", "--workers", 1)
    assert (code, err) == (1, doubt(market))
    report = json.loads(out)
    assert report["name"] == "market1501"
    assert report["counts"]["query"] == {"ids": 4, "images": 4, "cameras": 1}
    found = {(fault["kind"], fault["split"], fault["name"]) for fault in report["faults"]}
    assert found == {
        ("empty", "query", "query/0001_c1_000.png"),
        ("duplicate", "query", "query/0009_c1_000.png"),
        ("no positive", "query", "query/0009_c1_000.png"),
        ("wrong name", "query", "query/nobody.png"),
    }


@pytest.mark.parametrize(("names", "said"), [(("0001",), "1 fault"), (("0001", "0002"), "2 faults")])
def test_one_fault_is_one_fault(names: tuple[str, ...], said: str, market: Path, run: Run) -> None:
    for name in names:
        (market / f"market/query/{name}_c1_000.png").write_bytes(b"")
    code, out, _ = run("data", "check", "market1501", "--root", market)
    assert (code, out.splitlines()[-1]) == (1, said)


def test_a_set_of_the_published_size_is_not_doubted(market: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"": {"train": (751, 12_936), "query": (3, 3), "gallery": (750, 15_913)}}
    monkeypatch.setitem(SETS, "market1501", dataclasses.replace(SETS["market1501"], expected=counts))
    assert run("data", "check", "market1501", "--root", market)[::2] == (0, "")


def test_roots_that_hold_several_sets_are_refused(market: Path, tmp_path: Path, refused: Refused) -> None:
    shutil.copytree(market / "market", market / "duke")
    for words in (("check", "market1501"), ("export", "market1501", tmp_path / "out")):
        said = refused("data", *words, "--root", market)
        assert said.startswith(f"halfseen: 2 folders could be meant: {str(market / 'duke')!r}, ")
        assert said.endswith("; name the one that holds the set")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("variant", ["none", "partial"])
@pytest.mark.parametrize("option", ["--train", "--query", "--gallery"])
def test_shares_of_what_is_not_occluded_are_refused(
    option: str, variant: str, market: Path, tmp_path: Path, refused: Refused
) -> None:
    words = ("market1501", tmp_path / "out", "--root", market, "--variant", variant, option, 0.5)
    said = "--train, --query and --gallery are shares of occluded pictures; add --variant occluded"
    assert refused("data", "export", *words) == f"halfseen: {said}"
    assert not (tmp_path / "out").exists()


def test_an_export_needs_a_folder_and_a_worker(market: Path, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "file").write_text("precious")
    words = ("data", "export", "market1501", "--root", market)
    assert refused(*words, tmp_path / "file").endswith(
        "/file is a file; choose another name, of a folder to export into"
    )
    assert "halfseen: 0 workers cannot write anything; " in refused(*words, tmp_path / "out", "--workers", 0)
    assert (tmp_path / "file").read_text() == "precious"
    assert not (tmp_path / "out").exists()


def test_the_root_may_come_from_the_environment(market: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HALFSEEN_DATA", raising=False)
    err = run("data", "check", "market1501")[2]
    assert err.startswith("halfseen: no folder is named for market1501; give --root FOLDER, or set ")
    monkeypatch.setenv("HALFSEEN_DATA", str(market))
    assert run("data", "check", "market1501")[0] == 0
    assert run("data", "check", "market1501", "--root", market / "elsewhere")[0] == 2


@pytest.mark.parametrize(("name", "label"), [("market1501", "HOLISTIC"), ("occluded-duke", "UNKNOWN")])
def test_data_export_calls_no_occluded_set_holistic(
    name: str, label: str, market: Path, tmp_path: Path, run: Run
) -> None:
    assert run("data", "export", name, tmp_path / "out", "--root", market, "--variant", "occluded")[0] == 0
    again = read_set("manifest", tmp_path / "out")
    assert {sample.occlusion.name for sample in again.train + again.gallery} == {label}


@pytest.mark.parametrize("variant", ["none", "partial", "occluded"])
def test_data_export_writes_what_reads_back(variant: str, market: Path, tmp_path: Path, run: Run) -> None:
    shares = ("--train", 1, "--query", 0.5) if variant == "occluded" else ()
    options = ("--variant", variant, *shares, "--seed", 3, "--workers", 1)
    code, out, err = run("data", "export", "market1501", tmp_path / "out", "--root", market, *options)
    assert code == 0
    assert out == f"15 images are there; see {tmp_path / 'out' / 'manifest.csv'}\n"
    assert all(line.startswith("note: ") for line in err.splitlines())
    assert err.startswith(doubt(market))
    assert run("data", "export", "market1501", tmp_path / "out", "--root", market, *options)[:2] == (0, out)
    assert ("seed 3" in err) == (variant != "none")
    again, before = read_set("manifest", tmp_path / "out"), read_set("market1501", market)
    assert [s.pid for s in again.gallery] == [s.pid for s in before.gallery]
    assert len(list((tmp_path / "out").glob("masks/**/*.png"))) == (4 + 2 if variant == "occluded" else 0)
