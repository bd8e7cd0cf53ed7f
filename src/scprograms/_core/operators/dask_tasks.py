"""What is done with one chunk of a dask array, and how results of chunks are put together.

Tasks run wherever the user's scheduler puts them, one thread each. They get the blocks of a chunk (several where the
columns are chunked as well), and what they return is as large as a few columns, or as n_vars x n_vars for ``X'X``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from scipy import sparse

from scprograms._core.kernels import add_gram
from scprograms._core.matrix import AnySparse, Array, FloatArray

from .in_memory import CompressedOperator, DenseOperator, in_memory

if TYPE_CHECKING:
    from .protocol import RowUpdate

DENSE_ROWS = 2048
DENSE_GRAM_COST = 0.009
SPARSE_GRAM_COST = 2.0
SCATTERED_GRAM_COST = 15.0
"""Nanoseconds per multiplication, measured; the last where ``X' X`` is larger than a cache."""
CACHED_COLUMNS = 3000


Block: TypeAlias = Array | AnySparse
"""What a dask array holds of a chunk, or of some of its columns."""


class Chunk(NamedTuple):
    """Which rows a chunk holds, and which of them are asked for (None means all)."""

    number: int
    start: int
    stop: int
    rows: Array | None = None

    def __str__(self) -> str:
        return f"chunk {self.number} (rows {self.start} to {self.stop - 1})"


Task = Callable[[DenseOperator | CompressedOperator, Chunk, Any], tuple[Any, Any]]
"""From a chunk and its rows of W to rows of a result, and what is reduced over the chunks."""


def run_task(task: Task, dtype: np.dtype, n_vars: int, chunk: Chunk, blocks: list[Any], W: FloatArray | None) -> Any:
    """Run a task on a chunk; what goes wrong is told with the chunk's name."""
    try:
        return task(_operator(blocks, dtype, n_vars, chunk), chunk, W)
    except Exception as error:
        error.add_note(f"In {chunk} of the dask array.")
        raise


def _operator(blocks: list[Any], dtype: np.dtype, n_vars: int, chunk: Chunk) -> DenseOperator | CompressedOperator:
    for block in blocks:
        if not (sparse.issparse(block) or isinstance(block, np.ndarray)) or isinstance(block, np.ma.MaskedArray):
            msg = f"A block is a {type(block).__name__}; blocks are numpy arrays or scipy sparse matrices."
            raise TypeError(msg)
    X = blocks[0]
    if len(blocks) > 1:
        X = sparse.hstack(blocks, format="csr") if any(map(sparse.issparse, blocks)) else np.hstack(blocks)
    if X.shape != (chunk.stop - chunk.start, n_vars):
        msg = f"It has shape {X.shape}, but {(chunk.stop - chunk.start, n_vars)} was announced: is the store truncated?"
        raise ValueError(msg)
    op = in_memory(X.astype(dtype, copy=False))
    return op if chunk.rows is None else op.rows(chunk.rows)


@dataclass(frozen=True)
class Moments:
    """Number of rows, and mean and sum of squared deviations from it of each column."""

    n: int
    mean: FloatArray
    deviations: FloatArray

    @classmethod
    def of(cls, op: DenseOperator | CompressedOperator) -> Moments:
        """Compute them."""
        n = op.shape[0]
        mean = op.column_sums() / max(n, 1)
        return cls(n, mean, op.squared_deviations(mean))

    def plus(self, other: Moments) -> Moments:
        """Put together those of different rows [1]_.

        References
        ----------
        .. [1] Chan, Golub & LeVeque (1983), The American Statistician 37:242,
           https://doi.org/10.1080/00031305.1983.10483115
        """
        n, between = self.n + other.n, other.mean - self.mean
        share = other.n / max(n, 1)
        return Moments(
            n,
            self.mean + between * share,
            self.deviations + other.deviations + np.square(between) * (self.n * share),
        )


class NotFinite(NamedTuple):
    """What is wrong with the values of a chunk."""

    chunk: Chunk
    n_nan: int
    n_infinite: int
    first_row: int


