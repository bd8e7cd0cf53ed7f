"""Usages that do not see some of the features: what a cell uses of a program, judged without the perturbed gene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from scprograms._core.checks import logger
from scprograms._core.nnls import finish_rows
from scprograms._core.operators.prepare import prepare
from scprograms._core.threads import for_blocks, threads

if TYPE_CHECKING:
    from scprograms._core.matrix import Array, FloatArray, Matrix

LEAST_LEFT = 1e-10
"""A program with less than this share of its squared loadings left has none."""


class UsagesWithout:
    """Penalised non-negative least squares usages for fixed loadings, with some of the features left out.

    The products of all features are computed once. Leaving features J out takes ``X_J H_J`` off ``X H'`` and the outer
    products of the rows of ``H_J`` off ``H H'``; the solution starts from the usages with all features, and is exact.
    Program h is penalised by ``penalty * ||h||^2`` over the features that are left, as in ``project_usages``.

    Parameters
    ----------
    X
        n_obs x n_features: array, CSR or CSC; the features of the fit, in the order of the loadings.
    loadings
        H, k x n_features.
    baseline, center, scale
        The model of the features.
    penalty
        Penalty of the fit on the sum of W.
    """

    def __init__(
        self,
        X: Matrix,
        loadings: FloatArray,
        *,
        baseline: FloatArray,
        center: FloatArray,
        scale: FloatArray,
        penalty: float,
    ) -> None:
        self._H = np.asarray(loadings, dtype=np.float64)
        self._baseline, self._center, self._scale = (np.asarray(a, np.float64) for a in (baseline, center, scale))
        self._penalty = float(penalty)
        self._X = X.tocsc() if sparse.issparse(X) else X
        wide = X.astype(np.float64) if X.dtype != np.float64 else X
        self._C = prepare(wide, self._center, self._scale, intercept=False).op.matmul(self._H.T)

    def changes(self, features: Array) -> bool:
        """Whether any program has a loading on one of the features."""
        return bool(self._H[:, features].any())

    def solve(self, features: Array, rows: Array, start: FloatArray, *, n_jobs: int | None = None) -> FloatArray:
        """Return the usages of some rows without some features, len(rows) x k in double precision.

        ``start`` are the usages of the rows with all features; nothing but time depends on it.
        """
        left = self._H.copy()
        left[:, features] = 0
        lost = np.square(left).sum(axis=1) <= LEAST_LEFT * np.square(self._H).sum(axis=1)
        left[lost] = 0
        G = left @ left.T
        taken = self._X[:, features][rows]
        taken = (taken.toarray() if sparse.issparse(taken) else taken).astype(np.float64)
        taken = (taken - self._center[features]) / self._scale[features]
        C = self._C[rows] - taken @ self._H[:, features].T
        offset = self._penalty * np.diag(G) + left @ self._baseline
        W = np.array(start, dtype=np.float64, order="C")
        W[:, lost] = 0
        if lost.any():
            logger.info("%d programs have no loading left without the features: their usages are 0.", int(lost.sum()))
        with threads(n_jobs):
            for_blocks(lambda first, stop: finish_rows(W, C, G, offset, first, stop), len(rows))
        return W
