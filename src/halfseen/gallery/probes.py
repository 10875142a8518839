"""Who is looked for and who was found so far: the two sides of a search, in tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from halfseen.ops.bytes import HIGHEST
from halfseen.ops.distance import nearest
from halfseen.types import Embedding

PUSH = 0.5  # how much nearer to a negative picture means farther; among people who look alike the best of ¼ to 4
EMPTY = torch.inf
ROUNDING = 2e-5  # what float32 may lose on the way to a bound, and more
MOST = 1 - ROUNDING  # less a likeness S/W at the most: a bound of the distance
FINE = 2.0**36  # steps of a query's numbers: vectors are less than 2¹⁶ steps of the grid long, so sums are below 2⁵³
LEAST = 1e-15  # of the step of bytes


class Mean(NamedTuple):
    """Pictures of one person in one: `sums` [q,P,D] are means of v·direction, `weights` [q,P] are means of v."""

    sums: Tensor
    weights: Tensor

    @staticmethod
    def each(embedding: Embedding, parts: Sequence[int] | None = None) -> Mean:
        """Each row of `embedding` for itself; of its parts only `parts` count, if given."""
        weights = embedding.visibility
        if parts is not None:
            chosen = torch.tensor(parts)
            weights = torch.zeros_like(weights).index_copy_(1, chosen, weights[:, chosen])
        return Mean(F.normalize(embedding.vectors, dim=2) * weights[:, :, None], weights)

    @property
    def together(self) -> Mean:
        """All of them as one person."""
        return Mean(*(column.mean(0, keepdim=True) for column in self))

    @staticmethod
    def joined(people: Sequence[Mean]) -> Mean:
        return Mean(*(torch.cat(each) for each in zip(*people, strict=True)))


@dataclass(frozen=True)
class Probes:
    """q people to look for; `unlike` are rounds of negative pictures, one for each person, of weight 0 for none."""

    mean: Mean
    unlike: tuple[Mean, ...]

    @staticmethod
    def of(mean: Mean, unlike: tuple[Mean, ...] = ()) -> Probes:
        """Negative pictures count by the parts that the person shows."""
        shown = mean.weights > 0
        return Probes(mean, tuple(Mean(other.sums * shown[:, :, None], other.weights * shown) for other in unlike))

    def __len__(self) -> int:
        return len(self.mean.weights)

    def some(self, people: slice) -> Probes:
        """Those of the people."""
        mean, *unlike = (Mean(*(column[people] for column in each)) for each in (self.mean, *self.unlike))
        found = Probes(mean, tuple(unlike))
        vars(found)["exact"] = tuple(Mean(*(column[people] for column in each)) for each in self.exact)  # made once
        return found

    @cached_property
    def exact(self) -> tuple[Mean, ...]:
        """The person and the negative pictures, each part over its weight, times FINE, in whole numbers."""
        return tuple(
            Mean((mean.sums.double() * (FINE / mean.weights.double())[:, :, None]).nan_to_num_().round_(), mean.weights)
            for mean in (self.mean, *self.unlike)
        )

    @property
    def shown(self) -> list[int]:
        """The parts that any of them shows: no other is looked at."""
        return self.mean.weights.amax(0).nonzero()[:, 0].tolist()


def in_bytes(sums: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`sums` [q,P,F] as steps [q] times whole numbers of a byte [q,P,F]; and the lengths of what is lost [q,P]."""
    step = (sums.abs().amax((1, 2)) / HIGHEST).clamp_(min=LEAST)
    whole = (sums / step[:, None, None]).round_()
    return step, whole, torch.linalg.vector_norm(sums - whole * step[:, None, None], dim=2)


class Found(NamedTuple):
    """For each person the nearest rows so far, nearest first, at equal distance the lower id: [q,k], parts [q,k,P].

    Where there are fewer than k the distance is infinite. `parts` are cosine distances, `seen` is v_q·v_g.
    """

    distances: Tensor
    ids: Tensor
    parts: Tensor
    seen: Tensor

    @staticmethod
    def room(people: int, k: int, parts: int) -> Found:
        """Of so many that nobody has found."""
        none = torch.zeros(people, k, parts)
        return Found(torch.full((people, k), EMPTY), torch.zeros(people, k).long(), none, none.clone())

    def some(self, people: slice) -> Found:
        """Those of the people."""
        return Found(*(column[people] for column in self))

    @staticmethod
    def stacked(pieces: Sequence[Found]) -> Found:
        """The people of all `pieces`, some of which may have found fewer than others."""
        wide = max(piece.distances.shape[1] for piece in pieces)
        together = Found.room(sum(len(piece.ids) for piece in pieces), wide, pieces[0].parts.shape[2])
        start = 0
        for piece in pieces:
            place = slice(start, start + len(piece.ids)), slice(piece.ids.shape[1])
            for whole, own in zip(together, piece, strict=True):
                whole[place] = own
            start += len(piece.ids)
        return together

    def limits(self, k: int) -> Tensor:
        """[q]: what is farther cannot be among the k nearest."""
        few = self.distances.shape[1] < k
        return torch.full((len(self.ids),), EMPTY) if few else self.distances[:, k - 1]

    def joined(self, other: Found, k: int) -> Found:
        """The k nearest of both."""
        both = [torch.cat(pair, 1) for pair in zip(self, other, strict=True)]
        by_id = both[1].argsort(dim=1)
        best = by_id.gather(1, nearest(both[0].gather(1, by_id), min(k, by_id.shape[1])).indices)
        distances, ids = (column.gather(1, best) for column in both[:2])
        wide = best[:, :, None].expand(-1, -1, self.parts.shape[2])
        return Found(distances, ids, both[2].gather(1, wide), both[3].gather(1, wide))


def pushed(distances: Tensor) -> Tensor:
    """From `distances` [1+R,m] to the person and to R negative pictures: [m], never less than the first.

    Only what is nearer to a negative picture than to the person is pushed back: all others keep their distance.
    """
    if len(distances) == 1:
        return distances[0]
    nearer = torch.where(distances[0] < EMPTY, distances[0] - distances[1:].amin(0), 0.0)
    return distances[0] + PUSH * nearer.clamp_(min=0)
