"""The last stage of a convolutional backbone a second time, with weights of its own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from halfseen.nets.backbones import Backbone
from halfseen.types import InputError


class SecondStage(nn.Module):
    """A copy of the stage that timm names last in a backbone, and of all that comes after it.

    It is fed with what the backbone's own is fed: both begin alike, and may learn different things.
    """

    def __init__(self, backbone: Backbone, image: tuple[int, int]) -> None:
        super().__init__()
        names = _last_layers(backbone, image)
        self.stage = names[0]
        self.layers = nn.Sequential(*(copy.deepcopy(backbone.network.get_submodule(name)) for name in names))

    def forward(self, backbone: Backbone, images: Tensor) -> tuple[Tensor, Tensor]:
        """`images` [B,3,H,W], normalised → the cells [B,D,h,w] of `backbone`, and those of the copy."""
        with _entering(backbone.network, [self.stage]) as entered:
            own = backbone(images).cells
        return own, self.layers(entered[self.stage])


def _last_layers(backbone: Backbone, image: tuple[int, int]) -> list[str]:
    """The layers that make the cells of what enters the last stage, one after the other.

    Which follow it is guessed from the order in which the network lists its layers, and then tried out.
    """
    network, picture = backbone.network, torch.linspace(-1, 1, 3 * image[0] * image[1]).view(1, 3, *image)
    stage = _last_stage(network)
    backbone.eval()
    with torch.no_grad(), _entering(network, [stage, *_listed_after(network, stage)] if stage else []) as entered:
        cells = backbone(picture).cells
        layers = nn.Sequential(*map(network.get_submodule, entered))
        again = _tried(layers, entered.get(stage))
    backbone.train()
    learns = any(weight.ndim > 1 for weight in layers.parameters())
    if not learns or again is None or again.shape != cells.shape or not torch.allclose(again, cells, 1e-4, 1e-5):
        raise InputError(
            "this backbone has no last stage of which a second copy could be made, as transformers and HRNets have "
            "none; let last_stage be shared, or choose a convolutional backbone such as resnet50"
        )
    return list(entered)


def _last_stage(network: nn.Module) -> str:
    """What timm calls it, if it does."""
    stages = getattr(network, "feature_info", None)
    return str(stages[-1]["module"]) if isinstance(stages, list) and stages else ""


def _listed_after(network: nn.Module, name: str) -> Iterator[str]:
    """What `network` lists behind the layer `name`: its neighbours first, then those of the layer that holds it."""
    while name:
        holder, _, last = name.rpartition(".")
        siblings = [key for key, _ in network.get_submodule(holder).named_children()]
        for key in siblings[siblings.index(last) + 1 :]:
            yield f"{holder}.{key}" if holder else key
        name = holder


def _tried(layers: Callable[[Tensor], Tensor], entered: Tensor | None) -> Tensor | None:
    try:
        return None if entered is None else layers(entered)
    except Exception:  # whatever layers raise that want more than one tensor
        return None


@contextmanager
def _entering(network: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Collect what the layers of these names are fed with, in the order in which they run inside this context."""
    entered: dict[str, Tensor] = {}

    def watcher(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def note(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if isinstance(inputs[0], Tensor):
                entered[name] = inputs[0].clone()  # some layers begin by changing what they are given

        return note

    hooks = [network.get_submodule(name).register_forward_pre_hook(watcher(name)) for name in names]
    try:
        yield entered
    finally:
        for hook in hooks:
            hook.remove()
