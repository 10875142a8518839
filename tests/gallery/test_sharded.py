"""Search over shards: the answers of one machine, to the last bit, also when a process or a machine is lost."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lance", reason="the extra `search` is not installed")

from galleries import MODEL, PARTS, facts, filled, people
from halfseen.gallery import machines, sharded
from halfseen.gallery.calibration import Calibration, keep_calibration
from halfseen.gallery.leading import Leading
from halfseen.gallery.probes import Found
from halfseen.gallery.search import Search
from halfseen.gallery.sharded import BLOCK, Part, Shard, Sharded, Share
from halfseen.gallery.sightings import Ask, Sighting, State
from halfseen.gallery.store import Gallery
from halfseen.gallery.troubles import VanishedError
from halfseen.types import Embedding, InputError
from raylets import QUIET, Raylets, raylets

ROWS, PERSONS = 5 * BLOCK + 300, 300


@pytest.fixture(scope="module")
def two() -> Iterator[Raylets]:
    pytest.importorskip("ray", reason="needs the extra scale: pip install 'halfseen[scale]'")
    with raylets() as both:
        yield both


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    """People in turn; the last 300 images are the first ones once more, so that distances tie across shards."""
    gallery = Gallery.create(tmp_path / "g", MODEL)
    first = people([row % PERSONS for row in range(ROWS - 300)])
    twice = Embedding(torch.cat([first.vectors, first.vectors[:300]]), torch.cat([first.visibility] * 2)[:ROWS])
    twice.visibility[-300:] = first.visibility[:300]
    gallery.add(twice, facts(ROWS))
    learned = Calibration("by hand", (1.0, -6.0, 0.4, 0.3, 0.1), 900, 100, 20, 0.1, 0.1, (), 0.05)
    keep_calibration(gallery, learned)
    return gallery


def asks(count: int, seed: int = 0) -> list[Ask]:
    """Questions of all kinds."""
    dice, query = random.Random(seed), people([*range(PERSONS)], seed=7)
    found = []
    for _ in range(count):
        row, pictures = dice.randrange(PERSONS - 3), dice.randint(1, 3)
        found.append(
            Ask(
                query[row : row + pictures],
                query[row + 1 : row + 1 + dice.randint(1, 2)] if dice.random() < 0.4 else None,
                parts=(0, *dice.sample(range(1, len(PARTS)), dice.randint(0, 2))) if dice.random() < 0.3 else None,
                cameras=frozenset({"gate '1'", "gate '2'"}) if dice.random() < 0.3 else None,
                sources=frozenset({"film 3.mp4", "film 90.mp4"}) if dice.random() < 0.2 else None,
                since=float(dice.randrange(ROWS)) if dice.random() < 0.3 else None,
                count=dice.choice([1, 10, 50, 700, ROWS + 5]),
                rerank=dice.random() < 0.2,
            )
        )
    return found


def assert_same(ours: Found, theirs: Found) -> None:
    for column, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(column, wanted, rtol=0, atol=0, equal_nan=True)  # NaN: not shown in the query


# --- without a cluster ---


def test_shares_are_all_rows_once(gallery: Gallery) -> None:
    gallery.remove([*range(5, 2000, 7)])
    parts = [Part(gallery.folder, MODEL, Share(number, 4), gallery.state.version) for number in range(4)]
    ids = [part.table(["camera"])["_rowid"].to_pylist() for part in parts]
    assert sorted(id for own in ids for id in own) == sorted(gallery.rows())
    assert all(id // BLOCK % 4 == number for number, own in enumerate(ids) for id in own)
    for part, own in zip(parts, ids, strict=True):
        after = [id for batch in part.scan(["visibility"], 100, after=1500) for id in batch["_rowid"].to_pylist()]
        assert sorted(after) == [id for id in own if id > 1500]


def test_a_shard_still_knows_the_version_before_and_reads_only_what_is_new(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    states, wanted, read, scan = [], [], list[int](), Part.scan
    for number in range(4):
        states.append(gallery.state)
        wanted.append(Search(Gallery.open(gallery.folder)))
        gallery.remove([number])
        gallery.add(people([number]), facts(1, ROWS + number))

    def counted(part: Part, *words: Any, **more: Any) -> Iterator[Any]:
        for batch in scan(part, *words, **more):
            read.append(len(batch))
            yield batch

    monkeypatch.setattr(Part, "scan", counted)
    shard, back = (Shard(gallery.folder, MODEL, Share(0, 1), None, 1) for _ in range(2))
    assert [shard.load(state) for state in states] == [ROWS] * 4
    assert sum(read) == ROWS + 3
    assert [back.load(state) for state in (states[3], states[0])] == [ROWS] * 2
    gallery.compact(grace=timedelta(0))  # what is not in memory now is nowhere
    probes = wanted[0].probes([replace(asks(1)[0], parts=None)])
    for holder, known in ((shard, (2, 3)), (back, (0, 3))):
        for number in range(4):
            if number in known:
                assert_same(holder.nearest(states[number], probes, ROWS, ()), wanted[number].nearest(probes, ROWS))
            else:
                with pytest.raises(VanishedError):
                    holder.load(states[number])


def test_a_shard_does_not_answer_from_another_gallery_of_the_same_version(tmp_path: Path) -> None:
    gallery = filled(tmp_path / "g", 5)
    shard, asked = Shard(gallery.folder, MODEL, Share(0, 1), None, 1), gallery.state
    shutil.rmtree(tmp_path / "g")
    assert filled(tmp_path / "g", 6).state.version == asked.version
    with pytest.raises(VanishedError, match=r"another gallery lies in .* by now; look again"):
        shard.load(asked)


def test_a_version_that_another_thread_puts_out_is_still_answered(gallery: Gallery) -> None:
    class Hasty(dict[State, Search]):
        """As if after each look another thread had loaded two newer versions."""

        def __contains__(self, state: Any) -> bool:
            return self.pop(state, None) is not None

        def get(self, state: State, default: Any = None) -> Any:
            return self.pop(state, default)

    shard = Shard(gallery.folder, MODEL, Share(0, 1), None, 1)
    shard.load(gallery.state)
    shard._searches = Hasty(shard._searches)
    assert shard.load(gallery.state) == len(gallery)


def test_where_no_cluster_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="needs the extra scale")
    for address in ("127.0.0.1:1", "127.0.0.1:99999", "127.0.0.1:port"):
        with pytest.raises(InputError, match="no Ray cluster can be joined at 127"), machines.joined(address):
            pass
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'halfseen\[scale\]'"), machines.joined("local"):
        pass


def test_ray_tells_its_makers_nothing_unless_the_environment_lets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="needs the extra scale")
    for before, after in ((None, "0"), ("1", "1")):
        with monkeypatch.context() as patch:
            patch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
            if before:
                patch.setenv("RAY_USAGE_STATS_ENABLED", before)
            machines.ray()
            assert os.environ["RAY_USAGE_STATS_ENABLED"] == after


def test_a_cluster_of_this_machine_alone_listens_at_loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reaches a cluster may run what they like on it."""
    ray, name = pytest.importorskip("ray", reason="needs the extra scale"), "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    for address, wanted in (("auto", None), ("local", "0")):
        monkeypatch.delenv(name, raising=False)
        with machines.joined(address):
            assert os.environ.get(name) == wanted
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("it was begun"))
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "10.0.0.7")  # as where Ray was imported before
    with pytest.raises(InputError, match=f"set {name}=0 in the environment"), machines.joined("local"):
        pass


