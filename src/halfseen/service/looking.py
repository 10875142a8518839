"""The model at work in the service: pictures in memory → embeddings, and where it looks for each part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from halfseen.draw import stretched
from halfseen.encode import normalised, testing
from halfseen.gallery.indexing.model import Model
from halfseen.nets.backbones import Backbone
from halfseen.types import Embedding


class Looked(NamedTuple):
    """What is seen in one picture: an `embedding` of one row, and `maps` float [P,h,w], 0..1, where each part is."""

    embedding: Embedding
    maps: Tensor


class Looker:
    """The `model` of a gallery, whose parts are called `names`."""

    def __init__(self, model: Model, names: Sequence[str]) -> None:
        self.model, self.names = model, tuple(names)

    def fitted(self, image: Tensor) -> Tensor:
        """`image`, uint8 [3,h,w], in the size that the network looks at: all that need be kept of a large one."""
        return self.model.fitted(image)

    def look(self, images: Sequence[Tensor]) -> list[Looked]:
        """At `images`, uint8 [3,h,w] of any sizes, all together."""
        network, method = self.model.loaded.network, self.model.loaded.method
        device = next(network.parameters()).device
        batch = torch.stack([self.fitted(image).permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)
        with torch.inference_mode(), testing(network):
            normal = normalised(network, batch.to(device))
            output = network(normal)
            embedding, maps = method.embed(output), self._maps(output, normal).cpu()
        vectors, visibility = embedding.vectors.float().cpu(), embedding.visibility.float().cpu()
        return [Looked(Embedding(vectors[i : i + 1], visibility[i : i + 1]), maps[i]) for i in range(len(images))]

    def _maps(self, output: Any, normal: Tensor) -> Tensor:
        """[B,P,h,w]: the method's own map of a part, and where anybody is for those that have none."""
        own: Tensor | None = getattr(output, "maps", None)  # an Output that has part maps calls them so
        if own is None:
            cells = cast(Backbone, self.model.loaded.network.get_submodule("backbone"))(normal).cells
            whole = torch.stack([stretched(lengths) for lengths in cells.float().norm(dim=1)])
            return whole[:, None].expand(-1, len(self.names), -1, -1)
        known = {
            name.replace("_", " "): 1 + row for row, name in enumerate(getattr(self.model.loaded.config, "names", ()))
        }
        anywhere = own[:, 1:].amax(1)
        return torch.stack([own[:, known[name]] if name in known else anywhere for name in self.names], 1).clamp(0, 1)
