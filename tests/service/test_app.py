"""What is asked over HTTP and what comes back."""

from __future__ import annotations

import json
import re
import tempfile
import threading
from base64 import b64decode
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from fastapi import Request
from fastapi.testclient import TestClient

from halfseen.data.images import decode_image
from halfseen.draw import WHOLE
from halfseen.gallery.parts import colours_of
from halfseen.gallery.search import Search
from halfseen.gallery.sightings import Ask, Fact, Where
from halfseen.gallery.store import Gallery
from halfseen.service import app, holdings, service
from halfseen.service.answers import seen_from
from halfseen.service.app import make_app
from halfseen.service.log import check_log
from halfseen.service.pictures import Folders, picture_of
from halfseen.types import Embedding, InputError
from served import CAMERAS, NOON, PEOPLE, Place, as_file, fill, person

Client = Callable[..., TestClient]


WORDS = [(name, f"{name}: what came is no text; send words") for name in ("boxes", "cameras", "sources")]


def sent(*images: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("pictures", ("picture", image)) for image in images]


def searched(client: TestClient, *images: bytes, **words: Any) -> dict[str, Any]:
    answer = client.post("/api/search", files=sent(*images), data=words)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def troubled(answer: httpx2.Response, status: int) -> str:
    """The sentence of an answer that says why not."""
    assert answer.status_code == status, answer.text
    detail: str = answer.json()["detail"]
    assert 10 < len(detail) < 400
    assert "Traceback" not in detail
    return detail


def ids_of(found: dict[str, Any]) -> list[int]:
    return [answer["sighting"]["id"] for answer in found["answers"]]


def test_the_gallery_says_what_there_is(client: TestClient, place: Place) -> None:
    about = client.get("/api/gallery").json()
    assert about["sightings"] == PEOPLE * len(CAMERAS) * 2
    assert about["parts"] == list(place.model.facts.parts)
    assert about["parts"][0] == "foreground"  # to programs, and to people:
    assert about["looks"][0] == {"label": "whole person", "colour": "#{:02x}{:02x}{:02x}".format(*WHOLE), "whole": True}
    own = [tuple(bytes.fromhex(look["colour"][1:])) for look in about["looks"]]
    assert own == colours_of(about["parts"])  # as in a strip of `halfseen search`
    assert [(each["name"], each["count"]) for each in about["cameras"]] == [(name, 2 * PEOPLE) for name in CAMERAS]
    assert [each["name"] for each in about["sources"]] == ["pictures"]  # and not where that lies
    assert (about["since"], about["until"]) == (NOON, NOON + 600 * (PEOPLE - 1) + 61)
    assert about["first"].startswith("2024-05-31 12:00:00")
    assert about["limits"] == {"bytes": 16 * 2**20, "pixels": 40_000_000, "pictures": 8, "keep": False}
    assert str(place.folder) not in json.dumps(about)


def test_a_picture_finds_what_the_gallery_s_own_search_finds(client: TestClient, place: Place) -> None:
    image = person(2, camera=9)
    found = searched(client, as_file(image), count=7)
    expected = Search(place.gallery).search(Ask(place.model.encode([image]), count=7))
    assert ids_of(found) == [sighting.id for sighting in expected]
    for answer, sighting in zip(found["answers"], expected, strict=True):
        assert answer["rank"] == sighting.rank
        assert answer["distance"] == pytest.approx(sighting.distance, abs=1e-6)
        assert answer["parts"] == pytest.approx(sighting.parts, abs=1e-6)
        assert answer["seen"] == pytest.approx(sighting.seen)
        assert answer["sighting"]["camera"] == sighting.fact.camera
    assert place.gallery.rows([ids_of(found)[0]])[ids_of(found)[0]].track.startswith("2-")
    assert found["queries"][0]["seen"] == pytest.approx(place.model.encode([image]).visibility[0].tolist())


def test_the_crop_is_what_is_looked_at(client: TestClient) -> None:
    wide = torch.cat([person(1, 9), person(2, 9)], 2)
    left, right = (ids_of(searched(client, as_file(person(number, 9)))) for number in (1, 2))
    assert left != right
    assert ids_of(searched(client, as_file(wide), boxes=["0,0,0.5,1"])) == left
    assert ids_of(searched(client, as_file(wide), boxes=["0.5,0,1,1"])) == right


