"""The page in a real browser under hands that do not wait: fingers, keys in between, Back, and what goes away."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chromium import CHROMIUM, Page
from halfseen.gallery.sightings import Fact
from halfseen.gallery.store import Gallery
from halfseen.service.app import make_app
from halfseen.service.running import served
from halfseen.service.tokens import digest_of
from page_at_work import FOUND, IDLE, LEAFED, ORDER, again, boxes, count, search
from served import NOON, TOKEN, Place, as_file, person

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not CHROMIUM,
        reason="no chromium here: install it to look at the page in a browser",
    ),
]

PRESSED = "[...document.querySelectorAll('#parts button')].map((each) => each.ariaPressed)"
FOCUSED = "document.activeElement"
PAINTED = "document.querySelector('#canvas').getContext('2d').getImageData(1, 1, 1, 1).data[3]"

# Shelves of six; what comes after the first is `held` until `release()`, and then `read`.
LEAF_SLOWLY = """(() => {
  const real = fetch, gate = new Promise((go) => (window.release = go));
  Object.assign(window, { asked: 0, held: 0, read: 0 });
  window.fetch = async (path, options) => {
    if (!String(path).startsWith('/api/sightings?')) return real(path, options);
    const late = !/start=0/.test(path);
    window.asked += late;
    const found = await (await real(`${path}&count=6`, options)).json();
    window.held += late;
    if (late) await gate;
    return { ok: true, status: 200, json: async () => ((window.read += late), found) };
  };
})()"""


def finger(page: Page, kind: str, *places: tuple[float, float]) -> None:
    page.send(
        "Input.dispatchTouchEvent",
        type=kind,
        touchPoints=[{"x": x, "y": y} for x, y in places],
    )


def test_a_finger_that_scrolls_over_the_picture_leaves_out_no_part(page: Page, query: Path) -> None:
    page.look(390, 844)
    page.send("Emulation.setTouchEmulationEnabled", enabled=True)
    try:
        search(page, query)
        page.ask("(addEventListener('pointercancel', () => (window.cancelled = true)), 0)")
        x, y = page.middle("#canvas")
        finger(page, "touchStart", (x, y))
        for step in range(1, 12):
            finger(page, "touchMove", (x, y - 12 * step))
        page.until("window.cancelled")
        finger(page, "touchEnd")
        assert "false" not in page.ask(PRESSED)
        x, y = page.middle("#canvas")
        finger(page, "touchStart", (x, y))
        finger(page, "touchEnd")
        page.until(f"{PRESSED}.includes('false')")
    finally:
        page.send("Emulation.setTouchEmulationEnabled", enabled=False)


def test_a_crop_that_is_drawn_back_is_neither_crop_nor_tap(page: Page, query: Path) -> None:
    search(page, query)
    x, y = page.middle("#canvas")
    page.point(x, y, "mousePressed", button="left", clickCount=1)
    for by in (60, 1):
        page.point(x + by, y + by, button="left", buttons=1)
    page.point(x + 1, y + 1, "mouseReleased", button="left", clickCount=1)
    assert "false" not in page.ask(PRESSED)
    assert page.ask("document.querySelector('#crop').hidden")


def test_what_follows_on_the_shelf_comes_once_and_never_over_something_newer(
    page: Page,
) -> None:
    page.ask(LEAF_SLOWLY)
    again(page, "document.querySelector('#cameras button').click()")
    again(page, "document.querySelector('#cameras button').click()")
    assert count(page, "#shown .tile") == 6
    page.ask("(document.querySelector('#more').click(), document.querySelector('#more').click(), 0)")
    assert page.ask("document.querySelector('#more').ariaDisabled") == "true"
    assert page.ask("asked") == 1
    page.until("held")
    page.ask("document.querySelector('#shown .tile').click()")
    page.until(FOUND)
    page.ask("release()")
    page.until("read === 1")
    assert page.ask(f"{FOUND} && !document.querySelector('#query').hidden")
    again(page, "document.querySelector('#clear').click()")
    again(page, "document.querySelector('#more').click()")
    assert (count(page, "#shown .tile"), page.ask(f"new Set({ORDER}).size")) == (12, 12)


def test_what_is_held_stays_while_the_page_is_drawn_anew(page: Page, query: Path) -> None:
    search(page, query)
    page.ask("(document.querySelector('#filters').open = true, 0)")
    for selector in ("#parts li:nth-child(2) button", "#cameras button:nth-of-type(2)"):
        page.ask(f"document.querySelector('{selector}').focus()")
        again(page, f"{FOCUSED}.click()")
        assert page.ask(f"{FOCUSED} === document.querySelector('{selector}')")
    page.ask("document.querySelector('#shown .tile:nth-child(3)').focus()")
    page.press("m")
    page.until(f"{IDLE} && document.querySelectorAll('#strip li').length === 2")
    page.ask("document.querySelector('#strip .pick').focus()")
    page.press("Enter")
    page.until("document.querySelector('#strip .pick').ariaCurrent === 'true'")
    assert page.ask(f"{FOCUSED} === document.querySelector('#strip .pick')")


def test_a_press_during_which_an_answer_comes_counts(page: Page, query: Path) -> None:
    search(page, query)
    x, y = page.middle("#parts li:nth-child(2) button")
    page.point(x, y, "mousePressed", button="left", clickCount=1)
    again(page, "document.querySelector('#rerank').click()")
    page.point(x, y, "mouseReleased", button="left", clickCount=1)
    page.until(f"{PRESSED}[1] === 'false'")


def test_half_a_time_is_kept_until_filters_are_cleared(page: Page) -> None:
    page.ask("(document.querySelector('#filters').open = true, document.querySelector('#since').focus(), 0)")
    page.press("0")
    page.press("5")
    half = "document.querySelector('#since').validity.badInput"
    assert page.ask(half)
    again(page, "document.querySelector('#cameras button').click()")
    assert page.ask(half)
    again(page, "document.querySelector('#unfilter').click()")
    assert not page.ask(half)


def test_steps_of_before_a_reload_lead_to_the_beginning(page: Page) -> None:
    page.click("#shown .tile")
    page.until(FOUND)
    again(page, "document.querySelector('#parts button').click()")
    page.ask("(window.old = true, location.reload(), 0)")
    page.until(f"!window.old && document.querySelector('#shown') && {LEAFED}")
    page.click("#shown .tile:nth-child(4)")
    page.until(FOUND)
    for _ in range(2):  # the beginning of this load, and a search of the one before
        again(page, "history.back()")
        assert page.ask(f"{LEAFED} && document.querySelector('#query').hidden")
    for _ in range(2):
        again(page, "history.forward()")
    assert page.ask(FOUND)


def test_a_picture_that_did_not_come_is_asked_for_again(page: Page) -> None:
    page.send("Network.enable")
    page.send("Network.setBlockedURLs", urls=["*/picture"])
    page.ask(
        "(() => { const { decode } = Image.prototype; Image.prototype.decode = function () {"
        "return decode.call(this).finally(() => (window.decoded = true)); }; })()"
    )
    try:
        page.click("#shown .tile")
        page.until(f"{FOUND} && window.decoded")
        assert not page.ask(PAINTED)
    finally:
        page.send("Network.setBlockedURLs", urls=[])
    page.ask("document.querySelector('#parts button').click()")
    page.until(PAINTED)
    page.faults.clear()  # the console tells of what was blocked


def test_a_crop_of_a_sighting_whose_picture_does_not_come_is_a_fault(
    page: Page,
) -> None:
    page.click("#shown .tile")
    page.until(FOUND)
    page.until(PAINTED)
    page.ask(
        "(() => { const real = fetch; window.mended = false; window.fetch = (path, options) => String(path).endsWith("
        "'/picture') && !mended ? Promise.resolve(Response.json({ detail: 'too many wait' }, { status: 503 })) : "
        "real(path, options); })()"
    )
    ((left, top, right, bottom),) = boxes(page, "#canvas")
    page.drag((left + 10, top + 10), (right - 10, (top + bottom) / 2))
    page.until("document.querySelector('.state.bad')")
    assert "Too many wait." in page.ask("document.querySelector('.state').textContent")
    page.ask("(window.mended = true, document.querySelector('.state button').click())")
    page.until(FOUND)
    assert page.ask("document.querySelector('#canvas').ariaLabel") == "The query: your picture"


def test_a_file_may_go_once_it_was_chosen(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "gone.png"
    path.write_bytes(as_file(person(2, 9)))
    search(page, path)
    path.unlink()
    again(page, "document.querySelector('#parts button').click()")
    assert page.ask(FOUND)
    path.write_bytes(b"again")
    page.ask("(Blob.prototype.arrayBuffer = () => Promise.reject(new Error('it went before it was read')), 0)")
    page.give("#file", path)
    page.until("document.querySelector('#notice').checkVisibility()")
    assert page.ask("document.querySelector('#notice').textContent") == "1 file cannot be read, and is left out."
    assert page.ask(FOUND)


def paste(page: Page) -> None:
    image = b64encode(as_file(person(2, 9))).decode()
    page.ask(
        f"(() => {{ const bytes = Uint8Array.from(atob('{image}'), (letter) => letter.charCodeAt(0));"
        "const data = new DataTransfer(); data.items.add(new File([bytes], 'a.png', { type: 'image/png' }));"
        "dispatchEvent(new ClipboardEvent('paste', { clipboardData: data })); })()"
    )


def sign_in(page: Page) -> None:
    page.ask(f"document.querySelector('#token').value = '{TOKEN}'")
    page.click("#login button")


@pytest.fixture
def private_page(tab: Page, place: Place, tmp_path: Path) -> Iterator[Page]:
    """The page of a service that wants a token, which it has not been shown."""
    settings = replace(place.settings, log=tmp_path / "log", tokens={digest_of(TOKEN): "ada"})
    with served(make_app(place.gallery, place.model, settings)) as url:
        tab.look(1280, 900)
        tab.open(url)
        tab.until("document.querySelector('#login').open")
        yield tab
        tab.click("#leave")
        tab.until("document.querySelector('#login')?.open")


def test_nobody_escapes_from_signing_in_to_an_empty_page(private_page: Page) -> None:
    tab = private_page
    tab.ask("(window.closings = 0, document.querySelector('#login').addEventListener('close', () => closings++), 0)")
    for _ in range(5):  # a browser lets a page refuse some of them only
        tab.press("Escape")
    tab.until("closings && document.querySelector('#login').open")
    sign_in(tab)
    tab.until(f"{LEAFED} && !document.querySelector('#login').open")


def test_a_picture_pasted_before_signing_in_is_searched_for(private_page: Page) -> None:
    paste(private_page)
    sign_in(private_page)
    private_page.until(FOUND)
    assert private_page.ask("document.querySelector('#notice').hidden")


def test_to_a_second_is_to_its_end(tab: Page, place: Place, tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "gallery", place.model.facts)
    images = [person(number, 0) for number in range(5)]
    facts = [
        Fact("", "/film", "gate", 10 * number + 0.5, str(number), as_file(image, "JPEG"))
        for number, image in enumerate(images)
    ]
    gallery.add(place.model.encode(images), facts)
    with served(make_app(gallery, place.model, replace(place.settings, log=tmp_path / "log"))) as url:
        tab.open(url)
        tab.until(LEAFED)
        field = "document.querySelector('#until')"
        again(
            tab,
            f"({field}.value = '00:00:20', {field}.dispatchEvent(new Event('change')))",
        )
        assert count(tab, "#shown .tile") == 3  # that of 20.5 among them
        assert tab.ask(f"{field}.valueAsNumber") == 20_000


def test_keys_do_nothing_behind_what_is_looked_at(page: Page, query: Path) -> None:
    search(page, query)
    page.click("#shown .tile:nth-child(2)")
    page.until("document.querySelector('#closer').open")
    for key in ("1", "v", "?"):
        page.press(key)
    assert "false" not in page.ask(PRESSED)
    assert page.ask("document.querySelector('[data-view=rank]').ariaPressed") == "true"
    assert not page.ask("document.querySelector('#help').open")
    page.press("ArrowRight")
    assert page.ask("document.querySelector('#closer h2').textContent") == "Rank 3"


def test_back_closes_what_is_looked_at(page: Page, query: Path) -> None:
    search(page, query)
    page.click("#shown .tile:nth-child(2)")
    page.until("document.querySelector('#closer').open")
    again(page, "history.back()")
    assert not page.ask("document.querySelector('#closer').open")
    page.press("ArrowRight")
    assert page.ask(LEAFED)


def test_what_is_looked_at_is_the_newest_answer(page: Page, query: Path) -> None:
    search(page, query)
    again(
        page,
        "(document.querySelector('#parts button').click(), document.querySelector('#shown .tile').click())",
    )
    rank = page.ask("Number(document.querySelector('#closer h2').textContent.split(' ')[1])")
    page.press("ArrowRight")
    assert page.ask("document.querySelector('#closer h2').textContent") == f"Rank {rank + 1}"


def test_a_search_from_far_below_begins_at_the_top(page: Page, query: Path) -> None:
    search(page, query)
    page.look(1280, 400)
    last = page.ask(f"{ORDER}.at(-1)")
    page.click("#shown .tile:nth-last-child(2)")
    page.until("document.querySelector('#closer').open && scrollY > 400")
    page.press("ArrowRight")
    page.press("s")
    page.until(f"{IDLE} && {ORDER}[0] === {last}")
    assert page.ask("scrollY") == 0


@pytest.mark.parametrize("size", [(30, 4000), (40, 1600), (1600, 40)], ids=["line", "wide", "tall"])
def test_a_very_wide_or_tall_picture_can_be_cropped(page: Page, tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "odd.png"
    path.write_bytes(as_file(person(2, 9, size)))
    search(page, path)
    assert (
        page.ask("Math.max(document.querySelector('#canvas').width, document.querySelector('#canvas').height)") <= 1200
    )
    assert page.ask(PAINTED)
    page.click("#cut")
    ((left, top, right, bottom),) = boxes(page, "#stage")
    assert min(right - left, bottom - top) >= 60
    corners = boxes(page, "#crop button")
    assert all(left <= a and top <= b and c <= right and d <= bottom for a, b, c, d in corners)
    assert corners == sorted(corners, key=lambda box: (box[1], box[0]))  # the upper above, the left before
    ((a, b, c, d),) = boxes(page, "#canvas")
    assert (a + c, b + d) == pytest.approx((left + right, top + bottom), abs=1)
    page.drag((a + 0.3 * (c - a), b + 0.3 * (d - b)), (a + 0.8 * (c - a), b + 0.8 * (d - b)))
    page.until(f"{FOUND} && document.querySelector('#crop').style.left.startsWith('30')")


def test_moments_of_passages_stand_apart_on_a_phone(tab: Page, place: Place, query: Path, tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "gallery", place.model.facts)
    images = [person(number, 0) for number in range(6)]
    facts = [
        Fact("", "/a", "7", NOON + 200_000 * number, str(number), as_file(image, "JPEG"))
        for number, image in enumerate(images)
    ]
    gallery.add(place.model.encode(images), facts)
    with served(make_app(gallery, place.model, replace(place.settings, log=tmp_path / "log"))) as url:
        tab.look(390, 844)
        tab.open(url)
        tab.until(LEAFED)
        search(tab, query)
        again(tab, "document.querySelector('[data-view=passages]').click()")
        assert tab.ask(
            "[...document.querySelectorAll('.passage time')].every((each) => each.scrollWidth <= each.clientWidth)"
        )
        assert tab.ask("document.querySelector('.passage time').textContent.length") > 10
