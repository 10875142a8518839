"""The model that comes with halfseen: what its card says is so, it finds hidden people, and all ways to ask agree."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import pytest
import torch
from safetensors import safe_open
from torch import nn

pytest.importorskip("lance", reason="galleries need pylance: pip install 'halfseen[search]'")
pytest.importorskip("fastapi", reason="the page needs fastapi: pip install 'halfseen[serve]'")

from halfseen.data.images import read_image, save_image
from halfseen.data.sets import read_set
from halfseen.demo_page import NAMES, asked, sightings
from halfseen.encode import Look, encode
from halfseen.evaluate import DISTANCES
from halfseen.gallery.indexing.index import Settings, index
from halfseen.gallery.indexing.model import DEFAULT, Model, open_model
from halfseen.gallery.opening import open_or_make
from halfseen.gallery.search import Search
from halfseen.gallery.sightings import Ask, Sighting
from halfseen.gallery.store import Gallery
from halfseen.ops.distance import distances
from halfseen.service import settings as service
from halfseen.service.app import make_app
from halfseen.service.running import served
from halfseen.types import InputError, Sample, Splits
from halfseen.weights import load_weights
from served import save_tiny

Run = Callable[..., tuple[int, str, str]]
Refused = Callable[..., str]

RUNS = Path(__file__).parents[1] / "runs"
NEAR = 1e-3  # of distances: a gallery keeps directions on a grid, in half the bytes


@pytest.fixture(scope="module")
def model() -> Model:
    return open_model(device="cpu")


# --- The file and its card ---


def test_it_is_small_and_in_half_precision(model: Model) -> None:
    assert DEFAULT.stat().st_size <= 20e6
    assert sum(parameter.numel() for parameter in model.loaded.network.parameters()) <= 8e6
    with safe_open(DEFAULT, framework="pt") as file:
        kinds = {name: (file.get_tensor(name).dtype, file.get_tensor(name).ndim) for name in file.keys()}  # noqa: SIM118
    assert {kind for kind, dims in kinds.values() if dims > 1} == {torch.float16}
    assert {kind for kind, dims in kinds.values() if dims == 1} <= {torch.float32}


def test_it_computes_in_float32(model: Model) -> None:
    network = model.loaded.network
    assert {value.dtype for value in network.state_dict().values() if value.is_floating_point()} == {torch.float32}
    assert not network.training


def test_it_compares_parts(model: Model) -> None:
    assert model.loaded.card.method == model.facts.name
    assert len(model.facts.parts) > 3
    assert len(set(model.facts.parts)) == len(model.facts.parts)


def test_its_card_is_about_this_file(model: Model) -> None:
    text = DEFAULT.with_suffix(".md").read_text()
    data, config = DEFAULT.read_bytes(), model.loaded.card.config
    assert sha256(data).hexdigest() == model.facts.digest
    assert re.findall(r"`([0-9a-f]{64})`", text) == [model.facts.digest]
    assert f"{len(data):,} bytes" in text
    count = sum(parameter.numel() for parameter in model.loaded.network.parameters())
    assert f"{model.facts.name} on {config['backbone']}, {count:,} parameters" in text
    assert f"{', '.join(model.facts.parts)}: {model.facts.dim} numbers each" in text
    assert f"of {model.loaded.card.data['people']:,} people" in text
    assert re.search(r"^\| \w+.* \| market \| \d\d\.\d \|", text, re.MULTILINE)
    assert not re.search(r"(^|[\s`\"'])/\w+/", text + json.dumps(vars(model.loaded.card)))  # no path of any machine


@pytest.mark.parametrize("size", [(1, 1), (3, 400), (400, 3), (192, 96), (1080, 500)])
def test_any_picture_can_be_looked_at(model: Model, size: tuple[int, int]) -> None:
    noise = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    found = model.encode([noise, torch.zeros_like(noise), torch.full_like(noise, 255)])
    assert found.vectors.shape == (3, len(model.facts.parts), model.facts.dim)
    assert found.vectors.isfinite().all()
    assert (found.visibility.sum(1) > 0).all()  # something is compared of everybody


# --- The street ---


class Answered(NamedTuple):
    """A service of the street, and its model's file."""

    url: str
    gallery: Gallery
    street: Splits


