"""Changes to timm's networks, against loops and hand values."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from halfseen.nets.surgery import IBN, Step, ibn_a, resample, watch


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_ibn_normalises_half_by_image_and_half_by_batch() -> None:
    layer = IBN(5)
    maps = draw(3, 5, 2, 4) * 2 + 1
    result = layer(maps)
    for image in range(3):
        for channel in range(5):
            over = maps[image, channel] if channel < 2 else maps[:, channel]
            expected = (maps[image, channel] - over.mean()) / (over.var(correction=0) + 1e-5).sqrt()
            torch.testing.assert_close(result[image, channel], expected, atol=1e-5, rtol=1e-4)


def test_ibn_a_spares_the_stem_the_last_stage_and_the_other_layers() -> None:
    network: Any = timm.create_model("resnet26")
    parameters = sum(value.numel() for value in network.parameters())
    ibn_a(network)
    changed = {name for name, layer in network.named_modules() if isinstance(layer, IBN)}
    assert changed == {f"layer{stage}.{block}.bn1" for stage in (1, 2, 3) for block in (0, 1)}
    assert sum(value.numel() for value in network.parameters()) == parameters
    assert network.layer3[0].bn1.IN.weight.shape == (128,)


def test_ibn_bears_the_names_of_the_public_weights() -> None:
    network: Any = timm.create_model("resnet50", num_classes=0)
    ibn_a(network)
    names = {name for name in network.state_dict() if name.startswith("layer1.0.bn1.")}
    batch = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    assert names == {f"layer1.0.bn1.{name}" for name in ("IN.weight", "IN.bias", *(f"BN.{each}" for each in batch))}


def test_positions_on_the_same_grid_stay_bit_by_bit() -> None:
    positions = draw(1, 1 + 6, 4)
    assert torch.equal(resample(positions, 1, (2, 3), (2, 3)), positions)


def test_positions_are_resampled_down_each_column_and_across_each_row() -> None:
    grid = torch.tensor([[0.0, 4.0], [8.0, 12.0]])
    positions = torch.cat([torch.tensor([100.0]), grid.flatten()])[None, :, None]
    wide = resample(positions, 1, (2, 2), (2, 4))[0, :, 0]
    assert wide.tolist() == [100, 0, 1, 3, 4, 8, 9, 11, 12]
    tall = resample(positions, 1, (2, 2), (4, 2))[0, :, 0]
    assert tall.tolist() == [100, 0, 4, 2, 6, 6, 10, 8, 12]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 3), st.tuples(*[st.integers(1, 5)] * 2), st.tuples(*[st.integers(1, 6)] * 2))
def test_what_lies_on_no_grid_and_what_is_flat_stay_as_they_are(
    first: int, old: tuple[int, int], new: tuple[int, int]
) -> None:
    apart, level = draw(1, first, 3), draw(1, 1, 3)
    positions = torch.cat([apart, level.expand(1, old[0] * old[1], 3)], dim=1)
    result = resample(positions, first, old, new)
    assert result.shape == (1, first + new[0] * new[1], 3)
    assert torch.equal(result[:, :first], apart)
    torch.testing.assert_close(result[:, first:], level.expand(1, new[0] * new[1], 3))


def test_watch_sees_the_steps_in_their_order_and_lets_go() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1),
        nn.Conv2d(4, 4, 1),
        nn.Sequential(nn.AvgPool2d(2)),
        nn.MaxPool2d(3, 1, 1),
    )
    with watch(network) as steps:
        network(draw(1, 3, 8, 4))
    assert steps == [Step("0", (8, 4), (4, 2)), Step("2.0", (4, 2), (2, 1))]
    network(draw(1, 3, 8, 4))
    assert len(steps) == 2


def test_watch_sees_what_is_made_coarser_along_one_side_alone() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.AvgPool2d((1, 2)))
    with watch(network) as steps:
        network[0](draw(1, 3, 8, 1))  # a picture one cell wide
        network[1](draw(1, 4, 4, 2))
    assert steps == [Step("0", (8, 1), (4, 1)), Step("1", (4, 2), (4, 1))]


def test_watch_lets_go_when_the_network_fails() -> None:
    network = nn.Conv2d(3, 4, 3, stride=2)
    with pytest.raises(RuntimeError), watch(network):
        network(draw(1, 2, 8, 4))
    assert not network._forward_hooks
