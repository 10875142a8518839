"""Who may ask, from where, how often and how much."""

from __future__ import annotations

import json
import re
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.datastructures import URL
from starlette.requests import Request

from halfseen.service import guard
from halfseen.service.guard import Rate
from halfseen.service.running import served
from halfseen.service.tokens import digest_of
from served import TOKEN, as_file, person

Client = Callable[..., TestClient]
PAGES = ("/", "/page.css", "/page.js", "/icon.svg", "/docs", "/openapi.json")
API = ("/api/gallery", "/api/sightings", "/api/sightings/0/thumbnail", "/api/sightings/0/picture")
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize("path", [*PAGES, *API, "/none", "/api/none", "/api/sightings/x/picture"])
def test_every_answer_bears_the_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers.get_list("cache-control") == ["no-store" if path.startswith("/api/") else "no-cache"]
    assert "server" not in headers


def test_the_page_holds_nothing_that_its_policy_forbids(client: TestClient) -> None:
    page = client.get("/").text
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|javascript:|https?://", page)
    code = client.get("/page.js").text
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://", code
    )
    assert not re.search(r"@import|https?://", client.get("/page.css").text)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8765", "localhost:1", "[::1]:80", "LOCALHOST"])
def test_this_machine_is_served(client: TestClient, host: str) -> None:
    assert client.get("/api/gallery", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "10.0.0.1",
        "",
        "[::1",
        "127.0.0.1@evil",
        "[x]",
        "evil@127.0.0.1",
        "127.0.0.1#x",
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/gallery"])
def test_another_name_that_leads_here_is_not(client: TestClient, host: str, path: str) -> None:
    assert client.get(path, headers={"host": host}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
    ],
)
def test_other_pages_may_not_ask(client: TestClient, headers: dict[str, str]) -> None:
    assert client.get("/api/gallery", headers=headers).status_code == 403
    assert client.post("/api/search", headers=headers, data={"like": [0]}).status_code == 403