@dataclass(frozen=True)
class Statistics:
    """What the first reading finds out."""

    moments: Moments
    lowest: float
    n_negative: int
    n_values: int
    """Stored values, of a sparse matrix."""
    n_empty: int
    """Rows without any value but 0."""
    not_finite: list[NotFinite]
    of_rows: Moments | None = None
    gram: FloatArray | None = None
    product: FloatArray | None = None
    """``X' (X B)`` for the first basis B."""

    def plus(self, other: Statistics) -> Statistics:
        """Put together those of different rows."""
        return Statistics(
            moments=self.moments.plus(other.moments),
            lowest=min(self.lowest, other.lowest),
            n_negative=self.n_negative + other.n_negative,
            n_values=self.n_values + other.n_values,
            n_empty=self.n_empty + other.n_empty,
            not_finite=self.not_finite + other.not_finite,
            of_rows=_either(self.of_rows, other.of_rows, Moments.plus),
            gram=_either(self.gram, other.gram, np.add),
            product=_either(self.product, other.product, np.add),
        )


def _either(a: Any, b: Any, both: Callable[[Any, Any], Any]) -> Any:
    return b if a is None else a if b is None else both(a, b)


@dataclass(frozen=True)
class FirstReading:
    """Statistics of a chunk; with a basis B also ``X B`` and ``X' (X B)``, or else ``X' X`` where asked."""

    basis: FloatArray | None = None
    with_gram: bool = False

    def __call__(
        self, op: DenseOperator | CompressedOperator, chunk: Chunk, among: Array | None
    ) -> tuple[FloatArray | None, Statistics]:
        """``among`` is a mask of rows whose moments are wanted on their own."""
        values, n_empty = values_of(op)
        not_finite, (n, n_vars) = _not_finite(op, values, chunk), op.shape
        found = Statistics(
            moments=Moments(n, np.zeros(n_vars), np.zeros(n_vars)) if not_finite else Moments.of(op),
            lowest=float(values.min(initial=0)),
            n_negative=int((values < 0).sum()),
            n_values=values.size,
            n_empty=n_empty,
            not_finite=not_finite,
        )
        if not_finite:  # there is going to be an error
            return None if self.basis is None else np.zeros((n, self.basis.shape[1]), dtype=self.basis.dtype), found
        if among is not None and among.any():
            found = replace(found, of_rows=Moments.of(op.rows(np.flatnonzero(among))))
        if self.with_gram:
            found = replace(found, gram=gram_of(op))
        if self.basis is None:
            return None, found
        product = op.matmul(self.basis)
        return product, replace(found, product=op.rmatmul(product).astype(np.float64))


def values_of(op: DenseOperator | CompressedOperator) -> tuple[Array, int]:
    """Return the (stored) values of a chunk, and how many of its rows have none but 0."""
    X = op.matrix()
    if not sparse.issparse(X):
        return X, int(np.sum(~X.any(axis=1)))
    stored = type(X)((X.data != 0, X.indices, X.indptr), shape=X.shape)
    return X.data, int(np.sum(stored @ np.ones(X.shape[1]) == 0))


def _not_finite(op: DenseOperator | CompressedOperator, values: Array, chunk: Chunk) -> list[NotFinite]:
    if np.isfinite(values).all():
        return []
    X = op.matrix()
    if sparse.issparse(X):
        entries = X.tocoo()
        rows: Array = entries.coords[0][~np.isfinite(entries.data)]
    else:
        rows = np.flatnonzero(~np.isfinite(X).all(axis=1))
    first = int(rows.min() if chunk.rows is None else chunk.rows[rows.min()])
    bare = chunk._replace(rows=None)
    return [NotFinite(bare, int(np.isnan(values).sum()), int(np.isinf(values).sum()), chunk.start + first)]


def gram_cost(density: float, n_vars: int, *, is_sparse: bool) -> tuple[float, bool]:
    """Return the nanoseconds that ``X' X`` takes per row, and whether through a dense block rather than its entries."""
    dense = DENSE_GRAM_COST * n_vars**2
    per_pair = SPARSE_GRAM_COST if n_vars <= CACHED_COLUMNS else SCATTERED_GRAM_COST
    by_entries = per_pair * (density * n_vars) ** 2 / 2
    return (by_entries, False) if is_sparse and by_entries < dense else (dense, True)


