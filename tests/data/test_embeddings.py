"""Files of embeddings: what goes in comes out, and whatever is wrong with a file is said in one sentence."""

from __future__ import annotations

import errno
import io
import os
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import save, save_file

from halfseen.data import embeddings
from halfseen.data.embeddings import KEYS, Encoded, load_encoded, save_encoded
from halfseen.types import Embedding, Facts, InputError

Arrays = dict[str, NDArray[Any]]
KINDS = (".safetensors", ".npz")


def arrays(rows: int = 6, /, **changed: NDArray[Any] | None) -> Arrays:
    """A good file's contents; `changed` replaces arrays, or takes them away (None)."""
    dice = np.random.default_rng(rows)
    good: dict[str, NDArray[Any] | None] = {
        "vectors": dice.standard_normal((rows, 3, 4)).astype(np.float32),
        "visibility": dice.random((rows, 3)).astype(np.float32),
        "pid": np.arange(rows) % 3,
        "camid": np.arange(rows) % 2 + 5,
        "occlusion": np.arange(rows) % 4,
    }
    return {key: array for key, array in (good | changed).items() if array is not None}


def write(path: Path, content: Arrays) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **content)  # type: ignore[arg-type]  # its stub takes the names for options
    else:
        save_file({key: torch.from_numpy(np.asarray(array)) for key, array in content.items()}, path)
    return path


@pytest.fixture(params=KINDS)
def refused(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., str]:
    """`refused(key=array)` writes a file with that change and returns the sentence it is refused with."""

    def load(**changed: NDArray[Any] | None) -> str:
        path = write(tmp_path / f"bad{request.param}", arrays(**changed))
        with pytest.raises(InputError, match=f"^{re.escape(str(path))}") as caught:
            load_encoded(path, camid=0)
        return str(caught.value)

    return load


# --- what is read ---


def test_safetensors_come_back_as_they_were(tmp_path: Path) -> None:
    content = {key: torch.from_numpy(array) for key, array in arrays().items()}
    facts = Facts(content["pid"], content["camid"], content["occlusion"])
    save_encoded(tmp_path / "a.safetensors", Encoded(Embedding(content["vectors"], content["visibility"]), facts))
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]
    got = load_encoded(tmp_path / "a.safetensors", camid=0)
    assert torch.equal(got.embedding.vectors, content["vectors"])
    assert torch.equal(got.embedding.visibility, content["visibility"])
    assert [t.tolist() for t in vars(got.facts).values()] == [[0, 1, 2] * 2, [5, 6] * 3, [0, 1, 2, 3, 0, 1]]
    assert (got.has_cameras, got.has_labels) == (True, True)


@pytest.mark.parametrize(("cameras", "labels"), list(product((True, False), repeat=2)))
def test_what_is_not_known_is_not_written(cameras: bool, labels: bool, tmp_path: Path) -> None:
    path, zeros, vectors = tmp_path / "a.safetensors", torch.zeros(4, dtype=torch.int64), torch.rand(3, 4).T
    save_encoded(path, Encoded(Embedding.of(vectors), Facts(zeros, zeros, zeros), cameras, labels))  # shared memory
    got = load_encoded(path, camid=9)
    assert torch.equal(got.embedding.vectors[:, 0], vectors)
    assert (got.has_cameras, got.has_labels) == (cameras, labels)
    assert got.facts.camids.tolist() == ([0] if cameras else [9]) * 4


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_of_plain_numpy(save: Callable[..., None], tmp_path: Path) -> None:
    content = arrays()
    save(tmp_path / "a.NPZ.npz", **content)
    got = load_encoded(tmp_path / "a.NPZ.npz", camid=0)
    assert got.embedding.vectors.numpy().tolist() == content["vectors"].tolist()
    assert got.facts.occlusion.tolist() == content["occlusion"].tolist()


@pytest.mark.parametrize(("kind", "dtype"), [*product(KINDS, ("f2", "f8")), (".npz", ">f4")])
def test_every_float_type_becomes_float32(kind: str, dtype: str, tmp_path: Path) -> None:
    whole = np.arange(18.0).reshape(6, 3) / 4
    path = write(tmp_path / f"a{kind}", arrays(vectors=whole.astype(dtype), visibility=None))
    got = load_encoded(path, camid=0).embedding
    assert (got.vectors.dtype, got.vectors.tolist()) == (torch.float32, whole[:, None].tolist())
    assert torch.equal(got.visibility, torch.ones(6, 1))


