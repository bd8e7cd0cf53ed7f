"""Gene scores: how much the expression of a gene, in standard deviations, changes with a program's usage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from scprograms._core.matrix import Array, Matrix

ROWS_PER_BLOCK = 16384
GENES_PER_BLOCK = 2048


def gene_scores(X: Matrix, W: Array) -> Array:
    """Regress z-scored expression on usages, all programs jointly, by ordinary least squares with an intercept.

    With Wc the centred usages and Z the z-scored expression the scores are ``(Wc' Wc)^-1 Wc' Z``. Z is never formed:
    Wc' Z needs W' X, the means and the standard deviations only, so sparse input stays sparse. Sums run in double
    precision. The loadings favour genes that are expressed strongly; the scores do not, and they have no ties.

    Parameters
    ----------
    X
        Expression, n_obs x n_vars: ndarray, CSR or CSC.
    W
        Usages, n_obs x k.

    Returns
    -------
    Scores, k x n_vars: standard deviations of expression per unit of usage. A gene that does not vary scores 0,
    and so does every gene of a program whose usage does not vary.

    References
    ----------
    Kotliar et al. (2019), eLife 8, e43803, https://doi.org/10.7554/eLife.43803

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.enrichment.engine import gene_scores
    >>> usage = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> gene_scores(np.hstack([2 * usage, -usage, 0 * usage]), usage).round(4)
    array([[ 0.8944, -0.8944,  0.    ]])
    """
    W = np.asarray(W, dtype=np.float64)
    if X.shape[0] != W.shape[0]:
        msg = f"X has {X.shape[0]} rows and W {W.shape[0]}: both need one row per cell."
        raise ValueError(msg)
    centred = W - W.mean(axis=0)
    if sparse.issparse(X) and X.format == "csc":
        starts = range(0, X.shape[1], GENES_PER_BLOCK)
        parts = [_products(X[:, i : i + GENES_PER_BLOCK].tocsr(), centred) for i in starts]
        product, deviation = np.hstack([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    else:
        product, deviation = _products(X, centred)
    scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    return np.asarray(np.linalg.pinv(centred.T @ centred, hermitian=True) @ (product * scale))


def _products(X: Matrix, centred: Array) -> tuple[Array, Array]:
    """Return Wc' X (k x n_vars) and the standard deviation of each gene, in blocks of rows."""
    n_obs, n_vars = X.shape
    product, total = np.zeros((centred.shape[1], n_vars)), np.zeros(n_vars)
    starts = range(0, n_obs, ROWS_PER_BLOCK)
    for start in starts:
        block = X[start : start + ROWS_PER_BLOCK].astype(np.float64)
        # The centred usages sum to zero, so the means of the genes drop out of this product.
        product += (block.T @ centred[start : start + ROWS_PER_BLOCK]).T
        total += np.asarray(block.sum(axis=0)).ravel()
    mean, squares = total / n_obs, np.zeros(n_vars)
    for start in starts:
        squares += _squared_deviations(X[start : start + ROWS_PER_BLOCK].astype(np.float64), mean)
    deviation = np.sqrt(squares / n_obs)
    # Rounding leaves a trace of variance in a constant gene.
    deviation[deviation <= 1e-12 * np.abs(mean)] = 0
    return product, deviation


def _squared_deviations(block: Matrix, mean: Array) -> Array:
    if not sparse.issparse(block):
        return np.asarray(np.sum((block - mean) ** 2, axis=0))
    block.sum_duplicates()
    n_stored = np.bincount(block.indices, minlength=len(mean))
    stored = np.bincount(block.indices, weights=(block.data - mean[block.indices]) ** 2, minlength=len(mean))
    return np.asarray(stored + (block.shape[0] - n_stored) * mean**2)
