"""Pirt: attention inside body parts and between them, led by keypoints (Ma, Zhao and Li, ACM MM 2021).

Kept: maps of 17 joints say where the person is, and where each joint; attention within each row of the grid, its skip
connection under the human mask; one encoder for three partitions (rows, patches, three groups of joints); a confidence
for each group, learned and seen; identities on all, soft triplets on the groups; a coarse ranking by rows and patches,
whose nearest answers are ordered again by the groups.

Where paper and released code differ, or the paper is silent:
* The paper draws its maps with a frozen pose network. Here they are drawn from keypoints that come with the pictures,
  at a quarter of the picture's size and about as wide as that network's; what is hidden does not show.
* `project`: eq. 7 has a last projection, the code none.
* Eq. 13 has no bound; the sigmoid (code) keeps confidences from being negative. That its layers have a ReLU between
  them is ours. In eq. 14 "norm" divides by the sum over the groups (code).
* The left shoulder belongs to two groups (code; the paper says that none does). Eq. 3 divides by all cells (both).
* `metric` "cosine" is the paper's; "unit-euclid" and `cut` "first" (the rows alone say who is ordered again) are the
  code's. Paper: "global feature"; code: rows for the cut, rows and patches in the sum. Ours takes the sum for both.
* The code weighs with the confidence of the gallery picture that has the query's number. We do not.
* At test time rows and patches are taken behind their necks, groups before theirs and their confidence (code).
* `unshared` is ours: with 0, as published, two pictures that show different groups are near; with 1 they are far, and
  the fine distance is 1 − Σ confidence · cosine.
* Last stride 1, warm-up from a hundredth of the rate (code). θ and the encoder's layers begin at 0 (ours).

Other sizes: what is 512 wide beside the backbone's 2048 is a quarter of its width; there are as many heads as in the
paper, or the most that divide the width. A grid of h×w has h rows and ⌈h/4⌉×⌈w/2⌉ patches. `reduction` narrows the
features of a backbone first (ours): at the width of a light one, 1,280, the encoder costs five times its backbone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halfseen.nets.attention import heads_for
from halfseen.nets.backbones import make_backbone
from halfseen.nets.heads import Necks
from halfseen.nets.surgery import IBN
from halfseen.ops.distance import CoarseToFine, Confidence, Cut, Distance, FineMetric, Single
from halfseen.ops.groupings import KEYPOINT_GROUPS
from halfseen.ops.kernel import check_used
from halfseen.ops.losses import identity, triplet_by_part
from halfseen.ops.parts import hide, human_mask, joint_maps, max_to_grid
from halfseen.ops.pooling import pool
from halfseen.recipe import Cue, Exhibit, Method, Recipe, Stage
from halfseen.types import Batch, Cues, Embedding, InputError

COARSE = ("stripes", "patches")
GROUPS = tuple(name for name, _ in KEYPOINT_GROUPS["pirt"])
MEMBERS = tuple(joints for _, joints in KEYPOINT_GROUPS["pirt"])  # six each
MAP_WIDTH = 0.5  # of what parts are drawn with: the pose network's maps deviate by 2 cells of 96×32
ROW_DROPOUT, DROPOUT = 0.3, 0.1
POSES: frozenset[Cue] = frozenset(("keypoints",))


@dataclass(frozen=True)
class Config:
    """The paper's choices, and what may stand in their place. From `nearest` on: how embeddings compare, see
    `CoarseToFine`."""

    backbone: str = "resnet50_ibn_a"  # any of timm's, or resnet50_ibn_a
    last_stride: int = 1  # of its last stage; 2 is as it was pretrained
    reduction: int | None = None  # channels that modules work on; none: the backbone's
    pose: bool = True  # parts by joints; False: the baseline, one vector a picture
    intra: bool = True  # attention inside rows, section 3.2
    units: int = 3  # of the encoder between parts; 0: none
    project: bool = True  # W^H, eq. 7
    threshold: float = 0.001  # τ: where maps count as the person
    smoothing: float = 0.1  # ε of the identity losses
    margin: float | None = None  # of the triplets; none: soft
    nearest: int = 100  # N that are ordered again
    metric: FineMetric = "cosine"  # of the fine distance
    confidence: Confidence = "both"  # whose counts in the fine distance
    cut: Cut = "sum"  # what the nearest are found by: rows and patches, or rows
    unshared: float = 0.0  # fine distance where no group is shown by both

    def __post_init__(self) -> None:
        distance(self)  # which checks its own part
        if self.units < 0 or not 0 <= self.threshold < 1 or (self.reduction is not None and self.reduction < 1):
            raise InputError(
                f"units is {self.units}, threshold {self.threshold} and reduction {self.reduction}; give 0 or more "
                f"units, a threshold from 0 to below 1, and a reduction of 1 or more, or none"
            )
        if not self.pose and (self.intra or self.units):
            raise InputError("without pose there are no parts to relate; set intra to False and units to 0, or keep it")
        check_used(self, self.pose, "pose is True", "threshold margin nearest metric confidence cut unshared")
        check_used(self, self.intra, "intra is True", "project")

    @property
    def test(self) -> tuple[str, ...]:
        """What is compared, in the order of the embedding."""
        return (*COARSE, *GROUPS) if self.pose else ("global",)


class Output(NamedTuple):
    """Vectors and logits of `stripes`, `patches` and `parts`, and what is tested; the baseline's are `global`."""

    vectors: dict[str, Tensor]  # before any neck: [B,D]; parts, as far as they are trusted, [B,3,D]
    logits: dict[str, Tensor]  # [B,people], parts [B,3,people]; empty without people
    test: Tensor  # [B,5,D], or [B,1,D]: the parts among them whole
    seen: Tensor  # [B,5], or [B,1]: 1, and the parts' confidences, which add up to 1, or to 0 if no joint is seen
    cells: Tensor | None = None  # [B,D,h,w]: what the intra-part module gives, if there is one


