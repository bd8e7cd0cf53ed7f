"""Types of matrices in memory."""

from __future__ import annotations

from typing import Any, TypeAlias

from numpy.typing import NDArray
from scipy import sparse

SparseMatrix: TypeAlias = "sparse.csr_matrix | sparse.csc_matrix | sparse.csr_array | sparse.csc_array"
"""A scipy matrix or array, compressed by rows or by columns."""

Matrix: TypeAlias = "NDArray[Any] | SparseMatrix"
"""Cells x genes in memory: a numpy array, or a compressed scipy matrix or array."""
