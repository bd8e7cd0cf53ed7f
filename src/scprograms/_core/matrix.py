"""Types of arrays and matrices in memory."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Array: TypeAlias = NDArray[Any]
"""A numpy array of whatever numbers."""

FloatArray: TypeAlias = NDArray[np.floating[Any]]
"""A numpy array of floating-point numbers."""

SparseMatrix: TypeAlias = sparse.csr_matrix | sparse.csc_matrix | sparse.csr_array | sparse.csc_array
"""A scipy matrix or array, compressed by rows or by columns."""

AnySparse: TypeAlias = SparseMatrix | sparse.coo_matrix | sparse.coo_array | sparse.bsr_matrix | sparse.bsr_array
"""A scipy matrix or array, compressed, by coordinates or in blocks: its stored values are one numpy array."""

Matrix: TypeAlias = Array | SparseMatrix
"""Cells x genes in memory: a numpy array, or a compressed scipy matrix or array."""
