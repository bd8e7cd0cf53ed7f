"""Term frequency and inverse document frequency of a sparse matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from scprograms._core.matrix import Array

TFIDF_METHODS = ("l2", "log_tfidf", "tf_logidf", "logtf_logidf")
"""The values of ``method`` of :func:`scprograms.embeddings.engine.tfidf`."""


def tfidf(matrix: Any, method: str = "l2", *, scale_factor: float = 1e4) -> tuple[sparse.csr_matrix, Array]:
    r"""Return the transformed matrix, CSR, float32, and the number of rows with each feature.

    Parameters
    ----------
    matrix
        n x features, CSR, no entry stored twice, none stored that is zero, none below zero.
    method
        With tf = x / (sum of the row) and r = n / (rows with the feature): ``"l2"`` (x log(1 + r), rows of unit
        length), ``"log_tfidf"`` (log(1 + s tf r)), ``"tf_logidf"`` (tf log(1 + r)) or ``"logtf_logidf"``
        (log(1 + s tf) log(1 + r)).
    scale_factor
        The s of these formulas.

    Examples
    --------
    >>> from scipy import sparse
    >>> from scprograms.embeddings.engine import tfidf
    >>> values, n_rows = tfidf(sparse.csr_matrix([[1.0, 0, 1], [0, 2, 1]]))
    >>> n_rows.tolist(), float((values @ values.T)[0, 0].round(6))
    ([1, 1, 2], 1.0)
    """
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    n_rows = np.bincount(matrix.indices, minlength=matrix.shape[1])
    rarity = matrix.shape[0] / np.maximum(n_rows, 1)
    values = matrix.data.astype(np.float64)
    if method == "l2":
        weighted = values * np.log1p(rarity)[matrix.indices]
        weighted /= np.sqrt(np.bincount(row, np.square(weighted), minlength=matrix.shape[0]))[row]
    else:
        frequency = values / np.bincount(row, values, minlength=matrix.shape[0])[row]
        if method == "log_tfidf":
            weighted = np.log1p(scale_factor * frequency * rarity[matrix.indices])
        else:
            weighted = np.log1p(scale_factor * frequency) if method == "logtf_logidf" else frequency
            weighted = weighted * np.log1p(rarity)[matrix.indices]
    found = sparse.csr_matrix((weighted.astype(np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)
    return found, n_rows
