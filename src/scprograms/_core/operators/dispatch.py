"""The operator of a matrix, whatever holds it."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from .in_memory import in_memory
from .protocol import MatrixOperator, is_dask


def as_operator(X: Any) -> MatrixOperator:
    """Wrap a matrix, and leave an operator as it is."""
    if is_dask(X):
        from .dask import DaskOperator

        return DaskOperator(X)
    return in_memory(X) if sparse.issparse(X) or isinstance(X, np.ndarray) else X