class Pirt(nn.Module):
    """Backbone, intra-part module, inter-part module, confidences, necks. Without people, only what is tested."""

    def __init__(
        self,
        config: Config,
        people: int,
        *,
        image: tuple[int, int] = (384, 128),
        weights: Path | Literal["hub", "none"] = "none",
    ) -> None:
        super().__init__()
        self.threshold = config.threshold
        self.backbone = make_backbone(config.backbone, image=image, last_stride=config.last_stride, weights=weights)
        dim = config.reduction or self.backbone.dim
        self.reduction: nn.Module = nn.Identity()
        if config.reduction is not None:
            self.reduction = nn.Sequential(_point_by_point(self.backbone.dim, dim), nn.ReLU())
        self.intra = IntraPart(dim, project=config.project) if config.intra else None
        self.inter = InterPart(dim, config.units)
        self.trust = nn.Sequential(nn.Linear(dim, quarter(dim)), nn.ReLU(), nn.Linear(quarter(dim), 1))
        self.necks = Necks(dict.fromkeys((*COARSE, *(GROUPS if people else ())), dim), people)

    def forward(self, images: Tensor, cues: Cues | None = None) -> Output:
        """`images` [B,3,H,W], normalised; `cues` with their keypoints."""
        height, width = images.shape[2:]
        maps = heatmaps(cues or Cues(), (height, width))
        cells = self.reduction(self.backbone(images).cells)
        masks = max_to_grid(maps, (cells.shape[2], cells.shape[3]))  # eq. 1
        if self.intra is not None:
            cells = self.intra(cells, human_mask(masks))  # eq. 2
        stripes, patches, joints = partitions(cells, masks > self.threshold)
        vectors = {"stripes": self.inter(stripes), "patches": self.inter(patches)}
        groups = joints[:, MEMBERS]  # [B,3,6,D]
        parts = self.inter(groups.flatten(0, 1)).unflatten(0, groups.shape[:2])
        confidence = self._confidence(parts, masks)
        trusted = parts * confidence[:, :, None]  # eq. 14
        named = vectors | dict(zip(GROUPS, trusted.unbind(1), strict=True))
        normed, logits = self.necks({name: named[name] for name in self.necks.norms})
        if logits:
            logits["parts"] = torch.stack([logits.pop(name) for name in GROUPS], 1)
        coarse = torch.stack([normed[name] for name in COARSE], 1)
        seen = F.pad(confidence, (len(COARSE), 0), value=1.0)
        test = torch.cat([coarse, parts], 1)
        return Output(vectors | {"parts": trusted}, logits, test, seen, None if self.intra is None else cells)

    def _confidence(self, parts: Tensor, masks: Tensor) -> Tensor:
        """Eq. 13 and half of 14: [B,3] from the groups `parts` [B,3,D] and the joints' `masks` [B,17,h,w]."""
        peaks = masks.amax((2, 3))[:, MEMBERS].amax(2)  # S
        own = self.trust(parts).squeeze(2).to(masks.dtype).sigmoid()  # S_self
        return F.normalize(own * peaks, p=1, dim=1)