def test_maps_are_bytes_of_a_grid(client: TestClient, place: Place) -> None:
    maps = searched(client, as_file(person(0, 9)))["queries"][0]["maps"]
    assert len(maps["parts"]) == len(place.model.facts.parts)
    values = [b64decode(part) for part in maps["parts"]]
    assert {len(part) for part in values} == {maps["height"] * maps["width"]}
    assert max(max(part) for part in values) > 128


def test_a_sighting_finds_itself_and_has_maps(client: TestClient) -> None:
    found = searched(client, like=[4], count=3)
    assert ids_of(found)[0] == 4
    assert found["answers"][0]["distance"] == pytest.approx(0, abs=1e-3)
    assert [query["like"] for query in found["queries"]] == [4]
    assert found["queries"][0]["maps"] is None
    maps = client.get("/api/sightings/4/maps").json()
    assert len(b64decode(maps["parts"][0])) == maps["height"] * maps["width"]


def test_several_pictures_and_sightings_are_one_question(client: TestClient, place: Place) -> None:
    found = searched(client, as_file(person(2, 9)), as_file(person(2, 8)), like=[12], unlike=[0], count=5)
    queries = place.model.encode([person(2, 9), person(2, 8)])
    kept = place.gallery.embedding([12])[1], place.gallery.embedding([0])[1]
    joined = type(queries)(
        torch.cat([queries.vectors, kept[0].vectors]), torch.cat([queries.visibility, kept[0].visibility])
    )
    expected = Search(place.gallery).search(Ask(joined, kept[1], count=5))
    assert ids_of(found) == [sighting.id for sighting in expected]
    assert [query["like"] for query in found["queries"]] == [None, None, 12]


def test_only_chosen_parts_are_compared(client: TestClient) -> None:
    found = searched(client, like=[0], parts=[1, 3], count=9)
    for answer in found["answers"]:
        assert [distance is not None for distance in answer["parts"]].count(True) <= 2
        assert answer["parts"][0] is None
    names = client.get("/api/gallery").json()["parts"]
    named = searched(client, like=[0], parts=[names[1], names[3].upper()], count=9)
    assert named["answers"] == found["answers"]


