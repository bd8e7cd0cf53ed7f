"""The rotation after which each axis is used strongly by few rows, on one side, and hardly by the others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ._operators import sum_of_products

MAX_ROWS = 20_000
MAX_ITER = 200
TOL = 1e-5


def simple_structure(U: NDArray, *, rng: np.random.Generator) -> NDArray:
    """Return the k x k rotation to simple structure: varimax [1]_, then the largest third moments.

    Varimax takes fourth powers, which know no sign and which single rows dominate. Usages have a sign: from the varimax
    rotation on, the sum of the third moments is raised instead. On real screens the programs then mean the same and
    change less between subsamples.

    On more than 20,000 rows the rotation is found on a sample of as many, drawn half uniformly and half by leverage (so
    that rows of a rare program are in it) and weighted by the inverse of the probability to be drawn.

    References
    ----------
    .. [1] Kaiser (1958), Psychometrika 23:187, https://doi.org/10.1007/BF02289233
    """
    n, k = U.shape
    if k < 2:
        return np.eye(k)
    weights = np.full(n, 1.0 / n)
    if n > MAX_ROWS:
        leverage = np.einsum("ij,ij->i", U, U).astype(np.float64)
        probability = 0.5 / n + 0.5 * leverage / leverage.sum()
        rows = np.sort(rng.choice(n, MAX_ROWS, p=probability))
        U, weights = U[rows], 1.0 / (n * MAX_ROWS * probability[rows])
    # In float64: in single precision the criterion stalls while the rotation still moves in its third digit, and the
    # result would depend on rounding. Entries near 1 / sqrt(n) are scaled up for the powers.
    U = U.astype(np.float64) * np.sqrt(n)

    def fourth_moments(Z: NDArray) -> NDArray:
        squares = Z * Z
        return Z * (squares - weights @ squares)

    def third_moments(Z: NDArray) -> NDArray:
        squares = Z * Z
        return squares * np.sign(weights @ (squares * Z))

    rotation = _ascend(U, weights, fourth_moments)
    return rotation @ _ascend(U @ rotation, weights, third_moments)


def _ascend(U: NDArray, weights: NDArray, gradient: Callable[[NDArray], NDArray]) -> NDArray:
    """Raise a criterion of ``Z = U R`` over rotations: R becomes the orthogonal factor of its gradient, repeatedly."""
    weighted = U * weights[:, None]
    rotation, best = np.eye(U.shape[1]), 0.0
    for _ in range(MAX_ITER):
        left, values, right = np.linalg.svd(sum_of_products(weighted, gradient(U @ rotation)))
        if values.sum() <= best * (1 + TOL):
            break
        rotation, best = left @ right, float(values.sum())
    return rotation
