"""The two solvers of semi-NMF, on anything that has the operator's products.

Both alternate between the usages W (>= 0) and the loadings H, which are free and hence least squares. All figures come
from ``W'W``, ``W'X`` and ``||X||^2``; neither WH nor the residual is ever formed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from ._kernels import hals_rows
from ._nnls import finish_rows
from ._operators import MatrixOperator, sum_of_products
from ._parallel import for_blocks

RIDGE = 1e-12
REVIVED_SHARE = 0.01
NNLS_SWEEPS = 500
NNLS_TOL = 1e-6

UpdateUsages = Callable[[MatrixOperator, NDArray, "Loadings"], None]


@dataclass(frozen=True)
class Loadings:
    """H, the baseline b, and how much of ``||X||^2`` they explain together with the usages that they were fit to."""

    H: NDArray
    baseline: NDArray
    explained: float


@dataclass
class Fit:
    """Usages and their loadings."""

    W: NDArray
    loadings: Loadings
    converged: bool = False


def error_of(squared_norm: float, loadings: Loadings) -> float:
    """Return the Frobenius norm of the residual."""
    return float(np.sqrt(max(squared_norm - loadings.explained, 0.0)))


def fit_loadings(op: MatrixOperator, W: NDArray, *, intercept: bool) -> Loadings:
    """Return the H and b that minimise ``||X - 1 b' - W H||``.

    With an intercept b = mean(X) - mean(W) H, and H solves the same equations with centred W.
    """
    gram, cross, n_obs = sum_of_products(W, W), op.rmatmul(W).T.astype(np.float64), op.shape[0]
    if not intercept:
        H = solve_ridge(gram, cross)
        return Loadings(H, np.zeros(op.shape[1]), float(2 * np.sum(H * cross) - np.sum((H @ H.T) * gram)))
    mean_w, mean_x = W.mean(axis=0, dtype=np.float64), op.column_sums() / n_obs
    gram -= n_obs * np.outer(mean_w, mean_w)
    cross -= n_obs * np.outer(mean_w, mean_x)
    H = solve_ridge(gram, cross)
    explained = float(2 * np.sum(H * cross) - np.sum((H @ H.T) * gram)) + n_obs * float(mean_x @ mean_x)
    return Loadings(H, mean_x - mean_w @ H, explained)


def fit_baseline(op: MatrixOperator, W: NDArray, H: NDArray, *, intercept: bool) -> NDArray:
    """Return the baseline b that minimises ``||X - 1 b' - W H||`` for fixed W and H."""
    if not intercept:
        return np.zeros(op.shape[1])
    return op.column_sums() / op.shape[0] - W.mean(axis=0, dtype=np.float64) @ H


def with_explained(op: MatrixOperator, W: NDArray, H: NDArray, baseline: NDArray) -> Loadings:
    """Put together given loadings and baseline with what they explain of ``||X||^2`` together with W."""
    cross = op.rmatmul(W).T.astype(np.float64) - np.outer(W.sum(axis=0, dtype=np.float64), baseline)
    explained = 2 * np.sum(H * cross) - np.sum((H @ H.T) * sum_of_products(W, W))
    if baseline.any():
        explained += 2 * baseline @ op.column_sums() - op.shape[0] * baseline @ baseline
    return Loadings(H, baseline, float(explained))


def solve_ridge(gram: NDArray, cross: NDArray) -> NDArray:
    """Solve ``gram H = cross`` with a ridge so small that it only keeps dead or collinear programs from failing."""
    ridge = RIDGE * float(np.trace(gram)) / gram.shape[0]
    if ridge == 0:  # no program is used
        return np.zeros_like(cross)
    ridged = gram + np.eye(gram.shape[0]) * ridge
    try:
        return linalg.solve(ridged, cross, assume_a="pos", check_finite=False)
    except linalg.LinAlgError:
        return linalg.lstsq(ridged, cross, check_finite=False)[0]


def unit_rows(W: NDArray, H: NDArray) -> None:
    """Give the rows of H unit L2 norm and move their scale into W, in place: else the penalty on W means nothing."""
    norms = np.linalg.norm(H, axis=1)
    norms[norms == 0] = 1
    H /= norms[:, None]
    W *= norms.astype(W.dtype)


def root_mean_square(W: NDArray) -> float:
    """Return the unit of the L1 penalty."""
    return float(np.sqrt(np.einsum("ij,ij->", W, W, dtype=np.float64) / W.size))


