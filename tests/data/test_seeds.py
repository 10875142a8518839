"""Every choice of a variant follows from a digest of its own, so that no choice tells anything about another."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest

from halfseen.data.occluders import KINDS
from halfseen.data.variants import bank, occluded, partial, twins
from halfseen.types import KeepTop, Occluder, Paste, Sample, Splits


def number(text: str) -> int:
    return int(sha256(text.encode()).hexdigest()[:14], 16)


def people(split: str, count: int, first: int) -> tuple[Sample, ...]:
    return tuple(Sample(Path(f"{split}/{i}.png"), f"{split}/{i}.png", first + i % 10, 1) for i in range(count))


def a_set(query: int) -> Splits:
    """Twenty training pictures of ten people, and `query` pictures of ten others."""
    return Splits("toy", Path("set"), people("train", 20, 100), people("query", query, 0), ())


def paste_of(sample: Sample) -> Paste:
    (edit,) = [e for e in sample.edits if isinstance(e, Paste)]
    return edit


def is_cut(sample: Sample) -> bool:
    return any(isinstance(edit, KeepTop) for edit in sample.edits)


def is_occluded(sample: Sample) -> bool:
    return any(isinstance(edit, Paste) for edit in sample.edits)


def test_kind_and_source_and_pixels_come_from_two_digests() -> None:
    splits = a_set(30)
    made, pairs = occluded(splits, 5).query, twins(splits.query, "7/3", bank(splits))
    for key, samples in (("5/query", made), ("7/3/twin", pairs)):
        for sample in samples:
            edit, dice = paste_of(sample), Random(number(f"{key}/{sample.name}"))
            assert edit.kind is KINDS[int(dice.random() * 5)]
            assert edit.source == bank(splits)[int(dice.random() * 20)].path
            assert edit.seed == number(f"{key}/pixels/{sample.name}") < 2**56


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_half_of_the_occluders_of_each_kind_are_mirrored(kind: Occluder, seed: int) -> None:
    splits = a_set(2000)
    for samples in (occluded(splits, seed).query, twins(splits.query, f"{seed}/1", bank(splits))):
        mirrored = [Random(e.seed).random() < 0.5 for e in map(paste_of, samples) if e.kind is kind]
        assert 320 < len(mirrored) < 480
        assert sum(mirrored) / len(mirrored) == pytest.approx(0.5, abs=0.08)


def test_sources_are_mirrored_as_often_as_not() -> None:
    edits = [paste_of(sample) for sample in occluded(a_set(2000)).query]
    times = Counter(edit.source for edit in edits)
    mirrored = Counter(edit.source for edit in edits if Random(edit.seed).random() < 0.5)
    assert len(times) == 20
    assert all(0.3 < mirrored[source] / count < 0.7 for source, count in times.items())


def test_who_is_occluded_follows_from_sha256_of_the_rule_the_seed_and_the_name() -> None:
    splits = a_set(10)
    ranked = sorted(splits.query, key=lambda s: sha256(f"occluded/7/{s.name}".encode()).hexdigest())
    made = occluded(splits, 7, share={"query": 0.4}).query
    assert {s.name for s in made if is_occluded(s)} == {s.name for s in ranked[:4]}


@pytest.mark.parametrize("seed", [0, 1, 12])
def test_partial_and_occluded_choose_independently(seed: int) -> None:
    made = occluded(partial(a_set(400), seed), seed, share={"query": 0.5}).query
    assert (sum(map(is_cut, made)), sum(map(is_occluded, made))) == (200, 200)
    both = Counter((edit.parts, is_occluded(s)) for s in made for edit in s.edits if isinstance(edit, KeepTop))
    assert both[2, True] + both[3, True] == pytest.approx(100, abs=20)
    assert both[2, True] == pytest.approx(50, abs=15)
    assert both[3, True] == pytest.approx(50, abs=15)
