"""PGFL-KD's network, equation by equation, against loops over cells, parts and pictures."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from halfseen.methods import pgfl_kd
from halfseen.methods.pgfl_kd import GROUPS, Align, Config, Output, likeness, part_heat
from halfseen.ops.parts import joint_maps
from halfseen.types import Cues, Embedding, InputError
from tiny_methods import IMAGE, PEOPLE, pictures, thin, tiny_batch, tiny_config, tiny_cues, tiny_network

GRID = (4, 2)


@pytest.fixture
def _thin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pgfl_kd, "make_backbone", thin)


def network_of(people: int = PEOPLE, **changes: Any) -> nn.Module:
    return tiny_network("pgfl_kd", tiny_config("pgfl_kd", **changes), people)


def at_test(network: nn.Module, cues: Cues | None = None, count: int = 3) -> tuple[Output, Embedding]:
    with torch.no_grad():
        out: Output = network.eval()(pictures(count), cues)
        return out, pgfl_kd.embed(out)


def cells_of(network: nn.Module, count: int = 3) -> Tensor:
    with torch.no_grad():
        cells: Tensor = network.get_submodule("backbone")(pictures(count)).cells
        return cells


def heat_of(cues: Cues, **changes: Any) -> Tensor:
    return part_heat(cues, Config(**changes), grid=GRID, image=IMAGE)


class Poison(Cues):
    """Whoever looks at these cues dies."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"{name} was looked at")


@pytest.mark.parametrize("training", [False, True])
def test_K1_the_global_vector_is_the_same_with_and_without_poses(training: bool) -> None:
    network = network_of().train(training)
    with_poses, without = network(pictures(4), tiny_cues(4)), network(pictures(4))
    assert torch.equal(with_poses.vectors["global"], without.vectors["global"])
    assert set(without.vectors) == {"global"}
    assert without.heat is None
    assert set(with_poses.vectors) == {"global", "foreground", "enhanced", "aligned", "fused"}
    assert torch.equal(with_poses.test, without.test)


@pytest.mark.parametrize("stage", ["shared", "separate"])
def test_K1_the_test_path_does_not_touch_cues(stage: str) -> None:
    network = network_of(people=0, last_stage=stage)
    want = at_test(network)[1]
    nowhere = torch.full((3, 17, 3), torch.nan)
    for cues in (Poison(), Cues(keypoints=nowhere), Cues(fields=nowhere)):
        assert torch.equal(at_test(network, cues)[1].vectors, want.vectors)


@pytest.mark.parametrize("stage", ["shared", "separate"])
def test_K8_the_test_path_is_the_backbone_and_a_neck(stage: str) -> None:
    network, trained = (network_of(people, last_stage=stage) for people in (0, PEOPLE))
    backbone = network.get_submodule("backbone")
    own = {name for name in network.state_dict() if not name.startswith("backbone.")}
    assert {name.rpartition(".")[0] for name in own} == {"necks.norms.global"}
    learned = [sum(value.numel() for value in module.parameters()) for module in (network, backbone)]
    assert learned[0] == learned[1] + 2 * network.get_parameter("necks.norms.global.weight").numel()
    beside = {name.split(".")[0] for name in trained.state_dict()} - {"backbone", "necks"}
    assert beside == ({"align", "second"} if stage == "separate" else {"align"})
    tested = trained.eval()(pictures(2), tiny_cues(2)).test.sum()
    learning = {name: value for name, value in trained.named_parameters() if value.requires_grad}
    slopes = torch.autograd.grad(tested, list(learning.values()), allow_unused=True)
    names = {name.split(".")[0] for name, slope in zip(learning, slopes, strict=True) if slope is not None}
    assert names == {"backbone", "necks"}


@pytest.mark.parametrize("changes", [{}, {"last_stage": "separate"}, {"backbone": "test_vit"}])
def test_K8_the_test_path_costs_exactly_the_backbone(changes: dict[str, Any]) -> None:
    network = network_of(people=0, **changes).eval()
    counts = []
    for module in (network, network.get_submodule("backbone"), network_of(**changes).eval()):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            module(pictures(2))
        counts.append(counter.get_total_flops())
    dim = network.get_parameter("necks.norms.global.weight").numel()
    assert counts[0] == counts[1] > 0
    assert counts[2] == counts[0] + 2 * 2 * dim * PEOPLE  # while it learns there is the classifier, and no branch


@pytest.mark.parametrize("merge", ["sum", "max"])
def test_K5_heat_is_the_softmax_of_merged_joints(merge: str) -> None:
    cues = tiny_cues(3)
    assert cues.keypoints is not None
    joints = joint_maps(cues.keypoints, IMAGE, GRID, width=0.5).tolist()
    heat = heat_of(cues, merge=merge, scale=7.0)
    torch.testing.assert_close(heat.sum((2, 3)), torch.ones(3, 8))
    for image in range(3):
        for part, (_, members) in enumerate(GROUPS):
            cells = [[[joints[image][m][y][x] for m in members] for x in range(2)] for y in range(4)]
            merged = [[math.exp(7 * (math.fsum(c) if merge == "sum" else max(c))) for c in row] for row in cells]
            total = math.fsum(map(math.fsum, merged))
            want = torch.tensor([[value / total for value in row] for row in merged])
            torch.testing.assert_close(heat[image, part], want)


