"""BoT: pooling and losses against plain arithmetic."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from halfseen.methods import bot
from halfseen.methods.bot import Config, GeM
from halfseen.ops.distance import Single
from halfseen.types import InputError
from tiny_methods import PIDS, pictures, tiny_batch, tiny_config, tiny_network, untouched


def test_cells_are_averaged() -> None:
    network = tiny_network("bot", tiny_config("bot")).eval()
    cells = network.get_submodule("backbone")(pictures(2)).cells
    out = network(pictures(2))
    assert cells.shape[2:] == (4, 2)  # last stride 1: a sixteenth of 64×32
    torch.testing.assert_close(out.raw, cells.sum((2, 3)) / 8)


def test_last_stride_2_halves_the_grid() -> None:
    network = tiny_network("bot", tiny_config("bot", last_stride=2))
    assert network.get_submodule("backbone")(pictures(2)).cells.shape[2:] == (2, 1)


def test_the_generalised_mean_equals_the_formula() -> None:
    cells = torch.rand(2, 3, 4, 2, generator=torch.Generator().manual_seed(0))
    pooled = GeM(exponent=2.5)(cells)
    for image in range(2):
        for dim in range(3):
            values = cells[image, dim].flatten().tolist()
            want = (math.fsum(x**2.5 for x in values) / 8) ** (1 / 2.5)
            assert pooled[image, dim].item() == pytest.approx(want, rel=1e-5)
    torch.testing.assert_close(GeM(exponent=1.0)(cells)[..., 0, 0], cells.mean((2, 3)))
    torch.testing.assert_close(GeM(exponent=200.0)(cells)[..., 0, 0], cells.amax((2, 3)), rtol=0.02, atol=0)


def test_the_generalised_mean_learns_its_exponent_and_survives_zeros() -> None:
    pooling = GeM().double()
    assert gradcheck(pooling, (torch.rand(1, 2, 2, 2, dtype=torch.float64).add(0.1).requires_grad_(),))
    cells = torch.zeros(1, 2, 4, 2, requires_grad=True)
    slopes = torch.autograd.grad(GeM()(cells).sum(), cells)
    assert slopes[0].isfinite().all()
    network = tiny_network("bot", tiny_config("bot", pooling="gem"))
    assert network.get_submodule("pooling").get_parameter("exponent") == 3
    terms = bot.losses(network(pictures(4)), tiny_batch(), Config())
    assert untouched(network, terms["identity"] + terms["triplet"]) == []


def test_losses_equal_the_loop() -> None:
    network = tiny_network("bot", tiny_config("bot"))
    out = network(pictures(4))
    terms = bot.losses(out, tiny_batch(), Config())
    entropy = []
    for row, pid in zip(out.logits["global"].tolist(), PIDS.tolist(), strict=True):
        log_total = math.log(math.fsum(map(math.exp, row)))
        q = [0.1 / 3 + 0.9 * (c == pid) for c in range(3)]
        entropy.append(math.fsum(share * (log_total - x) for share, x in zip(q, row, strict=True)))
    assert terms["identity"].item() == pytest.approx(math.fsum(entropy) / 4, rel=1e-5)
    vectors = out.raw.tolist()
    gaps = []
    for a, friend, strangers in ((0, 1, (2, 3)), (1, 0, (2, 3)), (2, 3, (0, 1)), (3, 2, (0, 1))):
        nearest = min(math.dist(vectors[a], vectors[n]) for n in strangers)
        gaps.append(max(math.dist(vectors[a], vectors[friend]) - nearest + 0.3, 0))
    assert terms["triplet"].item() == pytest.approx(math.fsum(gaps) / 4, rel=1e-4)
    assert set(terms) == {"identity", "triplet"}
    gaps_alone = [gap - 0.3 for gap in gaps]
    assert min(gaps_alone) > -0.3  # none was cut off at 0
    soft = bot.losses(out, tiny_batch(), Config(margin=None))["triplet"].item()
    assert soft == pytest.approx(math.fsum(math.log1p(math.exp(gap)) for gap in gaps_alone) / 4, rel=1e-4)


def test_what_is_compared_is_the_direction_behind_the_neck() -> None:
    network = tiny_network("bot", tiny_config("bot")).eval()
    with torch.no_grad():
        out = network(pictures(2))
    assert torch.equal(bot.embed(out).vectors[:, 0], out.normed)
    assert bot.METHOD.distance == Single("cosine")


def test_a_pooling_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="pooling is 'max'; allowed are mean, gem"):
        tiny_config("bot", pooling="max")
