"""A ViT on a convolutional stem, which timm makes by name once this is imported: for few pictures and little time.

A ViT that nothing has pretrained learns little from two thousand pictures, and a pretrained one cannot be had
everywhere. Here the first stages of a small network, with its ImageNet weights, stand where the patches are cut out, as
in the hybrids of Dosovitskiy et al. (ICLR 2021); the blocks behind it begin at random.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import timm
import torch
from timm.layers.hybrid_embed import HybridEmbed
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vision_transformer import VisionTransformer
from torch import nn

HYBRID = "vit_tiny_lite0_s16_224"
STEM = "tf_efficientnet_lite0"
__all__ = ["HYBRID", "STEM", "stem", "vit_tiny_lite0_s16_224"]  # timm adds what it registers, and wants a list

default_cfgs = generate_default_cfgs(  # where timm looks for it
    {
        f"{HYBRID}.untrained": {
            "num_classes": 0,
            "input_size": (3, 224, 224),
            "fixed_input_size": True,
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
            "first_conv": "patch_embed.backbone.conv_stem",
            "classifier": "head",
        }
    }
)


@register_model
def vit_tiny_lite0_s16_224(pretrained: bool = False, **options: Any) -> nn.Module:
    """Four blocks of ViT-Ti over the map of EfficientNet-Lite0 that is a sixteenth of the picture."""
    stages: Any = timm.create_model(STEM, features_only=True, out_indices=(3,))
    del stages.blocks[5:]  # which halve the map once more, for nobody
    shape = {"patch_size": 1, "embed_dim": 192, "depth": 4, "num_heads": 3}
    embed = partial(HybridEmbed, backbone=stages)
    network: VisionTransformer = build_model_with_cfg(
        VisionTransformer, HYBRID, pretrained, embed_layer=embed, **{**shape, **options}
    )
    with torch.no_grad():
        _begin_with_the_mean(network)
    return network


def stem(network: nn.Module) -> nn.Module | None:
    """What stands where patches are cut out, if it is a network of its own."""
    embed = getattr(network, "patch_embed", None)
    return embed.backbone if isinstance(embed, HybridEmbed) else None


def _begin_with_the_mean(network: VisionTransformer) -> None:
    """The class token begins close to the mean over all tokens, and blocks behind the first pass on what they get."""
    blocks: Any = network.blocks
    for block in blocks:
        for layer in (block.attn.proj, block.mlp.fc2):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
    first = blocks[0].attn
    nn.init.eye_(first.qkv.weight[2 * network.embed_dim :])
    nn.init.eye_(first.proj.weight)
    if network.cls_token is not None:
        nn.init.zeros_(network.cls_token)
