"""What PGFL-KD minimises, who learns from whom, its configurations and the rows of its tables."""

from __future__ import annotations

import math
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from halfseen.methods import METHODS, pgfl_kd
from halfseen.methods.pgfl_kd import Config, consistency, contrastive
from halfseen.ops.losses import batch_hard, pairwise_euclid
from halfseen.types import Batch, InputError
from tiny_methods import IMAGE, PIDS, pictures, thin, tiny_batch, tiny_config, tiny_cues, tiny_network

MIRROR = [0, 2, 1, 4, 3, 6, 5, 7]  # of head, lower arms, knees, ankles, torso
JOINTS = {"keypoints", "fields"}


@pytest.fixture
def _thin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pgfl_kd, "make_backbone", thin)


def vectors(seed: int, images: int = 3, length: int = 2) -> tuple[Tensor, Tensor]:
    """f_G and f_P [B,8·length], in double precision."""
    dice = torch.Generator().manual_seed(seed)
    one, other = (torch.randn(images, 8 * length, generator=dice, dtype=torch.float64) for _ in "GP")
    return one.requires_grad_(), other.relu().requires_grad_()


def terms_of(config: Config, images: int = 4) -> tuple[pgfl_kd.Output, dict[str, Tensor]]:
    network = tiny_network("pgfl_kd", config)
    out: pgfl_kd.Output = network(pictures(images), tiny_cues(images))
    return out, pgfl_kd.losses(out, tiny_batch(), config)


def slopes_of(loss: Tensor, *inputs: Tensor) -> list[Tensor | None]:
    return list(torch.autograd.grad(loss, inputs, retain_graph=True, allow_unused=True))


@pytest.mark.usefixtures("_thin")
def test_K2_consistency_is_the_foreground_s_square_and_pushes_along_it() -> None:
    out, terms = terms_of(Config(lambda_cl=1.0))
    front = out.vectors["foreground"]
    want = math.fsum(value**2 for row in front.tolist() for value in row) / 4
    assert terms["consistency"].item() == pytest.approx(want, rel=1e-5)
    along, to_front, to_enhanced = slopes_of(
        terms["consistency"], out.vectors["global"], front, out.vectors["enhanced"]
    )
    assert along is not None
    torch.testing.assert_close(along, -2 * front / 4)
    assert to_front is None
    assert to_enhanced is None


def contrast_by_loop(whole: Tensor, parts: Tensor, temperature: float, unit: bool) -> float:
    """Eq. 5 word by word."""
    total, length = [], whole.shape[1] // 8
    for g, p in zip(whole.tolist(), parts.tolist(), strict=True):
        places, teachers = ([row[length * k : length * (k + 1)] for k in range(8)] for row in (g, p))
        if unit:
            places, teachers = ([[x / (math.hypot(*v) or 1) for x in v] for v in side] for side in (places, teachers))
        for i in range(8):
            likes = [
                math.exp(math.fsum(a * b for a, b in zip(places[j], teachers[i], strict=True)) / temperature)
                for j in range(8)
            ]
            own = math.fsum(likes[j] for j in {i, MIRROR[i]})
            total.append(-math.log(own / math.fsum(likes)))
    return math.fsum(total) / len(whole)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 999), temperature=st.sampled_from([0.5, 1.0, 3.0]), unit=st.booleans())
def test_eq5_equals_the_loop(seed: int, temperature: float, unit: bool) -> None:
    whole, parts = vectors(seed)
    parts = parts + 0.1 if unit else parts
    loss = contrastive(whole, parts, temperature, unit=unit)
    assert loss.item() == pytest.approx(contrast_by_loop(whole, parts, temperature, unit), rel=1e-9)
    assert loss >= 0  # K4


def test_K4_no_loss_is_left_where_parts_find_only_themselves_or_their_mirror_image() -> None:
    teacher = 20 * torch.eye(8).flatten()[None]  # part k has length 8 and points along axis k
    assert contrastive(teacher, teacher, 1.0) < 1e-6
    mirrored = 20 * torch.eye(8)[MIRROR].flatten()[None]
    assert contrastive(mirrored, teacher, 1.0) < 1e-6
    moved = 20 * torch.eye(8).roll(1, 0).flatten()[None]
    assert contrastive(moved, teacher, 1.0) > 100