@pytest.fixture(scope="module")
def street(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answered]:
    folder, splits = tmp_path_factory.mktemp("default"), read_set("street")
    gallery = open_or_make(folder / "street", model.facts)
    index([splits.root / "bounding_box_test"], gallery, model, Settings((NAMES,)))
    app = make_app(gallery, model, service.Settings(folder / "log", rate=0))
    with served(app) as url:
        yield Answered(url, gallery, splits)


@pytest.fixture(scope="module")
def pages(street: Answered) -> list[list[Sighting]]:
    """What the page's service answers to each of the street's hidden queries: all of the gallery."""
    told = (asked(street.url, sample.path.read_bytes(), 270) for sample in street.street.query)
    return [sightings(each, street.gallery) for each in told]


@pytest.fixture(scope="module")
def measured(model: Model, street: Answered) -> torch.Tensor:
    """[Q,G] as `halfseen evaluate` compares them, from pictures that it reads itself."""
    sides = [
        encode(model.loaded.network, model.loaded.method, samples, Look(model.augment))
        for samples in (street.street.query, street.street.gallery)
    ]
    return distances(DISTANCES["parts-cosine"], *sides)


def names(found: Sequence[Sighting]) -> list[str]:
    return [Path(each.fact.image).name for each in found]


def test_the_page_ranks_as_evaluate_does(street: Answered, pages: list[list[Sighting]], measured: torch.Tensor) -> None:
    place = {Path(sample.name).name: column for column, sample in enumerate(street.street.gallery)}
    for found, row in zip(pages, measured, strict=True):
        assert sorted(names(found)) == sorted(place)
        assert [each.rank for each in found] == list(range(1, 271))
        wanted = row[[place[name] for name in names(found)]]
        assert [each.distance for each in found] == pytest.approx(wanted.tolist(), abs=NEAR)
        assert (wanted.cummax(0).values - wanted <= NEAR).all()  # those that are farther do not stand before


def test_the_command_line_answers_as_the_page_does(street: Answered, pages: list[list[Sighting]], run: Run) -> None:
    for sample, found in list(zip(street.street.query, pages, strict=True))[::10]:
        words = ("search", sample.path, "--gallery", street.gallery.folder, "--count", 270, "--json", "--device", "cpu")
        code, said, err = run(*words)
        assert (code, err) == (0, "")
        told = json.loads(said)["sightings"]
        assert [each["id"] for each in told] == [each.id for each in found]
        assert [each["distance"] for each in told] == pytest.approx([each.distance for each in found], abs=1e-6)
        for each, other in zip(told, found, strict=True):
            assert tuple(each["seen"].values()) == pytest.approx(other.seen, abs=1e-6)


def hits(sample: Sample, found: Sequence[Sighting]) -> list[bool]:
    """Which of the answers are the person, those of the query's own camera left out."""
    kept = [(int(each.fact.track), int(each.fact.camera)) for each in found]
    return [pid == sample.pid for pid, camid in kept if (pid, camid) != (sample.pid, sample.camid)]


def precision(right: Sequence[bool]) -> float:
    places = [place for place, hit in enumerate(right, 1) if hit]
    return fmean(number / place for number, place in enumerate(places, 1))


