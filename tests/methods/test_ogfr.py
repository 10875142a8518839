"""OGFR's agent: what is erased and judged, and where gradients pass; settings that cannot be."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from halfseen.methods import ogfr
from halfseen.methods.ogfr import OGFR, Config
from halfseen.nets import reinforcement
from halfseen.nets.purification import Agent
from halfseen.ops.losses import pixel_parts
from halfseen.types import Batch, InputError
from pairs import NOBODY, drawn, into_top, look, reached
from tiny_methods import PIDS, pictures, tiny_batch

NEVER, ALWAYS = -50.0, 50.0  # logits of erasing
FIRST = 1  # patch: the class token comes before it


@pytest.mark.parametrize("credit", ["joint", "patch"])
def test_O3_the_policy_loss_teaches_the_policy_alone(credit: str) -> None:
    network = drawn(agent={"warmup": 0, "credit": credit})
    terms = ogfr.losses(look(network), tiny_batch(), network.config)
    policy = "teacher.purifier.policy."
    assert reached(network, terms["policy"]) == {
        name for name, _ in network.named_parameters() if name.startswith(policy)
    }
    others = torch.stack([term for name, term in terms.items() if name != "policy"]).sum()
    assert not any(name.startswith(policy) for name in reached(network, others))


@pytest.mark.parametrize("judged", ["global", "parts"])
def test_O4_erasing_nothing_is_the_picture_as_it_was_and_earns_minus_eta_rho(judged: str) -> None:
    agent = {"warmup": 0, "judged": judged, "greedy": "likely"}
    network = drawn(NEVER, drop_path=0.5, agent=agent)  # which the teacher's last block does not have
    out = look(network)
    assert out.trial is not None
    assert torch.equal(out.trial.swapped, out.trial.patches)
    for other in (out.trial.drawn, out.trial.greedy):
        assert torch.equal(other.vectors, out.trial.kept.vectors)
        assert torch.equal(other.logits, out.trial.kept.logits)
    seen = ogfr.watch(out, tiny_batch(), network.config)
    assert seen["reward"].item() == torch.tensor(-0.15).item()
    assert [seen[name].item() for name in ("erased", "keeps_all", "erases_all")] == [0, 1, 0]


def test_O4_erasing_all_leaves_patches_that_know_nothing_of_the_picture() -> None:
    network = drawn(ALWAYS)
    one, other = (into_top(network, pictures(8, seed)) for seed in (0, 1))
    assert torch.equal(one[:, FIRST:], other[:, FIRST:])
    assert torch.equal(one[0, FIRST:], one[1, FIRST:])
    assert not torch.allclose(one[:, 0], other[:, 0])  # the class token still does
    seen = ogfr.watch(look(network), tiny_batch(), network.config)
    assert [seen[name].item() for name in ("erased", "keeps_all", "erases_all")] == [1, 0, 1]


def test_the_agent_sees_what_goes_into_the_last_block() -> None:
    network, seen = drawn(NEVER), []
    assert network.teacher is not None
    assert network.teacher.purifier is not None
    hook = network.teacher.purifier.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    tokens = into_top(network, pictures(8))
    hook.remove()
    assert torch.equal(seen[0], tokens[:, FIRST:])
    assert torch.equal(seen[1], tokens[:, 0])
    assert torch.equal(seen[2], network.backbone.positions)


@pytest.mark.parametrize(("bias", "learns"), [(NEVER, False), (ALWAYS, True)])
def test_O5_the_token_learns_where_it_stands(bias: float, learns: bool) -> None:
    network = drawn(bias)
    terms = ogfr.losses(look(network), tiny_batch(), network.config)
    assert ("teacher.purifier.token" in reached(network, terms["teacher_identity_global"])) is learns


@pytest.mark.parametrize("changes", [{}, {"agent": NOBODY}, {"teacher": "separate"}, {"attention": "fixed"}])
def test_O6_distillation_does_not_teach_the_teacher(changes: dict[str, Any]) -> None:
    network = drawn(**changes)
    terms = ogfr.losses(look(network), tiny_batch(), network.config)
    for name in ("mse", "cosine", "cosine_parts", "kl"):
        taught = reached(network, terms[name])
        assert "backbone.network.blocks.5.attn.qkv.weight" in taught, name
        assert not any(parameter.startswith("teacher.") for parameter in taught), name


def test_the_teacher_learns_from_what_was_drawn_and_teaches_the_likeliest() -> None:
    agent = {"warmup": 0, "judged": "global", "greedy": "likely"}
    network = drawn(-0.5, agent=agent)  # many are drawn, and none is likelier erased than not
    out = look(network)
    assert out.trial is not None
    assert out.teacher is not None
    assert out.target is not None
    assert out.trial.choice.action.any()
    assert torch.equal(out.teacher.vectors["global"], out.trial.drawn.vectors)
    assert torch.equal(out.target.vectors["global"], out.trial.kept.vectors)
    assert not torch.allclose(out.target.vectors["global"], out.teacher.vectors["global"])
    assert not out.target.vectors["parts"].requires_grad


@pytest.mark.parametrize("attention", ["learned", "fixed"])
def test_parts_judge_as_the_teacher_would_at_test_time(attention: str) -> None:
    network = drawn(agent={"warmup": 0, "judged": "parts"}, attention=attention)
    tokens = into_top(copy.deepcopy(network), pictures(8))  # those with patches erased go in first
    out = look(network)
    assert out.trial is not None
    assert out.teacher is not None
    assert network.teacher is not None
    with torch.no_grad():
        want = network.teacher.branch.eval()(
            network.teacher.top(tokens), out.teacher.maps
        )  # learned ones it draws anew
    torch.testing.assert_close(out.trial.drawn.vectors, want.vectors["parts"].flatten(1))
    torch.testing.assert_close(out.trial.drawn.logits, want.logits["parts"])


@pytest.mark.parametrize("attention", ["learned", "fixed"])
@pytest.mark.parametrize("pools", ["all", "kept"])
def test_what_was_erased_is_pooled_or_left_out(pools: str, attention: str) -> None:
    network = drawn(agent={"warmup": 0, "pools": pools}, attention=attention)
    assert network.teacher is not None
    out = look(network)
    assert out.trial is not None
    action = out.trial.choice.action
    assert 0 < action.sum() < action.numel()
    branch = network.teacher.branch.eval()
    tokens = torch.randn(len(action), FIRST + action.shape[1], network.backbone.dim)
    other = tokens.clone()
    other[:, FIRST:][action] += 1.0  # which only who pools what is gone would notice
    maps = None if attention == "learned" else out.student.maps
    gone = action if pools == "kept" else None
    one, two = (branch(each, maps, gone).vectors["parts"] for each in (tokens, other))
    assert torch.equal(one, two) == (pools == "kept")
    judged = [branch.judged(each, maps, "parts", gone) for each in (tokens, other)]
    assert torch.equal(judged[0].logits, judged[1].logits) == (pools == "kept")
    torch.testing.assert_close(judged[0].vectors, one.flatten(1))


def test_who_pools_what_was_kept_is_not_taught_that_the_rest_is_somebody() -> None:
    batch = tiny_batch()
    for pools in ("all", "kept"):
        network = drawn(ALWAYS, agent={"warmup": 0, "pools": pools})
        out = look(network)
        assert out.teacher is not None
        assert out.teacher.pixels is not None
        term = ogfr.losses(out, batch, network.config)["teacher_pixels"]
        nobody = torch.zeros_like(out.teacher.pixels[:, 0]).long()
        background = pixel_parts(out.teacher.pixels, nobody, ogfr.SMOOTHING)
        assert torch.equal(term, background) == (pools == "kept")
        assert reinforcement.left(None, out.trial, network.config.agent) is None


def test_judging_leaves_all_statistics_as_they_are() -> None:
    looked = {judged: drawn(agent={"warmup": 0, "judged": judged}) for judged in ("global", "parts")}
    for network in looked.values():
        look(network)
    other = looked["parts"].state_dict()
    assert all(torch.equal(value, other[name]) for name, value in looked["global"].state_dict().items())


def test_what_parts_show_tells_the_agent_of_every_patch() -> None:
    """A class token that hangs on nothing but itself gains nothing, whatever is erased; parts do."""
    gains = {}
    for judged in ("global", "parts"):
        network = drawn(-0.5, agent={"warmup": 0, "judged": judged, "reward": (1.0, 0.1, 0.0)})
        assert network.teacher is not None
        for block in network.teacher.top.modules():
            if isinstance(block, torch.nn.Linear) and block.out_features == block.in_features:
                torch.nn.init.zeros_(block.weight)  # attention's last layer: patches tell each other nothing
                torch.nn.init.zeros_(block.bias)
        gains[judged] = ogfr.watch(look(network), tiny_batch(), network.config)["reward"].abs().item()
    assert gains["global"] < 1e-6
    assert gains["parts"] > 1e-3


def test_random_erasure_has_no_policy() -> None:
    network = drawn(agent={"kind": "random", "rate": 0.5, "warmup": 0})
    out = look(network)
    assert out.teacher is not None
    assert out.target is not None
    assert not torch.equal(out.target.vectors["global"], out.teacher.vectors["global"])
    assert not any("policy" in name for name, _ in network.named_parameters())
    assert "policy" not in ogfr.losses(out, tiny_batch(), network.config)
    assert 0.2 < ogfr.watch(out, tiny_batch(), network.config)["erased"] < 0.8


def test_random_erasure_without_parts_is_judged_by_the_whole() -> None:
    network = drawn(agent={"kind": "random", "judged": "global", "warmup": 0}, attention="none")
    out = look(network)
    assert all(term.isfinite() for term in ogfr.losses(out, tiny_batch(), network.config).values())
    assert ogfr.watch(out, tiny_batch(), network.config)["reward"].isfinite()


def test_known_erasure_is_of_what_the_labels_of_whole_pictures_leave_out() -> None:
    network = drawn(agent={"kind": "known", "pools": "kept", "warmup": 0})
    out = look(network)
    batch = tiny_batch()
    assert out.trial is not None
    assert batch.cues.parts is not None
    nobody = (batch.cues.parts[:, ::16, ::16] == 0).flatten(1)
    assert 0 < nobody.sum() < nobody.numel()
    assert torch.equal(out.trial.choice.action, nobody)
    terms = ogfr.losses(out, batch, network.config)
    assert "policy" not in terms
    assert all(term.isfinite() for term in terms.values())
    assert ogfr.watch(out, batch, network.config)["erased"].item() == pytest.approx(nobody.float().mean().item())


def test_known_erasure_without_parts_wants_labels_to_learn_from_all_the_same() -> None:
    agent = Agent(kind="known", judged="global")
    assert ogfr.needs(Config(agent=agent, attention="none"))["train"] == ogfr.needs(Config())["train"] != frozenset()
    network = drawn(agent={"kind": "known", "judged": "global", "warmup": 0}, attention="none")
    assert all(term.isfinite() for term in ogfr.losses(look(network), tiny_batch(), network.config).values())


def test_without_an_agent_the_teacher_teaches_what_it_sees() -> None:
    network = drawn(agent=NOBODY)
    out = look(network)
    assert out.teacher is out.target
    assert out.trial is None
    assert ogfr.watch(out, tiny_batch(), network.config) == {}


def test_a_stopped_training_goes_on_to_the_same_bits_through_the_warm_up() -> None:
    def steps(network: OGFR, numbers: range) -> None:
        for number in numbers:
            out = look(network, seed=number)
            total = torch.stack([*ogfr.losses(out, tiny_batch(), network.config).values()]).sum()
            named = [value for value in network.parameters() if value.requires_grad]
            with torch.no_grad():
                for value, slope in zip(named, torch.autograd.grad(total, named, allow_unused=True), strict=True):
                    if slope is not None:
                        value.sub_(0.01 * slope)

    agent = {"warmup": 4, "rate": 0.5}  # the first was spent when the network was drawn
    through, stopped = (drawn(1.0, agent=agent) for _ in range(2))
    steps(through, range(5))
    steps(stopped, range(2))
    resumed = drawn(agent=agent)
    resumed.load_state_dict(copy.deepcopy(stopped.state_dict()))
    steps(resumed, range(2, 5))
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in through.state_dict().items())
    assert through.state_dict()["teacher.purifier.steps"] == 6


def test_during_the_warm_up_every_parameter_has_its_gradient_be_it_zero() -> None:
    """Several processes wait for all gradients of each other."""
    network = drawn(agent={"warmup": 100})
    loss = torch.stack([*ogfr.losses(look(network), tiny_batch(), network.config).values()]).sum()
    named = {name: value for name, value in network.named_parameters() if value.requires_grad}
    slopes = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    assert [name for name, slope in zip(named, slopes, strict=True) if slope is None] == []


def test_training_wants_twins() -> None:
    network = drawn()
    out = look(network)
    with pytest.raises(InputError, match=r"ogfr learns from pictures and their occluded twins; leave --recipe\.twins"):
        ogfr.losses(out, Batch(tiny_batch().images, PIDS, PIDS), network.config)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"attention": "some"}, "attention is 'some'"),
        ({"pattern": "hard"}, "pattern is 'hard'; allowed are soft, forced, token, none"),
        ({"student": "neither"}, "student is 'neither'"),
        ({"teacher": "both"}, "teacher is 'both'"),
        ({"handed": "unit"}, "handed is 'unit'; allowed are raw, normed"),
        ({"parts": 9}, "9"),
        ({"teacher": "none"}, "set agent.kind to none too"),
        ({"weights": {"mae": 1.0}}, "weights gives 'mae' 1.0; give 0 or more to one of pixels, mse"),
        ({"weights": {"mse": -1.0}}, "weights gives 'mse' -1.0"),
        ({"agent": {"kind": "lazy"}}, "agent.kind is 'lazy'"),
        ({"agent": {"judged": "both"}}, "agent.judged is 'both'; allowed are global, parts"),
        (
            {"agent": {"judged": "parts"}, "attention": "none"},
            "there are none; set attention, or agent.judged to global",
        ),
        (
            {"agent": {"kind": "random"}, "attention": "none"},  # whose reward is told, if not learned from
            "there are none; set attention, or agent.judged to global",
        ),
    ],
)
def test_configs_that_cannot_be_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Config(**changes)
