"""The plain transformer: the class token, soft triplets, and what is compared."""

from __future__ import annotations

import math

import pytest
import torch

from halfseen.methods import vit
from halfseen.methods.vit import Config
from halfseen.types import InputError
from tiny_methods import PIDS, pictures, tiny_batch, tiny_config, tiny_network


def test_the_class_token_is_the_vector() -> None:
    network = tiny_network("vit", tiny_config("vit")).eval()
    cls = network.get_submodule("backbone")(pictures(2)).cls
    out = network(pictures(2))
    torch.testing.assert_close(out.raw, cls)


@pytest.mark.parametrize(("test", "field"), [("before", "raw"), ("after", "normed")])
def test_what_is_compared_stands_before_the_neck_or_after_it(test: str, field: str) -> None:
    network = tiny_network("vit", tiny_config("vit", test=test)).eval()
    with torch.no_grad():
        out = network(pictures(2))
    assert not torch.equal(out.raw, out.normed)
    assert torch.equal(vit.embed(out).vectors[:, 0], out._asdict()[field])


def test_losses_equal_the_loop() -> None:
    network = tiny_network("vit", tiny_config("vit", drop_path=0.0))
    out = network(pictures(4))
    terms = vit.losses(out, tiny_batch(), Config())
    entropy = [
        math.log(math.fsum(map(math.exp, row))) - row[pid]
        for row, pid in zip(out.logits["global"].tolist(), PIDS.tolist(), strict=True)
    ]
    assert terms["identity"].item() == pytest.approx(math.fsum(entropy) / 4, rel=1e-5)
    vectors = out.raw.tolist()
    triplets = []
    for a, friend, strangers in ((0, 1, (2, 3)), (1, 0, (2, 3)), (2, 3, (0, 1)), (3, 2, (0, 1))):
        nearest = min(math.dist(vectors[a], vectors[n]) for n in strangers)
        triplets.append(math.log1p(math.exp(math.dist(vectors[a], vectors[friend]) - nearest)))
    assert terms["triplet"].item() == pytest.approx(math.fsum(triplets) / 4, rel=1e-4)


def test_patches_may_overlap() -> None:
    network = tiny_network("vit", tiny_config("vit", patch_stride=12))
    assert network.get_submodule("backbone")(pictures(1)).cells.shape[2:] == (5, 2)


def test_drop_path_makes_training_random_and_testing_not() -> None:
    network = tiny_network("vit", tiny_config("vit", drop_path=0.5))
    torch.manual_seed(0)
    assert not torch.equal(network(pictures(4)).raw, network(pictures(4)).raw)
    network.eval()
    assert torch.equal(network(pictures(4)).raw, network(pictures(4)).raw)


def test_a_backbone_without_class_token_is_refused() -> None:
    with pytest.raises(InputError, match="no class token; choose a ViT as backbone, or the method bot"):
        tiny_network("vit", tiny_config("vit", backbone="test_efficientnet"))


def test_a_wrong_choice_is_refused() -> None:
    with pytest.raises(InputError, match="test is 'both'; allowed are before, after"):
        Config(test="both")  # type: ignore[arg-type]


def test_a_tenth_of_the_last_blocks_paths_is_dropped_as_published() -> None:
    assert Config().drop_path == 0.1
