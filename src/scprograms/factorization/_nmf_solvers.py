"""Solvers of NMF (W >= 0, H >= 0) for the Frobenius norm, on anything that has the operator's products."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ._kernels import hals_rows
from ._operators import MatrixOperator, sum_of_products
from ._parallel import for_blocks
from ._solvers import root_mean_square

INNER_SWEEPS = 3
REVIVED_ROWS = 32


class LowRankOperator:
    """``Y V'``: a matrix that is known by its compression."""

    def __init__(self, Y: NDArray, V: NDArray) -> None:
        self._Y, self._V = Y, V
        self.shape = (Y.shape[0], V.shape[0])
        self.dtype = Y.dtype

    def matmul(self, B: NDArray) -> NDArray:
        return self._Y @ (self._V.T @ np.asarray(B, dtype=self.dtype))

    def rmatmul(self, A: NDArray) -> NDArray:
        return self._V @ sum_of_products(self._Y, np.asarray(A, dtype=self.dtype)).astype(self.dtype)


def descend_rows(W: NDArray, C: NDArray, G: NDArray, *, n_sweeps: int, tol: float = 0) -> None:
    """Coordinate descent on ``1/2 w G w' - w c`` over the non-negative rows of W, in place."""
    dtype = W.dtype
    G, offset = G.astype(dtype), np.zeros(W.shape[1], dtype=dtype)
    for_blocks(lambda start, stop: hals_rows(W, C, G, offset, n_sweeps, dtype.type(tol), start, stop), W.shape[0])


def alternate_non_negative(
    op: MatrixOperator,
    W: NDArray,
    H: NDArray,
    *,
    squared_norm: float,
    max_iter: int,
    tol: float,
    on_sweep: Callable[[float], None],
) -> tuple[NDArray, bool]:
    """Alternate HALS sweeps over W, in place, and over H; return H and whether ``tol`` was reached.

    A product with X costs more than a sweep over either factor, so each product serves a few sweeps [1]_.

    References
    ----------
    .. [1] Gillis & Glineur (2012), Neural Computation 24:1085, https://doi.org/10.1162/NECO_a_00256
    """
    Ht = np.ascontiguousarray(H.T, dtype=W.dtype)
    previous = np.inf
    for _ in range(max_iter):
        C = op.matmul(Ht)
        descend_rows(W, C, sum_of_products(Ht, Ht), n_sweeps=INNER_SWEEPS)
        _revive(op, W, Ht, C)
        D, gram = op.rmatmul(W), sum_of_products(W, W)
        descend_rows(Ht, D, gram, n_sweeps=INNER_SWEEPS)
        explained = 2 * np.einsum("ij,ij->", Ht, D, dtype=np.float64) - np.sum(sum_of_products(Ht, Ht) * gram)
        error = float(np.sqrt(max(squared_norm - explained, 0.0)))
        on_sweep(error)
        if abs(previous - error) <= tol * error:
            return Ht.T, True
        previous = error
    return Ht.T, False


def _revive(op: MatrixOperator, W: NDArray, Ht: NDArray, C: NDArray) -> None:
    """Restart programs that no cell uses or that hold no gene from the cells that the others explain least."""
    dead = np.flatnonzero(~W.any(axis=0) | ~Ht.any(axis=0))
    if dead.size == 0 or dead.size == W.shape[1]:
        return
    left = np.abs(C - W @ sum_of_products(Ht, Ht).astype(W.dtype)).max(axis=1)
    order = np.argsort(-left, kind="stable")
    n_rows = min(REVIVED_ROWS, W.shape[0])
    for i, j in enumerate(dead):
        rows = order[np.arange(i * n_rows, (i + 1) * n_rows) % W.shape[0]]
        W[:, j] = 0
        W[rows, j] = root_mean_square(W)
        Ht[:, j] = np.maximum(op.rmatmul(W[:, [j]])[:, 0], 0)
        Ht[:, j] /= max(float(np.linalg.norm(Ht[:, j])), np.finfo(W.dtype).tiny)
