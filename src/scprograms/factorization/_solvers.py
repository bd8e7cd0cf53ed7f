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


def fit_loadings(op: MatrixOperator, W: NDArray, *, intercept: bool, H: NDArray | None = None) -> Loadings:
    """Return the H and b that minimise ``||X - 1 b' - W H||``; a given H is kept and only b is found.

    With an intercept b = mean(X) - mean(W) H, and H solves the same equations with centred W.
    """
    gram = sum_of_products(W, W)
    cross = op.rmatmul(W).T.astype(np.float64)
    n_obs = op.shape[0]
    mean_w, mean_x = W.mean(axis=0, dtype=np.float64), op.column_sums() / n_obs
    if intercept:
        gram -= n_obs * np.outer(mean_w, mean_w)
        cross -= n_obs * np.outer(mean_w, mean_x)
    if H is None:
        H = solve_ridge(gram, cross)
    explained = float(2 * np.sum(H * cross) - np.sum((H @ H.T) * gram))
    if not intercept:
        return Loadings(H, np.zeros(op.shape[1]), explained)
    return Loadings(H, mean_x - mean_w @ H, explained + n_obs * float(mean_x @ mean_x))


def solve_ridge(gram: NDArray, cross: NDArray) -> NDArray:
    """Solve ``gram H = cross`` with a ridge so small that it only keeps dead or collinear programs from failing."""
    k = gram.shape[0]
    ridged = gram + np.eye(k) * max(RIDGE * float(np.trace(gram)) / k, np.finfo(float).tiny)
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
    return float(np.sqrt(np.mean(np.square(W, dtype=np.float64))))


def update_by_hals(
    op: MatrixOperator, W: NDArray, loadings: Loadings, *, penalty: float, n_sweeps: int = 1, tol: float = 0
) -> None:
    """Update W in place by coordinate descent on ``1/2 ||X - 1 b' - W H||^2 + penalty sum(W)`` for fixed H and b."""
    H, dtype = loadings.H, W.dtype
    G = (H @ H.T).astype(dtype)
    offset = (penalty + loadings.baseline @ H.T).astype(dtype)
    C = op.matmul(H.T.astype(dtype))
    for_blocks(lambda start, stop: hals_rows(W, C, G, offset, n_sweeps, dtype.type(tol), start, stop), W.shape[0])
    _revive(W, C, G, offset)


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


def solve_usages(op: MatrixOperator, loadings: Loadings, *, penalty: float) -> NDArray:
    """Return the non-negative least squares usages for fixed loadings, to convergence."""
    W = np.zeros((op.shape[0], loadings.H.shape[0]), dtype=op.dtype)
    H = loadings.H.copy()
    unit_rows(W, H)
    norms = np.linalg.norm(loadings.H, axis=1)
    norms[norms == 0] = 1
    G = (H @ H.T).astype(W.dtype)
    offset = (penalty + loadings.baseline @ H.T).astype(W.dtype)
    C = op.matmul(H.T.astype(W.dtype))
    tol = W.dtype.type(NNLS_TOL)
    for_blocks(lambda start, stop: hals_rows(W, C, G, offset, NNLS_SWEEPS, tol, start, stop), W.shape[0])
    W /= norms.astype(W.dtype)
    return W
