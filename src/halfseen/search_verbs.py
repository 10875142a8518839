"""The verb `halfseen search`: a picture of somebody → who was seen where.

What needs networks or the extra `search` is imported when it is needed.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from PIL import Image
from torch import Tensor
from tyro.conf import Positional, UseAppendAction

from halfseen import printing, terminal
from halfseen.data.files import shown
from halfseen.data.images import read_image, save_image
from halfseen.data.sets.folders import shortened
from halfseen.gallery.places import Place
from halfseen.types import InputError

if TYPE_CHECKING:
    from halfseen.gallery.indexing.model import Model
    from halfseen.gallery.sightings import Ask, Sighting
    from halfseen.gallery.store import Gallery

SHOWN = 10  # answers that a strip has room for


@dataclass(frozen=True)
class Search:
    """Search a gallery for the person in one picture or more, by the parts that both sides show."""

    images: Positional[tuple[Path, ...]]
    """Pictures of one person, cropped; several are taken together."""
    gallery: Place
    """What `halfseen index` wrote: its folder, or its address in an object store."""
    model: Path | None = None
    """The weights that the gallery was made with; left out: those that come with halfseen."""
    unlike: UseAppendAction[tuple[Path, ...]] = ()
    """A picture of somebody else, who is not meant. May be repeated."""
    part: UseAppendAction[tuple[str, ...]] = ()
    """Only this part counts (`halfseen gallery info` names them). May be repeated."""
    camera: UseAppendAction[tuple[str, ...]] = ()
    """Only sightings before this camera. May be repeated."""
    source: UseAppendAction[tuple[str, ...]] = ()
    """Only sightings from this film, or from the pictures of this folder or table, as it was given to `halfseen index`.
    May be repeated."""
    since: str | None = None
    """Only sightings at this time or later: 2024-05-31 or '2024-05-31 17:45:10', or a number of seconds."""
    until: str | None = None
    """Only sightings at this time or earlier; a date alone is the whole day."""
    count: int = 10
    """How many answers."""
    rerank: bool = False
    """k-reciprocal re-ranking of the first answers."""
    strip: Path | None = None
    """A picture of the search to draw: .png or .jpg."""
    pictures: Literal["auto", "kitty", "iterm", "none"] = "auto"
    """How to show that in the terminal; auto: as the terminal can, if it can."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU if there is one."""
    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> int:
        from halfseen.gallery.indexing.model import open_model  # noqa: PLC0415
        from halfseen.gallery.loading import WORTH, unpreparable  # noqa: PLC0415
        from halfseen.gallery.search import Search as Searching  # noqa: PLC0415
        from halfseen.gallery.store import Gallery  # noqa: PLC0415

        if self.json and self.pictures not in ("auto", "none"):
            raise InputError(f"--json prints JSON alone; leave --pictures {self.pictures} out, or have a --strip drawn")
        if not self.images:
            raise InputError("who is looked for? give one picture or more of that person")
        queries = [_read(path) for path in self.images]
        model = open_model(self.model, self.device)
        gallery = Gallery.open(self.gallery, model.facts)
        search, ask = Searching(gallery), self._ask(model, gallery, queries)
        found = search.search(ask)
        if not found:
            self._check_times(gallery, ask)
        if search.unmapped >= WORTH and not unpreparable(gallery):
            printing.print_note(
                f"note: {search.unmapped:,} sightings had to be read; `halfseen gallery prepare {shown(self.gallery)}` "
                f"spares that"
            )
        language = self._language()
        if self.strip or language:
            self._draw(queries, found, gallery, language)
        (_print_json if self.json else _print_table)(found, gallery.model.parts)
        return 0

    def _ask(self, model: Model, gallery: Gallery, queries: Sequence[Tensor]) -> Ask:
        from halfseen.gallery.indexing.times import read_time  # noqa: PLC0415
        from halfseen.gallery.parts import numbers_of  # noqa: PLC0415
        from halfseen.gallery.sightings import Ask  # noqa: PLC0415

        unlike = [_read(path) for path in self.unlike]
        named = numbers_of(gallery.model.parts)  # as in the table, or the model
        parts = [named[_among("part", name.lower(), named, most=len(named))] for name in self.part]
        since = None if self.since is None else read_time(self.since, "--since")
        until = None if self.until is None else read_time(self.until, "--until", last=True)
        if since is not None and until is not None and since > until:
            raise InputError(f"--since {self.since} is later than --until {self.until}; exchange the two")
        return Ask(
            model.encode(queries),
            model.encode(unlike) if unlike else None,
            parts=tuple(dict.fromkeys(parts)) or None,
            cameras=_names("camera", self.camera, gallery),
            sources=_names("source", self.source, gallery),
            since=since,
            until=until,
            count=self.count,
            rerank=self.rerank,
        )

    def _check_times(self, gallery: Gallery, ask: Ask) -> None:
        """Refuse times that nobody in the gallery can have: that nobody was found then says nothing."""
        from halfseen.gallery.spans import why_never  # noqa: PLC0415

        asked = {"--since": self.since, "--until": self.until}
        named = " ".join(f"{name} {shown(text)}" for name, text in asked.items() if text)
        if named and len(gallery) and (why := why_never(gallery.table(["image", "time"]), ask.where)):
            raise InputError(f"{named}: {why}")

    def _language(self) -> terminal.Language | None:
        if self.pictures == "auto":
            return terminal.spoken(os.environ) if sys.stdout.isatty() and not self.json else None
        return None if self.pictures == "none" else self.pictures

    def _draw(
        self, queries: Sequence[Tensor], found: Sequence[Sighting], gallery: Gallery, language: terminal.Language | None
    ) -> None:
        from halfseen.gallery.strips import draw_strip, picture_of  # noqa: PLC0415

        first = found[:SHOWN]
        facts = gallery.rows([sighting.id for sighting in first])
        answers = [(sighting, picture_of(facts[sighting.id])) for sighting in first if sighting.id in facts]
        strip = draw_strip(queries, answers, gallery.model.parts)
        if self.strip:
            save_image(self.strip, strip)
        if language:
            file = io.BytesIO()
            Image.fromarray(strip.permute(1, 2, 0).contiguous().numpy()).save(file, "PNG")
            sys.stdout.write(terminal.inline(file.getvalue(), language))


