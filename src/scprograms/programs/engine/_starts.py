"""Starting usages W0 (n_obs x k, non-negative). The start decides which of the equally good factorizations is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scprograms._core.rotation import simple_structure
from scprograms._core.sums import sum_in_order
from scprograms._core.threads import map_blocks

if TYPE_CHECKING:
    from scprograms._core.matrix import FloatArray
    from scprograms._core.svd import Compression

STARTS = ("varimax", "svd", "kmeans", "nndsvd", "random")
INTERCEPT_QUANTILE = 0.1
SIDE_TIE = 1e-3


def starting_usages(
    name: str, compression: Compression, n_components: int, *, intercept: bool, rng: np.random.Generator
) -> FloatArray:
    """Return W0 of the start called ``name``, in the dtype of the data."""
    n_obs = compression.Y.shape[0]
    W: FloatArray
    if name == "random":
        W = rng.random((n_obs, n_components)) + 0.2
    elif name == "kmeans":
        W = _kmeans(compression, n_components, rng)
    else:
        k = min(n_components, compression.Y.shape[1])
        maker = {"varimax": _varimax, "svd": _closed_form, "nndsvd": _nndsvd}[name]
        W = maker(compression, k, rng, intercept=intercept)
        if k < n_components:  # more programs than the matrix has directions: the others start at random
            W = np.hstack([W, W.mean() * rng.random((n_obs, n_components - k))])
    return np.ascontiguousarray(W, dtype=compression.Y.dtype)


def _varimax(compression: Compression, k: int, rng: np.random.Generator, *, intercept: bool) -> FloatArray:
    """Left singular vectors, each weighted by the share of it that is above the noise, in simple structure.

    The last direction of the sketch stands for the noise. Without weights, the directions next to it turn the rotation
    of all others at random; weighted by the singular values themselves, usages overlap.
    """
    energies = np.square(compression.singular_values)
    above_noise = np.sqrt(np.maximum(1 - energies[-1] / np.maximum(energies[:k], np.finfo(float).tiny), 0))
    if len(energies) <= k or not above_noise.any():  # no direction to spare: the sketch is the whole matrix
        above_noise = np.ones(k)
    U = compression.left(k)
    U *= above_noise.astype(U.dtype)
    scores: FloatArray = U @ simple_structure(U, rng=rng).astype(U.dtype)
    del U

    # A usage is the heavier side of its axis: by squares about zero or, of centred scores, by the longer tail.

    def sides(a: int, b: int) -> FloatArray:
        rows = scores[a:b].astype(np.float64)
        powers = np.square(rows) * (rows if intercept else np.sign(rows))
        return np.array([powers.sum(axis=0), np.abs(powers).sum(axis=0)])

    heavier, total = sum_in_order(map_blocks(sides, len(scores)), np.zeros((2, k)))
    scores *= signs_of(heavier, total, scores).astype(scores.dtype)
    if intercept:
        # The cells that do not use a program are the bulk below its tail: their level is zero usage.
        scores -= np.array([np.quantile(score, INTERCEPT_QUANTILE) for score in scores.T], dtype=scores.dtype)
    np.maximum(scores, 0, out=scores)
    return scores


def signs_of(heavier: FloatArray, total: FloatArray, scores: FloatArray) -> FloatArray:
    """Signs that turn the heavier side of each column to the positive.

    ``heavier`` is what the positive side weighs more than the other, ``total`` what both weigh. A difference below a
    thousandth is a tie, which the first row decides that is at least 0.99 of the largest: it becomes positive.
    """
    sizes = np.abs(scores)
    first = scores[(sizes >= 0.99 * sizes.max(axis=0)).argmax(axis=0), np.arange(scores.shape[1])]
    return np.where(np.where(np.abs(heavier) < SIDE_TIE * total, first, heavier) < 0, -1, 1)


def _closed_form(compression: Compression, k: int, rng: np.random.Generator, *, intercept: bool) -> FloatArray:  # noqa: ARG001
    """Non-negative W that spans the leading left singular vectors, where one exists (Gillis & Kumar 2015).

    The first singular vector of a non-negative irreducible matrix is positive: enough of it, added to each of the
    others, makes them non-negative. With an intercept a constant does the same for every matrix.
    """
    U = compression.left(k).astype(np.float64)
    if intercept:
        return np.asarray(U - U.min(axis=0))
    first = U[:, 0] if U[:, 0].sum() >= 0 else -U[:, 0]
    used = first > np.finfo(compression.Y.dtype).eps * first.max()
    shift = np.max(-U[used] / first[used, None], axis=0)
    W = U + np.maximum(shift, 0) * first[:, None]
    W[:, 0] = first
    return np.asarray(np.maximum(W, 0))


def _nndsvd(compression: Compression, k: int, rng: np.random.Generator, *, intercept: bool) -> FloatArray:  # noqa: ARG001
    """Non-negative double SVD (Boutsidis & Gallopoulos 2008): the stronger signed half of each singular pair."""
    U, V = compression.left(k).astype(np.float64), compression.V[:, :k].astype(np.float64)
    W = np.empty_like(U)
    for j in range(k):
        halves = [(np.maximum(sign * U[:, j], 0), np.maximum(sign * V[:, j], 0)) for sign in (1, -1)]
        strengths = [np.linalg.norm(u) * np.linalg.norm(v) for u, v in halves]
        u, _ = halves[int(np.argmax(strengths))]
        norm = np.linalg.norm(u)
        W[:, j] = u * (np.sqrt(compression.singular_values[j] * max(strengths)) / (norm if norm > 0 else 1))
    # A zero could never grow under the multiplicative solver: the mean fills it, as in the variant "nndsvda".
    return np.where(W > 0, W, W.mean())


def _kmeans(compression: Compression, n_components: int, rng: np.random.Generator) -> FloatArray:
    from sklearn.cluster import KMeans

    Y = compression.Y
    n_clusters = min(n_components, Y.shape[0])
    labels = KMeans(n_clusters, n_init=3, random_state=int(rng.integers(2**31))).fit_predict(Y)
    return np.asarray(np.eye(n_components)[labels] + 0.2)
