"""Cross-validation of the number of programs: hide entries of a matrix, fit the others, predict the hidden ones.

Entries are hidden before anything is fitted or compressed. A compression that has seen them knows their noise, and the
more of it the more directions it keeps: it prefers the largest number of programs, always.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from scprograms._core.operators.centred import CenteredOperator
from scprograms._core.operators.dispatch import as_operator
from scprograms._core.sums import squared_norm
from scprograms._core.svd import Compression, compress
from scprograms._core.threads import for_blocks, jit

from ._nmf_solvers import alternate_non_negative, non_negative_start
from ._onmf_solvers import deal_from_rotation, dealt_out, error_of_usages, unit_columns, unit_loadings
from ._starts import starting_usages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scprograms._core.matrix import Array, FloatArray, Matrix
    from scprograms._core.operators.protocol import MatrixOperator

HIDDEN_SHARE = 0.1
MOST_HIDDEN = 2_000_000
MAX_ITER = 30
TOL = 1e-4
SKETCH_TOL = 1e-4
SPARE = 10


@jit
def _predict(
    rows: Array, columns: Array, W: FloatArray, V: FloatArray, mean: FloatArray, out: FloatArray, start: int, stop: int
) -> None:
    """``out[t] = mean[columns[t]] + W[rows[t]] . V[columns[t]]``."""
    for t in range(start, stop):
        value = mean[columns[t]]
        for c in range(W.shape[1]):
            value += W[rows[t], c] * V[columns[t], c]
        out[t] = value


class MaskedMatrix:
    """A matrix some of whose entries are hidden: they are imputed, and ``truth`` alone still knows them.

    A sparse matrix stores its non-zeros and the hidden entries, so imputation never makes it dense.

    Parameters
    ----------
    X
        Array, CSR or CSC.
    hidden
        Which entries to hide: ``row * n_columns + column``, ascending, each once.
    """

    def __init__(self, X: Matrix, hidden: Array) -> None:
        dtype = as_operator(X[:1]).dtype
        self.shape: tuple[int, int] = X.shape
        self.rows, self.columns = (part.astype(np.int32) for part in np.divmod(hidden, X.shape[1]))
        filled: Matrix
        self._values: Array
        if sparse.issparse(X):
            self.truth, filled, self._at = _union(X, hidden, dtype)
            self._values = filled.data
        else:
            filled = np.array(X, dtype=dtype, order="C")
            self._values, self._at = filled.reshape(-1), hidden
            self.truth = self._values[hidden].astype(np.float64)
        self._values[self._at] = 0
        self._op = as_operator(filled)
        self._norm = squared_norm(self._op)
        n_seen = X.shape[0] - np.bincount(self.columns, minlength=X.shape[1])
        self._mean = self._op.column_sums() / np.maximum(n_seen, 1)

    def impute_means(self) -> None:
        """Fill the hidden entries with the means of the visible ones of their columns."""
        self._values[self._at] = self._mean[self.columns]

    def operator(self, *, intercept: bool) -> tuple[MatrixOperator, FloatArray, float]:
        """Return the filled matrix, centred with an intercept, what was subtracted, and its squared norm."""
        filled = self._values[self._at].astype(np.float64)
        total = self._norm + float(filled @ filled)
        if not intercept:
            return self._op, np.zeros(self.shape[1]), total
        mean = self._op.column_sums() / self.shape[0]
        return CenteredOperator(self._op, mean), mean, total - self.shape[0] * float(mean @ mean)

    def impute(self, W: FloatArray, V: FloatArray, mean: FloatArray) -> float:
        """Fill the hidden entries with those of ``mean + W V'``; return the squared norm of the change."""
        predicted = np.empty(len(self._at))
        factors = np.ascontiguousarray(W), np.ascontiguousarray(V)
        for_blocks(
            lambda a, b: _predict(self.rows, self.columns, *factors, mean, predicted, a, b),
            len(predicted),
            rows_per_block=2**17,
        )
        change = predicted - self._values[self._at]
        self._values[self._at] = predicted
        return float(change @ change)

    def prediction_error(self) -> float:
        """Return the mean squared difference between the hidden entries and what they are imputed with."""
        return float(np.mean(np.square(self.truth - self._values[self._at])))


def _union(X: Matrix, hidden: Array, dtype: np.dtype) -> tuple[Array, sparse.csr_matrix, Array]:
    """Return the hidden values, a CSR matrix that stores non-zeros and hidden entries, and where the latter are."""
    canonical = sparse.csr_matrix(X, dtype=dtype, copy=True)
    canonical.sum_duplicates()
    n_obs, n_vars = X.shape
    rows = np.repeat(np.arange(n_obs, dtype=np.int64), np.diff(canonical.indptr))
    stored = rows * n_vars + canonical.indices
    place = np.searchsorted(stored, hidden)
    found = np.append(stored, -1)[place] == hidden
    truth = np.where(found, np.append(canonical.data, 0)[place], 0).astype(np.float64)
    kept = np.ones(len(stored), dtype=bool)
    kept[place[found]] = False
    entries = np.concatenate([stored[kept], hidden])
    order = np.argsort(entries, kind="stable")
    entries = entries[order]
    values = np.concatenate([canonical.data[kept], np.zeros(len(hidden), dtype=dtype)])[order]
    indptr = np.searchsorted(entries, np.arange(n_obs + 1, dtype=np.int64) * n_vars)
    filled = sparse.csr_matrix((values, entries % n_vars, indptr), shape=X.shape)
    return truth, filled, np.flatnonzero(order >= kept.sum())


