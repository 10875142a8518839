"""A search over HTTP: 16 clients at once ask `halfseen serve`, a process of its own, about a gallery of 100,000 images.

Each asks for the 50 nearest of a sighting of the gallery, as "more like this" on the page does, each time of another,
so that nothing is encoded. Asked: 300 requests a second, 99 of 100 answered within 150 ms, no error in 10,000.
"""

from __future__ import annotations

import argparse
import os
import re
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from halfseen.gallery.indexing.model import open_model
from measure import introduce, workplace
from search import NEAREST, SEED, Like, Synthetic, fill

CLIENTS, WARM = 16, 200
STRIDE = 7919  # of the ids that are asked for, one after the other: a prime, so that none comes twice
BORDER = "----halfseen"
ADDRESS = re.compile(r"http://([\d.]+):(\d+)/")


class Told(NamedTuple):
    """What came of a run: seconds of each request, of the whole, and the requests that were not answered by 200."""

    waits: list[float]
    seconds: float
    errors: int


class Line:
    """One client's connection, kept alive: it asks, and reads until the answer is whole."""

    def __init__(self, place: tuple[str, int]) -> None:
        self.socket = socket.create_connection(place)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._heard, self._missing, self._begun = bytearray(), 0, 0.0

    def ask(self, request: bytes) -> None:
        self._heard.clear()
        self._missing, self._begun = 0, time.perf_counter()
        self.socket.sendall(request)

    def hear(self) -> tuple[float, bool] | None:
        """The seconds that the answer took and whether it is a good one; None: there is more to come."""
        some = self.socket.recv(2**18)
        self._heard += some
        if not some:
            return time.perf_counter() - self._begun, False
        if not self._missing and (end := self._heard.find(b"\r\n\r\n")) >= 0:
            length = re.search(rb"content-length: (\d+)", self._heard[:end].lower())
            self._missing = end + 4 + int(length[1] if length else 0)
        if not self._missing or len(self._heard) < self._missing:
            return None
        return time.perf_counter() - self._begun, self._heard.startswith(b"HTTP/1.1 200")


def request_for(image: int, place: tuple[str, int]) -> bytes:
    """A form as a browser sends it."""
    fields = {"like": image, "count": NEAREST}
    parts = [f'--{BORDER}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()]
    body = f"{''.join(parts)}--{BORDER}--\r\n".encode()
    head = (
        f"POST /api/search HTTP/1.1\r\nHost: {place[0]}:{place[1]}\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: multipart/form-data; boundary={BORDER}\r\n\r\n"
    )
    return head.encode() + body


def asked(place: tuple[str, int], requests: Sequence[bytes]) -> Told:
    """All `requests`, CLIENTS of them under way at any time: who is answered asks the next at once."""
    waits: list[float] = []
    errors, coming = 0, iter(requests)
    began = time.perf_counter()
    with selectors.DefaultSelector() as ears:
        for request in (next(coming) for _ in range(min(CLIENTS, len(requests)))):
            line = Line(place)
            ears.register(line.socket, selectors.EVENT_READ, line)
            line.ask(request)
        while len(waits) < len(requests):
            for key, _ in ears.select(30) or _silence():
                if (answer := key.data.hear()) is None:
                    continue
                waits.append(answer[0])
                errors += not answer[1]
                if (following := next(coming, None)) is not None:
                    key.data.ask(following)
        for key in list(ears.get_map().values()):
            key.data.socket.close()
    return Told(waits, time.perf_counter() - began, errors)


def _silence() -> list[tuple[selectors.SelectorKey, int]]:
    raise SystemExit("the service has not answered for 30 seconds")


@contextmanager
def serving(gallery: Path) -> Iterator[tuple[tuple[str, int], int]]:
    """`halfseen serve`, as one would type it: where it listens, and its process."""
    command = [sys.executable, "-m", "halfseen", "serve", str(gallery), "--port", "0", "--rate", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            told = ADDRESS.search(server.stdout.readline())
            if told is None:
                raise SystemExit("`halfseen serve` did not say where it listens")
            yield (told[1], int(told[2])), server.pid
        finally:
            server.send_signal(signal.SIGINT)


def computed(pid: int | str) -> float:
    """Seconds that a process has computed so far."""
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return sum(map(int, times[11:13])) / os.sysconf("SC_CLK_TCK")


def measure(gallery: Path, images: int, requests: int) -> None:
    with serving(gallery) as (place, pid):
        wanted = [request_for((number * STRIDE) % images, place) for number in range(WARM + requests)]
        asked(place, wanted[:WARM])
        before = computed(pid), computed("self")
        told = asked(place, wanted[WARM:])
        after = computed(pid), computed("self")
    waits = sorted(1000 * wait for wait in told.waits)
    p99 = statistics.quantiles(waits, n=100)[-1]
    print(f"{requests / told.seconds:.0f} requests/s (asked 300); {told.errors} errors in {requests:,} (asked none)")
    print(f"answered in {statistics.median(waits):.0f} ms, p99 {p99:.0f} ms (asked 150), at most {waits[-1]:.0f} ms")
    server, client = (1000 * (b - a) / requests for a, b in zip(before, after, strict=True))
    print(f"a request takes {server:.2f} ms of the server's processors and {client:.2f} ms of the client's")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the gallery is made, and kept; left out: a temporary one")
    parser.add_argument(
        "--like", type=Path, nargs="+", help="files of `halfseen encode` by the default model: see search"
    )
    given = parser.parse_args()
    model = open_model(device="cpu").facts
    parts, dim = len(model.parts), model.dim
    draw = Like(given.like) if given.like else Synthetic(parts, dim)
    introduce(f"{CLIENTS} clients search {given.images:,} images × {parts} × {dim} over HTTP", SEED)
    with workplace(given.folder) as folder:
        if not (folder / "gallery").exists():
            fill(folder / "gallery", given.images, draw, model)
        for _ in range(given.runs):
            measure(folder / "gallery", given.images, given.requests)


if __name__ == "__main__":
    main()