def test_K4_left_and_right_may_change_places_on_both_sides() -> None:
    whole, parts = vectors(5, length=4)
    one, other = (x.view(3, 8, 4)[:, MIRROR].flatten(1) for x in (whole, parts))
    torch.testing.assert_close(contrastive(one, other, 1.0), contrastive(whole, parts, 1.0))


@pytest.mark.parametrize("part", [0, 7])
def test_K4_head_and_torso_are_plain_cross_entropies(part: int) -> None:
    whole, parts = vectors(6, images=1, length=3)
    alone = torch.zeros(8, 3, dtype=torch.float64)
    alone[part] = parts.view(8, 3)[part].detach()  # what is 0 is equally like all eight
    scores = whole.view(8, 3) @ alone[part]
    entropy = F.cross_entropy(scores[None], torch.tensor([part]))
    rest = math.log(8) + 6 * math.log(8 / 2)  # the other of head and torso, and three pairs
    torch.testing.assert_close(contrastive(whole, alone.view(1, 24), 1.0), entropy + rest)


@pytest.mark.parametrize("unit", [False, True])
def test_K4_the_teacher_learns_nothing_and_the_student_s_slope_is_right(unit: bool) -> None:
    whole, parts = vectors(7)
    to_whole, to_parts = slopes_of(contrastive(whole, parts + 0.1, 0.5, unit=unit), whole, parts)
    assert to_whole is not None
    assert to_whole.abs().max() > 0
    assert to_parts is None
    assert gradcheck(lambda g: contrastive(g, parts.detach() + 0.1, 0.5, unit=unit), (whole,))
    assert gradcheck(lambda g: consistency(g, parts.detach()), (whole,))


def test_large_and_coarse_vectors_give_finite_losses() -> None:
    whole, parts = ((1e4 * x).half().detach() for x in vectors(8))
    loss = contrastive(whole, parts, 1.0)
    assert loss.dtype == torch.float32
    assert loss.isfinite()


@pytest.mark.usefixtures("_thin")
def test_eq10_has_identities_and_triplets_of_three_vectors_and_two_weighted_lessons() -> None:
    config = Config(lambda_cl=0.5, lambda_mcl=2.0)
    out, terms = terms_of(config)
    kinds = ("global", "enhanced", "fused")
    assert set(terms) == {f"{loss}_{kind}" for loss in ("identity", "triplet") for kind in kinds} | {
        "consistency",
        "parts",
    }
    made = {name: vector.detach().double() for name, vector in out.vectors.items()}
    contrast = contrast_by_loop(made["global"], made["aligned"], 1.0, unit=False)
    assert terms["parts"].item() == pytest.approx(2 * contrast, rel=1e-4)
    gaps = (made["global"] - made["enhanced"]).square().sum(1).tolist()
    assert terms["consistency"].item() == pytest.approx(0.5 * math.fsum(gaps) / 4, rel=1e-4)
    for kind in kinds:
        entropy = []
        for row, pid in zip(out.logits[kind].tolist(), PIDS.tolist(), strict=True):
            log_total = math.log(math.fsum(map(math.exp, row)))
            q = [0.1 / 3 + 0.9 * (c == pid) for c in range(3)]
            entropy.append(math.fsum(share * (log_total - x) for share, x in zip(q, row, strict=True)))
        assert terms[f"identity_{kind}"].item() == pytest.approx(math.fsum(entropy) / 4, rel=1e-5)
        triplet = batch_hard(pairwise_euclid(out.vectors[kind], out.vectors[kind]), PIDS, 0.3)
        torch.testing.assert_close(terms[f"triplet_{kind}"], triplet)


