"""OGFR, a reconstruction from its abstract: patches that mislead are erased by an agent, and what remains is taught to
a student who sees the same people hidden ("Occlusion-Guided Feature Purification Learning via Reinforced Knowledge
Distillation", JICN 2025, arXiv 2507.08520).

**This is not the paper's method**, whose body and code are not public to us. From the abstract: an occlusion-aware ViT
with learned embeddings of occlusion patterns; in the branch of whole pictures a reinforced agent that finds patches of
low quality and puts learned tokens in their place; distillation from there to the branch of hidden pictures. From
notes of others: the kinds of the distilling terms, and parts from parsing labels. The rest is ours, numbers included:

* Five patterns, those of our occluders, and none. A third of the way up, the class token tells softly which one it is;
  its expected embedding, 0 at first, is added to all tokens. `pattern` "forced" adds the true one in training, "token"
  gives the sequence a token for each instead, and predicts nothing.
* Blocks are shared but for the last, which each branch has for itself; `teacher` "separate" shares none.
* A pixel classifier draws each branch's part maps; `attention` "fixed" takes them from cues, at test time too.
* One coin for each patch before the last block; REINFORCE against the reward of the likeliest patches, as many as the
  budget says, by what the parts gain: by the class token's gain, as planned, it learned nothing (docs/LOG.md). The
  alternatives are fields of `Agent`. The teacher learns from what was drawn, and teaches what is likeliest.
* The agent sees tokens that are normalised, and the teacher's last block drops no paths: luck would be rewarded.
* The policy learns by SGD like all else, ten times as fast, where Adam at 1e-4 was planned.
* From step 1 of the ladder in `ROWS` on there are parts, so that each step adds one thing. Steps 2 and 3 have no
  teacher who reads whole pictures: their only branch reads both twins. So all from 2 on learn from the same.

At test time the student alone is compared, behind its necks: the whole, and the parts that win a cell.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halfseen.nets.branches import Branch, Look, Teacher
from halfseen.nets.patterns import KINDS, PATTERNS, Patterns
from halfseen.nets.purification import ALTERNATIVES, Agent
from halfseen.nets.reinforcement import Trial, erasures, left, policy_loss, watched
from halfseen.nets.trunk import Trunk
from halfseen.ops.distance import VisibleParts
from halfseen.ops.groupings import GROUPINGS, grouping_named
from halfseen.ops.kernel import check_choice
from halfseen.ops.losses import cosine_distillation, gilt, part_triplet, pixel_parts
from halfseen.ops.parts import grid_labels, grid_maps, part_labels, visible_parts
from halfseen.recipe import WHERE, Cue, Exhibit, Method, Recipe, Stage
from halfseen.types import Batch, Cues, Embedding, InputError

Handed: TypeAlias = Literal["raw", "normed"]
Attention: TypeAlias = Literal["learned", "fixed", "none"]
Pattern: TypeAlias = Literal["soft", "forced", "token", "none"]
Reads: TypeAlias = Literal["occluded", "holistic", "both"]
Teaching: TypeAlias = Literal["shared", "separate", "none"]

HEAT, SMOOTHING = 4.0, 0.1  # τ, and that of part labels, as in TSD
# λ1 to λ6 behind that of the part labels
WEIGHTS = {"pixels": 1.0, "mse": 1.0, "cosine": 1.0, "cosine_parts": 1.0, "kl": 0.1, "pattern": 0.1, "policy": 1.0}


@dataclass(frozen=True)
class Config:
    """The choices are explained above. `weights` of losses are by the names in `WEIGHTS`, those left out as there."""

    backbone: str = "vit_base_patch16_224.orig_in21k_ft_in1k"  # any plain ViT of timm's
    patch_stride: int | None = None  # pixels between patches; none: side by side
    drop_path: float = 0.1  # rate of stochastic depth
    parts: int | str = 8  # so many, or the name of a grouping
    attention: Attention = "learned"  # part maps: learned, the cues themselves, none
    pattern: Pattern = "soft"  # how the occluder's kind is told to the tokens
    student: Reads = "occluded"  # twins that it reads
    teacher: Teaching = "shared"  # blocks: all but the last shared, none, or no teacher
    handed: Handed = "raw"  # vectors that the student takes over: as they are, or behind their necks
    agent: Agent = field(default_factory=Agent)
    weights: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("attention", self.attention, Attention)
        check_choice("pattern", self.pattern, Pattern)
        check_choice("student", self.student, Reads)
        check_choice("teacher", self.teacher, Teaching)
        check_choice("handed", self.handed, Handed)
        object.__setattr__(self, "agent", Agent.of(self.agent))
        grouping_named(self.parts)  # which refuses what is none
        for name, weight in self.weights.items():
            if name not in WEIGHTS or not weight >= 0:
                raise InputError(f"weights gives {name!r} {weight}; give 0 or more to one of {', '.join(WEIGHTS)}")
        object.__setattr__(self, "weights", WEIGHTS | self.weights)
        self.agent.check_in(self)

    @property
    def grouping(self) -> str:
        return grouping_named(self.parts)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parts, in the order of their channels; none without attention."""
        return () if self.attention == "none" else tuple(name for name, _ in GROUPINGS[self.grouping])


