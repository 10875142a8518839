"""The sensor: each of its numbers does what it says, and to its own picture only."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from halfseen.world.light.finish import Sensor, blurred, finish
from halfseen.world.light.noise import hash01


def pictures(count: int = 3, height: int = 20, width: int = 14) -> torch.Tensor:
    return hash01(torch.arange(count * 3 * height * width)).reshape(count, 3, height, width)


def sensor(count: int = 3, **numbers: float | torch.Tensor) -> Sensor:
    neutral = {"exposure": 1.0, "blur": 0.0, "contrast": 1.0, "saturation": 1.0, "noise": 0.0}
    wide = {name: torch.full((count,), value) for name, value in neutral.items()}
    given = {n: v if isinstance(v, torch.Tensor) else torch.full((count,), v) for n, v in numbers.items()}
    return Sensor(**{"cast": torch.ones(count, 3), "seeds": torch.arange(count)} | wide | given)


def test_a_neutral_sensor_only_rounds() -> None:
    images = pictures()
    assert torch.equal(finish(images, sensor()), (images * 255).round().to(torch.uint8))


def test_what_is_too_bright_or_too_dark_is_cut_off() -> None:
    images = torch.tensor([-0.5, 0.0, 1.0, 1.7]).reshape(1, 1, 2, 2).expand(1, 3, 2, 2)
    assert finish(images, sensor(1))[0, 0].flatten().tolist() == [0, 0, 255, 255]


def test_exposure_counts_light() -> None:
    images = torch.full((3, 3, 4, 4), 0.4)
    values = finish(images, sensor(exposure=torch.tensor([0.25, 1.0, 4.0])))
    assert values[:, 0, 0, 0].tolist() == [51, 102, 204]  # a quarter of the light is half the screen value


def test_a_cast_is_by_channel() -> None:
    images = torch.full((1, 3, 4, 4), 0.5)
    values = finish(images, sensor(1, cast=torch.tensor([[1.2, 1.0, 0.8]])))
    assert values[0, :, 2, 2].tolist() == [153, 128, 102]


def test_contrast_and_saturation_turn_around_the_middle_and_around_grey() -> None:
    images = torch.tensor([0.5, 0.7, 0.2]).reshape(1, 3, 1, 1)
    assert finish(images, sensor(1, contrast=2.0)).flatten().tolist() == [128, 230, 0]
    grey = 255 * (0.3 * 0.5 + 0.59 * 0.7 + 0.11 * 0.2)
    assert finish(images, sensor(1, saturation=0.0)).flatten().tolist() == [round(grey)] * 3


@pytest.mark.parametrize("spread", [0.5, 0.8, 1.4, 2.3])
def test_a_blur_has_its_spread_and_loses_no_light(spread: float) -> None:
    image = torch.zeros(1, 1, 41, 41)
    image[0, 0, 20, 20] = 1
    out = blurred(image, torch.tensor([spread]))[0, 0].double()
    away = torch.arange(41).double() - 20
    assert float(out.sum()) == pytest.approx(1, abs=1e-5)
    for line in (out.sum(0), out.sum(1)):
        assert float((line * away * away).sum()) ** 0.5 == pytest.approx(spread, rel=0.05)
    assert torch.equal(out, out.T)
    assert torch.equal(
        blurred(torch.full((1, 3, 9, 5), 0.25), torch.tensor([spread])).round(decimals=5),
        torch.full((1, 3, 9, 5), 0.25),
    )


def test_grain_has_the_asked_spread_and_shows_most_in_the_dark() -> None:
    noisy = sensor(3, noise=torch.tensor([0.02, 0.04, 0.08]))
    middle = torch.full((3, 3, 192, 192), 0.5)
    spreads = (finish(middle, noisy).float() / 255).flatten(1).std(1)
    assert torch.allclose(spreads, noisy.noise, rtol=0.03)
    dark, bright = (finish(torch.full((3, 3, 64, 64), level), noisy).float().flatten(1).std(1) for level in (0.3, 0.7))
    assert (dark > 1.2 * bright).all()


def test_specks_of_grain_are_larger_than_a_pixel_and_nearly_grey() -> None:
    values = finish(torch.full((1, 3, 128, 128), 0.5), sensor(1, noise=0.06))[0].float()
    values = values - values.mean()
    spread = float(values.square().mean())
    assert 0.3 < float((values[..., 1:] * values[..., :-1]).mean()) / spread < 0.7
    assert abs(float((values[..., 4:] * values[..., :-4]).mean())) / spread < 0.05
    assert 0.5 < float((values[0] * values[1]).mean()) / spread < 0.8


def test_grain_is_decided_by_the_seed() -> None:
    grey = torch.full((3, 3, 8, 8), 0.5)
    values = finish(grey, sensor(noise=0.05, seeds=torch.tensor([1, 2, 1])))
    assert torch.equal(values[0], values[2])
    assert not torch.equal(values[0], values[1])


def test_a_picture_does_not_depend_on_its_batch() -> None:
    images = pictures(5)
    numbers = {"exposure": 0.7, "contrast": 0.8, "saturation": 0.6, "noise": 0.02}
    spread = {name: value * (1 + 0.2 * torch.arange(5)) for name, value in numbers.items()}
    together = sensor(
        5, **spread, blur=torch.tensor([0.0, 0.4, 0.9, 1.7, 2.5]), cast=0.9 + 0.2 * pictures(5)[:, :, 0, 0]
    )
    whole = finish(images, together)
    for row in range(5):
        alone = replace(together, **{name: values[row : row + 1] for name, values in vars(together).items()})
        assert torch.equal(finish(images[row : row + 1], alone)[0], whole[row])
