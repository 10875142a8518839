"""What TSD compares at test time, what its configuration allows, the rows of its tables, and that it learns."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import oracles
from halfseen.methods import METHODS, tsd, vit
from halfseen.methods.tsd import CODE, RECIPE, ROWS, TSD, Config, Output
from halfseen.nets.heads import Seen
from halfseen.ops.distance import distances
from halfseen.ops.groupings import GROUPINGS
from halfseen.recipe import learning_rate
from halfseen.training.settings import augment_of
from halfseen.types import Batch, Cues, InputError
from tiny_methods import pictures, tiny_batch, tiny_config, tiny_cues, tiny_network, untouched


def drawn(people: int = 3, **changes: Any) -> TSD:
    network = tiny_network("tsd", tiny_config("tsd", **{"drop_path": 0.0, **changes}), people)
    assert isinstance(network, TSD)
    return network


def answered(network: nn.Module, count: int = 3, cues: Cues | None = None) -> Output:
    with torch.no_grad():
        out: Output = network.eval()(pictures(count), cues)
        return out


def behind(network: TSD, name: str, vectors: Tensor) -> Tensor:
    """`vectors` [B,n] normalised by the statistics of that neck."""
    norm = network.get_submodule(f"necks.norms.{name}")
    return (vectors - norm.get_buffer("running_mean")) / (norm.get_buffer("running_var") + 1e-5).sqrt()


def test_what_is_compared_stands_behind_the_necks_with_the_visibility_of_its_head() -> None:
    network = drawn()
    out = answered(network)
    embedding = tsd.embed(out)
    assert out.seen is not None
    assert embedding.vectors.shape == (3, 9, 64)
    torch.testing.assert_close(embedding.vectors[:, 0], behind(network, "global", out.vectors["global"]))
    parts = behind(network, "student", out.vectors["student"].flatten(1)).view(3, 8, 64)
    torch.testing.assert_close(embedding.vectors[:, 1:], parts)
    assert embedding.visibility[:, 0].tolist() == [1, 1, 1]
    assert torch.equal(embedding.visibility[:, 1:], (out.seen > 0).float())  # σ > 0.5
    low = out.seen.flatten().sort().values[11:13].mean().sigmoid().item()  # between the two in the middle
    split = answered(drawn(seen=Seen(threshold=low)))
    assert split.visible[:, 1:].sum() == 12


def test_eq15_is_the_mean_over_what_both_show() -> None:
    embedding = tsd.embed(answered(drawn(seen=Seen(threshold=0.49))))
    units = oracles.part_distances(embedding, embedding, "unit-euclid")
    want = oracles.weighted_mean(units, embedding, embedding, "product", torch.inf)
    got = distances(METHODS["tsd"].distance, embedding, embedding)
    torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize(("test", "parts"), [(("global",), 1), (("parts",), 8), (("parts", "global"), 9)])
def test_either_may_be_compared_alone(test: tuple[str, ...], parts: int) -> None:
    whole, chosen = answered(drawn()), answered(drawn(test=test))
    assert chosen.test.shape == (3, parts, 64)
    rows = {"global": slice(0, 1), "parts": slice(1, 9)}[test[0]] if len(test) == 1 else slice(0, 9)
    assert torch.equal(chosen.test, whole.test[:, rows])
    assert torch.equal(chosen.visible, whole.visible[:, rows])


def test_without_a_visibility_all_parts_count() -> None:
    out = answered(drawn(terms=("global", "student")))
    assert out.seen is None
    assert out.visible.eq(1).all()


def test_attention_is_where_the_student_looks() -> None:
    out = answered(drawn(background=True, patch_stride=12))
    assert out.attention is not None
    assert out.attention.shape == (3, 8, 5, 2)
    torch.testing.assert_close(out.attention.sum((2, 3)), torch.ones(3, 8))
    assert drawn().train()(pictures(4)).attention is None


def test_C13_at_test_time_fixed_masks_need_no_cues_and_look_at_none() -> None:
    network = drawn(masks="fixed")
    with_cues, without = answered(network, cues=tiny_cues(3)), answered(network)
    assert torch.equal(with_cues.test, without.test)
    with pytest.raises(InputError, match="no cue says where"):
        network.train()(pictures(4))


def test_a_network_for_no_people_has_neither_masks_nor_a_teacher() -> None:
    def parts_of(**changes: Any) -> set[str]:
        state = drawn(people=0, **changes).state_dict()
        return {".".join(name.split(".")[: 3 if name.startswith("necks") else 1]) for name in state}

    necks = {f"necks.norms.{name}" for name in ("global", "student")}
    assert parts_of() == {"backbone", "decoder", "visibility", *necks}
    assert parts_of(**code()) == {"backbone", "norm", "decoder", "visibility", *necks}
    assert parts_of(test=("global",)) == {"backbone", "necks.norms.global"}
    assert parts_of(test=("parts",), terms=("student",)) == {"backbone", "decoder", "necks.norms.student"}
    bare = drawn(people=0).train()(pictures(4))
    assert set(bare.vectors) == {"global", "student"}
    assert bare.pixels is None
    assert bare.logits == {}


def code(**changes: Any) -> dict[str, Any]:
    """The released code's side of all differences."""
    return {name: value for name, value in vars(CODE).items() if name != "backbone"} | changes


