"""Solvers of NMF (W >= 0, H >= 0) for the Frobenius norm, on anything that has the operator's products."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from scprograms._core.kernels import hals_rows
from scprograms._core.operators.in_memory import SketchOperator
from scprograms._core.progress import is_look
from scprograms._core.sums import sum_of_products
from scprograms._core.threads import for_blocks

from ._solvers import NNLS_SWEEPS, NNLS_TOL, UsageSweeps, alternate, root_mean_square, update_by_hals

if TYPE_CHECKING:
    from collections.abc import Callable

    from scprograms._core.matrix import Array, FloatArray
    from scprograms._core.operators.protocol import MatrixOperator
    from scprograms._core.svd import Compression

START_SWEEPS = 5
INNER_SWEEPS = 3
REVIVED_ROWS = 32
N_PROBES = 8
ROUGH_TOL = 1e-2  # for fits that only have to say which programs there are

SUFFICIENT_DECREASE = 0.01
LENGTH_FACTOR = 0.1
TOL_FACTOR = 0.1
SUB_ITERATIONS = 10
LOOSEST_TOL = 1e-3


def squared_error(squared_norm: float, cross: FloatArray, gram: FloatArray, Ht: FloatArray) -> float:
    """Return ``||X - W H||^2`` from ``X'W``, ``W'W`` and H transposed."""
    explained = 2 * np.einsum("ij,ij->", Ht, cross, dtype=np.float64) - np.sum(sum_of_products(Ht, Ht) * gram)
    return max(squared_norm - float(explained), 0.0)


def non_negative_start(compression: Compression, W: FloatArray, squared_norm: float) -> FloatArray:
    """Improve W by a few sweeps of semi-NMF on the compressed matrix, in place; return its loadings, clipped at 0."""
    fit = alternate(
        SketchOperator(compression.Y),
        W,
        partial(update_by_hals, penalty=0.0),
        squared_norm=squared_norm,
        intercept=False,
        max_iter=START_SWEEPS,
        tol=0.0,
        on_sweep=lambda _: None,
    )
    return np.maximum(fit.loadings.H @ compression.V.T, 0)


def solve_loadings(op: MatrixOperator, W: FloatArray) -> FloatArray:
    """Return the non-negative least squares loadings (k x n_vars) for fixed usages, to convergence."""
    gram, cross = sum_of_products(W, W), op.rmatmul(W).astype(np.float64)
    norms = np.sqrt(np.diag(gram))
    norms[norms == 0] = 1
    Ht = np.zeros_like(cross)
    _descend(Ht, cross / norms, gram / np.outer(norms, norms), n_sweeps=NNLS_SWEEPS, tol=NNLS_TOL)
    return (Ht / norms).T


def alternate_non_negative(
    op: MatrixOperator,
    W: FloatArray,
    H: FloatArray,
    *,
    squared_norm: float,
    max_iter: int,
    tol: float,
    on_sweep: Callable[[float], None],
) -> tuple[FloatArray, bool]:
    """Alternate HALS sweeps over W, in place, and over H; return H and whether ``tol`` was reached.

    A product with X costs more than a sweep over either factor, so each product serves a few sweeps [1]_. Ends once
    they change the loadings and the error by less than ``tol`` of them, or the error is nothing but rounding; asked at
    the looks of ``is_look`` and at the end. The loadings are what decides: their change is far above their rounding
    where that of the error no longer is.

    References
    ----------
    .. [1] Gillis & Glineur (2012), Neural Computation 24:1085, https://doi.org/10.1162/NECO_a_00256
    """
    Ht = np.ascontiguousarray(H.T, dtype=W.dtype)
    previous, rounding = np.inf, float(np.sqrt(4 * np.finfo(W.dtype).eps * squared_norm))
    for sweep in range(1, max_iter + 1):
        before = Ht.copy()
        sweeps = UsageSweeps(sum_of_products(Ht, Ht), np.zeros(Ht.shape[1]), W.dtype, n_sweeps=INNER_SWEEPS)
        cross = op.through(Ht, W, sweeps)
        if _revive(op, W, Ht):
            cross = op.rmatmul(W)
        gram = sum_of_products(W, W)
        _descend(Ht, cross, gram)
        error = float(np.sqrt(squared_error(squared_norm, cross, gram, Ht)))
        on_sweep(error)
        if tol > 0 and (is_look(sweep) or sweep == max_iter):
            settled = abs(previous - error) <= tol * error and change_of_columns(before, Ht) <= tol
            if settled or error <= rounding:
                return Ht.T, True
        previous = error
    return Ht.T, False


def change_of_columns(before: FloatArray, after: FloatArray) -> float:
    """Relative change, in the Frobenius norm, of columns brought to unit norm."""
    units = []
    for columns in (before.astype(np.float64), after.astype(np.float64)):
        norms = np.linalg.norm(columns, axis=0)
        units.append(columns / np.where(norms > 0, norms, 1))
    return float(np.linalg.norm(units[1] - units[0]) / max(np.linalg.norm(units[1]), np.finfo(float).tiny))


def _descend(
    rows: Array, cross: FloatArray, gram: FloatArray, *, n_sweeps: int = INNER_SWEEPS, tol: float = 0.0
) -> None:
    """Coordinate descent on ``1/2 w G w' - w c`` over non-negative rows w, in place."""
    dtype = rows.dtype
    G, offset = gram.astype(dtype), np.zeros(rows.shape[1], dtype=dtype)
    cross = cross.astype(dtype, copy=False)
    for_blocks(
        lambda start, stop: hals_rows(rows, cross, G, offset, n_sweeps, dtype.type(tol), start, stop),
        rows.shape[0],
    )


