"""TSD: queries for body parts, taught by themselves with masks on (Gao et al., ICASSP 2024).

Kept: a ViT; a decoder of one layer whose learned queries, one a part, look at its patches, once freely as the student
and once each within its part's mask as the teacher, with the same parameters; the student's parts are drawn to the
teacher's. Masks come from a classifier of patches that part labels and identities teach together. A head tells which
parts are seen. At test time there is the picture and the student: the global vector and the parts that both show.

Where paper and released code differ, or the paper is silent; `ROWS["code"]` puts the code's side together:
* `patches`: queries look at what the last block gives ("final", paper), or at what goes into it behind a normalisation
  of its own ("early", code); the class token that they hear is of the same place.
* `masks`: a patch belongs to its likeliest part ("argmax", paper), or to each part by chance ("bernoulli", code).
  "fixed" takes part labels and learns none: the ablation. The network then looks at cues in training.
* Eq. 4 is printed without the root of eq. 2; both passes have it, or they would not be one decoder. A query whose part
  owns no patch (eq. 5 says −∞ everywhere) sees the mean of all, as in the code. Eq. 12 sums over patches, part by part.
* `detached`: where no gradient passes; the default is the code's, the paper says nothing: the class token into the
  decoder, the teacher in eq. 7, the maps in the diversity of pooled parts. None passes into the teacher's masks.
* `distillation` "per-part" is eq. 7; code takes the cosine of all parts end to end ("concatenated").
* `diversity`: eq. 8 is plain. Code counts cosines below 0 as 0 ("relu"), does not compare left with right of one kind
  ("sides"), and adds the same for pooled parts ("pooled").
* `background` (code): one more query, with the background's mask, that the others hear and the result leaves out.
* Term `foreground` (code): identities also of what the maps of all parts pool together.
* `residual`: the decoder's last layers add to what was seen (code); by the letter of eq. 3 they replace it. The paper's
  equations are brief (one head, no projections) and what they leave out is the code's here.
* `seen` (`nets.heads.Seen`): a part is seen whose score exceeds 0.5; in the focal loss seen ones weigh 0.25, hidden
  ones 0.75. Labels of cells are those of `ops.parts.grid_labels`: somebody's from 0.5 on, in the code from 0.3.
* Flips, which the paper does not have, exchange left and right; augment "tsd" leaves them, as the code does.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from halfseen.nets.attention import Decoder
from halfseen.nets.heads import Necks, PixelParts, Seen
from halfseen.nets.trunk import Trunk
from halfseen.ops.distance import VisibleParts
from halfseen.ops.groupings import GROUPINGS, flipped_parts, grouping_named
from halfseen.ops.kernel import check_choice, check_choices, check_used
from halfseen.ops.losses import cosine_distillation, diversity, focal, gilt, part_triplet, pixel_parts
from halfseen.ops.parts import grid_labels, part_labels, visible_parts
from halfseen.ops.pooling import pool
from halfseen.recipe import WHERE, Cue, Exhibit, Method, Recipe, Stage
from halfseen.types import Batch, Cues, Embedding, InputError

Term: TypeAlias = Literal["global", "student", "teacher", "distillation", "diversity", "visibility", "foreground"]
Test: TypeAlias = Literal["global", "parts"]
Patches: TypeAlias = Literal["final", "early"]
Masks: TypeAlias = Literal["argmax", "bernoulli", "fixed"]
Distillation: TypeAlias = Literal["per-part", "concatenated"]
Diversity: TypeAlias = Literal["relu", "sides", "pooled"]
Cut: TypeAlias = Literal["class", "teacher", "maps"]

HEADS = 8
SMOOTHING = 0.1  # of part labels; identities have none


@dataclass(frozen=True)
class Config:
    """The paper's choices, and what may stand in their place: the module's docstring explains those of the code.

    `terms`: what of eq. 10 is learned, as the ablation drops them; learned masks bring L_m along with the teacher.
    """

    backbone: str = "vit_base_patch16_224.orig_in21k_ft_in1k"  # any plain ViT of timm's
    patch_stride: int | None = None  # pixels between patches; none: side by side
    drop_path: float = 0.1  # rate of stochastic depth
    parts: int | str = 8  # so many, or the name of a grouping
    patches: Patches = "final"  # what the decoder reads: behind or before the last block
    masks: Masks = "argmax"  # of the teacher
    detached: tuple[Cut, ...] = ("class", "teacher", "maps")  # where gradients are cut
    distillation: Distillation = "per-part"  # eq. 7: each part, or all end to end
    diversity: tuple[Diversity, ...] = ()  # changes to eq. 8
    background: bool = False  # a query for what is nobody
    residual: bool = True  # in the decoder's last layers, eq. 3
    terms: tuple[Term, ...] = ("global", "student", "teacher", "distillation", "diversity", "visibility")  # losses
    test: tuple[Test, ...] = ("global", "parts")  # vectors that are compared
    seen: Seen = field(default_factory=Seen)  # what counts as seen

    def __post_init__(self) -> None:
        for name, kinds in {"patches": Patches, "masks": Masks, "distillation": Distillation}.items():
            check_choice(name, getattr(self, name), kinds)
        several: dict[str, Any] = {"detached": Cut, "diversity": Diversity, "terms": Term, "test": Test}
        for name, choices in several.items():
            object.__setattr__(self, name, check_choices(name, getattr(self, name), choices))
        object.__setattr__(self, "seen", Seen.of(self.seen))
        grouping_named(self.parts)
        self._check_terms()

    def _check_terms(self) -> None:
        terms, taught = {*self.terms}, {"global": {"global"}, "parts": {"student", "teacher"}}
        if not self.test or not all(terms & taught[name] for name in self.test):
            raise InputError(
                f"test is {', '.join(self.test) or 'empty'} and terms are {', '.join(self.terms) or 'empty'}; test "
                f"global, parts or both, and only what is taught: global by global, parts by student or teacher"
            )
        if terms & {"distillation", "diversity"} and "teacher" not in terms:
            raise InputError("distillation and diversity look at the teacher; add teacher to terms, or drop both")
        if not self.learns_maps and ("foreground" in terms or "pooled" in self.diversity):
            raise InputError("foreground and diversity pooled want a teacher in terms, and masks that are not fixed")
        self.seen.check_taught("visibility" in terms)
        for name, term in {"diversity": "diversity", "distillation": "distillation", "masks": "teacher"}.items():
            check_used(self, term in terms, f"terms have {term}", name)
        check_used(self, terms != {"global"}, "terms have more than global", "patches background residual")

    @property
    def grouping(self) -> str:
        return grouping_named(self.parts)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the P parts, in the order of their queries."""
        return tuple(name for name, _ in GROUPINGS[self.grouping])

    @property
    def learns_maps(self) -> bool:
        return "teacher" in self.terms and self.masks != "fixed"