def test_the_baseline_row_is_the_plain_transformer_bit_for_bit() -> None:
    row = {name: value for name, value in vars(ROWS["3-baseline"]).items() if name not in ("backbone", "drop_path")}
    ours = drawn(**row)
    theirs = tiny_network("vit", tiny_config("vit", drop_path=0.0, test="after"))
    shared = {name for name in theirs.state_dict() if name.startswith("backbone")}
    assert shared == {name for name in ours.state_dict() if name.startswith("backbone")}
    for name in shared:
        assert torch.equal(ours.state_dict()[name], theirs.state_dict()[name])
    theirs.load_state_dict(ours.state_dict())  # strict
    out, other = ours(pictures(4)), theirs(pictures(4))
    assert torch.equal(out.vectors["global"], other.raw)
    mine = tsd.losses(out, tiny_batch(Cues()), ours.config)
    want = vit.losses(other, tiny_batch(Cues()), vit.Config())
    assert mine["identity_global"] == want["identity"]
    torch.testing.assert_close(mine["triplet_global"], want["triplet"])
    assert len(mine) == 2
    with torch.no_grad():
        embedding = vit.embed(theirs.eval()(pictures(3)))
    assert torch.equal(tsd.embed(answered(ours)).vectors, embedding.vectors)


LADDER = {
    "3-baseline": {"global"},
    "3-m1": {"global", "student", "visibility"},
    "3-m2": {"global", "student", "visibility", "teacher", "distillation"},
    "3-m3": {"global", "student", "visibility", "teacher", "distillation", "diversity"},
    "3-m4": {"global", "student", "visibility", "teacher", "distillation", "diversity", "pooled", "pixels"},
}


@pytest.mark.parametrize("terms", [("student", "visibility"), ("student", "teacher", "distillation", "diversity")])
def test_what_nothing_reads_of_the_trunk_neither_runs_nor_waits_for_slopes(terms: tuple[tsd.Term, ...]) -> None:
    """Several processes would wait for them for ever."""
    network = drawn(patches="early", masks="fixed" if "teacher" in terms else "argmax", terms=terms, test=("parts",))
    ran: list[nn.Module] = []
    blocks = network.get_submodule("backbone.network.blocks")
    assert isinstance(blocks, nn.Sequential)
    for module in (*blocks, network.get_submodule("backbone.network.norm")):
        module.register_forward_hook(lambda module, *_: ran.append(module))
    loss = torch.stack([*tsd.losses(network(pictures(4), tiny_cues(4)), tiny_batch(), network.config).values()]).sum()
    assert untouched(network, loss) == []
    assert ran == [*blocks][:-1]
    bare = drawn(people=0, **vars(network.config))
    bare.load_state_dict({name: network.state_dict()[name] for name in bare.state_dict()})
    assert torch.equal(answered(bare).test, answered(network).test)
    assert drawn(patches="early", terms=terms, test=("parts",)).ends == ("teacher" in terms)  # for its masks


