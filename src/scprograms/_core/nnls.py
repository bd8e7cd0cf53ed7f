"""The exact end of non-negative least squares: coordinate descent crawls where programs are alike, this does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .threads import jit

if TYPE_CHECKING:
    from .matrix import Array, FloatArray

PIVOT_TOL = 1e-10
GRADIENT_TOL = 1e-10


@jit
def solve_on_support(G: FloatArray, c: FloatArray, support: Array, n: int, factor: Array, z: FloatArray) -> bool:
    """Solve ``G z = c`` on the first n entries of ``support`` by Cholesky into z; False where G is singular there."""
    for i in range(n):
        row = support[i]
        value = c[row]
        for j in range(i + 1):
            total = G[row, support[j]]
            for l in range(j):  # noqa: E741
                total -= factor[i, l] * factor[j, l]
            if j < i:
                factor[i, j] = total / factor[j, j]
                value -= factor[i, j] * z[j]
            elif total <= PIVOT_TOL * G[row, row]:
                return False
            else:
                factor[i, i] = np.sqrt(total)
        z[i] = value / factor[i, i]
    for i in range(n - 1, -1, -1):
        for j in range(i + 1, n):
            z[i] -= factor[j, i] * z[j]
        z[i] /= factor[i, i]
    return True


@jit
def finish_rows(W: FloatArray, C: FloatArray, G: FloatArray, offset: FloatArray, start: int, stop: int) -> None:  # noqa: C901  one compiled loop
    """Minimise ``1/2 w G w' - w (c - offset)`` over w >= 0 exactly, for the rows start..stop of W, in place.

    An active set method (Lawson & Hanson 1974, chapter 23) that begins at the support of what is in W already. A row
    stays as it is where the programs on its way are linearly dependent.
    """
    k = W.shape[1]
    w, c, z = np.zeros(k), np.zeros(k), np.zeros(k)
    factor, support = np.zeros((k, k)), np.zeros(k, dtype=np.int64)
    for t in range(start, stop):
        n, largest = 0, 0.0
        for j in range(k):
            w[j], c[j] = W[t, j], np.float64(C[t, j]) - offset[j]
            largest = max(largest, abs(c[j]))
            if w[j] > 0:
                support[n] = j
                n += 1
        optimal = False
        for _ in range(5 * k + 10):
            if not solve_on_support(G, c, support, n, factor, z):
                break
            # As far towards the solution on the support as w stays non-negative.
            share, first = 1.0, -1
            for i in range(n):
                if z[i] <= 0 and w[support[i]] <= share * (w[support[i]] - z[i]):
                    share, first = w[support[i]] / max(w[support[i]] - z[i], 1e-300), i
            for i in range(n):
                w[support[i]] += share * (z[i] - w[support[i]])
            if first >= 0:
                w[support[first]] = 0.0
                kept = 0
                for i in range(n):
                    if w[support[i]] > 0:
                        support[kept] = support[i]
                        kept += 1
                    else:
                        w[support[i]] = 0.0
                n = kept
                continue
            best, steepest = -1, GRADIENT_TOL * largest
            for j in range(k):
                if w[j] <= 0 and G[j, j] > 0:
                    slope = c[j]
                    for i in range(n):
                        slope -= G[j, support[i]] * w[support[i]]
                    if slope > steepest:
                        best, steepest = j, slope
            if best < 0:
                optimal = True
                break
            support[n] = best
            n += 1
        if optimal:
            for j in range(k):
                W[t, j] = w[j]
