"""PCB: stripes, reductions and classifiers against loops over stripes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from halfseen.methods import pcb
from halfseen.methods.pcb import Config
from halfseen.ops.distance import distances
from halfseen.types import Embedding, InputError
from tiny_methods import PIDS, pictures, thin, tiny_batch, tiny_config, tiny_network, untouched


@pytest.fixture(autouse=True)
def _thin_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcb, "make_backbone", thin)


def encoded(network: nn.Module, images: Tensor) -> tuple[Tensor, Embedding]:
    """The cells and the embedding of `images`."""
    with torch.no_grad():
        return network.get_submodule("backbone")(images).cells, pcb.embed(network.eval()(images))


def pooled_by_loop(cells: Tensor, count: int) -> Tensor:
    """[B,count,D] from a grid of 4 rows: the rows that adaptive pooling gives to each stripe."""
    rows: dict[int, list[list[int]]] = {
        2: [[0, 1], [2, 3]],
        3: [[0, 1], [1, 2], [2, 3]],
        4: [[0], [1], [2], [3]],
    }
    return torch.stack([cells[:, :, stripe].mean((2, 3)) for stripe in rows[count]], 1)


def mean_distances(parts: Tensor) -> list[list[float]]:
    """Of each two images, the mean over their stripes, from `parts` [B,S,D]."""
    images = parts.tolist()
    pairs = [[[math.dist(*two) for two in zip(a, b, strict=True)] for b in images] for a in images]
    return [[math.fsum(stripes) / len(stripes) for stripes in row] for row in pairs]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_pooled_stripes_stand_end_to_end_each_of_length_1(count: int) -> None:
    cells, got = encoded(tiny_network("pcb", tiny_config("pcb", stripes=count)), pictures(2))
    want = pooled_by_loop(cells, count)
    assert got.vectors.shape == (2, 1, count * 16)
    for image in range(2):
        units = [vector / math.hypot(*vector.tolist()) for vector in want[image]]
        torch.testing.assert_close(got.vectors[image, 0], torch.cat(units))


@pytest.mark.parametrize("shared", [True, False])
def test_reductions_equal_a_loop_over_stripes(shared: bool) -> None:
    network = tiny_network("pcb", tiny_config("pcb", stripes=4, reduction=5, shared=shared, test="parts"))
    cells, got = encoded(network, pictures(3))
    pooled = pooled_by_loop(cells, 4)
    conv, norm = network.get_submodule("reduction.0"), network.get_submodule("reduction.1")
    mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    weight = conv.get_parameter("weight")[:, :, 0]
    for stripe in range(4):
        own = slice(None) if shared else slice(5 * stripe, 5 * stripe + 5)
        reduced = (pooled[:, stripe] @ weight[own].T - mean[own]) / (variance[own] + 1e-5).sqrt()
        torch.testing.assert_close(got.vectors[:, stripe], reduced.relu())
    assert got.visibility.eq(1).all()


@pytest.mark.parametrize("shared", [True, False])
def test_a_shared_reduction_normalises_over_all_stripes_and_own_ones_over_theirs(shared: bool) -> None:
    network = tiny_network("pcb", tiny_config("pcb", stripes=4, reduction=5, shared=shared))
    seen: list[Tensor] = []

    def note(_: nn.Module, __: object, output: Tensor) -> None:
        seen.append(output)

    network.get_submodule("reduction.1").register_forward_hook(note)
    network(pictures(8))
    over = seen[0].transpose(0, 1).flatten(1)  # [channels, images and, if shared, stripes]
    assert over.shape == ((5, 32) if shared else (20, 8))
    torch.testing.assert_close(over.mean(1), torch.zeros(len(over)), rtol=0, atol=1e-5)


def test_each_stripe_has_a_classifier_of_its_own_and_their_losses_add_up() -> None:
    config = tiny_config("pcb", stripes=6, reduction=5)
    network = tiny_network("pcb", config)
    with torch.no_grad():
        network.get_parameter("classifier.bias").copy_(torch.randn(18))
    out = network(pictures(4))
    weight = network.get_parameter("classifier.weight").view(6, 3, 5)
    bias = network.get_parameter("classifier.bias").view(6, 3)
    total = 0.0
    for stripe in range(6):
        logits = out.vectors["parts"][:, stripe] @ weight[stripe].T + bias[stripe]
        torch.testing.assert_close(out.logits["parts"][:, stripe], logits)
        for row, pid in zip(logits.tolist(), PIDS.tolist(), strict=True):
            total += (math.log(math.fsum(map(math.exp, row))) - row[pid]) / 4
    terms = pcb.losses(out, tiny_batch(), config)
    assert set(terms) == {"identity_parts"}
    assert terms["identity_parts"].item() == pytest.approx(total, rel=1e-5)


def test_gilt_puts_identities_on_the_whole_and_triplets_on_stripes() -> None:
    config = tiny_config("pcb", gilt={"concat": (1, 0), "parts": (0, 1)}, reduction=5, test="parts")
    out = tiny_network("pcb", config)(pictures(4))
    assert set(out.logits) == {"concat"}
    assert torch.equal(out.vectors["concat"], torch.cat(list(out.vectors["parts"].unbind(1)), 1))
    terms = pcb.losses(out, tiny_batch(), config)
    assert set(terms) == {"identity_concat", "triplet_parts"}
    d = mean_distances(out.vectors["parts"])
    gaps = [d[0][1] - min(d[0][2:]), d[1][0] - min(d[1][2:]), d[2][3] - min(d[2][:2]), d[3][2] - min(d[3][:2])]
    want = math.fsum(max(gap + 0.3, 0) for gap in gaps) / 4
    assert terms["triplet_parts"].item() == pytest.approx(want, rel=1e-4)


def test_C6_triplets_read_before_the_necks_of_whole_vectors_and_identities_after_them() -> None:
    config = tiny_config("pcb", gilt=dict.fromkeys(("global", "concat", "parts"), (1, 1)), reduction=5, test="parts")
    network = tiny_network("pcb", config)
    out = network(pictures(4))
    for name in ("global", "concat"):
        raw = out.vectors[name]
        normed = (raw - raw.mean(0)) / (raw.var(0, unbiased=False) + 1e-5).sqrt()
        weight = network.get_parameter(f"necks.classifiers.{name}.weight")
        torch.testing.assert_close(out.logits[name], normed @ weight.T, rtol=1e-3, atol=1e-5)
    terms = pcb.losses(out, tiny_batch(), config)
    for name in config.gilt:
        moved = out._replace(vectors=out.vectors | {name: out.vectors[name] * 3})
        turned = out._replace(logits=out.logits | {name: -out.logits[name]})
        for other, changed in ((moved, f"triplet_{name}"), (turned, f"identity_{name}")):
            found = pcb.losses(other, tiny_batch(), config)
            assert {term for term in terms if terms[term] != found[term]} == {changed}


def test_stripes_one_by_one_are_as_far_apart_as_the_mean_of_their_distances() -> None:
    _, embedding = encoded(tiny_network("pcb", tiny_config("pcb", stripes=2, test="parts", reduction=5)), pictures(3))
    matrix = distances(pcb.METHOD.distance, embedding, embedding)
    units = embedding.vectors / embedding.vectors.norm(dim=2, keepdim=True).clamp_min(1e-12)
    assert matrix[0, 1].item() == pytest.approx(mean_distances(units)[0][1], abs=1e-3)


def test_dropout_falls_before_the_reduction_in_training_alone() -> None:
    network = tiny_network("pcb", tiny_config("pcb", dropout=0.5))
    assert not torch.equal(network(pictures(4)).vectors["parts"], network(pictures(4)).vectors["parts"])
    noted: list[Tensor] = []
    network.get_submodule("dropout").register_forward_hook(lambda _, given, made: noted.extend((given[0], made)))
    network.get_submodule("reduction").register_forward_hook(lambda _, given, __: noted.append(given[0]))
    network(pictures(4))
    pooled, left, columns = noted
    assert pooled.shape == (4, 6, 16)
    assert 0.3 < (left == 0).float().mean() < 0.7
    assert torch.equal(left, columns.transpose(1, 2).reshape(left.shape))
    network.eval()
    assert torch.equal(network(pictures(4)).vectors["parts"], network(pictures(4)).vectors["parts"])


@pytest.mark.parametrize("shared", [True, False])
def test_a_reduction_that_nothing_teaches_is_not_built(shared: bool) -> None:
    """Several processes would wait for slopes that never come."""
    network = tiny_network("pcb", tiny_config("pcb", gilt={"global": (1, 1)}, shared=shared))
    assert {name.split(".")[0] for name in network.state_dict()} == {"backbone", "necks"}
    terms = pcb.losses(network(pictures(4)), tiny_batch(), tiny_config("pcb", gilt={"global": (1, 1)}))
    assert untouched(network, torch.stack([*terms.values()]).sum()) == []
    assert encoded(network, pictures(3))[1].vectors.shape == (3, 1, 96)


def test_without_people_there_is_no_reduction_that_is_not_tested() -> None:
    pooled, reduced = (tiny_network("pcb", tiny_config("pcb", test=test), people=0) for test in ("pooled", "reduced"))
    assert {name.split(".")[0] for name in pooled.state_dict()} == {"backbone"}
    assert {name.split(".")[0] for name in reduced.state_dict()} == {"backbone", "reduction"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": "h"}, "test is 'h'; allowed are pooled, reduced, parts"),
        ({"stripes": 0}, "stripes is 0, reduction 256 and dropout 0.0; give 1 or more stripes"),
        ({"stripes": -1}, "stripes is -1"),
        ({"reduction": 0}, "reduction 0 .*a reduction of 1 or more"),
        ({"dropout": 2.0}, "dropout 2.0; .*a dropout from 0 to below 1"),
        ({"dropout": math.nan}, "dropout nan"),
        ({"gilt": {"foreground": (1, 0)}}, "name one of global, concat, parts"),
        ({"gilt": {"parts": (1, -1)}}, "two numbers of 0 or more"),
        ({"gilt": {"parts": (1,)}}, "two numbers of 0 or more"),
        ({"gilt": {"parts": (0, 0)}}, "no loss at all"),
        ({"gilt": {}}, "no loss at all"),
        ({"gilt": {"global": (1, 1)}, "test": "reduced"}, "nothing teaches their reduction"),
        ({"gilt": {"global": (1, 1)}, "test": "parts"}, "nothing teaches their reduction"),
    ],
)
def test_what_is_no_config_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny_config("pcb", **changes)


@pytest.mark.parametrize("gilt", [{"parts": (0, 1)}, {"concat": (1, 0)}, {"global": (1, 1), "parts": (1, 0)}])
def test_reduced_stripes_are_compared_where_anything_teaches_them(gilt: dict[str, tuple[float, float]]) -> None:
    assert tiny_config("pcb", gilt=gilt, test="reduced").test == "reduced"


def test_the_table_is_complete_whatever_was_named() -> None:
    assert Config().gilt == {"global": (0, 0), "concat": (0, 0), "parts": (6, 0)}
