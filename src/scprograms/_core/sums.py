"""Sums over blocks of rows, in float64 and in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .threads import map_blocks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .matrix import FloatArray
    from .operators.protocol import MatrixOperator


CACHED_ROWS = 1024
"""Of so many rows at a time copies in float64 are made: those of more leave the cache."""


def sum_in_order(parts: Iterable[FloatArray], total: FloatArray) -> FloatArray:
    """Add up arrays in float64, in their order: the sum does not depend on who finished first."""
    for part in parts:
        total += part
    return total


def sum_of_products(A: FloatArray, B: FloatArray) -> FloatArray:
    """``A.T @ B`` in float64: errors of fits are small differences of such sums."""

    def block(start: int, stop: int) -> FloatArray:
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
