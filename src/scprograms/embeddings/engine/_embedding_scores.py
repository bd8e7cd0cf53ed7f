"""How well an embedding tells known labels apart: of its clusters, and of its neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scprograms._core.matrix import Array

EMBEDDING_SCORES = ("ari", "nmi", "homogeneity", "silhouette", "knn_accuracy")
"""Names of the scores, as :func:`scprograms.embeddings.engine.embedding_scores` returns them."""


def scaled_rows(embedding: Array, metric: str) -> Array:
    """Return the embedding in which Euclidean distances are those of the metric, float64.

    ``"cosine"`` divides rows by their lengths (zero rows stay), ``"euclidean"`` changes nothing.

    Parameters
    ----------
    embedding
        n x d.
    metric
        ``"cosine"`` or ``"euclidean"``.

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.embeddings.engine import scaled_rows
    >>> scaled_rows(np.array([[3.0, 4.0], [0.0, 0.0]]), "cosine").tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    values = np.asarray(embedding, dtype=np.float64)
    if metric == "euclidean":
        return values
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(norms > 0, norms, 1)


def embedding_scores(
    embedding: Array,
    codes: Array,
    *,
    n_clusters: int | None = None,
    n_neighbors: int = 15,
    n_init: int = 10,
    random_state: int = 0,
) -> dict[str, float]:
    """Return the scores of an embedding against labels.

    Parameters
    ----------
    embedding
        n x d, in Euclidean geometry.
    codes
        One label per row, from 0; every row has one.
    n_clusters
        Clusters of k-means; None means as many as there are labels.
    n_neighbors
        Neighbours that vote on the label of a row.
    n_init
        Starts of k-means, of which the best is kept.
    random_state
        Seed of k-means.

    Returns
    -------
    ``ari`` (adjusted Rand index), ``nmi`` (normalised mutual information, arithmetic mean) and ``homogeneity`` of the
    clusters; ``silhouette`` of the labels, not of the clusters (NaN unless there are between 2 labels and n - 1);
    ``knn_accuracy``, the share of rows whose nearest other rows have their label in the majority (ties go to the label
    of the nearest among the tied).

    Examples
    --------
    >>> import numpy as np
    >>> from scprograms.embeddings.engine import embedding_scores
    >>> rng = np.random.default_rng(0)
    >>> codes = np.repeat([0, 1, 2], 50)
    >>> scores = embedding_scores(10 * np.eye(3)[codes] + rng.normal(size=(150, 3)), codes)
    >>> scores["ari"], scores["knn_accuracy"]
    (1.0, 1.0)
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import (
        adjusted_rand_score,
        homogeneity_score,
        normalized_mutual_info_score,
        silhouette_score,
    )

    n_labels = len(np.unique(codes))
    k = n_labels if n_clusters is None else n_clusters
    clusters = KMeans(k, n_init=n_init, random_state=random_state).fit_predict(embedding)
    return {
        "ari": float(adjusted_rand_score(codes, clusters)),
        "nmi": float(normalized_mutual_info_score(codes, clusters)),
        "homogeneity": float(homogeneity_score(codes, clusters)),
        "silhouette": float(silhouette_score(embedding, codes)) if 1 < n_labels < len(codes) else float("nan"),
        "knn_accuracy": _neighbor_accuracy(embedding, codes, n_neighbors),
    }


def _neighbor_accuracy(embedding: Array, codes: Array, n_neighbors: int) -> float:
    from sklearn.neighbors import NearestNeighbors

    n = min(n_neighbors, len(codes) - 1)
    # Without a query, a row is no neighbour of its own; nearest first.
    near = NearestNeighbors(n_neighbors=n).fit(embedding).kneighbors(return_distance=False)
    votes = codes[near]
    counts = (votes[:, :, None] == votes[:, None, :]).sum(axis=2)
    winner = votes[np.arange(len(codes)), counts.argmax(axis=1)]  # argmax takes the nearest among the tied
    return float(np.mean(winner == codes))
