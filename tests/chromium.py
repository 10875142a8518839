"""A real browser without a window, told what to do through its own DevTools protocol: JSON over two pipes."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 60.0  # seconds; the machine may be busy

KEYS = {"Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}


# What the browser answers of a question whose page went while it was asked, by `location.reload()` for one.
GONE = ("Inspected target navigated or closed", "Execution context was destroyed", "Cannot find default execution")


class MovedError(RuntimeError):
    """The page that was asked is another by now."""


class Page:
    """One tab. `faults` are the errors that its scripts and its console told of."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back, self._rest, self._number, self._session = to, back, b"", 0, ""
        self.faults: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Call `method` of the protocol, and wait for what it returns."""
        self._number += 1
        call: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            call["sessionId"] = self._session
        os.write(self._to, json.dumps(call).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while True:
            message = self._next(end)
            self._hear(message)
            if message.get("id") == self._number:
                if "error" in message:
                    told = message["error"]["message"]
                    raise (MovedError if told.startswith(GONE) else RuntimeError)(f"{method}: {told}")
                result: dict[str, Any] = message["result"]
                return result

    def _next(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._back], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            read = os.read(self._back, 2**20)
            if not read:
                raise ConnectionError("the browser has ended")
            self._rest += read
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def _hear(self, message: dict[str, Any]) -> None:
        told = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                details = told["exceptionDetails"]
                self.faults.append(details.get("exception", {}).get("description") or details["text"])
            case "Runtime.consoleAPICalled" if told["type"] in ("error", "assert"):
                self.faults.append(" ".join(str(each.get("value") or each.get("description")) for each in told["args"]))
            case "Log.entryAdded" if told["entry"]["level"] == "error":
                self.faults.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")

    def open(self, url: str) -> None:
        self.send("Page.navigate", url="about:blank")
        self.until("location.href === 'about:blank'")
        self.send("Page.navigate", url=url)
        self.until(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression; promises are waited for."""
        done = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise RuntimeError(f"{expression}: {done['exceptionDetails']}")
        return done["result"].get("value")

    def until(self, expression: str, patience: float = PATIENCE) -> None:
        """Wait for `expression` to be true, of this page or of the one that comes in its place."""
        end = time.monotonic() + patience
        while True:
            with suppress(MovedError):
                if self.ask(f"!!({expression})"):
                    return
            if time.monotonic() > end:
                raise TimeoutError(f"never came true: {expression}; faults: {self.faults}")
            time.sleep(0.05)

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """The size of the window and the colours that its person prefers; below 600 pixels it is a phone."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def middle(self, selector: str) -> tuple[float, float]:
        """Of the first element that fits, once it is in sight."""
        script = (
            f"(() => {{ const at = document.querySelector({json.dumps(selector)}); "
            "at.scrollIntoView({block: 'center', behavior: 'instant'}); const box = at.getBoundingClientRect(); "
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        x, y = self.ask(script)
        return x, y

    def point(self, x: float, y: float, kind: str = "mouseMoved", **more: Any) -> None:
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, selector: str) -> None:
        x, y = self.middle(selector)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.point(x, y, kind, **({} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}))

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.point(*start, "mousePressed", button="left", clickCount=1)
        for share in (0.3, 0.6, 1.0):
            x, y = (a + share * (b - a) for a, b in zip(start, end, strict=True))
            self.point(x, y, "mouseMoved", button="left", buttons=1)
        self.point(*end, "mouseReleased", button="left", clickCount=1)

    def press(self, key: str) -> None:
        text = key if len(key) == 1 else "\r" if key == "Enter" else ""
        code = KEYS.get(key, ord(key.upper()) if len(key) == 1 else 0)
        words = {"key": key, "windowsVirtualKeyCode": code, "code": key if len(key) > 1 else f"Key{key.upper()}"}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **words)
        self.send("Input.dispatchKeyEvent", type="keyUp", **words)

    def give(self, selector: str, *paths: Path) -> None:
        """Files for an `<input type=file>`."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def shoot(self, path: Path, *, whole: bool = False) -> None:
        """A PNG of what is in sight, or of the whole page."""
        path.write_bytes(b64decode(self.send("Page.captureScreenshot", captureBeyondViewport=whole)["data"]))


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A tab of a browser whose profile is in `folder`."""
    (their_in, to), (back, their_out) = os.pipe(), os.pipe()
    words = [str(CHROMIUM), "--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    words += ["--hide-scrollbars", "--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}"]
    words += ["--no-sandbox"] if os.geteuid() == 0 else []  # chromium refuses root otherwise
    # The protocol's pipes are the descriptors 3 and 4. A shell puts them there: Python's own way runs between fork and
    # exec, which threads do not stand.
    script = f'exec 3<&{their_in} 4>&{their_out}; exec "$@"'
    process = subprocess.Popen(
        ["/bin/bash", "-c", script, "bash", *words],
        pass_fds=(their_in, their_out),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(their_in)
    os.close(their_out)
    try:
        yield Page(to, back)
    finally:
        with suppress(OSError):
            os.write(to, b'{"id": 0, "method": "Browser.close"}\0')
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(to)
        os.close(back)
