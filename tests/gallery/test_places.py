"""Galleries that lie in an object store: by commands they are what galleries in folders are.

Where nothing else is at hand the store is one of Lance's own, whose objects are files. HALFSEEN_S3 may name a place in
a real one, such as `s3://bucket/tests`, that credentials in the environment lead to.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

import pytest

pytest.importorskip("lance", reason="galleries need pylance: pip install 'halfseen[search]'")

from fixture_types import Refused, Run
from galleries import MODEL
from halfseen.data.images import save_image
from halfseen.gallery import tables
from halfseen.gallery.places import joined, local
from halfseen.gallery.store import Gallery
from halfseen.gallery.troubles import VanishedError, guarded
from halfseen.types import InputError
from served import person, save_tiny

GET = "LanceError(IO): Generic S3 error: Error performing list request: Error performing GET http://127.0.0.1:9/b"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("model") / "tiny.safetensors")


@pytest.fixture
def place(tmp_path: Path) -> str:
    """An address where nothing is."""
    if store := os.environ.get("HALFSEEN_S3"):
        return f"{store.rstrip('/')}/{secrets.token_hex(8)}"
    return f"file-object-store://{tmp_path}/store"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(6):
        for camera in ("gate", "hall"):
            path = tmp_path / "set" / camera / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_image(path, person(number, int(camera == "hall")))
    return tmp_path / "set"


def test_all_that_is_done_with_a_gallery_is_done_with_one_in_a_store(
    place: str, folder: Path, weights: Path, tmp_path: Path, run: Run, refused: Refused
) -> None:
    for gallery in (place, tmp_path / "g"):
        words = ("index", folder, "--gallery", gallery, "--model", weights, "--pattern", "{camera}/*.png", "--json")
        first, again = (json.loads(run(*words)[1]) for _ in range(2))
        assert (first["gallery"], first["holds"], first["added"], again["known"]) == (str(gallery), 12, 12, 12)
    ask = ("search", folder / "hall/2.png", "--model", weights, "--camera", "gate", "--json", "--gallery")
    found, expected = (json.loads(run(*ask, gallery)[1])["sightings"] for gallery in (place, tmp_path / "g"))
    assert found == expected
    assert Path(found[0]["image"]).stem == "2"
    told = json.loads(run("gallery", "info", place, "--json")[1])
    assert (told["sightings"], told["bytes"], told["cameras"]) == (12, None, {"gate": 6, "hall": 6})
    assert f"{place}: 12 sightings, times unknown" in run("gallery", "info", place)[1]
    assert "1 sighting forgotten" in run("gallery", "forget", place, "--person", found[0]["id"])[1]
    assert run("gallery", "compact", place)[1] == f"{place}: compacted\n"
    assert run("gallery", "verify", place)[1] == f"{place}: all is well\n"
    assert len(json.loads(run(*ask, place)[1])["sightings"]) == 5
    assert "12 files known before" in run("index", folder, "--gallery", place, "--model", weights)[1]
    assert "lies in an object store, whose files cannot be mapped" in refused("gallery", "prepare", place)
    run("gallery", "export", place, tmp_path / "out")
    assert "11 sightings added" in run("gallery", "import", f"{place}2", tmp_path / "out")[1]
    said = refused("serve", place, "--model", weights)
    assert "name one of this machine with --log" in said
    assert not (Path.cwd() / place.partition(":")[0]).exists()


def test_what_is_out_of_reach_is_not_called_missing(monkeypatch: pytest.MonkeyPatch, refused: Refused) -> None:
    def dataset(_: str) -> None:
        raise ValueError(f"{GET} in 4 ms, after 3 retries - HTTP error: error sending request, /src/x.rs:1")

    monkeypatch.setattr(tables.lance(), "dataset", dataset)
    for made in (Gallery.open, lambda place: Gallery.create(place, MODEL)):
        with pytest.raises(InputError, match="see that the store can be reached, and do it again"):
            made("s3://b/g")
    assert "see that the store can be reached" in refused("gallery", "info", "s3://b/g")


@pytest.mark.parametrize(
    ("said", "do"),
    [
        (f"{GET} - Server returned non-2xx status code: 404 Not Found: <Code>NoSuchBucket</Code>", "make that bucket"),
        ("LanceError(IO): Failed to get AWS credentials: kind: Forbidden", "AWS_ACCESS_KEY_ID and AWS_SECRET"),
        (f"{GET} - Server returned non-2xx status code: 403 Forbidden: x", "somebody who may read and write there"),
        ("LanceError(IO): Generic S3 error: Failed to resolve region for bucket 'b', /src/x.rs:1", "AWS_ENDPOINT_URL"),
        (f"{GET} in 24 µs - HTTP error: builder error, /src/x.rs:1", "AWS_ALLOW_HTTP=true"),
        ("Generic S3 error: Received redirect without LOCATION, incorrectly configured region", "AWS_REGION"),
        ("400: AuthorizationHeaderMalformed: the region 'us-east-1' is wrong; expecting 'eu-west-1'", "AWS_REGION"),
        (f"{GET} - Server returned non-2xx status code: 503: <Code>SlowDown</Code>", "and do it again"),
        ("Invalid user input: No object store provider found for scheme: 'foo'", "correct the address"),
        ("Not found: b/data/x.lance", "open it again"),
        ("what is this", "the store refuses it, or its files are damaged; .* restore it from an export"),
    ],
)
def test_what_a_store_says_is_told_with_what_to_do(said: str, do: str) -> None:
    with pytest.raises(InputError, match=do) as told, guarded("s3://b/g", "reading"):
        raise OSError(said)
    assert isinstance(told.value, VanishedError) == ("open it again" in do)
    assert "\n" not in str(told.value)


def test_of_a_long_message_beginning_and_end_are_told() -> None:
    said = (
        f"LanceError(IO): Generic S3 error: GET http://a/b?list-type=2&prefix={'x' * 300} in 3 ms, {'y' * 300} at last"
    )
    with pytest.raises(InputError) as told, guarded("s3://b/g", "reading"):
        raise OSError(said)
    assert "(Generic S3 error: GET http://a/b in 3 ms, y" in str(told.value)
    assert "y at last): the store" in str(told.value)
    assert len(str(told.value)) < 400


def test_no_place_is_none() -> None:
    for made in (Gallery.open, lambda place: Gallery.create(place, MODEL)):
        with pytest.raises(InputError, match="the place of the gallery is empty; name a folder"):
            made("")


def test_addresses_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [local(place) for place in ("g", "/a/g", "C:\\g", "~:/g", "s3://b/g", "file-object-store:///a")] == [
        *[True] * 4, *[False] * 2,
    ]  # fmt: skip
    assert joined("s3://b/g/", "x") == "s3://b/g/x"
    assert joined("~", "x") == str(tmp_path / "~" / "x")
    with pytest.raises(InputError, match="has lost a slash"):
        local("s3:/b/g")


class PanicException(BaseException):
    pass


def test_a_panic_of_lance_is_a_sentence() -> None:
    said = r"reading the gallery g failed \(index out of bounds\): its files are damaged"
    with pytest.raises(InputError, match=said), guarded("g", "reading"):
        raise PanicException("index out of bounds\nnote: run with `RUST_BACKTRACE=1`")
    for other in (KeyboardInterrupt, SystemExit):
        with pytest.raises(other), guarded("g", "reading"):
            raise other
