"""Pirt, equation by equation, against loops over rows, cells, joints and heads."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from halfseen.methods import pirt
from halfseen.methods.pirt import GROUPS, MEMBERS, Config, IntraPart, Output, Pirt, RowAttention, heatmaps, partitions
from halfseen.ops.parts import human_mask, max_to_grid
from halfseen.types import Cues
from tiny_methods import IMAGE, awake, pictures, thin, tiny_cues, tiny_network


@pytest.fixture(autouse=True)
def _thin_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pirt, "make_backbone", thin)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def related(**changes: Any) -> Pirt:
    network = tiny_network("pirt", Config(**changes))
    assert isinstance(network, Pirt)
    return network


def seen_in(network: nn.Module, cues: Cues, count: int = 3) -> Output:
    with torch.no_grad():
        out: Output = network.eval()(pictures(count), cues)
        return out


def joints_at(*joints: tuple[int, float, float], count: int = 1, score: float = 1.0) -> Cues:
    """Pictures that show these joints (number, x, y) and no others."""
    keypoints = torch.zeros(count, 17, 3)
    for joint, x, y in joints:
        keypoints[:, joint] = torch.tensor([x, y, score])
    return Cues(keypoints=keypoints)


def seen_at(network: Pirt, cues: Cues, count: int = 3) -> tuple[Tensor, Tensor]:
    """The backbone's cells and the joints' masks of some pictures."""
    with torch.no_grad():
        cells = network.backbone(pictures(count)).cells
    return cells, max_to_grid(heatmaps(cues, IMAGE), (4, 2))


# --- Maps: eq. 1 to 3 ---


def test_P3_masks_are_the_greatest_of_their_cell() -> None:
    maps = heatmaps(tiny_cues(3), IMAGE)
    assert maps.shape == (3, 17, 16, 8)
    masks = max_to_grid(maps, (4, 2))
    windows = maps.unfold(2, 4, 4).unfold(3, 4, 4)  # [3,17,4,2,4,4]
    assert (masks >= windows.mean((4, 5))).all()
    for image, joint, y, x in ((0, 0, 0, 0), (1, 5, 2, 1), (2, 16, 3, 1)):
        assert masks[image, joint, y, x] in windows[image, joint, y, x]
        assert masks[image, joint, y, x] == max(windows[image, joint, y, x].flatten().tolist())
    front = human_mask(masks)
    assert torch.equal(front[:, 0], torch.stack([masks[:, joint] for joint in range(17)]).max(0).values)


def test_maps_peak_at_their_joints_and_are_as_wide_as_a_pose_networks() -> None:
    standing = [(0, 64, 40), (5, 90, 90), (11, 80, 200), (13, 80, 280), (15, 80, 360)]
    standing += [(6, 38, 90), (12, 48, 200), (14, 48, 280), (16, 48, 360)]
    maps = heatmaps(joints_at(*((joint, float(x), float(y)) for joint, x, y in standing)), (384, 128))
    assert maps.shape == (1, 17, 96, 32)
    for joint, x, y in standing:
        peak = int(maps[0, joint].argmax())
        assert abs(peak // 32 - y / 4) <= 1
        assert abs(peak % 32 - x / 4) <= 1
    row = maps[0, 13].amax(1)  # along the height
    deviation = math.sqrt((row > row.max() / 2).sum().item() ** 2 / (8 * math.log(2)))  # from the width at half height
    assert 1.2 < deviation < 2.8  # a pose network's is 2


def test_hidden_pixels_show_no_joint() -> None:
    hidden = torch.zeros(1, *IMAGE, dtype=torch.bool)
    hidden[:, 32:] = True
    cues = joints_at((0, 16, 10), (15, 16, 50))
    maps = heatmaps(Cues(keypoints=cues.keypoints, hidden=hidden), IMAGE)
    assert (maps[:, :, 8:] == 0).all()
    assert torch.equal(maps[:, :, :8], heatmaps(cues, IMAGE)[:, :, :8])
    assert maps[0, 0].max() > 0.5


def test_P8_poses_learn_nothing() -> None:
    network, cues = related(), tiny_cues(4)
    assert cues.keypoints is not None
    keypoints = cues.keypoints.clone().requires_grad_()
    out = network(pictures(4), Cues(keypoints=keypoints))
    torch.autograd.backward(torch.stack([values.sum() for values in out.logits.values()]).sum())
    assert keypoints.grad is None
    assert not heatmaps(Cues(keypoints=keypoints), IMAGE).requires_grad
    assert not any("pose" in name for name in network.state_dict())


@pytest.mark.parametrize(
    ("grid", "counts"),
    [((24, 8), (24, 24)), ((16, 8), (16, 16)), ((8, 4), (8, 4)), ((4, 2), (4, 1)), ((5, 3), (5, 4)), ((1, 1), (1, 1))],
)
def test_rows_patches_and_joints_of_any_grid(grid: tuple[int, int], counts: tuple[int, int]) -> None:
    (h, w), cells = grid, draw(2, 6, *grid)
    masks = draw(2, 17, *grid, seed=1) > 0.5
    stripes, patches, joints = partitions(cells, masks)
    assert (stripes.shape[1], patches.shape[1], joints.shape) == (*counts, (2, 17, 6))
    for row in range(h):
        torch.testing.assert_close(stripes[:, row], torch.stack([cells[:, :, row, x] for x in range(w)]).mean(0))
    for joint in range(17):
        total = torch.zeros(2, 6)
        for y in range(h):
            for x in range(w):
                total += cells[:, :, y, x] * masks[:, joint, y, x, None]
        torch.testing.assert_close(joints[:, joint], total / (h * w))  # eq. 3: over all cells, not the mask's
    if h % 4 == 0:
        for number in range(counts[1]):
            y, x = 4 * (number // (w // 2)), 2 * (number % (w // 2))
            want = cells[:, :, y : y + 4, x : x + 2].flatten(2).max(2).values
            assert torch.equal(patches[:, number], want)


# --- Inside parts: eq. 4 to 8 ---


def rows_by_loop(attention: RowAttention, cells: Tensor, heads: int) -> Tensor:
    """Softmax(q·k / √d)·v of each head in each row, cell by cell."""
    out = torch.zeros_like(cells)
    dim = cells.shape[1]
    one = dim // heads
    weight = attention.looks.weight.detach()
    for image in range(len(cells)):
        for y in range(cells.shape[2]):
            q, k, v = (cells[image, :, y].T @ weight[i * dim : (i + 1) * dim].T for i in range(3))  # [w,D]
            for head in range(heads):
                own = slice(head * one, (head + 1) * one)
                for x in range(cells.shape[3]):
                    scores = [float(q[x, own] @ k[other, own]) / math.sqrt(one) for other in range(cells.shape[3])]
                    total = math.fsum(map(math.exp, scores))
                    for other, score in enumerate(scores):
                        out[image, own, y, x] += math.exp(score) / total * v[other, own]
    return out


@pytest.mark.parametrize("project", [False, True])
def test_eq5_to_7_are_attention_in_each_row(project: bool) -> None:
    torch.manual_seed(0)
    attention, cells = RowAttention(8, project=project), draw(2, 8, 3, 4)
    with torch.no_grad():
        got = attention(cells)
    want = rows_by_loop(attention, cells, heads=4)
    if project:
        weight = attention.get_parameter("project.weight").detach()
        want = torch.einsum("ed,bdhw->behw", weight, want)
    torch.testing.assert_close(got, want)
    assert not any(name.endswith("bias") for name in attention.state_dict())
    assert any("project" in name for name in attention.state_dict()) == project


def test_P1_a_row_is_seen_by_its_own_cells_alone() -> None:
    torch.manual_seed(0)
    attention, cells = RowAttention(8, project=True), draw(2, 8, 3, 4)
    other = cells.clone()
    other[:, :, 1, 2] += 1
    before, after = attention(cells), attention(other)
    assert torch.equal(before[:, :, [0, 2]], after[:, :, [0, 2]])
    assert (before[:, :, 1] != after[:, :, 1]).all()  # all cells of the row


def test_eq4_and_8_the_module_narrows_relates_and_widens() -> None:
    torch.manual_seed(0)
    module, cells, mask = awake(IntraPart(16, project=True)), draw(3, 16, 4, 2), draw(3, 1, 4, 2, seed=1).abs()
    module.dropout.p = 0.0
    nn.init.ones_(module.get_parameter("widen.1.weight"))
    got = module(cells, mask)
    conv = module.get_parameter("narrow.0.weight")[:, :, 0, 0]
    raw = torch.einsum("ed,bdhw->behw", conv, cells)

    def normed(values: Tensor, dims: tuple[int, ...]) -> Tensor:
        mean, variance = values.mean(dims, keepdim=True), values.var(dims, unbiased=False, keepdim=True)
        return (values - mean) / (variance + 1e-5).sqrt()

    half = [normed(raw[:, :2], (2, 3)), normed(raw[:, 2:], (0, 2, 3))]  # IBN: instance, batch
    narrow = torch.cat(half, 1).relu()
    mixed = normed(module.attention(narrow) + narrow, (0, 2, 3)).relu()
    wide = torch.einsum("ed,bdhw->behw", module.get_parameter("widen.0.weight")[:, :, 0, 0], mixed)
    torch.testing.assert_close(got, (normed(wide, (0, 2, 3)) + mask * cells).relu(), rtol=1e-4, atol=1e-4)
    assert module.get_parameter("narrow.0.weight").shape[0] == 4  # a quarter


def test_P2_without_a_mask_there_is_no_skip_and_without_theta_nothing_else() -> None:
    torch.manual_seed(0)
    module, cells, mask = awake(IntraPart(16, project=True)).eval(), draw(2, 16, 4, 2), torch.rand(2, 1, 4, 2)
    alone = module(cells, torch.zeros_like(mask))
    inner = module.narrow(cells).relu()
    seen = module.widen(module.norm(module.attention(inner) + inner).relu())
    assert torch.equal(alone, seen.relu())
    for name in ("widen.1.weight", "widen.1.bias"):
        nn.init.zeros_(module.get_parameter(name))
    assert torch.equal(module(cells, mask), (mask * cells).relu())


# --- Between parts: eq. 9 to 12 ---


def unit_by_loop(layer: nn.Module, parts: Tensor, heads: int) -> Tensor:
    """One encoder layer on `parts` [n,D]: attention, then two linear maps, each normalised after its skip."""
    named = {name: value.detach() for name, value in layer.named_parameters()}
    n, dim = parts.shape
    one = dim // heads

    def normed(values: Tensor, name: str) -> Tensor:
        mean, variance = values.mean(1, keepdim=True), values.var(1, unbiased=False, keepdim=True)
        return (values - mean) / (variance + 1e-5).sqrt() * named[f"{name}.weight"] + named[f"{name}.bias"]

    looks = parts @ named["self_attn.in_proj_weight"].T + named["self_attn.in_proj_bias"]
    q, k, v = looks.chunk(3, 1)
    mixed = torch.zeros_like(parts)
    for head in range(heads):
        own = slice(head * one, (head + 1) * one)
        for row in range(n):
            weights = torch.stack([(q[row, own] @ k[other, own] / math.sqrt(one)).exp() for other in range(n)])
            mixed[row, own] = (weights[:, None] * v[:, own]).sum(0) / weights.sum()
    mixed = mixed @ named["self_attn.out_proj.weight"].T + named["self_attn.out_proj.bias"]
    parts = normed(parts + mixed, "norm1")
    fed = (parts @ named["linear1.weight"].T + named["linear1.bias"]).relu()
    return normed(parts + fed @ named["linear2.weight"].T + named["linear2.bias"], "norm2")


def test_eq9_to_12_are_a_post_norm_encoder_and_a_mean() -> None:
    torch.manual_seed(0)
    module, parts = awake(pirt.InterPart(16, units=2)).eval(), draw(2, 5, 16)
    layers = module.get_submodule("encoder.layers")
    assert isinstance(layers, nn.ModuleList)
    want = []
    for row in parts:
        for layer in layers:
            row = unit_by_loop(layer, row, heads=8)  # noqa: PLW2901
        want.append(torch.stack([*row]).mean(0))
    torch.testing.assert_close(module(parts), torch.stack(want), rtol=1e-4, atol=1e-5)


def test_a_part_of_what_is_related_is_dropped_as_published() -> None:
    assert IntraPart(16, project=True).dropout.p == 0.3
    encoder = pirt.InterPart(16, units=2)
    assert {module.p for module in encoder.modules() if isinstance(module, nn.Dropout)} == {0.1}


def test_what_was_pretrained_passes_both_modules_at_first() -> None:
    torch.manual_seed(0)
    cells, mask, parts = draw(2, 16, 4, 2), torch.rand(2, 1, 4, 2), draw(2, 5, 16)
    assert torch.equal(IntraPart(16, project=True)(cells, mask), (mask * cells).relu())
    module = pirt.InterPart(16, units=3).eval()
    for name, value in module.named_parameters():
        if name.endswith("linear2.bias"):  # which is torch's, and the same for all parts
            nn.init.zeros_(value)
    each = (parts - parts.mean(2, keepdim=True)) / parts.var(2, unbiased=False, keepdim=True).sqrt()
    torch.testing.assert_close(module(parts), each.mean(1), rtol=1e-3, atol=1e-3)


def test_P5_parts_have_no_place() -> None:
    torch.manual_seed(0)
    module, parts = awake(pirt.InterPart(16, units=3)).eval(), draw(2, 6, 16)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(module(parts[:, order]), module(parts))
    none = pirt.InterPart(16, units=0)
    torch.testing.assert_close(none(parts), parts.mean(1))
    assert [*none.parameters()] == []


def test_P5_all_partitions_go_through_the_same_encoder() -> None:
    network = related()
    handed: list[torch.Size] = []
    network.inter.register_forward_hook(lambda _, parts, __: handed.append(parts[0].shape))
    seen_in(network, tiny_cues(3))
    assert handed == [(3, 4, 16), (3, 1, 16), (9, 6, 16)]  # rows, patches, three groups of six joints each
    encoders = [module for module in network.modules() if isinstance(module, nn.TransformerEncoder)]
    assert encoders == [network.inter.encoder]


def test_P5_the_left_shoulder_is_in_two_groups() -> None:
    assert [name for name, joints in zip(GROUPS, MEMBERS, strict=True) if 5 in joints] == ["upper", "head"]
    network = related(intra=False)  # or the human mask would tell all groups
    before, after = (seen_in(network, joints_at((0, 8, 4), (11, 8, 40), (5, 20, y), count=3)) for y in (12.0, 60.0))
    same = (before.test[:, 2:] == after.test[:, 2:]).all(2)
    assert same.tolist() == [[False, True, False]] * 3


@pytest.mark.parametrize("threshold", [0.001, 0.0, 0.3])
def test_stripes_patches_and_groups_are_the_means_of_what_the_encoder_makes_of_them(threshold: float) -> None:
    network, cues = related(intra=False, units=0, threshold=threshold), tiny_cues(3)
    assert cues.keypoints is not None
    cues.keypoints[:, 7, 2] = 0  # a joint that is not there lies above no threshold
    out = seen_in(network, cues)
    cells, masks = seen_at(network, cues)
    torch.testing.assert_close(out.vectors["stripes"], cells.mean((2, 3)))
    torch.testing.assert_close(out.vectors["patches"], cells.amax((2, 3)))  # one patch
    for number, joints in enumerate(MEMBERS):
        rows = [(cells * (masks[:, joint, None] > threshold)).mean((2, 3)) for joint in joints]
        torch.testing.assert_close(out.test[:, 2 + number], torch.stack(rows).mean(0))


# --- Confidence: eq. 13 and 14 ---


def test_P4_confidences_are_shares_of_what_is_trusted_and_seen() -> None:
    network, cues = related(), tiny_cues(3)
    out, (_, masks) = seen_in(network, cues), seen_at(network, cues)
    with torch.no_grad():
        trust = network.trust(out.test[:, 2:])[:, :, 0].tolist()
    for image in range(3):
        peaks = [max(float(masks[image, joint].max()) for joint in joints) for joints in MEMBERS]
        raw = [peak / (1 + math.exp(-own)) for peak, own in zip(peaks, trust[image], strict=True)]
        want = [value / math.fsum(raw) for value in raw]
        assert out.seen[image].tolist() == pytest.approx([1, 1, *want], rel=1e-5)
        assert math.fsum(out.seen[image, 2:].tolist()) == pytest.approx(1)
        for group in range(3):
            assert torch.equal(
                out.vectors["parts"][image, group], out.test[image, 2 + group] * out.seen[image, 2 + group]
            )


def test_P4_a_group_that_is_not_seen_has_no_weight() -> None:
    network = related()
    out = seen_in(network, joints_at((0, 16, 6), (13, 16, 50), count=3, score=0.7))  # head and lower, no arm
    assert (out.seen[:, 2] == 0).all()
    assert (out.seen[:, 3:] > 0).all()
    assert (out.vectors["parts"][:, 0] == 0).all()
    torch.testing.assert_close(out.seen[:, 2:].sum(1), torch.ones(3))


def test_P4_nobody_seen_is_no_nan() -> None:
    network = related()
    out = seen_in(network, joints_at(count=3))
    assert out.seen.tolist() == [[1, 1, 0, 0, 0]] * 3
    embedding = pirt.embed(out)
    assert embedding.vectors.isfinite().all()
    network.train()
    loss = sum(values.sum() for values in network(pictures(4), joints_at(count=4)).logits.values())
    assert isinstance(loss, Tensor)
    slopes = torch.autograd.grad(loss, [p for p in network.parameters() if p.requires_grad], allow_unused=True)
    assert all(slope is None or slope.isfinite().all() for slope in slopes)
