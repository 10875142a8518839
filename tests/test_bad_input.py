"""Whatever is wrong, the person at the keyboard reads one sentence, and nothing half-written is left."""

from __future__ import annotations

import errno
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from halfseen import cli

Arrays = dict[str, NDArray[Any] | None]
Refused = Callable[..., str]

MARKET = {
    "train": "bounding_box_train/0009_c1_0.png",
    "query": "query/0001_c1_0.png",
    "gallery": "bounding_box_test/0001_c2_0.png",
}


def write(path: Path, rows: int, **changed: NDArray[Any] | None) -> Path:
    good: Arrays = {
        "vectors": np.random.default_rng(rows).standard_normal((rows, 3, 4)).astype(np.float32),
        "visibility": np.ones((rows, 3), np.float32),
        "pid": np.arange(rows) % 4,
        "camid": np.arange(rows) // 4 % 2,
        "occlusion": np.arange(rows) % 3,
    }
    content = {key: array for key, array in (good | changed).items() if array is not None}
    np.savez(path, **content)  # type: ignore[arg-type]  # its stub takes the names for options
    return path


def plant(root: Path, names: Iterable[str] = MARKET.values()) -> Path:
    """Pictures of a few pixels, each of its own colours."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shades = zlib.crc32(os.fsencode(name)).to_bytes(4) * 24
        Image.frombytes("RGB", (4, 8), shades).save(path)
    return root


def files_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# --- evaluate ---

NAN, INF, HUGE = (np.full((8, 3, 4), value, np.float32) for value in (np.nan, np.inf, 1e20))
EMPTY: Arrays = {"vectors": np.zeros((0, 3, 4)), "visibility": None, "camid": None, "occlusion": None}
BAD: dict[str, tuple[Arrays, str]] = {
    "NaN": ({"vectors": NAN}, "row 0, part 0 holds NaN, infinite or huge"),
    "infinite": ({"vectors": INF}, "as do 24 visible parts in all"),
    "huge": ({"vectors": HUGE}, "encode those images again"),
    "visibility in per cent": ({"visibility": np.full((8, 3), 80.0)}, "is 80; it must lie between 0 and 1"),
    "one number each": ({"vectors": np.zeros(8)}, "vectors have shape (8,)"),
    "grids": ({"vectors": np.zeros((8, 3, 4, 2))}, "vectors have shape (8, 3, 4, 2)"),
    "other parts": ({"vectors": np.zeros((8, 2, 4)), "visibility": None}, "encode both with the same model"),
    "other dimensions": ({"vectors": np.zeros((8, 3, 5))}, "encode both with the same model"),
    "lengths": ({"pid": np.zeros(7, int)}, "pid has shape (7,) and vectors have 8 rows"),
    "visibility of other parts": ({"visibility": np.ones((8, 2))}, "visibility (8, 2)"),
    "empty": (EMPTY | {"pid": np.zeros(0, int)}, "holds no rows"),
    "no positives": ({"pid": np.arange(8) + 100}, "none of the "),
    "no cameras": ({"camid": None}, "so the camera rule cannot be applied; add camid"),
    "text": ({"pid": np.array(["a"] * 8)}, "pid holds text; number people from 0 on"),
}


@pytest.mark.parametrize("side", ["query", "gallery"])
@pytest.mark.parametrize("case", BAD)
def test_evaluate_refuses(case: str, side: str, tmp_path: Path, refused: Refused) -> None:
    changed, said = BAD[case]
    files = [write(tmp_path / f"{name}.npz", 8, **(changed if name == side else {})) for name in ("query", "gallery")]
    assert said in refused("evaluate", "--query", files[0], "--gallery", files[1])
    assert files_of(tmp_path) == ["gallery.npz", "query.npz"]


OPTIONS = [
    ("--distance cosine", "the embeddings have 3 parts, and a single-vector distance takes one"),
    (
        "--distance coarse-to-fine --coarse 3",
        "needs embeddings of at least 4 parts, coarse ones first, and these have 3; take 2",
    ),
    ("--distance coarse-to-fine --nearest -1", "n is not negative"),
    ("--distance coarse-to-fine --rerank", "coarse-to-fine is a re-ranking already"),
    ("--rerank --k1 0", "k1 and k2 must be at least 1"),
    ("--rerank --weight nan", "the weight between 0 and 1"),
    (
        "--protocol all --protocol npo",
        "protocol 'npo' counts gallery images of occlusion 2 (NPO), and the gallery has none; choose another",
    ),
    ("", "under protocol 'market': it needs gallery images of the query's identity seen by another camera"),
]


@pytest.mark.parametrize(("options", "said"), OPTIONS)
def test_evaluate_refuses_options_that_do_not_fit(options: str, said: str, tmp_path: Path, refused: Refused) -> None:
    alike: Arrays = {"camid": np.full(16, 7), "occlusion": np.full(16, 3)}
    files = [write(tmp_path / f"{name}.npz", 16, **alike) for name in ("query", "gallery")]
    assert said in refused("evaluate", "--query", files[0], "--gallery", files[1], *options.split())


def test_evaluate_refuses_files_that_are_none(tmp_path: Path, refused: Refused) -> None:
    good = write(tmp_path / "good.npz", 8)
    (tmp_path / "cut.npz").write_bytes(good.read_bytes()[:200])
    (tmp_path / "empty.safetensors").touch()
    (tmp_path / "folder.npz").mkdir()
    names = {
        "cut.npz": "damaged",
        "empty.safetensors": "damaged",
        "folder.npz": "cannot be read",
        "no.npz": "not exist",
    }
    names |= {"a.pt": "embeddings are read from", os.fsdecode(b"a\xff\n.npz"): r"a\xff\n.npz does not exist"}
    for name, said in names.items():
        assert said in refused("evaluate", "--query", tmp_path / name, "--gallery", good)
        assert said in refused("evaluate", "--query", good, "--gallery", tmp_path / name)


# --- data ---


def bomb(width: int, height: int) -> bytes:
    """A PNG of 60 bytes that claims to be that large."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + header
        + struct.pack(">I", zlib.crc32(header))
        + b"\0\0\0\x10IDAT"
    )


