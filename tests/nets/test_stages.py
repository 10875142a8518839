"""A second copy of a backbone's last stage: what it copies, and where there is none."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from halfseen.nets.backbones import Backbone, make_backbone
from halfseen.nets.stages import SecondStage
from halfseen.types import InputError

IMAGE = (64, 32)


def pictures() -> Tensor:
    return torch.randn(2, 3, *IMAGE, generator=torch.Generator().manual_seed(0))


class Doubler(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.mul_(2)


def backbone_of(name: str, last_stride: int = 1) -> Backbone:
    torch.manual_seed(0)
    return make_backbone(name, image=IMAGE, last_stride=last_stride, weights="none")


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("test_resnet", ["layer4"]),
        ("resnet18_ibn_a", ["layer4"]),
        ("test_efficientnet", ["blocks.4", "conv_head", "bn2"]),
        ("mobilenetv3_small_050", ["blocks.5"]),
        ("resnetv2_50", ["stages.3", "norm"]),
    ],
)
def test_the_copy_is_of_all_that_the_last_stage_and_its_followers_are(name: str, layers: list[str]) -> None:
    backbone = backbone_of(name)
    second = SecondStage(backbone, IMAGE)
    assert backbone.training
    copied = {key for key, _ in second.named_parameters()}
    wanted = {
        f"layers.{place}.{key}"
        for place, layer in enumerate(layers)
        for key, _ in backbone.network.get_submodule(layer).named_parameters()
    }
    assert copied == wanted
    backbone.eval()
    second.eval()
    with torch.no_grad():
        own, other = second(backbone, pictures())
        assert torch.equal(own, backbone(pictures()).cells)
    torch.testing.assert_close(other, own)


def test_looking_for_the_last_stage_leaves_the_backbone_as_it_was_pretrained() -> None:
    backbone = backbone_of("test_resnet")
    before = copy.deepcopy(backbone.state_dict())
    SecondStage(backbone, IMAGE)
    assert [name for name, value in backbone.state_dict().items() if not torch.equal(value, before[name])] == []


def test_the_copy_keeps_the_stride_that_was_chosen() -> None:
    for stride, size in ((1, (4, 2)), (2, (2, 1))):
        backbone = backbone_of("test_resnet", stride)
        own, other = SecondStage(backbone, IMAGE)(backbone, pictures())
        assert own.shape[2:] == other.shape[2:] == size


def test_each_copy_learns_by_itself_and_both_teach_what_lies_below() -> None:
    backbone = backbone_of("test_resnet")
    second = SecondStage(backbone, IMAGE)
    own, other = second(backbone, pictures())
    last = backbone.get_parameter("network.layer4.0.conv1.weight")
    below = backbone.get_parameter("network.layer3.0.conv1.weight")
    twin = second.get_parameter("layers.0.0.conv1.weight")
    assert twin is not last
    assert torch.equal(twin, last)
    for cells, reached in ((own, (True, True, False)), (other, (False, True, True))):
        slopes = torch.autograd.grad(cells.square().sum(), (last, below, twin), retain_graph=True, allow_unused=True)
        assert tuple(slope is not None for slope in slopes) == reached


def test_no_hook_is_left_behind_and_copies_stay_apart() -> None:
    backbone = backbone_of("test_resnet")
    second = SecondStage(backbone, IMAGE)
    second(backbone, pictures())
    assert not any(layer._forward_pre_hooks for layer in backbone.modules())
    pair = copy.deepcopy(nn.ModuleDict({"backbone": backbone, "second": second}))
    for value in pair.parameters():
        nn.init.zeros_(value)
    cells, _ = second(backbone, pictures())
    assert cells.abs().max() > 0


def test_a_layer_that_changes_what_it_is_given_does_not_spoil_the_copy() -> None:
    backbone = backbone_of("test_resnet")
    first = backbone.network.layer4[0]
    first.conv1 = nn.Sequential(Doubler(), first.conv1)
    with torch.no_grad():
        own, other = SecondStage(backbone, IMAGE)(backbone, pictures())
    torch.testing.assert_close(other, own)


@pytest.mark.parametrize("name", ["test_vit", "hrnet_w18_small", "densenet121"])
def test_backbones_without_such_a_stage_are_refused(name: str) -> None:
    backbone = backbone_of(name)
    with pytest.raises(InputError, match="no last stage of which a second copy could be made"):
        SecondStage(backbone, IMAGE)
