"""The end of the demo: the street as a gallery and a page, asked over HTTP for somebody whose lower half is covered."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
import torch

pytest.importorskip("lance", reason="galleries need pylance: pip install 'halfseen[search]'")
pytest.importorskip("fastapi", reason="the page needs fastapi: pip install 'halfseen[serve]'")

from halfseen.data.images import read_image
from halfseen.data.sets import SETS, read_set
from halfseen.demo_page import asked, covered, show_page
from halfseen.gallery.parts import label_of
from halfseen.gallery.store import Gallery
from halfseen.painting import Job
from halfseen.rendering import render_set
from halfseen.types import InputError
from halfseen.world.plan import Setting

Run = Callable[..., tuple[int, str, str]]

TINY = Setting(ids=6, images=8, cameras=3, height=128, width=64, sharing=0.3)
IN_A_TERMINAL = """
import sys
from dataclasses import replace
from pathlib import Path
from halfseen.data.sets import SETS
from halfseen.demo_page import show_page
SETS["street"] = replace(SETS["street"], home=Path(sys.argv[1]))
show_page(Path(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Three people in fifteen pictures stand for the street."""
    folder = tmp_path_factory.mktemp("tiny") / "street"
    render_set(Job(folder, TINY), workers=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SETS, "street", replace(SETS["street"], home=folder))
        yield folder


class Shown(NamedTuple):
    """What was printed, and the folder that was filled."""

    printed: str
    out: Path

    @property
    def url(self) -> str:
        (url,) = re.findall(r"^(http://127\.0\.0\.1:\d+/) shows 15 pictures of the street\.$", self.printed, re.M)
        return str(url)


def show(out: Path) -> Shown:
    with redirect_stdout(io.StringIO()) as printed, redirect_stderr(io.StringIO()) as err:
        show_page(out)
    assert err.getvalue() == ""
    return Shown(printed.getvalue(), out)


@pytest.fixture(scope="module")
def shown(street: Path, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    assert read_set("street").root == street
    return show(tmp_path_factory.mktemp("out"))


@pytest.mark.usefixtures("street")
def test_the_lower_half_of_somebody_is_covered(shown: Shown) -> None:
    whole = read_set("street:holistic").query[1]
    image, who = read_image(whole.path), read_image(shown.out / "who.png")
    assert torch.equal(who[:, :64], image[:, :64])
    assert (who[:, 64:] == 128).all()
    assert (covered(torch.zeros(3, 5, 2, dtype=torch.uint8))[0, :, 0] > 0).tolist() == [False, False, True, True, True]
    assert f"for person {whole.pid}, seen by camera {whole.camid}, of whom {shown.out}/who.png shows" in shown.printed


def test_what_http_answers_is_what_the_command_line_answers(shown: Shown, run: Run) -> None:
    words = ("search", shown.out / "who.png", "--gallery", shown.out / "street", "--device", "cpu")
    code, said, _ = run(*words, "--json", "--strip", shown.out / "again.png")
    told = json.loads(said)["sightings"]
    assert code == 0
    lines = shown.printed.split("show the part:\n")[1].splitlines()
    assert " whole person " in lines[0]
    assert lines[0].split() == ["rank", "person", "camera", "all", *" ".join(map(label_of, told[0]["parts"])).split()]
    expected = [
        [
            *(str(each["rank"]), each["track"].lstrip("0"), each["camera"], f"{each['distance']:.3f}"),
            *("·" if part is None else f"{part:.2f}" for part in each["parts"].values()),
        ]
        for each in told
    ]
    assert [line.split() for line in lines[1:11]] == expected
    right = sum(each["track"] == "0005" for each in told)
    assert right == sum(row[1] == "5" for row in expected)
    assert lines[11] == f"{right} of them are that person; drawn: {shown.out}/answers.png"
    assert torch.equal(read_image(shown.out / "answers.png"), read_image(shown.out / "again.png"))


@pytest.mark.usefixtures("street")
def test_the_gallery_knows_people_and_cameras(shown: Shown) -> None:
    facts = Gallery.open(shown.out / "street").rows()
    pictures = {sample.name.rpartition("/")[2]: sample for sample in read_set("street").gallery}
    assert len(facts) == len(pictures) == 15
    for fact in facts.values():
        sample = pictures[Path(fact.image).name]
        assert (int(fact.track), int(fact.camera)) == (sample.pid, sample.camid)


def test_the_service_is_gone_and_has_noted_the_search(shown: Shown) -> None:
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", urlsplit(shown.url).port or 0))
    lines = (shown.out / "street" / "searches.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["event"] == "search"
    assert f"halfseen serve {shown.out}/street\n" in shown.printed


@pytest.mark.usefixtures("street")
def test_twice_is_once(shown: Shown) -> None:
    table = shown.printed.split("show the part:\n")[1]
    assert show(shown.out).printed.split("show the part:\n")[1] == table
    assert len(Gallery.open(shown.out / "street")) == 15


@pytest.mark.parametrize("package", ["lance", "fastapi", "uvicorn", "python_multipart"])
def test_without_the_extras_one_sentence_says_what_to_install(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("halfseen.service.packages.find_spec", lambda name: None if name == package else object())
    show_page(tmp_path)
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "pip install 'halfseen[search,serve]'" in err
    assert list(tmp_path.iterdir()) == []


def test_in_a_terminal_the_page_stays_until_ctrl_c(street: Path, tmp_path: Path) -> None:
    ours, theirs = pytest.importorskip("pty", reason="Unix only").openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, str(street), str(tmp_path)],
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TERM": "dumb"},
    )
    os.close(theirs)
    with open(ours, encoding="utf-8", newline="") as terminal, process:  # noqa: PTH123  (a descriptor has no path)
        try:
            while not (found := re.search(r"(http://\S+/) shows 15 ", terminal.readline())):
                assert process.poll() is None
            assert f"Drop {tmp_path}/who.png on it" in terminal.readline()
            answers = asked(found[1], (tmp_path / "who.png").read_bytes())["answers"]
            assert len(answers) == 10
            with closing(HTTPConnection(urlsplit(found[1]).netloc, timeout=30)) as line:
                line.request("GET", "/")
                assert b"<html" in line.getresponse().read()
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
            assert f"halfseen serve {tmp_path}/street" in terminal.readline()
        finally:
            process.kill()
        assert process.stderr
        assert process.stderr.read() == b""


def test_a_service_that_refuses_is_told() -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(503)
            self.end_headers()
            self.wfile.write(b'{"detail": "the log cannot be written"}')

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(InputError, match=r"refused the search \(503\): the log cannot be written"):
            asked(f"http://127.0.0.1:{server.server_port}/", b"picture")
        thread.join()
