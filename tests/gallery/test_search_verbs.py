"""`halfseen index`, `halfseen search` and `halfseen gallery`, run as a person would."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lance", reason="galleries need pylance: pip install 'halfseen[search]'")

from fixture_types import Refused, Run, SmallDisk
from halfseen.data.images import read_image, save_image
from halfseen.evaluate import DISTANCES
from halfseen.gallery import loading
from halfseen.gallery.indexing import index as indexing
from halfseen.gallery.indexing import watching
from halfseen.gallery.indexing.model import open_model
from halfseen.gallery.origins import why_no_source
from halfseen.gallery.sightings import Fact, Where
from halfseen.gallery.store import Gallery
from halfseen.ops.distance import top_k
from halfseen.types import Embedding
from passers import BLUE, RED, Days, Walker, find, save_film
from served import person, save_tiny

NAMES = "{camera}/{time:%Y%m%d_%H%M%S}_{track}.png"
PEOPLE = 8


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("model") / "tiny.safetensors")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight people before two cameras, a minute each."""
    monkeypatch.chdir(tmp_path)
    for number in range(PEOPLE):
        for camera, name in enumerate(("gate", "hall")):
            path = tmp_path / "set" / name / f"20240531_12{number:02}0{camera}_p{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_image(path, person(number, camera))
    save_image(tmp_path / "who.png", (0.97 * person(3, 0)).byte())
    return tmp_path / "set"


@pytest.fixture
def gallery(folder: Path, weights: Path, run: Run) -> Path:
    assert run("index", folder, "--gallery", "g", "--model", weights, "--pattern", NAMES)[0] == 0
    return folder.with_name("g")


@pytest.fixture
def search(gallery: Path, weights: Path, run: Run) -> Callable[..., dict[str, Any]]:
    """`search(*words)` → what it prints as JSON."""

    def call(*words: object) -> Any:
        code, said, err = run("search", *words, "--gallery", gallery, "--model", weights, "--json")
        assert (code, err) == (0, "")
        return json.loads(said)["sightings"]

    return call


def test_index_says_what_came_of_it(folder: Path, weights: Path, run: Run) -> None:
    words = ("index", folder, "--gallery", "g", "--model", weights)
    (folder / "broken.png").write_bytes(b"x")
    code, said, err = run(*words)
    assert code == 0
    assert re.fullmatch(r"16 pictures → 16 sightings, \d+ a second; 1 fault; g holds 16\n", said)
    assert err == (
        f"left out: {folder / 'broken.png'} is not a picture in a known format; allowed are JPEG, PNG, BMP, TIFF, "
        f"WEBP, GIF, PPM: convert it, or take it off the list\n"
    )
    (folder / "broken.png").unlink()
    assert run(*words) == (0, "0 pictures → 0 sightings; 16 files known before; g holds 16\n", "")


def test_index_tells_which_names_are_told_otherwise_now(folder: Path, weights: Path, run: Run) -> None:
    words = ("index", folder, "--gallery", "g", "--model", weights)
    run(*words)
    pattern = ("--pattern", "{camera}/*.png")
    assert run(*words, *pattern)[2] == (
        "of those known before, 16 files or more have another camera, time or track now than is stored; --again "
        "stores all anew\n"
    )
    code, said, err = run(*words, *pattern, "--again")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"16 pictures → 16 sightings, \d+ a second; g holds 16\n", said)
    assert run(*words, *pattern)[2] == ""
    run("gallery", "forget", "g", "--source", folder)
    assert run(*words)[2] == "what was forgotten stays so; --again takes it in anew\n"


