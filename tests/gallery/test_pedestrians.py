"""A real street: OpenCV's sample film of pedestrians, as Debian's package opencv-doc has it.

`make pedestrians` fetches it; or HALFSEEN_FILM names it. Nothing of it is kept.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

pytest.importorskip("lance", reason="galleries need pylance: pip install 'halfseen[search]'")
pytest.importorskip("cv2", reason="films need OpenCV: pip install 'halfseen[search]'")

from halfseen.data.images import decode_image, save_image
from halfseen.gallery.indexing.detectors import load_detector
from halfseen.gallery.indexing.films import Passages, passages
from halfseen.gallery.indexing.index import index
from halfseen.gallery.indexing.model import DEFAULT, open_model
from halfseen.gallery.search import Search
from halfseen.gallery.sightings import Ask
from halfseen.gallery.store import Gallery
from halfseen.gallery.strips import draw_strip

FILM = Path(os.environ.get("HALFSEEN_FILM") or "/usr/share/doc/opencv-doc/examples/data/vtest.avi")
RED = 50.0  # she is above, all others are below

pytestmark = [
    pytest.mark.data,
    pytest.mark.slow,
    pytest.mark.skipif(not FILM.is_file(), reason="no film of pedestrians: run `make pedestrians`"),
]


def redness(crop: Tensor) -> float:
    """How red somebody wears the upper half of `crop`, uint8 [3,h,w]."""
    _, height, width = crop.shape
    red, green, blue = crop[:, height // 6 : height // 2, width // 4 : -width // 4].float().mean((1, 2)).tolist()
    return float(red - (green + blue) / 2)


def covered(crop: Tensor) -> Tensor:
    """`crop` behind a fence up to the hips."""
    fenced, half = crop.clone(), crop.shape[1] // 2
    fenced[:, half:] = torch.tensor((90, 110, 100), dtype=torch.uint8)[:, None, None]
    fenced[:, half::6] = 60
    return fenced


@pytest.fixture(scope="module")
def found() -> Passages:
    ((_, found),) = passages(FILM, load_detector("hog", 0.11, None, "cpu"))
    return found


def test_passages_are_few_crops_of_people(found: Passages) -> None:
    crops = [crop for passage in found for crop in passage]
    assert 25 <= len(found) <= 70  # some forty pass by, some of them twice, or behind the lamp
    assert len(crops) <= 4 * len(found)
    for crop in crops:
        left, top, right, bottom = crop.box
        assert 0.25 < (right - left) / (bottom - top) < 0.6
        assert bottom - top > 0.1 * 576


def test_nobody_turns_red_on_the_way(found: Passages) -> None:
    """Tracks do not jump between people: one woman wears red, and she keeps to herself."""
    red = [colours for passage in found if max(colours := [redness(crop.image) for crop in passage]) > RED]
    assert len(red) >= 4
    assert sum(-20 < colour < RED / 2 for colours in red for colour in colours) <= 1  # far below 0 is a sign before her


@pytest.mark.skipif(not DEFAULT.is_file(), reason="no model comes with this version of halfseen")
def test_a_person_is_found_by_her_upper_half(tmp_path: Path) -> None:
    model = open_model(device="cpu")
    gallery = Gallery.create(tmp_path / "g", model.facts)
    report = index([FILM], gallery, model)
    assert (report.films, report.faults) == (1, [])
    assert index([FILM], gallery, model).known == 1
    facts = gallery.rows()
    crops = {id: decode_image(fact.thumbnail, "") for id, fact in facts.items()}
    asked = max(crops, key=lambda id: redness(crops[id]))
    query = covered(crops[asked])
    answers = [
        sighting for sighting in Search(gallery).search(Ask(model.encode([query]), count=11)) if sighting.id != asked
    ]
    strip = draw_strip([query], [(sighting, crops[sighting.id]) for sighting in answers[:10]], gallery.model.parts)
    save_image(tmp_path / "strip.png", strip)
    assert sum(redness(crops[sighting.id]) > RED for sighting in answers[:5]) >= 4
