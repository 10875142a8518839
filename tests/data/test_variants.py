"""Variants of a set: who gets which edit, and what `read_sample` makes of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from halfseen.data.images import save_image
from halfseen.data.occluders import KINDS, paste
from halfseen.data.sets import read_set
from halfseen.data.variants import bank, occluded, partial, read_sample, twins
from halfseen.types import InputError, KeepTop, Occluder, Occlusion, Paste, Sample, Splits

ROOT = Path("set")


def people(split: str, pids: Sequence[int]) -> tuple[Sample, ...]:
    names = [f"{split}/{pid:04d}_c1_{i}.png" for i, pid in enumerate(pids)]
    return tuple(Sample(ROOT / name, name, pid, 1) for name, pid in zip(names, pids, strict=True))


def a_set(train: int, query: int, gallery: int) -> Splits:
    """Splits of that many samples; ten training people, and four others in query and gallery."""
    rows = range(max(train, query, gallery))
    return Splits(
        name="toy",
        root=ROOT,
        train=people("train", [100 + i % 10 for i in rows][:train]),
        query=people("query", [i % 4 for i in rows][:query]),
        gallery=people("gallery", [i % 4 for i in rows][:gallery]),
    )


def noise(height: int, width: int, seed: int = 0) -> Tensor:
    """uint8 [3,height,width] of random colours."""
    dice = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=dice, dtype=torch.uint8)


def picture(folder: Path, name: str, image: Tensor) -> Sample:
    """Save `image` uint8 [3,H,W] as a sample of person 1."""
    save_image(folder / name, image)
    return Sample(folder / name, name, 1, 1)


def parts_of(samples: Sequence[Sample]) -> Counter[int]:
    """How many samples keep all (1), a half (2), a third (3)."""
    return Counter(e.parts for s in samples for e in s.edits or (KeepTop(1),) if isinstance(e, KeepTop))


def pastes(samples: Sequence[Sample]) -> list[Paste]:
    """The one paste of each occluded sample."""
    return [e for s in samples for e in s.edits if isinstance(e, Paste)]


# --- Partial-X ------------------------------------------------------------------------------------------------------


def test_D1_exactly_a_quarter_a_quarter_and_a_half_of_each_split() -> None:
    made = partial(a_set(40, 12, 64))
    assert parts_of(made.train) == {1: 20, 2: 10, 3: 10}
    assert parts_of(made.query) == {1: 6, 2: 3, 3: 3}
    assert parts_of(made.gallery) == {1: 32, 2: 16, 3: 16}


@given(st.integers(0, 60))
@settings(deadline=None, max_examples=61)
def test_D1_counts_that_four_does_not_divide(n: int) -> None:
    counts = parts_of(partial(a_set(n, 0, 0)).train)
    assert counts.total() == n
    assert counts[2] == n // 4
    assert counts[2] + counts[3] == n // 2


def test_D1_the_rule_is_sha256_of_seed_and_name() -> None:
    samples = partial(a_set(10, 0, 0), seed=7).train
    ranked = sorted(samples, key=lambda s: sha256(b"7" + s.name.encode()).hexdigest())
    assert [e.parts for s in ranked for e in s.edits if isinstance(e, KeepTop)] == [2, 2, 3, 3, 3]
    assert all(not s.edits for s in ranked[5:])


def test_D1_reproducible_whatever_the_order_and_another_seed_is_another_set() -> None:
    splits = a_set(40, 12, 64)
    made = partial(splits)
    assert partial(splits) == made
    assert set(partial(replace(splits, train=splits.train[::-1])).train) == set(made.train)
    assert [s.name for s in made.train] == [s.name for s in splits.train]
    assert partial(splits, seed=1).train != made.train
    assert (made.name, partial(splits, seed=1).name) == ("toy+partial", "toy+partial@1")


@given(st.integers(3, 50), st.integers(1, 20))
@settings(deadline=None, max_examples=30)
def test_D1_crop_heights(tmp_path_factory: pytest.TempPathFactory, H: int, W: int) -> None:
    image = noise(H, W)
    sample = picture(tmp_path_factory.mktemp("set"), "a.png", image)
    for parts in (2, 3):
        cut = read_sample(replace(sample, edits=(KeepTop(parts),)))
        assert torch.equal(cut.image, image[:, : H // parts])
        assert cut.hidden is None
        assert cut.occluder is Occluder.NONE


def test_a_cut_picture_has_no_known_occlusion() -> None:
    splits = a_set(8, 0, 0)
    splits = replace(splits, train=tuple(replace(s, occlusion=Occlusion.HOLISTIC) for s in splits.train))
    for sample in partial(splits).train:
        assert sample.occlusion is (Occlusion.UNKNOWN if sample.edits else Occlusion.HOLISTIC)


def test_names_that_are_not_unicode_are_no_trouble() -> None:
    name = os.fsdecode(b"train/\xff.png")
    splits = Splits("toy", ROOT, tuple(Sample(ROOT / name, name, pid, 1) for pid in range(4)), (), ())
    assert parts_of(partial(splits).train) == {1: 2, 2: 1, 3: 1}
    assert len(pastes(occluded(splits, share={"train": 1}).train)) == 4


# --- Occluded-X -----------------------------------------------------------------------------------------------------


def test_all_queries_are_occluded_and_nothing_else() -> None:
    splits = a_set(20, 50, 30)
    made = occluded(splits)
    assert len(pastes(made.query)) == 50
    assert made.train == tuple(replace(s, occlusion=Occlusion.HOLISTIC) for s in splits.train)
    assert made.gallery == tuple(replace(s, occlusion=Occlusion.HOLISTIC) for s in splits.gallery)
    assert made.name == "toy+occluded"
    assert "query: 50 of 50 occluded" in made.notes[-1]


def test_pedestrians_are_ntp_and_things_npo() -> None:
    made = occluded(a_set(20, 60, 0))
    for sample, edit in zip(made.query, pastes(made.query), strict=True):
        assert sample.occlusion is (Occlusion.NTP if edit.kind is Occluder.PEDESTRIAN else Occlusion.NPO)


def test_kinds_and_sources_are_drawn_evenly_and_kinds_can_be_chosen() -> None:
    made = occluded(a_set(20, 1000, 0))
    assert {edit.source for edit in pastes(made.query)} == {s.path for s in made.train}
    counts = Counter(edit.kind for edit in pastes(made.query))
    assert set(counts) == set(KINDS)
    assert all(150 < n < 250 for n in counts.values())
    only = (Occluder.WIDE_TOP, Occluder.PEDESTRIAN)
    assert {edit.kind for edit in pastes(occluded(a_set(20, 50, 0), kinds=only).query)} == set(only)


def test_a_share_of_each_split() -> None:
    made = occluded(a_set(29, 10, 15), share={"train": 0.1, "query": 1.0, "gallery": 0.3})
    assert [len(pastes(s)) for s in (made.train, made.query, made.gallery)] == [3, 10, 4]
    assert pastes(occluded(a_set(29, 10, 15), share={}).query) == []


def test_untouched_labels_stay_where_they_are_known_or_where_nobody_vouches() -> None:
    splits = a_set(4, 4, 4)
    splits = replace(splits, gallery=tuple(replace(s, occlusion=Occlusion.NTP) for s in splits.gallery))
    assert occluded(splits).gallery == splits.gallery
    assert occluded(splits, holistic=False).train == splits.train


def test_what_is_cut_off_is_not_holistic() -> None:
    cut = partial(a_set(20, 4, 4))
    for sample in occluded(cut, share={}).train:
        assert sample.occlusion is (Occlusion.UNKNOWN if sample.edits else Occlusion.HOLISTIC)


@pytest.mark.parametrize("splits", [a_set(20, 40, 10), a_set(0, 40, 10)])
def test_sources_are_training_or_else_gallery_pictures_of_other_people(splits: Splits) -> None:
    pid_of = {s.path: s.pid for s in splits.train or splits.gallery}
    made = occluded(splits, share=dict.fromkeys(("train", "query", "gallery"), 1.0))
    for sample in (*made.train, *made.query, *made.gallery):
        (edit,) = pastes([sample])
        assert pid_of[edit.source] != sample.pid


def test_a_set_with_one_person_only_is_refused() -> None:
    one = people("gallery", [5, 5, 5])
    with pytest.raises(InputError, match="nobody but identity 5"):
        occluded(Splits("one", ROOT, (), one, one))
    with pytest.raises(InputError, match="0 pictures of the bank"):
        twins(one, 0, ())


@pytest.mark.parametrize(
    ("kinds", "share", "message"),
    [
        ((), {"query": 1.0}, "name one or more of tall_left"),
        ((Occluder.NONE,), {"query": 1.0}, "'none'"),
        (KINDS, {"test": 1.0}, "share of 'test'"),
        (KINDS, {"query": 1.5}, "is 1.5"),
        (KINDS, {"query": float("nan")}, "is nan"),
    ],
)
def test_impossible_wishes(kinds: tuple[Occluder, ...], share: Mapping[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        occluded(a_set(4, 4, 4), kinds=kinds, share=share)


def fingerprint() -> str:
    """Of every edit of a variant of a variant, on a system-independent path."""
    made = occluded(partial(a_set(20, 200, 30), 3), 4, share={"query": 0.9, "gallery": 0.5})
    rows = [(s.name, [(e.kind, e.source.as_posix(), e.seed) for e in pastes([s])]) for s in made.query + made.gallery]
    return sha256(repr((made.name, rows, twins(made.train, "7/3", made.gallery)[0].edits[-1])).encode()).hexdigest()


def test_the_same_edits_in_another_process_and_in_any_order_of_the_bank() -> None:
    code = "import test_variants; print(test_variants.fingerprint())"
    where = {"PYTHONPATH": str(Path(__file__).parent), "PYTHONHASHSEED": "4321"}
    run = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | where, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == fingerprint()
    splits = a_set(20, 30, 0)
    assert occluded(replace(splits, train=splits.train[::-1])).query == occluded(splits).query
    assert occluded(splits, 1).query != occluded(splits).query


# --- Twins ----------------------------------------------------------------------------------------------------------


def test_twins_are_all_occluded_by_other_people_and_new_in_each_epoch() -> None:
    splits = a_set(300, 0, 0)
    first, second = (twins(splits.train, f"0/{epoch}", bank(splits)) for epoch in (1, 2))
    assert twins(splits.train, "0/1", bank(splits)) == first != second
    assert [(s.path, s.name, s.pid, s.camid) for s in first] == [(s.path, s.name, s.pid, s.camid) for s in splits.train]
    pid_of = {s.path: s.pid for s in splits.train}
    assert all(pid_of[edit.source] != s.pid for s, edit in zip(first, pastes(first), strict=True))
    counts = Counter(edit.kind for edit in pastes(first))
    assert set(counts) == set(KINDS)
    assert min(counts.values()) > 30
    assert sum(a != b for a, b in zip(first, second, strict=True)) > 290


# --- Reading --------------------------------------------------------------------------------------------------------


def test_a_sample_without_edits_is_the_file(tmp_path: Path) -> None:
    image = noise(20, 10)
    seen = read_sample(picture(tmp_path, "a.png", image))
    assert torch.equal(seen.image, image)
    assert seen.hidden is None
    assert seen.occluder is Occluder.NONE


@pytest.mark.parametrize("kind", KINDS)
def test_a_pasted_occluder_comes_with_its_kind_and_mask(tmp_path: Path, kind: Occluder) -> None:
    image, source = noise(60, 31), noise(50, 22, 1)
    sample, other = picture(tmp_path, "a.png", image), picture(tmp_path, "b.png", source)
    seen = read_sample(replace(sample, edits=(Paste(kind, other.path, 11),)))
    expected, hidden = paste(image, source, kind, 11)
    assert seen.hidden is not None
    assert torch.equal(seen.image, expected)
    assert torch.equal(seen.hidden, hidden)
    assert seen.occluder is kind


def test_edits_are_carried_out_in_order(tmp_path: Path) -> None:
    sample, other = picture(tmp_path, "a.png", noise(60, 31)), picture(tmp_path, "b.png", noise(50, 22, 1))
    over, under = Paste(Occluder.WIDE_TOP, other.path, 1), Paste(Occluder.WIDE_BOTTOM, other.path, 2)
    cut_last = read_sample(replace(sample, edits=(under, KeepTop(3))))
    assert cut_last.image.shape == (3, 20, 31)
    assert cut_last.hidden is not None
    assert not cut_last.hidden.any()
    assert cut_last.occluder is Occluder.NONE  # what was pasted is no longer in the picture
    assert read_sample(replace(sample, edits=(over, KeepTop(3)))).occluder is Occluder.WIDE_TOP
    cut_first = read_sample(replace(sample, edits=(KeepTop(3), under)))
    assert cut_first.hidden is not None
    assert cut_first.hidden.shape == (20, 31)
    assert 5 * 31 <= cut_first.hidden.sum() <= 10 * 31
    both = read_sample(replace(sample, edits=(over, under)))
    assert both.hidden is not None
    assert both.hidden[0].all()
    assert both.hidden[-1].all()
    assert not both.hidden[30].any() or both.hidden.sum() > 30 * 31
    assert both.occluder is Occluder.WIDE_BOTTOM


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    sample = picture(tmp_path, "a.png", noise(20, 10))
    gone = Paste(Occluder.TALL_LEFT, tmp_path / "gone.png", 1)
    with pytest.raises(InputError, match=r"gone\.png"):
        read_sample(replace(sample, edits=(gone,)))


@pytest.mark.data
def test_a_real_set() -> None:
    if "HALFSEEN_DATA" not in os.environ:
        pytest.skip("HALFSEEN_DATA names no folder with data sets")
    splits = read_set("cuhk03-np", Path(os.environ["HALFSEEN_DATA"]) / "cuhk03-np")
    assert parts_of(partial(splits).train) == {1: 3683, 2: 1841, 3: 1841}
    first = occluded(splits).query[0]
    seen = read_sample(first)
    assert seen.image.shape == (3, 128, 64)
    assert seen.hidden is not None
    assert 0.1 < seen.hidden.float().mean() <= 0.5
