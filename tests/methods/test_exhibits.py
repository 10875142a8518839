"""What methods have to show: it fits its pictures, and is what their networks made."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from halfseen.methods import METHODS, pirt, tsd
from halfseen.nets.heads import Seen
from halfseen.nets.reinforcement import erasures
from halfseen.recipe import Exhibit
from halfseen.types import Cues
from tiny_methods import IMAGE, PEOPLE, pictures, tiny_config, tiny_cues, tiny_network, tiny_views
from trials import trial

SHOWING = sorted(name for name, method in METHODS.items() if method.shows)


def shown(name: str, network: nn.Module, views: tuple[Tensor, Cues], **changes: Any) -> tuple[Any, list[Exhibit]]:
    """The Output of `network` for `views`, and what the method shows of it."""
    shows = METHODS[name].shows
    assert shows is not None
    with torch.no_grad():
        output = network(*views)
    return output, list(shows(output, tiny_config(name, **changes)))


def check(exhibit: Exhibit, rows: set[int]) -> None:
    count, values = len(exhibit.names), exhibit.values
    assert len(values) in rows
    assert values.isfinite().all()
    assert exhibit.title
    assert values.ndim == (2 if exhibit.kind == "bars" else 4)
    assert values.shape[1] == count + (exhibit.kind == "parts")
    if exhibit.kind in ("bars", "parts"):
        torch.testing.assert_close(values.sum(1), torch.ones_like(values.sum(1)))
    if exhibit.kind == "erased":
        assert {*values.flatten().tolist()} <= {0.0, 1.0}
    if exhibit.seen is not None:
        assert exhibit.seen.shape == (len(values), count)


@pytest.mark.parametrize("name", SHOWING)
def test_exhibits_fit_their_pictures(name: str) -> None:
    network = tiny_network(name, tiny_config(name)).eval()
    for exhibit in shown(name, network, (pictures(3), tiny_cues(3)))[1]:
        check(exhibit, {3})
    images, cues = tiny_views(name)
    network.training = True  # of the outermost module alone
    in_training = shown(name, network, (images, cues))[1]
    assert in_training
    for exhibit in in_training:
        check(exhibit, {4, len(images)})


def rows() -> dict[str, tuple[str, dict[str, Any]]]:
    """The configs of all rows but those of BPBreID, which differ in what is compared; each once."""
    told: dict[str, tuple[str, dict[str, Any]]] = {}
    for name in ("ogfr", "pgfl_kd", "pirt", "tsd"):
        for row, config in METHODS[name].rows.items():
            changes = {field.name: getattr(config, field.name) for field in fields(config) if field.name != "backbone"}
            if "reduction" in changes:
                changes["reduction"] = 16
            if (name, changes) not in told.values():
                told[f"{name} {row}"] = (name, changes)
    return told


@pytest.mark.parametrize(("name", "changes"), rows().values(), ids=rows())
def test_every_row_shows_what_it_has(name: str, changes: dict[str, Any]) -> None:
    network = METHODS[name].network(tiny_config(name, **changes), PEOPLE, image=IMAGE).eval()
    for exhibit in shown(name, network, (pictures(2), tiny_cues(2)), **changes)[1]:
        check(exhibit, {2})
    network.training = True
    images, cues = tiny_views(name)
    for exhibit in shown(name, network, (images, cues), **changes)[1]:
        check(exhibit, {4, len(images)})


def test_tsd_shows_where_its_queries_look() -> None:
    network = tiny_network("tsd", tiny_config("tsd")).eval()
    out, (looks,) = shown("tsd", network, (pictures(2), Cues()))
    assert isinstance(out, tsd.Output)
    torch.testing.assert_close(looks.values.sum((2, 3)), torch.ones(2, 8))
    assert looks.seen is not None
    assert torch.equal(looks.seen.float(), out.visible[:, 1:])


def test_pirt_shows_what_the_intra_part_module_gives() -> None:
    network = tiny_network("pirt", tiny_config("pirt")).eval()
    given: list[Tensor] = []
    network.get_submodule("intra").register_forward_hook(lambda _, __, cells: given.append(cells))
    out, (rows, trust) = shown("pirt", network, (pictures(2), tiny_cues(2)))
    assert isinstance(out, pirt.Output)
    torch.testing.assert_close(rows.values[:, 0], sum(given[0].unbind(1)) / given[0].shape[1])
    assert torch.equal(trust.values, out.seen[:, 2:])
    without = tiny_network("pirt", tiny_config("pirt", intra=False)).eval()
    assert [e.kind for e in shown("pirt", without, (pictures(2), tiny_cues(2)), intra=False)[1]] == ["bars"]


def test_erased_patches_lie_in_the_grid_row_by_row() -> None:
    action = torch.tensor([[0, 1, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0]], dtype=torch.bool)
    logits = torch.arange(12.0).view(2, 6) - 6
    gains = torch.zeros(2)
    made = trial(gains, gains, action, logits)._replace(grid=(3, 2))
    erased, likely = erasures(made._replace(choice=made.choice._replace(greedy=logits > 0)))
    assert erased.names == ("as drawn", "likeliest")
    assert erased.values[0, 0].tolist() == [[0, 1], [0, 0], [0, 1]]
    assert erased.values[1].tolist() == [[[1, 0], [0, 0], [0, 0]], [[0, 1], [1, 1], [1, 1]]]
    assert likely.values[0, 0, 2, 1] == logits[0, 5].sigmoid()
    by_chance = erasures(trial(gains, gains, action)._replace(grid=(2, 3)))
    assert [(e.kind, e.names) for e in by_chance] == [("erased", ("as drawn",))]
    assert by_chance[0].values[0, 0].tolist() == [[0, 1, 0], [0, 0, 1]]


def test_frames_follow_the_threshold_of_the_config() -> None:
    config = tiny_config("tsd", seen=Seen(threshold=0.9))
    out = tiny_network("tsd", config).eval()(pictures(2))
    assert isinstance(out, tsd.Output)
    out = out._replace(seen=torch.linspace(-4, 4, 16).view(2, 8))
    (looks,) = tsd.shows(out, config)
    assert looks.seen is not None
    assert torch.equal(looks.seen, torch.linspace(-4, 4, 16).view(2, 8).sigmoid() > 0.9)
