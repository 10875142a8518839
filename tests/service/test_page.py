"""The page in a real browser: wide and narrow, light and dark, by mouse, by keys, and when things go wrong."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import FastAPI
from PIL import Image

from chromium import CHROMIUM, Page, browser
from halfseen.gallery.search import Search
from halfseen.gallery.sightings import Ask
from halfseen.gallery.store import Gallery
from halfseen.service import holdings
from halfseen.service.app import make_app
from halfseen.service.running import served
from halfseen.service.tokens import digest_of
from served import CAMERAS, PEOPLE, TOKEN, Place, as_file, fill, person

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no chromium here: install it to look at the page in a browser"),
]

IDLE = "document.querySelector('#shown').ariaBusy === 'false' && !document.querySelector('.bone')"
LEAFED = f"{IDLE} && document.querySelectorAll('#shown .tile').length > 3 && !document.querySelector('.bars')"
FOUND = f"{IDLE} && document.querySelectorAll('#shown .bars').length > 3"
LOADED = "[...document.images].filter((image) => image.checkVisibility()).every((image) => image.complete)"
ORDER = "[...document.querySelectorAll('#shown .tile')].map((tile) => Number(tile.dataset.id))"
SIZES = ((1280, 900), (400, 850))


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture(scope="module")
def home(app: FastAPI) -> Iterator[str]:
    with served(app) as url:
        yield url


@pytest.fixture
def page(tab: Page, home: str) -> Iterator[Page]:
    """The page as it begins; whatever a test did with it, no script of it may have failed."""
    tab.faults.clear()
    tab.look(1280, 900)
    tab.open(home)
    tab.until(LEAFED)
    yield tab
    assert tab.faults == []


@pytest.fixture(scope="module")
def query(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("query") / "query.png"
    path.write_bytes(as_file(person(2, 9)))
    return path


def search(page: Page, path: Path) -> None:
    page.give("#file", path)
    page.until(FOUND)
    page.until(LOADED)


def again(page: Page, act: str) -> None:
    """Do something that asks the service, and wait for its answer."""
    page.ask(f"(document.querySelector('#shown').ariaBusy = 'true', {act}, 0)")
    page.until(IDLE)


def count(page: Page, selector: str) -> int:
    found: int = page.ask(f"document.querySelectorAll({selector!r}).length")
    return found


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES, ids=["wide", "narrow"])
def test_it_looks_as_it_should(page: Page, query: Path, tmp_path: Path, size: tuple[int, int], dark: bool) -> None:
    page.look(*size, dark=dark)
    page.until(LOADED)
    search(page, query)
    for number, act in enumerate(("0", "document.querySelector('[data-view=passages]').click()")):
        page.ask(f"({act}, scrollTo(0, 0), 0)")
        assert page.ask("document.documentElement.scrollWidth - innerWidth") <= 0
        assert (
            page.ask("[...document.images].filter((i) => i.checkVisibility() && i.complete && !i.naturalWidth).length")
            == 0
        )
        page.shoot(tmp_path / f"{number}.png")
        with Image.open(tmp_path / f"{number}.png") as shot:
            assert shot.size == size
            assert len(shot.convert("RGB").resize((200, 200)).getcolors(40_000) or ()) > 500
    red, green, blue = map(int, re.findall(r"\d+", page.ask("getComputedStyle(document.body).backgroundColor"))[:3])
    assert (red + green + blue) / 3 < 60 if dark else (red + green + blue) / 3 > 200
    small = page.ask(
        "[...document.querySelectorAll('main *')].filter((each) => each.checkVisibility() && each.childNodes.length &&"
        " [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) &&"
        " parseFloat(getComputedStyle(each).fontSize) < 11).length"
    )
    assert small == 0


def test_its_answers_are_those_of_the_gallery(page: Page, query: Path, place: Place) -> None:
    search(page, query)
    expected = Search(place.gallery).search(Ask(place.model.encode([person(2, 9)]), count=50))
    assert page.ask(ORDER) == [sighting.id for sighting in expected]
    assert count(page, "#shown .tile:first-child .bars i") == len(place.model.facts.parts)


def test_a_picture_is_dropped_or_pasted(page: Page) -> None:
    image = b64encode(as_file(person(2, 9))).decode()
    script = (
        "(() => {{ const bytes = Uint8Array.from(atob('{image}'), (letter) => letter.charCodeAt(0));"
        "const data = new DataTransfer(); data.items.add(new File([bytes], 'a.png', {{ type: 'image/png' }}));"
        "{act}; return 0; }})()"
    )
    over = "dispatchEvent(new DragEvent('dragenter', { dataTransfer: data }))"
    page.ask(script.format(image=image, act=over.replace("{", "{").replace("}", "}")))
    assert page.ask("document.querySelector('#over').checkVisibility()")
    page.ask(script.format(image=image, act="dispatchEvent(new DragEvent('drop', { dataTransfer: data }))"))
    page.until(FOUND)
    assert not page.ask("document.querySelector('#over').checkVisibility()")
    dropped = page.ask(ORDER)
    again(page, "document.querySelector('#clear').click()")
    page.until(LEAFED)
    page.ask(script.format(image=image, act="dispatchEvent(new ClipboardEvent('paste', { clipboardData: data }))"))
    page.until(FOUND)
    assert page.ask(ORDER) == dropped


def test_someone_in_the_gallery_is_searched_for_and_the_way_back_leads_back(page: Page) -> None:
    first = page.ask("document.querySelector('#shown .tile img').src.match(/sightings.(\\d+)/)[1]")
    page.click("#shown .tile")
    page.until(FOUND)
    assert page.ask(ORDER)[0] == int(first)
    assert page.ask("document.querySelector('#shown .tile').className") == "tile liked"
    again(page, "history.back()")
    page.until(LEAFED)
    again(page, "history.forward()")
    page.until(FOUND)


def test_under_the_mouse_an_answer_stands_beside_the_query(page: Page, query: Path) -> None:
    search(page, query)
    page.point(*page.middle("#shown .tile:nth-child(2)"))
    page.until("document.querySelector('#peek').matches(':popover-open')")
    box = page.ask(
        "(({left, top, right, bottom}) => [left, top, right, bottom])(document.querySelector('#peek').getBoundingClientRect())"
    )
    assert 0 <= box[0] < box[2] <= 1280
    assert 0 <= box[1] < box[3] <= 900
    assert count(page, "#peek canvas") == 2
    page.until(
        "[...document.querySelectorAll('#peek canvas')].every((canvas) => canvas.getContext('2d').getImageData(150, 300, 1, 1).data[3])"
    )
    page.point(2, 2)
    page.until("!document.querySelector('#peek').matches(':popover-open')")


def test_a_click_opens_it_and_keys_lead_on(page: Page, query: Path, place: Place) -> None:
    search(page, query)
    order = page.ask(ORDER)
    page.click("#shown .tile:nth-child(2)")
    page.until("document.querySelector('#closer').open")
    assert page.ask("document.querySelector('#closer h2').textContent") == "Rank 2"
    assert count(page, "#closer .measures tr") == len(place.model.facts.parts)
    page.press("ArrowRight")
    assert page.ask("document.querySelector('#closer h2').textContent") == "Rank 3"
    page.press("Escape")
    page.until("!document.querySelector('#closer').open")
    assert page.ask("Number(document.activeElement.dataset.id)") == order[2]
    for key, place_in_order in (("ArrowRight", 3), ("ArrowLeft", 2), ("ArrowLeft", 1)):
        page.press(key)
        assert page.ask("Number(document.activeElement.dataset.id)") == order[place_in_order]
    page.press("ArrowDown")
    below = order.index(page.ask("Number(document.activeElement.dataset.id)"))
    columns = page.ask("getComputedStyle(document.querySelector('.grid')).gridTemplateColumns.split(' ').length")
    assert below == 1 + columns
    page.press("ArrowUp")
    page.press("Enter")
    page.until("document.querySelector('#closer').open")
    assert page.ask("document.querySelector('#closer h2').textContent") == "Rank 2"


def test_more_like_this_not_like_that(page: Page, query: Path) -> None:
    search(page, query)
    order = page.ask(ORDER)
    page.ask(f"document.querySelector('[data-id=\"{order[3]}\"]').focus()")
    again(page, "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: 'm', bubbles: true }))")
    page.until("document.querySelectorAll('#strip li').length === 2")
    page.until(IDLE)
    assert page.ask(f"document.querySelector('[data-id=\"{order[3]}\"]').className") == "tile liked"
    page.ask(f"document.querySelector('[data-id=\"{order[6]}\"]').focus()")
    again(page, "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: 'n', bubbles: true }))")
    assert count(page, "#unlike li") == 1
    assert page.ask(ORDER) != order
    again(page, "document.querySelector('#unlike .off').click()")
    again(page, "document.querySelectorAll('#strip .off')[1].click()")
    assert page.ask(ORDER) == order


def test_parts_are_left_out_on_the_picture_and_by_name(page: Page, query: Path) -> None:
    search(page, query)
    order, pressed = page.ask(ORDER), "[...document.querySelectorAll('#parts button')].map((each) => each.ariaPressed)"
    again(page, "document.querySelectorAll('#parts button')[2].click()")
    assert page.ask(pressed)[2] == "false"
    assert count(page, "#shown .tile:first-child .bars .unseen") >= 1
    page.press("0")
    page.until(f"{pressed}.every((each) => each === 'true')")
    page.until(IDLE)
    assert page.ask(ORDER) == order
    page.click("#stage")
    page.until(f"{pressed}.includes('false')")
    page.until(IDLE)
    for key in range(1, 10):
        page.press(str(key))
    page.until(IDLE)
    assert "true" in page.ask(pressed)  # the last one stays


def test_a_crop_is_drawn_moved_and_taken_back(page: Page, tmp_path: Path) -> None:
    import torch

    both = tmp_path / "both.png"
    both.write_bytes(as_file(torch.cat([person(1, 9), person(2, 9)], 2)))
    search(page, both)
    order = page.ask(ORDER)
    page.click("#cut")
    left, top, width, height = page.ask(
        "(({x, y, width, height}) => [x, y, width, height])(document.querySelector('#stage').getBoundingClientRect())"
    )
    page.drag((left + 0.52 * width, top + 2), (left + 0.98 * width, top + height - 2))
    page.until("!document.querySelector('#crop').hidden && document.querySelector('#crop').style.left.startsWith('5')")
    page.until(IDLE)
    cropped = page.ask(ORDER)
    assert cropped != order
    page.ask("document.querySelector('#crop button').focus()")
    page.press("ArrowLeft")
    assert page.ask("parseFloat(document.querySelector('#crop').style.left)") < 51
    page.until(IDLE)
    again(page, "document.querySelector('#whole').click()")
    assert page.ask(ORDER) == order


def test_filters_hold_for_leafing_and_searching(page: Page, query: Path) -> None:
    page.click("#filters summary")
    again(page, "document.querySelectorAll('#cameras button')[1].click()")
    cameras = "[...new Set([...document.querySelectorAll('#shown .facts')].map((each) => each.firstChild.data))]"
    assert page.ask(cameras) == [sorted(CAMERAS)[1]]
    search(page, query)
    assert page.ask(cameras) == [sorted(CAMERAS)[1]]
    assert page.ask("document.querySelector('#since').type") == "datetime-local"
    again(
        page,
        "(document.querySelector('#since').value = '2024-05-31T12:30:00', document.querySelector('#since').dispatchEvent(new Event('change')))",
    )
    assert page.ask(
        "[...document.querySelectorAll('#shown .facts small')].every((each) => each.textContent >= '12:30:00')"
    )
    assert page.ask("document.querySelector('#filtered').textContent") == "· 2 filters"
    again(
        page,
        "(document.querySelector('#since').value = '2030-01-01T00:00:00', document.querySelector('#since').dispatchEvent(new Event('change')))",
    )
    assert "Nobody fits" in page.ask("document.querySelector('#shown').textContent")
    again(page, "document.querySelector('#shown button').click()")
    assert count(page, "#shown .tile") == PEOPLE * len(CAMERAS) * 2


def test_passages_stand_in_time_before_their_cameras(page: Page, query: Path) -> None:
    search(page, query)
    page.press("v")
    assert page.ask("[...document.querySelectorAll('.lane h2')].map((each) => each.firstChild.data)") == sorted(CAMERAS)
    assert count(page, ".passage") == PEOPLE * len(CAMERAS)
    places = page.ask(
        "[...document.querySelectorAll('.lane:first-of-type .timed .passage')].map((each) => [each.title, parseFloat(each.style.left)])"
    )
    assert len(places) == PEOPLE
    assert places == sorted(places)
    assert places[0][1] == 0
    assert count(page, ".lane:last-of-type .untimed .passage") == PEOPLE  # of the yard no time is known
    covering = page.ask(
        "(() => { const boxes = [...document.querySelectorAll('.timed .passage')].map((each) => each.getBoundingClientRect());"
        "return boxes.some((a, i) => boxes.some((b, j) => i < j && a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)); })()"
    )
    assert not covering
    page.click(".passage")
    page.until("document.querySelector('#closer').open")
    assert count(page, "#closer .strip li") == 2  # its other shot
    page.press("Escape")
    page.look(400, 850)
    page.until("document.querySelectorAll('.timed').length === 0")


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
    offline = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    with served(app) as url:
        tab.open(url)
        tab.until(LEAFED)
        tab.send("Network.enable")
        tab.send("Network.emulateNetworkConditions", offline=True, **offline)
        tab.give("#file", query)
        tab.until("document.querySelector('.state.bad')")
        assert "does not answer" in tab.ask("document.querySelector('.state').textContent")
        tab.send("Network.emulateNetworkConditions", offline=False, **offline)
        tab.click(".state button")
        tab.until(FOUND)


def test_what_is_no_picture_is_told(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "fake.png"
    path.write_bytes(b"not a picture")
    page.give("#file", path)
    page.until("document.querySelector('.state.bad')")
    assert "not a picture" in page.ask("document.querySelector('.state').textContent")
    assert "cannot show" in page.ask("document.querySelector('#hint').textContent")
    page.faults.clear()  # the console tells of the status 400


def test_names_from_outside_are_words_not_markup(tab: Page, place: Place, tmp_path: Path) -> None:
    from halfseen.gallery.sightings import Fact

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
