"""Genes as the models see them: z-scores by the training cells, and their principal components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, svds

if TYPE_CHECKING:
    from scprograms._core.matrix import Array, Matrix


def moments(X: Matrix) -> tuple[Array, Array]:
    """Return mean and variance (of the population) of each column, in float64.

    Parameters
    ----------
    X
        Cells x genes, array or sparse; sparse matrices stay sparse.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.accessibility.engine import moments
    >>> mean, variance = moments(np.array([[1.0, 0.0], [3.0, 0.0]]))
    >>> mean.tolist(), variance.tolist()
    ([2.0, 0.0], [1.0, 0.0])
    """
    n = X.shape[0]
    if not sparse.issparse(X):
        values = np.asarray(X, dtype=np.float64)
        return values.mean(axis=0), values.var(axis=0)
    X = sparse.csc_array(X)
    X.sum_duplicates()
    data = X.data.astype(np.float64)
    stored = np.diff(X.indptr)
    column = np.repeat(np.arange(X.shape[1]), stored)
    mean = np.bincount(column, weights=data, minlength=X.shape[1]) / n
    # Centred before squaring: E[x^2] - E[x]^2 loses genes of high expression and low variance.
    around = np.bincount(column, weights=(data - mean[column]) ** 2, minlength=X.shape[1])
    return mean, (around + (n - stored) * mean**2) / n


def most_variable(variance: Array, n: int) -> Array:
    """Return the indices, ascending, of the ``n`` columns of the largest variance; never of those without any.

    Parameters
    ----------
    variance
        Of each column.
    n
        How many columns, at most.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.accessibility.engine import most_variable
    >>> most_variable(np.array([0.1, 5.0, 0.0, 2.0]), 2).tolist()
    [1, 3]
    """
    order = np.argsort(-variance, kind="stable")[:n]
    return np.sort(order[variance[order] > 0])


@dataclass(frozen=True)
class GeneScaler:
    """Z-scores by the mean and standard deviation of the training cells; the matrix stays sparse.

    A z-score above ``max_value`` is lowered to it, so that a gene that few training cells express cannot decide alone.
    """

    mean: Array
    sd: Array
    weight: Array
    """What a z-score is multiplied by: 1, or more for genes near a target peak."""
    max_value: float

    @classmethod
    def fit(cls, X: Matrix, *, max_value: float, weight: Array | None = None) -> GeneScaler:
        """Take mean and standard deviation from these cells; a gene that does not vary gets z-scores of 0."""
        mean, variance = moments(X)
        sd = np.sqrt(variance)
        flat = sd <= 1e-6 * np.abs(mean)
        one = np.ones(len(mean)) if weight is None else np.asarray(weight, dtype=np.float64)
        return cls(mean, np.where(flat, 1.0, sd), np.where(flat, 0.0, one), float(max_value))

    def clip(self, X: Matrix) -> Matrix:
        """Return the cells as float32 CSR or array, with values above the largest z-score lowered."""
        top = (self.mean + self.max_value * self.sd).astype(np.float32)
        if not sparse.issparse(X):
            return np.asarray(np.minimum(np.asarray(X, dtype=np.float32), top))
        # The stubs know no dtype beside a sparse matrix.
        found: sparse.csr_array = sparse.csr_array(X, dtype=np.float32, copy=True)  # type: ignore[call-overload]
        found.data = np.minimum(found.data, top[found.indices])
        return found

    def rows(self, clipped: Matrix, rows: Array | slice) -> Array:
        """Return z-scores of some cells, dense, float32."""
        part = clipped[rows]
        values = part.toarray() if sparse.issparse(part) else part
        return np.asarray((values - self.mean.astype(np.float32)) * (self.weight / self.sd).astype(np.float32))

    def times(self, clipped: Matrix, V: Array) -> Array:
        """Return the z-scores of all cells times a matrix, without making them dense."""
        scaled = V * (self.weight / self.sd)[:, None]
        return np.asarray(clipped @ scaled) - self.mean @ scaled

    def times_transposed(self, clipped: Matrix, U: Array) -> Array:
        """Return the transposed z-scores of all cells times a matrix."""
        raw = np.asarray(clipped.T @ U) - np.outer(self.mean, U.sum(axis=0))
        return np.asarray(raw * (self.weight / self.sd)[:, None])


def principal_axes(scaler: GeneScaler, clipped: Matrix, n: int) -> Array:
    """Return the right singular vectors of the z-scores, genes x at most ``n``, the largest first."""
    shape = clipped.shape
    n = min(n, min(shape) - 1)

    def column(v: Array) -> Array:
        return np.reshape(v, (-1, 1))

    operator = LinearOperator(
        shape,
        matvec=lambda v: scaler.times(clipped, column(v)).ravel(),
        rmatvec=lambda u: scaler.times_transposed(clipped, column(u)).ravel(),
        matmat=lambda V: scaler.times(clipped, V),
        rmatmat=lambda U: scaler.times_transposed(clipped, U),
        dtype=np.float64,
    )
    start = np.random.default_rng(0).standard_normal(min(shape))
    _, size, axes = svds(operator, k=n, v0=start)
    order = np.argsort(-size)
    axes = axes[order][size[order] > 1e-8 * size.max(initial=1e-300)]
    # The sign of an axis is arbitrary: the largest entry is positive on every platform.
    sign = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    return np.asarray((axes * sign[:, None]).T)
