"""The end of the demo: the street in a gallery, and its page, asked for somebody whose lower half is covered.

The model is the one that comes with halfseen. In a terminal the page is there until Ctrl-C; elsewhere one search over
HTTP shows that it works, as a table and as a strip.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from secrets import token_hex
from shlex import quote
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from torch import Tensor

from halfseen import printing
from halfseen.data.images import read_image, save_image
from halfseen.data.sets import read_set
from halfseen.gallery.indexing.index import Settings, index
from halfseen.gallery.indexing.model import Model, open_model
from halfseen.gallery.indexing.patterns import Pattern
from halfseen.gallery.opening import open_or_make
from halfseen.gallery.parts import label_of
from halfseen.gallery.sightings import Sighting
from halfseen.gallery.store import Gallery
from halfseen.gallery.strips import draw_strip, picture_of
from halfseen.service.packages import all_there
from halfseen.types import InputError, Sample, Splits

if TYPE_CHECKING:
    from fastapi import FastAPI

NAMES = Pattern("{track}_c{camera}s?_*.jpg")  # the track is the person: what the table calls right
GALLERY, WHO, STRIP = "street", "who.png", "answers.png"
ASKED, COUNT = 1, 10  # which of the whole queries is covered; how many answers
GREY = 128  # what covers
PATIENCE = 60.0  # seconds


def show_page(out: Path) -> None:
    """Index the street into a folder of `out`, and serve it: until Ctrl-C in a terminal, or for one search."""
    if not all_there():
        printing.print_note(
            "note: the street cannot be searched yet, because packages for that are not there; run `pip install "
            "'halfseen[search,serve]'` and then this command again, which goes on from here"
        )
        return
    from halfseen.service.running import address, listen, serve, served  # noqa: PLC0415  (an extra)

    street, whole = read_set("street"), read_set("street:holistic").query[ASKED]
    model = open_model(device="cpu")
    gallery = _index(out / GALLERY, street, model)
    save_image(out / WHO, covered(read_image(whole.path)))
    app = _app(gallery, model, street)
    if sys.stdout.isatty():
        with closing(listen("127.0.0.1", 0)) as ear:
            _print_address(address(ear), gallery, model)
            printing.print_line(f"Drop {out / WHO} on it, somebody whose lower half is covered. Ctrl-C ends it.")
            serve(app, ear)
        _print_again(out)
        return
    with served(app) as url:
        _print_address(url, gallery, model)
        found = sightings(asked(url, (out / WHO).read_bytes()), gallery)
    _show(found, gallery, whole, out)
    _print_again(out)


def _index(folder: Path, street: Splits, model: Model) -> Gallery:
    """The gallery of the street's pictures; what was indexed before is not indexed again."""
    gallery = open_or_make(folder, model.facts)
    pictures = sorted({sample.path.parent for sample in street.gallery})
    index(pictures, gallery, model, Settings((NAMES,), bars=printing.progress_bar, say=printing.print_note))
    return gallery


def _app(gallery: Gallery, model: Model, street: Splits) -> FastAPI:
    from halfseen.service.app import make_app  # noqa: PLC0415  (an extra)
    from halfseen.service.settings import Settings  # noqa: PLC0415

    return make_app(gallery, model, Settings(Path(gallery.folder) / "searches.jsonl", folders=(street.root,)))


def covered(image: Tensor) -> Tensor:
    """`image`, uint8 [3,h,w], with a grey board before its lower half."""
    image = image.clone()
    image[:, image.shape[1] // 2 :] = GREY
    return image


def asked(url: str, picture: bytes, count: int = COUNT) -> dict[str, Any]:
    """What the service at `url` answers when it is asked for whom the file `picture` shows."""
    edge = token_hex(16)
    name = f'--{edge}\r\nContent-Disposition: form-data; name="{{}}"{{}}\r\n\r\n'
    head = name.format("count", "") + f"{count}\r\n" + name.format("pictures", f'; filename="{WHO}"')
    body = head.encode() + picture + f"\r\n--{edge}--\r\n".encode()
    with closing(HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)) as line:
        line.request("POST", "/api/search", body, {"content-type": f"multipart/form-data; boundary={edge}"})
        answer = line.getresponse()
        told: dict[str, Any] = json.loads(answer.read())
    if answer.status != 200:
        raise InputError(f"the service refused the search ({answer.status}): {told.get('detail')}")
    return told


def sightings(told: dict[str, Any], gallery: Gallery) -> list[Sighting]:
    """The answers that `asked` was told, with what `gallery` knows of them."""
    ids = [each["sighting"]["id"] for each in told["answers"]]
    facts = gallery.rows(ids)
    return [
        Sighting(
            id=id,
            rank=each["rank"],
            distance=each["distance"],
            confidence=each["confidence"],
            parts=tuple(each["parts"]),
            seen=tuple(each["seen"]),
            fact=facts[id],
        )
        for id, each in zip(ids, told["answers"], strict=True)
    ]


def _show(found: Sequence[Sighting], gallery: Gallery, whole: Sample, out: Path) -> None:
    """A table, and the same drawn into a picture beside the rest."""
    people, parts = [each.fact.track.lstrip("0") for each in found], gallery.model.parts
    printing.print_line(
        f"Asked over HTTP for person {whole.pid}, seen by camera {whole.camid}, of whom {out / WHO} shows\n"
        f"the upper half. Distances; · where not both pictures show the part:"
    )
    rows = [
        [
            *(str(each.rank), person, each.fact.camera, f"{each.distance:.3f}"),
            *("·" if part is None else f"{part:.2f}" for part in each.parts),
        ]
        for each, person in zip(found, people, strict=True)
    ]
    printing.print_table("", ("rank", "person", "camera", "all", *map(label_of, parts)), rows, words=0)
    pictures = [(each, picture_of(each.fact)) for each in found]
    save_image(out / STRIP, draw_strip([read_image(out / WHO)], pictures, parts))
    printing.print_line(f"{people.count(str(whole.pid))} of them are that person; drawn: {out / STRIP}")


def _print_address(url: str, gallery: Gallery, model: Model) -> None:
    people = model.loaded.card.data["people"]
    printing.print_line(
        f"\nNow with the model that comes with halfseen, which {people} rendered people taught:\n"
        f"{url} shows {len(gallery)} pictures of the street."
    )


def _print_again(out: Path) -> None:
    printing.print_line(f"The page again: halfseen serve {quote(str(out / GALLERY))}")
