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
from typing import TYPE_CHECKING, Any, Protocol

from scprograms._core.matrix import FloatArray, Matrix
from scprograms._core.threads import for_blocks

if TYPE_CHECKING:
    import numpy as np
    from typing_extensions import TypeIs

RowUpdate = Callable[[FloatArray, FloatArray], object]
"""Updates some rows of W in place from the same rows of ``X B``, which it may overwrite."""


class MatrixOperator(Protocol):
    """What the engine needs to know of a matrix."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    one_pass: bool
    """Whether the matrix is read for each product, so that ``X' (X B)`` costs as much as either of the two."""

    def matmul(self, B: FloatArray) -> FloatArray:
        """X @ B."""

    def rmatmul(self, A: FloatArray) -> FloatArray:
        """X.T @ A."""

    def column_sums(self) -> FloatArray:
        """Sum of each column."""

    def squared_deviations(self, center: FloatArray) -> FloatArray:
        """Sum of squared deviations of each column from ``center``."""

    def cross(self, B: FloatArray) -> tuple[FloatArray, Callable[[], FloatArray]]:
        """``X B``, and a function that returns ``X' (X B)``."""

    def through(self, B: FloatArray, W: FloatArray, update: RowUpdate) -> FloatArray:
        """Update the rows of W, in place, from those of ``X B``; return ``X' W``."""

    def gram(self) -> FloatArray | None:
        """``X' X`` in float64, where it is at hand."""


class TwoProducts:
    """What follows from the two products for a matrix that is in memory."""

    one_pass = False
    matmul: Callable[[FloatArray], FloatArray]
    rmatmul: Callable[[FloatArray], FloatArray]

    def cross(self, B: FloatArray) -> tuple[FloatArray, Callable[[], FloatArray]]:
        product = self.matmul(B)
        return product, lambda: self.rmatmul(product)

    def through(self, B: FloatArray, W: FloatArray, update: RowUpdate) -> FloatArray:
        C = self.matmul(B)
        for_blocks(lambda start, stop: update(C[start:stop], W[start:stop]), W.shape[0])
        return self.rmatmul(W)

    def gram(self) -> FloatArray | None:
        return None


class DaskArray(Protocol):
    """What is asked of a dask array, cells x genes in chunks; dask need not be there to name its type."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of rows and columns."""

    @property
    def ndim(self) -> int:
        """Number of dimensions."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""

    @property
    def chunks(self) -> tuple[tuple[int, ...], ...]:
        """Heights and widths of the chunks; NaN where they are not known."""

    @property
    def __dask_scheduler__(self) -> Any:
        """What runs the tasks where the user chose nothing else."""

    def to_delayed(self) -> Any:
        """Return the chunks, each as a task."""

    def map_blocks(self, func: Callable[..., Any], /) -> DaskArray:
        """Apply a function to every chunk."""

    def rechunk(self, chunks: Any, /) -> DaskArray:
        """Cut into other chunks."""

    def compute(self) -> Matrix:
        """Load the values."""

    def __getitem__(self, key: Any) -> DaskArray: ...


def is_dask(X: object) -> TypeIs[DaskArray]:
    """Whether X is a dask array; dask need not be there to ask."""
    return hasattr(X, "to_delayed") and hasattr(X, "chunks")
