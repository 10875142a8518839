"""The page in a real browser when there is nobody, when it is private, and when things go wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import FastAPI

from chromium import CHROMIUM, Page
from halfseen.gallery.sightings import Fact
from halfseen.gallery.store import Gallery
from halfseen.service import holdings
from halfseen.service.app import make_app
from halfseen.service.running import served
from halfseen.service.tokens import digest_of
from page_at_work import FOUND, IDLE, LEAFED, boxes, count, search
from served import NOON, TOKEN, Place, as_file, fill, person

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no chromium here: install it to look at the page in a browser"),
]


def test_what_is_waited_for_may_stand_on_the_page_that_comes_instead(tab: Page) -> None:
    tab.open("about:blank")
    for _ in range(20):  # a third of these questions are asked of a page that is about to go
        tab.ask("(window.old = true, location.reload(), 0)")
        tab.until("!window.old")


def test_a_gallery_of_nobody_says_what_to_do(
    tab: Page, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holdings, "FRESH", 0.0)
    (tmp_path / "pictures").mkdir()
    gallery = Gallery.create(tmp_path / "gallery", place.model.facts)
    with served(make_app(gallery, place.model, replace(place.settings, log=tmp_path / "log"))) as url:
        tab.open(url)
        tab.until("document.querySelector('.state h2')")
        assert "halfseen index" in tab.ask("document.querySelector('.state').textContent")
        fill(Gallery.open(tmp_path / "gallery"), place.model, tmp_path / "pictures", [0, 1])
        tab.click(".state button")
        tab.until(LEAFED)


def test_a_token_is_asked_for(tab: Page, place: Place, tmp_path: Path) -> None:
    settings = replace(place.settings, log=tmp_path / "log", tokens={digest_of(TOKEN): "ada"})
    with served(make_app(place.gallery, place.model, settings)) as url:
        tab.open(url)
        tab.until("document.querySelector('#login').open")
        assert count(tab, "#shown img") == 0
        for token in ("wrong", TOKEN):
            tab.ask(f"document.querySelector('#token').value = '{token}'")
            tab.click("#login button")
            if token == "wrong":
                tab.until("document.querySelector('#login-fault').textContent")
        tab.until(f"!document.querySelector('#login').open && {LEAFED}")
        tab.click("#leave")
        tab.until("document.querySelector('#login')?.open")


def test_a_service_that_is_gone_is_told_and_comes_back(tab: Page, app: FastAPI, query: Path) -> None:
    usual = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    with served(app) as url:
        tab.open(url)
        tab.until(LEAFED)
        tab.send("Network.enable")
        tab.send("Network.emulateNetworkConditions", offline=True, **usual)
        tab.give("#file", query)
        try:
            tab.until("document.querySelector('.state.bad')")
            assert "does not answer" in tab.ask("document.querySelector('.state').textContent")
        finally:
            tab.send("Network.emulateNetworkConditions", offline=False, **usual)
        tab.click(".state button")
        tab.until(FOUND)


def test_what_is_no_picture_is_told(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "fake.png"
    path.write_bytes(b"not a picture")
    page.give("#file", path)
    page.until("document.querySelector('.state.bad')")
    assert "not a picture" in page.ask("document.querySelector('.state').textContent")
    assert "cannot show" in page.ask("document.querySelector('#hint').textContent")
    page.click(".state button")  # the same once more would be refused once more
    page.until(LEAFED)
    page.faults.clear()  # the console tells of the status 400


def test_a_search_that_takes_long_is_told_of(tab: Page, app: FastAPI, query: Path) -> None:
    with served(app) as url:
        tab.open(url)
        tab.until(LEAFED)
        tab.send("Network.enable")
        usual = {"offline": False, "downloadThroughput": -1, "uploadThroughput": -1}
        tab.send("Network.emulateNetworkConditions", latency=1500, **usual)
        try:
            tab.give("#file", query)
            tab.until("document.querySelector('.bone')")
            assert "Looking" in tab.ask("document.querySelector('#headline').textContent")
            tab.until(FOUND)
            tab.ask("(document.querySelector('#rerank').click(), 0)")
            assert "Looking" in tab.ask("document.querySelector('#told').textContent")
            tab.until(f"{IDLE} && !document.querySelector('#told').textContent.startsWith('Looking')")
        finally:
            tab.send("Network.emulateNetworkConditions", latency=0, **usual)


def test_the_time_line_is_all_in_sight_and_films_without_a_date_stand_beside_it(
    tab: Page, place: Place, query: Path, tmp_path: Path
) -> None:
    gallery = Gallery.create(tmp_path / "gallery", place.model.facts)
    images = [person(number, 0) for number in range(6)]
    times = [5.0, 65.0, NOON, NOON + 86_400, NOON + 4e5, NOON + 9e5]
    facts = [
        Fact("", "/a", "7", time, str(time), as_file(image, "JPEG")) for image, time in zip(images, times, strict=True)
    ]
    gallery.add(place.model.encode(images), facts)
    with served(make_app(gallery, place.model, replace(place.settings, log=tmp_path / "log"))) as url:
        tab.look(1280, 900)
        tab.open(url)
        tab.until(LEAFED)
        search(tab, query)
        tab.click("[data-view=passages]")
        tab.until("document.querySelector('.axis')")
        assert tab.ask("document.documentElement.scrollWidth - innerWidth") <= 0
        ((left, _, right, _),) = boxes(tab, "#shown")
        assert all(left <= mark[0] and mark[2] <= right for mark in boxes(tab, ".axis span"))
        assert (count(tab, ".timed .passage"), count(tab, ".untimed .passage")) == (4, 2)
        assert tab.ask("document.querySelector('.lane h2').firstChild.data") == "camera 7"
        assert "rank of the best" in tab.ask("document.querySelector('#told').textContent")


def test_names_from_outside_are_words_not_markup(tab: Page, place: Place, tmp_path: Path) -> None:
    evil = "<img src=x onerror=\"document.title='evil'\">"
    gallery = Gallery.create(tmp_path / "gallery", place.model.facts)
    images = [person(number, 0) for number in range(3)]
    facts = [
        Fact("", f"/{evil}{number}", evil, None, "", as_file(image, "JPEG")) for number, image in enumerate(images)
    ]
    gallery.add(place.model.encode(images), facts)
    with served(make_app(gallery, place.model, replace(place.settings, log=tmp_path / "log"))) as url:
        tab.open(url)
        tab.until(f"{IDLE} && document.querySelectorAll('#shown .tile').length === 3")
        tab.click("#shown .tile")
        tab.until(f"{IDLE} && document.querySelectorAll('#shown .bars').length === 3")
        tab.click("#shown .tile:nth-child(2)")
        tab.until("document.querySelector('#closer').open")
        assert tab.ask("document.title") == "halfseen"
        assert evil in tab.ask("document.querySelector('#shown').textContent")
        assert count(tab, "img[src=x]") == 0


def test_the_manual_is_a_page_too(tab: Page, home: str) -> None:
    tab.faults.clear()
    tab.look(400, 850)
    tab.open(f"{home}docs")
    assert tab.ask("document.querySelectorAll('section').length") == 8
    assert tab.ask("document.documentElement.scrollWidth - innerWidth") <= 0
    assert tab.faults == []
