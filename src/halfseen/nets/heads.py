"""What methods put on top of a backbone: a bank of BNNecks and a classifier of pixels into parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from halfseen.types import InputError


@dataclass(frozen=True)
class Seen:
    """What counts as seen where a head learns to tell it: in labels a part that owns a cell, a cell being somebody's
    from `person` on; at test time a part whose score exceeds `threshold`. In the focal loss seen parts weigh `alpha`.
    """

    person: float = 0.5  # share of a cell that parts fill, or their confidence; TSD's code: 0.3
    threshold: float = 0.5  # of the score
    alpha: float = 0.25  # of seen parts; hidden ones weigh the rest of 1

    def __post_init__(self) -> None:
        if not (0 < self.person <= 1 and 0 <= self.threshold < 1 and 0 < self.alpha < 1):
            raise InputError(
                f"seen.person is {self.person}, seen.threshold {self.threshold}, seen.alpha {self.alpha}; give shares "
                f"of 1, of which only the threshold may be 0 and only the person 1"
            )

    @staticmethod
    def of(saved: Seen | Mapping[str, Any]) -> Seen:
        """As it is, or as JSON has it."""
        return saved if isinstance(saved, Seen) else Seen(**saved)

    def check_taught(self, taught: bool) -> None:
        """An InputError where something is said about a head that is not `taught`."""
        if not taught and (self.threshold, self.alpha) != (Seen.threshold, Seen.alpha):
            raise InputError(
                f"seen.threshold is {self.threshold}, seen.alpha {self.alpha}, and terms have no visibility, which "
                f"they are about; add it to terms, or leave them out"
            )


class Necks(nn.Module):
    """A BNNeck for each named vector: batch normalisation without a shift, then a classifier without a bias.

    Triplet losses read the vector before, identity losses the logits after. `dims` tells how long each vector is,
    `people` how many identities there are (0: no classifiers, as at test time).
    """

    def __init__(self, dims: Mapping[str, int], people: int) -> None:
        super().__init__()
        self.norms = nn.ModuleDict({name: _norm(dim) for name, dim in dims.items()})
        self.classifiers = nn.ModuleDict({name: _classifier(dim, people) for name, dim in dims.items() if people})

    def forward(self, raw: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """`raw` name → [B,D] → the same normalised, and logits name → [B,people] where there is a classifier."""
        normed = {name: self.norms[name](vectors) for name, vectors in raw.items()}
        logits = {name: self.classifiers[name](normed[name]) for name in raw if name in self.classifiers}
        return normed, logits


class PixelParts(nn.Module):
    """BPBreID's equation 1, before the softmax: which of K parts, or the background (0), each cell shows.

    TSD's equation 9 has no `bias`.
    """

    def __init__(self, dim: int, parts: int, *, bias: bool = True) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(dim)
        self.classifier = nn.Conv2d(dim, parts + 1, kernel_size=1, bias=bias)
        nn.init.normal_(self.classifier.weight, std=0.001)
        if self.classifier.bias is not None:
            nn.init.zeros_(self.classifier.bias)

    def forward(self, cells: Tensor) -> Tensor:
        """`cells` [B,D,h,w] → logits [B,K+1,h,w]."""
        logits: Tensor = self.classifier(self.norm(cells))
        return logits

    def settled(self, cells: Tensor) -> Tensor:
        """The same by the norm's running statistics, as at test time; they stay as they are."""
        logits: Tensor = self.classifier(settled(self.norm, cells))
        return logits


def settled(norm: nn.BatchNorm1d | nn.BatchNorm2d, values: Tensor) -> Tensor:
    """`values` behind `norm` as at test time, whatever it is doing at present."""
    return F.batch_norm(values, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)


def _norm(dim: int) -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(dim)
    norm.bias.requires_grad_(False)  # stays 0, so that the hypersphere's centre stays the origin
    return norm


def _classifier(dim: int, people: int) -> nn.Linear:
    classifier = nn.Linear(dim, people, bias=False)
    nn.init.normal_(classifier.weight, std=0.001)
    return classifier
