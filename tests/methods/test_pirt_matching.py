"""What Pirt learns from and compares, what its configuration allows, and the rows of its tables."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import oracles
from halfseen.methods import METHODS, pirt
from halfseen.methods.pirt import GROUPS, ROWS, Config, Output, distance, needs, quarter
from halfseen.nets.attention import heads_for
from halfseen.ops.distance import CoarseToFine, Single, distances, top_k
from halfseen.types import Batch, Cues, Embedding, InputError
from tiny_methods import IMAGE, PEOPLE, PIDS, pictures, thin, tiny_batch, tiny_config, tiny_cues, tiny_network


@pytest.fixture(autouse=True)
def _thin_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pirt, "make_backbone", thin)


def slope(loss: Tensor, network: nn.Module, name: str) -> float:
    """The largest gradient that `loss` gives the parameter `name`; 0 if it does not reach it."""
    (found,) = torch.autograd.grad(loss, network.get_parameter(name), retain_graph=True, allow_unused=True)
    return 0.0 if found is None else found.abs().max().item()


# --- Losses: eq. 15 to 17 ---


def smoothed(logits: Tensor, smoothing: float) -> float:
    """Cross-entropy of `logits` [4,people] with PIDS, number by number."""
    terms = []
    for row, pid in zip(logits.tolist(), PIDS.tolist(), strict=True):
        log_total = math.log(math.fsum(map(math.exp, row)))
        q = [smoothing / PEOPLE + (1 - smoothing) * (person == pid) for person in range(PEOPLE)]
        terms.append(math.fsum(share * (log_total - value) for share, value in zip(q, row, strict=True)))
    return math.fsum(terms) / len(terms)


@pytest.mark.parametrize(("smoothing", "margin"), [(0.1, None), (0.0, 0.3)])
def test_eq15_to_17(smoothing: float, margin: float | None) -> None:
    network = tiny_network("pirt", Config())
    out = network(pictures(4), tiny_cues(4))
    got = pirt.losses(out, tiny_batch(), Config(smoothing=smoothing, margin=margin))
    assert [*got] == ["identity_stripes", "identity_patches", "identity_parts", "triplet_parts"]
    for name in ("stripes", "patches"):
        assert got[f"identity_{name}"].item() == pytest.approx(smoothed(out.logits[name], smoothing), rel=1e-5)
    each = [smoothed(out.logits["parts"][:, group], smoothing) for group in range(3)]
    assert got["identity_parts"].item() == pytest.approx(math.fsum(each) / 3, rel=1e-5)
    triplets = []
    for group in range(3):
        rows = out.vectors["parts"][:, group].tolist()  # trusted, before the neck, of any length
        matrix = oracles.table([[math.dist(a, b) for b in rows] for a in rows])
        gaps = oracles.hardest_gaps(matrix, PIDS)
        terms = [math.log1p(math.exp(gap)) if margin is None else max(0.0, gap + margin) for gap in gaps]
        triplets.append(math.fsum(terms) / len(terms))
    assert got["triplet_parts"].item() == pytest.approx(math.fsum(triplets) / 3, rel=1e-4)


def test_logits_stand_behind_necks_of_their_own() -> None:
    network = tiny_network("pirt", Config())
    out = network(pictures(4), tiny_cues(4))
    vectors = {**out.vectors, **dict(zip(GROUPS, out.vectors["parts"].unbind(1), strict=True))}
    logits = {**out.logits, **dict(zip(GROUPS, out.logits["parts"].unbind(1), strict=True))}
    for name in ("stripes", "patches", *GROUPS):
        raw = vectors[name]
        normed = (raw - raw.mean(0)) / (raw.var(0, unbiased=False) + 1e-5).sqrt()
        weight = network.get_parameter(f"necks.classifiers.{name}.weight")
        torch.testing.assert_close(logits[name], normed @ weight.T, rtol=1e-4, atol=1e-5)


def test_only_the_groups_teach_their_confidence_and_all_teach_the_backbone() -> None:
    network = tiny_network("pirt", Config())
    terms = pirt.losses(network(pictures(4), tiny_cues(4)), tiny_batch(), Config())
    for name, term in terms.items():
        assert slope(term, network, "backbone.layer.weight") > 0
        assert (slope(term, network, "trust.0.weight") > 0) == name.endswith("parts")


def test_losses_are_right_at_their_slopes() -> None:
    """Finite differences in double precision: through confidences, attention and encoder."""
    config = Config(smoothing=0.1)
    network, keypoints = tiny_network("pirt", config), tiny_cues(4).keypoints
    network.double().eval()
    assert keypoints is not None
    images, cues, batch = pictures(4).double(), Cues(keypoints=keypoints.double()), tiny_batch()

    def loss() -> Tensor:
        return torch.stack([*pirt.losses(network(images, cues), batch, config).values()]).sum()

    for name in ("trust.2.weight", "intra.attention.looks.weight", "inter.encoder.layers.0.linear1.weight"):
        weight = network.get_parameter(name)
        (got,) = torch.autograd.grad(loss(), weight)
        place = int(got.abs().argmax())
        with torch.no_grad():
            values = []
            for step in (1e-4, -2e-4):
                weight.view(-1)[place] += step
                values.append(loss().item())
            weight.view(-1)[place] += 1e-4
        assert got.view(-1)[place].item() == pytest.approx((values[0] - values[1]) / 2e-4, rel=1e-3)


def test_a_few_people_are_learned() -> None:
    torch.manual_seed(0)
    config = Config(units=1)
    network = METHODS["pirt"].network(config, 4, image=IMAGE)
    images, cues = pictures(8, seed=3), tiny_cues(8)
    pids = torch.arange(4).repeat_interleave(2)
    images[1::2] = images[::2] + 0.2 * pictures(4, seed=4)
    assert cues.keypoints is not None
    cues.keypoints[1::2] = cues.keypoints[::2]
    batch = Batch(torch.zeros(8, 3, *IMAGE, dtype=torch.uint8), pids, torch.zeros_like(pids), cues)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    totals = []
    for _ in range(40):
        terms = pirt.losses(network(images, cues), batch, config)
        total = torch.stack([*terms.values()]).sum()
        optimiser.zero_grad()
        torch.autograd.backward(total)
        optimiser.step()
        totals.append(float(total.detach()))
    assert totals[-1] < 0.6 * totals[0]
    network.eval()
    with torch.no_grad():
        embedding = pirt.embed(network(images, cues))
    found = top_k(distance(config), embedding[torch.arange(0, 8, 2)], embedding[torch.arange(1, 8, 2)], 1)
    assert found.indices[:, 0].tolist() == [0, 1, 2, 3]


# --- What is compared ---


def test_coarse_parts_are_taken_after_their_necks_and_groups_before() -> None:
    network = tiny_network("pirt", Config())
    with torch.no_grad():
        out: Output = network.eval()(pictures(3), tiny_cues(3))
    embedding = pirt.embed(out)
    assert embedding.vectors.shape == (3, 5, 16)
    assert Config().test == ("stripes", "patches", *GROUPS)
    for place, name in enumerate(("stripes", "patches")):
        norm = network.get_submodule(f"necks.norms.{name}")
        mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
        normed = (out.vectors[name] - mean) / (variance + 1e-5).sqrt()
        torch.testing.assert_close(embedding.vectors[:, place], normed, rtol=1e-4, atol=1e-5)
    whole = out.vectors["parts"] / embedding.visibility[:, 2:, None]
    torch.testing.assert_close(embedding.vectors[:, 2:], whole, rtol=1e-4, atol=1e-5)


def east_or_north(*norths: int) -> Tensor:
    """[5,2]: stripes and patches to the east, the three groups too but for these."""
    parts = torch.tensor([[1.0, 0.0]]).repeat(5, 1)
    parts[list(norths)] = torch.tensor([0.0, 1.0])
    return parts


def test_P7_each_gallery_picture_is_weighed_with_its_own_confidence() -> None:
    """The released code reads the gallery's confidence at the number of the query, so that both would be 0.63."""
    vectors = torch.stack([east_or_north(2)] * 2)  # the first group differs, the others agree
    gallery = Embedding(vectors, torch.tensor([[1, 1, 0.8, 0.1, 0.1], [1, 1, 0.02, 0.49, 0.49]]))
    query = Embedding(east_or_north()[None], torch.tensor([[1, 1, 0.5, 0.25, 0.25]]))
    got = distances(distance(Config()), query, gallery)[0].tolist()
    assert got == pytest.approx([math.sqrt(0.5 * 0.8), math.sqrt(0.5 * 0.02)], abs=1e-5)
    as_released = [math.sqrt(0.5 * float(gallery.visibility[0, 2]))] * 2  # the query is number 0
    assert got[0] == pytest.approx(as_released[0], abs=1e-5)
    assert abs(got[1] - as_released[1]) > 0.5


