"""Results as tidy tables, and programs as an AnnData that every scanpy plot accepts."""

from __future__ import annotations

from ._calibration import calibration
from ._consensus import consensus, consensus_similarity
from ._coordinates import coordinates
from ._effects import effects
from ._factors import history, loadings, programs, top_genes, usages
from ._groups import colors, labels
from ._module_tradeoff import module_tradeoff
from ._modules import module_profiles, modules
from ._rank_sweep import rank_sweep
from ._similarity import program_similarity
from ._tests import anova, enrichment

__all__ = [
    "anova",
    "calibration",
    "colors",
    "consensus",
    "consensus_similarity",
    "coordinates",
    "effects",
    "enrichment",
    "history",
    "labels",
    "loadings",
    "module_profiles",
    "module_tradeoff",
    "modules",
    "program_similarity",
    "programs",
    "rank_sweep",
    "top_genes",
    "usages",
]
