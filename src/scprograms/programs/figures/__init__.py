"""Figures of programs: usages, loadings, convergence, similarity, number of programs."""

from __future__ import annotations

from ._consensus import consensus
from ._convergence import convergence
from ._groups import usage_heatmap
from ._loadings import loading_clustermap, loading_heatmap
from ._rank_sweep import rank_sweep
from ._similarity import program_similarity

__all__ = [
    "consensus",
    "convergence",
    "loading_clustermap",
    "loading_heatmap",
    "program_similarity",
    "rank_sweep",
    "usage_heatmap",
]
