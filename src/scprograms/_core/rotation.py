"""The rotation after which each axis is used strongly by few rows, on one side, and hardly by the others."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from scprograms._core.progress import is_look

from .sums import sum_in_order
from .threads import map_blocks

if TYPE_CHECKING:
    from collections.abc import Callable

    from .matrix import FloatArray

MAX_ROWS = 20_000
MAX_ITER = 200
TOL = 1e-5
MAX_TENSOR = 200
"""Up to so many axes their third moments are kept, k x k x k; of more they would not fit in memory."""


def simple_structure(U: FloatArray, *, rng: np.random.Generator) -> FloatArray:
    """Return the k x k rotation to simple structure: varimax [1]_, then the largest third moments.

    Varimax takes fourth powers, which know no sign and which single rows dominate. Usages have a sign: from the varimax
    rotation on, the sum of the third moments is raised instead. On real screens the programs then mean the same and
    change less between subsamples.

    On more than 20,000 rows the rotation is found on a sample of about as many, drawn half uniformly and half by
    leverage (so that rows of a rare program are in it) and weighted by the inverse of the probability to be drawn.

    References
    ----------
    .. [1] Kaiser (1958), Psychometrika 23:187, https://doi.org/10.1007/BF02289233
    """
    n, k = U.shape
    if k < 2:
        return np.eye(k)
    weights = np.full(n, 1.0 / n)
    if n > MAX_ROWS:
        # Each row by a draw of its own: the last bits of one probability cannot move the draws of all others.
        leverage = np.einsum("ij,ij->i", U, U, dtype=np.float64)
        probability = np.minimum(MAX_ROWS * (0.5 / n + 0.5 * leverage / leverage.sum()), 1)
        rows = np.flatnonzero(rng.random(n) < probability)
        U, weights = U[rows], 1.0 / (n * probability[rows])
    # In float64: in single precision the criterion stalls while the rotation still moves in its third digit, and the
    # result would depend on rounding. Entries near 1 / sqrt(n) are scaled up for the powers.
    U = U.astype(np.float64)
    U *= np.sqrt(n)
    gram = sum_in_order(map_blocks(lambda a, b: U[a:b].T @ (U[a:b] * weights[a:b, None]), len(U)), np.zeros((k, k)))
    rotation = _ascend(partial(_fourth_moments, U, weights, gram), k)
    U = U @ rotation
    if k > MAX_TENSOR:
        return rotation @ _ascend(partial(_skewness_gradient_of_rows, U, weights), k)
    return rotation @ _ascend(partial(_skewness_gradient, _third_moments(U, weights)), k)


def _fourth_moments(U: FloatArray, weights: FloatArray, gram: FloatArray, rotation: FloatArray) -> FloatArray:
    """Gradient of ``sum_j (E z_j^4 - (E z_j^2)^2)``, up to a factor, for ``Z = U R``; ``gram`` is ``E u'u``."""
    second_moments = np.sum(rotation * (gram @ rotation), axis=0)

    def block(a: int, b: int) -> FloatArray:
        Z = U[a:b] @ rotation
        Z *= (Z * Z - second_moments) * weights[a:b, None]
        return U[a:b].T @ Z

    return sum_in_order(map_blocks(block, len(U)), np.zeros_like(rotation))


def _third_moments(U: FloatArray, weights: FloatArray) -> FloatArray:
    """Return ``E u_a u_b u_c``, k x k x k: all that the criterion asks of the rows, however often it is asked."""
    k = U.shape[1]

    def block(a: int, b: int) -> FloatArray:
        rows, weighted = U[a:b], U[a:b] * weights[a:b, None]
        moments = np.empty((k, k, k))
        for j in range(k):
            products = (rows[:, j:] * rows[:, j : j + 1]).T @ weighted[:, j:]
            moments[j, j:, j:] = moments[j:, j, j:] = moments[j:, j:, j] = products
        return moments

    return sum_in_order(map_blocks(block, len(U)), np.zeros((k, k, k)))


def _skewness_gradient(moments: FloatArray, rotation: FloatArray) -> FloatArray:
    """Gradient of ``sum_j |E z_j^3|``, up to a factor, for ``Z = U R``."""
    k = len(rotation)
    once = (moments.reshape(k * k, k) @ rotation).reshape(k, k, k)
    gradient: FloatArray = np.einsum("abj,bj->aj", once, rotation)
    signs: FloatArray = np.sign(np.sum(gradient * rotation, axis=0))
    return gradient * signs


def _skewness_gradient_of_rows(U: FloatArray, weights: FloatArray, rotation: FloatArray) -> FloatArray:
    """Gradient of the same criterion from the rows, which are read once more for every call."""

    def block(a: int, b: int) -> FloatArray:
        Z = U[a:b] @ rotation
        Z *= Z * weights[a:b, None]
        return U[a:b].T @ Z

    gradient = sum_in_order(map_blocks(block, len(U)), np.zeros_like(rotation))
    signs: FloatArray = np.sign(np.sum(gradient * rotation, axis=0))
    return gradient * signs


def _ascend(gradient: Callable[[FloatArray], FloatArray], k: int) -> FloatArray:
    """Raise a criterion over rotations: R becomes the orthogonal factor of its gradient, repeatedly."""
    rotation, best = np.eye(k), 0.0
    for iteration in range(1, MAX_ITER + 1):
        left, values, right = np.linalg.svd(gradient(rotation))
        if is_look(iteration) and values.sum() <= best * (1 + TOL):
            break
        rotation, best = left @ right, float(values.sum())
    return rotation
