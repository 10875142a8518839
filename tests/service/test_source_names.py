"""What goes out of a gallery's sources: short names, made once."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import PurePath

import pytest
from fastapi.testclient import TestClient

from halfseen.service import answers, holdings
from halfseen.service.answers import sources_from


def end_of(path: str, others: list[str]) -> str:
    """The rule, said of two paths at a time."""
    steps = PurePath(path).parts
    for length in range(1, len(steps) + 1):
        if all(other == path or PurePath(other).parts[-length:] != steps[-length:] for other in others):
            return "/".join(steps[-length:])
    return path


def test_sources_are_called_by_the_shortest_end_that_is_theirs_alone() -> None:
    draw = random.Random(0)
    for _ in range(300):
        steps = [[draw.choice("abc") for _ in range(draw.randint(1, 5))] for _ in range(draw.randint(1, 12))]
        paths = sorted({draw.choice(("", "/", "./")) + draw.choice(("/", "//")).join(each) for each in steps} | {""})
        found = sources_from((path, number) for number, path in enumerate(paths))
        assert [each.name for each in found] == [end_of(path, paths) for path in paths]
        assert [each.count for each in found] == list(range(len(paths)))


def test_each_path_is_taken_apart_once(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def apart(path: str) -> PurePath:
        taken.append(path)
        return PurePath(path)

    monkeypatch.setattr(answers, "PurePath", apart)
    films = [f"/films/2024/cam{number % 9}/clip_{number:05}.mp4" for number in range(50)]
    assert sources_from((film, 5) for film in films)[7].name == "clip_00007.mp4"
    assert taken == films  # and not with each other, of which there are thousands too


def test_no_request_names_the_sources_anew(other: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch) -> None:
    client = other()
    monkeypatch.setattr(holdings, "sources_from", None)
    assert [each["name"] for each in client.get("/api/gallery").json()["sources"]] == ["pictures"]