def test_K5_what_is_hidden_does_not_show_and_nobody_is_everywhere() -> None:
    everywhere = torch.ones(2, *IMAGE, dtype=torch.bool)
    even = torch.full((2, 8, *GRID), 1 / 8)
    keypoints = tiny_cues(2).keypoints
    torch.testing.assert_close(heat_of(Cues(keypoints=keypoints, hidden=everywhere)), even)
    torch.testing.assert_close(heat_of(Cues(keypoints=torch.zeros(2, 17, 3))), even)
    half = everywhere.clone()
    half[:, :32] = False
    heat = heat_of(Cues(keypoints=keypoints, hidden=half))
    assert torch.equal(heat[:, :, 2], heat[:, :, 3])  # below, nothing is left
    assert not torch.equal(heat[:, :, 0], heat[:, :, 1])
    assert torch.equal(heat_of(Cues(keypoints=keypoints, hidden=~everywhere)), heat_of(Cues(keypoints=keypoints)))


def test_confidence_fields_say_where_joints_are_too() -> None:
    fields = torch.rand(2, 36, *GRID, generator=torch.Generator().manual_seed(0))
    heat = heat_of(Cues(fields=fields), scale=1.0)
    for part, (_, members) in enumerate(GROUPS):
        merged = sum(fields[:, joint] for joint in members)
        assert isinstance(merged, Tensor)
        torch.testing.assert_close(heat[:, part], merged.exp() / merged.exp().sum((1, 2), keepdim=True))
    finer = fields.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(heat_of(Cues(fields=finer), scale=1.0), heat)


@pytest.mark.usefixtures("_thin")
@pytest.mark.parametrize(("gap", "share"), [("grid", 1 / 8), ("mask", 1)])
def test_K5_parts_of_constant_cells_bear_the_factor_of_the_average(gap: str, share: float) -> None:
    network = network_of(gap=gap)
    nn.init.zeros_(network.get_parameter("backbone.layer.weight"))
    out, _ = at_test(network, tiny_cues(3))
    constant = network.get_parameter("backbone.layer.bias").detach()
    torch.testing.assert_close(out.local, (share * constant).expand(3, 8, -1))


@pytest.mark.usefixtures("_thin")
def test_eq1_parts_are_sums_under_their_heat_over_the_number_of_cells() -> None:
    network = network_of()
    out, _ = at_test(network, tiny_cues(3))
    assert out.heat is not None
    assert out.local is not None
    cells = cells_of(network)
    for image in range(3):
        for part in range(8):
            total = torch.zeros(16)
            for y in range(4):
                for x in range(2):
                    total += out.heat[image, part, y, x] * cells[image, :, y, x]
            torch.testing.assert_close(out.local[image, part], total / 8)


@pytest.mark.usefixtures("_thin")
@pytest.mark.parametrize("kind", ["dot", "cosine"])
def test_K6_attention_is_a_softmax_over_cells_and_the_foreground_their_mean(kind: str) -> None:
    network = network_of(attention=kind, gap="mask")
    out, _ = at_test(network, tiny_cues(3))
    assert out.local is not None
    assert out.attention is not None
    torch.testing.assert_close(out.attention.sum((1, 2)), torch.ones(3))
    cells = cells_of(network)
    for image in range(3):
        whole = [math.fsum(out.local[image, :, c].tolist()) / 8 for c in range(16)]  # f_L
        places = [cells[image, :, y, x].tolist() for y in range(4) for x in range(2)]
        likes = [math.fsum(a * b for a, b in zip(place, whole, strict=True)) for place in places]
        if kind == "cosine":
            likes = [like / math.hypot(*place) / math.hypot(*whole) for like, place in zip(likes, places, strict=True)]
        weights = [math.exp(like) for like in likes]
        weights = [weight / math.fsum(weights) for weight in weights]
        assert out.attention[image].flatten().tolist() == pytest.approx(weights, rel=1e-4)
        front = [math.fsum(w * place[c] for w, place in zip(weights, places, strict=True)) for c in range(16)]
        assert out.vectors["foreground"][image].tolist() == pytest.approx(front, abs=1e-5)
    low, high = cells.flatten(2).amin(2), cells.flatten(2).amax(2)
    assert ((out.vectors["foreground"] >= low - 1e-6) & (out.vectors["foreground"] <= high + 1e-6)).all()


def test_K6_attention_is_even_where_all_cells_are_alike() -> None:
    cells = torch.randn(2, 5, 1, 1, generator=torch.Generator().manual_seed(0)).expand(2, 5, *GRID)
    for kind in ("dot", "cosine"):
        torch.testing.assert_close(likeness(cells, torch.rand(2, 5), kind), torch.full((2, *GRID), 1 / 8))


