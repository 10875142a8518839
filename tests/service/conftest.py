"""A service of a small gallery, and clients of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from chromium import Page, browser
from halfseen.gallery.indexing.model import open_model
from halfseen.gallery.store import Gallery
from halfseen.service.app import make_app
from halfseen.service.running import served
from halfseen.service.tokens import digest_of
from page_at_work import LEAFED
from served import PEOPLE, TOKEN, Place, as_file, fill, person, save_tiny


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("service")
    (folder / "pictures").mkdir()
    model = open_model(save_tiny(folder / "tiny.safetensors"), "cpu")
    gallery = Gallery.create(folder / "gallery", model.facts)
    fill(gallery, model, folder / "pictures", range(PEOPLE))
    return Place(folder, model, gallery)


@pytest.fixture(scope="session")
def app(place: Place) -> FastAPI:
    return make_app(place.gallery, place.model, place.settings)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def other(place: Place) -> Callable[..., TestClient]:
    """A client of a service with other settings."""

    def made(**changes: object) -> TestClient:
        changed = replace(place.settings, **changes)  # type: ignore[arg-type]
        return TestClient(make_app(place.gallery, place.model, changed), base_url="http://127.0.0.1")

    return made


@pytest.fixture
def private(other: Callable[..., TestClient]) -> TestClient:
    """A client of a service that wants tokens, without one."""
    return other(tokens={digest_of(TOKEN): "ada"})


@pytest.fixture(scope="session")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def query(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("query") / "query.png"
    path.write_bytes(as_file(person(2, 9)))
    return path
