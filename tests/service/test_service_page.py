"""The page in a real browser: wide and narrow, light and dark, by mouse and by keys."""

from __future__ import annotations

import re
from base64 import b64encode
from itertools import combinations
from pathlib import Path

import pytest
import torch
from PIL import Image

from chromium import CHROMIUM, Page
from halfseen.gallery.search import Search
from halfseen.gallery.sightings import Ask
from page_at_work import BROKEN, FOUND, IDLE, LEAFED, LOADED, ORDER, again, boxes, count, search, since
from served import CAMERAS, PEOPLE, Place, as_file, person

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no chromium here: install it to look at the page in a browser"),
]

SIZES = ((1280, 900), (400, 850))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES, ids=["wide", "narrow"])
def test_it_looks_as_it_should(page: Page, query: Path, tmp_path: Path, size: tuple[int, int], dark: bool) -> None:
    page.look(*size, dark=dark)
    page.until(LOADED)
    search(page, query)
    for number, act in enumerate(("0", "document.querySelector('[data-view=passages]').click()")):
        page.ask(f"({act}, scrollTo(0, 0), 0)")
        page.until(LOADED)
        assert page.ask("document.documentElement.scrollWidth - innerWidth") <= 0
        assert page.ask(BROKEN) == 0
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


def test_who_comes_by_keys_stays_among_the_pictures(page: Page) -> None:
    page.ask("document.querySelector('#shown .tile').focus()")
    page.press("Enter")
    page.until(FOUND)
    page.until(IDLE)
    assert page.ask("document.activeElement.closest('#shown') !== null")


def test_what_is_not_taken_is_said_where_it_is_seen(page: Page, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nobody")
    page.give("#file", tmp_path / "notes.txt")
    page.until("document.querySelector('#notice').checkVisibility()")
    assert page.ask("document.querySelector('#notice').textContent") == "1 file is no picture, and left out."
    paths = [tmp_path / f"{number}.png" for number in range(10)]
    for number, path in enumerate(paths):
        path.write_bytes(as_file(person(number % 3, 9)))
    page.give("#file", *paths)
    page.until(FOUND)
    assert page.ask("document.querySelector('#notice').textContent") == "2 pictures left out: one search takes 8."
    again(page, "document.querySelector('#clear').click()")
    page.until(LEAFED)
    assert page.ask("document.querySelector('#notice').hidden")


def test_under_the_mouse_an_answer_stands_beside_the_query(page: Page, query: Path) -> None:
    search(page, query)
    page.point(*page.middle("#shown .tile:nth-child(2)"))
    page.until("document.querySelector('#peek').matches(':popover-open')")
    ((left, top, right, bottom),) = boxes(page, "#peek")
    assert 0 <= left < right <= 1280
    assert 0 <= top < bottom <= 900
    assert count(page, "#peek canvas") == 2
    painted = "canvas.getContext('2d').getImageData(150, 300, 1, 1).data[3]"
    page.until(f"[...document.querySelectorAll('#peek canvas')].every((canvas) => {painted})")
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
    page.until(f"Number(document.activeElement.dataset.id) === {order[2]}")
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
    both = tmp_path / "both.png"
    both.write_bytes(as_file(torch.cat([person(1, 9), person(2, 9)], 2)))
    search(page, both)
    order = page.ask(ORDER)
    page.click("#cut")
    ((left, top, right, bottom),) = boxes(page, "#stage")
    page.drag((right - 0.48 * (right - left), top + 2), (right - 2, bottom - 2))
    page.until("!document.querySelector('#crop').hidden && document.querySelector('#crop').style.left.startsWith('5')")
    page.until(IDLE)
    cropped = page.ask(ORDER)
    assert cropped != order
    page.ask("document.querySelector('#crop button').focus()")
    page.press("ArrowLeft")
    assert page.ask("parseFloat(document.querySelector('#crop').style.left)") < 51
    page.press("ArrowLeft")
    page.until(IDLE)
    again(page, "document.querySelector('#whole').click()")
    assert page.ask(ORDER) == order
    again(page, "history.back()")  # to the crop as keys have left it
    assert page.ask("parseFloat(document.querySelector('#crop').style.left)") < 51
    again(page, "history.back()")  # as it was drawn
    assert page.ask("parseFloat(document.querySelector('#crop').style.left)") > 51
    assert page.ask(ORDER) == cropped
    again(page, "history.back()")  # to the whole picture, not to what was before it
    assert page.ask("document.querySelector('#crop').hidden || document.querySelector('#crop').style.left === '0%'")
    assert page.ask(ORDER) == order


def test_filters_hold_for_leafing_and_searching(page: Page, query: Path) -> None:
    page.click("#filters summary")
    again(page, "document.querySelectorAll('#cameras button')[1].click()")
    cameras = "[...new Set([...document.querySelectorAll('#shown .facts')].map((each) => each.firstChild.data))]"
    assert page.ask(cameras) == [sorted(CAMERAS)[1]]
    search(page, query)
    assert page.ask(cameras) == [sorted(CAMERAS)[1]]
    assert page.ask("document.querySelector('#since').type") == "datetime-local"
    since(page, "2024-05-31T12:30:00")
    assert page.ask(
        "[...document.querySelectorAll('#shown .facts small')].every((each) => each.textContent >= '12:30:00')"
    )
    assert page.ask("document.querySelector('#filtered').textContent") == "· 2 filters"
    since(page, "2030-01-01T00:00:00")
    assert "Nobody fits" in page.ask("document.querySelector('#shown').textContent")
    again(page, "document.querySelector('#shown button').click()")
    assert count(page, "#shown .tile") == PEOPLE * len(CAMERAS) * 2


def test_passages_stand_in_time_before_their_cameras(page: Page, query: Path) -> None:
    search(page, query)
    page.press("v")
    assert page.ask("[...document.querySelectorAll('.lane h2')].map((each) => each.firstChild.data)") == sorted(CAMERAS)
    assert count(page, ".passage") == PEOPLE * len(CAMERAS)
    gate = "[...document.querySelectorAll('.lane:first-of-type .timed .passage')]"
    places = page.ask(f"{gate}.map((each) => parseFloat(each.style.left))")
    assert places == pytest.approx([number * places[1] for number in range(PEOPLE)], abs=1)  # ten minutes between
    assert count(page, ".lane:last-of-type .untimed .passage") == PEOPLE  # of the yard no time is known
    for a, b in combinations(boxes(page, ".timed .passage"), 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]  # none covers another
    page.click(".passage")
    page.until("document.querySelector('#closer').open")
    assert count(page, "#closer .strip li") == 2  # its other shot
    page.press("Escape")
    page.look(400, 850)
    page.until("document.querySelectorAll('.timed').length === 0")