def test_filters_leave_out_what_is_not_asked_for(client: TestClient) -> None:
    found = searched(client, like=[0], cameras=["gate"], since=NOON + 600, until=NOON + 1800)
    seen = [answer["sighting"] for answer in found["answers"]]
    assert {each["camera"] for each in seen} == {"gate"}
    assert {each["time"] // 600 for each in seen} == {(NOON + 600) // 600, (NOON + 1200) // 600, (NOON + 1800) // 600}
    source = client.get("/api/gallery").json()["sources"][0]["key"]
    assert len(searched(client, like=[0], sources=[source])["answers"]) == PEOPLE * 6
    assert searched(client, like=[0], since=NOON + 10**6)["answers"] == []
    by_date = searched(client, like=[0], cameras=["gate"], since="2024-05-31 12:10", until="2024-05-31T12:30:00")
    assert by_date["answers"] == found["answers"]
    day = client.get("/api/sightings", params={"since": "2024-05-31", "until": "2024-05-31"}).json()
    assert {each["camera"] for each in day["sightings"]} == {"gate", "hall"}


def test_leafing_shows_each_passage_once_the_newest_first(client: TestClient) -> None:
    first = client.get("/api/sightings", params={"count": 5}).json()
    second = client.get("/api/sightings", params={"count": 100, "start": first["next"]}).json()
    assert (len(first["sightings"]), first["next"], second["next"]) == (5, 5, None)
    seen = first["sightings"] + second["sightings"]
    assert len({each["passage"] for each in seen}) == len(seen) == PEOPLE * len(CAMERAS)
    times = [each["time"] for each in seen]
    dated = [time for time in times if time is not None]
    assert times == sorted(dated, reverse=True) + [None] * PEOPLE
    assert all(time % 60 == 1 for time in dated)  # of the two shots the later one
    said = troubled(client.get("/api/sightings", params={"camera": "hall"}), 422)
    assert said.startswith("'camera' is nothing that can be said here; say cameras, count, since, ")
    some = client.get("/api/sightings", params={"cameras": ["hall", "yard"], "since": NOON}).json()["sightings"]
    assert {each["camera"] for each in some} == {"hall"}


def test_after_a_last_page_that_is_full_nothing_follows(client: TestClient) -> None:
    every = client.get("/api/sightings", params={"count": 100}).json()["sightings"]
    last = client.get("/api/sightings", params={"count": 5, "start": len(every) - 5}).json()
    assert (len(last["sightings"]), last["next"]) == (5, None)
    assert client.get("/api/sightings", params={"count": len(every)}).json()["next"] is None


def test_a_passage_of_one_camera_hides_none_of_another(place: Place, tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "g", place.model.facts)
    at = [("gate", "3"), ("gate", "3"), ("hall", "3"), ("hall", ""), ("hall", ""), ("yard", "4")]
    known = [Fact(f"{row}.png", "set", camera, float(row), track) for row, (camera, track) in enumerate(at)]
    parts, dim = len(place.model.facts.parts), place.model.facts.dim
    ids = gallery.add(Embedding(torch.ones(6, parts, dim), torch.ones(6, parts)), known)
    newest = holdings.Register.of(gallery).newest(Where())
    assert newest == [ids[row] for row in (5, 4, 3, 2, 1)]


def test_passages_of_two_cameras_have_two_names() -> None:
    passages = [seen_from(1, Fact("a", "set", camera, 1.0, "3")).passage for camera in ("gate", "hall")]
    assert passages[0] != passages[1]


def test_pictures_are_jpegs(client: TestClient) -> None:
    for kind in ("thumbnail", "picture"):
        answer = client.get(f"/api/sightings/7/{kind}")
        assert answer.headers["content-type"] == "image/jpeg"
        assert decode_image(answer.content, kind).shape == (3, 64, 32)
    for path in ("/api/sightings/999/picture", "/api/sightings/999/thumbnail", "/api/sightings/999/maps"):
        assert "no sighting 999" in troubled(client.get(path), 404)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({}, "0 pictures came"),
        ({"like": [999]}, "not in this gallery"),
        ({"like": [0], "unlike": [999]}, "not in this gallery"),
        ({"like": [-1]}, "like names"),
        ({"like": list(range(65))}, "like names"),
        ({"like": [0], "parts": [99]}, "parts are numbered"),
        ({"like": [0], "parts": ["tors"]}, "there is no part 'tors'; say one of 'whole person', 'foreground', "),
        ({"like": [0], "cameras": ["attic"]}, "cameras"),
        ({"like": [0], "sources": ["' OR 1=1"]}, "sources"),
        ({"like": [0], "since": 2, "until": 1}, "exchange"),
        ({"like": [0], "boxes": ["0,0,1,1"]}, "boxes"),
        ({"like": [0], "keep": True}, "nothing that is uploaded is kept"),
    ],
)
def test_what_cannot_be_is_told(client: TestClient, words: dict[str, Any], says: str) -> None:
    answer = client.post("/api/search", data=words)
    assert says in troubled(answer, 404 if "not in this gallery" in says and "999" in str(words) else 400)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"count": 0}, "count"),
        ({"count": 501}, "count"),
        ({"like": ["x"]}, "like"),
        ({"since": "nan"}, "since"),
        ({"count": "many"}, "count: 'many' is no number from 1 to 500; send how many answers you want at most"),
        ({"rerank": "perhaps"}, "rerank: 'perhaps' is neither true nor false; send one of the two"),
        ({"keep": "2"}, "keep: '2' is neither true nor false; send one of the two"),
        ({"pictures": "who.jpg"}, "pictures: 'who.jpg' is no file; send the file itself, as `-F pictures=@FILE` does"),
        ({"like": "x" * 9999}, f"like: '{'x' * 60}' is no id; send those of sightings"),
        ({"since": "noon"}, "since: 'noon' is no time; write 2024-05-31, 2024-05-31 17:45:10, or a number of seconds"),
        ({"until": "9" * 9999}, f"until: '{'9' * 60}…' is no time"),
    ],
)
def test_a_field_that_is_something_else_is_told(client: TestClient, words: dict[str, Any], says: str) -> None:
    assert troubled(client.post("/api/search", data={"like": [0], **words}), 422).startswith(says)


