"""Matrix access: the few products through which the engine sees its data, whatever holds them.

An operator has a ``shape``, a ``dtype`` and four products; nothing else of the matrix is ever touched:

- ``matmul(B)``: X @ B, n_obs x k
- ``rmatmul(A)``: X.T @ A, n_vars x k
- ``column_sums()``: n_vars
- ``squared_deviations(center)``: sum over the cells of (x_ij - center_j)^2, n_vars; with 0 it gives ||X||_F^2

Products come in the dtype of the matrix; sums over cells are accumulated in float64. Where every product means reading
the matrix again (``one_pass``), ``cross`` and ``through`` are two of them in one reading, and ``gram`` may save more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from scprograms._core.matrix import Array
from scprograms._core.threads import for_blocks

RowUpdate = Callable[[Array, Array], object]
"""Updates some rows of W in place from the same rows of ``X B``, which it may overwrite."""


class MatrixOperator(Protocol):
    """What the engine needs to know of a matrix."""

    shape: tuple[int, int]
    dtype: np.dtype
    one_pass: bool
    """Whether the matrix is read for each product, so that ``X' (X B)`` costs as much as either of the two."""

    def matmul(self, B: Array) -> Array:
        """X @ B."""

    def rmatmul(self, A: Array) -> Array:
        """X.T @ A."""

    def column_sums(self) -> Array:
        """Sum of each column."""

    def squared_deviations(self, center: Array) -> Array:
        """Sum of squared deviations of each column from ``center``."""

    def cross(self, B: Array) -> tuple[Array, Callable[[], Array]]:
        """``X B``, and a function that returns ``X' (X B)``."""

    def through(self, B: Array, W: Array, update: RowUpdate) -> Array:
        """Update the rows of W, in place, from those of ``X B``; return ``X' W``."""

    def gram(self) -> Array | None:
        """``X' X`` in float64, where it is at hand."""


class TwoProducts:
    """What follows from the two products for a matrix that is in memory."""

    one_pass = False
    matmul: Callable[[Array], Array]
    rmatmul: Callable[[Array], Array]

    def cross(self, B: Array) -> tuple[Array, Callable[[], Array]]:
        product = self.matmul(B)
        return product, lambda: self.rmatmul(product)

    def through(self, B: Array, W: Array, update: RowUpdate) -> Array:
        C = self.matmul(B)
        for_blocks(lambda start, stop: update(C[start:stop], W[start:stop]), W.shape[0])
        return self.rmatmul(W)

    def gram(self) -> Array | None:
        return None


def is_dask(X: object) -> bool:
    """Whether X is a dask array; dask need not be there to ask."""
    return hasattr(X, "to_delayed") and hasattr(X, "chunks")
