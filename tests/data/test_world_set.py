"""The reader of rendered worlds: its variants, what a bad table is told, and the world that comes with halfseen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import halfseen
import worlds
from halfseen.data.check import check
from halfseen.data.sets import SETS, read_set, set_names
from halfseen.data.sets.world import ROLES
from halfseen.painting import Job
from halfseen.rendering import render_set
from halfseen.types import InputError, Occlusion, Sample
from halfseen.world.plan import Role

Run = Callable[..., tuple[int, str, str]]

TABLE = (
    "path,pid,camid,role,occlusion,thing,covered,activity\n"
    "bounding_box_train/1.jpg,1,1,train,holistic,none,0.0000,walk\n"
    "bounding_box_train/2.jpg,2,3,train,ntp,none,0.3000,walk\n"
    "query/3.jpg,3,1,query,npo,pole,0.4000,stand\n"
    "bounding_box_test/3a.jpg,3,2,gallery,holistic,none,0.0000,walk\n"
    "bounding_box_test/3b.jpg,3,2,gallery,npo,car,0.5000,walk\n"
    "query_holistic/3.jpg,3,3,query_holistic,holistic,none,0.0000,phone\n"
    "bounding_box_test/4.jpg,4,1,gallery,ntp,none,0.2500,walk\n"
    "query_partial/4.jpg,4,2,query_partial,holistic,none,0.0000,walk\n"
)
GALLERY = {
    "3a": ("bounding_box_test/3a.jpg", 3, 2, Occlusion.HOLISTIC),
    "3b": ("bounding_box_test/3b.jpg", 3, 2, Occlusion.NPO),
    "4": ("bounding_box_test/4.jpg", 4, 1, Occlusion.NTP),
}
HOLISTIC_QUERY = ("query_holistic/3.jpg", 3, 3, Occlusion.HOLISTIC)
VARIANTS = {
    "world": (("query/3.jpg", 3, 1, Occlusion.NPO), ["3a", "3b", "4"]),
    "world:holistic": (HOLISTIC_QUERY, ["3a"]),
    "world:re-occluded": (HOLISTIC_QUERY, ["3a", "3b", "4"]),
    "world:partial": (("query_partial/4.jpg", 4, 2, Occlusion.HOLISTIC), ["3a"]),
}


def planted(folder: Path, table: str | bytes = TABLE) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "world.json").write_text("{}")
    (folder / "world.csv").write_bytes(table.encode() if isinstance(table, str) else table)
    return folder


def told(samples: tuple[Sample, ...]) -> list[tuple[str, int, int, Occlusion]]:
    return [(s.name, s.pid, s.camid, s.occlusion) for s in samples]


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered world, with noise for people."""
    out = tmp_path_factory.mktemp("noise") / "out"
    render_set(Job(out, worlds.SETTING, studio=worlds.studio), workers=1)
    return out


@pytest.mark.parametrize("name", VARIANTS)
def test_each_variant_has_its_queries_and_gallery(name: str, tmp_path: Path) -> None:
    splits = read_set(name, planted(tmp_path))
    query, gallery = VARIANTS[name]
    assert splits.name == name
    assert told(splits.query) == [query]
    assert told(splits.gallery) == [GALLERY[row] for row in gallery]
    train = [("bounding_box_train/1.jpg", 1, 1, Occlusion.HOLISTIC), ("bounding_box_train/2.jpg", 2, 3, Occlusion.NTP)]
    assert told(splits.train) == train
    assert all(sample.path == tmp_path / sample.name for sample in splits.train + splits.query + splits.gallery)
    assert splits.has_cameras
    assert splits.notes == ()


def test_roles_are_those_of_the_plan() -> None:
    assert tuple(role.value for role in Role) == ROLES


