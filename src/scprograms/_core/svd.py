"""Truncated SVD through the operator: subspace iteration on the shorter side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg

from scprograms._core.progress import is_look

from .sums import sum_of_products

if TYPE_CHECKING:
    from .matrix import FloatArray
    from .operators.protocol import MatrixOperator

MAX_POWER_ITERATIONS = 12


@dataclass(frozen=True)
class Compression:
    """The leading ``r`` directions of X: ``X ~ Y V'`` with ``Y = U S`` (n_obs x r) and orthonormal V (n_vars x r)."""

    Y: FloatArray
    V: FloatArray
    singular_values: FloatArray
    """All r of them, largest first, in float64."""
    n_power_iterations: int

    def left(self, k: int) -> FloatArray:
        """Return the leading k left singular vectors."""
        s = self.singular_values[:k]
        return self.Y[:, :k] / np.where(s > 0, s, 1).astype(self.Y.dtype)


def compress(
    op: MatrixOperator, rank: int, *, n_leading: int, total: float, rng: np.random.Generator, tol: float = 1e-5
) -> Compression:
    """Return the leading ``rank`` directions of ``op``.

    Subspace iteration with re-orthogonalisation on the shorter side of X, so that neither a QR nor a random matrix of
    the longer side's length is ever needed [1]_. It ends once another pass lowers the squared residual of the
    ``n_leading`` directions that matter by less than ``tol`` of it: a flat spectrum gets more passes than a steep one.

    References
    ----------
    .. [1] Halko, Martinsson & Tropp (2011), SIAM Review 53:217, https://doi.org/10.1137/090771806
    """
    n_obs, n_vars = op.shape
    rank = min(rank, n_obs, n_vars)
    basis = starting_basis(op.shape, rank, op.dtype, rng=rng)
    gram = op.gram() if n_obs >= n_vars else None
    visit = _ByProducts(op) if gram is None else _ByGram(op, gram)
    visit.at(basis)
    captured, n_iter = -np.inf, 0
    while n_iter < MAX_POWER_ITERATIONS:
        n_iter += 1
        basis = _orthonormal(visit.onward())
        visit.at(basis)
        previous, captured = captured, float(visit.energies()[0][:n_leading].sum())
        enough = is_look(n_iter) and captured - previous <= tol * max(total - captured, 0.0)
        if enough or rank == min(n_obs, n_vars):
            break
    longer, (energies, rotation) = visit.longer(), visit.energies()
    del visit
    singular_values = np.sqrt(np.maximum(energies, 0))
    rotation = rotation.astype(op.dtype)
    longer, basis = longer @ rotation, basis @ rotation
    if n_obs >= n_vars:
        return Compression(longer, basis, singular_values, n_iter)
    inverse = np.divide(1, singular_values, out=np.zeros(rank), where=singular_values > singular_values[0] * 1e-7)
    scale = singular_values.astype(op.dtype)
    return Compression(basis * scale, longer * inverse.astype(op.dtype), singular_values, n_iter)


def starting_basis(shape: tuple[int, int], rank: int, dtype: np.dtype, *, rng: np.random.Generator) -> FloatArray:
    """Return the random basis of the shorter side that the iteration starts from."""
    return _orthonormal(rng.standard_normal((min(shape), min(rank, *shape))).astype(dtype))


class _ByProducts:
    """A step of the iteration by two products with X, or by one reading of it."""

    def __init__(self, op: MatrixOperator) -> None:
        self._op, self._tall = op, op.shape[0] >= op.shape[1]

    def at(self, basis: FloatArray) -> None:
        if self._tall:
            self._longer, self.onward = self._op.cross(basis)
        else:
            longer = self._longer = self._op.rmatmul(basis)
            self.onward = lambda: self._op.matmul(longer)
        self._energies: tuple[FloatArray, FloatArray] | None = None

    def energies(self) -> tuple[FloatArray, FloatArray]:
        if self._energies is None:
            self._energies = _ritz(sum_of_products(self._longer, self._longer))
        return self._energies

    def longer(self) -> FloatArray:
        return self._longer


class _ByGram:
    """The same step by X'X; X itself is read once more, at the end."""

    def __init__(self, op: MatrixOperator, gram: FloatArray) -> None:
        self._op, self._gram = op, gram

    def at(self, basis: FloatArray) -> None:
        self._basis, self._image = basis, self._gram @ basis.astype(np.float64)
        self._longer: FloatArray | None = None

    def onward(self) -> FloatArray:
        return self._image.astype(self._basis.dtype)

    def energies(self) -> tuple[FloatArray, FloatArray]:
        if self._longer is None:
            return _ritz(self._basis.T.astype(np.float64) @ self._image)
        return _ritz(sum_of_products(self._longer, self._longer))

    def longer(self) -> FloatArray:
        self._longer = self._op.matmul(self._basis)
        return self._longer


def _orthonormal(A: FloatArray) -> FloatArray:
    # In float64: single precision would lose the directions below 1e-4 of the largest singular value.
    return linalg.qr(A.astype(np.float64), mode="economic", overwrite_a=True, check_finite=False)[0].astype(A.dtype)


def _ritz(gram: FloatArray) -> tuple[FloatArray, FloatArray]:
    energies, rotation = linalg.eigh(gram, check_finite=False)
    return energies[::-1], rotation[:, ::-1]