def test_aligned_parts_have_a_layer_each_that_does_not_see_the_others() -> None:
    torch.manual_seed(0)
    align = Align(16, 1.0)
    local = torch.randn(5, 8, 16)
    reduced = torch.stack([local[:, k] @ align.reduce.weight.view(8, 2, 16)[k].T for k in range(8)], 1).flatten(1)
    normed = (reduced - reduced.mean(0)) / (reduced.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(align(local), normed.clamp(min=0), rtol=1e-4, atol=1e-5)
    other = local.clone()
    other[:, 3] += torch.randn(5, 16)
    changed = (align(local) != align(other)).any(0).view(8, 2)
    assert changed.any(1).tolist() == [k == 3 for k in range(8)]


def test_the_normalisation_of_aligned_parts_does_not_notice_the_factor() -> None:
    torch.manual_seed(0)
    plain, tempered = Align(16, 1.0), Align(16, 1 / 192)
    tempered.load_state_dict(plain.state_dict())
    local = 0.01 * torch.randn(6, 8, 16)  # so faint that ε counts
    torch.testing.assert_close(tempered(local / 192), plain(local), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("gap", ["grid", "mask"])
@pytest.mark.usefixtures("_thin")
def test_in_bfloat16_eq1_to_3_are_of_the_cells_as_they_are(gap: str) -> None:
    """Products of long vectors are large, and a softmax of rounded ones would look at other cells."""
    network = network_of(gap=gap, test="foreground")
    conv = network.get_submodule("backbone.layer")
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    nn.init.constant_(conv.bias, 3.0)  # products are large, and their differences are not
    noted: list[Tensor] = []
    hook = conv.register_forward_hook(lambda _, __, made: noted.append(made))
    with torch.autocast("cpu", torch.bfloat16):
        out, _ = at_test(network, tiny_cues(3))
    hook.remove()
    assert noted[0].dtype == torch.bfloat16
    assert out.attention is not None
    assert out.heat is not None
    cells = noted[0].double()
    sums = torch.einsum("bdhw,bkhw->bkd", cells, out.heat.double()) / (8 if gap == "grid" else 1)
    products = torch.einsum("bdhw,bd->bhw", cells, sums.mean(1)).flatten(1)
    assert products.mean() > 100 / (8 if gap == "grid" else 1)
    want = products.softmax(1).view(3, *GRID)
    torch.testing.assert_close(out.attention.double(), want, rtol=1e-3, atol=1e-5)
    front = torch.einsum("bdhw,bhw->bd", cells, want)
    torch.testing.assert_close(out.vectors["foreground"].double(), front, rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("_thin")
def test_eq6_vectors_are_sums() -> None:
    out, _ = at_test(network_of(), tiny_cues(3))
    made = out.vectors
    assert torch.equal(made["enhanced"], made["foreground"] + made["global"])
    assert torch.equal(made["fused"], made["aligned"] + made["global"])
    assert (made["aligned"] >= 0).all()


@pytest.mark.usefixtures("_thin")
def test_K3_both_summands_of_the_fused_vector_learn_the_same() -> None:
    out = network_of()(pictures(4), tiny_cues(4))
    terms = pgfl_kd.losses(out, tiny_batch(), Config())
    loss = terms["identity_fused"] + terms["triplet_fused"] + out.vectors["fused"].sin().sum()
    one, other = torch.autograd.grad(loss, [out.vectors["global"], out.vectors["aligned"]])
    assert torch.equal(one, other)
    assert one.abs().max() > 0


@pytest.mark.usefixtures("_thin")
@pytest.mark.parametrize("name", ["global", "foreground", "enhanced", "aligned", "fused"])
def test_what_has_a_neck_is_compared_behind_it_and_the_rest_as_it_is(name: str) -> None:
    network = network_of(test=name)
    out, embedding = at_test(network, tiny_cues(3))
    want = out.vectors[name]
    if name in Config().reid:
        norm = network.get_submodule(f"necks.norms.{name}")
        want = (want - norm.get_buffer("running_mean")) / (norm.get_buffer("running_var") + 1e-5).sqrt()
    torch.testing.assert_close(embedding.vectors[:, 0], want)
    bare = network_of(people=0, test=name)
    kept = bare.state_dict().keys()
    bare.load_state_dict({key: value for key, value in network.state_dict().items() if key in kept})
    assert torch.equal(at_test(bare, tiny_cues(3))[1].vectors, embedding.vectors)
    branch = {"align"} if name in {"aligned", "fused"} else set()
    assert {key.split(".")[0] for key in kept} <= {"backbone", "necks"} | branch
    if name != "global":
        with pytest.raises(InputError, match="no cue says where these people's joints are; give keypoints"):
            at_test(bare)


def test_confidence_fields_guide_the_branches_too() -> None:
    config = tiny_config("pgfl_kd")
    fields = torch.rand(4, 36, 8, 4, generator=torch.Generator().manual_seed(0))
    out = tiny_network("pgfl_kd", config, PEOPLE)(pictures(4), Cues(fields=fields))
    assert {*out.vectors} == {"global", "foreground", "enhanced", "aligned", "fused"}
    assert {"consistency", "parts"} <= pgfl_kd.losses(out, tiny_batch(), config).keys()
