"""A service at work: on a port of this machine until it is stopped."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from halfseen.types import InputError

HEADER = 32 * 2**10  # bytes of what a request may begin with
IDLE = 10  # seconds that an idle connection is kept
PATIENCE = 10.0  # seconds, until a request has come as far as its headers, or some of an answer was taken
AT_ONCE = 512  # connections
ACKNOWLEDGED = 120  # where Linux's `tcp_info` has how many bytes the other side has acknowledged, of 8 bytes


class Certificate(NamedTuple):
    """Files of a certificate and of its private key, in PEM."""

    certificate: Path
    key: Path


class Patient(H11Protocol):
    """A connection that is given up when its client says nothing whole for PATIENCE seconds: no request, and none that
    is being answered; or when it takes nothing in that time of what it was answered. Otherwise whoever opens AT_ONCE
    connections, and no more, could keep everybody else out."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.loop.call_later(PATIENCE, self._look_again, None, None)

    def _look_again(self, answered: object, taken: int | None) -> None:
        """`answered` is what was answered last when this was looked at before, `taken` how much of what was to go out
        had been taken then; None: nothing was to go out."""
        if self not in self.connections:  # one that closes is still there while something of it is to go out
            return
        now = _taken(self.transport)
        if now is not None and now == taken:
            self.transport.abort()
            return
        if self.conn.their_state is h11.IDLE and self.cycle is answered and not self.transport.is_closing():
            self.transport.close()
        self.loop.call_later(PATIENCE, self._look_again, self.cycle, now)


def _taken(transport: asyncio.Transport) -> int | None:
    """How much the client's machine has acknowledged; where that cannot be told, how much waits here; None: nothing.

    What waits here does for that only at need: the system passes megabytes on before it takes more from us, and who
    reads slowly would seem not to read.
    """
    try:
        waiting = transport.get_write_buffer_size()
    except AttributeError:  # asyncio forgets what waits where TLS is closed twice; it ends that by itself
        return None
    if not waiting:
        return None
    try:
        about = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, ACKNOWLEDGED + 8)
        (acknowledged,) = struct.unpack_from("=Q", about, ACKNOWLEDGED)
    except (AttributeError, OSError, struct.error):  # not Linux, or one of before 2015
        return waiting
    return int(acknowledged)


def listen(host: str, port: int) -> socket.socket:
    """A port of this machine that is ours from now on; 0 is any that is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    ear = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # said, or asyncio leaves Nagle's 40 ms on
    ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        ear.bind((host, port))
        ear.listen(AT_ONCE)  # whoever comes before we answer waits
    except (OSError, OverflowError) as error:
        ear.close()
        raise InputError(
            f"nobody can listen at {host}, port {port} ({error}); give another --port, or an address of this machine"
        ) from error
    return ear


def address(ear: socket.socket, certificate: Certificate | None = None) -> str:
    """What a browser is told."""
    host, port = ear.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if certificate else 'http'}://{shown}:{port}/"


def serve(app: FastAPI, ear: socket.socket, certificate: Certificate | None = None) -> None:
    """Answer until Ctrl-C or SIGTERM; what has begun is answered first."""
    gc.collect()
    gc.freeze()  # what is there stays: looking through all of it for garbage takes 0.4 s, in which nobody is answered
    try:
        with suppress(KeyboardInterrupt):
            _server(app, certificate).run(sockets=[ear])
    finally:
        gc.unfreeze()  # or the end of Python would find it leaked, and libraries complain


@contextmanager
def served(app: FastAPI, host: str = "127.0.0.1", certificate: Certificate | None = None) -> Iterator[str]:
    """The address at which `app` answers, from a thread of its own, as long as one is in here."""
    ear = listen(host, 0)
    server = _server(app, certificate)
    thread = Thread(target=server.run, kwargs={"sockets": [ear]}, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.005)
    try:
        yield address(ear, certificate)
    finally:
        server.should_exit = True
        thread.join()


def _server(app: FastAPI, certificate: Certificate | None = None) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # our own log says who asked
        server_header=False,
        proxy_headers=False,  # anyone could say to come from anywhere
        lifespan="off",
        http=Patient,
        ws="none",
        h11_max_incomplete_event_size=HEADER,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=IDLE,
        limit_concurrency=AT_ONCE,
        ssl_certfile=certificate and certificate.certificate,
        ssl_keyfile=certificate and certificate.key,
    )
    try:
        config.load()
    except OSError as error:  # ssl's own errors are such too
        raise InputError(f"the certificate cannot be used ({error}); give it and its key as PEM files") from error
    return uvicorn.Server(config)
