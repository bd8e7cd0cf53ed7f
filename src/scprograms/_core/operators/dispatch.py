"""The operator of a matrix, whatever holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, overload

import numpy as np
from scipy import sparse

from scprograms._core.matrix import AnySparse, Array, Matrix

from .in_memory import CompressedOperator, DenseOperator, in_memory
from .protocol import DaskArray, MatrixOperator, is_dask

if TYPE_CHECKING:
    from .dask import DaskOperator

AnyMatrix: TypeAlias = Matrix | DaskArray | MatrixOperator
"""Cells x genes: in memory, as a dask array, or as an operator."""


@overload
def as_operator(X: DaskArray | DaskOperator) -> DaskOperator: ...
@overload
def as_operator(X: Array | AnySparse) -> DenseOperator | CompressedOperator: ...
@overload
def as_operator(X: Array | AnySparse | DaskArray | MatrixOperator) -> MatrixOperator: ...
def as_operator(X: Array | AnySparse | DaskArray | MatrixOperator) -> MatrixOperator:
    """Wrap a matrix, and leave an operator as it is."""
    if is_dask(X):
        from .dask import DaskOperator

        return DaskOperator(X)
    return in_memory(X) if sparse.issparse(X) or isinstance(X, np.ndarray) else X
