"""What comes in: the words of a form or an address, checked, and the pictures that come with them.

FastAPI and pydantic read the fields below as they stand, so their annotations are no strings here.
"""

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Container, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import partial
from inspect import signature
from typing import Annotated, Any, TypeAlias, TypeVar

from fastapi import HTTPException, Path, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, WithJsonSchema
from starlette.datastructures import FormData
from starlette.datastructures import UploadFile as StarletteFile
from starlette.exceptions import HTTPException as RefusedError

from halfseen.gallery.indexing.times import read_time
from halfseen.gallery.parts import numbers_of
from halfseen.service.pictures import WHOLE, Share
from halfseen.types import InputError

Made = TypeVar("Made")

LARGEST = 2**63 - 1
MOST = 500  # answers, and sightings of one shelf
MANY = 64  # sightings that one search may name
NAMES = 1000  # cameras, or sources, that one filter may name
LONG = 60  # letters of what came that a sentence repeats; no time takes as many

BOXES = (
    "For each picture in turn the crop to look at, as shares of its width and height: `left,top,right,bottom`, e.g. "
    "`0,0,1,0.5` for the upper half; empty for all of it."
)
PARTS = "Names of the parts to compare, or their numbers, from 0; none: all that the pictures show."
CAMERAS, SOURCES = "Keys of cameras; none: all.", "Keys of sources; none: all."
MOMENT = "2024-05-31, 2024-05-31 17:45:10, or seconds since 1970 (of a film without a date: since it began)"
SINCE = f"The first moment: {MOMENT}; a date alone is its beginning."
UNTIL = f"The last moment: {MOMENT}; a date alone is its end."
RERANK = "Order the nearest again by whom they are near themselves; their distances stay what they are."
KEEP = "Keep the pictures, if this service does so at all."
YES_OR_NO = "is neither true nor false; send one of the two"
WORDS = "is no text; send words"
INSTEAD = {  # of what cannot be taken for these: what it is not, and what to send
    "pictures": "is no file; send the file itself, as `-F pictures=@FILE` does",
    "like": "is no id; send those of sightings, as an answer has them",
    "unlike": "is no id; send those of sightings, as an answer has them",
    "parts": "is no part; send names or numbers of parts, which `/api/gallery` tells",
    "boxes": WORDS,
    "cameras": WORDS,
    "sources": WORDS,
    "count": f"is no number from 1 to {MOST}; send how many answers you want at most",
    "start": "is no number from 0 on; send how many sightings are to be passed over",
    "rerank": YES_OR_NO,
    "keep": YES_OR_NO,
    "number": "is no id; name a sighting by that which an answer has",
    "token": 'is no token; send it as JSON: {"token": "..."}',
    "body": 'is no JSON that says a token; send {"token": "..."}',
}


def _moment(value: object, *, name: str) -> object:
    """Seconds, of what the field `name` says."""
    if value is None or isinstance(value, (int, float)):
        return value
    text = value if isinstance(value, str) else "a file"
    return read_time(text if len(text) <= LONG else f"{text[:LONG]}…", name, last=name == "until")


AS_TIME = WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "null"}]})
Since: TypeAlias = Annotated[float | None, BeforeValidator(partial(_moment, name="since")), AS_TIME]
Until: TypeAlias = Annotated[float | None, BeforeValidator(partial(_moment, name="until")), AS_TIME]
Id: TypeAlias = Annotated[int, Path(ge=0, le=LARGEST, description="The sighting's id.")]


@dataclass(frozen=True)
class Wish:
    """A search: whom to look for, where, and how."""

    pictures: Annotated[Sequence[UploadFile], Field(description="Pictures of one person.")] = ()
    boxes: Annotated[Sequence[str], Field(description=BOXES)] = ()
    like: Annotated[Sequence[int], Field(description="Ids of sightings of the same person.")] = ()
    unlike: Annotated[Sequence[int], Field(description="Ids of sightings of somebody else.")] = ()
    parts: Annotated[Sequence[int | str], Field(description=PARTS)] = ()
    cameras: Annotated[Sequence[str], Field(description=CAMERAS)] = ()
    sources: Annotated[Sequence[str], Field(description=SOURCES)] = ()
    since: Annotated[Since, Field(description=SINCE)] = None
    until: Annotated[Until, Field(description=UNTIL)] = None
    count: Annotated[int, Field(ge=1, le=MOST, description="How many answers at most.")] = 50
    rerank: Annotated[bool, Field(description=RERANK)] = False
    keep: Annotated[bool, Field(description=KEEP)] = False


@dataclass(frozen=True)
class Shelf:
    """A part of the gallery to leaf through."""

    cameras: Annotated[Sequence[str], Query(description=CAMERAS)] = ()
    sources: Annotated[Sequence[str], Query(description=SOURCES)] = ()
    since: Annotated[Since, Query(description=SINCE)] = None
    until: Annotated[Until, Query(description=UNTIL)] = None
    start: Annotated[int, Query(ge=0, le=LARGEST, description="How many to pass over.")] = 0
    count: Annotated[int, Query(ge=1, le=MOST, description="How many at most.")] = 60


