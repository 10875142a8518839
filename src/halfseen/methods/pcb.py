"""PCB, the part-based convolutional baseline: one vector for each horizontal stripe (Sun et al., ECCV 2018).

Kept, from memory and from the authors' released code: ResNet-50 with last stride 1 at 384×128, six stripes, each
averaged and reduced to 256 numbers (1×1 convolution, normalisation, ReLU), a classifier with bias for each stripe, the
sum of their cross-entropies without smoothing. Left out: refined part pooling, a second training stage. Options: a
reduction of its own for each stripe, which a public re-run found much better where the reduced vectors are compared;
dropout of 0.5 before the reduction (released code).

`gilt` trains the same stripes as BPBreID's Table 4 does: identities on the whole picture and on the stripes end to end,
triplets on the mean distance of stripes. Those whole vectors have BNNecks.

The paper compares the stripes before reduction, each of length 1, end to end ("pooled"), or those after it ("reduced");
"parts" compares reduced stripes one by one. All stripes count as seen: PCB does not know better.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from halfseen.nets.backbones import make_backbone
from halfseen.nets.heads import Necks
from halfseen.ops.distance import VisibleParts
from halfseen.ops.kernel import check_choice, check_used
from halfseen.ops.losses import GiltTable, gilt, gilt_table, part_triplet
from halfseen.ops.parts import stripes
from halfseen.ops.pooling import pool
from halfseen.recipe import Method, Recipe
from halfseen.types import Batch, Cues, Embedding, InputError

Test = Literal["pooled", "reduced", "parts"]
EMBEDDINGS = ("global", "concat", "parts")


@dataclass(frozen=True)
class Config:
    """`gilt`: what the identity and the triplet loss of each embedding weigh; the default's 6 makes the mean over six
    stripes the paper's sum."""

    backbone: str = "resnet50"  # any of timm's, or resnet50_ibn_a
    last_stride: int = 1  # of its last stage; 2 is as it was pretrained
    stripes: int = 6  # of equal height
    reduction: int = 256  # numbers a stripe
    shared: bool = True  # one reduction for all stripes
    dropout: float = 0.0  # before the reduction
    gilt: GiltTable = field(default_factory=lambda: {"parts": (6.0, 0.0)})
    smoothing: float = 0.0  # ε of the identity losses
    margin: float | None = 0.3  # of the triplets; none: soft
    test: Test = "pooled"  # stripes before or behind their reduction, or one by one

    def __post_init__(self) -> None:
        check_choice("test", self.test, Test)
        if self.stripes < 1 or self.reduction < 1 or not 0 <= self.dropout < 1:
            raise InputError(
                f"stripes is {self.stripes}, reduction {self.reduction} and dropout {self.dropout}; give 1 or more "
                f"stripes, a reduction of 1 or more, and a dropout from 0 to below 1"
            )
        object.__setattr__(self, "gilt", gilt_table(self.gilt, EMBEDDINGS))
        if self.test != "pooled" and not self.reduces:
            raise InputError(
                f"test is {self.test}, and gilt gives reduced stripes no weight, so nothing teaches their reduction; "
                f"give some to concat or parts, or set test to pooled"
            )
        check_used(self, self.reduces, "gilt gives weight to concat or parts", "reduction dropout")

    @property
    def reduces(self) -> bool:
        """Whether a loss reaches the reduction of stripes."""
        return any(any(self.gilt[name]) for name in ("concat", "parts"))


class Output(NamedTuple):
    """Vectors and logits by the names of `EMBEDDINGS`, S stripes in those of parts; and what is tested."""

    vectors: dict[str, Tensor]  # [B,D]; parts [B,S,reduction], or as they are where nothing reduces them
    logits: dict[str, Tensor]  # [B,people]; parts [B,S,people]; empty without people
    test: Tensor  # [B,P,D]


