"""Tables of programs: usages, loadings, top genes, stability."""

from __future__ import annotations

from ._consensus import consensus, consensus_similarity
from ._factors import history, loadings, programs, top_genes, usages, usages_by_group
from ._rank_sweep import rank_sweep
from ._similarity import program_similarity

__all__ = [
    "consensus",
    "consensus_similarity",
    "history",
    "loadings",
    "program_similarity",
    "programs",
    "rank_sweep",
    "top_genes",
    "usages",
    "usages_by_group",
]