def test_table5_says_whose_confidence_counts() -> None:
    vectors = torch.stack([east_or_north(2)])
    gallery = Embedding(vectors, torch.tensor([[1, 1, 0.9, 0.1, 0]]))
    query = Embedding(east_or_north()[None], torch.tensor([[1, 1, 0.4, 0.3, 0.3]]))
    got = {name: distances(distance(row), query, gallery).item() for name, row in ROWS.items() if name.startswith("5-")}
    want = {"5-both": math.sqrt(0.36), "5-query": 0.4, "5-gallery": 0.9, "5-none": 1 / 3}
    assert got == pytest.approx(want, abs=1e-5)


def test_pictures_that_show_different_groups_are_near_as_published_and_far_with_unshared() -> None:
    query = Embedding(east_or_north()[None], torch.tensor([[1, 1, 1, 0, 0.0]]))
    other = Embedding(east_or_north(3)[None], torch.tensor([[1, 1, 0, 1, 0.0]]))
    assert distances(distance(Config()), query, other).item() == pytest.approx(0, abs=1e-5)
    assert distances(distance(ROWS["ours-unshared"]), query, other).item() == pytest.approx(1, abs=1e-5)


def test_the_distance_is_what_the_config_says() -> None:
    assert distance(Config()) == CoarseToFine(100, 2, "cosine", "both", "sum")
    assert distance(ROWS["code"]) == CoarseToFine(100, 2, "unit-euclid", "both", "first")
    assert distance(Config(nearest=7, unshared=0.5)) == CoarseToFine(7, 2, unshared=0.5)
    assert METHODS["pirt"].of(ROWS["3-baseline"]).distance == Single("cosine")