class Baseline(nn.Module):
    """What the paper's first row compares with: one vector, taught by identities alone."""

    def __init__(
        self,
        config: Config,
        people: int,
        *,
        image: tuple[int, int] = (384, 128),
        weights: Path | Literal["hub", "none"] = "none",
    ) -> None:
        super().__init__()
        self.backbone = make_backbone(config.backbone, image=image, last_stride=config.last_stride, weights=weights)
        self.necks = Necks({"global": self.backbone.dim}, people)

    def forward(self, images: Tensor, cues: Cues | None = None) -> Output:  # noqa: ARG002 (every method is called so)
        """`images` [B,3,H,W], normalised; cues are not looked at."""
        vectors = {"global": self.backbone(images).cells.mean((2, 3))}
        normed, logits = self.necks(vectors)
        test = normed["global"][:, None]
        return Output(vectors, logits, test, torch.ones_like(test[:, :, 0]))


def network(config: Config, people: int, **options: Any) -> nn.Module:
    """Pirt, or the baseline where the config has no poses; the options are theirs."""
    return (Pirt if config.pose else Baseline)(config, people, **options)


class IntraPart(nn.Module):
    """Eq. 4 to 8: cells look at their own row, and the person's cells are added."""

    def __init__(self, dim: int, *, project: bool) -> None:
        super().__init__()
        inner = quarter(dim)
        self.narrow = _point_by_point(dim, inner, IBN)  # φ
        self.attention = RowAttention(inner, project=project)
        self.dropout = nn.Dropout(ROW_DROPOUT)
        self.norm = nn.BatchNorm2d(inner)
        self.widen = _point_by_point(inner, dim)  # θ
        nn.init.zeros_(self.widen.get_parameter("1.weight"))  # what was pretrained passes at first

    def forward(self, cells: Tensor, mask: Tensor) -> Tensor:
        """`cells` [B,D,h,w] and the human `mask` [B,1,h,w] → [B,D,h,w]."""
        narrow = self.narrow(cells).relu()
        mixed = self.norm(self.attention(narrow) + self.dropout(narrow)).relu()
        seen: Tensor = self.widen(mixed) + mask * cells
        return seen.relu()


class RowAttention(nn.Module):
    """Eq. 5 to 7: attention of several heads among the cells of each row; all rows share the weights."""

    def __init__(self, dim: int, *, project: bool) -> None:
        super().__init__()
        self.heads = heads_for(dim, 4)
        self.looks = nn.Linear(dim, 3 * dim, bias=False)  # W^Q, W^K and W^V
        self.project = nn.Linear(dim, dim, bias=False) if project else nn.Identity()  # W^H

    def forward(self, cells: Tensor) -> Tensor:
        """[B,D,h,w] → the same shape."""
        rows = cells.permute(0, 2, 3, 1)  # [B,h,w,D]
        split = self.looks(rows).unflatten(3, (3, self.heads, -1)).permute(3, 0, 1, 4, 2, 5)  # [3,B,h,heads,w,d]
        mixed = F.scaled_dot_product_attention(*split).transpose(2, 3).flatten(3)
        back: Tensor = self.project(mixed)
        return back.permute(0, 3, 1, 2)


