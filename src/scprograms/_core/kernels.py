"""Compiled inner loops. Each works on a range of rows and is called from several threads at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .threads import jit

if TYPE_CHECKING:
    from .matrix import Array

LANES = 64  # rows that the HALS kernel updates side by side: what fits a few vector registers
FLUSH = 256  # non-zeros after which a single-precision partial sum moves into the double-precision total


@jit
def _add_entries(indices: Array, data: Array, dense: Array, part: Array, begin: int, end: int) -> None:
    """``part += sum_p data_p dense[indices_p]``, four entries at a time: the sum is loaded and stored less often."""
    k = dense.shape[1]
    p = begin
    while p + 4 <= end:
        a, b, c, d = data[p], data[p + 1], data[p + 2], data[p + 3]
        i, j, l, m = indices[p], indices[p + 1], indices[p + 2], indices[p + 3]  # noqa: E741
        for t in range(k):
            part[t] += a * dense[i, t] + b * dense[j, t] + c * dense[l, t] + d * dense[m, t]
        p += 4
    while p < end:
        a, i = data[p], indices[p]
        for t in range(k):
            part[t] += a * dense[i, t]
        p += 1


@jit
def gather_rows(
    begins: Array, ends: Array, indices: Array, data: Array, dense: Array, out: Array, start: int, stop: int
) -> None:
    """``out[i] = sum_j data_ij dense[j]`` for the rows start..stop of a compressed matrix.

    The entries of row i are those from ``begins[i]`` to ``ends[i]``: some rows of a matrix need no copy of them.
    """
    k = dense.shape[1]
    part = np.zeros(k, dtype=dense.dtype)
    total = np.zeros(k, dtype=np.float64)
    for i in range(start, stop):
        begin, end = begins[i], ends[i]
        if end - begin <= FLUSH:
            for c in range(k):
                part[c] = 0
            _add_entries(indices, data, dense, part, begin, end)
            for c in range(k):
                out[i, c] = part[c]
            continue
        for c in range(k):
            total[c] = 0
        for chunk in range(begin, end, FLUSH):
            for c in range(k):
                part[c] = 0
            _add_entries(indices, data, dense, part, chunk, min(chunk + FLUSH, end))
            for c in range(k):
                total[c] += part[c]
        for c in range(k):
            out[i, c] = total[c]


@jit
def scatter_rows(
    begins: Array, ends: Array, indices: Array, data: Array, dense: Array, out: Array, start: int, stop: int
) -> None:
    """``out[j] += sum_i data_ij dense[i]`` over the rows start..stop of a compressed matrix."""
    k = dense.shape[1]
    row = np.empty(k, dtype=dense.dtype)
    for i in range(start, stop):
        for c in range(k):
            row[c] = dense[i, c]
        for p in range(begins[i], ends[i]):
            value, j = data[p], indices[p]
            for c in range(k):
                out[j, c] += value * row[c]


@jit
def column_sums(begins: Array, ends: Array, indices: Array, data: Array, sums: Array) -> None:
    """Add up the entries of each column."""
    for i in range(begins.size):
        for p in range(begins[i], ends[i]):
            sums[indices[p]] += data[p]


@jit
def column_deviations(
    begins: Array,
    ends: Array,
    indices: Array,
    data: Array,
    center: Array,
    squares: Array,
    counts: Array,
    start: int,
    stop: int,
) -> None:
    """Add ``(data_ij - center_j)^2`` and the number of stored entries per column, over the rows start..stop."""
    for i in range(start, stop):
        for p in range(begins[i], ends[i]):
            j = indices[p]
            deviation = np.float64(data[p]) - center[j]
            squares[j] += deviation * deviation
            counts[j] += 1


@jit
def row_deviations(
    begins: Array,
    ends: Array,
    data: Array,
    center: Array,
    squares: Array,
    counts: Array,
    start: int,
    stop: int,
) -> None:
    """``column_deviations`` where the compressed axis is the one to report on: a CSC matrix's columns."""
    for i in range(start, stop):
        total = 0.0
        for p in range(begins[i], ends[i]):
            deviation = np.float64(data[p]) - center[i]
            total += deviation * deviation
        squares[i] = total
        counts[i] = ends[i] - begins[i]


@jit
def hals_rows(  # noqa: C901  one compiled loop
    W: Array, C: Array, G: Array, offset: Array, n_sweeps: int, tol: float, start: int, stop: int
) -> None:
    """Coordinate descent on ``1/2 w G w' - w (c - offset)`` over w >= 0, for the rows start..stop of W, in place.

    A block of rows is held transposed, so that the innermost loop runs over rows: it vectorises without a reduction,
    and each row's arithmetic is the same wherever the block begins. Sweeps end early once the largest change in a
    block is below ``tol`` times the largest entry.
    """
    k = W.shape[1]
    w = np.zeros((k, LANES), dtype=W.dtype)
    c = np.zeros((k, LANES), dtype=W.dtype)
    step = np.zeros(LANES, dtype=W.dtype)
    zero = W.dtype.type(0)
    for first in range(start, stop, LANES):
        n = min(LANES, stop - first)
        for t in range(n):
            for j in range(k):
                w[j, t] = W[first + t, j]
                c[j, t] = C[first + t, j] - offset[j]
        for _ in range(n_sweeps):
            change, largest = zero, zero
            for j in range(k):
                g = G[j, j]
                if g <= zero:
                    continue
                for t in range(LANES):
                    step[t] = c[j, t]
                for l in range(k):  # noqa: E741
                    g_lj = G[l, j]
                    for t in range(LANES):
                        step[t] -= g_lj * w[l, t]
                for t in range(LANES):
                    new = max(zero, w[j, t] + step[t] / g)
                    step[t] = abs(new - w[j, t])
                    w[j, t] = new
                if tol > zero:
                    for t in range(n):
                        change = max(change, step[t])
                        largest = max(largest, w[j, t])
            if tol > zero and change <= tol * largest:
                break
        for t in range(n):
            for j in range(k):
                W[first + t, j] = w[j, t]


@jit
def add_gram(indptr: Array, indices: Array, data: Array, out: Array) -> None:
    """Add the products of the entries of each row, each pair of them once, to ``out`` (n_vars x n_vars)."""
    for i in range(indptr.size - 1):
        for p in range(indptr[i], indptr[i + 1]):
            value, row = np.float64(data[p]), out[indices[p]]
            for q in range(p, indptr[i + 1]):
                row[indices[q]] += value * data[q]
