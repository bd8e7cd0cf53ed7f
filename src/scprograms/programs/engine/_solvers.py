"""The two solvers of semi-NMF, on anything that has the operator's products.

Both alternate between the usages W (>= 0) and the loadings H, which are free and hence least squares. All figures come
from ``W'W``, ``W'X`` and ``||X||^2``; neither WH nor the residual is ever formed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from scprograms._core.kernels import hals_rows
from scprograms._core.matrix import Array, FloatArray
from scprograms._core.nnls import finish_rows
from scprograms._core.operators.protocol import MatrixOperator
from scprograms._core.progress import is_look
from scprograms._core.sums import sum_of_products
from scprograms._core.threads import for_blocks

RIDGE = 1e-12
REVIVED_SHARE = 0.01
NNLS_SWEEPS = 500
NNLS_TOL = 1e-6

UpdateUsages = Callable[[MatrixOperator, Array, "Loadings"], Array | None]
"""Updates W in place; may return X'W for the updated W."""


@dataclass(frozen=True)
class Loadings:
    """H, the baseline b, and how much of ``||X||^2`` they explain together with the usages that they were fit to."""

    H: FloatArray
    baseline: FloatArray
    explained: float


@dataclass
class Fit:
    """Usages and their loadings."""

    W: FloatArray
    loadings: Loadings
    converged: bool = False


def error_of(squared_norm: float, loadings: Loadings) -> float:
    """Return the Frobenius norm of the residual."""
    return float(np.sqrt(max(squared_norm - loadings.explained, 0.0)))


def fit_loadings(op: MatrixOperator, W: FloatArray, *, intercept: bool, cross: FloatArray | None = None) -> Loadings:
    """Return the H and b that minimise ``||X - 1 b' - W H||``; ``cross`` is X'W where it is known.

    With an intercept b = mean(X) - mean(W) H, and H solves the same equations with centred W.
    """
    cross = (op.rmatmul(W) if cross is None else cross).T.astype(np.float64)
    gram, n_obs = sum_of_products(W, W), op.shape[0]
    if not intercept:
        H = solve_ridge(gram, cross)
        return Loadings(H, np.zeros(op.shape[1]), float(2 * np.sum(H * cross) - np.sum((H @ H.T) * gram)))
    mean_w, mean_x = W.mean(axis=0, dtype=np.float64), op.column_sums() / n_obs
    gram -= n_obs * np.outer(mean_w, mean_w)
    cross -= n_obs * np.outer(mean_w, mean_x)
    H = solve_ridge(gram, cross)
    explained = float(2 * np.sum(H * cross) - np.sum((H @ H.T) * gram)) + n_obs * float(mean_x @ mean_x)
    return Loadings(H, mean_x - mean_w @ H, explained)


def fit_baseline(op: MatrixOperator, W: FloatArray, H: FloatArray, *, intercept: bool) -> FloatArray:
    """Return the baseline b that minimises ``||X - 1 b' - W H||`` for fixed W and H."""
    if not intercept:
        return np.zeros(op.shape[1])
    mean_w: FloatArray = W.mean(axis=0, dtype=np.float64)
    return op.column_sums() / op.shape[0] - mean_w @ H


def with_explained(
    op: MatrixOperator, W: FloatArray, H: FloatArray, baseline: FloatArray, *, cross: FloatArray | None = None
) -> Loadings:
    """Put together given loadings and baseline with what they explain of ``||X||^2`` together with W.

    ``cross`` is X'W where it is known.
    """
    cross = (op.rmatmul(W) if cross is None else cross).T.astype(np.float64)
    cross -= np.outer(W.sum(axis=0, dtype=np.float64), baseline)
    explained: Any = 2 * np.sum(H * cross) - np.sum((H @ H.T) * sum_of_products(W, W))
    if baseline.any():
        explained += 2 * baseline @ op.column_sums() - op.shape[0] * baseline @ baseline
    return Loadings(H, baseline, float(explained))


def solve_ridge(gram: FloatArray, cross: FloatArray) -> FloatArray:
    """Solve ``gram H = cross`` with a ridge so small that it only keeps dead or collinear programs from failing."""
    ridge = RIDGE * float(np.trace(gram)) / gram.shape[0]
    if ridge == 0:  # no program is used
        return np.zeros_like(cross)
    ridged = gram + np.eye(gram.shape[0]) * ridge
    solution: FloatArray
    try:
        solution = linalg.solve(ridged, cross, assume_a="pos", check_finite=False)
    except linalg.LinAlgError:
        solution = linalg.lstsq(ridged, cross, check_finite=False)[0]
    return solution


def unit_rows(W: FloatArray, H: FloatArray) -> None:
    """Give the rows of H unit L2 norm and move their scale into W, in place: else the penalty on W means nothing."""
    norms = np.linalg.norm(H, axis=1)
    norms[norms == 0] = 1
    H /= norms[:, None]
    W *= norms.astype(W.dtype)


def root_mean_square(W: FloatArray) -> float:
    """Return the unit of the L1 penalty."""
    return float(np.sqrt(np.einsum("ij,ij->", W, W, dtype=np.float64) / W.size))