class InterPart(nn.Module):
    """Eq. 9 to 12: the parts of a partition look at each other, and their mean stands for all. No part has a place."""

    def __init__(self, dim: int, units: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(dim, heads_for(dim, 8), quarter(dim), DROPOUT)
        nn.init.zeros_(layer.self_attn.out_proj.weight)
        nn.init.zeros_(layer.linear2.weight)
        self.encoder = nn.TransformerEncoder(layer, units, enable_nested_tensor=False) if units else nn.Identity()

    def forward(self, parts: Tensor) -> Tensor:
        """[B,n,D] → [B,D]."""
        # Parts come first, as torch has a fused kernel for the other order, in which nothing counts operations.
        mixed: Tensor = self.encoder(parts.transpose(0, 1))
        return mixed.mean(0)


def quarter(dim: int) -> int:
    """What is 512 in the paper, of 2048."""
    return max(2, dim // 4)


def _point_by_point(dim: int, out: int, norm: type[nn.Module] = nn.BatchNorm2d) -> nn.Module:
    return nn.Sequential(nn.Conv2d(dim, out, kernel_size=1, bias=False), norm(out))


@torch.no_grad()
def heatmaps(cues: Cues, image: tuple[int, int]) -> Tensor:
    """M̂: where each joint is, [B,17,H/4,W/4], in pictures of size `image`; what is hidden does not show."""
    if cues.keypoints is None:
        raise InputError(
            "pirt was given no keypoints, and it needs those of every picture, at test time too; make them with "
            "`halfseen cues make`, or choose a method that needs none at test time, such as bpbreid"
        )
    height, width = image
    maps = joint_maps(cues.keypoints, image, (max(1, height // 4), max(1, width // 4)), width=MAP_WIDTH)
    return maps if cues.hidden is None else hide(maps, cues.hidden)


def partitions(cells: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`cells` [B,D,h,w] as rows [B,h,D], as patches [B,⌈h/4⌉·⌈w/2⌉,D] and (eq. 3) under each of `masks` [B,17,h,w]."""
    height, width = cells.shape[2:]
    patches = F.adaptive_max_pool2d(cells, (-(-height // 4), -(-width // 2)))
    return cells.mean(3).mT, patches.flatten(2).mT, pool(cells, masks.to(cells.dtype), "grid")


def embed(out: Output) -> Embedding:
    """Stripes, patches and the three groups, seen as far as they are trusted."""
    return Embedding(out.test, out.seen)


def losses(out: Output, batch: Batch, config: Config) -> dict[str, Tensor]:
    """Eq. 16, and both halves of eq. 15."""
    terms = {f"identity_{name}": identity(out.logits[name], batch.pids, config.smoothing) for name in out.vectors}
    if config.pose:
        terms["triplet_parts"] = triplet_by_part(out.vectors["parts"], batch.pids, config.margin)
    return terms


def shows(out: Output, config: Config) -> list[Exhibit]:
    """How strongly cells answer behind the intra-part module, the mean over channels, and how far groups count."""
    trust = Exhibit("how far each group of joints is trusted", "bars", GROUPS, out.seen[:, len(COARSE) :])
    if out.cells is None:
        return [trust] if config.pose else []
    answer = out.cells.mean(1, keepdim=True)
    return [Exhibit("how strongly cells answer after a look at their row", "strengths", ("in rows",), answer), trust]


def distance(config: Config) -> Distance:
    """Coarse, then fine."""
    if not config.pose:
        return Single("cosine")
    return CoarseToFine(
        config.nearest, len(COARSE), config.metric, config.confidence, config.cut, unshared=config.unshared
    )


def needs(config: Config) -> dict[Stage, frozenset[Cue]]:
    """Keypoints, at test time too; the baseline needs none."""
    cues = POSES if config.pose else frozenset()
    return {"train": cues, "test": cues}


def varies(config: Config) -> dict[str, object]:
    """What hangs on the config beside the network and its losses."""
    return {"distance": distance(config), "needs": needs(config)}


RECIPE = Recipe(height=384, epochs=60, schedule="cosine", flat=30, final=1e-6 / 3.5e-4)

# The published rows; those of Table 5 differ at test time alone.
ROWS: dict[str, Config] = {
    "code": Config(project=False, metric="unit-euclid", cut="first"),
    "3-baseline": Config(pose=False, intra=False, units=0),
    "3-pose": Config(intra=False, units=0),
    "3-pose-intra": Config(units=0),
    "3-pose-intra-inter": Config(),
    "4-1-unit": Config(units=1),
    "4-2-units": Config(units=2),
    "4-3-units": Config(),
    "4-4-units": Config(units=4),
    "5-both": Config(),
    "5-query": Config(confidence="query"),
    "5-gallery": Config(confidence="gallery"),
    "5-none": Config(confidence="none"),
    "ours-unshared": Config(unshared=1.0),
}

METHOD = Method(
    name="pirt",
    title="Pirt: relations inside and between parts, led by keypoints",
    config=Config,
    network=network,
    embed=embed,
    losses=losses,
    recipe=RECIPE,
    distance=distance(Config()),
    needs=needs(Config()),
    varies=varies,
    rows=ROWS,
    shows=shows,
)
