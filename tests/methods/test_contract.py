"""What every method promises, whatever it is."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from halfseen.methods import METHODS, bpbreid, pcb, pgfl_kd, pirt
from halfseen.recipe import Method, learning_rate
from halfseen.training.tiers import SPEEDS
from halfseen.types import Cues, Embedding, InputError
from halfseen.weights import plain, rebuilt
from tiny_methods import (
    IMAGE,
    PEOPLE,
    pictures,
    thin,
    tiny_batch,
    tiny_config,
    tiny_cues,
    tiny_network,
    tiny_views,
    untouched,
)

NAMES = sorted(METHODS)
ROWS: dict[str, tuple[str, Any]] = {f"bpbreid {name}": ("bpbreid", row) for name, row in bpbreid.ROWS.items()}
ROWS |= {f"pcb {name}": ("pcb", row) for name, row in pcb.ROWS.items()}
ROWS |= {f"pgfl_kd {name}": ("pgfl_kd", row) for name, row in pgfl_kd.ROWS.items()}
ROWS |= {f"pirt {name}": ("pirt", row) for name, row in pirt.ROWS.items()}


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def network(name: str) -> nn.Module:
    return tiny_network(name, tiny_config(name))


def shown(method: Method, rows: slice) -> Cues:
    """What the method may see at test time of the tiny cues of some pictures."""
    needed = method.needs["test"]
    known = {cue: values for cue, values in vars(tiny_cues(rows.stop)).items() if values is not None}
    return Cues(**{cue: values[rows] for cue, values in known.items() if cue in needed})


def encoded(name: str, network: nn.Module, images: Tensor, cues: Cues | None = None) -> Embedding:
    """With the cues that the method declares, or these."""
    network.eval()
    with torch.no_grad():
        return METHODS[name].embed(network(images, cues or shown(METHODS[name], slice(0, len(images)))))


def test_methods_are_known_by_their_names(name: str) -> None:
    method = METHODS[name]
    assert method.name == name
    assert method.title
    assert set(method.needs) == {"train", "test"}
    assert dataclasses.is_dataclass(method.config)
    assert len(dataclasses.fields(method.config)) <= 15


def test_embeddings_have_a_row_per_picture_and_a_visibility_of_0_to_1(name: str, network: nn.Module) -> None:
    embedding = encoded(name, network, pictures(3))
    assert len(embedding) == 3
    assert embedding.vectors.dtype == torch.float32
    assert embedding.vectors.isfinite().all()
    assert ((embedding.visibility >= 0) & (embedding.visibility <= 1)).all()
    assert not torch.allclose(embedding.vectors[0], embedding.vectors[1])


def test_a_batch_of_two_equals_two_of_one(name: str, network: nn.Module) -> None:
    images = pictures(2)
    both = encoded(name, network, images)
    each = [encoded(name, network, images[i : i + 1], shown(METHODS[name], slice(i, i + 1))) for i in range(2)]
    torch.testing.assert_close(both.vectors, torch.cat([e.vectors for e in each]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both.visibility, torch.cat([e.visibility for e in each]))


def poisoned(method: Method, count: int) -> Cues:
    """The cues that the method declares for test time, and nonsense in place of all others."""
    nonsense: dict[str, Tensor | None] = {
        "keypoints": torch.full((count, 17, 3), torch.nan),
        "fields": torch.full((count, 36, IMAGE[0] // 4, IMAGE[1] // 4), torch.nan),
        "parts": torch.full((count, *IMAGE), 255),
        "hidden": torch.ones(count, *IMAGE, dtype=torch.bool),
        "occluder": torch.full((count,), 99),
    }
    needed = method.needs["test"]
    told = {*needed, "hidden"} if needed else set()  # who sees cues is told what an edit hides of them
    return Cues(**nonsense | {cue: vars(tiny_cues(count))[cue] for cue in told})


def test_C13_evaluation_does_not_look_at_cues_that_are_not_declared(name: str, network: nn.Module) -> None:
    with_cues = encoded(name, network, pictures(2), poisoned(METHODS[name], 2))
    without = encoded(name, network, pictures(2))
    assert torch.equal(with_cues.vectors, without.vectors)
    assert torch.equal(with_cues.visibility, without.visibility)
    if METHODS[name].needs["test"]:
        with pytest.raises(InputError, match="at test time too"):
            encoded(name, network, pictures(2), Cues())


def configs() -> dict[str, tuple[str, Any]]:
    rows = {f"{name} {row}": (name, config) for name in NAMES for row, config in METHODS[name].rows.items()}
    return {name: (name, METHODS[name].config()) for name in NAMES} | rows


@pytest.mark.parametrize(("name", "config"), configs().values(), ids=configs())
def test_C13_nor_does_that_of_any_row(name: str, config: Any) -> None:
    tiny = {"backbone": tiny_config(name).backbone} | ({"reduction": 24} if getattr(config, "reduction", None) else {})
    config = dataclasses.replace(config, **tiny)
    method, network = METHODS[name].of(config), tiny_network(name, config).eval()
    with torch.no_grad():
        with_cues = method.embed(network(pictures(2), poisoned(method, 2)))
        without = method.embed(network(pictures(2), shown(method, slice(0, 2))))
    assert torch.equal(with_cues.vectors, without.vectors)
    assert torch.equal(with_cues.visibility, without.visibility)


def test_training_does_not_look_at_cues_that_are_not_declared(name: str, network: nn.Module) -> None:
    method, config = METHODS[name], tiny_config(name)
    network.train()
    if method.needs["train"]:
        with pytest.raises(InputError, match=r"no cue says where|no keypoints"):
            method.losses(network(pictures(4)), tiny_batch(Cues()), config)
    else:
        out = network(pictures(4))
        bare, told = (method.losses(out, tiny_batch(cues), config) for cues in (Cues(), None))
        assert bare == told


def test_each_loss_is_one_number_and_their_sum_teaches_every_parameter(name: str, network: nn.Module) -> None:
    network.train()
    torch.manual_seed(0)
    terms = METHODS[name].losses(network(*tiny_views(name)), tiny_batch(), tiny_config(name))
    assert terms
    assert all(term.shape == () and term.isfinite() for term in terms.values())
    assert all(term > 0 for key, term in terms.items() if key != "policy")  # a reward may be a loss, and the reverse
    assert untouched(network, torch.stack(list(terms.values())).sum()) == []


@pytest.mark.parametrize("name", [name for name in NAMES if hasattr(METHODS[name].config(), "margin")])
@pytest.mark.parametrize(("choice", "value", "kind"), [("margin", 20.0, "triplet"), ("smoothing", 0.5, "identity")])
def test_margin_and_smoothing_are_what_the_config_says(name: str, choice: str, value: float, kind: str) -> None:
    everywhere = {"gilt": dict.fromkeys(METHODS[name].config().gilt, (1, 1))} if name in ("bpbreid", "pcb") else {}
    config = tiny_config(name, **everywhere)
    out = tiny_network(name, config)(*tiny_views(name))
    own, other = (
        {term: loss.item() for term, loss in METHODS[name].losses(out, tiny_batch(), chosen).items() if kind in term}
        for chosen in (config, dataclasses.replace(config, **{choice: value}))
    )
    assert own
    assert [term for term in own if own[term] == other[term]] == []


@pytest.mark.parametrize("name", [name for name in NAMES if hasattr(METHODS[name].config(), "last_stride")])
def test_the_last_stage_has_the_stride_that_the_config_says(name: str) -> None:
    grids = [
        METHODS[name].network(tiny_config(name, last_stride=stride), PEOPLE, image=IMAGE).get_submodule("backbone").grid
        for stride in (1, 2)
    ]
    assert grids == [(4, 2), (2, 1)]


def test_each_speed_of_the_mini_tier_is_that_of_some_parameter() -> None:
    """A training does not refuse one that is nobody's."""
    chosen = [(name, METHODS[name].config()) for name in NAMES]
    chosen.append(("ogfr", METHODS["ogfr"].rows["trunks-separate"]))  # whose teacher has blocks of its own
    named = {
        parameter
        for name, config in chosen
        if config.backbone.startswith("vit_")
        for parameter, _ in METHODS[name]
        .network(dataclasses.replace(config, backbone="test_vit"), PEOPLE, image=IMAGE)
        .named_parameters()
    }
    assert [start for start, _ in SPEEDS if not any(parameter.startswith(start) for parameter in named)] == []


