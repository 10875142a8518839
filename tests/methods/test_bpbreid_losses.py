"""BPBreID in training: part labels of pixels, what hides them, the necks, and half precision."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from halfseen.methods import bpbreid
from halfseen.methods.bpbreid import HOLISTIC, Config, Output, table
from halfseen.types import Batch, Cues
from tiny_methods import compared, pictures, sharp, thin, tiny_batch, tiny_cues

PARTS = 6  # so that the classes of a pixel are 7, and neither the people (3) nor the pictures (4) of a batch


@pytest.fixture(autouse=True)
def _thin_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpbreid, "make_backbone", thin)


def by_cell(cues: Cues) -> Tensor:
    """The labels [B,4,2] of cues whose labels come in cells."""
    assert cues.parts is not None
    return cues.parts[:, ::16, ::16]


def pixel_loss(out: Output, cues: Cues, config: Config | None = None) -> float:
    return bpbreid.losses(out, tiny_batch(cues), config or Config(parts=PARTS))["pixels"].item()


def pixels_by_loop(out: Output, labels: Tensor, smoothing: float = 0.1) -> float:
    """Eq. 2: the mean over cells, ε shared by K + 1 classes, from `labels` [B,4,2]."""
    assert out.pixels is not None
    terms = []
    for image in range(len(labels)):
        for y in range(4):
            for x in range(2):
                row = out.pixels[image, :, y, x].tolist()
                log_total = math.log(math.fsum(map(math.exp, row)))
                q = [
                    smoothing / (PARTS + 1) + (1 - smoothing) * (k == int(labels[image, y, x]))
                    for k in range(PARTS + 1)
                ]
                assert math.fsum(q) == pytest.approx(1)
                terms.append(math.fsum(share * (log_total - value) for share, value in zip(q, row, strict=True)))
    return math.fsum(terms) / len(terms)


def test_B2_eq2_and_eq5_pixels_share_smoothing_among_classes_and_weigh_what_the_config_says() -> None:
    out, cues = sharp(parts=PARTS)(pictures(4)), tiny_cues(4, highest=PARTS)
    assert pixel_loss(out, cues) == pytest.approx(0.35 * pixels_by_loop(out, by_cell(cues)), rel=1e-5)
    sharper = Config(parts=PARTS, smoothing=0.0, pixel_weight=2.0)
    assert pixel_loss(out, cues, sharper) == pytest.approx(2 * pixels_by_loop(out, by_cell(cues), 0.0), rel=1e-5)
    assert pixel_loss(out, cues, Config(parts=PARTS, pixel_weight=0)) == 0


def test_B2_the_loss_of_pixels_does_not_depend_on_the_size_of_the_batch() -> None:
    out, cues = sharp(parts=PARTS)(pictures(4)), tiny_cues(4, highest=PARTS)
    assert cues.parts is not None
    vectors, logits = ({name: rows.repeat_interleave(3, 0) for name, rows in each.items()} for each in out[2:4])
    thrice = out._replace(pixels=out.pixels.repeat_interleave(3, 0), vectors=vectors, logits=logits)
    batch = tiny_batch(Cues(parts=cues.parts.repeat_interleave(3, 0)))
    many = Batch(batch.images.repeat_interleave(3, 0), batch.pids.repeat_interleave(3), batch.camids, batch.cues)
    alone = pixel_loss(out, cues)
    assert bpbreid.losses(thrice, many, Config(parts=PARTS))["pixels"].item() == pytest.approx(alone, rel=1e-5)


def hiding() -> tuple[Cues, Tensor]:
    """Cues of four pictures of which the upper half is hidden in two, and their labels by cell, with nothing there."""
    cues = tiny_cues(4, highest=PARTS)
    hidden = torch.zeros(4, 64, 32, dtype=torch.bool)
    hidden[1::2, :32] = True
    labels = by_cell(cues).clone()
    assert labels[1::2, :2].any()
    labels[1::2, :2] = 0
    return replace(cues, hidden=hidden), labels


def test_D2_the_loss_of_pixels_takes_what_is_hidden_for_background() -> None:
    out, (cues, labels) = sharp(parts=PARTS)(pictures(4)), hiding()
    found = pixel_loss(out, cues)
    assert found == pytest.approx(0.35 * pixels_by_loop(out, labels), rel=1e-5)
    assert found != pytest.approx(pixel_loss(out, replace(cues, hidden=None)), rel=1e-3)


@pytest.mark.parametrize("kind", ["keypoints", "fields"])
def test_D2_cues_of_every_kind_lose_what_is_hidden(kind: str) -> None:
    out, fields = sharp(parts=PARTS)(pictures(4)), torch.rand(4, 36, 16, 8, generator=torch.Generator().manual_seed(0))
    told = Cues(fields=fields) if kind == "fields" else Cues(keypoints=tiny_cues(4).keypoints)
    nothing = Cues(parts=torch.zeros(4, 64, 32, dtype=torch.int64))
    covered = replace(told, hidden=torch.ones(4, 64, 32, dtype=torch.bool))
    assert pixel_loss(out, covered) == pixel_loss(out, nothing) != pixel_loss(out, told)


def test_D2_fixed_attention_does_not_look_at_what_is_hidden() -> None:
    cues, labels = hiding()
    out, _ = compared(sharp(parts=PARTS, attention="fixed"), 4, cues)
    assert torch.equal(out.maps.argmax(1), labels)


def test_C6_triplets_read_before_each_neck_and_identities_after_it() -> None:
    config = Config(parts=PARTS, gilt=table("gfcp", "gfcp"))
    network = sharp(parts=PARTS, gilt=config.gilt)
    out = network(pictures(4))
    vectors = {name: out.vectors[name] for name in HOLISTIC} | dict(
        zip(config.names, out.vectors["parts"].unbind(1), strict=True)
    )
    logits = {name: out.logits[name] for name in HOLISTIC} | dict(
        zip(config.names, out.logits["parts"].unbind(1), strict=True)
    )
    for name, raw in vectors.items():
        normed = (raw - raw.mean(0)) / (raw.var(0, unbiased=False) + 1e-5).sqrt()
        weight = network.get_parameter(f"necks.classifiers.{name}.weight")
        torch.testing.assert_close(logits[name], normed @ weight.T, rtol=1e-3, atol=1e-5)
    terms = bpbreid.losses(out, tiny_batch(), config)
    for name in table("", ""):
        moved = out._replace(vectors=out.vectors | {name: out.vectors[name] * 3})
        turned = out._replace(logits=out.logits | {name: -out.logits[name]})
        for other, changed in ((moved, f"triplet_{name}"), (turned, f"identity_{name}")):
            found = bpbreid.losses(other, tiny_batch(), config)
            assert {term for term in terms if terms[term] != found[term]} == {changed}


def test_half_precision_rounds_neither_maps_nor_the_sums_under_them() -> None:
    """A map that peaks at 0.4 must not be rounded across the threshold."""
    network = sharp(parts=PARTS, reduction=None).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        out: Output = network(pictures(3))
        cells = network.get_submodule("backbone")(pictures(3)).cells.float()
    assert out.pixels is not None
    assert out.pixels.dtype == torch.bfloat16  # the layers are rounded
    assert out.maps.dtype == torch.float32
    torch.testing.assert_close(out.maps, out.pixels.float().softmax(1), rtol=0, atol=1e-7)
    maps = out.maps[:, 1:]
    sums = torch.stack([(cells * maps[:, k, None]).sum((2, 3)) for k in range(PARTS)], 1)
    torch.testing.assert_close(out.vectors["parts"], sums / maps.sum((2, 3))[..., None], rtol=1e-5, atol=1e-6)


def test_half_precision_does_not_round_the_maps_of_fixed_attention() -> None:
    cues = tiny_cues(3, highest=PARTS)
    network = sharp(parts=PARTS, attention="fixed").eval()
    assert cues.parts is not None
    cues.parts[:, 0] = 0  # cells that are not whole
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network(pictures(3), cues).maps, compared(network, 3, cues)[0].maps)
