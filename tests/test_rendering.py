"""Rendering a set into a folder, with noise for people: what is written, resumed, stopped, refused."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from PIL import Image

import worlds
from halfseen import painting, rendering
from halfseen.data.check import check
from halfseen.data.cues import load_keypoints, load_part_labels
from halfseen.data.files import alone
from halfseen.data.sets import read_set
from halfseen.painting import Job
from halfseen.rendering import Report, photos_in, render_set
from halfseen.types import InputError
from halfseen.world.cameras import CAMERAS
from halfseen.world.plan import Planned, Setting, plan
from halfseen.world.sheet import PALETTE
from halfseen.world.wardrobe import draw_people

SETTING = worlds.SETTING
TOTAL = SETTING.ids * SETTING.images


def render(out: Path, *, studio: object = worlds.studio, setting: Setting = SETTING, **options: object) -> Report:
    assert callable(studio)
    return render_set(Job(out, setting, studio=studio), **({"workers": 1} | options))  # type: ignore[arg-type]


def planned() -> tuple[Planned, ...]:
    return plan(SETTING, draw_people(SETTING.ids, SETTING.seed, SETTING.sharing), CAMERAS)


@pytest.fixture(scope="module")
def whole_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of the world of `SETTING`, rendered at one go."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert render(out).rendered == TOTAL
    return out


def test_every_picture_has_its_files_and_rows(whole_set: Path) -> None:
    keypoints = load_keypoints(whole_set / "keypoints.npz")
    rows = list(csv.DictReader(io.StringIO((whole_set / "world.csv").read_text())))
    assert keypoints.names == tuple(row["path"] for row in rows) == tuple(each.name for each in planned())
    assert keypoints.source == "halfseen world 1: known exactly"
    for number, (each, row) in enumerate(zip(planned(), rows, strict=True)):
        made = worlds.noise([each.shot], (32, 16))
        with Image.open(whole_set / each.name) as picture:
            assert (picture.format, picture.size) == ("JPEG", (16, int(made.rows[0])))
        labels = load_part_labels(whole_set / "parts" / each.name.replace(".jpg", ".png"))
        assert torch.equal(labels.to(torch.uint8), made.parts[0, : made.rows[0]])
        assert (len(labels) < 32) == (each.role == "query_partial")
        assert (keypoints.keypoints[number, :, :2] - made.keypoints[0]).abs().max() <= 0.00501
        score = {0: 0.0, 1: 0.5, 2: 1.0}
        assert keypoints.keypoints[number, :, 2].tolist() == [score[state] for state in made.state[0].tolist()]
        shot = each.shot
        told = [row[name] for name in ("pid", "camid", "role", "occlusion", "thing", "activity")]
        names = [
            str(name).lower() for name in (each.role, shot.occlusion.name, shot.thing.name, shot.stance.activity.name)
        ]
        assert told == [str(shot.pid), str(shot.camera + 1), *names]
        assert abs(float(row["covered"]) - float(made.covered[0])) <= 0.5001e-4
        boxes = [
            float(row[f"{box}_{edge}"]) for box in ("whole", "seen") for edge in ("left", "top", "right", "bottom")
        ]
        given = made.whole_box[0].tolist() + made.seen_box[0].tolist()
        assert all(abs(a - b) <= 0.0501 for a, b in zip(boxes, given, strict=True))
    assert {path.parts[0] for path in map(Path, worlds.files_of(whole_set))} == {
        *("bounding_box_train", "query", "bounding_box_test", "query_holistic", "query_partial"),
        *("parts", "keypoints.npz", "world.csv", "world.json"),
    }
    assert len(worlds.files_of(whole_set)) == 2 * TOTAL + 3


def test_labels_are_shown_in_colours_of_their_own(whole_set: Path) -> None:
    path = next((whole_set / "parts").rglob("*.png"))
    assert path.read_bytes()[24] == 8  # bits
    with Image.open(path) as picture:
        assert picture.mode == "P"
        shown = picture.convert("RGB").getcolors()
    assert shown is not None
    assert {colour for _, colour in shown} == set(PALETTE)


def test_pictures_are_compressed_as_their_camera_does(whole_set: Path) -> None:
    for each in planned()[40:70]:
        made = worlds.noise([each.shot], (32, 16))
        image = made.images[0, :, : made.rows[0]]
        file = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=CAMERAS[each.shot.camera].quality)
        assert (whole_set / each.name).read_bytes() == file.getvalue()


def test_the_card_says_what_was_asked_and_measured(whole_set: Path) -> None:
    card = json.loads((whole_set / "world.json").read_text())
    assert card["format"] == rendering.FORMAT
    assert card["setting"] == json.loads(json.dumps(vars(SETTING))) | {"backgrounds": "painted"}
    assert set(card["sharing"]) == {"build", "head", "upper", "lower", "shoes", "carried"}
    by_role = {role: [each.shot for each in planned() if each.role == role] for role in card["roles"]}
    counts = {role: {"people": len({s.pid for s in shots}), "images": len(shots)} for role, shots in by_role.items()}
    assert card["roles"] == counts
    assert sum(role["images"] for role in card["roles"].values()) == TOTAL
    rows = list(csv.DictReader(io.StringIO((whole_set / "world.csv").read_text())))
    hidden = [float(row["covered"]) for row in rows if row["occlusion"] != "holistic"]
    assert card["covered"] == pytest.approx(sum(hidden) / len(hidden), abs=1e-4)


def test_a_finished_set_is_left_as_it_is(whole_set: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole_set.rglob("*")}
    report = render(whole_set, studio=worlds.dying_studio)
    assert (report.rendered, report.out) == (0, whole_set)
    assert sum(images for _, images in report.roles.values()) == TOTAL
    assert {path: path.stat().st_mtime_ns for path in whole_set.rglob("*")} == before


def test_processes_write_the_same_bytes(whole_set: Path, tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    render(tmp_path / "out", workers=2, progress=lambda done, total: heard.append((done, total)))
    assert worlds.files_of(tmp_path / "out") == worlds.files_of(whole_set)
    assert heard[0] == (0, TOTAL)
    assert sorted(b - a for (a, _), (b, _) in itertools.pairwise(heard)) == [4, 32, 32, 32]
    assert heard[-1] == (TOTAL, TOTAL)


def test_batches_of_a_gpu_write_the_same_bytes(
    whole_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(painting, "_alone", lambda job, chunks: painting._on_gpu(job, chunks, 2))
    monkeypatch.setattr(painting, "ON_GPU", 3)
    render(tmp_path / "out")
    assert worlds.files_of(tmp_path / "out") == worlds.files_of(whole_set)


def test_another_seed_is_another_world(whole_set: Path, tmp_path: Path) -> None:
    render(tmp_path / "out", setting=dataclasses.replace(SETTING, seed=6, available=len(CAMERAS)))
    assert (tmp_path / "out/world.csv").read_bytes() != (whole_set / "world.csv").read_bytes()


def test_what_is_there_when_stopped_can_be_used_and_goes_on(whole_set: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        render(out, progress=worlds.interrupt_after(2))
    begun = worlds.files_of(out)
    table = begun["world.csv"].decode().splitlines()
    assert len(table) == 1 + 96  # the third chunk was finished too, when Ctrl-C came
    every = (whole_set / "world.csv").read_text().splitlines()
    assert table == [line for line in every if line in set(table)]
    names = [line.split(",")[0] for line in table[1:]]
    assert load_keypoints(out / "keypoints.npz").names == tuple(names)
    splits = read_set("world", out)
    assert min(map(len, splits.by_name.values())) > 0  # of everything something
    assert any("still to be rendered; run the same `halfseen world render` again" in note for note in splits.notes)
    assert all(sample.path.is_file() for samples in splits.by_name.values() for sample in samples)
    times = {name: (out / name).stat().st_mtime_ns for name in names}
    report = render(out)
    assert report.rendered == 4
    assert worlds.files_of(out) == worlds.files_of(whole_set)
    assert times == {name: (out / name).stat().st_mtime_ns for name in names}


def test_a_world_of_which_nothing_is_complete(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        render(tmp_path / "out", progress=worlds.interrupt_after(-1))
    for root in (tmp_path, tmp_path / "out"):
        with pytest.raises(InputError, match="no picture is complete yet; run the same `halfseen world render` again"):
            read_set("world", root)


def test_what_a_crash_left_behind_is_made_again(whole_set: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        render(out, progress=worlds.interrupt_after(2))
    (out / ".chunks/000000.json").write_bytes(b"")
    (out / ".chunks/000001.json").write_text("[]")
    (out / "query/.12345678.part").write_bytes(b"half a picture")
    assert render(out).rendered == 68
    assert worlds.files_of(out) == worlds.files_of(whole_set)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_said_and_what_is_there_stays(workers: int, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError) as caught, mock.patch("halfseen.painting.save_part_labels"):
        render(out, studio=worlds.full_studio, workers=workers)
    said = str(caught.value)
    assert "cannot be written (No space left on device); make room there; " in said
    assert said.endswith(f" of {TOTAL} pictures are complete, and the same command goes on from there")
    assert not list(out.rglob("*.part"))
    complete = int(said.rpartition("; ")[2].partition(" ")[0])
    assert complete in ((32,) if workers == 1 else (32, 36, 64, 68))
    assert len((out / "world.csv").read_text().splitlines()) == 1 + complete
    assert render(out).rendered == TOTAL - complete
    assert len(worlds.files_of(out)) == 2 * TOTAL + 3


def test_a_disk_without_room_for_the_table_keeps_its_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halfseen.rendering.save_keypoints", worlds.full_after(0))
    said = (
        rf"keypoints\.npz cannot be written \(No space left on device\); .*; {TOTAL} of {TOTAL} pictures are complete"
    )
    with pytest.raises(InputError, match=said):
        render(tmp_path / "out")
    monkeypatch.undo()
    with pytest.raises(InputError, match=rf"{TOTAL} pictures are complete and their table is not written yet; run the"):
        read_set("world", tmp_path / "out")
    assert render(tmp_path / "out", studio=worlds.dying_studio).rendered == 0
    assert len(worlds.files_of(tmp_path / "out")) == 2 * TOTAL + 3


def test_one_folder_is_rendered_by_one_process_at_a_time(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="Unix only")
    (out := tmp_path / "out").mkdir()
    with alone(out), pytest.raises(InputError, match=r"another process is writing into .*out; wait until it is done"):
        render(out)
    assert not list(out.iterdir())
    assert render(out).rendered == TOTAL


def test_a_table_with_rows_missing_is_never_said_to_be_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_two(*words: Any) -> list[Any]:
        return put_together(*words)[:-2]

    put_together = rendering._put_together
    monkeypatch.setattr(rendering, "_put_together", without_two)
    with pytest.raises(InputError, match=r"has lost what was known of 2 pictures; .*the same command goes on"):
        render(tmp_path / "out")
    assert "roles" not in json.loads((tmp_path / "out/world.json").read_text())
    monkeypatch.undo()
    assert render(tmp_path / "out").rendered == 0
    assert len((tmp_path / "out/world.csv").read_text().splitlines()) == 1 + TOTAL


def test_a_process_that_dies_is_said(tmp_path: Path) -> None:
    said = rf"a process ended before .* take fewer workers; 0 of {TOTAL} pictures are complete, and the same command"
    with pytest.raises(InputError, match=said):
        render(tmp_path / "out", studio=worlds.dying_studio, workers=2)


def alive(pid: str) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def start(out: Path) -> subprocess.Popen[str]:
    """A process with a process group of its own, like a command at a keyboard, that renders slowly with two workers."""
    code = (
        "import signal, sys, pathlib, worlds; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from halfseen.rendering import Job, render_set\n"
        "render_set(Job(pathlib.Path(sys.argv[1]), worlds.SETTING, studio=worlds.slow_studio), workers=2)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(out)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
def test_stopped_from_outside_no_process_stays(whole_set: Path, tmp_path: Path) -> None:
    ways = {name: tmp_path / name for name in ("SIGINT", "SIGTERM", "SIGKILL")}
    for folder in ways.values():
        folder.mkdir()
    running = {name: start(folder / "out") for name, folder in ways.items()}
    for name, folder in ways.items():
        while not list(folder.glob("out/.chunks/*.json")):
            assert running[name].poll() is None
            time.sleep(0.05)
        pids = [path.stem for path in folder.glob("*.pid")]
        assert pids
        if name == "SIGINT":
            os.killpg(running[name].pid, signal.SIGINT)
        else:
            running[name].send_signal(getattr(signal, name))
        _, err = running[name].communicate(timeout=300)
        assert re.findall(r"^\w+(?=:|$)|Traceback", err, re.MULTILINE) in ([], ["Traceback", "KeyboardInterrupt"])
        assert ("KeyboardInterrupt" in err) == (name != "SIGKILL")
        deadline = time.monotonic() + 60
        while any(map(alive, pids)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert (folder / "out/world.csv").exists() == (name != "SIGKILL")
        assert render(folder / "out").rendered < TOTAL
        assert worlds.files_of(folder / "out") == worlds.files_of(whole_set)


def test_another_world_in_the_same_folder_is_refused(whole_set: Path, tmp_path: Path) -> None:
    before = worlds.files_of(whole_set)
    other = dataclasses.replace(SETTING, seed=6, covered=(0.3, 0.5), available=len(CAMERAS))
    said = (
        r"out holds a world with seed 5 \(now 6\), covered \[0\.25, 0\.65\] \(now \[0\.3, 0\.5\]\); ask for the same a"
    )
    with pytest.raises(InputError, match=said):
        render(whole_set, setting=other)
    (tmp_path / "grass.jpg").write_bytes((whole_set / planned()[0].name).read_bytes())
    with pytest.raises(InputError, match=r"with backgrounds painted \(now 1 photos \([0-9a-f]{12}\)\); "):
        render_set(Job(whole_set, SETTING, photos_in(tmp_path), studio=worlds.studio))
    assert worlds.files_of(whole_set) == before


@pytest.mark.parametrize("card", ["", "{}", "[]", '{"setting": 1, "format": 1}'])
def test_a_card_that_says_nothing_is_refused(card: str, tmp_path: Path) -> None:
    (tmp_path / "world.json").write_text(card)
    with pytest.raises(InputError, match=r"world\.json does not say which world lies there; choose a new folder"):
        render(tmp_path)
    assert (tmp_path / "world.json").read_text() == card


def test_folders_that_hold_other_things_are_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_text("precious")
    with pytest.raises(
        InputError, match=r"holds other things \(holiday\.jpg\); choose a new folder, or empty this one"
    ):
        render(tmp_path)
    for out in (tmp_path / "holiday.jpg", tmp_path / "holiday.jpg/out", tmp_path / "a\0b"):
        with pytest.raises(InputError, match=r"cannot be made .*; choose a folder that is yours"):
            render(out)
    assert worlds.files_of(tmp_path) == {"holiday.jpg": b"precious"}


def test_folders_that_may_not_be_written_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "write_text", forbidden)
    with pytest.raises(
        InputError, match=r"world\.json cannot be written \(Permission denied\); choose a folder that ex"
    ):
        render(tmp_path / "out")
    monkeypatch.setattr(Path, "mkdir", forbidden)
    with pytest.raises(InputError, match=r"new cannot be made \(Permission denied\); choose a folder that is yours"):
        render(tmp_path / "new")


@pytest.mark.parametrize(
    ("device", "said"),
    [("gpu", "there is no rendering on 'gpu'"), ("meta", "no rendering on 'meta'"), ("cuda:64", "'cuda:64' is none")],
)
def test_devices_that_are_not_there_are_refused(device: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        render_set(Job(tmp_path / "out", SETTING, device=device))
    assert not (tmp_path / "out").exists()


def test_photos_are_taken_by_name_and_shrunk_to_a_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"holds no picture; put photos there \(\.jpg, "):
        photos_in(tmp_path)
    for name, size in (("b.png", (4000, 2000)), ("a.JPG", (30, 20)), ("c.png", (1000, 6000))):
        Image.new("RGB", size, (10, 200, 90)).save(tmp_path / name, "PNG")
    (tmp_path / "notes.txt").touch()
    photos = photos_in(tmp_path)
    assert [path.name for path in photos] == ["a.JPG", "b.png", "c.png"]
    given: list[object] = []
    monkeypatch.setattr(painting, "build", lambda *words: given.extend(words))
    painting.open_studio(Job(tmp_path, SETTING, photos, "cpu"))
    cameras, seed, height, pictures, device = given
    assert (cameras, seed, height, device) == (3, 5, 32, "cpu")
    assert isinstance(pictures, list)
    assert [tuple(photo.shape) for photo in pictures] == [(3, 20, 30), (3, 960, 1920), (3, 1920, 320)]
    assert all((photo == torch.tensor([10, 200, 90], dtype=torch.uint8)[:, None, None]).all() for photo in pictures)
    monkeypatch.setattr(rendering, "MOST_PHOTOS", 2)
    assert len(photos_in(tmp_path)) == 2
    (tmp_path / "a.JPG").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"a\.JPG is not a picture in a known format"):
        photos_in(tmp_path)


def test_chunks_hold_each_picture_once_and_each_a_bit_of_everything() -> None:
    setting = Setting(ids=16, images=16, cameras=4, sharing=0.2)  # 8 chunks, and roles that change every 8 pictures
    every = plan(setting, draw_people(16, 0, 0.2), CAMERAS)
    chunks = rendering._chunks(every)
    assert [chunk.number for chunk in chunks] == list(range(8))
    assert sorted(each.name for chunk in chunks for each in chunk.planned) == sorted(each.name for each in every)
    for chunk in chunks:
        assert len(chunk.planned) == 32
        assert len({each.role for each in chunk.planned}) >= 4
        assert len({each.shot.pid for each in chunk.planned}) >= 10


def test_rendered_people_are_the_same_bytes_from_any_number_of_workers(tmp_path: Path) -> None:
    setting = Setting(ids=5, images=8, cameras=2, height=32, width=16, sharing=0.4)
    for workers in (1, 2):
        render_set(Job(tmp_path / f"{workers}", setting), workers=workers)
    assert worlds.files_of(tmp_path / "1") == worlds.files_of(tmp_path / "2")
    splits = read_set("world", tmp_path / "1")
    assert check(splits, workers=1).faults == ()
    labels = [load_part_labels(tmp_path / "1/parts" / s.name.replace(".jpg", ".png")) for s in splits.train]
    assert all(0.02 < (part > 0).float().mean() < 0.9 for part in labels)


@pytest.mark.gpu
def test_a_gpu_renders_whole_sets(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    setting = Setting(ids=6, images=16, cameras=4, height=64, width=32, sharing=0.4)
    for device in ("cpu", "cuda"):
        assert render_set(Job(tmp_path / device, setting, device=device)).rendered == 96
    assert check(read_set("world", tmp_path / "cuda"), workers=1).faults == ()
    pairs = [
        (path, tmp_path / "cuda" / path.relative_to(tmp_path / "cpu")) for path in tmp_path.glob("cpu/parts/**/*.png")
    ]
    same = torch.tensor([(load_part_labels(a) == load_part_labels(b)).float().mean() for a, b in pairs])
    assert same.min() > 0.98