def test_embed_uses_only_what_a_network_for_no_people_has(name: str, network: nn.Module) -> None:
    bare = tiny_network(name, tiny_config(name), people=0, seed=5)
    kept = bare.state_dict().keys()
    left_out = network.state_dict().keys() - kept
    assert any("classifier" in key for key in left_out)
    bare.load_state_dict({key: value for key, value in network.state_dict().items() if key in kept})  # strict
    want, got = (encoded(name, n, pictures(2)) for n in (network, bare))
    assert torch.equal(want.vectors, got.vectors)
    assert torch.equal(want.visibility, got.visibility)


def test_C6_necks_have_neither_shift_nor_bias(network: nn.Module) -> None:
    state = {key: value for key, value in network.named_parameters() if "necks." in key}
    assert [key for key, value in state.items() if key.endswith("bias") and (value.requires_grad or value.any())] == []
    assert [key for key in state if "classifiers" in key and "bias" in key] == []


@pytest.mark.parametrize("name", ["bot", "vit"])
def test_C6_triplets_read_before_the_neck_and_identities_after_it(name: str) -> None:
    method, config = METHODS[name], tiny_config(name)
    network = tiny_network(name, config)
    out = network(pictures(4))
    necks = network.get_submodule("necks")
    weight = necks.get_parameter("classifiers.global.weight")
    torch.testing.assert_close(out.logits["global"], out.normed @ weight.T)
    mean, variance = out.raw.mean(0), out.raw.var(0, unbiased=False)
    torch.testing.assert_close(out.normed, (out.raw - mean) / (variance + 1e-5).sqrt(), rtol=1e-3, atol=1e-3)
    terms = method.losses(out, tiny_batch(), config)
    other = method.losses(out._replace(raw=out.raw * 3 + 1), tiny_batch(), config)
    assert terms["identity"] == other["identity"]
    assert terms["triplet"] != other["triplet"]
    other = method.losses(out._replace(logits={"global": -out.logits["global"]}), tiny_batch(), config)
    assert terms["identity"] != other["identity"]
    assert terms["triplet"] == other["triplet"]