def draw_folds(shape: tuple[int, int], n_folds: int, *, rng: np.random.Generator) -> list[Array]:
    """Return disjoint sets of entries to hide, each a tenth of the matrix or two million."""
    n_entries = shape[0] * shape[1]
    size = int(min(HIDDEN_SHARE * n_entries, MOST_HIDDEN, n_entries // (2 * n_folds)))
    if size == 0:
        msg = f"{shape[0]} x {shape[1]} entries are too few for {n_folds} folds: pass cross_validation=False."
        raise ValueError(msg)
    drawn = np.empty(0, dtype=np.int64)
    while len(drawn) < n_folds * size:
        # Sorted here: numpy's own unique() hashes integers, which takes many times as long.
        drawn = np.sort(np.concatenate([drawn, rng.integers(n_entries, size=n_folds * size)]))
        drawn = drawn[np.diff(drawn, prepend=-1) > 0]
    drawn = rng.permutation(drawn)
    return [np.sort(drawn[i * size : (i + 1) * size]) for i in range(n_folds)]


def held_out_errors(
    X: Matrix,
    ranks: list[int],
    hidden: Array,
    *,
    method: str,
    intercept: bool,
    rng: np.random.Generator,
    max_iter: int = MAX_ITER,
    tol: float = TOL,
) -> Iterator[float]:
    """Yield the mean squared error of each rank on the hidden entries, after a fit to all others.

    The fit is weighted least squares (weight 0 for what is hidden) by expectation-maximisation: impute, take one step
    of the fit to the imputed matrix, and again, until the visible entries' squared error changes by less than ``tol``
    of it. For semi-NMF the fit is that of rank k without constraints, whose error semi-NMF attains; for NMF both
    factors stay non-negative, and for orthogonal NMF each gene has one program besides.

    It starts from the means of the columns, and a usage of which little is visible stays near what they give it. That
    matters where programs have few genes: least squares to the end would infer the usage of a program from the faintest
    of its genes in every cell that hides the others.
    """
    masked = MaskedMatrix(X, hidden)
    masked.impute_means()
    op, _, total = masked.operator(intercept=intercept)
    most = max(ranks)
    compression = compress(op, most + SPARE, n_leading=most, total=total, rng=rng, tol=SKETCH_TOL)
    fits: dict[str, Callable[..., None]] = {
        "semi_nmf": partial(fit_low_rank, intercept=intercept),
        "nmf": fit_non_negative,
        "onmf": fit_orthogonal,
    }
    for k in ranks:
        masked.impute_means()
        fits[method](masked, compression, k, max_iter=max_iter, tol=tol)
        yield masked.prediction_error()


def fit_low_rank(
    masked: MaskedMatrix, compression: Compression, k: int, *, intercept: bool, max_iter: int, tol: float
) -> None:
    """Impute by the best fit of rank k to the visible entries."""
    V, previous = compression.V[:, :k], np.inf
    for _ in range(max_iter):
        op, mean, total = masked.operator(intercept=intercept)
        V = np.linalg.qr(op.rmatmul(op.matmul(V)).astype(np.float64))[0].astype(op.dtype)
        W = op.matmul(V)
        loss = total - float(np.einsum("ij,ij->", W, W, dtype=np.float64)) - masked.impute(W, V, mean)
        if previous - loss <= tol * loss:
            return
        previous = loss


def fit_non_negative(masked: MaskedMatrix, compression: Compression, k: int, *, max_iter: int, tol: float) -> None:
    """Impute by a fit of k programs with non-negative usages and loadings; there is no intercept."""
    op, mean, total = masked.operator(intercept=False)
    W = starting_usages("varimax", compression, k, intercept=False, rng=np.random.default_rng(k))
    H = non_negative_start(compression, W, total)
    previous, errors = np.inf, [0.0]
    for _ in range(max_iter):
        _, _, total = masked.operator(intercept=False)
        H, _ = alternate_non_negative(op, W, H, squared_norm=total, max_iter=1, tol=0.0, on_sweep=errors.append)
        loss = errors[-1] ** 2 - masked.impute(W, np.ascontiguousarray(H.T), mean)
        if previous - loss <= tol * loss:
            return
        previous = loss


def fit_orthogonal(masked: MaskedMatrix, compression: Compression, k: int, *, max_iter: int, tol: float) -> None:
    """Impute by a fit of k programs with non-negative usages and loadings, where each gene has one program."""
    op, mean, total = masked.operator(intercept=False)
    Ht = deal_from_rotation(compression, k, squared_norm=total, rng=np.random.default_rng(k), on_round=lambda _: None)
    W, zeros, previous = op.matmul(Ht), np.zeros(op.shape[1]), np.inf
    for _ in range(max_iter):
        squares = op.squared_deviations(zeros)
        Ht = unit_loadings(*dealt_out(op.rmatmul(unit_columns(W)), squares), k)
        W = op.matmul(Ht)
        loss = error_of_usages(float(squares.sum()), W) ** 2 - masked.impute(W, Ht, mean)
        if previous - loss <= tol * loss:
            return
        previous = loss
