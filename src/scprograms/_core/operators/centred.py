"""A centred and scaled matrix that is never formed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .protocol import MatrixOperator, RowUpdate, TwoProducts

if TYPE_CHECKING:
    from collections.abc import Callable

    from scprograms._core.matrix import FloatArray


class CenteredOperator(TwoProducts):
    """``(X - 1 center') diag(1/scale)`` of another operator, without forming it."""

    def __init__(self, base: MatrixOperator, center: FloatArray, scale: FloatArray | None = None) -> None:
        self._base = base
        self._center = np.asarray(center, dtype=np.float64)
        self._scale = np.ones(base.shape[1]) if scale is None else np.asarray(scale, dtype=np.float64)
        self.shape = base.shape
        self.dtype = base.dtype
        self.one_pass = base.one_pass

    def matmul(self, B: FloatArray) -> FloatArray:
        B = B / self._scale[:, None]
        out = self._base.matmul(B)
        out -= (self._center @ B).astype(self.dtype)
        return out

    def rmatmul(self, A: FloatArray) -> FloatArray:
        return self._centered(self._base.rmatmul(A), A.sum(axis=0, dtype=np.float64))

    def _centered(self, product: FloatArray, sums: FloatArray) -> FloatArray:
        """Return the product with the transpose from that of the base, and the sums of the columns of the factor."""
        out = product.astype(np.float64)
        out -= np.outer(self._center, sums)
        out /= self._scale[:, None]
        return out.astype(self.dtype)

    def cross(self, B: FloatArray) -> tuple[FloatArray, Callable[[], FloatArray]]:
        if not self.one_pass:
            return super().cross(B)
        B = B / self._scale[:, None]
        product, back = self._base.cross(B)
        shift = self._center @ B
        product -= shift.astype(self.dtype)

        def centered_back() -> FloatArray:
            of_base = back().astype(np.float64) - np.outer(self._base.column_sums(), shift)
            return self._centered(of_base, product.sum(axis=0, dtype=np.float64))

        return product, centered_back

    def through(self, B: FloatArray, W: FloatArray, update: RowUpdate) -> FloatArray:
        if not self.one_pass:
            return super().through(B, W, update)
        B = B / self._scale[:, None]
        of_base = self._base.through(B, W, Shifted(update, (self._center @ B).astype(self.dtype)))
        return self._centered(of_base, W.sum(axis=0, dtype=np.float64))

    def gram(self) -> FloatArray | None:
        gram = self._base.gram()
        if gram is None:
            return None
        crossed = np.outer(self._base.column_sums() - self.shape[0] * self._center, self._center)
        gram = gram - crossed - np.outer(self._center, self._base.column_sums())
        gram /= self._scale[:, None]
        gram /= self._scale
        return gram

    def column_sums(self) -> FloatArray:
        return (self._base.column_sums() - self.shape[0] * self._center) / self._scale

    def squared_deviations(self, center: FloatArray) -> FloatArray:
        return self._base.squared_deviations(self._center + center * self._scale) / self._scale**2


@dataclass(frozen=True)
class Shifted:
    """An update of rows from ``X B`` less a row."""

    update: RowUpdate
    shift: FloatArray

    def __call__(self, C: FloatArray, W: FloatArray) -> None:
        C -= self.shift
        self.update(C, W)
