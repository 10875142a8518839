"""Any network that timm knows, as a backbone: pictures in, a grid of features out."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import timm
import torch
import torch.nn.functional as F
from timm.layers.patch_embed import PatchEmbed
from timm.models.beit import Beit
from timm.models.eva import Eva
from timm.models.hrnet import HighResolutionNet
from timm.models.resnet import ResNet
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_relpos import VisionTransformerRelPos
from torch import Tensor, nn
from torch.func import functional_call

from halfseen.nets import pretrained, surgery
from halfseen.types import InputError

IBN_A = "_ibn_a"
Colour: TypeAlias = tuple[float, float, float]


class Grid(NamedTuple):
    """What a backbone sees in pictures: `cells` [B,D,h,w] and, where it has a class token, `cls` [B,D]."""

    cells: Tensor
    cls: Tensor | None


class Backbone(nn.Module):
    """A network of timm and how to read its features.

    `dim` is D and `grid` (h, w) for pictures of the size it was made for. `mean` and `std` of each colour, as of values
    0..1, normalise the pictures that it takes.
    """

    dim: int
    grid: tuple[int, int]

    def __init__(self, network: Any, read: Callable[[Any, Tensor], Grid]) -> None:
        super().__init__()
        self.network = network
        self.read = read
        self.mean: Colour = network.pretrained_cfg["mean"]
        self.std: Colour = network.pretrained_cfg["std"]

    def forward(self, images: Tensor) -> Grid:
        """`images` float [B,3,H,W], normalised."""
        return self.read(self.network, images)


def make_backbone(
    name: str,
    *,
    image: tuple[int, int],
    last_stride: int = 1,
    patch_stride: int | None = None,
    drop_path: float = 0.0,
    weights: Path | Literal["hub", "none"] = "hub",
) -> Backbone:
    """The network that timm calls `name`, or a ResNet of timm's and `_ibn_a`, for pictures of `image` (height, width).

    With `last_stride` 1 the last stage of a convolutional network keeps the resolution; 2 leaves it as it is. The
    patches of a ViT lie `patch_stride` apart (None: side by side). `weights` come from timm's hub, from a file, or are
    random.
    """
    if last_stride not in (1, 2):
        raise InputError(f"last_stride is {last_stride}; choose 1 for a finer grid or 2 for the network as it was made")
    network = _create(name, image, drop_path, from_hub=weights == "hub")
    if isinstance(network, VisionTransformer) and type(network.patch_embed) is PatchEmbed:
        native = network.patch_embed.grid_size
        surgery.overlap(network, image, patch_stride)
        _load(network, weights, native)
        backbone = Backbone(network, _tokens)
        return _measured(backbone, _rehearse(backbone, name, image))
    if patch_stride is not None:
        raise InputError(f"patch_stride is for ViTs with a plain patch embedding, and {name} has none; leave it out")
    _load(network, weights, None)
    backbone, rehearsal = _backbone(network, name, image)
    if last_stride == 1 and backbone.read not in (_merged, _last_and_class):
        rehearsal = _refine(backbone, rehearsal, name, image)
    return _measured(backbone, rehearsal)


def _create(name: str, image: tuple[int, int], drop_path: float, *, from_hub: bool) -> Any:
    base = name.removesuffix(IBN_A)
    _check_name(name, base)
    if not 0 <= drop_path < 1:
        raise InputError(f"drop_path is {drop_path}; give a rate of 0 or more, below 1")
    options = {"drop_path_rate": drop_path} if drop_path else {}
    source = partial(pretrained.from_hub, name) if from_hub else partial(timm.create_model, base)
    make = partial(source, num_classes=0, **options)
    try:
        network: Any = make()
    except TypeError as error:
        raise InputError(f"{name} has no drop path ({error}); set it to 0") from error
    if network.pretrained_cfg["fixed_input_size"] and not hasattr(network, "set_input_size"):
        with _refusing(name, image):
            network = make(img_size=image)  # some take the size of their pictures at birth or never
    if name != base:
        if not isinstance(network, ResNet):
            raise InputError(f"only ResNets have an IBN-a form, and {base} is none; leave {IBN_A} out")
        surgery.ibn_a(network)
    return network


def _check_name(name: str, base: str) -> None:
    if not timm.is_model(base) or ("." in base and not timm.is_model_pretrained(base)):
        known = [*timm.list_models(), *timm.list_pretrained(), "resnet50_ibn_a"]
        nearest = difflib.get_close_matches(name, known, cutoff=0)
        raise InputError(f"timm knows no network {name}; the nearest names are {', '.join(nearest)}")


def _load(network: Any, weights: Path | str, native: tuple[int, int] | None) -> None:
    if weights not in ("hub", "none"):
        pretrained.load(network, Path(weights), native)


class Rehearsal(NamedTuple):
    """A pass without numbers: its `grid` has shapes, and a way back to those of the `parameters`, by name, that it
    uses; in the `steps` maps got coarser."""

    grid: Grid
    parameters: dict[str, Tensor]
    steps: list[surgery.Step]

    @property
    def size(self) -> tuple[int, ...]:
        return tuple(self.grid.cells.shape[2:])


def _backbone(network: Any, name: str, image: tuple[int, int]) -> tuple[Backbone, Rehearsal]:
    """The network with the reader that suits it."""
    if isinstance(network, HighResolutionNet):
        backbone = Backbone(network, _merged)
        return backbone, _rehearse(backbone, name, image)
    if hasattr(network, "set_input_size"):
        with _refusing(name, image):
            network.set_input_size(img_size=image)
    if isinstance(network, Beit | Eva | VisionTransformer | VisionTransformerRelPos) and network.cls_token is not None:
        backbone = Backbone(network, _last_and_class)
        return backbone, _rehearse(backbone, name, image)
    backbone = Backbone(network, _map)
    rehearsal = _rehearse(backbone, name, image)
    cells = rehearsal.grid.cells
    if not isinstance(cells, Tensor) or cells.ndim != 4 or cells.shape[1] != network.num_features:
        backbone = Backbone(network, _last)
        rehearsal = _rehearse(backbone, name, image)
    return backbone, rehearsal


def _map(network: Any, images: Tensor) -> Grid:
    """Of convolutional networks: their last map, that of the pointwise layer before the pooling included."""
    return Grid(network.forward_features(images), None)


def _last(network: Any, images: Tensor) -> Grid:
    """Of transformers and others whose features are no map: what timm makes a map of."""
    (cells,) = network.forward_intermediates(images, indices=1, norm=True, intermediates_only=True)
    return Grid(cells, None)


def _last_and_class(network: Any, images: Tensor) -> Grid:
    """The same with a class token, which comes before all others."""
    ((cells, others),) = network.forward_intermediates(
        images, indices=1, norm=True, intermediates_only=True, return_prefix_tokens=True
    )
    return Grid(cells, others[:, 0])


def _merged(network: Any, images: Tensor) -> Grid:
    """Of HRNets: all four resolutions, after the layers that widen them, brought to the finest."""
    finest, *coarse = network.forward_intermediates(images, indices=4, intermediates_only=True)
    grown = [F.interpolate(cells, finest.shape[2:], mode="bilinear") for cells in coarse]
    return Grid(torch.cat([finest, *grown], dim=1), None)


def _tokens(network: VisionTransformer, images: Tensor) -> Grid:
    """Of ViTs: the patches' tokens and the class token; distillation and register tokens stay inside."""
    tokens = network.forward_features(images)
    patches = tokens[:, network.num_prefix_tokens :].mT
    return Grid(
        patches.reshape(*patches.shape[:2], *network.patch_embed.grid_size),
        tokens[:, 0] if network.has_class_token else None,
    )


