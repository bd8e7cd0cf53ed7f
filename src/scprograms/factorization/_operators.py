"""Operators on what is in memory: arrays, compressed matrices, and matrices that are known by their parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ._kernels import column_deviations, column_sums, gather_rows, row_deviations, scatter_rows
from ._parallel import ROWS_PER_BLOCK, for_blocks, map_blocks
from ._protocol import MatrixOperator, RowUpdate, TwoProducts, is_dask

CACHED_ROWS = 1024
"""Of so many rows at a time copies in float64 are made: those of more leave the cache."""
EXACT_COLUMNS = 512
"""Of so few columns, products with the transpose are taken in float64 throughout."""


def as_operator(X: Any) -> MatrixOperator:
    """Wrap a matrix, and leave an operator as it is."""
    if is_dask(X):
        from ._dask import DaskOperator

        return DaskOperator(X)
    return in_memory(X) if sparse.issparse(X) or isinstance(X, np.ndarray) else X


def in_memory(X: Any) -> DenseOperator | CompressedOperator:
    """Wrap an array or sparse matrix; float32 and float64 stay, float16 becomes float32 and all else float64."""
    dtype = X.dtype if X.dtype in (np.float32, np.float64) else np.dtype(np.float32 if X.dtype == np.float16 else float)
    if sparse.issparse(X):
        compressed = X if X.format in ("csr", "csc") else X.tocsr()
        return CompressedOperator(compressed.astype(dtype, copy=False))
    return DenseOperator(np.asarray(X, dtype=dtype))


class DenseOperator(TwoProducts):
    """A numpy array, or some rows of it."""

    def __init__(self, X: NDArray, rows: NDArray | None = None) -> None:
        self._X, self._rows = X, rows
        self.shape: tuple[int, int] = (len(X) if rows is None else len(rows), X.shape[1])
        self.dtype = X.dtype

    def rows(self, rows: NDArray) -> DenseOperator:
        """Return some rows of the matrix as an operator; blocks of them are copied one at a time."""
        return DenseOperator(self._X, rows)

    def matrix(self) -> Any:
        """Return the rows themselves."""
        return self._X if self._rows is None else self._X[self._rows]

    def _block(self, start: int, stop: int) -> NDArray:
        return self._X[slice(start, stop) if self._rows is None else self._rows[start:stop]]

    def matmul(self, B: NDArray) -> NDArray:
        B = np.ascontiguousarray(B, dtype=self.dtype)
        out = np.empty((self.shape[0], B.shape[1]), dtype=self.dtype)

        def block(start: int, stop: int) -> None:
            np.matmul(self._block(start, stop), B, out=out[start:stop])

        for_blocks(block, self.shape[0])
        return out

    def rmatmul(self, A: NDArray) -> NDArray:
        dtype = np.dtype(float) if self.shape[1] <= EXACT_COLUMNS else self.dtype
        A = np.asarray(A, dtype=self.dtype)

        def block(start: int, stop: int) -> NDArray:
            return self._block(start, stop).astype(dtype, copy=False).T @ A[start:stop].astype(dtype, copy=False)

        product = sum_in_order(map_blocks(block, self.shape[0]), np.zeros((self.shape[1], A.shape[1])))
        return product.astype(self.dtype, copy=False)

    def column_sums(self) -> NDArray:
        blocks = map_blocks(lambda start, stop: self._block(start, stop).sum(axis=0, dtype=np.float64), self.shape[0])
        return sum_in_order(blocks, np.zeros(self.shape[1]))

    def squared_deviations(self, center: NDArray) -> NDArray:
        def block(start: int, stop: int) -> NDArray:
            deviations = self._block(start, stop).astype(np.float64) - center
            return np.einsum("ij,ij->j", deviations, deviations)

        return sum_in_order(map_blocks(block, self.shape[0]), np.zeros(self.shape[1]))


class SketchOperator(DenseOperator):
    """A sketch: products with the transpose of its few columns are, and stay, in float64."""

    def rmatmul(self, A: NDArray) -> NDArray:
        return sum_of_products(self._X, A)


class CompressedOperator(TwoProducts):
    """A CSR or CSC matrix or array, with canonical entries or not, or some rows of a canonical CSR matrix.

    A CSC matrix is its transpose in CSR, so two kernels serve both: one gathers rows, one scatters them. No transpose
    is ever stored.
    """

    def __init__(self, X: sparse.spmatrix | sparse.sparray, rows: NDArray | None = None) -> None:
        self._by_row, self._rows = X.format == "csr", rows
        self._point_to(X, rows)
        self.shape: tuple[int, int] = X.shape if rows is None else (len(rows), X.shape[1])
        self.dtype = X.dtype

    def rows(self, rows: NDArray) -> CompressedOperator:
        """Return some rows of the matrix as an operator; only those of CSC, or with duplicate entries, are copied."""
        if self._by_row and self._X.has_canonical_format:
            return CompressedOperator(self._X, rows)
        return CompressedOperator(self._X.tocsr()[rows])

    def matrix(self) -> Any:
        """Return the rows themselves."""
        return self._X if self._rows is None else self._X[self._rows]

    def _point_to(self, X: sparse.spmatrix | sparse.sparray, rows: NDArray | None) -> None:
        self._X, self._indices, self._data = X, X.indices, X.data
        self._begins = X.indptr[:-1] if rows is None else X.indptr[rows]
        self._ends = X.indptr[1:] if rows is None else X.indptr[rows + 1]

    def matmul(self, B: NDArray) -> NDArray:
        return (self._gather if self._by_row else self._scatter)(B, self.shape[0])

    def rmatmul(self, A: NDArray) -> NDArray:
        return (self._scatter if self._by_row else self._gather)(A, self.shape[1])

    def _gather(self, dense: NDArray, n_out: int) -> NDArray:
        dense = np.ascontiguousarray(dense, dtype=self.dtype)
        out = np.empty((n_out, dense.shape[1]), dtype=self.dtype)
        for_blocks(
            lambda start, stop: gather_rows(
                self._begins, self._ends, self._indices, self._data, dense, out, start, stop
            ),
            n_out,
        )
        return out

    def _scatter(self, dense: NDArray, n_out: int) -> NDArray:
        dense = np.ascontiguousarray(dense, dtype=self.dtype)
        n_rows, k = dense.shape

        def block(start: int, stop: int) -> NDArray:
            part = np.zeros((n_out, k), dtype=self.dtype)
            scatter_rows(self._begins, self._ends, self._indices, self._data, dense, part, start, stop)
            return part

        # Each block needs an output of its own: few blocks where the output is large against the input.
        n_entries = int((self._ends - self._begins).sum(dtype=np.int64))
        rows = max(ROWS_PER_BLOCK, -(-n_rows // max(1, n_entries // max(1, 4 * n_out))))
        parts = map_blocks(block, n_rows, rows_per_block=rows)
        if n_rows <= rows:
            return next(iter(parts), np.zeros((n_out, k), dtype=self.dtype))
        return sum_in_order(parts, np.zeros((n_out, k))).astype(self.dtype)

    def column_sums(self) -> NDArray:
        if not self._by_row:
            return np.add.reduceat(np.append(self._data.astype(np.float64), 0.0), self._begins) * (
                self._ends > self._begins
            )
        sums = np.zeros(self.shape[1])
        column_sums(self._begins, self._ends, self._indices, self._data, sums)
        return sums

    def squared_deviations(self, center: NDArray) -> NDArray:
        if not self._X.has_canonical_format:  # duplicates add up in every product; only squares need them merged first
            merged = self._X.copy()
            merged.sum_duplicates()
            self._point_to(merged, None)
        center = np.broadcast_to(np.asarray(center, dtype=np.float64), self.shape[1:]).copy()
        squares, counts = np.zeros(self.shape[1]), np.zeros(self.shape[1], dtype=np.int64)
        if self._by_row:
            column_deviations(
                self._begins, self._ends, self._indices, self._data, center, squares, counts, 0, self.shape[0]
            )
        else:
            row_deviations(self._begins, self._ends, self._data, center, squares, counts, 0, self.shape[1])
        return squares + (self.shape[0] - counts) * center**2


class CenteredOperator(TwoProducts):
    """``(X - 1 center') diag(1/scale)`` of another operator, without forming it."""

    def __init__(self, base: MatrixOperator, center: NDArray, scale: NDArray | None = None) -> None:
        self._base = base
        self._center = np.asarray(center, dtype=np.float64)
        self._scale = np.ones(base.shape[1]) if scale is None else np.asarray(scale, dtype=np.float64)
        self.shape = base.shape
        self.dtype = base.dtype
        self.one_pass = base.one_pass

    def matmul(self, B: NDArray) -> NDArray:
        B = B / self._scale[:, None]
        out = self._base.matmul(B)
        out -= (self._center @ B).astype(self.dtype)
        return out

    def rmatmul(self, A: NDArray) -> NDArray:
        return self._centered(self._base.rmatmul(A), A.sum(axis=0, dtype=np.float64))

    def _centered(self, product: NDArray, sums: NDArray) -> NDArray:
        """Return the product with the transpose from that of the base, and the sums of the columns of the factor."""
        out = product.astype(np.float64)
        out -= np.outer(self._center, sums)
        out /= self._scale[:, None]
        return out.astype(self.dtype)

    def cross(self, B: NDArray) -> tuple[NDArray, Callable[[], NDArray]]:
        if not self.one_pass:
            return super().cross(B)
        B = B / self._scale[:, None]
        product, back = self._base.cross(B)
        shift = self._center @ B
        product -= shift.astype(self.dtype)

        def centered_back() -> NDArray:
            of_base = back().astype(np.float64) - np.outer(self._base.column_sums(), shift)
            return self._centered(of_base, product.sum(axis=0, dtype=np.float64))

        return product, centered_back

    def through(self, B: NDArray, W: NDArray, update: RowUpdate) -> NDArray:
        if not self.one_pass:
            return super().through(B, W, update)
        B = B / self._scale[:, None]
        of_base = self._base.through(B, W, Shifted(update, (self._center @ B).astype(self.dtype)))
        return self._centered(of_base, W.sum(axis=0, dtype=np.float64))

    def gram(self) -> NDArray | None:
        gram = self._base.gram()
        if gram is None:
            return None
        crossed = np.outer(self._base.column_sums() - self.shape[0] * self._center, self._center)
        gram = gram - crossed - np.outer(self._center, self._base.column_sums())
        gram /= self._scale[:, None]
        gram /= self._scale
        return gram

    def column_sums(self) -> NDArray:
        return (self._base.column_sums() - self.shape[0] * self._center) / self._scale

    def squared_deviations(self, center: NDArray) -> NDArray:
        return self._base.squared_deviations(self._center + center * self._scale) / self._scale**2


@dataclass(frozen=True)
class Shifted:
    """An update of rows from ``X B`` less a row."""

    update: RowUpdate
    shift: NDArray

    def __call__(self, C: NDArray, W: NDArray) -> None:
        C -= self.shift
        self.update(C, W)


class LowRankOperator(TwoProducts):
    """``Y V'``: a matrix known by its compression."""

    def __init__(self, Y: NDArray, V: NDArray) -> None:
        self._Y, self._V, self._gram = DenseOperator(Y), V, sum_of_products(Y, Y)
        self.shape: tuple[int, int] = (Y.shape[0], V.shape[0])
        self.dtype = Y.dtype

    def matmul(self, B: NDArray) -> NDArray:
        return self._Y.matmul(self._V.T @ np.asarray(B, dtype=self.dtype))

    def rmatmul(self, A: NDArray) -> NDArray:
        return self._V @ self._Y.rmatmul(A)

    def column_sums(self) -> NDArray:
        return self._V @ self._Y.column_sums()

    def squared_deviations(self, center: NDArray) -> NDArray:
        squares = np.einsum("ij,jk,ik->i", self._V, self._gram, self._V)
        return squares - 2 * center * self.column_sums() + self.shape[0] * np.square(center)


def sum_in_order(parts: Iterable[NDArray], total: NDArray) -> NDArray:
    """Add up arrays in float64, in their order: the sum does not depend on who finished first."""
    for part in parts:
        total += part
    return total


def sum_of_products(A: NDArray, B: NDArray) -> NDArray:
    """``A.T @ B`` in float64: errors of fits are small differences of such sums."""

    def block(start: int, stop: int) -> NDArray:
        total = np.zeros((A.shape[1], B.shape[1]))
        for first in range(start, stop, CACHED_ROWS):
            rows = slice(first, min(first + CACHED_ROWS, stop))
            left = A[rows].astype(np.float64)
            total += left.T @ (left if B is A else B[rows].astype(np.float64))
        return total

    return sum_in_order(map_blocks(block, A.shape[0]), np.zeros((A.shape[1], B.shape[1])))


def squared_norm(op: MatrixOperator) -> float:
    """Return ``||X||_F^2``."""
    return float(op.squared_deviations(np.zeros(op.shape[1])).sum())
