"""The verbs of `halfseen world`, run as a person would; people are noise here, so that it is quick."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

import worlds
from halfseen import printing, world_verbs
from halfseen.data.images import read_image
from halfseen.painting import Job
from halfseen.world.cameras import CAMERAS

Run = Callable[..., tuple[int, str, str]]
Refused = Callable[..., str]

SMALL = ("--ids", 6, "--images", 9, "--cameras", 3, "--size", "32x16", "--sharing", 0.2, "--workers", 1)


@pytest.fixture(autouse=True)
def noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world_verbs, "Job", partial(Job, studio=worlds.studio))


def test_world_render_writes_a_set_and_says_what_it_holds(tmp_path: Path, run: Run) -> None:
    out = tmp_path / "my world"
    code, said, err = run("world", "render", out, *SMALL, "--seed", 3, "--covered", 0.3, 0.4)
    assert (code, err) == (0, "")
    lines = said.splitlines()
    assert lines[0] == f"{out}: 54 images, 54 rendered now"
    assert [line.split() for line in lines[1:4]] == [
        ["role", "people", "images"],
        ["train", "3", "27"],
        ["query", "3", "3"],
    ]
    assert lines[-2:] == ["now try", f"halfseen data check world --root '{out}'"]
    assert re.search(r"^two people have the same look of: build \d+\.\d%, head \d+\.\d%, ", said, re.MULTILINE)
    assert "where something hides the body: " in said
    setting = json.loads((out / "world.json").read_text())["setting"]
    asked = {"ids": 6, "images": 9, "cameras": 3, "height": 32, "width": 16, "seed": 3, "sharing": 0.2}
    assert setting == asked | {"covered": [0.3, 0.4], "occluded": 0.55, "backgrounds": "painted"}
    code, checked, _ = run(*shlex.split(lines[-1])[1:])
    assert (code, checked.splitlines()[-1]) == (0, "no faults")


def test_a_second_call_says_that_all_is_there(tmp_path: Path, run: Run) -> None:
    words = ("world", "render", tmp_path / "out", *SMALL)
    first = run(*words)[1].splitlines()
    before = worlds.files_of(tmp_path)
    code, said, err = run(*words)
    assert (code, err) == (0, "")
    assert said.splitlines()[0] == f"{tmp_path / 'out'}: 54 images, complete already, so nothing was rendered"
    assert said.splitlines()[1:] == first[1:]
    assert worlds.files_of(tmp_path) == before


def test_the_defaults_are_those_of_the_help() -> None:
    verb = world_verbs.RenderWorld(Path("out"))
    assert (verb.ids, verb.images, verb.cameras, verb.size, verb.seed) == (500, 20, 6, "256x128", 0)
    assert (verb.covered, verb.workers, verb.device) == ((0.25, 0.65), None, "cpu")


BAD = {
    "no people": (("--ids", 0), "0 people are too few"),
    "fewer than none": (("--ids", -5), "-5 people are too few"),
    "no images": (("--images", 0), "0 images per person are too few"),
    "many cameras": (("--cameras", len(CAMERAS) + 1), f"{len(CAMERAS) + 1} cameras are more than there are; ask for 2"),
    "no cameras": (("--cameras", 0), "0 cameras are too few"),
    "one number": (("--size", "256"), "--size is '256'; give height x width in pixels, from 32x16 to 1024x512, like"),
    "words": (("--size", "large"), "--size is 'large'; give height x width"),
    "negative": (("--size", "-256x128"), "--size is '-256x128'; give height x width"),
    "no pixels": (("--size", "0x0"), "--size is '0x0'; give height x width"),
    "gigantic": (("--size", "99999x99999"), "--size is '99999x99999'; give height"),
    "alone": (("--sharing", 0), "a sharing of 0 is impossible"),
    "all alike": (("--sharing", 1.5), "a sharing of 1.5 is impossible"),
    "no number": (("--sharing", "nan"), "a sharing of nan is impossible"),
    "backwards": (("--covered", 0.6, 0.3), "bodies cannot be covered from 0.6 to 0.3"),
    "beyond": (("--covered", 0.6, 1.3), "bodies cannot be covered from 0.6 to 1.3"),
    "no workers": (("--workers", 0), "0 workers cannot render anything; give 1 or more"),
    "no device": (("--device", "gpu"), "there is no rendering on 'gpu'; choose cpu or cuda"),
    "no photos": (("--backgrounds", "nowhere"), "'nowhere' cannot be read as a folder"),
}


@pytest.mark.parametrize(("words", "sentence"), BAD.values(), ids=BAD.keys())
def test_bad_arguments_are_told(words: tuple[object, ...], sentence: str, tmp_path: Path, refused: Refused) -> None:
    assert sentence in refused("world", "render", tmp_path / "out", *SMALL, *words)
    assert not (tmp_path / "out").exists()


def test_what_lies_in_the_way_is_told_and_stays(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "file").write_text("precious")
    for out in (tmp_path / "file", tmp_path / "file/out"):
        assert f"{out} cannot be made (" in refused("world", "render", out, *SMALL)
    assert f"{tmp_path} holds other things (file); " in refused("world", "render", tmp_path, *SMALL)
    assert worlds.files_of(tmp_path) == {"file": b"precious"}


def test_other_settings_in_the_same_folder_are_told(tmp_path: Path, run: Run, refused: Refused) -> None:
    words = ("world", "render", tmp_path / "out", *SMALL)
    assert run(*words)[0] == 0
    before = worlds.files_of(tmp_path)
    said = refused(*words, "--seed", 1, "--ids", 8)
    assert f"{tmp_path / 'out'} holds a world with ids 6 (now 8), seed 0 (now 1); ask for the same again, or" in said
    assert worlds.files_of(tmp_path) == before


def test_ctrl_c_leaves_a_set_to_be_used(
    tmp_path: Path, run: Run, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def stopped(_: str) -> Iterator[Callable[[int, int], None]]:
        yield worlds.interrupt_after(1)

    with monkeypatch.context() as patch:
        patch.setattr(printing, "progress_bar", stopped)
        said = refused("world", "render", tmp_path / "out", *SMALL, "--ids", 20, "--images", 12)
    assert "stopped by Ctrl-C; nothing half-written is left" in said
    code, said, _ = run("data", "check", "world:re-occluded", "--root", tmp_path)
    assert "note: a part of this world is still to be rendered; run the same `halfseen world render` again" in said
    assert [line.split()[2] for line in said.splitlines()[2:3]] != ["0"]
    code, said, _ = run("world", "render", tmp_path / "out", *SMALL, "--ids", 20, "--images", 12)
    assert code == 0
    assert said.startswith(f"{tmp_path / 'out'}: 240 images, 176 rendered now\n")
    assert run("data", "check", "world:re-occluded", "--root", tmp_path)[0] == 0


def test_a_full_disk_is_told(tmp_path: Path, run: Run, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("world", "render", tmp_path / "out", *SMALL)
    with monkeypatch.context() as patch:
        patch.setattr("halfseen.painting.save_part_labels", worlds.full_after(40))
        said = refused(*words)
    assert (
        "No space left on device); make room there; 32 of 54 pictures are complete, and the same command goes " in said
    )
    assert run(*words)[1].startswith(f"{tmp_path / 'out'}: 54 images, 22 rendered now\n")


def test_own_photos_are_part_of_the_world(tmp_path: Path, run: Run, refused: Refused) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (40, 30), "red").save(tmp_path / "photos/wall.png")
    words = ("world", "render", tmp_path / "out", *SMALL, "--backgrounds", tmp_path / "photos")
    assert run(*words)[0] == 0
    assert "complete already" in run(*words)[1]
    Image.new("RGB", (40, 30), "blue").save(tmp_path / "photos/wall.png")
    assert "holds a world with backgrounds 1 photos (" in refused(*words)


def test_world_sheet_draws_one_picture(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(world: object, people: tuple[object, ...], size: tuple[int, int], seed: int) -> Tensor:
        assert (world, len(people), size, seed) == ((3, 4, 64), 5, (64, 32), 4)
        return torch.arange(3 * 20 * 10, dtype=torch.uint8).reshape(3, 20, 10)

    monkeypatch.setattr(world_verbs, "build", lambda *words: words)
    monkeypatch.setattr(world_verbs, "sheet", draw)
    out = tmp_path / "sheet.png"
    words = ("--people", 5, "--cameras", 3, "--seed", 4, "--size", "64x32")
    assert run("world", "sheet", out, *words) == (0, f"{out}: people × cameras, 5 × 3\n", "")
    assert torch.equal(read_image(out), torch.arange(600, dtype=torch.uint8).reshape(3, 20, 10))


def test_a_sheet_s_folder_is_looked_for_before_it_is_drawn(
    tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world_verbs, "draw_people", lambda *_: pytest.fail("it was drawn"))
    assert "its folder does not exist" in refused("world", "sheet", tmp_path / "nowhere/sheet.png")


@pytest.mark.parametrize(
    ("name", "words", "sentence"),
    [
        ("sheet.gif", (), "sheet.gif does not end in one of .jpg, .jpeg, .png"),
        ("sheet.png", ("--cameras", 0), "0 cameras were asked for"),
        ("sheet.png", ("--cameras", 99), f"99 cameras were asked for; {len(CAMERAS)} are defined"),
        ("sheet.png", ("--people", 0), "0 people"),
        ("sheet.png", ("--size", "x"), "--size is 'x'; give height x width"),
        ("sheet.png", ("--size", "0x0"), "--size is '0x0'; give height x width"),
    ],
)
def test_bad_sheets_are_told(
    name: str, words: tuple[object, ...], sentence: str, tmp_path: Path, refused: Refused
) -> None:
    assert sentence in refused("world", "sheet", tmp_path / name, *words)
    assert not list(tmp_path.iterdir())
