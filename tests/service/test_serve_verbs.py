"""`halfseen serve`: it says where it is, answers, and ends by Ctrl-C; what cannot be is told in a sentence."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI, Response

from halfseen.service import running
from halfseen.service.running import Certificate, address, listen, serve, served
from halfseen.types import InputError
from served import PEOPLE, TOKEN, Place, as_file, person

Refused = Callable[..., str]

ASK = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
LARGE = 2**24


@contextmanager
def serving(*words: object) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address that a process of its own prints, and that process."""
    command = [sys.executable, "-m", "halfseen", "serve", *map(str, words), "--port", "0", "--device", "cpu"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert process.stdout
    try:
        line = process.stdout.readline()
        found = re.match(r"(https?://\S+/) shows", line)
        assert found, (line, process.communicate())
        yield found[1], process
    finally:
        process.kill()
        process.communicate()


def asked(url: str, method: str = "GET", path: str = "/api/gallery", **more: object) -> tuple[int, bytes]:
    line = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    line.request(method, path, **more)  # type: ignore[arg-type]
    answer = line.getresponse()
    found = answer.status, answer.read()
    line.close()
    return found


def form(image: bytes) -> tuple[bytes, dict[str, str]]:
    head = b'--x\r\nContent-Disposition: form-data; name="pictures"; filename="p"\r\n\r\n'
    return head + image + b"\r\n--x--\r\n", {"content-type": "multipart/form-data; boundary=x"}


def test_it_serves_until_it_is_stopped(place: Place, tmp_path: Path) -> None:
    weights = place.folder / "tiny.safetensors"
    with serving(place.folder / "gallery", "--model", weights, "--log", tmp_path / "log") as (url, process):
        assert url.startswith("http://127.0.0.1:")
        status, about = asked(url)
        assert (status, json.loads(about)["sightings"]) == (200, PEOPLE * 6)
        body, headers = form(as_file(person(1, 9)))
        status, found = asked(url, "POST", "/api/search", body=body, headers=headers)
        assert (status, len(json.loads(found)["answers"])) == (200, PEOPLE * 6)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr
        assert "Traceback" not in process.stderr.read()
    assert json.loads((tmp_path / "log").read_text())["event"] == "search"


def test_tokens_are_asked_for(place: Place, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"ada {TOKEN}\n")
    tokens.chmod(0o600)
    weights = place.folder / "tiny.safetensors"
    words = ("--model", weights, "--host", "0.0.0.0", "--tokens", tokens, "--log", tmp_path / "log")
    with serving(place.folder / "gallery", *words) as (url, process):
        here = url.replace("0.0.0.0", "127.0.0.1")
        assert asked(here)[0] == 401
        assert asked(here, headers={"authorization": f"Bearer {TOKEN}", "host": "example.org"})[0] == 200
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--host", "0.0.0.0"), "needs a token"),
        (("--host", "192.168.1.1"), "needs a token"),
        (("--tokens", "none"), "cannot be read"),
        (("--keep", "none"), "is no folder"),
        (("--folder", "none"), "is no folder"),
        (("--certificate", "c.pem"), "go together"),
        (("--megabytes", "0"), "too small"),
        (("--log", "none/log"), "nobody searches without"),
        (("--model", "none"), "none"),
        (("--port", "99999"), "nobody can listen"),
    ],
)
def test_what_cannot_be_served_is_told(
    refused: Refused, place: Place, words: tuple[str, str], says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    usual = {"--model": str(place.folder / "tiny.safetensors"), "--log": "log", "--port": "0"}
    given = [word for pair in (usual | dict([words])).items() for word in pair]
    assert says in refused("serve", place.folder / "gallery", *given)


def test_a_gallery_that_is_none_is_told(refused: Refused, place: Place, tmp_path: Path) -> None:
    assert "no gallery" in refused("serve", tmp_path, "--model", place.folder / "tiny.safetensors")


def test_a_port_is_one_s_own() -> None:
    ear = listen("127.0.0.1", 0)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address(ear))
    with pytest.raises(InputError, match="nobody can listen"):
        listen("127.0.0.1", ear.getsockname()[1])
    with pytest.raises(InputError, match="nobody can listen"):
        listen("no.such.host.invalid", 0)
    ear.close()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_the_end_of_an_answer_does_not_wait_for_a_receipt_of_its_beginning() -> None:
    async def told() -> int:
        heard: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            own = writer.get_extra_info("socket")
            heard.set_result(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with closing(listen("127.0.0.1", 0)) as ear:
            async with await asyncio.start_server(connected, sock=ear):
                _, writer = await asyncio.open_connection(*ear.getsockname())
                writer.close()
                return await heard

    assert asyncio.run(told())


def test_an_address_of_six_parts_is_written_as_browsers_want_it() -> None:
    try:
        ear = listen("::1", 0)
    except InputError:
        pytest.skip("no IPv6 here")
    assert address(ear, Certificate(Path("c"), Path("k"))).startswith("https://[::1]:")
    ear.close()


def test_a_certificate_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("nothing")
    files = Certificate(tmp_path / "c.pem", tmp_path / "c.pem")
    with closing(listen("127.0.0.1", 0)) as ear, pytest.raises(InputError, match="certificate cannot be used"):
        serve(FastAPI(), ear, files)


def test_who_asks_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    app = FastAPI()

    @app.get("/")
    async def slowly() -> str:
        await asyncio.sleep(1.5)
        return "done"

    monkeypatch.setattr(running, "PATIENCE", 0.3)
    with served(app) as url:
        host = (urlsplit(url).hostname, urlsplit(url).port)
        with socket.create_connection(host) as silent, socket.create_connection(host) as slow:
            slow.sendall(b"GET / HT")
            for line in (silent, slow):
                line.settimeout(30)
                assert line.recv(10) == b""
        with socket.create_connection(host) as line:  # an answer may take its time
            line.settimeout(60)
            line.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert line.recv(20).startswith(b"HTTP/1.1 200")


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """Each answer is more than the system takes for a client that does not read."""
    monkeypatch.setattr(running, "PATIENCE", 0.5)
    monkeypatch.setattr(running, "AT_ONCE", 4)
    app = FastAPI()
    app.get("/")(lambda: Response(b"x" * LARGE))
    return app


@contextmanager
def line_to(url: str) -> Iterator[socket.socket]:
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        line.connect((urlsplit(url).hostname, urlsplit(url).port))
        line.settimeout(30)
        yield line


@pytest.mark.parametrize("ask", [ASK * 200, ASK.replace(b"0.1", b"0.1\r\nConnection: close")], ids=["many", "last"])
def test_who_does_not_read_keeps_nobody_out(large: FastAPI, ask: bytes) -> None:
    with served(large) as url, ExitStack() as lines:
        for _ in range(3):
            line = lines.enter_context(line_to(url))
            line.sendall(ask)
            assert line.recv(12) == b"HTTP/1.1 200"
        end = time.monotonic() + 20
        while (status := asked(url, path="/")[0]) == 503 and time.monotonic() < end:
            time.sleep(0.1)
        assert status == 200


def test_who_reads_slowly_is_answered(large: FastAPI) -> None:
    """More slowly than the system asks for more of the answer, so that for a while nothing of it goes there."""
    with served(large) as url, line_to(url) as line:
        line.sendall(ASK)
        got, slowly = 0, time.monotonic() + 3
        while got < LARGE and (piece := line.recv(2**15)):
            got += len(piece)
            time.sleep(0.1 if time.monotonic() < slowly else 0)
        assert got >= LARGE


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    if not shutil.which("openssl"):
        pytest.skip("no openssl here")
    made = Certificate(tmp_path / "c.pem", tmp_path / "k.pem")
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-subj", "/CN=localhost", "-out", str(made.certificate), "-keyout", str(made.key)]
    subprocess.run([*words, *files], check=True, capture_output=True)
    return made


def rest_of(line: socket.socket) -> int:
    """How many bytes still come; who was cut off hears an end, or that it was cut off."""
    count = 0
    with suppress(ConnectionResetError):
        while piece := line.recv(2**20):
            count += len(piece)
    return count


def test_over_tls_it_is_the_same(large: FastAPI, certificate: Certificate, caplog: pytest.LogCaptureFixture) -> None:
    trusting = ssl.create_default_context(cafile=certificate.certificate)
    with served(large, certificate=certificate) as url, ExitStack() as open_ones:

        def line() -> ssl.SSLSocket:
            bare = open_ones.enter_context(line_to(url))
            return open_ones.enter_context(trusting.wrap_socket(bare, server_hostname="localhost"))

        silent, greedy = line(), line()
        greedy.sendall(ASK * 3)
        time.sleep(2.5)
        assert silent.recv(1) == b""
        assert rest_of(greedy) < LARGE
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


def test_a_slow_reader_of_headers_holds_up_nobody(app: FastAPI) -> None:
    with served(app) as url:
        host = (urlsplit(url).hostname, urlsplit(url).port)
        idle = [socket.create_connection(host) for _ in range(20)]
        for line in idle:
            line.sendall(b"GET / HTTP/1.1\r\nHost: 127")
        begin = time.monotonic()
        assert asked(url)[0] == 200
        assert time.monotonic() - begin < 20
        huge = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 100_000
        with socket.create_connection(host) as line:
            line.sendall(huge)
            assert line.recv(20).startswith(b"HTTP/1.1 400")
        for line in idle:
            line.close()
