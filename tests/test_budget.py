"""What a method costs, counted by hand for a network of two layers."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from halfseen.training.budget import budget
from halfseen.types import Batch, Cues
from standins import TINY, Config, Output

PIXELS = 3 * 4 * 2


class Backbone(nn.Module):
    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


class Lines(nn.Module):
    """The pixels of a picture through two layers, and the exponential of that."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.layers = nn.Sequential(nn.Linear(PIXELS, dim, bias=False), nn.Linear(dim, dim, bias=False))

    def forward(self, images: Tensor, _: Cues | None = None) -> Output:
        return Output(self.layers(images.flatten(1)).exp(), {})


def squares(out: Output, _: Batch, __: Config) -> dict[str, Tensor]:
    return {"squares": out.vectors.square().sum()}


METHOD = replace(TINY, network=Lines, losses=squares)


def pictures(count: int, partner: Batch | None = None) -> Batch:
    ids = torch.zeros(count, dtype=torch.int64)
    return Batch(torch.zeros(count, 3, 4, 2, dtype=torch.uint8), ids, ids, Cues(), partner)


@pytest.mark.parametrize(("optimiser", "numbers"), [("adam", 4), ("sgd", 3)])
@pytest.mark.parametrize("count", [2, 4])
def test_a_cost_is_what_a_hand_counts(optimiser: Literal["adam", "sgd"], numbers: int, count: int) -> None:
    """Weights, slopes and what the optimiser keeps; of each of 4 × 3 pictures its pixels and twice five numbers."""
    recipe = replace(TINY.recipe, people=4, images=3, optimiser=optimiser)
    cost = budget(METHOD, Config(), recipe, (Lines(5), Lines(3)), pictures(count))
    assert (cost.trained, cost.tested) == (5 * (PIXELS + 5), 3 * (PIXELS + 3))
    assert cost.flops == 2 * 3 * (PIXELS + 3)
    assert cost.memory == 4 * numbers * 5 * (PIXELS + 5) + 12 * 4 * (PIXELS + 5 + 5)


def test_twins_cost_as_much_again_in_training_alone() -> None:
    networks = Lines(5), Lines(5)
    alone, paired = (
        budget(METHOD, Config(), TINY.recipe, networks, batch) for batch in (pictures(2), pictures(2, pictures(2)))
    )
    assert (paired.trained, paired.tested, paired.flops) == (alone.trained, alone.tested, alone.flops)
    assert paired.memory - alone.memory == TINY.recipe.people * TINY.recipe.images * 4 * (PIXELS + 5 + 5)
