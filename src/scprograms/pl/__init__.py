"""Pictures: every function draws what :mod:`scprograms.get` returns."""

from __future__ import annotations

from ._convergence import convergence
from ._dotplot import enrichment_dotplot
from ._groups import program_boxplot, usage_heatmap
from ._loadings import loading_clustermap, loading_heatmap

__all__ = [
    "convergence",
    "enrichment_dotplot",
    "loading_clustermap",
    "loading_heatmap",
    "program_boxplot",
    "usage_heatmap",
]