def test_an_index_that_could_use_nothing_ends_with_2(tmp_path: Path, weights: Path, run: Run, refused: Refused) -> None:
    place, empty = tmp_path / "g", tmp_path / "empty"
    empty.mkdir()
    words = ("--gallery", place, "--model", weights)
    code, said, err = run("index", empty, *words)
    assert (code, said) == (2, f"0 pictures → 0 sightings; 1 fault; no gallery is made at {place}\n")
    assert err == f"left out: {empty} holds no picture and no film; put some there, or name another\n"
    (empty / "list.csv").write_text("path,cam\nx.txt,gate\n")
    code, said, err = run("index", empty / "list.csv", *words, "--json")
    told = json.loads(said)
    assert (code, told["holds"], told["added"], len(told["faults"]), "unread" in told) == (2, 0, 0, 1, False)
    assert err.startswith("note: ")
    (empty / "list.csv").write_text("path\n")
    assert "holds no rows" in refused("index", empty / "list.csv", *words)
    assert "{camera}" in refused("index", empty, *words, "--pattern", "{camera}{camera}")
    assert not place.exists()
    Gallery.create(place, open_model(weights, "cpu").facts)
    assert run("index", empty, *words)[:2] == (2, f"0 pictures → 0 sightings; 1 fault; {place} holds 0\n")
    assert "--again is for one time" in refused("index", tmp_path, "--gallery", "g", "--watch", "--again")


def test_columns_that_are_not_read_are_a_note_and_no_fault(folder: Path, weights: Path, run: Run) -> None:
    table = folder / "list.csv"
    table.write_text("path,cam\nhall/20240531_120001_p0.png,gate\n")
    code, said, err = run("index", table, "--gallery", "g", "--model", weights)
    assert (code, err) == (
        0,
        f"note: {table}: columns that are not read: 'cam'; read are path, camera, time, track: rename it if one "
        f"of these is meant\n",
    )
    assert "fault" not in said