class Output(NamedTuple):
    """Vectors and logits by name: global, student, and in training teacher, pooled (under M), loose (under M, for its
    diversity) and foreground, as far as the config has use for them."""

    cells: Tensor  # [B,D,h,w]: F^pt, the final patches; early ones where nothing reads the final
    pixels: Tensor | None  # [B,P+1,h,w]: logits of the masks M, the background first; in training only
    vectors: dict[str, Tensor]  # before any neck: global [B,D], foreground [B,1,D], all others [B,P,D]
    logits: dict[str, Tensor]  # [B,people]; empty without people
    seen: Tensor | None  # [B,P]: logits of the visibility
    attention: Tensor | None  # [B,P,h,w]: where each query looks, the mean over heads; at test time only
    test: Tensor  # [B,1+P,D]: what `Config.test` names, behind its neck
    visible: Tensor  # [B,1+P]: 0 or 1


class TSD(nn.Module):
    """Trunk, mask generator, decoder, visibility, necks. Without people, only what is tested is built."""

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
        options: dict[str, Any] = {"patch_stride": config.patch_stride, "drop_path": config.drop_path}
        self.backbone = Trunk(config.backbone, image=image, weights=weights, **options)
        dim, count = self.backbone.dim, len(config.names)
        used = {*config.test, *(config.terms if people else ())}
        self.decodes, self.teaches = used != {"global"}, bool(people) and "teacher" in config.terms
        self.ends = "global" in used or config.patches == "final" or (people > 0 and config.learns_maps)
        if not self.ends:  # nothing reads the final patches
            self.backbone.end_early()
        lengths = {"global": dim} if "global" in used else {}
        if self.decodes:
            self.norm = nn.LayerNorm(dim) if config.patches == "early" else nn.Identity()
            self.decoder = Decoder(dim, count + config.background, heads=HEADS, residual=config.residual)
            if "visibility" in config.terms:
                self.visibility = nn.Sequential(nn.BatchNorm1d(dim), nn.Linear(dim, 1, bias=False))
            lengths["student"] = count * dim  # and of the teacher
        if people and config.learns_maps:
            self.pixels = PixelParts(dim, count, bias=False)
            lengths["pooled"] = count * dim
            if "foreground" in config.terms:
                lengths["foreground"] = dim
        self.necks = Necks(lengths, people)

    def forward(self, images: Tensor, cues: Cues | None = None) -> Output:
        """`images` [B,3,H,W], normalised; `cues` are looked at in training, and only where masks are fixed."""
        trunk = self.backbone
        early = trunk.run(trunk.embed(images), last=trunk.depth - 1)
        final = trunk.norm(trunk.run(early, trunk.depth - 1)) if self.ends else early
        cells, vectors = trunk.cells(final), {"global": final[:, 0]}
        pixels = masks = seen = attention = None
        if self.teaches and self.training:
            if self.config.learns_maps:
                pixels = self.pixels(cells)
                vectors |= self._pooled(cells.float(), pixels.softmax(1, dtype=torch.float32))  # eq. 9
            masks = self._masks(pixels, cues, (images.shape[2], images.shape[3]))
        if self.decodes:
            decoded, attention = self._decoded(final if self.config.patches == "final" else self.norm(early), masks)
            vectors |= decoded
            if "visibility" in self.config.terms:
                seen = self.visibility(vectors["student"].flatten(0, 1)).view(len(images), -1)  # eq. 14
        normed, logits = self._identified(vectors)
        test, visible = self._tested(normed, seen)
        return Output(cells, pixels, vectors, logits, seen, attention, test, visible)

    def _masks(self, pixels: Tensor | None, cues: Cues | None, image: tuple[int, int]) -> Tensor:
        """Where each query of the teacher may look, bool [B,P,N]; no gradient passes."""
        if pixels is not None and self.config.masks == "bernoulli":
            maps = pixels.detach().softmax(1, dtype=torch.float32)  # in halves faint parts come up too often
            masks = torch.rand_like(maps) < maps
        else:
            numbers = torch.arange(len(self.config.names) + 1)
            at = self.config.grouping, self.backbone.grid, image, self.config.seen.person
            labels = grid_labels(cues or Cues(), *at) if pixels is None else part_labels(pixels)
            masks = labels[:, None] == numbers.to(labels)[:, None, None]
        return masks[:, 0 if self.config.background else 1 :].flatten(2)  # of those that have a query

    def _pooled(self, cells: Tensor, maps: Tensor) -> dict[str, Tensor]:
        """Eq. 12: `cells` [B,D,h,w] under the soft `maps` [B,P+1,h,w]."""
        chosen = {"pooled": maps[:, 1:]}
        if "pooled" in self.config.diversity:
            chosen["loose"] = maps[:, 1:].detach() if "maps" in self.config.detached else maps[:, 1:]
        if "foreground" in self.config.terms:
            chosen["foreground"] = maps[:, 1:].sum(1, keepdim=True)
        with torch.autocast(cells.device.type, enabled=False):  # sums over all patches, which halves would round
            return {name: pool(cells, parts) for name, parts in chosen.items()}

    def _decoded(self, tokens: Tensor, masks: Tensor | None) -> tuple[dict[str, Tensor], Tensor | None]:
        """Eq. 1 to 6: the student's parts and, where there are `masks`, the teacher's; and where the student looks."""
        trunk, decoder, count = self.backbone, self.decoder, len(self.config.names)
        cls = tokens[:, 0].detach() if "class" in self.config.detached else tokens[:, 0]
        asked, memory = decoder.ask(cls), decoder.read(tokens[:, trunk.prefix :])
        decoded = {"student": decoder.answer(asked, memory)[:, -count:]}
        if masks is not None:
            decoded["teacher"] = decoder.answer(asked, memory, masks)[:, -count:]
        if self.training:
            return decoded, None
        shares = decoder.look.shares(asked, memory).mean(1)[:, -count:]
        return decoded, shares.view(*shares.shape[:2], *trunk.grid)

    def _identified(self, vectors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What stands behind the necks, parts end to end, and all logits; the teacher passes the student's neck."""
        normed, logits = self.necks({k: vectors[k].flatten(1) for k in self.necks.norms if k in vectors})
        if "teacher" in vectors:
            logits["teacher"] = self.necks({"student": vectors["teacher"].flatten(1)})[1]["student"]
        return normed, logits

    def _tested(self, normed: dict[str, Tensor], seen: Tensor | None) -> tuple[Tensor, Tensor]:
        """[B,1+P,D] and [B,1+P]: what `Config.test` names, and where it is seen; the global vector always is."""
        chosen, shown = [], []
        if "global" in self.config.test:
            chosen.append(normed["global"][:, None])
            shown.append(torch.ones_like(chosen[0][..., 0]))
        if "parts" in self.config.test:
            parts = normed["student"].view(-1, len(self.config.names), self.backbone.dim)
            chosen.append(parts)
            everywhere = torch.ones_like(parts[..., 0])
            shown.append(everywhere if seen is None else (seen.sigmoid() > self.config.seen.threshold).to(parts))
        return torch.cat(chosen, 1), torch.cat(shown, 1)


def embed(out: Output) -> Embedding:
    """The global vector and the student's parts with their visibility, unless the config names less."""
    return Embedding(out.test, out.visible)


def losses(out: Output, batch: Batch, config: Config) -> dict[str, Tensor]:
    """Eq. 10, all weights 1; L_m as its three summands: identities and triplets of pooled parts, and pixels."""
    names = [name for name in out.logits if name in (*config.terms, "pooled")]
    table = {name: (1.0, float(name != "foreground")) for name in names}
    terms = gilt(table, out.vectors, out.logits, batch.pids, smoothing=0.0, triplet=partial(part_triplet, margin=None))
    if "distillation" in config.terms:
        terms["distillation"] = distillation(out.vectors["student"], out.vectors["teacher"], config)
    if "diversity" in config.terms:
        apart = [out.vectors[name] for name in ("teacher", "loose") if name in out.vectors]
        terms["diversity"] = torch.stack([diverse(parts, config) for parts in apart]).sum()
    if needs(config)["train"]:
        (h, w), (H, W) = out.cells.shape[2:], batch.images.shape[2:]
        labels = grid_labels(batch.cues, config.grouping, (h, w), (H, W), config.seen.person)
        if out.pixels is not None:
            terms["pixels"] = pixel_parts(out.pixels, labels, SMOOTHING)
        if out.seen is not None:
            terms["visibility"] = focal(out.seen, visible_parts(labels, len(config.names)), config.seen.alpha)
    return terms


def shows(out: Output, config: Config) -> list[Exhibit]:
    """At test time where queries look, in training the maps that masks are made of."""
    if out.pixels is not None:
        return [Exhibit("maps that mask the teacher (M)", "parts", config.names, out.pixels.softmax(1))]
    if out.attention is None:
        return []
    seen = None if out.seen is None else out.seen.sigmoid() > config.seen.threshold
    return [Exhibit("where the query of each part looks", "strengths", config.names, out.attention, seen)]


def distillation(student: Tensor, teacher: Tensor, config: Config) -> Tensor:
    """Eq. 7, of parts [B,P,D]."""
    teacher = teacher.detach() if "teacher" in config.detached else teacher
    if config.distillation == "concatenated":
        student, teacher = student.flatten(1), teacher.flatten(1)
    return cosine_distillation(student, teacher)


def diverse(parts: Tensor, config: Config) -> Tensor:
    """Eq. 8, of parts [B,P,D]."""
    pairs = None
    if "sides" in config.diversity:
        mirror = torch.tensor(flipped_parts(GROUPINGS[config.grouping]), device=parts.device)
        pairs = mirror[:, None] != torch.arange(len(mirror), device=parts.device)
    return diversity(parts, pairs, rectified="relu" in config.diversity)


def needs(config: Config) -> dict[Stage, frozenset[Cue]]:
    """Part labels of any kind to learn from, unless nothing of theirs is learned; at test time none."""
    return {"train": WHERE if {"teacher", "visibility"} & {*config.terms} else frozenset(), "test": frozenset()}


RECIPE = Recipe(
    augment="transreid", optimiser="sgd", lr=0.004, weight_decay=1e-4, bias_lr=2.0, warmup=5, schedule="cosine"
)

CODE = Config(
    patches="early",
    masks="bernoulli",
    distillation="concatenated",
    diversity=("relu", "sides", "pooled"),
    background=True,
    terms=(*Config().terms, "foreground"),
    seen=Seen(person=0.3),
)

# The published rows: TSD alone and with patches that overlap, by a stride that is not printed (TransReID's is 11 on
# Occluded-Duke); the ladder of Table 3, where it is not said whether M1 has the visibility: here it has.
ROWS: dict[str, Config] = {
    "1-tsd": Config(),
    "1-tsd-overlap": Config(patch_stride=11),
    "1-tsd-overlap-12": Config(patch_stride=12),
    "3-baseline": Config(terms=("global",), test=("global",)),
    "3-m1": Config(terms=("global", "student", "visibility")),
    "3-m2": Config(terms=("global", "student", "teacher", "distillation", "visibility"), masks="fixed"),
    "3-m3": Config(masks="fixed"),  # the whole with fixed masks
    "3-m4": Config(),
    "code": CODE,
    "code-overlap": replace(CODE, patch_stride=11),
}

METHOD = Method(
    name="tsd",
    title="TSD: part queries, taught with masks on",
    config=Config,
    network=TSD,
    embed=embed,
    losses=losses,
    recipe=RECIPE,
    distance=VisibleParts("unit-euclid"),
    needs=needs(Config()),
    varies=lambda config: {"needs": needs(config)},
    rows=ROWS,
    shows=shows,
)