def test_bfloat16(tmp_path: Path) -> None:
    vectors = torch.tensor([[[0.5, -3.0]], [[2.0, 0.0]]])
    save_file({"vectors": vectors.bfloat16(), "pid": torch.arange(2)}, tmp_path / "a.safetensors")
    assert torch.equal(load_encoded(tmp_path / "a.safetensors", camid=0).embedding.vectors, vectors)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64])
def test_every_integer_type_becomes_int64(dtype: np.dtype[Any], kind: str, tmp_path: Path) -> None:
    pids = np.array([0, 1, 120, 3, 4, 5], dtype)
    got = load_encoded(write(tmp_path / f"a{kind}", arrays(pid=pids)), camid=0).facts.pids
    assert (got.dtype, got.tolist()) == (torch.int64, [0, 1, 120, 3, 4, 5])


@pytest.mark.parametrize("kind", KINDS)
def test_without_camid_and_occlusion(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"a{kind}", arrays(camid=None, occlusion=None))
    got = load_encoded(path, camid=7)
    assert (got.facts.camids.tolist(), got.facts.occlusion.tolist()) == ([7] * 6, [0] * 6)
    assert (got.has_cameras, got.has_labels) == (False, False)


# --- what is refused ---


def test_missing_and_unknown_names_are_refused(refused: Callable[..., str]) -> None:
    said = refused(vectors=None, pid=None)
    assert " has no vectors and no pid, but holds 'camid', 'occlusion', 'visibility'; allowed are vectors, " in said
    assert " has no pid, but holds 'pids'; allowed are " in refused(pid=None, pids=np.zeros(6))
    said = refused(feats=np.zeros(6), names=np.zeros(6))
    assert " holds 'feats', 'names'; " in said
    assert all(key in said for key in KEYS)


WRONG = [
    ({"vectors": np.zeros((0, 4)), "pid": np.zeros(0, int)}, "holds no rows"),
    ({"vectors": np.zeros(6)}, "vectors have shape (6,)"),
    ({"vectors": np.zeros((6, 1, 2, 3))}, "vectors have shape (6, 1, 2, 3)"),
    ({"vectors": np.zeros((6, 3, 0))}, "at least one part and one dimension"),
    ({"vectors": np.float32(3)}, "'vectors' is a single number"),
    ({"vectors": np.zeros((6, 3, 4), np.int32)}, "vectors holds torch.int32 numbers; convert them to float32"),
    ({"vectors": np.full((6, 3, 4), np.nan)}, "row 0, part 0 holds NaN"),
    ({"visibility": np.ones((6, 2))}, "visibility (6, 2)"),
    ({"visibility": np.ones((5, 3))}, "visibility (5, 3)"),
    ({"visibility": np.full((6, 3), 2.0)}, "visibility of row 0, part 0 is 2"),
    ({"visibility": np.full((6, 3), 2)}, "visibility of row 0, part 0 is 2"),
    ({"pid": np.zeros(6)}, "pid holds torch.float64 numbers; convert them to integers"),
    ({"pid": np.zeros(6, bool)}, "pid holds torch.bool"),
    ({"pid": np.zeros(5, int)}, "pid has shape (5,) and vectors have 6 rows"),
    ({"pid": np.int64(3)}, "'pid' is a single number"),
    ({"camid": np.zeros((6, 1), int)}, "camid has shape (6, 1)"),
    ({"camid": np.zeros(7, int)}, "camid has shape (7,)"),
    ({"occlusion": np.zeros(6)}, "occlusion holds torch.float64"),
    ({"occlusion": np.array([0, 1, 2, 3, 4, 9])}, "occlusion holds 4; allowed are 0 (unknown), 1 (ntp)"),
    ({"occlusion": np.array([0, 1, 2, 3, -1, 3])}, "occlusion holds -1"),
]


@pytest.mark.parametrize(("changed", "said"), WRONG, ids=[said for _, said in WRONG])
def test_wrong_shapes_types_and_values_are_refused(changed: Arrays, said: str, refused: Callable[..., str]) -> None:
    assert said in refused(**changed)


def test_what_only_numpy_can_write_is_refused(tmp_path: Path) -> None:
    def load(**changed: NDArray[Any]) -> str:
        with pytest.raises(InputError) as caught:
            load_encoded(write(tmp_path / "a.npz", arrays(**changed)), camid=0)
        return str(caught.value)

    assert " holds 'names'; allowed are vectors, " in load(names=np.array(["a"] * 6))
    assert ": vectors holds complex128 values; convert" in load(vectors=np.zeros((6, 4), complex))


