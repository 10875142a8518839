"""A browser shows the page, wide and narrow, light and dark, and answers to the mouse."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from halfseen.report import page
from halfseen.reporting.results import Result

PARTS = 8


# --- in a browser ---

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LISTEN = "<script>window.faults = []; addEventListener('error', (event) => faults.push(event.message));</script>"
LOOK = """<script type="module">
const wait = (time) => new Promise((done) => setTimeout(done, time));
const button = document.querySelector("button.tile");
button.scrollIntoView({ block: "center", behavior: "instant" });
const open = () => document.querySelector(":popover-open");
const until = async (act) => { // scrolling closes details, and may take a while
  for (let tries = 0; tries < 20 && !open(); tries++) { act(); await wait(200); }
  return open();
};
const point = () => button.dispatchEvent(new PointerEvent("pointerenter", { pointerType: "mouse" }));
const details = await until(point), box = details?.getBoundingClientRect();
const { clientWidth, clientHeight, scrollWidth } = document.documentElement;
button.dispatchEvent(new PointerEvent("pointerleave", { pointerType: "mouse" }));
const after = document.querySelectorAll(":popover-open").length;
const kept = await until(() => button.click());
const chart = document.querySelector("svg.chart text");
parent.postMessage({
  faults, after, overflow: scrollWidth - clientWidth, width: clientWidth,
  rows: details?.querySelectorAll("tbody tr").length,
  inside: box && box.left >= 0 && box.right <= clientWidth && box.top >= 0 && box.bottom <= clientHeight,
  kept: kept === details,
  broken: [...document.images].filter((image) => !image.naturalWidth).length,
  background: getComputedStyle(document.body).backgroundColor,
  letters: chart.getBoundingClientRect().height,
}, "*");
</script>"""
WIDTHS = (1280, 400)
FRAMES = """<!doctype html><meta name="color-scheme" content="light dark"><body><script>
const seen = {};
addEventListener("message", ({ data }) => { seen[data.width] = data; document.title = JSON.stringify(seen); });
</script>"""


def looked(folder: Path, told: str, *, dark: bool) -> dict[str, Any]:
    """What a browser makes of the page `told` in windows of WIDTHS."""
    probed = told.replace("<head>", f"<head>{LISTEN}").replace("</body>", f"{LOOK}</body>")
    (folder / "page.html").write_text(probed)
    style = "border:0;height:900px;color-scheme:light dark"
    frames = "".join(f'<iframe src="page.html" style="{style};width:{width}px"></iframe>' for width in WIDTHS)
    (folder / "frames.html").write_text(FRAMES + frames)
    words = ["--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars"]
    words += [f"--user-data-dir={folder / 'browser'}", f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    words += ["--no-sandbox"] if os.geteuid() == 0 else []  # chromium refuses root otherwise
    words += [
        "--window-size=1400,1900",
        "--virtual-time-budget=20000",
        "--dump-dom",
        f"file://{folder / 'frames.html'}",
    ]
    done = subprocess.run([str(CHROMIUM), *words], capture_output=True, text=True, timeout=120, check=True)
    (title,) = re.findall(r"<title>(.*?)</title>", done.stdout)
    found: dict[str, Any] = json.loads(unescape(title))
    return found


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="no chromium here: install it to look at the report in a browser")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_browser_shows_it_wide_and_narrow(result: Result, purified: Result, tmp_path: Path, dark: bool) -> None:
    found = looked(tmp_path, page([result, purified], queries=2), dark=dark)
    assert sorted(map(int, found)) == sorted(WIDTHS)
    for seen in found.values():
        assert seen["faults"] == []
        assert seen["overflow"] == 0  # nothing to scroll to the side
        assert seen["broken"] == 0
        assert (seen["rows"], seen["inside"]) == (1 + PARTS, True)  # under the mouse an answer shows its parts
        assert (seen["after"], seen["kept"]) == (0, True)  # they go with the mouse, and stay after a click
        assert seen["letters"] > 9  # pixels: charts can be read
        shade = sum(map(int, re.findall(r"\d+", seen["background"])[:3])) / 3
        assert shade < 60 if dark else shade > 200
