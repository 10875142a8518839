"""The sample that is shipped: whole and small, and its pictures, tables and labels say the same of each person."""

from __future__ import annotations

import csv
import json
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import pytest
import torch
from PIL import Image
from torch import Tensor

import halfseen
from halfseen.data.check import check
from halfseen.data.cues import load_keypoints, load_part_labels
from halfseen.data.embeddings import Encoded
from halfseen.data.sets import read_set
from halfseen.evaluate import evaluate
from halfseen.ops.groupings import JOINTS
from halfseen.rendering import FORMAT
from halfseen.types import Embedding, Facts, Occlusion, Sample, Scores, Splits
from halfseen.world.bodies.poses import Activity
from halfseen.world.cameras import CAMERAS
from halfseen.world.labels import LIES_ON
from halfseen.world.plan import Role, Setting, Thing, plan
from halfseen.world.render import build, render
from halfseen.world.shapes import PART
from halfseen.world.wardrobe import draw_people

PACKAGE = Path(halfseen.__file__).parent
STREET = PACKAGE / "street"
PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
HEIGHT, WIDTH = 256, 128
BESIDE = {"world.csv", "world.json", "keypoints.npz"}
VARIANTS = ("street", "street:holistic", "street:re-occluded", "street:partial")
HIDDEN = ("npo", "ntp")
EDGES = ("left", "top", "right", "bottom")