# --- Configurations ---


def test_keypoints_are_needed_at_both_stages_but_by_the_baseline() -> None:
    poses = {"keypoints"}
    assert needs(Config()) == pirt.METHOD.needs == {"train": poses, "test": poses}
    assert METHODS["pirt"].of(ROWS["3-baseline"]).needs == {"train": frozenset(), "test": frozenset()}
    for cues in (None, Cues(), Cues(parts=tiny_cues(2).parts)):
        with pytest.raises(InputError, match="pirt was given no keypoints, and it needs those of every picture, at te"):
            tiny_network("pirt", Config())(pictures(2), cues)


def test_the_baseline_is_one_vector_taught_by_identities() -> None:
    config = ROWS["3-baseline"]
    network = tiny_network("pirt", config)
    out = network(pictures(4))
    assert [*out.vectors] == ["global"]
    torch.testing.assert_close(out.vectors["global"], network.get_submodule("backbone")(pictures(4)).cells.mean((2, 3)))
    terms = pirt.losses(out, tiny_batch(), config)
    assert [*terms] == ["identity_global"]
    assert terms["identity_global"].item() == pytest.approx(smoothed(out.logits["global"], 0.1), rel=1e-5)
    with torch.no_grad():
        embedding = pirt.embed(network(pictures(4)))
    assert embedding.vectors.shape == (4, 1, 16)
    assert config.test == ("global",)