@pytest.mark.parametrize(
    "headers", [{"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}, {"origin": "http://127.0.0.1"}]
)
def test_our_own_page_may(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/api/search", headers=headers, data={"like": [0]}).status_code == 200


@pytest.mark.parametrize("path", API)
def test_without_a_token_nothing_is_shown(private: TestClient, path: str) -> None:
    assert private.get(path).status_code == 401
    for wrong in ("Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN} x"):
        assert private.get(path, headers={"authorization": wrong}).status_code == 401
    assert private.get(path, headers=BEARER).status_code == 200
    assert private.post("/api/session", json={"token": TOKEN}).status_code == 200
    (name,) = private.cookies
    private.cookies.clear()
    assert private.get(path, headers={"cookie": f"{name}={TOKEN}"}).status_code == 401


def test_without_a_token_nothing_is_searched_and_nothing_is_read(private: TestClient) -> None:
    assert private.post("/api/search", data={"like": [0]}).status_code == 401
    assert all(private.get(path).status_code == 200 for path in PAGES)  # they hold nothing of the gallery


def test_no_host_makes_a_private_path_a_public_one(private: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for host in ("a?", "a#", "a/x?", "a\\"):
        assert private.get("/api/gallery", headers={"host": host}).status_code == 401
    # Starlettes of before 2026 made the address of whatever `Host` held, and its path was not what is answered.
    monkeypatch.setattr(Request, "url", property(lambda request: URL(f"http://a?{request.scope['path']}")))
    assert private.get("/api/gallery").status_code == 401
    assert private.get("/api/gallery", headers=BEARER).status_code == 200
    assert private.get("/api/gallery", headers=BEARER | {"sec-fetch-site": "cross-site"}).status_code == 403


def test_behind_a_proxy_with_https_the_cookie_is_for_https_alone(private: TestClient) -> None:
    home = {"host": "halfseen.example"}
    for origin, secure in (("https://halfseen.example", True), ("http://halfseen.example", False)):
        answer = private.post("/api/session", json={"token": TOKEN}, headers=home | {"origin": origin})
        assert ("; Secure" in answer.headers["set-cookie"]) is secure


def test_a_token_opens_a_session_and_a_session_ends(other: Client, tmp_path: Path) -> None:
    client = other(tokens={digest_of(TOKEN): "ada"}, log=tmp_path / "log")
    assert client.post("/api/session", json={"token": "wrong"}).status_code == 401
    answer = client.post("/api/session", json={"token": TOKEN})
    assert answer.json() == {"who": "ada"}
    cookie = answer.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/api", "Max-Age="))
    assert TOKEN not in cookie
    assert client.get("/api/gallery").json()["who"] == "ada"
    client.post("/api/search", data={"like": [0]})
    ((name, stolen),) = client.cookies.items()
    assert name.startswith("halfseen-")
    assert client.delete("/api/session").status_code == 204
    assert client.get("/api/gallery").status_code == 401
    assert client.get("/api/gallery", headers={"cookie": f"{name}={stolen}"}).status_code == 401
    events = [(entry["event"], entry["who"]) for entry in map(json.loads, (tmp_path / "log").read_text().splitlines())]
    assert events == [("refused", ""), ("session", "ada"), ("search", "ada")]
    assert TOKEN not in (tmp_path / "log").read_text()


def test_services_at_two_ports_of_a_host_leave_each_other_s_sessions(other: Client, tmp_path: Path) -> None:
    both = [other(tokens={digest_of(TOKEN): "ada"}, log=tmp_path / f"log{number}") for number in range(2)]
    kept: dict[str, str] = {}  # by name, as browsers keep the cookies of a host, whatever the port
    for service in both:
        assert service.post("/api/session", json={"token": TOKEN}).status_code == 200
        kept |= service.cookies
        service.cookies.clear()
    cookies = {"cookie": "; ".join(f"{name}={value}" for name, value in kept.items())}
    assert [service.get("/api/gallery", headers=cookies).status_code for service in both] == [200, 200]
    assert both[0].delete("/api/session", headers=cookies).status_code == 204
    assert [service.get("/api/gallery", headers=cookies).status_code for service in both] == [401, 200]


@pytest.mark.parametrize("token", [f" {TOKEN}", f"{TOKEN} ", f"\t{TOKEN}\r\n"])
def test_blanks_around_a_token_are_none_of_it(private: TestClient, token: str) -> None:
    assert private.post("/api/session", json={"token": token}).json() == {"who": "ada"}


def test_where_no_token_is_wanted_none_is_taken(other: Client) -> None:
    client = other()
    assert client.post("/api/session", json={"token": TOKEN}).status_code == 400
    assert client.post("/api/session", json={}).status_code == 422


def test_tokens_cannot_be_guessed_at_leisure(other: Client, tmp_path: Path) -> None:
    client = other(tokens={digest_of(TOKEN): "ada"}, log=tmp_path / "log")
    tries = [client.post("/api/session", json={"token": f"guess {n}"}) for n in range(guard.LOGINS + 3)]
    assert [each.status_code for each in tries] == [401] * guard.LOGINS + [429] * 3
    assert 1 <= int(tries[-1].headers["retry-after"]) <= 7
    assert client.get("/api/gallery", headers={"authorization": "Bearer guess"}).status_code == 429
    assert len((tmp_path / "log").read_text().splitlines()) == guard.LOGINS  # nobody fills the disk by guessing
    for _ in range(guard.LOGINS + 1):  # whoever has one is not kept out
        assert client.post("/api/session", json={"token": TOKEN}).status_code == 200


def test_right_tokens_are_not_counted(private: TestClient) -> None:
    for _ in range(guard.LOGINS + 1):
        assert private.post("/api/session", json={"token": TOKEN}).status_code == 200
    assert private.post("/api/session", json={"token": "guess"}).status_code == 401


def test_who_shows_a_token_shows_no_more(private: TestClient) -> None:
    answer = private.post("/api/session", json={"token": TOKEN, "more": "x" * guard.LETTER})
    assert answer.status_code == 413
    assert "a token alone" in answer.json()["detail"]


def test_tokens_cannot_be_guessed_in_headers_either(private: TestClient) -> None:
    guesses = [{"authorization": f"Bearer guess {number}"} for number in range(guard.LOGINS + 1)]
    assert [private.get("/api/gallery", headers=guess).status_code for guess in guesses][-2:] == [401, 429]
    assert private.get("/api/gallery", headers=BEARER).status_code == 200  # whoever has one is not kept out


def test_who_asks_too_often_waits(other: Client) -> None:
    client = other(rate=3)
    answers = [client.post("/api/search", data={"like": [0]}) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 21
    assert "try again in" in answers[-1].json()["detail"]
    assert client.get("/api/sightings/0/maps").status_code == 429
    assert client.get("/api/sightings/0/thumbnail").status_code == 200


def test_two_at_one_address_do_not_use_up_each_other_s_share(other: Client) -> None:
    bob = "b" * 30
    client = other(tokens={digest_of(TOKEN): "ada", digest_of(bob): "bob"}, rate=1)
    by = {token: {"authorization": f"Bearer {token}"} for token in (TOKEN, bob)}
    asked = [client.get("/api/sightings", headers=by[token]).status_code for token in (TOKEN, TOKEN, bob, bob)]
    assert asked == [200, 429, 200, 429]


def test_time_gives_back_what_was_used(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    rate = Rate(6)
    assert [rate.wait("a") for _ in range(7)] == [0.0] * 6 + [10.0]
    assert rate.wait("b") == 0.0
    now = 9.0
    assert rate.wait("a") == pytest.approx(1.0)
    now = 10.0
    assert [rate.wait("a"), rate.wait("a")] == [0.0, 10.0]
    assert [Rate(0).wait("a") for _ in range(99)] == [0.0] * 99


class Slow(OrderedDict[str, tuple[float, float]]):
    """Whoever takes something out is interrupted before it is put back."""

    def pop(self, *words: Any) -> Any:
        found = super().pop(*words)
        time.sleep(0.002)
        return found


def test_threads_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    rate = Rate(5)
    rate._left = Slow()
    with ThreadPoolExecutor(8) as pool:
        waits = list(pool.map(rate.wait, ["a"] * 40))
    assert waits.count(0.0) == 5


def test_clients_are_forgotten_in_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MOST", 3)
    rate = Rate(1)
    for client in "abcd":
        rate.wait(client)
    assert len(rate._left) == 3
    assert rate.wait("a") == 0.0
    assert rate.wait("d") > 0


def test_too_large_a_request_is_refused_before_it_is_read(other: Client) -> None:
    client = other(upload=10_000)
    large = {"pictures": ("picture", b"x" * 20_000)}
    assert client.post("/api/search", files=large).status_code == 413
    assert client.post("/api/search", files={"pictures": ("p", as_file(person(0, 9)))}).status_code == 200
    claim = {"content-length": "99999", "content-type": "multipart/form-data; boundary=x"}
    assert client.post("/api/search", content=b"", headers=claim).status_code == 413


def test_too_large_a_request_of_no_known_length_is_refused(other: Client) -> None:
    def endless() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="pictures"; filename="p"\r\n\r\n'
        for _ in range(10_000):
            yield b"x" * 1000

    kind = {"content-type": "multipart/form-data; boundary=x"}
    assert other(upload=10_000).post("/api/search", content=endless(), headers=kind).status_code == 413


def test_a_request_that_never_ends_is_given_up(other: Client) -> None:
    app = other(patience=0.3).app
    assert isinstance(app, FastAPI)
    with served(app) as address, socket.create_connection((urlsplit(address).hostname, urlsplit(address).port)) as line:
        line.settimeout(20)
        line.sendall(
            b"POST /api/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
        )
        begin = time.monotonic()
        assert line.recv(100).startswith(b"HTTP/1.1 408")
        assert time.monotonic() - begin < 10


def test_a_fault_of_ours_tells_nothing(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the secret is 42")

    monkeypatch.setattr("halfseen.service.holdings.Holdings.browse", broken)
    answer = client.get("/api/sightings")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "content-security-policy" in answer.headers


def test_leafing_counts_as_work_and_pictures_for_less(other: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "EACH", 2)
    client = other(rate=3)
    ways = [client.get("/api/sightings"), client.post("/api/search", data={"like": [0]}), client.get("/api/sightings")]
    assert [way.status_code for way in ways] == [200, 200, 200]
    assert client.get("/api/sightings?count=1").status_code == 429
    assert client.post("/api/search", data={"like": [0]}).status_code == 429
    shown = [client.get(f"/api/sightings/{number}/thumbnail").status_code for number in range(7)]
    assert shown == [200] * 6 + [429]
    assert client.get("/api/sightings/0/picture").status_code == 429
    assert client.get("/api/gallery").status_code == 200


def test_leafing_is_noted_before_it_is_answered(other: Client, tmp_path: Path) -> None:
    client = other(tokens={digest_of(TOKEN): "ada"}, log=tmp_path / "log")
    words: dict[str, list[str] | float] = {"cameras": ["hall"], "since": 5.0, "start": 2, "count": 3}
    assert client.get("/api/sightings", params=words, headers=BEARER).status_code == 200
    assert client.get("/api/sightings", params={"start": -1}, headers=BEARER).status_code == 422
    assert client.get("/api/sightings", params=words).status_code == 401
    (entry,) = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert (entry["event"], entry["who"], entry["from"]) == ("leaf", "ada", "testclient")
    assert {name: entry[name] for name in words} == words
    assert entry["time"].startswith("20")
    assert not entry.keys() & {"sources", "until"}  # of which nothing was said
    (tmp_path / "log").unlink()
    assert client.get("/api/sightings", headers=BEARER).status_code == 503


def test_a_moment_0_is_noted(other: Client, tmp_path: Path) -> None:
    """Films without a date begin at 0."""
    client = other(log=tmp_path / "log")
    assert client.get("/api/sightings", params={"since": 0, "until": 0}).status_code == 200
    assert client.post("/api/search", data={"like": [0], "until": 0}).status_code == 200
    leaf, search = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert (leaf["since"], leaf["until"], leaf["start"]) == (0, 0, 0)
    assert (search["until"], search["like"]) == (0, [0])
    assert not search.keys() & {"since", "rerank", "keep", "boxes", "unlike", "cameras"}
