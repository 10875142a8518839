"""Backbones of many kinds: the shape of their grid, and that they are timm's networks but for what was asked."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from halfseen.nets.backbones import Backbone, make_backbone
from halfseen.types import InputError


def draw(*size: int) -> Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))


def run(backbone: Backbone, *size: int) -> tuple[Tensor, Tensor | None]:
    backbone.eval()
    with torch.no_grad():
        cells, cls = backbone(draw(*size))
    return cells, cls


def make(name: str, *size: int, **options: Any) -> Backbone:
    return make_backbone(name, image=(size[0], size[1]), weights="none", **options)


@pytest.mark.parametrize(
    ("name", "size", "options", "shape"),
    [
        ("resnet18", (64, 32), {}, (512, 4, 2)),
        ("resnet18", (64, 32), {"last_stride": 2}, (512, 2, 1)),
        ("resnet18", (60, 33), {}, (512, 4, 3)),
        ("resnet26d", (64, 32), {}, (2048, 4, 2)),  # pools in its shortcuts
        ("resnet18_ibn_a", (64, 32), {}, (512, 4, 2)),
        ("mobilenetv2_100", (64, 32), {}, (1280, 4, 2)),
        ("tf_efficientnet_lite0", (64, 32), {}, (1280, 4, 2)),
        ("mobilenetv3_small_050", (64, 32), {"drop_path": 0.1}, (288, 4, 2)),
        ("regnetx_002", (64, 32), {}, (368, 4, 2)),
        ("hrnet_w18_small", (64, 32), {}, (1920, 16, 8)),
        ("test_convnext", (64, 32), {"last_stride": 2}, (64, 2, 1)),
        ("test_vit", (64, 32), {}, (64, 4, 2)),
        ("test_vit3", (64, 32), {}, (96, 4, 2)),  # without a class token
        ("levit_128s", (224, 112), {"last_stride": 2}, (384, 4, 2)),  # takes its size at birth
    ],
)
def test_the_grid_is_known_before_running(
    name: str, size: tuple[int, int], options: dict[str, Any], shape: tuple[int, int, int]
) -> None:
    backbone = make(name, *size, **options)
    cells, _ = run(backbone, *size)
    assert cells.shape == (2, *shape)
    assert (backbone.dim, *backbone.grid) == shape
    assert cells.isfinite().all()


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("vit_tiny_patch16_224", 1),
        ("deit_tiny_distilled_patch16_224", 2),
        ("test_vit3", 0),
        ("vit_pwee_patch16_reg1_gap_256", 0),
        ("vit_little_patch16_reg1_gap_256", 0),
        ("deit3_small_patch16_224", 1),
    ],
)
def test_a_class_token_stays_apart_from_the_cells(name: str, tokens: int) -> None:
    backbone = make(name, 64, 48)
    network: Any = backbone.network
    cells, cls = run(backbone, 64, 48)
    with torch.no_grad():
        everything = network.forward_features(draw(64, 48))
    first = network.num_prefix_tokens
    for row in range(4):
        for column in range(3):
            assert torch.equal(cells[:, :, row, column], everything[:, first + 3 * row + column])
    if tokens:
        assert cls is not None
        assert torch.equal(cls, everything[:, 0])
    else:
        assert cls is None


@pytest.mark.parametrize(
    ("name", "grid"),
    [("eva02_tiny_patch14_224", (4, 2)), ("vit_tiny_r_s16_p8_224", (2, 1)), ("vit_tiny_patch16_dinov3_qkvb", (4, 2))],
)
def test_other_transformers_give_their_class_token_too(name: str, grid: tuple[int, int]) -> None:
    backbone = make(name, 64, 32, last_stride=2)
    cells, cls = run(backbone, 64, 32)
    assert cells.shape[2:] == backbone.grid == grid
    assert cls is not None
    assert cls.shape == (2, backbone.dim)


@pytest.mark.parametrize("stride", [11, 12, 14, 16])
def test_overlapping_patches_are_counted_as_TransReID_counts_them(stride: int) -> None:
    counted = {11: (22, 11), 12: (21, 10), 14: (18, 9), 16: (16, 8)}
    backbone = make("test_vit", 256, 128, patch_stride=stride)
    assert backbone.grid == counted[stride]
    small = make("test_vit", 64, 43, patch_stride=stride)
    assert small.grid == ((64 - 16) // stride + 1, (43 - 16) // stride + 1)
    assert run(small, 64, 43)[0].shape == (2, 64, *small.grid)


def test_each_overlapping_patch_sees_its_own_pixels() -> None:
    backbone = make("test_vit", 64, 43, patch_stride=12)
    network: Any = backbone.network
    images = draw(64, 43)
    seen = network.patch_embed(images).reshape(2, -1, 64)
    weight, bias = network.patch_embed.proj.weight, network.patch_embed.proj.bias
    for row, column in ((0, 0), (1, 2), (4, 1)):
        patch = images[:, :, 12 * row : 12 * row + 16, 12 * column : 12 * column + 16]
        expected = torch.einsum("bchw,dchw->bd", patch, weight) + bias
        torch.testing.assert_close(seen[:, 3 * row + column], expected, atol=1e-5, rtol=1e-4)


def test_side_by_side_at_its_own_size_a_vit_is_timms() -> None:
    backbone = make("test_vit", 160, 160, patch_stride=16)
    theirs: Any = timm.create_model("test_vit", num_classes=0).eval()
    theirs.load_state_dict(backbone.network.state_dict())
    cells, cls = run(backbone, 160, 160)
    with torch.no_grad():
        tokens = theirs.forward_features(draw(160, 160))
    assert cls is not None
    assert torch.equal(cls, tokens[:, 0])
    assert torch.equal(cells.flatten(2).mT, tokens[:, 1:])


def test_side_by_side_at_another_size_a_vit_is_timms_with_these_positions() -> None:
    backbone = make("test_vit", 64, 32)
    theirs: Any = timm.create_model("test_vit", num_classes=0, img_size=(64, 32)).eval()
    theirs.load_state_dict(backbone.network.state_dict())
    cells, _ = run(backbone, 64, 32)
    with torch.no_grad():
        tokens = theirs.forward_features(draw(64, 32))
    assert torch.equal(cells.flatten(2).mT, tokens[:, 1:])


@pytest.mark.parametrize("name", ["resnet18", "test_resnet", "test_efficientnet"])
def test_the_last_stride_changes_the_grid_and_no_parameter(name: str) -> None:
    fine, coarse = make(name, 64, 32), make(name, 64, 32, last_stride=2)
    assert fine.grid == (2 * coarse.grid[0], 2 * coarse.grid[1])
    coarse.load_state_dict(fine.state_dict())  # strict


def test_up_to_the_last_stage_the_finer_network_is_timms() -> None:
    fine = make("resnet18", 64, 32)
    network: Any = fine.network
    theirs: Any = timm.create_model("resnet18", num_classes=0).eval()
    theirs.load_state_dict(network.state_dict())
    before: dict[str, Tensor] = {}
    for key, each in (("ours", network), ("theirs", theirs)):
        each.layer4.register_forward_pre_hook(lambda _, inputs, key=key: before.update({key: inputs[0].clone()}))
    cells, _ = run(fine, 64, 32)
    with torch.no_grad():
        coarse = theirs.forward_features(draw(64, 32))
        block = theirs.layer4[0]  # every other cell of the first block is what the strided block gives
        ours = network.layer4[0](before["ours"])
        assert torch.equal(before["ours"], before["theirs"])
        torch.testing.assert_close(
            network.layer4[0].downsample(before["ours"])[:, :, ::2, ::2], block.downsample(before["theirs"])
        )
    assert ours.shape[2:] == cells.shape[2:] == (4, 2)
    assert coarse.shape[2:] == (2, 1)
    assert {m.dilation for m in network.modules() if isinstance(m, nn.Conv2d)} == {(1, 1)}


def test_hrnet_lays_four_resolutions_over_each_other() -> None:
    backbone = make("hrnet_w18_small", 64, 32)
    cells, _ = run(backbone, 64, 32)
    network: Any = backbone.network
    with torch.no_grad():
        x = network.act2(network.bn2(network.conv2(network.act1(network.bn1(network.conv1(draw(64, 32)))))))
        widened = [grow(y) for grow, y in zip(network.incre_modules, network.stages(x), strict=True)]
    assert [tuple(y.shape[1:]) for y in widened] == [(128, 16, 8), (256, 8, 4), (512, 4, 2), (1024, 2, 1)]
    assert torch.equal(cells[:, :128], widened[0])
    coarse, fine = widened[1], cells[:, 128:384]
    # the first cell beyond the border lies a quarter of a coarse cell from its centre
    torch.testing.assert_close(fine[:, :, 1, 0], 0.75 * coarse[:, :, 0, 0] + 0.25 * coarse[:, :, 1, 0])
    torch.testing.assert_close(fine[:, :, 0, 0], coarse[:, :, 0, 0])


def test_hrnet_w32_has_the_papers_shape() -> None:
    with torch.device("meta"):
        backbone = make("hrnet_w32", 384, 128)
    assert (backbone.dim, backbone.grid) == (1920, (96, 32))


@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenetv3_small_050", "hrnet_w18_small", "test_vit", "test_convnext", "efficientvim_m1"]
)
def test_every_parameter_learns(name: str) -> None:
    backbone = make(name, 64, 64, last_stride=2)
    grid = backbone.eval()(draw(64, 64))
    torch.autograd.backward([part.square().sum() for part in grid if part is not None])
    assert [key for key, value in backbone.named_parameters() if value.requires_grad and value.grad is None] == []


def test_drop_path_drops_in_training_only() -> None:
    backbone = make("test_vit", 64, 32, drop_path=0.5)
    assert backbone.training
    assert not torch.equal(backbone(draw(64, 32)).cells, backbone(draw(64, 32)).cells)
    assert torch.equal(run(backbone, 64, 32)[0], run(backbone, 64, 32)[0])
    steady = make("test_vit", 64, 32)
    assert torch.equal(steady(draw(64, 32)).cells, steady(draw(64, 32)).cells)


def test_pictures_are_normalised_as_the_network_was_taught() -> None:
    assert make("vit_tiny_patch16_224", 64, 32).mean == (0.5, 0.5, 0.5)
    resnet = make("resnet18", 64, 32)
    assert resnet.mean == (0.485, 0.456, 0.406)
    assert resnet.std == (0.229, 0.224, 0.225)


def test_a_backbone_can_be_copied_and_pickled() -> None:
    backbone = make("test_vit", 64, 32)
    cells, _ = run(backbone, 64, 32)
    assert torch.equal(run(copy.deepcopy(backbone), 64, 32)[0], cells)
    assert torch.equal(run(pickle.loads(pickle.dumps(backbone)), 64, 32)[0], cells)


@pytest.mark.parametrize(
    ("name", "size", "options", "words"),
    [
        ("resnet5O", (64, 32), {}, ["resnet5O", "resnet50"]),
        ("resnet50_ibn", (64, 32), {}, ["resnet50_ibn_a"]),
        ("resnet18.nonsense", (64, 32), {}, ["resnet18.nonsense", "nearest"]),
        ("test_vit_ibn_a", (64, 32), {}, ["ResNet", "test_vit"]),
        ("resnet18", (64, 32), {"last_stride": 3}, ["last_stride is 3", "1", "2"]),
        ("resnet18", (64, 32), {"patch_stride": 12}, ["patch_stride", "resnet18"]),
        ("test_convnext", (64, 32), {}, ["test_convnext", "last_stride to 2"]),
        ("test_vit", (64, 12), {}, ["64×12", "16×16"]),
        ("test_vit", (64, 32), {"patch_stride": 17}, ["patch_stride is 17", "1 to 16"]),
        ("test_vit", (64, 32), {"patch_stride": 0}, ["patch_stride is 0"]),
        ("hrnet_w18_small", (64, 32), {"drop_path": 0.1}, ["hrnet_w18_small", "drop path"]),
        ("test_vit", (64, 32), {"drop_path": 1.5}, ["drop_path is 1.5", "below 1"]),
        ("test_vit", (64, 32), {"drop_path": float("nan")}, ["drop_path is nan"]),
        ("nest_tiny", (64, 32), {}, ["nest_tiny", "64×32"]),
    ],
)
def test_what_cannot_be_is_one_sentence(
    name: str, size: tuple[int, int], options: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(InputError) as refusal:
        make(name, *size, **options)
    sentence = str(refusal.value)
    assert "\n" not in sentence
    assert [word for word in words if word not in sentence] == []
