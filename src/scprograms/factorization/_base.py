"""What all estimators of programs share: usages of new cells, reconstruction, residual."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from ._parallel import threads
from ._prepare import Matrix, prepare
from ._solvers import Loadings, solve_usages

RESIDUAL_ROWS = 1024


def column_variances(W: NDArray) -> NDArray:
    """Return the variance of each column in float64, without a copy of W in that precision."""
    squares = np.einsum("ij,ij->j", W, W, dtype=np.float64) / len(W)
    return np.maximum(squares - W.mean(axis=0, dtype=np.float64) ** 2, 0)


class ProgramEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A fitted ``X ~ center + scale * (baseline + W H)`` with W >= 0, whatever holds for H.

    ``fit_transform`` of a subclass sets ``components_`` (H), ``baseline_``, ``center_``, ``scale_``, ``l1_penalty_``.
    """

    genes_are_disjoint: ClassVar[bool] = False
    """Whether every gene belongs to at most one program."""

    n_jobs: int | None
    components_: NDArray
    baseline_: NDArray
    center_: NDArray
    scale_: NDArray
    l1_penalty_: float

    def fit(self, X: Matrix, y: None = None, **fit_params: Any) -> Self:
        """Fit the model; arguments as in ``fit_transform``."""
        self.fit_transform(X, y, **fit_params)
        return self

    def transform(self, X: Matrix) -> NDArray:
        """Return the usages of the fitted programs in new rows: penalised non-negative least squares, converged."""
        check_is_fitted(self)
        X = self._validated(X, reset=False)
        with threads(self.n_jobs):
            op = prepare(X, self.center_, self.scale_, intercept=False).op
            loadings = Loadings(self.components_.astype(np.float64), self.baseline_, 0.0)
            return solve_usages(op, loadings, penalty=self.l1_penalty_)

    def inverse_transform(self, X: NDArray) -> NDArray:
        """Return ``center + scale * (baseline + W H)`` for usages W; a dense array of n_obs x n_features."""
        check_is_fitted(self)
        modelled = X @ self.components_ + self.baseline_.astype(self.components_.dtype)
        return modelled * self.scale_.astype(modelled.dtype) + self.center_.astype(modelled.dtype)

    def residual(self, X: Matrix, W: NDArray) -> float:
        """Return the L1 residual in percent, ``100 sum|X - model| / sum|X|``, a block of rows at a time."""
        check_is_fitted(self)
        missed, total = 0.0, 0.0
        for start in range(0, X.shape[0], RESIDUAL_ROWS):
            rows = X[start : start + RESIDUAL_ROWS]
            rows = rows.toarray() if sparse.issparse(rows) else np.asarray(rows)
            missed += float(np.abs(rows - self.inverse_transform(W[start : start + RESIDUAL_ROWS])).sum(dtype=float))
            total += float(np.abs(rows).sum(dtype=float))
        return 100 * missed / total

    def _validated(self, X: Matrix, *, reset: bool) -> Matrix:
        X = validate_data(
            self,
            X,
            reset=reset,
            accept_sparse=("csr", "csc"),
            dtype=[np.float64, np.float32],
            accept_large_sparse=True,
        )
        if reset and not (X.data if sparse.issparse(X) else X).any():
            msg = "X has no signal: all of its values are zero."
            raise ValueError(msg)
        return X

    @property
    def _n_features_out(self) -> int:
        return self.components_.shape[0]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
