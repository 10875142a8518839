"""Weights that others have trained, for networks of timm."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import timm
from huggingface_hub import constants
from timm.models import load_state_dict
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from halfseen.nets.hybrids import HYBRID, STEM, stem
from halfseen.nets.surgery import own_positions, resample
from halfseen.types import InputError

CLASSIFIERS = ("fc.", "head.", "head_dist.", "classifier.")  # beside the one that timm names
ELSE = "or --weights none to begin with random ones"
IBN_NET = "https://github.com/XingangPan/IBN-Net/releases"


def from_hub(name: str, **options: Any) -> nn.Module:
    """The network `name` of timm with the weights of its hub, downloaded once and kept; our hybrid with its stem's."""
    if name == HYBRID:
        network: nn.Module = timm.create_model(name, **options)
        _begin(network, from_hub(STEM).state_dict())
        return network
    if not timm.is_model_pretrained(name):
        where = f" from {IBN_NET}" if name.endswith("_ibn_a") else ""
        raise InputError(f"timm's hub has no weights for {name}; bring a file{where} as --weights FILE, {ELSE}")
    try:
        with _no_waiting():
            network = timm.create_model(name, pretrained=True, **options)
    except TypeError:  # an option that this network does not have
        raise
    except Exception as error:  # whatever hubs, servers, sockets and disks raise
        raise InputError(
            f"the weights of {name} could not be had from its hub ({type(error).__name__}); where there is a network, "
            f"fetch {_address(name)} and give it as --weights FILE, {ELSE}"
        ) from error
    return network


def load(network: nn.Module, path: Path, native: tuple[int, int] | None) -> None:
    """Put a safetensors or torch file into `network`, strictly but for the classifier.

    `native` is the grid that a ViT was made for: positions on that grid, on the network's own or on a square one are
    resampled to the network's own. A hybrid ViT also takes the weights of the network that is its stem.
    """
    state = _without_classifier(network, _read(path))
    if _begin(network, state):
        return
    if native and isinstance(network, VisionTransformer) and "pos_embed" in state and state["pos_embed"].ndim == 3:
        state["pos_embed"] = _positions(network, state["pos_embed"], native, path)
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    if wrong := _differences(wanted, {name: tuple(value.shape) for name, value in state.items()}):
        raise InputError(f"{path} does not fit the network: {wrong}; bring the weights of this very network")
    network.load_state_dict(state, strict=False)  # what may be missing counts batches, in files of old


def _begin(network: nn.Module, state: dict[str, Tensor]) -> bool:
    """Whether `network` has a stem and `state` is that of such a network, all of it: then it is put there."""
    own = stem(network)
    if own is None or not own.state_dict().keys() <= state.keys():
        return False
    own.load_state_dict({name: state[name] for name in own.state_dict()})
    return True


@contextmanager
def _no_waiting() -> Iterator[None]:
    """Where the hub does not answer, look at what is kept from before and give up.

    Left alone, the hub's library asks a dozen times, a minute long, and says so each time.
    """
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _answers(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _answers(address: str) -> bool:
    try:
        urlopen(Request(address, method="HEAD"), timeout=5).close()
    except HTTPError:
        return True  # a refusal is an answer
    except OSError:
        return False
    return True


def _address(name: str) -> str:
    """Where the weights of `name` lie."""
    config = timm.get_pretrained_cfg(name)
    if config and config.hf_hub_id:
        return f"{constants.ENDPOINT}/{config.hf_hub_id}/resolve/main/model.safetensors"
    return str(config.url) if config else "them"


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"{path} is no file; give a safetensors or torch file of weights as --weights FILE, {ELSE}")
    try:
        state = load_state_dict(str(path))
        return {name: value for name, value in state.items() if isinstance(value, Tensor)}
    except Exception as error:  # whatever torch, pickle and safetensors raise on a broken file
        raise InputError(
            f"{path} cannot be read as weights ({type(error).__name__}); bring a safetensors file, or a torch file "
            f"that holds nothing but tensors"
        ) from error


def _without_classifier(network: Any, state: dict[str, Tensor]) -> dict[str, Tensor]:
    if inner := {name[5:]: value for name, value in state.items() if name.startswith("base.")}:
        state = inner  # trained by TransReID: the rest are its heads
    of_timm = network.pretrained_cfg.get("classifier") or ()
    of_timm = (of_timm,) if isinstance(of_timm, str) else of_timm
    heads = (*CLASSIFIERS, *(f"{head}." for head in of_timm))
    own = network.state_dict()
    return {name: value for name, value in state.items() if name in own or not name.startswith(heads)}


def _positions(network: VisionTransformer, positions: Tensor, native: tuple[int, int], path: Path) -> Tensor:
    own, first = network.patch_embed.grid_size, own_positions(network)
    count = positions.shape[1] - first
    side = math.isqrt(max(count, 0))
    grids: list[tuple[int, int]] = [native, own, (side, side)]
    fitting = [grid for grid in grids if math.prod(grid) == count]
    if not fitting:
        raise InputError(
            f"{path} has {count} positions, which are neither the {own[0]}×{own[1]} of these pictures nor a square; "
            f"bring weights made for square pictures or for this size and patch stride"
        )
    return resample(positions, first, fitting[0], own)


def _differences(wanted: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]) -> str:
    """The first thing that is wrong, in words; nothing if all is well."""
    missing = [name for name in wanted if name not in found and not name.endswith(".num_batches_tracked")]
    if missing:
        return f"it lacks {len(missing)} of {len(wanted)} tensors, first {missing[0]}"
    strange = [name for name in found if name not in wanted]
    if strange:
        return f"it holds {len(strange)} tensors that the network has not, first {strange[0]}"
    for name, shape in found.items():
        if shape != wanted[name]:
            return f"{name} has shape {list(shape)} where {list(wanted[name])} is wanted"
    return ""
