"""A transformer in pieces is the transformer in one, and its pieces lie where they say."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from halfseen.nets.backbones import make_backbone
from halfseen.nets.hybrids import HYBRID
from halfseen.nets.trunk import Trunk
from halfseen.types import InputError

IMAGE = (64, 48)


def draw(height: int = 64, width: int = 48) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def make(name: str = "test_vit", image: tuple[int, int] = IMAGE, **options: Any) -> Trunk:
    torch.manual_seed(0)
    return Trunk(name, image=image, **options).eval()


def whole(name: str, **options: Any) -> Any:
    """The same network, drawn alike, as a backbone."""
    torch.manual_seed(0)
    return make_backbone(name, image=IMAGE, weights="none", **options).eval()


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("test_vit", 1),
        ("vit_tiny_patch16_224", 1),
        ("deit_tiny_distilled_patch16_224", 2),
        ("deit3_small_patch16_224", 1),  # scales its layers
        ("vit_small_patch14_reg4_dinov2", 5),  # registers
        ("vit_xsmall_patch16_clip_224", 1),  # a norm before the blocks
        ("vit_tiny_r_s16_p8_224", 1),  # a convolutional stem
        (HYBRID, 1),
    ],
)
def test_the_pieces_in_order_are_the_backbone_bit_for_bit(name: str, prefix: int) -> None:
    trunk, backbone = make(name), whole(name)
    with torch.no_grad():
        tokens = trunk.embed(draw())
        for block in range(trunk.depth):
            tokens = trunk.run(tokens, block, block + 1)
        tokens = trunk.norm(tokens)
        cells, cls = backbone(draw())
        grid = trunk(draw())
    assert (trunk.prefix, trunk.dim, trunk.grid) == (prefix, backbone.dim, backbone.grid)
    assert torch.equal(grid.cells, cells)
    assert torch.equal(grid.cls, cls)
    assert torch.equal(trunk.cells(tokens), cells)
    assert torch.equal(tokens[:, 0], cls)
    assert torch.equal(tokens[:, prefix:], cells.flatten(2).mT)
    assert (trunk.mean, trunk.std) == (backbone.mean, backbone.std)
    assert trunk.state_dict().keys() == backbone.state_dict().keys()


def test_blocks_may_be_run_in_any_pieces() -> None:
    trunk = make("vit_tiny_patch16_224")
    assert trunk.depth == 12
    with torch.no_grad():
        start = trunk.embed(draw())
        once = trunk.run(start)
        assert torch.equal(trunk.run(trunk.run(start, 0, 5), 5), once)
        assert torch.equal(trunk.run(trunk.run(start, last=11), 11), once)
        assert torch.equal(trunk.run(start, 3, 3), start)
        assert not torch.equal(trunk.run(start, last=11), once)


def test_the_top_is_a_copy_that_starts_as_the_last_block_and_norm() -> None:
    trunk = make()
    top = trunk.top().eval()
    with torch.no_grad():
        below = trunk.run(trunk.embed(draw()), last=trunk.depth - 1)
        own = trunk.norm(trunk.run(below, trunk.depth - 1))
        assert torch.equal(top(below), own)
        for parameter in top.parameters():
            parameter.add_(1)
        assert torch.equal(trunk.norm(trunk.run(below, trunk.depth - 1)), own)
    assert {id(p) for p in top.parameters()}.isdisjoint(id(p) for p in trunk.parameters())
    assert all(p.requires_grad for p in top.parameters())


@pytest.mark.parametrize("stride", [11, 12, 14, 16])
def test_overlapping_patches_are_counted_as_papers_count_them(stride: int) -> None:
    counted = {11: (22, 11), 12: (21, 10), 14: (18, 9), 16: (16, 8)}
    trunk = make(image=(256, 128), patch_stride=stride)
    assert trunk.grid == counted[stride]
    tokens = trunk.embed(draw(256, 128))
    n = trunk.grid[0] * trunk.grid[1]
    assert tokens.shape == (2, 1 + n, trunk.dim)
    assert trunk.positions.shape == (1, n, trunk.dim)


@pytest.mark.parametrize("name", ["test_vit", "deit_tiny_distilled_patch16_224", "deit3_small_patch16_224"])
def test_positions_are_those_of_the_patches(name: str) -> None:
    trunk = make(name)
    network: Any = trunk.network
    with torch.no_grad():
        tokens = trunk.embed(draw())[:, trunk.prefix :]
        patches = network.patch_embed(draw()).reshape(2, 12, trunk.dim)
    torch.testing.assert_close(tokens - trunk.positions, patches, atol=1e-5, rtol=1e-5)


def test_a_network_without_positions_gives_zeros() -> None:
    trunk = make()
    network: Any = trunk.network
    network.pos_embed = None
    assert torch.equal(trunk.positions, torch.zeros(1, 12, trunk.dim))


def test_every_parameter_learns() -> None:
    trunk = make()
    torch.autograd.backward(trunk.norm(trunk.run(trunk.embed(draw()))).square().sum())
    assert [key for key, value in trunk.named_parameters() if value.requires_grad and value.grad is None] == []


def test_drop_path_drops_in_training_only() -> None:
    trunk = make(drop_path=0.5)
    tokens = trunk.embed(draw())
    assert torch.equal(trunk.run(tokens), trunk.run(tokens))
    trunk.train()
    assert not torch.equal(trunk.run(tokens), trunk.run(tokens))


def test_a_trunk_can_be_copied_and_reads_weights_from_a_file(tmp_path: Path) -> None:
    trunk = make()
    save_file({key: value + 1 for key, value in trunk.network.state_dict().items()}, tmp_path / "vit.safetensors")
    other = make(weights=tmp_path / "vit.safetensors")
    for key, value in other.network.state_dict().items():
        assert torch.equal(value, trunk.network.state_dict()[key] + 1)
    assert torch.equal(copy.deepcopy(trunk).embed(draw()), trunk.embed(draw()))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("test_vit3", "test_vit3 has no class token, which this method reads; choose a ViT such as vit_small"),
        ("vit_little_patch16_reg1_gap_256", "has no class token"),
        ("resnet18", "resnet18 is no plain ViT, which this method runs in pieces; choose one such as vit_small"),
        ("test_efficientnet", "is no plain ViT"),
        ("eva02_tiny_patch14_224", "is no plain ViT"),
    ],
)
def test_other_networks_are_refused_in_a_sentence(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as refusal:
        make(name)
    assert "\n" not in str(refusal.value)


def test_pictures_smaller_than_a_patch_are_refused() -> None:
    with pytest.raises(InputError, match="hold no patch of 16×16"):
        make(image=(64, 12))
