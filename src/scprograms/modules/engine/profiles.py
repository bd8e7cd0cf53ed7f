"""Means and sums over groups and bins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from scprograms._core.matrix import AnySparse, Array, Matrix


def group_sums(values: Array, codes: Array, n_groups: int) -> Array:
    """Sums of the rows of each group, groups x columns."""
    indicator = (codes[None, :] == np.arange(n_groups)[:, None]).astype(np.float64)
    return np.asarray(indicator @ values)


def bin_means(matrix: Matrix, features: Array, sizes: Array) -> Array:
    """Means of bins of features, each feature in units of its largest value; bins x rows of the matrix.

    ``features`` lists the columns of one bin after the other, ``sizes`` how many there are in each.
    """
    top = np.asarray(matrix.max(axis=0).todense() if sparse.issparse(matrix) else matrix.max(axis=0)).ravel()
    weights = 1 / np.where(top[features] > 0, top[features], 1).astype(np.float64)
    weights /= np.repeat(sizes, sizes)
    bins = sparse.csr_matrix(
        (weights.astype(np.float32), features, np.concatenate([[0], np.cumsum(sizes)])),
        shape=(len(sizes), matrix.shape[1]),
    )
    # In the format of the matrix: scipy would copy all of it into that of the bins.
    means: Array | AnySparse = matrix @ (bins.T.asformat(matrix.format) if sparse.issparse(matrix) else bins.T)
    return (means.toarray() if sparse.issparse(means) else np.asarray(means)).T
