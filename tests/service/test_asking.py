"""Words of a form, checked before anything is done with them."""

from __future__ import annotations

import pytest
from fastapi import HTTPException
from hypothesis import given, settings
from hypothesis import strategies as st

from halfseen.service.asking import boxes_for, check_ids, check_names, check_parts, check_times
from halfseen.service.pictures import WHOLE


def test_boxes_are_shares_of_pictures() -> None:
    assert boxes_for(["0,0,1,0.5", ""], 3) == [(0, 0, 1, 0.5), WHOLE, WHOLE]
    assert boxes_for([" 0.1, 0.2 ,0.3,0.4"], 1) == [(0.1, 0.2, 0.3, 0.4)]


@pytest.mark.parametrize("text", ["0,0,1", "0,0,1,1,1", "a,b,c,d", "0,0,0,1", "0.5,0,0.4,1", "-1,0,1,1", "0,0,1,1.1"])
def test_other_boxes_are_refused(text: str) -> None:
    with pytest.raises(HTTPException, match="box 1"):
        boxes_for([text], 1)


@given(st.lists(st.floats(), min_size=3, max_size=5))
@settings(deadline=None, max_examples=200)
def test_a_box_is_within_its_picture_or_refused(numbers: list[float]) -> None:
    try:
        ((left, top, right, bottom),) = boxes_for([",".join(map(repr, numbers))], 1)
    except HTTPException:
        return
    assert 0 <= left < right <= 1
    assert 0 <= top < bottom <= 1


def test_more_boxes_than_pictures_are_refused() -> None:
    with pytest.raises(HTTPException, match="2 boxes"):
        boxes_for(["", ""], 1)


def test_parts_are_chosen_by_number() -> None:
    assert check_parts([3, 0, 3], 4) == (0, 3)
    assert check_parts([], 4) is None
    for wrong in (-1, 4, 10**30):
        with pytest.raises(HTTPException, match="from 0 to 3"):
            check_parts([wrong], 4)


def test_ids_names_and_times() -> None:
    check_ids("like", [0, 2**63 - 1])
    for wrong in ([-1], [2**63], [1] * 65):
        with pytest.raises(HTTPException, match="like names"):
            check_ids("like", wrong)
    assert check_names("cameras", ["a", "a"], {"a", "b"}) == frozenset("a")
    assert check_names("cameras", [], {"a"}) is None
    for names in (["c"], ["a"] * 1001):
        with pytest.raises(HTTPException, match="cameras"):
            check_names("cameras", names, {"a"})
    check_times(1.0, 1.0)
    with pytest.raises(HTTPException, match="exchange"):
        check_times(2.0, 1.0)