def update_by_hals(op: MatrixOperator, W: NDArray, loadings: Loadings, *, penalty: float) -> None:
    """Update W in place by one sweep, and restart programs that died."""
    C, G, offset = descend_usages(op, W, loadings, penalty=penalty, n_sweeps=1, tol=0)
    _revive(W, C, G, offset)


def descend_usages(
    op: MatrixOperator, W: NDArray, loadings: Loadings, *, penalty: float | NDArray, n_sweeps: int, tol: float
) -> tuple[NDArray, NDArray, NDArray]:
    """Coordinate descent on ``1/2 ||X - 1 b' - W H||^2 + penalty sum(W)`` over W >= 0, in place."""
    H, dtype = loadings.H, W.dtype
    G = (H @ H.T).astype(dtype)
    offset = (penalty + loadings.baseline @ H.T).astype(dtype)
    C = op.matmul(H.T.astype(dtype))
    for_blocks(lambda start, stop: hals_rows(W, C, G, offset, n_sweeps, dtype.type(tol), start, stop), W.shape[0])
    return C, G, offset


def update_by_multiplication(op: MatrixOperator, W: NDArray, loadings: Loadings) -> None:
    """``W *= (A+ + W B-) / (A- + W B+ + 1e-9)`` with ``A = (X - 1 b') H'`` and ``B = H H'``, in place."""
    H, dtype = loadings.H, W.dtype
    A = op.matmul(H.T.astype(dtype)) - (loadings.baseline @ H.T).astype(dtype)
    B = (H @ H.T).astype(dtype)
    numerator = np.maximum(A, 0) + W @ np.maximum(-B, 0)
    W *= numerator / (np.maximum(-A, 0) + W @ np.maximum(B, 0) + dtype.type(1e-9))


def _revive(W: NDArray, C: NDArray, G: NDArray, offset: NDArray) -> None:
    """Restart programs that no cell uses any more from the cells that the others explain least."""
    dead = np.flatnonzero(~W.any(axis=0))
    if dead.size == 0 or dead.size == W.shape[1]:
        return
    # What is left of each cell along the programs' own directions: a residual that needs no product with X.
    left = np.abs(C - offset - W @ G).max(axis=1)
    order = np.argsort(-left, kind="stable")
    n_rows = max(1, int(REVIVED_SHARE * W.shape[0]))
    for i, j in enumerate(dead):
        W[order[np.arange(i * n_rows, (i + 1) * n_rows) % W.shape[0]], j] = root_mean_square(W)


def alternate(
    op: MatrixOperator,
    W: NDArray,
    update_usages: UpdateUsages,
    *,
    squared_norm: float,
    intercept: bool,
    max_iter: int,
    tol: float,
    on_sweep: Callable[[float], None],
) -> Fit:
    """Alternate sweeps over W, which is overwritten, with least squares for H.

    Ends once a sweep changes the error by less than ``tol`` of it.
    """
    errors: list[float] = []

    def step() -> Loadings:
        loadings = fit_loadings(op, W, intercept=intercept)
        unit_rows(W, loadings.H)
        errors.append(error_of(squared_norm, loadings))
        on_sweep(errors[-1])
        return loadings

    loadings = step()
    for _ in range(max_iter):
        update_usages(op, W, loadings)
        loadings = step()
        if abs(errors[-2] - errors[-1]) <= tol * errors[-1]:
            return Fit(W, loadings, converged=True)
    return Fit(W, loadings, converged=False)


def solve_usages(
    op: MatrixOperator, loadings: Loadings, *, penalty: float | NDArray, start: NDArray | None = None
) -> NDArray:
    """Return the penalised non-negative least squares usages for fixed loadings: sweeps, then the exact solution.

    The penalty (of all programs, or one of each) holds for rows of H with unit norm, whatever their norm is; ``start``
    is overwritten.
    """
    W = np.zeros((op.shape[0], loadings.H.shape[0]), dtype=op.dtype) if start is None else start
    H, norms = loadings.H.copy(), np.linalg.norm(loadings.H, axis=1)
    unit_rows(W, H)
    unit = Loadings(H, loadings.baseline, 0.0)
    C, _, offset = descend_usages(op, W, unit, penalty=penalty, n_sweeps=NNLS_SWEEPS, tol=NNLS_TOL)
    G = H @ H.T
    for_blocks(lambda first, stop: finish_rows(W, C, G, offset.astype(np.float64), first, stop), W.shape[0])
    W /= np.where(norms > 0, norms, 1).astype(W.dtype)
    return W
