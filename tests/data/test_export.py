"""Exported sets: the same samples and pixels, whole files only, and no folder taken that isn't ours."""

from __future__ import annotations

import csv
import errno
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch
from PIL import Image

from halfseen import __version__
from halfseen.data.export import export
from halfseen.data.files import alone
from halfseen.data.images import read_image, save_image
from halfseen.data.sets import read_set
from halfseen.data.variants import Picture, occluded, partial, read_sample
from halfseen.types import InputError, KeepTop, Occlusion, Paste, Sample, Splits

FORMATS = (".jpg", ".PNG", ".bmp", ".jpeg")
CAMERAS = {"train": {0}, "query": {0}, "gallery": {1}}  # of a manifest that names none
FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}


def write_split(root: Path, split: str, pids: list[int], camid: int = 1) -> tuple[Sample, ...]:
    """Small pictures of random colours, in several formats."""
    samples = []
    for i, pid in enumerate(pids):
        name = f"{split}/person {pid}/{i}{FORMATS[i % len(FORMATS)]}"
        dice = np.random.default_rng([pid, i, len(split)])
        pixels = dice.integers(0, 256, (24 + i, 12 + pid, 3), dtype=np.uint8)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / name)
        samples.append(Sample(root / name, name, pid, camid, Occlusion.UNKNOWN, 1.5 * i if i % 2 else None))
    return tuple(samples)


@pytest.fixture
def splits(tmp_path: Path) -> Splits:
    root = tmp_path / "set"
    train = write_split(root, "train", [11, 11, 12, 12, 13])
    query, gallery = write_split(root, "query", [1, 2, 3, 4], camid=2), write_split(root, "gallery", [1, 2, 3, 4, 0, 4])
    return Splits("toy", root, train, query, gallery)


@pytest.fixture
def edited(splits: Splits) -> Splits:
    return occluded(partial(splits), share={"query": 1.0, "train": 0.4})


def test_one_folder_is_exported_into_by_one_process_at_a_time(splits: Splits, tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="Unix only")
    (out := tmp_path / "out").mkdir()
    with alone(out), pytest.raises(InputError, match="another process is writing into"):
        export(splits, out)
    assert not list(out.iterdir())
    assert export(splits, out).exists()