WISH = TypeAdapter(Wish)
FIELDS, ON_SHELF = ({field.name for field in fields(kind)} for kind in (Wish, Shelf))
SEVERAL = [field.name for field in fields(Wish) if field.default == ()]
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
FORM = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": WISH.json_schema()}}}}


async def wish_of(request: Request) -> AsyncGenerator[Wish, None]:
    """The form that comes with `request`, which FORM describes; what it holds is open as long as one is in here.

    FastAPI would read it field by field, which took it longer than all else that it does for a search.
    """
    form = await _form(request)
    try:
        yield _understood(form)
    finally:
        await form.close()


async def _form(request: Request) -> FormData:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and kind not in FORMS:  # in which nothing would be found, and all that was said be passed over
        raise refused(f"{kind[:LONG]!r} is no form; send one, as multipart/form-data: `/docs` names its fields", 415)
    try:
        return await request.form()
    except RefusedError:
        raise
    except Exception as error:  # of parsers, or whoever asks has gone away
        raise refused("the form cannot be read; send it as multipart/form-data") from error


def _understood(form: FormData) -> Wish:
    """What was said in it; nothing, where one word is wanted, is not said."""
    check_words(form, FIELDS)
    several = {name: values for name in SEVERAL if (values := list(filter(_said, form.getlist(name))))}
    single = {name: value for name, value in form.items() if name not in SEVERAL and value != ""}
    try:
        return WISH.validate_python(several | single)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error


def unsound(error: RequestValidationError) -> str:
    """What the first of the fields is that are not what they should be, in a sentence."""
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return str(cause)
    words = [word for word in reversed(first["loc"]) if isinstance(word, str)]
    where = next((word for word in words if word in INSTEAD), words[0] if words else "body")
    if where not in INSTEAD:
        return f"{where}: {first['msg']}"
    found = first.get("input")
    return f"{where}: {repr(found[:LONG]) if isinstance(found, str) else 'what came'} {INSTEAD[where]}"


def check_words(given: Iterable[str], known: Collection[str]) -> None:
    """Refuse what nobody would look at: a filter of another name would filter nothing."""
    for name in set(given) - set(known):
        raise refused(f"{name[:40]!r} is nothing that can be said here; say {', '.join(sorted(known))}", 422)


def _said(value: Any) -> bool:
    """Not so a field for files in which nobody chose one: browsers send a file without a name or a byte."""
    return not (isinstance(value, StarletteFile) and not value.filename and not value.size)


def at_once(made: Callable[..., Made]) -> Callable[..., Awaitable[Made]]:
    """`made`, as FastAPI should call it: to what is no coroutine it gives a thread, each time."""

    async def make(**fields: Any) -> Made:
        return made(**fields)

    vars(make)["__signature__"] = signature(made)
    return make


def refused(sentence: str, status: int = 400) -> HTTPException:
    """To be raised: the client did something that cannot be, and `sentence` says what and how it can."""
    return HTTPException(status, sentence)


def boxes_for(texts: Sequence[str], pictures: int) -> list[Share]:
    """The crop of each of so many pictures; what no text is given for is looked at as a whole."""
    if len(texts) > pictures:
        raise refused(f"{len(texts)} boxes came with {pictures} pictures; send at most one for each")
    return [_box(text, number) for number, text in enumerate(texts, 1)] + [WHOLE] * (pictures - len(texts))


def _box(text: str, number: int) -> Share:
    if not text.strip():
        return WHOLE
    try:
        left, top, right, bottom = map(float, text.split(","))
    except ValueError:
        left = math.nan
    if math.isnan(left) or not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise refused(
            f"box {number} is {text[:60]!r}; write left,top,right,bottom as shares from 0 to 1, e.g. 0,0,1,0.5"
        )
    return left, top, right, bottom


def check_ids(name: str, ids: Sequence[int]) -> None:
    if len(ids) > MANY or any(not 0 <= number <= LARGEST for number in ids):
        raise refused(f"{name} names {len(ids)} sightings; give at most {MANY} ids that an answer had")


def check_parts(parts: Sequence[int | str], names: Sequence[str]) -> tuple[int, ...] | None:
    """The numbers of the chosen parts in order, of those that have these `names`; None for all."""
    return tuple(sorted({_part(part, names) for part in parts})) or None


def _part(part: int | str, names: Sequence[str]) -> int:
    with suppress(ValueError):  # it is no number
        if 0 <= int(part) < len(names):
            return int(part)
        raise refused(f"parts are numbered from 0 to {len(names) - 1}; `/api/gallery` says which is which")
    known = numbers_of(names)
    name = str(part).strip().lower()
    if name not in known:
        raise refused(f"there is no part {str(part)[:LONG]!r}; say one of {', '.join(map(repr, known))}, or its number")
    return known[name]


def check_names(what: str, names: Sequence[str], known: Container[str]) -> frozenset[str] | None:
    """The chosen cameras or sources; None for all."""
    if len(names) > NAMES or any(name not in known for name in names):
        raise refused(f"one of the {what} is not in this gallery; `/api/gallery` names them all")
    return frozenset(names) or None


def check_times(since: float | None, until: float | None) -> None:
    if since is not None and until is not None and since > until:
        raise refused("the first moment lies behind the last one; exchange them")