@pytest.mark.parametrize("row", ROWS)
def test_each_published_row_builds_and_steps(row: str) -> None:
    network = tiny_network("tsd", dataclasses.replace(ROWS[row], backbone="test_vit"))
    assert isinstance(network, TSD)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(2):
        terms = tsd.losses(network(pictures(4), tiny_cues(4)), tiny_batch(), network.config)
        loss = torch.stack([*terms.values()]).sum()
        assert loss.isfinite()
        assert untouched(network, loss) == []
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    if row in LADDER:
        assert {name.removeprefix("identity_").removeprefix("triplet_") for name in terms} == LADDER[row]
    bare = tiny_network("tsd", network.config, people=0)
    kept = {name: value for name, value in network.state_dict().items() if name in bare.state_dict()}
    bare.load_state_dict(kept)  # strict
    assert torch.equal(answered(bare).test, answered(network).test)


def test_rows_say_what_the_tables_say() -> None:
    assert Config().drop_path == 0.1
    assert drawn().decoder.look.heads == 8
    assert ROWS["3-m4"] == ROWS["1-tsd"] == Config()
    assert ROWS["3-m3"].masks == ROWS["3-m2"].masks == "fixed"
    assert (ROWS["1-tsd-overlap"].patch_stride, ROWS["1-tsd-overlap-12"].patch_stride) == (11, 12)
    assert METHODS["tsd"].of(ROWS["3-baseline"]).needs["train"] == frozenset()
    where = {"parts", "fields", "keypoints"}
    for row in ("3-m1", "3-m2", "3-m3", "3-m4", "code"):
        assert METHODS["tsd"].of(ROWS[row]).needs == {"train": where, "test": frozenset()}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_C11_rows_go_to_json_and_back(row: Config) -> None:
    assert Config(**json.loads(json.dumps(dataclasses.asdict(row)))) == row


def test_halves_are_pooled_in_float32() -> None:
    network = drawn(**code())
    with torch.autocast("cpu", torch.bfloat16):
        out = network(pictures(4), tiny_cues(4))
        terms = tsd.losses(out, tiny_batch(), network.config)
    assert out.vectors["pooled"].dtype == torch.float32
    assert torch.stack([*terms.values()]).isfinite().all()
    with torch.autocast("cpu", torch.bfloat16):
        assert tsd.embed(answered(network)).vectors.shape == (3, 9, 64)


def test_halves_throw_faint_parts_as_often_as_they_are_likely() -> None:
    network = drawn(masks="bernoulli", parts=1)
    pixels = torch.tensor([0.0, -6.0]).view(1, 2, 1, 1).expand(1, 2, 400, 500).bfloat16()
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        share = network._masks(pixels, None, (64, 32)).float().mean().item()
    assert share == pytest.approx(1 / (1 + math.exp(6)), rel=0.15)  # 3.3 standard deviations


@pytest.mark.parametrize(("stride", "grid"), [(16, (16, 8)), (14, (18, 9)), (12, (21, 10)), (11, (22, 11))])
def test_patches_may_overlap(stride: int, grid: tuple[int, int]) -> None:
    config = tiny_config("tsd", patch_stride=stride)
    assert TSD(config, 0, image=(256, 128)).backbone.grid == grid