@pytest.mark.parametrize("name", VARIANTS)
def test_a_rendered_world_has_no_faults(name: str, noise: Path) -> None:
    splits = read_set(name, noise.parent)
    assert splits.root == noise
    report = check(splits, workers=1)
    assert report.faults == ()
    assert report.notes == ()
    assert report.counts["train"] == (5, 50, 3)
    assert report.counts["query"].ids == report.counts["gallery"].ids == 5
    train, query = ({sample.occlusion for sample in some} for some in (splits.train, splits.query))
    assert train == {Occlusion.HOLISTIC, Occlusion.NPO, Occlusion.NTP}
    assert query == ({Occlusion.NPO, Occlusion.NTP} & query if name == "world" else {Occlusion.HOLISTIC})


BAD = {
    "role": (
        TABLE.replace(",query_partial,", ",probe,"),
        "line 9, column role: 'probe' is not one of train, query, ga",
    ),
    "pid": (TABLE.replace("4.jpg,4,1", "4.jpg,bob,1"), "line 8, column pid: 'bob' is not a number from 0 on; copy wor"),
    "junk": (TABLE.replace("4.jpg,4,1", "4.jpg,-1,1"), "line 8, column pid: '-1' is not a number from 0 on"),
    "camid": (TABLE.replace("4.jpg,4,1", "4.jpg,4,"), "line 8, column camid: '' is not a whole number"),
    "occlusion": (TABLE.replace(",npo,pole", ",half,pole"), "line 4, column occlusion: 'half' is not one of 0, 1, 2, "),
    "path": (TABLE.replace("query/3.jpg", " "), "line 4, column path: ' ' is no path"),
    "twice": (TABLE.replace("3b.jpg", "3a.jpg"), "line 6, column path: 'bounding_box_test/3a.jpg' is listed already, "),
    "short": (TABLE.replace(",0.4000,stand", ""), "line 4: 6 cells under a header of 8"),
    "header": (TABLE.replace("role", "part"), "line 1: there is no column role; found 'path', 'pid', 'camid', 'part'"),
    "not UTF-8": (TABLE.encode().replace(b"query/3", b"query/\xff"), "line 4, column path: 'query/\\udcff.jpg' is not"),
    "empty": ("", "holds no rows; give it one for each picture, with path, pid, camid, role, occlusion"),
}


@pytest.mark.parametrize(("table", "message"), BAD.values(), ids=BAD.keys())
def test_bad_tables_are_told_where(table: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_set("world", planted(tmp_path, table))
    assert str(caught.value).startswith(repr(str(tmp_path / "world.csv")))
    assert message in str(caught.value)


def test_a_world_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no folder with world\.json lies at"):
        read_set("world", tmp_path)
    with pytest.raises(InputError, match="no folder is named for world:partial; give the folder that holds it"):
        read_set("world:partial")
    (planted(tmp_path) / "world.csv").unlink()
    with pytest.raises(InputError, match="holds a world of which no picture is complete yet; run the same"):
        read_set("world", tmp_path)
    (tmp_path / ".chunks").mkdir()
    for name, text in {"0.json": "[[], []]", "1.json": "[[]]", "2.json": "", ".3.part": "[["}.items():
        (tmp_path / ".chunks" / name).write_text(text)
    with pytest.raises(InputError, match="of which 3 pictures are complete and their table is not written yet; run"):
        read_set("world", tmp_path)


def test_the_world_that_comes_with_halfseen_needs_no_root(
    noise: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert SETS["street"].home == Path(halfseen.__file__).parent / "street"
    monkeypatch.setitem(SETS, "street", replace(SETS["street"], home=noise))
    monkeypatch.setenv("HALFSEEN_DATA", str(tmp_path / "elsewhere"))
    assert [name for name in set_names() if name.startswith("street")] == [
        n.replace("world", "street") for n in VARIANTS
    ]
    for variant in VARIANTS:
        name = variant.replace("world", "street")
        assert read_set(name).by_name == read_set(variant, noise).by_name
        code, out, err = run("data", "check", name)
        assert (code, err) == (0, "")
        assert out.startswith(f"{name}, read from {noise}\n")
    assert len(read_set("street", planted(tmp_path / "other")).gallery) == 3
    assert run("data", "export", "street", tmp_path / "out")[0] == 0
