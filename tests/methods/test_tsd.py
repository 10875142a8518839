"""TSD, equation by equation: masks, teacher and student, where gradients pass, and the losses against loops."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import oracles
from halfseen.methods import tsd
from halfseen.methods.tsd import ROWS, TSD, Config, Output
from halfseen.nets.attention import Decoder, Memory
from halfseen.nets.heads import Seen
from halfseen.nets.trunk import Trunk
from halfseen.ops.losses import focal, pixel_parts
from halfseen.types import Cues
from tiny_methods import IMAGE, PIDS, pictures, tiny_batch, tiny_config, tiny_cues, tiny_network

PARTS = 8
SIDES = (0, 1, 1, 2, 3, 3, 4, 4)  # of eight: head, arms, torso, legs, feet
ALL_LOSSES = [
    *(f"{kind}_{name}" for name in ("global", "student", "teacher", "pooled") for kind in ("identity", "triplet")),
    *("distillation", "diversity", "pixels", "visibility"),
]


def drawn(people: int = 3, **changes: Any) -> TSD:
    """A TSD without drop path whose maps are not nearly even, as those of a new one are."""
    network = tiny_network("tsd", tiny_config("tsd", **{"drop_path": 0.0, **changes}), people)
    assert isinstance(network, TSD)
    if hasattr(network, "pixels"):
        nn.init.normal_(network.pixels.classifier.weight, std=0.5)
    return network


class Spy:
    """Notes what the decoder is asked, in order: with the student's call first, then the teacher's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[Tensor, Memory, Tensor | None]] = []
        answer = Decoder.answer

        def noted(decoder: Decoder, asked: Tensor, memory: Memory, masks: Tensor | None = None) -> Tensor:
            self.calls.append((asked, memory, masks))
            return answer(decoder, asked, memory, masks)

        monkeypatch.setattr(Decoder, "answer", noted)

    @property
    def masks(self) -> Tensor:
        (_, _, free), (_, _, masks) = self.calls
        assert free is None
        assert masks is not None
        return masks


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    return Spy(monkeypatch)


def slope(loss: Tensor, parameter: Tensor) -> float:
    """The largest gradient that `loss` gives `parameter`; 0 if it does not reach it."""
    (found,) = torch.autograd.grad(loss, parameter, retain_graph=True, allow_unused=True)
    return 0.0 if found is None else found.abs().max().item()


def terms_of(network: TSD, out: Output) -> dict[str, Tensor]:
    return tsd.losses(out, tiny_batch(), network.config)