def test_a_network_for_no_people_has_only_what_is_tested() -> None:
    bare = tiny_network("pirt", Config(), people=0).state_dict()
    assert {name.split(".")[2] for name in bare if name.startswith("necks")} == {"stripes", "patches"}
    assert not any("classifier" in name for name in bare)


def test_a_reduction_comes_before_everything() -> None:
    network = tiny_network("pirt", Config(reduction=8))
    with torch.no_grad():
        out: Output = network.eval()(pictures(3), tiny_cues(3))
    assert out.test.shape == (3, 5, 8)
    assert network.get_parameter("intra.narrow.0.weight").shape == (2, 8, 1, 1)


def test_widths_follow_the_backbone() -> None:
    assert [quarter(dim) for dim in (2048, 1280, 192, 6)] == [512, 320, 48, 2]
    assert [heads_for(dim, 8) for dim in (2048, 1280, 192, 12, 7, 5)] == [8, 8, 8, 6, 7, 5]
    assert [heads_for(quarter(dim), 4) for dim in (2048, 1280, 24, 20)] == [4, 4, 3, 1]
    network = tiny_network("pirt", Config())
    for name in ("trust.0.weight", "inter.encoder.layers.0.linear1.weight", "inter.encoder.layers.2.linear1.weight"):
        assert network.get_parameter(name).shape == (4, 16)  # as 512 of 2048


def test_operations_are_counted_at_test_time_too() -> None:
    network, cues = tiny_network("pirt", Config()), tiny_cues(2)
    counts = []
    for training in (True, False):
        network.train(training)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(pictures(2), cues)
        counts.append(counter.get_total_flops())
    heads = 2 * 2 * 16 * PEOPLE * 5  # classifiers: two pictures, multiply and add, at both stages here
    assert counts[0] == counts[1] > heads


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "euclid"}, "metric is 'euclid'; allowed are cosine, unit-euclid"),
        ({"confidence": "mine"}, "confidence is 'mine'; allowed are both, query, gallery, none"),
        ({"cut": "stripe"}, "cut is 'stripe'; allowed are sum, first"),
        ({"nearest": -1}, "n=-1: at least one part is coarse, and n is not negative"),
        ({"unshared": 3}, "unshared=3: it is a distance of parts"),
        ({"units": -1}, "units is -1, threshold 0.001 and reduction None; give 0 or more units"),
        ({"reduction": 0}, "reduction 0; give .* a reduction of 1 or more, or none"),
        ({"threshold": 1.0}, "units is 3, threshold 1.0 and .* a threshold from 0 to below 1"),
        ({"pose": False}, "without pose there are no parts to relate; set intra to False and units to 0"),
        ({"pose": False, "intra": False}, "without pose there are no parts to relate"),
    ],
)
def test_what_is_no_config_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny_config("pirt", **changes)


def test_the_published_tables_are_all_there() -> None:
    three = [(row.pose, row.intra, row.units) for name, row in ROWS.items() if name.startswith("3-")]
    assert three == [(False, False, 0), (True, False, 0), (True, True, 0), (True, True, 3)]
    assert [row.units for name, row in ROWS.items() if name.startswith("4-")] == [1, 2, 3, 4]
    five = [row.confidence for name, row in ROWS.items() if name.startswith("5-")]
    assert five == ["both", "query", "gallery", "none"]
    assert ROWS["3-pose-intra-inter"] == ROWS["4-3-units"] == ROWS["5-both"] == Config()
    assert METHODS["pirt"].rows == ROWS
