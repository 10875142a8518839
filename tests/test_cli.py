"""Every verb, run as a person would: what it prints where, and with which exit code it ends."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints
from unittest import mock

import pytest
import torch

from halfseen import __version__, cli
from halfseen.data.embeddings import Encoded, save_encoded
from halfseen.evaluate import DISTANCES, evaluate, recall_of, reranked
from halfseen.ops.distance import CoarseToFine
from halfseen.ops.metrics import PROTOCOLS
from halfseen.score_verbs import Evaluate
from halfseen.types import Embedding, Facts, Scores

Run = Callable[..., tuple[int, str, str]]

COLUMNS = ("protocol", "mAP", "mINP", "R1", "R3", "R5", "R10", "queries", "skipped", "pos.")


def save(path: Path, rows: int, parts: int) -> Encoded:
    dice = torch.Generator().manual_seed(rows)
    pids = torch.randint(0, 5, (rows,), generator=dice)
    vectors = torch.nn.functional.one_hot(pids, 5)[:, None] + torch.randn(rows, parts, 5, generator=dice)
    facts = Facts(pids, *torch.randint(0, 4, (2, rows), generator=dice))
    encoded = Encoded(Embedding(vectors, torch.rand(rows, parts, generator=dice)), facts)
    save_encoded(path, encoded)
    return encoded


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Encoded, Encoded]:
    """A query and a gallery of four parts, and the same as files."""
    return save(tmp_path / "q.safetensors", 12, 4), save(tmp_path / "g.safetensors", 70, 4)


@pytest.fixture
def scored(sides: tuple[Encoded, Encoded], tmp_path: Path, run: Run) -> Run:
    """`scored(*options)` runs `halfseen evaluate` on `sides`."""
    assert sides
    return lambda *options: run(
        "evaluate", "--query", tmp_path / "q.safetensors", "--gallery", tmp_path / "g.safetensors", *options
    )


def as_json(scores: dict[str, Scores]) -> dict[str, Any]:
    plain = {}
    for name, s in scores.items():
        rank = {"1": s.cmc[0], "3": s.cmc[2], "5": s.cmc[4], "10": s.cmc[9]}
        counts = {"queries": s.queries, "skipped": s.skipped, "positives": s.positives}
        plain[name] = {"mAP": s.mAP, "mINP": s.mINP, "rank": rank, **counts}
    return plain


def without_recall(plain: dict[str, Any]) -> dict[str, Any]:
    return {name: {key: value for key, value in scores.items() if key != "recall"} for name, scores in plain.items()}


# --- evaluate ---


def test_evaluate_prints_json_as_fractions(scored: Run, sides: tuple[Encoded, Encoded]) -> None:
    code, out, err = scored("--json")
    assert (code, err) == (0, "")
    assert out.count("\n") == 1
    assert json.loads(out) == {"scores": as_json(evaluate(*sides))}
    assert list(json.loads(out)["scores"]) == ["market", "occ", "npo", "ntp"]


def test_evaluate_prints_a_table_in_per_cent(scored: Run, sides: tuple[Encoded, Encoded]) -> None:
    code, out, err = scored()
    assert (code, err) == (0, "")
    title, header, *lines = out.splitlines()
    assert title == "12 queries, 70 gallery images"
    assert header.split() == list(COLUMNS)
    assert all(line == line.strip() for line in out.splitlines())
    rows = {name: numbers for name, *numbers in map(str.split, lines)}
    scores = evaluate(*sides)
    assert list(rows) == list(scores)
    for name, s in scores.items():
        shares = (s.mAP, s.mINP, s.cmc[0], s.cmc[2], s.cmc[4], s.cmc[9])
        assert rows[name][:6] == [f"{100 * share:.1f}" for share in shares]
        assert rows[name][6:] == [str(s.queries), str(s.skipped), f"{s.positives / s.queries:.2f}"]


def test_a_table_is_never_cut_short(scored: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scored()[1]
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich takes for a terminal
    narrow = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", scored()[1])
    assert narrow.split() == whole.split()


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_evaluate_takes_every_distance_and_precision(name: str, precision: Any, tmp_path: Path, run: Run) -> None:
    parts = 1 if name in ("cosine", "euclid", "unit-euclid") else 4
    sides = save(tmp_path / "q.safetensors", 12, parts), save(tmp_path / "g.safetensors", 70, parts)
    files = ("--query", tmp_path / "q.safetensors", "--gallery", tmp_path / "g.safetensors")
    code, out, _ = run("evaluate", *files, "--distance", name, "--precision", precision, "--json")
    want = evaluate(*sides, distance=replace(DISTANCES[name], precision=precision))
    got = json.loads(out)["scores"]
    assert {"recall" in scores for scores in got.values()} == {name == "coarse-to-fine"}
    assert (code, without_recall(got)) == (0, as_json(want))


def test_evaluate_takes_the_numbers_of_coarse_to_fine_and_reranking(
    scored: Run, sides: tuple[Encoded, Encoded]
) -> None:
    def scores(*options: object) -> Any:
        return json.loads(scored("--json", *options)[1])["scores"]

    got = scores("--distance", "coarse-to-fine", "--nearest", 7, "--coarse", 2)
    assert without_recall(got) == as_json(evaluate(*sides, distance=CoarseToFine(7, 2)))
    assert scores("--rerank") == as_json(evaluate(*sides, distance=reranked(DISTANCES["parts"])))
    got = scores("--rerank", "--k1", 4, "--k2", 2, "--weight", 0.7, "--distance", "parts-sqrt")
    again = reranked(DISTANCES["parts-sqrt"], k1=4, k2=2, weight=0.7)
    assert got == as_json(evaluate(*sides, distance=again))


def test_evaluate_tells_how_often_what_is_ordered_again_holds_the_right_answers(
    scored: Run, sides: tuple[Encoded, Encoded]
) -> None:
    options = ("--distance", "coarse-to-fine", "--nearest", 20, "--protocol", "npo", "--protocol", "all")
    want = recall_of(*sides, CoarseToFine(20), [PROTOCOLS["npo"], PROTOCOLS["all"]])
    got = json.loads(scored("--json", *options)[1])["scores"]
    assert {name: scores["recall"] for name, scores in got.items()} == {n: each._asdict() for n, each in want.items()}
    code, out, err = scored(*options)
    assert (code, err) == (0, "")
    title, header, *rows = out.splitlines()[4:]  # below the scores
    assert title == "queries with right answers among the 20 that are ordered again"
    assert header.split() == ["protocol", "all", "any"]
    told = [[name, f"{100 * each.all:.1f}", f"{100 * each.any:.1f}"] for name, each in want.items()]
    assert [row.split() for row in rows] == told
    assert 0 < want["all"].any <= 1
    assert want["npo"].all > want["all"].all  # fewer to find


@pytest.mark.parametrize(("parts", "usual"), [(1, "cosine"), (4, "parts")])
def test_auto_is_the_usual_distance_and_what_is_taken_where_none_is_named(
    parts: int, usual: str, tmp_path: Path, run: Run
) -> None:
    sides = save(tmp_path / "q.safetensors", 12, parts), save(tmp_path / "g.safetensors", 70, parts)
    files = ("--query", tmp_path / "q.safetensors", "--gallery", tmp_path / "g.safetensors", "--json")
    want = {"scores": as_json(evaluate(*sides, distance=DISTANCES[usual]))}
    for options in ((), ("--distance", "auto"), ("--distance", usual)):
        code, out, err = run("evaluate", *files, *options)
        assert (code, json.loads(out), err) == (0, want, "")


REFUSED = [
    *(f"{option} {more}" for option in ("--k1 4", "--k2 2", "--weight 0.7") for more in ("", "--distance parts")),
    *(f"{option} {more}" for option in ("--nearest 7", "--coarse 2") for more in ("", "--rerank", "--distance parts")),
]


@pytest.mark.parametrize("options", REFUSED)
def test_options_without_the_option_they_belong_to_are_refused(options: str, scored: Run) -> None:
    if options.startswith(("--nearest", "--coarse")):
        said = "--nearest and --coarse belong to coarse-to-fine; add --distance coarse-to-fine"
    else:
        said = "--k1, --k2 and --weight belong to re-ranking; add --rerank, or leave them out"
    assert scored(*options.split()) == (2, "", f"halfseen: {said}\n")


def test_evaluate_takes_protocols_in_the_order_of_asking(scored: Run, sides: tuple[Encoded, Encoded]) -> None:
    words = [word for name in ("ntp", "all", "ntp") for word in ("--protocol", name)]
    scores = json.loads(scored("--json", *words)[1])["scores"]
    assert list(scores) == ["ntp", "all"]
    assert scores == as_json(evaluate(*sides, protocols=[PROTOCOLS["ntp"], PROTOCOLS["all"]]))


def test_all_seen_forgets_what_is_not(scored: Run, sides: tuple[Encoded, Encoded]) -> None:
    assert not any(bool((side.embedding.visibility == 1).all()) for side in sides)
    blind = [replace(side, embedding=Embedding.of(side.embedding.vectors)) for side in sides]
    want = as_json(evaluate(blind[0], blind[1], distance=DISTANCES["parts"]))
    assert json.loads(scored("--json", "--all-seen")[1])["scores"] == want != as_json(evaluate(*sides))


def test_evaluate_says_when_no_cameras_are_named(sides: tuple[Encoded, Encoded], tmp_path: Path, run: Run) -> None:
    files: list[object] = []
    for option, side in zip(("--query", "--gallery"), sides, strict=True):
        save_encoded(tmp_path / "bare.safetensors", replace(side, has_cameras=False, has_labels=False))
        files += [option, (tmp_path / "bare.safetensors").rename(tmp_path / f"{option}.safetensors")]
    code, out, err = run("evaluate", *files, "--json")
    assert (code, list(json.loads(out)["scores"])) == (0, ["all"])
    assert err == "no cameras are named: query and gallery count as two, nothing is left out\n"
    market = json.loads(run("evaluate", *files, "--json", "--protocol", "market")[1])["scores"]["market"]
    assert market == json.loads(out)["scores"]["all"]
    save_encoded(tmp_path / "--gallery.safetensors", sides[1])  # whose cameras are named
    assert "the gallery has camera numbers and the query has none" in (said := run("evaluate", *files)[2])
    assert "no cameras are named" not in said


def test_every_distance_and_protocol_can_be_asked_for() -> None:
    hints = get_type_hints(Evaluate)
    assert set(re.findall(r"'([a-z-]+)'", str(hints["distance"]))) == {"auto", *DISTANCES}
    assert set(re.findall(r"'([a-z-]+)'", str(hints["protocol"]))) == set(PROTOCOLS)


# --- words ---


GROUPS = (*cli.GROUPS, "train")  # train's words are looked at in test_train_verbs.py
VERBS: dict[str, Any] = {name: verb for name, verb in cli.VERBS.items() if name not in GROUPS}
VERBS |= {f"{group} {name}": verb for group, verbs in cli.GROUPS.items() for name, verb in verbs.items()}


@pytest.mark.parametrize("name", VERBS)
def test_help_names_and_describes_every_option(name: str, run: Run) -> None:
    code, out, err = run(*name.split(), "--help")
    assert (code, err) == (0, "")
    flat = " ".join(re.sub("[│╭╮╰╯─]", " ", out).split())
    assert " ".join(VERBS[name].__doc__.split()) in flat
    for field in dataclasses.fields(VERBS[name]):
        assert "Positional" in str(field.type) or f"--{field.name.replace('_', '-')}" in flat
        text = re.search(rf'^    {field.name}: .*\n    """(?s:(.+?))"""', inspect.getsource(VERBS[name]), re.MULTILINE)
        assert text is not None, f"{field.name} is not described"
        assert " ".join(text[1].split()) in flat


@pytest.mark.parametrize("words", [(), ("--help",), ("data",), ("data", "--help"), ("world",)], ids=" ".join)
def test_help_names_every_verb(words: tuple[str, ...], run: Run) -> None:
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    for name, verb in cli.GROUPS.get("".join(words[:1]), cli.VERBS).items():
        assert verb.__doc__
        assert re.search(rf"• {name} +{verb.__doc__.split()[0]} ", out)


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"halfseen {__version__}\n", "")


UNKNOWN = [
    ("evaluat",),
    ("data", "delete"),
    ("evaluate", "--rang", "3"),
    ("evaluate", "--query", "a.npz", "--gallery", "b.npz", "--distance", "manhattan"),
    ("evaluate", "--query", "a.npz", "--gallery", "b.npz", "--protocol", "duke"),
    ("evaluate", "--query", "a.npz", "--gallery", "b.npz", "--k1", "many"),
    ("data", "check"),
    ("data", "export", "market1501"),
    ("world", "render"),
    ("world", "render", "out", "--covered", "0.5"),
    ("world", "paint", "out"),
]


@pytest.mark.parametrize("words", UNKNOWN, ids=" ".join)
def test_words_that_mean_nothing_end_with_2(words: tuple[str, ...], run: Run) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert "--help" in err


@pytest.mark.parametrize("words", [[], ["evaluate", "--help"], ["data", "list"], ["--version"]])
def test_nobody_needs_to_listen(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """As in `halfseen >&-`: what is printed is lost, and that is all."""
    with mock.patch("sys.stdout", None):
        try:
            code = cli.main(words)
        except SystemExit as end:  # how the parser ends
            code = int(end.code or 0)
        sys.stdout.close()
    assert code == 0
    assert capfd.readouterr() == ("", "")
