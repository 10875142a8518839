"""Products of bytes, as whole numbers."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

HIGHEST = 127  # of a byte, both ways
EVEN = 8  # numbers of queries that are multiples of it are multiplied fastest


def byte_products(queries: Tensor, rows: Tensor) -> Tensor:
    """`queries` int8 [q,D] times `rows` int8 [n,D]: [q,n], exact up to 2^24 in float32, or further in int32."""
    if _bytes_are_fast():
        q = len(queries)
        even = F.pad(queries, (0, 0, 0, -q % EVEN)) if q > EVEN // 2 else queries  # 7 or 12 take twice the time of 16
        return torch._int_mm(even, rows.T)[:q]
    return queries.float() @ rows.float().T


@cache
def _bytes_are_fast() -> bool:
    """Whether torch multiplies bytes on this machine, and does not cut the sum of two products to 16 bits."""
    high = torch.full((32, 64), HIGHEST, dtype=torch.int8)
    try:
        return bool((torch._int_mm(high, high.T) == 64 * HIGHEST**2).all())
    except (AttributeError, RuntimeError):
        return False
