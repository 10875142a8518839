"""The readers of data sets, on fake trees of a few pictures, and on the real ones where they are at hand."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from halfseen.data.sets import SETS, doubt, find_set, left_out, read_set, set_names
from halfseen.types import Occlusion, Sample

Plant = Callable[[Iterable[str]], Path]
Grow = Callable[[str], Path]

SPLITS = ("train", "query", "gallery")
DUKE = (
    "bounding_box_train/0001_c2_f0046182.jpg",
    "query/0005_c1_f0046302.jpg",
    "bounding_box_test/0005_c2_f0046422.jpg",
    "bounding_box_test/0007_c8_f0046422.jpg",
)
TREES: dict[str, tuple[str, ...]] = {
    "market1501": (
        "bounding_box_train/0002_c1s1_000451_03.jpg",
        "bounding_box_train/0002_c3s1_000551_01.JPEG",
        "query/0003_c1s6_015996_00.jpg",
        "bounding_box_test/-1_c1s1_000401_03.jpg",
        "bounding_box_test/0000_c6s1_000151_02.jpg",
        "bounding_box_test/0003_c4s6_015996_00.Jpg",
    ),
    "dukemtmc": DUKE,
    "occluded-duke": DUKE,
    "re-occluded-duke": (*DUKE, "new_query.txt", "new_gallery.txt"),
    "p-dukemtmc": (
        "train/occluded_body_images/0011/0011_a.jpg",
        "train/whole_body_images/0011/0011_b.jpg",
        "test/occluded_body_images/0012/0012_a.jpg",
        "test/whole_body_images/0012/0012_b.jpg",
    ),
    "occluded-reid": ("occluded_body_images/001/001_01.tif", "whole_body_images/001/001_02.TIF"),
    "partial-reid": (
        "partial_body_images/001_001.jpg",
        "occluded_body_images/001_002.jpg",
        "whole_body_images/001_003.jpg",
    ),
    "partial-ilids": ("Probe/17.jpg", "Gallery/17.bmp"),
    "cuhk03-np": (
        "detected/bounding_box_train/0001_c1_22.png",
        "detected/query/0001_c2_22.png",
        "detected/bounding_box_test/0003_c2_22.png",
        "labeled/bounding_box_train/0002_c1_22.png",
        "labeled/query/0004_c1_22.png",
        "labeled/bounding_box_test/0004_c2_22.png",
    ),
    "msmt17": (
        "train/0000/0000_000_01_0303morning_0015_0.jpg",
        "train/0001/0001_000_15_0303morning_0015_0.jpg",
        "test/0000/0000_000_05_0303noon_0015_0.jpg",
        "test/0000/0000_001_06_0303noon_0015_0.jpg",
        "list_train.txt",
        "list_val.txt",
        "list_query.txt",
        "list_gallery.txt",
    ),
}
FACTS: dict[str, tuple[list[tuple[int, int]], ...]] = {  # (pid, camid) of train, query, gallery
    "market1501": ([(2, 1), (2, 3)], [(3, 1)], [(0, 6), (3, 4)]),
    "dukemtmc": ([(1, 2)], [(5, 1)], [(5, 2), (7, 8)]),
    "occluded-duke": ([(1, 2)], [(5, 1)], [(5, 2), (7, 8)]),
    "re-occluded-duke": ([(1, 2)], [(7, 8)], [(5, 2), (5, 1)]),
    "p-dukemtmc": ([(11, 0), (11, 0)], [(12, 0)], [(12, 1)]),
    "occluded-reid": ([], [(1, 0)], [(1, 1)]),
    "partial-reid": ([], [(1, 0)], [(1, 1)]),
    "partial-reid:occluded": ([], [(1, 0)], [(1, 1)]),
    "partial-ilids": ([], [(17, 0)], [(17, 1)]),
    "cuhk03-np": ([(1, 1)], [(1, 2)], [(3, 2)]),
    "cuhk03-np:labeled": ([(2, 1)], [(4, 1)], [(4, 2)]),
    "msmt17": ([(0, 1), (1, 15)], [(0, 5)], [(0, 6)]),
}
PUBLISHED = {
    "market1501": ((751, 12_936), (750, 3_368), (750, 15_913)),
    "dukemtmc": ((702, 16_522), (702, 2_228), (1_110, 17_661)),
    "occluded-duke": ((702, 15_618), (519, 2_210), (1_110, 17_661)),
    "re-occluded-duke": ((702, 15_618), (517, 2_538), (1_110, 18_001)),
    "occluded-reid": (None, (200, 1_000), (200, 1_000)),
    "partial-reid": (None, (60, 300), (60, 300)),
    "partial-reid:occluded": (None, (60, 300), (60, 300)),
    "partial-ilids": (None, (119, 119), (119, 119)),
    "cuhk03-np": ((767, 7_365), (700, 1_400), (700, 5_332)),
    "cuhk03-np:labeled": ((767, 7_368), (700, 1_400), (700, 5_328)),
    "msmt17": ((1_041, 32_621), (3_060, 11_659), (3_060, 82_161)),
}


def facts(samples: tuple[Sample, ...]) -> list[tuple[int, int]]:
    return [(sample.pid, sample.camid) for sample in samples]


@pytest.fixture
def grow(plant: Plant) -> Grow:
    """The fake tree of a set, its lists filled in."""

    def make(name: str) -> Path:
        root = plant(TREES[name.partition(":")[0]])
        if name == "msmt17":
            (root / "list_train.txt").write_text("0000/0000_000_01_0303morning_0015_0.jpg 0\n")
            (root / "list_val.txt").write_text("0001/0001_000_15_0303morning_0015_0.jpg 1\r\n\n")
            (root / "list_query.txt").write_text("\ufeff0000/0000_000_05_0303noon_0015_0.jpg 0", "utf-8")
            (root / "list_gallery.txt").write_text("0000/0000_001_06_0303noon_0015_0.jpg 0\n")
        if name == "re-occluded-duke":
            (root / "new_query.txt").write_text("bounding_box_test/0007_c8_f0046422.jpg\n")
            (root / "new_gallery.txt").write_text(f"{DUKE[2]},2\n{DUKE[1]},1\n")
        return root

    return make


@pytest.mark.parametrize("name", FACTS)
def test_reads_identities_and_cameras(name: str, grow: Grow) -> None:
    root = grow(name)
    splits = read_set(name, root)
    assert (facts(splits.train), facts(splits.query), facts(splits.gallery)) == FACTS[name]
    assert splits.name == name
    assert splits.root == (root / (name.partition(":")[2] or "detected") if "cuhk" in name else root)
    for sample in splits.train + splits.query + splits.gallery:
        assert sample.path == splits.root / sample.name
        assert sample.path.is_file()
    assert splits.has_cameras == (find_set(name)[0].cameras is not None)


def test_expects_the_published_counts() -> None:
    ours = {name for name in set_names() if name.split(":")[0] in ("world", "street", "manifest")}
    assert set(set_names()) == {*FACTS, *ours}
    for name in FACTS:
        dataset, variant = find_set(name)
        expected = tuple(dataset.expected[variant].get(split) for split in SPLITS)
        assert expected == PUBLISHED.get(name, (None, None, None))


@pytest.mark.parametrize("name", PUBLISHED)
def test_says_how_the_counts_differ(name: str, grow: Grow) -> None:
    splits = read_set(name, grow(name))
    notes = [note for note in splits.notes if "labelled" not in note]
    assert len(notes) == sum(counts is not None for counts in PUBLISHED[name])
    for split, counts in zip(SPLITS, PUBLISHED[name], strict=True):
        if counts:
            pids = [pid for pid, _ in FACTS[name][SPLITS.index(split)]]
            people = len({*pids} - ({0} if name == "market1501" else set()))
            assert (
                f"{split}: found {people} people in {len(pids)} images, "
                f"expected {counts[0]:,} in {counts[1]:,}; is the copy complete?"
            ) in notes


def test_full_counts_make_no_note(grow: Grow, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"": {"train": (1, 2), "query": (1, 1), "gallery": (1, 2)}}  # pid 0 is nobody
    monkeypatch.setitem(SETS, "market1501", replace(SETS["market1501"], expected=counts))
    assert read_set("market1501", grow("market1501")).notes == ()
    assert read_set("p-dukemtmc", grow("p-dukemtmc")).notes == ()  # none are published


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_that_are_all_wrong_raise_a_doubt(name: str, grow: Grow) -> None:
    splits = read_set(name, grow(name))
    title = SETS[name.partition(":")[0]].title
    said = f"no split has the published counts of {title}; is {splits.root} another data set?"
    assert doubt(splits) == said


@pytest.mark.parametrize("split", SPLITS)
def test_one_split_with_the_published_counts_ends_the_doubt(
    split: str, grow: Grow, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = read_set("market1501", grow("market1501"))
    counts = dict.fromkeys(SPLITS, (99, 999)) | {split: (1, len(getattr(splits, split)))}
    market = SETS["market1501"]
    monkeypatch.setitem(SETS, "market1501", replace(market, expected={"": counts}))
    assert doubt(splits) is None
    monkeypatch.setitem(SETS, "market1501", replace(market, expected={"": counts | {split: (99, 999)}}))
    assert doubt(splits) is not None


def test_where_no_counts_are_published_there_is_no_doubt(grow: Grow) -> None:
    assert doubt(read_set("p-dukemtmc", grow("p-dukemtmc"))) is None


@pytest.mark.parametrize("name", ["p-dukemtmc", "dukemtmc"])
def test_empty_split_is_reported(name: str, grow: Grow) -> None:
    root = grow(name)
    query = DUKE[1] if name == "dukemtmc" else "test/occluded_body_images/0012/0012_a.jpg"
    (root / query).unlink()
    notes = [note for note in read_set(name, root).notes if note.startswith("query: ")]
    assert len(notes) == 1
    assert notes[0].startswith("query: found 0 people in 0 images" if name == "dukemtmc" else "query: found no images")


def test_junk_is_left_out_and_distractors_stay(grow: Grow) -> None:
    gallery = read_set("market1501", grow("market1501")).gallery
    assert [s.name for s in gallery] == [
        "bounding_box_test/0000_c6s1_000151_02.jpg",
        "bounding_box_test/0003_c4s6_015996_00.Jpg",
    ]


def test_notes_of_withdrawn_sets_say_so() -> None:
    for name in ("dukemtmc", "occluded-duke", "re-occluded-duke", "p-dukemtmc"):
        assert "withdrawn by its authors; halfseen reads a copy that you hold and links to none" in SETS[name].note


@pytest.mark.parametrize("prefix", ["", "./", "/somebody/else/", "{root}/", "Occluded_Duke/", "C:\\data\\"])
def test_re_occluded_duke_finds_what_its_lists_mean(prefix: str, grow: Grow) -> None:
    root = grow("re-occluded-duke")
    prefix = prefix.replace("{root}", str(root))
    (root / "new_query.txt").write_text(f"{prefix}query/0005_c1_f0046302.jpg\n")
    (root / "new_gallery.txt").write_text(f"{prefix}{DUKE[2]} , 3\n{prefix}0007_c8_f0046422.jpg,0\n")
    splits = read_set("re-occluded-duke", root)
    assert [s.name for s in splits.query] == ["query/0005_c1_f0046302.jpg"]
    assert [(s.name, s.occlusion) for s in splits.gallery] == [
        (DUKE[2], Occlusion.HOLISTIC),
        (DUKE[3], Occlusion.UNKNOWN),
    ]
    assert all(s.path.is_file() for s in splits.query + splits.gallery)


def test_re_occluded_duke_labels_and_their_counts(grow: Grow) -> None:
    splits = read_set("re-occluded-duke", grow("re-occluded-duke"))
    assert [s.occlusion for s in splits.gallery] == [Occlusion.NPO, Occlusion.NTP]
    assert [note for note in splits.notes if "labelled" in note] == [
        "gallery: found 0 images labelled unknown, expected 6,252",
        "gallery: found 1 images labelled ntp, expected 1,992",
        "gallery: found 1 images labelled npo, expected 1,587",
        "gallery: found 0 images labelled holistic, expected 8,170",
    ]


def test_re_occluded_duke_with_a_list_that_lies_elsewhere_and_lines_that_mean_nothing(grow: Grow) -> None:
    root = grow("re-occluded-duke")
    (root / "extra").mkdir()
    (root / "extra/0009_c3_f1.jpg").write_bytes((root / DUKE[1]).read_bytes())
    (root / "new_query.txt").write_text("extra/0009_c3_f1.jpg\nquery/0010_c1_f2.jpg\nquery/nobody.jpg\n")
    (root / "new_gallery.txt").write_text(f"{DUKE[2]},4\n{DUKE[3]}\n{DUKE[2]},1\n{DUKE[2]},2\n")
    splits = read_set("re-occluded-duke", root)
    assert [(s.name, s.pid) for s in splits.query] == [("extra/0009_c3_f1.jpg", 9), ("query/0010_c1_f2.jpg", 10)]
    assert [s.name for s in splits.gallery] == [DUKE[2]]
    assert any(n.startswith("query: 1 image names") and "'query/nobody.jpg'" in n for n in left_out(splits))
    assert [s.occlusion for s in splits.gallery] == [Occlusion.NTP]
    allowed = "write a comma and one of 0 (unknown), 1 (ntp), 2 (npo), 3 (holistic) behind the path"
    whys = (
        f"its label is '4'; {allowed}",
        f"it has no label; {allowed}",
        "named before, as ntp, which counts; remove one",
    )
    lines = [f"new_gallery.txt: {line}" for line in (f"{DUKE[2]},4", DUKE[3], f"{DUKE[2]},2")]
    assert [some for some in splits.left_out if some[0] == "gallery"] == [
        ("gallery", line, why) for line, why in zip(lines, whys, strict=True)
    ]
    told = ", ".join(f"{line!r} ({why})" for line, why in zip(lines, whys, strict=True))
    assert f"gallery: 3 lines of its list were left out: {told}" in left_out(splits)


def test_msmt17_second_release_and_lines_that_mean_nothing(grow: Grow) -> None:
    root = grow("msmt17")
    (root / "train").rename(root / "mask_train_v2")
    (root / "test").rename(root / "mask_test_v2")
    (root / "list_val.txt").write_text("0001/0001_000.jpg 1\n0001/0001_000_15_x.jpg\n0001/a b_000_15_x.jpg 1\n")
    splits = read_set("msmt17", root)
    assert [s.name for s in splits.train] == [
        "mask_train_v2/0000/0000_000_01_0303morning_0015_0.jpg",
        "mask_train_v2/0001/a b_000_15_x.jpg",
    ]
    assert any(
        note.startswith("train: 2 image names") and "list_val.txt: 0001/0001_000.jpg 1" in note
        for note in left_out(splits)
    )


def test_partial_ilids_in_its_other_layout(plant: Plant) -> None:
    root = plant(["partial_body_images/002.png", "whole_body_images/002.png", "whole_body_images/3_1.png"])
    splits = read_set("partial-ilids", root)
    assert (facts(splits.query), facts(splits.gallery)) == ([(2, 0)], [(2, 1)])


def test_a_folder_names_the_person_where_the_file_does_not(plant: Plant) -> None:
    root = plant(
        [
            "occluded_body_images/007/a_1.png",
            "occluded_body_images/008/12.png",  # no `_`: 12 is the picture's number
            "occluded_body_images/nobody/x.png",
            "whole_body_images/007/3_1.png",
        ]
    )
    splits = read_set("occluded-reid", root)
    assert (facts(splits.query), facts(splits.gallery)) == ([(7, 0), (8, 0)], [(3, 1)])
    assert any(
        n.startswith("query: 1 image names") and "'occluded_body_images/nobody/x.png'" in n for n in left_out(splits)
    )


@pytest.mark.data
@pytest.mark.parametrize("name", ["cuhk03-np", "partial-reid", "partial-reid:occluded"])
def test_real_sets_have_the_published_counts(name: str) -> None:
    root = os.environ.get("HALFSEEN_DATA")
    if not root:
        pytest.skip("HALFSEEN_DATA is not set: it names the folder that holds cuhk03-np and partial-reid")
    splits = read_set(name, root)
    assert splits.notes == ()
    for split, counts in zip(SPLITS, PUBLISHED[name], strict=True):
        samples: tuple[Sample, ...] = getattr(splits, split)
        assert (len({s.pid for s in samples}), len(samples)) == (counts or (0, 0))
