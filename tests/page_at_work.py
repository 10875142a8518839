"""What tests ask of the service's page, as JavaScript, and what they do with it."""

from __future__ import annotations

from pathlib import Path

from chromium import Page

IDLE = "document.querySelector('#shown').ariaBusy === 'false' && !document.querySelector('.bone')"
LEAFED = f"{IDLE} && document.querySelectorAll('#shown .tile').length > 3 && !document.querySelector('.bars')"
FOUND = f"{IDLE} && document.querySelectorAll('#shown .bars').length > 3"
NEAR = "image.checkVisibility() && image.getBoundingClientRect().top < innerHeight"
SEEN = f"[...document.images].filter((image) => {NEAR})"
LOADED = f"{SEEN}.every((image) => image.complete)"
BROKEN = f"{SEEN}.filter((image) => !image.naturalWidth).length"
ORDER = "[...document.querySelectorAll('#shown .tile')].map((tile) => Number(tile.dataset.id))"


def search(page: Page, path: Path) -> None:
    page.give("#file", path)
    page.until(FOUND)
    page.until(LOADED)


def again(page: Page, act: str) -> None:
    """Do something that asks the service, and wait for its answer."""
    page.ask(f"(document.querySelector('#shown').ariaBusy = 'true', {act}, 0)")
    page.until(IDLE)


def boxes(page: Page, selector: str) -> list[list[float]]:
    """Left, top, right and bottom of elements, in the window."""
    sides = "(({ left, top, right, bottom }) => [left, top, right, bottom])(each.getBoundingClientRect())"
    found: list[list[float]] = page.ask(f"[...document.querySelectorAll({selector!r})].map((each) => {sides})")
    return found


def since(page: Page, moment: str) -> None:
    field = "document.querySelector('#since')"
    again(page, f"({field}.value = '{moment}', {field}.dispatchEvent(new Event('change')))")


def count(page: Page, selector: str) -> int:
    found: int = page.ask(f"document.querySelectorAll({selector!r}).length")
    return found
