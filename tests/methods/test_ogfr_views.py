"""OGFR's patterns, and which branch sees which pictures with what."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from halfseen.methods import METHODS, ogfr
from halfseen.nets.patterns import PATTERNS, STRENGTH, Patterns
from halfseen.nets.purification import Agent
from halfseen.ops.parts import grid_labels
from halfseen.types import Cues, InputError
from pairs import NOBODY, drawn, into_top, look, reached
from tiny_methods import pictures, tiny_batch, tiny_config, tiny_cues, tiny_network

# --- Patterns ---


def test_O7_at_the_beginning_it_is_the_plain_transformer_whatever_is_predicted() -> None:
    network = drawn().eval()
    trunk = network.backbone
    with torch.no_grad():
        out = network(pictures(3))
        plain = trunk.norm(trunk.run(trunk.embed(pictures(3))))
    assert out.patterns.softmax(1).std() > 0.05
    assert torch.equal(out.student.vectors["global"], plain[:, 0])


def test_patterns_are_told_a_third_of_the_way_up() -> None:
    network, noted = drawn().eval(), []
    assert network.patterns is not None
    network.patterns.register_forward_pre_hook(lambda _, inputs: noted.append(inputs[0]))
    with torch.no_grad():
        network(pictures(2))
        want = network.backbone.run(network.backbone.embed(pictures(2)), last=2)  # of six blocks
    assert torch.equal(noted[0], want)


def test_O7_no_pattern_adds_nothing_however_long_it_is_trained() -> None:
    torch.manual_seed(0)
    patterns = Patterns(8)
    optimiser = torch.optim.SGD(patterns.parameters(), lr=1.0, weight_decay=0.1)
    tokens = torch.randn(6, 4, 8)
    torch.autograd.backward(patterns(tokens)[0].square().sum())
    optimiser.step()
    assert patterns.embeddings.abs().min() > 0
    known = torch.tensor([0, 3, 0, 1, 5, 0])
    got, _ = patterns(tokens, known)
    assert torch.equal(got[known == 0], tokens[known == 0])
    for row in (1, 3, 4):
        torch.testing.assert_close(got[row], tokens[row] + STRENGTH * patterns.embeddings[known[row] - 1])


def test_the_predicted_mixture_is_added_to_all_tokens() -> None:
    torch.manual_seed(0)
    patterns = Patterns(8)
    nn.init.normal_(patterns.embeddings)
    tokens = torch.randn(2, 4, 8)
    got, logits = patterns(tokens)
    for row in range(2):
        shares = [value.exp() / logits[row].exp().sum() for value in logits[row]]
        mixture = torch.stack([shares[m + 1] * patterns.embeddings[m] for m in range(PATTERNS)]).sum(0)
        torch.testing.assert_close(got[row], tokens[row] + 3 * mixture)  # λ_o


def test_true_patterns_are_used_in_training_and_predicted_ones_at_test_time() -> None:
    forced, soft = (drawn(pattern=pattern) for pattern in ("forced", "soft"))
    for network in (forced, soft):
        assert network.patterns is not None
        nn.init.normal_(network.patterns.embeddings, generator=torch.Generator().manual_seed(0))
    kinds = [
        Cues(parts=tiny_cues(8).parts, occluder=torch.tensor([0] * 4 + kinds)) for kinds in ([1, 2, 3, 4], [2, 2, 3, 4])
    ]
    one, other = (look(forced, cues=cues).student.vectors["global"] for cues in kinds)
    assert torch.equal(one[1:], other[1:])
    assert not torch.allclose(one[0], other[0])
    assert torch.equal(*(look(soft, cues=cues).student.vectors["global"] for cues in kinds))
    with torch.no_grad():
        at_test = [network.eval()(pictures(2), cues) for network in (forced, soft) for cues in (None, kinds[0])]
    assert all(torch.equal(out.student.vectors["global"], at_test[0].student.vectors["global"]) for out in at_test)


def test_pattern_tokens_go_along_and_are_no_patches() -> None:
    network, plain = drawn(pattern="token"), drawn(pattern="none")
    assert network.tokens is not None
    plain.load_state_dict({key: value for key, value in network.state_dict().items() if key != "tokens"})
    assert into_top(network, pictures(8)).shape[1] == 1 + 8 + PATTERNS
    assert into_top(plain, pictures(8)).shape[1] == 1 + 8
    out, without = look(network), look(plain)
    assert out.patterns is None
    assert not torch.allclose(out.student.vectors["global"], without.student.vectors["global"])
    assert out.student.maps is not None
    assert out.student.maps.shape == (4, 9, 4, 2)


# --- Who sees what ---


@pytest.mark.parametrize(
    ("student", "rows"), [("holistic", [0, 1, 2, 3]), ("occluded", [4, 5, 6, 7]), ("both", [*range(8)])]
)
@pytest.mark.parametrize("teacher", ["shared", "separate", "none"])
def test_branches_read_the_pictures_that_they_are_for(student: str, rows: list[int], teacher: str) -> None:
    agent = NOBODY if teacher == "none" else Agent(warmup=0)
    network = drawn(student=student, teacher=teacher, agent=agent)
    before = look(network)
    assert len(before.student.vectors["global"]) == len(rows)
    assert before.patterns is not None
    assert len(before.patterns) == (8 if teacher == "shared" else len(rows))
    for changed in (0, 5):
        images = pictures(8)
        images[changed] += 1
        after = look(network, images)
        moved = (after.student.vectors["global"] != before.student.vectors["global"]).any(1)
        assert moved.tolist() == [row == changed for row in rows]
        if teacher != "none":
            assert before.teacher is not None
            assert after.teacher is not None
            moved = (after.teacher.vectors["global"] != before.teacher.vectors["global"]).any(1)
            assert moved.tolist() == [row == changed for row in range(4)]


def test_a_separate_teacher_shares_no_parameter_and_a_shared_one_only_what_lies_below_the_top() -> None:
    for teacher, own in (("separate", 6), ("shared", 1)):
        network = drawn(teacher=teacher)
        assert network.teacher is not None
        mine = {id(value) for value in network.teacher.parameters()}
        assert not mine & {id(value) for value in [*network.backbone.parameters(), *network.student.parameters()]}
        assert sum(name.endswith("attn.qkv.weight") for name, _ in network.teacher.named_parameters()) == own
        terms = ogfr.losses(look(network), tiny_batch(), network.config)
        learn = reached(network, terms["teacher_identity_global"])
        assert ("backbone.network.blocks.4.attn.qkv.weight" in learn) is (teacher == "shared")
        assert "backbone.network.blocks.5.attn.qkv.weight" not in learn


def test_a_separate_teacher_learns_its_own_positions_and_nobody_elses() -> None:
    network = drawn(teacher="separate")
    out = look(network)
    terms = ogfr.losses(out, tiny_batch(), network.config)
    own = torch.stack([term for name, term in terms.items() if name.startswith("teacher_")]).sum()
    assert all(name.startswith("teacher.") for name in reached(network, own + terms["policy"]))


def test_O10_at_test_time_there_is_no_teacher_and_nobody_calls_one(monkeypatch: pytest.MonkeyPatch) -> None:
    network = drawn()
    assert network.teacher is not None
    called: list[nn.Module] = []
    for module in network.teacher.modules():
        module.register_forward_hook(lambda module, _, __: called.append(module))
    with torch.no_grad():
        out = network.eval()(pictures(2))
    assert called == []
    assert (out.teacher, out.target, out.trial) == (None, None, None)
    look(network.train())
    assert called

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(ogfr, "Teacher", refuse)
    monkeypatch.setattr("halfseen.nets.branches.Purifier", refuse)
    bare = tiny_network("ogfr", tiny_config("ogfr"), people=0)
    assert not any(name.startswith("teacher") for name in bare.state_dict())
    with pytest.raises(AssertionError):
        tiny_network("ogfr", tiny_config("ogfr"))


def test_a_step_in_bfloat16_is_judged_in_float32() -> None:
    network = drawn()
    with torch.autocast("cpu", torch.bfloat16):
        out = look(network)
    assert out.trial is not None
    assert {judged.logits.dtype for judged in (out.trial.kept, out.trial.drawn, out.trial.greedy)} == {torch.float32}
    assert all(term.isfinite() for term in ogfr.losses(out, tiny_batch(), network.config).values())


def test_fixed_attention_takes_its_maps_from_the_cues_of_each_twin() -> None:
    network = drawn(attention="fixed")
    labels = torch.zeros(8, 64, 32, dtype=torch.int64)
    labels[:4, :16], labels[4:, 48:] = 1, 6  # heads above in the whole pictures, right legs below in the others
    out = look(network, cues=Cues(parts=labels))
    assert out.maps is not None
    assert out.teacher is not None
    assert out.teacher.maps is not None
    assert out.maps[:, 6].tolist() == [[[0, 0]] * 3 + [[1, 1]]] * 4
    assert out.teacher.maps[:, 1].tolist() == [[[1, 1]] + [[0, 0]] * 3] * 4
    with torch.no_grad():
        embedding = METHODS["ogfr"].embed(network.eval()(pictures(2), Cues(parts=labels[6:])))
    assert embedding.visibility.tolist() == [[1, 0, 0, 0, 0, 0, 1, 0, 0]] * 2
    with pytest.raises(InputError, match="no cue says where"):
        network(pictures(2))


def test_with_fixed_attention_parts_are_seen_by_the_rule_that_they_are_taught_by() -> None:
    network = drawn(attention="fixed").eval()
    labels = torch.zeros(2, 64, 32, dtype=torch.int64)  # patches of 16×16, of which one is shared by three:
    labels[:, 16:21, :16], labels[:, 21:26, :16] = 2, 4  # a left arm and a torso have 5 rows each, the background 6
    cues = Cues(parts=labels)
    assert set(grid_labels(cues, "eight", (4, 2), (64, 32)).flatten().tolist()) == {0, 2}
    with torch.no_grad():
        out = network(pictures(2), cues)
    assert METHODS["ogfr"].embed(out).visibility[0].nonzero().flatten().tolist() == [0, 2]
    (exhibit,) = (each for each in ogfr.shows(out, network.config) if each.kind == "parts")
    assert exhibit.seen is not None
    assert exhibit.seen[0].nonzero().flatten().tolist() == [1]