class Known(NamedTuple):
    """A row of world.csv, and the part labels [h,w] of its picture."""

    cells: dict[str, str]
    labels: Tensor

    @property
    def covered(self) -> float:
        return float(self.cells["covered"])

    @property
    def body(self) -> Tensor:
        """bool [h,w]: where one of the body's own parts is seen."""
        return (self.labels > 0) & (self.labels < PART["carried"])

    def box(self, which: str) -> list[float]:
        return [float(self.cells[f"{which}_{edge}"]) for edge in EDGES]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with (STREET / "world.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def known(rows: list[dict[str, str]]) -> list[Known]:
    return [Known(row, load_part_labels(labels_of(row["path"]), parts=PART["carried"])) for row in rows]


@pytest.fixture(scope="module")
def variants() -> dict[str, Splits]:
    return {name: read_set(name) for name in VARIANTS}


def labels_of(name: str) -> Path:
    return (STREET / "parts" / name).with_suffix(".png")


def files() -> set[str]:
    return {path.relative_to(STREET).as_posix() for path in STREET.rglob("*") if path.is_file()}


def test_sixty_people_a_dozen_pictures_each(rows: list[dict[str, str]]) -> None:
    pictures = Counter(row["pid"] for row in rows)
    assert 55 <= len(pictures) <= 65
    assert set(pictures.values()) == {12}
    people = Counter(role for _, role in {(row["pid"], row["role"]) for row in rows})
    assert people == dict.fromkeys(Role, len(pictures) // 2)


def test_all_that_can_happen_does(rows: list[dict[str, str]]) -> None:
    for roles in (("train",), ("query", "gallery", "query_holistic", "query_partial")):
        some = [row for row in rows if row["role"] in roles]
        seen = {column: {row[column] for row in some} for column in ("camid", "occlusion", "thing", "activity")}
        assert seen["camid"] == set("123456")
        assert seen["occlusion"] == {"holistic", *HIDDEN}
        assert seen["thing"] == {thing.name.lower() for thing in Thing}
        assert seen["activity"] == {activity.name.lower() for activity in Activity}
    assert {row["occlusion"] for row in rows if row["role"] == "query"} == set(HIDDEN)
    assert all((row["thing"] != "none") == (row["occlusion"] == "npo") for row in rows)


def test_it_is_small_and_nothing_else_lies_there(rows: list[dict[str, str]]) -> None:
    names = {row["path"] for row in rows}
    maps = {labels_of(name).relative_to(STREET).as_posix() for name in names}
    assert files() == names | maps | BESIDE
    assert sum((STREET / name).stat().st_size for name in files()) <= 12e6


def test_it_is_installed_with_the_package() -> None:
    patterns = tomllib.loads(PYPROJECT.read_text())["tool"]["setuptools"]["package-data"]["halfseen"]
    installed = {path for pattern in patterns for path in PACKAGE.glob(pattern)}
    assert {STREET / name for name in files()} <= installed


def test_no_picture_is_at_fault(variants: dict[str, Splits]) -> None:
    queries = {sample.name: sample for splits in variants.values() for sample in splits.query}
    report = check(replace(variants["street"], query=tuple(queries.values())))
    assert [str(fault) for fault in report.faults] == []
    assert report.notes == ()
    assert [tally.cameras for tally in report.counts.values()] == [6, 6, 6]
    assert sum(tally.images for tally in report.counts.values()) == 12 * sum(
        tally.ids for split, tally in report.counts.items() if split != "query"
    )


def test_pictures_and_part_maps_are_of_one_size(known: list[Known]) -> None:
    for cells, labels in known:
        with Image.open(STREET / cells["path"]) as picture:
            width, height = picture.size
        assert labels.shape == (height, width)
        assert width == WIDTH
        assert height == HEIGHT or (cells["role"] == "query_partial" and 0.3 * HEIGHT < height < 0.8 * HEIGHT)


def test_all_parts_occur_and_whole_people_show_most(known: list[Known]) -> None:
    seen = torch.stack([torch.stack([(k.labels == part).any() for part in range(1, 9)]) for k in known]).float()
    whole = torch.tensor([k.cells["occlusion"] == "holistic" and k.cells["role"] != "query_partial" for k in known])
    hidden = torch.tensor([k.cells["occlusion"] in HIDDEN for k in known])
    assert seen[whole].mean(0).min() > 0.9  # a side view or one's own umbrella may hide a part
    assert seen[whole][:, PART["torso"] - 1].all()
    assert seen[hidden].mean() < seen[whole].mean() - 0.05
    assert any((k.labels == PART["carried"]).any() for k in known)


def test_boxes_are_those_of_the_labels(known: list[Known]) -> None:
    for each in known:
        down, right = each.body.nonzero().t()
        assert each.box("seen") == [right.min() - 0.5, down.min() - 0.5, right.max() + 0.5, down.max() + 0.5]
        left, top, end, bottom = (a - b for a, b in zip(each.box("seen"), each.box("whole"), strict=True))
        assert min(left, top) >= -1.1 >= -2 <= -max(end, bottom)  # the body's box holds what is seen, but for a pixel


def fill(each: Known) -> float:
    """The share of the box, as far as it lies in the picture, that the body would take if nothing were before it."""
    height, width = each.labels.shape
    left, top, right, bottom = each.box("whole")
    area = (min(right, width - 0.5) - max(left, -0.5)) * (min(bottom, height - 0.5) - max(top, -0.5))
    return int(each.body.sum()) / (1 - each.covered) / area


def test_what_is_covered_fits_what_the_labels_show(known: list[Known]) -> None:
    by_kind = defaultdict[str, list[Known]](list)
    for each in known:
        by_kind[each.cells["occlusion"]].append(each)
    assert all(each.covered == 0 for each in by_kind["holistic"])
    usual = fmean(map(fill, by_kind["holistic"]))
    for kind in ("holistic", *HIDDEN):
        fills = [fill(each) for each in by_kind[kind]]
        assert 0.2 < min(fills) < max(fills) < 0.8
        assert fmean(fills) == pytest.approx(usual, abs=0.04)
    shares = [each.covered for kind in HIDDEN for each in by_kind[kind]]
    assert 0 < min(shares) < max(shares) < 0.85
    assert sum(share < 0.1 for share in shares) <= 0.01 * len(shares)  # asked was a quarter or more of the body
    assert 0.3 < fmean(shares) < 0.5


def test_keypoints_are_complete_and_lie_on_their_parts(known: list[Known]) -> None:
    file = load_keypoints(STREET / "keypoints.npz")
    assert list(file.names) == [each.cells["path"] for each in known]
    assert set(file.keypoints[..., 2].flatten().tolist()) == {0, 0.5, 1}
    seen = file.keypoints[..., 2] == 1
    for row, joint in seen.nonzero().tolist():
        x, y = file.keypoints[row, joint, :2].round().long().tolist()
        side, _, rest = JOINTS[joint].partition("_")
        allowed = {PART[part.format(side)] for part in LIES_ON.get(rest, ("head",))}
        near = known[row].labels[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4]
        assert allowed & set(near.flatten().tolist()), (known[row].cells["path"], JOINTS[joint])
    covered = torch.tensor([each.covered for each in known])
    assert seen[covered == 0].float().mean() > seen[covered > 0.4].float().mean() + 0.2


def blind(samples: tuple[Sample, ...]) -> Encoded:
    return Encoded(Embedding.of(torch.ones(len(samples), 1)), Facts.of(samples))


def scores(splits: Splits) -> dict[str, Scores]:
    return evaluate(blind(splits.query), blind(splits.gallery))


@pytest.mark.parametrize("name", VARIANTS)
def test_every_query_can_be_answered(name: str, variants: dict[str, Splits]) -> None:
    splits = variants[name]
    assert len(splits.query) == len({sample.pid for sample in splits.query}) >= 25
    assert [*splits.notes, *splits.left_out] == []
    market = scores(splits)["market"]
    assert (market.queries, market.skipped) == (len(splits.query), 0)
    hidden = {sample.occlusion for sample in splits.gallery} - {Occlusion.HOLISTIC}
    assert hidden == ({Occlusion.NPO, Occlusion.NTP} if name in ("street", "street:re-occluded") else set())


def test_occ_npo_and_ntp_can_be_asked_of_every_query(variants: dict[str, Splits]) -> None:
    splits = variants["street:re-occluded"]
    found = scores(splits)
    assert list(found) == ["market", "occ", "npo", "ntp"]
    assert {(score.queries, score.skipped) for score in found.values()} == {(len(splits.query), 0)}
    assert found["occ"].positives == found["npo"].positives + found["ntp"].positives


def planned(setting: Setting) -> Iterator[tuple[str, str, str, str, str, str]]:
    for each in plan(setting, draw_people(setting.ids, setting.seed, setting.sharing), CAMERAS):
        shot = each.shot
        yield each.name, str(shot.pid), str(shot.camera + 1), each.role, shot.occlusion.name, shot.thing.name


def test_it_is_what_its_setting_renders_today(rows: list[dict[str, str]]) -> None:
    card = json.loads((STREET / "world.json").read_text())
    asked = {name: value for name, value in card["setting"].items() if name != "backgrounds"}
    setting = Setting(**asked | {"covered": tuple(asked["covered"])})
    assert (setting.height, setting.width, card["format"]) == (HEIGHT, WIDTH, FORMAT)
    columns = ("path", "pid", "camid", "role", "occlusion", "thing")
    assert [tuple(row[column].lower() for column in columns) for row in rows] == [
        tuple(cell.lower() for cell in cells) for cells in planned(setting)
    ]
    drawn = plan(setting, draw_people(setting.ids, setting.seed, setting.sharing), CAMERAS)[9::240]
    pictures, known = (
        render(build(6, setting.seed, HEIGHT), [each.shot for each in drawn], (HEIGHT, WIDTH)),
        load_keypoints(STREET / "keypoints.npz"),
    )
    for number, each in enumerate(drawn):
        joints = known.keypoints[known.names.index(each.name)]
        labels = load_part_labels((STREET / "parts" / each.name).with_suffix(".png"))
        assert torch.equal(labels, pictures.parts[number, : pictures.rows[number]].long())
        assert torch.equal(2 * joints[:, 2], pictures.state[number].float())
        assert (joints[:, :2] - pictures.keypoints[number]).abs().max() < 0.01
    of_role = Counter(row["role"] for row in rows)
    assert {role: counts["images"] for role, counts in card["roles"].items()} == of_role
