"""Words of a form, checked before anything is done with them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from halfseen.service.asking import Wish, boxes_for, check_ids, check_names, check_parts, check_times, wish_of
from halfseen.service.pictures import WHOLE
from served import NOON


def test_boxes_are_shares_of_pictures() -> None:
    assert boxes_for(["0,0,1,0.5", ""], 3) == [(0, 0, 1, 0.5), WHOLE, WHOLE]
    assert boxes_for([" 0.1, 0.2 ,0.3,0.4"], 1) == [(0.1, 0.2, 0.3, 0.4)]


NO_BOXES = ["0,0,1", "0,0,1,1,1", "a,b,c,d", "0,0,0,1", "0.5,0,0.4,1", "0,0,1,0", "0,0.5,1,0.4"]
OUTSIDE = ["-1,0,1,1", "0,0,1,1.1", "0,0,2,1", "0,-1,1,1"]


@pytest.mark.parametrize("text", [*NO_BOXES, *OUTSIDE])
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


def test_parts_are_chosen_by_number_or_by_name() -> None:
    names = ("foreground", "head", "torso", "legs")
    assert check_parts([3, "0", " 3"], names) == (0, 3)
    assert check_parts(["Torso", "whole person", "2"], names) == check_parts(["foreground", "torso"], names) == (0, 2)
    assert check_parts([" Torso "], names) == (2,)
    assert check_parts([], names) is None
    for wrong in (-1, "4", 10**30):
        with pytest.raises(HTTPException, match="from 0 to 3"):
            check_parts([wrong], names)
    with pytest.raises(HTTPException) as raised:
        check_parts(["head", "tors"], names)
    known = "'whole person', 'foreground', 'head', 'torso', 'legs'"
    assert raised.value.detail == f"there is no part 'tors'; say one of {known}, or its number"
    with pytest.raises(HTTPException, match=r"there is no part '9{60}'; say"):
        check_parts(["9" * 5000], names)


def test_ids_names_and_times() -> None:
    check_ids("like", [0, 2**63 - 1])
    check_ids("like", [1] * 64)
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


def form_of(*fields: tuple[str, str]) -> bytes:
    return "&".join(f"{name}={value}" for name, value in fields).encode()


def filled(*fields: tuple[str, str | None, bytes]) -> bytes:
    """A form as a browser sends it: names of fields and of files, and what they hold."""
    parts = b""
    for name, file, data in fields:
        told = f'; filename="{file}"\r\nContent-Type: application/octet-stream' if file is not None else ""
        parts += f'--x\r\nContent-Disposition: form-data; name="{name}"{told}\r\n\r\n'.encode() + data + b"\r\n"
    return parts + b"--x--\r\n"


def asked(body: bytes, kind: str, *, whole: bool = True) -> Request:
    """A request with this `body`; if that is not the `whole`, whoever asks goes away then."""
    told = [{"type": "http.request", "body": body, "more_body": not whole}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return told.pop(0)

    return Request({"type": "http", "app": None, "headers": [(b"content-type", kind.encode())]}, receive)


def wished(body: bytes, kind: str = "application/x-www-form-urlencoded", *, whole: bool = True) -> Wish:
    """What the service reads in a request."""

    async def read() -> Wish:
        return await anext(wish_of(asked(body, kind, whole=whole)))

    return asyncio.run(read())


def test_a_form_is_read() -> None:
    fields = [("like", "3"), ("like", "5"), ("cameras", "a"), ("since", "1e3"), ("count", "7"), ("rerank", "true")]
    wish = wished(form_of(*fields))
    assert wish == Wish(like=[3, 5], cameras=["a"], since=1000.0, count=7, rerank=True)


def test_times_are_read_as_on_the_command_line() -> None:
    wish = wished(form_of(("since", "2024-05-31"), ("until", "2024-05-31")))
    assert (wish.since, wish.until) == (NOON - 43_200, NOON + 43_199.999)
    assert wished(form_of(("since", "2024-05-31 12:00"))).since == NOON


def test_what_is_left_out_or_empty_is_not_said() -> None:
    assert wished(form_of(("until", ""), ("count", ""), ("keep", ""))) == Wish() == wished(b"", "")
    assert wished(form_of(("count", "7"), ("count", "9"))).count == 9


def test_a_word_that_nobody_knows_is_refused_and_filters_nothing() -> None:
    with pytest.raises(HTTPException, match="'camera' is nothing that can be said here; say boxes, cameras, count, "):
        wished(form_of(("like", "3"), ("camera", "c1")))


@pytest.mark.parametrize(
    ("name", "value"), [("like", ""), ("count", "501"), ("since", "nan"), ("rerank", "perhaps"), ("pictures", "text")]
)
def test_a_field_that_is_something_else_is_named(name: str, value: str) -> None:
    with pytest.raises(RequestValidationError) as raised:
        wished(form_of((name, value)))
    assert raised.value.errors()[0]["loc"][0] == name


@pytest.mark.parametrize("kind", ["application/json", "text/csv", "Application/JSON; charset=utf-8", "x" * 999])
def test_what_is_no_form_is_refused_and_not_taken_for_an_empty_one(kind: str) -> None:
    with pytest.raises(HTTPException, match="is no form; send one, as multipart/form-data: `/docs` names") as raised:
        wished(b'{"like": [3]}', kind)
    assert raised.value.status_code == 415
    assert len(raised.value.detail) < 200
    assert wished(b"like=3", "Application/X-WWW-Form-Urlencoded; charset=utf-8").like == [3]


def test_whoever_goes_away_or_sends_no_form_is_not_at_fault_of_ours() -> None:
    for body, kind, whole in (
        (b"like=", "application/x-www-form-urlencoded", False),
        (b"--x\r\n", "multipart/form-data", True),
        (b"--y\r\nhello", "multipart/form-data; boundary=x", True),
    ):
        with pytest.raises(HTTPException) as raised:
            wished(body, kind, whole=whole)
        assert raised.value.status_code == 400


def test_pictures_come_with_a_form_and_are_closed_after_it() -> None:
    body = filled(("like", None, b"3"), ("pictures", "a.png", b"abc"), ("pictures", "", b""), ("pictures", "", b"d"))

    async def read() -> None:
        reading = wish_of(asked(body, "multipart/form-data; boundary=x"))
        wish = await anext(reading)
        assert wish.like == [3]
        assert [await picture.read() for picture in wish.pictures] == [b"abc", b"d"]  # no file was chosen in the second
        files = [picture.file for picture in wish.pictures]
        assert not any(file.closed for file in files)
        await reading.aclose()
        assert all(file.closed for file in files)

    asyncio.run(read())


def test_a_form_without_a_chosen_file_has_no_pictures() -> None:
    assert wished(filled(("pictures", "", b"")), "multipart/form-data; boundary=x") == Wish()
