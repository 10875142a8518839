"""Products of bytes, exact to the last unit, wherever they are made."""

from __future__ import annotations

import pytest
import torch

from halfseen.ops import bytes as ours
from halfseen.ops.bytes import HIGHEST, byte_products


@pytest.mark.parametrize("count", [1, 3, 5, 16])
def test_bytes_are_multiplied_exactly(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = torch.Generator().manual_seed(0)
    rows, queries = (
        torch.randint(-HIGHEST, HIGHEST + 1, (n, 300), generator=dice, dtype=torch.int8) for n in (70, count)
    )
    rows[0], queries[0] = HIGHEST, HIGHEST
    rows[1] = -HIGHEST
    wanted = rows.long() @ queries.long().T
    assert torch.equal(byte_products(queries, rows).long(), wanted.T)
    monkeypatch.setattr(ours, "_bytes_are_fast", lambda: False)
    assert torch.equal(byte_products(queries, rows).long(), wanted.T)
