"""Who finds people in frames."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from halfseen.data.images import read_image
from halfseen.data.sets import read_set
from halfseen.gallery.indexing import detectors
from halfseen.gallery.indexing.detectors import load_detector
from halfseen.types import InputError


@pytest.fixture
def opencv() -> None:
    pytest.importorskip("cv2", reason="OpenCV is not there: pip install 'halfseen[search]'").setNumThreads(1)


def street(height: int, people: int = 2) -> tuple[torch.Tensor, list[list[int]]]:
    """Rendered people of `height` pixels on an even ground, and their boxes."""
    samples = [s for s in read_set("street:holistic").query if s.camid == 1][:people] or read_set("street").gallery[:2]
    image = torch.full((3, 2 * height, 3 * height), 110, dtype=torch.uint8)
    boxes = []
    for number, sample in enumerate(samples):
        person = read_image(sample.path)
        size = (height, round(person.shape[2] * height / person.shape[1]))
        small = nn.functional.interpolate(person[None], size, mode="bilinear", antialias=True)[0]
        left, top = height // 2 + number * 3 * height // 2, height // 2
        image[:, top : top + height, left : left + size[1]] = small
        boxes.append([left, top, left + size[1], top + height])
    return image, boxes


@pytest.mark.usefixtures("opencv")
def test_hog_finds_people_who_stand_upright() -> None:
    image, boxes = street(200)
    found = load_detector("hog", 0.3, None, "cpu")(image)
    assert len(found.boxes) >= 1
    assert found.boxes.dtype == found.scores.dtype == torch.float32
    best = detectors.covered(torch.tensor(boxes, dtype=torch.float32), found.boxes).amax(1)
    assert float(best.max()) > 0.5
    for left, top, right, bottom in found.boxes.tolist():
        assert 0.3 < (right - left) / (bottom - top) < 0.5  # a person, without the window's room


@pytest.mark.usefixtures("opencv")
def test_hog_finds_nobody_where_nobody_is() -> None:
    found = load_detector("hog", 0.2, None, "cpu")(torch.full((3, 120, 200), 90, dtype=torch.uint8))
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == (0,)


def test_the_wrong_opencv_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        __version__ = "5.0"

    monkeypatch.setattr(detectors, "opencv", Old)
    with pytest.raises(InputError, match=r"OpenCV 5.0 is installed without its people detector.*pip uninstall"):
        load_detector("hog", 0.2, None, "cpu")


@pytest.mark.parametrize("smallest", [0.0, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(smallest: float) -> None:
    with pytest.raises(InputError, match=r"--smallest is .*: give 0.02 to 1"):
        load_detector("hog", smallest, None, "cpu")


def test_weights_without_a_network_are_refused() -> None:
    with pytest.raises(InputError, match="--weights belong to --detector mobilenet or resnet"):
        load_detector("hog", 0.2, Path("x.pth"), "cpu")


class Answering(nn.Module):
    """Says of each frame what it was told to say."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        self.seen += images
        boxes = torch.tensor([[0.0, 0, 10, 40], [5, 5, 25, 45], [0, 0, 10, 40], [0, 0, 10, 9], [0, 0, 10, 40]])
        scores, labels = torch.tensor([0.9, 0.8, 0.69, 0.99, 0.95]), torch.tensor([1, 1, 1, 1, 3])
        return [{"boxes": boxes, "scores": scores, "labels": labels}]


def test_of_a_network_the_sure_and_tall_people_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Answering()
    monkeypatch.setattr(detectors, "_built", lambda *_: network)
    frame = torch.full((3, 100, 50), 51, dtype=torch.uint8)
    found = load_detector("mobilenet", 0.1, None, "cpu")(frame)
    assert found.boxes.tolist() == [[0, 0, 10, 40], [5, 5, 25, 45]]
    assert found.scores.tolist() == pytest.approx([0.9, 0.8])
    assert torch.equal(network.seen[0], torch.full((3, 100, 50), 0.2))
    assert not network.training


@pytest.mark.parametrize("content", [b"no weights", b""])
def test_a_file_without_weights_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"w.pth holds no weights of torchvision's fasterrcnn_mobilenet_v3_large_fpn"):
        load_detector("mobilenet", 0.1, path, "cpu")


def test_a_network_from_its_own_state_dict_works(tmp_path: Path) -> None:
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_fpn  # noqa: PLC0415

    torch.manual_seed(0)
    network = fasterrcnn_mobilenet_v3_large_fpn(weights=None, weights_backbone=None)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    found = load_detector("mobilenet", 0.1, tmp_path / "w.pth", "cpu")(torch.zeros(3, 64, 64, dtype=torch.uint8))
    assert found.boxes.shape == (len(found.scores), 4)
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="holds no weights of torchvision's fasterrcnn"):
        load_detector("mobilenet", 0.1, tmp_path / "other.pth", "cpu")


@pytest.mark.usefixtures("opencv")
@pytest.mark.parametrize(("height", "width", "smallest"), [(720, 100, 1.0), (1920, 200, 0.33), (2160, 30, 0.11)])
def test_narrow_frames_have_nobody_rather_than_a_fault(height: int, width: int, smallest: float) -> None:
    frame = torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(0)).byte()
    people = load_detector("hog", smallest, None, "cpu")(frame)
    assert people.boxes.shape == (len(people.scores), 4)
