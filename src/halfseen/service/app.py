"""The application: what is asked at which address, and by whom."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from importlib.resources import files
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException as RefusedError
from starlette.formparsers import MultiPartParser
from starlette.routing import Match

from halfseen import __version__
from halfseen.data.files import shown
from halfseen.gallery.indexing.model import Model
from halfseen.gallery.places import joined
from halfseen.gallery.search import Search
from halfseen.gallery.store import Gallery
from halfseen.service.answers import Trouble
from halfseen.service.asking import FORM, LONG, refused, unsound
from halfseen.service.guard import LOGINS, SESSION, Guard, Rate
from halfseen.service.holdings import Holdings
from halfseen.service.log import Log, LogError
from halfseen.service.looking import Looker
from halfseen.service.manual import manual
from halfseen.service.service import Service
from halfseen.service.settings import Settings
from halfseen.service.tokens import HOURS, Sessions
from halfseen.types import InputError

ABOUT = (
    "Whom a picture shows only half is looked for in a gallery of sightings: exactly, by the parts that both show. "
    "Every search is written into a log. What is uploaded is looked at and forgotten, unless its sender asks otherwise."
)
KINDS = {"index.html": "text/html", "page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
SAID = {
    400: "It cannot be done as it was asked.",
    401: "A token is needed.",
    403: "Asked from another page.",
    404: "There is no such sighting.",
    408: "It took too long to arrive.",
    413: "It is too large.",
    415: "It is no form.",
    422: "A field is not what it should be.",
    429: "Too much at once.",
    503: "It cannot be done at present.",
}
JPEG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}, "description": "The picture."}}


def make_app(gallery: Gallery, model: Model, settings: Settings, search: Search | None = None) -> FastAPI:
    """The service of `gallery`, which `model` made; `search` looks through it (None: one of this machine)."""
    gallery.check(model.facts)
    holdings = Holdings(gallery, search)
    service = Service(holdings, Looker(model, holdings.parts), settings, Log(settings.log))
    app = FastAPI(title="halfseen", version=__version__, description=ABOUT, docs_url=None, redoc_url=None)
    MultiPartParser.spool_max_size = settings.upload  # or an upload of a megabyte would be laid down on the disk
    sessions, wrong = Sessions(settings.tokens), Rate(LOGINS)
    app.add_middleware(Guard, settings=settings, sessions=sessions, wrong=wrong)
    app.add_exception_handler(RequestValidationError, _unsound)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(InputError, partial(_unfit, gallery.folder))
    app.add_exception_handler(LogError, _unwritten)
    _add_api(app, service, documented=bool(settings.tokens))
    _add_sessions(app, sessions, wrong, service.log)
    _add_pages(app)
    return app


def _add_api(app: FastAPI, service: Service, *, documented: bool) -> None:
    shared: dict[str, Any] = {"responses": _troubles(400, 401, 403, 413, 422, 429, 503)}
    if documented:  # the guard looks at tokens; this says so in the description
        shared["dependencies"] = [Depends(HTTPBearer(auto_error=False))]
    one = {**shared, "responses": shared["responses"] | _troubles(404)}
    app.get("/api/gallery", **shared)(service.gallery)
    app.get("/api/sightings", **shared)(service.sightings)
    pictured = {**one, "responses": one["responses"] | JPEG, "response_class": Response}
    app.get("/api/sightings/{number}/thumbnail", **pictured)(service.thumbnail)
    app.get("/api/sightings/{number}/picture", **pictured)(service.picture)
    app.get("/api/sightings/{number}/maps", **one)(service.maps)
    asked = {**one, "responses": one["responses"] | _troubles(408, 415)}
    app.post("/api/search", **asked, openapi_extra=FORM)(service.search)


def _add_sessions(app: FastAPI, sessions: Sessions, wrong: Rate, log: Log) -> None:
    @app.post(SESSION, responses=_troubles(400, 401, 403, 413, 422, 429))
    def begin(request: Request, response: Response, token: Annotated[str, Body(embed=True)]) -> dict[str, str]:
        """Show a token, and get a cookie for a while."""
        name = sessions.name_of_token(token)
        origin = request.scope["halfseen"]["from"]
        if name is None:
            wrong.check(origin)  # before it is noted: nobody fills the disk by guessing
        log.write("session" if name else "refused", name or "", **{"from": origin})
        if not sessions.tokens:
            raise refused("no token is needed here")
        if name is None:
            raise refused("nobody has this token; look at it again", 401)
        secure = request.url.scheme == "https" or request.headers.get("origin", "").startswith("https:")  # by a proxy
        seconds = HOURS * 3600
        key = sessions.open(name)
        response.set_cookie(sessions.cookie, key, seconds, httponly=True, samesite="strict", secure=secure, path="/api")
        return {"who": name}

    @app.delete(SESSION, status_code=204, responses=_troubles(401, 403))
    def end(request: Request, response: Response) -> None:
        """Give the cookie back."""
        sessions.close(request.cookies.get(sessions.cookie, ""))
        response.delete_cookie(sessions.cookie, path="/api")


def _add_pages(app: FastAPI) -> None:
    folder = files("halfseen.service") / "page"
    for name, kind in KINDS.items():
        path = "/" if name == "index.html" else f"/{name}"
        app.get(path, include_in_schema=False)(_always((folder / name).read_bytes(), kind))

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(manual(app.openapi()))


def _always(data: bytes, kind: str) -> Callable[[], Response]:
    return lambda: Response(data, media_type=kind)


def _troubles(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Trouble, "description": SAID[status]} for status in statuses}


def _unsound(_: Request, error: Exception) -> JSONResponse:
    """A field that is not what it should be."""
    said = unsound(error) if isinstance(error, RequestValidationError) else "body: not understood"
    return JSONResponse({"detail": said}, 422)


def _refused(request: Request, error: Exception) -> Response:
    """What was refused; what was so by nobody of us has no sentence yet."""
    if not isinstance(error, RefusedError):
        raise error
    said, where = error.detail, shown(request.scope["path"][:LONG])
    if said == HTTPStatus.NOT_FOUND.phrase:
        said = f"there is nothing at {where}; `/docs` tells what can be asked here"
    elif said == HTTPStatus.METHOD_NOT_ALLOWED.phrase:
        allowed = ", ".join(sorted(_methods(request)))
        said = f"{request.method[:LONG]} is nothing that {where} takes; send {allowed}: `/docs` tells how"
        return JSONResponse({"detail": said}, error.status_code, {"Allow": allowed})
    return JSONResponse({"detail": said}, error.status_code, error.headers)


def _methods(request: Request) -> set[str]:
    """Those that are taken at its address, by whichever route."""
    there = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return {method for route in there for method in getattr(route, "methods", None) or ()}


def _unfit(place: str, _: Request, error: Exception) -> JSONResponse:
    """What came is nothing to search by, and the sentence says why; if it names the gallery, that is at fault."""
    names = (f"the gallery {shown(place)} ", shown(joined(place, "")).rstrip("/"), f"{shown(place)}/")
    if any(name in str(error) for name in names):
        logging.getLogger("halfseen").error("%s", error)
        return JSONResponse({"detail": "the gallery cannot be read; whoever runs this finds more in its log"}, 503)
    return JSONResponse({"detail": str(error)}, 400)


def _unwritten(_: Request, __: Exception) -> JSONResponse:
    """Nothing is done that the log does not tell of."""
    return JSONResponse({"detail": "the log cannot be written, and nobody searches without it"}, 503)
