"""Operators on what is in memory: arrays, compressed matrices, and matrices that are known by their parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from scprograms._core.kernels import column_deviations, column_sums, gather_rows, row_deviations, scatter_rows
from scprograms._core.sums import sum_in_order, sum_of_products
from scprograms._core.threads import ROWS_PER_BLOCK, for_blocks, map_blocks

from .protocol import TwoProducts

if TYPE_CHECKING:
    from scprograms._core.matrix import AnySparse, Array, FloatArray, SparseMatrix
EXACT_COLUMNS = 512
"""Of so few columns, products with the transpose are taken in float64 throughout."""


def in_memory(X: Array | AnySparse) -> DenseOperator | CompressedOperator:
    """Wrap an array or sparse matrix; float32 and float64 stay, float16 becomes float32 and all else float64."""
    dtype = X.dtype if X.dtype in (np.float32, np.float64) else np.dtype(np.float32 if X.dtype == np.float16 else float)
    if sparse.issparse(X):
        compressed: SparseMatrix = X if X.format in ("csr", "csc") else X.tocsr()
        return CompressedOperator(compressed.astype(dtype, copy=False))
    return DenseOperator(np.asarray(X, dtype=dtype))


class DenseOperator(TwoProducts):
    """A numpy array, or some rows of it."""

    def __init__(self, X: FloatArray, rows: Array | None = None) -> None:
        self._X, self._rows = X, rows
        self.shape: tuple[int, int] = (len(X) if rows is None else len(rows), X.shape[1])
        self.dtype = X.dtype

    def rows(self, rows: Array) -> DenseOperator:
        """Return some rows of the matrix as an operator; blocks of them are copied one at a time."""
        return DenseOperator(self._X, rows)

    def matrix(self) -> FloatArray:
        """Return the rows themselves."""
        return self._X if self._rows is None else self._X[self._rows]

    def _block(self, start: int, stop: int) -> FloatArray:
        return self._X[slice(start, stop) if self._rows is None else self._rows[start:stop]]

    def matmul(self, B: FloatArray) -> FloatArray:
        B = np.ascontiguousarray(B, dtype=self.dtype)
        out = np.empty((self.shape[0], B.shape[1]), dtype=self.dtype)

        def block(start: int, stop: int) -> None:
            np.matmul(self._block(start, stop), B, out=out[start:stop])

        for_blocks(block, self.shape[0])
        return out

    def rmatmul(self, A: FloatArray) -> FloatArray:
        dtype = np.dtype(float) if self.shape[1] <= EXACT_COLUMNS else self.dtype
        A = np.asarray(A, dtype=self.dtype)

        def block(start: int, stop: int) -> Array:
            return self._block(start, stop).astype(dtype, copy=False).T @ A[start:stop].astype(dtype, copy=False)

        product = sum_in_order(map_blocks(block, self.shape[0]), np.zeros((self.shape[1], A.shape[1])))
        return product.astype(self.dtype, copy=False)

    def column_sums(self) -> FloatArray:
        blocks = map_blocks(lambda start, stop: self._block(start, stop).sum(axis=0, dtype=np.float64), self.shape[0])
        return sum_in_order(blocks, np.zeros(self.shape[1]))

    def squared_deviations(self, center: FloatArray) -> FloatArray:
        def block(start: int, stop: int) -> FloatArray:
            deviations = self._block(start, stop).astype(np.float64) - center
            squares: FloatArray = np.einsum("ij,ij->j", deviations, deviations)
            return squares

        return sum_in_order(map_blocks(block, self.shape[0]), np.zeros(self.shape[1]))


class SketchOperator(DenseOperator):
    """A sketch: products with the transpose of its few columns are, and stay, in float64."""

    def rmatmul(self, A: FloatArray) -> FloatArray:
        return sum_of_products(self._X, A)


class CompressedOperator(TwoProducts):
    """A CSR or CSC matrix or array, with canonical entries or not, or some rows of a canonical CSR matrix.

    A CSC matrix is its transpose in CSR, so two kernels serve both: one gathers rows, one scatters them. No transpose
    is ever stored.
    """

    def __init__(self, X: SparseMatrix, rows: Array | None = None) -> None:
        self._by_row, self._rows = X.format == "csr", rows
        self._point_to(X, rows)
        self.shape: tuple[int, int] = X.shape if rows is None else (len(rows), X.shape[1])
        self.dtype = X.dtype

    def rows(self, rows: Array) -> CompressedOperator:
        """Return some rows of the matrix as an operator; only those of CSC, or with duplicate entries, are copied."""
        if self._by_row and self._X.has_canonical_format:
            return CompressedOperator(self._X, rows)
        return CompressedOperator(self._X.tocsr()[rows])

    def matrix(self) -> SparseMatrix:
        """Return the rows themselves."""
        return self._X if self._rows is None else self._X[self._rows]

    def _point_to(self, X: SparseMatrix, rows: Array | None) -> None:
        self._X, self._indices, self._data = X, X.indices, X.data
        self._begins = X.indptr[:-1] if rows is None else X.indptr[rows]
        self._ends = X.indptr[1:] if rows is None else X.indptr[rows + 1]

    def matmul(self, B: FloatArray) -> FloatArray:
        return (self._gather if self._by_row else self._scatter)(B, self.shape[0])

    def rmatmul(self, A: FloatArray) -> FloatArray:
        return (self._scatter if self._by_row else self._gather)(A, self.shape[1])

    def _gather(self, dense: FloatArray, n_out: int) -> FloatArray:
        dense = np.ascontiguousarray(dense, dtype=self.dtype)
        out = np.empty((n_out, dense.shape[1]), dtype=self.dtype)
        for_blocks(
            lambda start, stop: gather_rows(
                self._begins, self._ends, self._indices, self._data, dense, out, start, stop
            ),
            n_out,
        )
        return out

    def _scatter(self, dense: FloatArray, n_out: int) -> FloatArray:
        dense = np.ascontiguousarray(dense, dtype=self.dtype)
        n_rows, k = dense.shape

        def block(start: int, stop: int) -> FloatArray:
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

    def column_sums(self) -> FloatArray:
        if not self._by_row:
            return np.add.reduceat(np.append(self._data.astype(np.float64), 0.0), self._begins) * (
                self._ends > self._begins
            )
        sums = np.zeros(self.shape[1])
        column_sums(self._begins, self._ends, self._indices, self._data, sums)
        return sums

    def squared_deviations(self, center: FloatArray) -> FloatArray:
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


class LowRankOperator(TwoProducts):
    """``Y V'``: a matrix known by its compression."""

    def __init__(self, Y: FloatArray, V: FloatArray) -> None:
        self._Y, self._V, self._gram = DenseOperator(Y), V, sum_of_products(Y, Y)
        self.shape: tuple[int, int] = (Y.shape[0], V.shape[0])
        self.dtype = Y.dtype

    def matmul(self, B: FloatArray) -> FloatArray:
        return self._Y.matmul(self._V.T @ np.asarray(B, dtype=self.dtype))

    def rmatmul(self, A: FloatArray) -> FloatArray:
        return self._V @ self._Y.rmatmul(A)

    def column_sums(self) -> FloatArray:
        return self._V @ self._Y.column_sums()

    def squared_deviations(self, center: FloatArray) -> FloatArray:
        squares: FloatArray = np.einsum("ij,jk,ik->i", self._V, self._gram, self._V)
        squared_center: FloatArray = np.square(center)
        return squares - 2 * center * self.column_sums() + self.shape[0] * squared_center