class PCB(nn.Module):
    """Backbone, stripes, reduction, classifiers, as far as anything is made of them: without people what is tested."""

    stripes: Tensor  # [S,h,w]

    def __init__(
        self,
        config: Config,
        people: int,
        *,
        image: tuple[int, int] = (384, 128),
        weights: Path | Literal["hub", "none"] = "none",
    ) -> None:
        super().__init__()
        count, reduced = config.stripes, config.reduction
        self.backbone = make_backbone(config.backbone, image=image, last_stride=config.last_stride, weights=weights)
        self.register_buffer("stripes", stripes(count, self.backbone.grid), persistent=False)
        self.test, self.groups = config.test, 1 if config.shared else count
        self.dropout = nn.Dropout(config.dropout)
        used = (people and config.reduces) or config.test != "pooled"
        self.reduction = _reduction(self.backbone.dim, reduced, self.groups) if used else nn.Identity()
        identified = {name for name, (identity_weight, _) in config.gilt.items() if identity_weight and people}
        lengths = {"global": self.backbone.dim, "concat": count * reduced}
        self.necks = Necks({name: lengths[name] for name in lengths if name in identified}, people)
        self.classifier = _classifier(reduced, people, count) if "parts" in identified else None

    def forward(self, images: Tensor, cues: Cues | None = None) -> Output:  # noqa: ARG002 (every method is called so)
        """`images` [B,3,H,W], normalised; cues are not looked at."""
        cells = self.backbone(images).cells
        pooled = pool(cells, self.stripes[None])
        parts = self._reduced(self.dropout(pooled))
        vectors = {"global": cells.mean((2, 3)), "concat": parts.flatten(1), "parts": parts}
        _, logits = self.necks({name: vectors[name] for name in self.necks.norms})
        if self.classifier is not None:
            logits["parts"] = self.classifier(vectors["concat"][:, :, None]).view(*parts.shape[:2], -1)
        return Output(vectors, logits, self._tested(pooled, parts))

    def _reduced(self, pooled: Tensor) -> Tensor:
        """`pooled` [B,S,D] → [B,S,reduction]: stripes are places for a shared reduction, and groups for their own."""
        images, count, _ = pooled.shape
        columns = pooled.reshape(images, count // self.groups, -1).transpose(1, 2)
        reduced: Tensor = self.reduction(columns)
        return reduced.transpose(1, 2).reshape(images, count, -1)

    def _tested(self, pooled: Tensor, reduced: Tensor) -> Tensor:
        if self.test == "parts":
            return reduced
        chosen = pooled if self.test == "pooled" else reduced
        return F.normalize(chosen, dim=2).flatten(1)[:, None]


def _reduction(dim: int, reduced: int, groups: int) -> nn.Sequential:
    conv = nn.Conv1d(groups * dim, groups * reduced, kernel_size=1, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm1d(groups * reduced), nn.ReLU())


def _classifier(dim: int, people: int, stripes: int) -> nn.Conv1d:
    """One for each stripe: [B,S·dim,1] → [B,S·people,1]."""
    classifier = nn.Conv1d(stripes * dim, stripes * people, kernel_size=1, groups=stripes)
    nn.init.normal_(classifier.weight, std=0.001)
    if classifier.bias is not None:
        nn.init.zeros_(classifier.bias)
    return classifier


def embed(out: Output) -> Embedding:
    """All stripes as one vector, or one by one."""
    return Embedding.of(out.test)


def losses(out: Output, batch: Batch, config: Config) -> dict[str, Tensor]:
    """What `gilt` gives weight to."""
    triplet = partial(part_triplet, margin=config.margin)
    return gilt(config.gilt, out.vectors, out.logits, batch.pids, smoothing=config.smoothing, triplet=triplet)


# From memory and the released code: batches of 64, flips only, momentum 0.9, all ×0.1 after 40 of 60 epochs; new layers
# learn at 0.1 and pretrained ones at 0.01.
RECIPE = Recipe(
    height=384,
    augment="flip",
    epochs=60,
    optimiser="sgd",
    lr=0.1,
    weight_decay=5e-4,
    warmup=0,
    milestones=(40,),
    speeds=(("backbone", 0.1),),
)

# PCB itself, and as BPBreID's Table 4 trains it (as far as PCB can follow: it knows no foreground).
ROWS: dict[str, Config] = {
    "pcb": Config(),
    "pcb-own-reductions": Config(shared=False, test="reduced"),
    "identity-on-parts": Config(gilt={"parts": (1, 0)}, test="parts"),
    "gilt": Config(gilt={"concat": (1, 0), "parts": (0, 1)}, test="parts"),
    "gilt-with-global": Config(gilt={"global": (1, 0), "concat": (1, 0), "parts": (0, 1)}, test="parts"),
    "both-everywhere": Config(gilt={"global": (1, 1), "concat": (1, 1), "parts": (1, 1)}, test="parts"),
}

METHOD = Method(
    name="pcb",
    title="PCB: six horizontal stripes",
    config=Config,
    network=PCB,
    embed=embed,
    losses=losses,
    recipe=RECIPE,
    distance=VisibleParts("unit-euclid"),
    needs={"train": frozenset(), "test": frozenset()},
    rows=ROWS,
)
