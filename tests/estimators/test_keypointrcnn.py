"""Keypoint R-CNN: what its answers become, where its weights come from, and the whole network with random ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import heatmaps_to_keypoints

from halfseen.estimators import keypointrcnn
from halfseen.types import InputError


def answer(*scores: float) -> dict[str, Tensor]:
    people = len(scores)
    points = torch.arange(people * 51.0).reshape(people, 17, 3)
    return {"scores": torch.tensor(scores), "keypoints": points, "keypoints_scores": torch.full((people, 17), 2.0)}


@pytest.mark.parametrize(
    ("scores", "kept"),
    [((), []), ((0.9, 0.6, 0.4), [0, 1]), ((0.4, 0.3), [0]), ((0.09,), []), ((0.5,), [0]), ((0.1, 0.1), [0, 1])],
)
def test_people_are_those_who_are_sure_or_the_likeliest(scores: tuple[float, ...], kept: list[int]) -> None:
    said = answer(*scores)
    people = keypointrcnn.people_in(said)
    assert people.shape == (len(kept), 17, 3)
    assert torch.equal(people[..., :2], said["keypoints"][kept][..., :2] - 0.5)


def test_scores_are_logits_of_which_two_is_a_half() -> None:
    said = answer(0.9)
    said["keypoints_scores"][0, :3] = torch.tensor([-10.0, 2.0, 14.0])
    assert keypointrcnn.people_in(said)[0, :3, 2].tolist() == pytest.approx([0, 0.5, 1], abs=1e-4)


def test_places_are_those_of_pixels() -> None:
    """Torchvision's own reading of a heatmap: a box of 4 × 8 pixels, a cell each, and the peak in one of them."""
    maps = torch.zeros(1, 17, 8, 4)
    maps[:, :, 6, 1] = 9.0
    places, logits = heatmaps_to_keypoints(maps, torch.tensor([[10.0, 20.0, 14.0, 28.0]]))
    people = keypointrcnn.people_in({"scores": torch.ones(1), "keypoints": places, "keypoints_scores": logits})
    assert people[0, 0].tolist() == pytest.approx([11.0, 26.0, torch.tensor(7.0).sigmoid().item()], abs=1e-5)


class Dots(nn.Module):
    """Finds one person, all of whose joints are at the middle of the brightest pixel; counts from its corner."""

    def forward(self, batch: list[Tensor]) -> list[dict[str, Tensor]]:
        assert len(batch) <= keypointrcnn.AT_ONCE
        assert all(image.min() >= 0 and image.max() <= 1 for image in batch)
        return [self.find(image) for image in batch]

    def find(self, image: Tensor) -> dict[str, Tensor]:
        place = int(image.sum(0).argmax())
        x, y = place % image.shape[2] + 0.5, place // image.shape[2] + 0.5
        points = torch.tensor([x, y, 1.0]).expand(1, 17, 3)
        return {"scores": torch.ones(1), "keypoints": points, "keypoints_scores": torch.full((1, 17), 20.0)}


def test_pictures_of_all_sizes_are_looked_at_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keypointrcnn, "_from_hub", Dots)
    pictures, want = [], []
    for number in range(2 * keypointrcnn.AT_ONCE + 1):
        picture = torch.zeros(3, 20 + number, 10, dtype=torch.uint8)
        picture[:, number + 3, number] = 255
        pictures.append(picture)
        want.append([number, number + 3])
    people = keypointrcnn.load(None, "cpu")(pictures)
    assert [each[0, 0, :2].tolist() for each in people] == want
    assert all(each.shape == (1, 17, 3) for each in people)


def test_the_whole_network_with_random_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keypointrcnn, "SHORT_SIDE", 32)
    monkeypatch.setattr(keypointrcnn, "LONG_SIDE", 64)
    torch.manual_seed(0)
    monkeypatch.setattr(keypointrcnn, "_from_hub", lambda: keypointrcnn.build(box_detections_per_img=3))
    pictures = [torch.randint(0, 256, (3, 64, 32), dtype=torch.uint8) for _ in range(2)]
    for people in keypointrcnn.load(None, "cpu")(pictures):
        assert people.shape[1:] == (17, 3)
        assert ((people[..., :2] >= -0.5) & (people[..., :2] <= torch.tensor([31.5, 63.5]))).all()


def test_without_a_network_the_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(**_: Any) -> nn.Module:
        raise URLError("Name or service not known")

    monkeypatch.setattr(keypointrcnn, "build", offline)
    with pytest.raises(InputError, match=r"could not be fetched .*keypointrcnn_resnet50_fpn_coco.* with --weights"):
        keypointrcnn.load(None, "cpu")


def test_weights_are_those_of_the_network_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keypointrcnn, "build", lambda **_: nn.Sequential(nn.Linear(2, 1), Dots()))
    good, path = nn.Sequential(nn.Linear(2, 1), Dots()), tmp_path / "a.pth"
    torch.save(good.state_dict(), path)
    assert torch.equal(keypointrcnn._from_file(path).state_dict()["0.weight"], good.state_dict()["0.weight"])
    said = keypointrcnn.about(path)
    torch.save({"0.weight": torch.zeros(1, 2)}, path)
    assert keypointrcnn.about(path) != said  # other weights, another source
    for content in (path.read_bytes(), b"", b"no weights", b"hello\n", b"<!DOCTYPE html>\n<html>\n</html>\n"):
        path.write_bytes(content)
        words = r"a\.pth: no weights of torchvision's keypointrcnn_resnet50_fpn \("
        with pytest.raises(InputError, match=words) as caught:
            keypointrcnn.load(path, "cpu")
        assert "weights_only" not in str(caught.value), "nobody should load what it is not as it is"
    with pytest.raises(InputError, match="cannot be read"):
        keypointrcnn.about(tmp_path / "gone.pth")