@dataclass(frozen=True)
class UsageSweeps:
    """Coordinate descent on ``1/2 w G w' - w (c - offset)`` over rows w >= 0, and the exact end of it where asked."""

    gram: FloatArray
    offset: FloatArray
    dtype: np.dtype
    n_sweeps: int = 1
    tol: float = 0.0
    exact: bool = False

    def __call__(self, C: FloatArray, W: FloatArray) -> None:
        """Update rows of W in place from those of C."""
        G, offset = self.gram.astype(self.dtype), self.offset.astype(self.dtype)
        hals_rows(W, C, G, offset, self.n_sweeps, self.dtype.type(self.tol), 0, W.shape[0])
        if self.exact:
            finish_rows(W, C, self.gram, offset.astype(np.float64), 0, W.shape[0])


def sweeps_of(loadings: Loadings, dtype: np.dtype, *, penalty: float | FloatArray, **options: Any) -> UsageSweeps:
    """Return the sweeps on ``1/2 ||X - 1 b' - W H||^2 + penalty sum(W)`` over W >= 0."""
    H = loadings.H
    return UsageSweeps(H @ H.T, penalty + loadings.baseline @ H.T, dtype, **options)


def update_by_hals(op: MatrixOperator, W: FloatArray, loadings: Loadings, *, penalty: float) -> FloatArray:
    """Update W in place by one sweep, restart programs that died, and return X'W."""
    sweeps, Ht = sweeps_of(loadings, W.dtype, penalty=penalty), loadings.H.T.astype(W.dtype)
    cross = op.through(Ht, W, sweeps)
    if W.any(axis=0).all():
        return cross
    G, offset = sweeps.gram.astype(W.dtype), sweeps.offset.astype(W.dtype)
    _revive(W, op.matmul(Ht), G, offset)
    return op.rmatmul(W)


def update_by_multiplication(op: MatrixOperator, W: FloatArray, loadings: Loadings) -> None:
    """``W *= (A+ + W B-) / (A- + W B+ + 1e-9)`` with ``A = (X - 1 b') H'`` and ``B = H H'``, in place."""
    H, dtype = loadings.H, W.dtype
    A = op.matmul(H.T.astype(dtype)) - (loadings.baseline @ H.T).astype(dtype)
    B = (H @ H.T).astype(dtype)
    numerator = np.maximum(A, 0) + W @ np.maximum(-B, 0)
    W *= numerator / (np.maximum(-A, 0) + W @ np.maximum(B, 0) + dtype.type(1e-9))


def _revive(W: FloatArray, C: FloatArray, G: FloatArray, offset: FloatArray) -> None:
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
    W: FloatArray,
    update_usages: UpdateUsages,
    *,
    squared_norm: float,
    intercept: bool,
    max_iter: int,
    tol: float,
    on_sweep: Callable[[float], None],
) -> Fit:
    """Alternate sweeps over W, which is overwritten, with least squares for H.

    Ends once a sweep changes the error by less than ``tol`` of it; asked at the looks of ``is_look`` and at the end.
    Under a penalty the error may rise as well.
    """
    errors: list[float] = []

    def step(cross: FloatArray | None = None) -> Loadings:
        loadings = fit_loadings(op, W, intercept=intercept, cross=cross)
        unit_rows(W, loadings.H)
        errors.append(error_of(squared_norm, loadings))
        on_sweep(errors[-1])
        return loadings

    loadings = step()
    for sweep in range(1, max_iter + 1):
        loadings = step(update_usages(op, W, loadings))
        asked = is_look(sweep) or sweep == max_iter
        if asked and abs(errors[-2] - errors[-1]) <= tol * errors[-1]:
            return Fit(W, loadings, converged=True)
    return Fit(W, loadings, converged=False)


def solve_usages(
    op: MatrixOperator, loadings: Loadings, *, penalty: float | FloatArray, start: FloatArray | None = None
) -> FloatArray:
    """Return the penalised non-negative least squares usages for fixed loadings: sweeps, then the exact solution.

    The penalty (of all programs, or one of each) holds for rows of H with unit norm, whatever their norm is; ``start``
    is overwritten.
    """
    problem = _UnitProblem(op, loadings, penalty, start)
    C = op.matmul(problem.Ht)
    for_blocks(lambda first, stop: problem.sweeps(C[first:stop], problem.W[first:stop]), len(C))
    return problem.usages()


def solve_usages_and_cross(
    op: MatrixOperator, loadings: Loadings, *, penalty: float | FloatArray, start: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Return the usages of ``solve_usages``, and X'W."""
    problem = _UnitProblem(op, loadings, penalty, start)
    cross = op.through(problem.Ht, problem.W, problem.sweeps)
    return problem.usages(), cross / problem.norms.astype(cross.dtype)


class _UnitProblem:
    """The usages of loadings that were brought to unit norm."""

    def __init__(
        self, op: MatrixOperator, loadings: Loadings, penalty: float | FloatArray, start: FloatArray | None
    ) -> None:
        self.W = np.zeros((op.shape[0], loadings.H.shape[0]), dtype=op.dtype) if start is None else start
        H, norms = loadings.H.copy(), np.linalg.norm(loadings.H, axis=1)
        self.norms = np.where(norms > 0, norms, 1)
        unit_rows(self.W, H)
        self.Ht = H.T.astype(self.W.dtype)
        self.sweeps = sweeps_of(
            Loadings(H, loadings.baseline, 0.0),
            self.W.dtype,
            penalty=penalty,
            n_sweeps=NNLS_SWEEPS,
            tol=NNLS_TOL,
            exact=True,
        )

    def usages(self) -> FloatArray:
        self.W /= self.norms.astype(self.W.dtype)
        return self.W