@contextmanager
def _refusing(name: str, image: tuple[int, int]) -> Iterator[None]:
    """What networks raise on sizes that they were not made for, in a sentence."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # whatever timm and torch stumble over
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise InputError(
            f"{name} takes no pictures of {image[0]}×{image[1]} (height×width): {reason}; "
            f"choose another size or another backbone"
        ) from error


def _rehearse(backbone: Backbone, name: str, image: tuple[int, int]) -> Rehearsal:
    named = [*backbone.named_parameters(), *backbone.named_buffers()]
    empty = {key: torch.empty_like(value, device="meta") for key, value in named}
    parameters = {key: empty[key].requires_grad_() for key, _ in backbone.named_parameters()}
    backbone.eval()  # batch normalisation takes no batch of one
    with _refusing(name, image), surgery.watch(backbone.network) as steps:
        grid = functional_call(backbone, empty, torch.empty(1, 3, *image, device="meta"))
    backbone.train()
    return Rehearsal(grid, parameters, steps)


def _refine(backbone: Backbone, rehearsal: Rehearsal, name: str, image: tuple[int, int]) -> Rehearsal:
    """Take back the last step in which the map gets coarser. One step alone leads from pixels to patches, and stays."""
    last = [step for step in rehearsal.steps if step.after == rehearsal.size]
    last = [step for step in last if step.before == last[-1].before]
    if last and last[0].before == image:
        return rehearsal
    surgery.unstride(backbone.network, last)
    with suppress(InputError):
        if last and (finer := _rehearse(backbone, name, image)).size == last[0].before:
            return finer
    raise InputError(f"the last stage of {name} has no stride that could be 1; set last_stride to 2")


def _measured(backbone: Backbone, rehearsal: Rehearsal) -> Backbone:
    """Note the shape of the grid, and leave out what has no part in it: layers that only a classifier wants."""
    grid, parameters, _ = rehearsal
    _, backbone.dim, height, width = grid.cells.shape
    backbone.grid = (height, width)
    parts = [values.sum() for values in grid if values is not None]
    ways = torch.autograd.grad(parts, list(parameters.values()), allow_unused=True)
    for (_, parameter), way in zip(backbone.named_parameters(), ways, strict=True):
        parameter.requires_grad_(way is not None)
    for child, _ in list(backbone.network.named_children()):
        own = [way for key, way in zip(parameters, ways, strict=True) if key.startswith(f"network.{child}.")]
        if own and all(way is None for way in own):
            setattr(backbone.network, child, nn.Identity())
    return backbone