def _read(path: Path) -> Tensor:
    from halfseen.gallery.indexing.pictures import check_size  # noqa: PLC0415

    image = read_image(path)
    check_size(image, path)
    return image


def _names(what: Literal["camera", "source"], wanted: Sequence[str], gallery: Gallery) -> frozenset[str] | None:
    """`wanted` as the gallery has it."""
    known = gallery.count(what) if wanted else {}
    return frozenset(_source(name, known) if what == "source" else _among(what, name, known) for name in wanted) or None


def _source(name: str, known: Collection[str]) -> str:
    from halfseen.gallery.origins import source_among, why_no_source  # noqa: PLC0415

    if (source := source_among(name, known)) not in known:
        raise InputError(f"--source {shown(name)}: {why_no_source(name, known, narrow='and --camera to narrow it')}")
    return source


def _among(what: str, name: str, known: Collection[str], most: int = 3) -> str:
    if name not in known:
        from halfseen.gallery.spans import FROM_NAMES  # noqa: PLC0415

        has = shortened(map(repr, filter(None, known)), most) or f"none; {FROM_NAMES}"
        raise InputError(f"--{what} {shown(name)}: there is none in this gallery; it has {has}")
    return name


def _print_table(found: Sequence[Sighting], parts: Sequence[str]) -> None:
    """A row for each answer, the columns of the parts being their distances: · where not both sides show one.

    What lies in the current folder is called as from there."""
    from halfseen.gallery.indexing.times import shown_moment  # noqa: PLC0415
    from halfseen.gallery.parts import label_of  # noqa: PLC0415

    sure = any(sighting.confidence is not None for sighting in found)
    rows, here = [], Path.cwd()
    for sighting in found:
        fact, chance = sighting.fact, sighting.confidence
        path = Path(fact.image or fact.source)
        rows.append(
            [
                *(str(sighting.rank), str(sighting.id), shown(fact.camera), shown_moment(fact)),
                f"{sighting.distance:.3f}",
                *(["" if chance is None else f"{100 * chance:.0f} %"] if sure else []),
                *("·" if distance is None else f"{distance:.2f}" for distance in sighting.parts),
                shown(path.relative_to(here) if path.is_relative_to(here) else path),
            ]
        )
    columns = (
        "rank",
        "id",
        "camera",
        "time",
        "distance",
        *(["sure"] if sure else []),
        *map(label_of, parts),
        "picture",
    )
    printing.print_table("" if rows else "nobody was found", columns, rows, words=4, ends=1)


def _print_json(found: Sequence[Sighting], parts: Sequence[str]) -> None:
    plain = [
        {
            "rank": sighting.rank,
            "id": sighting.id,
            "distance": sighting.distance,
            "confidence": sighting.confidence,
            "parts": dict(zip(parts, sighting.parts, strict=True)),
            "seen": dict(zip(parts, sighting.seen, strict=True)),
            **{name: getattr(sighting.fact, name) for name in ("image", "source", "camera", "time", "track", "box")},
        }
        for sighting in found
    ]
    printing.print_line(json.dumps({"sightings": plain}))
