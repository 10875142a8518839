"""Files of embeddings as others write them and as others read ours, and sentences that name them once."""

from __future__ import annotations

import io
import os
import stat
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save, save_file

from halfseen.data.embeddings import Encoded, load_encoded, save_encoded
from halfseen.types import Embedding, Facts, InputError

KINDS = (".safetensors", ".npz")
Arrays = dict[str, NDArray[Any]]
GOOD: Arrays = {"vectors": np.eye(4, dtype=np.float32).reshape(4, 2, 2), "pid": np.arange(4)}


def as_bytes(kind: str, content: Arrays) -> bytes:
    if kind == ".safetensors":
        return save({key: torch.from_numpy(np.asarray(array)) for key, array in content.items()})
    file = io.BytesIO()
    np.savez(file, **content)  # type: ignore[arg-type]  # its stub takes the names for options
    return file.getvalue()


def refusal(path: Path) -> str:
    """Why `path` is not read, said without its folder and with its name only once."""
    with pytest.raises(InputError) as caught:
        load_encoded(path, camid=0)
    said = str(caught.value)
    assert said.startswith(str(path))
    assert said.count(path.name) == 1
    return said.removeprefix(str(path))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int32, np.int64, np.float16, np.float64])
def test_visibility_may_be_of_any_type(dtype: type[np.generic], kind: str, tmp_path: Path) -> None:
    shown = [[0, 1], [1, 1], [1, 0], [0, 0]]
    (tmp_path / f"a{kind}").write_bytes(as_bytes(kind, GOOD | {"visibility": np.array(shown, dtype)}))
    got = load_encoded(tmp_path / f"a{kind}", camid=0).embedding.visibility
    assert (got.dtype, got.tolist()) == (torch.float32, shown)


def test_visibility_is_no_complex_number(tmp_path: Path) -> None:
    tensors = {key: torch.from_numpy(array) for key, array in GOOD.items()}
    save_file(tensors | {"visibility": torch.ones(4, 2, dtype=torch.complex64)}, tmp_path / "a.safetensors")
    said = refusal(tmp_path / "a.safetensors")
    assert said == ": visibility holds torch.complex64 numbers; convert them to float32 or float16"


def pickled() -> bytes:
    return np.array([{}], dtype=object).dumps()


def bare() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