@pytest.mark.parametrize(
    ("method", "path", "status", "says"),
    [
        ("GET", "/api/galery", 404, "there is nothing at /api/galery; `/docs` tells what can be asked here"),
        ("GET", f"/{'x' * 999}", 404, f"there is nothing at /{'x' * 59}; "),
        ("GET", "/api/search", 405, "GET is nothing that /api/search takes; send POST: `/docs` tells how"),
        ("PUT", "/api/gallery", 405, "PUT is nothing that /api/gallery takes; send GET: `/docs` tells how"),
        ("PUT", "/api/session", 405, "PUT is nothing that /api/session takes; send DELETE, POST: `/docs` tells how"),
        ("GET", "/api/sightings/x/maps", 422, "number: 'x' is no id; name a sighting by that which an answer has"),
        ("GET", "/api/sightings?start=-1", 422, "start: '-1' is no number from 0 on; send how many sightings"),
        ("POST", "/api/session", 422, "token: what came is no token; send it as JSON: {"),
    ],
)
def test_what_is_asked_at_another_address_or_otherwise_is_told(
    client: TestClient, method: str, path: str, status: int, says: str
) -> None:
    answer = client.request(method, path)
    assert troubled(answer, status).startswith(says)
    assert ("allow" in answer.headers) == (status == 405)


def test_a_token_that_is_none_is_told(client: TestClient) -> None:
    answer = client.post("/api/session", json={"token": 5})
    assert troubled(answer, 422) == 'token: what came is no token; send it as JSON: {"token": "..."}'
    answer = client.post("/api/session", content=b"{", headers={"content-type": "application/json"})
    assert troubled(answer, 422).startswith("body: what came is no JSON that says a token; send {")


def test_files_where_words_belong_are_told(client: TestClient) -> None:
    for name, says in (
        ("since", "since: 'a file' is no time"),
        ("parts", "parts: what came is no part; send names"),
        *WORDS,
    ):
        answer = client.post("/api/search", data={"like": [0]}, files=[(name, ("x", b"x"))])
        assert troubled(answer, 422).startswith(says)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "0 bytes"),
        (b"hello", "not a picture"),
        (b"\xff\xd8\xff\xe0broken", "picture 1"),
        (b"<svg/>", "not a picture"),
    ],
)
def test_what_is_no_picture_is_told_without_a_path(client: TestClient, data: bytes, says: str) -> None:
    detail = troubled(client.post("/api/search", files=sent(data)), 400)
    assert says in detail
    assert "/" not in detail.replace("and/or", "")


def test_too_many_pictures_are_refused(client: TestClient) -> None:
    image = as_file(person(0, 9))
    assert "9 pictures came" in troubled(client.post("/api/search", files=sent(*[image] * 9)), 400)


def test_uploads_are_kept_only_where_and_when_that_is_asked(other: Client, tmp_path: Path) -> None:
    client, image = other(keep=tmp_path), as_file(person(0, 9))
    searched(client, image)
    assert list(tmp_path.iterdir()) == []
    searched(client, image, keep=True)
    (kept,) = tmp_path.iterdir()
    assert kept.read_bytes() == image
    assert kept.stat().st_mode & 0o077 == 0
    assert client.post("/api/search", files=sent(b"no picture"), data={"keep": True}).status_code == 400
    assert list(tmp_path.iterdir()) == [kept]


