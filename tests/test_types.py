"""The nouns refuse what would make nonsense later, and say where it stands."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from halfseen.types import FAINTEST_VISIBILITY, LARGEST_VALUE, Embedding, Facts, InputError, Occlusion, Sample

ODD = [math.nan, math.inf, -math.inf, 1e16, -3e38]
SHAPES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((2, 4), (2, 1)),  # a global descriptor without its part axis
    ((4,), (4,)),
    ((2, 3, 4, 1), (2, 3)),
    ((2, 3, 4), (2,)),
    ((2, 3, 4), (2, 4)),
    ((2, 3, 4), (3, 3)),
    ((2, 3, 4), (2, 3, 1)),
    ((2, 0, 4), (2, 0)),
    ((2, 3, 0), (2, 3)),
    ((), ()),
]


def sample(pid: int, camid: int, occlusion: Occlusion = Occlusion.UNKNOWN) -> Sample:
    return Sample(Path("a.png"), "a.png", pid, camid, occlusion)


# --- Embedding ---


@pytest.mark.parametrize(("vectors", "visibility"), SHAPES)
def test_shapes_that_do_not_fit_are_refused_by_name(vectors: tuple[int, ...], visibility: tuple[int, ...]) -> None:
    said = re.escape(f"vectors have shape {vectors} and visibility {visibility}; expected [N, parts, dims]")
    with pytest.raises(InputError, match=said):
        Embedding(torch.zeros(vectors), torch.ones(visibility))


@pytest.mark.parametrize("value", [-0.001, 1.001, math.nan, math.inf, -math.inf])
def test_visibility_outside_0_to_1_is_refused_with_its_place(value: float) -> None:
    visibility = torch.rand(5, 3)
    visibility[4, 1] = value
    with pytest.raises(InputError, match=f"row 4, part 1 is {value:g}; it must lie between 0 and 1"):
        Embedding(torch.zeros(5, 3, 2), visibility)


@pytest.mark.parametrize("value", ODD)
def test_bad_numbers_in_visible_parts_are_refused_with_place_and_count(value: float) -> None:
    vectors = torch.zeros(4, 3, 5)
    vectors[2, 1, 4] = vectors[3, 0, 0] = vectors[3, 0, 3] = vectors[0, 0, 0] = value
    visibility = torch.ones(4, 3)
    visibility[0, 0] = 0  # this one may be odd
    with pytest.raises(InputError, match=r"row 2, part 1 holds NaN.*as do 2 visible parts in all"):
        Embedding(vectors, visibility)


@pytest.mark.parametrize("value", ODD)
def test_invisible_parts_may_hold_anything_and_read_as_zero(value: float) -> None:
    vectors = torch.arange(12.0).reshape(2, 3, 2)
    vectors[1, 2, 0] = value
    got = Embedding(vectors, torch.tensor([[1.0, 1, 1], [1, 1, 0]]))
    assert got.vectors.tolist() == [[[0, 1], [2, 3], [4, 5]], [[6, 7], [8, 9], [0, 0]]]
    assert got.visibility.tolist() == [[1, 1, 1], [1, 1, 0]]


def test_the_largest_value_is_allowed_and_its_squares_stay_finite() -> None:
    vectors = torch.full((1, 1, 4096), LARGEST_VALUE)
    assert torch.equal(Embedding(vectors, torch.ones(1, 1)).vectors, vectors)
    assert vectors.square().sum().isfinite()
    with pytest.raises(InputError, match="huge"):
        Embedding(vectors * 1.001, torch.ones(1, 1))


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.uint8, torch.complex64])
def test_other_types_are_refused_by_name(dtype: torch.dtype) -> None:
    with pytest.raises(InputError, match=f"vectors of type {dtype}: convert to float32"):
        Embedding(torch.ones(2, 3, 4, dtype=dtype), torch.ones(2, 3))
    if dtype == torch.bool:  # seen or not is a visibility
        assert Embedding.of(torch.ones(2, 3, 4), torch.eye(2, 3, dtype=dtype)).visibility.tolist() == [
            [1, 0, 0],
            [0, 1, 0],
        ]
        return
    with pytest.raises(InputError, match=f"visibility of type {dtype}"):
        Embedding.of(torch.ones(2, 3, 4), torch.ones(2, 3, dtype=dtype))


def test_what_is_handed_in_stays_as_it_was() -> None:
    vectors, visibility = torch.full((1, 2, 3), math.nan), torch.tensor([[0.0, 1e-9]])
    got = Embedding(vectors, visibility)
    assert not got.vectors.any()
    assert not got.visibility.any()
    assert vectors.isnan().all()
    assert visibility[0, 1] > 0


@given(st.floats(0, 2 * FAINTEST_VISIBILITY, allow_subnormal=False), st.sampled_from([torch.float32, torch.float64]))
@settings(deadline=None, max_examples=60)
def test_faint_parts_are_invisible(visibility: float, dtype: torch.dtype) -> None:
    given_as = torch.tensor([[visibility]], dtype=dtype)
    got = Embedding(torch.ones(1, 1, 1), given_as).visibility
    kept = given_as.float()
    assert got.dtype == torch.float32
    assert torch.equal(got, kept if kept >= FAINTEST_VISIBILITY else torch.zeros(1, 1))
    assert not (got > 0).any() or (got.square() > 0).all()


FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_float_type_is_kept_as_float32(dtype: torch.dtype) -> None:
    vectors, visibility = torch.tensor([[[0.5, -2.0]], [[0.25, 8.0]]]), torch.tensor([[0.5], [1.0]])
    mine, shown = vectors.to(dtype), visibility.to(dtype)
    for got in (Embedding(mine, shown), Embedding(mine, visibility), Embedding(vectors, shown)):
        assert (got.vectors.dtype, got.visibility.dtype) == (torch.float32, torch.float32)
        assert torch.equal(got.vectors, vectors)
        assert torch.equal(got.visibility, visibility)
    assert (mine.dtype, shown.dtype) == (dtype, dtype)


@pytest.mark.parametrize("row", [0, 1])
def test_what_float32_cannot_hold_is_refused(row: int) -> None:
    vectors = torch.ones(2, 1, 1, dtype=torch.float64)
    vectors[row] = 1e300
    with pytest.raises(InputError, match=f"row {row}, part 0"):
        Embedding(vectors, torch.ones(2, 1))


def test_a_faint_part_may_hold_nan() -> None:
    got = Embedding(torch.tensor([[[math.nan], [2.0]]]), torch.tensor([[FAINTEST_VISIBILITY / 2, 1.0]]))
    assert (got.vectors.flatten().tolist(), got.visibility.flatten().tolist()) == ([0, 2], [0, 1])


def test_no_rows_are_an_embedding_too() -> None:
    assert len(Embedding(torch.zeros(0, 3, 2), torch.zeros(0, 3))) == 0
    assert Embedding.of(torch.zeros(0, 2)).visibility.shape == (0, 1)


@pytest.mark.parametrize("rows", [slice(1, 4), slice(None, None, 2), torch.tensor([3, 0, 0]), torch.arange(5) % 2 == 1])
def test_slices_are_the_same_rows_of_both(rows: slice | Tensor) -> None:
    whole = Embedding(torch.rand(5, 2, 3), torch.rand(5, 2))
    some = whole[rows]
    assert torch.equal(some.vectors, whole.vectors[rows])
    assert torch.equal(some.visibility, whole.visibility[rows])
    assert len(some) == len(torch.arange(5)[rows])


def hollow() -> Embedding:
    """Of four rows and three parts, invisible NaN in row 2, part 1."""
    vectors, visibility = torch.rand(4, 3, 2), torch.ones(4, 3)
    vectors[2, 1], visibility[2, 1], visibility[3, 0] = math.nan, 0, 0
    return Embedding(vectors, visibility)


def test_what_was_replaced_is_known_and_goes_with_its_rows() -> None:
    got = hollow()
    assert got.replaced.nonzero().tolist() == [[2, 1]]
    assert got[1:3].replaced.nonzero().tolist() == [[1, 1]]
    assert got[torch.tensor([0, 2, 2])].replaced.nonzero().tolist() == [[1, 1], [2, 1]]
    joined = Embedding.joined([got, got[2:]])
    assert joined.replaced.nonzero().tolist() == [[2, 1], [4, 1]]
    assert torch.equal(joined.vectors, torch.cat([got.vectors, got.vectors[2:]]))
    assert torch.equal(joined.visibility, torch.cat([got.visibility, got.visibility[2:]]))
    assert not Embedding.of(torch.rand(2, 3)).replaced.any()


def test_who_takes_all_for_seen_is_told_what_is_not_there() -> None:
    said = (
        "^the query's row 2, part 1 holds NaN.* and is invisible, but taking all for seen looks at every part, seen or"
    )
    with pytest.raises(InputError, match=said):
        hollow().all_seen("the query's ")
    assert hollow()[:2].all_seen().visibility.all()


def test_embeddings_cannot_be_changed() -> None:
    embedding = Embedding.of(torch.rand(2, 3))
    with pytest.raises(dataclasses.FrozenInstanceError):
        embedding.vectors = torch.zeros(2, 1, 3)  # type: ignore[misc]  # what is tested


# --- Embedding.of ---


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_float_type_becomes_float32(dtype: torch.dtype) -> None:
    vectors, visibility = torch.tensor([[[0.5, -2.0]], [[0.25, 8.0]]]), torch.tensor([[0.5], [1.0]])
    for make in (Embedding.of, Embedding):
        got = make(vectors.to(dtype), visibility.to(dtype))
        assert (got.vectors.dtype, got.visibility.dtype) == (torch.float32, torch.float32)
        assert torch.equal(got.vectors, vectors)
        assert torch.equal(got.visibility, visibility)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_of_makes_a_global_descriptor_of_a_matrix(dtype: torch.dtype) -> None:
    got = Embedding.of(torch.ones(4, 7, dtype=dtype))
    assert got.vectors.shape == (4, 1, 7)
    assert torch.equal(got.visibility, torch.ones(4, 1))
    assert Embedding.of(torch.ones(4, 7), torch.full((4,), 0.5)).visibility.tolist() == [[0.5]] * 4


def test_of_sees_every_part_where_nothing_is_said() -> None:
    assert torch.equal(Embedding.of(torch.rand(2, 5, 3)).visibility, torch.ones(2, 5))


def test_of_refuses_what_float32_cannot_hold() -> None:
    with pytest.raises(InputError, match="row 1, part 0"):
        Embedding.of(torch.tensor([[1.0], [1e300]], dtype=torch.float64))


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4, 5)])
def test_of_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="expected"):
        Embedding.of(torch.zeros(shape))


# --- Facts ---


@pytest.mark.parametrize("which", ["pids", "camids", "occlusion"])
def test_facts_of_unequal_length_are_refused_with_their_shapes(which: str) -> None:
    columns = {name: torch.zeros(3, dtype=torch.int64) for name in ("pids", "camids", "occlusion")}
    columns[which] = torch.zeros(4, dtype=torch.int64)
    with pytest.raises(InputError, match=rf"lists of one length.*'{which}': \(4,\)"):
        Facts(**columns)


@pytest.mark.parametrize("shape", [(), (3, 1)])
def test_facts_are_lists(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="lists of one length"):
        Facts(*torch.zeros(3, *shape, dtype=torch.int64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32, torch.bool])
def test_facts_are_int64(dtype: torch.dtype) -> None:
    numbers = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(InputError, match=f"^camids must be int64, found {dtype}; convert them"):
        Facts(numbers, numbers.to(dtype), numbers)


@pytest.mark.parametrize("which", ["pids", "camids", "occlusion"])
@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool, torch.float32, torch.float64])
def test_facts_of_another_type_are_refused_by_name(which: str, dtype: torch.dtype) -> None:
    columns = {name: torch.zeros(3, dtype=torch.int64) for name in ("pids", "camids", "occlusion")}
    columns[which] = columns[which].to(dtype)
    with pytest.raises(InputError, match=f"^{which} must be int64, found {dtype}; convert them$"):
        Facts(**columns)


def test_facts_of_samples_keep_their_order() -> None:
    got = Facts.of((sample(7, 2, Occlusion.NPO), sample(-1, 5), sample(7, 1, Occlusion.HOLISTIC)))
    assert (got.pids.tolist(), got.camids.tolist(), got.occlusion.tolist()) == ([7, -1, 7], [2, 5, 1], [2, 0, 3])
    assert {column.dtype for column in vars(got).values()} == {torch.int64}


def test_facts_of_nobody_are_empty() -> None:
    assert (len(Facts.of(())), Facts.of(()).pids.dtype) == (0, torch.int64)


@pytest.mark.parametrize("rows", [slice(1, 3), torch.tensor([2, 2, 0]), torch.tensor([True, False, True])])
def test_slices_of_facts_are_the_same_rows_of_all(rows: slice | Tensor) -> None:
    whole = Facts(torch.tensor([4, 5, 6]), torch.tensor([1, 2, 3]), torch.tensor([0, 1, 2]))
    some = whole[rows]
    assert len(some) == len(whole.pids[rows])
    assert [vars(some)[name].tolist() for name in vars(whole)] == [t[rows].tolist() for t in vars(whole).values()]
