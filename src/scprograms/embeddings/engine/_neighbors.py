"""Means over the nearest neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scprograms._core.matrix import Array

_ROWS_AT_A_TIME = 4096


def neighbor_means(embedding: Array, n_neighbors: int = 15) -> Array:
    """Return, for each row, the mean over its nearest rows by cosine, itself among them; all rows of unit length first.

    Parameters
    ----------
    embedding
        n x d.
    n_neighbors
        How many rows are averaged; at most n are.

    Returns
    -------
    n x d, float64.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.embeddings.engine import neighbor_means
    >>> neighbor_means(np.array([[1.0, 0], [2, 0], [0, 3]]), 2)[:2].tolist()
    [[1.0, 0.0], [1.0, 0.0]]
    """
    from sklearn.neighbors import NearestNeighbors

    from ._embedding_scores import scaled_rows

    rows = scaled_rows(embedding, "cosine")
    index = NearestNeighbors(n_neighbors=min(n_neighbors, len(rows))).fit(rows)
    found = np.empty_like(rows)
    for start in range(0, len(rows), _ROWS_AT_A_TIME):
        part = slice(start, start + _ROWS_AT_A_TIME)
        found[part] = rows[index.kneighbors(rows[part], return_distance=False)].mean(axis=1)
    return found
