"""Results as tidy tables, and programs as an AnnData that every scanpy plot accepts."""

from __future__ import annotations

from ._factors import history, loadings, programs, top_genes, usages
from ._groups import colors, labels
from ._tests import anova, enrichment

__all__ = [
    "anova",
    "colors",
    "enrichment",
    "history",
    "labels",
    "loadings",
    "programs",
    "top_genes",
    "usages",
]
