"""An OGFR small enough for tests, and pairs of pictures to show it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from halfseen.methods.ogfr import OGFR, Output
from halfseen.nets.purification import Agent
from halfseen.types import Cues
from tiny_methods import pictures, tiny_config, tiny_cues, tiny_network

NOBODY = Agent(kind="none")


def drawn(bias: float | None = None, people: int = 3, **changes: Any) -> OGFR:
    """A small OGFR without drop path, that tells people and parts apart; all patches have the same logit `bias`."""
    network = tiny_network("ogfr", tiny_config("ogfr", **{"drop_path": 0.0, **changes}), people)
    assert isinstance(network, OGFR)
    for name, value in network.named_parameters():
        if "classifier" in name:
            nn.init.normal_(value, std=0.3)
        if bias is not None and "policy.layers.2" in name:
            nn.init.constant_(value, bias if name.endswith("bias") else 0)
    return network.train()


def look(network: OGFR, images: Tensor | None = None, cues: Cues | None = None, seed: int = 0) -> Output:
    torch.manual_seed(seed)
    out: Output = network(pictures(8) if images is None else images, tiny_cues(8) if cues is None else cues)
    return out


def reached(network: OGFR, loss: Tensor) -> set[str]:
    """The parameters that `loss` hangs on."""
    named = {name: value for name, value in network.named_parameters() if value.requires_grad}
    slopes = torch.autograd.grad(loss, list(named.values()), allow_unused=True, retain_graph=True)
    return {name for name, slope in zip(named, slopes, strict=True) if slope is not None and slope.abs().max() > 0}


def into_top(network: OGFR, images: Tensor) -> Tensor:
    """What goes into the teacher's last block while it learns: [B,n,D]."""
    assert network.teacher is not None
    noted: list[Tensor] = []
    hook = network.teacher.top.register_forward_hook(lambda _, inputs, __: noted.append(inputs[0]))
    look(network, images)
    hook.remove()
    return noted[0]
