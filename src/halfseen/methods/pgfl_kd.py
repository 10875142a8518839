"""PGFL-KD: one vector, taught by two branches that know the pose (Zheng et al., ACM Multimedia 2021).

Kept: ResNet-50 at 384×128; f_G, the mean of its cells, which is all that is left at test time; eight groups of joints,
whose heatmaps, each a distribution over the cells, pool f_l; the foreground-enhanced branch (FEB: cells weighted by
their likeness to the mean f_l make f_F, and f_E = f_F + f_G); the semantics-aligned branch (SAB: f_l reduced part by
part and put side by side make f_P, and f_V = f_G + f_P); identity and triplet losses on f_G, f_E and f_V; f_E and f_P
teach f_G and are not taught by it (eq. 4 and 5). No code was released.

Where the paper errs, is silent, or can be read in two ways:
* e in eq. 1 has as many ones as there are channels, not parts. The softmax triplet of eq. 7 to 9 is printed with the
  wrong sign; it only explains why f_V is trained, and the triplets of training are batch-hard.
* `gap` "grid" divides by the number of cells, as an average pooling does, which tempers the softmax of eq. 2; "mask"
  leaves that factor out. SAB's normalisation is not to notice it: its ε shrinks with the factor's square.
* `attention` "dot" is eq. 2, "cosine" the text around it.
* `merge`, `scale`: joints of a group are added, and the softmax multiplies by 10 (HOReID); otherwise it is nearly even.
* The frozen pose network is not part of this file: its joints come as cues, drawn on the grid itself and about as wide
  as its heatmaps; what was erased or pasted over does not show. The map of a group that nobody found is even.
* `parts_loss` "contrastive" is eq. 5; "consistency" is Table 7's other row, eq. 4 with f_P in the place of f_E.
* Eq. 4 sums over the channels. Its value is ‖f_F‖², so it never falls to 0: it pushes f_G along f_F, whose length runs
  away at high rates. `lengths` "own" is eq. 4 and 5 as printed; "unit" compares directions alone (in eq. 5 those of
  each part, which wants a `temperature`: 0.07, say).
* `last_stage` "separate": the pose's branches have a copy of their own, as the numbers in Table 8 suggest.
* Margin, smoothing, weight decay, the way of comparing f_G: BoT's. There is no warm-up, as none is mentioned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halfseen.nets.backbones import make_backbone
from halfseen.nets.heads import Necks
from halfseen.nets.stages import SecondStage
from halfseen.ops.distance import Single
from halfseen.ops.groupings import JOINTS, KEYPOINT_GROUPS, flipped_parts
from halfseen.ops.kernel import check_choice, check_choices, check_used
from halfseen.ops.losses import GiltTable, gilt, part_triplet
from halfseen.ops.parts import heatmap_groups, hide, joint_maps, spatial_softmax
from halfseen.ops.pooling import pool
from halfseen.recipe import Cue, Exhibit, Method, Recipe, Stage
from halfseen.types import Batch, Cues, Embedding, InputError

Vector: TypeAlias = Literal["global", "foreground", "enhanced", "aligned", "fused"]  # f_G, f_F, f_E, f_P, f_V
LastStage: TypeAlias = Literal["shared", "separate"]
Merge: TypeAlias = Literal["sum", "max"]
Gap: TypeAlias = Literal["grid", "mask"]
Attention: TypeAlias = Literal["dot", "cosine"]
PartsLoss: TypeAlias = Literal["contrastive", "consistency"]
Lengths: TypeAlias = Literal["own", "unit"]

GROUPS = KEYPOINT_GROUPS["pgfl_kd"]
MAP_WIDTH = 0.5  # of what parts are drawn with: the pose network's maps deviate by 2 cells of 96×32
FEB, SAB = frozenset(("foreground", "enhanced")), frozenset(("aligned", "fused"))  # what each branch makes
JOINT_CUES: frozenset[Cue] = frozenset(("keypoints", "fields"))  # each says where the joints are


@dataclass(frozen=True)
class Config:
    """The paper's choices, and what may stand in their place."""

    backbone: str = "resnet50"  # any of timm's, or resnet50_ibn_a
    last_stage: LastStage = "shared"  # one for all, or a second for the branches
    merge: Merge = "sum"  # how joints of a group become a map
    scale: float = 10.0  # of a map, before its softmax
    gap: Gap = "grid"  # a part's vector: mean over the grid, or sum under its map
    attention: Attention = "dot"  # eq. 2
    reid: tuple[Vector, ...] = ("global", "enhanced", "fused")  # vectors with identities and triplets
    lambda_cl: float = 0.25  # weight of the consistency, eq. 4
    parts_loss: PartsLoss = "contrastive"  # what pulls towards the aligned parts
    lengths: Lengths = "own"  # of what teaches and is taught: as they are, or 1
    lambda_mcl: float = 0.25  # weight of the parts' loss, eq. 5
    temperature: float = 1.0  # of the contrast, eq. 5
    margin: float | None = 0.3  # of the triplets; none: soft
    smoothing: float = 0.1  # ε of the identity losses
    test: Vector = "global"  # the vector that is compared

    def __post_init__(self) -> None:
        object.__setattr__(self, "reid", check_choices("reid", self.reid, Vector))
        choices: dict[str, Any] = {"last_stage": LastStage, "merge": Merge, "gap": Gap, "attention": Attention}
        for name, kinds in (choices | {"parts_loss": PartsLoss, "lengths": Lengths, "test": Vector}).items():
            check_choice(name, getattr(self, name), kinds)
        weights, factors = (self.lambda_cl, self.lambda_mcl), (self.scale, self.temperature)
        if not self.reid or not all(x >= 0 for x in weights) or not all(x > 0 for x in factors):
            raise InputError(
                f"reid is {self.reid}, lambda_cl {self.lambda_cl}, lambda_mcl {self.lambda_mcl}, scale {self.scale}, "
                f"temperature {self.temperature}; name one vector or more, and give weights of 0 or more and a scale "
                f"and a temperature above 0"
            )
        if not SAB & {*self.reid} and (self.lambda_mcl or self.test in SAB):
            raise InputError(
                f"nothing trains the aligned parts, which are taught from or tested (lambda_mcl {self.lambda_mcl}, "
                f"test {self.test}); name aligned or fused in reid, or set lambda_mcl to 0 and test to another vector"
            )
        untaught = not (FEB | SAB) & {*self.reid} and self.used(training=True) != {"global"}
        if self.last_stage == "separate" and untaught:
            raise InputError("nothing trains the second last stage; name more than global in reid, or share the stage")
        own = {"global", "enhanced", "fused"} & {*self.reid} or self.lambda_cl or self.lambda_mcl  # f_G is in these
        if self.last_stage == "separate" and not own:
            raise InputError("nothing trains the last stage of the global vector; name it in reid, or share the stage")
        check_used(self, self.parts_loss == "contrastive", "parts_loss is contrastive", "temperature")

    def used(self, *, training: bool) -> set[str]:
        """The vectors that something is made of: the one that is tested, and in training those that losses see."""
        if not training:
            return {self.test}
        teachers = (("enhanced", self.lambda_cl), ("aligned", self.lambda_mcl))
        return {self.test, *self.reid, *(name for name, weight in teachers if weight)}


