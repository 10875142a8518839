"""What is asked and how it is answered; who may ask, and how often, was settled before (`guard`)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Annotated, NamedTuple

from fastapi import Depends, Request, Response
from torch import Tensor

from halfseen.data.files import whole
from halfseen.gallery.sightings import Ask, Fact, Where
from halfseen.service import asking
from halfseen.service.answers import About, Answers, Limits, Maps, Query, Sightings, answer_from, maps_from, seen_from
from halfseen.service.asking import refused
from halfseen.service.gathering import Gathering
from halfseen.service.holdings import Holdings, Wanted
from halfseen.service.log import Log
from halfseen.service.looking import Looked, Looker
from halfseen.service.pictures import WHOLE, Folders, Share, picture_of, read_upload, thumbnail_of
from halfseen.service.settings import Settings
from halfseen.types import Embedding, InputError

DECODERS = 2  # pictures that are decoded at once, as a large one takes much memory
WAITING = 64  # pictures of sightings that may be asked for at once: who comes then comes again


class Upload(NamedTuple):
    """The bytes of a picture, and the crop of it that is looked at."""

    data: bytes
    box: Share


class Service:
    """A gallery's `holdings`, the model that made it, and the log of who asked."""

    def __init__(self, holdings: Holdings, looker: Looker, settings: Settings, log: Log) -> None:
        self.holdings, self.looker, self.settings, self.log = holdings, looker, settings, log
        self.folders = Folders(settings.folders)
        self.searched = Gathering(holdings.searches)
        self.looked = Gathering(looker.look, most=16)
        self.decoders = ThreadPoolExecutor(DECODERS, "decoding")
        self._asked_for = 0  # pictures of sightings, at present

    async def gallery(self, request: Request) -> About:
        """What there is to search, and what one request may hold."""
        await self._fresh()
        limits = Limits(
            self.settings.upload, self.settings.pixels, self.settings.pictures, self.settings.keep is not None
        )
        return self.holdings.about(limits, asker(request)["who"])

    async def sightings(
        self, request: Request, shelf: Annotated[asking.Shelf, Depends(asking.at_once(asking.Shelf))]
    ) -> Sightings:
        """Sightings to leaf through, the newest first, one of each passage."""
        asking.check_words(request.query_params, asking.ON_SHELF)
        await self._fresh()
        where = self._where(shelf)
        self._note("leaf", request, vars(shelf))
        found = await asyncio.to_thread(self.holdings.browse, where, shelf.start, shelf.count + 1)
        following = shelf.start + shelf.count if len(found) > shelf.count else None
        return Sightings([seen_from(number, fact) for number, fact in found[: shelf.count]], following)

    async def thumbnail(self, number: asking.Id) -> Response:
        """A small picture of a sighting."""
        fact = await asyncio.to_thread(self._fact, number)
        return _jpeg(thumbnail_of(fact) or await self._picture(fact))

    async def picture(self, number: asking.Id) -> Response:
        """The picture of a sighting as it was indexed, where that may be read; else the small one."""
        return _jpeg(await self._picture(await asyncio.to_thread(self._fact, number)))

    async def maps(self, number: asking.Id) -> Maps:
        """Where the model looks for each part in the picture of a sighting."""
        data = await self._picture(await asyncio.to_thread(self._fact, number))
        if data is None:
            raise refused("of this sighting no picture is left", 404)
        return maps_from((await self._look(Upload(data, WHOLE), "the picture")).maps)

    async def search(self, request: Request, wish: Annotated[asking.Wish, Depends(asking.wish_of)]) -> Answers:
        """Where is the person of these pictures and sightings? The nearest comes first, unless `rerank` is said."""
        begin = perf_counter()
        await self._fresh()
        where = self._where(wish)
        chosen = asking.check_parts(wish.parts, self.holdings.parts)
        uploads = await self._uploads(wish)
        pictures = [{"sha256": sha256(each.data).hexdigest(), "box": each.box} for each in uploads]
        self._note("search", request, vars(wish) | {"pictures": pictures, "boxes": (), "parts": chosen})
        names = [f"picture {number}" for number in range(1, len(uploads) + 1)]
        seen = await asyncio.gather(*map(self._look, uploads, names))
        if self.settings.keep and wish.keep:  # pictures, and nothing else that somebody might want to lay down here
            await asyncio.to_thread(self._keep, self.settings.keep, uploads)
        among = (where.cameras, where.sources, where.since, where.until)

        def asked(queries: Embedding, others: Embedding | None) -> Ask:
            return Ask(queries, others, chosen, *among, wish.count, wish.rerank)

        found = await self.searched(Wanted([look.embedding for look in seen], wish.like, wish.unlike, asked))
        shown = _queries(found.queries, seen, wish.like)
        return Answers(shown, [answer_from(each) for each in found.sightings], round(perf_counter() - begin, 4))

    async def _fresh(self) -> None:
        if self.holdings.due:
            await asyncio.to_thread(self.holdings.refresh)

    async def _uploads(self, wish: asking.Wish) -> list[Upload]:
        if wish.keep and self.settings.keep is None:
            raise refused("nothing that is uploaded is kept here; leave `keep` out")
        count = len(wish.pictures)
        if count > self.settings.pictures or not (count or wish.like):
            raise refused(f"{count} pictures came; send 1 to {self.settings.pictures}, or ids as `like`")
        asking.check_ids("like", wish.like)
        asking.check_ids("unlike", wish.unlike)
        shares = asking.boxes_for(wish.boxes, count)
        return [Upload(await each.read(), share) for each, share in zip(wish.pictures, shares, strict=True)]

    def _where(self, wish: asking.Wish | asking.Shelf) -> Where:
        asking.check_times(wish.since, wish.until)
        register = self.holdings.register
        cameras = asking.check_names("cameras", wish.cameras, register.cameras)
        keys = asking.check_names("sources", wish.sources, register.paths)
        return Where(cameras, keys and frozenset(register.paths[key] for key in keys), None, wish.since, wish.until)

    def _fact(self, number: int) -> Fact:
        fact = self.holdings.fact(number)
        if fact is None:
            raise refused(f"there is no sighting {number} in this gallery, or not any more", 404)
        return fact

    async def _picture(self, fact: Fact) -> bytes | None:
        """From its file if that may be read; files may be large, and so few are decoded at once."""
        if self._asked_for >= WAITING:
            raise refused("too many pictures are asked for at once; try again in a moment", 503)
        self._asked_for += 1
        try:
            work = partial(picture_of, fact, self.folders, self.settings.pixels)
            return await asyncio.get_running_loop().run_in_executor(self.decoders, work)
        finally:
            self._asked_for -= 1

    async def _look(self, upload: Upload, where: str) -> Looked:
        def seen() -> Tensor:
            return self.looker.fitted(read_upload(upload.data, where, upload.box, self.settings.pixels))

        return await self.looked(await asyncio.get_running_loop().run_in_executor(self.decoders, seen))

    def _note(self, event: str, request: Request, words: Mapping[str, object]) -> None:
        """Say who asks for what, before anything is answered."""
        by = asker(request)
        told = {name: value for name, value in words.items() if _is_said(value)}
        self.log.write(event, by["who"], **{"from": by["from"]}, **told)

    def _keep(self, folder: Path, uploads: Sequence[Upload]) -> None:
        for each in uploads:
            place = folder / f"{sha256(each.data).hexdigest()}-{secrets.token_hex(4)}.upload"
            try:
                with whole(place) as beside:
                    beside.touch(0o600)
                    beside.write_bytes(each.data)
            except InputError as error:
                raise refused("the picture could not be kept; try again without `keep`", 503) from error


def asker(request: Request) -> dict[str, str]:
    """Who asks, and from where, as the guard has found out."""
    found: dict[str, str] = request.scope["halfseen"]
    return found


def _is_said(value: object) -> bool:
    """Whether it is more than that nobody said a word. 0 is a word, though it equals False."""
    return value is not None and value is not False and value != ()


def _queries(embedding: Embedding, seen: Sequence[Looked], like: Sequence[int]) -> list[Query]:
    """Uploads come first, then sightings, whose maps are asked for when they are looked at."""
    maps = [maps_from(look.maps) for look in seen] + [None] * len(like)
    ids = [None] * len(seen) + list(like)
    return [Query(*each) for each in zip(embedding.visibility.tolist(), ids, maps, strict=True)]


def _jpeg(data: bytes | None) -> Response:
    if data is None:
        raise refused("of this sighting no picture is left", 404)
    return Response(data, media_type="image/jpeg")