def samples_of(splits: Splits) -> list[tuple[str, Sample]]:
    return [(split, sample) for split in FOLDERS for sample in getattr(splits, split)]


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def snapshot(out: Path) -> dict[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def test_the_export_reads_back_as_the_same_samples_and_pixels(edited: Splits, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert export(edited, out) == out / "manifest.csv"
    again = read_set("manifest", out)
    pairs = list(zip(samples_of(edited), samples_of(again), strict=True))
    assert len(pairs) == 15
    for (split, before), (split_after, after) in pairs:
        assert split == split_after
        assert (before.pid, before.camid, before.occlusion, before.time) == (
            after.pid,
            after.camid,
            after.occlusion,
            after.time,
        )
        assert torch.equal(read_sample(before).image, read_sample(after).image)
        assert not after.edits


def test_other_programs_find_market1501s_layout(edited: Splits, tmp_path: Path) -> None:
    export(edited, tmp_path / "out")
    again = read_set("market1501", tmp_path / "out")
    for split, folder in FOLDERS.items():
        before, after = getattr(edited, split), getattr(again, split)
        assert sorted((s.pid, s.camid) for s in before) == sorted((s.pid, s.camid) for s in after)
        assert all(s.name.startswith(f"{folder}/{s.pid:04d}_c{s.camid}_") for s in after)


def test_untouched_jpeg_and_png_are_copied_and_the_rest_becomes_png(splits: Splits, tmp_path: Path) -> None:
    export(splits, tmp_path / "out")
    suffixes = {".jpg": ".jpg", ".jpeg": ".jpg", ".PNG": ".png", ".bmp": ".png"}
    for (_, sample), row in zip(samples_of(splits), rows_of(tmp_path / "out"), strict=True):
        written = tmp_path / "out" / row["path"]
        assert written.suffix == suffixes[sample.path.suffix]
        assert (written.read_bytes() == sample.path.read_bytes()) == (sample.path.suffix != ".bmp")


def test_masks_and_manifest_say_exactly_what_is_hidden(edited: Splits, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(edited, out)
    with_mask = 0
    for (split, sample), row in zip(samples_of(edited), rows_of(out), strict=True):
        seen = read_sample(sample)
        mask = out / "masks" / Path(row["path"]).with_suffix(".png")
        assert mask.exists() == (seen.hidden is not None)
        assert row["split"] == split
        assert row["occluder"] == seen.occluder.name.lower()
        assert row["original"] == sample.name
        covered = 0.0
        if seen.hidden is not None:
            with_mask += 1
            covered = float(seen.hidden.float().mean())
            with Image.open(mask) as file:
                assert file.mode == "1"
                assert np.array_equal(np.asarray(file), seen.hidden.numpy())
        assert float(row["covered"]) == pytest.approx(covered, abs=1e-4)
        heights = seen.image.shape[1], read_image(sample.path).shape[1]
        assert heights[0] == int(heights[1] * float(row["kept"]) + 0.02)
    assert with_mask == 4 + 2
    assert {row["kept"] for row in rows_of(out)} == {"1", "0.5", "0.3333"}


def test_the_card_says_what_was_exported(edited: Splits, tmp_path: Path) -> None:
    export(replace(edited, name="toy+partial@7+occluded@-2"), tmp_path / "out")
    card = json.loads((tmp_path / "out" / "export.json").read_text())
    assert card["set"] == "toy"
    assert card["variants"] == [{"rule": "partial", "seed": 7}, {"rule": "occluded", "seed": -2}]
    assert card["counts"] == {"train": 5, "query": 4, "gallery": 6}
    assert card["halfseen"] == __version__


def test_without_cameras_query_and_gallery_are_two(splits: Splits, tmp_path: Path) -> None:
    export(replace(splits, has_cameras=False), tmp_path / "out")
    cameras = {(row["split"], row["path"].split("_")[-2]) for row in rows_of(tmp_path / "out")}
    assert cameras == {("train", "c1"), ("query", "c0"), ("gallery", "c1")}


@pytest.mark.parametrize("has_cameras", [True, False])
def test_the_manifest_has_cameras_where_the_set_has(has_cameras: bool, splits: Splits, tmp_path: Path) -> None:
    export(replace(splits, has_cameras=has_cameras), tmp_path / "out")
    again = read_set("manifest", tmp_path / "out")
    assert again.has_cameras == has_cameras
    assert again.notes == ()
    camids = {split: {sample.camid for sample in samples} for split, samples in again.by_name.items()}
    assert camids == ({"train": {1}, "query": {2}, "gallery": {1}} if has_cameras else CAMERAS)
    pairs = list(zip(samples_of(splits), samples_of(again), strict=True))
    assert [(s, a.pid, a.time, a.occlusion) for (s, a), _ in pairs] == [
        (s, a.pid, a.time, a.occlusion) for _, (s, a) in pairs
    ]


def test_junk_keeps_its_number(splits: Splits, tmp_path: Path) -> None:
    junk = replace(splits.gallery[0], pid=-1)
    export(replace(splits, gallery=(junk,)), tmp_path / "out")
    assert rows_of(tmp_path / "out")[-1]["path"] == "bounding_box_test/-1_c1_000001.jpg"


def test_a_source_outside_of_the_set_is_named_without_its_folders(edited: Splits, tmp_path: Path) -> None:
    export(replace(edited, root=tmp_path / "elsewhere"), tmp_path / "out")
    for row in rows_of(tmp_path / "out"):
        if row["occluder"] != "none":
            with Image.open(tmp_path / "out" / row["path"]) as file:
                assert f"paste {row['occluder']} from" in file.info["Comment"]
                assert str(tmp_path) not in file.info["Comment"]


def test_progress_counts_every_picture(edited: Splits, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    export(edited, tmp_path / "out", workers=3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 15) for i in range(1, 16)]


# --- Stopped and resumed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masks", [True, False])
def test_what_is_finished_is_left_alone_and_what_is_not_is_made_again(
    edited: Splits, tmp_path: Path, masks: bool
) -> None:
    out = tmp_path / "out"
    export(edited, out, masks=masks)
    first = snapshot(out)
    assert any(name.startswith("masks/") for name in first) == masks
    pngs = [out / row["path"] for row in rows_of(out) if row["occluder"] != "none"]
    jpgs = [out / row["path"] for row in rows_of(out) if row["path"].endswith(".jpg")]
    gone, cut, changed, short = pngs[0], pngs[1], pngs[2], jpgs[0]
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-3])
    Image.new("RGB", (4, 4)).save(changed)
    short.write_bytes(short.read_bytes()[:-1])
    spoilt = {gone, cut, changed, short}
    if masks:
        (out / "masks" / pngs[3].relative_to(out)).unlink()
        spoilt.add(pngs[3])
    (out / "query" / ".0011aabb.part").write_bytes(b"half")
    times = {
        row["path"]: (out / row["path"]).stat().st_mtime_ns for row in rows_of(out) if out / row["path"] not in spoilt
    }
    export(edited, out, masks=masks)
    assert snapshot(out) == first
    assert times == {name: (out / name).stat().st_mtime_ns for name in times}


def test_an_original_that_became_another_is_exported_anew(splits: Splits, tmp_path: Path) -> None:
    edited, out = occluded(splits, share={"query": 1.0}), tmp_path / "out"
    export(edited, out)
    copied = next(sample for sample in edited.train if sample.path.suffix == ".jpg")
    copied.path.write_bytes(copied.path.read_bytes().replace(b"JFIF", b"JFIX"))  # as large as it was
    Image.new("RGB", (40, 80)).save(edited.query[0].path, "PNG")
    pasted = next(edit for edit in edited.query[1].edits if isinstance(edit, Paste)).source
    Image.new("RGB", (40, 80), "red").save(pasted, "PNG")
    export(edited, out)
    again, fresh = snapshot(out), tmp_path / "fresh"
    export(edited, fresh)
    assert again == snapshot(fresh)


def test_stopping_leaves_whole_files_only(edited: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    export(edited, whole)

    def slowly(sample: Sample) -> Picture:  # so that the stop comes before the end
        time.sleep(0.03)
        return read_sample(sample)

    monkeypatch.setattr("halfseen.data.export.read_sample", slowly)

    def stop(done: int, _total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(edited, out, workers=1, progress=stop)
    left, complete = snapshot(out), snapshot(whole)
    folders = [name.partition("/")[0] for name in left]
    assert 3 <= sum(folder in FOLDERS.values() for folder in folders) < 10  # of 15
    assert "manifest.csv" not in left
    assert left.items() <= complete.items()
    export(edited, out)
    assert snapshot(out) == complete


def test_a_damaged_picture_is_named_and_stops_the_export(splits: Splits, tmp_path: Path) -> None:
    splits.query[0].path.write_bytes(splits.query[0].path.read_bytes()[:200])
    with pytest.raises(InputError, match="person 1"):
        export(splits, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.csv").exists()


def test_a_full_disk_is_one_sentence(splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path, _data: bytes) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="No space left on device"):
        export(splits, tmp_path / "out")


# --- Refusals -------------------------------------------------------------------------------------------------------


def test_another_set_another_seed_or_a_change_of_a_label_is_refused(splits: Splits, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(partial(splits), out)
    before = snapshot(out)
    relabelled = replace(splits, train=tuple(replace(s, occlusion=Occlusion.NPO) for s in splits.train))
    for other in (splits, partial(splits, 1), occluded(splits), partial(relabelled)):
        with pytest.raises(InputError, match="export of something else"):
            export(other, out)
    with pytest.raises(InputError, match="export of something else"):
        export(partial(splits), out, masks=False)
    assert snapshot(out) == before


def test_a_folder_with_anything_in_it_is_refused_and_left_alone(splits: Splits, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="is not empty"):
        export(splits, out)
    assert snapshot(out) == {"thesis.txt": b"precious"}


def test_the_sets_own_folder_is_refused(splits: Splits, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(splits.root)
    before = snapshot(splits.root)
    for out in (splits.root, splits.root / "new", splits.root / "train" / ".." / "new", tmp_path / "link"):
        with pytest.raises(InputError, match="folder of the set itself"):
            export(splits, out)
    assert snapshot(splits.root) == before


FILE = "file.txt is a file; choose another name, of a folder to export into$"
PLACES = {"file.txt": FILE, **dict.fromkeys(("file.txt/out", "a\0b", "x" * 300), "choose another folder")}


@pytest.mark.parametrize("name", PLACES)
def test_impossible_places_are_refused(splits: Splits, tmp_path: Path, name: str) -> None:
    (tmp_path / "file.txt").write_text("a file")
    with pytest.raises(InputError, match=PLACES[name]):
        export(splits, f"{tmp_path}/{name}")
    assert (tmp_path / "file.txt").read_text() == "a file"


@pytest.mark.parametrize("facts", [{"pid": 12345678901}, {"camid": -1}, {"pid": -1234567890}, {"camid": 10**9}])
def test_names_that_no_reader_takes_are_refused(splits: Splits, tmp_path: Path, facts: dict[str, int]) -> None:
    bad = replace(splits.query[1], **facts)  # type: ignore[arg-type]  # two numbers
    said = rf"^query query/person 2/1\.PNG shows person {bad.pid} by camera {bad.camid}, and .*; number people and cam"
    with pytest.raises(InputError, match=said):
        export(replace(splits, query=(splits.query[0], bad, bad)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_read_only_place_is_refused(splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_args: object, **_kwargs: object) -> NoReturn:  # chmod does not stop root, who may run the tests
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", forbidden)
    with pytest.raises(InputError, match="Permission denied"):
        export(splits, tmp_path / "out")


def test_impossible_wishes(splits: Splits, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'duke'"):
        export(splits, tmp_path / "out", layout="duke")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^0 workers cannot write anything; give 1 or more"):
        export(splits, tmp_path / "out", workers=0)
    with pytest.raises(InputError, match="no pictures"):
        export(replace(splits, train=(), query=(), gallery=()), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_of_what_is_cut_twice_the_product_is_kept(tmp_path: Path) -> None:
    (root := tmp_path / "set").mkdir()
    save_image(root / "a.png", torch.zeros(3, 48, 12, dtype=torch.uint8))
    sample = Sample(root / "a.png", "a.png", 1, 1, edits=(KeepTop(2), KeepTop(3)))
    manifest = export(Splits("toy", root, (), (sample,), (sample,)), tmp_path / "out")
    with manifest.open(newline="") as file:
        assert {row["kept"] for row in csv.DictReader(file)} == {"0.1667"}
