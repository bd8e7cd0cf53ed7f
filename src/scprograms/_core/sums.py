"""Sums over blocks of rows, in float64 and in order."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from .operators.protocol import MatrixOperator
from .threads import map_blocks


def sum_in_order(parts: Iterable[NDArray], total: NDArray) -> NDArray:
    """Add up arrays in float64, in their order: the sum does not depend on who finished first."""
    for part in parts:
        total += part
    return total


def sum_of_products(A: NDArray, B: NDArray) -> NDArray:
    """``A.T @ B`` over many rows, in float64 throughout: errors of fits are small differences of such sums."""

    def block(start: int, stop: int) -> NDArray:
        left = A[start:stop].astype(np.float64)
        return left.T @ (left if B is A else B[start:stop].astype(np.float64))

    return sum_in_order(map_blocks(block, A.shape[0]), np.zeros((A.shape[1], B.shape[1])))


def squared_norm(op: MatrixOperator) -> float:
    """Return ``||X||_F^2``."""
    return float(op.squared_deviations(np.zeros(op.shape[1])).sum())
