"""BNNecks and the pixel classifier, against sums over batches and cells."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from halfseen.nets.heads import Necks, PixelParts


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def normed_by_hand(vectors: Tensor) -> Tensor:
    result = torch.zeros_like(vectors)
    for dim in range(vectors.shape[1]):
        column = vectors[:, dim].tolist()
        mean = sum(column) / len(column)
        variance = sum((value - mean) ** 2 for value in column) / len(column)
        for row, value in enumerate(column):
            result[row, dim] = (value - mean) / (variance + 1e-5) ** 0.5
    return result


def test_C6_the_shift_is_frozen_at_zero_and_the_classifier_has_none() -> None:
    necks = Necks({"whole": 6, "parts": 9}, people=4)
    optimiser = torch.optim.SGD(necks.parameters(), lr=1.0, weight_decay=0.1)
    _, logits = necks({"whole": draw(5, 6), "parts": draw(5, 9)})
    before = {name: weight.clone() for name, weight in necks.norms.named_parameters()}
    torch.autograd.backward([nn.functional.cross_entropy(each, torch.arange(5) % 4) for each in logits.values()])
    optimiser.step()
    for name, norm in necks.norms.items():
        assert isinstance(norm, nn.BatchNorm1d)
        assert norm.bias.grad is None
        assert norm.bias.count_nonzero() == 0
        assert not torch.equal(norm.weight, before[f"{name}.weight"])
    for classifier in necks.classifiers.values():
        assert isinstance(classifier, nn.Linear)
        assert classifier.bias is None


def test_C6_normed_is_after_the_norm_and_logits_read_it() -> None:
    necks = Necks({"whole": 6}, people=4)
    raw = draw(5, 6) * 3 + 2
    kept = raw.clone()
    normed, logits = necks({"whole": raw})
    by_hand = normed_by_hand(kept)
    weight = necks.state_dict()["classifiers.whole.weight"]
    scores = [[sum(weight[person] * vector).item() for person in range(4)] for vector in by_hand]
    assert torch.equal(raw, kept)  # what the triplet loss reads
    torch.testing.assert_close(normed["whole"], by_hand, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits["whole"], torch.tensor(scores), atol=1e-5, rtol=1e-4)


def test_at_test_time_a_neck_does_not_look_at_the_other_images() -> None:
    necks = Necks({"whole": 6}, people=0)
    for seed in range(3):
        necks({"whole": draw(8, 6) + seed})
    necks.eval()
    both, _ = necks({"whole": draw(2, 6)})
    one, _ = necks({"whole": draw(2, 6)[:1]})
    torch.testing.assert_close(both["whole"][:1], one["whole"])


def test_without_people_there_is_no_classifier() -> None:
    necks = Necks({"whole": 6}, people=0)
    assert necks({"whole": draw(5, 6)})[1] == {}
    assert not [name for name in necks.state_dict() if name.startswith("classifiers")]


def test_necks_take_some_of_their_vectors() -> None:
    necks = Necks({"whole": 6, "parts": 9}, people=4)
    assert necks({"parts": draw(5, 9)})[1].keys() == {"parts"}


def test_a_vector_without_a_neck_is_an_error() -> None:
    with pytest.raises(KeyError):
        Necks({"whole": 6}, people=4)({"part": draw(5, 6)})


def test_classifiers_begin_small() -> None:
    for weight in (
        Necks({"whole": 200}, people=300).state_dict()["classifiers.whole.weight"],
        PixelParts(2000, 30).state_dict()["classifier.weight"],
    ):
        assert weight.std().item() == pytest.approx(1e-3, rel=0.02)
        assert abs(weight.mean().item()) < 2e-5
    assert PixelParts(20, 3).state_dict()["classifier.bias"].count_nonzero() == 0


def test_pixel_parts_classify_each_cell_by_itself() -> None:
    pixels = PixelParts(6, 3).eval()
    norm = pixels.norm
    norm.running_mean, norm.running_var = draw(6), draw(6).square() + 0.5
    cells = draw(2, 6, 4, 3)
    logits = pixels(cells)
    assert logits.shape == (2, 4, 4, 3)
    weight = pixels.state_dict()["classifier.weight"]
    for image in range(2):
        for row in range(4):
            for column in range(3):
                cell = (cells[image, :, row, column] - norm.running_mean) / (norm.running_var + 1e-5).sqrt()
                for part in range(4):
                    expected = sum(weight[part, dim, 0, 0] * cell[dim] for dim in range(6))
                    torch.testing.assert_close(logits[image, part, row, column], expected, atol=1e-6, rtol=1e-4)


def test_pixel_parts_teach_the_backbone() -> None:
    cells = draw(2, 6, 4, 3).requires_grad_()
    torch.autograd.backward(PixelParts(6, 3)(cells)[:, 1].square().sum())
    assert cells.grad is not None
    assert cells.grad.abs().sum() > 0
