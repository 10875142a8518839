"""Small changes to timm's networks: a last stage that keeps the resolution, IBN-a, patches that overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from halfseen.types import InputError


class Step(NamedTuple):
    """A layer that made the map coarser while the network ran, and the heights and widths before and after it."""

    layer: str
    before: tuple[int, ...]
    after: tuple[int, ...]


class IBN(nn.Module):
    """Instance normalisation of the first half of the channels, batch normalisation of the others."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cut = channels // 2
        self.IN = nn.InstanceNorm2d(self.cut, affine=True)  # IN and BN: so the public weights call them
        self.BN = nn.BatchNorm2d(channels - self.cut)

    def forward(self, maps: Tensor) -> Tensor:
        """`maps` [B,D,h,w] → the same shape."""
        return torch.cat([self.IN(maps[:, : self.cut]), self.BN(maps[:, self.cut :])], dim=1)


def ibn_a(network: Any) -> None:
    """Give a ResNet of timm's the IBN-a form: in all stages but the last, in each block's first normalisation."""
    for stage in (network.layer1, network.layer2, network.layer3):
        for block in stage:
            block.bn1 = IBN(block.bn1.num_features)


@contextmanager
def watch(network: nn.Module) -> Iterator[list[Step]]:
    """Collect, in their order, the steps in which `network` makes maps coarser while it runs inside this context."""
    steps: list[Step] = []

    def watcher(layer: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def note(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            before, after = tuple(inputs[0].shape[2:]), tuple(output.shape[2:])
            if before > after:
                steps.append(Step(layer, before, after))

        return note

    layers = [(name, layer) for name, layer in network.named_modules() if hasattr(layer, "stride")]
    hooks = [layer.register_forward_hook(watcher(name)) for name, layer in layers if not list(layer.children())]
    try:
        yield steps
    finally:
        for hook in hooks:
            hook.remove()


def unstride(network: nn.Module, steps: Sequence[Step]) -> None:
    """Let the layers of these steps keep the resolution, as a stride of 1 would have it; no parameter changes."""
    for step in steps:
        layer = network.get_submodule(step.layer)
        if isinstance(layer, nn.Conv2d):
            layer.stride = (1, 1)
        else:  # timm too has no pooling and no blurring where the stride is 1
            owner, _, name = step.layer.rpartition(".")
            setattr(network.get_submodule(owner), name, nn.Identity())


def overlap(network: VisionTransformer, image: tuple[int, int], stride: int | None) -> None:
    """Let a ViT take pictures of `image` (height, width) in patches `stride` apart (None: side by side)."""
    embed = network.patch_embed
    height, width = embed.patch_size
    down, across = embed.patch_size if stride is None else (stride, stride)
    if not (0 < down <= height and 0 < across <= width):
        raise InputError(
            f"patch_stride is {stride}, for patches of {height}×{width}; choose 1 to {min(height, width)}, "
            f"so that no pixel is left out"
        )
    if image[0] < height or image[1] < width:
        raise InputError(
            f"pictures of {image[0]}×{image[1]} (height×width) hold no patch of {height}×{width}; "
            f"choose a larger size or a ViT with smaller patches"
        )
    grid = ((image[0] - height) // down + 1, (image[1] - width) // across + 1)
    if network.pos_embed is not None:
        positions = resample(network.pos_embed.detach(), own_positions(network), embed.grid_size, grid)
        network.pos_embed = nn.Parameter(positions)
    embed.proj.stride = (down, across)
    embed.strict_img_size = True  # these pictures and no others, be they a multiple of the patch or not
    embed.img_size, embed.grid_size, embed.num_patches = image, grid, grid[0] * grid[1]


def own_positions(network: VisionTransformer) -> int:
    """How many positions belong to tokens that are no patches: class, distillation, registers."""
    return 0 if network.no_embed_class else int(network.num_prefix_tokens)


def resample(positions: Tensor, first: int, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """`positions` [1,n,D] on a grid `old` (h, w) → on a `new` one, bilinearly as TransReID does.

    The `first` of them lie on no grid and stay as they are.
    """
    if old == new:
        return positions
    field = F.interpolate(positions[:, first:].mT.reshape(1, -1, *old), new, mode="bilinear")
    return torch.cat([positions[:, :first], field.flatten(2).mT], dim=1)
