"""OGFR's losses against loops, the rows of its ladder, and that it learns."""

from __future__ import annotations

import dataclasses
import json
import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from halfseen.methods import METHODS, ogfr
from halfseen.methods.ogfr import OGFR, ROWS, Config, Output
from halfseen.nets.branches import Look
from halfseen.nets.purification import Agent
from halfseen.recipe import learning_rate
from halfseen.types import Batch, Cues
from tiny_methods import IMAGE, PIDS, pictures, tiny_batch, tiny_config, tiny_cues, tiny_network, tiny_views, untouched

LADDER = ("1-vit", "2-occlusion", "3-patterns", "4-distillation", "5-random-erasure", "6-ogfr")
OWN = ["identity_global", "triplet_global", "identity_parts", "triplet_parts", "pixels"]
DISTILLED = ["mse", "cosine", "cosine_parts", "kl"]


def learned(**changes: Any) -> tuple[Config, Output]:
    """A config without drop path, and what its network, which is sure of things, makes of a tiny batch in training."""
    config: Config = tiny_config("ogfr", **{"drop_path": 0.0, **changes})
    network = tiny_network("ogfr", config)
    for name, value in network.named_parameters():
        if "classifier" in name:
            nn.init.normal_(value, std=0.3)
    out: Output = network(*tiny_views("ogfr"))
    return config, out


def two_sided() -> Batch:
    """A tiny batch whose twins show other parts than the whole pictures, some of them none at all."""
    batch = tiny_batch()
    labels = torch.randint(0, 9, (4, 4, 2), generator=torch.Generator().manual_seed(9))
    labels[labels > 5] = 0
    labels[3] = 0
    cues = Cues(parts=labels.repeat_interleave(16, 1).repeat_interleave(16, 2), occluder=torch.tensor([1, 2, 3, 5]))
    return dataclasses.replace(batch, partner=dataclasses.replace(batch, cues=cues))


def cells(cues: Cues) -> Tensor:
    """The parts of the 4×2 cells that tiny cues are made of."""
    assert cues.parts is not None
    return cues.parts[:, ::16, ::16]


def entropy(logits: list[float], right: int, smoothing: float = 0.0) -> float:
    total = math.log(math.fsum(map(math.exp, logits)))
    shares = [smoothing / len(logits) + (1 - smoothing) * (c == right) for c in range(len(logits))]
    return math.fsum(share * (total - x) for share, x in zip(shares, logits, strict=True))


def soft_triplet(parts: Tensor, pids: list[int]) -> float:
    """On the mean distance of `parts` [N,K,D]."""
    n, k = parts.shape[:2]
    d = [
        [math.fsum(math.dist(parts[i, p].tolist(), parts[j, p].tolist()) for p in range(k)) / k for j in range(n)]
        for i in range(n)
    ]
    total = 0.0
    for i in range(n):
        friend = max(d[i][j] for j in range(n) if pids[j] == pids[i] and j != i)
        stranger = min(d[i][j] for j in range(n) if pids[j] != pids[i])
        total += math.log1p(math.exp(friend - stranger))
    return total / n


def check_own(terms: dict[str, Tensor], before: str, look: Look, pids: list[int], labels: Tensor) -> None:
    for name in ("global", "parts"):
        rows = look.logits[name].tolist()
        want = math.fsum(entropy(row, pid) for row, pid in zip(rows, pids, strict=True)) / len(pids)
        assert terms[f"{before}identity_{name}"].item() == pytest.approx(want, rel=1e-5)
        vectors = look.vectors[name].detach()
        want = soft_triplet(vectors if vectors.ndim == 3 else vectors[:, None], pids)
        assert terms[f"{before}triplet_{name}"].item() == pytest.approx(want, rel=1e-4)
    assert look.pixels is not None
    logits = look.pixels.permute(0, 2, 3, 1).flatten(0, 2).tolist()
    pixels = [entropy(row, int(part), 0.1) for row, part in zip(logits, labels.flatten(), strict=True)]
    assert terms[f"{before}pixels"].item() == pytest.approx(math.fsum(pixels) / len(pixels), rel=1e-5)


@pytest.mark.parametrize("student", ["holistic", "occluded", "both"])
def test_each_branch_learns_people_and_parts_of_the_pictures_that_it_reads(student: str) -> None:
    config, out = learned(student=student)
    batch = two_sided()
    assert batch.partner is not None
    terms = ogfr.losses(out, batch, config)
    assert list(terms) == [*OWN, *(f"teacher_{name}" for name in OWN), *DISTILLED, "pattern", "policy"]
    whole, hidden = cells(batch.cues), cells(batch.partner.cues)
    labels = {"holistic": whole, "occluded": hidden, "both": torch.cat([whole, hidden])}[student]
    pids = PIDS.tolist() * (2 if student == "both" else 1)
    check_own(terms, "", out.student, pids, labels)
    assert out.teacher is not None
    check_own(terms, "teacher_", out.teacher, PIDS.tolist(), whole)


