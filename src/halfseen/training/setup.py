"""What a training starts with: devices, an optimiser, and a name for its pictures."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import Any

from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from torch import nn
from torch.optim import SGD, Adam, Optimizer

from halfseen.encode import chosen_device
from halfseen.recipe import Recipe
from halfseen.training.settings import Settings
from halfseen.types import Paste, Splits
from halfseen.weights import Plain

MOMENTUM = 0.9  # of SGD


def launch(settings: Settings) -> Fabric:
    """One process on one device, or what torchrun began: as many as it says."""
    accelerator = chosen_device(settings.device)
    world, local = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    fabric = Fabric(
        accelerator=accelerator,
        strategy="ddp" if world > 1 else "auto",
        devices=local,
        num_nodes=world // local,
        plugins=[_Autocast("bf16-mixed", accelerator)] if settings.precision == "bfloat16" else [],
    )
    fabric.launch()
    return fabric


class _Autocast(MixedPrecision):
    """Autocast says what is rounded. The input stays as it is: keypoints in bfloat16 would lie pixels away."""

    def convert_input(self, data: Any) -> Any:
        return data


def make_optimiser(network: nn.Module, recipe: Recipe) -> Optimizer:
    """Adam or SGD; `speed` of a group is how many times as fast as the recipe says it learns."""
    trained = [(name, value) for name, value in network.named_parameters() if value.requires_grad]
    biases = [value for name, value in trained if name.endswith("bias")]
    others = [value for name, value in trained if not name.endswith("bias")]
    groups = [{"params": others, "speed": 1.0}, {"params": biases, "speed": recipe.bias_lr}]
    if recipe.optimiser == "adam":
        return Adam(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)
    return SGD(groups, lr=recipe.lr, weight_decay=recipe.weight_decay, momentum=MOMENTUM)


def described(splits: Splits) -> Plain:
    """The training part of `splits`: its name, how much it is, and a digest of what belongs to whom."""
    lines = []
    for sample in splits.train:
        edits = [edit.seed if isinstance(edit, Paste) else edit.parts for edit in sample.edits]  # no paths: sets move
        lines.append(f"{sample.name} {sample.pid} {edits}")
    return {
        "name": splits.name,
        "people": len({sample.pid for sample in splits.train}),
        "images": len(splits.train),
        "digest": sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:16],
    }
