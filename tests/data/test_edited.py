"""Edited samples on their way into a batch: cues are cut like their pictures, twins differ in what hides them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from halfseen.data.augment import Augment, Draw, draw
from halfseen.data.images import read_image, save_image
from halfseen.data.loading import CueSources, Paired, Pictures
from halfseen.data.transforms import View, apply
from halfseen.data.variants import read_sample
from halfseen.ops.parts import seen_joints
from halfseen.types import Edit, InputError, KeepTop, Occluder, Paste, Sample

H, W = 32, 16
LARGE = Augment(48, W)


def save_sample(path: Path, image: Tensor, *edits: Edit) -> Sample:
    """Save `image` uint8 [3,H,W] as a sample of person 1."""
    save_image(path, image)
    return Sample(path, path.name, 1, 1, edits=edits)


def noise(seed: int) -> Tensor:
    """uint8 [3,H,W] without any black, which is left to the padding."""
    return torch.randint(1, 256, (3, H, W), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def samples(tmp_path: Path) -> tuple[Sample, ...]:
    """Twelve pictures of identities 7, 3 and 40."""
    made = []
    for i in range(12):
        sample = save_sample(tmp_path / f"{i:02}.png", noise(i))
        made.append(Sample(sample.path, sample.name, (7, 3, 40)[i // 4], i % 3))
    return tuple(made)


def twins_of(samples: Sequence[Sample]) -> list[Sample]:
    source = samples[-1].path
    return [
        Sample(s.path, s.name, s.pid, s.camid, edits=(Paste(list(Occluder)[1 + i % 5], source, i),))
        for i, s in enumerate(samples)
    ]


# --- Cut pictures ---


def test_edits_are_carried_out_before_anything_else(tmp_path: Path) -> None:
    half = save_sample(tmp_path / "a.png", noise(0), KeepTop(2))
    points = torch.tensor([[3.0, 5.0, 1.0]] * 16 + [[3.0, 20.0, 1.0]])[None]
    item = Pictures([half], Augment(H // 2, W), CueSources(points))[0]
    assert torch.equal(item.view.image, read_image(half.path)[:, : H // 2])
    assert item.view.keypoints is not None
    assert torch.equal(item.view.keypoints, points[0])  # the joint that was cut off is where the limb leads to
    seen = seen_joints(item.view.keypoints[None], torch.zeros(1, H // 2, W, dtype=torch.bool))
    assert seen[0, :, 2].tolist() == [1.0] * 16 + [0.0]


def labels_of_rows(sample: Sample) -> Tensor:
    """A label for each pixel of the stored picture: its red, so that labels and pixels cannot part unseen."""
    return read_image(sample.path)[0].long()


@pytest.mark.parametrize(
    ("edits", "height"),
    [
        ((), 32),
        ((KeepTop(2),), 16),
        ((KeepTop(3),), 10),
        ((KeepTop(2), KeepTop(3)), 5),
        ((KeepTop(40),), 1),
    ],
)
def test_labels_are_cut_with_the_picture(tmp_path: Path, edits: tuple[Edit, ...], height: int) -> None:
    sample = save_sample(tmp_path / "a.png", noise(1), *edits)
    view = Pictures([sample], Augment(height, W), CueSources(parts=labels_of_rows))[0].view
    assert torch.equal(view.image, read_image(sample.path)[:, :height])
    assert view.parts is not None
    assert torch.equal(view.parts, view.image[0].long())


def fields_of_rows(_: Sample) -> Tensor:
    """Fields [36,6,3] whose rows hold 1, 2, 3, 4, 5, 6."""
    return (torch.arange(6.0) + 1)[:, None].expand(36, 6, 3)


def fields_of_seven_rows(_: Sample) -> Tensor:
    return (torch.arange(7.0) + 1)[:, None].expand(36, 7, 3)


@pytest.mark.parametrize(
    ("edits", "rows"),
    [
        ((), [1, 2, 3, 4, 5, 6]),
        ((KeepTop(2),), [1, 2, 3]),
        ((KeepTop(3),), [1, 2]),
        ((KeepTop(2), KeepTop(3)), [1]),
        ((KeepTop(20),), [1]),
    ],
)
def test_fields_are_cut_with_the_picture(tmp_path: Path, edits: tuple[Edit, ...], rows: list[int]) -> None:
    sample = save_sample(tmp_path / "a.png", noise(2), *edits)
    augment = Augment(4 * len(rows), W)  # a cell of the result for each row that is left
    fields = Pictures([sample], augment, CueSources(fields=fields_of_rows))[0].view.fields
    assert fields is not None
    assert torch.equal(fields, torch.tensor(rows).float()[:, None].expand(36, -1, W // 4))


def test_a_row_of_fields_that_is_cut_in_two_goes(tmp_path: Path) -> None:
    sample = save_sample(tmp_path / "a.png", noise(2), KeepTop(2))
    fields = Pictures([sample], Augment(12, W), CueSources(fields=fields_of_seven_rows))[0].view.fields
    assert fields is not None
    assert fields[0, :, 0].tolist() == [1, 2, 3]


def test_pasting_cuts_nothing(samples: tuple[Sample, ...]) -> None:
    for twin in twins_of(samples)[:5]:
        cues = CueSources(fields=fields_of_rows, parts=labels_of_rows)
        view = Pictures([twin], LARGE, cues)[0].view
        stored = apply(View(read_image(twin.path), None, fields_of_rows(twin), labels_of_rows(twin)), Draw(), LARGE)
        assert view.hidden is not None
        assert view.parts is not None
        assert stored.parts is not None
        assert torch.equal(view.parts, stored.parts * ~view.hidden)
        assert view.hidden.any()
        assert view.fields is not None
        assert stored.fields is not None
        assert torch.equal(view.fields, stored.fields * ~view.hidden[::4, ::4])


# --- Pairs ---


def test_O8_twins_share_flip_and_crop_and_differ_only_where_hidden(samples: tuple[Sample, ...]) -> None:
    augment = Augment(H, W, flip=0.5, pad=4)
    twins = twins_of(samples)
    paired = Paired(Pictures(samples, augment, seed=3), twins)
    assert len(paired) == len(list(paired)) == len(list(paired.pictures)) == 12
    batch = paired.batch(list(range(24)))
    partner = batch.partner
    assert partner is not None
    padding, hidden = batch.cues.hidden, partner.cues.hidden
    assert padding is not None
    assert hidden is not None
    assert partner.cues.occluder is not None
    flips = [draw(augment, 3, 0, number).flip for number in range(24)]
    kinds = [Occluder(1 + i % 12 % 5) for i in range(24)]
    assert partner.cues.occluder.tolist() == [k.mirrored if f else k for k, f in zip(kinds, flips, strict=True)]
    assert torch.equal(padding, (batch.images == 0).all(1))
    assert not (padding & ~hidden).any()
    occluder = hidden & ~padding
    assert torch.equal(occluder, masks_as_pixels(twins, augment))
    for side, kind in enumerate((Occluder.TALL_LEFT, Occluder.TALL_RIGHT)):
        halves = occluder[partner.cues.occluder == kind].reshape(-1, H, 2, W // 2).sum((1, 3))
        assert len(halves) > 1, "of each side some are flipped and some are not"
        assert (halves[:, side] >= halves[:, 1 - side]).all(), kind.name  # the widest reach to both ends
    differs = (batch.images != partner.images).any(1)
    assert not (differs & ~occluder).any()
    assert differs.sum() > 0.9 * occluder.sum() > 0
    assert torch.equal(batch.pids, partner.pids)
    paired.set_epoch(1)
    assert not torch.equal(paired.batch(list(range(24))).images, batch.images)


def masks_as_pixels(twins: Sequence[Sample], augment: Augment) -> Tensor:
    """bool [24,H,W]: where white pixels go that were painted on black where an occluder hides the picture."""
    moved = []
    for number in range(24):
        mask = read_sample(twins[number % 12]).hidden
        assert mask is not None
        painted = View((255 * mask.byte()).expand(3, H, W))
        moved.append(apply(painted, draw(augment, 3, 0, number), augment).image[0] == 255)
    return torch.stack(moved)


def test_twins_of_other_people(samples: tuple[Sample, ...]) -> None:
    pictures = Pictures(samples)
    for wrong in (twins_of(samples)[:-1], twins_of(samples)[::-1]):
        with pytest.raises(InputError, match="person by person"):
            Paired(pictures, wrong)