def cosine(a: list[float], b: list[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


@pytest.mark.parametrize("handed", ["raw", "normed"])
@pytest.mark.parametrize("student", ["occluded", "both"])
def test_what_the_student_takes_over_of_the_target(student: str, handed: str) -> None:
    config, out = learned(student=student, handed=handed)
    batch = two_sided()
    assert batch.partner is not None
    assert out.target is not None
    terms = ogfr.losses(out, batch, config)
    us, them = (look.vectors if handed == "raw" else look.normed for look in (out.student, out.target))
    mse = cos = kl = parts = 0.0
    seen = 0
    for row in range(4):
        ours, theirs = us["global"][row - 4].tolist(), them["global"][row].tolist()
        mse += math.dist(ours, theirs) ** 2 / len(ours) / 4
        cos += (1 - cosine(ours, theirs)) / 4
        said, right = (look.logits["global"][at].tolist() for look, at in ((out.student, row - 4), (out.target, row)))
        q = torch.tensor(right).div(4).softmax(0).tolist()
        cross, own = (
            math.fsum(-share * x for share, x in zip(q, logs, strict=True)) for logs in (logged(said), logged(right))
        )
        kl += 16 * (cross - own) / 4
        for part in range(8):
            if (cells(batch.partner.cues)[row] == part + 1).any():
                pair = us["parts"][row - 4, part].tolist(), them["parts"][row, part].tolist()
                parts, seen = parts + 1 - cosine(*pair), seen + 1
    got = [terms[name].item() for name in DISTILLED]
    assert 0 < seen < 20
    assert got == pytest.approx([mse, cos, parts / seen, 0.1 * kl], rel=1e-4, abs=1e-7)


def logged(logits: list[float]) -> list[float]:
    """Their log-softmax at a temperature of 4."""
    total = math.log(math.fsum(math.exp(x / 4) for x in logits))
    return [x / 4 - total for x in logits]


@pytest.mark.parametrize(
    ("teacher", "student"), [("shared", "occluded"), ("none", "both"), ("none", "occluded"), ("separate", "both")]
)
def test_patterns_are_told_of_all_pictures_that_the_trunk_saw(teacher: str, student: str) -> None:
    agent = Agent(kind="none") if teacher == "none" else Agent(warmup=0)
    config, out = learned(teacher=teacher, student=student, agent=agent)
    kinds = [1, 2, 3, 5] if (teacher, student) == ("none", "occluded") else [0, 0, 0, 0, 1, 2, 3, 5]
    assert out.patterns is not None
    want = math.fsum(entropy(row, kind) for row, kind in zip(out.patterns.tolist(), kinds, strict=True)) / len(kinds)
    assert ogfr.losses(out, two_sided(), config)["pattern"].item() == pytest.approx(0.1 * want, rel=1e-5)


def test_weights_are_those_of_the_config_and_else_the_planned_ones() -> None:
    assert Config(weights={"kl": 2.0}).weights == {**ogfr.WEIGHTS, "kl": 2.0}
    config, out = learned()
    plain, heavy = (
        ogfr.losses(out, tiny_batch(), Config(agent=config.agent, weights=w))
        for w in ({}, dict.fromkeys(ogfr.WEIGHTS, 3.0))
    )
    for name, term in plain.items():
        factor = 3 / ogfr.WEIGHTS.get(name.removeprefix("teacher_"), 3.0)
        torch.testing.assert_close(heavy[name], factor * term)


def test_the_embedding_is_the_student_behind_its_necks_and_parts_are_seen_that_win_a_cell() -> None:
    network = tiny_network("ogfr", tiny_config("ogfr"))
    with torch.no_grad():
        out = network.eval()(pictures(3))
        maps = torch.full((3, 9, 4, 2), 0.05)
        maps[:, 0] = 0.2
        maps[0, 4, 1, 1], maps[1, 8, 3, 0], maps[1, 1, 0, 0] = 0.3, 0.6, 0.19
        out = out._replace(student=out.student._replace(maps=maps))
    embedding = METHODS["ogfr"].embed(out)
    assert torch.equal(embedding.vectors[:, 0], out.student.normed["global"])
    assert torch.equal(embedding.vectors[:, 1:], out.student.normed["parts"])
    norm = network.get_submodule("student.necks.norms.parts").eval()
    torch.testing.assert_close(embedding.vectors[:, 1:].flatten(1), norm(out.student.vectors["parts"].flatten(1)))
    want = torch.zeros(3, 9)
    want[[0, 0, 1, 1, 2], [0, 4, 0, 8, 0]] = 1
    assert torch.equal(embedding.visibility, want)


# --- The rows ---


def small(row: Config) -> Config:
    """`row` on a small trunk, without its warm-up."""
    stride = 12 if row.patch_stride else None
    return dataclasses.replace(
        row, backbone="test_vit", patch_stride=stride, agent=dataclasses.replace(row.agent, warmup=0)
    )


@pytest.mark.parametrize("name", ROWS)
def test_each_row_builds_steps_and_is_tested_without_what_only_training_needs(name: str) -> None:
    config = small(ROWS[name])
    assert Config(**json.loads(json.dumps(dataclasses.asdict(ROWS[name])))) == ROWS[name]
    network = tiny_network("ogfr", config)
    terms = ogfr.losses(network(*tiny_views("ogfr")), tiny_batch(), config)
    loss = torch.stack([*terms.values()]).sum()
    assert loss.isfinite()
    assert untouched(network, loss) == []
    bare = tiny_network("ogfr", config, people=0)
    kept = {key: value for key, value in network.state_dict().items() if key in bare.state_dict()}
    bare.load_state_dict(kept)
    cues = tiny_cues(2) if METHODS["ogfr"].of(config).needs["test"] else None
    with torch.no_grad():
        want, got = (METHODS["ogfr"].embed(each.eval()(pictures(2), cues)) for each in (network, bare))
    assert torch.equal(want.vectors, got.vectors)
    assert torch.equal(want.visibility, got.visibility)


def test_each_step_of_the_ladder_adds_one_thing() -> None:
    def told(row: Config) -> dict[str, Any]:
        flat = dataclasses.asdict(row)
        return flat | {f"agent.{name}": value for name, value in flat.pop("agent").items()}

    steps = []
    for before, after in pairwise(LADDER):
        one, other = told(ROWS[before]), told(ROWS[after])
        steps.append([name for name in one if name != "agent" and one[name] != other[name]])
    assert steps == [
        ["student"],
        ["pattern"],
        ["student", "teacher"],
        ["agent.kind"],
        ["agent.kind"],
    ]
    assert ROWS["6-ogfr"] == Config()


def test_an_agent_rests_and_nobody_does_not() -> None:
    method = METHODS["ogfr"]
    assert method.rests == {"agent.warmup": 2400}
    assert method.of(ROWS["5-random-erasure"]).rests == {"agent.warmup": 2400}
    assert method.of(ROWS["4-distillation"]).rests == {}


def test_needs_follow_the_attention() -> None:
    method = METHODS["ogfr"]
    assert method.needs["test"] == frozenset()
    assert method.of(ROWS["0-global"]).needs == {"train": frozenset(), "test": frozenset()}
    assert "keypoints" in method.of(ROWS["parts-from-cues"]).needs["test"]
    assert method.of(ROWS["1-vit"]).needs["train"] == {"parts", "fields", "keypoints"}


def test_C10_the_recipe_is_the_transformers_with_pairs_and_a_faster_policy() -> None:
    recipe, vit = METHODS["ogfr"].recipe, METHODS["vit"].recipe
    assert recipe.twins
    assert recipe.augment == "ogfr"
    assert [learning_rate(recipe, e) for e in (0, 5, 60, 120)] == [learning_rate(vit, e) for e in (0, 5, 60, 120)]
    ((beginning, factor),) = recipe.speeds
    network = tiny_network("ogfr", tiny_config("ogfr"))
    names = [name for name, _ in network.named_parameters() if name.startswith(beginning)]
    assert len(names) == 4
    assert factor == 10


# --- Learning ---


def people(count: int) -> Tensor:
    """Whole pictures of as many people, two each, and their twins behind a grey strip: float [4·count,3,64,32]."""
    random = torch.Generator().manual_seed(0)
    colours = torch.randn(count, 3, 8, 1, generator=random).repeat_interleave(2, 0)
    whole = colours.repeat_interleave(8, 2).expand(-1, -1, -1, IMAGE[1]).clone()
    whole += 0.3 * torch.randn(whole.shape, generator=random)
    hidden = whole.clone()
    hidden[:, :, :, :12] = 0
    return torch.cat([whole, hidden])


def test_it_learns_people_patterns_and_to_agree_with_its_teacher() -> None:
    torch.manual_seed(0)
    config = tiny_config("ogfr", drop_path=0.0, agent={"warmup": 10, "rate": 0.3})
    network = OGFR(config, 4, image=IMAGE)
    images, pids = people(4), torch.arange(4).repeat_interleave(2)
    labels, kinds = tiny_cues(8).parts, torch.zeros(8, dtype=torch.int64)
    empty = torch.zeros(8, 3, *IMAGE, dtype=torch.uint8)
    hidden = Batch(empty, pids, kinds, Cues(parts=labels, occluder=kinds + 1))
    batch = Batch(empty, pids, kinds, Cues(parts=labels, occluder=kinds), hidden)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
    course: list[dict[str, float]] = []
    for step in range(40):
        torch.manual_seed(step)
        terms = ogfr.losses(network(images), batch, config)
        optimiser.zero_grad()
        torch.autograd.backward(torch.stack([*terms.values()]).sum())
        optimiser.step()
        course.append({name: term.item() for name, term in terms.items()})
    for name in ("identity_global", "identity_parts", "teacher_identity_global", "pattern", "pixels"):
        assert course[-1][name] < 0.6 * course[0][name], name
    assert course[-1]["cosine"] < 0.5 * max(step["cosine"] for step in course)
    assert all(step["policy"] == 0 for step in course[:10])
    assert all(step["policy"] != 0 for step in course[10:])
