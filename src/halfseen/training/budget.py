"""What a method costs before it is trained: parameters, operations and memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from halfseen.encode import declared, normalised, testing, with_twins
from halfseen.recipe import Method, Recipe
from halfseen.types import Batch

OPTIMISER_NUMBERS = {"adam": 2, "sgd": 1}  # that it keeps for each parameter


class Budget(NamedTuple):
    """`trained` and `tested` parameters; `flops` of one picture at test time, a multiplication with its addition being
    two; `memory`, bytes that a step of training takes, estimated: weights, gradients, the optimiser, activations."""

    trained: int
    tested: int
    flops: int
    memory: int


def budget(method: Method, config: Any, recipe: Recipe, networks: tuple[nn.Module, nn.Module], batch: Batch) -> Budget:
    """Of the network in training and the one at test time, measured on a small `batch` (two people or more)."""
    in_training, at_test = networks
    trained, tested = (sum(p.numel() for p in network.parameters()) for network in networks)
    share = recipe.people * recipe.images / len(batch.images)
    numbers = trained * (2 + OPTIMISER_NUMBERS[recipe.optimiser])
    activations = _saved_bytes(method, config, in_training, batch)
    return Budget(trained, tested, _flops(method, at_test, batch), 4 * numbers + round(share * activations))


def _flops(method: Method, network: nn.Module, batch: Batch) -> int:
    cues = declared(batch.cues, method.needs["test"], torch.device("cpu"))
    images = normalised(network, batch.images)
    with testing(network), torch.no_grad(), FlopCounterMode(display=False) as counter:
        method.embed(network(images, cues))
    return int(counter.get_total_flops()) // len(images)


def _saved_bytes(method: Method, config: Any, network: nn.Module, batch: Batch) -> int:
    """How much the forward pass keeps for the backward pass, each storage counted once, parameters not."""
    parameters = {value.untyped_storage().data_ptr() for value in network.parameters()}
    sizes: dict[int, int] = {}
    alive: list[Tensor] = []  # an address must not be used twice

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            sizes[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    images, cues = with_twins(batch)
    with saved_tensors_hooks(note, lambda tensor: tensor):
        sum(method.losses(network(normalised(network, images), cues), batch, config).values())
    return sum(sizes.values())