class Trap:
    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return (os.mkdir, ("sprung",))


def test_a_pickle_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.npz", arrays(pid=np.array([Trap()] * 6, dtype=object)))
    (tmp_path / "b.npz").write_bytes((np.array([Trap()], dtype=object)).dumps())
    for name, said in (("a.npz", "pid holds Python objects"), ("b.npz", "damaged or of another format")):
        with pytest.raises(InputError, match=said):
            load_encoded(tmp_path / name, camid=0)
    assert not (tmp_path / "sprung").exists()


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    """The bytes of a good file of each kind."""
    packed, plain = io.BytesIO(), io.BytesIO()
    np.savez_compressed(packed, **arrays())  # type: ignore[arg-type]  # see `write`
    np.savez(plain, **arrays())  # type: ignore[arg-type]
    tensors = {key: torch.from_numpy(array) for key, array in arrays().items()}
    return {"plain.npz": plain.getvalue(), "packed.npz": packed.getvalue(), "a.safetensors": save(tensors)}


@settings(deadline=None, max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_refused_or_read(data: st.DataObject, whole: dict[str, bytes], tmp_path: Path) -> None:
    name = data.draw(st.sampled_from(sorted(whole)))
    content = bytearray(whole[name])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.sampled_from([0, 1, 99, 255]))
    (tmp_path / name).write_bytes(content)
    try:
        assert len(load_encoded(tmp_path / name, camid=0).facts) > 0
    except InputError as error:
        assert str(tmp_path / name) in str(error)  # noqa: PT017  (some damage does no harm)


@pytest.mark.parametrize("name", ["plain.npz", "packed.npz", "a.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_and_empty_files_are_refused(
    name: str, share: float, whole: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(whole[name][: int(share * len(whole[name]))])
    with pytest.raises(InputError, match=f"{name} is damaged or of another format .*write it again"):
        load_encoded(tmp_path / name, camid=0)


@pytest.mark.parametrize(("at", "byte"), [(8, 1), (10, 99), (6, 255)])
def test_what_no_reader_of_zip_files_can_unpack_is_refused(
    at: int, byte: int, whole: dict[str, bytes], tmp_path: Path
) -> None:
    content = bytearray(whole["plain.npz"])
    content[content.index(b"PK\1\2") + at] = byte  # a password, an unknown packing, a version of the future
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match="damaged or of another format"):
        load_encoded(tmp_path / "a.npz", camid=0)


@pytest.mark.parametrize("name", ["a.pt", "a", "a.npy", "a.safetensors.bak", "."])
def test_other_endings_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"embeddings are read from \.safetensors and \.npz"):
        load_encoded(tmp_path / name, camid=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_file_and_a_folder_are_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist; check the path"):
        load_encoded(tmp_path / f"a{kind}", camid=0)
    (tmp_path / f"b{kind}").mkdir()
    with pytest.raises(InputError, match="cannot be read: Is a directory; give another file"):
        load_encoded(tmp_path / f"b{kind}", camid=0)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_may_not_be_read_is_refused(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"a{kind}", arrays())
    path.chmod(0)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        load_encoded(path, camid=0)


def test_whatever_the_system_refuses_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(embeddings, "load_file", no_permission)
    with pytest.raises(InputError, match="cannot be read: Permission denied; give another file"):
        load_encoded(write(tmp_path / "a.safetensors", arrays()), camid=0)


def no_permission(*_: object) -> NoReturn:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


# --- what cannot be written ---


def small() -> Encoded:
    return Encoded(Embedding.of(torch.rand(2, 3)), Facts(*torch.zeros(3, 2, dtype=torch.int64)))


def test_an_unwritable_target_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken.safetensors").mkdir()
    for target in ("nowhere/a.safetensors", "taken.safetensors"):
        with pytest.raises(InputError, match=f"{target} cannot be written.*; (name a file|make it)"):
            save_encoded(tmp_path / target, small())
    assert [p.name for p in tmp_path.rglob("*")] == ["taken.safetensors"]


def test_a_failure_at_the_last_moment_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.safetensors", arrays())
    before = path.read_bytes()
    monkeypatch.setattr(Path, "replace", no_permission)
    with pytest.raises(InputError, match="cannot be written"):
        save_encoded(path, small())
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]
    assert path.read_bytes() == before