@pytest.mark.parametrize("parts", [1, 2, 5, "five_v", 8])
def test_other_groupings_have_as_many_queries(parts: int | str) -> None:
    network = drawn(parts=parts, diversity=("relu", "sides", "pooled"))
    count = len(GROUPINGS[network.config.grouping])
    cues = tiny_cues(4, highest=count)
    terms = tsd.losses(network(pictures(4), cues), tiny_batch(cues), network.config)
    assert torch.stack([*terms.values()]).isfinite().all()
    assert tsd.embed(answered(network)).vectors.shape == (3, 1 + count, 64)


def test_labels_come_from_any_grid_and_any_cue() -> None:
    network, cues = drawn(masks="fixed"), tiny_cues(4)
    assert cues.parts is not None
    joints = torch.rand(4, 17, 3) * torch.tensor([31, 63, 1.0])
    others = [
        Cues(parts=cues.parts[:, ::4, ::4]),
        Cues(parts=cues.parts[:, :31, :29]),
        Cues(keypoints=joints),
        Cues(fields=torch.rand(4, 36, 30, 15)),
    ]
    for some in [cues, *others]:
        out = network(pictures(4), some)
        terms = tsd.losses(out, tiny_batch(some), network.config)
        assert torch.stack([*terms.values()]).isfinite().all()
    finer = tsd.losses(network(pictures(4), others[0]), tiny_batch(others[0]), network.config)
    same = tsd.losses(network(pictures(4), cues), tiny_batch(cues), network.config)
    assert finer == same


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parts": 9}, "no grouping has or is called 9"),
        ({"patches": "late"}, "patches is 'late'; allowed are final, early"),
        ({"masks": "soft"}, "masks is 'soft'; allowed are argmax, bernoulli, fixed"),
        ({"distillation": "all"}, "distillation is 'all'; allowed are per-part, concatenated"),
        ({"diversity": ("gelu",)}, "diversity is 'gelu'; allowed are relu, sides, pooled"),
        ({"detached": ("queries",)}, "detached is 'queries'; allowed are class, teacher, maps"),
        ({"terms": ("global", "pixels")}, "terms is 'pixels'; allowed are global, student, teacher"),
        ({"test": ("head",)}, "test is 'head'; allowed are global, parts"),
        ({"test": ()}, "test is empty and terms are global, student, .*; test global, parts or both"),
        ({"terms": ("global",)}, "test is global, parts and terms are global; .* parts by student or teacher"),
        ({"terms": ()}, "terms are empty"),
        ({"terms": ("student",)}, "global by global"),
        ({"terms": ("global", "student", "distillation")}, "look at the teacher; add teacher to terms, or drop both"),
        ({"terms": ("global", "student", "diversity")}, "look at the teacher"),
        ({"masks": "fixed", "terms": (*Config().terms, "foreground")}, "want a teacher in terms, and masks that are"),
        ({"masks": "fixed", "diversity": ("pooled",)}, "want a teacher in terms"),
        ({"terms": ("global", "student", "foreground")}, "want a teacher in terms"),
        (
            {"terms": ("global", "student"), "diversity": ("relu",)},
            "diversity is relu, which has an effect only where terms have diversity; leave it at empty",
        ),
        ({"terms": ("global", "student"), "seen": Seen(alpha=0.5)}, "seen.alpha 0.5, and terms have no visibility"),
        ({"terms": ("global", "student"), "seen": {"threshold": 0.4}}, "seen.threshold is 0.4, .* add it to terms"),
    ],
)
def test_what_is_no_config_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Config(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": 1.0}, "seen.person is 0.5, seen.threshold 1.0, seen.alpha 0.25; give shares of 1"),
        ({"threshold": float("nan")}, "seen.threshold nan"),
        ({"alpha": 0.0}, "seen.alpha 0.0; give"),
        ({"alpha": float("nan")}, "seen.alpha nan"),
        ({"person": 0.0}, "seen.person is 0.0"),
        ({"person": 1.1}, "seen.person is 1.1"),
    ],
)
def test_what_cannot_count_as_seen_is_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Seen(**changes)


