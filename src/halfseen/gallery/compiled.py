"""The innermost loops of a search as machine code, by numba, where that is installed (`halfseen[fast]`).

torch goes over all rows once for each operation, through memory each time; here sums stay in registers. Bounds may come
out otherwise in their last bits, which is granted; what is measured are sums of whole numbers below 2⁵³, exact in any
order. So answers are the same to the last bit with numba and without.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

FEW = 4  # people for whom `products` takes less time than torch
STRETCH = 256  # rows worked on at a time: what is known of them stays in cache
LOOSE = {"reassoc", "contract", "nsz"}  # what may be done to sums; infinity stays infinity


class Loops(NamedTuple):
    """The functions below, compiled. They take what they need from nowhere else: what is kept would not notice."""

    products: Callable[..., None]
    lower_bounds: Callable[..., None]
    rows_within: Callable[..., tuple[Any, Any]]
    second_bounds: Callable[..., None]
    dots: Callable[..., None]


@cache
def loops_for(parts: int) -> Loops | None:
    """For so many parts; None where numba is not installed, or does not work. The first time on a machine takes
    seconds, as it compiles; later ones read what that left beside this file, or where numba else keeps it.
    """
    try:
        import numba  # noqa: PLC0415  (an extra)

        return None if numba.config.DISABLE_JIT else _loops(numba.njit, parts)
    except ImportError:
        return None
    except Exception as error:
        warnings.warn(f"numba does not work here ({error}): searches take longer without it", stacklevel=2)
        return None


def _loops(njit: Callable[..., Any], parts: int) -> Loops:
    def compiled(function: Callable[..., Any], *signatures: str) -> Callable[..., Any]:
        make = partial(njit, list(signatures), nogil=True, fastmath=LOOSE)
        ready: Callable[..., Any]
        try:
            ready = make(cache=True)(function)
        except Exception:
            ready = make()(function)
        return ready

    table, column, pairs = "float32[:,::1]", "float32[::1]", "UniTuple(int64[::1], 2)"
    rows = f"Tuple((int16[:,::1], {table}, {table}))"
    return Loops(
        products=compiled(products, "void(int8[:,::1], int8[:,::1], int64, int32[:,::1])"),
        lower_bounds=compiled(
            of_parts(parts),
            *(
                f"void({kind}[:,::1], Tuple(({column}, {table})), UniTuple({table}, 2), float32, int64, {table})"
                for kind in ("int32", "float32")
            ),
        ),
        rows_within=compiled(rows_within, f"{pairs}(float32[:,:,::1], {column}, {pairs})"),
        second_bounds=compiled(second_bounds, f"void(UniTuple({table}, 2), {rows}, {pairs}, float32, {column})"),
        dots=compiled(dots, f"void(Tuple((float64[:,::1], {table})), {rows}, {pairs}, float64[:,::1])"),
    )


def products(asked, rows, first, out):  # type: ignore[no-untyped-def]
    """`out` [q,n] = asked [q,F] times `rows` [n,·] from the column `first` on. For one or a few; torch is for many."""
    wide = asked.shape[1]
    for row in range(len(rows)):
        own = rows[row, first : first + wide]
        for c in range(len(asked)):
            other, total = asked[c], np.int32(0)
            for d in range(wide):
                total += np.int32(own[d]) * np.int32(other[d])
            out[c, row] = total


def of_parts(parts: int) -> Callable[..., None]:
    """For so many parts: where loops have a known length, all sums stay in registers."""
    more = parts + 2

    def lower_bounds(products, rows, asked, most, start, out):  # type: ignore[no-untyped-def]
        """`out` [q,N] from `start` on = most − (products·step + factors·sides)/(weights·sides); infinity over 0.

        `rows` are (step, sides), `asked` are (weights, factors).
        """
        (step, sides), (weights, factors) = rows, asked
        turned = np.empty((parts + more, STRETCH), np.float32)
        for first in range(0, len(step), STRETCH):
            n = min(STRETCH, len(step) - first)
            for i in range(n):
                for j in range(parts + more):
                    turned[j, i] = sides[first + i, j]
            for c in range(len(out)):
                product, steps = products[c, first : first + n], step[first : first + n]
                own = out[c, start + first : start + first + n]
                for i in range(n):
                    total, shared = np.float32(product[i]) * steps[i], np.float32(0)
                    for j in range(parts):
                        total += turned[j, i] * factors[c, j]
                        shared += turned[j, i] * weights[c, j]
                    for j in range(more):
                        total += turned[parts + j, i] * factors[c, parts + j]
                    own[i] = most - total / shared if shared > 0 else np.float32(np.inf)

    lower_bounds.__qualname__ = f"lower_bounds_of_{parts}"  # names the file: in one, two processes mix up two numbers
    return lower_bounds


def rows_within(bounds, limits, hits):  # type: ignore[no-untyped-def]
    """The rows of some blocks of `bounds` [q,m,B] that are within the limit of whose they are: rows and people.

    `hits` are (blocks, people) [h].
    """
    blocks, people = hits
    size, n = bounds.shape[2], 0
    for hit in range(len(blocks)):
        own, limit = bounds[people[hit], blocks[hit]], limits[people[hit]]
        for row in range(size):
            n += own[row] <= limit and own[row] < np.inf
    rows, whose, n = np.empty(n, np.int64), np.empty(n, np.int64), 0
    for hit in range(len(blocks)):
        own, limit = bounds[people[hit], blocks[hit]], limits[people[hit]]
        for row in range(size):
            if own[row] <= limit and own[row] < np.inf:
                rows[n], whose[n] = blocks[hit] * size + row, people[hit]
                n += 1
    return rows, whose


def second_bounds(mean, chunk, pairs, most, out):  # type: ignore[no-untyped-def]
    """`out` [m] = most − S/W of `pairs` (rows, people), in float32; infinity over 0.

    `mean` are (sums [q,P·D], weights), `chunk` are (whole, length, sides).
    """
    (sums, weights), (whole, length, sides), (rows, people) = mean, chunk, pairs
    dim = whole.shape[1] // length.shape[1]
    for pair in range(len(rows)):
        row, person = rows[pair], people[pair]
        total, shared = np.float32(0), np.float32(0)
        for part in range(length.shape[1]):
            both = weights[person, part] * sides[row, part]
            if both > 0:
                k, s = whole[row, part * dim : (part + 1) * dim], sums[person, part * dim : (part + 1) * dim]
                product = np.float32(0)
                for d in range(dim):
                    product += np.float32(k[d]) * s[d]
                total += product * (sides[row, part] / length[row, part])
                shared += both
        out[pair] = most - total / shared if shared > 0 else np.float32(np.inf)


def dots(mean, chunk, pairs, out):  # type: ignore[no-untyped-def]
    """`out` [m,P] = sums times numbers of `pairs`, part by part, of what `second_bounds` has; 0 of what nobody asks."""
    (sums, weights), (whole, length, _), (rows, people) = mean, chunk, pairs
    dim = whole.shape[1] // length.shape[1]
    for pair in range(len(rows)):
        row, person = rows[pair], people[pair]
        for part in range(length.shape[1]):
            total = 0.0
            if weights[person, part] > 0:
                k, s = whole[row, part * dim : (part + 1) * dim], sums[person, part * dim : (part + 1) * dim]
                for d in range(dim):
                    total += k[d] * s[d]
            out[pair, part] = total
