"""Preprocessing: from cells to pseudo-bulk samples, and accessibility made ready for factorizations and networks."""

from __future__ import annotations

from ._peaks import binarize, filter_peaks
from ._pseudobulk import pseudobulk
from ._tfidf import tfidf

__all__ = ["binarize", "filter_peaks", "pseudobulk", "tfidf"]
