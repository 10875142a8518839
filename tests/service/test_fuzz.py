"""Broken pictures and broken forms: whatever comes, the answer is a sentence, and the service goes on.

A short version runs always, the long one (2,000 of each) with `-m slow`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import httpx2
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from served import TOKEN, as_file, person

KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
SOUND = {
    "pictures": ("",),
    "boxes": ("", "0,0,1,0.5"),
    "like": ("0", "7"),
    "unlike": ("3",),
    "parts": ("0", "2"),
    "cameras": ("gate", "hall"),
    "sources": ("' OR '1'='1",),
    "since": ("0", "1.5e9"),
    "until": ("2e9",),
    "count": ("1", "500"),
    "rerank": ("true", "0"),
    "keep": ("false",),
}
WORDS = (
    *("0", "1", "-1", "4", "1e309", "nan", "inf", "9" * 30, "1.5", "true", "null", "", " ", "0,0,1,1", "0,0,1,0.5"),
    *("gate", "hall", "' OR '1'='1", "../../etc/passwd", "%00", "\0", "\ud83d\ude00", "\u202e", "a" * 5000, "[]", "{}"),
)
FEW, MANY = 60, 2000
BOUNDARY = b"limit"

# Starlette leaves the closing of what it had begun to read, when a form breaks off, to Python.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

Mutate = Callable[[Random, bytes], bytes]


def flip(dice: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.randint(1, 12)):
        changed[dice.randrange(len(changed))] = dice.randrange(256)
    return bytes(changed)


def cut(dice: Random, data: bytes) -> bytes:
    return data[: dice.randrange(len(data))]


def repeat(dice: Random, data: bytes) -> bytes:
    start, end = sorted(dice.randrange(len(data)) for _ in range(2))
    return data[:end] + data[start:end] * dice.randint(1, 4) + data[end:]


def swell(dice: Random, data: bytes) -> bytes:
    """Large numbers where sizes and lengths may stand."""
    place = dice.randrange(min(len(data), 60))
    return data[:place] + b"\xff" * dice.choice((1, 2, 4)) + data[place + dice.choice((1, 2, 4)) :]


def drop(dice: Random, data: bytes) -> bytes:
    start = dice.randrange(len(data))
    return data[:start] + data[start + dice.randint(1, 40) :]


MUTATIONS: tuple[Mutate, ...] = (flip, cut, repeat, swell, drop)


def broken_picture(dice: Random, whole: list[bytes]) -> bytes:
    data = dice.choice(whole)
    for _ in range(dice.randint(1, 3)):
        data = dice.choice(MUTATIONS)(dice, data) or b"\0"
    return data


def form(dice: Random, picture: bytes) -> bytes:
    """A form of any fields with any words, in bytes as they travel."""
    parts, sound = [], dice.random() < 0.5
    for _ in range(dice.randint(0, 8)):
        name = dice.choice(list(SOUND))
        word = dice.choice(SOUND[name] if sound else WORDS).encode("utf-8", "surrogatepass")
        file = name == "pictures" if sound else dice.random() < 0.3
        head = f'Content-Disposition: form-data; name="{name}"' + ('; filename="x"' if file else "")
        parts.append(b"--%s\r\n%s\r\n\r\n%s\r\n" % (BOUNDARY, head.encode(), picture if file else word))
    body = b"".join(parts) + b"--%s--\r\n" % BOUNDARY
    return dice.choice(MUTATIONS)(dice, body) if dice.random() < 0.5 else body


def check(answer: httpx2.Response, folder: Path) -> None:
    """No fault of ours, a sentence where there is one of theirs, and nothing of this machine in it."""
    assert answer.status_code < 500, answer.text
    assert str(folder) not in answer.text
    told = json.loads(answer.text)
    assert "answers" in told if answer.status_code == 200 else 5 < len(told["detail"]) < 500


@pytest.fixture
def folder(tmp_path: Path, other: Callable[..., TestClient]) -> tuple[Path, TestClient]:
    return tmp_path, other(log=tmp_path / "log", pixels=200_000, upload=200_000)


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_broken_pictures(folder: tuple[Path, TestClient], count: int) -> None:
    place, client = folder
    dice, whole = Random(7), [as_file(person(0, 9), kind) for kind in KINDS]
    statuses = set()
    for _ in range(count):
        answer = client.post("/api/search", files={"pictures": ("p", broken_picture(dice, whole))})
        check(answer, place)
        statuses.add(answer.status_code)
    assert statuses == {200, 400}
    assert client.post("/api/search", files={"pictures": ("p", whole[0])}).status_code == 200
    assert list(place.iterdir()) == [place / "log"]


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_broken_forms(folder: tuple[Path, TestClient], count: int) -> None:
    place, client = folder
    dice, picture = Random(8), as_file(person(0, 9))
    kinds = [f"multipart/form-data; boundary={BOUNDARY.decode()}"] * 6
    kinds += ["multipart/form-data", "application/x-www-form-urlencoded", "application/json", "text/plain", "\u00ff"]
    statuses = set()
    for _ in range(count):
        kind = dice.choice(kinds).encode("latin-1")
        answer = client.post("/api/search", content=form(dice, picture), headers={b"content-type": kind})
        check(answer, place)
        statuses.add(answer.status_code)
    assert {200, 400, 422} <= statuses
    assert client.get("/api/gallery").status_code == 200


@pytest.mark.parametrize("count", [60, pytest.param(MANY, marks=pytest.mark.slow)])
def test_broken_addresses_and_tokens(private: TestClient, count: int) -> None:
    dice = Random(9)
    for _ in range(count):
        word = dice.choice(WORDS).encode("utf-8", "surrogatepass").decode("latin-1")
        path = dice.choice(
            ("/api/sightings/{}/picture", "/api/sightings/{}/maps", "/api/sightings?count={}&since={}", "/{}")
        )
        path = path.replace("{}", "".join(f"%{ord(letter):02x}" for letter in word))
        known = {"authorization": f"Bearer {dice.choice((TOKEN, 'no'))}"}
        assert private.get(path, headers=known).status_code < 500
        body = dice.choice((b"", b"{", b'{"token": 3}', b'{"token": "\\ud800"}', b"[]", b"\xff"))
        assert (
            private.post("/api/session", content=body, headers={"content-type": "application/json"}).status_code < 500
        )


def test_a_small_file_cannot_ask_for_much(folder: tuple[Path, TestClient]) -> None:
    """Decompression bombs: a header that claims, and pixels that are there but say nothing."""
    kept = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(kept, "PNG", optimize=False)
    for data in (
        kept.getvalue(),
        as_file(person(0, 9), "BMP").replace((32).to_bytes(4, "little"), b"\xff\xff\xff\x7f", 1),
    ):
        answer = folder[1].post("/api/search", files={"pictures": ("p", data)})
        assert answer.status_code == 400
        check(answer, folder[0])


def test_a_form_of_countless_fields_is_refused(folder: tuple[Path, TestClient]) -> None:
    answer = folder[1].post("/api/search", data={"like": [0] * 20_000})
    assert answer.status_code == 400
    assert folder[1].post("/api/search", files=[("pictures", ("p", b"x"))] * 1200).status_code == 400