def test_addresses_in_brackets_are_tried_and_those_that_only_ray_understands_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ray, begun = pytest.importorskip("ray", reason="needs the extra scale"), list[str]()
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda address, **_: begun.append(address))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    try:
        listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no such addresses")
    with listening:
        wanted = [f"[::1]:{listening.getsockname()[1]}", "ray://127.0.0.1:1"]
        for address in wanted:
            with machines.joined(address):
                pass
    assert begun == wanted


def test_what_a_cluster_says_when_it_gives_up_is_one_sentence() -> None:
    ray = pytest.importorskip("ray", reason="needs the extra scale")
    ours = InputError("x.png is no picture; leave it out")
    there = ray.exceptions.RayTaskError("nearest", "Traceback\n  somewhere else", ours).as_instanceof_cause()
    for error, words in (
        (ours, "^x.png is no picture; leave it out$"),
        (there, "^x.png is no picture; leave it out$"),
        (ray.exceptions.GetTimeoutError("after 900 s"), "^the cluster has not answered in time"),
        (ray.exceptions.RayError("Traceback\n  somewhere\nno memory"), r"^the cluster gave up \(no memory\); look at"),
        (ray.exceptions.RayError(""), r"^the cluster gave up \(RayError\); look at"),
    ):
        with pytest.raises(InputError, match=words), machines.told():
            raise error


