"""Before anything is answered: who asks, from which page, how often, how much; and the headers of all answers.

Without tokens only this machine is served, and any page that its browsers show could ask: so a request must be meant
for this address (`Host`), which a name that someone points here is not, and must not come from another page.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from threading import Lock
from typing import Any, TypeAlias

from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse

from halfseen.service.settings import Settings, is_loopback
from halfseen.service.tokens import Sessions

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

API, SESSION = "/api/", "/api/session"
WORK = re.compile(r"/api/search|/api/sightings|/api/sightings/[^/]*/maps")  # counted one by one
SHOWN = re.compile(r"/api/sightings/[^/]*/(thumbnail|picture)")  # what a search or a shelf shows is not counted as work
EACH = 100  # pictures that a client may look at for each piece of work
HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::[0-9]+)?")  # nothing that readers take apart in two ways
LOGINS = 10  # wrong tokens a minute from one address
LETTER = 2**14  # bytes of a request that shows a token: anybody's is read, and as often as they like
MOST = 10_000  # clients that are counted at once

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Rate:
    """So many a minute for each client, the first of them all at once; 0: any number."""

    def __init__(self, minute: int) -> None:
        self.minute = minute
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # by client: how many, when that was so
        self._one = Lock()

    def wait(self, client: str) -> float:
        """Count one more of `client`; 0, or the seconds that it has to wait for it."""
        if not self.minute:
            return 0.0
        a_second = self.minute / 60
        with self._one:
            now = time.monotonic()
            left, when = self._left.pop(client, (float(self.minute), now))
            left = min(self.minute, left + (now - when) * a_second)
            self._left[client] = (left - 1, now) if left >= 1 else (left, now)
            while len(self._left) > MOST:
                self._left.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) / a_second

    def check(self, client: str) -> None:
        """Count one more of `client`, or refuse it."""
        seconds = self.wait(client)
        if seconds:
            raise HTTPException(
                429, f"too much at once: try again in {seconds:.1f} s", {"retry-after": str(int(seconds) + 1)}
            )


class Guard:
    """Stands before `app`. `wrong` are the wrong tokens, which `app` counts too where it is shown one."""

    def __init__(self, app: App, settings: Settings, sessions: Sessions, wrong: Rate) -> None:
        self.app, self.settings, self.sessions, self.wrong = app, settings, sessions, wrong
        self.work, self.shown = Rate(settings.rate), Rate(EACH * settings.rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        begun = False

        async def told(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = _with(message["headers"], private=scope["path"].startswith(API))
            await send(message)

        try:
            self._check(Request(scope))
            await self.app(scope, self._bounded(scope, receive), told)
        except HTTPException as refusal:
            answer = JSONResponse({"detail": refusal.detail}, refusal.status_code, refusal.headers)
            await answer(scope, receive, told)
        except Exception:  # ours, not the client's: it hears nothing of what is inside
            logging.getLogger("halfseen").exception("%s %s failed", scope["method"], scope["path"])
            if not begun:
                answer = JSONResponse({"detail": "something broke here; whoever runs this finds more in its log"}, 500)
                await answer(scope, receive, told)

    def _check(self, request: Request) -> None:
        """Let it pass, with the name of whoever asks in its scope, or raise the refusal."""
        client = request.client.host if request.client else "?"
        path: str = request.scope[
            "path"
        ]  # what is answered; `request.url` is made of what the client calls the host too
        session = (path, request.method) == (SESSION, "POST")
        self._check_page(request)
        who = self._who(request) if self.settings.tokens else "local"
        if not who and not session and "authorization" in request.headers:
            self.wrong.check(client)
        if path.startswith(API) and not who and not session:
            raise HTTPException(401, "a token is needed here: send it as `Authorization: Bearer ...`")
        request.scope["halfseen"] = {"who": who or "", "from": client}
        for rate, paths in ((self.work, WORK), (self.shown, SHOWN)):
            if paths.fullmatch(path):
                rate.check(f"{who} {client}")

    def _check_page(self, request: Request) -> None:
        host = request.headers.get("host", "")
        named = HOST.fullmatch(host.lower())
        name = named and (named[1] or named[2])
        if not self.settings.tokens and not (name and (is_loopback(name) or name == self.settings.host)):
            raise HTTPException(403, "this address is not served here; open the one that `halfseen serve` printed")
        if not request.scope["path"].startswith(API):
            return
        site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
        foreign = site not in ("same-origin", "none") if site else origin and origin.partition("//")[2] != host
        if foreign:
            raise HTTPException(403, "another page may not ask here")

    def _who(self, request: Request) -> str | None:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self.sessions.name_of_token(token)
        return self.sessions.name_of(request.cookies.get(self.sessions.cookie, ""))

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """As `receive`, up to a size and a time."""
        limit, less = self.settings.upload, "send smaller pictures, or fewer"
        if scope["path"] == SESSION:
            limit, less = min(limit, LETTER), "send a token alone"
        end = time.monotonic() + self.settings.patience
        too_large = HTTPException(413, f"that is more than {limit:,} bytes; {less}")
        claimed = dict(scope["headers"]).get(b"content-length", b"0")
        taken, complete = int(claimed) if claimed.isdigit() and len(claimed) < 19 else 0, False
        if taken > limit:
            raise too_large
        taken = 0

        async def bounded() -> Message:
            nonlocal taken, complete
            if complete:  # what comes now is that the client goes away
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, end - time.monotonic()))
            except TimeoutError as error:
                raise HTTPException(408, "the request took too long to arrive; try again") from error
            taken += len(message.get("body", b""))
            if taken > limit:
                raise too_large
            complete = not message.get("more_body", False)
            return message

        return bounded


def _with(headers: list[tuple[bytes, bytes]], *, private: bool) -> list[tuple[bytes, bytes]]:
    """`headers` and ours; nothing that is `private` stays in a cache, and pages are asked for again."""
    ours: Mapping[str, str] = HEADERS | {"cache-control": "no-store" if private else "no-cache"}
    names = {name.encode() for name in ours}
    kept = [(name, value) for name, value in headers if name.lower() not in names]
    return [*kept, *((name.encode(), value.encode()) for name, value in ours.items())]