class Output(NamedTuple):
    """Vectors by their names in `Vector`, as far as there is a use for them; without joints the global one alone."""

    vectors: dict[str, Tensor]  # before any neck: [B,D]
    logits: dict[str, Tensor]  # of those in `reid`: [B,people]; empty without people
    test: Tensor  # [B,D]: what `Config.test` names, behind its neck if it has one
    heat: Tensor | None = None  # [B,8,h,w]: H, each map a distribution over the cells
    local: Tensor | None = None  # [B,8,D]: f_l
    attention: Tensor | None = None  # [B,h,w]: a


class PGFLKD(nn.Module):
    """Backbone, the branches that the pose guides, necks. Without people, only what is tested is built."""

    def __init__(
        self,
        config: Config,
        people: int,
        *,
        image: tuple[int, int] = (384, 128),
        weights: Path | Literal["hub", "none"] = "none",
    ) -> None:
        super().__init__()
        self.config, self.used = config, config.used(training=people > 0)
        self.backbone = make_backbone(config.backbone, image=image, last_stride=1, weights=weights)
        dim, (h, w) = self.backbone.dim, self.backbone.grid
        if self.used != {"global"} and config.last_stage == "separate":
            self.second = SecondStage(self.backbone, image)
        if self.used & SAB:
            if dim % len(GROUPS):
                raise InputError(
                    f"{config.backbone} makes vectors of {dim} numbers, which cannot be cut into {len(GROUPS)} equal "
                    f"parts; choose another backbone"
                )
            self.align = Align(dim, 1 / (h * w) if config.gap == "grid" else 1.0)
        self.necks = Necks({name: dim for name in config.reid if people or name == config.test}, people)

    def forward(self, images: Tensor, cues: Cues | None = None) -> Output:
        """`images` [B,3,H,W], normalised; `cues` are looked at only where a branch that wants them was built."""
        if not self._guided(cues):
            return self._output({"global": self.backbone(images).cells.mean((2, 3))})
        cells, guided = self._cells(images)
        (h, w), (H, W) = guided.shape[2:], images.shape[2:]
        heat = part_heat(cues or Cues(), self.config, grid=(h, w), image=(H, W))
        vectors, attention = {"global": cells.mean((2, 3))}, None
        # Halves would round sums over all cells, and with the large products of eq. 2 look at other cells.
        with torch.autocast(cells.device.type, enabled=False):
            local = pool(guided, heat, self.config.gap)  # eq. 1
            if self.used & FEB:
                attention = likeness(guided, local.mean(1), self.config.attention)
                vectors["foreground"] = pool(guided, attention[:, None])[:, 0]  # eq. 3
                vectors["enhanced"] = vectors["foreground"] + vectors["global"]
        if self.used & SAB:
            vectors["aligned"] = self.align(local)
            vectors["fused"] = vectors["global"] + vectors["aligned"]  # eq. 6
        return self._output(vectors)._replace(heat=heat, local=local, attention=attention)

    def _guided(self, cues: Cues | None) -> bool:
        """Whether the branches have work to do: at test time they may be there, but the global vector needs none."""
        if self.used == {"global"}:
            return False
        told = cues is not None and (cues.keypoints is not None or cues.fields is not None)
        return told or self.config.test != "global"

    def _cells(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """F for the global vector and F for the branches, the latter in float32, [B,D,h,w] each."""
        if self.config.last_stage == "separate":
            cells, guided = self.second(self.backbone, images)
            return cells, guided.float()
        shared = self.backbone(images).cells
        return shared, shared.float()

    def _output(self, vectors: dict[str, Tensor]) -> Output:
        normed, logits = self.necks({name: vectors[name] for name in self.necks.norms if name in vectors})
        return Output(vectors, logits, (vectors | normed)[self.config.test])


class Align(nn.Module):
    """SAB: f_p = ReLU(BN(W f_l)) with a W for each of the eight parts, side by side.

    `factor` is what f_l was multiplied by; the normalisation takes it out again.
    """

    def __init__(self, dim: int, factor: float) -> None:
        super().__init__()
        self.reduce = nn.Conv1d(len(GROUPS) * dim, dim, kernel_size=1, groups=len(GROUPS), bias=False)
        self.norm = nn.BatchNorm1d(dim, eps=1e-5 * factor**2)

    def forward(self, local: Tensor) -> Tensor:
        """`local` [B,8,D] → f_P [B,D]."""
        reduced = self.reduce(local.flatten(1)[:, :, None])[:, :, 0]
        return F.relu(self.norm(reduced))


def part_heat(cues: Cues, config: Config, *, grid: tuple[int, int], image: tuple[int, int]) -> Tensor:
    """H [B,8,h,w]: where each group of joints is, a distribution over the cells of `grid`; `cues` of pictures of size
    `image`."""
    if cues.keypoints is not None:
        joints = joint_maps(cues.keypoints, image, grid, width=MAP_WIDTH)
    elif cues.fields is not None:
        joints = F.interpolate(cues.fields[:, : len(JOINTS)], grid, mode="bilinear")
    else:
        raise InputError(
            "no cue says where these people's joints are; give keypoints or confidence fields, or train and test the "
            "global vector alone"
        )
    seen = joints if cues.hidden is None else hide(joints, cues.hidden)
    return spatial_softmax(heatmap_groups(seen, GROUPS, config.merge), config.scale)


def likeness(cells: Tensor, foreground: Tensor, kind: Attention) -> Tensor:
    """Eq. 2: a [B,h,w], how like f_L as `foreground` [B,D] each of the `cells` [B,D,h,w] is; sums to 1."""
    if kind == "cosine":
        cells, foreground = F.normalize(cells, dim=1), F.normalize(foreground, dim=1)
    products = torch.einsum("bdhw,bd->bhw", cells, foreground)
    return products.flatten(1).softmax(1).view_as(products)


def embed(out: Output) -> Embedding:
    """f_G, unless the config names another."""
    return Embedding.of(out.test)


def losses(out: Output, batch: Batch, config: Config) -> dict[str, Tensor]:
    """Eq. 10: identities and triplets of each vector in `reid`, the consistency (eq. 4), the parts (eq. 5)."""
    if not config.used(training=True) <= out.vectors.keys():
        raise InputError("no cue says where these people's joints are, and losses want vectors made of them; give some")
    triplet = partial(part_triplet, margin=config.margin)
    table: GiltTable = dict.fromkeys(config.reid, (1, 1))
    terms = gilt(table, out.vectors, out.logits, batch.pids, smoothing=config.smoothing, triplet=triplet)
    student, unit = out.vectors["global"], config.lengths == "unit"
    if config.lambda_cl:
        terms["consistency"] = config.lambda_cl * consistency(student, out.vectors["enhanced"], unit=unit)
    if config.lambda_mcl:
        if config.parts_loss == "consistency":
            taught = consistency(student, out.vectors["aligned"], unit=unit)
        else:
            taught = contrastive(student, out.vectors["aligned"], config.temperature, unit=unit)
        terms["parts"] = config.lambda_mcl * taught
    return terms


def consistency(student: Tensor, teacher: Tensor, *, unit: bool = False) -> Tensor:
    """Eq. 4: how far `student` is from `teacher`, [B,D] each, squared. The teacher does not learn.

    `unit`: both are brought to length 1.
    """
    pair = student, teacher.detach()
    one, other = (F.normalize(vector, dim=1) for vector in pair) if unit else pair
    return (one - other).square().sum(1).mean()


def contrastive(student: Tensor, teacher: Tensor, temperature: float, *, unit: bool = False) -> Tensor:
    """Eq. 5: each part of `teacher` is to find its own place in `student`, or its mirror image's, among the eight.

    Both are [B,D] of eight parts side by side; the teacher does not learn. `unit`: parts are brought to length 1.
    """
    exact = torch.promote_types(student.dtype, torch.float32)  # the products are large: nothing holds them down
    places, parts = (x.to(exact).view(len(x), len(GROUPS), -1) for x in (student, teacher.detach()))
    if unit:
        places, parts = F.normalize(places, dim=2), F.normalize(parts, dim=2)
    scores = parts @ places.mT / temperature  # [B,8 parts,8 places]
    itself = torch.eye(len(GROUPS), dtype=torch.bool, device=scores.device)
    positive = itself | itself[list(flipped_parts(GROUPS))]
    found = scores.masked_fill(~positive, -torch.inf).logsumexp(2)
    missed: Tensor = scores.logsumexp(2) - found
    return missed.sum(1).mean()


def shows(out: Output, config: Config) -> list[Exhibit]:  # noqa: ARG001  (every method is called so)
    """What guides the branches, where they have work to do: in training."""
    exhibits = []
    if out.attention is not None:
        foreground = out.attention[:, None]
        exhibits.append(Exhibit("what FEB takes for the person (a)", "strengths", ("foreground",), foreground))
    if out.heat is not None:
        names = tuple(name for name, _ in GROUPS)
        exhibits.append(Exhibit("where each group of joints is, for SAB and FEB (H)", "strengths", names, out.heat))
    return exhibits


def varies(config: Config) -> dict[str, object]:
    """What hangs on the config beside the network and its losses."""
    return {"needs": needs(config)}


def needs(config: Config) -> dict[Stage, frozenset[Cue]]:
    """Joints to learn from; at test time none, unless another vector than the global one is compared."""
    guided = config.used(training=True) != {"global"}
    return {
        "train": JOINT_CUES if guided else frozenset(),
        "test": JOINT_CUES if config.test != "global" else frozenset(),
    }


# As printed: batches of 4 people with 16 pictures each, where the papers around it have 16 with 4.
RECIPE = Recipe(height=384, people=4, images=16, warmup=0, milestones=(30, 70))

_BASELINE = Config(reid=("global",), lambda_cl=0, lambda_mcl=0)

# The published rows, all on Occluded-Duke. Table 8 compares other vectors of the one network that Table 6 ends with.
ROWS: dict[str, Config] = {
    "6-baseline": _BASELINE,
    "6-aligned": replace(_BASELINE, reid=("global", "aligned")),
    "6-interaction": replace(_BASELINE, reid=("global", "fused")),
    "6-contrastive": replace(_BASELINE, reid=("global", "fused"), lambda_mcl=0.25),
    "6-enhanced": Config(lambda_cl=0),
    "6-consistency": Config(),
    "7-consistency": Config(parts_loss="consistency"),
    "7-contrastive": Config(),
    "8-baseline": _BASELINE,
    "8-global": Config(),
    "8-aligned": Config(test="aligned"),
    "8-fused": Config(test="fused"),
    "8-foreground": Config(test="foreground"),
    "8-enhanced": Config(test="enhanced"),
}

METHOD = Method(
    name="pgfl_kd",
    title="PGFL-KD: one vector, taught by two branches that know the pose",
    config=Config,
    network=PGFLKD,
    embed=embed,
    losses=losses,
    recipe=RECIPE,
    distance=Single("cosine"),
    needs=needs(Config()),
    varies=varies,
    rows=ROWS,
    shows=shows,
)