@pytest.mark.usefixtures("_thin")
def test_lessons_teach_the_global_vector_alone() -> None:
    out, terms = terms_of(Config())
    for name in ("consistency", "parts"):
        to_global, *others = slopes_of(
            terms[name], *(out.vectors[n] for n in ("global", "enhanced", "fused", "aligned"))
        )
        assert to_global is not None
        assert others == [None, None, None]
    for kind in ("enhanced", "fused"):  # the branches do teach the backbone
        network = tiny_network("pgfl_kd", Config(reid=(kind,), lambda_cl=0, lambda_mcl=0))
        made = network(pictures(4), tiny_cues(4))
        loss = pgfl_kd.losses(made, tiny_batch(), Config(reid=(kind,), lambda_cl=0, lambda_mcl=0))[f"identity_{kind}"]
        (slope,) = slopes_of(loss, network.get_parameter("backbone.layer.weight"))
        assert slope is not None
        assert slope.abs().max() > 0


@pytest.mark.usefixtures("_thin")
@pytest.mark.parametrize("kind", ["contrastive", "consistency"])
@pytest.mark.parametrize("lengths", ["own", "unit"])
def test_lessons_are_about_vectors_or_their_directions(
    kind: Literal["contrastive", "consistency"], lengths: Literal["own", "unit"]
) -> None:
    contrast: dict[str, Any] = {"temperature": 0.5} if kind == "contrastive" else {}
    config = Config(parts_loss=kind, lengths=lengths, lambda_cl=1.0, lambda_mcl=1.0, **contrast)
    out, terms = terms_of(config)
    made = {name: vector.detach().double() for name, vector in out.vectors.items()}

    def gap(name: str) -> float:
        one, other = made["global"], made[name]
        if lengths == "unit":
            one, other = (x / x.norm(dim=1, keepdim=True).clamp(min=1e-12) for x in (one, other))
        return float((one - other).square().sum()) / 4

    assert terms["consistency"].item() == pytest.approx(gap("enhanced"), rel=1e-4)
    told = contrast_by_loop(made["global"], made["aligned"], 0.5, unit=lengths == "unit")
    assert terms["parts"].item() == pytest.approx(told if kind == "contrastive" else gap("aligned"), rel=1e-4)


def test_a_lesson_of_directions_leaves_the_length_alone() -> None:
    whole, parts = vectors(8)
    for lesson in (consistency(whole, parts, unit=True), contrastive(whole, parts, 1.0, unit=True)):
        (slope,) = slopes_of(lesson, whole)
        assert slope is not None
        torch.testing.assert_close(
            (slope * whole).sum(1), torch.zeros(len(whole), dtype=whole.dtype), atol=1e-6, rtol=0
        )
        assert slope.abs().max() > 1e-4


def test_losses_want_joints() -> None:
    config = tiny_config("pgfl_kd")
    network = tiny_network("pgfl_kd", config)
    with pytest.raises(InputError, match="no cue says where these people's joints are, and losses want vectors"):
        pgfl_kd.losses(network(pictures(4)), tiny_batch(), config)


def test_losses_fall_on_people_who_wear_a_colour_above_and_one_below() -> None:
    looks = torch.randn(3, 3, 2, generator=torch.Generator().manual_seed(1))
    pids = torch.arange(3).repeat_interleave(4)
    torch.manual_seed(0)
    network = METHODS["pgfl_kd"].network(tiny_config("pgfl_kd"), 3, image=IMAGE)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    totals = []
    for step in range(30):
        images = looks[pids].repeat_interleave(32, 2)[..., None] + 0.3 * pictures(12, seed=step)
        batch = Batch(torch.zeros_like(images, dtype=torch.uint8), pids, torch.zeros_like(pids), tiny_cues(12))
        terms = pgfl_kd.losses(network(images, batch.cues), batch, Config())
        totals.append(sum(value.item() for name, value in terms.items() if name != "consistency"))  # which cannot
        optimiser.zero_grad()
        torch.autograd.backward(torch.stack([*terms.values()]).sum())
        optimiser.step()
    assert sum(totals[-5:]) < 0.7 * sum(totals[:5])
