"""Embeddings of chromatin accessibility: peaks, tf-idf, autoencoders, comparison."""

from __future__ import annotations

from ._autoencoder import autoencoder
from ._compare_embeddings import compare_embeddings
from ._encode import encode
from ._peaks import binarize, filter_peaks
from ._smooth_embedding import smooth_embedding
from ._tfidf import tfidf

__all__ = ["autoencoder", "binarize", "compare_embeddings", "encode", "filter_peaks", "smooth_embedding", "tfidf"]