def test_hidden_people_are_found_as_often_as_evaluate_says(
    street: Answered, pages: list[list[Sighting]], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALFSEEN_CACHE", str(tmp_path))
    options = ("--data", "street", "--distance", "parts-cosine", "--protocol", "market", "--device", "cpu", "--json")
    told = json.loads(run("evaluate", "--weights", DEFAULT, *options)[1])["sets"]["street"]["market"]
    right = [hits(sample, found) for sample, found in zip(street.street.query, pages, strict=True)]
    assert told["rank"]["1"] == pytest.approx(fmean(each[0] for each in right), abs=0.034)  # a query more or less
    assert told["mAP"] == pytest.approx(fmean(map(precision, right)), abs=2e-3)
    assert fmean(each[0] for each in right) >= 0.6  # by chance it is 9 / 270
    assert fmean(any(each[:5]) for each in right) >= 0.8


def test_its_gallery_is_for_it_alone(street: Answered, model: Model, refused: Refused, tmp_path: Path) -> None:
    other = save_tiny(tmp_path / "tiny.safetensors")
    picture = street.street.query[0].path
    said = refused("search", picture, "--gallery", street.gallery.folder, "--model", other)
    assert f"holds embeddings of {model.facts.name}" in said
    assert "holds embeddings of" in refused("index", picture, "--gallery", street.gallery.folder, "--model", other)
    assert "holds embeddings of" in refused("serve", street.gallery.folder, "--model", other)
    encoded = open_model(other, "cpu").encode([read_image(picture)])
    with pytest.raises(InputError, match="the pictures have 5 parts of 12 numbers"):
        Search(street.gallery).search(Ask(encoded))


def test_another_model_takes_its_place(model: Model, run: Run, refused: Refused, tmp_path: Path) -> None:
    other = save_tiny(tmp_path / "tiny.safetensors")
    picture = tmp_path / "who.png"
    save_image(picture, torch.randint(0, 256, (3, 64, 32), dtype=torch.uint8))
    assert run("index", picture, "--gallery", tmp_path / "g", "--model", other)[0] == 0
    assert Gallery.open(tmp_path / "g").model == open_model(other, "cpu").facts
    assert run("search", picture, "--gallery", tmp_path / "g", "--model", other)[0] == 0
    assert model.facts.digest[:12] in refused("search", picture, "--gallery", tmp_path / "g")


# --- runs/default_model.py ---


@pytest.fixture(scope="module")
def maker() -> dict[str, Any]:
    return runpy.run_path(str(RUNS / "default_model.py"))


def test_what_is_stored_is_the_training_in_half_the_bytes(maker: dict[str, Any], tmp_path: Path) -> None:
    trained = save_tiny(tmp_path / "tiny.safetensors")
    maker["main"](["store", str(trained), str(tmp_path / "half.safetensors")])
    before, after = load_weights(trained), load_weights(tmp_path / "half.safetensors")
    assert before.card == after.card
    state = after.network.state_dict()
    for name, value in before.network.state_dict().items():
        assert torch.equal(state[name], value.half().float() if value.ndim > 1 else value), name
    images = [read_image(sample.path) for sample in read_set("street").query[:6]]
    exact, stored = (open_model(path, "cpu").encode(images) for path in (trained, tmp_path / "half.safetensors"))
    torch.testing.assert_close(stored.vectors, exact.vectors, rtol=0.05, atol=0.02)


def test_what_does_not_fit_into_half_precision_is_told(maker: dict[str, Any]) -> None:
    network = nn.Linear(2, 2)
    nn.init.constant_(network.weight, 1e5)
    with pytest.raises(InputError, match="weight has numbers that float16 has no room for"):
        maker["halve"](network)


def test_a_file_that_is_too_large_is_told(maker: dict[str, Any], tmp_path: Path) -> None:
    trained = save_tiny(tmp_path / "tiny.safetensors")
    maker["store"].__globals__["LARGEST"] = 1000
    try:
        with pytest.raises(InputError, match="and the package room for 1,000"):
            maker["store"](trained, tmp_path / "half.safetensors")
    finally:
        maker["store"].__globals__["LARGEST"] = 20 * 10**6


def test_the_card_tells_the_scores_and_what_halving_changed(maker: dict[str, Any], tmp_path: Path) -> None:
    def scores(mean: float, first: float) -> dict[str, Any]:
        return {"mAP": mean, "rank": {"1": first, "5": 0.9}, "queries": 1234}

    model = tmp_path / "default.safetensors"
    model.write_bytes(DEFAULT.read_bytes())
    words = ["tell", str(model)]
    for name, mean, first in (("trained", 0.5, 0.1275), ("stored", 0.501, 0.125)):
        sets = ({"world": {"market": scores(mean, 0.75)}}, {"elsewhere": {"all": scores(0.25, first)}})
        words.append(f"--{name}")
        for number, some in enumerate(sets):
            words.append(str(tmp_path / f"{name}-{number}.json"))
            Path(words[-1]).write_text(json.dumps({"sets": some}))
    maker["main"](words)
    text = model.with_suffix(".md").read_text()
    assert "| world: hidden queries, all answers | market | 50.1 | 75.0 | 90.0 | 1,234 |\n" in text
    assert "| elsewhere | all | 25.0 | 12.5 | 90.0 | 1,234 |\n" in text
    assert "no score was more than 0.25 points away" in text
    assert text.split("Scores")[0] == DEFAULT.with_suffix(".md").read_text().split("Scores")[0]
