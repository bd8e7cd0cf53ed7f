"""What all estimators of programs share: usages of new cells, reconstruction, residual."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from scprograms._core.checks import logger
from scprograms._core.operators.dask import DaskOperator
from scprograms._core.operators.dispatch import as_operator
from scprograms._core.operators.prepare import Readable, Source, prepare
from scprograms._core.operators.protocol import DaskArray, is_dask
from scprograms._core.threads import threads

from ._solvers import Loadings, solve_usages

if TYPE_CHECKING:
    from scprograms._core.matrix import Array, FloatArray, Matrix

RESIDUAL_ROWS = 1024
TIE = 1e-3
NO_SIGNAL = "X has no signal: all of its values are zero."


def column_variances(W: FloatArray) -> FloatArray:
    """Return the variance of each column in float64, without a copy of W in that precision."""
    squares: FloatArray = np.einsum("ij,ij->j", W, W, dtype=np.float64) / len(W)
    return np.asarray(np.maximum(squares - W.mean(axis=0, dtype=np.float64) ** 2, 0))


def order_of_programs(variance: FloatArray, H: FloatArray) -> Array:
    """Order of programs by falling variance, with a rule for ties.

    Sorted variances that differ by less than a thousandth are a tie, and so are all that hang together by such steps.
    Within a tie, programs are in the order of the mean position of their genes, weighted by squared loadings.
    """
    order = np.argsort(-variance, kind="stable")
    ranked = variance[order]
    ties = np.concatenate([[0], np.cumsum(ranked[1:] < (1 - TIE) * ranked[:-1])])
    squares = np.square(H[order].astype(np.float64))
    position = squares @ np.arange(H.shape[1]) / np.maximum(squares.sum(axis=1), np.finfo(float).tiny)
    return order[np.lexsort((position, ties))]


class ProgramEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A fitted ``X ~ center + scale * (baseline + W H)`` with W >= 0, whatever holds for H.

    ``fit_transform`` of a subclass sets ``components_`` (H), ``baseline_``, ``center_``, ``scale_``, ``l1_penalty_``.
    """

    genes_are_disjoint: ClassVar[bool] = False
    """Whether every gene belongs to at most one program."""
    chunked_solver: ClassVar[str] = "hals"
    """The solver for dask arrays."""

    n_jobs: int | None
    components_: FloatArray
    baseline_: FloatArray
    center_: FloatArray
    scale_: FloatArray
    l1_penalty_: float

    def fit(self, X: Source, y: None = None, **fit_params: Any) -> Self:
        """Fit the model; arguments as in ``fit_transform``."""
        self.fit_transform(X, y, **fit_params)
        return self

    def transform(self, X: Source) -> FloatArray:
        """Return the usages of the fitted programs in new rows: penalised non-negative least squares, converged."""
        check_is_fitted(self)
        X = self._validated(X, reset=False)
        with threads(self.n_jobs):
            op = prepare(X, self.center_, self.scale_, intercept=False).op
            loadings = Loadings(self.components_.astype(np.float64), self.baseline_, 0.0)
            return solve_usages(op, loadings, penalty=self.l1_penalty_)

    def inverse_transform(self, X: Array) -> FloatArray:
        """Return ``center + scale * (baseline + W H)`` for usages W; a dense array of n_obs x n_features."""
        check_is_fitted(self)
        modelled = X @ self.components_ + self.baseline_.astype(self.components_.dtype)
        return modelled * self.scale_.astype(modelled.dtype) + self.center_.astype(modelled.dtype)

    def residual(self, X: Matrix | DaskArray, W: FloatArray) -> float:
        """Return the L1 residual in percent, ``100 sum|X - model| / sum|X|``, a block of rows at a time."""
        check_is_fitted(self)
        missed, total = 0.0, 0.0
        for start in range(0, X.shape[0], RESIDUAL_ROWS):
            part = X[start : start + RESIDUAL_ROWS]
            rows: Matrix = part.compute() if is_dask(part) else part
            rows = rows.toarray() if sparse.issparse(rows) else np.asarray(rows)
            missed += float(np.abs(rows - self.inverse_transform(W[start : start + RESIDUAL_ROWS])).sum(dtype=float))
            total += float(np.abs(rows).sum(dtype=float))
        return 100 * missed / total

    def _validated(self, X: Source, *, reset: bool, **expected: Any) -> Readable:
        """Return what can be factorized; ``expected`` is what a dask array's first reading should find as well."""
        X = self._wrapped(X)
        if isinstance(X, DaskOperator):
            return self._validated_chunks(X, reset=reset, **expected)
        checked: Matrix = validate_data(
            self,
            X,
            reset=reset,
            accept_sparse=("csr", "csc"),
            dtype=[np.float64, np.float32],
            accept_large_sparse=True,
        )
        if reset and not (checked.data if sparse.issparse(checked) else checked).any():
            msg = NO_SIGNAL
            raise ValueError(msg)
        return checked

    def _wrapped(self, X: Source) -> Readable:
        """Wrap a dask array, which the solvers that need nothing but products can read a chunk at a time."""
        if not is_dask(X) and not isinstance(X, DaskOperator):
            return X
        solver = getattr(self, "solver", self.chunked_solver)
        if solver != self.chunked_solver:
            msg = (
                f"solver={solver!r} needs the matrix in memory, and X is a dask array: pass X.compute(), or use "
                f"solver={self.chunked_solver!r}, which reads it a chunk at a time."
            )
            raise ValueError(msg)
        return as_operator(X)

    def _validated_chunks(self, op: DaskOperator, *, reset: bool, **expected: Any) -> DaskOperator:
        if reset:
            self.n_features_in_ = op.shape[1]
        elif op.shape[1] != self.n_features_in_:
            msg = (
                f"X has {op.shape[1]} features, but {type(self).__name__} is expecting {self.n_features_in_} features "
                "as input."
            )
            raise ValueError(msg)
        op.expect(**expected)
        if (n_empty := op.first().n_empty) and reset:
            logger.warning("%d of %d cells have no expression at all in the fitted genes.", n_empty, op.shape[0])
        if not op.squared_deviations(np.zeros(op.shape[1])).any() and reset:
            msg = NO_SIGNAL
            raise ValueError(msg)
        return op

    @property
    def _n_features_out(self) -> int:
        return int(self.components_.shape[0])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