def test_eq9_masks_are_the_softmax_of_a_linear_layer_behind_a_normalisation() -> None:
    network = drawn()
    out = network(pictures(4))
    assert out.pixels is not None
    mean, variance = out.cells.mean((0, 2, 3), keepdim=True), out.cells.var((0, 2, 3), unbiased=False, keepdim=True)
    normed = (out.cells - mean) / (variance + 1e-5).sqrt()
    logits = torch.einsum("bdhw,kd->bkhw", normed, network.pixels.classifier.weight[:, :, 0, 0])
    assert network.pixels.classifier.bias is None
    torch.testing.assert_close(out.pixels, logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("background", [False, True])
def test_T1_the_teacher_looks_at_its_likeliest_patches_alone(spy: Spy, background: bool) -> None:
    network = drawn(background=background)
    spy.calls.clear()
    out = network(pictures(4))
    assert out.pixels is not None
    first = 0 if background else 1
    assert spy.masks.shape == (4, PARTS + 1 - first, 8)
    for image in range(4):
        for cell in range(8):
            scores = out.pixels[image, :, cell // 2, cell % 2].tolist()
            for query in range(spy.masks.shape[1]):
                assert bool(spy.masks[image, query, cell]) == (scores[query + first] == max(scores))
    asked, memory, masks = spy.calls[1]
    assert masks is not None
    shares = network.decoder.look.shares(asked, memory, masks)
    somewhere = masks.any(-1)
    assert shares.transpose(1, 2)[somewhere].transpose(1, 2)[~masks[somewhere]].eq(0).all()
    torch.testing.assert_close(shares.sum(-1), torch.ones(shares.shape[:3]))
    assert not somewhere.all()  # parts that own no patch are among them
    assert out.vectors["teacher"].isfinite().all()


def test_T1_masks_may_be_fixed_by_cues_and_thrown_by_chance(spy: Spy) -> None:
    cues = tiny_cues(4)
    assert cues.parts is not None
    network = drawn(masks="fixed")
    spy.calls.clear()
    network(pictures(4), Cues(parts=cues.parts))
    labels = cues.parts[:, ::16, ::16].flatten(1)
    for part in range(PARTS):
        assert torch.equal(spy.masks[:, part], labels == part + 1)
    network = drawn(masks="bernoulli")
    out = network(pictures(4))
    assert out.pixels is not None
    throws = [network._masks(out.pixels, None, IMAGE) for _ in range(400)]
    assert not torch.equal(throws[0], throws[1])
    maps = out.pixels.softmax(1)[:, 1:].flatten(2)
    shares = torch.stack(throws).float().mean(0)
    assert (shares - maps).abs().max() < 0.12  # 4.8 standard deviations


def test_a_cell_is_somebodys_from_the_share_that_the_config_says(spy: Spy) -> None:
    """In fixed masks, in the labels of pixels, and in what is taught to be seen."""
    parts = torch.zeros(4, 64, 32, dtype=torch.uint8)
    parts[:, :16, :6] = 3  # of the first cell six of 16 columns, of the others nothing
    cues = Cues(parts=parts)
    for person, owned in ((0.5, False), (0.37, True)):
        network = drawn(masks="fixed", seen=Seen(person=person))
        spy.calls.clear()
        network(pictures(4), cues)
        assert spy.masks.sum().item() == 4 * owned
        assert bool(spy.masks[:, 2, 0].all()) is owned
        learning = drawn(seen=Seen(person=person))
        out = learning(pictures(4))
        assert out.pixels is not None
        assert out.seen is not None
        losses = tsd.losses(out, tiny_batch(cues), learning.config)
        labels = torch.zeros(4, 4, 2, dtype=torch.int64)
        labels[:, 0, 0] = 3 * owned
        torch.testing.assert_close(losses["pixels"], pixel_parts(out.pixels, labels, 0.1))
        shown = (torch.arange(PARTS) == 2).expand(4, -1) & owned
        torch.testing.assert_close(losses["visibility"], focal(out.seen, shown, 0.25))


def test_T2_masks_of_ones_make_the_teacher_the_student_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    network = drawn()
    monkeypatch.setattr(TSD, "_masks", lambda *_: torch.ones(4, PARTS, 8, dtype=torch.bool))
    out = network(pictures(4))
    assert torch.equal(out.vectors["teacher"], out.vectors["student"])
    assert torch.equal(out.logits["teacher"], out.logits["student"])
    assert terms_of(network, out)["distillation"].item() == pytest.approx(0, abs=1e-6)
    monkeypatch.undo()
    out = network(pictures(4))
    assert not torch.allclose(out.vectors["teacher"], out.vectors["student"])
    assert terms_of(network, out)["distillation"] > 1e-4


def test_T3_the_teacher_has_no_parameter_of_its_own() -> None:
    alone, taught = drawn(terms=ROWS["3-m1"].terms), drawn(terms=ROWS["3-m2"].terms, masks="fixed")
    assert alone.state_dict().keys() == taught.state_dict().keys()
    out = taught(pictures(4), tiny_cues(4))
    for name in ("student", "teacher"):
        slopes = torch.autograd.grad(
            out.vectors[name].square().sum(), list(taught.decoder.parameters()), retain_graph=True
        )
        assert all(found.abs().max() > 0 for found in slopes)
    learned = drawn().state_dict().keys() - alone.state_dict().keys()
    assert {name.split(".")[0] for name in learned if not name.startswith("necks")} == {"pixels"}
    assert {name.split(".")[2] for name in learned if name.startswith("necks")} == {"pooled"}


def test_T4_distillation_reaches_neither_the_teacher_nor_the_masks() -> None:
    network = drawn()
    out = network(pictures(4))
    loss = terms_of(network, out)["distillation"]
    assert slope(loss, out.vectors["teacher"]) == 0
    assert slope(loss, network.pixels.classifier.weight) == 0
    assert slope(loss, out.vectors["student"]) > 0
    assert slope(loss, network.decoder.queries) > 0
    both = drawn(detached=("class", "maps"))
    out = both(pictures(4))
    assert slope(terms_of(both, out)["distillation"], out.vectors["teacher"]) > 0


@pytest.mark.parametrize("masks", ["argmax", "bernoulli"])
def test_T4_the_mask_generator_learns_from_its_own_three_losses_alone(masks: str) -> None:
    network = drawn(masks=masks, diversity=("relu", "sides", "pooled"))
    terms = terms_of(network, network(pictures(4)))
    own = {"identity_pooled", "triplet_pooled", "pixels"}
    others = torch.stack([term for name, term in terms.items() if name not in own]).sum()
    assert slope(others, network.pixels.classifier.weight) == 0
    assert all(slope(terms[name], network.pixels.classifier.weight) > 0 for name in own)


def test_T4_maps_in_the_diversity_of_pooled_parts_learn_only_where_they_are_not_detached() -> None:
    network = drawn(diversity=("pooled",), detached=("class", "teacher"))
    out = network(pictures(4))
    assert torch.equal(out.vectors["loose"], out.vectors["pooled"])
    assert slope(terms_of(network, out)["diversity"], network.pixels.classifier.weight) > 0


@pytest.mark.parametrize("patches", ["final", "early"])
def test_T5_the_class_token_is_heard_and_learns_nothing_from_it(patches: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Tensor] = []
    ask = Decoder.ask

    def noted(decoder: Decoder, cls: Tensor) -> Tensor:
        heard.append(cls)
        return ask(decoder, cls)

    monkeypatch.setattr(Decoder, "ask", noted)
    network = drawn(patches=patches)
    before = network(pictures(4)).vectors["student"]
    drawn(patches=patches, detached=())(pictures(4))
    assert [cls.requires_grad for cls in heard] == [False, False, True, True]
    monkeypatch.setattr(Decoder, "ask", lambda decoder, cls: ask(decoder, cls.roll(1, 0)))
    assert not torch.allclose(network(pictures(4)).vectors["student"], before)


def test_T6_queries_are_told_apart_by_nothing_but_themselves() -> None:
    network, order = drawn().eval(), [3, 1, 0, 2, 7, 5, 6, 4]
    with torch.no_grad():
        before = network(pictures(2))
        network.decoder.queries.copy_(network.decoder.queries[order].clone())
        after = network(pictures(2))
    torch.testing.assert_close(after.vectors["student"], before.vectors["student"][:, order], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after.attention, before.attention[:, order], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(before.vectors["student"][:, 0], before.vectors["student"][:, 1])


def test_T9_diversity_is_of_the_teacher_and_may_leave_left_and_right_alone() -> None:
    network = drawn()
    out = network(pictures(4))
    parts = out.vectors["teacher"].detach()
    every = [(i, j) for i in range(PARTS) for j in range(PARTS) if i != j]
    cosines = {(i, j): [oracles.cosine(p[i].tolist(), p[j].tolist()) for p in parts] for i, j in every}
    plain = math.fsum(map(math.fsum, cosines.values())) / (4 * 56)
    assert terms_of(network, out)["diversity"].item() == pytest.approx(plain, rel=1e-4)
    apart = [pair for pair in every if SIDES[pair[0]] != SIDES[pair[1]]]
    assert len(apart) == 50
    mean = math.fsum(math.fsum(cosines[pair]) for pair in apart) / (4 * 50)
    assert tsd.diverse(parts, Config(diversity=("sides",))).item() == pytest.approx(mean, rel=1e-4)
    opposite = torch.stack([parts[:, 0], -parts[:, 0]], 1).repeat(1, 4, 1)
    assert tsd.diverse(opposite, Config()).item() == pytest.approx((24 - 32) / 56, rel=1e-4)
    assert tsd.diverse(opposite, Config(diversity=("relu",))).item() == pytest.approx(24 / 56, rel=1e-4)


def test_T9_pooled_parts_may_be_diverse_too() -> None:
    network = drawn(diversity=("relu", "pooled"))
    out = network(pictures(4))
    config = Config(diversity=("relu",))
    both = tsd.diverse(out.vectors["teacher"], config) + tsd.diverse(out.vectors["pooled"], config)
    torch.testing.assert_close(terms_of(network, out)["diversity"], both)


def test_T11_eq12_pools_patches_and_not_the_class_token(monkeypatch: pytest.MonkeyPatch) -> None:
    network = drawn()
    out = network(pictures(4))
    assert out.pixels is not None
    maps = out.pixels.softmax(1)
    for image in range(4):
        for part in range(PARTS):
            weights = [maps[image, part + 1, y, x].item() for y in range(4) for x in range(2)]
            vectors = [out.cells[image, :, y, x] for y in range(4) for x in range(2)]
            pooled = sum((w * v for w, v in zip(weights, vectors, strict=True)), torch.zeros(64)) / math.fsum(weights)
            torch.testing.assert_close(out.vectors["pooled"][image, part], pooled, rtol=1e-4, atol=1e-5)
    norm = Trunk.norm

    def disturbed(trunk: Trunk, tokens: Tensor) -> Tensor:
        normed = norm(trunk, tokens)
        return torch.cat([normed[:, :1] + 5, normed[:, 1:]], 1)

    monkeypatch.setattr(Trunk, "norm", disturbed)
    after = network(pictures(4))
    assert torch.equal(after.vectors["pooled"], out.vectors["pooled"])
    assert not torch.equal(after.vectors["global"], out.vectors["global"])


def test_queries_look_at_final_patches_or_at_what_goes_into_the_last_block() -> None:
    for patches in ("final", "early"):
        network = drawn(patches=patches)
        before = network(pictures(2))
        with torch.no_grad():
            blocks: Any = network.backbone.network.blocks
            blocks[-1].mlp.fc2.bias.add_(torch.linspace(-1, 1, 64))
        after = network(pictures(2))
        assert not torch.allclose(after.vectors["global"], before.vectors["global"])
        assert torch.equal(after.vectors["student"], before.vectors["student"]) == (patches == "early")
        assert not torch.allclose(after.pixels, before.pixels)


def test_the_background_has_a_query_that_only_the_others_hear() -> None:
    network = drawn(background=True).eval()
    assert network.decoder.queries.shape == (PARTS + 1, 64)
    before = network(pictures(2))
    assert before.vectors["student"].shape == (2, PARTS, 64)
    assert before.attention.shape == (2, PARTS, 4, 2)
    with torch.no_grad():
        network.decoder.queries[0] += 1
    assert not torch.allclose(network(pictures(2)).vectors["student"], before.vectors["student"])


def test_the_foreground_is_what_all_parts_pool() -> None:
    network = drawn(terms=(*Config().terms, "foreground"))
    out = network(pictures(4))
    assert out.pixels is not None
    person = 1 - out.pixels.softmax(1)[:, :1]
    want = (out.cells * person).sum((2, 3)) / person.sum((2, 3))
    torch.testing.assert_close(out.vectors["foreground"][:, 0], want, rtol=1e-4, atol=1e-5)
    assert list(set(terms_of(network, out)) - set(ALL_LOSSES)) == ["identity_foreground"]


def test_eq10_has_its_ten_terms_and_each_equals_the_loop() -> None:
    network = drawn()
    out = network(pictures(4))
    terms = {name: term.item() for name, term in terms_of(network, out).items()}
    assert sorted(terms) == sorted(ALL_LOSSES)
    for name in ("global", "student", "teacher", "pooled"):
        rows = zip(out.logits[name].tolist(), PIDS.tolist(), strict=True)
        entropy = [math.log(math.fsum(map(math.exp, row))) - row[pid] for row, pid in rows]  # no smoothing
        assert terms[f"identity_{name}"] == pytest.approx(math.fsum(entropy) / 4, rel=1e-4)
        parts = out.vectors[name].view(4, -1, 64)
        distances = [[math.fsum(map(math.dist, a, b)) / len(a) for b in parts.tolist()] for a in parts.tolist()]
        gaps = oracles.hardest_gaps(oracles.table(distances), PIDS)
        soft = math.fsum(math.log1p(math.exp(gap)) for gap in gaps) / len(gaps)
        assert terms[f"triplet_{name}"] == pytest.approx(soft, rel=1e-4)
    student, teacher = (out.vectors[name].flatten(0, 1).tolist() for name in ("student", "teacher"))
    gaps = [1 - oracles.cosine(a, b) for a, b in zip(student, teacher, strict=True)]
    assert terms["distillation"] == pytest.approx(math.fsum(gaps) / 32, rel=1e-3)
    cues = tiny_cues(4)
    assert cues.parts is not None
    assert out.pixels is not None
    assert out.seen is not None
    pixels, seen = [], []
    for image in range(4):
        labels = cues.parts[image, ::16, ::16]
        for y, x in ((y, x) for y in range(4) for x in range(2)):
            row = out.pixels[image, :, y, x].tolist()
            total = math.log(math.fsum(map(math.exp, row)))
            q = [0.1 / 9 + 0.9 * (k == labels[y, x]) for k in range(9)]
            pixels.append(math.fsum(share * (total - value) for share, value in zip(q, row, strict=True)))
        for part in range(PARTS):
            p = 1 / (1 + math.exp(-out.seen[image, part].item()))
            there = bool((labels == part + 1).any())
            right, weight = (p, 0.25) if there else (1 - p, 0.75)
            seen.append(-weight * (1 - right) ** 2 * math.log(right))
    assert terms["pixels"] == pytest.approx(math.fsum(pixels) / len(pixels), rel=1e-4)
    assert terms["visibility"] == pytest.approx(math.fsum(seen) / len(seen), rel=1e-4)


def test_eq7_may_take_all_parts_end_to_end() -> None:
    network = drawn(distillation="concatenated")
    out = network(pictures(4))
    student, teacher = (out.vectors[name].flatten(1).tolist() for name in ("student", "teacher"))
    gaps = [1 - oracles.cosine(a, b) for a, b in zip(student, teacher, strict=True)]
    assert terms_of(network, out)["distillation"].item() == pytest.approx(math.fsum(gaps) / 4, rel=1e-3)


def test_eq14_one_head_tells_of_all_parts_and_hidden_pixels_show_none() -> None:
    network = drawn()
    out = network(pictures(4))
    rows = out.vectors["student"].flatten(0, 1)
    normed = (rows - rows.mean(0)) / (rows.var(0, unbiased=False) + 1e-5).sqrt()
    head = network.visibility[1]
    assert isinstance(head, nn.Linear)
    assert [name for name, _ in network.visibility.named_parameters()] == ["0.weight", "0.bias", "1.weight"]
    torch.testing.assert_close(out.seen, (normed @ head.weight[0]).view(4, PARTS), rtol=1e-3, atol=1e-4)
    batch = tiny_batch(Cues(parts=tiny_cues(4).parts, hidden=torch.ones(4, 64, 32, dtype=torch.bool)))
    terms = tsd.losses(out, batch, network.config)
    unseen = out.seen.sigmoid() ** 2 * nn.functional.softplus(out.seen) * 0.75
    torch.testing.assert_close(terms["visibility"], unseen.mean())
    other = tsd.losses(out, batch, replace(network.config, seen=Seen(alpha=0.5)))["visibility"]
    torch.testing.assert_close(other, unseen.mean() / 0.75 * 0.5)


def test_parts_that_own_no_patch_leave_everything_finite() -> None:
    head_alone = Cues(parts=torch.ones(4, 64, 32, dtype=torch.int64))
    nobody = Cues(parts=torch.zeros(4, 64, 32, dtype=torch.int64))
    for changes in ({"masks": "fixed"}, {"masks": "argmax"}, {"masks": "bernoulli", "background": True}):
        for cues in (head_alone, nobody):
            network = drawn(**changes)
            loss = torch.stack(
                [*tsd.losses(network(pictures(4), cues), tiny_batch(cues), network.config).values()]
            ).sum()
            assert loss.isfinite()
            torch.autograd.backward(loss)
            assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)