def gram_of(op: DenseOperator | CompressedOperator) -> FloatArray:
    """Return ``X' X`` in float64; a sparse chunk is multiplied entry by entry, or a few rows at a time as an array."""
    X = op.matrix()
    n_vars = X.shape[1]
    total = np.zeros((n_vars, n_vars))
    if sparse.issparse(X):
        X = X.tocsr()
        if not gram_cost(X.nnz / max(X.shape[0] * n_vars, 1), n_vars, is_sparse=True)[1]:
            if not X.has_canonical_format:
                X = X.copy()
                X.sum_duplicates()
            add_gram(X.indptr, X.indices, X.data, total)  # above the diagonal, since the columns of a row ascend
            total += np.triu(total, 1).T
            return total
    for start in range(0, X.shape[0], DENSE_ROWS):
        rows = X[start : start + DENSE_ROWS]
        rows = rows.toarray() if sparse.issparse(rows) else rows
        total += rows.T @ rows
    return total


@dataclass(frozen=True)
class Product:
    """``X B``."""

    B: FloatArray

    def __call__(self, op: DenseOperator | CompressedOperator, chunk: Chunk, W: None) -> tuple[FloatArray, None]:  # noqa: ARG002
        return op.matmul(self.B), None


@dataclass(frozen=True)
class TransposedProduct:
    """``X' A``."""

    def __call__(self, op: DenseOperator | CompressedOperator, chunk: Chunk, A: FloatArray) -> tuple[None, FloatArray]:  # noqa: ARG002
        return None, op.rmatmul(A).astype(np.float64)


@dataclass(frozen=True)
class Cross:
    """``X B`` and ``X' (X B)``."""

    B: FloatArray

    def __call__(self, op: DenseOperator | CompressedOperator, chunk: Chunk, W: None) -> tuple[FloatArray, FloatArray]:  # noqa: ARG002
        product = op.matmul(self.B)
        return product, op.rmatmul(product).astype(np.float64)


@dataclass(frozen=True)
class Through:
    """Rows of W updated from those of ``X B``, and ``X' W``."""

    B: FloatArray
    update: RowUpdate

    def __call__(
        self,
        op: DenseOperator | CompressedOperator,
        chunk: Chunk,  # noqa: ARG002
        W: FloatArray,
    ) -> tuple[FloatArray, FloatArray]:
        W = np.array(W, order="C")
        self.update(op.matmul(self.B), W)
        return W, op.rmatmul(W).astype(np.float64)


@dataclass(frozen=True)
class Rows:
    """The rows themselves."""

    def __call__(self, op: DenseOperator | CompressedOperator, chunk: Chunk, W: None) -> tuple[None, Any]:  # noqa: ARG002
        return None, op.matrix()


def add_up(parts: list[Any]) -> Any:
    """Put parts together in their order; there may be nothing to put together."""
    total = parts[0]
    for part in parts[1:]:
        if total is not None:
            total = total.plus(part) if isinstance(total, Statistics) else total + part
    return total


def look_at(blocks: list[Block]) -> None:
    """Load a chunk and leave it: what fails is reading it."""


def shapes_of(blocks: list[Block]) -> list[tuple[int, int]]:
    """Return the shapes of blocks."""
    return [block.shape for block in blocks]


class Density(NamedTuple):
    """What a look at one chunk tells of all."""

    dtype: np.dtype
    is_sparse: bool
    share: float
    """Share of the entries that are stored."""


def density_of(blocks: list[Block]) -> Density:
    """Look at a chunk."""
    n_values = sum(block.data.size if sparse.issparse(block) else block.size for block in blocks)
    n_entries = sum(block.shape[0] * block.shape[1] for block in blocks)
    dtype = np.result_type(*(block.dtype for block in blocks))
    return Density(dtype, any(map(sparse.issparse, blocks)), n_values / max(n_entries, 1))