def test_nothing_that_is_uploaded_touches_the_disk(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def rollover(_: object) -> None:
        raise AssertionError("laid down on the disk")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", rollover)
    image = as_file(torch.randint(0, 256, (3, 1000, 1000), dtype=torch.uint8))
    assert len(image) > 2 * 2**20
    searched(client, image)


def test_every_search_is_in_the_log_before_it_is_answered(other: Client, tmp_path: Path) -> None:
    log, image = tmp_path / "log", as_file(person(0, 9))
    client = other(log=log)
    searched(client, image, boxes=["0,0,1,0.5"], cameras=["gate"])
    client.post("/api/search", files=sent(b"broken"))
    client.post("/api/search", data={"like": [0], "cameras": ["attic"]})  # nothing is looked for
    searched(client, like=[0], parts=["3", "foreground"], since="2024-05-31 12:00")
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [entry["event"] for entry in entries] == ["search"] * 3
    assert (entries[2]["parts"], entries[2]["since"]) == ([0, 3], NOON)  # whatever they were called
    assert entries[0]["who"] == "local"
    assert entries[0]["cameras"] == ["gate"]
    assert re.fullmatch("[0-9a-f]{64}", entries[0]["pictures"][0]["sha256"])
    assert entries[0]["pictures"][0]["box"] == [0, 0, 1, 0.5]
    assert check_log(log) == []


def test_nobody_searches_without_the_log(other: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = other(log=tmp_path / "log")
    monkeypatch.setattr("os.write", lambda *_: 0)
    assert "log" in troubled(client.post("/api/search", data={"like": [0]}), 503)


def test_a_gallery_that_cannot_be_read_tells_no_path(
    client: TestClient, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise InputError(f"reading the gallery {place.gallery.folder} failed: restore it from an export")

    monkeypatch.setattr(Gallery, "rows", broken)
    detail = troubled(client.get("/api/sightings/0/picture"), 503)
    assert str(place.folder) not in detail


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("the gallery g holds embeddings of another model", 503),
        ("g/prepared cannot be read", 503),
        (f"{Path.cwd() / 'g'}/images.lance has become a gallery of another model", 503),
        ("the picture is too large; give a smaller one", 400),  # with a g in it
    ],
)
def test_what_names_the_gallery_is_its_fault_and_not_the_asker_s(said: str, status: int) -> None:
    answer = app._unfit("g", Request({"type": "http"}), InputError(said))
    assert answer.status_code == status
    assert (said in json.loads(bytes(answer.body))["detail"]) == (status == 400)


def test_what_others_add_and_take_is_seen(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holdings, "FRESH", 0.0)
    (tmp_path / "pictures").mkdir()
    gallery = Gallery.create(tmp_path / "gallery", place.model.facts)
    app = make_app(gallery, place.model, replace(place.settings, log=tmp_path / "log"))
    client = TestClient(app, base_url="http://localhost")
    assert client.get("/api/gallery").json()["sightings"] == 0
    assert client.get("/api/sightings").json() == {"sightings": [], "next": None}
    assert searched(client, as_file(person(0, 9)))["answers"] == []
    writer = Gallery.open(tmp_path / "gallery")
    fill(writer, place.model, tmp_path / "pictures", [0, 1])
    assert client.get("/api/gallery").json()["sightings"] == 12
    assert len(searched(client, as_file(person(0, 9)))["answers"]) == 12
    writer.remove(ids_of(searched(client, as_file(person(0, 9))))[:5])
    assert client.get("/api/gallery").json()["sightings"] == 7
    assert len(searched(client, as_file(person(0, 9)))["answers"]) == 7


def test_the_manual_tells_of_every_address(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    page = client.get("/docs").text
    for path, methods in described["paths"].items():
        assert page.count(f"<code>{path}</code>") == len(methods)
    for name in ("pictures", "boxes", "unlike", "rerank"):
        assert f"<code>{name}</code>" in page
    assert "<script" not in page
    assert "style=" not in page


def test_few_pictures_are_made_at_once_and_few_wait(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    at_work, most, go = 0, 0, threading.Event()

    def slow(fact: Fact, folders: Folders, pixels: int) -> bytes | None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        go.wait(20)
        at_work -= 1
        return picture_of(fact, folders, pixels)

    monkeypatch.setattr(service, "picture_of", slow)
    monkeypatch.setattr(service, "thumbnail_of", lambda _: None)  # a gallery without thumbnails has its files read
    monkeypatch.setattr(service, "WAITING", 5)
    app = make_app(place.gallery, place.model, replace(place.settings, log=tmp_path / "log"))
    with TestClient(app, base_url="http://127.0.0.1") as client, ThreadPoolExecutor(8) as pool:
        kinds = ("picture", "maps", "thumbnail", "picture", "maps", "thumbnail")
        asked = [pool.submit(client.get, f"/api/sightings/{n}/{kind}") for n, kind in enumerate(kinds)]
        (first,), others = wait(asked, 60, FIRST_COMPLETED)
        go.set()
        assert "too many pictures" in troubled(first.result(), 503)
        assert [each.result().status_code for each in others] == [200] * 5
        assert client.get("/api/sightings/9/picture").status_code == 200
    assert most == service.DECODERS
