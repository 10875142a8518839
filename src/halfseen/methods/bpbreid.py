"""BPBreID: maps of body parts that are learned, and vectors compared where both are seen (Somers et al., WACV 2023).

Kept: a pixel classifier on the backbone's grid tells K parts and the background apart; its soft maps pool one vector
for each part, which part labels and identities teach together; GiLt, identities on holistic vectors and triplets on
the mean distance of parts; a distance over the foreground and the parts that both pictures show.

Where paper and released code differ, or the paper is silent:
* N in eq. 2 is the number of classes, not of images.
* `reduction` 512 (code): the published results use it; None keeps the backbone's own length.
* `foreground` "mask" is eq. 3; "grid" (code) takes the plain mean of features × map.
* `visibility` "threshold" is eq. 4; with "argmax" (code) a part is seen that some cell has as its greatest.
* `on_empty` "inf" is the paper's; code puts a pair without common part behind all others ("max+1").
* At test time holistic vectors are taken after their neck, parts before any (code; the paper does not say).
* The rate of the warm-up starts at a tenth (paper); code starts at a hundredth.
* Labels of a cell: from confidence fields as published (the background, the nearest stored value for each 4×4 pixels,
  bilinear to the grid, the greatest channel). From part labels and keypoints, which the paper does not use, a cell is a
  person where parts fill half of it (`ops.parts.grid_labels`).
* For Market-1501 the code adds a triplet on the foreground: `ROWS["code-market"]`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from math import inf
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from halfseen.nets.backbones import make_backbone
from halfseen.nets.heads import Necks, PixelParts
from halfseen.ops.distance import OnEmpty, VisibleParts
from halfseen.ops.groupings import GROUPINGS, grouping_named
from halfseen.ops.kernel import check_choice, check_used
from halfseen.ops.losses import GiltTable, gilt, gilt_table, part_triplet, pixel_parts, triplet_by_part
from halfseen.ops.parts import grid_labels, grid_maps, part_labels, visible_by_threshold, visible_parts
from halfseen.ops.pooling import pool
from halfseen.recipe import WHERE, Cue, Exhibit, Method, Recipe, Stage
from halfseen.types import Batch, Cues, Embedding, InputError

Attention: TypeAlias = Literal["learned", "fixed"]
Foreground: TypeAlias = Literal["mask", "grid"]
Visibility: TypeAlias = Literal["threshold", "argmax", "none"]
Triplet: TypeAlias = Literal["averaged", "per-part"]

HOLISTIC = ("global", "foreground", "concat")
EMBEDDINGS = (*HOLISTIC, "parts")


def table(identity: str, triplet: str) -> GiltTable:
    """The GiLt table whose identity and triplet losses are on these embeddings, told by their first letters."""
    return {name: (float(name[0] in identity), float(name[0] in triplet)) for name in EMBEDDINGS}


@dataclass(frozen=True)
class Config:
    """The paper's choices, and what may stand in their place.

    `parts`: K, or the name of a grouping (8 for hidden people, "five_v" for holistic sets, as 5 is TSD's). `attention`
    "fixed": also at test time. `gilt`: what the identity and the triplet loss of each embedding weigh (eq. 6). `test`:
    embeddings that some loss teaches, or parts by their own names.
    """

    backbone: str = "resnet50"  # any of timm's, or resnet50_ibn_a
    last_stride: int = 1  # of its last stage; 2 is as it was pretrained
    parts: int | str = 8  # so many, or the name of a grouping
    reduction: int | None = 512  # numbers a vector; none: as many as the backbone has
    attention: Attention = "learned"  # maps that are learned, or the cues themselves
    foreground: Foreground = "mask"  # eq. 3: weighted by its map, or a mean over the grid
    visibility: Visibility = "threshold"  # eq. 4; none: every part is seen
    threshold: float = 0.4  # λ_v: a part is seen whose map exceeds it
    gilt: GiltTable = field(default_factory=lambda: table("gfc", "p"))
    triplet: Triplet = "averaged"  # on the mean distance of the parts, or one for each
    margin: float | None = 0.3  # α of the triplets; none: soft
    smoothing: float = 0.1  # ε, of identities and of the parts of pixels
    pixel_weight: float = 0.35  # λ_pa: how much part labels count
    test: tuple[str, ...] = ("foreground", "parts")  # vectors that are compared
    on_empty: OnEmpty = "inf"  # how far pictures are that share no part

    def __post_init__(self) -> None:
        check_choice("attention", self.attention, Attention)
        check_choice("foreground", self.foreground, Foreground)
        check_choice("visibility", self.visibility, Visibility)
        check_choice("triplet", self.triplet, Triplet)
        self._check_numbers()
        object.__setattr__(self, "gilt", gilt_table(self.gilt, EMBEDDINGS))
        object.__setattr__(self, "test", tuple(self.test))
        allowed = (*EMBEDDINGS, *self.names)
        if not self.test or not {*self.test} <= {*allowed} or ("concat" in self.test and len(self.test) > 1):
            raise InputError(
                f"test is {', '.join(self.test) or 'empty'}; name one or more of {', '.join(allowed)}, and concat, "
                f"which is longer than the others, alone"
            )
        if self.reduction is not None and (untaught := [name for name in self.test if not self._teaches(name)]):
            raise InputError(
                f"test is {', '.join(self.test)}, and gilt gives no weight to a loss that would teach the reduction of "
                f"{untaught[0]}; give it some, take {untaught[0]} out of test, or set reduction to none"
            )
        check_used(self, self.visibility == "threshold", "visibility is threshold", "threshold")
        check_used(self, self.attention == "learned", "attention is learned", "pixel_weight")

    def _check_numbers(self) -> None:
        reduced = self.reduction is None or self.reduction >= 1
        if not reduced or not 0 <= self.threshold <= 1 or not 0 <= self.pixel_weight < inf:
            raise InputError(
                f"reduction is {self.reduction}, threshold {self.threshold} and pixel_weight {self.pixel_weight}; give "
                f"a reduction of 1 or more, or none, a threshold from 0 to 1, and a weight of 0 or more"
            )

    def _teaches(self, embedding: str) -> bool:
        """Whether a loss reaches the reduction behind `embedding`; parts, alone and end to end, share one."""
        rows = (embedding,) if embedding in EMBEDDINGS[:2] else ("concat", "parts")
        return any(any(self.gilt[row]) for row in rows)

    @property
    def grouping(self) -> str:
        return grouping_named(self.parts)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the K parts, in the order of their channels."""
        return tuple(name for name, _ in GROUPINGS[self.grouping])


class Output(NamedTuple):
    """Maps, vectors and logits; the latter two by the names of `EMBEDDINGS`, as far as the config has use for them."""

    maps: Tensor  # [B,K+1,h,w]: M, the background first
    pixels: Tensor | None  # [B,K+1,h,w]: its logits; None where attention is fixed
    vectors: dict[str, Tensor]  # before any neck: [B,D], concat [B,K·D], parts [B,K,D]
    logits: dict[str, Tensor]  # [B,people], parts [B,K,people]; empty without people
    test: Tensor  # [B,P,D]: what `Config.test` names
    seen: Tensor  # [B,P]: 0 or 1


class BPBreID(nn.Module):
    """Backbone, part maps, pooling, necks. Without people, only what is tested is built."""

    def __init__(
        self,
        config: Config,
        people: int,
        *,
        image: tuple[int, int] = (256, 128),
        weights: Path | Literal["hub", "none"] = "none",
    ) -> None:
        super().__init__()
        self.config = config
        self.backbone = make_backbone(config.backbone, image=image, last_stride=config.last_stride, weights=weights)
        dim, length = self.backbone.dim, config.reduction or self.backbone.dim
        trained = {name for name, row in config.gilt.items() if any(row)} if people else set()
        used = trained | {*config.test}
        pooled = [name for name in EMBEDDINGS[:2] if name in used]
        if used - {*pooled}:
            pooled.append("parts")  # also for those end to end, and for a part by its own name
        identified = [name for name in HOLISTIC if name in used and config.gilt[name][0]]
        if people and config.gilt["parts"][0]:
            identified.extend(config.names)
        lengths = dict.fromkeys(identified, length) | {"concat": len(config.names) * length}
        if config.attention == "learned":
            self.pixels = PixelParts(dim, len(config.names))
        self.reductions = nn.ModuleDict({name: _reduction(dim, config.reduction) for name in pooled})
        self.necks = Necks({name: lengths[name] for name in identified}, people)

    def forward(self, images: Tensor, cues: Cues | None = None) -> Output:
        """`images` [B,3,H,W], normalised; `cues` are looked at only where attention is fixed."""
        cells = self.backbone(images).cells
        if self.config.attention == "learned":
            pixels = self.pixels(cells)
            maps = pixels.softmax(1, dtype=torch.float32)  # eq. 1
        else:
            pixels, (h, w), (H, W) = None, cells.shape[2:], images.shape[2:]
            maps = grid_maps(cues or Cues(), self.config.grouping, (h, w), (H, W))
        vectors = self._pooled(cells.float(), maps)
        normed, logits = self._identified(vectors)
        test, seen = self._tested(vectors | normed, visible(maps, self.config))
        return Output(maps, pixels, vectors, logits, test, seen)

    def _pooled(self, cells: Tensor, maps: Tensor) -> dict[str, Tensor]:
        """Eq. 3: `cells` [B,C,h,w] under `maps` [B,K+1,h,w], reduced."""
        vectors = {}
        for name, reduce in self.reductions.items():
            pooled = self._pool(name, cells, maps[:, 1:])
            rows = pooled.flatten(0, -2)  # parts share one reduction
            vectors[name] = reduce(rows).view(*pooled.shape[:-1], -1)
        if "parts" in vectors:
            vectors["concat"] = vectors["parts"].flatten(1)
        return vectors

    def _pool(self, name: str, cells: Tensor, parts: Tensor) -> Tensor:
        """The vector [B,C] or vectors [B,K,C] of that name, before their reduction."""
        with torch.autocast(cells.device.type, enabled=False):  # sums over all cells, which halves would round
            match name:
                case "global":
                    return cells.mean((2, 3))
                case "foreground":
                    return pool(cells, parts.amax(1, keepdim=True), self.config.foreground)[:, 0]
                case _:
                    return pool(cells, parts)

    def _identified(self, vectors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The holistic `vectors` that have a neck, behind it; and the logits of all that have one."""
        names = self.config.names
        parts = dict(zip(names, vectors["parts"].unbind(1), strict=True)) if "parts" in vectors else {}
        normed, logits = self.necks({name: (vectors | parts)[name] for name in self.necks.norms})
        if logits and self.config.gilt["parts"][0]:
            logits["parts"] = torch.stack([logits.pop(name) for name in names], 1)
        return {name: normed[name] for name in HOLISTIC if name in normed}, logits

    def _tested(self, vectors: dict[str, Tensor], seen: Tensor) -> tuple[Tensor, Tensor]:
        """[B,P,D] and [B,P]: what `Config.test` names, and where it is seen; holistic vectors always are."""
        chosen, shown = [], []
        for name in self.config.test:
            if name in HOLISTIC:
                chosen.append(vectors[name][:, None])
                shown.append(torch.ones_like(seen[:, :1]))
            else:
                which = slice(None) if name == "parts" else [self.config.names.index(name)]
                chosen.append(vectors["parts"][:, which])
                shown.append(seen[:, which])
        return torch.cat(chosen, 1), torch.cat(shown, 1)


def visible(maps: Tensor, config: Config) -> Tensor:
    """Eq. 4: which of the K parts are seen, float [B,K] of 0 and 1, from M as `maps` [B,K+1,h,w]."""
    parts = maps[:, 1:]
    match config.visibility:
        case "threshold":
            return visible_by_threshold(parts, config.threshold).float()
        case "argmax":
            return visible_parts(part_labels(maps), parts.shape[1]).float()
        case _:
            return maps.new_ones(parts.shape[:2], dtype=torch.float32)


def _reduction(dim: int, reduced: int | None) -> nn.Module:
    if reduced is None:
        return nn.Identity()
    return nn.Sequential(nn.Linear(dim, reduced, bias=False), nn.BatchNorm1d(reduced), nn.ReLU())


def embed(out: Output) -> Embedding:
    """The foreground and the parts with their visibility, unless the config names others."""
    return Embedding(out.test, out.seen)


def losses(out: Output, batch: Batch, config: Config) -> dict[str, Tensor]:
    """Eq. 5: GiLt (eq. 6 to 8) and, where attention is learned, the parts of pixels (eq. 2)."""
    triplet = partial(part_triplet if config.triplet == "averaged" else triplet_by_part, margin=config.margin)
    terms = gilt(config.gilt, out.vectors, out.logits, batch.pids, smoothing=config.smoothing, triplet=triplet)
    if out.pixels is not None:
        (h, w), (H, W) = out.pixels.shape[2:], batch.images.shape[2:]
        labels = grid_labels(batch.cues, config.grouping, (h, w), (H, W))
        terms["pixels"] = config.pixel_weight * pixel_parts(out.pixels, labels, config.smoothing)
    return terms


def shows(out: Output, config: Config) -> list[Exhibit]:
    """The maps, and which of them eq. 4 takes for seen."""
    title = "maps of parts that the network draws" if config.attention == "learned" else "maps of parts, from cues"
    return [Exhibit(title, "parts", config.names, out.maps, visible(out.maps, config))]


def distance(config: Config) -> VisibleParts:
    """Eq. 9."""
    return VisibleParts("unit-euclid", on_empty=config.on_empty)


def varies(config: Config) -> dict[str, object]:
    """What hangs on the config beside the network and its losses."""
    return {"distance": distance(config), "needs": needs(config)}


def needs(config: Config) -> dict[Stage, frozenset[Cue]]:
    """Part labels of any kind to learn from; at test time none, unless attention is fixed."""
    return {"train": WHERE, "test": WHERE if config.attention == "fixed" else frozenset()}


# No flips, which would exchange left and right. ResNet-50-IBN and HRNet-W32 see 384×128.
RECIPE = Recipe(augment="bpbreid", warmup_from=0.1)


def _combination(identity: str, triplet: str) -> Config:
    """A row of Table 4. A foreground that nothing trains is not tested either; such a row is compared on parts alone,
    so that against the others two things differ: how it was trained, and what is compared."""
    test = ("foreground", "parts") if "f" in identity + triplet else ("parts",)
    return Config(gilt=table(identity, triplet), test=test)


# The published rows. Table 2 on Occluded-Duke, Table 3 with six parts. Table 4's ticks are not legible in the copy that
# we have: its rows here are those that its claims need, the first two being the paper's first two.
ROWS: dict[str, Config] = {
    "1-resnet50": Config(),
    "1-resnet50-ibn": Config(backbone="resnet50_ibn_a"),
    "1-hrnet": Config(backbone="hrnet_w32"),
    "1-holistic": Config(parts="five_v"),
    "code": Config(foreground="grid", visibility="argmax", on_empty="max+1"),
    "code-market": Config(
        parts="five_v", gilt=table("gfc", "fp"), foreground="grid", visibility="argmax", on_empty="max+1"
    ),
    "2-full": Config(),
    "2-fixed-attention": Config(attention="fixed"),
    "2-no-visibility": Config(visibility="none"),
    "2-triplet-per-part": Config(triplet="per-part"),
    **{f"3-{name}": Config(parts=6, test=(name,)) for name in (*HOLISTIC, *Config(parts=6).names, "parts")},
    "3-foreground-parts": Config(parts=6),
    "4-gilt": _combination("gfc", "p"),
    "4-both-everywhere": _combination("gfcp", "gfcp"),
    "4-identity-on-parts-too": _combination("gfcp", "p"),
    "4-triplet-on-holistic-too": _combination("gfc", "gfcp"),
    "4-identity-everywhere": _combination("gfcp", ""),
    "4-triplet-everywhere": _combination("", "gfcp"),
    "4-turned-round": _combination("p", "gfc"),
    "4-identity-without-global": _combination("fc", "p"),
    "4-identity-without-foreground": _combination("gc", "p"),
    "4-identity-without-concat": _combination("gf", "p"),
    "4-identity-on-global": _combination("g", "p"),
    "4-identity-on-foreground": _combination("f", "p"),
    "4-identity-on-concat": _combination("c", "p"),
    "4-identity-on-holistic-alone": _combination("gfc", ""),
}

METHOD = Method(
    name="bpbreid",
    title="BPBreID: learned body parts",
    config=Config,
    network=BPBreID,
    embed=embed,
    losses=losses,
    recipe=RECIPE,
    distance=distance(Config()),
    needs=needs(Config()),
    varies=varies,
    rows=ROWS,
    shows=shows,
)
