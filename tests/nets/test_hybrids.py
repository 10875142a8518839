"""A ViT on a convolutional stem: it begins as, nearly, the mean of what the stem sees, with the stem's own weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from halfseen.nets import pretrained
from halfseen.nets.backbones import make_backbone
from halfseen.nets.hybrids import HYBRID, STEM, stem
from halfseen.types import InputError

SIZE = (64, 32)


def make(**options: Any) -> Any:
    torch.manual_seed(0)
    return make_backbone(HYBRID, **{"image": SIZE, "weights": "none", **options}).eval()


def draw() -> Tensor:
    return torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))


def donor() -> dict[str, Tensor]:
    """Weights as those of the network that is the stem, with numbers everywhere."""
    dice = torch.Generator().manual_seed(1)
    state = timm.create_model(STEM).state_dict()
    return {name: torch.rand(value.shape, generator=dice).to(value.dtype) for name, value in state.items()}


def test_timm_makes_it_by_name() -> None:
    network: Any = timm.create_model(HYBRID, num_classes=0)
    assert timm.is_model(HYBRID)
    assert network.patch_embed.grid_size == (14, 14)
    assert sum(value.numel() for value in network.parameters()) < 3e6


def test_its_blocks_are_those_of_vit_ti_and_its_pictures_as_the_stem_knows_them() -> None:
    """Were there more heads or another mean, weights would still fit and mean something else."""
    backbone, whole = make(), timm.create_model("vit_tiny_patch16_224")
    small: Any = whole.get_submodule("blocks.0")
    assert [block.attn.num_heads for block in backbone.network.blocks] == [small.attn.num_heads] * 4
    assert backbone.network.blocks[0].state_dict().keys() == small.state_dict().keys()
    cfg: Any = timm.get_pretrained_cfg(STEM)
    assert (backbone.mean, backbone.std) == (cfg.mean, cfg.std)


def test_its_grid_is_a_sixteenth_of_the_picture_and_is_not_refined() -> None:
    backbone = make(last_stride=1)
    grid = backbone(draw())
    assert backbone.grid == (4, 2)
    assert grid.cells.shape == (2, 192, 4, 2)
    assert grid.cls.shape == (2, 192)


@pytest.mark.parametrize(("size", "cells"), [((8, 8), (1, 1)), ((64, 12), (4, 1)), ((20, 33), (2, 3))])
def test_what_is_smaller_than_a_patch_is_one(size: tuple[int, int], cells: tuple[int, int]) -> None:
    backbone = make(image=size)
    with torch.no_grad():
        grid = backbone(torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)))
    assert backbone.grid == cells == grid.cells.shape[2:]
    assert grid.cells.isfinite().all()
    assert not torch.allclose(grid.cls[0], grid.cls[1])


def test_what_the_stem_sees_is_the_map_of_the_whole_network_at_a_sixteenth() -> None:
    backbone, state = make(), donor()
    whole = timm.create_model(STEM, features_only=True).eval()
    whole.load_state_dict({name: state[name] for name in whole.state_dict()})
    own = stem(backbone.network)
    assert own is not None
    own.load_state_dict({name: state[name] for name in own.state_dict()})
    with torch.no_grad():
        ours, theirs = own(draw())[-1], whole(draw())[3]
    assert torch.equal(ours, theirs)


def test_the_class_token_begins_close_to_the_mean_over_all_tokens() -> None:
    network = make().network
    with torch.no_grad():
        tokens = network._pos_embed(network.patch_embed(draw()))
        mean = F.layer_norm(tokens, (192,), eps=1e-6).mean(1)
        gained = network.blocks(tokens) - tokens
        alone = network.blocks[0](tokens) - tokens
    assert torch.equal(gained, alone), "all blocks but the first pass on what they get"
    assert F.cosine_similarity(gained, mean[:, None], dim=2).min() > 0.995
    assert F.cosine_similarity((tokens + gained)[:, 0], mean, dim=1).min() > 0.995
    torch.testing.assert_close(gained[:, 0].norm(dim=1), mean.norm(dim=1), rtol=0.05, atol=0)


def test_every_block_learns_from_the_first_step() -> None:
    backbone = make().train()
    backbone(draw()).cls.square().mean().backward()
    for block in backbone.network.blocks:
        assert block.mlp.fc2.weight.grad.abs().sum() > 0
        assert block.attn.proj.weight.grad.abs().sum() > 0


def test_a_file_of_the_stem_goes_into_the_stem(tmp_path: Path) -> None:
    state = donor()
    save_file(state, tmp_path / "stem.safetensors")
    before, after = make().network, make(weights=tmp_path / "stem.safetensors").network
    inside = stem(after)
    assert inside is not None
    assert all(torch.equal(value, state[name]) for name, value in inside.state_dict().items())
    for name, value in before.state_dict().items():
        assert name.startswith("patch_embed.backbone.") or torch.equal(after.state_dict()[name], value)


def test_a_file_of_the_whole_is_taken_as_a_whole(tmp_path: Path) -> None:
    state = {name: value + 1 for name, value in timm.create_model(HYBRID, num_classes=0).state_dict().items()}
    save_file(state, tmp_path / "whole.safetensors")
    loaded = make(weights=tmp_path / "whole.safetensors").network.state_dict()
    assert loaded.pop("pos_embed").shape == (1, 9, 192)  # resampled
    assert all(torch.equal(value, state[name]) for name, value in loaded.items())


def test_another_networks_file_is_refused(tmp_path: Path) -> None:
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="does not fit the network"):
        make(weights=tmp_path / "other.safetensors")


def test_from_the_hub_comes_the_stem(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    made, state = timm.create_model, donor()

    def create(name: str, *, pretrained: bool = False, **options: Any) -> Any:
        network: Any = made(name, **options)
        if pretrained:
            asked.append(name)
            network.load_state_dict(state)
        return network

    monkeypatch.setattr(timm, "create_model", create)
    monkeypatch.setattr(pretrained, "_answers", lambda _: True)
    inside = stem(make(weights="hub").network)
    assert asked == [STEM]
    assert inside is not None
    assert all(torch.equal(value, state[name]) for name, value in inside.state_dict().items())


def test_other_networks_have_no_stem() -> None:
    assert stem(timm.create_model("test_vit")) is None
    assert stem(timm.create_model("test_resnet")) is None
