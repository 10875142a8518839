"""What BPBreID compares at test time, what its configuration allows, and the rows of its tables."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from halfseen.methods import bpbreid
from halfseen.methods.bpbreid import HOLISTIC, ROWS, Config, distance, needs, table
from halfseen.ops.distance import distances
from halfseen.ops.groupings import GROUPINGS
from halfseen.ops.losses import GiltTable
from halfseen.types import Embedding, InputError
from tiny_methods import compared, pictures, sharp, thin, tiny_batch, tiny_config, tiny_cues, tiny_network, untouched

GILT = {"global": (1, 0), "foreground": (1, 0), "concat": (1, 0), "parts": (0, 1)}  # eq. 6
UNTAUGHT = "and gilt gives no weight to a loss that would teach the reduction of"


@pytest.fixture(autouse=True)
def _thin_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpbreid, "make_backbone", thin)


def test_what_is_compared_is_the_foreground_behind_its_neck_and_the_parts_before_any() -> None:
    network = sharp(threshold=0.4)
    out, embedding = compared(network)
    norm = network.get_submodule("necks.norms.foreground")
    mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    normed = (out.vectors["foreground"] - mean) / (variance + 1e-5).sqrt()
    torch.testing.assert_close(embedding.vectors[:, 0], normed)
    assert torch.equal(embedding.vectors[:, 1:], out.vectors["parts"])
    assert torch.equal(embedding.visibility[:, 1:].bool(), out.maps[:, 1:].amax((2, 3)) > 0.4)
    assert 0 < embedding.visibility[:, 1:].mean() < 1


@pytest.mark.parametrize("part", range(6))
def test_a_part_may_be_compared_alone(part: int) -> None:
    name = GROUPINGS["six"][part][0]
    network = sharp(parts=6, test=(name,), threshold=0.5)
    out, embedding = compared(network)
    assert torch.equal(embedding.vectors[:, 0], out.vectors["parts"][:, part])
    assert torch.equal(embedding.visibility[:, 0].bool(), out.maps[:, 1 + part].amax((1, 2)) > 0.5)


def test_eq9_is_the_mean_over_what_both_show() -> None:
    vectors = torch.randn(3, 9, 4, generator=torch.Generator().manual_seed(0))
    seen = torch.tensor([[1.0] * 9, [1.0, 1, 0, 0, 0, 0, 0, 0, 1], [1.0] + [0] * 8])
    units = (vectors / vectors.norm(dim=2, keepdim=True)).tolist()
    matrix = distances(distance(Config()), Embedding(vectors, seen), Embedding(vectors, seen))
    for i in range(3):
        for j in range(3):
            both = [k for k in range(9) if seen[i, k] and seen[j, k]]
            want = math.fsum(math.dist(units[i][k], units[j][k]) for k in both) / len(both)
            assert matrix[i, j].item() == pytest.approx(want, abs=2e-3)


def test_pairs_without_a_common_part_are_infinitely_far_or_behind_all_others() -> None:
    one, other = (Embedding(torch.eye(2)[None], torch.tensor([row])) for row in ([1.0, 0], [0, 1.0]))
    assert distances(distance(Config()), one, other).item() == math.inf
    behind = distances(distance(Config(on_empty="max+1")), one, other).item()
    assert 2 < behind < math.inf


def test_fixed_attention_needs_cues_and_learns_none() -> None:
    network = sharp(attention="fixed")
    assert not any("pixels" in name for name in network.state_dict())
    with pytest.raises(InputError, match="no cue says where"):
        network(pictures(2))
    cues = tiny_cues(2)
    out, _ = compared(network, 2, cues)
    assert cues.parts is not None
    labels = cues.parts[:, ::16, ::16]
    assert torch.equal(out.maps.argmax(1), labels)
    assert "pixels" not in bpbreid.losses(network(pictures(4), tiny_cues(4)), tiny_batch(), Config(attention="fixed"))
    where = {"parts", "fields", "keypoints"}
    assert needs(Config(attention="fixed")) == {"train": where, "test": where}
    assert needs(Config()) == {"train": where, "test": frozenset()} == bpbreid.METHOD.needs


def test_a_network_for_no_people_has_only_what_is_tested() -> None:
    def parts_of(config: Config) -> set[str]:
        state = tiny_network("bpbreid", config, people=0).state_dict()
        return {".".join(name.split(".")[:-2]) for name in state if name.startswith(("reductions", "necks"))}

    assert parts_of(Config()) == {"reductions.foreground", "reductions.parts", "necks.norms"}
    assert parts_of(Config(test=("global",))) == {"reductions.global", "necks.norms"}
    assert parts_of(Config(test=("parts",))) == {"reductions.parts"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parts": 9}, "no grouping has or is called 9; give a number of parts from 1 to 8"),
        ({"parts": "nine"}, "no grouping has or is called 'nine'"),
        ({"attention": "soft"}, "attention is 'soft'; allowed are learned, fixed"),
        ({"foreground": "sum"}, "foreground is 'sum'; allowed are mask, grid"),
        ({"visibility": "max"}, "visibility is 'max'; allowed are threshold, argmax, none"),
        ({"triplet": "all"}, "triplet is 'all'; allowed are averaged, per-part"),
        (
            {"reduction": 0},
            "reduction is 0, threshold 0.4 and pixel_weight 0.35; give a reduction of 1 or more, or none",
        ),
        ({"reduction": -1}, "reduction is -1"),
        ({"threshold": 5.0}, "threshold 5.0 .*a threshold from 0 to 1"),
        ({"pixel_weight": -1.0}, "pixel_weight -1.0; .*a weight of 0 or more"),
        ({"pixel_weight": math.nan}, "pixel_weight nan"),
        ({"test": ("tail",)}, "test is tail; name one or more of global, foreground, concat, parts, head, left_arm"),
        ({"test": ()}, "test is empty; name one or more"),
        ({"test": ("concat", "parts")}, "concat, which is longer than the others, alone"),
        ({"test": ("left_foot",), "parts": 6}, "test is left_foot; name one or more"),
        ({"gilt": {"body": (1, 0)}}, "name one of global, foreground, concat, parts"),
        ({"gilt": {}}, "no loss at all"),
        (
            {"gilt": table("gc", "p")},
            f"test is foreground, parts, {UNTAUGHT} foreground; give it some, take foreground",
        ),
        ({"gilt": table("fc", "p"), "test": ("global",)}, f"test is global, {UNTAUGHT} global; give it some"),
        (
            {"gilt": table("gf", "gf")},
            f"{UNTAUGHT} parts; give it some, take parts out of test, or set reduction to none",
        ),
        ({"gilt": table("gf", "gf"), "test": ("concat",)}, f"{UNTAUGHT} concat"),
        ({"gilt": table("gf", "gf"), "test": ("foreground", "head")}, f"{UNTAUGHT} head"),
    ],
)
def test_what_is_no_config_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny_config("bpbreid", **changes)


@pytest.mark.parametrize(
    ("gilt", "test"),
    [
        (table("gc", ""), ("parts",)),  # of one reduction with those end to end
        (table("g", "p"), ("concat",)),
        (table("", "fp"), ("foreground", "torso")),
    ],
)
def test_what_is_compared_is_taught_by_some_loss(gilt: GiltTable, test: tuple[str, ...]) -> None:
    config = tiny_config("bpbreid", gilt=gilt, test=test, reduction=6)
    network = tiny_network("bpbreid", config)
    loss = torch.stack(list(bpbreid.losses(network(pictures(4)), tiny_batch(), config).values())).sum()
    assert untouched(network, loss) == []


def test_without_a_reduction_the_backbone_teaches_everything() -> None:
    config = Config(gilt=table("g", ""), reduction=None)
    assert config.test == ("foreground", "parts")


def test_the_published_tables_are_all_there() -> None:
    three = [name.removeprefix("3-") for name in ROWS if name.startswith("3-")]
    parts = ["head", "torso", "left_arm", "right_arm", "legs", "feet"]
    assert three == [*HOLISTIC, *parts, "parts", "foreground-parts"]
    assert all(ROWS[f"3-{name}"].grouping == "six" for name in three)
    assert len([name for name in ROWS if name.startswith("2-")]) == 4
    four = {name: row.gilt for name, row in ROWS.items() if name.startswith("4-")}
    assert len(four) == len({tuple(gilt.items()) for gilt in four.values()}) == 14
    assert list(four.values())[:2] == [GILT, dict.fromkeys(GILT, (1, 1))]


def test_letters_spell_a_table() -> None:
    assert table("gfc", "p") == GILT
    assert table("p", "gf") == {"global": (0, 1), "foreground": (0, 1), "concat": (0, 0), "parts": (1, 0)}