@pytest.mark.parametrize(
    "content", [b"", b"P", b"<html>", pickled(), bare(), as_bytes(".safetensors", GOOD)], ids=range(6)
)
def test_an_npz_that_does_not_begin_as_one_is_not_opened_further(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    assert refusal(tmp_path / "a.npz") == (
        " is damaged or of another format (it does not begin as a .npz of named arrays does); write it again"
    )


WRONG: list[Arrays] = [
    {"pids": np.arange(4), "vectors": GOOD["vectors"]},
    GOOD | {"feats": np.zeros(4)},
    GOOD | {"vectors": np.zeros((0, 4))},
    GOOD | {"vectors": np.zeros((4, 1, 2, 3))},
    GOOD | {"vectors": np.zeros((4, 2, 2), np.int32)},
    GOOD | {"vectors": np.full((4, 2, 2), np.nan)},
    GOOD | {"visibility": np.full((4, 2), 2)},
    GOOD | {"visibility": np.ones((4, 3))},
    GOOD | {"pid": np.zeros(4)},
    GOOD | {"pid": np.arange(3)},
    GOOD | {"pid": np.array(3)},
    GOOD | {"occlusion": np.full(4, 9)},
]


@pytest.mark.parametrize(("kind", "content"), list(product(KINDS, WRONG)))
def test_a_sentence_names_the_file_once(kind: str, content: Arrays, tmp_path: Path) -> None:
    path = tmp_path / f"once{kind}"
    path.write_bytes(as_bytes(kind, content))
    assert "allow_pickle" not in refusal(path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sentence_on_a_file_that_is_none_names_it_once(kind: str, tmp_path: Path) -> None:
    path, whole = tmp_path / f"once{kind}", as_bytes(kind, GOOD)
    assert refusal(path) == " does not exist; check the path"
    for content in (b"", whole[:20], whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(content)
        assert refusal(path).startswith(" is damaged or of another format (")
    path.unlink()
    path.mkdir()
    assert refusal(path) == " cannot be read: Is a directory; give another file"
    assert refusal(tmp_path / "once.pt").startswith(" ends in '.pt'; ")


def test_what_is_missing_is_told_beside_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(as_bytes(".npz", WRONG[0]))
    assert refusal(tmp_path / "a.npz") == (
        " has no pid, but holds 'pids'; allowed are vectors, visibility, pid, camid, occlusion, of which vectors and "
        "pid are needed: write the file again with these names"
    )


OTHER: list[tuple[Arrays, str]] = [
    (
        {"path": np.array(["a.jpg"] * 4)},
        " holds 'path'; allowed are vectors, visibility, pid, camid, occlusion, of whi",
    ),
    ({"path": np.array([None] * 4)}, " holds 'path'; allowed are vectors"),
    ({"pid": np.array(list("abcd"))}, ": pid holds text; number people from 0 on, in query and gallery alike"),
    ({"camid": np.array([b"c1"] * 4)}, ": camid holds text; number cameras from 0 on, in query and gallery alike"),
    (
        {"pid": np.array([1, 2, 3, None])},
        ": pid holds Python objects, no array of numbers; number people from 0 on, in",
    ),
    ({"occlusion": np.array(["npo"] * 4)}, ": occlusion holds text; write 0 (unknown), 1 (ntp), 2 (npo), 3 (holistic)"),
    ({"visibility": np.array([["yes", "no"]] * 4)}, ": visibility holds text; write numbers from 0 to 1"),
    (
        {"vectors": np.eye(4, dtype=np.complex64)},
        ": vectors holds complex64 values; convert them to float32 or float16",
    ),
]
if np.dtype(np.longdouble) != np.float64:  # they are the same on some systems
    OTHER.append(
        ({"vectors": np.eye(4, dtype=np.longdouble)}, f": vectors holds {np.dtype(np.longdouble)} values; con")
    )


@pytest.mark.parametrize(("content", "said"), OTHER)
def test_what_is_no_numbers_is_not_called_damaged(content: Arrays, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(as_bytes(".npz", GOOD | content))
    assert refusal(tmp_path / "a.npz").startswith(said)


def test_a_file_may_be_named_by_its_text(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(as_bytes(".npz", GOOD))
    assert len(load_encoded(str(tmp_path / "a.npz"), camid=0).facts) == 4


def small() -> Encoded:
    return Encoded(Embedding.of(torch.rand(2, 3)), Facts(*torch.zeros(3, 2, dtype=torch.int64)))


def test_a_file_tells_again_which_values_were_replaced(tmp_path: Path) -> None:
    vectors, visibility = torch.rand(2, 3, 2), torch.ones(2, 3)
    vectors[1, 2], visibility[1, 2] = torch.nan, 0
    embedding = Embedding(vectors, visibility)
    save_encoded(tmp_path / "a.safetensors", Encoded(embedding, small().facts))
    again = load_encoded(tmp_path / "a.safetensors", camid=0).embedding
    assert torch.equal(again.vectors, embedding.vectors)
    assert again.replaced.tolist() == [[False] * 3, [False, False, True]]


@pytest.mark.skipif(os.name != "posix", reason="no such modes elsewhere")
def test_what_is_saved_may_be_read_by_all(tmp_path: Path) -> None:
    save_encoded(tmp_path / "a.safetensors", small())
    assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) == 0o644


@pytest.mark.parametrize("name", ["nowhere/once.safetensors", "once.safetensors", "once.npz"])
def test_a_sentence_on_a_file_that_cannot_be_written_names_it_once(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if path.parent == tmp_path:
        path.mkdir()
    with pytest.raises(InputError) as caught:
        save_encoded(path, small())
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).count(path.name) == 1
    assert ".part" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_of_people_that_would_turn_negative_are_refused(kind: str, tmp_path: Path) -> None:
    path, numbers = tmp_path / f"a{kind}", np.array([2**63 + 5, 13, 14, 15], np.uint64)
    path.write_bytes(as_bytes(kind, GOOD | {"pid": numbers}))
    assert refusal(path).startswith(": pid holds numbers above 2^63 - 1")
    path.write_bytes(as_bytes(kind, GOOD | {"pid": numbers - np.uint64(6)}))
    assert load_encoded(path, camid=0).facts.pids.tolist() == (numbers - np.uint64(6)).astype(np.int64).tolist()
