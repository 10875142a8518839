"""What every method promises, whatever it is."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from halfseen.methods import METHODS, bpbreid, pcb
from halfseen.recipe import learning_rate
from halfseen.types import Cues, Embedding, InputError
from tiny_methods import PEOPLE, pictures, thin, tiny_batch, tiny_config, tiny_cues, tiny_network, untouched

NAMES = sorted(METHODS)
ROWS: dict[str, tuple[str, Any]] = {f"bpbreid {name}": ("bpbreid", row) for name, row in bpbreid.ROWS.items()}
ROWS |= {f"pcb {name}": ("pcb", row) for name, row in pcb.ROWS.items()}


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def network(name: str) -> nn.Module:
    return tiny_network(name, tiny_config(name))


def encoded(name: str, network: nn.Module, images: Tensor, cues: Cues | None = None) -> Embedding:
    network.eval()
    with torch.no_grad():
        return METHODS[name].embed(network(images, cues))


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
    each = [encoded(name, network, image[None]) for image in images]
    torch.testing.assert_close(both.vectors, torch.cat([e.vectors for e in each]), rtol=1e-4, atol=1e-5)
    assert torch.equal(both.visibility, torch.cat([e.visibility for e in each]))


def test_C13_evaluation_does_not_look_at_cues_that_are_not_declared(name: str, network: nn.Module) -> None:
    assert METHODS[name].needs["test"] == frozenset()
    with_cues = encoded(name, network, pictures(2), tiny_cues(2))
    without = encoded(name, network, pictures(2))
    assert torch.equal(with_cues.vectors, without.vectors)
    assert torch.equal(with_cues.visibility, without.visibility)


def test_training_does_not_look_at_cues_that_are_not_declared(name: str, network: nn.Module) -> None:
    method, config = METHODS[name], tiny_config(name)
    network.train()
    out = network(pictures(4))
    if method.needs["train"]:
        with pytest.raises(InputError, match="no cue says where"):
            method.losses(out, tiny_batch(Cues()), config)
    else:
        bare, told = (method.losses(out, tiny_batch(cues), config) for cues in (Cues(), None))
        assert bare == told


def test_each_loss_is_one_number_and_their_sum_teaches_every_parameter(name: str, network: nn.Module) -> None:
    network.train()
    terms = METHODS[name].losses(network(pictures(4)), tiny_batch(), tiny_config(name))
    assert terms
    assert all(term.shape == () and term.isfinite() and term > 0 for term in terms.values())
    assert untouched(network, torch.stack(list(terms.values())).sum()) == []


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
    state = dict(network.get_submodule("necks").named_parameters())
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


def configs() -> dict[str, tuple[str, Any]]:
    return {name: (name, METHODS[name].config()) for name in NAMES} | ROWS


@pytest.mark.parametrize(("method", "config"), configs().values(), ids=configs())
def test_C11_configs_go_to_json_and_back(method: str, config: Any) -> None:
    saved = json.loads(json.dumps(dataclasses.asdict(config)))
    assert METHODS[method].config(**saved) == config


def test_C11_a_rebuilt_config_makes_the_same_network(name: str) -> None:
    config = tiny_config(name)
    rebuilt = METHODS[name].config(**json.loads(json.dumps(dataclasses.asdict(config))))
    one, other = (encoded(name, tiny_network(name, c), pictures(2)) for c in (config, rebuilt))
    assert torch.equal(one.vectors, other.vectors)
    assert torch.equal(one.visibility, other.visibility)


@pytest.mark.parametrize(("name", "row"), ROWS.values(), ids=ROWS)
def test_each_published_row_builds_and_steps(name: str, row: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (bpbreid, pcb):
        monkeypatch.setattr(module, "make_backbone", thin)
    method, config = METHODS[name], dataclasses.replace(row, reduction=6)
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
    assert at == pytest.approx([0.01, 0.01, 0.001, 0.001])
    assert (recipe.height, recipe.width, recipe.epochs) == (384, 128, 60)


def test_networks_are_as_many_people_wide_as_asked(name: str, network: nn.Module) -> None:
    out = network(pictures(4))
    assert {logits.shape[-1] for logits in out.logits.values()} == {PEOPLE}
    assert tiny_network(name, tiny_config(name), people=0)(pictures(4)).logits == {}