def test_index_of_a_film(folder: Path, weights: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def load(*words: Any) -> Any:
        asked.append(words)
        return find

    monkeypatch.setattr(indexing, "load_detector", load)
    film = save_film(folder / "street.avi", [Walker(RED, 0, 3, 10, 25), Walker(BLUE, 4, 7, 120, -25)], 8)
    Path("w.pth").touch()
    words = ("--detector", "mobilenet", "--weights", "w.pth", "--smallest", 0.2, "--every", 0.2, "--crops", 2)
    code, said, _ = run("index", film, folder, "--gallery", "g", "--model", weights, *words)
    assert code == 0
    assert re.fullmatch(r"16 pictures and 2 passages in 1 film → 20 sightings, \d+ a second; g holds 20\n", said)
    assert asked == [("mobilenet", 0.2, Path("w.pth"), "cpu")]


def test_paths_that_lead_nowhere_leave_no_gallery_behind(folder: Path, weights: Path, run: Run) -> None:
    (folder / "notes.txt").touch()
    for path, message in (
        ("gone", "gone does not exist"),
        (folder / "notes.txt", "notes.txt is no folder and ends in"),
    ):
        code, said, err = run("index", folder, path, "--gallery", "g", "--model", weights)
        assert (code, said) == (2, "")
        assert message in err
        assert not folder.with_name("g").exists()


def test_of_a_film_that_is_cut_short_a_part_is_said_to_be_taken(
    folder: Path, weights: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "load_detector", lambda *_: find)
    film = save_film(folder / "street.avi", [Walker(RED, 0, 3, 10, 25), Walker(BLUE, 4, 7, 120, -25)], 8)
    film.write_bytes(film.read_bytes()[: film.stat().st_size * 3 // 4])
    code, said, err = run("index", film, "--gallery", "g", "--model", weights)
    assert code == 0
    assert re.fullmatch(rf"in part: {film} ends at .*: it is cut short or damaged; what comes before is taken\n", err)
    assert "; 1 fault; g holds" in said


def test_index_as_json(folder: Path, weights: Path, run: Run) -> None:
    code, said, _ = run("index", folder, "--gallery", "g", "--model", weights, "--json", "--device", "cpu")
    told = json.loads(said)
    assert code == 0
    assert told.pop("seconds") > 0
    assert told == {
        "gallery": "g",
        "holds": 16,
        "added": 16,
        "pictures": 16,
        "films": 0,
        "passages": 0,
        "known": 0,
        "otherwise": 0,
        "faults": [],
    }


def test_index_prepares_large_galleries(
    folder: Path, weights: Path, run: Run, small_disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "WORTH", 10)
    words = ("index", folder, "--gallery", "g", "--model", weights)
    assert run(*words, "--unprepared")[0] == 0
    assert not Path("g/prepared").exists()
    with small_disk(2_000):
        code, said, err = run(*words)
    assert (code, said) == (0, "0 pictures → 0 sightings; 16 files known before; g holds 16\n")
    assert "make room" in err
    assert [*Path("g/prepared").iterdir()] == []
    assert run(*words) == (0, said, "")
    assert len([*Path("g/prepared").iterdir()]) == 1
    assert json.loads(run("gallery", "info", "g", "--json")[1])["prepared"] == 16
    code, answers, err = run("search", "who.png", "--gallery", "g", "--model", weights)
    assert (code, err) == (0, "")
    run("gallery", "prepare", "g", "--undo")
    note = "note: 16 sightings had to be read; `halfseen gallery prepare g` spares that\n"
    assert run("search", "who.png", "--gallery", "g", "--model", weights) == (0, answers, note)


def test_watching_goes_on_until_ctrl_c(folder: Path, weights: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watching, "time", Days([None, None, None, stop]))
    code, said, err = run("index", folder, "--gallery", "g", "--model", weights, "--watch")
    assert code == 2
    assert said.startswith("16 pictures → 16 sightings")
    assert said.count("\n") == 1
    assert err.startswith("halfseen: stopped by Ctrl-C")


def test_what_cannot_be_indexed_is_one_sentence(folder: Path, weights: Path, refused: Refused) -> None:
    words = ("--gallery", "g", "--model", weights)
    assert "gone does not exist" in refused("index", "gone", *words)
    assert "has '{who}'; allowed are {camera}" in refused("index", folder, *words, "--pattern", "{who}")
    assert "films are looked at each" in refused("index", folder, *words, "--every", 0)
    assert "holds other things, and no gallery" in refused("index", folder, "--gallery", folder, "--model", weights)
    assert "does not exist" in refused("index", folder, "--gallery", "g", "--model", "gone.safetensors")


def test_a_gallery_of_another_model_is_refused(gallery: Path, tmp_path: Path, refused: Refused) -> None:
    other = save_tiny(tmp_path / "other.safetensors")
    other.write_bytes(other.read_bytes().replace(b'\\"seed\\": 0', b'\\"seed\\": 7'))
    for words in (("index", tmp_path / "set"), ("search", tmp_path / "who.png")):
        assert f"the gallery {gallery.name} holds" in refused(*words, "--gallery", "g", "--model", other)


def test_search_prints_a_table(gallery: Path, weights: Path, run: Run) -> None:
    code, said, err = run("search", "who.png", "--gallery", gallery, "--model", weights, "--count", 3)
    assert (code, err) == (0, "")
    head, *rows = said.splitlines()
    parts = ["whole person", *Gallery.open(gallery).model.parts[1:]]  # which the model calls foreground
    assert head.split() == ["rank", "id", "camera", "time", "distance", *" ".join(parts).split(), "picture"]
    assert len(rows) == 3
    for rank, row in enumerate(rows, 1):
        cells = row.split()
        assert cells[0] == str(rank)
        assert cells[2] in ("gate", "hall")
        assert cells[3] == "2024-05-31"
        assert re.fullmatch(r"12:0\d:0\d", cells[4])
        assert Path(cells[-1]).is_file()
    assert {row[head.index("picture") :].partition("/")[0] for row in rows} == {"set"}  # from here, and to the left


def test_a_picture_elsewhere_keeps_its_whole_path(
    gallery: Path, weights: Path, folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "empty").mkdir()
    monkeypatch.chdir(folder / "empty")
    _, said, _ = run("search", folder.with_name("who.png"), "--gallery", gallery, "--model", weights, "--count", 3)
    assert all(row.split()[-1].startswith(f"{folder}/") for row in said.splitlines()[1:])


def test_search_answers_as_evaluate_ranks(search: Callable[..., Any], weights: Path, folder: Path) -> None:
    """The same order and distances as `halfseen evaluate --distance parts-cosine` would take, up to rounding."""
    model = open_model(weights, "cpu")
    paths = sorted(folder.rglob("*.png"))
    wanted = top_k(
        DISTANCES["parts-cosine"],
        model.encode([read_image("who.png")]),
        model.encode([read_image(path) for path in paths]),
        len(paths),
    )
    found = search("who.png", "--count", 50)
    distances = [each["distance"] for each in found]
    assert distances == pytest.approx(wanted.distances[0][: len(found)].tolist(), abs=2e-3)
    by_path = {str(paths[row]): float(d) for row, d in zip(wanted.indices[0], wanted.distances[0], strict=True)}
    for place, each in enumerate(found):
        assert (each["rank"], each["distance"]) == (place + 1, pytest.approx(by_path[each["image"]], abs=2e-3))
    assert Path(found[0]["image"]).name.endswith("_p3.png")


def test_json_says_all_that_is_known(search: Callable[..., Any], gallery: Path, folder: Path) -> None:
    first = search("who.png")[0]
    names = set(Gallery.open(gallery).model.parts)
    assert set(first) == {
        *("rank", "id", "distance", "confidence", "parts", "seen"),
        *("image", "source", "camera", "time", "track", "box"),
    }
    assert set(first["parts"]) == set(first["seen"]) == names
    assert first["source"] == str(folder)
    assert (first["track"], first["box"], first["confidence"]) == ("p3", None, None)


def test_filters_leave_out_others(search: Callable[..., Any]) -> None:
    def cameras(*words: object) -> set[str]:
        return {each["camera"] for each in search("who.png", "--count", 50, *words)}

    assert cameras() == {"gate", "hall"}
    assert cameras("--camera", "hall") == {"hall"}
    assert cameras("--source", "set") == {"gate", "hall"}  # as it is called from here
    found = search("who.png", "--count", 50, "--since", "2024-05-31 12:02", "--until", "2024-05-31 12:03:00")
    assert {each["track"] for each in found} == {"p2", "p3"}
    assert {Path(each["image"]).name[9:15] for each in found} <= {"120200", "120201", "120300"}


def test_several_pictures_and_negative_ones_and_parts(search: Callable[..., Any], tmp_path: Path) -> None:
    save_image(tmp_path / "again.png", (0.97 * person(3, 1)).byte())
    save_image(tmp_path / "other.png", person(5, 3))
    both = search("who.png", "again.png", "--count", 50)
    assert {both[0]["track"], both[1]["track"]} == {"p3"}
    places = [
        [each["track"] for each in search("who.png", "--count", 50, *words)].index("p5")
        for words in ((), ("--unlike", "other.png"))
    ]
    assert places[1] >= places[0]
    part = next(name for name, seen in both[0]["seen"].items() if seen)
    for each in search("who.png", "--part", part, "--count", 50):
        assert {name for name, distance in each["parts"].items() if distance is not None} == {part}
    assert search("who.png", "--rerank", "--count", 5)[0]["track"] == "p3"


def test_a_strip_is_drawn(search: Callable[..., Any]) -> None:
    found = search("who.png", "--strip", "strip.png", "--count", 4)
    assert len(found) == 4
    strip = read_image("strip.png")
    assert strip.shape[2] > 5 * 96
    assert (strip[:, 8 + 96, 8 + 48] != 250).any()


@pytest.mark.parametrize(("pictures", "start"), [("kitty", "\x1b_Ga=T"), ("iterm", "\x1b]1337;"), ("none", "rank")])
def test_pictures_in_the_terminal(pictures: str, start: str, gallery: Path, weights: Path, run: Run) -> None:
    words = ("search", "who.png", "--gallery", gallery, "--model", weights, "--pictures", pictures)
    assert run(*words)[1].startswith(start)


def test_auto_asks_the_terminal(gallery: Path, weights: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("search", "who.png", "--gallery", gallery, "--model", weights)
    monkeypatch.setenv("TERM", "xterm-kitty")
    monkeypatch.delenv("TMUX", raising=False)
    assert run(*words)[1].startswith("rank")  # into a pipe
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run(*words)[1].startswith("\x1b_Ga=T")
    assert json.loads(run(*words, "--json")[1])["sightings"]
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("KITTY_WINDOW_ID", raising=False)
    monkeypatch.delenv("TERM_PROGRAM", raising=False)
    monkeypatch.delenv("LC_TERMINAL", raising=False)
    assert run(*words)[1].startswith("rank")


def test_what_cannot_be_searched_is_one_sentence(
    gallery: Path, weights: Path, refused: Refused, tmp_path: Path
) -> None:
    words = ("--gallery", gallery, "--model", weights)
    assert "gone.png does not exist" in refused("search", "gone.png", *words)
    assert "--part tail: there is none in this gallery; it has 'whole person'" in refused(
        "search", "who.png", *words, "--part", "tail"
    )
    assert "--camera roof: there is none in this gallery; it has 'gate', 'hall'" in refused(
        "search", "who.png", *words, "--camera", "roof"
    )
    within = refused("search", "who.png", *words, "--source", "set/gate")
    assert (
        f"--source set/gate: it lies in {tmp_path / 'set'}, which was indexed as one source; give that, and" in within
    )
    assert "the films in it are sources of their own" in why_no_source("v", {str(tmp_path / "v/a.mp4")}, narrow="")
    assert "--source sett: nothing in this gallery is from there; it has " in refused(
        "search", "who.png", *words, "--source", "sett"
    )
    assert "--since: 'noon' is no time" in refused("search", "who.png", *words, "--since", "noon")
    for name in ("--since", "--until"):  # a variable of a script that was never set
        assert f"{name}: '' is no time; write 2024-05-31" in refused("search", "who.png", *words, name, "")
    assert "--since 2024-06-01 is later than --until 10; exchange the two" in refused(
        "search", "who.png", *words, "--since", "2024-06-01", "--until", 10
    )
    assert "ask for at least one answer" in refused("search", "who.png", *words, "--count", 0)
    assert "there is no gallery at" in refused("search", "who.png", "--gallery", tmp_path, "--model", weights)


@pytest.mark.parametrize("words", [("tiny.png",), ("who.png", "--unlike", "tiny.png")])
def test_a_picture_of_a_few_pixels_shows_nobody(
    words: tuple[str, ...], gallery: Path, weights: Path, refused: Refused
) -> None:
    save_image(Path("tiny.png"), person(3, 0)[:, :9, :7])
    said = refused("search", *words, "--gallery", gallery, "--model", weights)
    assert "tiny.png is only 7x9 pixels; give a larger picture, with 8 or more on each side" in said


def test_until_a_date_is_until_its_end(search: Callable[..., Any]) -> None:
    assert len(search("who.png", "--since", "2024-05-31", "--until", "2024-05-31")) == 10


@pytest.mark.parametrize("words", [("--until", "2024-05-30"), ("--since", "2024-06-01", "--until", "2024-06-02")])
def test_times_that_the_gallery_has_not_are_refused_with_those_it_has(
    gallery: Path, weights: Path, refused: Refused, search: Callable[..., Any], words: tuple[str, ...]
) -> None:
    said = refused("search", "who.png", "--gallery", gallery, "--model", weights, *words)
    assert f"{' '.join(words)}: there is no sighting of then in this gallery; it has " in said
    assert "it has 2024-05-31 12:00:00 to 2024-05-31 12:07:01" in said
    assert search("who.png", "--since", "2024-05-31 12:01:10", "--until", "2024-05-31 12:01:50") == []  # in between


def test_a_gallery_of_unknown_times_says_so(folder: Path, weights: Path, run: Run, refused: Refused) -> None:
    assert run("index", folder, "--gallery", "plain", "--model", weights)[0] == 0
    said = refused("search", "who.png", "--gallery", "plain", "--model", weights, "--since", "2024-05-31")
    assert "--since 2024-05-31: the times in this gallery are unknown; `halfseen index --pattern` reads" in said


def test_parts_may_be_written_large(search: Callable[..., Any], gallery: Path) -> None:
    name = Gallery.open(gallery).model.parts[1]
    assert search("who.png", "--part", name.upper()) == search("who.png", "--part", name)


def test_info_tells_what_a_gallery_holds(gallery: Path, run: Run, folder: Path) -> None:
    code, said, _ = run("gallery", "info", gallery)
    assert code == 0
    lines = said.splitlines()
    assert re.fullmatch(rf"{gallery}: 16 sightings, [\d.]+ MiB, 2024-05-31 12:00:00 to 2024-05-31 12:07:01", lines[0])
    assert lines[1].startswith("model: bpbreid ")
    assert [line.split() for line in lines[2:]] == [
        *(["cameras", "sightings"], ["gate", "8"], ["hall", "8"]),
        *(["sources", "sightings"], [str(folder), "16"]),
    ]
    told = json.loads(run("gallery", "info", gallery, "--json")[1])
    assert told["cameras"] == {"gate": 8, "hall": 8}
    assert told["sightings"] == 16
    assert (told["since"], told["until"]) == (1_717_156_800.0, 1_717_157_221.0)  # as over HTTP
    assert (told["first"], told["last"]) == ("2024-05-31 12:00:00", "2024-05-31 12:07:01")


def test_info_says_that_times_count_from_the_beginning_of_a_film(tmp_path: Path, weights: Path, run: Run) -> None:
    facts = open_model(weights, "cpu").facts
    gallery = Gallery.create(tmp_path / "g", facts)
    seen = Embedding(torch.ones(1, len(facts.parts), facts.dim), torch.ones(1, len(facts.parts)))
    gallery.add(seen, [Fact(source="film.mp4", time=0.3)])
    assert (
        run("gallery", "info", tmp_path / "g")[1].splitlines()[0].endswith(", 00:00:00.3 to 00:00:00.3 into the film")
    )
    assert run("gallery", "info", tmp_path / "g")[1].startswith(f"{tmp_path / 'g'}: 1 sighting, ")
    told = json.loads(run("gallery", "info", tmp_path / "g", "--json")[1])
    assert [told[name] for name in ("since", "until", "first", "last")] == [0.3, 0.3, *["00:00:00.3 into the film"] * 2]
    gallery.remove([*gallery.rows()])
    told = json.loads(run("gallery", "info", tmp_path / "g", "--json")[1])
    assert [told[name] for name in ("since", "until", "first", "last")] == [None, None, "", ""]
    assert run("gallery", "info", tmp_path / "g")[1].splitlines()[0].endswith(", times unknown")


def test_of_one_sighting_serve_speaks_as_of_one(
    tmp_path: Path, weights: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = pytest.importorskip("halfseen.service.running", reason="the extra `serve` is not installed")
    monkeypatch.setattr(running, "serve", lambda *_: None)
    facts = open_model(weights, "cpu").facts
    seen = Embedding(torch.ones(1, len(facts.parts), facts.dim), torch.ones(1, len(facts.parts)))
    Gallery.create(tmp_path / "g", facts).add(seen, [Fact()])
    said = run("serve", tmp_path / "g", "--model", weights, "--port", 0)[1]
    assert re.match(r"http://127\.0\.0\.1:\d+/ shows 1 sighting until Ctrl-C; who searches is noted in ", said)


def test_forgetting_a_person_takes_their_passage(
    gallery: Path, search: Callable[..., Any], run: Run, refused: Refused
) -> None:
    first = search("who.png")[0]
    assert run("gallery", "forget", gallery, "--person", first["id"]) == (
        0,
        f"2 sightings forgotten; {gallery} holds 14\n",
        "",
    )
    left = search("who.png", "--count", 50)
    assert "p3" not in {each["track"] for each in left}
    said = refused("gallery", "forget", gallery, "--person", left[0]["id"], "--person", 10**6)
    assert said.startswith("halfseen: --person 1000000: there is no such sighting; 2 sightings of the others' pa")
    assert left[0]["id"] not in {each["id"] for each in search("who.png", "--count", 50)}


def test_forgetting_by_source_and_time(gallery: Path, run: Run, refused: Refused) -> None:
    told = run("gallery", "forget", gallery, "--before", "2024-05-31 12:02", "--json")[1]
    assert json.loads(told) == {"forgotten": 4, "holds": 12}
    days = (time.time() - 1_717_156_800 - 5.5 * 60) / 86_400
    assert json.loads(run("gallery", "forget", gallery, "--days", days, "--json")[1]) == {"forgotten": 8, "holds": 4}
    assert "give a person, a source or a time" in refused("gallery", "forget", gallery)
    assert "give one of them" in refused("gallery", "forget", gallery, "--days", 3, "--before", "2024-05-31")
    assert "nothing in this gallery is from there" in refused("gallery", "forget", gallery, "--source", "sett")
    within = refused("gallery", "forget", gallery, "--source", "set/gate/", "--days", 0)
    assert "--source set/gate/: it lies in" in within
    assert "give that, or --person to forget some of it" in within
    assert json.loads(run("gallery", "forget", gallery, "--source", "set", "--json")[1]) == {"forgotten": 4, "holds": 0}


def test_a_forgetting_that_was_broken_off_is_ended_by_the_same_command(
    gallery: Path, folder: Path, refused: Refused
) -> None:
    Gallery.open(gallery).remove(where=Where(sources=frozenset({str(folder)})))  # as far as it came
    data = gallery / "images.lance/data"
    assert any(b"\xff\xd8" in path.read_bytes() for path in data.iterdir())
    assert "nothing in this gallery is from there" in refused("gallery", "forget", gallery, "--source", folder)
    assert not any(data.iterdir())


def test_nothing_stands_between_the_lines_of_json(gallery: Path, folder: Path, refused: Refused) -> None:
    said = refused("search", folder, "--gallery", gallery, "--json", "--pictures", "kitty")
    assert said == "halfseen: --json prints JSON alone; leave --pictures kitty out, or have a --strip drawn"


def test_forgetting_nobody(gallery: Path, run: Run, refused: Refused) -> None:
    assert f"--person {10**30}: there is no such sighting" in refused("gallery", "forget", gallery, "--person", 10**30)
    for days in ("-1", "nan", "inf"):
        assert f"--days is {days}; give 0 to 100,000" in refused("gallery", "forget", gallery, "--days", days)
    assert run("gallery", "forget", gallery, "--before", "2020-01-01") == (
        0,
        f"0 sightings forgotten; {gallery} holds 16\n",
        "",
    )


def test_what_is_forgotten_does_not_come_back_by_itself(gallery: Path, folder: Path, weights: Path, run: Run) -> None:
    run("gallery", "forget", gallery, "--source", folder)
    said = run("index", folder, "--gallery", gallery, "--model", weights)[1]
    assert said == f"0 pictures → 0 sightings; 16 files known before; {gallery} holds 0\n"


def test_verify_compact_export_and_import(gallery: Path, run: Run, tmp_path: Path) -> None:
    assert run("gallery", "verify", gallery) == (0, f"{gallery}: all is well\n", "")
    assert json.loads(run("gallery", "verify", gallery, "--json")[1]) == {"faults": []}
    code, said, _ = run("gallery", "compact", gallery)
    assert code == 0
    assert re.fullmatch(rf"{gallery}: [\d.]+ MiB before, [\d.]+ MiB now\n", said)
    assert run("gallery", "export", gallery, "out")[:2] == (0, "16 sightings written to out\n")
    assert run("gallery", "import", "copy", "out")[:2] == (0, "16 sightings added; copy holds 16\n")
    before, after = (Gallery.open(path).embedding()[1] for path in (gallery, tmp_path / "copy"))
    assert torch.equal(before.vectors, after.vectors)
    assert torch.equal(before.visibility, after.visibility)


def test_a_damaged_gallery_is_a_finding_of_verify(gallery: Path, run: Run) -> None:
    file = max((gallery / "images.lance/data").iterdir(), key=lambda path: path.stat().st_size)
    file.write_bytes(file.read_bytes()[:-200])
    code, said, _ = run("gallery", "verify", gallery)
    assert code == 1
    assert "restore it from an export" in said


def test_after_calibration_answers_say_how_sure_they_are(
    gallery: Path,
    search: Callable[..., Any],
    weights: Path,
    run: Run,
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HALFSEEN_CACHE", str(gallery.parent / "cache"))
    words = ("gallery", "calibrate", gallery, "--data", "street", "--model", weights)
    code, said, _ = run(*words, "--plot", "plot.svg")
    assert code == 0
    told = re.fullmatch(
        r"learned from ([\d,]+) answers about 30 people of street: the chance that is told is off by [\d.]+ points on "
        r"average\n",
        said,
    )
    assert told
    assert Path("plot.svg").read_text().startswith("<svg")
    first = search("who.png")[0]
    assert 0 <= first["confidence"] <= 1
    table = run("search", "who.png", "--gallery", gallery, "--model", weights)[1].splitlines()
    assert table[0].split()[5] == "sure"
    assert re.search(rf" {100 * first['confidence']:.0f} %", table[1])
    assert "does not end in .svg" in refused(*words, "--plot", "plot.png")


def test_another_model_does_not_calibrate_a_gallery(
    gallery: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HALFSEEN_CACHE", str(tmp_path / "cache"))
    assert "give that model" in refused("gallery", "calibrate", gallery, "--data", "street")
    assert Gallery.open(gallery).notes() == {}