def test_check_reports_every_corrupt_and_gigantic_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant(tmp_path)
    whole = (tmp_path / MARKET["query"]).read_bytes()
    bad = {"60000": bomb(60_000, 60_000), "9000": bomb(9_000, 9_000), "cut": whole[:-20], "text": b"<html>", "no": b""}
    for name, content in bad.items():
        (tmp_path / f"query/0001_c1_{name}.png").write_bytes(content)
    assert cli.main(["data", "check", "market1501", "--root", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert err == f"note: no split has the published counts of Market-1501; is {tmp_path} another data set?\n"
    kinds = {
        "60000": "gigantic",
        "9000": "gigantic",
        "cut": "(truncated|unreadable)",
        "text": "unreadable",
        "no": "empty",
    }
    for name, kind in kinds.items():
        assert re.search(rf"^query 'query/0001_c1_{name}\.png': {kind}: ", out, re.MULTILINE)
    assert out.endswith("\n5 faults\n")


TABLES = [
    (b"path,pid\na.png,1\n", "line 1: there is no column split"),
    (b"name,person\na.png,1\n", "found 'name', 'person', needed are path, pid, split"),
    (b"path,pid,split\na.png,1,query\na.png,1,query\n", "line 3, column path: 'a.png' is in query already"),
    (b"path,pid,split\na\xff.png,1,query\n", "line 2, column path: 'a\\udcff.png' is not UTF-8"),
    (b"path,pid,split\na.png,1,test\n", "line 2, column split: 'test' is not one of"),
    (b"path,pid,split\na.png,1\n", "line 2: 2 cells under a header of 3"),
    (b'path,pid,split\n"a.png,1,query\n', "broken table"),
    (b"path,pid,split\n", "holds no rows"),
    (b"", "holds no rows"),
]


@pytest.mark.parametrize(("table", "said"), TABLES)
@pytest.mark.parametrize("verb", ["check", "export"])
def test_manifests_that_are_wrong_are_refused(
    verb: str, table: bytes, said: str, tmp_path: Path, refused: Refused
) -> None:
    (tmp_path / "manifest.csv").write_bytes(table)
    out = [tmp_path / "out"] if verb == "export" else []
    assert said in refused("data", verb, "manifest", *out, "--root", tmp_path)
    assert files_of(tmp_path) == ["manifest.csv"]


def test_roots_that_are_none_are_refused(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "file").touch()
    for root in ("nowhere", "file", os.fsdecode(b"\xff\n")):
        assert "cannot be read as a folder" in refused("data", "check", "market1501", "--root", tmp_path / root)
    assert "no folder with bounding_box_train" in refused("data", "check", "market1501", "--root", tmp_path)
    assert "did you mean market1501?" in refused("data", "check", "market", "--root", tmp_path)
    assert "0 workers" in refused("data", "check", "market1501", "--root", plant(tmp_path), "--workers", 0)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do everything")
def test_forbidden_folders_are_refused(tmp_path: Path, refused: Refused) -> None:
    root, out = plant(tmp_path / "set"), tmp_path / "out"
    out.mkdir(mode=0o500)
    assert "ermission denied" in refused("data", "export", "market1501", out / "here", "--root", root)
    root.chmod(0)
    assert "ermission denied" in refused("data", "check", "market1501", "--root", root)
    root.chmod(0o700)


def no_space(*_: object) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_exports_that_cannot_be_finished_leave_whole_files_only(
    tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, out = plant(tmp_path / "set"), tmp_path / "out"
    assert "choose an export folder outside" in refused("data", "export", "market1501", root / "x", "--root", root)
    assert "from 0 to 1" in refused(
        "data", "export", "market1501", out, "--root", root, "--variant=occluded", "--train=2"
    )
    assert files_of(tmp_path) == sorted(f"set/{name}" for name in MARKET.values())
    (root / MARKET["gallery"]).write_bytes(b"\x89PNG")
    assert MARKET["gallery"] in refused("data", "export", "market1501", out, "--root", root, "--workers", 1)
    assert files_of(out) == ["bounding_box_train/0009_c1_000001.png", "export.json", "query/0001_c1_000001.png"]
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", no_space)
        assert "No space left" in refused("data", "export", "market1501", tmp_path / "full", "--root", root)
    assert files_of(tmp_path / "full") == []
    assert "is not empty" in refused("data", "export", "market1501", tmp_path, "--root", root)


def test_names_that_are_not_utf8_are_read_and_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = os.fsdecode(b"bounding_box_test/0001_c3_\xff\n.png")
    try:
        plant(tmp_path / "set", [*MARKET.values(), odd])
    except OSError:
        pytest.skip("this file system takes no such names")
    words = ["market1501", "--root", str(tmp_path / "set")]
    assert cli.main(["data", "check", *words]) == 0
    assert cli.main(["data", "export", *words, str(tmp_path / os.fsdecode(b"out\xff"))]) == 0
    assert r"out\udcff" in capsys.readouterr().out
    (tmp_path / "set" / odd).write_bytes(b"")
    for option in ([], ["--json"]):
        assert cli.main(["data", "check", *words, *option]) == 1
        assert r"0001_c3_\udcff\n.png" in capsys.readouterr().out