@pytest.mark.parametrize(
    ("changes", "image", "message"),
    [
        ({"backbone": "test_vit3"}, (64, 32), "test_vit3 has no class token"),
        ({"backbone": "test_efficientnet"}, (64, 32), "is no plain ViT"),
        ({"patch_stride": 17}, (64, 32), "patch_stride is 17"),
        ({}, (64, 12), "hold no patch of 16×16"),
    ],
)
def test_what_no_trunk_can_be_made_of_is_refused(changes: dict[str, Any], image: tuple[int, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TSD(tiny_config("tsd", **changes), 0, image=image)


def test_C10_the_rate_follows_a_cosine_from_the_papers_number() -> None:
    at = [learning_rate(RECIPE, epoch) for epoch in (0, 2.5, 5, 62.5, 120)]
    assert at == pytest.approx([4e-5, 0.00202, 0.004, 0.004 * (0.002 + 0.998 * 0.5), 8e-6])
    assert (RECIPE.height, RECIPE.width, RECIPE.people, RECIPE.images, RECIPE.epochs) == (256, 128, 16, 4, 120)
    assert (RECIPE.optimiser, RECIPE.weight_decay, RECIPE.bias_lr) == ("sgd", 1e-4, 2.0)


def test_D3_a_flip_exchanges_left_and_right_unless_it_repeats_the_code() -> None:
    ours = augment_of(RECIPE, "eight")
    assert (ours.flip, ours.swap_sides, ours.pad, ours.erase, ours.fill) == (0.5, True, 10, 0.5, "noise")
    assert ours.flipped_labels == (0, 1, 3, 2, 4, 6, 5, 8, 7)
    theirs = augment_of(dataclasses.replace(RECIPE, augment="tsd"), "eight")
    assert theirs == dataclasses.replace(ours, swap_sides=False)


def test_it_learns_to_tell_people_and_their_parts() -> None:
    """Three people in six pictures whose upper and lower halves have colours; of half of them the legs are hidden."""
    colours = torch.randn(3, 2, 3, generator=torch.Generator().manual_seed(0))
    pids = torch.tensor([0, 0, 1, 1, 2, 2])
    images = 0.1 * torch.randn(6, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    labels = torch.ones(6, 64, 32, dtype=torch.int64)
    labels[:, 32:] = 2
    labels[1::2, 32:] = 0
    for half, rows in enumerate((slice(0, 32), slice(32, 64))):
        images[:, :, rows] += colours[pids, half, :, None, None] * (labels[:, None, rows] > 0)
    batch = Batch(torch.zeros(6, 3, 64, 32, dtype=torch.uint8), pids, torch.zeros_like(pids), Cues(parts=labels))
    torch.manual_seed(0)
    network = TSD(tiny_config("tsd", parts=2, drop_path=0.0), 3, image=(64, 32))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    course: list[dict[str, float]] = []
    for step in range(80):
        optimiser.param_groups[0]["lr"] = 0.05 * (1 - step / 80)
        terms = tsd.losses(network(images), batch, network.config)
        optimiser.zero_grad()
        torch.autograd.backward(torch.stack([*terms.values()]).sum())
        optimiser.step()
        course.append({name: term.item() for name, term in terms.items()})
    assert sum(course[-1].values()) < sum(course[0].values()) / 2
    for name in ("identity_global", "identity_student", "identity_teacher", "identity_pooled", "pixels", "visibility"):
        assert course[-1][name] < 0.7 * course[0][name]
    with torch.no_grad():
        out = network.eval()(images)
    assert out.seen is not None
    assert (out.seen[0::2, 1] > out.seen[1::2, 1]).all()  # legs that are there, and those that are not
    assert out.visible[1::2, 2].eq(0).all()
    embedding = tsd.embed(out)
    apart = distances(METHODS["tsd"].distance, embedding, embedding).fill_diagonal_(torch.inf)
    assert torch.equal(pids[apart.argmin(1)], pids)
