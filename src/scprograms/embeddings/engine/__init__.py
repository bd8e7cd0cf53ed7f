"""tf-idf, neighbourhood means and scores of embeddings, on arrays."""

from __future__ import annotations

from ._embedding_scores import EMBEDDING_SCORES, embedding_scores, scaled_rows
from ._neighbors import neighbor_means
from ._tfidf import TFIDF_METHODS, tfidf

__all__ = [
    "EMBEDDING_SCORES",
    "TFIDF_METHODS",
    "embedding_scores",
    "neighbor_means",
    "scaled_rows",
    "tfidf",
]
