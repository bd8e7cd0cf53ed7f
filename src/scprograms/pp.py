"""Preprocessing: pseudo-bulk samples, and accessibility made ready for factorizations and networks."""

from __future__ import annotations

from .embeddings import binarize, filter_peaks, tfidf
from .modules import pseudobulk

__all__ = ["binarize", "filter_peaks", "pseudobulk", "tfidf"]