class Output(NamedTuple):
    """What each branch makes of its pictures; at test time there is but a student."""

    student: Look
    patterns: Tensor | None = None  # [B,M+1]: logits, of all pictures that went through the student's trunk
    teacher: Look | None = None  # of whole pictures, the patches that were drawn erased
    target: Look | None = None  # the same with the likeliest erased: what the student is taught
    trial: Trial | None = None
    labels: Tensor | None = None  # [B,h,w]: the part of each patch, at test time where cues say it

    @property
    def logits(self) -> dict[str, Tensor]:
        return self.student.logits

    @property
    def maps(self) -> Tensor | None:
        return self.student.maps


class OGFR(nn.Module):
    """An occlusion-aware trunk and a student; with people also a teacher."""

    def __init__(
        self,
        config: Config,
        people: int,
        *,
        image: tuple[int, int] = (256, 128),
        weights: Path | Literal["hub", "none"] = "none",
    ) -> None:
        super().__init__()
        self.config, self.people = config, people
        self.backbone = trunk = Trunk(
            config.backbone, image=image, patch_stride=config.patch_stride, drop_path=config.drop_path, weights=weights
        )
        self.patterns = Patterns(trunk.dim) if config.pattern in ("soft", "forced") else None
        tokens = nn.init.trunc_normal_(torch.empty(PATTERNS, trunk.dim), std=0.02)
        self.tokens = nn.Parameter(tokens) if config.pattern == "token" else None
        parts, learned = len(config.names), config.attention == "learned"
        self.student, self.teacher = Branch(trunk, parts, people, learned=learned), None
        if people and config.teacher != "none":
            branch, separate = Branch(trunk, parts, people, learned=learned), config.teacher == "separate"
            self.teacher = Teacher(trunk, branch, config.agent, separate=separate)

    def forward(self, images: Tensor, cues: Cues | None = None) -> Output:
        """`images` [B,3,H,W], normalised; in training [2B,3,H,W], the occluded twins behind the whole pictures. `cues`
        are looked at where attention is fixed, and in training where patterns are forced."""
        where = (cues or Cues(), self.config.grouping, self.backbone.grid, (images.shape[2], images.shape[3]))
        fixed = self.config.attention == "fixed"
        maps = grid_maps(*where).to(images) if fixed else None
        if self.training and self.people:
            known = cues.occluder if cues and self.config.pattern == "forced" else None
            nobody = (grid_labels(*where) == 0).flatten(1) if self.config.agent.kind == "known" else None
            return self._taught(images, maps, known, nobody)
        tokens, patterns = self._below(images)
        return Output(self.student(self._top(tokens), maps), patterns, labels=grid_labels(*where) if fixed else None)

    def _taught(self, images: Tensor, maps: Tensor | None, known: Tensor | None, nobody: Tensor | None) -> Output:
        """The branches' looks at pairs: `images` [2B,3,H,W], `maps` [2B,K+1,h,w], `known` patterns [2B], and which
        patches are known to show `nobody`, bool [2B,N]."""
        read, whole = (side(which, len(images) // 2) for which in (self.config.student, "holistic"))
        shared = self.config.teacher == "shared"  # then the blocks below the last read all
        seen, taken = (slice(None), read) if shared else (read, slice(None))
        tokens, patterns = self._below(images[seen], _cut(known, seen))
        student = self.student(self._top(tokens[taken]), _cut(maps, read))
        if self.teacher is None:
            return Output(student, patterns)
        if self.teacher.trunk is not None:
            tokens = self.teacher.trunk.run(self.teacher.trunk.embed(images[whole]))
        positions = (self.teacher.trunk or self.backbone).positions
        looks = self.teacher(tokens[whole], positions, _cut(maps, whole), _cut(nobody, whole))
        return Output(student, patterns, *looks)

    def _below(self, images: Tensor, known: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The tokens [B,n,D] that go into the last block, and logits of the patterns [B,M+1], if they are predicted."""
        trunk, logits, block = self.backbone, None, self.backbone.depth // 3
        tokens = trunk.embed(images)
        if self.tokens is not None:
            tokens = torch.cat([tokens, self.tokens.expand(len(images), -1, -1)], 1)
        tokens = trunk.run(tokens, last=block)
        if self.patterns is not None:
            tokens, logits = self.patterns(tokens, known)
        return trunk.run(tokens, block, trunk.depth - 1), logits

    def _top(self, tokens: Tensor) -> Tensor:
        return self.backbone.norm(self.backbone.run(tokens, self.backbone.depth - 1))


def side(which: Reads, count: int) -> slice:
    """Those of `count` whole pictures and then as many twins that `which` names."""
    return {"holistic": slice(count), "occluded": slice(count, None), "both": slice(None)}[which]


def _cut(values: Tensor | None, rows: slice) -> Tensor | None:
    return None if values is None else values[rows]


def embed(out: Output) -> Embedding:
    """The student's vectors behind their necks: the whole, which is always seen, and the parts."""
    vectors, maps = out.student.normed, out.maps
    if maps is None:
        return Embedding.of(vectors["global"])
    seen = F.pad(shown(out, maps).float(), (1, 0), value=1.0)
    return Embedding(torch.cat([vectors["global"][:, None], vectors["parts"]], 1), seen)


def shown(out: Output, maps: Tensor) -> Tensor:
    """Which of the parts in `maps` [B,K+1,h,w] are seen, bool [B,K]: those that win a patch, or that cues give one."""
    return visible_parts(part_labels(maps) if out.labels is None else out.labels, maps.shape[1] - 1)


def losses(out: Output, batch: Batch, config: Config) -> dict[str, Tensor]:
    """Of both branches identities, triplets and part labels; what the student takes over; patterns; the policy."""
    if batch.partner is None:
        raise InputError("ogfr learns from pictures and their occluded twins; leave --recipe.twins as it is")
    both, labels = (batch, batch.partner), None
    read, whole = (side(which, len(batch.pids)) for which in (config.student, "holistic"))
    if out.maps is not None:
        (h, w), (H, W) = out.maps.shape[2:], batch.images.shape[2:]
        labels = torch.cat([grid_labels(each.cues, config.grouping, (h, w), (H, W)) for each in both])
    terms = identified(out.student, batch.pids.repeat(2)[read], _cut(labels, read))
    if out.teacher is not None and out.target is not None:
        own = identified(out.teacher, batch.pids, left(_cut(labels, whole), out.trial, config.agent))
        terms |= {f"teacher_{name}": term for name, term in own.items()}
        terms |= distilled(out.student, out.target, _cut(labels, read), config.handed)
    if out.patterns is not None:
        kinds = torch.cat([cast(Tensor, each.cues.occluder) for each in both])
        terms["pattern"] = F.cross_entropy(out.patterns, kinds if config.teacher == "shared" else kinds[read])
    if out.trial is not None and config.agent.kind == "trained":
        terms["policy"] = policy_loss(out.trial, batch.pids, config.agent)
    return {name: config.weights.get(name.removeprefix("teacher_"), 1.0) * term for name, term in terms.items()}


def identified(look: Look, pids: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
    """A branch's own losses; `labels` [B,h,w] are the parts of its patches."""
    table = dict.fromkeys(look.vectors, (1.0, 1.0))
    triplet = partial(part_triplet, margin=None)
    terms = gilt(table, look.vectors, look.logits, pids, smoothing=0.0, triplet=triplet)
    if look.pixels is not None and labels is not None:
        terms["pixels"] = pixel_parts(look.pixels, labels, SMOOTHING)
    return terms


def distilled(student: Look, target: Look, labels: Tensor | None, handed: Handed) -> dict[str, Tensor]:
    """How far the student, at its last pictures, is from the target, which is not taught. Parts count where `labels`
    [B,h,w] of the student's pictures show them."""
    count = len(target.vectors["global"])
    looks = (look.vectors if handed == "raw" else look.normed for look in (student, target))
    ours, theirs = ({name: v.float()[-count:] for name, v in look.items()} for look in looks)
    theirs = {name: vectors.detach() for name, vectors in theirs.items()}
    terms = {
        "mse": F.mse_loss(ours["global"], theirs["global"]),
        "cosine": cosine_distillation(ours["global"], theirs["global"]),
    }
    if labels is not None:
        seen = visible_parts(labels[-count:], ours["parts"].shape[1]).float()
        terms["cosine_parts"] = cosine_distillation(ours["parts"], theirs["parts"], seen)
    said, right = (look.logits["global"][-count:].float().div(HEAT).log_softmax(1) for look in (student, target))
    return terms | {"kl": HEAT**2 * F.kl_div(said, right.detach(), reduction="batchmean", log_target=True)}


def watch(out: Output, batch: Batch, config: Config) -> dict[str, Tensor]:
    """What the agent does, for the log."""
    return {} if out.trial is None else watched(out.trial, batch.pids, config.agent)


def shows(out: Output, config: Config) -> list[Exhibit]:
    """The student's parts and the patterns that it expects; in training, what the agent erases of whole pictures."""
    exhibits, twins = [], config.student == "occluded"
    if out.maps is not None:
        seen = shown(out, out.maps)
        exhibits.append(Exhibit("maps of parts as the student has them", "parts", config.names, out.maps, seen, twins))
    if out.patterns is not None:
        shares = out.patterns.softmax(1)
        exhibits.append(Exhibit("what it thinks hides the person", "bars", KINDS, shares, twins=twins))
    return exhibits if out.trial is None else exhibits + erasures(out.trial)


def needs(config: Config) -> dict[Stage, frozenset[Cue]]:
    """Part labels of any kind to learn from; at test time none, unless attention is fixed."""
    return {
        "train": frozenset() if config.attention == "none" and config.agent.kind != "known" else WHERE,
        "test": WHERE if config.attention == "fixed" else frozenset(),
    }


def varies(config: Config) -> dict[str, Any]:
    """What hangs on the config beside the network and its losses."""
    agent = config.agent
    return {"needs": needs(config), "rests": {} if agent.kind == "none" else {"agent.warmup": agent.warmup}}


def _rows() -> dict[str, Config]:
    """The ladder that the reconstruction is measured by, then the alternatives to its choices."""
    nobody = Agent(kind="none")
    alone: dict[str, Any] = {"teacher": "none", "agent": nobody}
    return {
        "0-global": Config(student="holistic", pattern="none", attention="none", **alone),
        "1-vit": Config(student="holistic", pattern="none", **alone),
        "2-occlusion": Config(student="both", pattern="none", **alone),
        "3-patterns": Config(student="both", **alone),
        "4-distillation": Config(agent=nobody),
        "5-random-erasure": Config(agent=Agent(kind="random")),
        "6-ogfr": Config(),
        "overlapping": Config(patch_stride=11),
        "occlusion-alone": Config(student="occluded", pattern="none", **alone),
        "student-reads-both": Config(student="both"),
        **{f"pattern-{kind}": Config(pattern=kind) for kind in ("none", "forced", "token")},
        "parts-from-cues": Config(attention="fixed"),
        "trunks-separate": Config(teacher="separate", student="both"),
        "handed-normed": Config(handed="normed"),
        **{name: Config(agent=agent) for name, agent in ALTERNATIVES.items()},
    }


ROWS = _rows()

RECIPE = Recipe(
    augment="ogfr",
    optimiser="sgd",
    lr=0.008,
    weight_decay=1e-4,
    bias_lr=2.0,
    warmup=5,
    warmup_from=0.01,
    schedule="cosine",
    final=0.002,
    speeds=(("teacher.purifier.policy", 10.0),),
    twins=True,
)

METHOD = Method(
    name="ogfr",
    title="OGFR (reconstruction): what misleads is erased, what remains is taught",
    config=Config,
    network=OGFR,
    embed=embed,
    losses=losses,
    recipe=RECIPE,
    distance=VisibleParts("unit-euclid"),
    **varies(Config()),
    varies=varies,
    rows=ROWS,
    watch=watch,
    shows=shows,
)
