"""Methods small enough for tests: tiny pictures, tiny backbones, random weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from halfseen.methods import METHODS, bpbreid
from halfseen.nets.backbones import Grid
from halfseen.types import Batch, Cues, Embedding

Network = TypeVar("Network", bound=nn.Module)

IMAGE = (64, 32)
PEOPLE = 3
PIDS = torch.tensor([0, 0, 2, 2])


def tiny_config(name: str, **changes: Any) -> Any:
    transformer = METHODS[name].config().backbone.startswith("vit_")
    backbone = "test_vit" if transformer else "test_efficientnet"  # timm's own for tests
    at_once = {"agent": {"warmup": 0}} if name == "ogfr" else {}
    return METHODS[name].config(**{"backbone": backbone, **at_once, **changes})


def tiny_network(name: str, config: Any, people: int = PEOPLE, seed: int = 0) -> nn.Module:
    """The network of method `name`, drawn with `seed`, its running statistics no longer those of a new one."""
    torch.manual_seed(seed)
    network = awake(METHODS[name].network(config, people, image=IMAGE))
    network(pictures(8, seed=1), tiny_cues(8))
    return network


def awake(network: Network) -> Network:
    """`network`, whose weights that begin at 0, and would let nothing through, no longer do."""
    for name, value in network.named_parameters():
        if name.endswith("weight") and not value.any():
            nn.init.normal_(value, std=0.5)
    return network


def pictures(count: int, seed: int = 0) -> Tensor:
    """Normalised pictures [count,3,64,32], unlike each other."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 3, 8, 4, generator=random).repeat_interleave(8, 2).repeat_interleave(8, 3)
    return coarse + 0.3 * torch.randn(count, 3, *IMAGE, generator=random)


def tiny_cues(count: int, highest: int = 8) -> Cues:
    labels = torch.randint(0, highest + 1, (count, 4, 2), generator=torch.Generator().manual_seed(2))
    joints = torch.rand(count, 17, 3, generator=torch.Generator().manual_seed(3))
    return Cues(
        keypoints=joints * torch.tensor([IMAGE[1] - 1.0, IMAGE[0] - 1.0, 1.0]),
        parts=labels.repeat_interleave(16, 1).repeat_interleave(16, 2),
    )


def tiny_batch(cues: Cues | None = None) -> Batch:
    """Four pictures of two people, and their twins behind an occluder of each kind."""
    images, camids = torch.zeros(len(PIDS), 3, *IMAGE, dtype=torch.uint8), torch.zeros_like(PIDS)
    cues = tiny_cues(len(PIDS)) if cues is None else cues
    whole, hidden = (replace(cues, occluder=kinds) for kinds in (torch.zeros_like(PIDS), 1 + torch.arange(len(PIDS))))
    return Batch(images, PIDS, camids, whole, Batch(images, PIDS, camids, hidden))


def tiny_views(name: str) -> tuple[Tensor, Cues]:
    """What the network of method `name` sees of a tiny batch: four pictures, and their twins if it wants them."""
    count = 2 * len(PIDS) if METHODS[name].recipe.twins else len(PIDS)
    return pictures(count), tiny_cues(count)


class Cells(nn.Module):
    """In place of a backbone: the pictures' own pixels, or what a thin layer makes of them, as a grid of 4×2 cells."""

    mean = std = (0.5, 0.5, 0.5)
    grid = (4, 2)

    def __init__(self, dim: int = 16) -> None:
        super().__init__()
        self.dim = dim
        self.layer = nn.Conv2d(3, dim, kernel_size=16, stride=16)

    def forward(self, images: Tensor) -> Grid:
        return Grid(self.layer(images), None)


def thin(*_: object, **__: object) -> Cells:
    """In place of `make_backbone`."""
    return Cells()


def sharp(**changes: Any) -> nn.Module:
    """A BPBreID whose maps are not nearly even, as those of a new one are."""
    network = tiny_network("bpbreid", bpbreid.Config(**{"reduction": 6, **changes}))
    if changes.get("attention") != "fixed":
        nn.init.normal_(network.get_parameter("pixels.classifier.weight"), std=1.0)
    return network


def compared(network: nn.Module, count: int = 3, cues: Cues | None = None) -> tuple[bpbreid.Output, Embedding]:
    """What a BPBreID makes of `count` pictures at test time."""
    with torch.no_grad():
        out: bpbreid.Output = network.eval()(pictures(count), cues)
        return out, bpbreid.embed(out)


def untouched(network: nn.Module, loss: Tensor) -> list[str]:
    """The trainable parameters of `network` that `loss` gives no gradient, or one of zeros or NaN."""
    named = {name: value for name, value in network.named_parameters() if value.requires_grad}
    slopes = torch.autograd.grad(loss, list(named.values()), allow_unused=True, retain_graph=True)
    return [name for name, slope in zip(named, slopes, strict=True) if slope is None or not slope.abs().max() > 0]