def _revive(op: MatrixOperator, W: FloatArray, Ht: FloatArray) -> bool:
    """Give programs that no cell uses or that hold no gene to the cells that the others explain least, if any.

    Their loadings start at 0, so that the loss stays as it is until the next sweep over H lowers it.
    """
    dead = np.flatnonzero(~W.any(axis=0) | ~Ht.any(axis=0))
    if dead.size == 0 or dead.size == W.shape[1]:
        return False
    # Norms of the cells' residuals, as far as a few random projections show them.
    probes = np.random.default_rng(0).standard_normal((op.shape[1], N_PROBES)).astype(W.dtype)
    left = np.square(op.matmul(probes) - W @ (Ht.T @ probes)).sum(axis=1)
    order, n_rows, usage = np.argsort(-left, kind="stable"), min(REVIVED_ROWS, W.shape[0]), root_mean_square(W)
    W[:, dead], Ht[:, dead] = 0, 0
    for i, j in enumerate(dead):
        W[order[np.arange(i * n_rows, (i + 1) * n_rows) % W.shape[0]], j] = usage
    return True


def alternate_projected_gradient(
    op: MatrixOperator,
    W: FloatArray,
    H: FloatArray,
    *,
    squared_norm: float,
    max_iter: int,
    tol: float,
    on_sweep: Callable[[float], None],
) -> tuple[FloatArray, FloatArray, bool]:
    """Alternate non-negative least squares by projected gradient [1]_; return W, H and whether ``tol`` was reached.

    Ends once the projected gradient is below ``tol`` times that of the start. A subproblem that was solved at its
    first look gets a ten times tighter tolerance.

    References
    ----------
    .. [1] Lin (2007), Neural Computation 19:2756, https://doi.org/10.1162/neco.2007.19.10.2756
    """
    Wt: FloatArray = W.T.astype(np.float64)
    H = H.astype(np.float64)

    def equations_of_usages() -> tuple[FloatArray, FloatArray]:
        return H @ H.T, op.matmul(H.T.astype(op.dtype)).T.astype(np.float64)

    def equations_of_loadings() -> tuple[FloatArray, FloatArray]:
        return Wt @ Wt.T, op.rmatmul(Wt.T.astype(op.dtype)).T.astype(np.float64)

    gradients = [g @ F - c for F, (g, c) in ((Wt, equations_of_usages()), (H, equations_of_loadings()))]
    first = float(np.sqrt(sum(np.sum(gradient**2) for gradient in gradients)))
    tol_w = tol_h = max(LOOSEST_TOL, tol) * first
    for _ in range(max_iter):
        Wt, gradient, n_looks = projected_gradient(*equations_of_usages(), Wt, tol_w)
        tol_w *= TOL_FACTOR if n_looks == 1 else 1
        left = _projected_norm(gradient, Wt) ** 2
        gram, cross = equations_of_loadings()
        H, gradient, n_looks = projected_gradient(gram, cross, H, tol_h)
        tol_h *= TOL_FACTOR if n_looks == 1 else 1
        left += _projected_norm(gradient, H) ** 2
        on_sweep(float(np.sqrt(squared_error(squared_norm, cross.T, gram, H.T))))
        if np.sqrt(left) <= tol * first and tol > 0:
            return Wt.T.astype(op.dtype), H, True
    return Wt.T.astype(op.dtype), H, False


def projected_gradient(
    gram: FloatArray, cross: FloatArray, F: FloatArray, tol: float
) -> tuple[FloatArray, FloatArray, int]:
    """Minimise ``1/2 <F, gram F> - <F, cross>`` over F >= 0; return F, the last gradient and the number of looks at it.

    The length of a step begins at 1 and is carried on. The first trial of a step decides: it shrinks until the
    decrease suffices, or grows while it does and F still changes.
    """
    length = 1.0
    for look in range(1, SUB_ITERATIONS + 1):
        gradient = gram @ F - cross
        if _projected_norm(gradient, F) < tol:
            return F, gradient, look
        best, grows = F, False
        for trial in range(SUB_ITERATIONS):
            new = np.maximum(F - length * gradient, 0)
            change = new - F
            slope, curvature = np.sum(gradient * change), np.sum((gram @ change) * change)
            suffices = bool((1 - SUFFICIENT_DECREASE) * slope + 0.5 * curvature < 0)
            grows = suffices if trial == 0 else grows
            if grows and np.array_equal(new, best):
                break
            if suffices:
                best = new
            if suffices != grows:
                break
            length *= 1 / LENGTH_FACTOR if grows else LENGTH_FACTOR
        F = best
    return F, gradient, SUB_ITERATIONS


def _projected_norm(gradient: FloatArray, F: FloatArray) -> float:
    return float(np.linalg.norm(gradient[(gradient < 0) | (F > 0)]))