@pytest.mark.parametrize(("method", "config"), configs().values(), ids=configs())
def test_C11_configs_go_to_a_card_and_back(method: str, config: Any) -> None:
    again = rebuilt(METHODS[method].config, json.loads(json.dumps(plain(config))))
    assert again == config
    assert repr(again) == repr(config)  # 1 is not 1.0, and a list is no tuple


def test_C11_a_rebuilt_config_makes_the_same_network(name: str) -> None:
    config = tiny_config(name)
    again = rebuilt(METHODS[name].config, json.loads(json.dumps(plain(config))))
    one, other = (encoded(name, tiny_network(name, c), pictures(2)) for c in (config, again))
    assert torch.equal(one.vectors, other.vectors)
    assert torch.equal(one.visibility, other.visibility)


@pytest.mark.parametrize(("name", "row"), ROWS.values(), ids=ROWS)
def test_each_published_row_builds_and_steps(name: str, row: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (bpbreid, pcb, pgfl_kd, pirt):
        monkeypatch.setattr(module, "make_backbone", thin)
    method, config = METHODS[name], dataclasses.replace(row, reduction=24) if hasattr(row, "reduction") else row
    network = tiny_network(name, config)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    cues = tiny_cues(4, highest=len(config.names) if name == "bpbreid" else 8)
    for _ in range(2):
        loss = torch.stack(list(method.losses(network(pictures(4), cues), tiny_batch(cues), config).values())).sum()
        assert loss.isfinite()
        assert untouched(network, loss) == []
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    bare = tiny_network(name, config, people=0)
    assert bare.state_dict().keys() <= network.state_dict().keys()
    embedding = encoded(name, network, pictures(2), tiny_cues(2))
    assert embedding.vectors.isfinite().all()


@pytest.mark.parametrize("name", ["bot", "bpbreid"])
def test_C10_warm_up_and_steps_of_the_bag_of_tricks(name: str) -> None:
    at = [learning_rate(METHODS[name].recipe, epoch) for epoch in (0, 5, 10, 39, 40, 69, 70, 119)]
    assert at == pytest.approx([3.5e-5, 1.925e-4, 3.5e-4, 3.5e-4, 3.5e-5, 3.5e-5, 3.5e-6, 3.5e-6])
    recipe = METHODS[name].recipe
    assert (recipe.height, recipe.width, recipe.people, recipe.images, recipe.epochs) == (256, 128, 16, 4, 120)
    assert (recipe.optimiser, recipe.weight_decay) == ("adam", 5e-4)


def test_C10_released_code_starts_its_warm_up_lower() -> None:
    recipe = dataclasses.replace(bpbreid.RECIPE, warmup_from=0.01)
    assert learning_rate(recipe, 0) == pytest.approx(3.5e-6)
    assert learning_rate(recipe, 10) == pytest.approx(3.5e-4)


def test_C10_warm_up_and_cosine_of_the_transformer() -> None:
    recipe = METHODS["vit"].recipe
    at = [learning_rate(recipe, epoch) for epoch in (0, 2.5, 5, 62.5, 120)]
    half = 0.008 * (0.002 + 0.998 * 0.5)
    assert at == pytest.approx([0.00008, 0.00404, 0.008, half, 0.000016])
    assert (recipe.optimiser, recipe.weight_decay, recipe.bias_lr, recipe.epochs) == ("sgd", 1e-4, 2.0, 120)


def test_C10_pcb_has_no_warm_up_and_one_step() -> None:
    recipe = METHODS["pcb"].recipe
    at = [learning_rate(recipe, epoch) for epoch in (0, 39.9, 40, 60)]
    assert at == pytest.approx([0.1, 0.1, 0.01, 0.01])
    assert (recipe.height, recipe.width, recipe.epochs, recipe.speeds) == (384, 128, 60, (("backbone", 0.1),))


def test_C10_pirt_stays_at_its_rate_before_the_cosine() -> None:
    recipe = METHODS["pirt"].recipe
    at = [learning_rate(recipe, epoch) for epoch in (0, 5, 10, 20, 30, 45, 60)]
    middle = 1e-6 + (3.5e-4 - 1e-6) / 2
    assert at == pytest.approx([3.5e-6, 1.7675e-4, 3.5e-4, 3.5e-4, 3.5e-4, middle, 1e-6])
    assert (recipe.height, recipe.width, recipe.people, recipe.images, recipe.epochs) == (384, 128, 16, 4, 60)
    assert (recipe.optimiser, recipe.weight_decay) == ("adam", 5e-4)


def test_networks_are_as_many_people_wide_as_asked(name: str, network: nn.Module) -> None:
    out = network(pictures(4), tiny_cues(4))
    assert {logits.shape[-1] for logits in out.logits.values()} == {PEOPLE}
    assert tiny_network(name, tiny_config(name), people=0)(pictures(4), tiny_cues(4)).logits == {}
