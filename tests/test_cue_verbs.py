"""The verbs of `halfseen cues`, run as a person would."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from halfseen import printing
from halfseen.data.cues import KeypointFile, load_keypoints, save_keypoints
from halfseen.data.images import read_image
from halfseen.estimators import ESTIMATORS
from halfseen.ops.groupings import JOINTS
from pose_stand_in import SOURCE, alone, large_set, stand_in

Run = Callable[..., tuple[int, str, str]]
Refused = Callable[..., str]
ALONE = ("--estimator", "mediapipe", "--workers", 1)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(ESTIMATORS, "mediapipe", stand_in(alone))
    large_set(tmp_path / "set")
    (tmp_path / "set/keypoints.npz").unlink()
    return tmp_path / "set"


def test_cues_make_writes_a_file_and_says_what_it_holds(root: Path, run: Run) -> None:
    code, said, err = run("cues", "make", "market1501", "--root", root, *ALONE)
    assert code == 0
    assert err.startswith("note: no split has the published counts of Market-1501")
    lines = said.splitlines()
    out = root / "keypoints.npz"
    assert lines[0] == f"{out}: 109 pictures, 109 looked at now"
    assert lines[1].split() == ["joint", "mean", "score", "seen,", "%"]
    assert [line.split()[0] for line in lines[2:19]] == [*JOINTS]
    file = load_keypoints(out)
    scores = file.keypoints[..., 2]
    assert lines[2].split()[1:] == [f"{scores[:, 0].mean():.2f}", f"{100 * (scores[:, 0] > 0.5).float().mean():.1f}"]
    assert lines[19:] == [
        f"source: {SOURCE}",
        "nobody was found in 0 of 109 pictures (0.0%)",
        "several people were found in 0 of 109: the middle one was taken",
        f"look at some of them: {root / 'keypoints-sheet.png'}",
    ]
    assert read_image(root / "keypoints-sheet.png").shape == (3, 4 * 264, 8 * 179)
    assert file.source == SOURCE
    assert len(file) == 109


def test_a_second_call_says_that_all_is_there(root: Path, run: Run) -> None:
    words = ("cues", "make", "market1501", "--root", root, *ALONE, "--sheet", root / "sheet.jpg")
    run(*words)
    said = run(*words)[1].splitlines()
    assert said[0].endswith("109 pictures, complete already, so nothing was looked at")
    assert not any("several" in line for line in said)
    assert (root / "sheet.jpg").is_file()


def test_cues_make_in_json(root: Path, run: Run) -> None:
    code, said, _ = run("cues", "make", "market1501", "--root", root, *ALONE, "--json", "--out", root / "mine.npz")
    answer = json.loads(said)
    assert code == 0
    assert (answer["out"], answer["sheet"]) == (str(root / "mine.npz"), str(root / "mine-sheet.png"))
    assert (answer["images"], answer["made"], answer["several"], answer["nobody"]) == (109, 109, 0, [])
    assert list(answer["scores"]) == [*JOINTS]
    assert answer["source"] == SOURCE


def test_ctrl_c_leaves_a_work_to_go_on_with(
    root: Path, run: Run, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def stopped(_: str) -> Iterator[Callable[[int, int], None]]:
        def hear(done: int, _all: int) -> None:
            if done >= 64:
                raise KeyboardInterrupt

        yield hear

    words = ("cues", "make", "market1501", "--root", root, *ALONE)
    with monkeypatch.context() as patch:
        patch.setattr(printing, "progress_bar", stopped)
        assert "stopped by Ctrl-C; nothing half-written is left, and the same command goes on" in refused(*words)
    assert not (root / "keypoints.npz").exists()
    assert run(*words)[0] == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--sheet", "a.gif"), "a.gif does not end in one of .jpg, .jpeg, .png; choose one of these endings"),
        (("--sheet", "gone/a.png"), "gone: there is no such folder; make it, or choose another"),
        (("--out", "a.csv"), "a.csv does not end in .npz, as keypoint files do"),
        (("--workers", 0), "0 workers cannot look at anything"),
        (("--results", "a.json"), "--results is for coco-json and bpbreid-fields"),
        (("--root", "nowhere"), "nowhere"),
    ],
)
def test_bad_arguments_are_told(words: tuple[object, ...], sentence: str, root: Path, refused: Refused) -> None:
    before = sorted(root.rglob("*"))
    assert sentence in refused("cues", "make", "market1501", "--root", root, *ALONE, *words)
    assert sorted(root.rglob("*")) == before


def test_what_is_known_exactly_is_not_lost(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ESTIMATORS, "mediapipe", stand_in(alone))
    said = refused("cues", "make", "street", *ALONE)
    assert said.endswith("street comes with halfseen, and its joints are known; name a file with --out")
    assert said == refused("cues", "make", "street", *ALONE, "--replace")


def test_cues_check_compares_and_draws(root: Path, run: Run) -> None:
    run("cues", "make", "market1501", "--root", root, *ALONE)
    file = load_keypoints(root / "keypoints.npz")
    keypoints = file.keypoints.clone()
    keypoints[5] = torch.tensor([7.0, 3.0, 1.0])
    keypoints[5, 3, 0] = 7.6
    save_keypoints(root / "keypoints.npz", KeypointFile(file.names, keypoints, file.source))
    code, said, _ = run("cues", "check", "market1501", "--root", root, "--worst", 3)
    assert code == 0
    lines = said.splitlines()
    assert lines[0] == "market1501: of how many images something is known"
    assert [line.split() for line in lines[2:5]] == [
        ["train", "100", "100", "100", "0", "0"],
        ["query", "3", "3", "3", "0", "0"],
        ["gallery", "6", "6", "6", "0", "0"],
    ]
    assert lines[5] == f"source of the keypoints: {SOURCE}"
    assert re.search(r"^outside +a joint lies outside the picture +1 +0\.92$", said, re.MULTILINE)
    assert re.search(r"^the worst 3 of \d+, drawn in this order: cues-worst\.png$", said, re.MULTILINE)
    assert f"\n{file.names[5]}  outside, collapsed  " in said
    assert lines[-1] == "no fault that would keep a training from using these keypoints"
    assert read_image("cues-worst.png").shape == (3, 264, 3 * 179)


def test_what_cues_check_prints_fits_a_terminal_of_80_columns(run: Run) -> None:
    code, said, _ = run("cues", "check", "street", "--worst", 1)
    assert code == 0
    assert "\nimpossible skeletons\n" in said
    assert [line for line in said.splitlines() if len(line) > 80] == []


def test_cues_check_ends_with_1_where_a_training_would_be_refused(root: Path, run: Run) -> None:
    run("cues", "make", "market1501", "--root", root, *ALONE)
    file = load_keypoints(root / "keypoints.npz")
    save_keypoints(root / "half.npz", KeypointFile(file.names[9:], file.keypoints[9:], file.source))
    words = ("cues", "check", "market1501", "--root", root, "--file", root / "half.npz", "--sheet", "worst.jpg")
    code, said, _ = run(*words)
    assert code == 1
    assert f"half.npz: tells nothing of 9 of the 109 pictures asked for, among them {file.names[0]}" in said
    code, said, _ = run(*words, "--json")
    answer = json.loads(said)
    assert code == 1
    assert answer["refusal"].startswith(f"{root / 'half.npz'}: ")
    assert answer["coverage"]["train"] == {"images": 100, "rows": 91, "found": 91, "fields": 0, "parts": 0}
    assert set(answer) == {"source", "coverage", "impossible", "agreement", "worst", "refusal"}
    assert answer["agreement"] == {}
    assert len(answer["worst"]) == 24


def test_cues_check_of_parts_alone(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, said, _ = run("cues", "check", "street:partial")
    assert code == 0
    assert re.search(r"^all +[\d,]+ +100\.0 +0\.0$", said, re.MULTILINE)
    assert re.search(r"^left_knee +[\d,]+ +100\.0 +0\.0$", said, re.MULTILINE)


def test_bad_checks_are_told(root: Path, refused: Refused) -> None:
    check = ("cues", "check", "market1501", "--root", root)
    assert "nothing is known of the pictures in" in refused(*check)
    assert "gone.npz: no such file; check the path" in refused(*check, "--file", "gone.npz")
    assert "--worst is 0; give a number from 1 to 500" in refused(*check, "--worst", 0)
    assert "a.gif does not end in one of" in refused(*check, "--sheet", "a.gif")
