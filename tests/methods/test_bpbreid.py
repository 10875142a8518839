"""BPBreID, equation by equation, against loops over cells, parts and pictures."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from halfseen.methods import bpbreid
from halfseen.methods.bpbreid import HOLISTIC, Config, visible
from halfseen.types import Cues
from tiny_methods import PIDS, compared, pictures, sharp, thin, tiny_batch, tiny_cues

GILT = {"global": (1, 0), "foreground": (1, 0), "concat": (1, 0), "parts": (0, 1)}  # eq. 6


@pytest.fixture(autouse=True)
def _thin_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpbreid, "make_backbone", thin)


def slope(loss: Tensor, network: nn.Module, name: str) -> float:
    """The largest gradient that `loss` gives the parameter `name`; 0 if it does not reach it."""
    (found,) = torch.autograd.grad(loss, network.get_parameter(name), retain_graph=True, allow_unused=True)
    return 0.0 if found is None else found.abs().max().item()


def test_B1_maps_sum_to_one() -> None:
    for network, parts in ((sharp(), 8), (sharp(parts=3), 3), (sharp(attention="fixed"), 8)):
        out, _ = compared(network, cues=tiny_cues(3))
        assert out.maps.shape == (3, parts + 1, 4, 2)
        torch.testing.assert_close(out.maps.sum(1), torch.ones(3, 4, 2))
        assert (out.maps >= 0).all()


def test_eq1_maps_are_the_softmax_of_a_linear_layer_behind_a_normalisation() -> None:
    network = sharp()
    cells = network.get_submodule("backbone")(pictures(4)).cells
    out = network(pictures(4))
    mean, variance = cells.mean((0, 2, 3), keepdim=True), cells.var((0, 2, 3), unbiased=False, keepdim=True)
    normed = (cells - mean) / (variance + 1e-5).sqrt()
    weight, bias = (network.get_parameter(f"pixels.classifier.{name}") for name in ("weight", "bias"))
    logits = torch.einsum("bdhw,kd->bkhw", normed, weight[:, :, 0, 0]) + bias[:, None, None]
    torch.testing.assert_close(out.pixels, logits)
    torch.testing.assert_close(out.maps, logits.exp() / logits.exp().sum(1, keepdim=True))


def pooled_by_loop(cells: Tensor, maps: Tensor) -> Tensor:
    """Eq. 3: Σ G·M / Σ M, cell by cell, for `maps` [B,M,h,w] → [B,M,D]."""
    pooled = torch.zeros(*maps.shape[:2], cells.shape[1])
    for image in range(len(cells)):
        for number in range(maps.shape[1]):
            mass = 0.0
            for y in range(4):
                for x in range(2):
                    pooled[image, number] += maps[image, number, y, x] * cells[image, :, y, x]
                    mass += float(maps[image, number, y, x])
            pooled[image, number] /= mass
    return pooled


@pytest.mark.parametrize("foreground", ["mask", "grid"])
def test_eq3_pools_under_each_map(foreground: str) -> None:
    network = sharp(reduction=None, foreground=foreground)
    out, _ = compared(network)
    with torch.no_grad():
        cells = network.get_submodule("backbone")(pictures(3)).cells
    torch.testing.assert_close(out.vectors["parts"], pooled_by_loop(cells, out.maps[:, 1:]))
    torch.testing.assert_close(out.vectors["global"], cells.mean((2, 3)))
    front = torch.stack([out.maps[:, k] for k in range(1, 9)]).amax(0)
    mass = front.sum((1, 2)) if foreground == "mask" else torch.full((3,), 8.0)
    want = (cells * front[:, None]).sum((2, 3)) / mass[:, None]
    torch.testing.assert_close(out.vectors["foreground"], want)


def test_each_kind_of_embedding_has_a_reduction_and_parts_share_theirs() -> None:
    network = sharp()
    unreduced = sharp(reduction=None)
    shared = {name: value for name, value in network.state_dict().items() if name.startswith(("backbone", "pixels"))}
    unreduced.load_state_dict(shared, strict=False)
    (out, _), (long, _) = compared(network), compared(unreduced)
    for name in ("global", "foreground", "parts"):
        norm = network.get_submodule(f"reductions.{name}.1")
        mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
        line = long.vectors[name] @ network.get_parameter(f"reductions.{name}.0.weight").T
        torch.testing.assert_close(out.vectors[name], ((line - mean) / (variance + 1e-5).sqrt()).relu())
    assert {key.split(".")[1] for key in network.state_dict() if key.startswith("reductions")} == {
        "global",
        "foreground",
        "parts",
    }


def test_B3_a_map_that_peaks_at_the_threshold_is_not_seen_and_the_rules_differ() -> None:
    maps = torch.zeros(1, 4, 1, 3)
    maps[0, :, 0, 0] = torch.tensor([0.1, 0.4, 0.3, 0.2])  # part 1 peaks at exactly 0.4, and is the greatest here
    maps[0, :, 0, 1] = torch.tensor([0.15, 0.2, 0.3, 0.35])  # part 3 is the greatest with 0.35
    maps[0, :, 0, 2] = torch.tensor([0.55, 0.0, 0.41, 0.04])  # part 2 rises above 0.4 and is not the greatest
    assert visible(maps, Config(parts=3)).tolist() == [[0, 1, 0]]
    assert visible(maps, Config(parts=3, visibility="argmax")).tolist() == [[1, 0, 1]]
    assert visible(maps, Config(parts=3, visibility="none")).tolist() == [[1, 1, 1]]
    assert visible(maps, Config(parts=3, threshold=0.3)).tolist() == [[1, 1, 1]]


def test_B4_identities_teach_maps_and_cells_through_the_pooling() -> None:
    network = sharp()
    terms = bpbreid.losses(network(pictures(4)), tiny_batch(), Config())
    for name in ("foreground", "concat"):
        assert slope(terms[f"identity_{name}"], network, "pixels.classifier.weight") > 0
        assert slope(terms[f"identity_{name}"], network, "backbone.layer.weight") > 0
    assert slope(terms["triplet_parts"], network, "pixels.classifier.weight") > 0
    assert slope(terms["identity_global"], network, "pixels.classifier.weight") == 0


def test_B4_with_detached_maps_identities_teach_cells_alone() -> None:
    network = sharp()

    def cut(_: nn.Module, __: object, logits: Tensor) -> Tensor:
        return logits.detach()

    network.get_submodule("pixels").register_forward_hook(cut)
    out = network(pictures(4))
    for name in ("foreground", "concat"):
        loss = bpbreid.losses(out, tiny_batch(), Config())[f"identity_{name}"]
        assert slope(loss, network, "pixels.classifier.weight") == 0
        assert slope(loss, network, "backbone.layer.weight") > 0


def test_B5_the_config_chooses_between_one_triplet_and_one_for_each_part() -> None:
    out = sharp()(pictures(4))
    parts = [part.tolist() for part in out.vectors["parts"].unbind(1)]
    d = [[[math.dist(a, b) for b in part] for a in part] for part in parts]
    averaged = [[math.fsum(part[i][j] for part in d) / 8 for j in range(4)] for i in range(4)]

    def hinge(d: list[list[float]]) -> float:
        gaps = [d[0][1] - min(d[0][2:]), d[1][0] - min(d[1][2:]), d[2][3] - min(d[2][:2]), d[3][2] - min(d[3][:2])]
        return math.fsum(max(gap + 0.3, 0) for gap in gaps) / 4

    one = bpbreid.losses(out, tiny_batch(), Config())["triplet_parts"].item()
    each = bpbreid.losses(out, tiny_batch(), Config(triplet="per-part"))["triplet_parts"].item()
    assert one == pytest.approx(hinge(averaged), rel=1e-4)
    assert each == pytest.approx(math.fsum(map(hinge, d)) / 8, rel=1e-4)
    assert one != pytest.approx(each, rel=1e-3)


def test_B6_concat_is_the_parts_end_to_end_and_holistic_vectors_are_always_seen() -> None:
    for name in HOLISTIC:
        network = sharp(test=(name,), threshold=1.0)
        out, embedding = compared(network)
        assert torch.equal(out.vectors["concat"], torch.cat([out.vectors["parts"][:, k] for k in range(8)], 1))
        assert embedding.visibility.tolist() == [[1], [1], [1]]
        assert embedding.vectors.shape == (3, 1, 48 if name == "concat" else 6)
    _, embedding = compared(sharp(threshold=1.0))
    assert embedding.visibility.tolist() == [[1] + [0] * 8] * 3


def test_B7_gilt_is_equation_6_and_parts_have_no_classifier() -> None:
    assert Config().gilt == GILT
    network = sharp()
    out = network(pictures(4))
    assert set(out.logits) == set(HOLISTIC)
    named = {name for name, _ in network.named_parameters() if "classifier" in name and "pixels" not in name}
    assert named == {f"necks.classifiers.{name}.weight" for name in HOLISTIC}
    terms = bpbreid.losses(out, tiny_batch(), Config())
    assert set(terms) == {*(f"identity_{name}" for name in HOLISTIC), "triplet_parts", "pixels"}
    for name in HOLISTIC:
        entropy = []
        for row, pid in zip(out.logits[name].tolist(), PIDS.tolist(), strict=True):
            log_total = math.log(math.fsum(map(math.exp, row)))
            q = [0.1 / 3 + 0.9 * (c == pid) for c in range(3)]
            entropy.append(math.fsum(share * (log_total - x) for share, x in zip(q, row, strict=True)))
        assert terms[f"identity_{name}"].item() == pytest.approx(math.fsum(entropy) / 4, rel=1e-5)


def test_B7_parts_get_classifiers_of_their_own_where_the_table_asks_for_them() -> None:
    network = sharp(gilt={"parts": (1, 0)}, test=("parts",))
    out = network(pictures(4))
    assert out.logits["parts"].shape == (4, 8, 3)
    assert set(out.logits) == {"parts"}
    names = Config().names
    for k, name in enumerate(names):
        part = out.vectors["parts"][:, k]
        normed = (part - part.mean(0)) / (part.var(0, unbiased=False) + 1e-5).sqrt()
        logits = normed @ network.get_parameter(f"necks.classifiers.{name}.weight").T
        torch.testing.assert_close(out.logits["parts"][:, k], logits, rtol=1e-3, atol=1e-5)
    config = Config(gilt={"parts": (1, 0)}, test=("parts",))
    assert set(bpbreid.losses(out, tiny_batch(), config)) == {"identity_parts", "pixels"}


def test_B8_a_part_does_not_see_cells_where_its_map_is_0() -> None:
    labels = torch.zeros(1, 64, 32, dtype=torch.int64)
    labels[0, :16, :16], labels[0, 16:48, 16:] = 1, 4
    network = sharp(attention="fixed", reduction=None).eval()
    images = pictures(1)
    with torch.no_grad():
        before = network(images, Cues(parts=labels)).vectors["parts"]
        images[:, :, 48:] += 5  # background
        images[:, :, 16:48, 16:] -= 3  # the torso
        after = network(images, Cues(parts=labels)).vectors["parts"]
    assert torch.equal(before[:, 0], after[:, 0])
    assert not torch.equal(before[:, 3], after[:, 3])
    assert after[:, [1, 2, 4, 5, 6, 7]].eq(0).all()  # parts without any cell


def test_one_part_that_is_everywhere_makes_the_plain_triplet() -> None:
    network = sharp(parts=1, reduction=None, attention="fixed")
    everywhere = Cues(parts=torch.ones(4, 64, 32, dtype=torch.int64))
    out = network(pictures(4), everywhere)
    torch.testing.assert_close(out.vectors["parts"][:, 0], out.vectors["global"])
    config = Config(parts=1, reduction=None, attention="fixed", gilt={"global": (0, 1), "parts": (0, 1)})
    terms = bpbreid.losses(out, tiny_batch(), config)
    torch.testing.assert_close(terms["triplet_parts"], terms["triplet_global"])
