"""What other tools leave as JSON is read, pictures are recognised by what they are called, and mistakes are told."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from halfseen.estimators.coco_json import load_people
from halfseen.types import InputError

NAMES = ("query/0001_c1_00.jpg", "query/0002_c1_00.jpg", "bounding_box_test/0001_c2_00.jpg", "occluded/007.png")
FLAT = [number / 51 for number in range(51)]


def person(shift: float = 0.0) -> list[float]:
    return [number + shift if place % 3 < 2 else number for place, number in enumerate(FLAT)]


def save(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def found(path: Path) -> dict[str, list[list[float]]]:
    return {name: people.flatten(1).tolist() for name, people in load_people(path, NAMES).items()}


def near(*people: list[float]) -> list[Any]:
    return [pytest.approx(each) for each in people]


def test_coco_results(tmp_path: Path) -> None:
    entries = [
        {"image_id": NAMES[0], "category_id": 1, "keypoints": person(1), "score": 0.9},
        {"image_id": NAMES[2], "category_id": 1, "keypoints": person(2), "score": 0.8},
        {"image_id": NAMES[0], "category_id": 1, "keypoints": person(3), "score": 0.7},
        {"image_id": 12, "file_name": NAMES[3], "keypoints": person(4), "score": 0.7},
    ]
    want = {NAMES[0]: near(person(1), person(3)), NAMES[2]: near(person(2)), NAMES[3]: near(person(4))}
    assert found(save(tmp_path / "a.json", entries)) == want


def test_coco_annotations_say_what_is_hidden(tmp_path: Path) -> None:
    flags = [0.0, 0.0, 0.0, 5.0, 6.0, 1.0, *[7.0, 8.0, 2.0] * 15]
    content = {
        "images": [{"id": 5, "file_name": NAMES[1]}, {"id": 6, "file_name": "elsewhere.jpg"}],
        "annotations": [
            {"image_id": 5, "keypoints": flags},
            {"image_id": 6, "keypoints": flags},
            {"image_id": 5, "bbox": [0, 0, 1, 1]},  # a box without joints
        ],
    }
    people = load_people(save(tmp_path / "a.json", content), NAMES)
    assert list(people) == [NAMES[1]]
    assert people[NAMES[1]].shape == (1, 17, 3)
    assert people[NAMES[1]][0, :3].tolist() == [[0, 0, 0], [5, 6, 0.5], [7, 8, 1]]


def test_people_by_picture_in_the_manner_of_ultralytics(tmp_path: Path) -> None:
    told = {"x": [1.5] * 17, "y": [2.5] * 17, "visible": [0.25] * 17}
    entry = {"name": "person", "class": 0, "confidence": 0.9, "box": {"x1": 0}, "keypoints": told}
    want = near([1.5, 2.5, 0.25] * 17)
    assert found(save(tmp_path / "a.json", {NAMES[0]: [entry, entry], NAMES[1]: []})) == {NAMES[0]: want * 2}
    save(tmp_path / "b/occluded/007.json", [entry])
    assert found(tmp_path / "b") == {NAMES[3]: want}


def test_a_folder_in_the_manner_of_openpifpaf(tmp_path: Path) -> None:
    for number, name in enumerate(NAMES[:3]):
        entries = [{"keypoints": person(number), "bbox": [0, 0, 1, 1], "score": 0.5, "category_id": 1}]
        save(tmp_path / f"{name}.predictions.json", entries * (number + 1))
    assert found(tmp_path) == {name: near(*[person(number)] * (number + 1)) for number, name in enumerate(NAMES[:3])}


def test_triples_are_as_good_as_numbers(tmp_path: Path) -> None:
    triples = torch.tensor(person()).reshape(17, 3).tolist()
    assert found(save(tmp_path / "a.json", {NAMES[0]: [{"keypoints": triples}]})) == {NAMES[0]: near(person())}


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("query/0001_c1_00.jpg", 0),
        ("/srv/market/query/0001_c1_00.jpg", 0),
        (r"C:\market\query\0001_c1_00.jpg", 0),
        ("./query/0002_c1_00.jpg", 1),
        ("0001_c1_00.jpg", 0),
        ("0001_c1_00", 0),
        ("0001_c2_00", 2),
        (7, 3),
        ("7", 3),
        ("007", 3),
    ],
)
def test_pictures_may_be_called_in_many_ways(called: str | int, name: int, tmp_path: Path) -> None:
    path = save(tmp_path / "a.json", [{"image_id": called, "keypoints": person()}])
    assert list(load_people(path, NAMES)) == [NAMES[name]]


def test_who_may_be_meant_is_asked(tmp_path: Path) -> None:
    names = ("whole/001.jpg", "occluded/001.jpg", "occluded/002.jpg")
    path = save(tmp_path / "a.json", [{"image_id": "001.jpg", "keypoints": person()}])
    with pytest.raises(InputError, match=r"'001\.jpg' may be 'whole/001\.jpg' or 'occluded/001\.jpg'; name pictures"):
        load_people(path, names)
    path = save(tmp_path / "a.json", [{"image_id": "x/occluded/001.jpg", "keypoints": person()}])
    assert list(load_people(path, names)) == ["occluded/001.jpg"]


def test_other_pictures(tmp_path: Path) -> None:
    path = save(tmp_path / "a.json", [{"image_id": "0009_c9_00.jpg", "keypoints": person()}])
    with pytest.raises(InputError, match=r"a\.json: tells of other pictures \('0009_c9_00\.jpg'\), .*'query/0001_c1"):
        load_people(path, NAMES)
    assert load_people(save(tmp_path / "a.json", []), NAMES) == {}  # it looked, and there was nobody


def test_a_picture_of_another_folder_is_another_picture(tmp_path: Path) -> None:
    entries = [{"image_id": name, "keypoints": person()} for name in NAMES]
    others = [{"image_id": f"gt_bbox/{Path(name).name}", "keypoints": person(9)} for name in NAMES]
    assert found(save(tmp_path / "a.json", others + entries)) == {name: near(person()) for name in NAMES}
    with pytest.raises(InputError, match=r"tells of other pictures \('gt_bbox/0001_c1_00\.jpg'\)"):
        load_people(save(tmp_path / "a.json", others), NAMES)


def test_a_picture_has_one_name(tmp_path: Path) -> None:
    entries = [{"image_id": called, "keypoints": person()} for called in (NAMES[0], "0001_c1_00.jpg")]
    said = r"a\.json: '0001_c1_00\.jpg' means 'query/0001_c1_00\.jpg', as does 'query/0001_c1_00\.jpg'; leave out"
    with pytest.raises(InputError, match=said):
        load_people(save(tmp_path / "a.json", entries), NAMES)
    entries[1]["image_id"] = f"./{NAMES[0]}"  # the same name
    assert found(save(tmp_path / "a.json", entries)) == {NAMES[0]: near(person(), person())}


def test_a_picture_is_told_of_in_one_file(tmp_path: Path) -> None:
    for file in ("a.json", "b.json"):
        save(tmp_path / file, [{"image_id": NAMES[0], "keypoints": person()}])
    with pytest.raises(InputError, match=r"b\.json: tells of 'query/0001_c1_00\.jpg', as does .*a\.json; keep the one"):
        load_people(tmp_path, NAMES)


def test_a_name_that_is_null_is_none(tmp_path: Path) -> None:
    entry = {"file_name": None, "image_id": NAMES[0], "keypoints": person()}
    assert found(save(tmp_path / "a.json", [entry])) == {NAMES[0]: near(person())}


def changed(place: int, value: Any) -> list[Any]:
    return [*FLAT[:place], value, *FLAT[place + 1 :]]


BAD: dict[str, tuple[Any, str]] = {
    "a word": ("people", "neither COCO's results or annotations nor people by picture"),
    "a number": (3, "neither COCO's"),
    "settings": ({"version": 1}, "neither COCO's"),
    "no keypoints": (
        [{"image_id": NAMES[0]}],
        r"entry 0 \(picture 'query/0001_c1_00.jpg'\) has no `keypoints` of COCO",
    ),
    "no person": ([17], "entry 0 .* has no `keypoints`"),
    "133 joints": ([{"image_id": NAMES[0], "keypoints": [0] * 399}], "COCO's 17 joints"),
    "words": ([{"image_id": NAMES[0], "keypoints": ["x"] * 51}], "COCO's 17 joints"),
    "uneven": ([{"image_id": NAMES[0], "keypoints": {"x": [1], "y": [1, 2], "visible": [1]}}], "COCO's 17 joints"),
    "half told": ({NAMES[0]: [{"keypoints": {"x": [1] * 17}}]}, "person 0 of 'query/0001_c1_00.jpg' has no"),
    "NaN": ([{"image_id": NAMES[0], "keypoints": changed(3, float("nan"))}], r"left_eye is \[nan, .*must be finite"),
    "a logit": (
        [{"image_id": NAMES[0], "keypoints": changed(50, 5.5)}],
        r"right_ankle is .*5\.5\]; .*scores from 0 to 1",
    ),
    "below 0": ([{"image_id": NAMES[0], "keypoints": changed(2, -0.5)}], "nose is .*scores from 0 to 1"),
    "no images": ({"annotations": [{"image_id": 1, "keypoints": FLAT}]}, "annotations without 'images'"),
    "no such image": ({"images": [], "annotations": [{"image_id": 1, "keypoints": FLAT}]}, "annotations without 1;"),
    "images of numbers": ({"images": {"a": 1}, "annotations": []}, "whose `images` are no list of objects; let"),
    "no annotations": ({"images": [], "annotations": None}, "whose `annotations` are no list of objects; let"),
    "annotated numbers": ({"images": [], "annotations": [5]}, "whose `annotations` are no list of objects; let"),
    "a number for a name": (
        {"images": [{"id": 1, "file_name": 5}], "annotations": []},
        "image 0: its `file_name` is 5; ",
    ),
    "null for a name": (
        {"images": [{"id": 1, "file_name": None}], "annotations": []},
        "`file_name` is null; it must be te",
    ),
    "a list for a number": (
        {"images": [{"id": [1], "file_name": "a"}], "annotations": []},
        r"image 0: its `id` is \[1\]",
    ),
    "no id": ({"images": [{"file_name": "a"}], "annotations": []}, "image 0: there is no `id`; give it one"),
    "two of one id": (
        {"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": NAMES[0]}], "annotations": []},
        "image 1: the id 1 is 'a' already, and now 'query/0001_c1_00.jpg'; give each its own",
    ),
    "no image_id": ({"images": [], "annotations": [{"keypoints": FLAT}]}, "annotation 0: there is no `image_id`"),
    "a flag of 3": (
        {"images": [{"id": 1, "file_name": NAMES[0]}], "annotations": [{"image_id": 1, "keypoints": [3] * 51}]},
        "annotation 0 .*scores from 0 to 2",
    ),
}


@pytest.mark.parametrize(("content", "sentence"), BAD.values(), ids=BAD.keys())
def test_mistakes_are_told(content: Any, sentence: str, tmp_path: Path) -> None:
    path = save(tmp_path / "a.json", content)
    with pytest.raises(InputError, match=sentence) as error:
        load_people(path, NAMES)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_what_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read \(No such file"):
        load_people(tmp_path / "gone.json", NAMES)
    with pytest.raises(InputError, match=r"holds no \.json file"):
        load_people(tmp_path, NAMES)
    for content in (b"", b"[{", b"\xff\xfe", b"[" * 100_000):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.json: no JSON"):
            load_people(tmp_path / "a.json", NAMES)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.sampled_from(["keypoints", *NAMES]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["keypoints", "image_id", "images", "annotations", NAMES[0]]), inner)
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON)
def test_any_json_is_read_or_refused(tmp_path: Path, content: Any) -> None:
    path = save(tmp_path / "a.json", content)
    with suppress(InputError):  # and nothing else
        assert all(each.shape[1:] == (17, 3) for each in load_people(path, NAMES).values())