# --- with one ---


def pids(search: Sharded) -> list[int]:
    """Of the processes that hold the shards."""
    found: list[int] = machines.ray().get(
        [shard.__ray_call__.remote(lambda _: os.getpid()) for shard in search._shards]
    )
    return found


@pytest.mark.ray
@QUIET
@pytest.mark.usefixtures("two")
def test_answers_are_those_of_one_machine_to_the_last_bit(gallery: Gallery) -> None:
    many, one = Sharded(gallery, 3, threads=1), Search(gallery)
    assert len(many) == len(one) == ROWS
    questions = asks(90)
    answers = many.searches(questions)
    assert answers == one.searches(questions)
    assert any(answer.confidence for found in answers for answer in found)
    distances = [answer.distance for answer in answers[0]]
    assert len(set(distances)) < len(distances) or len(distances) < 50  # ties there are
    assert many.search(questions[0]) == one.search(questions[0])
    probes = one.probes(questions[:9])
    assert_same(many.nearest(probes, 30), one.nearest(probes, 30))
    with pytest.raises(InputError, match="there are those from 0 to 3"):
        many.search(replace(questions[0], parts=(9,)))
    _refreshed(many, one, questions[:20])
    _killed(many, one, questions[:20])


def _refreshed(many: Sharded, one: Search, questions: Sequence[Ask]) -> None:
    """Others change the gallery: nothing is seen of it until it is asked for."""
    other, before = Gallery.open(one.gallery.folder), one.searches(questions)
    for change in (
        lambda: other.remove([*range(100, 1500)]),
        lambda: other.add(people([1, 2, 3]), facts(3, ROWS)),
        other.compact,
    ):
        change()
        assert many.refresh()
    assert not many.refresh()
    one.refresh()
    assert len(many) == len(one) == ROWS - 1400 + 3
    assert many.searches(questions) == one.searches(questions) != before


def _killed(many: Sharded, one: Search, questions: Sequence[Ask]) -> None:
    """A process that is killed is begun again; if its version is gone by then, the newest one answers."""
    os.kill(pids(many)[1], signal.SIGKILL)
    assert many.searches(questions) == one.searches(questions)
    other = Gallery.open(one.gallery.folder)
    other.forget(source="film 3.mp4")
    os.kill(pids(many)[0], signal.SIGKILL)
    found = many.searches(questions)
    assert found == Search(other).searches(questions)
    assert "film 3.mp4" not in {answer.fact.source for answers in found for answer in answers}


@pytest.mark.ray
@QUIET
def test_a_machine_that_is_lost_during_searches_changes_no_answer(two: Raylets, gallery: Gallery) -> None:
    many, questions = Sharded(gallery, 2, threads=1), asks(6, seed=1)
    wanted, before = Search(gallery).searches(questions), pids(many)
    found: list[list[list[Sighting]]] = []
    end = threading.Event()

    def ask() -> None:
        while not end.is_set():
            found.append(many.searches(questions))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        while len(found) < 3:
            end.wait(0.01)
        two.lose()
        count = len(found)
        while len(found) < count + 3 and asking.is_alive():
            end.wait(0.01)
    finally:
        end.set()
        asking.join()
    assert len(found) >= count + 3
    assert all(answers == wanted for answers in found)
    after = pids(many)
    assert len({*before} & {*after}) == 1  # one is elsewhere now, the other where it was
    two.come_back()
    assert many.searches(questions) == wanted


@pytest.mark.ray
@QUIET
@pytest.mark.usefixtures("two")
def test_a_cluster_without_room_is_one_sentence(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Leading, "row_bytes", lambda *_: 10**13)  # no machine has so many
    monkeypatch.setattr(sharded, "ROOM", 1.0)
    with pytest.raises(InputError, match="no other has room for its part"):
        Sharded(gallery, 2)
